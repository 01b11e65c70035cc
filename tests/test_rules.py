"""Rules on hand-made states: each story says what happens on the road and what the facts must be."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from straight_road import LANE_Y_M, LIMIT_MPS, ROUTE, actors, drive, judge, state, town

from envs.config import Patience
from envs.geometry import box_corners, boxes_overlap
from envs.roads.network import Control
from envs.rules import Facts, fold, initial_facts, initial_memory
from envs.state import EGO_SHAPE, Contact, Phase, VehicleState
from envs.time_to_collision import time_to_collision


def test_perfect_drive_completes_the_route_once():
    stop_at_line = [10.0] * 135 + [5.0] * 8 + [0.0] * 5 + [10.0] * 255
    facts = judge(drive(stop_at_line, start_m=5.0))
    assert facts[-1].is_at_goal and facts[-1].completion == 1.0
    assert sum(fact.completion_delta for fact in facts) == pytest.approx(1.0)
    assert not any(fact.is_off_lane or fact.is_off_road or fact.has_run_stop or fact.new_collision for fact in facts)
    assert sum(fact.distance_m for fact in facts) == pytest.approx(0.1 * sum(stop_at_line))


def test_completion_is_the_best_so_far_and_never_falls():
    facts = judge(drive([10.0] * 20 + [-5.0] * 20 + [10.0] * 20))
    assert [fact.completion for fact in facts] == sorted(fact.completion for fact in facts)
    assert sum(fact.completion_delta > 0 for fact in facts) == 30  # 20 forward, then 10 m back must be made good first


def test_goal_is_reached_five_metres_before_the_end():
    facts = judge(drive([10.0] * 20, start_m=380.0))
    reached = next(fact for fact in facts if fact.is_at_goal)
    assert reached.route_m == pytest.approx(ROUTE.length_m - 5.0, abs=0.01)


def test_goal_is_not_reached_on_the_grass_or_far_beside():
    assert not any(fact.is_at_goal for y in (-6.5, 20.0) for fact in judge(drive([10.0] * 20, start_m=380.0, y_m=y)))


@pytest.mark.parametrize(("stand_from_line_m", "is_run"), [(0.3, False), (3.5, False), (4.5, True), (None, True)])
def test_stop_line_asks_for_a_standstill_within_four_metres(stand_from_line_m, is_run):
    facts = _approach_line(stand_from_line_m)
    assert sum(fact.has_run_stop for fact in facts) == int(is_run)


def _approach_line(stand_from_line_m: float | None, control: Control = Control.STOP) -> list[Facts]:
    place = town(control)
    stand = 150.0 - EGO_SHAPE.front_m - (stand_from_line_m or 0.0)
    xs = [*np.arange(stand - 20.0, stand, 0.5), *([stand] * 3), *np.arange(stand, stand + 12.0, 0.5)]
    speeds = [0.05 if stand_from_line_m is not None and x == stand else 5.0 for x in xs]
    return judge([state(x, step=i, speed_mps=v, place=place) for i, (x, v) in enumerate(zip(xs, speeds, strict=True))])


def test_run_stop_is_told_when_the_bumper_passes():
    states = drive([5.0] * 60, start_m=130.0)
    run = next(i for i, fact in enumerate(judge(states)) if fact.has_run_stop)
    before, after = (now.ego.x_m + EGO_SHAPE.front_m for now in states[run:run + 2])
    assert before <= 150.0 < after


def test_yield_line_binds_nobody_in_an_empty_town():
    assert not any(fact.has_run_stop for fact in _approach_line(None, Control.YIELD))


def test_each_line_asks_for_its_own_standstill():
    two = replace(ROUTE, stops=((150.0, Control.STOP), (153.0, Control.STOP)))
    speeds = [5.0] * 12 + [0.0] * 3 + [5.0] * 20
    states = [replace(now, route=two) for now in drive(speeds, start_m=149.0 - EGO_SHAPE.front_m - 6.0)]
    assert [fact.has_run_stop for fact in judge(states)].count(True) == 1


def test_line_behind_the_bumper_at_the_start_does_not_count():
    assert not any(fact.has_run_stop for fact in judge(drive([5.0] * 30, start_m=148.0)))


@pytest.mark.parametrize(("y_m", "off_lane", "wrong", "off_road"), [
    (LANE_Y_M, False, False, False),
    (LANE_Y_M - 1.4, False, False, False),   # right wheels on the shoulder
    (LANE_Y_M + 1.6, False, False, False),   # straddles the dashed line around an obstacle
    (-LANE_Y_M, True, True, False),          # in the oncoming lane
    (LANE_Y_M - 2.3, True, False, True),     # right corners and centre beyond the shoulder
    (-LANE_Y_M + 2.3, True, False, True),
    (-LANE_Y_M + 1.6, True, False, True),    # half off the oncoming lane
])
def test_place_on_the_road(y_m, off_lane, wrong, off_road):
    fact = judge([state(60.0, y_m), state(61.0, y_m, step=1)])[0]
    assert (fact.is_off_lane, fact.is_wrong_lane, fact.is_off_road) == (off_lane, wrong, off_road)


def test_one_corner_beyond_the_shoulder_is_still_on_the_road():
    def at(y_m: float) -> Facts:
        return judge([state(60.0, y_m), state(60.5, y_m, step=1, yaw_rad=-0.3)])[0]

    assert not at(LANE_Y_M - 0.6).is_off_road  # front right corner 0.17 m beyond
    assert at(LANE_Y_M - 1.8).is_off_road  # rear right corner 0.03 m beyond, the middle not


def test_progress_counts_only_beside_the_route_and_never_by_a_leap():
    beside = [state(61.0 + i, LANE_Y_M - 7.0, step=2 + i) for i in range(20)]
    on_grass = judge([state(60.0), state(61.0, step=1), *beside])
    assert on_grass[-1].completion == on_grass[0].completion > 0
    leap = judge([state(60.0), state(300.0, step=1)])[0]
    assert leap.route_m == pytest.approx(90.0, abs=0.6)


def test_driving_back_on_the_own_lane_is_the_wrong_way():
    fact = judge([state(60.0, yaw_rad=math.pi), state(59.0, step=1, yaw_rad=math.pi)])[0]
    assert fact.is_wrong_lane and fact.is_off_lane and fact.heading_error_rad == pytest.approx(math.pi)


def test_lateral_is_positive_on_the_left_and_limit_and_overspeed_are_told():
    fact = judge([state(60.0, -1.25), state(62.0, -1.25, step=1, speed_mps=20.0)])[0]
    assert fact.lateral_m == pytest.approx(0.5) and fact.lane_width_m == 3.5
    assert fact.speed_limit_mps == pytest.approx(LIMIT_MPS) and fact.overspeed_mps == pytest.approx(20 - LIMIT_MPS)


def test_junction_is_known():
    facts = judge(drive([10.0] * 40, start_m=140.0))
    assert [fact.is_in_junction for fact in facts] == [150 <= fact.route_m < 169.9 for fact in facts]


def test_deviation_over_thirty_metres():
    facts = [judge([state(60.0), state(60.0, LANE_Y_M - y, step=1)])[0] for y in (29.0, 31.0)]
    assert [fact.is_deviated for fact in facts] == [False, True]


def test_blocked_after_its_patience_and_not_before():
    facts = judge(drive([0.0] * 210), Patience(blocked_s=20.0))
    assert [fact.is_blocked for fact in facts].index(True) == 199
    moving = judge(drive([0.0] * 150 + [1.0] + [0.0] * 150), Patience(blocked_s=20.0))
    assert not any(fact.is_blocked for fact in moving)


def test_timeout_grows_with_the_way_covered():
    patience = Patience(timeout_s=3.0)
    standing = judge(drive([0.0] * 60), patience)
    assert [fact.is_timeout for fact in standing].index(True) in (29, 30)
    slow = judge(drive([0.1 * LIMIT_MPS * 0.5] * 100), patience)  # half the pace the timeout allows: 6 s
    assert [fact.is_timeout for fact in slow].index(True) in (59, 60)
    assert not any(fact.is_timeout for fact in judge(drive([0.11 * LIMIT_MPS] * 100), patience))
    to_and_fro = judge(drive(([5.0] * 10 + [-5.0] * 10) * 8), patience)  # 5 m of the route, again and again
    ends_s = 3.0 + 5.0 / (0.1 * LIMIT_MPS)
    assert [fact.is_timeout for fact in to_and_fro].index(True) == pytest.approx(10 * ends_s, abs=1.0)


def _touching(pattern: str, speed_mps: float = 5.0) -> list[str | None]:
    touch = (Contact("vehicle", 7, 100.0),)
    states = [state(60.0 + 0.1 * speed_mps * i, step=i, contacts=touch if mark == "x" else ())
              for i, mark in enumerate("." + pattern)]
    return [fact.new_collision for fact in judge(states)]


def test_contact_counts_once_while_it_lasts_and_again_after_a_second_and_two_metres():
    assert _touching("..xxxxx.....xx").count("vehicle") == 1
    assert _touching("..xx...........xx").count("vehicle") == 2
    assert _touching("..xx...........xx", speed_mps=0.1).count("vehicle") == 1  # never got away from it


def test_gravest_of_two_collisions_is_told():
    both = (Contact("static", 1, 1.0), Contact("pedestrian", 2, 1.0))
    assert judge([state(60.0), state(61.0, step=1, contacts=both)])[0].new_collision == "pedestrian"


def test_time_to_collision_by_hand():
    ego = state(0.0, speed_mps=10.0).ego
    front = EGO_SHAPE.front_m
    assert time_to_collision(ego, actors((front + 5.0 + 2.25, LANE_Y_M, 0.0, 0.0))) == pytest.approx(0.5)
    assert time_to_collision(ego, actors((front + 5.0 + 2.25, LANE_Y_M, math.pi, 10.0))) == pytest.approx(0.25)
    assert time_to_collision(ego, actors((front + 5.0 + 2.25, LANE_Y_M, 0.0, 10.0))) == math.inf
    assert time_to_collision(ego, actors((front + 9.1 + 2.25, LANE_Y_M, 0.0, 0.0))) == math.inf  # 0.91 s
    assert time_to_collision(ego, actors((front + 5.0, LANE_Y_M - 2.0, 0.0, 0.0))) == math.inf  # 0.3 m beside
    assert time_to_collision(state(0.0, speed_mps=0.0).ego, actors((3.0, LANE_Y_M, 0.0, 0.0))) == math.inf
    assert initial_facts(initial_memory(state(0.0))).ttc_s == math.inf


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.floats(-12, 20), st.floats(-12, 12), st.floats(-3.1, 3.1), st.floats(0, 12), st.floats(1, 15))
def test_time_to_collision_agrees_with_moving_the_boxes(x, y, yaw, speed, own_speed):
    ego, step = VehicleState(0.0, 0.0, 0.3, speed_mps=own_speed), 0.002
    told = time_to_collision(ego, actors((x, y, yaw, speed)))
    moved = math.inf
    for t in np.arange(0.0, 0.9, step):
        own = box_corners(ego.pose + t * own_speed * np.array([math.cos(0.3), math.sin(0.3), 0]), EGO_SHAPE.length_m,
                          EGO_SHAPE.width_m, EGO_SHAPE.centre_forward_m)
        other = np.array([x + t * speed * math.cos(yaw), y + t * speed * math.sin(yaw), yaw])
        if boxes_overlap(own, box_corners(other, 4.5, 1.8)):
            moved = float(t)
            break
    if math.isfinite(moved):
        assert moved - step - 1e-6 <= told <= moved + 1e-6
    else:
        assert told > 0.9 - 2 * step or _grazes(ego, (x, y, yaw, speed), told)


def _grazes(ego: VehicleState, row: tuple[float, float, float, float], told_s: float) -> bool:
    """Whether the overlap lasts less than the steps of the brute-force check: a shrunk actor is not hit."""
    table = actors(row)
    table.size_m[:, :2] -= 0.1
    return time_to_collision(ego, table) > told_s


def test_comfort_counts_the_bounds_broken_in_the_last_two_seconds():
    calm = [state(5.0 + i, step=i) for i in range(40)]
    hard = [state(45.0 + i, step=40 + i, accel_mps2=-6.0) for i in range(20)]
    after = [state(65.0 + i, step=60 + i) for i in range(40)]
    counts = [fact.comfort_violations for fact in judge(calm + hard + after)]
    assert max(counts[:39]) == 0
    assert max(counts) == 3  # acceleration, jerk and longitudinal jerk
    assert counts[59] == 3 and counts[-1] == 0


def test_jerk_to_the_side_is_not_a_longitudinal_one():
    ramp = [state(5.0 + i, step=i, lateral_accel_mps2=0.6 * i) for i in range(8)]  # 6 m/s3: over 4.13, under 8.37
    assert max(fact.comfort_violations for fact in judge(ramp)) == 0
    ahead = [state(5.0 + i, step=i, accel_mps2=0.6 * i - 3.0) for i in range(8)]
    assert judge(ahead)[-1].comfort_violations == 1


def test_fold_is_pure_and_repeatable():
    states = drive([10.0] * 30)
    memory = initial_memory(states[0])
    assert fold(memory, states[1])[1] == fold(memory, states[1])[1]
    assert judge(states) == judge(states)


@pytest.mark.parametrize(("row", "own_mps", "is_fault"), [
    ((8.2, LANE_Y_M, 0.0, 3.0), 10.0, True),  # runs into the one ahead
    ((8.2, LANE_Y_M, 0.0, 3.0), 0.0, False),  # stands, and the one ahead rolls back into it
    ((-1.0, LANE_Y_M - 2.0, math.pi / 2, 5.0), 10.0, False),  # is hit in the side, in its lane
    ((-1.0, LANE_Y_M - 2.0, math.pi / 2, 0.0), 10.0, True),  # hits the side of one that stands
    ((-5.0, LANE_Y_M, 0.0, 20.0), 10.0, False),  # is hit from behind
])
def test_whose_fault_a_collision_is(row, own_mps, is_fault):
    first = 60.0
    other = actors((first + row[0], *row[1:]))
    hit = (Contact("vehicle", 0, 500.0),)
    facts = judge([state(first, speed_mps=own_mps, actors=other),
                   state(first, step=1, speed_mps=0.0, actors=other, contacts=hit)])[0]  # the hit has stopped it
    assert facts.new_collision == "vehicle" and facts.is_at_fault is is_fault
    wall = (Contact("static", 3, 500.0),)
    assert judge([state(first), state(first, step=1, contacts=wall)])[0].is_at_fault


def test_minimum_speed_compares_with_the_traffic_that_drives():
    """At half the traffic's speed: 50 %. Those parked, and those 200 m away, are no traffic."""
    def along(traffic_mps: float, ahead_m: float = 30.0) -> float:
        states = [state(5.0 + 2.0 * k, step=k, speed_mps=10.0, actors=actors(
            (5.0 + 2.0 * k + ahead_m, -LANE_Y_M, math.pi, traffic_mps), (100.0, 9.0, 0.0, 0.0))) for k in range(200)]
        return judge(states)[-1].min_speed_pct
    assert along(20.0) == pytest.approx(50.0) and along(5.0) == 100.0 and along(0.0) == 100.0
    assert along(20.0, 200.0) == 100.0


def _drive_to_light(shown: Callable[[int], Phase], control: Control = Control.NONE, stand_steps: int = 0,
                    y_m: float = LANE_Y_M, patience: Patience | None = None) -> list[Facts]:
    """Towards the line at 150 m at 10 m/s from 20 m before it, standing 1 m before it for a while; on for 12 m."""
    place = town(control)
    lanes = tuple(replace(lane, signal=1) if lane.id == 0 else lane for lane in place.network.lanes)
    place = replace(place, network=replace(place.network, lanes=lanes))
    stand = 149.0 - EGO_SHAPE.front_m
    xs = [*np.arange(stand - 19.0, stand), *([stand] * stand_steps), *np.arange(stand, stand + 12.0)]
    speeds = [0.0 if 19 <= i < 19 + stand_steps else 10.0 for i in range(len(xs))]
    signals = [np.array([int(Phase.GREEN), int(shown(i))]) for i in range(len(xs))]
    return judge([replace(state(x, y_m, step=i, place=place, speed_mps=speeds[i]), signals=signals[i])
                  for i, x in enumerate(xs)], patience)


@pytest.mark.parametrize(("shown", "is_run"), [
    (Phase.RED, True), (Phase.RED_YELLOW, True), (Phase.YELLOW, False), (Phase.GREEN, False), (Phase.OFF, False)])
def test_a_light_binds_while_it_is_red(shown, is_run):
    assert [fact.has_run_red for fact in _drive_to_light(lambda _: shown)].count(True) == int(is_run)


def test_red_run_is_told_when_the_bumper_passes_and_only_then():
    """Bumper at 130 m + 1 m a step: over the line in step 21, so what the light shows from step 22 on is past."""
    ran = [i for i, fact in enumerate(_drive_to_light(lambda _: Phase.RED), 1) if fact.has_run_red]
    assert ran == [21]
    assert not any(fact.has_run_red for fact in _drive_to_light(lambda i: Phase.RED if i >= 22 else Phase.YELLOW))
    assert not any(fact.has_run_red for fact in _drive_to_light(lambda i: Phase.RED if i >= 21 else Phase.YELLOW))
    assert any(fact.has_run_red for fact in _drive_to_light(lambda i: Phase.RED if i >= 20 else Phase.YELLOW))


def test_waiting_for_green_is_no_offence():
    facts = _drive_to_light(lambda i: Phase.GREEN if i >= 60 else Phase.RED, stand_steps=45)
    assert not any(fact.has_run_red for fact in facts) and facts[-1].route_m > 150


@pytest.mark.parametrize(("shown", "is_blocked"), [(Phase.RED, False), (Phase.GREEN, True), (Phase.OFF, True)])
def test_who_waits_for_a_red_light_is_not_blocked(shown, is_blocked):
    """25 s before the line, with the patience of training (20 s); the time-out of 8 s is put off as long."""
    facts = _drive_to_light(lambda _: shown, stand_steps=250, patience=Patience(blocked_s=20.0, timeout_s=8.0))
    assert any(fact.is_blocked for fact in facts) == is_blocked
    assert any(fact.is_timeout for fact in facts) == is_blocked


def test_beside_the_road_no_light_binds():
    assert not any(fact.has_run_red for fact in _drive_to_light(lambda _: Phase.RED, y_m=-9.0))


@pytest.mark.parametrize(("shown", "is_run"), [(Phase.GREEN, False), (Phase.OFF, True)])
def test_a_stop_line_binds_while_its_light_is_off(shown, is_run):
    facts = _drive_to_light(lambda _: shown, Control.STOP)
    assert any(fact.has_run_stop for fact in facts) == is_run and not any(fact.has_run_red for fact in facts)
