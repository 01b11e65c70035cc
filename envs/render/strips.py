"""Bands between polylines as triangles of no more points than their shape needs: what all flat paint is made of."""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import njit

from envs.geometry import Array, stations

LONGEST_QUAD_M = 40.0
SAGITTA_M = 0.02  # a curve's chord may leave it by this much


@functools.cache
def _ladder(count: int) -> Array:
    """Triangles of one band whose right side is vertices 0 to count - 1 and whose left side follows."""
    lower = np.arange(count - 1)
    upper = lower + count  # right side first: counter-clockwise from above
    return np.concatenate([np.stack([lower, lower + 1, upper + 1], 1), np.stack([lower, upper + 1, upper], 1)])


def strips(left_m: Array, right_m: Array) -> tuple[Array, Array]:
    """Vertices (2 K N, 2) and triangles of K bands between polylines (K, N, 2) that run side by side."""
    bands, count = left_m.shape[:2]
    triangles = _ladder(count) + 2 * count * np.arange(bands)[:, None, None]
    return np.concatenate([right_m, left_m], axis=1).reshape(-1, 2), triangles.reshape(-1, 3).astype(np.int32)


def strip(left_m: Array, right_m: Array) -> tuple[Array, Array]:
    """The band between two polylines (N, 2)."""
    return strips(left_m[None], right_m[None])


def join(parts: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Several meshes as one: vertices (V, 2) and triangles (T, 3)."""
    if not parts:
        return np.zeros((0, 2)), np.zeros((0, 3), np.int32)
    starts = np.cumsum([0] + [len(vertices) for vertices, _ in parts[:-1]])
    return (np.concatenate([vertices for vertices, _ in parts]),
            np.concatenate([triangles + start for (_, triangles), start in zip(parts, starts, strict=True)]))


def bands(sides_m: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """The bands between pairs of polylines (N, 2), left and right, as one mesh of no more points than they need."""
    return join([strip(left[keep], right[keep]) for left, right, keep in
                  ((left, right, thin((left + right) / 2)) for left, right in sides_m)])


@njit(cache=True)
def _corners(points_m: Array, station_m: Array) -> list[int]:
    """Indices of the points before the last that keep a polyline's shape: see `thin`."""
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


def thin(points_m: Array) -> Array:
    """Indices of the points (N, 2) that keep a polyline's shape to SAGITTA_M, at most LONGEST_QUAD_M apart."""
    return np.array([*_corners(points_m, stations(points_m)), len(points_m) - 1])
