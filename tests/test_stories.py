"""Driving stories with numbers: a simple hand drives the library's situations, well and badly, in PyBullet.

The hand reads the true state. It is kept apart from the expert on purpose: the stories judge rules, reward and scores,
so each fault of the hand is one switch.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from straight_road import judge

from envs.config import CameraConfig, DriveConfig, Patience
from envs.driving_env import DrivingEnv
from envs.geometry import ego_from_world, interpolate
from envs.metrics import EpisodeScore
from envs.state import EGO_SHAPE, ActorKind, WorldState
from envs.vehicle import CAR
from scenarios.spec import load

LIBRARY = Path(__file__).parent.parent / "scenarios" / "library"
CONFIG = DriveConfig(camera=CameraConfig(width_px=16, height_px=16), renderer="none",
                     evaluation_patience=Patience(blocked_s=20.0, timeout_s=300.0))
BRAKING_MPS2 = 2.0


@dataclass(frozen=True)
class Hand:
    """A driver: pure pursuit and a speed for what lies ahead."""

    speed_share: float = 0.9
    lateral_m: float = 0.0  # holds this offset from the route, left positive
    stops_at_lines: bool = True
    sees_bends: bool = True
    brakes_for: str = ""  # "vehicle", "pedestrian" or nobody
    swerves: bool = False  # around what stands half in the lane

    def act(self, state: WorldState, stood: set[float]) -> np.ndarray:
        ego, route = state.ego, state.route
        at, _ = route.locate(ego.x_m, ego.y_m)
        ahead = route.station_m + 0.0
        gap = self._gap(state, at)
        side = self.lateral_m + (1.25 if self.swerves and -15 < gap < 25 else 0.0)
        reach = 4.0 + 0.35 * abs(ego.speed_mps)
        point = interpolate(route.points_m, route.station_m, np.array([at + reach]))[0]
        heading = float(np.interp(at + reach, route.station_m, route.heading_rad))
        point = point + side * np.array([-math.sin(heading), math.cos(heading)])
        x, y = ego_from_world(ego.pose, point)
        steer = math.atan2(2 * CAR.wheelbase_m * y, x * x + y * y) / CAR.max_steer_rad
        near = (ahead >= at) & (ahead < at + 80)
        wish = self.speed_share * route.speed_limit_mps
        if self.sees_bends:
            bend = np.abs(np.gradient(route.heading_rad, route.station_m)) + 1e-4
            wish = np.minimum(wish, np.sqrt(2.0 / bend))
        allowed = np.sqrt(wish[near] ** 2 + 2 * BRAKING_MPS2 * (ahead[near] - at)).min() if near.any() else 5.0
        halts = [station - at - EGO_SHAPE.front_m - 1.5 for station, control in route.stops
                 if self.stops_at_lines and control.name == "STOP" and station not in stood
                 and station - at - EGO_SHAPE.front_m > -1.0]
        if self.brakes_for:
            halts.append(gap - EGO_SHAPE.front_m - 6.0)
        for halt in halts:
            allowed = min(allowed, math.sqrt(2 * BRAKING_MPS2 * max(halt, 0.0)))
        if abs(ego.speed_mps) < 0.1:
            stood |= {station for station, _ in route.stops if 0 < station - at - EGO_SHAPE.front_m < 4}
        drive = 0.6 * (allowed - ego.speed_mps) if allowed > 0.3 else -0.5
        return np.clip(np.array([steer, drive], np.float32), -1, 1)

    def _gap(self, state: WorldState, at: float) -> float:
        """Along the route to the first actor in or near the lane [m]; inf if there is none."""
        if not self.swerves and not self.brakes_for:
            return math.inf
        gaps = [math.inf]
        for kind, pose in zip(state.actors.kind, state.actors.pose, strict=True):
            station, lateral = state.route.locate(pose[0], pose[1])
            is_of_interest = self.swerves or self.brakes_for == ActorKind(int(kind)).name.lower()
            if abs(lateral) < 3.0 and station > at - 15 and is_of_interest:
                gaps.append(station - at)
        return min(gaps)


@functools.cache
def drive(name: str, hand: Hand, ends: str = "evaluation", **changes: object) -> tuple[EpisodeScore, DrivingEnv, float]:
    """The score, the environment after it, and the sum of rewards of one episode of the library."""
    env = DrivingEnv(CONFIG, ends=ends)
    env.reset(seed=0, options={"scenario": load(LIBRARY / f"{name}.toml").model_copy(update=changes)})
    stood: set[float] = set()
    total, done = 0.0, False
    while not done:
        _, reward, terminated, truncated, _ = env.step(hand.act(env.state, stood))
        total, done = total + reward, terminated or truncated
    env.close()
    return env.score(), env, total


def test_first_drive_is_perfect_and_earns_nearly_the_whole_scale():
    score, env, earned = drive("first_drive", Hand())
    assert score.status == "perfect" and score.driving_score == score.driving_score_20 == 100.0
    assert sum(score.infractions.values()) == 0 and score.off_lane_share == 0.0
    assert env.state.route.length_m - 5.0 <= env.facts.route_m < env.state.route.length_m - 3.0
    assert score.distance_m == pytest.approx(env.facts.route_m, rel=0.01) and 8.0 < score.mean_speed_mps < 50 / 3.6
    assert 85.0 < earned < CONFIG.reward.progress_scale


@pytest.mark.slow
def test_stop_lines_obeyed_and_run():
    """Two stop signs run at full completion: 100 / (1 + 2 x 0.25) and 100 x 0.8 x 0.8."""
    good, _, _ = drive("stop_sign", Hand())
    bad, _, _ = drive("stop_sign", Hand(stops_at_lines=False))
    assert good.status == "perfect" and good.duration_s > bad.duration_s
    assert bad.infractions["stop"] == 2 and bad.status == "completed" and bad.end == "goal"
    assert bad.driving_score == pytest.approx(100 / 1.5) and bad.driving_score_20 == pytest.approx(64.0)


def test_running_a_stop_line_ends_training_with_the_penalty():
    score, env, _ = drive("stop_sign", Hand(stops_at_lines=False), ends="training")
    line = env.state.route.stops[0][0]
    assert score.end == "stop" and line - EGO_SHAPE.front_m < env.facts.route_m < line - EGO_SHAPE.front_m + 1.5
    share = 100 * line / env.state.route.length_m
    assert score.status == "failed" and score.route_completion == pytest.approx(share, abs=2)


@pytest.mark.slow
def test_parked_cars_leave_room_for_the_lane_and_none_for_cutting_it():
    assert drive("parked_cars", Hand())[0].status == "perfect"
    hugging, _, _ = drive("parked_cars", Hand(lateral_m=-1.5))
    assert hugging.infractions["vehicle"] >= 1 and hugging.driving_score < 60.0


@pytest.mark.slow
def test_broken_down_car_hit_waited_for_and_passed():
    hit, env, _ = drive("broken_down_car", Hand(), ends="training")
    assert hit.end == "collision" and hit.infractions["vehicle"] == 1
    assert 220 - env.facts.route_m < EGO_SHAPE.front_m + 3.5  # at its tail
    waited, env, _ = drive("broken_down_car", Hand(brakes_for="vehicle"))
    assert waited.end == "blocked" and waited.infractions["vehicle"] == 0 and abs(env.state.ego.speed_mps) < 0.1
    assert waited.duration_s > 20 and waited.driving_score == pytest.approx(waited.route_completion)
    passed, _, _ = drive("broken_down_car", Hand(swerves=True))
    assert passed.status == "perfect"


def test_crash_goes_on_in_evaluation_and_is_counted_once():
    score, _, _ = drive("broken_down_car", Hand())
    assert score.end == "blocked" and score.infractions["vehicle"] == 1
    assert score.driving_score == pytest.approx(score.route_completion / 1.7)
    assert score.driving_score_20 == pytest.approx(score.route_completion * 0.6)


def test_pedestrian_hit_by_who_does_not_look_and_missed_by_who_does():
    hit, _, earned = drive("crossing_pedestrian", Hand(), ends="training")
    assert hit.end == "collision" and hit.infractions["pedestrian"] == 1
    missed, _, more = drive("crossing_pedestrian", Hand(brakes_for="pedestrian"), ends="training")
    assert missed.status == "perfect" and more > earned + 40


def test_slowing_down_for_the_bend_is_needed_on_the_fast_road():
    good, _, _ = drive("fast_road", Hand())
    assert good.status == "perfect"
    bad, _, _ = drive("fast_road", Hand(sees_bends=False))
    assert bad.infractions["off_road"] >= 1 and not bad.is_success and bad.driving_score < 95.0


def test_speeding_costs_reward_but_no_score():
    legal, _, earned = drive("fast_road", Hand())
    fast, _, less = drive("fast_road", Hand(speed_share=1.3))
    assert fast.infractions["speeding"] >= 1 and fast.driving_score == 100.0 and fast.is_success
    assert fast.duration_s < legal.duration_s and less < earned - 5.0


@pytest.mark.slow
def test_lower_limit_of_a_scenario_makes_the_same_drive_slower():
    free, _, _ = drive("first_drive", Hand())
    slow, env, _ = drive("first_drive", Hand(), speed_limit_mps=6.0)
    assert env.facts.speed_limit_mps == 6.0 and slow.mean_speed_mps < 6.0 < free.mean_speed_mps


def test_oncoming_lane_all_the_way_scores_nearly_nothing_though_the_goal_is_reached():
    width = float(drive("first_drive", Hand())[1].state.route.width_m[0])
    score, _, earned = drive("first_drive", Hand(lateral_m=width))
    assert score.end == "goal" and score.route_completion == 100.0 and not score.is_success
    assert score.off_lane_share > 0.9 and score.driving_score < 10.0 and earned < 10.0


class Idler(Hand):
    """Feet off the pedals, hands in the lap."""

    def act(self, state: WorldState, stood: set[float]) -> np.ndarray:
        return np.zeros(2, np.float32)


class Bolter(Hand):
    """Full throttle straight ahead."""

    def act(self, state: WorldState, stood: set[float]) -> np.ndarray:
        return np.array([0.0, 1.0], np.float32)


def test_idler_is_blocked_after_twenty_seconds_and_earns_the_penalty_alone():
    score, _, earned = drive("first_drive", Idler(), ends="training")
    assert score.end == "blocked" and score.duration_s == pytest.approx(20.0, abs=0.2)
    assert score.driving_score < 0.1 and earned == pytest.approx(-20.0, abs=0.01)


def test_bolter_leaves_the_road_at_the_first_bend():
    score, env, _ = drive("first_drive", Bolter(), ends="training")
    assert score.end in ("off_road", "collision") and 30.0 < env.facts.route_m < 250.0
    assert score.infractions["speeding"] == 1
    beyond, env, _ = drive("first_drive", Bolter())
    assert beyond.end in ("deviated", "blocked") and beyond.route_completion < 60.0


def test_a_drive_repeats_to_the_last_bit():
    first, env_1, earned_1 = drive("stop_sign", Hand())
    again, env_2, earned_2 = drive.__wrapped__("stop_sign", Hand())
    assert (first, earned_1, env_1.facts) == (again, earned_2, env_2.facts)


def test_facts_of_recorded_states_equal_the_live_ones():
    env = DrivingEnv(CONFIG)
    env.reset(seed=0, options={"scenario": load(LIBRARY / "stop_sign.toml")})
    states, live = [env.state], []
    for _ in range(150):
        env.step(Hand().act(env.state, set()))
        states.append(env.state)
        live.append(env.facts)
    assert judge(states, CONFIG.training_patience) == live
