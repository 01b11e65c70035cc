"""Tracks into the fields: off the lane's right edge, away from every road, free of houses, signed as closed."""

import math

import numpy as np
import pytest
import shapely

from envs.roads.network import SHOULDER_M, RoadNetwork
from envs.roads.procedural import build_town
from envs.roads.tracks import OTHER_ROAD_M, with_tracks
from envs.state import Town
from tests.straight_road import network


@pytest.fixture(scope="module")
def towns() -> list[Town]:
    return [build_town(seed) for seed in range(30)]


def ground(track) -> shapely.Geometry:
    return shapely.LineString(track.line_m).buffer(track.width_m / 2, cap_style="flat")


def test_tracks_leave_country_roads_at_their_right_edge(towns):
    count = 0
    for town in towns:
        for track in town.network.tracks:
            lane, (begin, end) = town.network.lanes[track.lane], track.line_m
            centre = shapely.LineString(lane.centre_m)
            assert centre.distance(shapely.Point(begin)) == pytest.approx(lane.width_m / 2 + SHOULDER_M, abs=0.01)
            assert math.dist(begin, end) >= 14.0 and 55 / 3.6 < lane.speed_limit_mps < 105 / 3.6
            heading = np.interp(track.station_m, lane.station_m, np.unwrap(lane.heading_rad))
            along = (end - begin) / math.dist(begin, end)
            assert along @ np.array([math.sin(heading), -math.cos(heading)]) > 0.96, "to the right"
            count += 1
    assert count > 10


@pytest.mark.slow
def test_no_lane_enters_a_track_and_nothing_stands_on_it(towns):
    for town in towns:
        lanes = shapely.union_all([shapely.LineString(lane.centre_m).buffer(lane.width_m / 2)
                                   for lane in town.network.lanes])
        for track in town.network.tracks:
            assert ground(track).distance(lanes) > SHOULDER_M - 0.5
            assert not town.network.is_on_road(*track.line_m.mean(axis=0))
            assert town.network.distance_to_road(track.line_m[1:])[0] >= OTHER_ROAD_M
            corners = shapely.points(town.props.pose[:, :2])
            assert shapely.distance(ground(track), corners).min() > 1.0
            assert shapely.distance(ground(track), shapely.points(town.signs.pose[:, :2])).min() > 0.2


def test_slow_streets_have_none():
    road: RoadNetwork = with_tracks(network(), np.random.default_rng(0))
    assert road.tracks == ()
