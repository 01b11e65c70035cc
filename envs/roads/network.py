"""The only map representation: lanes, junctions, surfaces, and routes over them.

A `RoadNetwork` is frozen data made by `procedural.py` (later also by `opendrive.py`). Lanes are centre lines with a
direction of travel (right-hand traffic); a junction's turn lanes join its incoming to its outgoing lanes. Everything is
in world coordinates [m]. Nothing here generates, draws or moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import networkx
import numpy as np

from envs.geometry import (
    Areas,
    Array,
    SegmentIndex,
    areas_of,
    gaps_to_segments,
    headings,
    index_segments,
    is_within,
    nearest_segment,
    stations,
    turn_within,
    unwrapped,
)

if TYPE_CHECKING:
    from envs.roads.conflicts import Conflicts

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
    DOUBLE = 3  # two solid lines
    BLOCK = 4  # wide short dashes, between a carriageway and a lane that leaves or joins it


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
    """id of the lane on its left that runs the same way, from end to end of it; their centre points lie side by side"""
    right_neighbour: int | None = None
    """id of the lane on its right that runs the same way"""
    signal: int | None = None
    """signal group whose light stands at the lane's end"""
    narrower_m: Array | None = None
    """by how much (N,) it is narrower than `width_m` at each centre point; None: nowhere"""

    @cached_property
    def station_m(self) -> Array:
        """Arc length of each centre point (N,) [m]."""
        return stations(self.centre_m)

    @cached_property
    def heading_rad(self) -> Array:
        """Direction of travel at each centre point (N,) [rad]."""
        return headings(self.centre_m)

    @cached_property
    def turned_rad(self) -> Array:
        """`heading_rad` without jumps of a whole turn (N,), so that it may be interpolated."""
        return unwrapped(self.heading_rad)

    def heading_at(self, station_m: float | Array) -> Any:
        """Direction of travel [rad] at station(s), not wrapped."""
        return np.interp(station_m, self.station_m, self.turned_rad)

    @cached_property
    def half_m(self) -> float | Array:
        """From its middle to its edges [m]; where the lane narrows, at each centre point (N,)."""
        return self.width_m / 2 if self.narrower_m is None else (self.width_m - self.narrower_m) / 2

    def half_at(self, station_m: float | Array) -> Any:
        """From its middle to its edges [m] at station(s): one number for all of a lane that never narrows."""
        return self.half_m if self.narrower_m is None else np.interp(station_m, self.station_m, self.half_m)

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
    island_m: Array | None = None
    """what is not paved in its middle (K, 2), counter-clockwise"""
    is_open: bool = False
    """lanes and shoulders do not cover all of it; so it is in every junction"""


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


CROSSING_KERB_M = 0.6  # from the paved edge to a crossing's end on the pavement
SOLID_BEFORE_JUNCTION_M = 30.0  # nobody changes lanes in the last metres of a lane: the line there is solid
CHANGE_AFTER_M = 15.0  # nor in the first
SHORTEST_CHANGE_M = 28.0
CHANGE_COST_M = 20.0  # of way that a route would rather drive than change lanes


@dataclass(frozen=True)
class Bay:
    """A bus bay on the right of a lane, from station to station at its full width."""

    lane: int
    begin_m: float
    end_m: float
    width_m: float  # beyond the lane's right edge
    taper_m: float  # length in which it narrows to nothing at both ends


@dataclass(frozen=True, eq=False)
class Median:
    """An island between the two directions of a road, and paint before it."""

    lanes: tuple[int, int]  # on its sides
    spans_m: tuple[tuple[float, float], tuple[float, float]]  # of each lane, where it leads round the island
    heads_m: Array  # (2, 2) where a post stands on the end that each lane meets first


@dataclass(frozen=True)
class Works:
    """A strip on the right of a lane that is dug up, from station to station at its full width; lanes lead round it."""

    lane: int
    begin_m: float
    end_m: float
    width_m: float  # beyond the lane's right edge and its shoulder
    taper_m: float  # length in which it begins, and ends
    spans_m: tuple[tuple[int, float, float], ...]  # all lanes that lead round it, from station to station


@dataclass(frozen=True)
class Narrowing:
    """A stretch on which the kerb on the right of a lane comes in, and all lanes of the road are narrower."""

    lane: int
    spans_m: tuple[tuple[int, float, float], ...]  # all lanes that become narrower, from station to station

    @property
    def begin_m(self) -> float:
        """Where the kerb begins to come in, along its lane."""
        return next(begin for lane, begin, _ in self.spans_m if lane == self.lane)


@dataclass(frozen=True, eq=False)
class Track:
    """A way that is not paved, closed to vehicles; it leads off a lane's right edge, where no lane follows it."""

    lane: int
    station_m: float  # of its mouth
    line_m: Array  # (2, 2) its middle, from the paved edge outwards
    width_m: float


@dataclass(frozen=True, eq=False)
class RoadNetwork:
    """All lanes (index = id), junctions (index = id) and surfaces of a town."""

    lanes: tuple[Lane, ...]
    junctions: tuple[Junction, ...]
    surfaces: tuple[Surface, ...]
    crossings: tuple[Crossing, ...] = ()
    hatched_m: tuple[Array, ...] = ()
    """paved convex areas (K, 2), counter-clockwise, that nobody drives on (RMS sign 298)"""
    bays: tuple[Bay, ...] = ()
    medians: tuple[Median, ...] = ()
    works: tuple[Works, ...] = ()
    narrowings: tuple[Narrowing, ...] = ()
    tracks: tuple[Track, ...] = ()
    open_edges: tuple[tuple[int, float, float], ...] = ()
    """(lane, from [m], to [m]) where no line runs on a lane's right, because a ramp lies beside it"""

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
    def ways(self) -> networkx.DiGraph:
        """`graph` and the changes to neighbour lanes, where a road is long enough for two: all that a route may do."""
        graph = self.graph.copy()
        for lane in self.lanes:
            room = lane.length_m - CHANGE_AFTER_M - SOLID_BEFORE_JUNCTION_M
            if lane.junction is None and room >= 2 * SHORTEST_CHANGE_M:
                graph.add_weighted_edges_from((lane.id, beside, CHANGE_COST_M) for beside in (
                    lane.left_neighbour, lane.right_neighbour) if beside is not None)
        return graph

    def outermost(self, lane: int, side: str) -> int:
        """Id of the last lane on a side, "left" or "right", that runs the same way; `lane` itself if it is that."""
        while (beside := getattr(self.lanes[lane], f"{side}_neighbour")) is not None:
            lane = beside
        return lane

    @cached_property
    def road_length_m(self) -> float:
        """Length of road: half the sum of the lanes outside junctions that lie beside the middle [m]."""
        return sum(lane.length_m for lane in self.lanes if lane.junction is None and lane.left_neighbour is None) / 2

    @cached_property
    def _segments(self) -> SegmentIndex:
        return index_segments([lane.centre_m for lane in self.lanes], [lane.half_m for lane in self.lanes])

    @cached_property
    def _edges(self) -> SegmentIndex:
        """Lanes, and kerbs that no lane follows everywhere; gaps less SHOULDER_M are to the edge."""
        kerbs = [np.concatenate([surface.outline_m, surface.outline_m[:1]]) for surface in self.surfaces
                 if surface.junction is not None or surface.is_open]
        return index_segments([lane.centre_m for lane in self.lanes] + kerbs,
                              [lane.half_m for lane in self.lanes] + [-SHOULDER_M] * len(kerbs))

    @cached_property
    def _open_areas(self) -> Areas:
        """Surfaces that lanes do not cover."""
        surfaces = [surface for surface in self.surfaces if surface.junction is not None or surface.is_open]
        return areas_of([surface.outline_m for surface in surfaces],
                        [np.zeros((0, 2)) if surface.island_m is None else surface.island_m for surface in surfaces])

    def is_on_road(self, x_m: float, y_m: float, margin_m: float = SHOULDER_M) -> bool:
        """Whether a world point lies within `margin_m` of some lane's edge, or inside a junction's or bay's kerbs."""
        if nearest_segment(self._segments, x_m, y_m, margin_m, (0.0, 0.0))[0] >= 0:
            return True
        return bool(is_within(self._open_areas, x_m, y_m))

    def lane_at(self, x_m: float, y_m: float, yaw_rad: float) -> int | None:
        """Id of the nearest lane within SHOULDER_M of its edge whose direction is less than 90 degrees from `yaw_rad`.

        None off the road, and on a side of the road where all traffic comes towards the car. Inside a junction, where
        turn lanes cross, it is the one whose centre line is nearest.
        """
        forward = (math.cos(yaw_rad), math.sin(yaw_rad))
        segment, _ = nearest_segment(self._segments, x_m, y_m, SHOULDER_M, forward)
        return int(self._segments.owner[segment]) if segment >= 0 else None

    def lane_under(self, x_m: float, y_m: float) -> tuple[int, float] | None:
        """(id, heading [rad]) of the lane on which a world point lies, whatever its direction; None beside all."""
        segment, _ = nearest_segment(self._segments, x_m, y_m, 0.0, (0.0, 0.0))
        if segment < 0:
            return None
        ax, ay, bx, by = self._segments.segment_m[segment]
        return int(self._segments.owner[segment]), math.atan2(by - ay, bx - ax)

    def distance_to_road(self, points_m: Array, reach_m: float = math.inf) -> Array:
        """Distance (K,) [m] from points (K, 2) to the nearest paved edge, negative on the road; at most `reach_m`.

        Exact beside roads and junctions. Inside a junction or bay, between lanes, it is as far to the kerb or a lane.
        """
        gaps = gaps_to_segments(self._edges, points_m, reach_m + SHOULDER_M) - SHOULDER_M
        turn_within(self._open_areas, points_m, gaps)
        return gaps


