"""A party of people as records: where its leader is, and where each of its members wants to be.

A leader's place is a point of a pavement's line while walking, else a progress along a way over the road. The others
keep their slots beside and behind it, and everybody moves towards the place of the moment. Compiled code on records.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from envs.gaps import compiled, inlined
from envs.geometry import Array
from envs.roads.pavements import LINES, Pavements
from envs.roads.ways import LaneLines, Ways

SLOTS = ((0, 0.0), (1, 0.15), (0, 0.75), (1, 0.90))  # of a party's members: line beside the leader's, behind it [m]
SLOTS_M = np.array([behind for _, behind in SLOTS])  # by size less one: how far the last is behind the leader
ABREAST_M = 0.6  # on a way over the road
WALK, APPROACH, WAIT, CROSS, RETURN, HIDE, LINGER = range(7)  # what a party does

# A party: its members are `size` rows of people from `first`. Walking, it is a `share` of the step beyond the pavement
# point `place`, on a line; `heading` is 1 with the kerb on the left. Else it is on the way `way`, coming from `end`, at
# a progress, beside its middle by `shift_m`. `due_m` is left to walk before it crosses where nothing is marked; to
# one that lingers it is how near the ego car comes before it goes to its way, which it then surely takes (`meets`).
_WHOLE = ("row", "first", "size", "place", "heading", "line", "state", "way", "end", "cursor", "runs", "turns_back",
          "has_met", "meets")
_REAL = ("share", "pace_mps", "progress_m", "shift_m", "timer_s", "waited_s", "road_s", "due_m")
PARTY = np.dtype([(name, np.int64) for name in _WHOLE] + [(name, np.float64) for name in _REAL])
PERSON = np.dtype([("party", np.int64), ("line", np.int64), *((name, np.float64) for name in (
    "behind_m", "x_m", "y_m", "yaw_rad", "vx_mps", "vy_mps"))])


class Ground(NamedTuple):
    """Where one can walk."""

    pavements: Pavements
    ways: Ways
    lanes: LaneLines


@compiled
def settle(parties: Any, people: Any, ground: Ground) -> None:
    """Put everybody where they want to be, facing their way."""
    for i in range(len(people)):
        party = parties[people[i].party]
        x, y = goal(party, people[i], ground)
        people[i].x_m, people[i].y_m = x, y
        if party.state in (WALK, LINGER):
            place, share = shifted(ground.pavements, party.place, party.share,
                                   party.heading * (1.0 - people[i].behind_m))
            after = point(ground.pavements, place, share, member_line(party, people[i].line))
            people[i].yaw_rad = np.arctan2(after[1] - y, after[0] - x)
        else:
            dx, dy = direction(party, ground.ways)
            people[i].yaw_rad = np.arctan2(dy, dx)


@inlined
def goal(party: Any, person: Any, ground: Ground) -> tuple[float, float]:
    """Where a person wants to be now [m]."""
    if party.state in (WALK, LINGER):
        place, share = shifted(ground.pavements, party.place, party.share, -party.heading * person.behind_m)
        return point(ground.pavements, place, share, member_line(party, person.line))
    beside = 0.0 if party.size == 1 else ABREAST_M * (person.line - 0.5)
    return on_way(party, ground.ways, party.progress_m - person.behind_m, party.shift_m + beside)


@inlined
def member_line(party: Any, beside: int) -> int:
    """The line of a member `beside` the leader's."""
    return min(party.line + beside, LINES - 1)


@inlined
def point(pavements: Pavements, place: int, share: float, line: int) -> tuple[float, float]:
    """World point [m] a share of the way from a pavement point to the next."""
    after, points = pavements.after[place], pavements.point_m
    ax, ay = points[place, line, 0], points[place, line, 1]
    return ax + share * (points[after, line, 0] - ax), ay + share * (points[after, line, 1] - ay)


@inlined
def shifted(pavements: Pavements, place: int, share: float, by: float) -> tuple[int, float]:
    """The place and share `by` points farther along a kerb, stopped at its ends."""
    share += by
    while share >= 1.0:
        if pavements.after[place] == place:
            return place, 0.0
        place, share = pavements.after[place], share - 1.0
    while share < 0.0:
        if pavements.before[place] == place:
            return place, 0.0
        place, share = pavements.before[place], share + 1.0
    return place, share


@inlined
def is_walkable(party: Any, pavements: Pavements, place: int, line: int) -> bool:
    """Whether the whole party can be at a place with its leader on a line."""
    return pavements.is_open[place, line] and (party.size == 1 or pavements.is_open[place, min(line + 1, LINES - 1)])


@inlined
def direction(party: Any, ways: Ways) -> tuple[float, float]:
    """Unit vector of a party's way, from its own end to the other."""
    x = ways.end_m[party.way, 1 - party.end, 0] - ways.end_m[party.way, party.end, 0]
    y = ways.end_m[party.way, 1 - party.end, 1] - ways.end_m[party.way, party.end, 1]
    far = np.hypot(x, y)
    return x / far, y / far


@inlined
def length(party: Any, ways: Ways) -> float:
    """Of a party's way [m]."""
    ends, way = ways.end_m, party.way
    return float(np.hypot(ends[way, 1, 0] - ends[way, 0, 0], ends[way, 1, 1] - ends[way, 0, 1]))


@inlined
def on_way(party: Any, ways: Ways, progress_m: float, left_m: float) -> tuple[float, float]:
    """World point [m] at a progress along a party's way, `left_m` beside it."""
    x, y = direction(party, ways)
    ax, ay = ways.end_m[party.way, party.end, 0], ways.end_m[party.way, party.end, 1]
    return ax + progress_m * x - left_m * y, ay + progress_m * y + left_m * x


@inlined
def breadth(party: Any) -> float:
    """How far a party's people are beside its middle [m]."""
    return 0.0 if party.size == 1 else ABREAST_M / 2


@inlined
def draw(party: Any, luck: Array) -> float:
    """The party's next number in [0, 1)."""
    party.cursor = (party.cursor + 1) % luck.shape[1]
    return float(luck[party.row, party.cursor])


@inlined
def follow(person: Any, to: tuple[float, float], fastest_mps: float, dt_s: float) -> None:
    """Move straight towards a point, no faster than `fastest_mps`."""
    dx, dy = to[0] - person.x_m, to[1] - person.y_m
    away = np.hypot(dx, dy)
    share = min(1.0, fastest_mps * dt_s / max(away, 1e-9))
    person.x_m += share * dx
    person.y_m += share * dy
    person.vx_mps, person.vy_mps = share * dx / dt_s, share * dy / dt_s
    if share * away > 0.02:
        person.yaw_rad = np.arctan2(dy, dx)
