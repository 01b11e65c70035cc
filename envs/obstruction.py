"""Where a vehicle that stands in the way may be passed over the oncoming lane, by the law. Nothing here decides.

A vehicle stands in the way that has its hazard lights on, or has never moved (StVO sections 15 and 12 (2)). A dashed
line may be crossed to pass it (section 5), a solid one may not (annex 2, sign 295). CARLA's leaderboard switches its
OutsideRouteLanesTest off where one of its scenarios blocks the lane.
"""

from __future__ import annotations

import numpy as np

from envs.geometry import Array
from envs.pace import STANDSTILL_MPS
from envs.roads.network import Marking
from envs.state import EGO_SHAPE, ActorKind, Lamp, WorldState

HAZARD = int(Lamp.LEFT | Lamp.RIGHT)  # both indicators: the hazard lights
PASS_REACH_M = 25.0  # before and behind it
IN_THE_WAY_M = 0.3  # of it that are in the lane


def may_pass(state: WorldState, moved: Array | None, route_m: float) -> bool:
    """Whether a vehicle stands in the route's lane near the ego, and the line on its left may be crossed.

    `moved` (K,) bool are the actors that have driven, None for nobody; `route_m` is the ego's station.
    """
    actors, ego, route = state.actors, state.ego, state.route
    lane = state.town.network.lanes[route.lane_at(route_m)]
    if lane.left != Marking.DASHED or lane.opposite is None:
        return False
    stands = (actors.kind == ActorKind.VEHICLE) & (np.abs(actors.speed_mps) < STANDSTILL_MPS)
    stands &= (actors.lamps & HAZARD == HAZARD) | (True if moved is None else ~moved)
    stands &= np.hypot(actors.pose[:, 0] - ego.x_m, actors.pose[:, 1] - ego.y_m) < 2 * PASS_REACH_M
    for row in np.flatnonzero(stands).tolist():
        (x, y, _), (length, width, _) = actors.pose[row].tolist(), actors.size_m[row].tolist()
        at, lateral = route.locate(x, y, near_m=route_m)
        is_near = abs(at - route_m - EGO_SHAPE.centre_forward_m) < length / 2 + PASS_REACH_M
        if is_near and abs(lateral) < (float(route.width_m[route.index_at(at)]) + width) / 2 - IN_THE_WAY_M:
            return True
    return False
