"""Tracks that lead off country roads into the fields. They are not paved, and closed to all vehicles.

No lane enters them and nothing drives there: they are places where the road could be left and must not be.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from envs.geometry import interpolate
from envs.roads.network import SHOULDER_M, Lane, RoadNetwork, Track

SLOWEST_MPS, FASTEST_MPS = 55 / 3.6, 105 / 3.6  # of the roads that they leave
SHARE = 0.3  # of the directions of such roads
WIDTH_M, LENGTH_M = 3.0, (14.0, 30.0)
END_CLEAR_M = 35.0  # of a mouth from the lane's ends
OTHER_ROAD_M = 8.0  # from a track's end to any other road
SKEW_RAD = 0.25  # at most, against the right angle


def with_tracks(network: RoadNetwork, rng: np.random.Generator) -> RoadNetwork:
    """The same network with tracks drawn from `rng`."""
    lanes = [lane for lane in network.lanes if lane.junction is None and lane.right_neighbour is None
             and SLOWEST_MPS < lane.speed_limit_mps < FASTEST_MPS and lane.length_m > 3 * END_CLEAR_M]
    found = []
    for lane in lanes:
        is_left, share, length, skew = rng.random(4)
        track = _leading_off(lane, END_CLEAR_M + share * (lane.length_m - 2 * END_CLEAR_M),
                             LENGTH_M[0] + length * (LENGTH_M[1] - LENGTH_M[0]), SKEW_RAD * (2 * skew - 1))
        if is_left < SHARE and _is_free(network, track):
            found.append(track)
    return replace(network, tracks=tuple(found))


def _leading_off(lane: Lane, station_m: float, length_m: float, skew_rad: float) -> Track:
    """A straight track from a lane's right paved edge."""
    heading = float(lane.heading_at(station_m))
    edge = lane.width_m / 2 + SHOULDER_M
    foot = interpolate(lane.centre_m, lane.station_m, np.array([station_m]))[0]
    begin = foot + edge * np.array([math.sin(heading), -math.cos(heading)])
    along = heading - math.pi / 2 + skew_rad
    return Track(lane.id, station_m, np.stack([begin, begin + length_m * np.array([math.cos(along), math.sin(along)])]),
                 WIDTH_M)


def _is_free(network: RoadNetwork, track: Track) -> bool:
    """Whether its middle leads away from all roads."""
    begin, end = track.line_m
    share = np.linspace(0.2, 1.0, 5)
    away = network.distance_to_road(begin + share[:, None] * (end - begin), math.dist(begin, end))
    return bool((away > 0.8 * share * min(math.dist(begin, end), OTHER_ROAD_M / 0.8)).all())
