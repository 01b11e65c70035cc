"""The only map representation: lanes, junctions, surfaces, and routes over them.

A `RoadNetwork` is frozen data made by `procedural.py` (later also by `opendrive.py`). Lanes are centre lines with a
direction of travel (right-hand traffic); a junction's turn lanes join its incoming to its outgoing lanes. Everything is
in world coordinates [m]. Nothing here generates, draws or moves.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING

import networkx
import numpy as np

from envs.geometry import (
    Array,
    SegmentIndex,
    gaps_to_segments,
    headings,
    index_segments,
    is_inside,
    nearest_segment,
    project,
    stations,
)

if TYPE_CHECKING:
    from envs.roads.conflicts import Conflicts

ROUTE_SPACING_M = 0.5  # distance between two route points
SHOULDER_M = 0.5  # paved strip outside the edge line; still road


class Command(IntEnum):
    """What the navigation tells the driver: the index is the one-hot position in the observation."""

    FOLLOW = 0
    LEFT = 1
    RIGHT = 2
    STRAIGHT = 3


class Marking(IntEnum):
    """Paint along a lane's side."""

    NONE = 0
    SOLID = 1
    DASHED = 2


class Control(IntEnum):
    """What binds a driver at the end of a lane."""

    NONE = 0
    STOP = 1
    YIELD = 2


@dataclass(frozen=True, eq=False)
class Lane:
    """One lane in its direction of travel. `centre_m` is (N, 2) float64, points at most 2 m apart."""

    id: int
    centre_m: Array
    width_m: float
    speed_limit_mps: float
    left: Marking
    right: Marking
    successors: tuple[int, ...]
    """ids of the lanes that continue it; empty where a road ends, which none does in a generated town"""
    surface: int
    """index of its surface in RoadNetwork.surfaces"""
    junction: int | None = None
    """id of the junction whose turn lane this is"""
    turn: Command = Command.FOLLOW
    """what a driver on a turn lane does: LEFT, RIGHT or STRAIGHT"""
    control: Control = Control.NONE
    """a stop or yield line at the lane's end"""
    opposite: int | None = None
    """id of the lane beside it, on its left, that runs the other way"""
    left_neighbour: int | None = None
    """id of the lane on its left that runs the same way, as long as it and with the same stations"""
    right_neighbour: int | None = None
    """id of the lane on its right that runs the same way"""
    signal: int | None = None
    """signal group whose light stands at the lane's end"""

    @cached_property
    def station_m(self) -> Array:
        """Arc length of each centre point (N,) [m]."""
        return stations(self.centre_m)

    @cached_property
    def heading_rad(self) -> Array:
        """Direction of travel at each centre point (N,) [rad]."""
        return headings(self.centre_m)

    @property
    def length_m(self) -> float:
        return float(self.station_m[-1])


@dataclass(frozen=True, eq=False)
class Surface:
    """One paved area: a counter-clockwise polygon (N, 2) without the last point repeated."""

    piece: str
    """the row of PIECES that made it"""
    outline_m: Array
    junction: int | None
    """junction id, or None for a road"""


@dataclass(frozen=True, eq=False)
class Junction:
    """Where roads meet: `incoming` lanes end at it, `turns` are its own lanes, `outgoing` lanes start from it."""

    id: int
    incoming: tuple[int, ...]
    turns: tuple[int, ...]
    outgoing: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Crossing:
    """A place where people walk over a road: the strip between two ends on the pavements, `width_m` wide."""

    id: int
    ends_m: Array  # (2, 2) just outside the kerbs
    width_m: float  # along the road
    lanes: tuple[int, ...]  # ids of the lanes it crosses
    stations_m: tuple[float, ...]  # of its middle along each of them
    is_zebra: bool  # people have the right of way; else they wait for a gap or a light


@dataclass(frozen=True, eq=False)
class Route:
    """A drive over connected lanes, sampled every ROUTE_SPACING_M along the lane centres.

    All arrays have N rows. A stop is a (station_m, Control) of a line on the way; it binds while the light there, if
    there is one, is off. A signal is a (station_m, signal group) of a light's stop line on the way.
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
    stops: tuple[tuple[float, Control], ...]
    signals: tuple[tuple[float, int], ...] = ()

    @property
    def length_m(self) -> float:
        return float(self.station_m[-1])

    def index_at(self, station_m: float) -> int:
        """Index of the route point nearest before a station."""
        return max(0, int(self.station_m.searchsorted(station_m, side="right")) - 1)

    def locate(self, x_m: float, y_m: float, near_m: float | None = None) -> tuple[float, float]:
        """(station, lateral left) [m] of a world point; searched 30 m around `near_m` if given, else everywhere."""
        if near_m is None:
            return project(self.points_m, self.station_m, x_m, y_m, 0, len(self.points_m))
        first, last = self.index_at(near_m - 30.0), self.index_at(near_m + 30.0) + 1
        return project(self.points_m, self.station_m, x_m, y_m, first, last)


CROSSING_KERB_M = 0.6  # from the paved edge to a crossing's end on the pavement
COMMAND_RANGE_M = 60.0  # a manoeuvre is announced this far ahead
GOAL_CLEARANCE_M = 6.0  # between a route's end and the nearest junction


@dataclass(frozen=True, eq=False)
class RoadNetwork:
    """All lanes (index = id), junctions (index = id) and surfaces of a town."""

    lanes: tuple[Lane, ...]
    junctions: tuple[Junction, ...]
    surfaces: tuple[Surface, ...]
    crossings: tuple[Crossing, ...] = ()

    @cached_property
    def graph(self) -> networkx.DiGraph:
        """Lanes as nodes, successions as edges weighted by the length [m] of the lane they enter."""
        graph = networkx.DiGraph()
        graph.add_nodes_from(lane.id for lane in self.lanes)
        graph.add_weighted_edges_from((lane.id, after, self.lanes[after].length_m)
                                      for lane in self.lanes for after in lane.successors)
        return graph

    @cached_property
    def conflicts(self) -> Conflicts:
        """Which junction lanes cannot be driven at once, and who gives way."""
        from envs.roads.conflicts import find_conflicts

        return find_conflicts(self)

    @cached_property
    def road_length_m(self) -> float:
        """Length of road with a lane each way: half the sum of all lanes outside junctions [m]."""
        return sum(lane.length_m for lane in self.lanes if lane.junction is None) / 2

    @cached_property
    def _segments(self) -> SegmentIndex:
        return index_segments([lane.centre_m for lane in self.lanes], [lane.width_m / 2 for lane in self.lanes])

    @cached_property
    def _junction_areas(self) -> tuple[tuple[float, float, float, Array], ...]:
        """For each junction surface: a circle around it (x, y, radius) [m] and its outline (N, 2)."""
        areas = []
        for surface in self.surfaces:
            if surface.junction is not None:
                x, y = surface.outline_m.mean(axis=0)
                areas.append((float(x), float(y), float(np.hypot(*(surface.outline_m - (x, y)).T).max()),
                              surface.outline_m))
        return tuple(areas)

    def is_on_road(self, x_m: float, y_m: float, margin_m: float = SHOULDER_M) -> bool:
        """Whether a world point lies within `margin_m` of some lane's edge, or inside a junction's kerbs."""
        if nearest_segment(self._segments, x_m, y_m, margin_m, (0.0, 0.0))[0] >= 0:
            return True
        return any(abs(x_m - x) < radius and abs(y_m - y) < radius and is_inside(outline, x_m, y_m)
                   for x, y, radius, outline in self._junction_areas)

    def lane_at(self, x_m: float, y_m: float, yaw_rad: float) -> int | None:
        """Id of the nearest lane within SHOULDER_M of its edge whose direction is less than 90 degrees from `yaw_rad`.

        None off the road, and on a side of the road where all traffic comes towards the car. Inside a junction, where
        turn lanes cross, it is the one whose centre line is nearest.
        """
        forward = (math.cos(yaw_rad), math.sin(yaw_rad))
        segment, _ = nearest_segment(self._segments, x_m, y_m, SHOULDER_M, forward)
        return int(self._segments.owner[segment]) if segment >= 0 else None

    def distance_to_road(self, points_m: Array, reach_m: float = math.inf) -> Array:
        """Distance (K,) [m] from points (K, 2) to the nearest paved edge, negative on the road; at most `reach_m`.

        Exact beside roads, and at a junction's kerbs too, because a right-turn lane runs along each of them.
        """
        return gaps_to_segments(self._segments, points_m, reach_m + SHOULDER_M) - SHOULDER_M


def route_over(network: RoadNetwork, lane_ids: tuple[int, ...], start_m: float = 0.0,
               length_m: float | None = None) -> Route:
    """The route along connected lanes from `start_m` on the first, cut after `length_m`.

    Raises ValueError when two lanes do not follow each other.
    """
    for a, b in itertools.pairwise(lane_ids):
        if b not in network.lanes[a].successors:
            raise ValueError(f"lane {b} does not follow lane {a}; name connected lanes")
    lanes = [network.lanes[i] for i in lane_ids]
    joined = np.concatenate([lane.centre_m if k == 0 else lane.centre_m[1:] for k, lane in enumerate(lanes)])
    along = stations(joined)
    ends = np.cumsum([lane.length_m for lane in lanes])
    starts = np.concatenate([[0.0], ends[:-1]])
    last = ends[-1] if length_m is None else min(ends[-1], start_m + length_m)
    station = np.arange(start_m, last + 1e-9, ROUTE_SPACING_M)
    points = np.stack([np.interp(station, along, joined[:, 0]), np.interp(station, along, joined[:, 1])], axis=1)
    index = np.minimum(np.searchsorted(ends, station, side="right"), len(lanes) - 1)
    command = np.full(len(station), int(Command.FOLLOW))
    distance = np.full(len(station), COMMAND_RANGE_M)
    for lane, begin, end in reversed(list(zip(lanes, starts, ends, strict=True))):
        if lane.junction is not None:
            seen = (station >= begin - COMMAND_RANGE_M) & (station < end)
            command[seen], distance[seen] = int(lane.turn), np.maximum(begin - station[seen], 0.0)
    stops = tuple((float(end - start_m), lane.control) for lane, end in zip(lanes, ends, strict=True)
                  if lane.control != Control.NONE and start_m < end <= last)
    signals = tuple((float(end - start_m), lane.signal) for lane, end in zip(lanes, ends, strict=True)
                    if lane.signal is not None and start_m < end <= last)
    return Route(lanes=tuple(lane_ids), points_m=points, station_m=station - start_m,
                 heading_rad=np.unwrap(headings(points)),
                 width_m=np.array([lane.width_m for lane in lanes])[index],
                 speed_limit_mps=np.array([lane.speed_limit_mps for lane in lanes])[index],
                 lane_index=index, command=command, manoeuvre_m=distance, stops=stops, signals=signals)


def _end_on_road(lanes: list[Lane], length_m: float, longest_m: float) -> float:
    """A route length near `length_m` that ends outside junctions and GOAL_CLEARANCE_M from them."""
    end = 0.0
    for lane in lanes:
        begin, end = end, end + lane.length_m
        if lane.junction is not None and begin - GOAL_CLEARANCE_M < length_m < end + GOAL_CLEARANCE_M:
            behind = end + GOAL_CLEARANCE_M
            return behind if behind <= longest_m else begin - GOAL_CLEARANCE_M
    return min(length_m, end - GOAL_CLEARANCE_M)


def random_route(network: RoadNetwork, rng: np.random.Generator, shortest_m: float = 300.0,
                 longest_m: float = 800.0) -> Route:
    """Part of a shortest path between two random lanes outside junctions, `shortest_m` to `longest_m` long.

    It starts at the beginning of a lane and ends on a lane, not in a junction. Raises ValueError when the town has no
    such pair.
    """
    roads = [lane.id for lane in network.lanes if lane.junction is None]
    for start in rng.permutation(roads).tolist():
        lengths, paths = networkx.single_source_dijkstra(network.graph, start, weight="weight")
        own = network.lanes[start].length_m - GOAL_CLEARANCE_M
        fits = [goal for goal in roads if goal != start and shortest_m <= lengths.get(goal, -math.inf) + own]
        if fits:
            path = paths[int(rng.choice(fits))]
            length = _end_on_road([network.lanes[lane] for lane in path], float(rng.uniform(shortest_m, longest_m)),
                                  longest_m)
            return route_over(network, tuple(path), length_m=length)
    raise ValueError(f"no route of {shortest_m:.0f} m in this town; ask for a shorter one or another seed")
