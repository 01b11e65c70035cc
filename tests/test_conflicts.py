"""Right of way: the cases of a driving test by hand, and whole towns against shapely."""

import itertools
import math

import networkx
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.roads.conflicts import CLEARANCE_M
from envs.roads.network import Command, Control, Junction, Lane, Marking, RoadNetwork
from envs.roads.procedural import build_network

SEEDS = st.integers(0, 9999)
REACH_M, ASIDE_M = 10.0, 1.75  # of a hand-made crossing: stop lines from its middle, lane centres from the road's
EAST, NORTH, WEST, SOUTH = range(4)  # arms by where they lie
TURNS = {1: Command.RIGHT, 2: Command.STRAIGHT, 3: Command.LEFT}


def crossing(*bound: int, arms: tuple[int, ...] = (EAST, NORTH, WEST, SOUTH)) -> tuple[RoadNetwork, dict]:
    """A junction whose arms in `bound` end at a yield line, and its turn lanes by (arm from, arm to)."""
    def place(arm: int, aside: float, out: float) -> np.ndarray:
        angle = arm * math.pi / 2
        return np.array([math.cos(angle) * out - math.sin(angle) * aside,
                         math.sin(angle) * out + math.cos(angle) * aside])

    def lane(centre: np.ndarray, **more) -> Lane:
        fields = {"width_m": 3.5, "speed_limit_mps": 13.9, "left": Marking.NONE, "right": Marking.NONE,
                  "successors": (), "surface": 0} | more
        lanes.append(Lane(id=len(lanes), centre_m=centre, **fields))
        return lanes[-1]

    lanes: list[Lane] = []
    into, out = {}, {}
    for arm in arms:
        out[arm] = lane(np.stack([place(arm, -ASIDE_M, REACH_M), place(arm, -ASIDE_M, 60.0)])).id
    pairs = list(itertools.permutations(arms, 2))
    first = len(lanes) + len(arms)
    for arm in arms:
        control = Control.YIELD if arm in bound else Control.NONE
        after = tuple(first + k for k, (a, _) in enumerate(pairs) if a == arm)
        into[arm] = lane(np.stack([place(arm, ASIDE_M, 60.0), place(arm, ASIDE_M, REACH_M)]), successors=after,
                         control=control).id
    ways = {}
    for a, b in pairs:
        begin, end, bend = place(a, ASIDE_M, REACH_M), place(b, -ASIDE_M, REACH_M), np.linspace(0, 1, 21)[:, None]
        corner = (begin + end) / 2 if (b - a) % 4 == 2 else place(a, ASIDE_M, 0.0) + place(b, -ASIDE_M, 0.0)
        centre = (1 - bend) ** 2 * begin + 2 * bend * (1 - bend) * corner + bend ** 2 * end
        ways[a, b] = lane(centre, junction=0, turn=TURNS[(b - a) % 4], successors=(out[b],)).id
    assert len(lanes) == first + len(pairs)
    return RoadNetwork(tuple(lanes), (Junction(0, tuple(into.values()), tuple(ways.values()), tuple(out.values())),),
                       ()), ways


def waits(network: RoadNetwork, a: int, b: int) -> bool | None:
    """Whether lane `a` gives way to lane `b`; None where they do not meet."""
    rows = network.conflicts.rows_of(a)
    hit = np.flatnonzero(network.conflicts.second[rows] == b)
    return bool(network.conflicts.yields[rows][hit[0]]) if len(hit) else None


CASES = {  # bound arms, who, whom, whether who gives way: arms from and to
    "the right comes first": ((), (SOUTH, NORTH), (EAST, WEST), True),
    "the left waits": ((), (SOUTH, NORTH), (WEST, EAST), False),
    "left turn and oncoming straight": ((), (SOUTH, WEST), (NORTH, SOUTH), True),
    "left turn and oncoming right turn": ((), (SOUTH, WEST), (NORTH, WEST), True),
    "two oncoming left turns pass each other": ((), (SOUTH, WEST), (NORTH, EAST), None),
    "oncoming straights do not meet": ((), (SOUTH, NORTH), (NORTH, SOUTH), None),
    "right turn into the main road": ((SOUTH, NORTH), (SOUTH, EAST), (WEST, EAST), True),
    "right turn and the main road's far lane": ((SOUTH, NORTH), (SOUTH, EAST), (EAST, WEST), None),
    "main road and whoever comes from its right": ((SOUTH, NORTH), (WEST, EAST), (SOUTH, NORTH), False),
    "left turn off the main road": ((SOUTH, NORTH), (WEST, NORTH), (EAST, WEST), True),
    "left turn off the main road and the side road": ((SOUTH, NORTH), (WEST, NORTH), (SOUTH, NORTH), False),
    "both from side roads, left turn and straight": ((SOUTH, NORTH), (SOUTH, WEST), (NORTH, SOUTH), True),
    "from one arm": ((), (SOUTH, WEST), (SOUTH, NORTH), None),
}


@pytest.mark.parametrize("case", CASES)
def test_a_driving_test(case):
    bound, one, other, expected = CASES[case]
    network, ways = crossing(*bound)
    assert waits(network, ways[one], ways[other]) is expected
    assert waits(network, ways[other], ways[one]) is (None if expected is None else not expected)


def test_the_shared_area_is_where_the_paths_cross():
    """Straight from the south over straight from the west: 1.75 m right of the middle, 2.5 m before and behind it."""
    network, ways = crossing()
    table = network.conflicts
    row = next(k for k in range(*table.rows_of(ways[SOUTH, NORTH]).indices(len(table.first)))
               if table.second[k] == ways[WEST, EAST])
    assert not table.merges[row]
    at = REACH_M - ASIDE_M
    np.testing.assert_allclose([table.from_m[row], table.to_m[row]], [at - CLEARANCE_M, at + CLEARANCE_M], atol=0.1)
    at = REACH_M + ASIDE_M
    np.testing.assert_allclose([table.second_from_m[row], table.second_to_m[row]],
                               [at - CLEARANCE_M, at + CLEARANCE_M], atol=0.1)


def test_a_merge_lasts_to_the_end():
    network, ways = crossing(SOUTH)
    table = network.conflicts
    rows = table.rows_of(ways[SOUTH, EAST])
    merge = rows.start + int(np.flatnonzero(table.second[rows] == ways[WEST, EAST])[0])
    assert table.merges[merge] and table.to_m[merge] == pytest.approx(network.lanes[ways[SOUTH, EAST]].length_m)
    assert table.second_to_m[merge] == pytest.approx(2 * REACH_M)


def test_equals_may_wait_in_a_circle_and_signs_break_it():
    def order(network: RoadNetwork) -> networkx.DiGraph:
        table = network.conflicts
        return networkx.DiGraph(zip(table.first[table.yields].tolist(), table.second[table.yields].tolist(),
                                    strict=True))

    assert not networkx.is_directed_acyclic_graph(order(crossing()[0]))
    assert networkx.is_directed_acyclic_graph(order(crossing(SOUTH, NORTH)[0]))
    assert networkx.is_directed_acyclic_graph(order(crossing(SOUTH, arms=(EAST, WEST, SOUTH))[0]))


def test_a_roundabout_whose_entry_yields():
    """Entry 0, ring 1 -> 2, entry lane 3 that joins the ring: the ring goes first, whichever lane has the lower id."""
    angle = np.linspace(-2.0, 0.0, 30)
    ring = 15 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    fields = {"width_m": 3.5, "speed_limit_mps": 8.0, "left": Marking.NONE, "right": Marking.NONE, "surface": 0}
    bend = np.linspace(0, 1, 12)[:, None]
    entry = (1 - bend) ** 2 * [26.0, -14.0] + 2 * bend * (1 - bend) * [15.0, -13.0] + bend ** 2 * [15.0, 0.0]
    lanes = (Lane(0, np.array([[45.0, -15.0], [26.0, -14.0]]), successors=(3,), control=Control.YIELD, **fields),
             Lane(1, ring, successors=(2,), junction=0, turn=Command.STRAIGHT, **fields),
             Lane(2, np.array([[15.0, 0.0], [14.0, 5.0]]), successors=(), junction=0, **fields),
             Lane(3, entry, successors=(2,), junction=0, turn=Command.RIGHT, **fields))
    network = RoadNetwork(lanes, (Junction(0, (0,), (1, 2, 3), ()),), ())
    assert waits(network, 3, 1) is True and waits(network, 1, 3) is False
    assert waits(network, 3, 2) is None  # it leads on into that lane


@settings(max_examples=8, deadline=None)
@given(SEEDS)
def test_of_two_that_meet_exactly_one_waits_and_nobody_waits_in_a_circle(seed):
    network = build_network(seed)
    table = network.conflicts
    rows = {(a, b): k for k, (a, b) in enumerate(zip(table.first.tolist(), table.second.tolist(), strict=True))}
    assert len(rows) == len(table.first) > 0
    for (a, b), k in rows.items():
        back = rows[b, a]
        assert network.lanes[a].junction == network.lanes[b].junction is not None
        assert table.yields[k] != table.yields[back] and table.merges[k] == table.merges[back]
        assert (table.from_m[k], table.to_m[k]) == (table.second_from_m[back], table.second_to_m[back])
        assert 0 <= table.from_m[k] < table.to_m[k] <= network.lanes[a].length_m + 1e-9
        assert k in range(*table.rows_of(a).indices(len(table.first))) and table.first[k] == a
    for junction in network.junctions:
        if any(network.lanes[lane].control for lane in junction.incoming):
            waiting = networkx.DiGraph((a, b) for (a, b), k in rows.items()
                                       if table.yields[k] and a in junction.turns)
            assert networkx.is_directed_acyclic_graph(waiting)


@settings(max_examples=4, deadline=None)
@given(SEEDS)
def test_lanes_meet_where_their_driven_areas_overlap(seed):
    """Against shapely, but for pairs within 6 cm of touching, lanes that part and lanes that follow each other."""
    network = build_network(seed)
    touching = {pair for lane in network.lanes for pair in (
        *itertools.product((lane.id,), lane.successors), *itertools.permutations(lane.successors, 2))}
    for junction in network.junctions:
        lines = {lane: shapely.LineString(network.lanes[lane].centre_m) for lane in junction.turns}
        for a, b in itertools.combinations(junction.turns, 2):
            gap = lines[a].distance(lines[b])
            if not {(a, b), (b, a)} & touching and abs(gap - CLEARANCE_M) > 0.06:
                assert network.conflicts.are_in_conflict(a, b) == (gap < CLEARANCE_M)
