"""What signs forbid a driver: to overtake (Zeichen 276), to drive against a one-way road (Zeichen 220 and 267), and to
turn elsewhere than a sign says (Zeichen 209 to 214).

A ban on overtaking is in force from its sign to the end of that road. It speaks of motor vehicles with two wheels
abreast, so cyclists may be passed, and whoever stands is not overtaken but driven past (StVO section 5 and Annex 2, No.
53). The ban for lorries does not bind the ego, which is a car. `rules.py` folds these into facts.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from envs.geometry import Array, ego_from_world
from envs.roads.network import RoadNetwork
from envs.roads.routes import Route
from envs.signs import SIGN_INDEX, SIGNS, Duty
from envs.state import ActorKind, Town, WorldState

NO_OVERTAKING = SIGN_INDEX["no_overtaking"]
_TURN_SIGNS = np.flatnonzero([sign.order.duty == Duty.TURN for sign in SIGNS])
MOVING_MPS = 1.0
BESIDE_M = 6.0  # between two middles: farther aside somebody is on another road
ALIKE_COS = 0.7  # of the angle between two who drive the same way


def no_overtaking(route: Route, town: Town) -> tuple[tuple[float, float], ...]:
    """(from, to) [m] along a route of the stretches on which the ego may not overtake."""
    network, signs = town.network, town.signs
    posted = {int(signs.lane[row]): float(signs.station_m[row]) for row in np.flatnonzero(signs.sign == NO_OVERTAKING)}
    begins = (*route.begins(), (route.length_m, -1))
    found = []
    for (at_m, lane), (end_m, _) in itertools.pairwise(begins):
        kerbside = network.outermost(lane, "right")
        if kerbside in posted:
            line = network.lanes[kerbside]
            x, y = (float(np.interp(posted[kerbside], line.station_m, line.centre_m[:, k])) for k in range(2))
            found.append((min(max(route.locate(x, y, near_m=at_m + posted[kerbside])[0], at_m), end_m), end_m))
    return tuple(found)


def has_overtaken(before: WorldState, state: WorldState) -> bool:
    """Whether the ego's middle passed that of a moving vehicle of the same direction in the step between two states."""
    actors = state.actors
    if len(actors.id) == 0 or len(before.actors.id) != len(actors.id):
        return False
    ahead = ego_from_world(before.ego.pose, before.actors.pose[:, :2])[:, 0] > 0.0
    along, aside = ego_from_world(state.ego.pose, actors.pose[:, :2]).T
    passed = (ahead & (along <= 0.0) & (np.abs(aside) < BESIDE_M) & (actors.kind == ActorKind.VEHICLE)
              & (actors.speed_mps > MOVING_MPS) & (np.cos(actors.pose[:, 2] - state.ego.yaw_rad) > ALIKE_COS))
    return bool(passed.any())


def is_one_way(network: RoadNetwork, lane: int) -> bool:
    """Whether nobody may drive the other way on a lane's road."""
    return (network.lanes[lane].junction is None
            and network.lanes[network.outermost(lane, "left")].opposite is None)


def is_against_one_way(network: RoadNetwork, point_m: Array, yaw_rad: float) -> bool:
    """Whether a car at a world point (2,) drives against the only direction of its road."""
    found = network.lane_under(float(point_m[0]), float(point_m[1]))
    return found is not None and math.cos(found[1] - yaw_rad) < 0.0 and is_one_way(network, found[0])


def forbidden_exits(route: Route, town: Town) -> frozenset[int]:
    """Lanes that leave a junction of the route but that its sign forbids to turn into from where the route enters."""
    network, signs = town.network, town.signs
    posted = set(signs.lane[np.isin(signs.sign, _TURN_SIGNS)].tolist())
    found: set[int] = set()
    for lane, turn in itertools.pairwise(route.lanes):
        junction = network.lanes[turn].junction
        if junction is None or network.outermost(lane, "right") not in posted:
            continue
        arm = _beside(network, lane)
        back = network.lanes[network.outermost(lane, "left")].opposite
        exits = {out for other in network.lanes if other.junction == junction for out in other.successors}
        allowed = {out for own in arm for into in network.lanes[own].successors
                   for out in network.lanes[into].successors}
        kept = {beside for out in allowed for beside in _beside(network, out)}
        found |= exits - kept - (set() if back is None else _beside(network, back))
    return frozenset(found)


def _beside(network: RoadNetwork, lane: int) -> set[int]:
    """All lanes that run beside one the same way, and itself."""
    at = network.outermost(lane, "left")
    found = {at}
    while (right := network.lanes[at].right_neighbour) is not None:
        at = right
        found.add(at)
    return found


def has_turned_into(network: RoadNetwork, exits: frozenset[int], point_m: Array, yaw_rad: float) -> bool:
    """Whether a car at a world point (2,) drives along one of the lanes."""
    found = network.lane_under(float(point_m[0]), float(point_m[1])) if exits else None
    return found is not None and found[0] in exits and math.cos(found[1] - yaw_rad) > 0.0
