"""The expert's drives: whole routes, a stop line, a parked car in the way, a slow leader; and its bounds."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from straight_road import LANE_Y_M, LIMIT_MPS, ROUTE, judge, state

from agents.expert import Expert, ExpertStyle, aim, curvature, idm, pursue, sight_speed, speed_ceiling
from envs.config import DriveConfig
from envs.driving_env import DrivingEnv
from envs.roads.network import Control, RoadNetwork
from envs.roads.procedural import build_town
from envs.roads.routes import Route
from envs.state import EGO_SHAPE, WorldState
from envs.weather import Weather
from envs.world import plan_route as plan
from scenarios.spec import Obstacle, Scenario, suite

STYLE = ExpertStyle()


def drive(scenario: Scenario, until: Callable[[WorldState], bool] = lambda _: False, most_steps: int = 4000,
          ) -> tuple[DrivingEnv, list[WorldState]]:
    """The expert in a scenario without a camera; the environment after it, and every state."""
    env, expert = DrivingEnv(DriveConfig(renderer="none"), ends="evaluation"), Expert()
    env.reset(seed=1, options={"scenario": scenario})
    states = [env.state]
    for _ in range(most_steps):
        _, terminated, truncated, _ = env.advance(expert.act(None, env.state))
        states.append(env.state)
        if terminated or truncated or until(env.state):
            break
    env.close()
    return env, states


def plan_route(scenario: Scenario) -> Route:
    return plan(build_town(scenario.town_seed).network, scenario)


def station_m(states: WorldState) -> float:
    return states.route.locate(states.ego.x_m, states.ego.y_m)[0]


def assert_faultless(scenarios: tuple[Scenario, ...]) -> None:
    scores = [drive(scenario)[0].score() for scenario in scenarios]
    assert [s.route_completion for s in scores] == [100.0] * len(scores)
    assert all(s.is_success for s in scores)
    assert np.mean([s.comfort for s in scores]) > 0.98


@pytest.mark.slow
def test_four_unseen_towns_without_an_infraction_and_in_comfort() -> None:
    assert_faultless(suite("val", 4))


@pytest.mark.exhaustive
def test_a_hundred_unseen_towns_without_an_infraction() -> None:
    scores = [drive(scenario)[0].score() for scenario in suite("val", 100)]
    assert np.mean([s.is_success for s in scores]) >= 0.95


def _stretches(network: RoadNetwork, feature: str) -> list[tuple[int, float, float]]:
    """Lanes with a feature of the road, from station to station [m]."""
    if feature == "refuge":
        return [(lane, *span) for median in network.medians
                for lane, span in zip(median.lanes, median.spans_m, strict=True)]
    if feature == "slow street":
        return [(lane.id, 5.0, lane.length_m - 5.0) for lane in network.lanes if lane.speed_limit_mps < 6.0]
    if feature == "narrowing":
        return [span for narrowing in network.narrowings for span in narrowing.spans_m if span[0] == narrowing.lane]
    is_own = feature == "works"
    return [span for works in network.works for span in works.spans_m if (span[0] == works.lane) == is_own]


def _through(feature: str) -> Scenario:
    """The first drive of the towns that leads through a feature from one end to the other."""
    for seed, route_seed in itertools.product(range(10_000, 10_100), range(6)):
        stretches = _stretches(build_town(seed).network, feature)
        if not stretches:
            continue
        scenario = Scenario(name="feature", town_seed=seed, route_seed=route_seed, route_min_m=250.0,
                            route_max_m=450.0, vehicles=12, pedestrians=8, signals=True)
        route = plan_route(scenario)
        begins = {lane: begin for begin, lane in route.begins()}
        if any(lane in begins and begins[lane] + first > 5.0 and begins[lane] + last < route.length_m - 5.0
               for lane, first, last in stretches):
            return scenario
    raise AssertionError(f"no drive of a hundred towns leads through {feature}")


@pytest.mark.slow
@pytest.mark.parametrize("feature", ["refuge", "works", "beside works", "narrowing", "slow street"])
def test_what_the_road_has_on_its_way_is_driven_through_without_an_infraction(feature: str) -> None:
    env, states = drive(_through(feature))
    assert env.score().is_success and env.score().route_completion == 100.0
    facts = [fact for fact in judge(states) if not fact.is_in_junction]
    assert max(abs(fact.lateral_m) for fact in facts) < 0.45, "the lane is kept where it swerves"
    assert max(fact.overspeed_mps for fact in facts) < 0.6
    if feature == "slow street":
        assert min(fact.speed_limit_mps for fact in facts) == pytest.approx(20 / 3.6)


def _with_stop_line() -> Scenario:
    """A val town whose route meets a stop line after at least 40 m."""
    return next(s for s in suite("val", 100)
                if any(at > 40 and control == Control.STOP for at, control in plan_route(s).stops))


def test_it_stands_with_the_bumper_one_to_two_metres_before_a_stop_line_then_goes_on() -> None:
    scenario = _with_stop_line()
    line = next(at for at, control in plan_route(scenario).stops if at > 40 and control == Control.STOP)
    _, states = drive(scenario, until=lambda s: station_m(s) > line + 10)
    to_line = np.array([line - station_m(s) - EGO_SHAPE.front_m for s in states])
    speed = np.array([s.ego.speed_mps for s in states])
    halted = to_line[(speed < 0.1) & (to_line < 30)]
    assert len(halted) and halted.min() > 1.0 and halted.max() < 2.0
    assert to_line[-1] < 0 and speed[-1] > 2.0


@functools.cache
def _straight_start() -> Scenario:
    """A val town whose route has neither stop line nor bend in its first 120 m."""
    def is_plain(s: Scenario) -> bool:
        route = plan_route(s)
        return float(np.abs(curvature(route)[:240]).max()) < 5e-4 and all(at > 120 for at, _ in route.stops)
    return next(s for s in suite("val", 200) if is_plain(s)).model_copy(update={"parked_cars_per_km": 0.0})


def test_a_leader_at_4_mps_is_followed_at_its_speed() -> None:
    scenario = _straight_start().model_copy(update={"obstacles": (Obstacle(route_station_m=30.0, speed_mps=4.0),)})
    env, states = drive(scenario, most_steps=180)
    assert env.score().infractions.get("vehicle", 0) == 0
    assert np.mean([s.ego.speed_mps for s in states[-20:]]) == pytest.approx(4.0, abs=0.6)


def test_a_car_parked_on_the_verge_is_passed_without_slowing() -> None:
    aside = Obstacle(route_station_m=80.0, lateral_m=-4.0)
    free, beside = (drive(_straight_start().model_copy(update={"obstacles": o}),
                          until=lambda s: station_m(s) > 110)[1] for o in ((), (aside,)))
    assert abs(len(free) - len(beside)) <= 1


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.integers(10_000, 10_499))
def test_the_ceiling_keeps_limit_bend_and_braking(seed: int) -> None:
    route = plan_route(Scenario(name="any", town_seed=seed))
    ceiling = speed_ceiling(route, STYLE)
    assert (ceiling <= STYLE.limit_share * route.speed_limit_mps + 1e-9).all()
    assert (ceiling**2 * np.abs(curvature(route)) <= STYLE.lateral_accel_mps2 + 1e-6).all()
    braking = (ceiling[:-1] ** 2 - ceiling[1:] ** 2) / (2 * np.diff(route.station_m))
    assert braking.max() <= STYLE.braking_mps2 + 1e-6


def test_steering_is_mirror_symmetric_and_points_back_to_the_lane() -> None:
    left = pursue(state(20.0, LANE_Y_M + 0.5), 20.0, STYLE)
    right = pursue(state(20.0, LANE_Y_M - 0.5), 20.0, STYLE)
    assert left < -0.01 and left == pytest.approx(-right, abs=1e-9)
    assert pursue(state(20.0), 20.0, STYLE) == pytest.approx(0.0, abs=1e-9)


def test_the_aim_goes_straight_on_past_the_routes_end() -> None:
    end = ROUTE.points_m[-1]
    np.testing.assert_allclose(aim(ROUTE, ROUTE.length_m - 2.0, 10.0), end + np.array([8.0, 0.0]), atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 30), st.floats(1, 80), st.floats(0, 30))
def test_idm_brakes_harder_the_nearer_the_obstacle(speed: float, gap: float, lead: float) -> None:
    near, far = (idm(speed, LIMIT_MPS, g, lead, STYLE) for g in (gap, gap + 5))
    assert near <= far <= STYLE.throttle_mps2


def test_it_needs_no_pixels_but_the_state() -> None:
    action = Expert().act(None, state(20.0))
    assert action.shape == (2,) and action.dtype == np.float32
    with pytest.raises(ValueError, match="privileged"):
        Expert().act(None, None)


@settings(max_examples=30, deadline=None)
@given(st.floats(20, 500), st.floats(0, 1))
def test_it_can_halt_within_what_it_sees(visibility: float, wetness: float) -> None:
    weather = Weather(visibility_m=visibility, wetness=wetness)
    speed = sight_speed(weather)
    assert speed * 1.0 + speed**2 / (2 * 5.0 * weather.friction) == pytest.approx(visibility)
    assert sight_speed(Weather(wetness=wetness)) == np.inf
