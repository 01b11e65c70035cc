"""Traffic lights: which junctions have them, their fixed-time programs, where the heads stand. A pure state machine.

What every light shows is a function of the plan and the time alone (`phases`). A group is all lanes of an arm whose
drivers may go to the same places; groups that are green together form a stage, and the stages of a junction take turns.
No two movements that cross or merge are ever in one stage, not even a left turn and the oncoming traffic: green means
that nobody else has the right to be there. Right-turn arrows, detectors and green waves do not exist here.

Figures are those of the German guidelines for traffic signals (RiLSA 2015, sections 2.4 to 2.6, and VwV-StVO on section
37): green 5 s at least; yellow 3 s at 50 km/h and below, 4 s up to 70, 5 s above; red-yellow 1 s; intergreen time
= crossing time + clearing time - entering time, in whole seconds. Beyond that all are red for at least 1 s, and nobody
waits for more than 120 s.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import networkx
import numpy as np

from envs.geometry import Array, wrap_angle
from envs.roads.conflicts import Conflicts
from envs.roads.network import SHOULDER_M, Command, Control, Junction, Lane, RoadNetwork
from envs.state import Phase, SignalHeads, SignalPlan

KMH = 1 / 3.6
RED_YELLOW_S = 1.0
ALL_RED_S = 1.0  # at least, before anybody's red-yellow
YELLOW_S = ((50 * KMH, 3.0), (70 * KMH, 4.0), (math.inf, 5.0))  # up to a limit [m/s]
CROSSING_S = {Command.STRAIGHT: 3.0, Command.LEFT: 2.0, Command.RIGHT: 2.0}  # of yellow that is still driven through
CLEARING_MPS = {Command.STRAIGHT: 10.0, Command.LEFT: 7.0, Command.RIGHT: 7.0}
CLEARING_LENGTH_M = 6.0  # of the last vehicle
ENTERING_MPS = 40 * KMH  # of the first, which arrives as its light turns green
GREEN_S, MAIN_GREEN_S = (8, 14), (14, 25)  # of side roads, and of stages in which somebody has priority by the signs
CYCLE_MOST_S = 118.0  # so that whoever arrives at yellow sees green again within 120 s
SIGNAL_SHARE = 0.6  # of the junctions that may have lights, which are about four fifths
FEWEST_ARMS, LEAST_LIMIT_MPS = 3, 50 * KMH - 0.1
_SLACK_S = 1e-6  # so that a phase of whole seconds begins exactly at a step of 0.1 s, whatever its rounding

# Where heads stand. The camera of a car that waits at the line is 2 m behind it and 1.4 m high and sees 23 degrees up
# and 40 to the side: a head beside the line is out of view, as it is to a driver under a low roof, and what hangs over
# the line is too. So the near head stands 3.5 m behind the line (RiLSA 5.2 asks for that distance), and it is repeated
# on the far side of the junction, as in most countries outside Germany: on a post beside the lane straight on, and on
# roads of two and more lanes also on arms over them. A post beside the road speaks for the rightmost lanes alone: where
# lanes farther left have a light of their own, it hangs over them, so that its place says whose it is from afar.
NEAR_BEHIND_LINE_M = 3.5
FAR_BEHIND_M = 1.0  # into the arm straight on
FAR_SHORTEST_M, FAR_LONGEST_M = 8.0, 45.0  # from the stop line
BESIDE_ROAD_M = 0.7  # from the paved edge to the post
POST_HEIGHT_M, ARM_HEIGHT_M = 3.3, 5.3  # of the middle lamp: over the sign before it; the box ends 4.6 m over a road
AIM_M = 20.0  # a head looks at the lane this far before its line


@dataclass(frozen=True, eq=False)
class _Group:
    """Lanes that always show the same."""

    lanes: tuple[Lane, ...]  # incoming
    ways: tuple[Lane, ...]  # the junction lanes they lead into

    @property
    def yellow_s(self) -> float:
        limit = max(lane.speed_limit_mps for lane in self.lanes)
        return next(seconds for most, seconds in YELLOW_S if limit <= most + 0.1)


@dataclass(frozen=True, eq=False)
class _Program:
    """The stages of one junction in their order and how long each is green."""

    stages: tuple[tuple[_Group, ...], ...]
    green_s: tuple[float, ...]
    change_s: tuple[float, ...]  # from the end of green to the next stage's red-yellow

    @property
    def cycle_s(self) -> float:
        return sum(self.green_s) + sum(self.change_s) + RED_YELLOW_S * len(self.stages)


def phases(plan: SignalPlan, time_s: float, is_on: bool = True) -> Array:
    """What each group shows (G,), int64 of Phase, at a time; all OFF while the lights are switched off."""
    if not is_on:
        return np.full(len(plan.junction), int(Phase.OFF))
    into = (time_s + _SLACK_S - plan.start_s) % plan.cycle_s
    green = into - RED_YELLOW_S
    return np.where(green < 0.0, int(Phase.RED_YELLOW), np.where(green < plan.green_s, int(Phase.GREEN), np.where(
        green < plan.green_s + plan.yellow_s, int(Phase.YELLOW), int(Phase.RED))))


def plan_signals(network: RoadNetwork, rng: np.random.Generator) -> tuple[RoadNetwork, SignalPlan]:
    """Lights for a town, drawn from `rng`: the network whose lanes know their signal group, and the programs.

    About SIGNAL_SHARE of the junctions that suit get lights, and one at least if any does: those of three and more arms
    with a road of 50 km/h or more, where all lanes lead straight from an incoming to an outgoing road (so no
    roundabouts and no ramps).
    """
    candidates = [junction for junction in network.junctions if _may_have_lights(network, junction)]
    chosen = rng.random(len(candidates)) < SIGNAL_SHARE
    if candidates and not chosen.any():
        chosen[rng.integers(len(candidates))] = True
    signal: dict[int, int] = {}
    rows: list[tuple[float, ...]] = []
    for junction in itertools.compress(candidates, chosen):
        program = _program(network, junction, rng)
        cycle = program.cycle_s
        start = float(rng.integers(0, round(cycle)))
        for stage, green, change in zip(program.stages, program.green_s, program.change_s, strict=True):
            for group in stage:
                signal.update({lane.id: len(rows) for lane in group.lanes})
                rows.append((junction.id, cycle, start % cycle, green, group.yellow_s))
            start += RED_YELLOW_S + green + change
    table = np.array(rows, float).reshape(-1, 5)
    plan = SignalPlan(table[:, 0].astype(int), *(table[:, k].copy() for k in range(1, 5)))
    lanes = tuple(replace(lane, signal=signal[lane.id]) if lane.id in signal else lane for lane in network.lanes)
    signalled = replace(network, lanes=lanes)
    vars(signalled)["conflicts"] = network.conflicts  # lights change nothing about it, and it takes 3 ms to find
    return signalled, plan


def _may_have_lights(network: RoadNetwork, junction: Junction) -> bool:
    lanes, ways = network.lanes, junction.turns
    arms_in = _arms(network, junction.incoming)
    return (len(arms_in) >= FEWEST_ARMS and len(_arms(network, junction.outgoing)) >= FEWEST_ARMS
            and max(lanes[i].speed_limit_mps for i in junction.incoming) >= LEAST_LIMIT_MPS
            and not any("roundabout" in surface.piece for surface in network.surfaces
                        if surface.junction == junction.id)
            and {after for i in junction.incoming for after in lanes[i].successors} == set(ways)
            and all(after in junction.outgoing for i in ways for after in lanes[i].successors))


def _arms(network: RoadNetwork, ids: tuple[int, ...]) -> list[list[Lane]]:
    """Lanes that lie side by side, by arm, each from left to right."""
    left = {i: network.lanes[i].left_neighbour for i in ids}
    arms = []
    for first in (i for i in ids if left[i] not in left):
        arm = [first]
        while (after := network.lanes[arm[-1]].right_neighbour) in left:
            assert after is not None
            arm.append(after)
        arms.append([network.lanes[i] for i in arm])
    return arms


def _groups(network: RoadNetwork, junction: Junction) -> list[_Group]:
    """Lanes of an arm share a group if they share a turn and their paths keep clear of each other."""
    groups = []
    for arm in _arms(network, junction.incoming):
        together = networkx.Graph()
        together.add_nodes_from(lane.id for lane in arm)
        for a, b in itertools.combinations(arm, 2):
            turns = [{network.lanes[way].turn for way in lane.successors} for lane in (a, b)]
            if turns[0] & turns[1] and not _meet(network.conflicts, a.successors, b.successors):
                together.add_edge(a.id, b.id)
        for members in networkx.find_cliques(together) if _is_sound(together) else ([lane.id] for lane in arm):
            lanes = tuple(network.lanes[i] for i in sorted(members))
            groups.append(_Group(lanes, tuple(network.lanes[way] for lane in lanes for way in lane.successors)))
    return groups


def _is_sound(together: networkx.Graph) -> bool:
    """Whether sharing a group is transitive, so that the cliques of the graph part it."""
    return all(len(part) * (len(part) - 1) // 2 == together.subgraph(part).number_of_edges()
               for part in networkx.connected_components(together))


def _meet(conflicts: Conflicts, ones: tuple[int, ...], others: tuple[int, ...]) -> bool:
    """Whether any lane of `ones` crosses or merges with any of `others`."""
    return any(conflicts.are_in_conflict(a, b) for a in ones for b in others)


def _program(network: RoadNetwork, junction: Junction, rng: np.random.Generator) -> _Program:
    """The fewest stages, by colouring the graph of groups in each other's way, in a drawn order, with drawn greens."""
    groups = _groups(network, junction)
    conflicts = network.conflicts
    graph = networkx.Graph()
    graph.add_nodes_from(range(len(groups)))
    for a, b in itertools.combinations(range(len(groups)), 2):
        if _meet(conflicts, tuple(way.id for way in groups[a].ways), tuple(way.id for way in groups[b].ways)):
            graph.add_edge(a, b)
    parts = next(found for count in itertools.count(1) if (found := _part(graph, count)) is not None)
    stages = tuple(tuple(groups[number] for number in parts[k]) for k in rng.permutation(len(parts)).tolist())
    change = tuple(_change_s(conflicts, stage, after)
                   for stage, after in zip(stages, stages[1:] + stages[:1], strict=True))
    ranges = [MAIN_GREEN_S if any(lane.control == Control.NONE for group in stage for lane in group.lanes) else GREEN_S
              for stage in stages]
    green = np.array([float(rng.integers(low, high + 1)) for low, high in ranges])
    spare = CYCLE_MOST_S - sum(change) - RED_YELLOW_S * len(stages)
    green = np.maximum(np.floor(green * min(1.0, spare / green.sum())), GREEN_S[0])
    return _Program(stages, tuple(green.tolist()), change)


def _part(graph: networkx.Graph, count: int, parts: tuple[tuple[int, ...], ...] = ()) -> list[tuple[int, ...]] | None:
    """The graph's nodes (0, 1, ...) in at most `count` parts without an edge inside, or None; by trying all."""
    node = sum(len(part) for part in parts)
    if node == len(graph):
        return list(parts)
    for k in range(min(len(parts) + 1, count)):
        if k == len(parts):
            tried = (*parts, (node,))
        elif any(graph.has_edge(node, other) for other in parts[k]):
            continue
        else:
            tried = (*parts[:k], (*parts[k], node), *parts[k + 1:])
        if (found := _part(graph, count, tried)) is not None:
            return found
    return None


def _change_s(conflicts: Conflicts, stage: tuple[_Group, ...], after: tuple[_Group, ...]) -> float:
    """From the end of one stage's green to the beginning of the next one's red-yellow, in whole seconds."""
    least = max(group.yellow_s for group in stage) + ALL_RED_S
    needed = [intergreen_s(conflicts, a, b) - RED_YELLOW_S
              for one, other in itertools.product(stage, after) for a in one.ways for b in other.ways]
    return float(math.ceil(max([least, *needed])))


def intergreen_s(conflicts: Conflicts, clearing: Lane, entering: Lane) -> float:
    """Time [s] needed between the end of green of one junction lane and the beginning of green of another.

    RiLSA 2015, section 2.5: what is driven of the yellow, plus the way past the conflict at the clearing speed, less
    the way to it at the entering speed. 0 where the two do not meet.
    """
    rows = conflicts.rows_of(clearing.id)
    hit = np.flatnonzero(conflicts.second[rows] == entering.id)
    if len(hit) == 0:
        return 0.0
    row = rows.start + int(hit[0])
    clear = (conflicts.to_m[row] + CLEARING_LENGTH_M) / CLEARING_MPS[clearing.turn]
    return max(0.0, float(CROSSING_S[clearing.turn] + clear - conflicts.second_from_m[row] / ENTERING_MPS))


def place_heads(network: RoadNetwork) -> SignalHeads:
    """The heads of all lanes that have a signal group: see the constants above for where and why."""
    rows: list[tuple[int, float, float, float, float, int, float]] = []  # group, x, y, yaw, height, lane, arm
    for junction in network.junctions:
        for arm in _arms(network, junction.incoming):
            if arm[0].signal is not None:
                rows += _heads_of(network, arm)
    table = np.array(rows, float).reshape(-1, 7)
    return SignalHeads(table[:, 0].astype(int), table[:, 1:4].copy(), table[:, 4].copy(), table[:, 5].astype(int),
                       table[:, 6].copy())


def head_centres(heads: SignalHeads) -> Array:
    """Middle (K, 3) [m] of the middle lamp of each head."""
    yaw = heads.pose[:, 2]
    aside = heads.arm_m[:, None] * np.stack([np.sin(yaw), -np.cos(yaw)], axis=1)
    return np.column_stack([heads.pose[:, :2] + aside, heads.centre_height_m])


def _heads_of(network: RoadNetwork, arm: list[Lane]) -> Iterator[tuple[int, float, float, float, float, int, float]]:
    """Rows of the heads of one arm, whose lanes are given from left to right."""
    lane = arm[-1]
    heading, ahead, right = _directions(lane)
    aim = lane.centre_m[-1] - AIM_M * ahead

    def row(bound: Lane, foot: Array, height_m: float, arm_m: float = 0.0,
            ) -> tuple[int, float, float, float, float, int, float]:
        yaw = float(wrap_angle(heading + math.pi if arm_m else math.atan2(*(aim - foot)[::-1])))
        assert bound.signal is not None
        return bound.signal, float(foot[0]), float(foot[1]), yaw, height_m, bound.id, arm_m

    near = near_foot(network, lane)
    far = _across(network, lane, ahead, _beside_m(lane))
    over = {bound.signal: bound for bound in arm if bound.signal != lane.signal}  # the rightmost lane of each group
    yield row(lane, near, POST_HEIGHT_M)
    for bound in over.values():
        yield row(bound, near, ARM_HEIGHT_M, arm_m=float((near - bound.centre_m[-1]) @ right))
    if over or len(arm) == 1:
        yield row(lane, far, POST_HEIGHT_M)
    if len(arm) > 1:
        for bound in arm:
            yield row(bound, far, ARM_HEIGHT_M, arm_m=max(0.0, float((far - bound.centre_m[-1]) @ right)))


def _directions(lane: Lane) -> tuple[float, Array, Array]:
    """How a lane ends: its heading [rad], and the directions (2,) ahead and to the right."""
    heading = math.atan2(*(lane.centre_m[-1] - lane.centre_m[-2])[::-1])
    ahead = np.array([math.cos(heading), math.sin(heading)])
    return heading, ahead, np.array([ahead[1], -ahead[0]])


def _beside_m(lane: Lane) -> float:
    return lane.width_m / 2 + SHOULDER_M + BESIDE_ROAD_M


def near_foot(network: RoadNetwork, lane: Lane) -> Array:
    """Where (2,) the near post of the rightmost lane of an arm stands."""
    _, ahead, right = _directions(lane)
    return _off_road(network, lane.centre_m[-1] + NEAR_BEHIND_LINE_M * ahead + _beside_m(lane) * right, right)


def _across(network: RoadNetwork, lane: Lane, ahead: Array, beside_m: float) -> Array:
    """Foot (2,) of the far post: beside the road straight on, which may be forbidden, else beyond the far kerb."""
    ways = [network.lanes[way] for way in lane.successors]
    out = next((network.lanes[way.successors[0]] for way in ways if way.turn == Command.STRAIGHT), None)
    if out is None and ways[0].junction is not None:
        leaving = [network.lanes[k] for k in network.junctions[ways[0].junction].outgoing]
        out = next((other for other in leaving if _begins_along(other, ahead)), None)
    if out is not None:
        step = out.centre_m[1] - out.centre_m[0]
        along = step / np.hypot(*step)
        edge = out
        while edge.right_neighbour is not None:
            edge = network.lanes[edge.right_neighbour]
        foot = edge.centre_m[0] + FAR_BEHIND_M * along + beside_m * np.array([along[1], -along[0]])
        return _off_road(network, foot, np.array([along[1], -along[0]]))
    foot = lane.centre_m[-1] + FAR_SHORTEST_M * ahead
    return _off_road(network, foot, ahead)


def _begins_along(lane: Lane, ahead: Array) -> bool:
    """Whether a lane begins within 45 degrees of a direction."""
    step = lane.centre_m[1] - lane.centre_m[0]
    return bool(step @ ahead > math.sqrt(0.5) * np.hypot(*step))


def _off_road(network: RoadNetwork, foot_m: Array, outward: Array) -> Array:
    """A place (2,) moved outward until it is BESIDE_ROAD_M from all pavement, FAR_LONGEST_M at most."""
    for step in np.arange(0.0, FAR_LONGEST_M, 0.25):
        x, y = (foot_m + step * outward).tolist()
        if not network.is_on_road(x, y, margin_m=SHOULDER_M + BESIDE_ROAD_M - 0.1):
            return np.array([x, y])
    return foot_m
