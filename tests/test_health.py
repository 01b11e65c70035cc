"""A camera's faults are flagged within three frames, and nothing else is: moving, dark, or waiting at a light."""

import itertools
import time

import numpy as np
import pytest

from envs.config import CameraConfig, DriveConfig
from envs.driving_env import DrivingEnv
from envs.weather import WEATHERS
from perception.corruptions import break_camera
from perception.glides import glide
from perception.health import CONFIRM, HealthMonitor
from scenarios.spec import Scenario

CAMERA = CameraConfig()
FLAGS = {"black": "is_black", "frozen": "is_frozen", "half_covered": "is_covered", "overexposed": "is_overexposed"}


@pytest.fixture(scope="module", params=WEATHERS)
def drive(request):
    return glide(10_005, request.param, 8, CAMERA).rgb


@pytest.mark.parametrize("fault", FLAGS)
def test_each_fault_is_flagged_at_its_third_frame_by_its_name(drive, fault):
    monitor = HealthMonitor(1)
    for frame in drive[:5]:
        assert not monitor.update(frame[None]).is_ill.any()
    broken = drive[4:5].repeat(CONFIRM, 0) if fault == "frozen" else break_camera(fault, drive[5:8])
    flags = [monitor.update(frame[None]) for frame in broken]
    assert getattr(flags[-1], FLAGS[fault])[0] and not flags[0].is_ill[0]
    monitor.update(drive[6:7])
    assert not monitor.update(drive[7:8]).is_ill[0], "a picture again: the flag goes down"


def stop_and_wait(weather):
    """Frames and speeds of a car that brakes to a halt and stands for four seconds, alone on the road."""
    env = DrivingEnv(DriveConfig(camera=CAMERA), ends="evaluation")
    scenario = Scenario(name="halt", town_seed=10_006, start_speed_mps=6.0, parked_cars_per_km=0.0, weather=weather)
    observation, _ = env.reset(seed=2, options={"scenario": scenario})
    frames, speeds = [observation["camera"]], [observation["ego"][0]]
    for _ in range(60):
        observation, *_ = env.step(np.array([0.0, -0.5], np.float32))
        frames.append(observation["camera"])
        speeds.append(observation["ego"][0])
    env.close()
    return np.array(frames), np.array(speeds)


@pytest.mark.parametrize("weather", ["clear", "night"])
@pytest.mark.parametrize("is_speed_known", [False, True])
def test_waiting_is_not_a_stuck_camera(weather, is_speed_known):
    frames, speeds = stop_and_wait(weather)
    repeats = sum(np.array_equal(a, b) for a, b in itertools.pairwise(frames))
    assert repeats > 20 if weather == "clear" else repeats == 0, "without noise, standing repeats byte for byte"
    monitor = HealthMonitor(1)
    for frame, speed in zip(frames, speeds, strict=True):
        health = monitor.update(frame[None], np.array([speed]) if is_speed_known else None)
        assert not health.is_ill[0]


def test_a_camera_stuck_while_standing_is_told_by_noise_or_as_soon_as_the_car_moves():
    night, clear = stop_and_wait("night")[0], stop_and_wait("clear")[0]
    monitor = HealthMonitor(2)
    for k in range(1, 30):
        monitor.update(np.stack([night[-k], clear[-1]]), np.zeros(2))
    for _ in range(CONFIRM + 1):
        health = monitor.update(np.stack([night[-29], clear[-1]]), np.zeros(2))
    assert health.is_frozen.tolist() == [True, False], "no noise, no speed: nobody could tell"
    for _ in range(CONFIRM):
        health = monitor.update(np.stack([night[-29], clear[-1]]), np.full(2, 1.0))
    assert health.is_frozen.all()


def test_cars_are_watched_apart_and_reset_forgets_one():
    rng = np.random.default_rng(0)
    monitor, still = HealthMonitor(2), rng.integers(0, 200, (1, 160, 320, 3), np.uint8)
    for _ in range(5):
        health = monitor.update(np.concatenate([still, rng.integers(0, 200, still.shape, np.uint8)]), np.full(2, 9.0))
    assert health.is_frozen.tolist() == [True, False]
    monitor.reset(np.array([True, False]))
    health = monitor.update(np.concatenate([still, still]), np.full(2, 9.0))
    assert not health.is_ill.any()


@pytest.mark.bench
def test_it_costs_little():
    monitor, frames = HealthMonitor(8), np.random.default_rng(0).integers(0, 200, (8, 160, 320, 3), np.uint8)
    monitor.update(frames)
    started = time.perf_counter()
    for _ in range(100):
        monitor.update(frames)
    assert (time.perf_counter() - started) / 800 < 0.04e-3  # twice what it takes where nothing else runs
