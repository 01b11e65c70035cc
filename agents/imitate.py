"""Behaviour cloning: the expert drives and is disturbed, a network learns its answers from what the camera shows.

Collection runs the real line (camera, perception, features). Bursts of noise on the executed action take the car off
the ideal line, while the label stays the expert's clean action there (Bojarski et al. 2016, Laskey et al. 2017); in a
second round the clone itself drives and the expert only labels (DAgger, Ross et al. 2011). The clone is PPO's start.
Nothing here is reinforcement learning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from agents.fleet import LABEL
from agents.policies import Actor
from agents.rollouts import FleetVecEnv
from envs.geometry import Array

STEER_WEIGHT = 4.0  # a steering error of 0.1 weighs as much as a pedal error of 0.2
SMALLEST_STD = 0.05  # features that hardly vary are not blown up


@dataclass(frozen=True)
class ImitateConfig:
    """How much the expert shows and how the clone learns."""

    expert_steps: int = 8_000
    """frames driven by the expert, all cars together"""
    clone_steps: int = 4_000
    """frames driven by the clone and labelled by the expert, in each DAgger round"""
    dagger_rounds: int = 1
    """rounds of the latter"""
    epochs: int = 60
    """most passes over the data"""
    patience: int = 8
    """epochs without a better validation loss before learning stops"""
    batch_size: int = 256
    """frames in a gradient step"""
    learning_rate: float = 1e-3
    """of AdamW, falling to a tenth along a cosine"""
    weight_decay: float = 1e-3
    """of AdamW"""
    feature_noise: float = 0.05
    """noise on standardised features while learning"""
    validation_share: float = 0.15
    """share of towns kept out of learning"""
    burst_every_s: float = 5.0
    """mean time between disturbances"""
    burst_s: tuple[float, float] = (0.4, 1.0)
    """shortest and longest disturbance"""
    burst_std: tuple[float, float] = (0.15, 0.4)
    """size of a disturbance of steer and drive"""
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """M labelled frames: features (M, F) float32, the expert's action (M, 2) float32, town seed (M,) int64."""

    features: Array
    actions: Array
    towns: Array

    def __add__(self, other: Demonstrations) -> Demonstrations:
        return Demonstrations(np.concatenate([self.features, other.features]),
                              np.concatenate([self.actions, other.actions]),
                              np.concatenate([self.towns, other.towns]))


class Disturbance:
    """Bursts of constant offsets on the actions of N cars, drawn from a generator."""

    def __init__(self, config: ImitateConfig, num_envs: int, dt_s: float, rng: np.random.Generator) -> None:
        self._config, self._dt_s, self._rng = config, dt_s, rng
        self._left = np.zeros(num_envs, int)
        self._offset = np.zeros((num_envs, 2))

    def __call__(self, actions: Array) -> Array:
        """The actions (N, 2) with this step's offsets, clipped to [-1, 1]."""
        begins = (self._left == 0) & (self._rng.random(len(actions)) < self._dt_s / self._config.burst_every_s)
        count = int(begins.sum())
        low, high = self._config.burst_s
        self._left[begins] = np.rint(self._rng.uniform(low, high, count) / self._dt_s).astype(int)
        self._offset[begins] = self._rng.normal(0.0, self._config.burst_std, (count, 2))
        offset = self._offset * (self._left > 0)[:, None]
        self._left = np.maximum(self._left - 1, 0)
        return np.clip(actions + offset, -1.0, 1.0).astype(np.float32)


def collect(venv: FleetVecEnv, steps: int, drive: Callable[[Array, Array], Array],
            title: str = "expert drives") -> Demonstrations:
    """`steps` labelled frames of all cars together; `drive(features, labels)` gives the executed actions (N, 2).

    The vector environment must be made with `is_labelled=True`.
    """
    features, actions, towns = [], [], []
    seen, infos = venv.reset(), venv.reset_infos
    town = np.array([info["town_seed"] for info in infos])
    with Progress(TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn("frames, left"),
                  TimeRemainingColumn()) as bar:
        task = bar.add_task(title, total=steps)
        for _ in range(-(-steps // venv.num_envs)):
            labels = np.stack([info[LABEL] for info in infos])
            features.append(seen)
            actions.append(labels)
            towns.append(town.copy())
            seen, _, _, infos = venv.advance(drive(seen, labels))
            town = np.array([info.get("town_seed", town[i]) for i, info in enumerate(infos)])
            bar.advance(task, venv.num_envs)
    return Demonstrations(np.concatenate(features), np.concatenate(actions), np.concatenate(towns))


def split_by_town(data: Demonstrations, share: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Row indices (train, validation); no town is in both, and both have at least one where there are two."""
    towns = rng.permutation(np.unique(data.towns))
    held = towns[:max(1, round(share * len(towns)))] if len(towns) > 1 else towns[:0]
    is_held = np.isin(data.towns, held)
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def imitation_loss(actor: Actor, features: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Mean Huber loss of the unclipped action, steering weighted by STEER_WEIGHT."""
    error = torch.nn.functional.huber_loss(actor(features), actions, reduction="none", delta=0.1)
    return (error * torch.tensor([STEER_WEIGHT, 1.0])).mean()


def fit(data: Demonstrations, config: ImitateConfig,
        writer: SummaryWriter | None = None) -> tuple[Actor, dict[str, Any]]:
    """A fresh actor fitted to demonstrations, and its figures (mean absolute errors on held-out towns)."""
    generator = torch.Generator().manual_seed(config.seed)
    train, held = split_by_town(data, config.validation_share, np.random.default_rng(config.seed))
    x, y = torch.from_numpy(data.features), torch.from_numpy(data.actions)
    held = held if len(held) else train
    actor = _new_actor(x[train], config.seed)
    optimiser = torch.optim.AdamW(actor.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.epochs, config.learning_rate / 10)
    best, best_epoch, best_state = np.inf, 0, {k: v.clone() for k, v in actor.state_dict().items()}
    for epoch in range(config.epochs):
        order = torch.from_numpy(train)[torch.randperm(len(train), generator=generator)]
        for rows in order.split(config.batch_size):
            noise = torch.randn(x[rows].shape, generator=generator) * config.feature_noise * actor.standardise.std
            loss = imitation_loss(actor, x[rows] + noise, y[rows])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(actor.parameters(), 1.0, error_if_nonfinite=True)
            optimiser.step()
        decay.step()
        with torch.inference_mode():
            held_loss = float(imitation_loss(actor, x[held], y[held]))
        if writer:
            writer.add_scalars("clone/loss", {"train": float(loss.detach()), "held_out": held_loss}, epoch)
        if held_loss < best:
            best, best_epoch, best_state = held_loss, epoch, {k: v.clone() for k, v in actor.state_dict().items()}
        elif epoch - best_epoch >= config.patience:
            break
    actor.load_state_dict(best_state)
    error = np.abs(actor.act(data.features[held]) - data.actions[held]).mean(axis=0)
    return actor, {"frames": len(data.actions), "towns": len(np.unique(data.towns)), "epochs": epoch + 1,
                   "held_out_loss": best, "steer_error": float(error[0]), "drive_error": float(error[1])}


def _new_actor(features: torch.Tensor, seed: int) -> Actor:
    """An actor with seeded weights that standardises by the statistics of `features` (M, F)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        actor = Actor()
    actor.standardise.mean.copy_(features.mean(0))
    actor.standardise.std.copy_(features.std(0).clamp_min(SMALLEST_STD))
    return actor


def _driven_by(actor: Actor, disturb: Disturbance) -> Callable[[Array, Array], Array]:
    return lambda features, labels: disturb(actor.act(features))


def clone(venv: FleetVecEnv, config: ImitateConfig, log_dir: Path | None = None) -> tuple[Actor, dict[str, Any]]:
    """Expert rounds, then DAgger rounds: the actor that drives most like the expert on what the camera shows."""
    writer = SummaryWriter(str(log_dir / "clone")) if log_dir else None
    dt_s = venv.fleet.drive.control_dt_s
    disturb = Disturbance(config, venv.num_envs, dt_s, np.random.default_rng(config.seed))
    data = collect(venv, config.expert_steps, lambda _, labels: disturb(labels))
    actor, figures = fit(data, config, writer if config.dagger_rounds == 0 else None)
    for k in range(config.dagger_rounds):
        venv.begin_part(k + 1)
        data += collect(venv, config.clone_steps, _driven_by(actor, disturb), "clone drives")
        actor, figures = fit(data, config, writer if k == config.dagger_rounds - 1 else None)
    if writer:
        writer.close()
    return actor, figures
