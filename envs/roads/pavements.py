"""Where people walk: lines along the kerbs that lead round everything that stands there.

The right edges of a town's outermost lanes, joined through right turns, run round its blocks as rings. Beside each ring
lie LINES lines outside the kerb, shifted round posts, trunks, houses and parked cars, and closed where no room is left.
A person's place is a point of a line, so nobody has to look for a way. Built for one episode, near its route only.
Ways over the road are in `ways.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from envs.geometry import Array, offset_polyline, resample, wrap_angle
from envs.kept import kept
from envs.roads.network import SHOULDER_M, Lane, RoadNetwork
from envs.roads.routes import Route
from envs.state import Actors, PropKind, Town

SPACING_M = 1.0  # between two points of a line, along the kerb
LINES = 4
COLUMN_M = 0.275  # between two offsets that are tried
COLUMNS_PER_LINE = 2  # lines lie 0.55 m apart: the body's width (Weidmann 1993: 0.46 m) and some air
NEAREST_M = 0.8  # first line from the kerb
NUM_COLUMNS = 14  # up to 4.4 m from the kerb
BODY_M = 0.36  # kept between a line and what stands there: half a body
AIR_M = 0.12  # kept where there is room
ROAD_GAP_M = 0.5  # of any line from any road
REACH_M = 150.0  # of the route: beyond it nobody walks
FASTEST_MPS = 101 / 3.6  # nobody walks along faster roads
TRUNK_M, POST_M = 0.4, 0.1  # across


class Pavements(NamedTuple):
    """N points along the kerbs, LINES lines beside each; plain arrays for compiled code."""

    point_m: Array  # (N, LINES, 2)
    step_m: Array  # (N, LINES) from each point to the next of its line
    is_open: Array  # (N, LINES) bool: somebody may be here
    after: Array  # (N,) int, the next point in the lane's direction; itself at an end
    before: Array  # (N,) int
    kerb_m: Array  # (N, 2)
    limit_mps: Array  # (N,) of the road
    route_m: Array  # (N,) distance to the route


def pave(town: Town, route: Route, standing: Actors) -> Pavements:
    """The pavements within REACH_M of a route, round the town's things and round `standing` actors."""
    kerb, right, limit, after = rings(town.network)
    _, away = nearest(kerb, route.points_m[::10])
    kept = np.flatnonzero((away < REACH_M) & (limit <= FASTEST_MPS))
    place = np.full(len(kerb) + 1, -1)
    place[kept] = np.arange(len(kept))
    kerb, right, limit, away, after = kerb[kept], right[kept], limit[kept], away[kept], place[after[kept]]
    here = np.arange(len(kept))
    before = np.full(len(kept), -1)
    before[after[after >= 0]] = here[after >= 0]
    is_end = (after < 0) | (before < 0)
    after, before = np.where(after < 0, here, after), np.where(before < 0, here, before)

    boxes = boxes_of(town, standing)
    tried = NEAREST_M + COLUMN_M * np.arange(NUM_COLUMNS)
    points = kerb[:, None] + right[:, None] * tried[:, None]
    on_road: Array = _on_road(town.network, points)
    blocked = on_road | is_blocked(points, boxes, BODY_M + AIR_M)
    wide = _spread(_spread(blocked, after, before), after, before)
    column, is_free = _choose(np.where(wide.all(axis=1, keepdims=True), blocked, wide))
    offset = NEAREST_M + COLUMN_M * column
    one, two = offset[after] + offset[before], offset[after[after]] + offset[before[before]]
    offset = (offset + one + two) / 5  # over 4 m: nobody jumps aside
    lines = kerb[:, None] + right[:, None] * offset[..., None]
    is_open = is_free & ~is_blocked(lines, boxes, BODY_M) & ~is_end[:, None]
    near = np.flatnonzero(_spread(_spread(np.any(on_road, axis=1), after, before), after, before))
    gap = town.network.distance_to_road(lines[near].reshape(-1, 2), 1.0)
    is_open[near] &= gap.reshape(-1, LINES) >= ROAD_GAP_M
    step = np.maximum(np.hypot(*np.moveaxis(lines[after] - lines, -1, 0)), 0.05)
    return Pavements(lines, step, is_open, after, before, kerb, limit, away)


@kept
def rings(network: RoadNetwork) -> tuple[Array, Array, Array, Array]:
    """Kerb points (N, 2), unit vectors to the right (N, 2), speed limits (N,) and the next point (N,) or -1."""
    points, rights, limits, afters, count = [], [], [], [], 0
    for chain, is_closed in _chains(network):
        lanes = [network.lanes[i] for i in chain]
        parts = [offset_polyline(lane.centre_m, -(lane.half_m + SHOULDER_M)) for lane in lanes]
        limit = np.concatenate([np.full(len(part), lane.speed_limit_mps)
                                for lane, part in zip(lanes, parts, strict=True)])
        line = np.concatenate([*parts, parts[0][:1]] if is_closed else parts)
        fresh = np.append(np.hypot(*np.diff(line, axis=0).T) > 1e-6, True)
        line, owner = line[fresh], np.append(limit, limit[0])[:len(fresh)][fresh]
        even = resample(line, SPACING_M)
        share = np.linspace(0.0, len(owner) - 1, len(even)).astype(int)
        heading = _headings(even, is_closed)
        if is_closed:
            even, heading, share = even[:-1], heading[:-1], share[:-1]
        points.append(even)
        rights.append(np.stack([np.sin(heading), -np.cos(heading)], axis=1))
        limits.append(owner[share])
        afters.append(count + np.append(np.arange(1, len(even)), 0 if is_closed else -1 - count))
        count += len(even)
    return np.concatenate(points), np.concatenate(rights), np.concatenate(limits), np.concatenate(afters)


def _headings(line_m: Array, is_closed: bool) -> Array:
    """Tangents (N,) [rad] over 4 m of a line (N, 2), so that a kink at a joint does not throw people about."""
    ends = [line_m[-3:-1], line_m, line_m[1:3]] if is_closed else [line_m[:1], line_m[:1], line_m, line_m[-1:],
                                                                   line_m[-1:]]
    long = np.concatenate(ends)
    delta = long[4:] - long[:-4]
    return np.arctan2(delta[:, 1], delta[:, 0])


def _chains(network: RoadNetwork) -> list[tuple[list[int], bool]]:
    """Lanes whose right edges form one kerb, in order, and whether the last leads to the first."""
    outer = [lane for lane in network.lanes if lane.right_neighbour is None]
    following = {}
    for lane in outer:
        choices = [network.lanes[i] for i in lane.successors if network.lanes[i].right_neighbour is None]
        if choices:
            following[lane.id] = min(choices, key=lambda other: _leftness(lane, other)).id
    led_to = set(following.values())
    chains: list[tuple[list[int], bool]] = []
    seen: set[int] = set()
    for lane in sorted((lane for lane in outer if lane.junction is None), key=lambda lane: lane.id in led_to):
        chain, now = [], lane.id
        while now not in seen:
            seen.add(now)
            chain.append(now)
            now = following.get(now, now)
        if chain:
            chains.append((chain, len(chain) > 1 and following.get(chain[-1]) == chain[0]))
    return chains


def _leftness(lane: Lane, other: Lane) -> float:
    """How far to the left a successor leads: the angle of its chord with the lane's last direction [rad]."""
    chord = other.centre_m[-1] - lane.centre_m[-1]
    return float(wrap_angle(np.arctan2(chord[1], chord[0]) - lane.heading_rad[-1]))


def boxes_of(town: Town, standing: Actors) -> Array:
    """All that one cannot walk through (B, 6): x, y, cosine and sine of the yaw, half length, half width."""
    props, posts, heads = town.props, town.signs.pose, town.signal_heads.pose
    is_tree = (props.kind == PropKind.TREE)[:, None]
    size = np.where(is_tree, TRUNK_M, props.size_m[:, :2])
    post = np.full((len(posts) + len(heads), 2), POST_M)
    pose = np.concatenate([props.pose, posts, heads, standing.pose])
    half = np.concatenate([size, post, standing.size_m[:, :2]]) / 2
    return np.column_stack([pose[:, :2], np.cos(pose[:, 2]), np.sin(pose[:, 2]), half])


def _on_road(network: RoadNetwork, points_m: Array) -> Array:
    """Whether points (N, C, 2), columns away from a kerb, are nearer than ROAD_GAP_M to some road: bool (N, C).

    Where the farthest column, asked at every other point, keeps its distance, no other road is near.
    """
    farthest = NEAREST_M + COLUMN_M * (NUM_COLUMNS - 1)
    gap = np.repeat(network.distance_to_road(points_m[::2, -1], farthest), 2)[:len(points_m)]
    near = np.flatnonzero(gap < farthest - 0.2)
    result = np.zeros(points_m.shape[:2], bool)
    gaps = network.distance_to_road(points_m[near].reshape(-1, 2), 1.0)
    result[near] = gaps.reshape(-1, NUM_COLUMNS) < ROAD_GAP_M + 0.05
    return result


def _spread(blocked: Array, after: Array, before: Array) -> Array:
    return blocked | blocked[after] | blocked[before]


@njit(cache=True)
def nearest(points_m: Array, others_m: Array) -> tuple[Array, Array]:
    """For each point (N, 2) which of others (M, 2), at least one, is nearest (N,), and its distance (N,) [m]."""
    which, away = np.zeros(len(points_m), np.int64), np.empty(len(points_m))
    for i in range(len(points_m)):
        best = np.inf
        for j in range(len(others_m)):
            dx, dy = points_m[i, 0] - others_m[j, 0], points_m[i, 1] - others_m[j, 1]
            if dx * dx + dy * dy < best:
                best, which[i] = dx * dx + dy * dy, j
        away[i] = np.sqrt(best)
    return which, away


@njit(cache=True)
def is_blocked(points_m: Array, boxes: Array, margin_m: float) -> Array:
    """Whether points (N, C, 2), each row within 2.5 m of its middle, lie within a margin of a box: bool (N, C)."""
    count, columns = points_m.shape[:2]
    result = np.zeros((count, columns), np.bool_)
    for i in range(count):
        mx, my = points_m[i, columns // 2]
        for box in range(len(boxes)):
            x, y, cos, sin, half_length, half_width = boxes[box]
            reach = half_length + half_width + margin_m + 2.5
            if abs(mx - x) > reach or abs(my - y) > reach:
                continue
            for k in range(columns):
                dx, dy = points_m[i, k, 0] - x, points_m[i, k, 1] - y
                out_x = max(abs(cos * dx + sin * dy) - half_length, 0.0)
                out_y = max(abs(cos * dy - sin * dx) - half_width, 0.0)
                if out_x * out_x + out_y * out_y < margin_m * margin_m:
                    result[i, k] = True
    return result


@njit(cache=True)
def _choose(blocked: Array) -> tuple[Array, Array]:
    """For each line at each point its column (N, LINES), the free one nearest to where it would like to lie beside the
    line before it, and whether there was one."""
    count, columns = blocked.shape
    chosen, is_free = np.zeros((count, LINES)), np.zeros((count, LINES), np.bool_)
    for i in range(count):
        last = -COLUMNS_PER_LINE
        for line in range(LINES):
            wish = max(line * COLUMNS_PER_LINE, last + COLUMNS_PER_LINE)
            best = -1
            for column in range(columns):
                if not blocked[i, column] and (best < 0 or abs(column - wish) <= abs(best - wish)):
                    best = column
            is_free[i, line] = best >= 0
            chosen[i, line] = best if best >= 0 else min(wish, columns - 1)
            if best >= 0:
                last = best
    return chosen, is_free
