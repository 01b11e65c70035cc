"""Ways over the road for people on foot: a town's crossings, and any place where a slow street can be crossed.

A way joins two points outside the kerbs. With it comes what a person looks at before stepping out: every lane that
leads to it and how far it is along that lane. Built for one episode, clear of what stands there.
"""

from __future__ import annotations

import heapq
import itertools
import math
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from envs.geometry import Array, interpolate, project
from envs.roads.network import SHOULDER_M, Crossing, Lane, RoadNetwork
from envs.roads.pavements import BODY_M, Pavements, boxes_of, is_blocked, nearest
from envs.roads.routes import Route
from envs.state import ActorKind, Actors, Town

KERB_M = 0.5  # from the paved edge to where a person waits
FREE_SPACING_M = 15.0  # between two places where one may cross anywhere
FREE_MARGIN_M = 22.0  # of such a place from a road's ends and from crossings
FREE_WIDEST_M = 9.0  # road that is crossed where nothing is marked
FREE_LIMIT_MPS = 51 / 3.6
SIGHT_S = 12.0  # at the speed limit: how far people look along the lanes
SIGHT_LEAST_M = 60.0
SIGNAL_REACH_M = 15.0  # a crossing so near to a lane's light is guarded by it
END_OFF_ROAD_M = 0.25
FOOT_M = 3.0  # farthest from a crossing's end to the pavement's kerb
HIDDEN_GAP_M = (1.5, 20.0)  # between two parked cars
HIDDEN_BEHIND_M = 0.75  # of the first car's front
HIDDEN_OUTSIDE_M = (0.3, 1.8)  # of a parked car's middle from the paved edge
STRIP_M = 3.5  # of the pavement behind a way's end that must be clear


class WayKind(IntEnum):
    """Who waits for whom."""

    ZEBRA = 0  # vehicles give way
    PLAIN = 1  # people wait for a gap
    FREE = 2  # nothing is marked: people wait for a large gap
    HIDDEN = 3  # from between two parked cars: children do not look


class Ways(NamedTuple):
    """M ways over the road; plain arrays for compiled code."""

    end_m: Array  # (M, 2, 2) where people wait
    width_m: Array  # (M,) of the strip along the road
    kind: Array  # (M,) int of WayKind
    limit_mps: Array  # (M,) highest of the lanes it crosses
    outside_m: Array  # (M,) from the first end to the paved edge
    crossing: Array  # (M,) int id of the town's crossing, -1 where there is none
    foot: Array  # (M, 2) int, the pavement point beside each end
    at: Array  # (N,) int by pavement point: 2 * way + end that begins there, or -1
    group: Array  # (M, G) int signal groups of the lanes it crosses, filled up with -1
    first: Array  # (M + 1,) int, where each way's leading lanes begin
    lane: Array  # (L,) int leading lanes
    distance_m: Array  # (L,) from the beginning of that lane to the way


class LaneLines(NamedTuple):
    """The centre lines of all lanes in a row."""

    point_m: Array  # (P, 2)
    station_m: Array  # (P,) along the own lane
    first: Array  # (K + 1,) int, where each lane begins
    half_width_m: Array  # (K,)
    circle_m: Array  # (K, 3) x, y and radius around each lane


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A way before it is known to be clear; `middle_m` (S,) stations of its middle along the lanes it crosses."""

    end_m: Array  # (2, 2)
    width_m: float
    kind: WayKind
    crossing: int
    lanes: tuple[int, ...]
    middle_m: tuple[float, ...]
    outside_m: float = KERB_M


def lane_lines(network: RoadNetwork) -> LaneLines:
    """All lanes, packed."""
    lanes = network.lanes
    counts = [len(lane.centre_m) for lane in lanes]
    centre = np.array([(lane.centre_m.min(axis=0) + lane.centre_m.max(axis=0)) / 2 for lane in lanes])
    radius = [float(np.hypot(*(lane.centre_m - middle).T).max()) for lane, middle in zip(lanes, centre, strict=True)]
    return LaneLines(np.concatenate([lane.centre_m for lane in lanes]),
                     np.concatenate([lane.station_m for lane in lanes]),
                     np.concatenate([[0], np.cumsum(counts)]), np.array([lane.width_m / 2 for lane in lanes]),
                     np.column_stack([centre, radius]))


def find_ways(town: Town, route: Route, pavements: Pavements, standing: Actors) -> Ways:
    """Every crossing that joins two pavements, free places along the route, and hidden ones on its right."""
    network = town.network
    found = [_marked(crossing) for crossing in network.crossings]
    taken = np.array([candidate.end_m.mean(axis=0) for candidate in found]).reshape(-1, 2)
    for lane in dict.fromkeys(route.lanes):
        found += _anywhere(network, network.lanes[lane], taken)
        found += _hidden(network, network.lanes[lane], standing)
    found, feet = _with_feet(found, network, pavements)
    is_clear = _is_clear(found, boxes_of(town, standing))
    rows = np.flatnonzero(is_clear).tolist()
    return pack_ways([found[row] for row in rows], feet[rows], network, len(pavements.kerb_m))


def pack_ways(found: list[_Candidate], foot: Array, network: RoadNetwork, num_points: int) -> Ways:
    """Candidates and the pavement points (M, 2) beside their ends as arrays."""
    before: dict[int, list[int]] = {lane.id: [] for lane in network.lanes}
    for lane in network.lanes:
        for after in lane.successors:
            before[after].append(lane.id)
    leads = [_leading(network, before, candidate) for candidate in found]
    at = np.full(num_points, -1)
    for row in range(len(found) - 1, -1, -1):  # crossings come first in the list and so win
        if found[row].kind != WayKind.HIDDEN:
            at[foot[row]] = 2 * row, 2 * row + 1
    groups = [_guards(network, row) for row in found]
    group = np.full((len(found), max([1, *map(len, groups)])), -1)
    for row, members in enumerate(groups):
        group[row, :len(members)] = members
    return Ways(np.array([row.end_m for row in found]).reshape(-1, 2, 2), np.array([row.width_m for row in found]),
                np.array([int(row.kind) for row in found], int),
                np.array([max(network.lanes[i].speed_limit_mps for i in row.lanes) for row in found]),
                np.array([row.outside_m for row in found]), np.array([row.crossing for row in found], int),
                foot.reshape(-1, 2), at, group, np.cumsum([0, *map(len, leads)]),
                np.array([lane for lead in leads for lane in lead], int),
                np.array([distance for lead in leads for distance in lead.values()], float))


def way_at(network: RoadNetwork, lane: Lane, station_m: float, outside_m: float = KERB_M) -> _Candidate | None:
    """The way straight over the road from the right of its outermost lane; None where one cannot see who comes.

    It begins `outside_m` from the paved edge.
    """
    row = [lane]
    while row[-1].left_neighbour is not None:
        row.append(network.lanes[row[-1].left_neighbour])
    if row[-1].opposite is None:
        return None
    row.append(network.lanes[row[-1].opposite])
    while row[-1].right_neighbour is not None:
        row.append(network.lanes[row[-1].right_neighbour])
    heading = float(lane.heading_rad[lane.station_m.searchsorted(station_m)])
    left = np.array([-math.sin(heading), math.cos(heading)])
    foot = interpolate(lane.centre_m, lane.station_m, np.array([station_m]))[0]
    half = lane.half_at(station_m)
    narrower = lane.width_m - 2 * half  # as are all lanes of the road
    begin = foot - left * (half + SHOULDER_M + outside_m)
    goal = foot + left * (sum(other.width_m - narrower for other in row) - half + SHOULDER_M + KERB_M)
    middle, aside = [], -half
    for other in row:
        aside += other.width_m - narrower
        x, y = (foot + left * (aside - (other.width_m - narrower) / 2)).tolist()
        station, lateral = project(other.centre_m, other.station_m, x, y, 0, len(other.centre_m))
        if abs(lateral) > 0.5:
            return None
        middle.append(float(station))
    return _Candidate(np.array([begin, goal]), 1.5, WayKind.FREE, -1, tuple(other.id for other in row), tuple(middle),
                      outside_m)


def _marked(crossing: Crossing) -> _Candidate:
    return _Candidate(np.asarray(crossing.ends_m, float), crossing.width_m,
                      WayKind.ZEBRA if crossing.is_zebra else WayKind.PLAIN, crossing.id, crossing.lanes,
                      crossing.stations_m)


def _anywhere(network: RoadNetwork, lane: Lane, taken_m: Array) -> list[_Candidate]:
    """Free ways over the road of a lane, away from the road's ends and from what is marked."""
    if lane.junction is not None or lane.speed_limit_mps > FREE_LIMIT_MPS:
        return []
    while lane.right_neighbour is not None:
        lane = network.lanes[lane.right_neighbour]
    ways = (way_at(network, lane, float(station))
            for station in np.arange(FREE_MARGIN_M, lane.length_m - FREE_MARGIN_M, FREE_SPACING_M))
    return [way for way in ways if way is not None and math.dist(*way.end_m) < FREE_WIDEST_M + 2 * KERB_M
            and np.hypot(*(taken_m - way.end_m.mean(axis=0)).T).min(initial=math.inf) > FREE_MARGIN_M]


def _hidden(network: RoadNetwork, lane: Lane, standing: Actors) -> list[_Candidate]:
    """Ways from between two parked cars on the right of a lane: from close behind the one that drivers see first."""
    if lane.junction is not None or lane.right_neighbour is not None or lane.speed_limit_mps > FREE_LIMIT_MPS:
        return []
    low, high = lane.centre_m.min(axis=0) - 6.0, lane.centre_m.max(axis=0) + 6.0
    near = ((standing.pose[:, :2] > low) & (standing.pose[:, :2] < high)).all(axis=1) & (standing.speed_mps == 0.0)
    cars = []
    for row in np.flatnonzero(near & (standing.kind == ActorKind.VEHICLE)).tolist():
        x, y = standing.pose[row, :2].tolist()
        station, left = project(lane.centre_m, lane.station_m, x, y, 0, len(lane.centre_m))
        outside = -left - lane.half_at(station) - SHOULDER_M
        if HIDDEN_OUTSIDE_M[0] < outside < HIDDEN_OUTSIDE_M[1]:
            cars.append((float(station), float(standing.size_m[row, 0]) / 2, outside))
    ways = [way_at(network, lane, station + half + HIDDEN_BEHIND_M, outside)
            for (station, half, outside), (after, after_half, _) in itertools.pairwise(sorted(cars))
            if HIDDEN_GAP_M[0] < after - after_half - station - half < HIDDEN_GAP_M[1]]
    return [replace(way, kind=WayKind.HIDDEN) for way in ways if way is not None
            and math.dist(*way.end_m) < FREE_WIDEST_M + KERB_M + HIDDEN_OUTSIDE_M[1]]


def _with_feet(found: list[_Candidate], network: RoadNetwork,
               pavements: Pavements) -> tuple[list[_Candidate], Array]:
    """Those of the candidates that have an open pavement and no road at both ends, and its points (M, 2)."""
    ends = np.concatenate([np.zeros((0, 2)), *(candidate.end_m for candidate in found)])
    foot, away = (column.reshape(-1, 2) for column in nearest(ends, pavements.kerb_m))
    off = network.distance_to_road(ends, 1.0).reshape(-1, 2)
    is_fit = (off > END_OFF_ROAD_M) & (away < FOOT_M) & pavements.is_open[foot].all(axis=2)
    kept = np.flatnonzero(is_fit.all(axis=1) & (foot[:, 0] != foot[:, 1]))
    return [found[row] for row in kept.tolist()], foot[kept]


def _is_clear(found: list[_Candidate], boxes: Array) -> Array:
    """Whether nothing stands on a way, wide enough for two, and on the pavement behind its ends."""
    clear = np.ones(len(found), bool)
    for row, candidate in enumerate(found):
        along = candidate.end_m[1] - candidate.end_m[0]
        length = float(np.hypot(*along))
        along = along / length
        aside = np.array([-along[1], along[0]])
        reach = np.arange(-STRIP_M, length + STRIP_M, 0.5)
        half = 0.3 if candidate.kind == WayKind.HIDDEN else 0.7
        strip = (candidate.end_m[0] + reach[:, None] * along)[:, None] + np.array([[-half], [0.0], [half]]) * aside
        near = np.hypot(*(boxes[:, :2] - candidate.end_m.mean(axis=0)).T) < length + boxes[:, 4] + boxes[:, 5] + 2.0
        clear[row] = not is_blocked(strip, boxes[near], BODY_M).any()
    return clear


def _guards(network: RoadNetwork, way: _Candidate) -> list[int]:
    """The signal groups of the lanes that stop before a way."""
    lanes = [network.lanes[i] for i in way.lanes]
    return sorted({lane.signal for lane, middle in zip(lanes, way.middle_m, strict=True)
                   if lane.signal is not None and middle > lane.length_m - SIGNAL_REACH_M})


def _leading(network: RoadNetwork, before: dict[int, list[int]], way: _Candidate) -> dict[int, float]:
    """Distance to the way [m] from the beginning of every lane from which it can be reached within sight."""
    limit = max(network.lanes[i].speed_limit_mps for i in way.lanes)
    sight = max(SIGHT_LEAST_M, SIGHT_S * limit)
    found: dict[int, float] = {}
    heap = [(station, lane) for lane, station in zip(way.lanes, way.middle_m, strict=True)]
    heapq.heapify(heap)
    while heap:
        distance, lane = heapq.heappop(heap)
        if lane in found:
            continue
        found[lane] = distance
        if distance < sight:
            for earlier in before[lane]:
                heapq.heappush(heap, (distance + network.lanes[earlier].length_m, earlier))
    return found
