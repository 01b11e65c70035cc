"""What is painted on the road, as meshes: lines, dashes, arrows, bars, zebras, hatching.

A new marking is a function here that returns meshes, and a line in `paving.patches`. Figures are those of the German
guidelines for road markings (RMS).
"""

from __future__ import annotations

import math

import numpy as np

from envs.geometry import Array, interpolate, offset_polyline, world_from_ego
from envs.render.strips import SAGITTA_M, join, strip, strips, thin
from envs.roads.network import (
    CHANGE_AFTER_M,
    CROSSING_KERB_M,
    SHOULDER_M,
    SOLID_BEFORE_JUNCTION_M,
    Bay,
    Command,
    Control,
    Crossing,
    Lane,
    Marking,
    RoadNetwork,
)

LINE_WIDTH_M = 0.14  # RMS: narrow line 0.12 m
DASH_M, GAP_M = 3.0, 6.0  # RMS: centre line in towns
STOP_BAR_M, YIELD_BAR_M = 0.5, 0.5  # RMS sign 294 and 341
YIELD_BLOCK_M, YIELD_GAP_M = 0.5, 0.25
ARROW_SHAFT_M = 0.2
ARROW_BEFORE_M = (12.0, 32.0)  # feet of a lane's arrows before its end
ZEBRA_M, ZEBRA_GAP_M = 0.5, 0.5  # RMS sign 293: bars and gaps
BAY_DASH_M, ZIGZAG_M = 1.0, 2.0
BLOCK_M, BLOCK_WIDTH_M = 3.0, 0.3  # dashes, and gaps as long, of a line beside a lane that ends (RMS sign 340, wide)
HATCH_M, HATCH_GAP_M, HATCH_RAD = 0.5, 1.0, math.radians(60)
Aside = float | Array  # how far left of a lane's middle [m]: everywhere, or at each of its points (N,)


def _line(points_m: Array, left_m: Aside, width_m: float) -> tuple[Array, Array]:
    """A painted line of `width_m` whose middle runs `left_m` beside a polyline."""
    keep = thin(points_m)
    outer, inner = (offset_polyline(points_m, left_m + side * width_m / 2)[keep] for side in (1, -1))
    return strip(outer, inner)


def _open_parts(begin_m: float, end_m: float, breaks_m: Array) -> list[tuple[float, float]]:
    """What the breaks (K, 2) leave of a stretch, from station to station [m]."""
    parts, at = [], begin_m
    for low, high in breaks_m[np.argsort(breaks_m[:, 0])].tolist():
        if low > at:
            parts.append((at, min(low, end_m)))
        at = max(at, high)
    return [part for part in [*parts, (at, end_m)] if part[1] > part[0] + 0.01]


def solid(lane: Lane, left_m: Aside, stretch_m: tuple[float, float], breaks_m: Array) -> list[tuple[Array, Array]]:
    """A solid line beside a lane from station to station, broken where zebras cross it."""
    if not len(breaks_m) and stretch_m == (0.0, lane.length_m):
        return [_line(lane.centre_m, left_m, LINE_WIDTH_M)]
    station = lane.station_m
    edge = offset_polyline(lane.centre_m, left_m)
    lines = []
    for begin, end in _open_parts(*stretch_m, breaks_m):
        inner = station[(station > begin + 0.05) & (station < end - 0.05)]
        lines.append(_line(interpolate(edge, station, np.array([begin, *inner, end])), 0.0, LINE_WIDTH_M))
    return lines


def _dashes(lane: Lane, left_m: Aside, end_m: float, breaks_m: Array) -> tuple[Array, Array]:
    """Dashes beside a lane up to a station, but for those that zebras cover."""
    start = np.arange(GAP_M / 2, end_m - DASH_M, DASH_M + GAP_M)
    start = start[~((start[:, None] < breaks_m[:, 1]) & (start[:, None] + DASH_M > breaks_m[:, 0])).any(axis=1)]
    station, ends = lane.station_m, start[:, None] + np.array([0.0, DASH_M / 2, DASH_M])
    middle, outer, inner = (interpolate(offset_polyline(lane.centre_m, left_m + aside), station, ends)
                            for aside in (0.0, LINE_WIDTH_M / 2, -LINE_WIDTH_M / 2))
    bend = np.abs(middle[:, 1] - (middle[:, 0] + middle[:, 2]) / 2).max(initial=0.0)
    step = 1 if bend > SAGITTA_M else 2
    return strips(outer[:, ::step], inner[:, ::step])


def edge_paint(lane: Lane, left_m: Aside, marking: Marking, breaks_m: Array) -> list[tuple[Array, Array]]:
    """The line of a kind that runs `left_m` beside a lane."""
    whole = (0.0, lane.length_m)
    if marking == Marking.SOLID:
        return solid(lane, left_m, whole, breaks_m)
    if marking == Marking.DASHED:
        return [_dashes(lane, left_m, lane.length_m, breaks_m)]
    if marking == Marking.BLOCK:
        return [_blocks(lane, left_m)]
    if marking == Marking.DOUBLE:
        return [part for side in (LINE_WIDTH_M, -LINE_WIDTH_M)
                for part in solid(lane, left_m + side, whole, breaks_m)]
    return []


def _blocks(lane: Lane, left_m: Aside) -> tuple[Array, Array]:
    """Short wide dashes beside a lane."""
    edge, start = offset_polyline(lane.centre_m, left_m), np.arange(0.0, lane.length_m - BLOCK_M, 2 * BLOCK_M)
    ends = start[:, None] + np.array([0.0, BLOCK_M])
    outer, inner = (interpolate(offset_polyline(edge, aside), lane.station_m, ends)
                    for aside in (BLOCK_WIDTH_M / 2, -BLOCK_WIDTH_M / 2))
    return strips(outer, inner)


def between(network: RoadNetwork, lane: Lane, breaks_m: Array) -> list[tuple[Array, Array]]:
    """The line between a lane and its right neighbour: dashes, and solid before a junction."""
    ends_at_junction = any(network.lanes[after].junction is not None for after in lane.successors)
    if lane.right != Marking.DASHED or not ends_at_junction:
        return edge_paint(lane, -lane.half_m, lane.right, breaks_m)
    change = max(lane.length_m - SOLID_BEFORE_JUNCTION_M, 0.0)
    return [_dashes(lane, -lane.half_m, change, breaks_m),
            *solid(lane, -lane.half_m, (change, lane.length_m), breaks_m)]


def _arrow(turns: frozenset[Command]) -> tuple[Array, Array]:
    """An arrow for the turns of a lane, in a frame with x ahead from the foot of its shaft and y left (RMS: 5 m)."""
    parts = []
    for turn in sorted(turns):
        if turn == Command.STRAIGHT:
            shaft, tip = np.array([(0.0, 0.0), (3.4, 0.0)]), np.array([(3.4, -0.45), (5.0, 0.0), (3.4, 0.45)])
        else:
            side = 1.0 if turn == Command.LEFT else -1.0
            start = 1.4 if Command.STRAIGHT in turns else 0.0  # branches off the shaft
            shaft = np.array([(0.0, 0.0), (start + 1.4, 0.0), (start + 2.0, 0.25 * side), (start + 2.2, 0.7 * side)])
            tip = np.array([(start + 1.5, 0.7), (start + 2.9, 0.7), (start + 2.2, 1.5)]) * (1.0, side)
            tip = tip[::-1] if side < 0 else tip
        parts += [strip(offset_polyline(shaft, ARROW_SHAFT_M / 2), offset_polyline(shaft, -ARROW_SHAFT_M / 2)),
                  (tip, np.array([[0, 1, 2]], np.int32))]
    return join(parts)


def arrows(network: RoadNetwork, lane: Lane) -> list[tuple[Array, Array]]:
    """What a lane among several allows, painted on it before the junction, once or twice."""
    turns = frozenset(network.lanes[after].turn for after in lane.successors if
                      network.lanes[after].junction is not None)
    if not turns or Command.FOLLOW in turns or (lane.left_neighbour is None and lane.right_neighbour is None):
        return []
    vertices, triangles = _arrow(turns)
    painted = []
    for before_m in ARROW_BEFORE_M:
        at = lane.length_m - before_m
        if at > CHANGE_AFTER_M:
            heading = float(lane.heading_at(at))
            foot = interpolate(lane.centre_m, lane.station_m, np.array([at]))[0]
            painted.append((world_from_ego(np.array([*foot, heading]), vertices), triangles))
    return painted


def bar(lane: Lane) -> list[tuple[Array, Array]]:
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
    return [strip(np.stack([end - depth * forward + high * left, end + high * left]),
                   np.stack([end - depth * forward + low * left, end + low * left])) for low, high in pieces]


def zebra(crossing: Crossing) -> tuple[Array, Array]:
    """Bars along the road from one paved edge to the other, as many as fit, the same margin on both sides."""
    across = crossing.ends_m[1] - crossing.ends_m[0]
    length = float(np.hypot(*across))
    across, middle = across / length, crossing.ends_m.mean(axis=0)
    along = crossing.width_m / 2 * np.array([-across[1], across[0]])
    paved = length - 2 * (CROSSING_KERB_M + SHOULDER_M)
    count = int((paved + ZEBRA_GAP_M) / (ZEBRA_M + ZEBRA_GAP_M))
    at = (np.arange(count) - (count - 1) / 2)[:, None] * (ZEBRA_M + ZEBRA_GAP_M)
    low, high = middle + (at - ZEBRA_M / 2) * across, middle + (at + ZEBRA_M / 2) * across
    return strips(np.stack([low - along, low + along], axis=1), np.stack([high - along, high + along], axis=1))


def hatching(area_m: Array) -> list[tuple[Array, Array]]:
    """Slanting bars over a convex area (K, 2), counter-clockwise, and a line round it (RMS sign 298)."""
    side = np.roll(area_m, -1, axis=0) - area_m
    longest = side[np.argmax(np.hypot(*side.T))]
    slope = np.arctan2(longest[1], longest[0]) + HATCH_RAD
    across = np.array([-np.sin(slope), np.cos(slope)])
    low, high = float((area_m @ across).min()), float((area_m @ across).max())
    parts = []
    for start in np.arange(low + HATCH_GAP_M / 2, high, HATCH_M + HATCH_GAP_M):
        bar = _clip(_clip(area_m, across, start), -across, -(start + HATCH_M))
        if len(bar) > 2:
            parts.append((bar, np.array([[0, k, k + 1] for k in range(1, len(bar) - 1)], np.int32)))
    middle = area_m.mean(axis=0)
    inner = area_m + (middle - area_m) / np.hypot(*(middle - area_m).T)[:, None] * 2 * LINE_WIDTH_M
    closed = [0, *range(1, len(area_m)), 0]
    return [*parts, strip(inner[closed], area_m[closed])]


def _clip(area_m: Array, normal: Array, least_m: float) -> Array:
    """The part (M, 2) of a convex polygon (K, 2) whose points have at least `least_m` along a normal."""
    high = area_m @ normal - least_m
    points = []
    for k in range(len(area_m)):
        if high[k - 1] * high[k] < 0:
            points.append(area_m[k - 1] + high[k - 1] / (high[k - 1] - high[k]) * (area_m[k] - area_m[k - 1]))
        if high[k] >= 0:
            points.append(area_m[k])
    return np.array(points).reshape(-1, 2)


def bay_paint(network: RoadNetwork, bay: Bay) -> list[tuple[Array, Array]]:
    """Short dashes between lane and bay, and the zigzag of a bus stop in it (RMS signs 340 and 299)."""
    lane = network.lanes[bay.lane]
    edge = offset_polyline(lane.centre_m, -lane.half_m)
    start = np.arange(bay.begin_m - bay.taper_m + 0.5, bay.end_m + bay.taper_m - 1.0, 2 * BAY_DASH_M)
    ends = start[:, None] + np.array([0.0, BAY_DASH_M])
    outer, inner = (interpolate(offset_polyline(edge, aside), lane.station_m, ends)
                    for aside in (LINE_WIDTH_M / 2, -LINE_WIDTH_M / 2))
    turns = np.arange(bay.begin_m, bay.end_m, ZIGZAG_M)
    aside = np.where(np.arange(len(turns)) % 2, 0.4, bay.width_m - 0.2)
    heading = lane.heading_at(turns)
    right = np.stack([np.sin(heading), -np.cos(heading)], axis=1)
    corner = interpolate(edge, lane.station_m, turns) + aside[:, None] * right
    zigzag = [_line(corner[k:k + 2], 0.0, LINE_WIDTH_M) for k in range(len(corner) - 1)]
    return [strips(outer, inner), *zigzag]


def paints_middle(lane: Lane) -> bool:
    """Whether it is the one of two opposite lanes whose left edge is painted."""
    is_inner = lane.left_neighbour is None and (lane.junction is None or lane.left != Marking.DASHED)
    return is_inner and (lane.opposite is None or lane.id < lane.opposite)
