"""Convex polygons on a grid of pixels, in numba: clip, project, fill, cover, texture. Free functions on arrays.

A polygon is (N, 3) in camera coordinates (x right, y down, z ahead); whether a pixel belongs to it is decided at the
pixel's centre. On a flat face 1 / depth is linear in the image, so one plane gives it everywhere. No scenes here.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from envs.geometry import Array

# A called kernel counts references to every array it is given, by atomic operations that took two thirds of a frame's
# time; inlined it counts none. `error_model`: dividing by zero gives inf instead of a branch at each division.
kernel = njit(cache=True, nogil=True, error_model="numpy")
inlined = njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
NEAR_M = 0.25
SUBROWS = 4  # scan lines a pixel row for coverage
MOST_CORNERS = 40  # of a polygon after clipping


class View(NamedTuple):
    """A pinhole camera: `spread` is half the image's width at depth 1."""

    centre_u: float
    centre_v: float
    focal_px: float
    spread: float
    rotation: Array  # (3, 3) world to camera
    position_m: Array  # (3,)


class Canvas(NamedTuple):
    """What is drawn on: rgb uint8 (H, W, 3), class_id uint8, instance_id uint16, inverse_depth float32 (H, W)."""

    rgb: Array
    class_id: Array
    instance_id: Array
    inverse_depth: Array


class Scratch(NamedTuple):
    """Space to work in: polygon corners, and for each scan line where the polygon begins and ends."""

    points: Array  # (MOST_CORNERS, 3) camera coordinates
    cut: Array  # (MOST_CORNERS, 3) after clipping
    screen: Array  # (MOST_CORNERS, 2) pixels
    left: Array  # (H * SUBROWS,)
    right: Array


def scratch_for(height_px: int) -> Scratch:
    """Fresh space for pictures of a height."""
    return Scratch(np.empty((MOST_CORNERS, 3)), np.empty((MOST_CORNERS, 3)), np.empty((MOST_CORNERS, 2)),
                   np.empty(height_px * SUBROWS), np.empty(height_px * SUBROWS))


@inlined
def may_show(dx: float, dy: float, reach: float, view: View) -> bool:
    """Whether a thing within `reach` of the offset (dx, dy) from the camera can touch the field of view."""
    ahead = dx * view.rotation[2, 0] + dy * view.rotation[2, 1]
    aside = abs(dx * view.rotation[0, 0] + dy * view.rotation[0, 1])
    return ahead > -reach and aside <= (max(ahead, 0.0) + reach) * view.spread + 1.5 * reach


@inlined
def project(scratch: Scratch, count: int, view: View) -> int:
    """Cut the polygon in scratch.points at depth NEAR_M and project it to scratch.screen; returns its corners."""
    points, cut, screen = scratch.points, scratch.cut, scratch.screen
    kept = 0
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        if points[i, 2] >= NEAR_M:
            for c in range(3):
                cut[kept, c] = points[i, c]
            kept += 1
        if (points[i, 2] >= NEAR_M) != (points[j, 2] >= NEAR_M):
            share = (NEAR_M - points[i, 2]) / (points[j, 2] - points[i, 2])
            for c in range(3):
                cut[kept, c] = points[i, c] + share * (points[j, c] - points[i, c])
            kept += 1
    for i in range(kept):
        scale = view.focal_px / cut[i, 2]
        screen[i, 0] = view.centre_u + scale * cut[i, 0]
        screen[i, 1] = view.centre_v + scale * cut[i, 1]
    return kept


@inlined
def trace(scratch: Scratch, count: int, width: int, height: int, per_row: int) -> tuple[int, int]:
    """Scan lines [first, last) that meet the polygon in scratch.screen, `per_row` to a pixel row.

    scratch.left and right get where each begins and ends [px].
    """
    screen, left, right = scratch.screen, scratch.left, scratch.right
    low_u, high_u, low_v, high_v = np.inf, -np.inf, np.inf, -np.inf
    for i in range(count):
        low_u, high_u = min(low_u, screen[i, 0]), max(high_u, screen[i, 0])
        low_v, high_v = min(low_v, screen[i, 1]), max(high_v, screen[i, 1])
    if high_u <= 0.0 or low_u >= width or count < 3:
        return 0, 0
    first = math.ceil(max(low_v, 0.0) * per_row - 0.5)
    last = math.ceil(min(high_v, float(height)) * per_row - 0.5)
    if first >= last:
        return 0, 0
    for y in range(first, last):
        left[y], right[y] = np.inf, -np.inf
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        a, b = (i, j) if screen[i, 1] <= screen[j, 1] else (j, i)
        begin = max(math.ceil(max(screen[a, 1], 0.0) * per_row - 0.5), first)
        end = min(math.ceil(min(screen[b, 1], float(height)) * per_row - 0.5), last)
        if begin < end:
            slope = (screen[b, 0] - screen[a, 0]) / (screen[b, 1] - screen[a, 1])
            for y in range(begin, end):
                u = screen[a, 0] + ((y + 0.5) / per_row - screen[a, 1]) * slope
                left[y], right[y] = min(left[y], u), max(right[y], u)
    return first, last


@inlined
def columns(left: float, right: float, width: int) -> tuple[int, int]:
    """Pixels [first, last) of a row whose centres lie between two places [px]."""
    return math.ceil(max(left, 0.0) - 0.5), math.ceil(min(right, float(width)) - 0.5)


@inlined
def fill(scratch: Scratch, count: int, value: int, out: Array) -> None:
    """Set all pixels of the polygon in `out` (H, W)."""
    height, width = out.shape
    first, last = trace(scratch, count, width, height, 1)
    for y in range(first, last):
        begin, end = columns(scratch.left[y], scratch.right[y], width)
        for x in range(begin, end):
            out[y, x] = value


@inlined
def cover(scratch: Scratch, count: int, value: int, coverage: Array, out: Array) -> None:
    """Add the share that the polygon covers of each pixel to `coverage` (H, W), and set `out` (H, W) there."""
    height, width = coverage.shape
    first, last = trace(scratch, count, width, height, SUBROWS)
    for line in range(first, last):
        left, right, y = max(scratch.left[line], 0.0), min(scratch.right[line], float(width)), line // SUBROWS
        for x in range(int(left), min(int(right) + 1, width)):
            share = min(right, x + 1.0) - max(left, float(x))
            if share > 0.0:
                coverage[y, x] += np.float32(share / SUBROWS)
                out[y, x] = value


@inlined
def inverse_depth_plane(normal: Array, offset_m: float, view: View) -> tuple[float, float, float]:
    """1 / depth as (per u, per v, at 0) on the plane normal . p = offset in camera coordinates."""
    per_u, per_v = normal[0] / (view.focal_px * offset_m), normal[1] / (view.focal_px * offset_m)
    return per_u, per_v, normal[2] / offset_m - per_u * view.centre_u - per_v * view.centre_v


@inlined
def draw_solid(scratch: Scratch, count: int, plane: tuple[float, float, float], colour: tuple[int, int, int],
               semantic: int, instance: int, canvas: Canvas) -> None:
    """Draw a polygon in one colour where it is nearer than what is there."""
    height, width = canvas.class_id.shape
    first, last = trace(scratch, count, width, height, 1)
    if first >= last:
        return
    nearest, farthest = scratch.cut[0, 2], scratch.cut[0, 2]
    for i in range(1, count):
        nearest, farthest = min(nearest, scratch.cut[i, 2]), max(farthest, scratch.cut[i, 2])
    low, high = np.float32(1.0 / farthest), np.float32(1.0 / nearest)  # a plane seen edge-on knows no better
    for y in range(first, last):
        begin, end = columns(scratch.left[y], scratch.right[y], width)
        start = plane[2] + plane[1] * (y + 0.5) + plane[0] * 0.5
        for x in range(begin, end):
            inverse = min(max(np.float32(start + plane[0] * x), low), high)
            if inverse > canvas.inverse_depth[y, x]:
                canvas.inverse_depth[y, x] = inverse
                canvas.rgb[y, x, 0], canvas.rgb[y, x, 1], canvas.rgb[y, x, 2] = colour
                canvas.class_id[y, x] = semantic
                canvas.instance_id[y, x] = instance
