"""Is there a gap? On the lane beside, for a change of lanes; on the oncoming one, for a pass. Nothing here decides.

A change of lanes is safe if neither its driver nor the new follower need brake harder than b_safe: the safety criterion
of MOBIL (Kesting, Treiber, Helbing, Transportation Research Record 1999, 2007), with the Intelligent Driver Model's
figures for city traffic (Treiber and Kesting, "Traffic Flow Dynamics", 2013, table 11.2). All is read from the
WorldState by a privileged driver.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from envs.geometry import project
from envs.roads.network import Lane, RoadNetwork
from envs.state import EGO_SHAPE, ActorKind, WorldState

SAFE_MPS2 = 3.0  # b_safe: who comes from behind need brake no harder; Kesting et al. take 4
HEADWAY_S, STANDSTILL_M, PULL_MPS2, BRAKE_MPS2 = 1.0, 2.0, 1.4, 1.7  # of drivers
LEAST_GAP_M = 2.0  # to whoever is ahead or behind on the new lane
BEHIND_M, AHEAD_M = 110.0, 90.0  # who is further away does not matter
ONCOMING_M = 350.0  # nor who comes from further
ONCOMING_MPS2 = 1.2  # how hard oncoming drivers may pull away meanwhile
ONCOMING_CLEAR_M, ONCOMING_CLEAR_S = 12.0, 1.5  # kept between them and the ego that is back in its lane


@dataclass(frozen=True)
class Neighbours:
    """Who drives next on a lane beside the ego; gaps between bumpers [m], negative beside, inf for nobody."""

    lead_gap_m: float
    lead_mps: float
    rear_gap_m: float
    rear_mps: float


def model_accel(speed_mps: float, wished_mps: float, gap_m: float, lead_mps: float) -> float:
    """Acceleration [m/s2] of the Intelligent Driver Model for a usual driver."""
    closing = speed_mps * (speed_mps - lead_mps) / (2 * math.sqrt(PULL_MPS2 * BRAKE_MPS2))
    wanted = STANDSTILL_M + max(0.0, speed_mps * HEADWAY_S + closing)
    free = 1 - (speed_mps / max(wished_mps, 0.5)) ** 4
    return PULL_MPS2 * (free - (wanted / max(gap_m, 0.1)) ** 2)


def is_gap(beside: Neighbours, speed_mps: float, limit_mps: float, safe_mps2: float = SAFE_MPS2) -> bool:
    """Whether a change into this gap makes nobody brake harder than `safe_mps2`."""
    if min(beside.lead_gap_m, beside.rear_gap_m) < LEAST_GAP_M:
        return False
    mine = model_accel(speed_mps, max(limit_mps, speed_mps), beside.lead_gap_m, beside.lead_mps)
    theirs = model_accel(beside.rear_mps, max(limit_mps, beside.rear_mps), beside.rear_gap_m, speed_mps)
    return mine > -safe_mps2 and theirs > -safe_mps2


def neighbours(state: WorldState, lane_id: int) -> Neighbours:
    """The ego's neighbours on a lane that runs its way, those who come from the lanes before it included."""
    lane, ego = state.town.network.lanes[lane_id], state.ego
    middle = EGO_SHAPE.centre_forward_m
    here = _station(lane, ego.x_m + middle * math.cos(ego.yaw_rad), ego.y_m + middle * math.sin(ego.yaw_rad))
    lead, rear = (math.inf, 0.0), (math.inf, 0.0)
    for row, way in along_lane(state, lane_id, here, BEHIND_M, AHEAD_M):
        gap = abs(way) - (EGO_SHAPE.length_m + float(state.actors.size_m[row, 0])) / 2
        speed = float(state.actors.speed_mps[row])
        if way >= 0 and gap < lead[0]:
            lead = gap, speed
        elif way < 0 and gap < rear[0]:
            rear = gap, speed
    return Neighbours(*lead, *rear)


def along_lane(state: WorldState, lane_id: int, station_m: float, behind_m: float, ahead_m: float,
               ) -> Iterator[tuple[int, float]]:
    """(row of Actors, way [m] from a station on a lane to its centre, negative behind) of all who drive there.

    Those on the lanes that lead to it are counted as behind.
    """
    network, actors, lane = state.town.network, state.actors, state.town.network.lanes[lane_id]
    before = _ways_to(network, lane_id, behind_m - station_m)
    x, y, _ = state.ego.pose
    is_near = np.hypot(actors.pose[:, 0] - x, actors.pose[:, 1] - y) < behind_m + ahead_m
    beside = (lane.left_neighbour, lane.right_neighbour)
    for row in np.flatnonzero(is_near & (actors.kind != ActorKind.PEDESTRIAN)).tolist():
        x, y, yaw = actors.pose[row].tolist()
        under = network.lane_at(x, y, yaw)
        if under is None or (under != lane_id and under not in before and under not in beside):
            continue
        if under in beside:  # on its way over
            at, lateral = project(lane.centre_m, lane.station_m, x, y, 0, len(lane.centre_m))
            if abs(lateral) > lane.width_m / 2 + float(actors.size_m[row, 1]) / 2 - 0.1:
                continue
            way = at - station_m
        else:
            way = _station(network.lanes[under], x, y) - before.get(under, 0.0) - station_m
        if -behind_m < way < ahead_m:
            yield row, float(way)


def _station(lane: Lane, x_m: float, y_m: float) -> float:
    return project(lane.centre_m, lane.station_m, x_m, y_m, 0, len(lane.centre_m))[0]


def _ways_to(network: RoadNetwork, lane_id: int, reach_m: float) -> dict[int, float]:
    """Way [m] from the beginning of each lane within reach that leads to a lane, to the beginning of that."""
    found: dict[int, float] = {}
    open_lanes = [(lane_id, 0.0)]
    while open_lanes:
        lane, way = open_lanes.pop()
        for before in network.graph.predecessors(lane):
            total = way + network.lanes[before].length_m
            if before != lane_id and way < reach_m and total < found.get(before, math.inf):
                found[before] = total
                open_lanes.append((before, total))
    return found


def is_oncoming_free(state: WorldState, lane_id: int, back_xy: tuple[float, float], time_s: float) -> bool:
    """Whether nobody on a lane of the other direction gets to the ego before it is back in its own lane.

    Its front bumper is back at `back_xy` in the world after `time_s`.
    """
    lane = state.town.network.lanes[lane_id]
    back, here = _station(lane, *back_xy), _station(lane, state.ego.x_m, state.ego.y_m)
    time_s += ONCOMING_CLEAR_S
    for row, way in along_lane(state, lane_id, back, ONCOMING_M, here - back + EGO_SHAPE.length_m):
        speed = max(float(state.actors.speed_mps[row]), 0.0)
        comes = min(max(lane.speed_limit_mps, speed) * time_s, speed * time_s + ONCOMING_MPS2 * time_s ** 2 / 2)
        if -way - float(state.actors.size_m[row, 0]) / 2 < comes + ONCOMING_CLEAR_M:
            return False
    return True
