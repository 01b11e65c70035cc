"""Junctions that forbid turns: what is left, that every road can still be reached, and the sign that says so."""

from collections import Counter

import networkx
import numpy as np
import pytest

from envs.roads.network import Command
from envs.roads.procedural import build_network, build_town
from envs.signs import SIGN_INDEX
from envs.sites import Streets

ONLY = {"only_straight": {Command.STRAIGHT}, "only_left": {Command.LEFT}, "only_right": {Command.RIGHT}}


@pytest.fixture(scope="module")
def networks():
    return [build_network(seed) for seed in range(60)]


def test_every_lane_can_still_be_reached_from_every_other(networks):
    for network in networks:
        assert networkx.is_strongly_connected(network.ways)


def test_many_towns_forbid_turns_and_each_kind_occurs(networks):
    found: Counter[str] = Counter()
    for network in networks:
        streets = Streets(network)
        ways = [streets.ways_on(lane) for lane in streets.outer]
        found.update({name for name, only in ONLY.items() if only in ways})
    assert found["only_straight"] >= 15 and found["only_left"] >= 15


def test_signs_stand_where_one_turn_is_left_and_nowhere_else():
    seen = 0
    for seed in range(12):
        town = build_town(seed)
        streets = Streets(town.network)
        for name in ("only_straight", "only_left"):
            for lane in town.signs.lane[town.signs.sign == SIGN_INDEX[name]]:
                assert streets.ways_on(town.network.lanes[lane]) == ONLY[name]
                seen += 1
    assert seen >= 5


def test_the_same_town_forbids_the_same_turns():
    first, again = build_network(5), build_network(5)
    assert [lane.successors for lane in first.lanes] == [lane.successors for lane in again.lanes]
    assert all(np.array_equal(a.centre_m, b.centre_m) for a, b in zip(first.lanes, again.lanes, strict=True))
