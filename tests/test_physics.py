"""The solid world: what the car hits stops it, is named, and never throws it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest

from envs.physics import BodyMotion, Physics, Solids
from envs.state import EGO_SHAPE, Control, VehicleState
from envs.vehicle import CAR, Vehicle


@pytest.fixture(scope="module")
def shared() -> Iterator[Physics]:
    physics = Physics(0.005)
    yield physics
    physics.close()


def _solid(x_m: float, y_m: float, size_m: tuple[float, float, float], velocity_mps: tuple[float, float] = (0, 0),
           yaw_rad: float = 0.0) -> Solids:
    return Solids(np.array([[x_m, y_m, yaw_rad]]), np.array([size_m]), np.array([velocity_mps], float))


def _drive(physics: Physics, solids: Solids, speed_mps: float, drive: float = 0.0, time_s: float = 6.0
           ) -> tuple[list[VehicleState], list[dict[int, float]]]:
    """States and impulses of a straight drive that starts at the origin."""
    vehicle = Vehicle(physics)
    physics.reset(CAR.body(), vehicle.at(0.0, 0.0, 0.0, speed_mps), solids)
    steps = [vehicle.advance(Control(0.0, drive), 20) for _ in range(round(time_s * 10))]
    return [state for state, _ in steps], [touched for _, touched in steps]


@pytest.mark.parametrize("size_m", [(10.0, 8.0, 6.0), (0.3, 0.3, 6.0), (0.06, 0.06, 2.2)],
                         ids=["house", "trunk", "post"])
@pytest.mark.parametrize("speed_mps", [3.0, 14.0, 40.0])
def test_a_house_a_trunk_and_a_post_stop_the_car(shared: Physics, size_m: tuple[float, float, float],
                                                 speed_mps: float) -> None:
    front = 30.0 - size_m[0] / 2
    states, touched = _drive(shared, _solid(30.0, 0.3, size_m), speed_mps, drive=0.3, time_s=14.0)
    deepest = max(state.x_m for state in states) + EGO_SHAPE.front_m
    if size_m[0] > 1 or speed_mps < 20:  # past a thin post the car may glance off at speed
        assert front - 0.1 < deepest < front + 0.6
    assert any(0 in rows for rows in touched)
    assert max(sum(rows.values()) for rows in touched) > 0.5 * CAR.mass_kg * speed_mps
    for before, after in itertools.pairwise(states):
        assert np.isfinite(list(vars(after).values())).all()
        assert math.hypot(after.speed_mps, after.lateral_speed_mps) < max(
            math.hypot(before.speed_mps, before.lateral_speed_mps), 1.0) + 0.5  # never thrown


def test_passing_beside_a_house_touches_nothing(shared: Physics) -> None:
    side = EGO_SHAPE.width_m / 2
    _, touched = _drive(shared, _solid(30.0, side + 4.0 + 0.1, (10.0, 8.0, 6.0)), 15.0)
    assert not any(touched)
    _, touched = _drive(shared, _solid(30.0, side + 4.0 - 0.1, (10.0, 8.0, 6.0)), 15.0)
    assert any(touched)


def test_the_impulse_of_a_frontal_hit_is_the_momentum_lost(shared: Physics) -> None:
    states, touched = _drive(shared, _solid(20.0, 0.0, (1.0, 8.0, 3.0)), 10.0, time_s=3.0)
    hit = next(i for i, rows in enumerate(touched) if rows)
    lost = CAR.mass_kg * (states[hit - 1].speed_mps - min(states[hit].speed_mps, states[hit + 1].speed_mps))
    impulse = touched[hit][0] + touched[hit + 1].get(0, 0.0)
    assert impulse == pytest.approx(lost, rel=0.1)


def test_someone_who_walks_into_the_standing_car_is_noticed(shared: Physics) -> None:
    walker = _solid(1.0, 5.0, (0.4, 0.6, 1.75), velocity_mps=(0.0, -1.5))
    states, touched = _drive(shared, walker, 0.0, time_s=4.0)
    first = next(i for i, rows in enumerate(touched) if rows)
    assert (first + 1) * 0.1 == pytest.approx((5.0 - 0.3 - EGO_SHAPE.width_m / 2) / 1.5, abs=0.15)
    assert max(math.hypot(state.speed_mps, state.lateral_speed_mps) for state in states) < 2.5


def test_far_solids_cost_nothing_and_come_when_the_car_does(shared: Physics) -> None:
    row = [_solid(400.0 + 5 * k, 8.0, (2.0, 2.0, 3.0)) for k in range(50)]
    far = Solids.join([*row, _solid(450.0, 0.0, (1.0, 1.0, 3.0))])
    _, touched = _drive(shared, far, 30.0, drive=1.0, time_s=3.0)
    assert not any(touched) and shared.num_present == 0
    _, touched = _drive(shared, far, 30.0, drive=1.0, time_s=13.0)
    assert any(50 in rows for rows in touched) and 0 < shared.num_present < 30


def test_no_bodies_without_solids(shared: Physics) -> None:
    _drive(shared, Solids.still(np.zeros((0, 3)), np.zeros((0, 3))), 5.0, time_s=0.5)
    assert shared.num_present == 0


def test_a_rolled_car_rests_on_the_ground(shared: Physics) -> None:
    """Dropped on its side from a metre, the car ends on the plane, its wheels without force."""
    vehicle = Vehicle(shared)
    lying = BodyMotion((0.0, 0.0, 1.6), (math.sin(0.9), 0.0, 0.0, math.cos(0.9)), (5.0, 0.0, 0.0), (1.0, 0.0, 0.0))
    shared.reset(CAR.body(), lying, Solids.still(np.zeros((0, 3)), np.zeros((0, 3))))
    for _ in range(60):
        state, _ = vehicle.advance(Control(0.0, 1.0), 20)
    assert np.isfinite(list(vars(state).values())).all()
    assert 0.3 < shared.motion().position_m[2] < 1.2 and abs(state.speed_mps) < 0.5


def test_a_redirected_solid_goes_where_it_is_told(shared: Physics) -> None:
    """It stands across the lane, then drives off at 5 m/s: the car that comes 2 s later meets nobody."""
    vehicle, parked = Vehicle(shared), _solid(30.0, 0.0, (2.0, 4.0, 1.5))
    shared.reset(CAR.body(), vehicle.at(0.0, 0.0, 0.0, 10.0), parked)
    pose, hits = parked.pose.copy(), []
    for _ in range(40):
        shared.redirect(pose, np.array([[0.0, 5.0]]))
        pose = pose + np.array([0.0, 0.5, 0.0])
        hits.append(vehicle.advance(Control(0.0, 0.0), 20)[1])
    assert not any(hits) and parked.pose[0, 1] == 0.0, "the caller's arrays stay as they were"
