"""PPO: it starts as the clone, its critic warms up alone, it learns, and a resumed run equals an uninterrupted one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv

from agents import ppo
from agents.features import BOUND, SIZE
from agents.policies import Actor
from agents.ppo import CURVE, STATE, PPOConfig, actor_of, build, load_state, train
from perception.checkpoint import CheckpointError

torch.set_num_threads(1)  # small networks learn slower with more, above all beside other work
TARGET = np.array([0.2, -0.4])
CONFIG = PPOConfig(total_steps=4 * 64, steps_per_car=32, warmup_updates=1, boundary_updates=2, batch_size=32,
                   action_std=(0.2, 0.2), actor_rate=3e-4, critic_rate=3e-4)


class Score:
    """The part of an EpisodeScore that training reads."""

    def __init__(self, value: float) -> None:
        self.route_completion = self.driving_score = value
        self.is_success = value > 90
        self.end = "goal"


class Aim(gymnasium.Env[Any, Any]):
    """Ten steps; each pays how near the action comes to TARGET. The features hardly vary."""

    observation_space = gymnasium.spaces.Box(-BOUND, BOUND, (SIZE,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._steps, self._sum = 0, 0.0
        return self._see(), {}

    def _see(self) -> np.ndarray:
        return self.np_random.uniform(0.2, 0.4, SIZE).astype(np.float32)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        reward = 1 - float(np.abs(action - TARGET).sum())
        self._steps, self._sum = self._steps + 1, self._sum + reward
        is_over = self._steps == 10
        info = {"score": Score(10 * self._sum), "episode": {"r": self._sum, "l": 10, "t": 0.0}} if is_over else {}
        return self._see(), reward, is_over, False, info


class Range(DummyVecEnv):
    """Cars that aim, with the parts of a fleet that training asks for."""

    def __init__(self, num: int = 2) -> None:
        super().__init__([Aim] * num)

    def begin_part(self, part: int) -> None:
        self._seeds = [ppo.episode_seed(0, part, car) for car in range(self.num_envs)]

    def queue(self, scenarios: Any) -> None:
        self._seeds = [1] * self.num_envs

    def advance(self, actions: np.ndarray) -> Any:
        return self.step(actions)


@pytest.fixture
def actor() -> Actor:
    torch.manual_seed(3)
    made = Actor()
    made.standardise.std.fill_(0.5)
    return made


def frames(num: int = 9) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.2, 0.4, (num, SIZE)).astype(np.float32)


def parameters(made: Actor) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in made.state_dict().items()}


def test_the_learner_starts_as_the_clone_to_the_bit(actor: Actor) -> None:
    model = build(Range(), CONFIG, actor)  # type: ignore[arg-type]
    np.testing.assert_array_equal(model.predict(frames(), deterministic=True)[0], actor.act(frames()))
    np.testing.assert_array_equal(actor_of(model).act(frames()), actor.act(frames()))
    np.testing.assert_allclose(model.policy.log_std.detach().exp(), [0.2, 0.2], rtol=1e-6)


@pytest.mark.slow
def test_the_warm_up_teaches_the_critic_and_leaves_the_actor_alone(actor: Actor, tmp_path: Path) -> None:
    config = replace(CONFIG, total_steps=6 * 64, warmup_updates=9, warmup_epochs=10)
    before = parameters(actor)
    best, curve = train(Range(), config, actor, tmp_path)  # type: ignore[arg-type]
    for name, value in parameters(best).items():
        assert torch.equal(value, before[name]), name
    assert curve.training[-1]["value_loss"] < 0.95 * curve.training[0]["value_loss"]


@pytest.mark.slow
def test_it_learns_and_ships_the_best_of_the_validation_drives(actor: Actor, tmp_path: Path) -> None:
    config = replace(CONFIG, total_steps=20 * 256, steps_per_car=128, boundary_updates=5, validate_boundaries=1,
                     target_kl=0.05)
    best, curve = train(Range(), config, actor, tmp_path, validation=[None] * 4)  # type: ignore[arg-type, list-item]
    scores = [row["driving_score"] for row in curve.validation]
    assert [row["update"] for row in curve.validation] == [0, 5, 10, 15, 20]
    assert max(scores) > scores[0] + 25
    near = np.abs(best.act(frames()) - TARGET).mean(), np.abs(actor.act(frames()) - TARGET).mean()
    assert near[0] < 0.6 * near[1]
    assert curve.training[-1]["reward"] > curve.training[3]["reward"]
    assert json.loads((tmp_path / CURVE).read_text())["validation"][-1]["update"] == 20


@pytest.mark.slow
def test_a_run_killed_and_resumed_equals_an_uninterrupted_one_bit_for_bit(
        actor: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = train(Range(), CONFIG, actor, tmp_path / "whole")  # type: ignore[arg-type]
    row = ppo._row

    def die(model: Any, watch: Any, update: int, wall_s: float) -> dict[str, float]:
        if update == 3:
            raise KeyboardInterrupt
        return row(model, watch, update, wall_s)

    monkeypatch.setattr(ppo, "_row", die)
    with pytest.raises(KeyboardInterrupt):
        train(Range(), CONFIG, actor, tmp_path / "cut")  # type: ignore[arg-type]
    monkeypatch.setattr(ppo, "_row", row)
    np.random.seed(99)  # noqa: NPY002 (Stable-Baselines3 draws from it; a resumed run must not depend on it)
    torch.manual_seed(99)
    resumed, curve = train(Range(), CONFIG, Actor(), tmp_path / "cut", is_resumed=True)  # type: ignore[arg-type]
    for name, value in parameters(whole).items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert [r["update"] for r in curve.training] == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_state_of_other_settings_or_half_a_state_is_refused(actor: Actor, tmp_path: Path) -> None:
    train(Range(), CONFIG, actor, tmp_path)  # type: ignore[arg-type]
    other = replace(CONFIG, gamma=0.9)
    with pytest.raises(CheckpointError, match=r"gamma 0.99, not 0.9"):
        load_state(tmp_path, build(Range(), other, actor), other)  # type: ignore[arg-type]
    longer = replace(CONFIG, total_steps=10_000)
    assert load_state(tmp_path, build(Range(), longer, actor), longer)[0] == 4  # type: ignore[arg-type]
    weights = tmp_path / f"{STATE}.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cut or altered"):
        load_state(tmp_path, build(Range(), CONFIG, actor), CONFIG)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"total_steps": 0}, {"boundary_updates": 0}, {"action_std": (0.1, 0.0)}])
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PPOConfig(**wrong)
