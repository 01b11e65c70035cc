"""The cars of one process: environments that restart by themselves, the eyes they share, and a worker's life.

Frames never leave the process that drew them: the CNN runs here, on all cars of the process together, and features go
on. What many processes make together is rollouts.py's business.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from agents import features
from agents.expert import Expert
from agents.features import Features
from envs.config import CameraConfig, DriveConfig
from envs.driving_env import DrivingEnv
from envs.geometry import Array
from scenarios.spec import Scenario

Observation = dict[str, Array]
LABEL = "expert_action"  # key in an info: what the expert would do now
BATCH = 8  # frames the network sees at once, however many cars a process has


@dataclass(frozen=True)
class FleetConfig:
    """Which cars to run."""

    drive: DriveConfig
    num_envs: int = 8
    split: str = "train"
    seed: int = 0
    workers: int = 2
    """worker processes; 0 runs all cars in this one"""
    is_labelled: bool = False
    """whether each info carries the expert's action for the new state"""
    eyes: Callable[[CameraConfig, int, float, int], Features] = features.load
    """makes the features of so many cars: (camera, cars, seconds a step, frames seen at once)"""
    patience_s: float = 120.0
    """a worker that is silent for longer counts as hung"""


class Car:
    """One environment that restarts by itself, with its queue of scenarios and its expert."""

    def __init__(self, fleet: FleetConfig) -> None:
        self.env = DrivingEnv(fleet.drive, split=fleet.split)
        self.observation: Observation = {}
        self._expert = Expert(dt_s=fleet.drive.control_dt_s) if fleet.is_labelled else None
        self._queue: deque[Scenario] | None = None

    def reset(self, seed: int | None, queue: Sequence[Scenario] | None) -> dict[str, Any]:
        """Begin: the queued scenarios one after the other and then idle, or (None) endless ones of the split."""
        self._queue = None if queue is None else deque(queue)
        return self._begin(seed)

    def step(self, action: Array) -> tuple[float, bool, dict[str, Any]]:
        """One step; at an episode's end the next begins. Returns (reward, is done, info as SB3 has it)."""
        if self.is_idle:
            return 0.0, False, {"is_idle": True}
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._return += float(reward)
        self._steps += 1
        if not (terminated or truncated):
            self.observation = observation
            return float(reward), False, self._label({})
        is_cut = truncated and not terminated
        ended = {"score": info["score"], "TimeLimit.truncated": is_cut,
                 "episode": {"r": self._return, "l": self._steps, "t": 0.0}}
        if is_cut:
            ended["terminal_observation"] = observation
        return float(reward), True, {**ended, **self._begin(None)}

    def _begin(self, seed: int | None) -> dict[str, Any]:
        self._return, self._steps = 0.0, 0
        self.is_idle = self._queue is not None and not self._queue
        if self.is_idle:
            return {"is_idle": True}
        options = {"scenario": self._queue.popleft()} if self._queue else None
        self.observation, _ = self.env.reset(seed=seed, options=options)
        if self._expert:
            self._expert.reset()
        return self._label({"town_seed": self.env.state.town.seed})

    def _label(self, info: dict[str, Any]) -> dict[str, Any]:
        if self._expert:
            info[LABEL] = self._expert.act(None, self.env.state)
        return info


class Cars:
    """The cars of one process and their features. A request is a (name of a method, arguments)."""

    def __init__(self, fleet: FleetConfig, count: int) -> None:
        self._cars = [Car(fleet) for _ in range(count)]
        self._features = fleet.eyes(fleet.drive.camera, count, fleet.drive.control_dt_s, BATCH)
        probe = self._cars[0].env.observation_space
        self._blank = {key: np.zeros(space.shape, space.dtype) for key, space in probe.spaces.items()}  # type: ignore[attr-defined]

    def reset(self, seeds: Sequence[int | None], queues: Sequence[Sequence[Scenario] | None]) -> tuple[Any, ...]:
        """(features (K, F), infos) of fresh episodes."""
        infos = [car.reset(seed, queue) for car, seed, queue in zip(self._cars, seeds, queues, strict=True)]
        self._features.reset(np.ones(len(self._cars), bool))
        return self._look(), infos

    def step(self, actions: Array) -> tuple[Any, ...]:
        """(features (K, F), rewards (K,), dones (K,), infos); a cut episode's last observation as features, too."""
        rewards, dones, infos = zip(*[car.step(a) for car, a in zip(self._cars, actions, strict=True)], strict=True)
        last = {k: info["terminal_observation"] for k, info in enumerate(infos) if "terminal_observation" in info}
        if last:
            seen = self._features.peek(self._observations(last))
            for k in last:
                infos[k]["terminal_observation"] = seen[k]
        self._features.reset(np.array(dones))
        return self._look(), np.array(rewards, np.float32), np.array(dones), list(infos)

    def close(self) -> None:
        for car in self._cars:
            car.env.close()

    def _look(self) -> Array:
        """Features (K, F) of what all cars see now; of idle ones 0."""
        return self._features(self._observations(), np.array([not car.is_idle for car in self._cars]))

    def _observations(self, instead: dict[int, Observation] | None = None) -> Observation:
        """What all cars see, stacked; `instead` gives other observations of some."""
        seen = [(instead or {}).get(k) or car.observation or self._blank for k, car in enumerate(self._cars)]
        return {key: np.stack([row[key] for row in seen]) for key in self._blank}


def work(pipe: Connection, fleet: FleetConfig, count: int, last_words: Path) -> None:
    """The worker's life: answer requests until the pipe closes. What it says on stderr goes to a file."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's business
    with last_words.open("ab") as file:
        os.dup2(file.fileno(), 2)
    faulthandler.enable()
    torch.set_num_threads(1)
    cars = None
    while True:
        try:
            method, arguments = pipe.recv()
        except (EOFError, OSError):
            break
        try:
            cars = cars or Cars(fleet, count)
            pipe.send((True, getattr(cars, method)(*arguments)))
        except Exception:
            pipe.send((False, traceback.format_exc()))
    if cars:
        cars.close()
