"""A RoadNetwork flattened into arrays for the traffic kernels: one record a lane, one row a point. Made once a network.

Lanes are sampled at equal steps, so that a place on one is found without a search. Each point also knows the highest
speed at which it may be driven with the bends of its own lane ahead. Nothing here moves.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from envs.geometry import Array, headings, resample, unwrapped
from envs.kept import kept
from envs.roads.network import Lane, Marking, RoadNetwork

SPACING_M = 1.0  # between two points of a lane, at most
LATERAL_MPS2 = 2.3  # in bends; drivers' comfort, as in the expert
EASY_MPS2 = 1.5  # of braking towards a bend
BEND_M = 3.0  # over which curvature is averaged
PART_CLEAR_M = 2.6  # between the centre lines of two lanes that part, for cars on them to be clear of each other
LONG_RADIUS_M = 40.0  # who turns wider than this stays in its lane
LONG_CLEAR_M = 5.0  # between centre lines on which two may turn at once if one of them is a lorry or a bus

kernel = njit(cache=True, nogil=True, error_model="numpy")
inlined = njit(cache=True, nogil=True, error_model="numpy", forceinline=True)

Row = Any  # one record of a table: the fields of its dtype are its attributes

LANE = np.dtype([
    ("first", "i8"),  # row of its first point
    ("count", "i8"),
    ("step_m", "f8"),
    ("length_m", "f8"),
    ("width_m", "f8"),
    ("limit_mps", "f8"),
    ("radius_m", "f8"),  # of its sharpest bend, averaged over BEND_M
    ("left", "i8"), ("right", "i8"), ("opposite", "i8"), ("junction", "i8"), ("signal", "i8"),  # -1: none
    ("turn", "i8"), ("control", "i8"),
    ("may_cross", "i8"),  # 1 where the line on its left is dashed
    ("next_from", "i8"), ("next_to", "i8"),  # rows of `next_lane`
    ("conflict_from", "i8"), ("conflict_to", "i8"),
    ("sibling_from", "i8"), ("sibling_to", "i8"),
    ("crossing_from", "i8"), ("crossing_to", "i8"),
], align=True)
CONFLICT = np.dtype([("other", "i8"), ("from_m", "f8"), ("to_m", "f8"), ("other_from_m", "f8"), ("other_to_m", "f8"),
                     ("merges", "i8"), ("yields", "i8"), ("long_only", "i8")], align=True)  # only for long vehicles
SIBLING = np.dtype([("other", "i8"), ("until_m", "f8")], align=True)  # leaves the same lane; clear beyond `until_m`
CROSSING = np.dtype([("station_m", "f8"), ("half_m", "f8"), ("ax", "f8"), ("ay", "f8"), ("bx", "f8"), ("by", "f8"),
                     ("is_zebra", "i8")], align=True)


class LaneMap(NamedTuple):
    """Tables of a network; see the dtypes above."""

    lanes: Array  # (L,) LANE, row = lane id
    points: Array  # (P, 5): x_m, y_m, heading_rad (unwrapped in a lane), highest speed in bends [m/s], half width [m]
    next_lane: Array  # (S,) int64 successors
    conflicts: Array  # (C,) CONFLICT
    siblings: Array  # (B,) SIBLING
    crossings: Array  # (Z,) CROSSING


@kept
def lane_map(network: RoadNetwork) -> LaneMap:
    """The tables of a network, kept for as long as it lives."""
    lanes = np.zeros(len(network.lanes), LANE)
    points, sharpest = zip(*(_points(lane) for lane in network.lanes), strict=True)
    counts = np.array([len(part) for part in points])
    lanes["count"], lanes["first"] = counts, np.cumsum(counts) - counts
    lanes["radius_m"] = 1.0 / np.maximum(sharpest, 1e-4)
    for row, lane, part in zip(lanes, network.lanes, points, strict=True):
        row["length_m"], row["width_m"], row["limit_mps"] = lane.length_m, lane.width_m, lane.speed_limit_mps
        row["step_m"] = lane.length_m / (len(part) - 1)
        for name, value in (("left", lane.left_neighbour), ("right", lane.right_neighbour), ("signal", lane.signal),
                            ("opposite", lane.opposite), ("junction", lane.junction)):
            row[name] = -1 if value is None else value
        row["turn"], row["control"] = int(lane.turn), int(lane.control)
        row["may_cross"] = int(lane.left == Marking.DASHED)
    following = [lane.successors for lane in network.lanes]
    _link(lanes, "next", [len(row) for row in following])
    return LaneMap(lanes, np.ascontiguousarray(np.concatenate(points)),
                   np.array([after for row in following for after in row], np.int64),
                   _conflicts(network, lanes, points), _siblings(network, lanes), _crossings(network, lanes))


def _link(lanes: Array, name: str, counts: list[int]) -> None:
    """Say which rows of a table belong to each lane."""
    lanes[f"{name}_to"] = np.cumsum(counts)
    lanes[f"{name}_from"] = lanes[f"{name}_to"] - counts


def _bends(heading_rad: Array, step_m: float) -> Array:
    """Curvature (N,) [1/m], averaged over BEND_M."""
    raw = np.abs(np.gradient(heading_rad, step_m))
    width = min(max(1, round(BEND_M / step_m)) | 1, len(raw) - 1 | 1)
    return np.convolve(np.pad(raw, width // 2, mode="edge"), np.ones(width) / width, mode="valid")[:len(raw)]


def _points(lane: Lane) -> tuple[Array, float]:
    """The lane's points (N, 5) with the speed its bends allow when braking gently towards them; its greatest curvature
    [1/m].
    """
    line = resample(lane.centre_m, SPACING_M)
    heading, step = unwrapped(headings(line)), lane.length_m / (len(line) - 1)
    bends = _bends(heading, step)
    speed = np.sqrt(LATERAL_MPS2 / np.maximum(bends, 1e-4))
    _brake(speed, step)
    half = np.broadcast_to(lane.half_at(step * np.arange(len(line))), len(line))
    return np.column_stack([line, heading, speed, half]), float(bends.max())


@kernel
def _brake(speed: Array, step_m: float) -> None:
    """Lower speeds (N,) [m/s], in place, to those from which the next one is reached when braking gently."""
    for i in range(len(speed) - 2, -1, -1):
        speed[i] = min(speed[i], math.sqrt(speed[i + 1] * speed[i + 1] + 2 * EASY_MPS2 * step_m))


def _conflicts(network: RoadNetwork, lanes: Array, points: Sequence[Array]) -> Array:
    """The network's table, and after each lane's rows those lanes that only long vehicles cannot pass at once."""
    table = network.conflicts
    close = _close_pairs(network, lanes, points)
    rows = np.zeros(len(table.first) + sum(map(len, close)), CONFLICT)
    _link(lanes, "conflict", [int(end - begin) + len(more)
                              for begin, end, more in zip(table.start[:-1], table.start[1:], close, strict=True)])
    own = np.arange(len(table.first)) + (lanes["conflict_from"] - table.start[:-1])[table.first]
    for name, values in (("other", table.second), ("from_m", table.from_m), ("to_m", table.to_m),
                         ("other_from_m", table.second_from_m), ("other_to_m", table.second_to_m),
                         ("merges", table.merges), ("yields", table.yields)):
        rows[name][own] = values
    for number, more in enumerate(close):
        for row, other in enumerate(more, int(lanes["conflict_to"][number]) - len(more)):
            rows[row] = (other, 0.0, lanes["length_m"][number], 0.0, lanes["length_m"][other], 0, 0, 1)
    return rows


def _close_pairs(network: RoadNetwork, lanes: Array, points: Sequence[Array]) -> list[list[int]]:
    """For each lane those of its junction that come nearer than LONG_CLEAR_M without a conflict in the table."""
    close: list[list[int]] = [[] for _ in network.lanes]
    before = [set[int]() for _ in network.lanes]
    for lane in network.lanes:
        for after in lane.successors:
            before[after].add(lane.id)
    for junction in network.junctions:
        line = {i: points[i][:: max(1, len(points[i]) // 16), :2] for i in junction.turns}
        for a, b in itertools.combinations(junction.turns, 2):
            if min(lanes["radius_m"][a], lanes["radius_m"][b]) > LONG_RADIUS_M or before[a] & before[b]:
                continue
            if network.conflicts.are_in_conflict(a, b) or a in before[b] or b in before[a]:
                continue
            gap = line[a][:, None] - line[b]
            if (gap ** 2).sum(axis=2).min() < LONG_CLEAR_M ** 2:
                close[a].append(b)
                close[b].append(a)
    return close


def _siblings(network: RoadNetwork, lanes: Array) -> Array:
    """Lanes that leave the same lane, and how far from their beginning they are clear of each other."""
    found: list[list[tuple[int, float]]] = [[] for _ in network.lanes]
    for lane in network.lanes:
        for a in lane.successors:
            for b in lane.successors:
                if a != b and b not in [row[0] for row in found[a]]:
                    found[a].append((b, _parted(network.lanes[a], network.lanes[b])))
    _link(lanes, "sibling", [len(row) for row in found])
    return np.array([pair for row in found for pair in row], SIBLING)


def _parted(a: Lane, b: Lane) -> float:
    """Station [m] on two lanes that part beyond which they are PART_CLEAR_M apart; the shorter length if nowhere."""
    shorter = min(a.length_m, b.length_m)
    at = np.arange(0.0, shorter, 0.5)
    gap = np.hypot(*[np.interp(at, a.station_m, a.centre_m[:, k]) - np.interp(at, b.station_m, b.centre_m[:, k])
                     for k in range(2)])
    near = np.flatnonzero(gap < PART_CLEAR_M)
    return float(min(shorter, at[near[-1]] + 0.5)) if len(near) else 0.0


def _crossings(network: RoadNetwork, lanes: Array) -> Array:
    found: list[list[tuple[float, ...]]] = [[] for _ in network.lanes]
    for crossing in network.crossings:
        for lane, station in zip(crossing.lanes, crossing.stations_m, strict=True):
            found[lane].append((station, crossing.width_m / 2, *crossing.ends_m.ravel(), crossing.is_zebra))
    _link(lanes, "crossing", [len(row) for row in found])
    return np.array([row for rows in found for row in sorted(rows)], CROSSING)


@inlined
def place(points: Array, lane: Row, station_m: float) -> tuple[float, float, float]:
    """(x, y, heading) of a station on a lane; beyond its ends along the tangent."""
    along = station_m / lane.step_m
    i = min(max(int(along), 0), lane.count - 2)
    share, row = along - i, lane.first + i
    x = points[row, 0] + share * (points[row + 1, 0] - points[row, 0])
    y = points[row, 1] + share * (points[row + 1, 1] - points[row, 1])
    inside = min(max(share, 0.0), 1.0)
    return x, y, points[row, 2] + inside * (points[row + 1, 2] - points[row, 2])


@inlined
def bend_speed(points: Array, lane: Row, station_m: float) -> float:
    """Highest speed [m/s] at a station for the bends of its lane from there on."""
    return _between(points[:, 3], lane, station_m)


@inlined
def half_width(points: Array, lane: Row, station_m: float) -> float:
    """From the middle of a lane to its edges [m] at a station."""
    return _between(points[:, 4], lane, station_m)


@inlined
def _between(values: Array, lane: Row, station_m: float) -> float:
    """The value at a station of a lane, clamped to its ends, of one for each point."""
    along = min(max(station_m / lane.step_m, 0.0), lane.count - 1.0)
    i = min(int(along), lane.count - 2)
    row = lane.first + i
    return values[row] + (along - i) * (values[row + 1] - values[row])


@inlined
def abreast(points: Array, lane: Row, other: Row, station_m: float, way: float) -> float:
    """The station on a lane beside that lies abreast of a station; `way` is 1 if both run the same way, else -1.

    Two steps of projection from the proportional place: within centimetres in any bend that a lane has.
    """
    x, y, _ = place(points, lane, station_m)
    share = station_m / lane.length_m
    at = other.length_m * (share if way > 0.0 else 1.0 - share)
    for _ in range(2):
        other_x, other_y, heading = place(points, other, at)
        at += (x - other_x) * math.cos(heading) + (y - other_y) * math.sin(heading)
    return at
