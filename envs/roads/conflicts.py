"""Who must give way to whom inside a junction: the pairs of its lanes that cannot both be driven at once.

Two lanes of a junction conflict where a car on one would touch a car on the other: their centre lines, each widened by
half a car and a margin, overlap. Of such a pair exactly one gives way, by the first rule that decides:

  1. signs            a lane that is entered over a stop or yield line gives way to one that is not (StVO section 8 (1);
                      signs 205 and 206 rank alike). The ring of a roundabout is entered over none, its entries are
                      (section 8 (1a)), and so is a main road against a ramp that merges into it.
  2. oncoming         of two from opposite arms, one that turns left gives way to one that goes straight or turns right
                      (section 9 (3) and (4)).
  3. the right        else whoever comes from the right goes first (section 8 (1)).
  4. the same arm     side by side from one arm into one lane: whoever turns gives way to whoever goes straight
                      (section 7 (5): a change of lane endangers nobody), else the left one to the right one.
  5. none of these    the lane with the higher id gives way, so that nobody waits for nobody.

Where arms of equal rank meet, rules 2 and 3 make circles in which everybody waits for somebody: four cars that go
straight over a crossing without signs, or three of which one turns left. The law knows that and asks drivers to agree
(section 11 (3)); whoever simulates them must pick one, for example who stood first. Where the arms carry signs, as they
do in generated towns, there are no circles.

Lanes that leave the same incoming lane only part: no conflict. Traffic lights are not asked: where they are lit they
keep the movements of a conflict apart in time, where they are dark these rules hold. Nothing here moves.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from envs.geometry import Array, interpolate, wrap_angle

if TYPE_CHECKING:
    from envs.roads.network import Lane, RoadNetwork

HALF_CAR_M = 1.0  # widest cars without mirrors: 2.0 m
MARGIN_M = 0.25  # to the side of each car; lanes of 3 m beside each other are then clear of each other
CLEARANCE_M = 2 * (HALF_CAR_M + MARGIN_M)  # between the centre lines of lanes that can be driven at once
SPACING_M = 1.0  # of the points compared; a distance of CLEARANCE_M is then at most 0.05 m too long
OPPOSITE_RAD, SAME_RAD = math.radians(135), math.radians(45)  # between the directions in which two arms enter


@dataclass(frozen=True, eq=False)
class Conflicts:
    """Pairs of junction lanes that cannot be driven at once, each pair as two rows (a, b) and (b, a); R rows.

    Sorted by `first`; rows `start[lane]` to `start[lane + 1]` (exclusive) are those of a lane, any in town.
    """

    first: Array  # (R,) int64 lane id
    second: Array  # (R,) int64 lane id
    from_m: Array  # (R,) float64 station on the first lane where the shared area begins
    to_m: Array  # (R,) float64 station on the first lane where it ends
    second_from_m: Array  # (R,) float64 the same on the second lane
    second_to_m: Array  # (R,) float64
    merges: Array  # (R,) bool: both lead into the same lane; else they cross
    yields: Array  # (R,) bool: the first gives way to the second; of two rows of a pair exactly one does
    start: Array  # (L + 1,) int64 by lane id

    def rows_of(self, lane: int) -> slice:
        """The rows whose `first` is a lane."""
        return slice(int(self.start[lane]), int(self.start[lane + 1]))

    def are_in_conflict(self, a: int, b: int) -> bool:
        """Whether two lanes cannot be driven at once."""
        return b in self.second[self.rows_of(a)]


@dataclass(frozen=True)
class _Way:
    """A junction lane as its drivers come to it."""

    lane: Lane
    before: frozenset[int]  # ids of the lanes that lead into it
    is_bound: bool  # all of those end at a stop or yield line
    heading_rad: float  # where it begins


def _ways(network: RoadNetwork) -> dict[int, list[_Way]]:
    """The lanes of each junction that has any."""
    before: dict[int, set[int]] = defaultdict(set)
    for lane in network.lanes:
        for after in lane.successors:
            before[after].add(lane.id)
    ways: dict[int, list[_Way]] = defaultdict(list)
    for lane in network.lanes:
        if lane.junction is not None:
            is_bound = bool(before[lane.id]) and all(network.lanes[i].control for i in before[lane.id])
            step = lane.centre_m[1] - lane.centre_m[0]
            ways[lane.junction].append(_Way(lane, frozenset(before[lane.id]), is_bound, math.atan2(step[1], step[0])))
    return ways


def _can_meet(a: _Way, b: _Way) -> bool:
    """Whether two lanes of a junction neither part from the same lane nor follow each other."""
    return not (a.before & b.before or b.lane.id in a.lane.successors or a.lane.id in b.lane.successors)


def _gives_way(a: _Way, b: _Way) -> bool:
    """Whether a driver on `a` must let one on `b` go first; exactly one of (a, b) and (b, a) is true."""
    from envs.roads.network import Command  # network.py offers the table, so it may not be needed to load this file

    if a.is_bound != b.is_bound:
        return a.is_bound
    from_right = float(wrap_angle(b.heading_rad - a.heading_rad))  # a quarter turn: b comes from the right of a
    if abs(from_right) >= OPPOSITE_RAD:
        if (a.lane.turn == Command.LEFT) != (b.lane.turn == Command.LEFT):
            return a.lane.turn == Command.LEFT
    elif abs(from_right) > SAME_RAD:
        return from_right > 0
    else:
        if (a.lane.turn == Command.STRAIGHT) != (b.lane.turn == Command.STRAIGHT):
            return b.lane.turn == Command.STRAIGHT
        right = np.array([math.sin(a.heading_rad), -math.cos(a.heading_rad)])
        aside = float((b.lane.centre_m[0] - a.lane.centre_m[0]) @ right)
        if abs(aside) > HALF_CAR_M:
            return aside > 0
    return a.lane.id > b.lane.id


def _sample(lane: Lane, count: int) -> tuple[Array, Array]:
    """Points (count, 2) evenly along a lane and their stations (count,)."""
    at = np.linspace(0.0, lane.length_m, count)
    return interpolate(lane.centre_m, lane.station_m, at), at


def _shared(gap_m: Array, at_m: Array) -> tuple[float, float]:
    """First and last station at which the gap (N,) is under CLEARANCE_M, between the samples too."""
    near = np.flatnonzero(gap_m < CLEARANCE_M)
    low, high = near[0], near[-1]
    ends = []
    for inside, outside in ((low, low - 1), (high, high + 1)):
        if 0 <= outside < len(gap_m):
            share = (CLEARANCE_M - gap_m[inside]) / (gap_m[outside] - gap_m[inside])
            ends.append(float(at_m[inside] + share * (at_m[outside] - at_m[inside])))
        else:
            ends.append(float(at_m[inside]))
    return ends[0], ends[1]


def _gaps(points_m: Array) -> tuple[Array, Array]:
    """Gaps [m] from samples of lane i (n, K, 2) to the nearest of lane j: [i, j, sample of i], and the least [i, j]."""
    points = points_m - points_m.mean(axis=(0, 1))  # so that the squares below lose no digits
    square, (lanes, count, _) = (points ** 2).sum(axis=2), points.shape
    along = np.empty((lanes, lanes, count))
    for i in range(lanes):
        apart = square[i][:, None] + square.ravel() - 2 * points[i] @ points.reshape(-1, 2).T
        along[i] = apart.reshape(count, lanes, count).min(axis=2).T
    along = np.sqrt(np.maximum(along, 0.0))
    return along, along.min(axis=2)


def _in_junction(ways: list[_Way]) -> list[tuple[float, ...]]:
    """Rows of the table, unsorted, for the lanes of one junction."""
    count = max(2, math.ceil(max(way.lane.length_m for way in ways) / SPACING_M) + 1)
    sampled = [_sample(way.lane, count) for way in ways]
    along, least = _gaps(np.stack([points for points, _ in sampled]))
    rows: list[tuple[float, ...]] = []
    for i, j in np.argwhere(np.triu(least < CLEARANCE_M, 1)).tolist():
        a, b = ways[i], ways[j]
        if _can_meet(a, b):
            on_a, on_b = _shared(along[i, j], sampled[i][1]), _shared(along[j, i], sampled[j][1])
            merges, gives_way = bool(set(a.lane.successors) & set(b.lane.successors)), _gives_way(a, b)
            rows += [(a.lane.id, b.lane.id, *on_a, *on_b, merges, gives_way),
                     (b.lane.id, a.lane.id, *on_b, *on_a, merges, not gives_way)]
    return rows


def find_conflicts(network: RoadNetwork) -> Conflicts:
    """The conflicts of all junctions of a network."""
    rows = sorted(row for ways in _ways(network).values() for row in _in_junction(ways))
    table = np.array(rows, float).reshape(-1, 8)
    first = table[:, 0].astype(np.int64)
    return Conflicts(first, table[:, 1].astype(np.int64), table[:, 2], table[:, 3], table[:, 4], table[:, 5],
                     table[:, 6].astype(bool), table[:, 7].astype(bool),
                     np.searchsorted(first, np.arange(len(network.lanes) + 1)))
