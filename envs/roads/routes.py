"""Routes: a drive over connected lanes and lane changes, sampled along the way, and the search for one.

Nothing here generates, draws or moves.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import networkx
import numpy as np

from envs.geometry import Array, headings, interpolate, project, stations, unwrapped
from envs.roads.network import (
    CHANGE_AFTER_M,
    SHORTEST_CHANGE_M,
    SOLID_BEFORE_JUNCTION_M,
    Command,
    Control,
    Lane,
    RoadNetwork,
)

ROUTE_SPACING_M = 0.5  # distance between two route points
COMMAND_RANGE_M = 60.0  # a manoeuvre or a lane change is announced this far ahead
END_RANGE_M = 120.0  # farthest end of a manoeuvre or a lane change that is told
TURN_RANGE_RAD = 4.5  # most that a way turns to a manoeuvre's end: round a whole roundabout, from its entry
USUAL = {Command.FOLLOW: (60.0, 0.0), Command.LEFT: (23.0, math.pi / 2), Command.RIGHT: (14.0, -math.pi / 2),
         Command.STRAIGHT: (21.0, 0.0)}
"""Length [m] and angle [rad] of a manoeuvre where no map tells: the median of 300 in val towns; where nothing is asked,
the greatest length that is told.
"""
# What the navigation says: one-hot of Command, metres to where the manoeuvre begins and to its end, where the junction
# is left, and by how much the way turns till then [rad], left positive (no picture tells which exit of a roundabout is
# meant, nor where the road to the left goes that is out of sight); the next lane change's side, 1 left, -1 right,
# 0 none, metres to where it begins and to where it must be done.
COMMAND_LOW = np.array([*np.zeros(len(Command)), 0.0, 0.0, -TURN_RANGE_RAD, -1.0, 0.0, 0.0], np.float32)
COMMAND_HIGH = np.array([*np.ones(len(Command)), COMMAND_RANGE_M, END_RANGE_M, TURN_RANGE_RAD, 1.0, COMMAND_RANGE_M,
                         END_RANGE_M], np.float32)
GOAL_CLEARANCE_M = 6.0  # between a route's end and the nearest junction
CHANGE_ACCEL_MPS2 = 1.2  # sideways, at the speed limit


@dataclass(frozen=True)
class LaneChange:
    """Where a route moves to a neighbour lane: a stretch of it, and the side, 1 left or -1 right."""

    begin_m: float
    end_m: float
    side: int

    @property
    def middle_m(self) -> float:
        """Where one lane ends and the other begins."""
        return (self.begin_m + self.end_m) / 2


def navigation(command: Command = Command.FOLLOW, manoeuvre_m: float = COMMAND_RANGE_M,
               change: LaneChange | None = None, station_m: float = 0.0,
               end: tuple[float, float] | None = None) -> Array:
    """A command as a policy is given it (10,), clipped to what is told; a change that begins too far ahead is not.

    `end` of the manoeuvre: how far away it is [m], and by how much the way turns till then [rad]; default: USUAL.
    """
    said, begin = np.zeros(len(COMMAND_HIGH), np.float32), len(Command)
    said[command], said[begin], said[-2:] = 1.0, manoeuvre_m, np.inf
    length_m, turn_rad = USUAL[command]
    said[begin + 1:begin + 3] = (manoeuvre_m + length_m, turn_rad) if end is None else end
    if change is not None and change.begin_m - station_m < COMMAND_RANGE_M:
        said[-3:] = change.side, change.begin_m - station_m, change.end_m - station_m
    return np.clip(said, COMMAND_LOW, COMMAND_HIGH)


@dataclass(frozen=True, eq=False)
class Route:
    """A drive over connected lanes, sampled every ROUTE_SPACING_M along the lane centres.

    Two lanes that follow each other in `lanes` are successors, or neighbours between which the route changes. All
    arrays have N rows. A stop is a (station_m, Control) of a line on the way; it binds while the light there, if there
    is one, is off. A signal is a (station_m, signal group) of a light's stop line on the way.
    """

    lanes: tuple[int, ...]
    points_m: Array  # (N, 2)
    station_m: Array  # (N,)
    heading_rad: Array  # (N,)
    width_m: Array  # (N,) of the lane there
    speed_limit_mps: Array  # (N,)
    lane_index: Array  # (N,) int, position in `lanes`
    command: Array  # (N,) int of Command: the next manoeuvre within sight, else FOLLOW
    manoeuvre_m: Array  # (N,) distance to the start of that manoeuvre, 0 inside it, COMMAND_RANGE_M where FOLLOW
    manoeuvre_end_m: Array  # (N,) distance to its end, where the junction is left, END_RANGE_M where FOLLOW
    manoeuvre_turn_rad: Array  # (N,) by how much the way turns till there, left positive, 0 where FOLLOW
    stops: tuple[tuple[float, Control], ...]
    left_m: Array  # (N,) to the left edge of the outermost lane that runs the same way
    right_m: Array  # (N,) to the right edge
    shift_m: Array  # (N,) to the left of the lane on which the route entered this road
    changes: tuple[LaneChange, ...] = ()
    signals: tuple[tuple[float, int], ...] = ()

    @property
    def length_m(self) -> float:
        return float(self.station_m[-1])

    def index_at(self, station_m: float) -> int:
        """Index of the route point nearest before a station."""
        return max(0, int(self.station_m.searchsorted(station_m, side="right")) - 1)

    def command_at(self, station_m: float) -> Array:
        """What the navigation says at a station: (10,) float32 within COMMAND_LOW and COMMAND_HIGH, see there."""
        here = self.index_at(station_m)
        return navigation(Command(int(self.command[here])), float(self.manoeuvre_m[here]),
                          next((change for change in self.changes if station_m < change.end_m), None), station_m,
                          (float(self.manoeuvre_end_m[here]), float(self.manoeuvre_turn_rad[here])))

    def begins(self) -> tuple[tuple[float, int], ...]:
        """(station [m] of the first point, id) of every lane that the route touches, in order."""
        first = self.lane_index.searchsorted(np.arange(int(self.lane_index[-1]) + 1))
        return tuple(zip(self.station_m[first].tolist(), self.lanes, strict=False))

    def lane_at(self, station_m: float) -> int:
        """Id of the lane at a station."""
        return self.lanes[self.lane_index[self.index_at(station_m)]]

    def locate(self, x_m: float, y_m: float, near_m: float | None = None) -> tuple[float, float]:
        """(station, lateral left) [m] of a world point; searched 30 m around `near_m` if given, else everywhere."""
        if near_m is None:
            return project(self.points_m, self.station_m, x_m, y_m, 0, len(self.points_m))
        first, last = self.index_at(near_m - 30.0), self.index_at(near_m + 30.0) + 1
        return project(self.points_m, self.station_m, x_m, y_m, first, last)


@dataclass(frozen=True, eq=False)
class _Run:
    """A part of a route: one lane and those it changes to beside it, or all its lanes in a row in one junction."""

    first: int  # position in the route's lanes
    last: int
    begin_m: float  # along the route
    end_m: float


def _strands(network: RoadNetwork, lane_ids: tuple[int, ...]) -> list[list[int]]:
    """Lanes in groups that are driven side by side; the groups follow each other. Raises ValueError at a gap."""
    strands = [[lane_ids[0]]]
    for a, b in itertools.pairwise(lane_ids):
        if b in network.lanes[a].successors:
            strands.append([b])
        elif b in (network.lanes[a].left_neighbour, network.lanes[a].right_neighbour):
            strands[-1].append(b)
        else:
            raise ValueError(f"lane {b} does not follow lane {a}; name connected lanes")
    return strands


def change_length(speed_mps: float, width_m: float) -> float:
    """Length [m] in which a car at a speed moves one lane of `width_m` aside, never above CHANGE_ACCEL_MPS2 sideways.

    The way aside is the quintic of Nelson (1989) 10 u^3 - 15 u^4 + 6 u^5, whose second derivative is at most 5.774.
    """
    return max(SHORTEST_CHANGE_M, speed_mps * math.sqrt(5.774 * width_m / CHANGE_ACCEL_MPS2))


def _aside(share: Array) -> Array:
    """How far aside, 0 to 1, after a share of a lane change."""
    u = np.clip(share, 0.0, 1.0)
    return u * u * u * (10.0 + u * (6.0 * u - 15.0))


def _change_spans(lanes: list[Lane], from_m: float) -> list[tuple[float, float]]:
    """Where on a strand, by stations of its first lane, each of its lane changes takes place: early, in a row."""
    count, first = len(lanes) - 1, lanes[0]
    begin, end = from_m + CHANGE_AFTER_M, first.length_m - SOLID_BEFORE_JUNCTION_M
    if not count:
        return []
    length = min(change_length(first.speed_limit_mps, first.width_m), (end - begin) / count)
    if length < SHORTEST_CHANGE_M:
        raise ValueError(f"no room on lane {first.id} to change to lane {lanes[-1].id}; take a longer road")
    return [(begin + k * length, begin + (k + 1) * length) for k in range(count)]


def _blend(lanes: list[Lane], spans_m: list[tuple[float, float]]) -> Array:
    """The driven line (N, 2) of a strand: its first lane, moved over to the next in each span."""
    points = lanes[0].centre_m
    for (begin, end), before, after in zip(spans_m, lanes, lanes[1:], strict=False):
        share = _aside((lanes[0].station_m - begin) / (end - begin))
        points = points + share[:, None] * (after.centre_m - before.centre_m)
    return points


def _same_way(network: RoadNetwork, lane_ids: tuple[int, ...], at: int) -> tuple[int, int]:
    """How many lanes run the same way on the left and on the right of the lane at a position of a route.

    In a junction: those on which one could go straight on beside it.
    """
    lane, counts = network.lanes[lane_ids[at]], []
    for side in ("left_neighbour", "right_neighbour"):
        beside: list[int | None] = [lane.id]
        if lane.junction is not None:
            straight = lane.turn in (Command.STRAIGHT, Command.FOLLOW) and 0 < at < len(lane_ids) - 1
            beside = [lane_ids[at - 1], lane_ids[at + 1]] if straight else [None]
        count = -1
        while all(number is not None for number in beside):
            count += 1
            beside = [getattr(network.lanes[number], side) for number in beside if number is not None]
        counts.append(max(count, 0))
    return counts[0], counts[1]


def _manoeuvre(lanes: list[Lane]) -> Command:
    """What a driver does on lanes in a row in one junction: for several, by where they lead in all."""
    if len(lanes) == 1:
        return lanes[0].turn
    turned = float(sum(lane.turned_rad[[0, -1]] @ (-1.0, 1.0) for lane in lanes))
    return Command.LEFT if turned > math.pi / 4 else Command.RIGHT if turned < -math.pi / 4 else Command.STRAIGHT


def _junction_runs(lanes: list[Lane], begins: Array, ends: Array) -> list[_Run]:
    """The parts of a route that lie in junctions."""
    rows = [k for k, lane in enumerate(lanes) if lane.junction is not None]
    runs: list[_Run] = []
    for k in rows:
        if runs and runs[-1].last == k - 1 and lanes[k].junction == lanes[k - 1].junction:
            runs[-1] = _Run(runs[-1].first, k, runs[-1].begin_m, float(ends[k]))
        else:
            runs.append(_Run(k, k, float(begins[k]), float(ends[k])))
    return runs


def route_over(network: RoadNetwork, lane_ids: tuple[int, ...], start_m: float = 0.0,
               length_m: float | None = None) -> Route:
    """The route along connected lanes from `start_m` on the first, cut after `length_m`.

    A lane may be followed by its neighbour: the route then changes to it soon after the road's start, over a length
    that grows with the speed limit. Raises ValueError when two lanes neither follow each other nor are neighbours, and
    when a road is too short for the change.
    """
    lanes = [network.lanes[i] for i in lane_ids]
    parts, ends, changes = [np.zeros((0, 2))], [], []
    along_m = 0.0
    for strand in _strands(network, lane_ids):
        rows = [network.lanes[i] for i in strand]
        spans = _change_spans(rows, 0.0 if along_m else start_m)
        line = _blend(rows, spans)
        station = stations(line)
        for span, before, after in zip(spans, rows, rows[1:], strict=False):
            begin, end = along_m + np.interp(span, rows[0].station_m, station)
            changes.append(LaneChange(float(begin), float(end), 1 if after.id == before.left_neighbour else -1))
            ends.append(changes[-1].middle_m)
        along_m += float(station[-1])
        ends.append(along_m)
        parts.append(line[min(len(parts) - 1, 1):])
    return _sample(network, lanes, np.concatenate(parts), np.array(ends), changes, start_m, length_m)


def _sample(network: RoadNetwork, lanes: list[Lane], joined: Array, ends: Array, changes: list[LaneChange],
            start_m: float, length_m: float | None) -> Route:
    """The route along a line (N, 2) on which lane k ends at `ends[k]`."""
    along, begins = stations(joined), np.concatenate([[0.0], ends[:-1]])
    last = ends[-1] if length_m is None else min(ends[-1], start_m + length_m)
    station = np.arange(start_m, last + 1e-9, ROUTE_SPACING_M)
    points = interpolate(joined, along, station)
    index = np.minimum(np.searchsorted(ends, station, side="right"), len(lanes) - 1)
    command = np.full(len(station), int(Command.FOLLOW))
    to_begin, to_end = np.full(len(station), COMMAND_RANGE_M), np.full(len(station), END_RANGE_M)
    heading, turn = unwrapped(headings(points)), np.zeros(len(station))
    for run in reversed(_junction_runs(lanes, begins, ends)):
        seen = (station >= run.begin_m - COMMAND_RANGE_M) & (station < run.end_m)
        asks = _manoeuvre(lanes[run.first:run.last + 1])
        command[seen] = int(asks)
        is_free = asks == Command.FOLLOW
        to_begin[seen] = COMMAND_RANGE_M if is_free else np.maximum(run.begin_m - station[seen], 0.0)
        to_end[seen] = END_RANGE_M if is_free else run.end_m - station[seen]
        turn[seen] = 0.0 if is_free else np.interp(run.end_m, station, heading) - heading[seen]
    middles = {change.middle_m for change in changes}
    stops = tuple((float(end - start_m), lane.control) for lane, end in zip(lanes, ends, strict=True)
                  if lane.control != Control.NONE and start_m < end <= last and end not in middles)
    signals = tuple((float(end - start_m), lane.signal) for lane, end in zip(lanes, ends, strict=True)
                    if lane.signal is not None and start_m < end <= last and end not in middles)
    width = np.array([lane.width_m for lane in lanes])
    ids = tuple(lane.id for lane in lanes)
    local = _widths(lanes, index, station - begins[index])
    left, right = (np.array([_same_way(network, ids, k) for k in range(len(ids))])[index] + 0.5).T * local
    shift, lane_shift = np.zeros(len(station)), np.zeros(len(lanes))
    for change in changes:
        k = int(np.searchsorted(ends, change.middle_m))  # this lane is left for the next
        same_road = next((j for j in range(k + 1, len(lanes)) if lanes[j].id in lanes[j - 1].successors), len(lanes))
        lane_shift[k + 1:same_road] += change.side * width[k]
        after = (station >= change.begin_m) & (index < same_road)
        shift[after] += change.side * width[k] * _aside((station[after] - change.begin_m)
                                                        / (change.end_m - change.begin_m))
    off = shift - lane_shift[index]
    return Route(
        lanes=ids, points_m=points, station_m=station - start_m, heading_rad=heading,
        width_m=local, speed_limit_mps=np.array([lane.speed_limit_mps for lane in lanes])[index],
        lane_index=index, command=command, manoeuvre_m=to_begin, manoeuvre_end_m=to_end,
        manoeuvre_turn_rad=turn, stops=stops, left_m=left - off, right_m=right + off, shift_m=shift, signals=signals,
        changes=tuple(replace(change, begin_m=change.begin_m - start_m, end_m=change.end_m - start_m)
                      for change in changes if change.begin_m < last))


def _widths(lanes: list[Lane], index: Array, on_lane_m: Array) -> Array:
    """Width (N,) of the lane at each point, which is `on_lane_m` (N,) behind where the route took to that lane.

    That is the lane's begin wherever roads become narrower: they have one lane each way.
    """
    width = np.array([lane.width_m for lane in lanes])[index]
    for k, lane in enumerate(lanes):
        if lane.narrower_m is not None:
            width[index == k] = 2 * lane.half_at(on_lane_m[index == k])
    return width


def _end_on_road(network: RoadNetwork, route: Route, length_m: float, longest_m: float) -> float:
    """A length near `length_m` after which a route is outside junctions and lane changes, GOAL_CLEARANCE_M from them.
    """
    in_junction = np.array([network.lanes[k].junction is not None for k in route.lanes])[route.lane_index]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], in_junction, [False]])))
    spans = [(route.station_m[a], route.station_m[b - 1] + ROUTE_SPACING_M) for a, b in edges.reshape(-1, 2)]
    for change in route.changes:
        if spans and spans[-1][1] == change.begin_m:
            spans[-1] = spans[-1][0], change.end_m
        else:
            spans.append((change.begin_m, change.end_m))
    for begin, end in spans:
        if begin - GOAL_CLEARANCE_M < length_m < end + GOAL_CLEARANCE_M:
            behind = end + GOAL_CLEARANCE_M
            return float(behind if behind <= longest_m else begin - GOAL_CLEARANCE_M)
    return min(length_m, route.length_m - GOAL_CLEARANCE_M)


def random_route(network: RoadNetwork, rng: np.random.Generator, shortest_m: float = 300.0,
                 longest_m: float = 800.0) -> Route:
    """Part of a shortest path between two random lanes outside junctions, `shortest_m` to `longest_m` long.

    It starts at the beginning of a lane and ends on a lane, not in a junction. Raises ValueError when the town has no
    such pair.
    """
    roads = [lane.id for lane in network.lanes if lane.junction is None]
    for start in rng.permutation(roads).tolist():
        lengths, paths = networkx.single_source_dijkstra(network.ways, start, weight="weight")
        own = network.lanes[start].length_m - GOAL_CLEARANCE_M
        fits = [goal for goal in roads if goal != start and shortest_m <= lengths.get(goal, -math.inf) + own]
        if fits:
            whole = route_over(network, tuple(paths[int(rng.choice(fits))]))
            length = _end_on_road(network, whole, float(rng.uniform(shortest_m, longest_m)), longest_m)
            if length >= shortest_m - 1.0:
                return route_over(network, whole.lanes, length_m=length)
    raise ValueError(f"no route of {shortest_m:.0f} m in this town; ask for a shorter one or another seed")
