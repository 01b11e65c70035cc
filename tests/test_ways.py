"""Where people cross: every crossing once, clear of what stands there, with all lanes that lead to it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from shapely import LineString

from envs.roads.network import Crossing
from envs.roads.pavements import pave
from envs.roads.procedural import build_town
from envs.roads.routes import random_route
from envs.roads.ways import FREE_LIMIT_MPS, KERB_M, WayKind, Ways, find_ways, lane_lines
from envs.state import Actors, Town, no_actors
from tests.straight_road import ROUTE, TOWN, actors, network
from tests.test_pavements import cars_on_the_verge, solids

CROSSINGS = (Crossing(0, np.array([[80.0, -4.5], [80.0, 4.5]]), 4.0, (0, 5), (80.0, 70.0), True),
             Crossing(1, np.array([[250.0, 4.5], [250.0, -4.5]]), 4.0, (2, 3), (80.0, 150.0), False))
CROSSED = dataclasses.replace(TOWN, network=dataclasses.replace(network(), crossings=CROSSINGS))


def ways_of(town: Town = CROSSED, standing: Actors | None = None) -> Ways:
    standing = standing or no_actors()
    return find_ways(town, ROUTE, pave(town, ROUTE, standing), standing)


def test_crossings_are_ways_with_their_kind_and_number() -> None:
    ways = ways_of()
    assert ways.kind[:2].tolist() == [WayKind.ZEBRA, WayKind.PLAIN] and ways.crossing[:2].tolist() == [0, 1]
    assert (ways.crossing[2:] == -1).all() and (ways.kind[2:] == WayKind.FREE).all()
    middle = ways.end_m.mean(axis=1)[:, 0]
    assert np.abs(middle[2:, None] - middle[:2]).min() > 20.0, "nobody jaywalks beside a crossing"
    assert set(ways.lane[ways.first[0]:ways.first[1]].tolist()) == {0, 5, 4, 3}, "what leads to the zebra, both ways"


def test_a_way_begins_where_its_pavement_passes() -> None:
    pavements = pave(CROSSED, ROUTE, no_actors())
    ways = find_ways(CROSSED, ROUTE, pavements, no_actors())
    for row in range(len(ways.kind)):
        for end in range(2):
            foot = ways.foot[row, end]
            assert ways.at[foot] == 2 * row + end
            assert np.hypot(*(pavements.kerb_m[foot] - ways.end_m[row, end])) < KERB_M + 0.6


def test_a_car_on_the_verge_closes_the_ways_beside_it() -> None:
    closed = ways_of(standing=actors((80.0, -5.2, 0.0, 0.0)))
    assert 0 not in closed.crossing.tolist() and 1 in closed.crossing.tolist()


def test_a_signal_guards_the_crossing_before_it() -> None:
    lanes = tuple(dataclasses.replace(lane, signal=3) if lane.id == 0 else lane for lane in network().lanes)
    crossings = (dataclasses.replace(CROSSINGS[0], ends_m=np.array([[145.0, -4.5], [145.0, 4.5]]),
                                     stations_m=(145.0, 5.0)), CROSSINGS[1])
    ways = ways_of(dataclasses.replace(TOWN, network=dataclasses.replace(network(), lanes=lanes, crossings=crossings)))
    assert ways.group[0].tolist() == [3] and ways.group[1].tolist() == [-1]


def test_a_child_hides_between_two_parked_cars_behind_the_first() -> None:
    """Cars at 40 and 50 m: the way begins 0.75 m beyond the first one's front, in line with its middle."""
    ways = ways_of(standing=actors((40.0, -5.2, 0.0, 0.0), (50.0, -5.2, 0.0, 0.0)))
    hidden = np.flatnonzero(ways.kind == WayKind.HIDDEN)
    assert len(hidden) == 1
    np.testing.assert_allclose(ways.end_m[hidden[0]], [[43.0, -5.2], [43.0, 4.5]], atol=1e-6)
    assert ways.outside_m[hidden[0]] == pytest.approx(1.2)
    assert not np.isin(ways.at, 2 * hidden[0] + np.arange(2)).any(), "nobody else goes there"
    lone = ways_of(standing=actors((40.0, -5.2, 0.0, 0.0), (90.0, -5.2, 0.0, 0.0)))
    assert WayKind.HIDDEN not in lone.kind.tolist()


@pytest.mark.parametrize("seed", range(10_000, 10_006))
def test_ways_in_towns_go_from_pavement_to_pavement_over_slow_roads_and_past_nothing_solid(seed: int) -> None:
    town = build_town(seed)
    route = random_route(town.network, np.random.default_rng(seed))
    cars = cars_on_the_verge(town, route.lanes[::2], np.random.default_rng(seed))
    pavements = pave(town, route, cars)
    ways = find_ways(town, route, pavements, cars)
    things = solids(town, cars)
    for end, limit, kind, foot in zip(ways.end_m, ways.limit_mps, ways.kind, ways.foot, strict=True):
        gap = town.network.distance_to_road(np.linspace(*end, 41))
        is_halved = any(np.hypot(*(median.heads_m.mean(axis=0) - end.mean(axis=0))) < 1.0
                        for median in town.network.medians)  # by the island of a refuge
        assert gap[[0, -1]].min() > 0.2 and gap[4:-4].max() < (1.01 if is_halved else 0.0)
        assert limit < FREE_LIMIT_MPS or kind < WayKind.FREE
        assert min(LineString(end).distance(thing) for thing in things) > 0.3
        assert pavements.is_open[foot].any(axis=1).all()


def test_lanes_are_packed_one_after_the_other() -> None:
    lines = lane_lines(TOWN.network)
    for lane in TOWN.network.lanes:
        rows = slice(lines.first[lane.id], lines.first[lane.id + 1])
        np.testing.assert_array_equal(lines.point_m[rows], lane.centre_m)
        np.testing.assert_array_equal(lines.station_m[rows], lane.station_m)
