"""People on foot: who they are, where they start, and one instant after the other.

They walk along the pavements alone and in groups, hesitate at kerbs, wait for their gap or take their right of way, and
cross. Rarely a child stands hidden between parked cars and runs out when the ego car is just far enough away to stop.
Paces follow Weidmann (1993, "Transporttechnik der Fussgaenger", IVT 90): mean 1.34 m/s, standard deviation 0.26 m/s.
Nothing is random once a `Walkers` is made: each party uses its own drawn numbers. What people do is in `walking.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.gaps import seen
from envs.geometry import Array
from envs.parties import CROSS, HIDE, LINGER, PARTY, PERSON, RETURN, SLOTS, WAIT, WALK, Ground, settle
from envs.roads.pavements import nearest, pave
from envs.roads.routes import Route
from envs.roads.ways import WayKind, find_ways, lane_lines
from envs.state import ActorKind, Actors, Phase, Town, VehicleState, no_actors
from envs.walking import DUE_M, Sight, advance

PACE_MPS, PACE_SD_MPS = 1.34, 0.26
PACE_RANGE_MPS = (0.6, 2.1)
NEAR_M = 40.0  # of the route: where most people are
CROSSING_NEAR_M = 40.0  # of a marked crossing: where people are CROSSING_DRAW times as many
CROSSING_DRAW = 3.0
LINGER_SHARE = 0.3  # of parties that stand near a crossing on the route until the ego car comes,
LINGER_NEAR_M = 10  # at most so far from it along the kerb,
LINGER_UNTIL_M = (35.0, 90.0)  # when it is so near
CHILD_SHARE = 0.3  # of episodes in which a child hides, where it can
CHILD_RUN_MPS = (2.0, 3.0)
CHILD_HEIGHT_M = (1.10, 1.30)


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
COAT_COLOURS = np.array([[170, 60, 50], [46, 70, 120], [70, 70, 74], [206, 170, 70], [34, 36, 40], [120, 96, 74],
                         [186, 182, 172], [64, 92, 70], [118, 62, 92], [150, 170, 190]], np.uint8)
LUCK = 64  # random numbers of a party, used in turn

_WHOLE = ("first", "size", "place", "heading", "line", "state", "way", "end", "cursor", "runs", "turns_back", "has_met")
_REAL = ("share", "pace_mps", "progress_m", "shift_m", "timer_s", "waited_s", "road_s", "due_m")

class Walkers:
    """The people of one episode, made by drawing from `rng`; then `step` is a function of what they see."""

    actors: Actors
    """rows of kind PEDESTRIAN with ids from 0"""
    velocity_mps: Array
    """(W, 2) in the world frame"""
    crossing: Array
    """(W,) int: the town's crossing at which a person waits or walks, -1 elsewhere"""
    is_on_way: Array
    """(W,) bool: on the way over the road, on a crossing or not"""
    party: Array
    """(W,) int: with whom a person walks"""

    def __init__(self, town: Town, route: Route, count: int, parked: Actors, rng: np.random.Generator) -> None:
        """`count` people near the route; `parked` is everything that stands in their way."""
        self._ground: Ground | None = None
        self.actors, self.velocity_mps = no_actors(), np.zeros((0, 2))
        self.crossing, self.is_on_way = np.zeros(0, int), np.zeros(0, bool)
        self.party = np.zeros(0, int)
        pavements = pave(town, route, parked) if count else None
        if pavements is None or not pavements.is_open.all(axis=1).any():
            return
        self._ground = Ground(pavements, find_ways(town, route, pavements, parked), lane_lines(town.network))
        size, pace = draw_people(count, rng)
        self._parties, self._people = _form_parties(self._ground, pace, rng)
        _linger(self._parties, self._ground, town, route, rng)
        _hide_child(self._parties, self._ground, size, rng)
        self.party = self._people["party"].copy()
        self._luck = rng.random((len(self._parties), LUCK))
        self._red_s = np.zeros(0)
        settle(self._parties, self._people, self._ground)
        self._look = (np.arange(count), np.full(count, int(ActorKind.PEDESTRIAN)), size,
                      COAT_COLOURS[rng.integers(len(COAT_COLOURS), size=count)], np.zeros(count, np.uint8))
        self._show()

    def step(self, ego: VehicleState, vehicles: Actors, signals: Array, dt_s: float) -> Actors:
        """Everybody `dt_s` later, having seen the ego car, the vehicles and the phases (G,) of now."""
        if self._ground is not None:
            if len(self._red_s) != len(signals):
                self._red_s = np.full(len(signals), np.inf)  # nobody knows since when
            self._red_s = np.where(signals == Phase.RED, self._red_s, 0.0)
            advance(self._parties, self._people, self._ground, Sight(seen(ego, vehicles), signals, self._red_s),
                    self._luck, dt_s)
            self._red_s += dt_s
            self._show()
        return self.actors

    def _show(self) -> None:
        number, kind, size, colour, lamps = self._look
        people = self._people
        velocity = np.stack([people["vx_mps"], people["vy_mps"]], axis=1)
        pose = np.stack([people["x_m"], people["y_m"], people["yaw_rad"]], axis=1)
        assert self._ground is not None
        state, way = self._parties["state"], self._parties["way"]
        self.is_on_way = ((state == CROSS) | (state == RETURN))[people["party"]]
        wants = (state == CROSS) | (state == RETURN) | (state == WAIT)
        crossing = self._ground.ways.crossing[way] if len(self._ground.ways.crossing) else np.full(len(way), -1)
        self.crossing = np.where(wants, crossing, -1)[people["party"]]
        self.velocity_mps = velocity
        self.actors = Actors(number, kind, pose, size, np.hypot(velocity[:, 0], velocity[:, 1]), colour, lamps)


def draw_people(count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Sizes (count, 3) [m]: depth, breadth over the arms, height; and paces (count,) [m/s] of a usual crowd."""
    rows = list(AGES.values())
    age = rng.choice(len(rows), count, p=[row.share for row in rows])
    low, high = np.array([row.height_m for row in rows])[age].T
    mean, deviation = np.array([row.pace for row in rows])[age].T
    height = rng.uniform(low, high)
    pace = PACE_MPS + PACE_SD_MPS * rng.normal(mean, deviation)
    return np.column_stack([0.26 * height, 0.32 * height, height]), np.clip(pace, *PACE_RANGE_MPS)


def _popularity(ground: Ground) -> Array:
    """How likely a party starts at each pavement point (N,), adding up to 1: along slow streets, near the route, and
    most of all near its crossings."""
    pavements, ways = ground.pavements, ground.ways
    weight = pavements.is_open.all(axis=1) * np.where(pavements.limit_mps < 51 / 3.6, 1.0, 0.15)
    weight *= np.where(pavements.route_m < NEAR_M, 1.0, 0.2)
    middles = ways.end_m[ways.crossing >= 0].mean(axis=1)
    if len(middles):
        weight *= np.where(nearest(pavements.kerb_m, middles)[1] < CROSSING_NEAR_M, CROSSING_DRAW, 1.0)
    return weight / weight.sum()


def _form_parties(ground: Ground, pace_mps: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Parties with their places and people in their slots; a party goes at the pace of its slowest."""
    sizes, left = [], len(pace_mps)
    while left:
        sizes.append(min(left, int(rng.choice([size for size, _ in PARTY_SIZES], p=[p for _, p in PARTY_SIZES]))))
        left -= sizes[-1]
    parties, people = np.zeros(len(sizes), PARTY), np.zeros(len(pace_mps), PERSON)
    parties["size"], parties["first"] = sizes, np.cumsum(sizes) - sizes
    popularity = _popularity(ground)
    parties["place"] = rng.choice(len(popularity), len(sizes), p=popularity)
    parties["share"] = rng.uniform(0.0, 1.0, len(sizes))
    parties["heading"] = rng.choice([-1, 1], len(sizes))
    parties["line"] = np.where(parties["heading"] > 0, 2, 0) + rng.integers(0, 2, len(sizes)) * (parties["size"] == 1)
    parties["row"], parties["state"] = np.arange(len(sizes)), WALK
    parties["due_m"] = rng.uniform(0.0, sum(DUE_M), len(sizes))
    parties["pace_mps"] = np.minimum.reduceat(pace_mps, parties["first"])
    people["party"] = np.repeat(np.arange(len(sizes)), sizes)
    slot = np.arange(len(people)) - parties["first"][people["party"]]
    people["line"], people["behind_m"] = np.array(SLOTS)[slot].T
    return parties, people


def _linger(parties: Array, ground: Ground, town: Town, route: Route, rng: np.random.Generator) -> None:
    """Some parties stand near crossings on the route and wait for the ego car, so that it meets people there."""
    pavements, ways = ground.pavements, ground.ways
    driven = set(route.lanes[:int(route.lane_index[-1]) + 1])
    met = [row for row, crossing in enumerate(ways.crossing.tolist())
           if crossing >= 0 and driven & set(town.network.crossings[crossing].lanes)]
    if not met:
        return
    for party in np.flatnonzero(rng.random(len(parties)) < LINGER_SHARE).tolist():
        way, end, away = rng.choice(met), rng.integers(2), rng.integers(-LINGER_NEAR_M, LINGER_NEAR_M + 1)
        place = foot = ways.foot[way, end]
        for _ in range(abs(away)):
            further = (pavements.after if away > 0 else pavements.before)[place]
            if not pavements.is_open[further].all():
                break
            place = further
        row = parties[party]
        row["state"], row["way"], row["end"], row["place"] = LINGER, way, end, place
        row["share"], row["heading"] = 0.0, -1 if place != foot and away > 0 else 1
        row["due_m"] = rng.uniform(*LINGER_UNTIL_M)


def _hide_child(parties: Array, ground: Ground, size_m: Array, rng: np.random.Generator) -> None:
    """In some episodes one who walks alone becomes a child hidden between parked cars."""
    places, alone = np.flatnonzero(ground.ways.kind == WayKind.HIDDEN), np.flatnonzero(parties["size"] == 1)
    is_drawn = rng.random() < CHILD_SHARE
    if not (is_drawn and len(places) and len(alone)):
        return
    child, height = parties[rng.choice(alone)], rng.uniform(*CHILD_HEIGHT_M)
    child["way"], child["end"], child["state"] = rng.choice(places), 0, HIDE
    child["pace_mps"] = rng.uniform(*CHILD_RUN_MPS)
    size_m[child["first"]] = 0.26 * height, 0.32 * height, height
