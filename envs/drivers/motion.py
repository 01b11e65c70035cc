"""From accelerations to poses: along the path, over lane boundaries, sideways within and between lanes; and lamps.

The front and the rear axle both lie on the path, so a long vehicle's rear follows its front instead of cutting the
corner by its whole length. Where a path ends, its next lane is drawn. Kernels on arrays.
"""

from __future__ import annotations

import math

import numpy as np

from envs.drivers.following import (
    CHANGE_MPS,
    CHANGE_S,
    CUR,
    EASY_BRAKE_MPS2,
    FREE,
    HARDEST_MPS2,
    JERK_MPS3,
    PATH,
    set_offsets,
)
from envs.drivers.lane_map import LaneMap, Row, half_width, inlined, place
from envs.road_users import CYCLIST
from envs.roads.network import Command
from envs.state import Lamp

LONG_M = 7.0
BEND_TO_TURN = 3.5  # a vehicle that takes turns of a radius likes the bends of roads so many times as wide
SHOULDER_USED_M = 0.35  # by long vehicles in bends
EDGE_M = 0.7  # a cyclist's middle from the lane's right edge
SIDEWAYS_MPS = 0.4  # without changing lanes
INDICATE_S, INDICATE_M = 4.0, 25.0  # before a turn
BRAKE_LAMP_MPS2 = 0.5
CREEPS_MPS = 0.03  # slower while braking is standing
_FOLLOW, _LEFT, _RIGHT = int(Command.FOLLOW), int(Command.LEFT), int(Command.RIGHT)
_LAMP_BRAKE, _LAMP_LEFT, _LAMP_RIGHT = int(Lamp.BRAKE), int(Lamp.LEFT), int(Lamp.RIGHT)


@inlined
def throw(user: Row) -> float:
    """A number in [0, 1) of the user's own: xorshift64 (Marsaglia 2003)."""
    dice = user.dice
    dice ^= dice << np.uint64(13)
    dice ^= dice >> np.uint64(7)
    dice ^= dice << np.uint64(17)
    user.dice = dice
    return float(dice >> np.uint64(11)) / 9007199254740992.0


@inlined
def _room_in(world: LaneMap, number: int) -> float:
    """Smallest radius [m] of a lane, and of the only lane behind it seen at the scale of turns."""
    lane = world.lanes[number]
    radius = lane.radius_m
    if lane.next_to - lane.next_from == 1:
        radius = min(radius, world.lanes[world.next_lane[lane.next_from]].radius_m / BEND_TO_TURN)
    return radius


@inlined
def widest_turn(world: LaneMap, lane: int) -> float:
    """How much room [m] the widest successor of a lane offers; FREE where the road ends."""
    row, widest = world.lanes[lane], 0.0
    if row.next_from == row.next_to:
        return FREE
    for at in range(row.next_from, row.next_to):
        widest = max(widest, _room_in(world, world.next_lane[at]))
    return widest


@inlined
def next_lane(world: LaneMap, user: Row, lane: int) -> int:
    """A successor drawn among those wide enough for the vehicle, else the widest; -1 where the road ends."""
    row, least, count = world.lanes[lane], min(user.least_radius_m, widest_turn(world, lane)), 0
    for at in range(row.next_from, row.next_to):
        count += int(_room_in(world, world.next_lane[at]) >= least)
    left = int(throw(user) * count)
    for at in range(row.next_from, row.next_to):
        if _room_in(world, world.next_lane[at]) >= least:
            if left == 0:
                return world.next_lane[at]
            left -= 1
    return -1


@inlined
def extend(world: LaneMap, user: Row) -> None:
    """Draw all lanes of the path that are missing ahead."""
    for k in range(CUR + 1, PATH):
        if user.path[k] < 0 and user.path[k - 1] >= 0:
            user.path[k] = next_lane(world, user, user.path[k - 1])
    set_offsets(world.lanes, user)


@inlined
def advance(world: LaneMap, user: Row, v: float, dt_s: float) -> bool:
    """Drive one step that ends at speed `v`, at constant acceleration; whether it ends on another lane."""
    is_new = False
    user.s += (user.v + v) / 2 * dt_s
    user.a = (v - user.v) / dt_s
    user.v = v
    user.still_s = user.still_s + dt_s if v < 0.3 else 0.0
    while user.path[CUR + 1] >= 0 and user.s > world.lanes[user.path[CUR]].length_m:
        user.s -= world.lanes[user.path[CUR]].length_m
        for k in range(PATH - 1):
            user.path[k] = user.path[k + 1]
        user.path[PATH - 1] = -1
        user.hold = max(user.hold - 1, CUR)
        user.has_halted, is_new = 0, True
        extend(world, user)
    return is_new


@inlined
def _behind(user: Row, s: float) -> int:
    """Place in the path of the lane on which a station is, counted from the current lane's begin and not beyond it."""
    k = CUR
    while k > 0 and s < user.off[k] and user.path[k - 1] >= 0:
        k -= 1
    return k


@inlined
def rest(world: LaneMap, user: Row) -> float:
    """Where in its lane a user keeps [m left of the centre]: the middle; cyclists the right edge of the road.

    In a bend a long vehicle needs more than its width, half of its square over eight radii on either side, and takes
    it from the shoulder, if there is one beside all of it; it turns left in a wide arc, and right along the kerb.
    """
    lane = world.lanes[user.path[CUR]]
    if user.kind == CYCLIST:
        return EDGE_M - half_width(world.points, lane, user.s) if lane.right < 0 else 0.0
    if user.length_m < LONG_M:
        return 0.0
    k = _behind(user, user.s - user.length_m)
    if world.lanes[user.path[k]].right >= 0:
        return 0.0
    rear = place(world.points, world.lanes[user.path[k]], user.s - user.length_m - user.off[k])[2]
    turned = math.acos(min(math.cos(place(world.points, lane, user.s)[2] - rear), 1.0))
    return -min(SHOULDER_USED_M, turned * user.length_m / 12.0)


@inlined
def shift(world: LaneMap, user: Row, dt_s: float) -> None:
    """Move sideways: through a change by a quintic without jolt, else gently back to one's place in the lane."""
    pace = min(1.0, user.v / CHANGE_MPS)
    if user.d_share < 1.0:
        user.d_share = min(1.0, user.d_share + dt_s / CHANGE_S * pace)
        p = user.d_share
        user.d = user.d_from + (user.d_to - user.d_from) * p * p * p * (10.0 + p * (6.0 * p - 15.0))
    elif user.passes < 0:
        most = SIDEWAYS_MPS * pace * dt_s
        user.d += min(max(rest(world, user) - user.d, -most), most)


@inlined
def locate(world: LaneMap, user: Row, s: float) -> tuple[float, float, float]:
    """(x, y, heading) of a station, counted from the current lane's begin, anywhere on the path."""
    k = _behind(user, s)
    return place(world.points, world.lanes[user.path[k]], s - user.off[k])


@inlined
def pose(world: LaneMap, user: Row, sideways_mps: float) -> None:
    """Set the centre of the outline and its yaw from both axles."""
    fx, fy, front = locate(world, user, user.s - user.nose_m)
    rx, ry, rear = locate(world, user, user.s - user.nose_m - user.wheelbase_m)
    fx, fy = fx - math.sin(front) * user.d, fy + math.cos(front) * user.d
    rx, ry = rx - math.sin(rear) * user.d, ry + math.cos(rear) * user.d
    yaw = math.atan2(fy - ry, fx - rx) + math.atan2(sideways_mps, max(user.v, 2.0))
    back = user.length_m / 2 - user.nose_m
    user.x, user.y, user.yaw = fx - back * math.cos(yaw), fy - back * math.sin(yaw), yaw


@inlined
def lamps(world: LaneMap, user: Row) -> int:
    """Flags of Lamp: braking or standing, and the direction of a change or of the next turn."""
    lit = _LAMP_BRAKE if user.a < -BRAKE_LAMP_MPS2 or user.v < 0.1 else 0
    if user.d_share < 1.0:
        return lit | (_LAMP_LEFT if user.d_to > user.d_from else _LAMP_RIGHT)
    here = world.lanes[user.path[CUR]]
    if user.wish >= 0 and here.length_m - user.s > max(INDICATE_M, INDICATE_S * user.v):  # before a change, too
        lit |= _LAMP_LEFT if user.wish == here.left else _LAMP_RIGHT if user.wish == here.right else 0
        return lit
    for k in range(CUR, PATH):
        if user.path[k] < 0 or user.off[k] - user.s > max(INDICATE_M, INDICATE_S * user.v):
            break
        lane = world.lanes[user.path[k]]
        if lane.junction >= 0 and lane.turn == _FOLLOW and world.lanes[user.path[CUR]].junction >= 0:
            continue  # on the ring of a roundabout: one indicates where one leaves it
        if lane.junction >= 0:
            return lit | (_LAMP_LEFT if lane.turn == _LEFT else _LAMP_RIGHT if lane.turn == _RIGHT else 0)
    return lit


@inlined
def limited(user: Row, wanted: float, safe: float, dt_s: float) -> float:
    """The speed after the step: bounded jerk while braking is comfortable, bounded braking, never unsafe."""
    accel = min(wanted, user.a + JERK_MPS3 * dt_s) if user.v > 0.5 else wanted
    if accel > -EASY_BRAKE_MPS2:
        accel = max(accel, min(user.a, 0.0) - JERK_MPS3 * dt_s)
    v = min(user.v + accel * dt_s, safe)
    if v < CREEPS_MPS and accel < 0.0:
        return max(user.v - HARDEST_MPS2 * dt_s, 0.0)
    return max(v, user.v - HARDEST_MPS2 * dt_s, 0.0)
