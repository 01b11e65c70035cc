"""Cloning: disturbances, the split by town, learning a known rule, and lessons from the real line with oracle eyes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from oracle import OracleEnv, oracle_features

from agents import fleet
from agents.features import SIZE, SLICES
from agents.fleet import FleetConfig
from agents.imitate import Demonstrations, Disturbance, ImitateConfig, clone, collect, fit, split_by_town
from agents.rollouts import FleetVecEnv
from envs.config import CameraConfig, DriveConfig

torch.set_num_threads(1)  # small networks learn slower with more, above all beside other work
CAMERA = CameraConfig(width_px=32, height_px=16)


@pytest.fixture
def venv(monkeypatch: pytest.MonkeyPatch) -> Iterator[FleetVecEnv]:
    monkeypatch.setattr(fleet, "DrivingEnv", OracleEnv)
    made = FleetVecEnv(FleetConfig(DriveConfig(camera=CAMERA, renderer="none"), 2, seed=5, workers=0, is_labelled=True,
                                   eyes=oracle_features))
    yield made
    made.close()


def lessons(rows: int = 3000, seed: int = 0) -> Demonstrations:
    """A rule to learn: steer = 0.5 x first pursuit column, drive = tanh of the speed column; 20 towns."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (rows, SIZE)).astype(np.float32)
    y = np.stack([0.5 * x[:, SLICES["pursuit"].start], np.tanh(x[:, SLICES["ego"].start])], axis=1)
    return Demonstrations(x, y.astype(np.float32), rng.integers(0, 20, rows))


def test_bursts_come_as_often_last_as_long_and_are_as_strong_as_configured() -> None:
    config = ImitateConfig(burst_every_s=4.0, burst_s=(0.5, 0.5), burst_std=(0.1, 0.2))
    disturb = Disturbance(config, 50, 0.1, np.random.default_rng(0))
    offsets = np.stack([disturb(np.zeros((50, 2))) for _ in range(2000)])
    is_on = np.any(offsets != 0, axis=2)
    assert is_on.mean() == pytest.approx(0.5 / (4.0 + 0.5 - 0.1), rel=0.1)
    begins = is_on[1:] & ~is_on[:-1]
    assert is_on[1:].sum() / begins.sum() == pytest.approx(5, rel=0.15)  # two bursts may touch
    np.testing.assert_allclose(offsets[is_on].std(axis=0), [0.1, 0.2], rtol=0.1)


def test_disturbed_actions_stay_controls() -> None:
    disturb = Disturbance(ImitateConfig(burst_every_s=0.2, burst_std=(5.0, 5.0)), 4, 0.1, np.random.default_rng(0))
    for _ in range(20):
        assert np.abs(disturb(np.ones((4, 2)))).max() <= 1.0


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_no_town_is_both_learnt_from_and_judged_on(share: float) -> None:
    data = lessons()
    train, held = split_by_town(data, share, np.random.default_rng(1))
    assert not set(data.towns[train]) & set(data.towns[held])
    assert len(train) + len(held) == len(data.towns)
    assert len(set(data.towns[held])) == round(20 * share)


def test_a_single_town_is_all_learnt_from() -> None:
    data = replace(lessons(), towns=np.zeros(3000, int))
    train, held = split_by_town(data, 0.2, np.random.default_rng(1))
    assert len(train) == 3000 and len(held) == 0


@pytest.mark.slow
def test_the_clone_learns_the_rule_the_same_way_each_time() -> None:
    config = ImitateConfig(epochs=12, patience=12)
    actor, figures = fit(lessons(), config)
    assert figures["steer_error"] < 0.03 and figures["drive_error"] < 0.06
    assert figures["frames"] == 3000 and figures["towns"] == 20
    again, _ = fit(lessons(), config)
    x = lessons(seed=9).features
    np.testing.assert_array_equal(actor.act(x), again.act(x))


def test_learning_stops_early_on_noise_and_keeps_the_best() -> None:
    noise = replace(lessons(600), actions=np.random.default_rng(3).uniform(-1, 1, (600, 2)).astype(np.float32))
    _, figures = fit(noise, ImitateConfig(epochs=100, patience=3, learning_rate=5e-3))
    assert figures["epochs"] < 100


def test_lessons_hold_the_experts_clean_action_whatever_is_executed(venv: FleetVecEnv) -> None:
    executed = []

    def drive(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
        executed.append(np.clip(labels + np.array([0.0, 0.3]), -1, 1).astype(np.float32))
        return executed[-1]

    data = collect(venv, 80, drive)
    assert data.features.shape == (80, SIZE) and data.actions.shape == (80, 2) and len(data.towns) == 80
    last_drive = SLICES["ego"].start + 5
    np.testing.assert_allclose(data.features[2:, last_drive], np.concatenate(executed)[:-2, 1], atol=1e-6)
    assert np.abs(data.actions[:, 1] - np.concatenate(executed)[:, 1]).max() > 0.1
    assert set(data.towns) <= set(range(10_000))


@pytest.mark.exhaustive
def test_a_clone_with_perfect_eyes_drives_most_of_its_routes(venv: FleetVecEnv) -> None:
    from agents.ppo import validate
    from scenarios.spec import suite

    actor, figures = clone(venv, ImitateConfig(expert_steps=6000, clone_steps=3000))
    assert figures["frames"] == 9000
    assert np.mean([s.route_completion for s in validate(venv, actor, suite("val", 8))]) > 70
