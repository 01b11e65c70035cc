"""Many cars at once: one vector environment of features over cars in this process or in a few worker processes.

A worker process holds several `DrivingEnv`s and its own copy of the CNN, so that two cores drive and see side by side,
and one message a step carries all it has to say: no frame crosses a process border (the other way, frames in shared
memory and one batch in the learner's process, was a sixth slower; docs/LOG.md). A worker that dies or hangs is
replaced, and its episodes count as cut short. Nothing here learns.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from agents.features import BOUND, SIZE
from agents.fleet import Cars, FleetConfig, work
from agents.processes import process_context
from envs.config import DriveConfig
from envs.driving_env import DrivingEnv
from envs.geometry import Array
from scenarios.spec import Scenario

MOST_REPLACEMENTS = 5  # in one run: more is no accident


class RolloutError(RuntimeError):
    """A worker that failed, or workers that keep dying; the message names them."""


class WorkerLost(RuntimeError):
    """A worker that died or hangs; the message is one sentence."""


class LocalCrew:
    """Cars in this process, behind the same calls as a worker's."""

    def __init__(self, fleet: FleetConfig, cars: Array) -> None:
        self._cars = Cars(fleet, len(cars))
        self._answer: Any = None

    def ask(self, method: str, *arguments: Any) -> None:
        self._answer = getattr(self._cars, method)(*arguments)

    def answer(self) -> Any:
        return self._answer

    def close(self) -> None:
        self._cars.close()


class WorkerCrew:
    """Cars in a process of their own. Raises WorkerLost when it is dead or hangs, RolloutError when it fails."""

    def __init__(self, fleet: FleetConfig, cars: Array) -> None:
        context = process_context()
        self._pipe, theirs = context.Pipe()
        self._patience_s = fleet.patience_s
        self._folder = tempfile.TemporaryDirectory(prefix="nanodrive-")
        self._last_words = Path(self._folder.name) / "stderr"
        self.name = f"rollout worker of cars {cars[0]} to {cars[-1]}"
        self.process = context.Process(target=work, args=(theirs, fleet, len(cars), self._last_words), daemon=True,
                                       name=self.name)
        self.process.start()
        theirs.close()

    def ask(self, method: str, *arguments: Any) -> None:
        with contextlib.suppress(OSError):  # it is dead: `answer` tells
            self._pipe.send((method, arguments))

    def answer(self) -> Any:
        try:
            if not self._pipe.poll(self._patience_s):
                raise WorkerLost(f"the {self.name} (process {self.process.pid}) said nothing for "
                                 f"{self._patience_s:g} s{self._words()}")
            is_fine, answer = self._pipe.recv()
        except (EOFError, OSError):
            self.process.join(timeout=2)
            raise WorkerLost(f"the {self.name} (process {self.process.pid}) died with exit code "
                             f"{self.process.exitcode}{self._words()}") from None
        if not is_fine:
            raise RolloutError(f"the {self.name} failed:\n{answer}")
        return answer

    def _words(self) -> str:
        """The end of what it said on stderr; of a crash inside a library, its beginning, which names the place."""
        said = self._last_words.read_text(errors="replace") if self._last_words.exists() else ""
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        crash = next((k for k, line in enumerate(lines) if line.startswith("Fatal Python error")), None)
        words = lines[-3:] if crash is None else [lines[crash], *lines[crash + 1:crash + 4]]
        return f"; its last words: {' | '.join(words)}" if words else ""

    def close(self) -> None:
        """Let it end; one that does not within a second is killed."""
        self._pipe.close()
        self.process.join(timeout=1)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(timeout=1)
        self._folder.cleanup()


def episode_seed(run_seed: int, part: int, car: int) -> int:
    """The seed of a car at a boundary: depends on nothing but its three numbers."""
    return int(np.random.SeedSequence((run_seed, part, car)).generate_state(1)[0] >> 1)


class FleetVecEnv(VecEnv):
    """Stable-Baselines3's vector environment over crews of cars: a Box of features, so learning never sees an image.

    Rewards are multiplied by `reward_scale`, so that the critic meets returns of order one.
    """

    def __init__(self, fleet: FleetConfig, reward_scale: float = 1.0) -> None:
        self.fleet, self.reward_scale = fleet, np.float32(reward_scale)
        self._parts = np.array_split(np.arange(fleet.num_envs), max(1, min(fleet.workers, fleet.num_envs)))
        self._crews = [self._crew(part) for part in self._parts]
        self._num_replaced = 0
        probe = DrivingEnv(fleet.drive, split=fleet.split)
        super().__init__(fleet.num_envs, gymnasium.spaces.Box(-BOUND, BOUND, (SIZE,), np.float32), probe.action_space)
        probe.close()
        self._seen = np.zeros((fleet.num_envs, SIZE), np.float32)
        self.begin_part(0)

    def begin_part(self, part: int) -> None:
        """Let the next `reset` start endless episodes that depend on the run's seed and on `part` alone."""
        self._seeds = [episode_seed(self.fleet.seed, part, car) for car in range(self.num_envs)]
        self._queues: list[list[Scenario] | None] = [None] * self.num_envs

    def queue(self, scenarios: Sequence[Scenario]) -> None:
        """Let the next `reset` drive each of these scenarios once, dealt out to the cars; then they idle."""
        self._seeds = [0] * self.num_envs
        self._queues = [list(scenarios[car::self.num_envs]) for car in range(self.num_envs)]

    def reset(self) -> Array:
        for k, crew in enumerate(self._crews):
            crew.ask("reset", *self._beginning(k))
        answers = self._answers()
        self._seeds = [None] * self.num_envs  # type: ignore[list-item]
        self._seen = np.concatenate([seen for seen, _ in answers])
        self.reset_infos = [info for _, infos in answers for info in infos]
        return self._seen

    def step_async(self, actions: Array) -> None:
        for crew, part in zip(self._crews, self._parts, strict=True):
            crew.ask("step", actions[part])

    def step_wait(self) -> Any:
        answers = self._answers()
        seen, rewards, dones = (np.concatenate([answer[k] for answer in answers]) for k in range(3))
        infos = [info for answer in answers for info in answer[3]]
        for car, info in enumerate(infos):
            if "score" in info and self._queues[car]:
                self._queues[car].pop(0)  # type: ignore[union-attr]
        self._seen = seen
        return seen, rewards * self.reward_scale, dones, infos

    def advance(self, actions: Array) -> tuple[Array, Array, Array, list[dict[str, Any]]]:
        """`step`, with its types told."""
        self.step_async(actions)
        return self.step_wait()

    def _crew(self, part: Array) -> LocalCrew | WorkerCrew:
        return WorkerCrew(self.fleet, part) if self.fleet.workers else LocalCrew(self.fleet, part)

    def _beginning(self, k: int) -> tuple[list[int | None], list[list[Scenario] | None]]:
        """The arguments of crew k's `reset`."""
        return [self._seeds[i] for i in self._parts[k]], [self._queues[i] for i in self._parts[k]]

    def _answers(self) -> list[Any]:
        """Every crew's answer; the first crew's error is raised only when all have been heard, so none is left over."""
        answers, errors = [], []
        for k, crew in enumerate(self._crews):
            try:
                answers.append(crew.answer())
            except WorkerLost as loss:
                answers.append(self._replace(k, loss))
            except RolloutError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return answers

    def _replace(self, k: int, loss: WorkerLost) -> tuple[Any, ...]:
        """A new worker in place of crew k; its answer: all its episodes were cut where they were last seen."""
        self._num_replaced += 1
        if self._num_replaced > MOST_REPLACEMENTS:
            raise RolloutError(f"{loss}; {MOST_REPLACEMENTS} workers were replaced before it, so free some memory or "
                               "use fewer cars, then resume")
        print(f"\n{loss}; it is replaced, its episodes are cut short", file=sys.stderr)
        part = self._parts[k]
        self._crews[k].close()
        self._crews[k] = self._crew(part)
        is_reset = self._seeds[0] is not None
        if not is_reset:
            for car in part:
                self._seeds[car] = episode_seed(self.fleet.seed, time.time_ns() % 2**32, int(car))
        self._crews[k].ask("reset", *self._beginning(k))
        try:
            seen, infos = self._crews[k].answer()
        except WorkerLost as again:
            raise RolloutError(f"{again}, right after it replaced another") from None
        if is_reset:
            return seen, infos
        for car in part:
            self._seeds[car] = None  # type: ignore[call-overload]
        cut = [{**info, "TimeLimit.truncated": True, "terminal_observation": self._seen[car]}
               for car, info in zip(part, infos, strict=True)]
        return seen, np.zeros(len(part), np.float32), np.ones(len(part), bool), cut

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
         is_labelled: bool = False, reward_scale: float = 1.0) -> FleetVecEnv:
    """Cars on a split's towns, seen through the shipped perception; `workers=0` keeps them in this process."""
    return FleetVecEnv(FleetConfig(config, num_envs, split, seed, workers, is_labelled), reward_scale)
