"""Posts: beside their lane, off the asphalt, apart from each other, faces one over the other; the same for a seed."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from envs.geometry import wrap_angle
from envs.posts import BESIDE_LIGHT_M, BESIDE_ROAD_M, CLEAR_OF_LIGHT_M, YAW_SPREAD_RAD
from envs.roads.network import SHOULDER_M, Control, Surface
from envs.roads.procedural import build_town
from envs.signs import SIGN_INDEX, SIGNS, Duty, place_signs
from envs.sites import APART_M, LIMIT_STATION_M
from tests.straight_road import network

TOWNS = range(12)
OBSTRUCTED = (Duty.KEEP_RIGHT, Duty.KEEP_LEFT)
EACH_TOWN = pytest.mark.parametrize("seed", TOWNS)


@EACH_TOWN
def test_signs_stand_to_the_right_of_their_lane_and_face_its_traffic(seed):
    town = build_town(seed)
    signs = town.signs
    for row in range(len(signs.sign)):
        lane = town.network.lanes[signs.lane[row]]
        assert lane.junction is None and lane.right_neighbour is None
        if signs.station_m[row] == lane.length_m or SIGNS[signs.sign[row]].order.duty in OBSTRUCTED:
            continue  # on an island or on roadworks, see test_sites.py and test_closures.py
        heading = float(np.interp(signs.station_m[row], lane.station_m, np.unwrap(lane.heading_rad)))
        at = np.array([np.interp(signs.station_m[row], lane.station_m, lane.centre_m[:, k]) for k in range(2)])
        ahead = np.array([math.cos(heading), math.sin(heading)])
        left, offset = np.array([-ahead[1], ahead[0]]), signs.pose[row, :2] - at
        beside = -(lane.half_at(signs.station_m[row]) + SHOULDER_M + BESIDE_ROAD_M)
        if lane.signal is not None and lane.length_m - signs.station_m[row] < CLEAR_OF_LIGHT_M:
            heads = town.signal_heads
            from_line = heads.pose[(heads.lane == lane.id) & (heads.arm_m == 0), :2] - lane.centre_m[-1]
            beside = from_line[np.hypot(*from_line.T).argmin()] @ left - BESIDE_LIGHT_M
        if any(wider.lane == lane.id for wider in (*town.network.bays, *town.network.works)):
            assert offset @ left < beside + 0.02, "farther out where the road has a bay or is dug up"
            continue
        assert offset @ left == pytest.approx(beside, abs=0.02)
        assert offset @ ahead == pytest.approx(0.0, abs=0.05)
        if SIGNS[signs.sign[row]].order.duty not in (Duty.NO_ENTRY, Duty.CLOSED):
            assert abs(wrap_angle(signs.pose[row, 2] - heading - math.pi)) <= YAW_SPREAD_RAD + 1e-6


@EACH_TOWN
def test_no_sign_stands_on_a_road_or_hides_another(seed):
    """Posts keep off the asphalt; the lowest face hangs at 2.0 to 2.5 m, others over it; two posts keep apart."""
    town = build_town(seed)
    signs = town.signs
    gap = town.network.distance_to_road(signs.pose[signs.sign != SIGN_INDEX["keep_left"], :2])
    assert (gap > 0.4).all(), f"{gap.min():.2f} m from the paved edge"
    posts = {}
    for row in range(len(signs.sign)):
        posts.setdefault((signs.lane[row], signs.station_m[row]), []).append(row)
    for rows in posts.values():
        assert len({signs.pose[row].tobytes() for row in rows}) == 1
        order = sorted(rows, key=lambda row: signs.centre_height_m[row])
        assert 2.0 < signs.centre_height_m[order[0]] < 2.5
        for low, high in itertools.pairwise(order):
            room = (SIGNS[signs.sign[low]].size_m + SIGNS[signs.sign[high]].size_m) / 2
            assert signs.centre_height_m[high] - signs.centre_height_m[low] >= room, "one over the other"
    for (lane, a), (other, b) in itertools.combinations(posts, 2):
        assert lane != other or abs(a - b) >= APART_M or min(a, b) == LIMIT_STATION_M or SIGN_INDEX["stop"] in [
            signs.sign[row] for row in posts[lane, a] + posts[other, b]] or SIGN_INDEX["yield"] in [
            signs.sign[row] for row in posts[lane, a] + posts[other, b]]


def test_roundabout_sign_hangs_under_the_yield_sign_at_its_entry():
    road = dataclasses.replace(network(Control.YIELD), surfaces=(
        *network().surfaces, Surface("roundabout", np.array([[150.0, -9.0], [170.0, -9.0], [160.0, 9.0]]), 0)))
    posts = place_signs(road, np.random.default_rng(0))
    low, high = (int(np.flatnonzero(posts.sign == SIGN_INDEX[name])[0]) for name in ("roundabout", "yield"))
    assert posts.pose[low].tobytes() == posts.pose[high].tobytes()
    assert posts.centre_height_m[low] < posts.centre_height_m[high]


def test_place_signs_depends_on_its_generator_alone():
    first, again, other = (place_signs(network(), np.random.default_rng(seed)) for seed in (3, 3, 4))
    for field in dataclasses.fields(first):
        assert getattr(first, field.name).tobytes() == getattr(again, field.name).tobytes()
    assert first.pose.tobytes() != other.pose.tobytes()


def test_some_signs_are_hidden_by_leaves_and_none_wholly():
    leaves = np.concatenate([build_town(seed).signs.leaves for seed in TOWNS])
    assert 0.01 < (leaves > 0).mean() < 0.12 and leaves.max() < 0.6
