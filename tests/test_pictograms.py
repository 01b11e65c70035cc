"""Figures on signs: they lie inside their frame, differ, and point where they should."""

from functools import partial

import numpy as np
import pytest

from envs import pictograms
from envs.plate import BLACK, TIP_UP, WHITE, Plate, shrunk
from tests.test_plate import dark_share

IN_TRIANGLE = [pictograms.exclamation, pictograms.priority_arrow, partial(pictograms.bend, is_left=True),
               pictograms.double_bend, pictograms.bumps, pictograms.skidding_car, pictograms.narrowing,
               pictograms.digging_man, pictograms.traffic_light, pictograms.pedestrian, pictograms.children,
               pictograms.bicycle, pictograms.snowflake, pictograms.deer]
ON_BLUE = [pictograms.straight_arrow, partial(pictograms.turning_arrow, is_left=False),
           partial(pictograms.forking_arrow, is_left=False), partial(pictograms.passing_arrow, is_left=False),
           pictograms.circling_arrows]


def painted(figure, is_new=False, size_px=128) -> np.ndarray:
    """Where a figure leaves a plate of another colour, bool (S, S)."""
    plate = Plate(size_px)
    plate.image[:] = (10, 90, 200)
    figure(plate, is_new)
    return np.abs(plate.finish().astype(int) - (10, 90, 200)).sum(axis=2) > 60


@pytest.mark.parametrize("is_new", [False, True])
@pytest.mark.parametrize("figure", IN_TRIANGLE)
def test_figure_keeps_clear_of_the_red_border(figure, is_new):
    frame = Plate(128)
    frame.fill(BLACK, shrunk(TIP_UP, 0.105))
    outside = frame.finish().mean(axis=2) > 130
    shown = painted(figure, is_new)
    assert 0.02 < shown.mean() < 0.12, "large enough to be read"
    assert not (shown & outside).any()


@pytest.mark.parametrize("figure", ON_BLUE)
def test_arrow_keeps_clear_of_the_rim(figure):
    rows, columns = np.nonzero(painted(figure))
    assert np.hypot(rows - 63.5, columns - 63.5).max() < 0.45 * 128


@pytest.mark.parametrize("figure", [pictograms.bend, pictograms.turning_arrow, pictograms.forking_arrow,
                                    pictograms.passing_arrow])
def test_left_is_the_mirror_of_right(figure):
    left, right = painted(partial(figure, is_left=True)), painted(partial(figure, is_left=False))
    assert (left[:, ::-1] != right).mean() < 0.01 and (left != right).mean() > 0.02


def test_arrows_point_the_way():
    """The head is the widest part: above in the straight arrow; of those that turn the upper part lies on that side."""
    right = painted(partial(pictograms.turning_arrow, is_left=False))
    assert np.nonzero(right[:75])[1].mean() > 70 and np.nonzero(right)[1].max() > 100
    ahead = painted(pictograms.straight_arrow)
    assert ahead.sum(axis=1).argmax() < 64
    bend = painted(partial(pictograms.bend, is_left=True))
    assert np.nonzero(bend[:70])[1].mean() < 64, "the upper part lies on the left"


def test_newer_figures_differ():
    for figure in (pictograms.pedestrian, pictograms.children, pictograms.bicycle):
        assert (painted(figure, True) != painted(figure, False)).mean() > 0.004


def test_roundabout_runs_counter_clockwise():
    """Of each of the three arrows, the broad end (the head) leads in the counter-clockwise sense."""
    rows, columns = np.nonzero(painted(pictograms.circling_arrows))
    angle = np.degrees(np.arctan2(63.5 - rows, columns - 63.5)) % 120  # counter-clockwise; one arrow of three
    radius = np.hypot(rows - 63.5, columns - 63.5)
    spread = [np.ptp(radius[(angle >= a) & (angle < a + 8)]) if ((angle >= a) & (angle < a + 8)).any() else 0
              for a in range(0, 120, 8)]
    head = int(np.argmax(spread))
    before, after = [spread[(head - k) % 15] for k in (2, 3, 4)], [spread[(head + k) % 15] for k in (3, 4, 5)]
    assert np.mean(before) > np.mean(after), "the shaft lies behind the head"


def test_vehicles_take_the_colour_asked_for():
    plate = Plate(64)
    pictograms.lorry_from_behind(plate, 0.5, 0.7, 0.4, BLACK)
    lorry = dark_share(plate)
    plate = Plate(64)
    pictograms.car_from_behind(plate, 0.5, 0.7, 0.4, BLACK)
    assert 0.05 < dark_share(plate) < lorry and tuple(plate.image[0, 0]) == WHITE
