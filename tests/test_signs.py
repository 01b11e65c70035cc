"""Signs: every row of the table can be drawn, told apart when small, and stands where drivers look for it."""

import math

import cv2
import numpy as np
import pytest

from envs.geometry import wrap_angle
from envs.roads.network import SHOULDER_M, Control
from envs.roads.procedural import build_town
from envs.signs import BESIDE_ROAD_M, KMH, LIMIT_STATION_M, SIGN_INDEX, SIGNS, YAW_SPREAD_RAD, face, place_signs
from tests.straight_road import network

TOWNS = range(12)
ROWS = pytest.mark.parametrize("row", range(len(SIGNS)), ids=[sign.name for sign in SIGNS])


def masked(row: int, size_px: int) -> np.ndarray:
    """A face on grey, as it looks where only its outline shows."""
    outside = np.ones((size_px, size_px), np.uint8)
    cv2.fillConvexPoly(outside, np.round(SIGNS[row].outline * size_px * 16).astype(np.int32), 0, shift=4)
    picture = face(row, size_px).copy()
    picture[outside > 0] = 128
    return picture


@ROWS
def test_outline_is_a_convex_part_of_the_unit_square(row):
    outline = SIGNS[row].outline
    edge = np.roll(outline, -1, 0) - outline
    turn = edge[:, 0] * np.roll(edge, -1, 0)[:, 1] - edge[:, 1] * np.roll(edge, -1, 0)[:, 0]
    assert (turn > -1e-9).all() or (turn < 1e-9).all()
    assert outline.min() >= -1e-9 and outline.max() <= 1 + 1e-9
    assert cv2.contourArea(outline.astype(np.float32)) > 0.4, "a sign fills its square"
    assert 0.5 < SIGNS[row].size_m < 1.0


@ROWS
@pytest.mark.parametrize("size_px", [8, 33, 128])
def test_face_is_a_picture_of_red_and_white(row, size_px):
    picture = face(row, size_px)
    assert picture.shape == (size_px, size_px, 3) and picture.dtype == np.uint8
    assert not picture.flags.writeable
    red, green, blue = masked(row, size_px).astype(int).reshape(-1, 3).T
    assert ((red > green + 60) & (red > blue + 60)).mean() > 0.15
    assert ((red > 200) & (green > 200) & (blue > 200)).mean() > 0.03


def test_no_size_of_face_out_of_range():
    for size_px in (0, 7, 1025):
        with pytest.raises(ValueError, match=f"face size is {size_px}"):
            face(0, size_px)


def test_all_faces_differ():
    pictures = [face(row).astype(int) for row in range(len(SIGNS))]
    for row, first in enumerate(pictures):
        for other, second in enumerate(pictures[:row]):
            assert np.abs(first - second).mean() > 4, (SIGNS[row].name, SIGNS[other].name)


@pytest.mark.parametrize("size_px", [12, 16, 24])
@ROWS
def test_small_faces_are_read_by_the_nearest_template(row, size_px):
    """Seen small, dim and noisy, each sign is still nearest to its own template (correlation of grey values)."""
    rng = np.random.default_rng(size_px)
    templates = np.stack([masked(k, size_px) for k in range(len(SIGNS))]).astype(float)
    templates -= templates.mean(axis=(1, 2), keepdims=True)
    templates /= np.sqrt((templates ** 2).sum(axis=(1, 2, 3), keepdims=True))
    dim = cv2.resize(masked(row, 128), (size_px, size_px), interpolation=cv2.INTER_AREA) * 0.6
    for _ in range(20):
        seen = dim + rng.normal(0, 12, dim.shape)
        assert (templates * (seen - seen.mean(axis=(0, 1)))).sum(axis=(1, 2, 3)).argmax() == row


def test_limits_name_their_speed_in_si_units():
    for sign in SIGNS:
        if sign.speed_mps is not None:
            number = str(round(sign.speed_mps * 3.6))
            assert sign.name == f"limit_{number}" and f" {number} km/h" in sign.meaning
    assert SIGNS[SIGN_INDEX["limit_50"]].speed_mps == pytest.approx(13.888888)
    assert {name: SIGNS[row].gtsrb_class for name, row in SIGN_INDEX.items()} == {
        "limit_30": 1, "limit_50": 2, "limit_70": 4, "limit_100": 7, "yield": 13, "stop": 14}


@pytest.mark.parametrize("seed", TOWNS)
def test_every_lane_that_needs_a_sign_has_it(seed):
    """Drivers read the limit after each junction, and stop or yield wherever there is a line: no more, no less."""
    town = build_town(seed)
    wanted = set()
    for lane in town.network.lanes:
        limit = SIGN_INDEX.get(f"limit_{round(lane.speed_limit_mps / KMH)}")
        if lane.junction is None and lane.length_m >= 2 * LIMIT_STATION_M:
            assert limit is not None, "towns have no limits that no sign can show"
            wanted.add((lane.id, limit))
        if lane.control != Control.NONE:
            wanted.add((lane.id, SIGN_INDEX[lane.control.name.lower()]))
    assert set(zip(town.signs.lane.tolist(), town.signs.sign.tolist(), strict=True)) == wanted
    assert len(town.signs.sign) == len(wanted)


@pytest.mark.parametrize("seed", TOWNS)
def test_signs_stand_to_the_right_of_their_lane_and_face_its_traffic(seed):
    town = build_town(seed)
    signs = town.signs
    for row in range(len(signs.sign)):
        lane = town.network.lanes[signs.lane[row]]
        heading = float(np.interp(signs.station_m[row], lane.station_m, np.unwrap(lane.heading_rad)))
        at = np.array([np.interp(signs.station_m[row], lane.station_m, lane.centre_m[:, k]) for k in range(2)])
        ahead = np.array([math.cos(heading), math.sin(heading)])
        left, offset = np.array([-ahead[1], ahead[0]]), signs.pose[row, :2] - at
        assert offset @ left == pytest.approx(-(lane.width_m / 2 + SHOULDER_M + BESIDE_ROAD_M), abs=0.02)
        assert offset @ ahead == pytest.approx(0.0, abs=0.05)
        assert abs(wrap_angle(signs.pose[row, 2] - heading - math.pi)) <= YAW_SPREAD_RAD + 1e-6
    assert ((signs.centre_height_m > 2.0) & (signs.centre_height_m < 2.5)).all()


@pytest.mark.parametrize("seed", TOWNS)
def test_no_sign_stands_on_a_road(seed):
    town = build_town(seed)
    gap = town.network.distance_to_road(town.signs.pose[:, :2])
    assert (gap > 0.3).all(), f"{gap.min():.2f} m from the paved edge"


def test_stop_sign_stands_at_its_line_on_a_road_made_by_hand():
    posts = place_signs(network(Control.STOP), np.random.default_rng(0))
    stop = np.flatnonzero(posts.sign == SIGN_INDEX["stop"])
    assert len(stop) == 1 and posts.lane[stop[0]] == 0
    assert posts.pose[stop[0], 0] == pytest.approx(149.75) and posts.pose[stop[0], 1] == pytest.approx(-4.75)
    limits = np.flatnonzero(posts.sign == SIGN_INDEX["limit_50"])
    assert posts.lane[limits].tolist() == [0, 2, 3, 5], "not on the turn lanes of the junction"
    assert posts.pose[limits, 0].tolist() == pytest.approx([10, 180, 390, 140])


def test_place_signs_depends_on_its_generator_alone():
    first, again, other = (place_signs(network(), np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first.pose.tobytes() == again.pose.tobytes()
    assert first.pose.tobytes() != other.pose.tobytes()
