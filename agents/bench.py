"""`nanodrive bench`: how long each stage takes on this machine, the memory of a car, rollouts by number of cars.

Every stage is timed, in one process, on what the stage before it really made: a town, its world driven by the expert,
frames of the states met on the way, labels and percepts of those frames. Ratios to PyBullet's camera and to an older
run come from the same figures. No score, no training: a run's curve.json has the wall time of each PPO update.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from agents import provenance
from agents.expert import Expert
from agents.summary import wide_console
from envs.config import CameraConfig, ConfigError, DriveConfig, require
from envs.driving_env import DrivingEnv
from envs.geometry import Array
from envs.labels import label
from envs.render.camera import RENDERERS, Frame, Renderer, pose_of
from envs.render.scene import build_scene
from envs.roads.procedural import build_network, build_town
from envs.roads.routes import navigation
from envs.state import Control, WorldState
from envs.world import World
from scenarios.spec import SPLITS, Scenario, split_scenario

BATCH = 8  # frames the perception network sees at once
SMALL = (96, 96)  # a second size [px], for comparison with others' figures
STEP_ACTIONS = 600  # a minute of driving
ROLLOUT_STEPS = 4_000  # of all cars together, in which restarts take their usual share
MEMORY_ENVS = 8  # environments beside a first one whose memory is measured
BUDGET_MS = {"World.reset, new town": 60.0, "World.step (0.1 s)": 0.4, "frame, raster": 0.4,
             f"frame {SMALL[0]} x {SMALL[1]}, raster": 1 / 6, f"perceive, batch {BATCH}, per frame": 0.8,
             "DrivingEnv.step, raster": 1.0, "DrivingEnv.step, busy, raster": 1.25}  # one core of two


@dataclass(frozen=True)
class BenchConfig:
    """Settings of `nanodrive bench`."""

    calls: int = 100
    """timed calls of each stage, 3 to 100000; the first one is left out"""
    threads: int = 1
    """processor threads of the perception network"""
    camera: CameraConfig = field(default_factory=CameraConfig)
    """the camera whose frames are drawn and seen"""
    weights: Path | None = None
    """perception checkpoint without its ending; default: the shipped one"""
    max_cars: int = 64
    """rollouts are timed with 1, 2, 4 ... cars up to this many, at most 256; 0: not at all"""
    workers: int = 2
    """processes that drive in the rollouts"""
    compare: Path | None = None
    """an older bench's JSON (its last line, or --out): print ratios to it"""
    out: Path | None = None
    """also write the result to this JSON file"""

    def __post_init__(self) -> None:
        require(3 <= self.calls <= 100_000, f"calls is {self.calls}; give 3 to 100000")
        require(1 <= self.threads <= 256, f"threads is {self.threads}; give 1 to 256")
        require(0 <= self.max_cars <= 256, f"max_cars is {self.max_cars}; give 0 to 256")
        require(0 <= self.workers <= 64, f"workers is {self.workers}; give 0 to 64")


@dataclass(frozen=True)
class Timing:
    """One stage: medians and spread of a unit of its work [ms], and the process's peak memory after it [MiB].

    `cpu_ms` is the median of processor time, all threads together: on a busy machine it stays, and the others grow.
    """

    median_ms: float
    cpu_ms: float
    p10_ms: float
    p90_ms: float
    calls: int
    peak_memory_mib: float


def run(config: BenchConfig) -> dict[str, Any]:
    """Time all stages, print a table; returns the figures and the machine. ConfigError when `compare` is no result."""
    os.environ["OMP_NUM_THREADS"] = str(config.threads)  # read by torch when it is first imported, below
    started, load = time.monotonic(), os.getloadavg()[0]
    old = _older(config.compare) if config.compare else {}
    stages: dict[str, Timing] = {}
    with Console(stderr=True).status("timing stages") as status:
        for name, timing in _stages(config):
            stages[name] = timing
            status.update(f"{name}: {timing.median_ms:.3f} ms")
        memory_mib = _memory_of_a_car(config)
        rollouts: dict[int, float] = {}
        for cars in (2**k for k in range(9) if 2**k <= config.max_cars):
            status.update(f"rollouts with {cars} cars")
            rollouts[cars] = _rollout_speed(config, cars)
    result = {"stages": {name: vars(timing) for name, timing in stages.items()},
              "ratio_to_tinyrenderer": stages["frame, bullet"].median_ms / stages["frame, raster"].median_ms,
              "memory_per_environment_mib": memory_mib,
              "rollout_steps_per_s": {str(cars): speed for cars, speed in rollouts.items()},
              "machine": provenance.machine(), "load_before": round(load, 2), "versions": provenance.versions(),
              "threads": config.threads, "workers": config.workers,
              "camera_px": [config.camera.width_px, config.camera.height_px],
              "duration_s": round(time.monotonic() - started, 1)}
    if old:
        result["speedup"] = {name: old[name] / timing.median_ms for name, timing in stages.items() if name in old}
    _print(result)
    if config.out:
        from perception.checkpoint import replace_file

        replace_file(config.out, json.dumps(result).encode())
    return result


def _older(path: Path) -> dict[str, float]:
    """Median by stage of an older result, from a JSON file or a log that ends with one."""
    try:
        lines = path.read_text(encoding="utf-8").strip().splitlines()
        return {name: float(timing["median_ms"]) for name, timing in json.loads(lines[-1])["stages"].items()}
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ConfigError(f"{path} is no result of nanodrive bench; give its --out file, or a log whose last line is "
                          "its JSON") from error


def _print(result: dict[str, Any]) -> None:
    """The tables for people."""
    console, speedup = wide_console(), result.get("speedup", {})
    table = Table("stage", "median ms", "10 % .. 90 %", "per second", "of budget", "CPU ms",
                  title=f"one process, time of a call; load before it {result['load_before']:.1f}")
    if speedup:
        table.add_column("times faster")
    for name, timing in result["stages"].items():
        median = timing["median_ms"]
        share = f"{100 * median / BUDGET_MS[name]:.0f} %" if name in BUDGET_MS else ""
        table.add_row(name, f"{median:.3f}", f"{timing['p10_ms']:.3f} .. {timing['p90_ms']:.3f}",
                      f"{1000 / median:,.0f}", share, f"{timing['cpu_ms']:.3f}",
                      *([f"{speedup[name]:.2f}" if name in speedup else "new"] if speedup else []))
    console.print(table)
    console.print(f"one frame: {result['ratio_to_tinyrenderer']:.0f} times faster than PyBullet's TinyRenderer; memory "
                  f"per further environment: {result['memory_per_environment_mib']:.1f} MiB")
    if result["rollout_steps_per_s"]:
        rates = Table("cars", *result["rollout_steps_per_s"], title=f"rollouts, {result['workers']} processes")
        rates.add_row("steps/s", *(f"{speed:,.0f}" for speed in result["rollout_steps_per_s"].values()))
        console.print(rates)


def measure(work: Callable[[], Any], calls: int, units: int = 1) -> Timing:
    """Time `calls` calls of `work` after an untimed one; figures are per unit of `units` in a call."""
    work()
    wall, cpu = np.empty(calls), np.empty(calls)
    for k in range(calls):
        begun, cpu_begun = time.perf_counter(), time.process_time()
        work()
        wall[k], cpu[k] = time.perf_counter() - begun, time.process_time() - cpu_begun
    low, middle, high = np.percentile(1000 * wall / units, [10, 50, 90])
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Timing(float(middle), float(np.median(1000 * cpu / units)), float(low), float(high), calls, peak_kib / 1024)


def _stages(config: BenchConfig) -> Iterator[tuple[str, Timing]]:
    """(name, timing) of each stage, in the order of the data's way."""
    scenario = busy_scenario()
    seeds = iter(SPLITS["val"])
    few = min(config.calls, 100)
    yield "road network", measure(lambda: build_network(next(seeds)), few)
    yield "town", measure(lambda: build_town(next(seeds)), few)
    drive = DriveConfig(camera=config.camera, renderer="none")
    world = World(drive)
    yield "World.reset, known town", measure(lambda: world.reset(scenario, np.random.default_rng(0)), config.calls)
    towns = (split_scenario("train", k) for k in range(len(SPLITS["train"])))
    yield "World.reset, new town", measure(lambda: world.reset(next(towns), np.random.default_rng(0)), few)
    world.reset(scenario, np.random.default_rng(0))
    yield "World.step (0.1 s)", measure(lambda: world.step(Control(0.0, 0.2)), config.calls)
    world.close()
    states = _drive(drive, scenario, config.calls)
    frames = []
    for name in (row for row in RENDERERS if row != "none"):
        for camera, title in [(dataclasses.replace(config.camera, width_px=SMALL[0], height_px=SMALL[1]),
                               f"frame {SMALL[0]} x {SMALL[1]}, {name}"), (config.camera, f"frame, {name}")]:
            renderer = RENDERERS[name](camera)
            yield title, measure(_each(states, partial(_shoot, camera, renderer)), config.calls)
            frames = [_shoot(camera, renderer, state) for state in states[:BATCH]]
            renderer.close()
    pairs = list(zip(states, frames, strict=False))
    yield "label", measure(_each(pairs, partial(_label, config)), config.calls)
    yield from _perceiving(config, np.stack([frame.rgb for frame in frames]))
    for name in RENDERERS:
        drive = DriveConfig(camera=config.camera, renderer=name)
        yield f"DrivingEnv.step, {name}", _env_step(drive, split_scenario("val", 0), config.calls)
        if name != "bullet":  # its frames take all the time there is, busy or not
            yield f"DrivingEnv.step, busy, {name}", _env_step(drive, scenario, config.calls)


def busy_scenario() -> Scenario:
    """A val town with 20 vehicles, 3 cyclists and 10 people on the move, lights, and a fair day."""
    return split_scenario("val-busy", 0).model_copy(update={"weather": "clear"})


def _each(items: list[Any], work: Callable[[Any], Any]) -> Callable[[], Any]:
    """A call that works on the next item, round and round."""
    position = iter(range(10**9))
    return lambda: work(items[next(position) % len(items)])


def _shoot(camera: CameraConfig, renderer: Renderer, state: WorldState) -> Frame:
    return renderer.render(build_scene(state), pose_of(camera, state.ego))


def _label(config: BenchConfig, pair: tuple[WorldState, Frame]) -> Any:
    state, frame = pair
    return label(state, config.camera, pose_of(config.camera, state.ego), frame)


def _drive(drive: DriveConfig, scenario: Scenario, most: int) -> list[WorldState]:
    """States of an expert's drive, at least BATCH and at most so many."""
    env, expert, states = DrivingEnv(drive, split="val", ends="evaluation"), Expert(), []
    env.reset(seed=0, options={"scenario": scenario})
    for _ in range(max(most, BATCH)):
        env.advance(expert.act(None, env.state))
        states.append(env.state)
        if env.facts.is_at_goal:
            break
    env.close()
    return states


def _perceiving(config: BenchConfig, batch: Array) -> Iterator[tuple[str, Timing]]:
    """The network on one frame and on a batch, per frame."""
    from perception.perceiver import Perceiver

    perceiver = Perceiver.load(config.weights, config.camera)
    command = np.tile(navigation(), (len(batch), 1))
    calls = min(config.calls, 200)
    yield "perceive, batch 1, per frame", measure(lambda: perceiver.perceive(batch[:1], command[:1]), calls)
    yield f"perceive, batch {len(batch)}, per frame", measure(lambda: perceiver.perceive(batch, command), calls,
                                                              units=len(batch))


def _env_step(drive: DriveConfig, scenario: Scenario, calls: int) -> Timing:
    """Steps of the environment over the expert's actions, found beforehand; when they are at an end it begins again."""
    env = DrivingEnv(drive, scenarios=[scenario], ends="evaluation")
    actions = [(state.control.steer, state.control.drive) for state in _drive(
        dataclasses.replace(drive, renderer="none"), scenario, min(calls + 1, STEP_ACTIONS))]
    left: list[tuple[float, float]] = []

    def step() -> None:
        if not left:
            env.reset(seed=0)
            left.extend(reversed(actions))
        env.step(np.array(left.pop()))

    timing = measure(step, calls)
    env.close()
    return timing


def _memory_of_a_car(config: BenchConfig) -> float:
    """Resident memory [MiB] that each further environment with the fast camera costs, towns of their own included."""
    envs = []
    for index in range(MEMORY_ENVS + 1):
        envs.append(DrivingEnv(DriveConfig(camera=config.camera), split="train"))
        envs[-1].reset(seed=0, options={"scenario": split_scenario("train", index)})
        if index == 0:
            before = _resident_mib()
    grown = (_resident_mib() - before) / MEMORY_ENVS
    for env in envs:
        env.close()
    return grown


def _resident_mib() -> float:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:  # not Linux: the peak is the nearest there is
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _rollout_speed(config: BenchConfig, cars: int) -> float:
    """Camera steps a second of so many cars in worker processes, with perception, new towns and the expert's labels."""
    from agents import rollouts
    from agents.fleet import LABEL

    venv = rollouts.make(DriveConfig(camera=config.camera), cars, "train", 0, min(config.workers, cars), True)
    rounds = max(min(20 * config.calls, ROLLOUT_STEPS) // cars, 3)
    venv.reset()
    infos = venv.reset_infos
    for k in range(rounds + 1):
        if k == 1:
            begun = time.perf_counter()
        infos = venv.advance(np.stack([info[LABEL] for info in infos]))[3]
    speed = rounds * cars / (time.perf_counter() - begun)
    venv.close()
    return speed
