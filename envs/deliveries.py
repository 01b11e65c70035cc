"""Delivery vans that stand at the lane's edge with their hazard lights on, where traffic can pass them.

They stand on straight stretches of the outermost lane, away from junctions, crossings, bays and each other, where the
line beside them is dashed or another lane runs the same way. Nothing here moves.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from envs.geometry import Array, interpolate, keep_apart, wrap_angle
from envs.obstruction import HAZARD
from envs.road_users import WORK_COLOURS
from envs.roads.network import Lane, Marking, RoadNetwork
from envs.roads.routes import Route
from envs.state import ActorKind, Actors

VAN_SIZES_M = np.array([[5.4, 1.98, 2.3], [5.9, 2.0, 2.5]])
EDGE_M = 0.15  # between its wheels and the lane's edge
AFTER_M, BEFORE_M = 45.0, 60.0  # of the lane's beginning and end: room to queue and to pull out, and back in
STRAIGHT_M, STRAIGHT_RAD = 45.0, 0.12  # so far before and behind it the road hardly turns: oncoming cars are seen
CLEAR_M = 25.0  # of crossings, bays, other obstacles and where the route changes lanes
LEAD_M = 20.0  # more before and behind islands and roadworks
START_CLEAR_M, GOAL_CLEAR_M = 60.0, 60.0
APART_M = 130.0
NEAR_ROUTE_M = 60.0
SPACING_M = 10.0  # between places that are tried


def delivery_vans(network: RoadNetwork, route: Route, count: int, keep_clear_m: Array, rng: Generator) -> Actors:
    """Up to `count` vans near the route, `keep_clear_m` (K, 2) apart from them by CLEAR_M."""
    pose = np.concatenate([np.zeros((0, 3)), *(_places(lane) for lane in network.lanes if _can_be_passed(lane))])
    pose = pose[_gap(pose, route.points_m[::40]) < NEAR_ROUTE_M]
    pose = pose[_is_clear(network, route, pose, keep_clear_m)]
    pose = pose[rng.permutation(len(pose))]
    pose = pose[keep_apart(pose[:, :2], np.full(len(pose), APART_M / 2))][:count]
    size = rng.choice(VAN_SIZES_M, len(pose))
    right = size[:, 1] / 2 + EDGE_M
    pose[:, 0] -= right * np.sin(pose[:, 2])  # the places are on the lane's edge
    pose[:, 1] += right * np.cos(pose[:, 2])
    return Actors(np.zeros(len(pose), int), np.full(len(pose), int(ActorKind.VEHICLE)), pose, size,
                  np.zeros(len(pose)), rng.choice(WORK_COLOURS, len(pose)), np.full(len(pose), HAZARD, np.uint8))


def _can_be_passed(lane: Lane) -> bool:
    return (lane.junction is None and lane.right_neighbour is None and lane.length_m > AFTER_M + BEFORE_M
            and (lane.left_neighbour is not None or (lane.left == Marking.DASHED and lane.opposite is not None)))


def _places(lane: Lane) -> Array:
    """Poses (K, 3) on the right edge of a lane, where the road is straight."""
    at = np.arange(AFTER_M, lane.length_m - BEFORE_M, SPACING_M)
    heading, before, behind = (lane.heading_at(at + off) for off in (0.0, -STRAIGHT_M, STRAIGHT_M))
    is_straight = (np.abs(heading - before) < STRAIGHT_RAD) & (np.abs(behind - heading) < STRAIGHT_RAD)
    edge = lane.width_m / 2 * np.stack([np.sin(heading), -np.cos(heading)], axis=1)
    pose = np.column_stack([interpolate(lane.centre_m, lane.station_m, at) + edge, wrap_angle(heading)])
    return pose[is_straight]


def _is_clear(network: RoadNetwork, route: Route, pose: Array, keep_clear_m: Array) -> Array:
    """Which places (K,) are away from all that needs room."""
    points = [crossing.ends_m.mean(axis=0)[None] for crossing in network.crossings]
    for bay in network.bays:
        lane = network.lanes[bay.lane]
        points.append(interpolate(lane.centre_m, lane.station_m, np.array([bay.begin_m, bay.end_m])))
    for change in route.changes:
        points.append(route.points_m[route.index_at(change.begin_m):route.index_at(change.end_m):30])
    spans = [*((lane, *span) for median in network.medians
               for lane, span in zip(median.lanes, median.spans_m, strict=True)),
             *(span for works in network.works for span in works.spans_m)]
    for number, begin, end in spans:
        lane = network.lanes[number]
        points.append(interpolate(lane.centre_m, lane.station_m, np.arange(begin - LEAD_M, end + LEAD_M, 20.0)))
    ends = ((route.points_m[:1], START_CLEAR_M), (route.points_m[-1:], GOAL_CLEAR_M))
    is_clear = np.ones(len(pose), bool)
    for places, gap_m in ((np.concatenate([keep_clear_m, *points]), CLEAR_M), *ends):
        is_clear &= _gap(pose, places) >= gap_m
    return is_clear


def _gap(pose: Array, points_m: Array) -> Array:
    """Distance (K,) [m] from places (K, 3) to the nearest of points (P, 2); inf if there are none."""
    offset = pose[:, None, :2] - points_m[None]
    return np.sqrt((offset ** 2).sum(axis=2).min(axis=1, initial=np.inf))
