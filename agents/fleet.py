"""The cars of one process: environments that restart by themselves, and a worker's life around them.

It imports neither torch nor Stable-Baselines3, so that a worker process starts fast and stays small. What many
processes make together is rollouts.py's business.
"""

from __future__ import annotations

import signal
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from agents.expert import Expert
from envs.config import DriveConfig
from envs.driving_env import DrivingEnv
from envs.geometry import Array
from scenarios.spec import Scenario

Observation = dict[str, Array]
LABEL = "expert_action"  # key in an info: what the expert would do now


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
    """The cars of one process. A request is a (name of a method, arguments); frames go straight into `camera`."""

    def __init__(self, fleet: FleetConfig, count: int, camera: Array) -> None:
        self._cars = [Car(fleet) for _ in range(count)]
        self._camera = camera

    def reset(self, seeds: Sequence[int | None], queues: Sequence[Sequence[Scenario] | None]) -> tuple[Any, ...]:
        infos = [car.reset(seed, queue) for car, seed, queue in zip(self._cars, seeds, queues, strict=True)]
        return (*self._observe(), infos)

    def step(self, actions: Array) -> tuple[Any, ...]:
        rewards, dones, infos = zip(*[car.step(a) for car, a in zip(self._cars, actions, strict=True)], strict=True)
        return (*self._observe(), np.array(rewards, np.float32), np.array(dones), list(infos))

    def close(self) -> None:
        for car in self._cars:
            car.env.close()

    def _observe(self) -> tuple[Array, Array]:
        seen = [car.observation for car in self._cars]
        for k, observation in enumerate(seen):
            if observation:
                self._camera[k] = observation["camera"]
        blank = np.zeros(5, np.float32)
        return np.stack([s.get("ego", blank) for s in seen]), np.stack([s.get("command", blank) for s in seen])


def frames(shared: Any, first: int, shape: tuple[int, ...]) -> Array:
    """The (K, H, W, 3) uint8 part of the shared camera memory that begins at car `first`."""
    size = int(np.prod(shape[1:]))
    return np.frombuffer(shared, np.uint8, shape[0] * size, first * size).reshape(shape)


def work(pipe: Connection, fleet: FleetConfig, shared: Any, first: int, shape: tuple[int, ...]) -> None:
    """The worker's life: answer requests until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cars = None
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            break
        try:
            cars = cars or Cars(fleet, shape[0], frames(shared, first, shape))
            pipe.send((True, getattr(cars, method)(*arguments)))
        except Exception:
            pipe.send((False, traceback.format_exc()))
    if cars:
        cars.close()
