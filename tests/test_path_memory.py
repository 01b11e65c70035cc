"""The path over time, told as drives: what a car remembers of the road under its bonnet."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.labels import PATH_STATIONS_M
from perception.glides import DT_S, glide
from perception.metrics import heading_errors, lateral_errors
from perception.passing import tracks_of
from perception.path_memory import GAIN, PathMemory, spline
from perception.perceiver import Perceiver

STATIONS = np.asarray(PATH_STATIONS_M)
SPEED_MPS = 8.0


def way(station_m):
    """Points (K, 2) and directions (K,) of a road that bends left, then right, then left: its curvature is a sine."""
    fine = np.arange(0.0, 200.0, 0.01)
    heading = 0.7 * np.sin(fine / 9.0)
    x, y = np.cumsum(np.cos(heading)) * 0.01, np.cumsum(np.sin(heading)) * 0.01
    return (np.stack([np.interp(station_m, fine, x), np.interp(station_m, fine, y)], axis=1),
            np.interp(station_m, fine, heading))


def seen_from(station_m):
    """The true path (12, 2) of a car on the middle of that road."""
    (here,), (heading,) = way(np.array([station_m]))
    points, _ = way(station_m + STATIONS)
    cos, sin = np.cos(heading), np.sin(heading)
    return (points - here) @ np.array([[cos, -sin], [sin, cos]])


def drive(looks_at, num_looks=60, speed_mps=SPEED_MPS):
    """Remembered and true paths (K, 12, 2) of a drive of so many looks; `looks_at(truth)` is what a look says."""
    memory, told, truth = PathMemory(1, DT_S), [], []
    for k in range(num_looks):
        station_m = 10.0 + speed_mps * DT_S * k
        _, (before, after) = way(station_m + np.array([-0.01, 0.01]))
        truth.append(seen_from(station_m))
        motion = np.array([[speed_mps, speed_mps * (after - before) / 0.02, 0, 0, 0]])
        told.append(memory.update(looks_at(truth[-1])[None], motion)[0])
    return np.stack(told), np.stack(truth)


def test_true_looks_stay_true():
    told, truth = drive(lambda path: path)
    assert lateral_errors(told, truth).max() < 0.005
    assert heading_errors(told, truth).mean() < 0.02


def test_what_a_look_cannot_see_is_remembered_from_those_before():
    def blind_near(path):
        """The first metres are a guess, as if the road went on straight from where it comes into view."""
        guess = path.copy()
        back = path[2] - path[3]
        guess[:2] = path[2] + np.outer([2.0, 1.0], back)
        return guess

    told, truth = drive(blind_near)
    alone = np.stack([blind_near(path) for path in truth])
    before, after = (heading_errors(paths, truth)[20:, :2].mean() for paths in (alone, told))
    assert before > 4.0 and after < 0.35 * before
    assert lateral_errors(told, truth)[20:, :2].mean() < 0.35 * lateral_errors(alone, truth)[20:, :2].mean()


def test_looks_of_a_car_that_stands_are_averaged():
    rng = np.random.default_rng(0)
    told, truth = drive(lambda path: path + rng.normal(0, 0.1, path.shape), 400, speed_mps=0.0)
    spread = (told - truth)[50:].std(axis=(0, 2))
    expected = 0.1 * np.sqrt(GAIN / (2 - GAIN))[:, 0]  # of an exponential mean
    assert spread == pytest.approx(expected, rel=0.15)


def test_a_reset_car_believes_its_next_look_and_the_others_remember():
    memory, moving = PathMemory(2, DT_S), np.array([[SPEED_MPS, 0.0]] * 2)
    straight = np.stack([STATIONS, np.zeros(12)], axis=1)
    aside = straight + np.array([0.0, 1.0])
    memory.update(np.stack([straight, straight]), moving)
    memory.reset(np.array([True, False]))
    told = memory.update(np.stack([aside, aside]), moving)
    assert np.array_equal(told[0], aside.astype(np.float32))
    assert told[1, :9, 1] == pytest.approx(GAIN[:9, 0], abs=1e-6)


@given(st.floats(-1.0, 12.0), st.floats(-1.0, 1.0))
def test_a_fixed_point_is_where_it_was_after_any_arc(moved_m, turned):
    """A path that all lies on one fixed point is seen from the end of an arc, integrated step by step."""
    from perception.path_memory import _in_frame_after

    fixed, steps = np.array([7.0, -3.0]), 2000
    heading = (np.arange(steps) + 0.5) * turned / steps
    car = np.array([np.cos(heading).sum(), np.sin(heading).sum()]) * moved_m / steps
    cos, sin = np.cos(turned), np.sin(turned)
    expected = np.array([[cos, sin], [-sin, cos]]) @ (fixed - car)
    told = _in_frame_after(fixed[None, None], np.array([moved_m]), np.array([turned]))[0, 0]
    assert told == pytest.approx(expected, abs=1e-5)


@given(st.lists(st.floats(-5.0, 5.0), min_size=12, max_size=12))
def test_the_spline_meets_its_points_and_is_smooth_between(values):
    assert spline(STATIONS) @ values == pytest.approx(np.array(values), abs=1e-9)
    step = 1e-4
    for knot in STATIONS[1:-1]:
        around = spline(knot + step * np.arange(-3, 4)) @ values
        slopes = np.diff(around) / step
        assert abs(slopes[0] - slopes[-1]) < 0.05, "no kink"


def test_the_spline_is_the_cubic_itself_where_there_is_one():
    cubic, between = np.polynomial.Polynomial([1.0, -2.0, 0.3, -0.01]), np.linspace(2.0, 36.0, 50)
    assert spline(between) @ cubic(STATIONS) == pytest.approx(cubic(between), abs=1e-9)


@pytest.mark.slow
def test_the_shipped_network_sees_the_path_better_with_memory():
    """Three drives of 15 s through val towns: 0.53 deg instead of 0.66, 0.076 m instead of 0.079."""
    perceiver, alone, remembered = Perceiver.load(), [], []
    for town, weather in ((10_450, "clear"), (10_460, "rain"), (10_470, "night")):
        frames = glide(town, weather, 150, perceiver.camera)
        looks = [perceiver.perceive(frames.rgb[k:k + 1], frames.labels["command"][k:k + 1]) for k in range(len(frames))]
        tracks, truth = tracks_of(looks, frames.labels["pose"]), frames.labels["path_m"]
        for errors, told in ((alone, looks), (remembered, tracks)):
            paths = np.concatenate([one.path_m for one in told])
            errors.append((heading_errors(paths, truth).mean(), lateral_errors(paths, truth).mean()))
    before, after = np.mean(alone, axis=0), np.mean(remembered, axis=0)
    assert after[0] < 0.85 * before[0] and after[1] < before[1]
