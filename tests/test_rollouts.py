"""Many cars at once: any number of workers gives the same drive; ends, restarts, queues, labels, deaths."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from oracle import OracleEnv, OracleEyes

from agents import fleet
from agents.features import SIZE, Features
from agents.fleet import LABEL
from agents.rollouts import FleetVecEnv, PerceivedVecEnv, RolloutError, episode_seed, make
from envs.config import CameraConfig, DriveConfig, Patience
from scenarios.spec import Scenario

CAMERA = CameraConfig(width_px=32, height_px=16)
DRIVE = DriveConfig(camera=CAMERA, renderer="none")
HURRIED = replace(DRIVE, training_patience=Patience(blocked_s=100.0, timeout_s=0.5))
STAND = np.array([0.0, -1.0], np.float32)


@pytest.fixture
def oracle_eyes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(fleet, "DrivingEnv", OracleEnv)
    yield


def actions(num: int, steps: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([rng.uniform(-0.1, 0.1, (steps, num)), rng.uniform(0, 1, (steps, num))], axis=2).astype(np.float32)


def trace(venv: FleetVecEnv, steps: int = 25) -> list[np.ndarray]:
    seen = [venv.reset()["ego"]]
    for action in actions(venv.num_envs, steps):
        observation, rewards, dones, _ = venv.step(action)
        seen += [observation["ego"], observation["command"], rewards, dones]  # type: ignore[call-overload]
    return seen


def perceived(drive: DriveConfig = DRIVE, num: int = 2, is_labelled: bool = False) -> PerceivedVecEnv:
    return PerceivedVecEnv(make(drive, num, seed=3, workers=0, is_labelled=is_labelled),
                           Features(OracleEyes(), num, 0.1, CAMERA))


def test_workers_change_nothing_and_a_boundary_forgets_what_was_before() -> None:
    here, there = make(DRIVE, 3, seed=7, workers=0), make(DRIVE, 3, seed=7, workers=2)
    try:
        first = trace(here)
        for a, b in zip(first, trace(there), strict=True):
            np.testing.assert_array_equal(a, b)
        here.begin_part(0)
        for a, b in zip(first, trace(here), strict=True):
            np.testing.assert_array_equal(a, b)
        here.begin_part(1)
        assert any(not np.array_equal(a, b) for a, b in zip(first, trace(here), strict=True))
    finally:
        here.close()
        there.close()


def test_a_killed_worker_and_a_refused_action_are_told_by_name() -> None:
    venv = make(DRIVE, 2, workers=2)
    venv.reset()
    with pytest.raises(RolloutError, match=r"cars 0 to 0 failed:[\s\S]*ActionError"):
        venv.step(np.full((2, 2), np.nan, np.float32))
    victim = venv._crews[1].process  # type: ignore[union-attr]
    os.kill(victim.pid, signal.SIGKILL)
    with pytest.raises(RolloutError, match=r"cars 1 to 1 died with exit code -9"):
        for _ in range(3):
            venv.step(np.tile(STAND, (2, 1)))
    venv.close()


def test_out_of_time_is_a_cut_with_its_last_observation_and_the_next_episode_begins() -> None:
    venv = make(HURRIED, 1, workers=0)
    venv.reset()
    dones = np.array([False])
    while not dones[0]:
        observation, _, dones, infos = venv.step(STAND[None])
    assert infos[0]["TimeLimit.truncated"] and infos[0]["episode"]["l"] == 6
    last = infos[0]["terminal_observation"]
    assert last["ego"][4] == -1.0 and observation["ego"][0, 4] == 0.0  # type: ignore[call-overload,index]
    assert infos[0]["score"].route_completion < 5
    venv.close()


def test_a_queue_drives_each_scenario_once_and_then_idles() -> None:
    queue = [Scenario(name=f"short_{k}", town_seed=10_000 + k) for k in range(3)]
    venv = make(HURRIED, 2, workers=0)
    venv.queue(queue)
    venv.reset()
    towns, ends = [info["town_seed"] for info in venv.reset_infos], 0
    for _ in range(40):
        _, _, dones, infos = venv.step(np.tile(STAND, (2, 1)))
        ends += int(dones.sum())
        towns += [info["town_seed"] for info in infos if "town_seed" in info]
    assert ends == 3 and sorted(towns) == [10_000, 10_001, 10_002]
    assert all(info.get("is_idle") for info in infos)
    venv.begin_part(0)
    venv.reset()
    assert not any(info.get("is_idle") for info in venv.step(np.tile(STAND, (2, 1)))[3])
    venv.close()


@pytest.mark.usefixtures("oracle_eyes")
def test_following_the_labels_is_a_good_drive() -> None:
    venv = perceived(is_labelled=True)
    venv.reset()
    infos, total = venv.reset_infos, np.zeros(2)
    for _ in range(120):
        _, rewards, _, infos = venv.advance(np.stack([info[LABEL] for info in infos]))
        total += rewards
    assert (total > 5).all()  # per cent of the route in 12 s
    venv.close()


@pytest.mark.usefixtures("oracle_eyes")
def test_features_are_those_of_the_last_frame_and_a_cut_carries_features() -> None:
    venv = perceived(HURRIED)
    seen = venv.reset()
    assert seen.shape == (2, SIZE) and venv.observation_space.shape == (SIZE,)
    for _ in range(20):
        seen, _, dones, infos = venv.advance(np.tile(STAND, (2, 1)))
        assert venv.observation_space.contains(seen[0])
        for i in np.flatnonzero(dones):
            last = infos[i]["terminal_observation"]
            assert last.shape == (SIZE,) and not np.array_equal(last, seen[i])
    venv.close()


@pytest.mark.usefixtures("oracle_eyes")
def test_rewards_are_scaled_for_the_critic() -> None:
    plain, scaled = perceived(), PerceivedVecEnv(make(DRIVE, 2, seed=3, workers=0),
                                                 Features(OracleEyes(), 2, 0.1, CAMERA), 0.5)
    plain.reset(), scaled.reset()
    full = np.tile(np.array([0.0, 1.0], np.float32), (2, 1))
    for _ in range(10):
        np.testing.assert_allclose(plain.advance(full)[1] * 0.5, scaled.advance(full)[1])
    plain.close(), scaled.close()


def test_seeds_differ_by_run_part_and_car() -> None:
    seeds = {episode_seed(run, part, car) for run in range(5) for part in range(5) for car in range(5)}
    assert len(seeds) == 125 and min(seeds) >= 0
