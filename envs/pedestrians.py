"""People on foot: they walk along the pavements, alone and in groups, wait at kerbs, and cross.

Each party of one to four has a leader whose place is a point of a pavement's line; the others keep their slots beside
and behind. Everybody moves towards the place of the moment at a speed of their own. Paces follow Weidmann (1993,
"Transporttechnik der Fussgaenger", IVT 90): normal, mean 1.34 m/s, standard deviation 0.26 m/s.
Nothing here is random once a `Walkers` is made: each party carries its own drawn numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from envs.geometry import Array
from envs.roads.network import Route
from envs.roads.pavements import LINES, Pavements, pave
from envs.state import ActorKind, Actors, Town, VehicleState, no_actors

PACE_MPS, PACE_SD_MPS = 1.34, 0.26
PACE_RANGE_MPS = (0.6, 2.1)
NEAR_M = 40.0  # of the route: where most people are


@dataclass(frozen=True)
class Age:
    """A row of AGES. Paces are in standard deviations from Weidmann's mean; over all rows mean 0, deviation 1."""

    share: float
    height_m: tuple[float, float]
    pace: tuple[float, float]  # mean, standard deviation


AGES = {
    "adult": Age(0.70, (1.55, 1.95), (0.283, 0.914)),
    "old": Age(0.18, (1.50, 1.80), (-1.1, 0.6)),
    "child": Age(0.12, (1.10, 1.45), (0.0, 0.8)),
}
PARTY_SIZES = ((1, 0.60), (2, 0.28), (3, 0.08), (4, 0.04))  # Moussaid et al. 2010 (PLoS ONE 5, e10047): small groups
SLOTS = ((0, 0.0), (1, 0.15), (0, 0.75), (1, 0.90))  # of a party's members: line beside the leader's, behind it [m]
COAT_COLOURS = np.array([[170, 60, 50], [46, 70, 120], [70, 70, 74], [206, 170, 70], [34, 36, 40], [120, 96, 74],
                         [186, 182, 172], [64, 92, 70], [118, 62, 92], [150, 170, 190]], np.uint8)
LUCK = 64  # random numbers of a party, used in turn

PARTY = np.dtype([("first", np.int64), ("size", np.int64), ("place", np.int64), ("share", np.float64),
                  ("heading", np.int64), ("line", np.int64), ("pace_mps", np.float64)])
PERSON = np.dtype([("party", np.int64), ("line", np.int64), ("behind_m", np.float64), ("x_m", np.float64),
                   ("y_m", np.float64), ("yaw_rad", np.float64), ("vx_mps", np.float64), ("vy_mps", np.float64)])


class Walkers:
    """The people of one episode, made by drawing from `rng`; then `step` is a function of what they see."""

    actors: Actors
    """rows of kind PEDESTRIAN with ids from 0"""
    velocity_mps: Array
    """(W, 2) in the world frame"""

    def __init__(self, town: Town, route: Route, count: int, parked: Actors, rng: np.random.Generator) -> None:
        """`count` people near the route; `parked` is everything that stands in their way."""
        self._pavements = pave(town, route, parked) if count else None
        if self._pavements is None or not self._pavements.is_open.any():
            self.actors, self.velocity_mps = no_actors(), np.zeros((0, 2))
            self._pavements = None
            return
        size, pace = draw_people(count, rng)
        self._parties, self._people = _form_parties(self._pavements, pace, rng)
        _settle(self._parties, self._people, self._pavements)
        self._look = (np.arange(count), np.full(count, int(ActorKind.PEDESTRIAN)), size,
                      COAT_COLOURS[rng.integers(len(COAT_COLOURS), size=count)], np.zeros(count, np.uint8))
        self._show()

    def step(self, ego: VehicleState, vehicles: Actors, signals: Array, dt_s: float) -> Actors:
        """Everybody `dt_s` later, having seen the ego car, the vehicles and the phases (G,) of now."""
        if self._pavements is not None:
            _advance(self._parties, self._people, self._pavements, dt_s)
            self._show()
        return self.actors

    def _show(self) -> None:
        number, kind, size, colour, lamps = self._look
        people = self._people
        pose = np.stack([people["x_m"], people["y_m"], people["yaw_rad"]], axis=1)
        self.velocity_mps = np.stack([people["vx_mps"], people["vy_mps"]], axis=1)
        self.actors = Actors(number, kind, pose, size, np.hypot(people["vx_mps"], people["vy_mps"]), colour, lamps)


def draw_people(count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Sizes (count, 3) [m]: depth, breadth over the arms, height; and paces (count,) [m/s] of a usual crowd."""
    rows = list(AGES.values())
    age = rng.choice(len(rows), count, p=[row.share for row in rows])
    low, high = np.array([row.height_m for row in rows])[age].T
    mean, deviation = np.array([row.pace for row in rows])[age].T
    height = rng.uniform(low, high)
    pace = PACE_MPS + PACE_SD_MPS * rng.normal(mean, deviation)
    return np.column_stack([0.26 * height, 0.32 * height, height]), np.clip(pace, *PACE_RANGE_MPS)


def _form_parties(pavements: Pavements, pace_mps: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Parties with their places and people in their slots; a party goes at the pace of its slowest."""
    sizes, left = [], len(pace_mps)
    while left:
        sizes.append(min(left, int(rng.choice([size for size, _ in PARTY_SIZES], p=[p for _, p in PARTY_SIZES]))))
        left -= sizes[-1]
    parties, people = np.zeros(len(sizes), PARTY), np.zeros(len(pace_mps), PERSON)
    free: Array = np.asarray(pavements.is_open.all(axis=1))
    weight = free * np.where(pavements.limit_mps < 51 / 3.6, 1.0, 0.15) * np.where(pavements.route_m < NEAR_M, 1.0, 0.2)
    parties["size"], parties["first"] = sizes, np.cumsum(sizes) - sizes
    parties["place"] = rng.choice(len(free), len(sizes), p=weight / weight.sum())
    parties["share"] = rng.uniform(0.0, 1.0, len(sizes))
    parties["heading"] = rng.choice([-1, 1], len(sizes))
    parties["line"] = np.where(parties["heading"] > 0, 2, 0) + rng.integers(0, 2, len(sizes)) * (parties["size"] == 1)
    parties["pace_mps"] = np.minimum.reduceat(pace_mps, parties["first"])
    people["party"] = np.repeat(np.arange(len(sizes)), sizes)
    slot = np.arange(len(people)) - parties["first"][people["party"]]
    people["line"], people["behind_m"] = np.array(SLOTS)[slot].T
    return parties, people


@njit(cache=True)
def _point(pavements: Pavements, place: int, share: float, line: int) -> tuple[float, float]:
    """World point [m] a share of the way from a pavement point to the next."""
    after = pavements.after[place]
    ax, ay = pavements.point_m[place, line]
    bx, by = pavements.point_m[after, line]
    return ax + share * (bx - ax), ay + share * (by - ay)


@njit(cache=True)
def _shifted(pavements: Pavements, place: int, share: float, by: float) -> tuple[int, float]:
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


@njit(cache=True)
def _walk(party: Any, pavements: Pavements, way_m: float) -> None:
    """Go `way_m` along the line, round at its end."""
    line = party.line
    share = party.share + party.heading * way_m / pavements.step_m[party.place, line]
    ahead, _ = _shifted(pavements, party.place, share, 2.0 * party.heading)
    if ahead == party.place or not (pavements.is_open[ahead, line] and pavements.is_open[ahead, party_line(party, 1)]):
        party.heading = -party.heading
        return
    party.place, party.share = _shifted(pavements, party.place, share, 0.0)


@njit(cache=True)
def party_line(party: Any, beside: int) -> int:
    """The line of a member `beside` the leader's line."""
    return min(party.line + (beside if party.size > 1 else 0), LINES - 1)


@njit(cache=True)
def _goal(party: Any, person: Any, pavements: Pavements) -> tuple[float, float]:
    """Where a person wants to be now."""
    place, share = _shifted(pavements, party.place, party.share, -party.heading * person.behind_m)
    return _point(pavements, place, share, party_line(party, person.line))


@njit(cache=True)
def _settle(parties: Array, people: Array, pavements: Pavements) -> None:
    """Put everybody where they want to be, facing their way."""
    for i in range(len(people)):
        party = parties[people[i].party]
        people[i].x_m, people[i].y_m = _goal(party, people[i], pavements)
        place, share = _shifted(pavements, party.place, party.share, float(party.heading))
        x, y = _point(pavements, place, share, party_line(party, people[i].line))
        people[i].yaw_rad = np.arctan2(y - people[i].y_m, x - people[i].x_m)


@njit(cache=True)
def _advance(parties: Array, people: Array, pavements: Pavements, dt_s: float) -> None:
    """Everybody `dt_s` later."""
    for i in range(len(parties)):
        party = parties[i]
        leader = people[party.first]
        x, y = _goal(party, leader, pavements)
        if np.hypot(x - leader.x_m, y - leader.y_m) < 1.0:
            _walk(party, pavements, party.pace_mps * dt_s)
    for i in range(len(people)):
        party = parties[people[i].party]
        _follow(people[i], _goal(party, people[i], pavements), 1.5 * party.pace_mps, dt_s)


@njit(cache=True)
def _follow(person: Any, goal: tuple[float, float], fastest_mps: float, dt_s: float) -> None:
    """Move straight towards a goal, no faster than `fastest_mps`."""
    dx, dy = goal[0] - person.x_m, goal[1] - person.y_m
    away = np.hypot(dx, dy)
    share = min(1.0, fastest_mps * dt_s / max(away, 1e-9))
    person.x_m += share * dx
    person.y_m += share * dy
    person.vx_mps, person.vy_mps = share * dx / dt_s, share * dy / dt_s
    if share * away > 0.02:
        person.yaw_rad = np.arctan2(dy, dx)
