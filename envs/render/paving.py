"""What is painted and paved, as flat coloured triangles: kerbs under asphalt under markings. No renderer here.

A new marking is a function that returns meshes, and a row in `patches`.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numba import njit

from envs.geometry import Array, interpolate, offset_polyline, stations
from envs.roads.network import CROSSING_KERB_M, SHOULDER_M, Control, Crossing, Lane, Marking, RoadNetwork


class SemanticClass(IntEnum):
    """What a pixel shows: the values of Frame.class_id."""

    SKY = 0
    TERRAIN = 1
    ROAD = 2
    MARKING = 3
    STOP_LINE = 4
    KERB = 5
    BUILDING = 6
    VEGETATION = 7
    POLE = 8
    SIGN = 9
    VEHICLE = 10
    PEDESTRIAN = 11
    TRAFFIC_LIGHT = 12  # housing and lamps; the post is a POLE
    CYCLIST = 13  # with the bicycle


@dataclass(frozen=True, eq=False)
class Patch:
    """A flat coloured surface on the ground: triangles over vertices, all counter-clockwise seen from above.

    Later patches lie over earlier ones; `height_m` orders them for renderers with a depth buffer.
    """

    vertices_m: Array  # (V, 2) float64
    triangles: Array  # (T, 3) int32
    height_m: float
    colour: tuple[int, int, int]  # RGB
    semantic: SemanticClass


ASPHALT = ((98, 98, 101), (88, 88, 92), (108, 107, 106))
KERB_GREY, PAINT = (152, 148, 140), (238, 238, 232)
LINE_WIDTH_M = 0.14  # RMS: narrow line 0.12 m
DASH_M, GAP_M = 3.0, 6.0  # RMS: centre line in towns
STOP_BAR_M, YIELD_BAR_M = 0.5, 0.5  # RMS sign 294 and 341
YIELD_BLOCK_M, YIELD_GAP_M = 0.5, 0.25
ZEBRA_M, ZEBRA_GAP_M = 0.5, 0.5  # RMS sign 293: bars and gaps
KERB_WIDTH_M = 0.35
PAINT_HEIGHT_M = 0.012
LONGEST_QUAD_M = 40.0
SAGITTA_M = 0.02  # a curve's chord may leave it by this much


@functools.cache
def _ladder(count: int) -> Array:
    """Triangles of one band whose right side is vertices 0 to count - 1 and whose left side follows."""
    lower = np.arange(count - 1)
    upper = lower + count  # right side first: counter-clockwise from above
    return np.concatenate([np.stack([lower, lower + 1, upper + 1], 1), np.stack([lower, upper + 1, upper], 1)])


def _strips(left_m: Array, right_m: Array) -> tuple[Array, Array]:
    """Vertices (2 K N, 2) and triangles of K bands between polylines (K, N, 2) that run side by side."""
    bands, count = left_m.shape[:2]
    triangles = _ladder(count) + 2 * count * np.arange(bands)[:, None, None]
    return np.concatenate([right_m, left_m], axis=1).reshape(-1, 2), triangles.reshape(-1, 3).astype(np.int32)


def _strip(left_m: Array, right_m: Array) -> tuple[Array, Array]:
    """The band between two polylines (N, 2)."""
    return _strips(left_m[None], right_m[None])


def _join(parts: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Several meshes as one: vertices (V, 2) and triangles (T, 3)."""
    if not parts:
        return np.zeros((0, 2)), np.zeros((0, 3), np.int32)
    starts = np.cumsum([0] + [len(vertices) for vertices, _ in parts[:-1]])
    return (np.concatenate([vertices for vertices, _ in parts]),
            np.concatenate([triangles + start for (_, triangles), start in zip(parts, starts, strict=True)]))


@njit(cache=True)
def _corners(points_m: Array, station_m: Array) -> list[int]:
    """Indices of the points before the last that keep a polyline's shape: see `_thin`."""
    keep, last = [0], 0
    for i in range(2, len(points_m)):
        x, y = points_m[i, 0] - points_m[last, 0], points_m[i, 1] - points_m[last, 1]
        length, off = max(math.hypot(x, y), 1e-9), 0.0
        for k in range(last + 1, i):
            off = max(off, abs((points_m[k, 0] - points_m[last, 0]) * y - (points_m[k, 1] - points_m[last, 1]) * x))
        if off > SAGITTA_M * length or station_m[i] - station_m[last] > LONGEST_QUAD_M:
            last = i - 1
            keep.append(last)
    return keep


def _thin(points_m: Array) -> Array:
    """Indices of the points (N, 2) that keep a polyline's shape to SAGITTA_M, at most LONGEST_QUAD_M apart."""
    return np.array([*_corners(points_m, stations(points_m)), len(points_m) - 1])


def _line(points_m: Array, left_m: float, width_m: float) -> tuple[Array, Array]:
    """A painted line of `width_m` whose middle runs `left_m` beside a polyline."""
    keep = _thin(points_m)
    outer, inner = (offset_polyline(points_m, left_m + side * width_m / 2)[keep] for side in (1, -1))
    return _strip(outer, inner)


def _open_parts(lane: Lane, breaks_m: Array) -> list[tuple[float, float]]:
    """The stretches of a lane between the breaks (K, 2) of its lines, from station to station [m]."""
    edges = np.concatenate([[0.0], breaks_m[np.argsort(breaks_m[:, 0])].ravel(), [lane.length_m]]).reshape(-1, 2)
    return [(float(begin), float(end)) for begin, end in edges if end > begin]


def _solid(lane: Lane, left_m: float, breaks_m: Array) -> list[tuple[Array, Array]]:
    """A solid line beside a lane, broken where zebras cross it."""
    if not len(breaks_m):
        return [_line(lane.centre_m, left_m, LINE_WIDTH_M)]
    station = lane.station_m
    edge = offset_polyline(lane.centre_m, left_m)
    lines = []
    for begin, end in _open_parts(lane, breaks_m):
        inner = station[(station > begin + 0.05) & (station < end - 0.05)]
        lines.append(_line(interpolate(edge, station, np.array([begin, *inner, end])), 0.0, LINE_WIDTH_M))
    return lines


def _dashes(lane: Lane, breaks_m: Array) -> tuple[Array, Array]:
    """The dashes on a lane's left edge, but for those that zebras cover."""
    start = np.arange(GAP_M / 2, lane.length_m - DASH_M, DASH_M + GAP_M)
    start = start[~((start[:, None] < breaks_m[:, 1]) & (start[:, None] + DASH_M > breaks_m[:, 0])).any(axis=1)]
    station, ends = lane.station_m, start[:, None] + np.array([0.0, DASH_M / 2, DASH_M])
    middle, outer, inner = (interpolate(offset_polyline(lane.centre_m, lane.width_m / 2 + aside), station, ends)
                            for aside in (0.0, LINE_WIDTH_M / 2, -LINE_WIDTH_M / 2))
    bend = np.abs(middle[:, 1] - (middle[:, 0] + middle[:, 2]) / 2).max(initial=0.0)
    step = 1 if bend > SAGITTA_M else 2
    return _strips(outer[:, ::step], inner[:, ::step])


def _bar(lane: Lane) -> list[tuple[Array, Array]]:
    """The stop or yield line across a lane's end."""
    end, back = lane.centre_m[-1], lane.centre_m[-2]
    forward = (end - back) / np.hypot(*(end - back))
    left = np.array([-forward[1], forward[0]])
    half = lane.width_m / 2 - LINE_WIDTH_M / 2
    if lane.control == Control.STOP or lane.signal is not None:
        pieces, depth = [(-half, half)], STOP_BAR_M
    else:
        starts = np.arange(-half, half - YIELD_BLOCK_M / 2, YIELD_BLOCK_M + YIELD_GAP_M)
        pieces, depth = [(a, min(a + YIELD_BLOCK_M, half)) for a in starts], YIELD_BAR_M
    return [_strip(np.stack([end - depth * forward + high * left, end + high * left]),
                   np.stack([end - depth * forward + low * left, end + low * left])) for low, high in pieces]


def _zebra(crossing: Crossing) -> tuple[Array, Array]:
    """Bars along the road from one paved edge to the other, as many as fit, the same margin on both sides."""
    across = crossing.ends_m[1] - crossing.ends_m[0]
    length = float(np.hypot(*across))
    across, middle = across / length, crossing.ends_m.mean(axis=0)
    along = crossing.width_m / 2 * np.array([-across[1], across[0]])
    paved = length - 2 * (CROSSING_KERB_M + SHOULDER_M)
    count = int((paved + ZEBRA_GAP_M) / (ZEBRA_M + ZEBRA_GAP_M))
    at = (np.arange(count) - (count - 1) / 2)[:, None] * (ZEBRA_M + ZEBRA_GAP_M)
    low, high = middle + (at - ZEBRA_M / 2) * across, middle + (at + ZEBRA_M / 2) * across
    return _strips(np.stack([low - along, low + along], axis=1), np.stack([high - along, high + along], axis=1))


def _zebra_breaks(network: RoadNetwork) -> dict[int, Array]:
    """By lane: the stations (K, 2) between which zebras interrupt its lines [m]."""
    breaks: dict[int, list[tuple[float, float]]] = {}
    for crossing in network.crossings:
        for lane, station in zip(crossing.lanes, crossing.stations_m, strict=True):
            if crossing.is_zebra:
                breaks.setdefault(lane, []).append((station - crossing.width_m / 2, station + crossing.width_m / 2))
    return {lane: np.array(rows) for lane, rows in breaks.items()}


def _halves(outline_m: Array) -> tuple[Array, Array]:
    """Left and right sides (N, 2) of a road piece's outline."""
    count = len(outline_m) // 2
    left, right = outline_m[count:][::-1], outline_m[:count]
    keep = _thin((left + right) / 2)
    return left[keep], right[keep]


def _fan(outline_m: Array, grow_m: float = 0.0) -> tuple[Array, Array]:
    """A junction's area as a fan about its middle, grown outward by `grow_m`."""
    middle = outline_m.mean(axis=0)
    rim = outline_m + grow_m * (outline_m - middle) / np.hypot(*(outline_m - middle).T)[:, None]
    index = np.arange(len(rim))
    triangles = np.stack([np.zeros_like(index), index + 1, (index + 1) % len(rim) + 1], axis=1)
    return np.concatenate([middle[None], rim]), triangles.astype(np.int32)


def _kerbs(left_m: Array, right_m: Array) -> list[tuple[Array, Array]]:
    outward = (left_m - right_m) / np.hypot(*(left_m - right_m).T)[:, None] * KERB_WIDTH_M
    return [_strip(left_m + outward, left_m), _strip(right_m, right_m - outward)]


def patches(network: RoadNetwork) -> tuple[Patch, ...]:
    """Everything flat: kerbs under asphalt under paint."""
    asphalt: list[list[tuple[Array, Array]]] = [[] for _ in ASPHALT]
    kerbs, paint, bars = [], [], []
    roads = np.unique([lane.surface for lane in network.lanes if lane.junction is None])  # first piece of each
    for number, surface in enumerate(network.surfaces):
        if surface.junction is not None:
            asphalt[0].append(_fan(surface.outline_m))
            kerbs.append(_fan(surface.outline_m, KERB_WIDTH_M))
        else:
            left, right = _halves(surface.outline_m)
            road = int(np.searchsorted(roads, number, side="right"))
            asphalt[road * 7 % 11 % len(ASPHALT)].append(_strip(left, right))
            kerbs += _kerbs(left, right)
    breaks, unbroken = _zebra_breaks(network), np.zeros((0, 2))
    paint += [_zebra(crossing) for crossing in network.crossings if crossing.is_zebra]
    for lane in network.lanes:
        broken = breaks.get(lane.id, unbroken)
        if lane.right == Marking.SOLID:
            paint += _solid(lane, -lane.width_m / 2, broken)
        if lane.opposite is None or lane.id < lane.opposite:  # one of the two paints the line between them
            if lane.left == Marking.SOLID:
                paint += _solid(lane, lane.width_m / 2, broken)
            elif lane.left == Marking.DASHED:
                paint.append(_dashes(lane, broken))
        if lane.control != Control.NONE or lane.signal is not None:
            bars += _bar(lane)
    layers = [(kerbs, -0.012, KERB_GREY, SemanticClass.KERB)]
    layers += [(parts, 0.0, colour, SemanticClass.ROAD) for parts, colour in zip(asphalt, ASPHALT, strict=True)]
    layers += [(paint, PAINT_HEIGHT_M, PAINT, SemanticClass.MARKING),
               (bars, PAINT_HEIGHT_M, PAINT, SemanticClass.STOP_LINE)]
    return tuple(Patch(*_join(parts), height, colour, semantic) for parts, height, colour, semantic in layers if parts)
