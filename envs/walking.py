"""What parties of people do from one instant to the next: walk, turn to a way over the road, wait, cross, come back.

A state machine for each party, compiled; chance comes from the party's own drawn numbers. Where a party and its members
are is in `parties.py`, what they see of the vehicles in `gaps.py`, who they are in `pedestrians.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from envs.gaps import (
    HOLD,
    HURRY,
    RETREAT,
    STANDING_MPS,
    compiled,
    distance_of,
    foresee,
    inlined,
    is_gap,
    is_occupied,
    is_past,
    leaves_gap,
)
from envs.geometry import Array
from envs.parties import (
    APPROACH,
    CROSS,
    HIDE,
    LINGER,
    RETURN,
    SLOTS_M,
    WAIT,
    WALK,
    Ground,
    breadth,
    direction,
    draw,
    follow,
    goal,
    is_walkable,
    length,
    on_way,
    shifted,
)
from envs.roads.pavements import LINES, Pavements
from envs.roads.ways import KERB_M, WayKind, Ways
from envs.state import Phase

TAKES = np.array([0.8, 0.6, 0.25, 0.0])  # chance that a party takes a way it meets, by WayKind; free ones when due
MARGIN_S = np.array([0.0, 2.0, 4.0, 1.5])  # of a gap over the time to cross, by WayKind
HESITATION_S = (0.5, 2.5)
PATIENCE_S = 45.0  # at a kerb,
LIGHT_PATIENCE_S = 120.0  # where a light will change
BARRED_S = 3.0  # before a vehicle on the pavement
LONGEST_S = 12.0  # planned for a crossing: over wide roads people walk faster
LAST_HOLD_S = 13.0  # on the road: after that they stop only for what is in their way
HURRY_RATIO = 1.7
HURRY_MOST_MPS = 2.8
TURN_BACK_SHARE = 0.04  # of crossings that end after the first step
TURN_BACK_M = 0.9
FRESH_RED_S = 5.0  # the lanes' red lasts for a crossing that begins so soon after it
DUE_M = (25.0, 60.0)  # walked before crossing where nothing is marked: at least, and the mean of the rest
STEP_ROUND_MPS = 1.0  # sideways, round a vehicle that stands in the way
ROOM_M = 4.0  # how far ahead people make room for those who come towards them
CHILD_REACTION_S, CHILD_BRAKING_MPS2, CHILD_SPARE_M = 1.0, 6.0, 1.0  # of a careful driver who sees a child run out
CHILD_WINDOW_M = 3.0
CHILD_FREEZES = 0.6  # share of children who stop in the first lane when they see what comes,
CHILD_FREEZE_S = (1.5, 3.0)  # for so long,
CHILD_FREEZE_M = 2.2  # so far from the paved edge
EGO_NEAR_M = 150.0  # along both axes together: lingering people and hidden children look no farther
CHILD_PATIENCE_S = LINGER_PATIENCE_S = 180.0
ZEBRA, FREE = int(WayKind.ZEBRA), int(WayKind.FREE)
OFF, RED = int(Phase.OFF), int(Phase.RED)


class Sight(NamedTuple):
    """What everybody sees now."""

    cars: Array  # (1 + K, 7) see gaps.py
    signals: Array  # (G,) int of Phase
    red_s: Array  # (G,) for how long a group has shown red


@compiled
def advance(parties: Any, people: Any, ground: Ground, sight: Sight, luck: Array, dt_s: float) -> None:
    """Everybody `dt_s` later; `luck` (P, L) are the parties' own numbers in [0, 1)."""
    for i in range(len(parties)):
        party = parties[i]
        leader = people[party.first]
        if party.state == WALK:
            x, y = goal(party, leader, ground)
            if np.hypot(x - leader.x_m, y - leader.y_m) < 1.0 and not _is_barred(party, leader, sight, dt_s):
                _make_room(party, people, ground.pavements)
                _walk(party, ground, luck, party.pace_mps * dt_s)
        elif party.state == APPROACH:
            x, y = goal(party, leader, ground)
            if np.hypot(x - leader.x_m, y - leader.y_m) < 0.1:
                party.state = WAIT
        elif party.state == WAIT:
            _wait(party, ground, sight, luck, dt_s)
        elif party.state == CROSS:
            _cross(party, leader, ground, sight, luck, dt_s)
        elif party.state == RETURN:
            _return(party, ground, luck, dt_s)
        elif party.state == LINGER:
            _linger(party, ground, sight, luck, dt_s)
        else:
            _hide(party, ground, sight, luck, dt_s)
    for i in range(len(people)):
        party = parties[people[i].party]
        fastest = 3.2 if party.runs or party.state in (CROSS, RETURN) else 1.5 * party.pace_mps
        follow(people[i], goal(party, people[i], ground), fastest, dt_s)
        if party.state in (WAIT, HIDE) and np.hypot(people[i].vx_mps, people[i].vy_mps) < 0.2:
            x, y = direction(party, ground.ways)
            people[i].yaw_rad = np.arctan2(y, x)


@inlined
def _is_barred(party: Any, leader: Any, sight: Sight, dt_s: float) -> bool:
    """Whether a vehicle is in the way on the pavement; after a while the party turns round."""
    x, y = leader.x_m + 0.6 * np.cos(leader.yaw_rad), leader.y_m + 0.6 * np.sin(leader.yaw_rad)
    if is_occupied(x, y, sight.cars, 0.4 + breadth(party)) < 0:
        party.waited_s = 0.0
        return False
    party.waited_s += dt_s
    if party.waited_s > BARRED_S:
        party.heading = -party.heading
        leader.yaw_rad = np.arctan2(-np.sin(leader.yaw_rad), -np.cos(leader.yaw_rad))
        party.waited_s = 0.0
    return True


@compiled
def _walk(party: Any, ground: Ground, luck: Array, way_m: float) -> None:
    """Go `way_m` along the line, round at its end, or turn to a way that begins here."""
    pavements, ways = ground.pavements, ground.ways
    share = party.share + party.heading * way_m / pavements.step_m[party.place, party.line]
    ahead, _ = shifted(pavements, party.place, share, 1.5 * party.heading)
    if ahead == party.place or not is_walkable(party, pavements, ahead, party.line):
        party.heading = -party.heading
        return
    place = party.place
    party.place, party.share = shifted(pavements, place, share, 0.0)
    party.due_m -= way_m
    if party.place == place:
        return
    if party.meets == 1 and party.place == ways.foot[party.way, party.end]:
        _approach(party, luck)
    elif party.meets == 0 and ways.at[party.place] >= 0:
        way, end = ways.at[party.place] // 2, ways.at[party.place] % 2
        if party.due_m < (0.0 if ways.kind[way] == FREE else DUE_M[1]) and draw(party, luck) < TAKES[ways.kind[way]]:
            party.way, party.end = way, end
            _approach(party, luck)


@inlined
def _approach(party: Any, luck: Array) -> None:
    """Turn to the kerb where the party's way begins."""
    party.state, party.meets = APPROACH, 0
    party.progress_m = party.shift_m = party.waited_s = party.road_s = 0.0
    party.timer_s = HESITATION_S[0] + (HESITATION_S[1] - HESITATION_S[0]) * draw(party, luck)


@compiled
def _ego_gap(party: Any, ground: Ground, sight: Sight) -> float:
    """How far the ego car is from a party's way along the lanes [m]; nan where it does not come, or is far away."""
    x, y = on_way(party, ground.ways, 0.0, 0.0)
    if abs(sight.cars[0, 0] - x) + abs(sight.cars[0, 1] - y) > EGO_NEAR_M:
        return np.nan
    return float(distance_of(sight.cars[0], party.way, ground.ways, ground.lanes))


@compiled
def _linger(party: Any, ground: Ground, sight: Sight, luck: Array, dt_s: float) -> None:
    """Stand and talk near a way on the ego car's route; go and cross when it comes, or walk on when it has passed."""
    party.waited_s += dt_s
    gap = _ego_gap(party, ground, sight)
    has_passed = party.has_met == 1 and (np.isnan(gap) or gap < 0.0)
    if gap < 20.0:
        party.has_met = 1
    if not (has_passed or gap < party.due_m or party.waited_s > LINGER_PATIENCE_S):
        return
    party.meets = 0 if has_passed else 1
    party.state, party.waited_s, party.due_m = WALK, 0.0, DUE_M[0]
    if party.meets == 1 and party.place == ground.ways.foot[party.way, party.end]:
        _approach(party, luck)


@compiled
def _make_room(party: Any, people: Any, pavements: Pavements) -> None:
    """Change to the next line on the right when somebody comes towards the party on its own."""
    line = party.line + party.heading
    if line < 0 or line + min(party.size - 1, 1) >= LINES:
        return
    leader = people[party.first]
    cos, sin = np.cos(leader.yaw_rad), np.sin(leader.yaw_rad)
    for i in range(len(people)):
        ahead = cos * (people[i].x_m - leader.x_m) + sin * (people[i].y_m - leader.y_m)
        left = cos * (people[i].y_m - leader.y_m) - sin * (people[i].x_m - leader.x_m)
        if (people[i].party != party.row and 0.0 < ahead < ROOM_M and abs(left) < 0.4
                and cos * people[i].vx_mps + sin * people[i].vy_mps < -0.2):
            for k in range(-1, 4):
                place, _ = shifted(pavements, party.place, party.share, float(k * party.heading))
                dx = pavements.point_m[place, line, 0] - pavements.point_m[place, party.line, 0]
                dy = pavements.point_m[place, line, 1] - pavements.point_m[place, party.line, 1]
                if not is_walkable(party, pavements, place, line) or np.hypot(dx, dy) > 0.6:
                    return  # something stands between the lines
            party.line = line
            return


@inlined
def _pace_over(party: Any, ways: Ways) -> float:
    """Pace on a way [m/s]."""
    return max(party.pace_mps, length(party, ways) / LONGEST_S)


@compiled
def _wait(party: Any, ground: Ground, sight: Sight, luck: Array, dt_s: float) -> None:
    """Stand at the kerb and look; step out when the gap is long enough, walk on when patience ends."""
    party.timer_s -= dt_s
    party.waited_s += dt_s
    is_lit = 0 <= ground.ways.group[party.way, 0] < len(sight.signals)
    if party.waited_s > (LIGHT_PATIENCE_S if is_lit else PATIENCE_S):
        _leave(party, ground, luck, party.end)
    elif party.timer_s <= 0.0 and _may_cross(party, ground, sight):
        party.state, party.road_s = CROSS, 0.0
        party.turns_back = 1 if draw(party, luck) < TURN_BACK_SHARE else 0


@compiled
def _may_cross(party: Any, ground: Ground, sight: Sight) -> bool:
    """By the lights, the lanes that lead to the way, and what is in sight."""
    ways, kind = ground.ways, ground.ways.kind[party.way]
    is_guarded = False
    for k in range(ways.group.shape[1]):
        group = ways.group[party.way, k]
        if 0 <= group < len(sight.signals) and sight.signals[group] != OFF:
            is_guarded = True
            if sight.signals[group] != RED or sight.red_s[group] > FRESH_RED_S:
                return False
    pace, way_m = _pace_over(party, ways), length(party, ways)
    tail = SLOTS_M[party.size - 1]
    needed = (way_m - 2 * KERB_M + tail) / pace + MARGIN_S[kind]
    if not is_gap(party.way, ways, ground.lanes, sight.cars, needed, kind == ZEBRA or is_guarded):
        return False
    dx, dy = direction(party, ways)
    if foresee(on_way(party, ways, 0.0, 0.0), (pace * dx, pace * dy), 1.0, (breadth(party), tail), sight.cars) != 0:
        return False
    for k in range(int(way_m / 0.5)):
        x, y = on_way(party, ways, 0.5 * k, 0.0)
        if is_occupied(x, y, sight.cars, 0.4 + breadth(party)) >= 0:
            return False
    return True


@compiled
def _cross(party: Any, leader: Any, ground: Ground, sight: Sight, luck: Array, dt_s: float) -> None:
    """Walk over the road: hold for what cannot stop, hurry out of its way, step round what stands."""
    ways = ground.ways
    pace = _pace_over(party, ways)
    fast = max(pace, min(HURRY_RATIO * pace, HURRY_MOST_MPS))
    dx, dy = direction(party, ways)
    party.road_s += dt_s
    x, y = on_way(party, ways, party.progress_m, party.shift_m)
    act = 0
    if party.runs == 0:
        extent = breadth(party), SLOTS_M[party.size - 1]
        act = foresee((x, y), (pace * dx, pace * dy), fast / pace, extent, sight.cars)
    if act == HOLD and party.road_s > LAST_HOLD_S:
        act = HURRY
    if party.runs == 1 and party.timer_s > 0.0 and party.progress_m >= party.due_m:
        party.timer_s -= dt_s
        return
    touched = is_occupied(x + 0.6 * dx, y + 0.6 * dy, sight.cars, 0.35 + breadth(party))
    if touched >= 0 and act != RETREAT:
        act = HOLD
        car = sight.cars[touched]
        if car[4] < STANDING_MPS:  # behind it, seen along the way
            party.shift_m += STEP_ROUND_MPS * dt_s * (1.0 if car[3] * dx - car[2] * dy > 0.0 else -1.0)
    if act == RETREAT or (act == HOLD and touched < 0 and party.progress_m < 1.2) or (
            party.turns_back == 1 and party.progress_m > TURN_BACK_M):
        party.state, party.turns_back = RETURN, 0
    elif act != HOLD:
        party.progress_m += (fast if act == HURRY else pace) * dt_s
        if party.progress_m >= length(party, ways) + SLOTS_M[party.size - 1]:
            _leave(party, ground, luck, 1 - party.end)


@compiled
def _return(party: Any, ground: Ground, luck: Array, dt_s: float) -> None:
    """Step back to the kerb, then wait again or give it up."""
    party.road_s += dt_s
    party.progress_m = max(party.progress_m - HURRY_RATIO * party.pace_mps * dt_s, 0.0)
    if party.progress_m == 0.0:
        party.state, party.timer_s = WAIT, HESITATION_S[0] + 2.0 * draw(party, luck)
        if draw(party, luck) < 0.3:
            _leave(party, ground, luck, party.end)


@compiled
def _leave(party: Any, ground: Ground, luck: Array, end: int) -> None:
    """Walk on from an end of the way, in either direction."""
    place = ground.ways.foot[party.way, end]
    party.state, party.place, party.share, party.runs, party.meets = WALK, place, 0.0, 0, 0
    party.heading = 1 if draw(party, luck) < 0.5 else -1
    party.due_m = DUE_M[0] - DUE_M[1] * np.log(1.0 - draw(party, luck))
    wish = 2 if party.heading > 0 else 0
    best = -1
    for line in range(LINES):
        if is_walkable(party, ground.pavements, place, line) and (best < 0 or abs(line - wish) < abs(best - wish)):
            best = line
    party.line = max(best, 0)


@inlined
def child_distance(speed_mps: float, hidden_m: float, run_mps: float) -> float:
    """Distance to a child's way [m] from which a careful driver can still stop when it begins to run.

    It is out of sight for `hidden_m`; then the driver reacts within 1 s, brakes with 6 m/s2 and stops 1 m before it:
    d = v (t_hidden + 1 s) + v^2 / (2 * 6 m/s2) + 1 m.
    """
    reaction = CHILD_REACTION_S + hidden_m / run_mps
    return speed_mps * reaction + speed_mps * speed_mps / (2 * CHILD_BRAKING_MPS2) + CHILD_SPARE_M


@compiled
def _hide(party: Any, ground: Ground, sight: Sight, luck: Array, dt_s: float) -> None:
    """Wait between parked cars; run when the ego car is just far enough and nobody else comes."""
    ways, way, ego = ground.ways, party.way, sight.cars[0]
    party.waited_s += dt_s
    gap = _ego_gap(party, ground, sight)
    has_passed = party.has_met == 1 and (np.isnan(gap) or is_past(gap, ego, 10.0))
    if has_passed or party.waited_s > CHILD_PATIENCE_S:
        _leave(party, ground, luck, 0)
        return
    if np.isnan(gap):
        return
    hidden = ways.outside_m[way] + 0.5  # the car beside it stands at least on the edge line
    limit = ways.limit_mps[way]
    party.has_met = 1 if gap < 20.0 else party.has_met
    enough = child_distance(max(ego[4], limit), hidden, party.pace_mps)
    if ego[4] < 3.0 or not enough <= gap <= child_distance(limit, hidden, party.pace_mps) + CHILD_WINDOW_M:
        return
    freezes_s = 0.0
    if luck[party.row, 0] < CHILD_FREEZES:
        freezes_s = CHILD_FREEZE_S[0] + (CHILD_FREEZE_S[1] - CHILD_FREEZE_S[0]) * luck[party.row, 1]
    needed = length(party, ways) / party.pace_mps + MARGIN_S[ways.kind[way]] + freezes_s
    for c in range(1, len(sight.cars)):
        car = sight.cars[c]
        behind = (ego[2] * (car[0] - ego[0]) + ego[3] * (car[1] - ego[1]) < 0.0
                  and ego[2] * car[2] + ego[3] * car[3] > 0.7)
        if not behind and not leaves_gap(car, way, ways, ground.lanes, needed, False):
            return
    party.state, party.runs, party.road_s, party.turns_back = CROSS, 1, 0.0, 0
    party.timer_s, party.due_m = freezes_s, ways.outside_m[way] + CHILD_FREEZE_M
