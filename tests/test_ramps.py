"""Ramps as a driver meets them: where their lanes begin and end, what is hatched, and how traffic joins."""

import numpy as np
import pytest
import shapely
from test_traffic import AWAY, DT_S, NOBODY, STILL, overlapping, town_traffic

from envs.drivers.following import CUR
from envs.roads.network import Control, Marking, RoadNetwork
from envs.roads.procedural import build_network
from envs.roads.ramps import RAMP_LIMIT_MPS

TOWN = 5


@pytest.fixture(scope="module")
def network() -> RoadNetwork:
    return build_network(TOWN)


def beside(network: RoadNetwork) -> int:
    """The lane beside the road on which whoever joins gathers speed."""
    return next(lane.id for lane in network.lanes if lane.left == Marking.BLOCK)


def test_what_is_hatched_lies_between_road_and_ramp_and_on_no_lane():
    found = 0
    for seed in (0, 1, 3, TOWN):
        network = build_network(seed)
        lanes = shapely.union_all([shapely.LineString(lane.centre_m).buffer(lane.width_m / 2 - 0.1, cap_style="flat")
                                   for lane in network.lanes if network.surfaces[lane.surface].piece != "roundabout"])
        paved = shapely.union_all([shapely.Polygon(surface.outline_m) for surface in network.surfaces]).buffer(0.01)
        for area in map(shapely.Polygon, network.hatched_m):
            if paved.contains(area) and min(shapely.distance(area, shapely.LineString(lane.centre_m)) for lane in
                                            network.lanes if network.surfaces[lane.surface].piece == "ramp") < 3.0:
                assert shapely.area(shapely.intersection(lanes, area)) < 0.05 and shapely.Polygon(area).exterior.is_ccw
                assert area.area > 3.0
                found += 1
    assert found == 8, "one where they part and one where they meet"


def test_line_beside_a_ramps_lane_may_be_crossed_and_the_roads_own_is_open_there(network):
    (number, begin, end), = network.open_edges
    along, lane = network.lanes[number], network.lanes[beside(network)]
    assert lane.control == Control.YIELD and end == along.length_m
    gap = np.hypot(*(lane.centre_m[:, None] - along.centre_m).transpose(2, 0, 1)).min(axis=1)
    assert gap == pytest.approx(lane.width_m, abs=0.02) and end - begin == pytest.approx(lane.length_m)


def test_traffic_leaves_and_joins_at_speed_and_touches_nobody(network):
    """Two minutes: whoever joins has gathered speed beside the road and mostly need not halt at its end."""
    traffic, joined = town_traffic(TOWN, 24), []
    into, before = network.lanes[beside(network)].successors[0], None
    signals = np.zeros(20, np.int64)
    for step in range(1200):
        seen = traffic.step(AWAY, signals, NOBODY, STILL, DT_S)
        if step % 3 == 0:
            assert overlapping(seen) == []
        now = traffic._users["path"][:-1, CUR].copy()
        if before is not None:
            joined += traffic._users["v"][:-1][(now == into) & (before != into)].tolist()
        before = now
    assert len(joined) >= 2 and np.median(joined) > 0.6 * RAMP_LIMIT_MPS
