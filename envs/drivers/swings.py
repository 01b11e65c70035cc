"""The tails of long vehicles: where two lanes lead to a junction, a tail that turns off swings out over the other one.

So nobody may stand there whom it would touch. Whoever comes to the line beside one that waits for that halts far enough
behind the line, and of two long vehicles the second does so at once. Kernels on arrays.
"""

from __future__ import annotations

from envs.drivers.following import CUR, FREE, LINE_GAP_M, PATH, Bodies, inlined
from envs.drivers.lane_map import LONG_RADIUS_M, LaneMap, Row
from envs.drivers.motion import LONG_M
from envs.geometry import Array
from envs.roads.network import Command

SWING_M, SWING_GAP_M = 15.0, 0.3  # before the line that a tail sweeps; air between it and who stands there
SET_BACK_M = 1.5  # further than that others halt
LETS_SWING_S = 8.0  # cars and cyclists halt there for who has stood so long
SET_BACK_MPS2 = 2.0  # if they need not brake harder than this
SWING_WAIT_S = 120.0  # then it goes in any case
_LEFT = int(Command.LEFT)


@inlined
def _can_touch(world: LaneMap, user: Row, turn: Row, lane: Row, beside: Row, other: Row, other_m: float) -> bool:
    """Whether a tail swings out from a lane as far as somebody on the one beside, `other_m` left of its middle.

    Both axles stay on the turn's line, so the body lies along its chord and leads the tail out on the other side.
    """
    overhang = user.length_m - user.nose_m - user.wheelbase_m
    out = user.width_m / 2 + overhang * min(1.0, user.wheelbase_m / (2.0 * turn.radius_m)) + SWING_GAP_M
    towards = other_m if turn.turn == _LEFT else -other_m
    return out > (lane.width_m + beside.width_m) / 2 - other.width_m / 2 - towards


@inlined
def can_swing(world: LaneMap, users: Array, user: Row, bodies: Bodies, k: int) -> bool:
    """Whether a long vehicle's tail may swing out over the lane beside, before the turn at place `k` of its path."""
    before, turn = world.lanes[user.path[k - 1]], world.lanes[user.path[k]]
    beside = before.right if turn.turn == _LEFT else before.left
    if user.length_m < LONG_M or turn.radius_m > LONG_RADIUS_M or beside < 0 or user.still_s > SWING_WAIT_S:
        return True
    lane = world.lanes[beside]
    row = bodies.first[beside]
    while row >= 0:
        body = bodies.body[row]
        row = body.next
        if body.front > lane.length_m - SWING_M and _can_touch(world, user, turn, before, lane, users[body.user],
                                                               body.d):
            return False
    return True


@inlined
def _needs_room(world: LaneMap, user: Row, other: Row, number: int, is_left: bool) -> bool:
    """Whether a long vehicle that waits on a lane beside, on the left or right, will swing its tail out to a user."""
    entry = other.entry
    if other.length_m < LONG_M or other.is_ego or entry >= PATH or other.path[CUR] != number or (
            other.path[entry - 1] != number):
        return False
    if user.length_m < LONG_M and other.still_s < LETS_SWING_S:
        return False
    turn = world.lanes[other.path[entry]]
    return turn.radius_m < LONG_RADIUS_M and (turn.turn == _LEFT) == is_left and _can_touch(
        world, other, turn, world.lanes[number], world.lanes[user.path[user.entry - 1]], user, user.d)


@inlined
def room_to_swing(world: LaneMap, users: Array, user: Row, bodies: Bodies) -> float:
    """Way [m] to where one halts for a long vehicle beside that is nearer to the line; FREE if there is none."""
    k = user.entry
    if k >= PATH or user.is_ego:
        return FREE
    lane = world.lanes[user.path[k - 1]]
    mine = user.off[k] - user.s
    room = mine - LINE_GAP_M - SWING_M - SET_BACK_M
    if room < -SET_BACK_M or (user.length_m < LONG_M
                              and user.v * user.v > 2.0 * SET_BACK_MPS2 * max(room, 0.1)):
        return FREE  # it stands too near for that already, or comes too fast
    for side in range(2):
        beside = lane.left if side == 0 else lane.right
        if beside < 0:
            continue
        row = bodies.first[beside]
        while row >= 0:
            body = bodies.body[row]
            row = body.next
            theirs = world.lanes[beside].length_m - body.front
            if theirs < mine and _needs_room(world, user, users[body.user], beside, side == 0):
                return max(room, 0.0)
    return FREE
