"""Keeping one's distance: the Intelligent Driver Model behind leaders, before lines and bends, and never into anybody.

A road user drives along its path: three lanes behind it, the one under its front bumper, four ahead. Everybody's body
is listed by lane, so that whoever is ahead is found by walking one's own path; lanes that part share their beginnings.
Treiber, Hennecke, Helbing, "Congested traffic states in empirical observations and microscopic simulations",
Phys. Rev. E 62 (2000). Beside the model, a speed that could not be stopped in time is never driven (Gipps 1981).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from envs.drivers.lane_map import LaneMap, Row, abreast, bend_speed, inlined
from envs.geometry import Array
from envs.road_users import CYCLIST

PATH, CUR = 8, 3  # lanes of a path, and the place of the current one among them
HARDEST_MPS2 = 8.0  # braking in an emergency
SIDE_GAP_M = 0.3  # who has more room than this beside him is not a leader
CYCLIST_GAP_M = 1.0  # the same for drivers behind a cyclist
LINE_GAP_M = 0.8  # bumper to line when standing
STANDS_MPS = 0.3  # slower is standing
JERK_MPS3 = 5.0  # while the braking is comfortable
EASY_BRAKE_MPS2 = 3.0  # harder braking is an emergency and knows no jerk bound
CHANGE_S, CHANGE_MPS = 4.0, 3.0  # a lane change takes; slower than this it takes longer
CLEAR_SHARE = 0.75  # of a change after which what stands in the lane that is left is passed
STILL_GAP_M = 8.0  # kept behind what stands for good, beyond the gap at a halt: room to swing out
HALT_NEAR_M, HALT_MPS2 = 4.0, 0.8  # how a halt ends
FREE = 1e9

USER = np.dtype([
    ("kind", "i8"), ("is_ego", "i8"),  # row of KINDS
    ("is_still", "i8"),  # it has broken down, and is passed
    ("length_m", "f8"), ("width_m", "f8"), ("wheelbase_m", "f8"), ("nose_m", "f8"),  # nose: bumper to front axle
    ("limit_share", "f8"), ("top_mps", "f8"), ("headway_s", "f8"), ("gap_m", "f8"), ("accel", "f8"), ("brake", "f8"),
    ("least_radius_m", "f8"),
    ("s", "f8"), ("v", "f8"), ("a", "f8"), ("v_next", "f8"),  # s: of the front bumper on the current lane
    ("d", "f8"), ("d_from", "f8"), ("d_to", "f8"), ("d_share", "f8"),  # d: left of the lane's centre; share: moved
    ("path", "i8", (PATH,)), ("off", "f8", (PATH,)),  # off: from the current lane's begin to each lane's
    ("hold", "i8"),  # place in the path up to which junction lanes may be entered
    ("entry", "i8"),  # place of the next junction lane that may not be entered yet, PATH if none in sight
    ("granted_s", "f8"), ("pause_s", "f8"), ("still_s", "f8"),
    ("has_halted", "i8"),
    ("blocked_by", "i8"),  # what keeps it out of the next junction: see priority.py
    ("wish", "i8"),  # a lane beside from which the planned turn is possible, or -1; of the ego: its place on the route
    ("passes", "i8"),  # row of the user it overtakes, or -1
    ("dice", "u8"),
    ("x", "f8"), ("y", "f8"), ("yaw", "f8"),
], align=True)
BODY = np.dtype([("user", "i8"), ("rear", "f8"), ("front", "f8"), ("d", "f8"), ("v", "f8"), ("next", "i8")], align=True)


class Bodies(NamedTuple):
    """Who is on which lane: linked lists over rows of BODY."""

    first: Array  # (L,) int64 row of the first body on a lane, -1 if none
    body: Array  # (B,) BODY
    used: Array  # (1,) int64


@inlined
def set_offsets(lanes: Array, user: Row) -> None:
    """Where each lane of the path begins, seen from the begin of the current one."""
    user.off[CUR] = 0.0
    for k in range(CUR + 1, PATH):
        before = user.path[k - 1]
        user.off[k] = user.off[k - 1] + lanes[before].length_m if before >= 0 and user.path[k] >= 0 else FREE
    for k in range(CUR - 1, -1, -1):
        user.off[k] = user.off[k + 1] - lanes[user.path[k]].length_m if user.path[k] >= 0 else -FREE


@inlined
def add_body(bodies: Bodies, lane: int, user: int, rear: float, front: float, d: float, v: float) -> None:
    """One more body on a lane."""
    row = bodies.used[0]
    if row < len(bodies.body):
        body = bodies.body[row]
        body.user, body.rear, body.front, body.d, body.v = user, rear, front, d, v
        body.next = bodies.first[lane]
        bodies.first[lane] = row
        bodies.used[0] = row + 1


@inlined
def _add_beside(world: LaneMap, bodies: Bodies, user: Row, i: int, k: int) -> None:
    """List a body that protrudes from its lane on the lane beside, or on that of the other direction."""
    lane = world.lanes[user.path[k]]
    beside = lane.left if user.d > 0.0 else lane.right
    front = user.s - user.off[k]
    if beside >= 0:
        other = world.lanes[beside]
        shift = (lane.width_m + other.width_m) / 2
        front = abreast(world.points, lane, other, front, 1.0)
        add_body(bodies, beside, i, front - user.length_m, front, user.d - shift if user.d > 0.0 else user.d + shift,
                 user.v)
    elif user.d > 0.0 and lane.opposite >= 0:
        other = world.lanes[lane.opposite]
        front = abreast(world.points, lane, other, front, -1.0)
        add_body(bodies, lane.opposite, i, front, front + user.length_m, (lane.width_m + other.width_m) / 2 - user.d,
                 -user.v)


@inlined
def list_bodies(world: LaneMap, users: Array, bodies: Bodies) -> None:
    """Fill the lists: everybody on every lane that its outline is on, also beside its own."""
    bodies.first[:] = -1
    bodies.used[0] = 0
    for i in range(len(users)):
        user = users[i]
        if user.path[CUR] < 0:
            continue
        is_changing = user.d_share < 1.0 and user.passes < 0  # then it is wholly on its new lane already
        for k in range(CUR, -1, -1):
            if user.path[k] < 0:
                break
            front = user.s - user.off[k]
            add_body(bodies, user.path[k], i, front - user.length_m, front, user.d_to if is_changing else user.d,
                     user.v)
            if abs(user.d) + user.width_m / 2 > world.lanes[user.path[k]].width_m / 2 + 0.1:
                _add_beside(world, bodies, user, i, k)
            if front >= user.length_m:
                break


@inlined
def free_accel(user: Row, wish_mps: float) -> float:
    """Acceleration of the model on an empty road; above the wished speed it brakes comfortably (the improved model)."""
    ratio = user.v / max(wish_mps, 0.1)
    if ratio <= 1.0:
        return user.accel * (1.0 - ratio * ratio * ratio * ratio)
    return -user.brake * (1.0 - ratio ** (-4.0 * user.accel / user.brake))


@inlined
def interaction(user: Row, gap_m: float, leader_mps: float) -> float:
    """(s* / s)^2: what the model takes off, in units of its acceleration, behind a leader."""
    want = user.gap_m + max(0.0, user.v * user.headway_s
                            + user.v * (user.v - leader_mps) / (2.0 * math.sqrt(user.accel * user.brake)))
    ratio = want / max(gap_m, 0.1)
    return ratio * ratio


@inlined
def towards(user: Row, free: float, need: float) -> float:
    """Acceleration of a driver who would have to brake by `need` [m/s2] all the way; without that it would be `free`.

    It lets go of the throttle first and brakes late, then steadily.
    """
    ratio = need / user.brake
    if ratio <= 0.2:
        return free
    if free > 0.0:
        free *= max(0.0, 1.0 - (ratio - 0.2) / 0.4)
    return free - min(user.brake * (ratio * ratio * ratio - 0.008), 1.25 * need)


@inlined
def safe_speed(gap_m: float, leader_mps: float, dt_s: float) -> float:
    """Highest speed after this step from which one can still stop behind a leader who brakes as hard as one can."""
    way = HARDEST_MPS2 * dt_s
    left = max(gap_m, 0.0) + max(leader_mps, 0.0) ** 2 / (2 * HARDEST_MPS2)
    return max(0.0, -way / 2 + math.sqrt(way * way / 4 + 2 * HARDEST_MPS2 * left))


@inlined
def wished_speed(lanes: Array, points: Array, user: Row) -> float:
    """Speed [m/s] for the limit and the bends of the current lane half a second ahead."""
    lane = lanes[user.path[CUR]]
    bend = bend_speed(points, lane, user.s + 0.5 * user.v)
    return max(0.01, min(min(lane.limit_mps * user.limit_share, user.top_mps), bend))


@inlined
def need_for_lanes(lanes: Array, points: Array, user: Row) -> float:
    """Braking needed [m/s2] for lower limits and bends of the lanes ahead."""
    need = 0.0
    for k in range(CUR + 1, PATH):
        if user.path[k] < 0:
            break
        lane = lanes[user.path[k]]
        slow = min(min(lane.limit_mps * user.limit_share, user.top_mps), bend_speed(points, lane, 0.0))
        if user.v > slow:
            need = max(need, (user.v * user.v - slow * slow) / (2.0 * max(user.off[k] - user.s, 1.0)))
    return need


@inlined
def room_to_line(lanes: Array, user: Row) -> float:
    """Way [m] to where one has to halt: before a junction that may not be entered, or where the road ends."""
    for k in range(CUR + 1, PATH):
        if k == user.entry:
            return user.off[k] - user.s - LINE_GAP_M
        if user.path[k] < 0:
            return user.off[k - 1] + lanes[user.path[k - 1]].length_m - user.s - LINE_GAP_M
    return FREE


@inlined
def halting(user: Row, wanted: float, room_m: float) -> float:
    """Acceleration when a halt is near: the last metres are rolled out, and the car comes to stand."""
    if room_m > HALT_NEAR_M:
        return wanted
    return min(wanted, max((math.sqrt(2.0 * HALT_MPS2 * max(room_m - 0.05, 0.0)) - user.v) / 0.3, -4.0))


@inlined
def overlaps(user: Row, d: float, body_d: float, other: Row) -> bool:
    """Whether somebody at a lateral place is in the way."""
    side = CYCLIST_GAP_M if other.kind == CYCLIST and user.kind != CYCLIST else SIDE_GAP_M
    return abs(d - body_d) < (user.width_m + other.width_m) / 2 + side


@inlined
def leaders(world: LaneMap, users: Array, bodies: Bodies, i: int, dt_s: float) -> tuple[float, float]:
    """Largest interaction with anybody ahead on the path, and the highest safe speed [m/s].

    Looked through for each lane of the path: the lane itself, those that part from it where they still share it, and
    while changing lanes the one that is left.
    """
    user = users[i]
    sight = 30.0 + 3.0 * user.v + user.v * user.v / 3.0
    strongest, safe = 0.0, FREE
    for k in range(CUR, PATH):
        number = user.path[k]
        if number < 0 or user.off[k] - user.s > sight:
            break
        here = user.s - user.off[k]  # my bumper on that lane
        lane = world.lanes[number]
        siblings = lane.sibling_to - lane.sibling_from
        for group in range(siblings + 2):
            other, until, d = number, FREE, user.d
            if group > siblings:
                other = lane.left if user.d > 0.0 else lane.right
                if k > CUR or user.d_share == 1.0 or other < 0:
                    break
                shift = (lane.width_m + world.lanes[other].width_m) / 2
                d += -shift if user.d > 0.0 else shift
                here = abreast(world.points, lane, world.lanes[other], here, 1.0)
            elif group > 0:
                other = world.siblings[lane.sibling_from + group - 1].other
                until = world.siblings[lane.sibling_from + group - 1].until_m
            elif user.d_share < 1.0 and user.passes < 0:
                d = user.d_to
            is_sibling = 0 < group <= siblings
            if here > until:
                continue
            row = bodies.first[other]
            while row >= 0:
                body = bodies.body[row]
                row = body.next
                if body.user == i or users[body.user].is_ego or body.rear >= until or (is_sibling
                                                                                       and body.front <= 0.0):
                    continue
                is_ahead = body.front > here or (body.front == here and body.user < i)
                if body.v < 0.0:
                    is_ahead = body.rear > here
                if not is_ahead or not (is_sibling or overlaps(user, d, body.d, users[body.user])):
                    continue
                gap = body.rear - here
                if users[body.user].is_still:
                    rest_share = CLEAR_SHARE - user.d_share
                    if rest_share > 0.0 and (user.passes == body.user or group > siblings):
                        safe = min(safe, max(0.8 * CHANGE_MPS, (gap - 0.5) / (CHANGE_S * rest_share)))
                        continue
                    strongest = max(strongest, interaction(user, gap - STILL_GAP_M, body.v))
                strongest = max(strongest, interaction(user, gap, body.v))
                safe = min(safe, safe_speed(gap - 0.4, body.v, dt_s))
    return strongest, safe
