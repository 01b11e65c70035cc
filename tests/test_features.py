"""Features: layout, bounds, and a few columns worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.features import (
    BOUND,
    BOUNDARY_ROWS,
    EMBEDDING_SIZE,
    GROUPS,
    NAMES,
    SIZE,
    SLICES,
    Features,
    Senses,
    layout,
)
from envs.config import CameraConfig
from envs.labels import LANE_ROWS, LEAD_COLUMNS, LEAD_MAX_M, PATH_STATIONS_M, STOP_MAX_M
from envs.roads.routes import navigation
from envs.state import EGO_SHAPE
from envs.vehicle import CAR
from perception.perceiver import Percept
from perception.tracker import Track

CAMERA = CameraConfig()
STATIONS = np.asarray(PATH_STATIONS_M, np.float32)


def percept(num: int = 1, **changes: object) -> Percept:
    """A straight empty road."""
    path = np.repeat(np.stack([STATIONS, np.zeros_like(STATIONS)], axis=1)[None], num, axis=0)
    plain = Percept(
        path_m=path, path_confidence=np.ones(num, np.float32),
        boundaries_px=np.full((num, 2, LANE_ROWS), np.nan, np.float32),
        boundary_confidence=np.ones((num, 2), np.float32),
        lead_m=np.full((num, LEAD_COLUMNS), LEAD_MAX_M, np.float32), stop_m=np.full(num, STOP_MAX_M, np.float32),
        stop_confidence=np.zeros(num, np.float32), sign_box_px=np.zeros((num, 4, 4), np.float32),
        sign_class=np.full((num, 4), -1), sign_confidence=np.zeros((num, 4), np.float32),
        sign_distance_m=np.zeros((num, 4), np.float32), sign_bearing_rad=np.zeros((num, 4), np.float32),
        embedding=np.zeros((num, EMBEDDING_SIZE), np.float32))
    return replace(plain, **changes)


def track(num: int = 1, **changes: object) -> Track:
    plain = Track(np.full(num, 50 / 3.6, np.float32), np.ones(num, np.float32), np.full(num, STOP_MAX_M, np.float32),
                  np.zeros(num, np.float32), np.full(num, 40, np.float32), np.tile(np.eye(5)[0], (num, 1)),
                  percept(num).path_m)
    return replace(plain, **changes)


def senses(seen: Percept, remembered: Track, speed_mps: float = 10.0) -> Senses:
    num = len(seen.stop_m)
    ego = np.tile(np.array([speed_mps, 0, 0, 0, 0], np.float32), (num, 1))
    command = np.tile(navigation(), (num, 1))
    return Senses(seen, remembered, ego, command, CAMERA)


def group(name: str, *args: object, **kwargs: object) -> np.ndarray:
    return layout(senses(*args, **kwargs))[0, SLICES[name]]  # type: ignore[arg-type]


def test_slices_tile_the_vector_without_gap() -> None:
    ends = [0]
    for name in GROUPS:
        assert SLICES[name].start == ends[-1]
        ends.append(SLICES[name].stop)
    assert ends[-1] == SIZE == len(NAMES) == len(set(NAMES))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1.0, 100.0, 1e6]))
def test_every_feature_is_finite_and_bounded_whatever_perception_says(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    wild = percept(3, path_m=rng.normal(0, size, (3, 12, 2)), lead_m=np.abs(rng.normal(0, size, (3, LEAD_COLUMNS))),
                   stop_m=np.abs(rng.normal(0, size, 3)), embedding=rng.normal(0, size, (3, EMBEDDING_SIZE)))
    wild.path_m[0, 3] = np.nan
    out = layout(senses(wild, track(3, limit_mps=rng.uniform(5, 40, 3)), speed_mps=float(rng.uniform(-5, 60))))
    assert out.shape == (3, SIZE) and out.dtype == np.float32
    assert np.isfinite(out).all() and np.abs(out).max() <= BOUND


def test_path_bearing_is_zero_straight_ahead_and_changes_sign_with_the_side() -> None:
    assert np.abs(group("path_bearing", percept(), track())).max() == 0
    left = np.stack([STATIONS, 0.1 * STATIONS], axis=1)[None]
    right = left * np.array([1, -1], np.float32)
    np.testing.assert_allclose(group("path_bearing", percept(path_m=left), track()), 0.2, atol=1e-6)
    np.testing.assert_allclose(group("path_bearing", percept(path_m=right), track()), -0.2, atol=1e-6)


def test_bend_of_a_circle_is_its_curvature_times_the_spacing() -> None:
    radius = 20.0
    circle = np.stack([radius * np.sin(STATIONS / radius), radius * (1 - np.cos(STATIONS / radius))], axis=1)[None]
    bend = group("path_bend", percept(path_m=circle), track())
    middle = (STATIONS[1:] + STATIONS[:-1]) / 2  # a chord points along the tangent at its middle
    np.testing.assert_allclose(bend, 2 * np.diff(middle) / radius, atol=1e-3)


def test_pursuit_and_pace_on_a_circle_are_its_steer_and_speed() -> None:
    radius, speed = 25.0, 8.0
    circle = np.stack([radius * np.sin(STATIONS / radius), radius * (1 - np.cos(STATIONS / radius))], axis=1)[None]
    steer = np.arctan(CAR.wheelbase_m / radius) / CAR.max_steer_rad
    out = group("pursuit", percept(path_m=circle), track(), speed_mps=speed)
    np.testing.assert_allclose(out[0::2], steer, rtol=0.07)  # chords between path points
    np.testing.assert_allclose(out[1::2], speed**2 / radius / 5, rtol=0.07)
    braking, allowed = group("pace", percept(path_m=circle), track(), speed_mps=speed)
    assert allowed == pytest.approx(np.sqrt(2.5 * radius) / 20, rel=0.03)
    assert braking == pytest.approx(0.0, abs=0.05)
    straight = group("pace", percept(), track(), speed_mps=speed)
    assert straight[0] <= -1.0 and straight[1] == BOUND


def test_boundary_pixel_becomes_the_metres_it_was_projected_from() -> None:
    row = np.asarray(BOUNDARY_ROWS)
    below = CAMERA.height_px / 2 * (row + 1) / LANE_ROWS - 0.5
    depth = CAMERA.focal_px * CAMERA.height_m / below
    u = np.full((1, 2, LANE_ROWS), np.nan, np.float32)
    u[0, 0, row] = CAMERA.width_px / 2 - CAMERA.focal_px * 1.75 / depth
    out = group("boundaries", percept(boundaries_px=u), track())
    np.testing.assert_allclose(out[:len(row)], 1.75 / 4, atol=1e-5)
    assert (out[len(row):] == 0).all()


@pytest.mark.parametrize(("gap_m", "is_in_the_way"), [(12.0, True), (30.0, True), (50.0, False)])
def test_obstacle_counts_only_on_the_path(gap_m: float, is_in_the_way: bool) -> None:
    lead = np.full((1, LEAD_COLUMNS), LEAD_MAX_M, np.float32)
    lead[0, LEAD_COLUMNS // 2 - 1:LEAD_COLUMNS // 2 + 1] = gap_m
    closeness, braking = group("obstacle", percept(lead_m=lead), track())
    bumper_gap = gap_m + CAMERA.forward_m - EGO_SHAPE.front_m
    if is_in_the_way:  # the path ends 36 m ahead
        assert closeness == pytest.approx(1 - bumper_gap / LEAD_MAX_M, abs=1e-5)
        assert braking == pytest.approx(min(BOUND, 100 / (2 * (bumper_gap - 3)) / 5), abs=1e-4)
    else:
        assert closeness < 0.1
    away = np.stack([STATIONS, 0.35 * STATIONS], axis=1)[None]  # the path leads off to the left
    assert group("obstacle", percept(lead_m=lead, path_m=away), track())[0] < 0.2


def test_a_stop_line_is_pending_until_the_car_stood_before_it() -> None:
    near = {"stop_m": np.array([2.0], np.float32), "stop_confidence": np.ones(1, np.float32)}
    assert group("stop", percept(), track(**near))[3] == pytest.approx(1.0)
    stood = track(**near, since_stop_m=np.array([0.3], np.float32))
    assert group("stop", percept(), stood)[3] == 0
    too_early = track(**near, since_stop_m=np.array([9.0], np.float32))
    assert group("stop", percept(), too_early)[3] == pytest.approx(1.0)


@pytest.mark.parametrize(("kmh", "row"), [(30, 0), (50, 1), (70, 2), (100, 3)])
def test_limit_is_one_hot_and_speed_over_it_is_signed(kmh: int, row: int) -> None:
    out = group("limit", percept(), track(limit_mps=np.array([kmh / 3.6], np.float32)), speed_mps=kmh / 3.6 + 2.5)
    assert list(out[:4]) == [float(k == row) for k in range(4)]
    assert out[5] == pytest.approx(0.5, abs=1e-5)


class _StopSeenOnce:
    """Sees a stop line 20 m ahead in the first look only."""

    def __init__(self) -> None:
        self.looks = 0

    def perceive(self, camera: np.ndarray, command: np.ndarray) -> Percept:
        self.looks += 1
        seen = np.full(len(camera), float(self.looks == 1), np.float32)
        return percept(len(camera), stop_m=np.full(len(camera), 20.0, np.float32), stop_confidence=seen)


def _observation(num: int) -> dict[str, np.ndarray]:
    ego = np.zeros((num, 5), np.float32)
    ego[:, 0] = 10.0
    return {"camera": np.zeros((num, 16, 32, 3), np.uint8), "ego": ego,
            "command": np.tile(navigation(), (num, 1))}


def test_memory_is_kept_for_each_car_and_peeking_leaves_no_trace() -> None:
    features = Features(_StopSeenOnce(), 2, 0.1, CAMERA)
    features(_observation(2))
    features(_observation(2))
    assert features.track is not None
    np.testing.assert_allclose(features.track.stop_m, 19.0, atol=1e-5)
    features.peek(_observation(2))
    features.reset(np.array([True, False]))
    features(_observation(2))
    np.testing.assert_allclose(features.track.stop_m, [STOP_MAX_M, 18.0], atol=1e-5)


class _Bright:
    """Sees a stop line as many metres ahead as a picture is bright; counts the pictures it was shown."""

    def __init__(self) -> None:
        self.shown: list[int] = []

    def perceive(self, camera: np.ndarray, command: np.ndarray) -> Percept:
        self.shown.append(len(camera))
        return percept(len(camera), stop_m=camera[:, 0, 0, 0].astype(np.float32),
                       stop_confidence=np.ones(len(camera), np.float32))


@given(st.lists(st.booleans(), min_size=1, max_size=11))
@settings(max_examples=40, deadline=None)
def test_cars_that_idle_are_not_looked_at_and_change_nothing_for_others(awake: list[bool]) -> None:
    num, is_awake = len(awake), np.array(awake)
    observation = _observation(num)
    observation["camera"] = observation["camera"] + np.arange(3, 3 + num, dtype=np.uint8)[:, None, None, None]
    everything = Features(_Bright(), num, 0.1, CAMERA, batch=4)(observation)
    eyes = _Bright()
    features = Features(eyes, num, 0.1, CAMERA, batch=4)
    found = features(observation, is_awake)
    assert eyes.shown == [4] * -(-int(is_awake.sum()) // 4)
    np.testing.assert_array_equal(found[is_awake], everything[is_awake])
    assert (found[~is_awake] == 0.0).all()
    if is_awake.any():
        assert features.track is not None
        np.testing.assert_array_equal(features.track.stop_m[is_awake], np.arange(3, 3 + num)[is_awake])


class _Aside:
    """Sees a straight path as many metres to the left as a picture is bright."""

    def perceive(self, camera: np.ndarray, command: np.ndarray) -> Percept:
        path = percept(len(camera)).path_m
        path[..., 1] += camera[:, 0, 0, :1]
        return percept(len(camera), path_m=path)


def test_a_policy_acts_on_the_path_remembered() -> None:
    features, observation = Features(_Aside(), 1, 0.1, CAMERA), _observation(1)
    features(observation)
    jumped = features({**observation, "camera": observation["camera"] + np.uint8(1)})[0]
    assert features.track is not None and features.percept is not None
    y_m = features.track.path_m[0, :, 1]
    assert 0.05 < y_m[0] < 0.2 < y_m[6] < 0.4 and y_m[-1] == pytest.approx(1.0), "a jump is not believed at once"
    np.testing.assert_array_equal(features.percept.path_m, features.track.path_m)
    np.testing.assert_allclose(jumped[SLICES["path_bearing"]], 2 * y_m / STATIONS, rtol=1e-5)
