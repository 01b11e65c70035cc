"""Off the route's line and back: lane changes that wait for their gap, and passes of vehicles that stand in the way.

The driven line is the route plus moves aside, each the quintic of a lane change (routes.py). A lane change of the route
begins where the route has it if there is a gap (gap_choice.py), else it is put off until one comes, at the latest
before the road ends, where the car waits. A vehicle that stands without a reason is passed within the lane if there is
room, by a lane of the same direction, or by the oncoming one where the line is dashed and the time suffices (StVO
sections 5 and 6: who passes an obstacle on the left must let oncoming traffic through).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from agents.foresight import Ahead, leader
from agents.gap_choice import Neighbours, is_gap, is_oncoming_free, neighbours
from envs.geometry import Array, interpolate
from envs.obstruction import HAZARD
from envs.pace import STANDSTILL_MPS
from envs.roads.network import Crossing, Lane, Marking, RoadNetwork
from envs.roads.routes import Route
from envs.state import EGO_SHAPE, ActorKind, WorldState

STOOD_S = 4.0  # without hazard lights, a vehicle is taken for an obstacle after this long
REASON_M = 25.0  # before a line or crossing a vehicle may stand for a reason
QUEUE_M = 12.0  # and behind another
GROUP_M = 20.0  # obstacles nearer to each other are passed at once
SIDE_M, LANE_SIDE_M = 0.8, 0.5  # kept beside an obstacle: over the oncoming lane, within one's own
EASY_MPS2, HARD_MPS2 = 1.2, 2.3  # sideways: wished, and most
CURVE_PER_M = 0.22  # sharpest bend of a move, at walking pace
CLEAR_M = 0.3  # before an obstacle's rear the car is aside, and this much behind its front it goes back
WAIT_M = 9.0  # from an obstacle's rear to the bumper when waiting: room to swing out
PASS_MPS = 8.3  # past an obstacle over the oncoming lane, at most
PULL_MPS2 = 1.2  # of the ego meanwhile
BACK_MIN_M = 14.0
SETS_OUT_M, SETS_OUT_S = 8.0, 3.0  # before a pass begins it is decided on
END_M, LAST_M = 28.0, 8.0  # before the road's end, where one waits for a gap; and if one is beyond that
WAITS_M = 2.5  # this near to its place it waits there
ABORT_SHARE = 0.3  # of a change after which it is finished whatever comes
PATIENT_S, HURRIED_MPS2 = 10.0, 4.0  # after this long a gap is taken that makes others brake so hard
_PEAK = 5.774  # largest second derivative of the quintic


@dataclass(frozen=True)
class Move:
    """A stretch of the route over which the driven line moves aside, positive to the left."""

    begin_m: float
    end_m: float
    aside_m: float

    def at(self, station_m: Array) -> Array:
        """How far it has moved at stations."""
        u = np.clip((station_m - self.begin_m) / (self.end_m - self.begin_m), 0.0, 1.0)
        return self.aside_m * u * u * u * (10.0 + u * (6.0 * u - 15.0))

    @property
    def top_mps(self) -> float:
        """Highest speed at which it is driven."""
        return (self.end_m - self.begin_m) * math.sqrt(HARD_MPS2 / (_PEAK * max(abs(self.aside_m), 0.05)))


@dataclass(frozen=True)
class Group:
    """Vehicles that stand in the way, by stations of the route and to the left of it [m]."""

    rear_m: float
    front_m: float
    left_m: float
    right_m: float
    rows: tuple[int, ...]


class Sideways:
    """The driven line of one drive."""

    def __init__(self, route: Route, network: RoadNetwork, entries: tuple[tuple[float, int], ...],
                 crossings: tuple[tuple[float, Crossing], ...]) -> None:
        self._route, self._network, self._crossings = route, network, crossings
        self._ends = [at for at, _ in entries]
        self._changes = list(route.changes)
        self._moves: list[Move] = []
        self._open: tuple[Move, int, bool] | None = None  # a change that may be given up: its lane, if of the route
        self._free_from_m = 0.0  # not back in the lane before this
        self._halt_m = math.inf  # station of a place to wait
        self._slow: tuple[float, float] | None = None  # stretch of a pass over the oncoming lane
        self._since: dict[int, float] = {}
        self._moved: set[int] = set()
        self.target: Neighbours | None = None  # on the lane that is waited for

    def aside(self, station_m: Array | float) -> Array:
        """How far [m] the driven line lies to the left of the route."""
        at = np.asarray(station_m, float)
        return sum((move.at(at) for move in self._moves), np.zeros_like(at))

    def ceiling_mps(self, station_m: float, braking_mps2: float) -> float:
        """Highest speed for the moves here and ahead."""
        top = math.inf
        for move in self._moves:
            if station_m < move.end_m:
                ahead = max(move.begin_m - station_m, 0.0)
                top = min(top, math.sqrt(move.top_mps ** 2 + 2 * braking_mps2 * ahead))
        if self._slow and station_m < self._slow[1]:
            top = min(top, math.sqrt(PASS_MPS ** 2 + 2 * braking_mps2 * max(self._slow[0] - station_m, 0.0)))
        return top

    def halt_m(self) -> float:
        """Station [m] at which the bumper has to wait, inf if nowhere."""
        return self._halt_m

    def plan(self, state: WorldState, station_m: float, ahead: Ahead, waited_s: float) -> None:
        """Decide anew what to do aside; `ahead` is what is seen along the driven line."""
        self._halt_m, self.target = math.inf, None
        self._watch(state, ahead)
        last = max((move.end_m for move in self._moves), default=-math.inf)
        offset = sum(move.aside_m for move in self._moves)
        if self._moves and abs(offset) < 0.1 and station_m > last + 20.0:
            self._moves.clear()
        self._give_up(state, station_m)
        self._take_changes(state, station_m)
        offset = sum(move.aside_m for move in self._moves)
        last = max((move.end_m for move in self._moves), default=-math.inf)
        if station_m >= last:
            if abs(offset) > 0.1:
                self._go_home(state, station_m, offset, waited_s)
            self._pass(state, station_m, ahead)

    def _watch(self, state: WorldState, ahead: Ahead) -> None:
        """Remember since when each road user in sight stands, and who has ever moved."""
        seen = ahead.row.tolist()
        stands = {row for row in seen if abs(float(state.actors.speed_mps[row])) < STANDSTILL_MPS}
        self._moved.update(row for row in seen if row not in stands)
        self._since = {row: self._since.get(row, state.time_s) for row in stands}

    def _road_end(self, station_m: float) -> float:
        return next((at for at in self._ends if at > station_m + EGO_SHAPE.front_m - 1.0), math.inf)

    # lane changes of the route

    def _take_changes(self, state: WorldState, station_m: float) -> None:
        """Begin the route's next change, or put it off."""
        while self._changes and station_m > self._changes[0].begin_m - 0.5 * state.ego.speed_mps - 2.0:
            change = self._changes.pop(0)
            width = float(self._route.width_m[self._route.index_at(change.begin_m)])
            offset = sum(move.aside_m for move in self._moves)
            stay = Move(change.begin_m, change.end_m, -change.side * width)
            lane = self._route.lane_at(change.middle_m + 0.6)
            if abs(offset - change.side * width) < 0.3:  # it is on that lane already
                self._moves.append(stay)
            elif abs(offset) < 0.1 and self._has_gap(state, lane, 0.0):
                self._open = (stay, lane, True)
            else:
                self._moves.append(stay)
                self._free_from_m = station_m

    def _has_gap(self, state: WorldState, lane: int, waited_s: float) -> bool:
        self.target = neighbours(state, lane)
        return is_gap(self.target, state.ego.speed_mps, self._network.lanes[lane].speed_limit_mps,
                      *((HURRIED_MPS2,) if waited_s > PATIENT_S else ()))

    def _give_up(self, state: WorldState, station_m: float) -> None:
        """Stay in the lane if the gap has closed while a change has hardly begun."""
        if self._open is None:
            return
        move, lane, is_route = self._open
        if station_m > move.begin_m + ABORT_SHARE * (move.end_m - move.begin_m):
            self._open = None
        elif not self._has_gap(state, lane, 2 * PATIENT_S):
            self._open = None
            self._free_from_m = station_m
            if is_route:
                self._moves.append(move)
            elif move in self._moves:
                self._moves.remove(move)

    def _go_home(self, state: WorldState, station_m: float, offset_m: float, waited_s: float) -> None:
        """Back towards the route's lane as soon as there is a gap; else as far as the road goes, and wait."""
        end, bumper = self._road_end(station_m), station_m + EGO_SHAPE.front_m
        self._halt_m = end - END_M if bumper < end - END_M + 1.0 else end - LAST_M
        if station_m < self._free_from_m and bumper < self._halt_m - WAITS_M:
            return  # where the road ends, the gap alone decides: what was passed may have driven on
        ego, side = state.ego, -1 if offset_m > 0 else 1
        here = self._network.lane_at(ego.x_m, ego.y_m, ego.yaw_rad)
        lane = None if here is None else self._network.lanes[here]
        target = None if lane is None else lane.left_neighbour if side > 0 else lane.right_neighbour
        if target is None or lane is None:
            if lane is not None and lane.id == self._route.lane_at(station_m):
                self._moves.append(Move(station_m, station_m + BACK_MIN_M, -offset_m))
            return
        way = side * min(abs(offset_m), (lane.width_m + self._network.lanes[target].width_m) / 2)
        length = max(_length(ego.speed_mps, way), BACK_MIN_M)
        if self._has_gap(state, target, waited_s):
            self._moves.append(Move(station_m, station_m + length, way))
            self._open, self._halt_m = (self._moves[-1], target, False), math.inf

    # obstacles

    def _pass(self, state: WorldState, station_m: float, ahead: Ahead) -> None:
        """Begin to pass the next vehicle that stands in the way, or halt far enough behind it to swing out."""
        group = self._obstacles(state, station_m, ahead)
        if group is None:
            return
        lane = self._network.lanes[self._route.lane_at(group.rear_m)]
        if lane.junction is None and not any(
                self._try(state, station_m, ahead, group, way) for way in self._ways_past(lane, group)):
            self._halt_m = min(self._halt_m, group.rear_m - WAIT_M)

    def _obstacles(self, state: WorldState, station_m: float, ahead: Ahead) -> Group | None:
        """The first vehicles in the corridor if they stand without a reason."""
        reach = ahead.half_width_m + EGO_SHAPE.width_m / 2 + 0.35
        rows = [k for k in np.argsort(ahead.gap_m, kind="stable").tolist()
                if abs(ahead.lateral_m[k]) < reach[k] and ahead.gap_m[k] > 0.0]
        bumper, group = station_m + EGO_SHAPE.front_m, None
        for at, k in enumerate(rows):
            following = rows[at + 1] if at + 1 < len(rows) else None
            if not self._is_obstacle(state, bumper, ahead, k, following):
                break
            rear = bumper + float(ahead.gap_m[k])
            if group is not None and rear - group.front_m > GROUP_M:
                break
            front, middle = rear + float(ahead.reach_m[k]), float(ahead.lateral_m[k] + self.aside(rear))
            left, right = middle + float(ahead.half_width_m[k]), middle - float(ahead.half_width_m[k])
            group = Group(rear, front, left, right, (k,)) if group is None else Group(
                group.rear_m, max(front, group.front_m), max(left, group.left_m), min(right, group.right_m),
                (*group.rows, k))
        return group

    def _is_obstacle(self, state: WorldState, bumper_m: float, ahead: Ahead, k: int, following: int | None) -> bool:
        """Whether a road user stands, and neither a line nor a queue nor people are the reason."""
        row = int(ahead.row[k])
        if state.actors.kind[row] != ActorKind.VEHICLE or row not in self._since:
            return False
        if int(state.actors.lamps[row]) & HAZARD == HAZARD:
            return True
        if state.time_s - self._since[row] < STOOD_S:
            return False
        if row not in self._moved:
            return True
        front = bumper_m + float(ahead.gap_m[k] + ahead.reach_m[k])
        lines = [*self._ends, *(at for at, _ in self._crossings), *(at for at, _ in self._route.stops)]
        is_queue = following is not None and float(
            ahead.gap_m[following] - ahead.gap_m[k] - ahead.reach_m[k]) < QUEUE_M
        return not is_queue and not any(-2.0 < at - front < REASON_M for at in lines)

    def _ways_past(self, lane: Lane, group: Group) -> Iterator[tuple[float, int | None, bool]]:
        """By rank: (offset from the route [m], lane it leads to or None, whether that is the oncoming one)."""
        half, edge = EGO_SHAPE.width_m / 2, float(self._route.width_m[self._route.index_at(group.rear_m)]) / 2
        left, right = group.left_m + LANE_SIDE_M + half, group.right_m - LANE_SIDE_M - half
        if left + half <= edge + 0.1:
            yield left, None, False
        if right - half >= -edge - 0.1:
            yield right, None, False
        for number, side in ((lane.left_neighbour, 1), (lane.right_neighbour, -1)):
            if number is not None:
                yield side * (lane.width_m + self._network.lanes[number].width_m) / 2, number, False
        if lane.left_neighbour is None and lane.left == Marking.DASHED and lane.opposite is not None:
            yield max(group.left_m + SIDE_M + half, 0.0), lane.opposite, True

    def _try(self, state: WorldState, station_m: float, ahead: Ahead, group: Group,
             way: tuple[float, int | None, bool]) -> bool:
        """Set out on one way past if it can be driven safely now."""
        to, lane, is_oncoming = way
        here, speed = float(self.aside(station_m)), state.ego.speed_mps
        aside_by = to - here
        until = group.rear_m - EGO_SHAPE.front_m - CLEAR_M  # of the rear axle; then the bumper is at the obstacle
        room = until - station_m
        length = min(_length(max(speed, PASS_MPS), aside_by), room)
        if room > length + SETS_OUT_M + SETS_OUT_S * speed:
            return True  # too early to decide
        if length < math.sqrt(_PEAK * abs(aside_by) / CURVE_PER_M) or (
                speed ** 2 * _PEAK * abs(aside_by) / length ** 2 > HARD_MPS2):
            return False
        out = Move(max(station_m, until - length), until, aside_by)
        past = group.front_m + EGO_SHAPE.rear_overhang_m + CLEAR_M + 0.7
        if lane is not None and not is_oncoming:
            gap, _ = leader(_without(ahead, group.rows), aside_by, 0.35)
            if gap < group.front_m - station_m + EGO_SHAPE.length_m or not self._has_gap(state, lane, 0.0):
                return False
            out = Move(station_m, station_m + length, aside_by)
            self._open, self._free_from_m = (out, lane, False), past
            self._moves.append(out)
            return True
        top = min(PASS_MPS, math.sqrt(min(speed, out.top_mps) ** 2 + 2 * PULL_MPS2 * (past - until)))
        back = Move(past, past + max(_length(top, aside_by), BACK_MIN_M), -aside_by)
        if not self._is_back_free(state, station_m, ahead, group, back):
            return False
        if is_oncoming:
            assert lane is not None
            x, y = interpolate(self._route.points_m, self._route.station_m,
                               np.array([back.end_m + EGO_SHAPE.front_m]))[0].tolist()
            if not is_oncoming_free(state, lane, (x, y), _time_for(back.end_m - station_m, speed)):
                return False
            self._slow = (out.begin_m, back.end_m)
        self._moves += [out, back]
        return True

    def _is_back_free(self, state: WorldState, station_m: float, ahead: Ahead, group: Group, back: Move) -> bool:
        """Whether there is room behind an obstacle to come back: no junction, no people's crossing, no queue."""
        nose = back.end_m + EGO_SHAPE.front_m
        if self._road_end(station_m) < nose or any(
                station_m + EGO_SHAPE.front_m < at + crossing.width_m and at < nose for at, crossing in
                self._crossings):
            return False
        gap, speed = leader(_without(ahead, group.rows), 0.0, 0.35)
        way = nose - station_m - EGO_SHAPE.front_m
        return gap > way + 4.0 or speed > 0.5 * PASS_MPS


def _without(ahead: Ahead, rows: tuple[int, ...]) -> Ahead:
    keep = np.setdiff1d(np.arange(len(ahead.row)), rows)
    return Ahead(*(getattr(ahead, name)[keep] for name in Ahead.__dataclass_fields__))


def _length(speed_mps: float, aside_m: float) -> float:
    """Length [m] of a move in comfort."""
    shortest = 1.05 * math.sqrt(_PEAK * abs(aside_m) / CURVE_PER_M)
    return max(shortest, speed_mps * math.sqrt(_PEAK * abs(aside_m) / EASY_MPS2))


def _time_for(way_m: float, speed_mps: float) -> float:
    """Time [s] to drive a way from a speed, pulling away at PULL_MPS2 up to PASS_MPS, after half a second."""
    top = max(PASS_MPS, 0.1)
    if speed_mps >= top:
        return 0.5 + way_m / top
    pull_m = (top ** 2 - speed_mps ** 2) / (2 * PULL_MPS2)
    if way_m < pull_m:
        return 0.5 + (math.sqrt(speed_mps ** 2 + 2 * PULL_MPS2 * way_m) - speed_mps) / PULL_MPS2
    return 0.5 + (top - speed_mps) / PULL_MPS2 + (way_m - pull_m) / top
