"""A plan becomes pieces: its junctions are paved, its roads laid between them; whether those keep apart.

Nothing here draws a plan, and nothing here knows lanes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from envs.geometry import Array, stations, unwrapped, wrap_angle
from envs.roads.network import SHOULDER_M
from envs.roads.pieces import PIECES, RAMP_ASIDE_M, JunctionPiece, RampPiece, cross, roundabout, tee
from envs.roads.plan import (
    BESIDE_M,
    BUILT_UP_PIECES,
    EXIT_M,
    JUNCTION_M,
    MERGE_M,
    RING_WIDTH_M,
    Arm,
    Node,
    Plan,
    Profile,
    direction,
    draw,
    step,
)
from envs.roads.sockets import RoadPiece, Socket, biarc, curve, straight

MINIMUM_GAP_M = 6.0  # of grass between two roads that do not meet
SHARPEST_RADIUS_M = 16.0  # of a road with a lane each way; wider roads bend about as much less as they are wider
CROSSING_SETBACK_M = 7.5  # of a crossing's middle from the end of the road it is near
CROSSING_WIDTH_M = 4.0  # along the road (R-FGUE 2001)


@dataclass(frozen=True, eq=False)
class Road:
    """Pieces from one junction arm to another."""

    begin: Arm
    end: Arm
    profile: Profile
    pieces: tuple[RoadPiece, ...]

    @functools.cached_property
    def line(self) -> Array:
        """The middle (N, 3) of the whole road without doubled joints."""
        line = np.concatenate([self.pieces[0].line] + [piece.line[1:] for piece in self.pieces[1:]])
        line[:, 2] = unwrapped(line[:, 2])
        return line

    @functools.cached_property
    def station_m(self) -> Array:
        """Arc length (N,) along the middle [m]."""
        return stations(self.line[:, :2])

    @functools.cached_property
    def shift_m(self) -> Array:
        """How far (2, N) the right and the left side's lanes move left of where the middle has them [m]."""
        return self._along("shift_m", np.zeros((2, len(self.line))))

    @functools.cached_property
    def narrower_m(self) -> Array:
        """By how much (N,) each direction's lanes are narrower than the profile has them [m]."""
        return self._along("narrower_m", np.zeros(len(self.line)))

    def _along(self, field: str, values: Array) -> Array:
        """`values` (..., N) with those of the pieces that have such a field."""
        row = 0
        for piece in self.pieces:
            own = getattr(piece, field)
            if own is not None:
                values[..., row:row + len(piece.line)] = own
            row += len(piece.line) - 1
        return values

    @property
    def length_m(self) -> float:
        return float(self.station_m[-1])

    @functools.cached_property
    def radius_m(self) -> float:
        return min(piece.radius_m for piece in self.pieces)

    @property
    def is_drivable(self) -> bool:
        """No bend too sharp, and no piece that turns back on itself."""
        inner = (self.profile.num_lanes - 1) * self.profile.lane_width_m
        return self.radius_m - inner >= SHARPEST_RADIUS_M and all(abs(piece.turn_rad) < 2.0 for piece in self.pieces)

    @property
    def is_swerving(self) -> bool:
        """Whether lanes lead round something, so that nobody may overtake."""
        return any(piece.shift_m is not None for piece in self.pieces)

    @property
    def is_built_up(self) -> bool:
        """Whether people cross it or get on buses."""
        return any(piece.name in BUILT_UP_PIECES for piece in self.pieces)

    @functools.cached_property
    def ramp(self) -> RoadPiece | None:
        """The one-way road beside it, from its exit to its entry."""
        ends = [piece for piece in self.pieces if isinstance(piece, RampPiece)]
        if not ends:
            return None
        leave, join = ends
        begin = Socket.at(leave.lane[-1], leave.lane[-1, 2])
        length = math.dist(begin.point_m, join.lane[0, :2])
        ramp: RoadPiece = PIECES["ramp"](begin, self.profile.lane_width_m / 2 + SHOULDER_M, length, BESIDE_M)
        return ramp

    @property
    def reach_m(self) -> float:
        """From the middle to the farthest asphalt."""
        return self.profile.half_m + (self.profile.lane_width_m + RAMP_ASIDE_M if self.ramp is not None else 0.0)

    def rows_of(self, name: str) -> Iterator[tuple[RoadPiece, int, int]]:
        """Each piece of a name with its first and last row in `line`."""
        row = 0
        for piece in self.pieces:
            if piece.name == name:
                yield piece, row, row + len(piece.line) - 1
            row += len(piece.line) - 1


def pave_junction(plan: Plan, node: Node, corner_radius_m: float) -> JunctionPiece:
    """The node's tee, cross or roundabout, its sockets indexed by grid arm."""
    present = plan.arms(node)
    if node in plan.ring_m:
        return roundabout(Socket.at(plan.position_m[node], plan.heading_rad[node]),
                          tuple(plan.profile[node, k].half_m if k in present else None for k in range(4)),
                          plan.ring_m[node], RING_WIDTH_M)
    if len(present) == 4:
        a, b, c, d = (plan.profile[node, k].half_m for k in range(4))
        return cross(Socket.at(plan.position_m[node], plan.heading_rad[node]), (a, b, c, d), corner_radius_m)
    missing = next(k for k in range(4) if k not in present)
    first = (missing + 1) % 4  # the missing arm lies to the right of a tee's heading
    a, b, c = (plan.profile[node, (first + k) % 4].half_m for k in range(3))
    piece = tee(Socket.at(plan.position_m[node], plan.heading_rad[node] + first * math.pi / 2), (a, b, c),
                corner_radius_m)
    by_arm = {(first + k) % 4: socket for k, socket in enumerate(piece.sockets)}
    return replace(piece, sockets=tuple(by_arm[k] for k in range(4)))


def _bend(plan: Plan, before: Node, node: Node, after: Node, half_m: float) -> tuple[Socket, RoadPiece]:
    """The bend at a node of two arms: where it begins, and the piece that turns the road to the next node."""
    inward, outward = direction(plan.position_m, before, node), direction(plan.position_m, node, after)
    angle, tangent = float(wrap_angle(outward - inward)), plan.bend_m[node]
    entry = Socket.at(plan.position_m[node] - tangent * np.array([math.cos(inward), math.sin(inward)]), inward)
    if abs(angle) < 0.02:
        return entry, straight(entry, half_m, 2 * tangent)
    return entry, curve(entry, half_m, tangent / math.tan(abs(angle) / 2), angle)


def _way(plan: Plan, before: Node, node: Node, half_m: float) -> Iterator[tuple[Socket, tuple[RoadPiece, ...]]]:
    """What lies between two nodes: a point through which the street passes, and the pieces that begin there."""
    edge = (before, node) if (before, node) in plan.feature else (node, before)
    if edge not in plan.feature and edge not in plan.sway_m:
        return
    heading, aside = direction(plan.position_m, before, node), plan.sway_m.get((before, node), 0.0)
    along = np.array([math.cos(heading), math.sin(heading)])
    ends = [plan.bend_m[k] if plan.graph.degree[k] == 2 else JUNCTION_M for k in (before, node)]
    middle = (plan.position_m[before] + plan.position_m[node]) / 2
    if edge not in plan.feature:
        yield Socket.at(middle + aside * np.array([-along[1], along[0]]), heading), ()
        return
    name, arguments = plan.feature[edge]
    middle = middle + (ends[0] - ends[1]) / 2 * along + 0.5 * aside * np.array([-along[1], along[0]])
    socket = Socket.at(middle - arguments[0] / 2 * along, heading)
    if name == "exit_ramp":
        yield socket, _ramps(socket, half_m, *arguments)
        return
    yield socket, (PIECES[name](socket, half_m, *arguments),)


def _ramps(socket: Socket, half_m: float, length_m: float, lane_width_m: float) -> tuple[RoadPiece, ...]:
    """A straight road with an exit at its begin and an entry at its end, `length_m` in all."""
    leave = PIECES["exit_ramp"](socket, half_m, EXIT_M, lane_width_m)
    between = straight(leave.end, half_m, length_m - EXIT_M - MERGE_M)
    return leave, between, PIECES["merge_ramp"](between.end, half_m, MERGE_M, lane_width_m)


def _run_up(socket: Socket, half_m: float, length_m: float, is_crossed: bool) -> list[RoadPiece]:
    """The straight road that leaves a junction; its pedestrian crossing stands CROSSING_SETBACK_M away."""
    if not is_crossed:
        return [straight(socket, half_m, length_m)]
    pieces = [straight(socket, half_m, CROSSING_SETBACK_M - CROSSING_WIDTH_M / 2)]
    pieces.append(PIECES["crossing"](pieces[0].end, half_m, CROSSING_WIDTH_M))
    return [*pieces, straight(pieces[1].end, half_m, length_m)]


def _turned(pieces: list[RoadPiece]) -> list[RoadPiece]:
    """The same pieces travelled from the other end, for those without a left and a right."""
    lines = [piece.line[::-1] + np.array([0.0, 0.0, math.pi]) for piece in pieces[::-1]]
    return [replace(piece, line=line) for piece, line in zip(pieces[::-1], lines, strict=True)]


def _lay_road(plan: Plan, junctions: dict[Node, JunctionPiece], begin: Arm, run_up_m: float) -> Road:
    """The road that leaves a junction by an arm, through any bends, up to the next junction."""
    node, arm = begin
    socket, profile = junctions[node].sockets[arm], plan.profile[begin]
    assert socket is not None
    half = profile.half_m
    pieces = _run_up(socket, half, run_up_m, begin in plan.crossing)
    while True:
        before, node, arm_in = node, step(node, arm), (arm + 2) % 4
        for way, features in _way(plan, before, node, half):
            pieces += [*biarc(pieces[-1].end, way, half), *features]
        if node in junctions:
            end = junctions[node].sockets[arm_in]
            assert end is not None
            last = _turned(_run_up(end, half, run_up_m, (node, arm_in) in plan.crossing))
            return Road(begin, (node, arm_in), profile,
                        (*pieces, *biarc(pieces[-1].end, Socket.at(last[0].line[0], last[0].line[0, 2]), half), *last))
        arm = next(k for k in plan.arms(node) if k != arm_in)
        entry, turn = _bend(plan, before, node, step(node, arm), half)
        pieces += [*biarc(pieces[-1].end, entry, half), turn]


def lay_all(plan: Plan, junctions: dict[Node, JunctionPiece], rng: np.random.Generator) -> list[Road]:
    """Every road of the plan once; fewer if one of them cannot be driven, for then the plan is of no use."""
    roads: list[Road] = []
    ends: set[Arm] = set()
    for node in junctions:
        for arm in plan.arms(node):
            if (node, arm) not in ends:
                roads.append(_lay_road(plan, junctions, (node, arm), float(draw(rng, "run_up_m"))))
                ends |= {roads[-1].begin, roads[-1].end}
                if not roads[-1].is_drivable:
                    return []
    return roads


def are_apart(roads: list[Road]) -> bool:
    """Whether roads keep MINIMUM_GAP_M of grass between them, their ends at junctions left out."""
    cores = []
    for road in roads:
        line, clear_m = road.line[:, :2], 2 * road.profile.half_m + MINIMUM_GAP_M
        clear = np.minimum(np.hypot(*(line - line[0]).T), np.hypot(*(line - line[-1]).T)) > clear_m
        cores.append(line[clear][::2])
    for i, core in enumerate(cores):
        others = range(i + 1, len(cores))
        rest = np.concatenate([np.zeros((0, 2)), *(cores[j] for j in others)])
        if len(core) and len(rest):
            half = np.repeat([roads[j].reach_m for j in others], [len(cores[j]) for j in others])
            apart = roads[i].reach_m + half + MINIMUM_GAP_M
            gaps = (core[:, 0, None] - rest[:, 0]) ** 2 + (core[:, 1, None] - rest[:, 1]) ** 2
            if (gaps.min(axis=0) < apart * apart).any():
                return False
    return True
