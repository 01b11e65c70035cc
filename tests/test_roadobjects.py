"""What hides a drawn road: vehicles, walls and people stand where they are put, as large as a camera sees them."""

import numpy as np
import pytest

from perception import roadobjects
from perception.roadobjects import BOX, Canvas, VehicleKind, draw_bonnet, draw_users, draw_walls
from perception.roadscapes import _Paving
from perception.roadview import HEIGHT_PX, WIDTH_PX, RoadView

FOCAL_PX, HORIZON_PX, HEIGHT_M = 200.0, 70.0, 1.4


@pytest.fixture
def view():
    """A level camera that looks along a straight road."""
    view = RoadView(np.random.default_rng(0))
    view.horizon_px, view.focal_u, view.focal_v, view.height_m = HORIZON_PX, FOCAL_PX, FOCAL_PX, HEIGHT_M
    view.turn = view.bend_pm = view.roll = 0.0
    view.middle_u = WIDTH_PX / 2
    return view


def canvas(rng):
    return Canvas(np.full((HEIGHT_PX, WIDTH_PX, 3), 0.5, np.float32), rng)


def span(solid):
    rows, columns = np.nonzero(solid)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_pixels_and_ground_are_each_others_inverse():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        view = RoadView(rng)
        aside, ahead = rng.uniform(-8, 8, 50), rng.uniform(2, 60, 50)
        u, v = view.pixels(aside, ahead).T
        back, there, _ = view.ground(u, v)
        np.testing.assert_allclose(there, ahead, rtol=1e-4)
        np.testing.assert_allclose(back, aside, atol=2e-3)


@pytest.mark.parametrize("at", [6.0, 12.0, 30.0])
def test_a_lorry_covers_what_its_size_and_distance_say(view, monkeypatch, at):
    monkeypatch.setattr(roadobjects, "VEHICLES", (VehicleKind(1.0, BOX, (8, 8), (2.5, 2.5), (3.0, 3.0), 0.0),))
    rng = np.random.default_rng(1)
    drawn = canvas(rng)
    roadobjects._vehicle(drawn, view, at, 0.0, rng)
    half, foot, top = FOCAL_PX * 1.25 / at, HORIZON_PX + FOCAL_PX * 1.4 / at, HORIZON_PX - FOCAL_PX * 1.6 / at
    wanted = (160 - half, max(top, 0), 160 + half, min(foot, HEIGHT_PX))
    np.testing.assert_allclose(span(drawn.solid), wanted, atol=1.6)
    inside = drawn.image[int(max(top, 0)) + 3, 160]
    assert np.abs(inside - 0.5).max() > 1e-3  # painted, not only hidden


def test_walls_stand_beside_the_road_and_stop_before_a_side_road(view):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        drawn = canvas(rng)
        draw_walls(drawn, view, (4.0, -4.0), 0.4, 20.0, rng)
        foot = HORIZON_PX + FOCAL_PX * HEIGHT_M / np.array([6.0, 12.0, 19.0])
        for row, ahead in zip(foot.astype(int), (6.0, 12.0, 19.0), strict=True):
            half = FOCAL_PX * 3.5 / ahead  # of the road, a little narrower
            assert not drawn.solid[row, int(160 - half):int(160 + half)].any()


def test_people_and_cars_come_in_numbers_and_hide_the_ground(view):
    shares = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        drawn = canvas(rng)
        draw_users(drawn, view, np.array([5.0, 1.7, -1.7]), (6.0, -3.0), rng)
        shares.append(float(drawn.solid.mean()))
        is_left = np.abs(drawn.image - 0.5).max(2) < 1e-6
        assert (is_left & (drawn.solid > 0)).sum() <= 0.01 * drawn.solid.sum()
    assert np.mean(np.array(shares) > 0) > 0.7 and max(shares) < 0.9


def test_a_bonnet_hides_nothing_but_its_rows_are_told():
    rng = np.random.default_rng(0)
    drawn = canvas(rng)
    row = draw_bonnet(drawn, rng)
    assert 0.8 * HEIGHT_PX < row < HEIGHT_PX and not drawn.solid.any()
    assert (np.abs(drawn.image[:row - 1] - 0.5).max() < 1e-6) and np.abs(drawn.image[-1] - 0.5).max() > 1e-3


def test_a_side_road_is_paved_to_its_side_with_round_corners():
    paving = _Paving(4.0, -4.0, (10.0, 20.0), (True, False))
    inside = [(0, 50), (3.9, 5), (30, 15), (4.5, 9.0)]
    outside = [(4.5, 50), (30, 9), (-30, 15), (-4.5, 15), (8.5, 8.0)]
    for places, is_paved in ((inside, True), (outside, False)):
        aside, ahead = np.array(places, float).T
        assert (paving.holds(aside, ahead) == is_paved).all(), places
    assert paving.crosses(np.array([9.0, 15.0])).tolist() == [False, True] and paving.far_m == 10.0
