"""seed -> town: a plan is drawn and paved, lanes are laid on it, signs and scenery put beside it.

Plans that would overlap are drawn again, so a seed always gives one town, connected and without dead ends. The plan is
`plan.py`'s business, lanes are `lanes.py`'s; here it is decided how fast each road is. Nothing here draws pictures or
moves cars.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from envs.lights import place_heads, plan_signals
from envs.roads.lanes import CROSSING_LIMIT_MPS, KMH, Builder
from envs.roads.laying import Road, are_apart, lay_all, pave_junction
from envs.roads.network import RoadNetwork
from envs.roads.pieces import RoundaboutPiece
from envs.roads.plan import Plan, draw, make_plan, narrowed
from envs.roads.roadside import place_props
from envs.roads.tracks import with_tracks
from envs.roads.turn_bans import draw_bans
from envs.signs import place_signs
from envs.state import Town

SMALLEST_TOWN_M = 1500.0  # of road
FAST_KMH = 80.0  # roads with ramps are as fast, if they can be


@dataclass(frozen=True)
class _Limit:
    """A speed limit and the roads it suits; drivers slow down further for their sharpest bends."""

    kmh: float
    radius_m: float  # smallest
    shortest_m: float
    longest_m: float
    weight: float  # of being chosen among the suitable ones
    fewest_lanes: int = 1  # each way


_LIMITS = (
    _Limit(130, 260.0, 230.0, math.inf, 9.0, fewest_lanes=2),
    _Limit(120, 220.0, 200.0, math.inf, 6.0, fewest_lanes=2),
    _Limit(100, 150.0, 150.0, math.inf, 3.0),
    _Limit(80, 105.0, 130.0, math.inf, 3.0),
    _Limit(70, 80.0, 110.0, math.inf, 3.0),
    _Limit(60, 40.0, 90.0, math.inf, 1.0),
    _Limit(50, 24.0, 60.0, math.inf, 3.0),
    _Limit(30, 0.0, 0.0, 280.0, 1.0),
)
_QUIET_LIMITS = (  # within zones of 30 km/h
    _Limit(30, 0.0, 0.0, math.inf, 1.0),
    _Limit(20, 0.0, 60.0, 300.0, 1.5),  # StVO section 45 (1d): streets of shops where people walk about
)


def _speed_limit(road: Road, rng: np.random.Generator, is_quiet: bool) -> float:
    """A limit [m/s] that suits the road's bends and length; a long road with a hairpin gets the lowest."""
    lanes = road.profile.num_lanes
    kmh = CROSSING_LIMIT_MPS / KMH + 1e-6 if road.is_built_up or road.is_swerving else math.inf
    inner_m = road.radius_m - (lanes - 1) * road.profile.lane_width_m
    suits = [row for row in (_QUIET_LIMITS if is_quiet else _LIMITS)
             if inner_m >= row.radius_m and row.shortest_m <= road.length_m <= row.longest_m
             and row.kmh <= kmh and row.fewest_lanes <= lanes]
    if road.ramp is not None:
        suits = [row for row in suits if row.kmh >= FAST_KMH] or suits
    rows = suits or [_LIMITS[-1]]
    weights = np.array([row.weight if road.ramp is None else 1.0 for row in rows])
    return float(rng.choice([row.kmh for row in rows], p=weights / weights.sum())) * KMH


def _paved(plan: Plan, rng: np.random.Generator) -> Builder | None:
    """Roads and junctions of a plan, laned; None if it cannot be built or is too small."""
    junctions = {node: pave_junction(plan, node, float(draw(rng, "corner_radius_m")))
                 for node in plan.graph if plan.graph.degree[node] > 2}
    roads = lay_all(plan, junctions, rng)
    if sum(road.length_m for road in roads) < SMALLEST_TOWN_M + 20.0 or not are_apart(roads):
        return None
    crossings = {node: piece for node, piece in junctions.items() if not isinstance(piece, RoundaboutPiece)}
    builder = Builder(plan, rng, draw_bans(plan, roads, crossings, rng.spawn(1)[0]))
    for road in roads:
        builder.add_road(road, _speed_limit(road, rng, road.begin in plan.quiet))
    for node, piece in junctions.items():
        builder.add_junction(node, piece)
    return builder


def build_network(seed: int) -> RoadNetwork:
    """The road network of a town: connected, without overlaps, at least SMALLEST_TOWN_M of road.

    Plans that would overlap or fall short are drawn again from the same stream, so a seed always gives one network.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(3)[0])
    while True:
        plan = make_plan(rng)
        builder = _paved(plan, rng) or _paved(narrowed(plan), rng)
        if builder is not None:
            return with_tracks(builder.network, rng)


@functools.lru_cache(maxsize=16)  # with its scenes a town takes 10 MiB and more
def build_town(seed: int) -> Town:
    """The town of a seed: roads, then lights, signs and scenery, each from its own stream of random numbers."""
    _, for_signs, for_props, for_lights = np.random.SeedSequence(seed).spawn(4)
    network, signal_plan = plan_signals(build_network(seed), np.random.default_rng(for_lights))
    return Town(seed, network, place_signs(network, np.random.default_rng(for_signs)),
                place_props(network, np.random.default_rng(for_props)), place_heads(network), signal_plan)
