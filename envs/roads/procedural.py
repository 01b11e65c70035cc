"""seed -> town: junctions on a bent grid, joined by roads of straights and curves.

The grid decides which junction meets which, so a town is connected and planar; drawn spacings, a warped grid, dropped
streets and wide bends make no two alike. Every lane continues: these towns have no dead ends. Streets keep to one lane
each way. Nothing here draws pictures or moves cars.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import networkx
import numpy as np

from envs.geometry import Array, stations, wrap_angle
from envs.lights import place_heads, plan_signals
from envs.roads.network import (
    CROSSING_KERB_M,
    SHOULDER_M,
    Command,
    Control,
    Crossing,
    Junction,
    Lane,
    Marking,
    RoadNetwork,
    Surface,
)
from envs.roads.pieces import (
    JunctionPiece,
    RoadPiece,
    Socket,
    biarc,
    cross,
    curve,
    offset_line,
    straight,
    tee,
    to_point,
)
from envs.roads.roadside import place_props
from envs.signs import place_signs
from envs.state import Town

Node = tuple[int, int]
Edge = tuple[Node, Node]
KMH = 1 / 3.6
SMALLEST_TOWN_M = 1500.0  # of road with a lane each way
SHARPEST_RADIUS_M = 16.0
FEWEST_JUNCTIONS = 4
MINIMUM_GAP_M = 6.0  # of grass between two roads that do not meet
BEND_SHARE = 0.4  # of a block that the bend at its end may take
SWAY_FROM_M = 130.0  # shorter blocks have no bend of their own, nor those that end in one
SOLID_RADIUS_M = 28.0  # a road with a tighter bend has a solid centre line
CROSSING_LIMIT_MPS = 50 * KMH  # people cross no faster street on foot (R-FGUE 2001: no zebra above 50 km/h)
CROSSING_WIDTH_M = 4.0  # along the road (R-FGUE 2001)
CROSSING_SETBACK_M = 7.5  # of a crossing's middle from the end of the road it is near
CROSSING_SPACING_M = 30.0  # between two crossings' middles, at least
CROSSING_BEND_RAD = 0.15  # by how much the road may turn over the crossing's width
ZEBRA_SHARE = 0.6
_GRIDS = ((3, 3), (3, 3), (4, 3), (3, 4), (4, 2), (4, 3))
_ARMS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # grid steps of the arms 0 to 3
# What is drawn for a town: (low, high) of a uniform distribution.
_RANGES = {
    "lane_width_m": (3.0, 3.5),
    "block_m": (105.0, 235.0),  # between two rows or columns of the grid
    "warp_m": (0.0, 26.0),  # amplitude of the wave that bends rows and columns
    "warp_length_m": (350.0, 700.0),
    "shift_m": (-16.0, 16.0),  # of a junction, in x and in y
    "skew_rad": (-0.05, 0.05),  # of a junction against the mean direction of its arms
    "bend_m": (24.0, 100.0),  # tangent length of the bend where two streets meet; the radius if at right angles
    "sway": (0.03, 0.09),  # sideways bulge of a block as a share of its length
    "corner_radius_m": (5.0, 8.0),
    "run_up_m": (6.0, 14.0),  # straight road before a junction
}


@dataclass(frozen=True)
class _Limit:
    """A speed limit and the roads it suits; drivers slow down further for their sharpest bends."""

    kmh: float
    radius_m: float  # smallest
    shortest_m: float
    longest_m: float
    weight: float  # of being chosen among the suitable ones


_LIMITS = (
    _Limit(100, 150.0, 150.0, math.inf, 4.0),
    _Limit(70, 80.0, 110.0, math.inf, 4.0),
    _Limit(50, 24.0, 60.0, math.inf, 2.0),
    _Limit(30, 0.0, 0.0, 280.0, 1.0),
)


@dataclass(frozen=True, eq=False)
class _Plan:
    """The grid before it is paved: where junctions stand and which are joined."""

    graph: networkx.Graph  # over grid nodes
    position_m: dict[Node, Array]
    heading_rad: dict[Node, float]  # of arm 0
    bend_m: dict[Node, float]  # where two streets meet
    sway_m: dict[Edge, float]  # to the left of the middle between the two nodes
    lane_width_m: float


@dataclass(frozen=True, eq=False)
class _Road:
    """Pieces from one junction arm to another."""

    begin: tuple[Node, int]
    end: tuple[Node, int]
    pieces: tuple[RoadPiece, ...]

    @functools.cached_property
    def line(self) -> Array:
        """The middle (N, 3) of the whole road without doubled joints."""
        line = np.concatenate([self.pieces[0].line] + [piece.line[1:] for piece in self.pieces[1:]])
        line[:, 2] = np.unwrap(line[:, 2])
        return line

    @functools.cached_property
    def length_m(self) -> float:
        return float(self.station_m[-1])

    @functools.cached_property
    def station_m(self) -> Array:
        """Arc length (N,) along the middle [m]."""
        return stations(self.line[:, :2])

    def bends_by(self, station_m: float, within_m: float) -> float:
        """By how much the road turns [rad] from half of `within_m` before a station to half after it."""
        ends = np.interp(station_m + np.array([-0.5, 0.5]) * within_m, self.station_m, self.line[:, 2])
        return abs(float(ends[1] - ends[0]))

    @functools.cached_property
    def radius_m(self) -> float:
        return min(piece.radius_m for piece in self.pieces)

    @property
    def is_drivable(self) -> bool:
        """No bend too sharp, and no piece that turns back on itself."""
        return self.radius_m >= SHARPEST_RADIUS_M and all(abs(piece.turn_rad) < 2.0 for piece in self.pieces)


def _draw(rng: np.random.Generator, name: str, size: int | tuple[int, ...] | None = None) -> Array:
    """Uniform number(s) from a row of _RANGES."""
    return np.asarray(rng.uniform(*_RANGES[name], size))


def _streets(rng: np.random.Generator, columns: int, rows: int) -> networkx.Graph:
    """A grid that lost some streets; every street left lies on a ring, so that nobody must turn round."""
    graph = networkx.grid_2d_graph(columns, rows)
    for edge in rng.permutation(np.array(list(graph.edges)), axis=0)[:rng.integers(0, columns * rows // 3 + 1)]:
        a, b = (tuple(int(i) for i in node) for node in edge)
        graph.remove_edge(a, b)
        num_junctions = sum(degree > 2 for _, degree in graph.degree)
        if (min(graph.degree[a], graph.degree[b]) < 2 or num_junctions < FEWEST_JUNCTIONS
                or networkx.has_bridges(graph) or not networkx.is_connected(graph)):
            graph.add_edge(a, b)
    return graph


def _positions(rng: np.random.Generator, graph: networkx.Graph, columns: int, rows: int) -> dict[Node, Array]:
    """Where the grid's nodes lie: uneven blocks, warped by a wave along each axis, shifted and turned as a whole."""
    xs = np.concatenate([[0.0], np.cumsum(_draw(rng, "block_m", columns - 1))])
    ys = np.concatenate([[0.0], np.cumsum(_draw(rng, "block_m", rows - 1))])
    points = np.array([(xs[i], ys[j]) for i, j in graph])
    wave = 2 * math.pi * points[:, ::-1] / _draw(rng, "warp_length_m", 2) + rng.uniform(0, 2 * math.pi, 2)
    points = points + _draw(rng, "warp_m", 2) * np.sin(wave) + _draw(rng, "shift_m", points.shape)
    angle = rng.uniform(-math.pi, math.pi)
    cos, sin = math.cos(angle), math.sin(angle)
    return dict(zip(graph, points @ np.array([[cos, sin], [-sin, cos]]), strict=True))


def _plan(rng: np.random.Generator) -> _Plan:
    columns, rows = _GRIDS[rng.integers(len(_GRIDS))]
    graph = _streets(rng, columns, rows)
    position = _positions(rng, graph, columns, rows)
    heading, bend, sway = {}, {}, {}
    for node in graph:
        towards = np.array([_direction(position, node, _next(node, k)) - k * math.pi / 2 for k in _arms(graph, node)])
        mean = towards[0] + wrap_angle(towards - towards[0]).mean()
        shortest = min(math.dist(position[node], position[_next(node, k)]) for k in _arms(graph, node))
        heading[node] = float(mean + _draw(rng, "skew_rad"))
        bend[node] = min(float(_draw(rng, "bend_m")), BEND_SHARE * shortest)
    for a, b in graph.edges:
        length = math.dist(position[a], position[b])
        if length > SWAY_FROM_M and min(graph.degree[a], graph.degree[b]) > 2 and rng.random() < 0.7:
            sway[a, b] = float(_draw(rng, "sway")) * length * rng.choice([-1.0, 1.0])
            sway[b, a] = -sway[a, b]
    return _Plan(graph, position, heading, bend, sway, float(_draw(rng, "lane_width_m")))


def _next(node: Node, arm: int) -> Node:
    return node[0] + _ARMS[arm][0], node[1] + _ARMS[arm][1]


def _arms(graph: networkx.Graph, node: Node) -> list[int]:
    return [k for k in range(4) if graph.has_edge(node, _next(node, k))]


def _direction(position_m: dict[Node, Array], a: Node, b: Node) -> float:
    """Heading [rad] from one node to another."""
    return math.atan2(position_m[b][1] - position_m[a][1], position_m[b][0] - position_m[a][0])


def _pave_junction(plan: _Plan, node: Node, corner_radius_m: float) -> JunctionPiece:
    """The node's tee or cross, its sockets indexed by grid arm."""
    arms = _arms(plan.graph, node)
    if len(arms) == 4:
        return cross(Socket.at(plan.position_m[node], plan.heading_rad[node]), plan.lane_width_m, corner_radius_m)
    missing = next(k for k in range(4) if k not in arms)
    first = (missing + 1) % 4  # the missing arm lies to the right of a tee's heading
    piece = tee(Socket.at(plan.position_m[node], plan.heading_rad[node] + first * math.pi / 2),
                plan.lane_width_m, corner_radius_m)
    by_arm = {(first + k) % 4: socket for k, socket in enumerate(piece.sockets)}
    return replace(piece, sockets=tuple(by_arm[k] for k in range(4)))


def _bend(plan: _Plan, before: Node, node: Node, after: Node) -> tuple[Socket, RoadPiece]:
    """The bend at a node of two arms: where it begins, and the piece that turns the road to the next node."""
    inward, outward = _direction(plan.position_m, before, node), _direction(plan.position_m, node, after)
    angle, tangent = float(wrap_angle(outward - inward)), plan.bend_m[node]
    entry = Socket.at(plan.position_m[node] - tangent * np.array([math.cos(inward), math.sin(inward)]), inward)
    if abs(angle) < 0.02:
        return entry, straight(entry, plan.lane_width_m, 2 * tangent)
    return entry, curve(entry, plan.lane_width_m, tangent / math.tan(abs(angle) / 2), angle)


def _way(plan: _Plan, before: Node, node: Node) -> Iterator[Socket]:
    """The point between two nodes through which their street bulges, if it does."""
    if (before, node) in plan.sway_m:
        heading, left = _direction(plan.position_m, before, node), plan.sway_m[before, node]
        middle = (plan.position_m[before] + plan.position_m[node]) / 2
        yield Socket.at(middle + left * np.array([-math.sin(heading), math.cos(heading)]), heading)


def _lay_road(plan: _Plan, junctions: dict[Node, JunctionPiece], node: Node, arm: int, run_up_m: float) -> _Road:
    """The road that leaves a junction by `arm`, through any bends, up to the next junction."""
    socket = junctions[node].sockets[arm]
    assert socket is not None
    width, begin = plan.lane_width_m, (node, arm)
    pieces = [straight(socket, width, run_up_m)]
    while True:
        before, node, arm_in = node, _next(node, arm), (arm + 2) % 4
        for way in _way(plan, before, node):
            pieces += biarc(pieces[-1].end, way, width)
        if node in junctions:
            goal = junctions[node].sockets[arm_in]
            assert goal is not None
            inward = Socket(goal.x_m + run_up_m * math.cos(goal.heading_rad),
                            goal.y_m + run_up_m * math.sin(goal.heading_rad), goal.heading_rad + math.pi)
            pieces += biarc(pieces[-1].end, inward, width)
            pieces.append(straight(pieces[-1].end, width, run_up_m))
            return _Road(begin, (node, arm_in), tuple(pieces))
        arm = next(k for k in _arms(plan.graph, node) if k != arm_in)
        entry, turn = _bend(plan, before, node, _next(node, arm))
        pieces += [*biarc(pieces[-1].end, entry, width), turn]


def _keep_apart(roads: list[_Road], lane_width_m: float) -> bool:
    """Whether roads keep MINIMUM_GAP_M of grass between them, their ends at junctions left out."""
    apart = 2 * lane_width_m + 1.0 + MINIMUM_GAP_M
    lines = [road.line[:, :2] for road in roads]
    cores = []
    for line in lines:
        clear = np.minimum(np.hypot(*(line - line[0]).T), np.hypot(*(line - line[-1]).T)) > apart
        cores.append(line[clear][::2])
    for i, core in enumerate(cores):
        others = [line for j, line in enumerate(cores) if j > i]
        rest = np.concatenate(others) if others else np.zeros((0, 2))
        if len(core) and len(rest):
            gaps = (core[:, 0, None] - rest[:, 0]) ** 2 + (core[:, 1, None] - rest[:, 1]) ** 2
            if gaps.min() < apart * apart:
                return False
    return True


def _speed_limit(road: _Road, rng: np.random.Generator) -> float:
    """A limit [m/s] that suits the road's bends and length; a long road with a hairpin gets the lowest."""
    suits = [row for row in _LIMITS
             if road.radius_m >= row.radius_m and row.shortest_m <= road.length_m <= row.longest_m]
    rows = suits or [_LIMITS[-1]]
    weights = np.array([row.weight for row in rows])
    return float(rng.choice([row.kmh for row in rows], p=weights / weights.sum())) * KMH


class _Builder:
    """Collects lanes while roads and junctions are joined; `network` freezes them."""

    def __init__(self, plan: _Plan, rng: np.random.Generator) -> None:
        self.plan, self.rng = plan, rng
        self.lanes: list[Lane] = []
        self.surfaces: list[Surface] = []
        self.junctions: list[Junction] = []
        self.crossings: list[Crossing] = []
        self.streets: list[tuple[_Road, tuple[int, ...], tuple[int, ...]]] = []  # where people cross: lanes each way
        self.incoming: dict[tuple[Node, int], int] = {}
        self.outgoing: dict[tuple[Node, int], int] = {}

    def add_road(self, road: _Road) -> None:
        """Two lanes, one each way, and a surface for each piece."""
        limit, line = _speed_limit(road, self.rng), road.line
        centre = Marking.SOLID if road.radius_m < SOLID_RADIUS_M else Marking.DASHED
        forward, back = len(self.lanes), len(self.lanes) + 1
        half = self.plan.lane_width_m / 2
        for lane, points in ((forward, offset_line(line, -half)), (back, offset_line(line, half)[::-1].copy())):
            self.lanes.append(Lane(lane, points, self.plan.lane_width_m, limit, centre, Marking.SOLID, (),
                                   len(self.surfaces), opposite=back if lane == forward else forward))
        if limit <= CROSSING_LIMIT_MPS:
            self.streets.append((road, (forward,), (back,)))
        self.outgoing[road.begin], self.incoming[road.begin] = forward, back
        self.incoming[road.end], self.outgoing[road.end] = forward, back
        self.surfaces += [Surface(piece.name, piece.outline_m, None) for piece in road.pieces]

    def add_junction(self, node: Node, piece: JunctionPiece) -> None:
        """A turn lane for every pair of arms, and a stop or yield line on the minor ones."""
        number, arms = len(self.junctions), _arms(self.plan.graph, node)
        self.surfaces.append(Surface(piece.name, piece.outline_m, number))
        turns: list[int] = []
        for arm_in in arms:
            into = self.incoming[node, arm_in]
            first = len(self.lanes)
            for arm_out in (k for k in arms if k != arm_in):
                self._add_turn(piece, number, into, self.outgoing[node, arm_out], arm_in, arm_out)
            turns += range(first, len(self.lanes))
            self.lanes[into] = replace(self.lanes[into], successors=tuple(range(first, len(self.lanes))))
        for arm, control in self._minor(arms).items():
            into = self.incoming[node, arm]
            self.lanes[into] = replace(self.lanes[into], control=control)
        self.junctions.append(Junction(number, tuple(self.incoming[node, k] for k in arms), tuple(turns),
                                       tuple(self.outgoing[node, k] for k in arms)))

    def _add_turn(self, piece: JunctionPiece, junction: int, into: int, out: int, arm_in: int, arm_out: int) -> None:
        """A quarter circle or a straight from the end of lane `into` to the beginning of lane `out`."""
        arm, width = piece.sockets[arm_in], self.plan.lane_width_m
        assert arm is not None
        enter = Socket.at(self.lanes[into].centre_m[-1], arm.heading_rad + math.pi)
        points = to_point(enter, width, *self.lanes[out].centre_m[0].tolist()).line[:, :2].copy()
        turn = {1: Command.RIGHT, 2: Command.STRAIGHT, 3: Command.LEFT}[(arm_out - arm_in) % 4]
        limit = min(self.lanes[into].speed_limit_mps, 50 * KMH)
        self.lanes.append(Lane(len(self.lanes), points, width, limit, Marking.NONE, Marking.NONE, (out,),
                               len(self.surfaces) - 1, junction=junction, turn=turn))

    def _minor(self, arms: list[int]) -> dict[int, Control]:
        """The arms that must give way: a tee's stem, or one axis of a cross."""
        control = Control.STOP if self.rng.random() < 0.5 else Control.YIELD
        if len(arms) == 3:
            return {k: control for k in arms if (k + 2) % 4 not in arms}
        axis = int(self.rng.integers(2))
        return {axis: control, axis + 2: control}

    def add_crossings(self, rng: np.random.Generator) -> None:
        """Pedestrian crossings on slow streets: some halfway, some near the street's ends, on straight stretches."""
        for road, forward, back in self.streets:
            wished = [float(rng.uniform(0.35, 0.65)) * road.length_m, CROSSING_SETBACK_M,
                      road.length_m - CROSSING_SETBACK_M]
            is_wished, is_zebra = rng.random(3) < (0.45, 0.25, 0.25), rng.random(3) < ZEBRA_SHARE
            taken: list[float] = []
            for k in np.flatnonzero(is_wished):
                apart = min((abs(wished[k] - other) for other in taken), default=math.inf)
                inside = min(wished[k], road.length_m - wished[k]) >= CROSSING_SETBACK_M
                if inside and apart >= CROSSING_SPACING_M and road.bends_by(wished[k], CROSSING_WIDTH_M) \
                        <= CROSSING_BEND_RAD:
                    taken.append(wished[k])
                    self._add_crossing(road, forward, back, wished[k], bool(is_zebra[k]))

    def _add_crossing(self, road: _Road, forward: tuple[int, ...], back: tuple[int, ...], station_m: float,
                      is_zebra: bool) -> None:
        """A crossing over all lanes of a road at a station of its middle line."""
        rows = np.arange(len(road.line))
        at = float(np.interp(station_m, road.station_m, rows))  # of the point there, whole or not
        middle = np.array([[np.interp(at, rows, road.line[:, k]) for k in range(3)]])
        half = self.plan.lane_width_m + SHOULDER_M + CROSSING_KERB_M
        ends = np.concatenate([offset_line(middle, -half), offset_line(middle, half)])
        along = [float(np.interp(row, rows, self.lanes[lane].station_m))
                 for lanes, row in ((forward, at), (back, rows[-1] - at)) for lane in lanes]
        self.crossings.append(Crossing(len(self.crossings), ends, CROSSING_WIDTH_M, forward + back, tuple(along),
                                       is_zebra))

    @property
    def network(self) -> RoadNetwork:
        return RoadNetwork(tuple(self.lanes), tuple(self.junctions), tuple(self.surfaces), tuple(self.crossings))


def _lay_all(plan: _Plan, junctions: dict[Node, JunctionPiece], rng: np.random.Generator) -> list[_Road]:
    """Every road of the plan once; fewer if one of them cannot be driven, for then the plan is of no use."""
    roads: list[_Road] = []
    ends: set[tuple[Node, int]] = set()
    for node in junctions:
        for arm in _arms(plan.graph, node):
            if (node, arm) not in ends:
                roads.append(_lay_road(plan, junctions, node, arm, float(_draw(rng, "run_up_m"))))
                ends |= {roads[-1].begin, roads[-1].end}
                if not roads[-1].is_drivable:
                    return []
    return roads


def build_network(seed: int) -> RoadNetwork:
    """The road network of a town: connected, without overlaps, at least SMALLEST_TOWN_M of road.

    Plans that would overlap or fall short are drawn again from the same stream, so a seed always gives one network.
    """
    streams = np.random.SeedSequence(seed).spawn(4)
    rng = np.random.default_rng(streams[0])
    while True:
        plan = _plan(rng)
        junctions = {node: _pave_junction(plan, node, float(_draw(rng, "corner_radius_m")))
                     for node in plan.graph if plan.graph.degree[node] > 2}
        roads = _lay_all(plan, junctions, rng)
        if sum(road.length_m for road in roads) < SMALLEST_TOWN_M + 20.0 or not _keep_apart(roads, plan.lane_width_m):
            continue
        builder = _Builder(plan, rng)
        for road in roads:
            builder.add_road(road)
        for node, piece in junctions.items():
            builder.add_junction(node, piece)
        builder.add_crossings(np.random.default_rng(streams[3]))
        return builder.network


@functools.lru_cache(maxsize=64)
def build_town(seed: int) -> Town:
    """The town of a seed: roads, then lights, signs and scenery, each from its own stream of random numbers."""
    _, for_signs, for_props, for_lights = np.random.SeedSequence(seed).spawn(4)
    network, signal_plan = plan_signals(build_network(seed), np.random.default_rng(for_lights))
    return Town(seed, network, place_signs(network, np.random.default_rng(for_signs)),
                place_props(network, np.random.default_rng(for_props)), place_heads(network), signal_plan)
