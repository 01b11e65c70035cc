"""A town before it has lanes: where junctions stand, which streets join them, how wide they are, and their pieces.

The grid decides which junction meets which, so a town is connected and planar; drawn spacings, a warped grid, dropped
streets and wide bends make no two alike. What a street has on its way (a crossing, an S-bend, a bus bay) is a row of
FEATURES. No lanes, no signs and no traffic rules here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import networkx
import numpy as np

from envs.geometry import Array, wrap_angle
from envs.roads.network import SHOULDER_M

Node = tuple[int, int]
Edge = tuple[Node, Node]
Arm = tuple[Node, int]  # of a junction: the grid step 0 to 3 in which it leads
FEWEST_JUNCTIONS = 4
BEND_SHARE = 0.4  # of a block that the bend at its end may take
SWAY_FROM_M = 130.0  # shorter blocks have no bend of their own, nor those that end in one
JUNCTION_M = 45.0  # of a block that a junction at its end and the straight before it may take
FEATURE_CLEARANCE_M = 30.0  # of a block left for bends to and from a feature
RAMP_CLEARANCE_M = 156.0  # before an exit and behind an entry, to change lanes there
_GRIDS = ((3, 3), (3, 3), (4, 3), (3, 4), (4, 2), (4, 3))
_ARMS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # grid steps of the arms 0 to 3
# What is drawn for a town: (low, high) of a uniform distribution.
_RANGES = {
    "narrow_lane_m": (3.0, 3.5),
    "wide_lane_m": (3.25, 3.75),  # where there are several each way
    "block_m": (105.0, 235.0),  # between two rows or columns of the grid
    "country_scale": (1.3, 2.0),  # of blocks and bends in the open country
    "warp_m": (0.0, 26.0),  # amplitude of the wave that bends rows and columns
    "warp_length_m": (350.0, 700.0),
    "shift_m": (-16.0, 16.0),  # of a junction, in x and in y
    "skew_rad": (-0.05, 0.05),  # of a junction against the mean direction of its arms
    "bend_m": (24.0, 100.0),  # tangent length of the bend where two streets meet; the radius if at right angles
    "sway": (0.03, 0.09),  # sideways bulge of a block as a share of its length
    "corner_radius_m": (5.0, 8.0),
    "ring_m": (12.5, 17.0),  # radius of a roundabout, to the middle of its lane
    "ramps_m": (265.0, 290.0),  # from where a ramp leaves a road to where it has joined it again
    "run_up_m": (6.0, 14.0),  # straight road before a junction
}
MAIN_AXIS_SHARE, SIDE_AXIS_SHARE = 0.55, 0.25  # of axes with several lanes each way: the longest of a town, the others
THREE_LANES_SHARE = 0.25  # of those with three
SHORTEST_WIDE_M = 170.0  # between two nodes: room to change lanes twice before the junction
ROUNDABOUT_SHARE, RING_WIDTH_M = 0.3, 4.5  # of junctions of narrow roads; of the lane round it
COUNTRY_SHARE = 0.25  # of towns with wide blocks
QUIET_SHARE = 0.4  # of towns with a zone of 30 km/h
BUILT_UP_SHARE = 0.6  # of roads: where people cross and buses stop
BUILT_UP_PIECES = ("crossing", "bus_bay", "refuge")
RAMP_SHARE = 0.6  # of towns in which a wide road shall have an exit and an entry; some have no room for it
EXIT_M, MERGE_M = 52.0, 45.0  # of road that these take
BESIDE_M = 64.0  # of the lane on which whoever joins gathers speed


def draw(rng: np.random.Generator, name: str, size: int | tuple[int, ...] | None = None) -> Array:
    """Uniform number(s) from a row of _RANGES."""
    return np.asarray(rng.uniform(*_RANGES[name], size))


@dataclass(frozen=True)
class Profile:
    """A road's cross-section: the same on both sides of its middle."""

    num_lanes: int  # each way
    lane_width_m: float

    @property
    def half_m(self) -> float:
        """From the middle to the paved edge."""
        return self.num_lanes * self.lane_width_m + SHOULDER_M


@dataclass(frozen=True)
class Feature:
    """Something on a block's way: a row of PIECES, where it suits, and what it takes after its socket and half width.

    `draw` returns those arguments; the first is the length along the block, at most `longest_m`.
    """

    piece: str
    share: float  # of the blocks where it fits, or what is left of them by the rows before
    longest_m: float
    draw: Callable[[np.random.Generator], tuple[float, ...]]
    is_built_up: bool = False  # only where people live
    most_lanes: int = 3  # each way


@dataclass(frozen=True, eq=False)
class Plan:
    """The grid before it is paved: where junctions stand and which are joined."""

    graph: networkx.Graph  # over grid nodes
    position_m: dict[Node, Array]
    heading_rad: dict[Node, float]  # of arm 0
    bend_m: dict[Node, float]  # where two streets meet
    sway_m: dict[Edge, float]  # to the left of the middle between the two nodes
    profile: dict[Arm, Profile]  # of the road at a junction's arm
    feature: dict[Edge, tuple[str, tuple[float, ...]]]  # on the way between two nodes: a piece and its arguments
    crossing: frozenset[Arm]  # with a pedestrian crossing just outside the junction
    ring_m: dict[Node, float]  # radius of the roundabouts
    quiet: frozenset[Arm]  # of the roads in a zone of 30 km/h, around one junction

    def arms(self, node: Node) -> list[int]:
        return arms(self.graph, node)


def step(node: Node, arm: int) -> Node:
    """The grid node that an arm leads to."""
    return node[0] + _ARMS[arm][0], node[1] + _ARMS[arm][1]


def arms(graph: networkx.Graph, node: Node) -> list[int]:
    """The arms of a node, counter-clockwise."""
    return [k for k in range(4) if graph.has_edge(node, step(node, k))]


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


def _positions(rng: np.random.Generator, graph: networkx.Graph, columns: int, rows: int, scale: float,
               wanted: tuple[Edge, float] | None) -> dict[Node, Array]:
    """Where the grid's nodes lie: uneven blocks, warped by a wave along each axis, shifted and turned as a whole.

    One block may be `wanted` at least so long.
    """
    blocks = [scale * draw(rng, "block_m", count - 1) for count in (columns, rows)]
    if wanted is not None:
        (a, b), least_m = wanted
        axis = int(a[0] == b[0])
        blocks[axis][min(a[axis], b[axis])] = max(least_m, float(blocks[axis][min(a[axis], b[axis])]))
    xs, ys = (np.concatenate([[0.0], np.cumsum(block)]) for block in blocks)
    points = np.array([(xs[i], ys[j]) for i, j in graph])
    wave = 2 * math.pi * points[:, ::-1] / draw(rng, "warp_length_m", 2) + rng.uniform(0, 2 * math.pi, 2)
    points = points + draw(rng, "warp_m", 2) * np.sin(wave) + draw(rng, "shift_m", points.shape)
    angle = rng.uniform(-math.pi, math.pi)
    cos, sin = math.cos(angle), math.sin(angle)
    return dict(zip(graph, points @ np.array([[cos, sin], [-sin, cos]]), strict=True))


def _chains(graph: networkx.Graph) -> list[tuple[Arm, Arm, list[Node]]]:
    """Every road once: the arms at which it begins and ends, and the nodes on its way, both ends included."""
    chains, ends = [], set()
    for start in (node for node in graph if graph.degree[node] > 2):
        for first in arms(graph, start):
            if (start, first) in ends:
                continue
            nodes, arm = [start, step(start, first)], first
            while graph.degree[nodes[-1]] == 2:
                arm = next(k for k in arms(graph, nodes[-1]) if k != (arm + 2) % 4)
                nodes.append(step(nodes[-1], arm))
            chains.append(((start, first), (nodes[-1], (arm + 2) % 4), nodes))
            ends |= {chains[-1][0], chains[-1][1]}
    return chains


def _leads_over(nodes: list[Node], edge: Edge) -> bool:
    """Whether a road through these nodes takes that block."""
    return any(set(pair) == set(edge) for pair in itertools.pairwise(nodes))


def _profiles(rng: np.random.Generator, graph: networkx.Graph, position_m: dict[Node, Array],
              chains: list[tuple[Arm, Arm, list[Node]]], wide: Edge | None) -> dict[Arm, Profile]:
    """Lanes and their width by arm: the same along an axis, that is wherever a road goes on straight.

    The axis of a `wide` block has several lanes each way, if its blocks are long enough.
    """
    axes = networkx.Graph()
    axes.add_edges_from((begin, end) for begin, end, _ in chains)
    axes.add_edges_from(((node, k), (node, k + 2)) for node in graph if graph.degree[node] > 2
                        for k in (0, 1) if {k, k + 2} <= set(arms(graph, node)))
    length = {begin: sum(math.dist(position_m[a], position_m[b]) for a, b in itertools.pairwise(nodes))
              for begin, _, nodes in chains}
    members = [sorted(axis) for axis in networkx.connected_components(axes)]
    totals = [sum(length.get(arm, 0.0) for arm in axis) for axis in members]
    shortest = [min(length[arm] for arm in axis if arm in length) for axis in members]
    own = {begin for begin, _, nodes in chains if wide is not None and _leads_over(nodes, wide)}
    profiles: dict[Arm, Profile] = {}
    for axis, total, least in zip(members, totals, shortest, strict=True):
        is_wide, is_widest = rng.random(2) < (MAIN_AXIS_SHARE if total == max(totals) else SIDE_AXIS_SHARE,
                                              THREE_LANES_SHARE)
        is_wide |= bool(own & set(axis))
        width = float(draw(rng, "wide_lane_m" if is_wide else "narrow_lane_m"))
        num_lanes = 1 + int(is_wide) + int(is_wide and is_widest) if least >= SHORTEST_WIDE_M else 1
        profiles |= dict.fromkeys(axis, Profile(num_lanes, width))
    for axis in members:
        stems = [(node, arm) for node, arm in axis if (node, (arm + 2) % 4) not in profiles]
        is_too_wide = any(profiles[stem].num_lanes > 2 * profiles[stem[0], (stem[1] + 1) % 4].num_lanes
                          for stem in stems)
        if is_too_wide:  # where it ends at a tee, its lanes must find as many to turn into
            profiles |= dict.fromkeys(axis, replace(profiles[axis[0]], num_lanes=2))
    return profiles


def _features(rng: np.random.Generator, graph: networkx.Graph, position_m: dict[Node, Array],
              bend_m: dict[Node, float], chains: list[tuple[Arm, Arm, list[Node]]], profiles: dict[Arm, Profile],
              ) -> tuple[dict[Edge, tuple[str, tuple[float, ...]]], frozenset[Arm]]:
    """What lies on the way of each block, and the arms with a pedestrian crossing."""
    features: dict[Edge, tuple[str, tuple[float, ...]]] = {}
    crossings = []
    for begin, end, nodes in chains:
        num_lanes, is_built_up = profiles[begin].num_lanes, bool(rng.random() < BUILT_UP_SHARE)
        for a, b in itertools.pairwise(nodes):
            room = math.dist(position_m[a], position_m[b]) - FEATURE_CLEARANCE_M - sum(
                bend_m[node] if graph.degree[node] == 2 else JUNCTION_M for node in (a, b))
            rows = [row for row in FEATURES if row.longest_m <= room and num_lanes <= row.most_lanes
                    and (is_built_up or not row.is_built_up)]
            chosen = int(np.searchsorted(np.cumsum([row.share for row in rows]), rng.random(), side="right"))
            if chosen < len(rows):
                features[a, b] = rows[chosen].piece, rows[chosen].draw(rng)
        is_crossed = rng.random(2) < 0.35
        crossings += [arm for arm, crossed in zip((begin, end), is_crossed, strict=True)
                      if crossed and is_built_up and num_lanes == 1]
    return features, frozenset(crossings)


def make_plan(rng: np.random.Generator) -> Plan:
    """A plan drawn from `rng`; it may turn out to overlap."""
    columns, rows = _GRIDS[rng.integers(len(_GRIDS))]
    graph = _streets(rng, columns, rows)
    scale = float(draw(rng, "country_scale")) if rng.random() < COUNTRY_SHARE else 1.0
    ramps = _wanted_ramps(rng.spawn(1)[0], graph)
    position = _positions(rng, graph, columns, rows, scale, ramps)
    heading, bend, sway = {}, {}, {}
    for node in graph:
        towards = np.array([direction(position, node, step(node, k)) - k * math.pi / 2 for k in arms(graph, node)])
        mean = towards[0] + wrap_angle(towards - towards[0]).mean()
        shortest = min(math.dist(position[node], position[step(node, k)]) for k in arms(graph, node))
        heading[node] = float(mean + draw(rng, "skew_rad"))
        bend[node] = min(scale * float(draw(rng, "bend_m")), BEND_SHARE * shortest)
    for a, b in graph.edges:
        length = math.dist(position[a], position[b])
        if length > SWAY_FROM_M and min(graph.degree[a], graph.degree[b]) > 2 and rng.random() < 0.7:
            sway[a, b] = float(draw(rng, "sway")) * length * rng.choice([-1.0, 1.0])
            sway[b, a] = -sway[a, b]
    chains = _chains(graph)
    profiles = _profiles(rng, graph, position, chains, None if ramps is None else ramps[0])
    rings = {node: float(draw(rng, "ring_m")) for node in graph if graph.degree[node] > 2
             and rng.random() < ROUNDABOUT_SHARE and all(profiles[node, k].num_lanes == 1 for k in arms(graph, node))}
    plan = Plan(graph, position, heading, bend, sway, profiles,
                *_features(rng, graph, position, bend, chains, profiles), rings,
                _quiet(rng, graph, chains, profiles, rings))
    return plan if ramps is None else _with_ramps(plan, chains, ramps[0])


def _wanted_ramps(rng: np.random.Generator, graph: networkx.Graph) -> tuple[Edge, float] | None:
    """A block that shall have an exit and an entry, and how long it must be for them; None in other towns.

    It leads from junction to junction, so that its road is straight enough to be fast.
    """
    edges = [edge for edge in graph.edges if min(graph.degree[edge[0]], graph.degree[edge[1]]) > 2]
    if not edges or rng.random() > RAMP_SHARE:
        return None
    length_m = float(draw(rng, "ramps_m")) + RAMP_CLEARANCE_M + 2 * (JUNCTION_M + _RANGES["shift_m"][1])
    return edges[int(rng.integers(len(edges)))], length_m


def _with_ramps(plan: Plan, chains: list[tuple[Arm, Arm, list[Node]]], edge: Edge) -> Plan:
    """The plan with ramps on a block of several lanes, if there is room; nobody lives along that road."""
    begin, end, nodes = next(chain for chain in chains if _leads_over(chain[2], edge))
    room = math.dist(plan.position_m[edge[0]], plan.position_m[edge[1]]) - RAMP_CLEARANCE_M - 2 * JUNCTION_M
    length_m = min(room, _RANGES["ramps_m"][1])
    if plan.profile[begin].num_lanes == 1 or length_m < _RANGES["ramps_m"][0]:
        return plan
    feature = {k: row for k, row in plan.feature.items() if not set(k) <= set(nodes)}
    sway = {k: value for k, value in plan.sway_m.items() if set(k) != set(edge)}
    return replace(plan, sway_m=sway, crossing=plan.crossing - {begin, end}, feature=feature | {
        edge: ("exit_ramp", (length_m, plan.profile[begin].lane_width_m))})


def _quiet(rng: np.random.Generator, graph: networkx.Graph, chains: list[tuple[Arm, Arm, list[Node]]],
           profiles: dict[Arm, Profile], rings: dict[Node, float]) -> frozenset[Arm]:
    """Both ends of the roads of a zone of 30 km/h: all that meet at one junction of narrow roads; empty without one."""
    centres = [node for node in graph if graph.degree[node] > 2 and node not in rings
               and all(profiles[node, k].num_lanes == 1 for k in arms(graph, node))]
    if not centres or rng.random() > QUIET_SHARE:
        return frozenset()
    centre = centres[int(rng.integers(len(centres)))]
    return frozenset(arm for begin, end, _ in chains for arm in (begin, end) if centre in (begin[0], end[0]))


def narrowed(plan: Plan) -> Plan:
    """The same plan with a lane each way everywhere, and no ramps."""
    feature = {edge: row for edge, row in plan.feature.items() if row[0] != "exit_ramp"}
    profiles = {arm: replace(profile, num_lanes=1) for arm, profile in plan.profile.items()}
    return replace(plan, feature=feature, profile=profiles)


def direction(position_m: dict[Node, Array], a: Node, b: Node) -> float:
    """Heading [rad] from one node to another."""
    return math.atan2(position_m[b][1] - position_m[a][1], position_m[b][0] - position_m[a][0])


FEATURES: tuple[Feature, ...] = (
    Feature("crossing", 0.3, 6.0, lambda rng: (6.0,), is_built_up=True, most_lanes=1),
    Feature("bus_bay", 0.2, 46.0, lambda rng: (float(rng.uniform(40.0, 46.0)), float(rng.choice((-1.0, 1.0)))),
            is_built_up=True, most_lanes=2),
    Feature("s_bend", 0.2, 70.0, lambda rng: (float(rng.uniform(45.0, 70.0)), float(rng.choice((-1.0, 1.0))
                                                                               * rng.uniform(4.0, 9.0)))),
    Feature("refuge", 0.15, 64.0, lambda rng: (float(rng.uniform(58.0, 64.0)),), is_built_up=True, most_lanes=1),
    Feature("roadworks", 0.12, 80.0, lambda rng: (float(rng.uniform(68.0, 80.0)), float(rng.choice((-1.0, 1.0)))),
            most_lanes=1),
    Feature("narrowing", 0.1, 66.0, lambda rng: (float(rng.uniform(56.0, 66.0)), float(rng.choice((-1.0, 1.0)))),
            most_lanes=1),
)
