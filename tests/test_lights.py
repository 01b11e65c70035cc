"""Lights keep apart what would collide, let everybody go, and stand where a waiting driver sees them."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.config import CameraConfig
from envs.lights import (
    ALL_RED_S,
    FAR_LONGEST_M,
    KMH,
    NEAR_BEHIND_LINE_M,
    RED_YELLOW_S,
    head_centres,
    intergreen_s,
    phases,
    place_heads,
    plan_signals,
)
from envs.render.camera import pose_of, project_points
from envs.roads.network import Command, Junction, Lane, Marking, RoadNetwork, Surface
from envs.roads.procedural import build_town
from envs.state import EGO_SHAPE, Phase, SignalPlan, Town, VehicleState, no_signal_plan

SEEDS = st.integers(0, 9999)
TWO = SignalPlan(np.array([0, 0]), np.array([40.0, 40.0]), np.array([5.0, 25.0]), np.array([10.0, 8.0]),
                 np.array([3.0, 4.0]))  # red-yellow at 5 and 25 s, green until 16 and 34 s, yellow until 19 and 38 s


def history(plan: SignalPlan, seconds: int = 240) -> np.ndarray:
    """Phases (10 x seconds, G) at every tenth of a second."""
    return np.stack([phases(plan, 0.1 * k) for k in range(10 * seconds)])


def rivals(town: Town) -> list[tuple[int, int, float]]:
    """Pairs of groups with conflicting movements, and the longest intergreen time from the first to the second."""
    network, found = town.network, {}
    table = network.conflicts
    into = {way: lane for lane in network.lanes for way in lane.successors}
    for a, b in zip(table.first.tolist(), table.second.tolist(), strict=True):
        one, other = into[a].signal, into[b].signal
        if one is not None and other is not None:
            needed = intergreen_s(table, network.lanes[a], network.lanes[b])
            found[one, other] = max(found.get((one, other), 0.0), needed)
    return [(one, other, needed) for (one, other), needed in found.items()]


def test_by_hand_what_two_lights_show():
    shown = {time: tuple(Phase(p) for p in phases(TWO, time)) for time in (0.0, 4.9, 5.0, 6.0, 15.9, 16.0, 19.0, 25.0,
                                                                             26.0, 34.0, 38.0, 45.0, 86.0)}
    red, both, green, yellow = Phase.RED, Phase.RED_YELLOW, Phase.GREEN, Phase.YELLOW
    assert shown == {0.0: (red, red), 4.9: (red, red), 5.0: (both, red), 6.0: (green, red), 15.9: (green, red),
                     16.0: (yellow, red), 19.0: (red, red), 25.0: (red, both), 26.0: (red, green),
                     34.0: (red, yellow), 38.0: (red, red), 45.0: (both, red), 86.0: (green, red)}


def test_a_phase_begins_at_the_step_that_bears_its_time():
    """The 190th tenth of a second is 19.0 s, though 0.1 x 190 is a little more or less."""
    first = {k for k in range(1, 4000) if phases(TWO, 0.1 * k)[0] != phases(TWO, 0.1 * (k - 1))[0]}
    assert {k % 400 for k in first} == {50, 60, 160, 190}


def test_switched_off_and_without_lights():
    assert (phases(TWO, 12.0, is_on=False) == Phase.OFF).all()
    assert phases(no_signal_plan(), 3.0).shape == (0,)


@settings(max_examples=8, deadline=None)
@given(SEEDS, st.floats(0, 3600))
def test_no_two_conflicting_movements_ever_go_together(seed, start_s):
    """Between the end of one's yellow and the other's green lie all red and red-yellow, and all RiLSA asks for."""
    town = build_town(seed)
    plan, pairs = town.signal_plan, rivals(town)
    assert pairs
    shown = np.stack([phases(plan, start_s + 0.1 * k) for k in range(1300)])
    may_drive = (shown == Phase.GREEN) | (shown == Phase.YELLOW)
    for one, other, needed in pairs:
        assert not (may_drive[:, one] & (may_drive[:, other] | (shown[:, other] == Phase.RED_YELLOW))).any()
        cycle = plan.cycle_s[one]
        assert cycle == plan.cycle_s[other]
        end = plan.start_s[one] + RED_YELLOW_S + plan.green_s[one]
        wait = (plan.start_s[other] + RED_YELLOW_S - end) % cycle
        assert wait >= max(needed, plan.yellow_s[one] + ALL_RED_S + RED_YELLOW_S) - 1e-9


@settings(max_examples=8, deadline=None)
@given(SEEDS)
def test_everybody_gets_green_in_the_right_order(seed):
    town = build_town(seed)
    plan, shown = town.signal_plan, history(town.signal_plan)
    after = {Phase.RED: Phase.RED_YELLOW, Phase.RED_YELLOW: Phase.GREEN, Phase.GREEN: Phase.YELLOW,
             Phase.YELLOW: Phase.RED}
    limit = {lane.signal: lane.speed_limit_mps for lane in town.network.lanes if lane.signal is not None}
    assert sorted(limit) == list(range(len(plan.junction)))
    for group in range(len(plan.junction)):
        changes = np.flatnonzero(np.diff(shown[:, group])) + 1
        for k in changes:
            assert shown[k, group] == after[Phase(shown[k - 1, group])]
        lasts = {phase: set() for phase in after}
        for a, b in itertools.pairwise(changes.tolist()):
            lasts[Phase(shown[a, group])].add(b - a)
        assert lasts[Phase.YELLOW] == {30 if limit[group] < 51 * KMH else 40 if limit[group] < 71 * KMH else 50}
        assert lasts[Phase.RED_YELLOW] == {10}
        assert min(lasts[Phase.GREEN]) >= 80 and max(lasts[Phase.GREEN]) <= 250
        assert max(lasts[Phase.RED]) + max(lasts[Phase.YELLOW]) + 10 <= 1200


def test_clearing_takes_longer_than_crossing():
    """By hand: straight on over 16 m of conflict, 6 m of car at 10 m/s, 3 s of yellow; less 9 m at 40 km/h."""
    town = build_town(0)
    table, lanes = town.network.conflicts, town.network.lanes
    row = next(k for k in range(len(table.first)) if lanes[table.first[k]].turn.name == "STRAIGHT")
    expected = 3.0 + (table.to_m[row] + 6.0) / 10.0 - table.second_from_m[row] / (40 / 3.6)
    assert intergreen_s(table, lanes[table.first[row]], lanes[table.second[row]]) == pytest.approx(expected)
    assert 3.0 < expected < 7.0
    apart = next(way for way in town.network.junctions[1].turns)
    assert intergreen_s(table, lanes[table.first[row]], lanes[apart]) == 0.0


@pytest.mark.slow
def test_most_towns_have_lights_at_about_half_of_their_junctions():
    towns = [build_town(seed) for seed in range(20)]
    share = [len(set(town.signal_plan.junction.tolist())) / len(town.network.junctions) for town in towns]
    assert 0.3 < np.mean(share) < 0.7 and sum(part > 0 for part in share) >= 17
    for town in towns:
        for junction in town.network.junctions:
            lit = [town.network.lanes[lane].signal is not None for lane in junction.incoming]
            assert all(lit) or not any(lit)
    assert len({tuple(town.signal_plan.start_s.tolist()) for town in towns}) == len(towns)


def wide_crossing() -> RoadNetwork:
    """Four arms of two lanes in, one for the left turn, one for the rest, and two lanes out; lines at 16 m."""
    def place(arm: int, aside: float, out: float) -> np.ndarray:
        angle = arm * math.pi / 2
        return np.array([math.cos(angle) * out - math.sin(angle) * aside,
                         math.sin(angle) * out + math.cos(angle) * aside])

    def lane(centre: np.ndarray, **more) -> Lane:
        fields = {"width_m": 3.5, "speed_limit_mps": 50 * KMH, "left": Marking.NONE, "right": Marking.NONE,
                  "successors": (), "surface": 0} | more
        return Lane(id=len(lanes), centre_m=centre, **fields)

    lanes: list[Lane] = []
    for arm in range(4):  # lanes 4 arm: left in, right in, left out, right out
        lanes.append(lane(np.stack([place(arm, 1.75, 80.0), place(arm, 1.75, 16.0)]), right_neighbour=4 * arm + 1))
        lanes.append(lane(np.stack([place(arm, 5.25, 80.0), place(arm, 5.25, 16.0)]), left_neighbour=4 * arm))
        lanes.append(lane(np.stack([place(arm, -1.75, 16.0), place(arm, -1.75, 80.0)]), right_neighbour=4 * arm + 3))
        lanes.append(lane(np.stack([place(arm, -5.25, 16.0), place(arm, -5.25, 80.0)]), left_neighbour=4 * arm + 2))
    for arm in range(4):
        for into, to, out, turn in ((0, 3, 2, Command.LEFT), (1, 2, 3, Command.STRAIGHT), (1, 1, 3, Command.RIGHT)):
            begin, end = lanes[4 * arm + into].centre_m[-1], lanes[4 * ((arm + to) % 4) + out].centre_m[0]
            corner = (begin + end) / 2 if to == 2 else np.where([arm % 2, arm % 2 == 0], begin, end)
            bend = np.linspace(0, 1, 25)[:, None]
            lanes.append(lane((1 - bend) ** 2 * begin + 2 * bend * (1 - bend) * corner + bend ** 2 * end, junction=0,
                              turn=turn, successors=(4 * ((arm + to) % 4) + out,)))
            into_lane = lanes[4 * arm + into]
            lanes[into_lane.id] = replace(into_lane, successors=(*into_lane.successors, len(lanes) - 1))
    outline = 16.0 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    ids = [tuple(4 * arm + k for arm in range(4) for k in pair) for pair in ((0, 1), (2, 3))]
    return RoadNetwork(tuple(lanes), (Junction(0, ids[0], tuple(range(16, 28)), ids[1]),),
                       (Surface("cross", outline, 0),))


def test_lanes_for_the_left_turn_have_a_light_of_their_own():
    """Two groups an arm in four stages; whoever turns left is never green with the oncoming traffic."""
    network, plan = plan_signals(wide_crossing(), np.random.default_rng(0))
    signal = [[network.lanes[4 * arm + k].signal for arm in range(4)] for k in (0, 1)]
    assert len({*signal[0], *signal[1]}) == 8
    starts = [[float(plan.start_s[group]) for group in row] for row in signal]
    assert all(starts[0][arm] != starts[1][(arm + 2) % 4] for arm in range(4))
    assert len({*starts[0], *starts[1]}) == 4 and (plan.cycle_s == plan.cycle_s[0]).all()
    heads = place_heads(network)
    assert [int((heads.lane == lane).sum()) for lane in range(2)] == [2, 3], "near, far; on the right a far post, too"
    over = heads.arm_m > 0
    assert [int((over & (heads.lane == lane)).sum()) for lane in range(2)] == [2, 1]
    for lane in range(2):
        np.testing.assert_allclose(head_centres(heads)[over & (heads.lane == lane), 1],
                                   network.lanes[lane].centre_m[-1, 1], atol=0.01)


@pytest.mark.parametrize("seed", range(12))
def test_heads_of_different_lights_hang_a_lane_apart(seed):
    """Two heads that face the same way and show different things are never one blur from 30 m away (4 px a metre)."""
    heads = build_town(seed).signal_heads
    centre = head_centres(heads)
    for a, b in itertools.combinations(range(len(heads.group)), 2):
        if heads.group[a] != heads.group[b] and math.cos(heads.pose[a, 2] - heads.pose[b, 2]) > 0.9:
            assert float(np.hypot(*(centre[a] - centre[b])[:2])) > 2.0


def test_same_seed_same_lights():
    one, other = build_town(5), build_town.__wrapped__(5)
    for name in vars(one.signal_plan):
        np.testing.assert_array_equal(getattr(one.signal_plan, name), getattr(other.signal_plan, name))
    np.testing.assert_array_equal(one.signal_heads.pose, place_heads(other.network).pose)


@pytest.mark.parametrize("seed", [0, 3, 10004, 10011])
def test_heads_stand_beside_the_road_and_look_at_their_traffic(seed):
    town = build_town(seed)
    network, heads = town.network, town.signal_heads
    assert {lane.signal for lane in network.lanes} - {None} == set(heads.group.tolist())
    for row, lane in enumerate(network.lanes[i] for i in heads.lane):
        assert lane.signal == heads.group[row]
        x, y, yaw = heads.pose[row]
        assert not network.is_on_road(x, y, margin_m=0.9)
        ahead = np.array([x, y]) - lane.centre_m[-1]
        assert NEAR_BEHIND_LINE_M - 1e-6 <= np.hypot(*ahead) <= FAR_LONGEST_M + 10
        before = lane.centre_m[-1] - 10 * (lane.centre_m[-1] - lane.centre_m[-2]) / np.hypot(
            *(lane.centre_m[-1] - lane.centre_m[-2]))
        assert math.cos(math.atan2(*(before - (x, y))[::-1]) - yaw) > 0.75


@pytest.mark.parametrize("seed", range(6))
def test_whoever_waits_at_the_line_sees_a_whole_head(seed):
    """Bumper 1 m before the line: at least one of the lane's heads lies in the picture, all three lamps of it."""
    town, camera = build_town(seed), CameraConfig()
    centre = head_centres(town.signal_heads)
    for lane in town.network.lanes:
        if lane.signal is None:
            continue
        heading = math.atan2(*(lane.centre_m[-1] - lane.centre_m[-2])[::-1])
        x, y = lane.centre_m[-1] - (EGO_SHAPE.front_m + 1.0) * np.array([math.cos(heading), math.sin(heading)])
        rows = np.flatnonzero(town.signal_heads.group == lane.signal)
        assert len(rows) >= 2
        ends = centre[rows][:, None] + np.array([[0, 0, -0.5], [0, 0, 0.5]])
        u, v, _ = np.moveaxis(project_points(camera, pose_of(camera, VehicleState(x, y, heading)), ends), -1, 0)
        inside = (u > 2) & (u < camera.width_px - 2) & (v > 2) & (v < camera.height_px - 2)
        assert inside.all(axis=1).any()
