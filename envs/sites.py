"""Where signs are true: for each kind a rule that finds all its places in a network.

A warning stands 30 to 150 m before its reason, farther on faster roads; what binds stands where it begins to. Rules see
lanes, lines, junctions, pieces and crossings of the network and nothing else. Which of the places are used, and where
exactly posts stand, is drawn in `posts.py`. Nothing here knows how a sign looks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from envs.geometry import Array
from envs.roads.network import Command, Control, Lane, Marking, RoadNetwork

KMH = 1 / 3.6
LIMIT_STATION_M = 10.0  # of what begins with a lane, after its start
RAMP_YIELD_M = 2.0  # of a yield sign behind the point where a ramp comes up beside its road
LINE_SETBACK_M = 0.25  # of a stop or yield sign before its line
NEAREST_WARNING_M, FARTHEST_WARNING_M = 30.0, 150.0
COMFORTABLE_MPS2 = 2.0  # lateral acceleration: a curve that asks for more at the limit is dangerous
WET_MPS2 = 4.0  # and more than this no wet asphalt is sure to hold (friction about 0.4)
LEAST_TURN_RAD = math.radians(25.0)  # of a curve worth a sign
ISLAND_EDGE_M = 0.75  # from the edge of a roundabout's island to a post on it
APART_M = 9.0  # between two posts beside a lane: one must not hide the other
JOINED_M = 12.0  # two arcs of one curve have less between them
DOUBLE_M = 45.0  # two curves of a double curve have less between them


@dataclass(frozen=True)
class Site:
    """A true place: beside a lane, best at `station_m`, and still true from `first_m` to `last_m` (None: only there).

    `is_reversed`: the face looks the other way, at who would come along the lane against its direction.
    """

    lane: int
    station_m: float
    first_m: float | None = None
    last_m: float | None = None
    is_reversed: bool = False
    foot_m: tuple[float, float] | None = None
    """where the post stands, if not beside the lane"""
    turn_rad: float = 0.0
    """by how much the face turns to its right from who comes along the lane"""


@dataclass(frozen=True)
class Curve:
    """A stretch of a lane that bends one way; positive to the left."""
    start_m: float
    end_m: float
    turn_rad: float
    radius_m: float


class Streets:
    """What rules ask of a network, found once."""

    def __init__(self, network: RoadNetwork) -> None:
        self.network, self.lanes = network, network.lanes

    @cached_property
    def outer(self) -> tuple[Lane, ...]:
        """The rightmost lane of every road and direction: signs stand beside these."""
        return tuple(lane for lane in self.lanes if lane.junction is None and lane.right_neighbour is None)

    @cached_property
    def before(self) -> dict[int, list[int]]:
        """The lanes whose successor a lane is, by lane."""
        found: dict[int, list[int]] = {lane.id: [] for lane in self.lanes}
        for lane in self.lanes:
            for after in lane.successors:
                found[after].append(lane.id)
        return found

    def roads_before(self, lane: Lane, straight_only: bool = False) -> list[Lane]:
        """The lanes outside junctions that lead to a lane, directly or over a junction's turn lane."""
        found = []
        for number in self.before[lane.id]:
            into = self.lanes[number]
            if into.junction is None:
                found.append(into)
            elif not straight_only or into.turn == Command.STRAIGHT:
                found += [self.lanes[k] for k in self.before[number] if self.lanes[k].junction is None]
        return found

    def abreast(self, lane: Lane) -> Iterator[Lane]:
        """A rightmost lane and those on its left that run the same way."""
        here: int | None = lane.id
        while here is not None:
            yield self.lanes[here]
            here = self.lanes[here].left_neighbour

    def ways_on(self, lane: Lane) -> set[Command]:
        """What drivers can do where a road's lanes end: empty where the road just goes on."""
        after = [self.lanes[k] for beside in self.abreast(lane) for k in beside.successors]
        return {way.turn for way in after} if after and all(way.junction is not None for way in after) else set()

    def junction_after(self, lane: Lane) -> int | None:
        """Which junction is at a lane's end."""
        return next((self.lanes[k].junction for k in lane.successors), None)

    def gives_priority(self, lane: Lane) -> bool:
        """Whether a lane ends at a junction where others have a line and it has none."""
        number = self.junction_after(lane)
        return (number is not None and lane.control == Control.NONE and any(
            self.lanes[k].control != Control.NONE for k in self.network.junctions[number].incoming)
            and all(self.lanes[k].turn != Command.FOLLOW for k in lane.successors))

    @cached_property
    def pieces_of_junctions(self) -> dict[int, str]:
        """Which row of PIECES each junction is."""
        return {surface.junction: surface.piece for surface in self.network.surfaces if surface.junction is not None}

    def piece_of(self, lane: Lane) -> str | None:
        """Which row of PIECES the junction is that a lane crosses; None for a lane of a road."""
        return None if lane.junction is None else self.pieces_of_junctions.get(lane.junction)

    @cached_property
    def curves(self) -> dict[int, tuple[Curve, ...]]:
        """The dangerous curves of each rightmost lane, at its limit."""
        return {lane.id: _curves(lane) for lane in self.outer}


Rule = Callable[[Streets], Iterator[Site]]


def _curves(lane: Lane) -> tuple[Curve, ...]:
    """Runs of one sign of curvature, tighter than comfort at the limit allows."""
    length = lane.station_m[1:] - lane.station_m[:-1]
    along = lane.centre_m[1:] - lane.centre_m[:-1]
    turn = np.arctan2(along[:-1, 0] * along[1:, 1] - along[:-1, 1] * along[1:, 0], (along[:-1] * along[1:]).sum(axis=1))
    curvature = turn / np.maximum((length[1:] + length[:-1]) / 2, 0.2)
    tight = np.where(np.abs(curvature) > COMFORTABLE_MPS2 / lane.speed_limit_mps ** 2, np.sign(curvature), 0.0)
    edge = np.flatnonzero(np.diff(tight, prepend=0.0, append=0.0))
    runs: list[Curve] = []
    for first, last in itertools.pairwise(edge.tolist()):
        if tight[first] == 0.0:
            continue
        start, end = float(lane.station_m[first + 1]), float(lane.station_m[last])
        angle, radius = float(turn[first:last].sum()), 1 / float(np.abs(curvature[first:last]).max())
        if runs and runs[-1].turn_rad * angle > 0 and start - runs[-1].end_m < JOINED_M:
            known = runs.pop()
            start, angle, radius = known.start_m, angle + known.turn_rad, min(radius, known.radius_m)
        runs.append(Curve(start, end, angle, radius))
    return tuple(run for run in runs if abs(run.turn_rad) > LEAST_TURN_RAD)


def warning_distance_m(speed_mps: float) -> float:
    """How far before its reason a warning stands: 30 m in slow streets, 150 m on fast roads (VwV-StVO, section 40)."""
    return float(np.clip(NEAREST_WARNING_M + 1.2 * (speed_mps / KMH - 30.0), NEAREST_WARNING_M, FARTHEST_WARNING_M))


def _ahead(lane: Lane, reason_m: float) -> Iterator[Site]:
    """The place of a warning before a reason on the same lane, if it leaves room for one."""
    last = reason_m - NEAREST_WARNING_M
    if last >= LIMIT_STATION_M:
        best = max(LIMIT_STATION_M, reason_m - warning_distance_m(lane.speed_limit_mps))
        yield Site(lane.id, best, max(LIMIT_STATION_M, reason_m - FARTHEST_WARNING_M), last)


def _at_start(lane: Lane) -> Iterator[Site]:
    """Where a driver who came through a junction reads what is in force; short lanes have no room."""
    if lane.length_m >= 2 * LIMIT_STATION_M:
        yield Site(lane.id, LIMIT_STATION_M)


def _kmh(lane: Lane) -> int:
    return round(lane.speed_limit_mps / KMH)


def limit(kmh: int, streets: Streets) -> Iterator[Site]:
    """After the start of every road with that limit, unless the same road just goes on."""
    for lane in streets.outer:
        direct = [streets.lanes[k] for k in streets.before[lane.id]]
        goes_on = direct and all(way.junction is None and _kmh(way) == kmh for way in direct)
        if _kmh(lane) == kmh and not goes_on:
            yield from _at_start(lane)


def end_of_limit(kmh: int, streets: Streets) -> Iterator[Site]:
    """Where a road with a higher limit goes straight on from one with that limit."""
    for lane in streets.outer:
        if _kmh(lane) > kmh and any(_kmh(road) == kmh for road in streets.roads_before(lane, straight_only=True)):
            yield from _at_start(lane)


def no_limit(streets: Streets) -> Iterator[Site]:
    """After the start of roads faster than any limit sign says: the recommended 130 km/h."""
    for lane in streets.outer:
        if _kmh(lane) >= 130:
            yield from _at_start(lane)


def _has_solid_line(lane: Lane) -> bool:
    return lane.opposite is not None and lane.left_neighbour is None and lane.left != Marking.DASHED


def solid_line(streets: Streets) -> Iterator[Site]:
    """Roads with one lane each way that must not be crossed all along."""
    for lane in streets.outer:
        if _has_solid_line(lane):
            yield from _at_start(lane)


def end_of_solid_line(streets: Streets) -> Iterator[Site]:
    """Where one may overtake again, straight on from such a road."""
    for lane in streets.outer:
        if not _has_solid_line(lane) and any(map(_has_solid_line, streets.roads_before(lane, straight_only=True))):
            yield from _at_start(lane)


def _is_fast(lane: Lane) -> bool:
    return _kmh(lane) >= (70 if lane.left_neighbour is not None else 100)


def fast_road(streets: Streets) -> Iterator[Site]:
    """Roads of 100 km/h and more, or with several lanes and 70."""
    for lane in streets.outer:
        if _is_fast(lane):
            yield from _at_start(lane)


def end_of_fast_road(streets: Streets) -> Iterator[Site]:
    """Straight on from such a road, where it is slower."""
    for lane in streets.outer:
        if not _is_fast(lane) and any(map(_is_fast, streets.roads_before(lane, straight_only=True))):
            yield from _at_start(lane)


def quiet_road(streets: Streets) -> Iterator[Site]:
    """Streets of 30 km/h."""
    for lane in streets.outer:
        if _kmh(lane) <= 30:
            yield from _at_start(lane)


def priority_ahead(streets: Streets) -> Iterator[Site]:
    """Before junctions with priority, on quiet streets and in the country."""
    for lane in streets.outer:
        if streets.gives_priority(lane) and not 50 <= _kmh(lane) <= 70:
            yield from _ahead(lane, lane.length_m)


def priority_road(streets: Streets) -> Iterator[Site]:
    """At junctions with priority, on the main streets of a town."""
    for lane in streets.outer:
        if streets.gives_priority(lane) and 50 <= _kmh(lane) <= 70 and lane.length_m >= 40.0:
            yield Site(lane.id, lane.length_m - 10.0, lane.length_m - 25.0, lane.length_m - 6.0)


def line(control: Control, streets: Streets) -> Iterator[Site]:
    """At every such line, also beside lights, which may be off; on a ramp where it comes up beside the road."""
    for lane in streets.outer:
        if lane.control == control and lane.left == Marking.BLOCK:
            yield Site(lane.id, RAMP_YIELD_M)
        elif lane.control == control:
            yield Site(lane.id, lane.length_m - LINE_SETBACK_M)


def roundabout(streets: Streets) -> Iterator[Site]:
    """With the yield sign at each entry."""
    for lane in streets.outer:
        if lane.control == Control.YIELD and streets.pieces_of_junctions.get(
                streets.junction_after(lane) or 0) == "roundabout":
            yield Site(lane.id, lane.length_m - LINE_SETBACK_M)


def one_way_end(streets: Streets) -> Iterator[Site]:
    """Where one-way roads end: who stands there must not drive in."""
    for lane in streets.outer:
        is_one_way = all(beside.opposite is None for beside in streets.abreast(lane))
        does_end = all(streets.lanes[k].junction is not None for k in lane.successors)
        if is_one_way and does_end and lane.length_m >= 2 * LIMIT_STATION_M:
            yield Site(lane.id, lane.length_m - LIMIT_STATION_M, is_reversed=True)


def only_turns(turns: tuple[Command, ...], streets: Streets) -> Iterator[Site]:
    """Before junctions where drivers can do this and nothing else."""
    for lane in streets.outer:
        if streets.ways_on(lane) == set(turns) and lane.length_m >= 50.0:
            yield Site(lane.id, lane.length_m - 16.0, lane.length_m - 34.0, lane.length_m - 12.0)


def round_islands(streets: Streets) -> Iterator[Site]:
    """Where one can only turn right: before such junctions, and on the island of a roundabout facing each entry."""
    yield from only_turns((Command.RIGHT,), streets)
    islands: dict[int | None, Array] = {
        surface.junction: surface.island_m for surface in streets.network.surfaces
        if surface.island_m is not None and surface.junction is not None}
    for lane in streets.outer:
        island = islands.get(streets.junction_after(lane))
        if island is not None:
            centre, end = island.mean(axis=0), lane.centre_m[-1]
            inner_m = float(np.hypot(*(island - centre).T).min())
            foot = centre + (inner_m - ISLAND_EDGE_M) / np.hypot(*(end - centre)) * (end - centre)
            yield Site(lane.id, lane.length_m, foot_m=(float(foot[0]), float(foot[1])))


def _first_curves(curves: Sequence[Curve]) -> Iterator[tuple[Curve, bool]]:
    """The curves worth a sign, and whether one to the other side follows at once, which then has none of its own."""
    k = 0
    while k < len(curves):
        follows = curves[k + 1] if k + 1 < len(curves) else None
        is_double = (follows is not None and curves[k].turn_rad * follows.turn_rad < 0
                     and follows.start_m - curves[k].end_m < DOUBLE_M)
        yield curves[k], is_double
        k += 1 + is_double


def curve(is_left: bool, streets: Streets) -> Iterator[Site]:
    """Before each dangerous curve to that side, also before a double curve that no sign of GTSRB shows."""
    for number, curves in streets.curves.items():
        for here, is_double in _first_curves(curves):
            if (here.turn_rad > 0) == is_left and not (is_left and is_double):
                yield from _ahead(streets.lanes[number], here.start_m)


def double_curve(streets: Streets) -> Iterator[Site]:
    """Before a curve to the left that is followed by one to the right."""
    for number, curves in streets.curves.items():
        for here, is_double in _first_curves(curves):
            if is_double and here.turn_rad > 0:
                yield from _ahead(streets.lanes[number], here.start_m)


def wet_curve(streets: Streets) -> Iterator[Site]:
    """Before curves that ask at the limit for more than a wet road holds."""
    for lane in streets.outer:
        for here in streets.curves[lane.id]:
            if lane.speed_limit_mps ** 2 / here.radius_m > WET_MPS2:
                yield from _ahead(lane, here.start_m)


def hidden_line(streets: Streets) -> Iterator[Site]:
    """Before a curve behind which one must give way."""
    for lane in streets.outer:
        last = streets.curves[lane.id][-1:]
        if lane.control != Control.NONE and last and lane.length_m - last[0].end_m < 60.0:
            yield from _ahead(lane, last[0].start_m)


def before_lights(streets: Streets) -> Iterator[Site]:
    """Before traffic lights."""
    for lane in streets.outer:
        if lane.signal is not None:
            yield from _ahead(lane, lane.length_m)


def before_crossing(streets: Streets) -> Iterator[Site]:
    """Before places where people cross."""
    outer = {lane.id for lane in streets.outer}
    for crossing in streets.network.crossings:
        for number, station in zip(crossing.lanes, crossing.stations_m, strict=True):
            if number in outer:
                yield from _ahead(streets.lanes[number], station)


def rough_road(streets: Streets) -> Iterator[Site]:
    """Slow streets, whose surface is patched."""
    for lane in streets.outer:
        if _kmh(lane) <= 50:
            yield from _ahead(lane, lane.length_m / 2)


def homes(streets: Streets) -> Iterator[Site]:
    """Streets between houses."""
    for lane in streets.outer:
        if _kmh(lane) <= 30:
            yield from _ahead(lane, lane.length_m / 2)


def town_junction(streets: Streets) -> Iterator[Site]:
    """Before junctions of town streets."""
    for lane in streets.outer:
        if 50 <= _kmh(lane) <= 60 and streets.junction_after(lane) is not None:
            yield from _ahead(lane, lane.length_m)


def open_country(streets: Streets) -> Iterator[Site]:
    """Roads through fields and woods."""
    for lane in streets.outer:
        if _kmh(lane) >= 70 and lane.length_m >= 120.0:
            yield Site(lane.id, 0.35 * lane.length_m, 20.0, 0.7 * lane.length_m)
