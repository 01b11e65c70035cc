"""Who comes first at a junction, here and now: the road users that the ego meets on its way through.

`RoadNetwork.conflicts` says which lanes cross or merge and who gives way; this file finds who is on them, or about to
be, and when. Rules judge with it, a privileged driver waits by it. Lights that are lit overrule it: who has red does
not come, and who has green meets nobody but those still inside. Nothing here decides or moves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from envs.geometry import project, wrap_angle
from envs.obstruction import HAZARD
from envs.roads.network import Command, Lane, RoadNetwork
from envs.roads.routes import Route
from envs.state import EGO_SHAPE, ActorKind, Actors, Lamp, Phase, WorldState

RED = (Phase.RED, Phase.RED_YELLOW)  # nobody may pass
SIGHT_M = 90.0  # how far away on the road somebody counts
NEAR_CENTRE_M = 1.6  # somebody inside a junction is on every lane whose centre is this near, its direction alike
ALIKE_RAD = math.radians(40)
REACH_LANES = 3  # lanes ahead of somebody that are looked through
PULLING_AWAY_MPS2 = 2.0  # of who stands or drives slowly, at most


@dataclass(frozen=True)
class Claim:
    """Somebody who will be, or may be, where the ego's junction lane is shared with another."""

    actor: int  # row of Actors
    lane: int  # id of the lane on which it gets there
    from_m: float  # station on the ego's lane where the shared area begins
    to_m: float
    arrives_s: float  # until its front is there at its present speed, inf if it stands; 0 inside
    soonest_s: float  # the same if it pulls away as hard as drivers do
    leaves_s: float  # until its rear has left, at its present speed (at least walking pace)
    merges: bool
    has_priority: bool  # over the ego
    is_inside: bool  # it has entered the junction


def junction_lanes(route: Route, network: RoadNetwork) -> tuple[tuple[float, int], ...]:
    """(station [m] of its beginning on the route, id) of every junction lane on the way, in order."""
    return tuple((at_m, lane) for at_m, lane in route.begins() if network.lanes[lane].junction is not None)


def claims(state: WorldState, lane_id: int) -> list[Claim]:
    """All who cross or join a junction lane that the ego drives or is about to drive."""
    table, lanes = state.town.network.conflicts, state.town.network.lanes
    rows = table.rows_of(lane_id)
    shared = {int(table.second[row]): row for row in range(rows.start, rows.stop)}
    found: list[Claim] = []
    for actor in _road_users(state, lanes[lane_id]):
        for lane, gap_m, entered in _ways_to(state, actor, frozenset(shared)):
            row = shared[lane]
            to_begin = gap_m + table.second_from_m[row] - state.actors.size_m[actor, 0] / 2
            to_end = gap_m + table.second_to_m[row] + state.actors.size_m[actor, 0] / 2
            if to_end < 0:
                continue
            speed = max(float(state.actors.speed_mps[actor]), 0.0)
            found.append(Claim(
                actor, lane, float(table.from_m[row]), float(table.to_m[row]),
                0.0 if to_begin <= 0 else to_begin / speed if speed > 0.1 else math.inf,
                max(0.0, _soonest(float(to_begin), speed)), float(to_end) / max(speed, 1.5), bool(table.merges[row]),
                bool(table.yields[row]), entered))
    return found


def _road_users(state: WorldState, lane: Lane) -> Iterator[int]:
    """Rows of vehicles and cyclists within sight of a lane's middle."""
    actors = state.actors
    middle = lane.centre_m[len(lane.centre_m) // 2]
    is_near = np.hypot(actors.pose[:, 0] - middle[0], actors.pose[:, 1] - middle[1]) < SIGHT_M
    has_broken_down = actors.lamps & HAZARD == HAZARD
    yield from np.flatnonzero(is_near & (actors.kind != ActorKind.PEDESTRIAN) & ~has_broken_down).tolist()


def _soonest(way_m: float, speed_mps: float) -> float:
    """Time [s] to drive `way_m` when pulling away at PULLING_AWAY_MPS2."""
    return (math.sqrt(speed_mps ** 2 + 2 * PULLING_AWAY_MPS2 * max(way_m, 0.0)) - speed_mps) / PULLING_AWAY_MPS2


def _ways_to(state: WorldState, actor: int, wanted: frozenset[int]) -> Iterator[tuple[int, float, bool]]:
    """(lane of `wanted`, way [m] from the actor's centre to that lane's start (negative: past it), has entered)."""
    for lane, station_m in _lanes_under(state, actor):
        is_inside = lane.junction is not None
        open_ways = [(lane, -station_m, is_inside)]
        for _ in range(REACH_LANES):
            further: list[tuple[Lane, float, bool]] = []
            for way, start_m, entered in open_ways:
                if way.id in wanted:
                    yield way.id, start_m, entered
                    continue
                if start_m + way.length_m < SIGHT_M and phase_of(state, way.signal) not in RED:
                    further += [(after, start_m + way.length_m, entered and after.junction == way.junction)
                                for after in _turns(state, way, state.actors, actor)]
            open_ways = further


def _lanes_under(state: WorldState, actor: int) -> list[tuple[Lane, float]]:
    """The lanes a road user may be driving on, and its stations: one on a road, any that fit inside a junction."""
    network, (x, y, yaw) = state.town.network, state.actors.pose[actor].tolist()
    nearest = network.lane_at(x, y, yaw)
    if nearest is None:
        return []
    lane = network.lanes[nearest]
    if lane.junction is None:
        return [(lane, project(lane.centre_m, lane.station_m, x, y, 0, len(lane.centre_m))[0])]
    fits = []
    for turn in network.junctions[lane.junction].turns:
        other = network.lanes[turn]
        station, lateral = project(other.centre_m, other.station_m, x, y, 0, len(other.centre_m))
        heading = float(other.heading_at(station))
        if abs(lateral) < NEAR_CENTRE_M and abs(wrap_angle(yaw - heading)) < ALIKE_RAD:
            fits.append((other, float(station)))
    return fits


def _turns(state: WorldState, lane: Lane, actors: Actors, actor: int) -> list[Lane]:
    """Where a road user may go next: where its indicator points, straight on without one."""
    lanes = [state.town.network.lanes[after] for after in lane.successors]
    lamps = int(actors.lamps[actor])
    wish = Command.LEFT if lamps & Lamp.LEFT else Command.RIGHT if lamps & Lamp.RIGHT else Command.STRAIGHT
    return [after for after in lanes if after.turn in (wish, Command.FOLLOW)] or lanes


def ego_times(to_lane_m: float, claim: Claim, speed_mps: float) -> tuple[float, float]:
    """When [s] the ego's front enters and its rear leaves the shared area, if it pulls away from now on.

    Its front bumper is `to_lane_m` before the beginning of the junction lane (negative: past it).
    """
    speed = max(speed_mps, 0.0)
    return (_soonest(to_lane_m + claim.from_m, speed), _soonest(to_lane_m + claim.to_m + EGO_SHAPE.length_m, speed))


def is_lit(state: WorldState, lane: Lane) -> bool:
    """Whether a light at the end of a lane is on."""
    return phase_of(state, lane.signal) != Phase.OFF


def phase_of(state: WorldState, group: int | None) -> Phase:
    """What a signal group shows; OFF where there is none."""
    return Phase(int(state.signals[group])) if group is not None and group < len(state.signals) else Phase.OFF
