"""Changing lanes and overtaking: MOBIL where the road has several lanes, the oncoming side where it has one.

Overtaken are cyclists, and vehicles that have broken down; those are passed by whoever comes, cyclists too.

Kesting, Treiber, Helbing, "General lane-changing model MOBIL for car-following models", Transportation Research Record
1999 (2007): a driver changes if what it gains, with a share of what its followers lose, exceeds a threshold, and if the
new follower need not brake harder than b_safe. Their figures: politeness 0.2, threshold 0.1 m/s2, b_safe 4 m/s2, bias
to the right 0.3 m/s2 (sections 2 and 5). A driver who needs another lane for its turn wants it more the nearer the
junction comes; if it never gets there, it takes a turn that its own lane allows. Kernels on arrays.
"""

from __future__ import annotations

import math

from envs.drivers.following import (
    CHANGE_MPS,
    CHANGE_S,
    CLEAR_SHARE,
    CUR,
    FREE,
    Bodies,
    add_body,
    free_accel,
    interaction,
    overlaps,
    safe_speed,
    wished_speed,
)
from envs.drivers.lane_map import LaneMap, Row, abreast, bend_speed, inlined
from envs.drivers.motion import LONG_M, extend, rest, throw, widest_turn
from envs.geometry import Array
from envs.road_users import CYCLIST

POLITENESS, THRESHOLD_MPS2, SAFE_MPS2, RIGHT_BIAS_MPS2 = 0.2, 0.1, 4.0, 0.3
END_CLEAR_S, END_CLEAR_M = 6.0, 20.0  # no change of choice so near to the lane's end
MUST_CLEAR_M = 14.0  # nor one for a turn
MUST_MPS2, MUST_FAR_M = 1.0, 120.0  # of incentive for a turn; it grows fourfold towards the junction
MOST_LANES = 9  # of a direction
WISH_SHARE = 0.6  # of drivers who pick a lane for their next turn; the others turn as their lane allows
DECIDES_EVERY = 4  # steps, in turn
SLOWEST_MPS = 2.0  # to change lanes
SIDE_M = 1.5  # kept to a cyclist (StVO section 5 (4))
PASS_SIGHT_M = 45.0
PASS_MOST_MPS = 6.0  # faster than the cyclist, at most
ONCOMING_MPS2 = 1.5  # how hard others may pull away meanwhile
STARTS_S = 3.0  # after which who stands may be driving: two queues behind two obstacles do not wait for each other
PASS_GAIN_MPS = 2.5  # faster than the cyclist, at least, or nobody overtakes
PASS_OUT_S = 2.0  # longer than it takes to drive past
PASS_CLEAR_M = 25.0  # to the oncoming traffic, and to the junction, when done
BACK_IN_M = 4.0  # ahead of the cyclist before going back
STILL_MPS2, STILL_SIGHT_M = 3.0, 70.0  # incentive to leave the lane of what stands in it, and from where
STILL_SIDE_M, STILL_BACK_M, STILL_CLEAR_M = 0.7, 1.5, 6.0  # the same as above for what stands
STILL_MPS = 7.0  # past it over the oncoming side, at most


@inlined
def pick_lane(world: LaneMap, user: Row) -> None:
    """On a new road of several lanes: perhaps wish for another of them, for its turns.

    A long vehicle does if its own lane leads only into turns that are too narrow for it.
    """
    user.wish = -1
    number = user.path[CUR]
    lane = world.lanes[number]
    if lane.junction >= 0 or (lane.left < 0 and lane.right < 0):
        return
    leftmost, count = number, 1
    while world.lanes[leftmost].left >= 0 and count < MOST_LANES:
        leftmost, count = world.lanes[leftmost].left, count + 1
    count, at, widest, best = 0, leftmost, widest_turn(world, number), number
    while at >= 0 and count < MOST_LANES:
        turn = widest_turn(world, at)
        if turn > widest:
            widest, best = turn, at
        at, count = world.lanes[at].right, count + 1
    if user.length_m > LONG_M:
        at = best if widest_turn(world, number) < user.least_radius_m else number
    elif throw(user) < WISH_SHARE:
        at = leftmost
        for _ in range(int(throw(user) * count)):
            at = world.lanes[at].right
    else:
        at = number
    user.wish = at if at != number else -1


@inlined
def _wished_side(world: LaneMap, user: Row) -> int:
    """1 if the wished lane lies to the left, -1 to the right, 0 if there is none."""
    if user.wish < 0:
        return 0
    at = user.path[CUR]
    for _ in range(MOST_LANES):
        at = world.lanes[at].left
        if at < 0:
            return -1
        if at == user.wish:
            return 1
    return 0


@inlined
def _accel(world: LaneMap, user: Row, gap_m: float, leader_mps: float) -> float:
    """The model's acceleration behind a leader; FREE gap: none."""
    free = free_accel(user, wished_speed(world.lanes, world.points, user))
    return free - user.accel * interaction(user, gap_m, leader_mps) if gap_m < FREE else free


@inlined
def _around(users: Array, bodies: Bodies, i: int, lane: int, s: float) -> tuple[float, float, int, float]:
    """(gap ahead, leader's speed, follower's row or -1, gap behind) on a lane; negative gaps: somebody is beside."""
    ahead, speed, back_row, behind = FREE, 0.0, -1, FREE
    rear, row = s - users[i].length_m, bodies.first[lane]
    while row >= 0:
        body = bodies.body[row]
        row = body.next
        if body.user == i:
            continue
        if body.front > s or body.rear > rear:
            if body.rear - s < ahead:
                ahead, speed = body.rear - s, body.v
        elif rear - body.front < behind:
            behind, back_row = rear - body.front, body.user
    for j in range(len(users)):  # those who come from the lanes before
        other = users[j]
        for k in range(CUR + 1, CUR + 3):
            if j != i and other.path[CUR] >= 0 and other.path[k] == lane:
                gap = rear - other.s + other.off[k]
                if gap < behind:
                    behind, back_row = gap, j
    return ahead, speed, back_row, behind


@inlined
def _is_safe(follower: Row, accel: float, gap_m: float, leader_mps: float) -> bool:
    """Whether a follower need brake no harder than b_safe, now and if the leader brakes as hard as it can."""
    return accel > -SAFE_MPS2 and safe_speed(gap_m - 1.0, leader_mps, 1.0) > follower.v


@inlined
def _incentive(world: LaneMap, users: Array, bodies: Bodies, i: int, target: int) -> float:
    """MOBIL's advantage [m/s2] of a lane beside, all but the bias; -FREE if not safe."""
    user = users[i]
    at = abreast(world.points, world.lanes[user.path[CUR]], world.lanes[target], user.s, 1.0)
    ahead, lead_mps, follower, behind = _around(users, bodies, i, target, at)
    if ahead < user.gap_m or behind < user.gap_m:
        return -FREE
    mine = _accel(world, user, ahead, lead_mps)
    if not _is_safe(user, mine, ahead, lead_mps):
        return -FREE
    theirs = 0.0
    if follower >= 0:
        after = _accel(world, users[follower], behind, user.v)
        if not _is_safe(users[follower], after, behind, user.v):
            return -FREE
        gap = behind + user.length_m + ahead if ahead < FREE else FREE
        theirs = after - _accel(world, users[follower], gap, lead_mps)
    ahead, lead_mps, follower, behind = _around(users, bodies, i, user.path[CUR], user.s)
    now = _accel(world, user, ahead, lead_mps)
    if follower >= 0:
        gap = behind + user.length_m + ahead if ahead < FREE else FREE
        theirs += _accel(world, users[follower], gap, lead_mps) - _accel(world, users[follower], behind, user.v)
    return mine - now + POLITENESS * theirs


@inlined
def _move_over(world: LaneMap, users: Array, bodies: Bodies, i: int, target: int, side: int) -> None:
    """Make a lane beside the current one; the body follows sideways."""
    user, old = users[i], world.lanes[users[i].path[CUR]]
    new = world.lanes[target]
    user.s = abreast(world.points, old, new, user.s, 1.0)
    user.path[CUR] = target
    user.path[CUR + 1:] = -1
    extend(world, user)
    user.d_from = user.d - side * (old.width_m + new.width_m) / 2
    user.d, user.d_to, user.d_share = user.d_from, 0.0, 0.0
    if user.wish == target:
        user.wish = -1
    add_body(bodies, target, i, user.s - user.length_m, user.s, user.d_to, user.v)


@inlined
def _swing_out_m(user: Row) -> float:
    """Way [m] that a change to beside what stands ahead takes, at the present speed."""
    return CHANGE_S * CLEAR_SHARE * max(user.v, CHANGE_MPS) + 0.5


@inlined
def _still_ahead(users: Array, bodies: Bodies, user: Row, lane: int, s: float) -> float:
    """Gap [m] to what has broken down ahead on a lane, FREE if nothing has within sight."""
    gap, row = FREE, bodies.first[lane]
    while row >= 0:
        body = bodies.body[row]
        row = body.next
        if users[body.user].is_still and body.front > s and overlaps(user, 0.0, body.d, users[body.user]):
            gap = min(gap, body.rear - s)
    return gap if gap < STILL_SIGHT_M else FREE


@inlined
def change_lanes(world: LaneMap, users: Array, bodies: Bodies, i: int) -> None:
    """Begin to change to a lane beside, if that is safe and worth it."""
    user = users[i]
    number = user.path[CUR]
    lane = world.lanes[number]
    to_end = lane.length_m - user.s
    if (lane.junction >= 0 or user.d_share < 1.0 or user.passes >= 0 or user.hold > CUR
            or user.s < user.length_m + 3.0 or to_end < MUST_CLEAR_M or (lane.left < 0 and lane.right < 0)):
        return
    still = _still_ahead(users, bodies, user, number, user.s)
    if still < FREE and still < _swing_out_m(user):
        return
    if still == FREE and user.v < SLOWEST_MPS:
        return
    wished, best, best_side = _wished_side(world, user), 0.0, 0
    for side in (1, -1):
        target = lane.left if side > 0 else lane.right
        if target < 0 or not (lane.may_cross if side > 0 else world.lanes[target].may_cross):
            continue
        must = 0.0
        if _still_ahead(users, bodies, user, target, user.s) < FREE or (
                user.kind == CYCLIST and side > 0 and still == FREE):
            continue
        if still < FREE:
            must = STILL_MPS2
        elif wished == side:
            must = MUST_MPS2 * (1.0 + 3.0 * max(0.0, 1.0 - to_end / MUST_FAR_M))
        elif (to_end < END_CLEAR_M + END_CLEAR_S * user.v or (wished == -side and to_end < 2.0 * MUST_FAR_M)
              or (user.length_m > LONG_M and side > 0)):
            continue
        gain = _incentive(world, users, bodies, i, target) + must - side * RIGHT_BIAS_MPS2 - THRESHOLD_MPS2
        if gain > best:
            best, best_side = gain, side
    if best_side != 0:
        _move_over(world, users, bodies, i, lane.left if best_side > 0 else lane.right, best_side)


@inlined
def _oncoming_free(world: LaneMap, users: Array, i: int, way_m: float, time_s: float) -> bool:
    """Whether the lane of the other direction stays free beside the next metres for some time, whoever speeds up."""
    user = users[i]
    lane = world.lanes[user.path[CUR]]
    limit = world.lanes[lane.opposite].limit_mps
    scale = lane.length_m / world.lanes[lane.opposite].length_m
    for j in range(len(users)):
        other = users[j]
        if j == i or other.path[CUR] < 0:
            continue
        for k in range(CUR, CUR + 3):
            if other.path[k] == lane.opposite:
                meets = lane.length_m - (other.s - other.off[k]) * scale - user.s
                pulls = 0.0 if other.is_still else time_s if other.v > SLOWEST_MPS else max(time_s - STARTS_S, 0.0)
                comes = min(max(limit, other.v) * time_s, other.v * time_s + 0.5 * ONCOMING_MPS2 * pulls * pulls)
                if -other.length_m - user.length_m < meets < way_m + comes + PASS_CLEAR_M:
                    return False
                break
    return True


@inlined
def _plan_pass(world: LaneMap, user: Row, slow: Row, wish_mps: float) -> tuple[float, float]:
    """(way [m], time [s]) until one is back in the lane ahead of a slow user; FREE if it is too fast to be passed.

    It is passed at the speed that limits and bends on the way allow, after pulling away gently from one's own.
    """
    lane, ahead = world.lanes[user.path[CUR]], slow.s - user.s + user.length_m + BACK_IN_M
    fast = min(wish_mps, STILL_MPS if slow.is_still else slow.v + PASS_MOST_MPS)
    for step in range(1, 9):
        fast = min(fast, bend_speed(world.points, lane, user.s + 10.0 * step))
    if fast - slow.v < PASS_GAIN_MPS and not slow.is_still:
        return FREE, FREE
    pull, gain = 0.6 * user.accel, fast - slow.v
    now = min(max(user.v - slow.v, 0.0), gain)
    pulled = (gain * gain - now * now) / (2.0 * pull)  # lead gained until `fast` is reached
    if pulled > ahead:
        time = (math.sqrt(now * now + 2.0 * pull * ahead) - now) / pull
    else:
        time = (gain - now) / pull + (ahead - pulled) / gain
    time += PASS_OUT_S
    return slow.v * time + ahead + fast * CHANGE_S, time + CHANGE_S


@inlined
def overtake(world: LaneMap, users: Array, bodies: Bodies, i: int) -> None:
    """Begin, end or give up driving past a cyclist over the oncoming side."""
    user = users[i]
    number = user.path[CUR]
    lane = world.lanes[number]
    if user.passes >= 0:
        slow = users[user.passes]
        back_in = STILL_BACK_M if slow.is_still else BACK_IN_M
        is_done = slow.path[CUR] != number or user.s - user.length_m > slow.s + back_in
        if not is_done and not slow.is_still and user.s < slow.s - slow.length_m - 1.0:
            way, time = _plan_pass(world, user, slow, wished_speed(world.lanes, world.points, user))
            is_done = way == FREE or not _oncoming_free(world, users, i, way - PASS_CLEAR_M / 2, time - 1.0)
        if is_done:
            user.passes = -1
            user.d_from, user.d_to, user.d_share = user.d, rest(world, user), 0.0
        return
    if (lane.junction >= 0 or lane.opposite < 0 or lane.left >= 0 or not lane.may_cross or user.d_share < 1.0
            or user.hold > CUR):
        return
    nearest, away, row = -1, PASS_SIGHT_M, bodies.first[number]
    while row >= 0:
        body = bodies.body[row]
        row = body.next
        if body.user != i and body.front > user.s and body.rear - user.s < away:
            nearest, away = body.user, body.rear - user.s
    if nearest < 0 or users[nearest].is_ego or users[nearest].path[CUR] != number:
        return
    slow = users[nearest]
    if slow.is_still:
        out = _swing_out_m(user)
        if not out < away < out + 6.0 + user.v or not overlaps(user, user.d, slow.d, slow):
            return
    elif slow.kind != CYCLIST or user.kind == CYCLIST or user.v < SLOWEST_MPS:
        return
    clear, side = (STILL_CLEAR_M, STILL_SIDE_M) if slow.is_still else (PASS_CLEAR_M, SIDE_M)
    way, time = _plan_pass(world, user, slow, wished_speed(world.lanes, world.points, user))
    if user.s + way + clear > lane.length_m or not _oncoming_free(world, users, i, way, time):
        return
    for row in range(lane.crossing_from, lane.crossing_to):
        if user.s < world.crossings[row].station_m + 5.0 and world.crossings[row].station_m < user.s + way:
            return
    row = bodies.first[number]
    while row >= 0:
        body = bodies.body[row]
        row = body.next
        if body.user != i and body.user != nearest and body.front > user.s and (
                body.v < -0.1 or body.rear + body.v * time < user.s + way + 10.0):
            return
    user.passes = nearest
    user.d_from, user.d_share = user.d, 0.0
    user.d_to = slow.d + slow.width_m / 2 + side + user.width_m / 2
