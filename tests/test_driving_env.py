"""The environment's contract with Gymnasium and Stable-Baselines3, its determinism, and its answers to bad input."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs import driving_env
from envs.config import CameraConfig, ConfigError, DriveConfig, Patience, RewardConfig
from envs.driving_env import DrivingEnv
from envs.metrics import EpisodeScore
from envs.render.bullet import DisplayError
from envs.render.camera import RENDERERS
from envs.roads.network import Command
from envs.roads.routes import COMMAND_HIGH, COMMAND_LOW, COMMAND_RANGE_M
from envs.rules import Facts
from envs.state import ActionError
from scenarios.spec import SPLITS, Scenario

SMALL = CameraConfig(width_px=64, height_px=36)
BLIND = DriveConfig(camera=SMALL, renderer="none")
BULLET = DriveConfig(camera=SMALL, renderer="bullet")
TOWNS = [Scenario(name="a", town_seed=3, parked_cars_per_km=10), Scenario(name="b", town_seed=4)]
ROOT = Path(__file__).parent.parent


def digest_of_drive(env: DrivingEnv, seed: int, steps: int = 25) -> str:
    """SHA-256 of every observation, reward and flag of a scripted drive."""
    digest, actions = hashlib.sha256(), np.random.default_rng(7).uniform(-1, 1, (steps, 2)).astype(np.float32)
    observation, _ = env.reset(seed=seed)
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action * np.float32([0.2, 1.0]))
        for name in sorted(observation):
            digest.update(observation[name].tobytes())
        digest.update(repr((reward, terminated, truncated)).encode())
        if terminated or truncated:
            break
    return digest.hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("renderer", RENDERERS)
def test_gymnasiums_checker_finds_nothing(renderer):
    config = DriveConfig(camera=SMALL, renderer=renderer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make("nanodrive/Drive-v0", config=config, scenarios=TOWNS[:1], render_mode="rgb_array")
        check_env(env.unwrapped)
        env.close()


def test_stable_baselines_checker_finds_nothing():
    from stable_baselines3.common.env_checker import check_env as sb3_check_env  # slow to import in every process

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = DrivingEnv(BULLET, scenarios=TOWNS[:1], render_mode="rgb_array")
        sb3_check_env(env)
        env.close()


@pytest.fixture(scope="module")
def env():
    with_frames = DrivingEnv(BULLET, scenarios=TOWNS, render_mode="rgb_array")
    yield with_frames
    with_frames.close()


@pytest.mark.slow
def test_same_seed_same_bytes_whatever_came_before(env):
    first = digest_of_drive(env, 5)
    digest_of_drive(env, 6)
    assert digest_of_drive(env, 5) == first
    assert digest_of_drive(DrivingEnv(BULLET, scenarios=TOWNS), 5) == first
    assert digest_of_drive(env, 6) != first


@pytest.mark.slow
def test_same_seed_same_bytes_in_another_process(env):
    code = ("from test_driving_env import *; print(digest_of_drive(DrivingEnv(BULLET, scenarios=TOWNS), 5))")
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "tests", capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"}).stdout
    assert told.split()[-1] == digest_of_drive(env, 5)


def test_observation_is_what_the_docstring_says(env):
    observation, info = env.reset(seed=3)
    assert observation["camera"].shape == (36, 64, 3) and observation["camera"].std() > 10
    assert observation["ego"].tolist() == [env.state.ego.speed_mps, 0, 0, 0, 0]
    assert observation["command"][:4].sum() == 1 and isinstance(info["facts"], Facts)
    observation, *_ = env.step(np.array([0.25, 0.5], np.float32))
    assert observation["ego"][3:].tolist() == [0.25, 0.5] and observation["ego"][2] > 0
    assert np.array_equal(observation["camera"], env.frame.rgb) and np.array_equal(env.render(), env.frame.rgb)
    assert COMMAND_HIGH[4] == COMMAND_RANGE_M and set(observation) == {"camera", "ego", "command"}


def test_command_counts_down_to_the_manoeuvre():
    env = DrivingEnv(BLIND)
    env.reset(options={"scenario": Scenario(name="a", town_seed=3)})
    route = env.state.route
    for index in (0, len(route.station_m) // 2):
        env.facts = replace(env.facts, route_m=float(route.station_m[index]))
        command = env.observe()["command"]
        assert Command(int(np.argmax(command[:4]))) == route.command[index]
        assert command[4] == np.float32(route.manoeuvre_m[index])


def test_reward_terms_and_score_come_by_name():
    env = DrivingEnv(BLIND)
    env.reset(seed=0)
    for _ in range(500):
        _, reward, terminated, truncated, info = env.step(np.array([1.0, 1.0], np.float32))
        assert set(info["reward"]) == {"progress", "lane", "centre", "speed", "comfort", "ttc", "terminal"}
        if terminated or truncated:
            break
        assert "score" not in info
    assert terminated and reward < 0 and info["reward"]["terminal"] == -20.0  # circling at full throttle ends badly
    assert isinstance(info["score"], EpisodeScore) and info["score"] == env.score()
    assert info["is_success"] is False and info["score"].end in ("off_road", "collision")


def test_blocked_after_the_patience_of_training_and_of_evaluation():
    config = replace(BLIND, training_patience=Patience(2.0, 60.0), evaluation_patience=Patience(3.0, 300.0))
    for ends, steps in (("training", 20), ("evaluation", 30)):
        env = DrivingEnv(config, ends=ends)
        env.reset(seed=1)
        flags = [env.step(np.array([0.0, -1.0], np.float32))[2] for _ in range(steps)]
        assert flags == [False] * (steps - 1) + [True], ends
        assert env.score().end == "blocked"


def test_timeout_truncates():
    env = DrivingEnv(replace(BLIND, training_patience=Patience(100.0, 2.0)))
    env.reset(seed=1)
    flags = [env.step(np.array([0.0, -1.0], np.float32))[3] for _ in range(21)]
    assert flags[-1] and not any(flags[:19])


def test_episodes_are_drawn_from_the_split_or_from_the_scenarios():
    env = DrivingEnv(BLIND, split="val")
    towns = [(env.reset(seed=seed), env.scenario.town_seed)[1] for seed in range(8)]
    assert all(town in SPLITS["val"] for town in towns) and len(set(towns)) > 4
    env.reset(seed=0)
    env.reset()
    assert env.scenario.town_seed != towns[0]  # without a seed the stream goes on
    two = [Scenario(name="a", town_seed=3), Scenario(name="b", town_seed=4)]
    env = DrivingEnv(BLIND, scenarios=two)
    assert {(env.reset(seed=seed), env.scenario.name)[1] for seed in range(8)} == {"a", "b"}
    env.reset(seed=0, options={"scenario": Scenario(name="c", town_seed=5)})
    assert env.scenario.name == "c" and env.state.town.seed == 5


@pytest.mark.parametrize(("action", "message"), [
    ([np.nan, 0.0], r"action is \[nan, 0\.0\]; give finite numbers"), ([0.0, np.inf], "inf"),
    ([0.0], r"action has shape \(1,\); give \(2,\)"), ([[0.0, 0.0]], "shape"), (0.5, "shape"), ([0.0] * 3, "shape"),
])
def test_bad_action_is_refused_and_changes_nothing(action, message):
    env = DrivingEnv(BLIND)
    env.reset(seed=0)
    before = env.state
    with pytest.raises(ActionError, match=message):
        env.step(np.array(action))
    assert env.state is before


def test_action_out_of_range_is_clipped_and_counted():
    env = DrivingEnv(BLIND)
    env.reset(seed=0)
    env.step(np.array([0.0, 5.0], np.float32))
    assert env.state.control.drive == 1.0 and env.num_clipped == 1


@pytest.mark.parametrize(("arguments", "message"), [
    ({"split": "tset"}, "split 'tset' is unknown; the legal ones are train, val, test"),
    ({"ends": "never"}, "ends 'never' is unknown; the legal ones are training, evaluation"),
    ({"render_mode": "ansi"}, "render_mode 'ansi' is unknown"),
    ({"scenarios": []}, "scenarios is empty"),
    ({"config": DriveConfig(renderer="opengl")}, "renderer 'opengl' is unknown; the legal ones are bullet,"),
    ({"config": DriveConfig(reward=RewardConfig(factors=("sped",)))}, "reward factor 'sped' is unknown"),
])
def test_bad_settings_name_the_way_out(arguments, message):
    with pytest.raises(ConfigError, match=message):
        DrivingEnv(**arguments)


@pytest.mark.parametrize("size", [0, -5, 100_000])
def test_camera_of_size_zero(size):
    with pytest.raises(ConfigError, match=f"camera width_px is {size}; give a value from 16 to 4096"):
        CameraConfig(width_px=size)


def test_unknown_reset_option_and_early_score():
    env = DrivingEnv(BLIND)
    with pytest.raises(ConfigError, match=r"reset option \['town'\] is unknown; the legal one is scenario"):
        env.reset(options={"town": 3})
    env.reset(seed=0)
    with pytest.raises(ValueError, match="at least one"):
        env.score()


def test_window_is_offered_only_where_there_is_a_display(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    env = DrivingEnv(BLIND, render_mode="human")
    with pytest.raises(DisplayError):
        env.reset(seed=0)
    assert driving_env._render_modes() == ["rgb_array"]
    monkeypatch.setenv("DISPLAY", ":9")
    assert driving_env._render_modes() == ["rgb_array", "human"]


def test_human_mode_shows_every_instant(monkeypatch):
    shown = []

    class Window:
        def show(self, scene, ego):
            shown.append(ego)

        def close(self):
            shown.append("closed")

    monkeypatch.setattr("envs.render.bullet.BulletWindow", Window)
    env = DrivingEnv(BLIND, render_mode="human")
    env.reset(seed=0)
    env.step(np.zeros(2, np.float32))
    assert shown[-1] is env.state.ego and len(shown) == 2 and env.render() is None
    env.close()
    env.close()
    assert shown[-1] == "closed" and shown.count("closed") == 1


def test_docstring_names_every_part_of_the_spaces():
    text = driving_env.DrivingEnv.__doc__
    assert all(word in text for word in ("camera", "ego[0]", "ego[3]", "command[4]", "steer", "drive", "ActionError"))
    told = {int(row): span for row, span in re.findall(r"command\[(\d)\] +\| float32 +\| ([^|]+?) +\|", text)}
    assert sorted(told) == list(range(4, len(COMMAND_HIGH))), "each number has its row"
    for row, span in told.items():
        ends = [float(end) for end in re.split(r" \.\. |, ", span)]
        assert (ends[0], ends[-1]) == (COMMAND_LOW[row], COMMAND_HIGH[row]), row
    assert len(Path(driving_env.__file__).read_text().splitlines()) < 200


def resident_mb() -> float:
    import psutil

    return psutil.Process().memory_info().rss / 2**20


@pytest.mark.exhaustive
@pytest.mark.parametrize(("config", "resets"), [(BLIND, 1000), (BULLET, 1000)], ids=["none", "bullet"])
def test_a_thousand_resets_do_not_leak(config, resets):
    env, after_100 = DrivingEnv(config), 0.0
    rng = np.random.default_rng(0)
    for episode in range(resets):
        env.reset(seed=episode)
        for _ in range(2):
            observation, reward, *_ = env.step(rng.uniform(-1, 1, 2).astype(np.float32))
            assert np.isfinite(observation["ego"]).all() and np.isfinite(reward)
        if episode == 99:
            after_100 = resident_mb()
    assert resident_mb() < 1.05 * after_100


@pytest.mark.exhaustive
def test_a_thousand_random_episodes_stay_finite():
    env, rng, lengths = DrivingEnv(BLIND), np.random.default_rng(1), []
    for episode in range(1000):
        env.reset(seed=episode)
        target, done = rng.uniform(-1, 1, 2), False
        while not done:
            target = np.clip(target + rng.normal(0, 0.2, 2), -1, 1)
            observation, reward, terminated, truncated, info = env.step(target.astype(np.float32))
            assert np.isfinite(observation["ego"]).all() and np.isfinite(reward)
            assert all(np.isfinite(value) for value in info["reward"].values())
            done = terminated or truncated
        lengths.append(len(env._history))
        assert 0 <= info["score"].driving_score <= 100
    assert max(lengths) > 2 * min(lengths)
