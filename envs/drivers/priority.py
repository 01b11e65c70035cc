"""Who may enter a junction: lights, stop lines, right of way, gaps, and room behind it. Reservations, granted in turn.

A driver reserves all junction lanes of one passage before it crosses the line, and keeps them until its rear has left
each shared area. It gets them only if (a) its light allows, and a stop line has been halted at, (b) nobody whose
reservation is not used up crosses them; who merges ahead of it is followed instead, (c) nobody with the right of way
arrives within the gap it needs, (d) there is room for it behind the junction, beside all who go there before it. So
whoever is inside can always leave. Drivers who stand before a junction of equal rank agree as the law asks them to: who
has waited longest goes first. Critical gaps are those of the Highway Capacity Manual 2010, chapters 19 and 21.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.drivers.following import (
    CUR,
    EASY_BRAKE_MPS2,
    FREE,
    LINE_GAP_M,
    PATH,
    STANDS_MPS,
    Bodies,
    inlined,
    interaction,
    safe_speed,
)
from envs.drivers.lane_map import LaneMap, Row
from envs.drivers.motion import LONG_M
from envs.drivers.swings import can_swing
from envs.geometry import Array
from envs.roads.network import Command, Control
from envs.state import Phase

CLEAR_M, LONG_CLEAR_M = 0.5, 2.5  # behind a shared area before it is free; where one of both is long
SLOW_MPS = 2.0  # whoever is slower behind a junction may stay there
ROOM_GAP_M = 2.5  # between cars that queue behind a junction
REQUEST_MPS2 = 1.0  # a passage is asked for before braking for the line gets harder than this
NEAR_M = 12.0  # and always from here on
GIVING_WAY_NEAR_M = 16.0  # who must give way asks from here on
JOINS_MPS = 55 / 3.6  # lanes of junctions that may be driven faster join a road from a ramp: drivers adjust in time
HALTED_MPS = 0.05
HALT_M = 3.0  # a halt this close to a stop line serves it
LONG_WAIT_S = 8.0  # who cannot pass beside a long vehicle lets it go first when it has stood for so long
AGREE_S = 1.5  # standing drivers of equal rank let each other go after this
PATIENCE_S = 20.0  # then a gap is enough in which nobody must brake hard
GIVE_UP_S = 10.0  # who stands this long in spite of its right of way is not waited for
NOT_USED_S = 4.0  # who does not move for this long after it may loses its turn
PAUSE_S = 2.0
LEFT_GAP_S, STRAIGHT_GAP_S, RIGHT_GAP_S = 7.1, 6.5, 6.2  # HCM 2010 exhibit 19-10: minor street, base critical headway
MAJOR_LEFT_GAP_S = 4.1  # the same: left turn from the major street; used wherever arms are of equal rank too
RING_GAP_S = 4.5  # HCM 2010 chapter 21: roundabout entry, 4.1 to 5.2 s

NOTHING, LIGHT, ROOM = 0, 1, 2  # what keeps a driver from asking: its light or a pause, and room it would not have
_STOP, _FOLLOW, _LEFT, _RIGHT = int(Control.STOP), int(Command.FOLLOW), int(Command.LEFT), int(Command.RIGHT)
_OFF, _GREEN, _YELLOW = int(Phase.OFF), int(Phase.GREEN), int(Phase.YELLOW)
CLAIM = np.dtype([("user", "i8"), ("start", "f8"), ("held", "i8"), ("next", "i8")], align=True)


class Claims(NamedTuple):
    """Who is on, holds or wants which junction lane: linked lists over rows of CLAIM."""

    first: Array  # (L,) int64
    claim: Array  # (C,) CLAIM; start: of the lane, from the begin of the user's current lane
    used: Array  # (1,) int64


@inlined
def add_claim(claims: Claims, lane: int, user: int, start: float, held: int) -> None:
    row = claims.used[0]
    if row < len(claims.claim):
        claim = claims.claim[row]
        claim.user, claim.start, claim.held = user, start, held
        claim.next = claims.first[lane]
        claims.first[lane] = row
        claims.used[0] = row + 1


@inlined
def passage_end(lanes: Array, user: Row, k: int) -> int:
    """Place in the path of the last lane of the passage that begins at place `k`."""
    while k + 1 < PATH and user.path[k + 1] >= 0 and lanes[user.path[k + 1]].junction >= 0:
        k += 1
    return k


@inlined
def find_entry(lanes: Array, user: Row) -> None:
    """Set `entry` to the next junction lane on the path that is not held."""
    user.entry = PATH
    for k in range(max(CUR, user.hold) + 1, PATH):
        if user.path[k] < 0:
            break
        if lanes[user.path[k]].junction >= 0:
            user.entry = k
            break


@inlined
def list_claims(lanes: Array, users: Array, claims: Claims) -> None:
    """Fill the lists; `entry` of everybody is set."""
    claims.first[:] = -1
    claims.used[0] = 0
    for i in range(len(users)):
        user = users[i]
        if user.path[CUR] < 0:
            continue
        rear = user.s - user.length_m
        for k in range(PATH):
            number = user.path[k]
            if number < 0 or lanes[number].junction < 0:
                continue
            if k > CUR:
                held = k <= user.hold
                if not held and k > passage_end(lanes, user, min(user.entry, PATH - 1)):
                    break
                add_claim(claims, number, i, user.off[k], int(held))
            elif rear < user.off[k] + lanes[number].length_m + LONG_CLEAR_M:
                add_claim(claims, number, i, user.off[k], 1)


@inlined
def light_of(lanes: Array, user: Row, k: int, signals: Array) -> int:
    """Phase of the light before place `k` of the path; OFF where there is none."""
    number = user.path[k - 1]
    if number < 0:
        return _OFF
    group = lanes[number].signal
    return signals[group] if 0 <= group < len(signals) else _OFF


@inlined
def may_pass_light(user: Row, phase: int, away_m: float) -> bool:
    """Whether a light lets a driver pass: at yellow only who could not stop comfortably."""
    if phase in (_OFF, _GREEN):
        return True
    return phase == _YELLOW and user.v * user.v > 2.0 * EASY_BRAKE_MPS2 * max(away_m - LINE_GAP_M, 0.01)


@inlined
def _critical_gap(lanes: Array, user: Row, k: int, phase: int) -> float:
    control, turn = lanes[user.path[k - 1]].control, lanes[user.path[k]].turn
    if phase != _OFF or control == 0:
        return MAJOR_LEFT_GAP_S
    if turn == _FOLLOW:
        return RING_GAP_S
    if turn == _LEFT:
        return LEFT_GAP_S
    return RIGHT_GAP_S if turn == _RIGHT else STRAIGHT_GAP_S


@inlined
def _time_for(user: Row, way_m: float) -> float:
    """Time [s] to drive a way while accelerating from the present speed up to 8 m/s."""
    accel, top = 0.8 * user.accel, max(user.v, 8.0)
    to_top = (top * top - user.v * user.v) / (2.0 * accel)
    if way_m <= to_top:
        return (np.sqrt(user.v * user.v + 2.0 * accel * way_m) - user.v) / accel
    return (top - user.v) / accel + (way_m - to_top) / top


@inlined
def _is_ranked_below(lanes: Array, user: Row, other: Row, k: int) -> bool:
    """Whether a sign binds this driver more than the other."""
    mine = lanes[user.path[k - 1]].control if user.path[k - 1] >= 0 else 0
    entry = min(other.entry, PATH - 1)
    theirs = lanes[other.path[entry - 1]].control if other.path[entry - 1] >= 0 else 0
    return mine > 0 and theirs == 0


@inlined
def _can_merge(user: Row, other: Row, mine_m: float, theirs_m: float) -> bool:
    """Whether two who merge can follow each other: distances of both bumpers to the place where their ways join."""
    if theirs_m < mine_m:
        gap, back, front = mine_m - theirs_m - other.length_m, user.v, other.v
    else:
        gap, back, front = theirs_m - mine_m - user.length_m, other.v, user.v
    return gap > 2.0 + 0.5 * back + max(0.0, back * back - front * front) / 4.0


@inlined
def conflict_free(world: LaneMap, users: Array, claims: Claims, i: int, k: int, only_ego: bool, phase: int) -> bool:
    """Whether nobody stands against entering the passage at place `k`: (b) and (c) of this file's head."""
    lanes, user = world.lanes, users[i]
    patience = user.still_s > PATIENCE_S
    for m in range(k, passage_end(lanes, user, k) + 1):
        lane, begin = lanes[user.path[m]], user.off[m] - user.s
        for row in range(lane.conflict_from, lane.conflict_to):
            conflict = world.conflicts[row]
            at = claims.first[conflict.other]
            while at >= 0:
                claim = claims.claim[at]
                at = claim.next
                if claim.user == i:
                    continue
                other = users[claim.user]
                if only_ego and not other.is_ego:
                    continue
                is_long = max(user.length_m, other.length_m) > LONG_M
                front = other.s - claim.start  # on the other lane
                clear = LONG_CLEAR_M if is_long else CLEAR_M
                if front - other.length_m > conflict.other_to_m + clear or (conflict.long_only and not is_long):
                    continue
                if claim.held:
                    theirs = lanes[conflict.other].length_m - front
                    if not (conflict.merges and not other.is_ego
                            and _can_merge(user, other, begin + lane.length_m, theirs)):
                        return False
                    continue
                if only_ego or other.blocked_by != NOTHING:
                    continue
                is_at_line = front > -NEAR_M  # who is set back behind a tail, or in the queue, does not count
                if conflict.long_only and is_at_line and other.still_s > max(LONG_WAIT_S, user.still_s):
                    return False
                if not conflict.yields:
                    continue
                if other.v < STANDS_MPS and user.v < STANDS_MPS:
                    waits = user.still_s - other.still_s
                    is_first = waits > 0.0 or (waits == 0.0 and i < claim.user)
                    if user.still_s > AGREE_S and is_first and not _is_ranked_below(lanes, user, other, k):
                        continue
                    if other.still_s > GIVE_UP_S and user.still_s > AGREE_S:
                        continue
                arrives = (conflict.other_from_m - front) / max(other.v, 4.0)
                leaves = _time_for(user, begin + conflict.to_m + user.length_m) + 0.5
                if arrives < (leaves if patience else max(leaves, _critical_gap(lanes, user, k, phase))):
                    return False
    return True


@inlined
def has_room(lanes: Array, users: Array, bodies: Bodies, i: int, k: int) -> bool:
    """Whether the car fits behind the junction, beside all who go there before it: (d) of this file's head."""
    user = users[i]
    after = passage_end(lanes, user, k) + 1
    if after >= PATH or user.path[after] < 0:
        return True
    number = user.path[after]
    room, taken = lanes[number].length_m, 0.0
    row = bodies.first[number]
    while row >= 0:
        body = bodies.body[row]
        row = body.next
        if body.user != i and body.v > -0.1 and body.v < SLOW_MPS and abs(body.d) < 1.5:
            room = min(room, body.rear)
    for j in range(len(users)):
        other = users[j]
        if j == i or other.path[CUR] < 0:
            continue
        if other.path[CUR] == number:
            if other.v >= SLOW_MPS and other.s < room:
                taken += other.length_m + ROOM_GAP_M
            continue
        for m in range(CUR + 1, min(other.hold + 1, PATH - 1) + 1):
            if other.path[m] == number:
                taken += other.length_m + ROOM_GAP_M
                break
    return room - taken >= min(user.length_m + 1.0, lanes[number].length_m - 1.0)


@inlined
def _is_first(users: Array, bodies: Bodies, i: int, k: int) -> bool:
    """Whether nobody stands between the bumper and the line but those who may go."""
    user = users[i]
    for m in range(CUR, k):
        row = bodies.first[user.path[m]]
        while row >= 0:
            body = bodies.body[row]
            row = body.next
            if body.user == i or body.v < -0.1 or body.front <= user.s - user.off[m]:
                continue
            other = users[body.user]
            if abs(body.d - user.d) > 2.0 or other.path[CUR] != user.path[m]:
                continue
            if other.is_ego or other.entry - CUR <= k - m:
                return False
    return True


@inlined
def see_light(lanes: Array, user: Row, signals: Array, dt_s: float) -> None:
    """Before anybody asks: whether the light, or the pause of who lost its turn, keeps a driver from asking."""
    user.granted_s += dt_s
    user.pause_s = max(0.0, user.pause_s - dt_s)
    k = user.entry
    if k >= PATH:
        return
    if user.pause_s > 0.0 or not may_pass_light(user, light_of(lanes, user, k, signals), user.off[k] - user.s):
        user.blocked_by = LIGHT
    elif user.blocked_by == LIGHT:
        user.blocked_by = NOTHING


@inlined
def ask(world: LaneMap, users: Array, bodies: Bodies, claims: Claims, i: int, signals: Array, dt_s: float) -> None:
    """Give a driver its next passage, or take it away while it can still stop."""
    user, lanes = users[i], world.lanes
    if user.hold > CUR and lanes[user.path[CUR]].junction < 0:
        k = CUR + 1
        while lanes[user.path[k]].junction < 0:
            k += 1
        away = user.off[k] - user.s
        can_stop = away > LINE_GAP_M / 2 and user.v * user.v < 2.0 * EASY_BRAKE_MPS2 * (away - LINE_GAP_M / 2)
        if can_stop:
            is_idle = user.still_s > NOT_USED_S and user.granted_s > NOT_USED_S
            phase = light_of(lanes, user, k, signals)
            if (is_idle or not may_pass_light(user, phase, away)
                    or not conflict_free(world, users, claims, i, k, True, phase)):
                _take_away(lanes, users, claims, i, is_idle)
                return
    k = user.entry
    if k >= PATH:
        return
    away = user.off[k] - user.s
    is_inside = lanes[user.path[k - 1]].junction >= 0
    before, phase = lanes[user.path[k - 1]], light_of(lanes, user, k, signals)
    is_bound = phase == _OFF and before.control > 0
    if is_bound and before.control == _STOP and user.v < HALTED_MPS and away < HALT_M:
        user.has_halted = 1
    is_joining = lanes[user.path[k]].limit_mps > JOINS_MPS
    near = GIVING_WAY_NEAR_M if is_bound and not is_joining else max(NEAR_M, user.v * user.v / (2.0 * REQUEST_MPS2))
    if user.blocked_by == LIGHT:
        return
    user.blocked_by = NOTHING
    if (away > near and not is_inside) or not _is_first(users, bodies, i, k):
        return
    if not has_room(lanes, users, bodies, i, k) or not can_swing(world, users, user, bodies, k):
        user.blocked_by = ROOM
        return
    if is_bound and before.control == _STOP and not user.has_halted:
        return
    if conflict_free(world, users, claims, i, k, False, phase):
        user.hold = passage_end(lanes, user, k)
        user.granted_s = 0.0
        _mark(users, claims, i, 1)
        find_entry(lanes, user)


@inlined
def _mark(users: Array, claims: Claims, i: int, held: int) -> None:
    """Set all claims of a user on lanes ahead of it."""
    for row in range(claims.used[0]):
        claim = claims.claim[row]
        if claim.user == i and claim.start > 0.0:
            claim.held = held


@inlined
def _take_away(lanes: Array, users: Array, claims: Claims, i: int, is_idle: bool) -> None:
    user = users[i]
    user.hold = CUR
    if is_idle:
        user.pause_s = PAUSE_S
    _mark(users, claims, i, 0)
    find_entry(lanes, user)


@inlined
def merging(world: LaneMap, users: Array, claims: Claims, i: int, dt_s: float) -> tuple[float, float]:
    """As `leaders`, behind those who hold a lane that joins one's own and are nearer to the joint."""
    user, lanes = users[i], world.lanes
    strongest, safe = 0.0, FREE
    for k in range(CUR, max(CUR, min(user.hold, PATH - 1)) + 1):
        if user.path[k] < 0 or lanes[user.path[k]].junction < 0:
            continue
        lane = lanes[user.path[k]]
        mine = user.off[k] + lane.length_m - user.s
        for row in range(lane.conflict_from, lane.conflict_to):
            conflict = world.conflicts[row]
            if not conflict.merges:
                continue
            at = claims.first[conflict.other]
            while at >= 0:
                claim = claims.claim[at]
                at = claim.next
                if claim.user == i or not claim.held:
                    continue
                other = users[claim.user]
                theirs = lanes[conflict.other].length_m - (other.s - claim.start)
                if theirs > mine or (theirs == mine and claim.user > i) or other.is_ego:
                    continue
                gap = mine - theirs - other.length_m
                strongest = max(strongest, interaction(user, gap, other.v))
                safe = min(safe, safe_speed(gap - 0.4, other.v, dt_s))
    return strongest, safe
