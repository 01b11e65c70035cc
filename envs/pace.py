"""The ego's mean speed beside that of the traffic about it: the leaderboard's MinimumSpeedRouteTest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from envs.geometry import Array
from envs.state import ActorKind, WorldState

STANDSTILL_MPS = 0.1  # CARLA RunningStopTest and ActorBlockedTest
SURROUNDING_M = 100.0  # vehicles nearer than this are the surrounding traffic


@dataclass(frozen=True, eq=False)
class Pace:
    """Speeds since the last quarter of the route, to compare the ego with the traffic about it."""

    moved: Array | None = None  # (K,) bool: vehicles that have driven; those parked are no traffic
    own_mps: float = 0.0  # sum over steps with traffic
    traffic_mps: float = 0.0  # sum of the traffic's mean over the same steps
    quarters: tuple[float, ...] = ()  # per cent, of those behind

    @property
    def percent(self) -> float:
        """The mean of the quarters driven; 100 before the first."""
        return sum(self.quarters) / len(self.quarters) if self.quarters else 100.0


def keep_pace(pace: Pace, state: WorldState, completion: float, at_goal: bool) -> Pace:
    """Add this step; at the end of a quarter of the route, or at the goal, compare."""
    actors, ego = state.actors, state.ego
    is_driving = (actors.kind == ActorKind.VEHICLE) & (actors.speed_mps > STANDSTILL_MPS)
    moved = is_driving if pace.moved is None else pace.moved | is_driving
    if not moved.any():
        return pace
    near = np.flatnonzero(moved & ((actors.pose[:, 0] - ego.x_m) ** 2 + (actors.pose[:, 1] - ego.y_m) ** 2
                                   < SURROUNDING_M ** 2))
    own, traffic = pace.own_mps, pace.traffic_mps
    if len(near):
        own, traffic = own + ego.speed_mps, traffic + float(actors.speed_mps[near].sum()) / len(near)
    if at_goal or completion >= (len(pace.quarters) + 1) / 4:
        percent = 100.0 * min(1.0, max(own, 0.0) / traffic) if traffic > 0 else 100.0
        return Pace(moved, quarters=(*pace.quarters, percent))
    return replace(pace, moved=moved, own_mps=own, traffic_mps=traffic)
