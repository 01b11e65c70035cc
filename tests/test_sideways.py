"""The expert aside of its route: it passes what has broken down, lets others through, and waits for gaps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_expert import drive, station_m
from test_traffic import lane, road, town_of

from agents.sideways import EASY_MPS2, HARD_MPS2, Move, _length
from envs.roads.network import Marking, RoadNetwork
from envs.roads.routes import LaneChange, Route, route_over
from envs.state import EGO_SHAPE, WorldState
from scenarios.spec import Obstacle, Scenario

BROKEN = Obstacle(route_station_m=80.0, hazard_lights=True)
LANE_M = 3.5
Drive = Callable[..., tuple[list[WorldState], dict[str, int], float]]


def narrow(marking: Marking = Marking.DASHED) -> RoadNetwork:
    """A lane each way, 400 m long; the route drives lane 0 eastwards."""
    return road((lane(0, [(0, -1.75), (400, -1.75)], opposite=1, left=marking),
                 lane(1, [(400, 1.75), (0, 1.75)], opposite=0, left=marking)))


def wide() -> RoadNetwork:
    """Two lanes eastwards, 0 on the right of 1."""
    return road((lane(0, [(0, -1.75), (400, -1.75)], left_neighbour=1),
                 lane(1, [(0, 1.75), (400, 1.75)], right_neighbour=0, left=Marking.SOLID, right=Marking.DASHED)))


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Drive:
    """Drives the expert over a network among obstacles: states, infractions, share of comfort."""
    def go(network: RoadNetwork, *obstacles: Obstacle, lanes: tuple[int, ...] = (0,), until_m: float = 130.0,
           most_steps: int = 500, **more: Any) -> tuple[list[WorldState], dict[str, int], float]:
        town, route = town_of(network), route_over(network, lanes)
        monkeypatch.setattr("envs.world.build_town", lambda seed: town)
        monkeypatch.setattr("envs.world.plan_route", lambda network, scenario: route)
        scenario = Scenario(name="road", town_seed=0, parked_cars_per_km=0, obstacles=obstacles, **more)
        env, states = drive(scenario, until=lambda state: station_m(state) > until_m, most_steps=most_steps)
        score = env.score()
        return states, {name: count for name, count in score.infractions.items() if count}, score.comfort
    return go


def _lateral(state: WorldState) -> float:
    return state.route.locate(state.ego.x_m, state.ego.y_m)[1]


@pytest.mark.parametrize("network", [narrow(), wide()])
@pytest.mark.parametrize("has_lights", [False, True])
def test_a_broken_down_car_is_passed_without_an_infraction_and_in_comfort(on: Drive, network, has_lights):
    states, infractions, comfort = on(network, BROKEN.model_copy(update={"hazard_lights": has_lights}), until_m=160.0)
    beside = [abs(_lateral(state)) for state in states if abs(station_m(state) - 79.0) < 3.0]
    assert infractions == {} and comfort == 1.0 and station_m(states[-1]) > 160.0
    assert min(beside) > 2.3 and abs(_lateral(states[-1])) < 0.3
    assert len(states) < 280


def test_over_a_solid_line_nobody_passes_and_the_expert_stands_where_it_could_swing_out(on: Drive):
    states, infractions, _ = on(narrow(Marking.SOLID), BROKEN, most_steps=250)
    gap = 80.0 - 4.5 / 2 - station_m(states[-1]) - EGO_SHAPE.front_m
    assert infractions == {} and 8.0 < gap < 12.0 and abs(states[-1].ego.speed_mps) < 0.1
    assert max(map(_lateral, states)) < 0.2 and min(state.ego.accel_mps2 for state in states) > -5.0


def test_one_that_stands_half_in_the_lane_is_passed_within_it(on: Drive):
    states, infractions, _ = on(narrow(Marking.SOLID), BROKEN.model_copy(update={"lateral_m": -1.4}))
    assert infractions == {} and 0.6 < max(map(_lateral, states)) < 1.1


def test_two_in_a_row_are_passed_at_once(on: Drive):
    states, infractions, _ = on(narrow(), BROKEN, BROKEN.model_copy(update={"route_station_m": 93.0}))
    between = [_lateral(state) for state in states if 78.0 < station_m(state) < 93.0]
    assert infractions == {} and min(between) > 2.3


def test_oncoming_cars_are_let_through_first(on: Drive):
    """Three of them in a row at 10 m/s: the ego goes when the last is past."""
    oncoming = tuple(Obstacle(route_station_m=at, lateral_m=LANE_M, heading_deg=180.0, speed_mps=10.0)
                     for at in (210.0, 250.0, 290.0))
    states, infractions, _ = on(narrow(), BROKEN, *oncoming)
    out = next(state for state in states if _lateral(state) > 0.5)
    assert infractions == {} and station_m(states[-1]) > 130.0
    assert out.actors.pose[3, 0] < 80.0
    assert min(state.ego.accel_mps2 for state in states) > -3.0


def test_one_that_is_far_enough_away_is_not_waited_for(on: Drive):
    oncoming = Obstacle(route_station_m=390.0, lateral_m=LANE_M, heading_deg=180.0, speed_mps=8.0)
    states, infractions, _ = on(narrow(), BROKEN, oncoming)
    back = next(state for state in states if station_m(state) > 110.0)
    assert infractions == {} and _lateral(back) < 1.0
    assert back.actors.pose[1, 0] > 130.0 and min(state.ego.speed_mps for state in states[30:]) > 4.0


@given(st.floats(0.0, 30.0), st.floats(0.3, 4.0))
def test_a_move_is_driven_in_comfort_at_the_speed_it_is_made_for(speed, aside):
    move = Move(10.0, 10.0 + _length(speed, aside), aside)
    at = np.linspace(10.0, move.end_m, 400)
    bend = np.gradient(np.gradient(move.at(at), at), at)[2:-2]
    assert move.at(np.array([0.0, 1e3])) == pytest.approx([0.0, aside])
    assert np.abs(bend).max() * speed ** 2 < EASY_MPS2 * 1.02
    assert np.abs(bend).max() * move.top_mps ** 2 == pytest.approx(HARD_MPS2, rel=0.03)


def test_a_route_that_changes_lanes_waits_for_the_gap(on: Drive):
    """Four cars beside it at 11 m/s, 14 m apart: it changes behind the last of them."""
    change = _change(wide())
    beside = tuple(Obstacle(route_station_m=at, lateral_m=LANE_M, speed_mps=11.0) for at in (0.1, 18.0, 36.0, 54.0))
    free, none, _ = on(wide(), lanes=(0, 1), until_m=250.0)
    moved = next(station_m(state) for state in free if abs(_lateral(state)) < 0.2 and station_m(state) > change.end_m)
    assert none == {} and moved < change.end_m + 1.0
    states, infractions, comfort = on(wide(), *beside, lanes=(0, 1), until_m=250.0, start_speed_mps=11.0)
    across = next(state for state in states if state.ego.y_m > -0.5)
    assert infractions == {} and comfort > 0.9
    assert across.actors.pose[0, 0] - 2.5 > across.ego.x_m + 4.0 and station_m(across) > change.middle_m + 5.0
    assert abs(_lateral(states[-1])) < 0.3


def _change(network: RoadNetwork) -> LaneChange:
    route: Route = route_over(network, (0, 1))
    return route.changes[0]
