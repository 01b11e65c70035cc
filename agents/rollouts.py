"""Many cars at once: vector environments in this process or in a few worker processes, and their perceived form.

A worker process holds several `DrivingEnv`s, so that two cores step eight cars with two messages a step; camera frames
come back through shared memory. `PerceivedVecEnv` runs the CNN on all frames of a step in one batch, so that learning
sees a Box of features and PPO's epochs never touch an image. Nothing here learns.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from agents.features import BOUND, SIZE, Features
from agents.fleet import Cars, FleetConfig, Observation, frames, work
from envs.config import DriveConfig
from envs.driving_env import DrivingEnv
from envs.geometry import Array
from scenarios.spec import Scenario


class RolloutError(RuntimeError):
    """A worker that died or failed; the message names it."""


class LocalCrew:
    """Cars in this process, behind the same two calls as a worker's."""

    def __init__(self, fleet: FleetConfig, first: int, camera: Array) -> None:
        self._cars = Cars(fleet, len(camera), camera)
        self._answer: Any = None

    def ask(self, method: str, *arguments: Any) -> None:
        self._answer = getattr(self._cars, method)(*arguments)

    def answer(self) -> Any:
        return self._answer

    def close(self) -> None:
        self._cars.close()


class WorkerCrew:
    """Cars in a process of their own. A dead or failing worker becomes a RolloutError that names it."""

    def __init__(self, fleet: FleetConfig, first: int, shared: Any, shape: tuple[int, ...]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.name = f"rollout worker of cars {first} to {first + shape[0] - 1}"
        self.process = context.Process(target=work, args=(theirs, fleet, shared, first, shape), daemon=True,
                                       name=self.name)
        self.process.start()
        theirs.close()

    def ask(self, method: str, *arguments: Any) -> None:
        try:
            self._pipe.send((method, arguments))
        except OSError:
            raise self._death() from None

    def answer(self) -> Any:
        try:
            is_fine, answer = self._pipe.recv()
        except (EOFError, OSError):
            raise self._death() from None
        if not is_fine:
            raise RolloutError(f"the {self.name} failed:\n{answer}")
        return answer

    def close(self) -> None:
        self._pipe.close()
        self.process.join(timeout=10)
        if self.process.is_alive():
            self.process.kill()

    def _death(self) -> RolloutError:
        self.process.join(timeout=5)
        return RolloutError(f"the {self.name} died with exit code {self.process.exitcode}; free some memory or use "
                            "fewer cars, then resume")


def episode_seed(run_seed: int, part: int, car: int) -> int:
    """The seed of a car at a boundary: depends on nothing but its three numbers."""
    return int(np.random.SeedSequence((run_seed, part, car)).generate_state(1)[0] >> 1)


class FleetVecEnv(VecEnv):
    """Stable-Baselines3's vector environment over crews of cars, with Dict observations."""

    def __init__(self, fleet: FleetConfig) -> None:
        camera, num = fleet.drive.camera, fleet.num_envs
        self.fleet = fleet
        shape = (num, camera.height_px, camera.width_px, 3)
        shared = multiprocessing.get_context("spawn").RawArray("B", int(np.prod(shape)))
        self._camera = frames(shared, 0, shape)
        self._parts = np.array_split(np.arange(num), max(1, min(fleet.workers, num)))
        self._crews: list[LocalCrew | WorkerCrew] = []
        for part in self._parts:
            if fleet.workers:
                self._crews.append(WorkerCrew(fleet, int(part[0]), shared, (len(part), *shape[1:])))
            else:
                self._crews.append(LocalCrew(fleet, 0, self._camera))
        self._queues: list[Sequence[Scenario] | None] = [None] * num
        probe = DrivingEnv(fleet.drive, split=fleet.split)
        super().__init__(num, probe.observation_space, probe.action_space)
        probe.close()
        self.begin_part(0)

    def begin_part(self, part: int) -> None:
        """Let the next `reset` start endless episodes that depend on the run's seed and on `part` alone."""
        self._seeds = [episode_seed(self.fleet.seed, part, car) for car in range(self.num_envs)]
        self._queues = [None] * self.num_envs

    def queue(self, scenarios: Sequence[Scenario]) -> None:
        """Let the next `reset` drive each of these scenarios once, dealt out to the cars; then they idle."""
        self._seeds = [0] * self.num_envs
        self._queues = [tuple(scenarios[car::self.num_envs]) for car in range(self.num_envs)]

    def reset(self) -> Observation:
        answers = self._round("reset", [([self._seeds[i] for i in part], [self._queues[i] for i in part])
                                        for part in self._parts])
        self._seeds = [None] * self.num_envs
        ego, command, infos = ([row for a in answers for row in a[k]] for k in range(3))
        self.reset_infos = infos
        return self._observation(ego, command)

    def step_async(self, actions: Array) -> None:
        for crew, part in zip(self._crews, self._parts, strict=True):
            crew.ask("step", actions[part])

    def step_wait(self) -> Any:
        answers = self._answers()
        ego, command, rewards, dones, infos = ([row for a in answers for row in a[k]] for k in range(5))
        return self._observation(ego, command), np.array(rewards, np.float32), np.array(dones), infos

    def _round(self, method: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
        for crew, given in zip(self._crews, arguments, strict=True):
            crew.ask(method, *given)
        return self._answers()

    def _answers(self) -> list[Any]:
        """Every crew's answer; the first crew's error is raised only when all have been heard, so none is left over."""
        answers, errors = [], []
        for crew in self._crews:
            try:
                answers.append(crew.answer())
            except RolloutError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return answers

    def _observation(self, ego: list[Array], command: list[Array]) -> Observation:
        return {"camera": self._camera.copy(), "ego": np.stack(ego), "command": np.stack(command)}

    def close(self) -> None:
        for crew in self._crews:
            crew.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Only `render_mode` is asked for by Stable-Baselines3; cars keep their attributes to themselves."""
        return [None] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError("cars in worker processes are configured by FleetConfig alone")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError("cars in worker processes answer reset and step alone")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [True] * len(list(self._get_indices(indices)))  # episodes are counted here; SB3 needs no Monitor


def make(config: DriveConfig, num_envs: int, split: str = "train", seed: int = 0, workers: int = 2,
         is_labelled: bool = False) -> FleetVecEnv:
    """Cars on a split's towns; `workers=0` keeps them in this process."""
    return FleetVecEnv(FleetConfig(config, num_envs, split, seed, workers, is_labelled))


class PerceivedVecEnv(VecEnvWrapper):
    """Dict observations -> a Box of features, one CNN batch a step; follows each car's episodes for the sign tracker.

    Rewards are multiplied by `reward_scale`, so that the critic meets returns of order one.
    """

    def __init__(self, venv: FleetVecEnv, features: Features, reward_scale: float = 1.0) -> None:
        super().__init__(venv, gymnasium.spaces.Box(-BOUND, BOUND, (SIZE,), np.float32))
        self.fleet, self.features, self.reward_scale = venv, features, reward_scale

    def reset(self) -> Array:
        observation = self.fleet.reset()
        self.reset_infos = self.venv.reset_infos
        self.features.reset(np.ones(self.num_envs, bool))
        return self.features(observation)

    def advance(self, actions: Array) -> tuple[Array, Array, Array, list[dict[str, Any]]]:
        """`step`, with its types told."""
        self.step_async(actions)
        return self.step_wait()

    def step_wait(self) -> Any:
        observation, rewards, dones, infos = self.fleet.step_wait()
        cut = [i for i, info in enumerate(infos) if "terminal_observation" in info]
        if cut:
            last = {key: value.copy() for key, value in observation.items()}
            for i in cut:
                for key, value in infos[i]["terminal_observation"].items():
                    last[key][i] = value
            seen = self.features.peek(last)
            for i in cut:
                infos[i]["terminal_observation"] = seen[i]
        self.features.reset(dones)
        return self.features(observation), rewards * np.float32(self.reward_scale), dones, infos
