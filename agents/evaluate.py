"""Drive policies over a suite and score them: policy x scenarios x seed -> a table, results.json, recordings.

Every driver meets the same scenarios with the same seeds. Episodes run in worker processes with one torch thread each,
so that a result does not depend on how many there are. Random, expert and the clone beside a saved policy are driven
along as baselines. Plots are report.py's business, pictures replay.py's.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import signal
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from agents import policies, provenance
from agents.policies import Policy, load_policy
from agents.processes import one_thread_each, process_context
from agents.summary import show, summarise, wide_console
from envs.config import CameraConfig, DriveConfig, require
from envs.driving_env import DrivingEnv
from envs.geometry import Array
from envs.history import arrays_of
from envs.metrics import EpisodeScore
from envs.render.camera import RENDERERS
from envs.state import WorldState
from perception.checkpoint import replace_file
from scenarios import recording, spec
from scenarios.spec import Scenario

SCHEMA_VERSION = 1
RESULTS = "results.json"
BASELINES = ("random", "expert")
BLIND = ("random", "straight")  # rows of POLICIES that never look at the camera
CLONE = "clone"  # folder beside a saved policy


class WorkerError(RuntimeError):
    """A worker process that died; the message is one sentence that names the way out."""


@dataclass(frozen=True)
class EvaluateConfig:
    """Settings of `nanodrive evaluate`."""

    policy: tuple[str, ...]
    """drivers: a run folder (runs/quick), a policy folder, random, straight, expert, or your own module:Class"""
    suite: str = "test"
    """train, val, test (the first towns of that split), with -busy for traffic, people, lights and weather, or a
    scenario file or folder"""
    episodes: int | None = None
    """how many scenarios of the suite; default: 20 of a split, all of a folder"""
    seed: int = 0
    """of everything random in the episodes"""
    workers: int = 2
    """processes that drive side by side; the result does not depend on it"""
    out: Path = Path("runs/evaluate")
    """folder for results.json and recordings/"""
    record: Literal["none", "failures", "all"] = "failures"
    """which episodes to keep for `nanodrive replay`; failures: those without success"""
    min_score: float | None = None
    """exit code 1 if a given driver's mean driving score (2.1) is below this [0 to 100]"""
    baselines: bool = True
    """also drive random, expert and the clone beside a saved policy"""
    renderer: str = DriveConfig.renderer
    """row of RENDERERS that draws the camera"""
    width_px: int | None = None
    """camera width [px]; default: the one the driver was trained with"""
    height_px: int | None = None
    """camera height [px]; default: the one the driver was trained with"""

    def __post_init__(self) -> None:
        require(len(self.policy) > 0, "no policy is given; name at least one, for example --policy expert")
        require(self.episodes is None or self.episodes >= 1, f"episodes is {self.episodes}; give at least 1")
        require(self.seed >= 0, f"seed is {self.seed}; give 0 or more")
        require(1 <= self.workers <= 256, f"workers is {self.workers}; give 1 to 256")
        require(self.min_score is None or 0 <= self.min_score <= 100,
                f"min_score is {self.min_score}; give 0 to 100")
        require(self.renderer in RENDERERS, f"renderer is {self.renderer}; give one of {', '.join(RENDERERS)}")
        self.camera(CameraConfig())

    def camera(self, own: CameraConfig) -> CameraConfig:
        """A driver's own camera with the sizes that were asked for; ConfigError when one is out of range."""
        return dataclasses.replace(own, width_px=own.width_px if self.width_px is None else self.width_px,
                                   height_px=own.height_px if self.height_px is None else self.height_px)


@dataclass(frozen=True)
class Driver:
    """One policy that takes part: how to load it and with which eyes it drives."""

    name: str
    spec: str
    drive: DriveConfig
    sha256: str | None  # of a saved policy's weights
    is_baseline: bool = False


@dataclass(frozen=True)
class Job:
    """One episode to drive."""

    driver: Driver
    scenario: Scenario
    seed: int
    record: str
    folder: Path


def run(config: EvaluateConfig) -> dict[str, Any]:
    """Drive, print the tables, write results.json; returns the sums and whether `min_score` was reached.

    Raises PolicyError, ScenarioError, ConfigError for what cannot be driven, WorkerError when a process dies.
    """
    results = evaluate(config)
    path = config.out / RESULTS
    config.out.mkdir(parents=True, exist_ok=True)
    replace_file(path, json.dumps(results, indent=1, allow_nan=False).encode())
    show(results, wide_console())
    answer: dict[str, Any] = {"results": str(path), "suite": config.suite, "episodes": results["num_episodes"],
                              "duration_s": results["duration_s"], "policies": {
                                  row["name"]: row["summary"] for row in results["policies"]}}
    if config.min_score is not None:
        given = [row for row in results["policies"] if not row["is_baseline"]]
        answer["min_score"] = config.min_score
        answer["is_passed"] = all(row["summary"]["driving_score"]["mean"] >= config.min_score for row in given)
    return answer


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """The content of results.json."""
    started = time.monotonic()
    scenarios = spec.suite(config.suite, config.episodes or (20 if config.suite in spec.SUITES else None))
    chosen = choose_drivers(config)
    jobs = [Job(driver, scenario, episode_seed(config.seed, index), config.record, config.out / "recordings")
            for driver in chosen for index, scenario in enumerate(scenarios)]
    rows = drive_all(jobs, config.workers)
    by_driver = [rows[k * len(scenarios):(k + 1) * len(scenarios)] for k in range(len(chosen))]
    return {
        "schema": SCHEMA_VERSION, "suite": config.suite, "num_episodes": len(scenarios), "seed": config.seed,
        "config": json.loads(json.dumps(dataclasses.asdict(config), default=str)),
        "versions": provenance.versions(), "machine": provenance.machine(),
        "duration_s": round(time.monotonic() - started, 1),
        "policies": [{"name": driver.name, "spec": driver.spec, "is_baseline": driver.is_baseline,
                      "sha256": driver.sha256, "camera": dataclasses.asdict(driver.drive.camera),
                      "renderer": driver.drive.renderer, "summary": summarise(episodes, config.seed),
                      "episodes": episodes} for driver, episodes in zip(chosen, by_driver, strict=True)]}


def episode_seed(seed: int, index: int) -> int:
    """The seed of a suite's `index`-th episode: depends on these two numbers alone."""
    return int(np.random.SeedSequence((seed, index)).generate_state(1)[0] >> 1)


def choose_drivers(config: EvaluateConfig) -> tuple[Driver, ...]:
    """The given drivers, each with its clone if one lies beside it, then random and expert.

    All are loaded once: PolicyError for one that cannot be had.
    """
    drivers: list[Driver] = []
    for given in config.policy:
        drivers.append(_driver(given, config, is_baseline=False))
        folder = Path(drivers[-1].spec)
        clone = folder.parent / CLONE
        has_clone = folder.is_dir() and folder != clone and (clone / f"{policies.STEM}.json").is_file()
        if config.baselines and has_clone:
            drivers.append(_driver(str(clone), config, is_baseline=True))
    if config.baselines:
        drivers += [_driver(name, config, is_baseline=True) for name in BASELINES]
    drivers.sort(key=lambda driver: driver.is_baseline)  # given ones first, and they win over their likes below
    unique = {driver.spec: driver for driver in reversed(drivers)}
    drivers = [unique.pop(driver.spec) for driver in drivers if driver.spec in unique]
    names = [driver.name for driver in drivers]
    return tuple(driver if names.count(driver.name) == 1 else dataclasses.replace(driver, name=driver.spec)
                 for driver in drivers)


def _driver(given: str, config: EvaluateConfig, is_baseline: bool) -> Driver:
    """A run folder stands for the policy/ inside it. A saved policy brings its camera and its kind as name."""
    inner = Path(given) / policies.STEM
    found = str(inner) if (inner / f"{policies.STEM}.json").is_file() else given
    if not Path(found).is_dir():
        drive = DriveConfig(camera=config.camera(CameraConfig()), renderer=config.renderer)
        policy = load_policy(found, drive)
        if policy.privileged or found in BLIND:
            drive = dataclasses.replace(drive, renderer="none")
        return Driver(found, found, drive, None, is_baseline)
    _, meta = policies.load_actor(found)
    drive = DriveConfig(camera=config.camera(CameraConfig(**meta["camera"])), renderer=config.renderer,
                        control_dt_s=float(meta["control_dt_s"]))
    policies.load_actor(found, drive)
    return Driver(str(meta["kind"]), found, drive, provenance.file_sha256(Path(found) / f"{policies.STEM}.safetensors"),
                  is_baseline)


def run_episode(env: DrivingEnv, policy: Policy, scenario: Scenario, seed: int,
                recorder: Recorder | None = None) -> EpisodeScore:
    """Drive one scenario to its end. Raises ActionError when the policy's action cannot be executed."""
    observation, info = env.reset(seed=seed, options={"scenario": scenario})
    policy.reset()
    if recorder:
        recorder.begin(env.state, observation)
    is_over = False
    while not is_over:
        action = policy.act(observation, env.state if policy.privileged else None)
        observation, _, terminated, truncated, info = env.step(action)
        if recorder:
            recorder.add(env.state, observation, percept_of(policy))
        is_over = terminated or truncated
    return info["score"]


def percept_of(policy: Policy) -> dict[str, Array] | None:
    """What a perceiving policy saw at its last `act`: arrays of Percept without batch axis and embedding."""
    percept = getattr(getattr(policy, "features", policy), "percept", None)
    if percept is None:
        return None
    return {field.name: np.array(getattr(percept, field.name)[0]) for field in dataclasses.fields(percept)
            if field.name not in ("embedding", "around")}


class Recorder:
    """Gathers one episode into a Recording: every instant's state, what was perceived, and a hash of all frames."""

    def begin(self, state: WorldState, observation: dict[str, Any]) -> None:
        """Take the first instant."""
        self._states, self._percepts = [state], list[dict[str, Array]]()
        self._frames = hashlib.sha256(np.ascontiguousarray(observation["camera"]).tobytes())

    def add(self, state: WorldState, observation: dict[str, Any], percept: dict[str, Array] | None) -> None:
        """Take one step: the state and frame it led to, and what the driver had perceived before it."""
        self._states.append(state)
        self._frames.update(np.ascontiguousarray(observation["camera"]).tobytes())
        if percept is not None:
            self._percepts.append(percept)

    def finish(self, job: Job, score: EpisodeScore) -> recording.Recording:
        """The whole episode."""
        arrays = arrays_of(self._states)
        for name in self._percepts[0] if self._percepts else ():
            arrays[f"percept_{name}"] = np.stack([percept[name] for percept in self._percepts])
        header = {
            "version": recording.RECORDING_VERSION, "scenario": job.scenario.model_dump(mode="json"), "seed": job.seed,
            "config": dataclasses.asdict(job.driver.drive), "policy": job.driver.name,
            "score": dataclasses.asdict(score), "state_sha256": recording.state_digest(arrays),
            "frame_sha256": None if job.driver.drive.renderer == "none" else self._frames.hexdigest()}
        return recording.Recording(json.loads(json.dumps(header)), arrays)


class Seat:
    """What one worker process keeps between episodes: the environment and the policy of the driver it had last."""

    def __init__(self) -> None:
        self._driver: Driver | None = None
        self._env: DrivingEnv

    def drive(self, job: Job) -> dict[str, Any]:
        """Drive a job; the row of results.json. Nothing of earlier episodes changes it."""
        if self._driver != job.driver:
            if self._driver is not None:
                self._env.close()
            self._env = DrivingEnv(job.driver.drive, ends="evaluation")
            self._policy, self._driver = load_policy(job.driver.spec, job.driver.drive), job.driver
        started = time.monotonic()
        recorder = None if job.record == "none" else Recorder()
        score = run_episode(self._env, self._policy, job.scenario, job.seed, recorder)
        row = {"scenario": job.scenario.name, "town_seed": job.scenario.town_seed, "seed": job.seed,
               "digest": spec.digest(job.scenario), **dataclasses.asdict(score),
               "num_clipped": self._env.num_clipped, "recording": None}
        if recorder and (job.record == "all" or not score.is_success):
            name = f"{job.driver.name.replace('/', '_').replace(':', '_')}-{job.scenario.name}.npz"
            recording.write(job.folder / name, recorder.finish(job, score))
            row["recording"] = f"{job.folder.name}/{name}"
        return {**row, "wall_s": round(time.monotonic() - started, 2)}


_seats: list[Seat] = []  # the one of this worker process


def _take_seat() -> None:
    """Begin a worker's life: Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _seats.append(Seat())


def _drive(job: Job) -> dict[str, Any]:
    return _seats[0].drive(job)


def drive_all(jobs: Sequence[Job], workers: int) -> list[dict[str, Any]]:
    """The rows of all jobs in their order, driven by up to `workers` processes, with a progress bar on stderr.

    Raises WorkerError when a process dies; an interrupt stops all of them.
    """
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("episodes"),
                   TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True))
    context = process_context()
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, _take_seat)
    try:
        with bar, one_thread_each():
            task = bar.add_task("evaluate", total=len(jobs))
            futures = {pool.submit(_drive, job): k for k, job in enumerate(jobs)}
            for future in as_completed(futures):
                bar.update(task, advance=1, description=_result(future, jobs[futures[future]])["scenario"])
            return [future.result() for future in futures]
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _result(future: Future[dict[str, Any]], job: Job) -> dict[str, Any]:
    try:
        return future.result()
    except BrokenProcessPool:
        raise WorkerError(f"a worker process died, at the latest while '{job.driver.name}' drove {job.scenario.name}; "
                          "free some memory or use fewer --workers") from None
