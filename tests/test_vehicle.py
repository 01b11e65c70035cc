"""The car, driven: performance of a mid-size saloon, published single-track model as reference, energy, standstill."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vehiclemodels.parameters_vehicle2 import parameters_vehicle2
from vehiclemodels.vehicle_dynamics_st import vehicle_dynamics_st

from envs.physics import GRAVITY_MPS2, BodyMotion, Physics, Solids
from envs.state import Control, VehicleState
from envs.vehicle import CAR, Vehicle

STEP_S, STEPS = 0.005, 20
NOTHING = Solids.still(np.zeros((0, 3)), np.zeros((0, 3)))
KMH = 1 / 3.6


class Track:
    """A car on an endless plain, with a log of nothing but the latest state."""

    def __init__(self, step_s: float = STEP_S) -> None:
        self.physics = Physics(step_s)
        self.vehicle = Vehicle(self.physics)
        self.start()

    def start(self, speed_mps: float = 0.0, yaw_rad: float = 0.0) -> VehicleState:
        motion = self.vehicle.at(0.0, 0.0, yaw_rad, speed_mps)
        self.physics.reset(CAR.body(), motion, NOTHING)
        self.vehicle.centre_actuators()
        self.state = self.vehicle.state(motion, motion, 0.0)
        return self.state

    def drive(self, steer: float, drive: float, steps: int = STEPS) -> VehicleState:
        self.state = self.vehicle.advance(Control(steer, drive), steps)[0]
        return self.state

    def hold(self, steer_rad: float, speed_mps: float, steps: int = STEPS) -> VehicleState:
        """One step at a steering angle, the pedals keeping the speed."""
        accel = 2.0 * (speed_mps - self.state.speed_mps)
        return self.drive(steer_rad / CAR.max_steer_rad, CAR.drive_for(accel, self.state.speed_mps), steps)


@pytest.fixture(scope="module")
def shared() -> Iterator[Track]:
    track = Track()
    yield track
    track.physics.close()


@pytest.fixture
def track(shared: Track) -> Track:
    shared.start()
    return shared


def test_it_reaches_100_kmh_in_7_to_12_s(track: Track) -> None:
    time_s = 0.0
    while track.drive(0.0, 1.0).speed_mps < 100 * KMH:
        time_s += 0.1
        assert time_s < 20
    assert 7.0 <= time_s <= 12.0
    assert abs(track.state.y_m) < 1e-6 and abs(track.state.yaw_rad) < 1e-9


def test_its_top_speed_is_near_the_makers_214_kmh(track: Track) -> None:
    track.start(55.0)
    for _ in range(600):
        track.drive(0.0, 1.0)
    assert 200 * KMH < track.state.speed_mps < 225 * KMH


def test_it_stops_from_100_kmh_in_35_to_45_m(track: Track) -> None:
    track.start(100 * KMH)
    speeds = []
    for _ in range(60):
        speeds.append(track.drive(0.0, -1.0).speed_mps)
    assert 35.0 <= track.state.x_m <= 45.0
    assert min(speeds) > -0.02  # the brakes never turn the car round
    assert abs(speeds[-1]) < 1e-4


@pytest.mark.parametrize("share", [1.0, 0.75, 0.5])
def test_braking_distance_is_that_of_the_roads_friction(track: Track, share: float) -> None:
    """From the third step on, full brakes: v^2 / (2 mu g), the air's and the tyres' drag and the load's aside."""
    track.vehicle.set_road_friction(share)
    start = track.start(25.0)
    for _ in range(3):  # until the brakes bite
        start = track.drive(0.0, -1.0)
    for _ in range(200):
        if track.drive(0.0, -1.0).speed_mps < 1e-3:
            break
    track.vehicle.set_road_friction(1.0)
    by_hand = start.speed_mps**2 / (2 * share * CAR.friction * GRAVITY_MPS2)
    assert track.state.x_m - start.x_m == pytest.approx(by_hand, rel=0.06)


def test_a_light_pedal_brakes_as_hard_in_the_wet(track: Track) -> None:
    """The pedal presses the pads, not the road: a third of the dry road's grip is there on the wet one too."""
    stops = []
    for share in (1.0, 0.7):
        track.vehicle.set_road_friction(share)
        track.start(20.0)
        stops.append([track.drive(0.0, -0.33).speed_mps for _ in range(20)])
    track.vehicle.set_road_friction(1.0)
    np.testing.assert_allclose(stops[0], stops[1], atol=0.02)


@pytest.mark.parametrize("share", [0.0, -1.0, 1.2, math.nan])
def test_a_road_without_friction_is_refused(track: Track, share: float) -> None:
    with pytest.raises(ValueError, match="road friction is"):
        track.vehicle.set_road_friction(share)


def test_half_a_pedal_brakes_half_as_hard(track: Track) -> None:
    track.start(25.0)
    for _ in range(10):
        track.drive(0.0, -0.5)
    assert track.state.accel_mps2 == pytest.approx(-0.5 * 1.0489 * 9.81 - 0.4 - CAR.resistance_mps2(20.0), abs=0.25)


@pytest.mark.parametrize("accel_mps2", [-4.0, -1.0, 0.0, 1.5])
def test_drive_for_is_the_pedals_inverse(track: Track, accel_mps2: float) -> None:
    track.start(15.0)
    for _ in range(12):
        track.drive(0.0, CAR.drive_for(accel_mps2, track.state.speed_mps))
    assert track.state.accel_mps2 == pytest.approx(accel_mps2, abs=0.1)


def test_steady_circle_reaches_075_to_1_g(track: Track) -> None:
    """ISO 4138 at constant speed: 80 km/h, the steering wheel turned slowly until the front tyres give up."""
    track.start(80 * KMH)
    lateral = [track.hold(0.00018 * k, 80 * KMH).lateral_accel_mps2 for k in range(600)]
    assert 0.75 <= max(lateral) / GRAVITY_MPS2 <= 1.0
    assert lateral[-1] > 0.95 * max(lateral)  # it runs wide, it does not spin
    assert abs(math.atan2(track.state.lateral_speed_mps, track.state.speed_mps)) < 0.15
    assert 3.0 < math.degrees(track.state.roll_rad) < 8.0  # outwards: the left side rises in a left turn


def test_braking_and_steering_share_one_friction_limit(track: Track) -> None:
    """Full brakes in a bend at the limit: the sum stays inside the circle, and the car still turns without a spin."""
    track.start(28.0)
    for _ in range(20):
        track.hold(0.08, 28.0)
    assert track.state.lateral_accel_mps2 > 6.5
    total = []
    for _ in range(15):
        track.drive(0.08 / CAR.max_steer_rad, -1.0)
        total.append(math.hypot(track.state.accel_mps2, track.state.lateral_accel_mps2))
        assert abs(math.atan2(track.state.lateral_speed_mps, track.state.speed_mps)) < 0.3
        assert track.state.lateral_accel_mps2 > 0.8
    air = CAR.drag_n_per_mps2 * 28.0**2 / CAR.mass_kg
    assert 0.8 < max(total) / GRAVITY_MPS2 < 1.02 * CAR.friction + air / GRAVITY_MPS2


def test_the_wheels_turn_at_most_04_rad_a_second_and_reach_their_stop(track: Track) -> None:
    angles = [0.0] + [track.drive(1.0, 0.0, 1).steer_rad for _ in range(500)]
    rates = np.diff(angles) / STEP_S
    assert max(rates) == pytest.approx(0.4, abs=1e-6) and min(rates) > -1e-9
    assert angles[-1] == pytest.approx(0.61, rel=0.01)
    assert rates[0] == pytest.approx(0.4, abs=1e-6) and rates[340] < 0.2  # the lag rounds the end off
    left = [track.drive(0.98, 0.0, 1).steer_rad - 0.98 * CAR.max_steer_rad for _ in range(21)]
    assert left[20] == pytest.approx(left[0] * math.exp(-20 * STEP_S / CAR.steer_lag_s), rel=0.01)


@pytest.mark.parametrize("drive", [1.0, -1.0])
def test_pedals_act_with_a_lag(track: Track, drive: float) -> None:
    """90 % of the final acceleration comes 0.2 to 0.4 s after the foot, pitching included."""
    track.start(10.0)
    accel = np.array([track.drive(0.0, drive, 1).accel_mps2 for _ in range(120)])
    reached = int(np.argmax(accel / accel[-20:].mean() > 0.9)) * STEP_S
    assert abs(accel[0]) < 1.0 and 0.2 < reached < 0.4


@pytest.mark.parametrize("steer_rad", [0.1, 0.3, 0.6])
def test_slow_circle_has_the_radius_of_the_wheelbase(track: Track, steer_rad: float) -> None:
    for _ in range(60):
        track.hold(steer_rad, 2.0)
    radius = track.state.speed_mps / track.state.yaw_rate_radps
    assert radius == pytest.approx(CAR.wheelbase_m / math.tan(steer_rad), rel=0.02)


def _single_track(steer_rad: np.ndarray, speed_mps: float, dt_s: float) -> np.ndarray:
    """Yaw rate of the published single-track model under a steering history, by Runge-Kutta steps of `dt_s`."""
    parameters, x, rates = parameters_vehicle2(), np.array([0, 0, steer_rad[0], speed_mps, 0, 0, 0.0]), []
    for now, after in itertools.pairwise(steer_rad):
        def slope(y: np.ndarray, rate: float = (after - now) / dt_s) -> np.ndarray:
            return np.array(vehicle_dynamics_st(y, [rate, 0.0], parameters))
        a = slope(x)
        b = slope(x + dt_s / 2 * a)
        c = slope(x + dt_s / 2 * b)
        x = x + dt_s / 6 * (a + 2 * b + 2 * c + slope(x + dt_s * c))
        rates.append(x[5])
    return np.array(rates)


def _rise_s(steer: np.ndarray, yaw_rate: np.ndarray, dt_s: float) -> float:
    """ISO 7401 response time: from half the steering angle to 90 % of the steady yaw rate."""
    half = np.interp(0.5 * steer[-1], steer[:200], np.arange(200))
    reached = int(np.argmax(yaw_rate > 0.9 * yaw_rate[-50:].mean()))
    before, after = yaw_rate[reached - 1], yaw_rate[reached]
    return float(reached - 1 + (0.9 * yaw_rate[-50:].mean() - before) / (after - before) - half) * dt_s


@pytest.mark.parametrize("steer_rad", [0.005, 0.010, 0.015, 0.021])
def test_step_steer_follows_the_single_track_model(track: Track, steer_rad: float) -> None:
    """ISO 7401 at 80 km/h, 1 to 4 m/s2, against vehicle_dynamics_st of CommonRoad under the same steering history."""
    speed, dt_s = 80 * KMH, 2 * STEP_S
    track.start(speed)
    for _ in range(20):
        track.hold(0.0, speed)
    states = [track.hold(steer_rad, speed, 2) for _ in range(400)]
    steer = np.array([0.0] + [state.steer_rad for state in states])
    own, reference = np.array([state.yaw_rate_radps for state in states]), _single_track(steer, speed, dt_s)
    assert own[-50:].mean() == pytest.approx(reference[-50:].mean(), rel=0.10)
    assert _rise_s(steer, own, dt_s) == pytest.approx(_rise_s(steer, reference, dt_s), rel=0.20)
    assert states[-1].lateral_accel_mps2 == pytest.approx(own[-1] * speed, rel=0.03)


def test_left_and_right_are_mirror_images(track: Track) -> None:
    ends = []
    for side in (1.0, -1.0):
        track.start(20.0)
        for k in range(40):
            track.drive(side * 0.1 * math.sin(k / 5), 0.3)
        ends.append((track.state.x_m, side * track.state.y_m, side * track.state.yaw_rad))
    assert ends[0] == pytest.approx(ends[1], abs=1e-6)


def test_half_the_step_gives_the_same_drive() -> None:
    """A slalom of 10 s ends within 1 % of its length when the physics step is halved."""
    ends = []
    for step_s, steps in ((0.005, 20), (0.0025, 40)):
        track = Track(step_s)
        track.start(10.0)
        for k in range(100):
            track.drive(0.1 * math.sin(k / 8), 0.2 if k < 60 else -0.2, steps)
        ends.append(np.array([track.state.x_m, track.state.y_m]))
        track.physics.close()
    assert np.hypot(*(ends[0] - ends[1])) < 0.01 * np.hypot(*ends[0])


def test_standing_for_a_minute_it_moves_less_than_a_centimetre(track: Track) -> None:
    track.start(5.0)
    while abs(track.drive(0.3, -0.6).speed_mps) > 0.01:
        pass
    x, y = track.state.x_m, track.state.y_m
    for control in ((0.0, 0.0), (1.0, -0.2), (-1.0, 0.0)):
        for _ in range(200):
            track.drive(*control)
    assert math.hypot(track.state.x_m - x, track.state.y_m - y) < 0.01
    assert abs(track.state.speed_mps) < 1e-4


def test_with_the_pedals_released_it_rolls_to_rest(track: Track) -> None:
    track.start(10.0)
    for _ in range(10):
        track.drive(0.0, 0.0)
    assert track.state.accel_mps2 == pytest.approx(-0.4 - CAR.resistance_mps2(10.0), abs=0.03)
    for _ in range(400):
        track.drive(0.0, 0.0)
    assert abs(track.state.speed_mps) < 1e-3


def _energy_j(motion: BodyMotion) -> float:
    """Kinetic, height and spring energy of the car, from its motion alone."""
    x, y, z, w = motion.orientation
    up = np.array([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)])
    turn = np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                     [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], up])
    spin = turn.T @ motion.angular_velocity_radps
    inertia = np.array([CAR.roll_inertia_kgm2, CAR.pitch_inertia_kgm2, CAR.yaw_inertia_kgm2])
    energy = (CAR.mass_kg * (np.dot(motion.velocity_mps, motion.velocity_mps) / 2
                             + GRAVITY_MPS2 * motion.position_m[2]) + inertia @ spin**2 / 2)
    feet = []
    for ahead, spring, other in ((CAR.front_m, CAR.front_spring_npm, CAR.rear_m),
                                 (-CAR.rear_m, CAR.rear_spring_npm, CAR.front_m)):
        static_n = CAR.mass_kg * GRAVITY_MPS2 * other / CAR.wheelbase_m / 2
        for side in (CAR.track_m / 2, -CAR.track_m / 2):
            rise = motion.position_m[2] + up @ [ahead, side, -CAR.height_m]
            feet.append(rise)
            energy += np.maximum(static_n - spring * rise, 0.0) ** 2 / spring / 2
    return float(energy + CAR.front_bar_npm * (feet[0] - feet[1]) ** 2 / 2)


CONTROLS = st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.integers(1, 15)), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(CONTROLS, st.floats(0, 55))
def test_it_never_gains_energy_and_never_breaks(shared: Track, controls: list[tuple[float, float, int]],
                                                speed: float) -> None:
    shared.start(speed)
    energy, throttle = _energy_j(shared.physics.motion()), 0.0
    for steer, drive, repeats in controls:
        for _ in range(repeats):
            state = shared.drive(steer, drive)
            assert np.isfinite(list(vars(state).values())).all()
            after = _energy_j(shared.physics.motion())
            assert after <= energy + max(throttle, drive) * CAR.wheel_power_w * 0.1 + 20.0  # 20 J: lifted by 2 mm
            assert abs(state.roll_rad) < 0.35 and abs(state.pitch_rad) < 0.2
            assert math.hypot(state.accel_mps2, state.lateral_accel_mps2) < 1.03 * 1.0489 * GRAVITY_MPS2 + 1.2
            energy, throttle = after, max(throttle * math.exp(-0.1 / CAR.pedal_lag_s), drive)
