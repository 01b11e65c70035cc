"""PPO (Schulman et al. 2017, from Stable-Baselines3) on perceived features, warm-started from the clone.

What keeps the clone's skill alive while PPO improves it: the critic alone learns first, on the clone's own driving
(a fresh critic's advantages would push the actor about at random); exploration starts small, smaller on the steering
than on the pedals; updates stop at a KL bound. Every `boundary_updates` updates all cars restart from seeds that depend
on (run seed, update) alone and a checkpoint is written, so that a resumed run equals an uninterrupted one bit for bit.
Stable-Baselines3's own save and load are not used: they execute code from files.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import set_random_seed
from torch import Tensor, nn

from agents.policies import HIDDEN, Actor, Standardise
from agents.rollouts import FleetVecEnv, episode_seed
from envs.config import require
from envs.metrics import EpisodeScore
from envs.reward import INFRACTION_ENDS
from perception import checkpoint
from scenarios.spec import Scenario

STATE = "ppo_state"  # file name of the resumable state, without its ending
CURVE = "curve.json"
RECENT_EPISODES = 40  # the running figures are means over so many finished episodes


@dataclass(frozen=True)
class PPOConfig:
    """The whole recipe. One update is `steps_per_car` x the number of cars."""

    total_steps: int = 300_000
    """camera steps of all cars together, the critic's warm-up included"""
    steps_per_car: int = 256
    """steps of each car in one update"""
    warmup_updates: int = 3
    """updates in which only the critic learns"""
    boundary_updates: int = 6
    """updates between two boundaries: restart of all cars, checkpoint"""
    validate_boundaries: int = 1
    """boundaries between two validation drives"""
    epochs: int = 5
    """passes over the rollout in an update"""
    warmup_epochs: int = 30
    """passes in a warm-up update"""
    batch_size: int = 2_048
    """steps in a gradient step"""
    actor_rate: float = 1e-4
    """learning rate of the actor, falling linearly to a fifth"""
    critic_rate: float = 1e-3
    """learning rate of the critic"""
    gamma: float = 0.99
    """discount of the next step"""
    gae_lambda: float = 0.95
    """of the generalised advantage estimate"""
    clip_range: float = 0.15
    """of the probability ratio"""
    target_kl: float = 0.02
    """an update stops at 1.5 times this"""
    entropy_weight: float = 0.0
    """of the entropy bonus"""
    action_std: tuple[float, float] = (0.07, 0.2)
    """first exploration noise of steer and drive"""
    reward_scale: float = 0.1
    """factor on the rewards, so that returns are of order one"""
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.total_steps >= 1, f"total_steps is {self.total_steps}; give at least 1")
        require(self.boundary_updates >= 1 and self.validate_boundaries >= 1,
                "boundary_updates and validate_boundaries count from 1")
        require(min(self.action_std) > 0, f"action_std is {self.action_std}; give two positive numbers")


@dataclass
class Curve:
    """What training showed: a row for each update and one for each validation drive."""

    training: list[dict[str, float]] = field(default_factory=list)
    validation: list[dict[str, float]] = field(default_factory=list)

    def steps_per_s(self) -> float:
        """Camera steps a second of rollouts and updates together; validation drives are left out."""
        return self.training[-1]["steps"] / sum(row["update_s"] for row in self.training)

    def write(self, path: Path) -> None:
        """Save as JSON, atomically."""
        checkpoint.replace_file(path, json.dumps(asdict(self), indent=1).encode())


class TwoRatePPO(PPO):
    """PPO whose critic has its own learning rate: Stable-Baselines3 has one for both, and sets it each update."""

    def set_rates(self, actor: float, critic: float) -> None:
        """Learning rates of the next update, for the optimiser's groups (actor, critic)."""
        for group, rate in zip(self.policy.optimizer.param_groups, (actor, critic), strict=True):
            group["lr"] = rate

    def _update_learning_rate(self, optimizers: Any) -> None:
        return


def _optimiser(policy: Any) -> torch.optim.Adam:
    actor = [*policy.mlp_extractor.policy_net.parameters(), *policy.action_net.parameters(), policy.log_std]
    critic = [*policy.mlp_extractor.value_net.parameters(), *policy.value_net.parameters()]
    return torch.optim.Adam([{"params": actor}, {"params": critic}], lr=0.0, eps=1e-5)


class Extractor(BaseFeaturesExtractor):
    """Standardisation as Stable-Baselines3 wants it; nothing in it learns."""

    def __init__(self, observation_space: Any) -> None:
        super().__init__(observation_space, observation_space.shape[0])
        self.standardise = Standardise(observation_space.shape[0])

    def forward(self, observations: Tensor) -> Tensor:
        return self.standardise(observations)


def build(venv: FleetVecEnv, config: PPOConfig, actor: Actor) -> TwoRatePPO:
    """A PPO learner whose actor acts as the given one."""
    model = TwoRatePPO("MlpPolicy", venv, n_steps=config.steps_per_car, batch_size=config.batch_size,
                       n_epochs=config.epochs, gamma=config.gamma, gae_lambda=config.gae_lambda,
                       clip_range=config.clip_range, ent_coef=config.entropy_weight, target_kl=config.target_kl,
                       seed=config.seed, device="cpu", policy_kwargs={
                           "net_arch": {"pi": [HIDDEN, HIDDEN], "vf": [HIDDEN, HIDDEN]}, "activation_fn": nn.Tanh,
                           "features_extractor_class": Extractor})
    policy = model.policy
    extractor = policy.features_extractor
    assert isinstance(extractor, Extractor)
    extractor.standardise.load_state_dict(actor.standardise.state_dict())
    policy.mlp_extractor.policy_net.load_state_dict(actor.net.state_dict())
    policy.action_net.load_state_dict(actor.head.state_dict())
    with torch.no_grad():
        policy.log_std.copy_(torch.tensor(config.action_std).log())
    policy.optimizer = _optimiser(policy)
    return model


def actor_of(model: TwoRatePPO) -> Actor:
    """A copy of the learner's actor as a plain network."""
    policy, actor = model.policy, Actor()
    assert isinstance(policy.features_extractor, Extractor)
    actor.standardise.load_state_dict(policy.features_extractor.standardise.state_dict())
    actor.net.load_state_dict(policy.mlp_extractor.policy_net.state_dict())
    actor.head.load_state_dict(policy.action_net.state_dict())
    return actor


def save_state(folder: Path, model: TwoRatePPO, config: PPOConfig, update: int, curve: Curve, best: Actor) -> None:
    """Write everything that a boundary leaves: policy, optimiser, best actor so far, counters and curve."""
    tensors = {f"policy.{name}": value.clone() for name, value in model.policy.state_dict().items()}
    for index, entries in model.policy.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": torch.as_tensor(value) for name, value in entries.items()}
    tensors |= {f"best.{name}": value for name, value in best.state_dict().items()}
    checkpoint.save(folder / STATE, tensors, {
        "update": update, "num_timesteps": model.num_timesteps, "num_gradient_passes": model._n_updates,
        "config": json.loads(json.dumps(asdict(config))), "curve": asdict(curve)})


def load_state(folder: Path, model: TwoRatePPO, config: PPOConfig) -> tuple[int, Curve, Actor]:
    """Restore a boundary into a built learner; returns (next update, curve, best actor).

    Raises CheckpointError when it is damaged or belongs to other settings (a longer run is allowed).
    """
    source = folder / STATE
    tensors, meta = checkpoint.load(source)
    own = json.loads(json.dumps(asdict(config)))
    for name, value in own.items():
        if name != "total_steps" and meta["config"].get(name) != value:
            raise checkpoint.CheckpointError(f"{source} was trained with {name} {meta['config'].get(name)}, not "
                                             f"{value}; use the same settings or start afresh")
    parts: dict[str, dict[str, Tensor]] = {"policy": {}, "adam": {}, "best": {}}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        parts[kind][rest] = value
    checkpoint.restore(model.policy, parts["policy"], source)
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in parts["adam"].items():
        index, _, entry = name.partition(".")
        state.setdefault(int(index), {})[entry] = value
    model.policy.optimizer.load_state_dict({**model.policy.optimizer.state_dict(), "state": state})
    model.num_timesteps, model._n_updates = int(meta["num_timesteps"]), int(meta["num_gradient_passes"])
    best = Actor()
    checkpoint.restore(best, parts["best"], source)
    return int(meta["update"]), Curve(**meta["curve"]), best


class Watch(BaseCallback):
    """Keeps the scores and returns of finished episodes and the last rollout's time, and moves the progress bar."""

    def __init__(self, bar: Progress, task: Any) -> None:
        super().__init__()
        self._bar, self._task = bar, task
        self.scores: list[EpisodeScore] = []
        self.returns: list[float] = []
        self.rollout_s = 0.0
        self._begin_s = 0.0

    def _on_rollout_start(self) -> None:
        self._begin_s = time.monotonic()

    def _on_rollout_end(self) -> None:
        self.rollout_s = time.monotonic() - self._begin_s

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "score" in info:
                self.scores.append(info["score"])
                self.returns.append(info["episode"]["r"])
        self._bar.update(self._task, advance=self.training_env.num_envs, now=self.recent())
        return True

    def recent(self) -> str:
        """The running figures in words."""
        if not self.scores:
            return "no episode finished yet"
        completion = np.mean([s.route_completion for s in self.scores[-RECENT_EPISODES:]])
        return f"route {completion:.0f} %, reward {np.mean(self.returns[-RECENT_EPISODES:]):.1f}"


def validate(venv: FleetVecEnv, actor: Actor, scenarios: Sequence[Scenario]) -> list[EpisodeScore]:
    """Scores of the deterministic actor on each scenario once; an infraction ends an episode as in training."""
    venv.queue(scenarios)
    scores: list[EpisodeScore] = []
    seen = venv.reset()
    while len(scores) < len(scenarios):
        seen, _, _, infos = venv.advance(actor.act(seen))
        scores += [info["score"] for info in infos if "score" in info]
    return scores


def _set_phase(model: TwoRatePPO, config: PPOConfig, update: int, num_updates: int) -> None:
    """Freeze the actor during the warm-up of the critic; set this update's epochs and learning rate."""
    is_warmup = update < config.warmup_updates
    policy = model.policy
    for parameter in [*policy.mlp_extractor.policy_net.parameters(), *policy.action_net.parameters(), policy.log_std]:
        parameter.requires_grad_(not is_warmup)
    model.n_epochs = config.warmup_epochs if is_warmup else config.epochs
    done = max(update - config.warmup_updates, 0) / max(num_updates - config.warmup_updates, 1)
    model.set_rates(config.actor_rate * (1 - 0.8 * done), config.critic_rate)


def _row(model: TwoRatePPO, watch: Watch, update: int, wall_s: float) -> dict[str, float]:
    """One update in figures; means over the recent finished episodes."""
    scores, logged = watch.scores[-RECENT_EPISODES:], model.logger.name_to_value
    stds = model.policy.log_std.detach().exp().tolist()
    row = {"update": update, "steps": model.num_timesteps, "wall_s": wall_s, "episodes": len(watch.scores),
           "steer_std": stds[0], "drive_std": stds[1]}
    row |= {name: float(logged[f"train/{key}"]) for name, key in [
        ("kl", "approx_kl"), ("value_loss", "value_loss"), ("explained_variance", "explained_variance")]
        if f"train/{key}" in logged}
    if scores:
        row |= {"route_completion": float(np.mean([s.route_completion for s in scores])),
                "driving_score": float(np.mean([s.driving_score for s in scores])),
                "reward": float(np.mean(watch.returns[-RECENT_EPISODES:]))}
    return row


def train(venv: FleetVecEnv, config: PPOConfig, actor: Actor, folder: Path,
          validation: Sequence[Scenario] = (), is_resumed: bool = False) -> tuple[Actor, Curve]:
    """Improve an actor; returns the best one of the validation drives (the last one without them) and the curve.

    Writes ppo_state.* at every boundary, curve.json, and TensorBoard logs to `folder`. The clone is validated first, so
    the result is never worse than it on the validation towns.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = build(venv, config, actor)
    model.set_logger(configure(str(folder / "tensorboard"), ["tensorboard"]))
    first, curve, best = load_state(folder, model, config) if is_resumed else (0, Curve(), actor)
    per_update = config.steps_per_car * venv.num_envs
    num_updates = -(-config.total_steps // per_update)
    begin_s = time.monotonic() - (curve.training[-1]["wall_s"] if curve.training else 0.0)
    with Progress(TextColumn("PPO"), BarColumn(), MofNCompleteColumn(), TextColumn("steps, left"),
                  TimeRemainingColumn(), TextColumn("{task.fields[now]}")) as bar:
        watch = Watch(bar, bar.add_task("PPO", total=num_updates * per_update, completed=first * per_update, now=""))
        for update in range(first, num_updates):
            if update % config.boundary_updates == 0:
                best = _boundary(venv, model, config, folder, validation, update, curve, best)
            _set_phase(model, config, update, num_updates)
            update_begin_s = time.monotonic()
            model.learn(per_update, watch, log_interval=1_000_000_000, reset_num_timesteps=False)
            now_s = time.monotonic()
            curve.training.append(_row(model, watch, update, now_s - begin_s) | {
                "rollout_s": watch.rollout_s, "update_s": now_s - update_begin_s})
            _log(model, curve.training[-1])
            curve.write(folder / CURVE)
    best = _validated(venv, model, config, validation, num_updates, curve, best)
    save_state(folder, model, config, num_updates, curve, best)
    curve.write(folder / CURVE)
    return best, curve


def _boundary(venv: FleetVecEnv, model: TwoRatePPO, config: PPOConfig, folder: Path, validation: Sequence[Scenario],
              update: int, curve: Curve, best: Actor) -> Actor:
    """Validate when it is time, write the state, and restart all cars and random numbers from (run seed, update)."""
    if (update // config.boundary_updates) % config.validate_boundaries == 0:
        best = _validated(venv, model, config, validation, update, curve, best)
    save_state(folder, model, config, update, curve, best)
    set_random_seed(episode_seed(config.seed, update, venv.num_envs))
    venv.begin_part(update + 1)
    model._last_obs = None  # makes `learn` begin with a reset of the cars
    return best


def _validated(venv: FleetVecEnv, model: TwoRatePPO, config: PPOConfig, validation: Sequence[Scenario], update: int,
               curve: Curve, best: Actor) -> Actor:
    """Drive the validation scenarios, append a row to the curve, return the better of `best` and the present actor."""
    present = actor_of(model)
    if not validation:
        return present
    if curve.validation and curve.validation[-1]["update"] == update:
        return best  # resumed right here
    scores = validate(venv, present, validation)
    row = {"update": update, "steps": model.num_timesteps,
           "route_completion": float(np.mean([s.route_completion for s in scores])),
           "driving_score": float(np.mean([s.driving_score for s in scores])),
           "success": float(np.mean([s.is_success for s in scores]))}
    row |= {f"end_{end}": float(np.mean([s.end == end for s in scores])) for end in INFRACTION_ENDS}
    is_best = all(row["driving_score"] > earlier["driving_score"] for earlier in curve.validation)
    curve.validation.append(row)
    return present if is_best else best


def _log(model: TwoRatePPO, row: dict[str, float]) -> None:
    for name, value in row.items():
        model.logger.record(f"curve/{name}", value)
    model.logger.dump(model.num_timesteps)
