"""Many cars at once: any number of workers gives the same drive; ends, restarts, queues, labels, deaths."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracle import OracleEnv, oracle_features

from agents import fleet
from agents.features import SIZE, SLICES
from agents.fleet import LABEL, FleetConfig
from agents.rollouts import FleetVecEnv, RolloutError, episode_seed, make
from envs.config import CameraConfig, DriveConfig, Patience
from scenarios.spec import Scenario
from tests.processes import runs

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


def cars(drive: DriveConfig = DRIVE, num: int = 2, workers: int = 0, seed: int = 3, scale: float = 1.0,
         **changes: Any) -> FleetVecEnv:
    return FleetVecEnv(FleetConfig(drive, num, "train", seed, workers, eyes=oracle_features, **changes), scale)


def trace(venv: FleetVecEnv, steps: int = 25) -> list[np.ndarray]:
    seen = [venv.reset()]
    for action in actions(venv.num_envs, steps):
        seen += venv.advance(action)[:3]
    return seen


@pytest.mark.slow
def test_workers_change_nothing_and_a_boundary_forgets_what_was_before() -> None:
    here, there = cars(num=3, seed=7), cars(num=3, seed=7, workers=2)
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


@pytest.mark.exhaustive
def test_workers_change_nothing_with_the_camera_and_the_shipped_network() -> None:
    """Two processes of 5 and 4 cars and one of 9, in busy towns: batches of frames differ, features do not."""
    here, there = (make(DriveConfig(), 9, "train-busy", seed=2, workers=workers) for workers in (0, 2))
    for a, b in zip(trace(here), trace(there), strict=True):
        np.testing.assert_array_equal(a, b)
    here.close(), there.close()


@pytest.mark.slow
def test_a_refused_action_is_told_by_name() -> None:
    venv = cars(workers=2)
    venv.reset()
    with pytest.raises(RolloutError, match=r"cars 0 to 0 failed:[\s\S]*ActionError"):
        venv.advance(np.full((2, 2), np.nan, np.float32))
    venv.close()


@pytest.mark.slow
@pytest.mark.parametrize(("blow", "said"), [(signal.SIGKILL, "died with exit code -9"),
                                            pytest.param(signal.SIGSEGV, "last words: Fatal Python error",
                                                         marks=pytest.mark.exhaustive),
                                            pytest.param(signal.SIGSTOP, "said nothing for 1 s",
                                                         marks=pytest.mark.exhaustive)])
def test_a_dead_or_hung_worker_is_named_and_replaced(blow: int, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    venv = cars(workers=2, patience_s=20.0)
    venv.reset()
    for crew in venv._crews:
        crew._patience_s = 1.0  # type: ignore[union-attr]
    before, victim = venv.advance(np.tile(STAND, (2, 1)))[0], venv._crews[1].process  # type: ignore[union-attr]
    os.kill(victim.pid, blow)
    _, rewards, dones, infos = venv.advance(np.tile(STAND, (2, 1)))
    assert dones.tolist() == [False, True] and rewards[1] == 0 and infos[1]["TimeLimit.truncated"]
    np.testing.assert_array_equal(infos[1]["terminal_observation"], before[1])
    err = capfd.readouterr().err
    assert "rollout worker of cars 1 to 1" in err and said in err and "it is replaced" in err
    assert not victim.is_alive()
    assert not venv.advance(np.tile(STAND, (2, 1)))[2].any()
    venv.close()


@pytest.mark.slow
def test_a_queue_is_driven_to_its_end_even_if_a_worker_dies() -> None:
    venv = cars(HURRIED, workers=1)
    venv.queue([Scenario(name=f"short_{k}", town_seed=10_000 + k) for k in range(4)])
    venv.reset()
    ends = 0
    for k in range(60):
        if k == 9:  # in the second round
            os.kill(venv._crews[0].process.pid, signal.SIGKILL)  # type: ignore[union-attr]
        infos = venv.advance(np.tile(STAND, (2, 1)))[3]
        ends += sum("score" in info for info in infos)
    assert ends == 4 and all(info.get("is_idle") for info in infos)
    venv.close()


@pytest.mark.exhaustive
def test_workers_that_keep_dying_end_the_run() -> None:
    venv = cars(workers=1)
    venv.reset()
    with pytest.raises(RolloutError, match="were replaced before it"):
        for _ in range(7):
            os.kill(venv._crews[0].process.pid, signal.SIGKILL)  # type: ignore[union-attr]
            venv.advance(np.tile(STAND, (2, 1)))
    venv.close()


INTERRUPTED = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with SIGINT ignored
sys.path[:0] = [{tests!r}, {root!r}]
import numpy as np
from test_rollouts import STAND, cars
if __name__ == "__main__":
    venv = cars(workers=2)
    venv.reset()
    print(*[crew.process.pid for crew in venv._crews], flush=True)
    try:
        while True:
            venv.advance(np.tile(STAND, (2, 1)))
    finally:
        venv.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("blow", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.exhaustive)])
def test_an_interrupted_or_killed_parent_leaves_no_process_behind(blow: int, tmp_path: Path) -> None:
    tests = Path(__file__).parent
    script = tmp_path / "drive.py"
    script.write_text(INTERRUPTED.format(tests=str(tests), root=str(tests.parent)))
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert parent.stdout
    workers = [int(word) for word in parent.stdout.readline().split() if word.isdigit()]
    assert len(workers) == 2
    begun = time.monotonic()
    parent.send_signal(blow)
    try:
        parent.wait(timeout=20)
    finally:
        parent.kill()
    while any(runs(pid) for pid in workers):
        assert time.monotonic() - begun < 20, "a worker outlived its parent"
        time.sleep(0.05)


def test_out_of_time_is_a_cut_with_its_last_observation_and_the_next_episode_begins() -> None:
    venv = cars(HURRIED, 1)
    venv.reset()
    dones = np.array([False])
    while not dones[0]:
        seen, _, dones, infos = venv.advance(STAND[None])
    assert infos[0]["TimeLimit.truncated"] and infos[0]["episode"]["l"] == 6
    drive = SLICES["ego"].start + 5  # the last action
    assert infos[0]["terminal_observation"][drive] == -1.0 and seen[0, drive] == 0.0
    assert infos[0]["score"].route_completion < 5
    venv.close()


def test_a_queue_drives_each_scenario_once_and_then_idles() -> None:
    queue = [Scenario(name=f"short_{k}", town_seed=10_000 + k) for k in range(3)]
    venv = cars(HURRIED)
    venv.queue(queue)
    venv.reset()
    towns, ends = [info["town_seed"] for info in venv.reset_infos], 0
    for _ in range(40):
        _, _, dones, infos = venv.advance(np.tile(STAND, (2, 1)))
        ends += int(dones.sum())
        towns += [info["town_seed"] for info in infos if "town_seed" in info]
    assert ends == 3 and sorted(towns) == [10_000, 10_001, 10_002]
    assert all(info.get("is_idle") for info in infos)
    venv.begin_part(0)
    venv.reset()
    assert not any(info.get("is_idle") for info in venv.advance(np.tile(STAND, (2, 1)))[3])
    venv.close()


@pytest.mark.usefixtures("oracle_eyes")
def test_following_the_labels_is_a_good_drive() -> None:
    venv = cars(is_labelled=True)
    venv.reset()
    infos, total = venv.reset_infos, np.zeros(2)
    for _ in range(120):
        _, rewards, _, infos = venv.advance(np.stack([info[LABEL] for info in infos]))
        total += rewards
    assert (total > 5).all()  # per cent of the route in 12 s
    venv.close()


@pytest.mark.usefixtures("oracle_eyes")
def test_features_are_those_of_the_last_frame_and_a_cut_carries_features() -> None:
    venv = cars(HURRIED)
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
    plain, scaled = cars(), cars(scale=0.5)
    plain.reset(), scaled.reset()
    full = np.tile(np.array([0.0, 1.0], np.float32), (2, 1))
    for _ in range(10):
        np.testing.assert_allclose(plain.advance(full)[1] * 0.5, scaled.advance(full)[1])
    plain.close(), scaled.close()


def test_seeds_differ_by_run_part_and_car() -> None:
    seeds = {episode_seed(run, part, car) for run in range(5) for part in range(5) for car in range(5)}
    assert len(seeds) == 125 and min(seeds) >= 0
