"""What is in the ego's way: road users along its route, people about to be on it, who goes first at the next junction.

All of it is read from the WorldState by a privileged driver; distances are along the route from the front bumper. What
to do about it is the driver's business (expert.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from envs.geometry import Array
from envs.pace import STANDSTILL_MPS
from envs.right_of_way import claims, ego_times
from envs.roads.network import Crossing
from envs.roads.routes import Route
from envs.state import EGO_SHAPE, ActorKind, WorldState

SIGHT_M = 80.0  # how far ahead road users count
HASTE_MPS = 1.8  # whoever runs towards the road counts before he is on it
FORESEEN_S = 3.0  # a person who will be in the way within this time is in the way
EARLY_S, LATE_S = 1.0, 0.8  # spare time before and after a person who crosses
CROSS_SPARE_S, MERGE_SPARE_S = 1.0, 2.0  # to whoever goes first and comes after the ego
KERB_M = 1.6  # whoever stands this near to a zebra crossing's end may want to cross
PATIENCE_S = 5.0  # after this long at a line, others who stand as long are taken to wait for the ego


@dataclass(frozen=True, eq=False)
class Ahead:
    """Road users within sight along the route, K rows."""

    row: Array  # (K,) int row of Actors
    gap_m: Array  # (K,) from the front bumper to the nearest part of the outline; negative beside and behind
    reach_m: Array  # (K,) of the outline along the route
    lateral_m: Array  # (K,) of its middle, left of the driven line
    half_width_m: Array  # (K,) across the route
    along_mps: Array  # (K,) speed along the route
    across_mps: Array  # (K,) to the left


def look_ahead(state: WorldState, station_m: float, aside: Callable[[Array], Array] = np.zeros_like) -> Ahead:
    """Everybody near the part of the route within SIGHT_M.

    `aside` tells how far [m] the driven line lies left of the route at stations; lateral places are seen from it.
    """
    actors, route, ego = state.actors, state.route, state.ego
    near = np.flatnonzero(np.hypot(actors.pose[:, 0] - ego.x_m, actors.pose[:, 1] - ego.y_m) < SIGHT_M)
    first, last = route.index_at(station_m - EGO_SHAPE.length_m), route.index_at(station_m + SIGHT_M) + 1
    points = route.points_m[first:last]
    x, y, yaw = actors.pose[near].T
    nearest = np.argmin((points[:, 0, None] - x) ** 2 + (points[:, 1, None] - y) ** 2, axis=0)
    heading = route.heading_rad[first + nearest]
    dx, dy = x - points[nearest, 0], y - points[nearest, 1]
    cos, sin, turn = np.cos(heading), np.sin(heading), yaw - heading
    length, width = actors.size_m[near, 0], actors.size_m[near, 1]
    reach = length * np.abs(np.cos(turn)) + width * np.abs(np.sin(turn))
    along = route.station_m[first + nearest] + cos * dx + sin * dy
    return Ahead(near, along - reach / 2 - station_m - EGO_SHAPE.front_m, reach, cos * dy - sin * dx - aside(along),
                 (length * np.abs(np.sin(turn)) + width * np.abs(np.cos(turn))) / 2,
                 actors.speed_mps[near] * np.cos(turn), actors.speed_mps[near] * np.sin(turn))


def leader(ahead: Ahead, aside_m: float, margin_m: float) -> tuple[float, float]:
    """(gap [m], speed along the route [m/s]) of the nearest one in the corridor, else (inf, 0).

    The corridor is the ego's width and `margin_m` on both sides, `aside_m` to the left of the route.
    """
    is_inside = np.abs(ahead.lateral_m - aside_m) < ahead.half_width_m + EGO_SHAPE.width_m / 2 + margin_m
    rows = np.flatnonzero(is_inside & (ahead.gap_m + ahead.reach_m > -EGO_SHAPE.length_m))
    if not len(rows):
        return math.inf, 0.0
    best = rows[np.argmin(ahead.gap_m[rows])]
    return float(ahead.gap_m[best]), float(ahead.along_mps[best])


def people_in_the_way(state: WorldState, ahead: Ahead, margin_m: float) -> float:
    """Gap [m] to the nearest person who will be in the corridor when the ego comes by, else inf.

    Counted are those on the road, and those who run towards it. Velocities are taken as constant.
    """
    speed, gap = max(state.ego.speed_mps, 1.0), math.inf
    for k in np.flatnonzero((state.actors.kind[ahead.row] == ActorKind.PEDESTRIAN)
                            & (ahead.gap_m + ahead.reach_m > -EGO_SHAPE.front_m)).tolist():
        half = float(ahead.half_width_m[k]) + EGO_SHAPE.width_m / 2 + margin_m
        enters, leaves = _inside_s(float(ahead.lateral_m[k]), float(ahead.across_mps[k]), half)
        if enters > FORESEEN_S or leaves < 0 or ahead.gap_m[k] > gap:
            continue
        x, y, _ = state.actors.pose[ahead.row[k]]
        arrives = max(ahead.gap_m[k], 0.0) / speed
        passes = (ahead.gap_m[k] + ahead.reach_m[k] + EGO_SHAPE.length_m) / speed
        is_together = enters - EARLY_S < passes and arrives < leaves + LATE_S
        is_coming = enters == 0.0 or abs(ahead.across_mps[k]) > HASTE_MPS or state.town.network.is_on_road(x, y)
        if is_together and is_coming:
            gap = float(ahead.gap_m[k])
    return gap


def _inside_s(lateral_m: float, across_mps: float, half_m: float) -> tuple[float, float]:
    """When [s] somebody at `lateral_m` enters and leaves the strip of `half_m` on both sides; inf if never."""
    if abs(across_mps) < 0.05:
        return (0.0, math.inf) if abs(lateral_m) < half_m else (math.inf, math.inf)
    ends = sorted(((-half_m - lateral_m) / across_mps, (half_m - lateral_m) / across_mps))
    return (max(0.0, ends[0]), ends[1]) if ends[1] >= 0 else (math.inf, ends[1])


def is_claimed(state: WorldState, crossing: Crossing) -> bool:
    """Whether somebody is on a crossing, or stands at the kerb of a zebra crossing and wants to use it."""
    people = np.flatnonzero(state.actors.kind == ActorKind.PEDESTRIAN)
    if not len(people):
        return False
    way = crossing.ends_m[1] - crossing.ends_m[0]
    length = float(np.hypot(*way))
    direction = way / length
    offset = state.actors.pose[people, :2] - crossing.ends_m[0]
    along = offset @ direction
    aside = np.abs(offset @ np.array([-direction[1], direction[0]]))
    yaw, speed = state.actors.pose[people, 2], state.actors.speed_mps[people]
    forward = speed * (np.cos(yaw) * direction[0] + np.sin(yaw) * direction[1])
    is_on = (along > 0.0) & (along < length) & (aside < crossing.width_m / 2 + 0.5)
    if not crossing.is_zebra:
        return bool(is_on.any())
    inward = np.where(along < length / 2, forward, -forward)
    is_waiting = (along > -KERB_M) & (along < length + KERB_M) & (aside < crossing.width_m / 2 + 0.5) & (
        (speed < 0.3) | (inward > 0.5 * speed))
    return bool((is_on | is_waiting).any())


def must_wait(state: WorldState, lane_id: int, to_lane_m: float, waited_s: float) -> bool:
    """Whether the ego, its bumper `to_lane_m` before a junction lane, must let somebody go first.

    Counted are those with the right of way, and anybody who is inside already. Where all stand and wait for each other
    (the circles of conflicts.py), the ego goes after PATIENCE_S.
    """
    for claim in claims(state, lane_id):
        speed = float(state.actors.speed_mps[claim.actor])
        if not (claim.has_priority or claim.is_inside) or (waited_s > PATIENCE_S and speed < STANDSTILL_MPS):
            continue
        enters, leaves = ego_times(to_lane_m, claim, state.ego.speed_mps)
        spare = MERGE_SPARE_S if claim.merges else CROSS_SPARE_S
        if min(claim.arrives_s, claim.soonest_s) < leaves + spare and enters < claim.leaves_s + LATE_S:
            return True
    return False


def crossings_on(route: Route, crossings: tuple[Crossing, ...]) -> tuple[tuple[float, Crossing], ...]:
    """(station [m] of its near edge, crossing) of all on the way, in order."""
    begin = {lane: at_m for at_m, lane in route.begins()}
    found = []
    for crossing in crossings:
        for lane, station in zip(crossing.lanes, crossing.stations_m, strict=True):
            if lane in begin:
                found.append((begin[lane] + station - crossing.width_m / 2, crossing))
    return tuple(sorted(found, key=lambda row: row[0]))
