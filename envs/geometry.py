"""Angles, frames, polylines and oriented boxes in the plane: pure functions on arrays.

Frames follow ISO 8855: world x east, y north; ego x forward, y left, origin on the ground under the rear axle; yaw is
counter-clockwise from x. Everything is in metres and radians. No roads and no cars here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]


def wrap_angle(angle_rad: Any) -> Any:
    """Angle(s) wrapped to (-pi, pi]."""
    return np.pi - np.mod(np.pi - np.asarray(angle_rad), 2 * np.pi)


def ego_from_world(pose: Array, points_m: Array) -> Array:
    """World points (..., 2) in the frame of `pose` = (x_m, y_m, yaw_rad), or each in its own: (3, ...)."""
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    points = np.asarray(points_m, float)
    x, y = points[..., 0] - pose[0], points[..., 1] - pose[1]
    return paired(cos * x + sin * y, cos * y - sin * x)


def world_from_ego(pose: Array, points_m: Array) -> Array:
    """Points (..., 2) in the frame of `pose` = (x_m, y_m, yaw_rad), back in the world: inverse of `ego_from_world`."""
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    points = np.asarray(points_m, float)
    return paired(pose[0] + cos * points[..., 0] - sin * points[..., 1],
                  pose[1] + sin * points[..., 0] + cos * points[..., 1])


def paired(x: Array, y: Array) -> Array:
    """Points (..., 2) float64 of coordinates (...,): np.stack in a fifth of its time."""
    points = np.empty((*np.shape(x), 2))
    points[..., 0], points[..., 1] = x, y
    return points


def stations(points_m: Array) -> Array:
    """Arc length (N,) [m] along a polyline (N, 2), starting at 0."""
    at = np.zeros(len(points_m))
    step = points_m[1:] - points_m[:-1]
    np.cumsum(np.hypot(step[:, 0], step[:, 1]), out=at[1:])
    return at


def headings(points_m: Array) -> Array:
    """Tangent direction (N,) [rad] of a polyline (N, 2) by central differences, not unwrapped."""
    points = np.asarray(points_m, float)
    step = np.empty_like(points)  # as np.gradient has it, in a fifth of the time on short lines
    step[1:-1] = (points[2:] - points[:-2]) / 2
    step[0], step[-1] = points[1] - points[0], points[-1] - points[-2]
    return np.arctan2(step[:, 1], step[:, 0])


def unwrapped(heading_rad: Array) -> Array:
    """Headings (N,) without jumps of a whole turn, as by np.unwrap; where there are none, the array that was given."""
    has_jump = (np.abs(heading_rad[1:] - heading_rad[:-1]) >= np.pi).any()
    return np.asarray(np.unwrap(heading_rad) if has_jump else heading_rad)


def offset_polyline(points_m: Array, left_m: float | Array) -> Array:
    """The polyline (N, 2) shifted `left_m` to its left (negative: right)."""
    heading = headings(points_m)
    return points_m + paired(-np.sin(heading), np.cos(heading)) * np.reshape(left_m, (-1, 1))


def resample(points_m: Array, spacing_m: float) -> Array:
    """The polyline (N, 2) with equal steps of at most `spacing_m`, both ends kept."""
    station = stations(points_m)
    at = np.linspace(0.0, station[-1], max(2, int(np.ceil(station[-1] / spacing_m)) + 1))
    return paired(np.interp(at, station, points_m[:, 0]), np.interp(at, station, points_m[:, 1]))


def interpolate(points_m: Array, station_m: Array, at_m: Array) -> Array:
    """Points (K, 2) of the polyline (N, 2) with arc lengths (N,), at arc lengths (K,); clamped to its ends."""
    return paired(np.interp(at_m, station_m, points_m[:, 0]), np.interp(at_m, station_m, points_m[:, 1]))


@njit(cache=True)
def project(points_m: Array, station_m: Array, x_m: float, y_m: float, first: int, last: int) -> tuple[float, float]:
    """(station, lateral) [m] of the point nearest to (x, y) on segments `first` to `last` (exclusive) of a polyline.

    Lateral is positive on the left. Past an end the foot point is clamped to it, and lateral keeps its sign and size.
    """
    best, best_station, best_lateral = np.inf, 0.0, 0.0
    for i in range(max(first, 0), min(last, len(points_m) - 1)):
        ax, ay = points_m[i]
        dx, dy = points_m[i + 1, 0] - ax, points_m[i + 1, 1] - ay
        length = np.sqrt(dx * dx + dy * dy)
        if length < 1e-9:
            continue
        along = min(max(((x_m - ax) * dx + (y_m - ay) * dy) / length, 0.0), length)
        px, py = x_m - ax - along * dx / length, y_m - ay - along * dy / length
        square = px * px + py * py
        if square < best:
            side = 1.0 if dx * py - dy * px >= 0 else -1.0
            best, best_station, best_lateral = square, station_m[i] + along, side * np.sqrt(square)
    return best_station, best_lateral


class SegmentIndex(NamedTuple):
    """Segments of many polylines, in runs of up to RUN_SEGMENTS that share a bounding box, and GROUP_RUNS of these that
    share another; made by `index_segments`.
    """

    segment_m: Array  # (S, 4) float64: x and y of both ends, in the direction of travel
    half_width_m: Array  # (S, 2) float64 at both ends, straight between them
    owner: Array  # (S,) int64, which polyline
    run_first: Array  # (R + 1,) int64, where each run begins
    run_box_m: Array  # (R, 4) float64: low x, low y, high x, high y, grown by the half width
    group_box_m: Array  # (G, 4) float64


RUN_SEGMENTS, GROUP_RUNS = 12, 12


def index_segments(polylines_m: Sequence[Array], half_widths_m: Sequence[float | Array]) -> SegmentIndex:
    """Polylines (N, 2), each with a half width or one for each point (N,), packed for `nearest_segment`."""
    segments = [np.concatenate([line[:-1], line[1:]], axis=1) for line in polylines_m]
    counts = np.array([len(part) for part in segments])
    begins = np.cumsum(counts) - counts
    first = np.concatenate([begin + np.arange(0, count, RUN_SEGMENTS)
                            for begin, count in zip(begins, counts, strict=True)])
    segment = np.concatenate(segments)
    sides = [np.broadcast_to(half, len(line)) for line, half in zip(polylines_m, half_widths_m, strict=True)]
    half = np.concatenate([np.stack([side[:-1], side[1:]], axis=1) for side in sides])
    reach = half.max(axis=1, keepdims=True)
    low = np.minimum.reduceat(np.minimum(segment[:, :2], segment[:, 2:]) - reach, first)
    high = np.maximum.reduceat(np.maximum(segment[:, :2], segment[:, 2:]) + reach, first)
    groups = np.arange(0, len(low), GROUP_RUNS)
    return SegmentIndex(segment, half, np.repeat(np.arange(len(counts)), counts), np.append(first, len(segment)),
                        np.concatenate([low, high], axis=1), np.concatenate([
                            np.minimum.reduceat(low, groups), np.maximum.reduceat(high, groups)], axis=1))


@njit(cache=True, inline="always")
def _outside(box_m: Array, x_m: float, y_m: float) -> float:
    """How far [m] a point is from a box (low x, low y, high x, high y) along the farther axis; at most 0 inside."""
    return max(box_m[0] - x_m, x_m - box_m[2], box_m[1] - y_m, y_m - box_m[3])


@njit(cache=True)
def nearest_segment(index: SegmentIndex, x_m: float, y_m: float, reach_m: float, forward: tuple[float, float],
                    ) -> tuple[int, float]:
    """(segment, gap [m]) with the smallest gap from (x, y) to a polyline's edge; (-1, reach_m) if none is in reach.

    The gap is the distance to the segment less its half width, negative on the polyline. Only segments whose direction
    has a positive component along `forward` count; (0, 0) takes all.
    """
    best, best_gap = -1, reach_m
    is_any = forward[0] == 0.0 and forward[1] == 0.0
    for group in range(len(index.group_box_m)):
        if _outside(index.group_box_m[group], x_m, y_m) > max(best_gap, 0.0):
            continue
        for run in range(group * GROUP_RUNS, min((group + 1) * GROUP_RUNS, len(index.run_box_m))):
            if _outside(index.run_box_m[run], x_m, y_m) > max(best_gap, 0.0):
                continue
            for i in range(index.run_first[run], index.run_first[run + 1]):
                ax, ay, bx, by = index.segment_m[i]
                dx, dy = bx - ax, by - ay
                square = dx * dx + dy * dy
                if square < 1e-18 or not (is_any or dx * forward[0] + dy * forward[1] > 0.0):
                    continue
                share = min(max(((x_m - ax) * dx + (y_m - ay) * dy) / square, 0.0), 1.0)
                half = index.half_width_m[i, 0] + share * (index.half_width_m[i, 1] - index.half_width_m[i, 0])
                gap = np.hypot(x_m - ax - share * dx, y_m - ay - share * dy) - half
                if gap < best_gap or (best < 0 and gap <= best_gap):
                    best, best_gap = i, gap
    return best, best_gap


@njit(cache=True)
def gaps_to_segments(index: SegmentIndex, points_m: Array, reach_m: float) -> Array:
    """Gap (K,) [m] from each point (K, 2) to the nearest polyline edge, as in `nearest_segment`; at most `reach_m`."""
    gaps = np.empty(len(points_m))
    for k in range(len(points_m)):
        gaps[k] = nearest_segment(index, points_m[k, 0], points_m[k, 1], reach_m, (0.0, 0.0))[1]
    return gaps


@njit(cache=True)
def is_inside(outline_m: Array, x_m: float, y_m: float) -> bool:
    """Whether (x, y) lies in a simple polygon (N, 2), by counting crossed edges; the edge itself may go either way."""
    inside = False
    for i in range(len(outline_m)):
        ax, ay = outline_m[i - 1]
        bx, by = outline_m[i]
        if (ay > y_m) != (by > y_m) and x_m < ax + (y_m - ay) / (by - ay) * (bx - ax):
            inside = not inside
    return inside


class Areas(NamedTuple):
    """A areas with an island each, that may have no corners; one's corners lie in a row, ordered by area."""

    circle_m: Array  # (A, 3) x, y, radius of a circle around each
    corner_m: Array  # (M, 2)
    first: Array  # (A + 1,) where an area's corners begin, and at last their number
    island_m: Array  # (I, 2)
    first_island: Array  # (A + 1,) the same of islands


def areas_of(outlines_m: Sequence[Array], islands_m: Sequence[Array]) -> Areas:
    """Areas of their outlines (N, 2) and islands (K, 2)."""
    middles = [outline.mean(axis=0) for outline in outlines_m]
    circles = [(*middle, np.hypot(*(outline - middle).T).max())
               for middle, outline in zip(middles, outlines_m, strict=True)]
    none = np.zeros((0, 2))
    return Areas(np.array(circles).reshape(-1, 3), np.concatenate([none, *outlines_m]),
                 np.cumsum([0, *map(len, outlines_m)]), np.concatenate([none, *islands_m]),
                 np.cumsum([0, *map(len, islands_m)]))


@njit(cache=True)
def is_within(areas: Areas, x_m: float, y_m: float) -> bool:
    """Whether (x, y) lies in one of the areas and not on its island."""
    for i in range(len(areas.circle_m)):
        x, y, radius = areas.circle_m[i]
        if (abs(x_m - x) < radius and abs(y_m - y) < radius
                and is_inside(areas.corner_m[areas.first[i]:areas.first[i + 1]], x_m, y_m)
                and not is_inside(areas.island_m[areas.first_island[i]:areas.first_island[i + 1]], x_m, y_m)):
            return True
    return False


@njit(cache=True)
def turn_within(areas: Areas, points_m: Array, gaps_m: Array) -> None:
    """Make the gap (K,) of each point (K, 2) that lies within an area negative, in place."""
    for k in range(len(points_m)):
        if gaps_m[k] > 0.0 and is_within(areas, points_m[k, 0], points_m[k, 1]):
            gaps_m[k] = -gaps_m[k]


@njit(cache=True)
def keep_apart(points_m: Array, radius_m: Array) -> Array:
    """Which (K,) of the circles, taken in order, touch no earlier one that was kept."""
    kept = np.zeros(len(points_m), np.bool_)
    for i in range(len(points_m)):
        kept[i] = True
        for j in range(i):
            gap = np.hypot(points_m[i, 0] - points_m[j, 0], points_m[i, 1] - points_m[j, 1])
            if kept[j] and gap <= radius_m[i] + radius_m[j]:
                kept[i] = False
                break
    return kept


def box_corners(pose: Array, length_m: float, width_m: float, centre_forward_m: float = 0.0) -> Array:
    """Corners (4, 2), counter-clockwise from rear right, of a box centred `centre_forward_m` ahead of `pose`."""
    x0, x1, half = centre_forward_m - length_m / 2, centre_forward_m + length_m / 2, width_m / 2
    return world_from_ego(pose, np.array([[x0, -half], [x1, -half], [x1, half], [x0, half]]))


def boxes_overlap(first: Array, second: Array) -> bool:
    """Whether two convex quadrilaterals (4, 2) intersect, by the separating-axis theorem; touching counts."""
    for corners in (first, second):
        edges = np.roll(corners, -1, axis=0) - corners
        normals = np.stack([-edges[:, 1], edges[:, 0]], axis=1)
        a, b = normals @ first.T, normals @ second.T
        if np.any((a.max(1) < b.min(1)) | (b.max(1) < a.min(1))):
            return False
    return True
