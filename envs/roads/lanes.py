"""Lanes on a paved plan: of roads, of junctions, who gives way, which lane leads where, and where people cross.

Lanes of a direction are counted from the middle of the road outwards. Nothing here decides where a road lies.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from envs.geometry import Array
from envs.roads import turn_bans
from envs.roads.laying import CROSSING_WIDTH_M, Road
from envs.roads.network import (
    CROSSING_KERB_M,
    SHOULDER_M,
    Bay,
    Command,
    Control,
    Crossing,
    Junction,
    Lane,
    Marking,
    Median,
    Narrowing,
    RoadNetwork,
    Surface,
    Works,
)
from envs.roads.pieces import (
    BAY_M,
    BAY_TAPER_M,
    ENTRY_RAD,
    REFUGE_M,
    REFUGE_TAPER_M,
    WORKS_M,
    WORKS_TAPER_M,
    JunctionPiece,
    RampPiece,
    RoundaboutPiece,
)
from envs.roads.plan import Arm, Node, Plan
from envs.roads.ramps import add_ramp
from envs.roads.sockets import RoadPiece, Socket, join, offset_line

KMH = 1 / 3.6
SOLID_RADIUS_M = 28.0  # a road with a tighter bend has a solid centre line
CROSSING_LIMIT_MPS = 50 * KMH  # people cross no faster street on foot (R-FGUE 2001: no zebra above 50 km/h)
ZEBRA_SHARE = 0.6
MEDIAN_POST_M = 0.9  # from the end of an island to the sign on it
HATCH_FROM_M, MEDIAN_GAP_M = 4.0, 0.3  # from where lanes part to the hatched area; from its end to the island
MEDIAN_LINE_M = 0.15  # beyond an island's half width, of a hatched area's
PRIORITY_TO_THE_RIGHT_SHARE = 0.75  # of junctions in zones of 30 km/h
BENDING_SHARE = 0.25  # of tees whose main road turns into the stem
TURN_LIMIT_MPS = 50 * KMH  # on turn lanes


@functools.cache
def assign_turns(num_lanes: int, turns: tuple[Command, ...], capacity: tuple[int, ...],
                 ) -> tuple[tuple[Command, ...], ...]:
    """Which turns each lane of an approach may take, lanes and `turns` both from the left.

    `capacity` is the number of lanes that each turn leads to. Lanes never cross, every turn has a lane, and no more
    lanes take a turn than it leads to; as many as can go straight on, and else few share a turn. Raises ValueError
    where there is no such assignment.
    """
    count = len(turns)
    best, best_score = None, (-1, 0)
    for ends in itertools.product(itertools.combinations_with_replacement(range(count), 2), repeat=num_lanes):
        is_whole = ends[0][0] == 0 and ends[-1][1] == count - 1
        if not is_whole or any(not b <= c <= b + 1 for (_, b), (c, _) in itertools.pairwise(ends)):
            continue
        used = [sum(a <= k <= b for a, b in ends) for k in range(count)]
        if all(n <= room for n, room in zip(used, capacity, strict=True)):
            straight = used[turns.index(Command.STRAIGHT)] if Command.STRAIGHT in turns else 0
            score = (straight, straight - sum(used))
            if score > best_score or best is None:
                best, best_score = ends, score
    if best is None:
        raise ValueError(f"{num_lanes} lanes cannot lead to {capacity} lanes by {turns}; give the road fewer lanes")
    return tuple(turns[a:b + 1] for a, b in best)


def _target(turn: Command, number: int, users: int, capacity: int) -> int:
    """The lane, from the middle, on which the `number`-th of `users` lanes ends: left turns keep left, others right."""
    return number if turn == Command.LEFT else capacity - users + number


def _sections(road: Road) -> list[tuple[tuple[RoadPiece, ...], tuple[int, int]]]:
    """A road cut where ramps leave and join it: the pieces of each part, and its first and last row in the line."""
    parts: list[tuple[tuple[RoadPiece, ...], tuple[int, int]]] = []
    row = 0
    for is_ramp, group in itertools.groupby(road.pieces, lambda piece: isinstance(piece, RampPiece)):
        assert not parts or parts[-1][1][1] == row
        pieces = tuple(group)
        last = row + sum(len(piece.line) - 1 for piece in pieces)
        assert not is_ramp or len(pieces) == 1
        parts.append((pieces, (row, last)))
        row = last
    return parts


class Builder:
    """Collects lanes while roads and junctions are joined; `network` freezes them."""

    def __init__(self, plan: Plan, rng: np.random.Generator, bans: Mapping[Arm, Command] | None = None) -> None:
        self.plan, self.rng, self.bans = plan, rng, bans or {}
        self.lanes: list[Lane] = []
        self.surfaces: list[Surface] = []
        self.junctions: list[Junction] = []
        self.crossings: list[Crossing] = []
        self.hatched: list[Array] = []
        self.bays: list[Bay] = []
        self.open_edges: list[tuple[int, float, float]] = []
        self.medians: list[Median] = []
        self.works: list[Works] = []
        self.narrowings: list[Narrowing] = []
        self.incoming: dict[Arm, tuple[int, ...]] = {}  # lanes from the middle outwards
        self.outgoing: dict[Arm, tuple[int, ...]] = {}

    def add_road(self, road: Road, limit_mps: float) -> None:
        """Its lanes each way, a surface for each piece, its crossings and ramps."""
        sections = [self._add_section(road, limit_mps, pieces, rows) for pieces, rows in _sections(road)]
        forward, back = (tuple(both[side] for both in sections) for side in (0, 1))
        for before, after in itertools.pairwise(range(len(sections))):
            for ways, a, b in ((forward, before, after), (back, after, before)):
                for lane, following in zip(ways[a], ways[b], strict=True):
                    self.lanes[lane] = replace(self.lanes[lane], successors=(following,))
        self.outgoing[road.begin], self.incoming[road.begin] = forward[0], back[0]
        self.incoming[road.end], self.outgoing[road.end] = forward[-1], back[-1]
        if road.ramp is not None:
            add_ramp(self, road, forward, back)
        else:
            self._add_features(road, limit_mps, forward[0], back[0])

    def _add_section(self, road: Road, limit_mps: float, pieces: tuple[RoadPiece, ...], rows: tuple[int, int],
                     ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The lanes each way along some rows of a road's line, and the surfaces of its pieces there.

        Where a ramp leaves or joins the road they are lanes of a junction, which `add_ramp` records.
        """
        count, first = road.profile.num_lanes, len(self.lanes)
        junction = None
        if isinstance(pieces[0], RampPiece):
            junction = len(self.junctions)
            self.junctions.append(Junction(junction, (), (), ()))
        forward, back = tuple(range(first, first + count)), tuple(range(first + count, first + 2 * count))
        for ids, others, is_back in ((forward, back, False), (back, forward, True)):
            for number, lane in enumerate(ids):
                made = self._road_lane(road, rows, limit_mps, lane, number, is_back, others[0])
                if junction is not None:
                    made = replace(made, junction=junction, opposite=None, left_neighbour=None, right_neighbour=None,
                                   right=Marking.BLOCK if number == count - 1 and not is_back else made.right)
                self.lanes.append(made)
        self.surfaces += [Surface(piece.name, piece.outline_m, junction, piece.island_m,
                                  piece.wider_m is not None and piece.narrower_m is None) for piece in pieces]
        return forward, back

    def _add_features(self, road: Road, limit_mps: float, forward: tuple[int, ...], back: tuple[int, ...]) -> None:
        for piece, begin, end in road.rows_of("bus_bay"):
            self._add_bay(piece, forward[-1], back[-1], begin, end)
        for piece, begin, end in road.rows_of("roadworks"):
            self._add_works(piece, forward, back, begin, end)
        for piece, begin, end in road.rows_of("narrowing"):
            lane, spans = self._swerving(piece, forward, back, begin, end)
            self.narrowings.append(Narrowing(lane, spans))
        for _, begin, end in road.rows_of("refuge"):
            self._add_median(road, forward[0], back[0], begin, end)
            self._add_crossing(road, forward, back, begin, end, REFUGE_M)
        if limit_mps <= CROSSING_LIMIT_MPS + 1e-9:
            for _, begin, end in road.rows_of("crossing"):
                self._add_crossing(road, forward, back, begin, end)

    def _road_lane(self, road: Road, rows: tuple[int, int], limit_mps: float, lane: int, number: int, is_back: bool,
                   opposite: int) -> Lane:
        """Lane `number` from the middle along some rows; `opposite` is the innermost of the other direction."""
        width, count = road.profile.lane_width_m, road.profile.num_lanes
        part = slice(rows[0], rows[1] + 1)
        line, narrower, (right, left) = road.line[part], road.narrower_m[part] / count, road.shift_m[:, part]
        aside = (number + 0.5) * (width - narrower)
        points = offset_line(line, left + aside)[::-1].copy() if is_back else offset_line(line, right - aside)
        middle = Marking.DOUBLE if count > 1 else (
            Marking.SOLID if road.radius_m < SOLID_RADIUS_M or road.is_swerving else Marking.DASHED)
        is_inner, is_outer = number == 0, number == count - 1
        return Lane(lane, points, width, limit_mps, middle if is_inner else Marking.DASHED,
                    Marking.SOLID if is_outer else Marking.DASHED, (), len(self.surfaces),
                    opposite=opposite if is_inner else None, left_neighbour=None if is_inner else lane - 1,
                    right_neighbour=None if is_outer else lane + 1,
                    narrower_m=narrower[::-1 if is_back else 1].copy() if narrower.any() else None)

    def _add_bay(self, piece: RoadPiece, forward: int, back: int, begin: int, end: int) -> None:
        """The bus bay of a piece at rows `begin` to `end` of its road, beside the outer lane on that side."""
        assert piece.wider_m is not None
        is_right = bool(piece.wider_m[0].max() > 0)
        lane, rows = (forward, (begin, end)) if is_right else (back, (-1 - end, -1 - begin))
        first, last = self.lanes[lane].station_m[list(rows)].tolist()
        self.bays.append(Bay(lane, first + BAY_TAPER_M, last - BAY_TAPER_M, BAY_M, BAY_TAPER_M))

    def _add_works(self, piece: RoadPiece, forward: tuple[int, ...], back: tuple[int, ...], begin: int, end: int,
                   ) -> None:
        """Roadworks of a piece at rows `begin` to `end` of its road, beside the outer lane on that side."""
        lane, spans = self._swerving(piece, forward, back, begin, end)
        first, last = next((begin_m, end_m) for number, begin_m, end_m in spans if number == lane)
        self.works.append(Works(lane, first + WORKS_TAPER_M, last - WORKS_TAPER_M, WORKS_M, WORKS_TAPER_M, spans))

    def _swerving(self, piece: RoadPiece, forward: tuple[int, ...], back: tuple[int, ...], begin: int, end: int,
                  ) -> tuple[int, tuple[tuple[int, float, float], ...]]:
        """Of a piece at rows `begin` to `end` of its road: the outer lane that is pushed to its left, and all lanes
        from station to station."""
        assert piece.shift_m is not None
        is_right = bool(piece.shift_m[0].max() > 0)
        return (forward if is_right else back)[-1], tuple(
            (lane, *self.lanes[lane].station_m[list(rows)].tolist())
            for lanes, rows in ((forward, (begin, end)), (back, (-1 - end, -1 - begin))) for lane in lanes)

    def _add_median(self, road: Road, forward: int, back: int, begin: int, end: int) -> None:
        """The island at rows `begin` to `end` of a road, and the hatched areas before its ends."""
        line, wide = road.line, REFUGE_M - SHOULDER_M
        ends = np.array([Socket.at(line[row], line[row, 2]).direction * side for row, side in ((begin, 1), (end, -1))])
        foot = line[[begin, end], :2]
        (a, b), (c, d) = (self.lanes[lane].station_m[list(rows)].tolist()
                          for lane, rows in ((forward, (begin, end)), (back, (-1 - end, -1 - begin))))
        self.medians.append(Median((forward, back), ((a, b), (c, d)), foot + (REFUGE_TAPER_M + MEDIAN_POST_M) * ends))
        for point, ahead in zip(foot, ends, strict=True):
            aside = (wide + MEDIAN_LINE_M) * np.array([-ahead[1], ahead[0]])
            base = point + (REFUGE_TAPER_M - MEDIAN_GAP_M) * ahead
            self.hatched.append(np.array([point + HATCH_FROM_M * ahead, base - aside, base + aside]))

    def _add_crossing(self, road: Road, forward: tuple[int, ...], back: tuple[int, ...], begin: int, end: int,
                      aside_m: float = 0.0) -> None:
        """A crossing over all lanes of a road in the middle of rows `begin` to `end` of its line, which is straight.

        Where lanes swerve `aside_m` round a refuge, people find no zebra (R-FGUE 2001) and wait for a gap.
        """
        middle = road.line[[begin, end]].mean(axis=0)[None]
        half = road.profile.half_m + aside_m + CROSSING_KERB_M
        along = [float(self.lanes[lane].station_m[[first, last]].mean())
                 for lanes, first, last in ((forward, begin, end), (back, -1 - begin, -1 - end)) for lane in lanes]
        self.crossings.append(Crossing(
            len(self.crossings), np.concatenate([offset_line(middle, -half), offset_line(middle, half)]),
            CROSSING_WIDTH_M, forward + back, tuple(along), bool(self.rng.random() < ZEBRA_SHARE) and not aside_m))

    def add_junction(self, node: Node, piece: JunctionPiece) -> None:
        """Turn lanes for every pair of arms, and a stop or yield line on the minor ones."""
        if isinstance(piece, RoundaboutPiece):
            self._add_roundabout(node, piece)
            return
        number, arms = len(self.junctions), self.plan.arms(node)
        self.surfaces.append(Surface(piece.name, piece.outline_m, number))
        first = len(self.lanes)
        for arm_in in arms:
            self._add_turns(node, piece, number, arm_in)
        for arm, control in self._minor(node).items():
            for into in self.incoming[node, arm]:
                self.lanes[into] = replace(self.lanes[into], control=control)
        self.junctions.append(Junction(
            number, tuple(lane for k in arms for lane in self.incoming[node, k]), tuple(range(first, len(self.lanes))),
            tuple(lane for k in arms for lane in self.outgoing[node, k])))

    def _add_roundabout(self, node: Node, piece: RoundaboutPiece) -> None:
        """For each arm a lane into the ring, one out of it, one past the arm, and one on to the next arm.

        The ring has priority, and no lane of it asks for a manoeuvre but the exit, where drivers indicate right.
        """
        number, arms, first = len(self.junctions), self.plan.arms(node), len(self.lanes)
        self.surfaces.append(Surface(piece.name, piece.outline_m, number, piece.island_m))
        self.hatched += piece.splitters_m
        for i, arm in enumerate(arms):
            quarter, nearest = arm * math.pi / 2, arms[(i + 1) % len(arms)]
            onward = (nearest - arm) % 4 * math.pi / 2 + quarter
            (into,), (out,) = self.incoming[node, arm], self.outgoing[node, arm]
            here, after = first + 4 * i, first + 4 * ((i + 1) % len(arms))
            self.lanes[into] = replace(self.lanes[into], control=Control.YIELD, successors=(here,))
            past = piece.ring(quarter - ENTRY_RAD, quarter + ENTRY_RAD)
            along = piece.ring(quarter + ENTRY_RAD, onward - ENTRY_RAD)
            limit, width = min(self.lanes[into].speed_limit_mps, TURN_LIMIT_MPS), self.lanes[into].width_m
            for line, lane_width, turn, successors in (
                    (piece.entry(arm), width, Command.FOLLOW, (here + 3,)),
                    (piece.exit(arm), width, Command.RIGHT, (out,)),
                    (past, piece.ring_width_m, Command.FOLLOW, (here + 3,)),
                    (along, piece.ring_width_m, Command.FOLLOW, (after + 1, after + 2))):
                self.lanes.append(Lane(len(self.lanes), line[:, :2].copy(), lane_width, limit, Marking.NONE,
                                       Marking.NONE, successors, len(self.surfaces) - 1, junction=number, turn=turn))
        self.junctions.append(Junction(
            number, tuple(self.incoming[node, k][0] for k in arms), tuple(range(first, len(self.lanes))),
            tuple(self.outgoing[node, k][0] for k in arms)))

    def _add_turns(self, node: Node, piece: JunctionPiece, junction: int, arm_in: int) -> None:
        """The turn lanes from one arm, and the successors of the lanes that end there."""
        into, only = self.incoming[node, arm_in], self.bans.get((node, arm_in))
        ways = {turn: self.outgoing[out] for turn, out in turn_bans.ways(self.plan, (node, arm_in)).items()
                if only in (None, turn)}
        chosen = assign_turns(len(into), tuple(ways), tuple(len(lanes) for lanes in ways.values()))
        successors: list[list[int]] = [[] for _ in into]
        for turn, out in ways.items():
            users = [k for k in range(len(into)) if turn in chosen[k]]
            for number, k in enumerate(users):
                successors[k].append(len(self.lanes))
                self._add_turn(piece, junction, into[k], out[_target(turn, number, len(users), len(out))], arm_in, turn)
        for lane, after in zip(into, successors, strict=True):
            self.lanes[lane] = replace(self.lanes[lane], successors=tuple(after))

    def _add_turn(self, piece: JunctionPiece, junction: int, into: int, out: int, arm_in: int, turn: Command) -> None:
        """An arc or a straight from the end of lane `into` to the beginning of lane `out`."""
        arm, leave = piece.sockets[arm_in], self.lanes[out]
        assert arm is not None
        heading = {Command.LEFT: -math.pi / 2, Command.STRAIGHT: math.pi, Command.RIGHT: math.pi / 2}[turn]
        width = min(self.lanes[into].width_m, leave.width_m)
        beside_kerb = piece.corner_radius_m + SHOULDER_M + width / 2 if turn == Command.RIGHT else math.inf
        points = join(Socket.at(self.lanes[into].centre_m[-1], arm.heading_rad + math.pi),
                      Socket.at(leave.centre_m[0], arm.heading_rad + heading), beside_kerb)[:, :2].copy()
        self.lanes.append(Lane(
            len(self.lanes), points, width,
            min(self.lanes[into].speed_limit_mps, TURN_LIMIT_MPS), Marking.NONE, Marking.NONE, (out,),
            len(self.surfaces) - 1, junction=junction, turn=turn))

    def _minor(self, node: Node) -> dict[int, Control]:
        """The arms that must give way: a tee's stem, or of a cross the axis with fewer lanes.

        At some tees the main road bends, and it is the arm straight on that gives way. In zones of 30 km/h most
        junctions have no lines: whoever comes from the right goes first.
        """
        arms = self.plan.arms(node)
        if all((node, k) in self.plan.quiet for k in arms) and self.rng.random() < PRIORITY_TO_THE_RIGHT_SHARE:
            return {}
        control = Control.STOP if self.rng.random() < 0.5 else Control.YIELD
        if len(arms) == 3:
            stem = next(k for k in arms if (k + 2) % 4 not in arms)
            lanes = [self.plan.profile[node, k].num_lanes for k in arms]
            does_bend = self.rng.random() < BENDING_SHARE and len(set(lanes)) == 1
            return {(stem + int(self.rng.choice((1, 3)))) % 4 if does_bend else stem: control}
        lanes = [self.plan.profile[node, k].num_lanes for k in (0, 1)]
        axis = int(self.rng.integers(2)) if lanes[0] == lanes[1] else int(np.argmin(lanes))
        return {axis: control, axis + 2: control}

    @property
    def network(self) -> RoadNetwork:
        return RoadNetwork(tuple(self.lanes), tuple(self.junctions), tuple(self.surfaces), tuple(self.crossings),
                           tuple(self.hatched), tuple(self.bays), tuple(self.medians), tuple(self.works),
                           tuple(self.narrowings), open_edges=tuple(self.open_edges))
