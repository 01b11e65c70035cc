"""Delivery vans: in the way, where they can be passed, and the same ones each time."""

from __future__ import annotations

import numpy as np
import pytest

from envs.deliveries import AFTER_M, APART_M, BEFORE_M, CLEAR_M, delivery_vans
from envs.geometry import project
from envs.obstruction import HAZARD
from envs.roads.network import Marking
from envs.roads.procedural import build_town
from envs.world import plan_route
from scenarios.spec import BUSY_VANS, Scenario, split_scenario


@pytest.mark.parametrize("seed", [10_000, 10_002, 10_006])
def test_they_stand_in_a_lane_where_they_can_be_passed(seed):
    network = build_town(seed).network
    route = plan_route(network, Scenario(name="any", town_seed=seed))
    vans = delivery_vans(network, route, 4, np.zeros((0, 2)), np.random.default_rng(1))
    assert 1 <= len(vans.id) <= 4 and (vans.lamps & HAZARD == HAZARD).all() and not vans.speed_mps.any()
    for (x, y, yaw), (length, width, _) in zip(vans.pose.tolist(), vans.size_m.tolist(), strict=True):
        lane = network.lanes[network.lane_at(x, y, yaw)]
        at, lateral = project(lane.centre_m, lane.station_m, x, y, 0, len(lane.centre_m))
        assert lane.right_neighbour is None and lane.junction is None
        assert lane.left_neighbour is not None or (lane.left == Marking.DASHED and lane.opposite is not None)
        assert lateral - width / 2 == pytest.approx(0.15 - lane.width_m / 2, abs=0.1)
        assert AFTER_M - 1.0 < at < lane.length_m - BEFORE_M + 1.0 and length > 5.0
        for crossing in network.crossings:
            assert np.hypot(*(crossing.ends_m.mean(axis=0) - (x, y))) > CLEAR_M - 2.0
    apart = np.hypot(*(vans.pose[:, None, :2] - vans.pose[None, :, :2]).transpose(2, 0, 1))
    assert (apart[np.triu_indices(len(apart), 1)] > APART_M - 5.0).all()


def test_the_same_generator_gives_the_same_vans_and_other_places_are_kept_clear():
    network = build_town(10_002).network
    route = plan_route(network, Scenario(name="any", town_seed=10_002))
    none = np.zeros((0, 2))
    first, again = (delivery_vans(network, route, 2, none, np.random.default_rng(5)) for _ in range(2))
    assert first.pose.tobytes() == again.pose.tobytes() and first.size_m.tobytes() == again.size_m.tobytes()
    moved = delivery_vans(network, route, 2, first.pose[:, :2], np.random.default_rng(5))
    gap = np.hypot(*(moved.pose[:, None, :2] - first.pose[None, :, :2]).transpose(2, 0, 1))
    assert len(moved.id) == 0 or gap.min() > CLEAR_M - 3.0


def test_every_fourth_busy_town_has_two_and_quiet_ones_have_none():
    assert [split_scenario("val-busy", k).delivery_vans for k in range(8)] == 2 * list(BUSY_VANS)
    assert split_scenario("val", 3).delivery_vans == 0
