"""The tails of long vehicles: where two lanes lead to a junction, a tail that turns off swings out over the other one.

So nobody wide may stand there; of two long vehicles the second halts far enough behind the line. Kernels on arrays.
"""

from __future__ import annotations

from envs.drivers.following import CUR, FREE, LINE_GAP_M, PATH, Bodies, inlined
from envs.drivers.lane_map import LONG_RADIUS_M, LaneMap, Row
from envs.drivers.motion import LONG_M
from envs.geometry import Array
from envs.roads.network import Command

WIDE_M = 2.2
SWING_M, SWING_WAIT_S = 15.0, 45.0  # before the line that must be empty for a tail to swing there; not for ever
SET_BACK_M = 1.5  # further than that the second one halts
_LEFT = int(Command.LEFT)


@inlined
def can_swing(world: LaneMap, users: Array, user: Row, bodies: Bodies, k: int) -> bool:
    """Whether a long vehicle's tail may swing out over the lane beside: nobody wide is there, or nobody at all."""
    before, turn = world.lanes[user.path[k - 1]], world.lanes[user.path[k]]
    beside = before.right if turn.turn == _LEFT else before.left
    if user.length_m < LONG_M or turn.radius_m > LONG_RADIUS_M or beside < 0 or user.still_s > SWING_WAIT_S:
        return True
    row = bodies.first[beside]
    while row >= 0:
        body = bodies.body[row]
        row = body.next
        is_narrow = turn.radius_m < user.least_radius_m
        if (is_narrow or users[body.user].width_m > WIDE_M) and body.front > world.lanes[beside].length_m - SWING_M:
            return False
    return True


@inlined
def _does_swing(world: LaneMap, other: Row, number: int, is_left: bool) -> bool:
    """Whether a long vehicle that waits on a lane will swing its tail out to a side: it turns to the other."""
    entry = other.entry
    if other.length_m < LONG_M or other.is_ego or entry >= PATH or other.path[entry - 1] != number:
        return False
    turn = world.lanes[other.path[entry]]
    return turn.radius_m < LONG_RADIUS_M and (turn.turn == _LEFT) != is_left


@inlined
def room_to_swing(world: LaneMap, users: Array, user: Row, bodies: Bodies) -> float:
    """Way [m] to where a long vehicle halts for one beside it that is nearer to the line; FREE if there is none."""
    k = user.entry
    if user.length_m < LONG_M or k >= PATH:
        return FREE
    lane = world.lanes[user.path[k - 1]]
    mine = user.off[k] - user.s
    room = mine - LINE_GAP_M - SWING_M - SET_BACK_M
    if room < -SET_BACK_M:  # it stands too near for that already
        return FREE
    for side in range(2):
        beside = lane.left if side == 0 else lane.right
        if beside < 0:
            continue
        row = bodies.first[beside]
        while row >= 0:
            body = bodies.body[row]
            row = body.next
            theirs = world.lanes[beside].length_m - body.front
            if theirs < mine and _does_swing(world, users[body.user], beside, side == 1) and (
                    users[body.user].path[CUR] == beside):
                return max(room, 0.0)
    return FREE
