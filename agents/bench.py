"""`nanodrive bench`: how long each stage takes on this machine, one process, medians over many calls.

Every stage is timed on what the stage before it really made: a town, its world driven by the expert, frames of the
states met on the way, labels and percepts of those frames. No score, no training.
"""

from __future__ import annotations

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
from envs.config import CameraConfig, DriveConfig, require
from envs.driving_env import DrivingEnv
from envs.geometry import Array
from envs.labels import label
from envs.render.camera import RENDERERS, Frame, Renderer, pose_of
from envs.render.scene import build_scene
from envs.roads.procedural import build_network, build_town
from envs.state import Control, WorldState
from envs.world import World
from scenarios.spec import SPLITS, split_scenario

BATCH = 8  # frames the perception network sees at once


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

    def __post_init__(self) -> None:
        require(3 <= self.calls <= 100_000, f"calls is {self.calls}; give 3 to 100000")
        require(1 <= self.threads <= 256, f"threads is {self.threads}; give 1 to 256")


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
    """Time all stages, print a table; returns the figures and the machine."""
    os.environ["OMP_NUM_THREADS"] = str(config.threads)  # read by torch when it is first imported, below
    started, load = time.monotonic(), os.getloadavg()[0]
    stages: dict[str, Timing] = {}
    with Console(stderr=True).status("timing stages") as status:
        for name, timing in _stages(config):
            stages[name] = timing
            status.update(f"{name}: {timing.median_ms:.3f} ms")
    table = Table("stage", "median ms", "10 % .. 90 %", "CPU ms", "calls", "peak MiB",
                  title=f"one process, time of a call; load before it {load:.1f}")
    for name, timing in stages.items():
        table.add_row(name, f"{timing.median_ms:.3f}", f"{timing.p10_ms:.3f} .. {timing.p90_ms:.3f}",
                      f"{timing.cpu_ms:.3f}", str(timing.calls), f"{timing.peak_memory_mib:.0f}")
    Console().print(table)
    return {"stages": {name: vars(timing) for name, timing in stages.items()}, "machine": provenance.machine(),
            "load_before": round(load, 2), "versions": provenance.versions(), "threads": config.threads,
            "camera_px": [config.camera.width_px, config.camera.height_px],
            "duration_s": round(time.monotonic() - started, 1)}


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
    scenario = split_scenario("val", 0)
    seeds = iter(SPLITS["val"])
    yield "road network", measure(lambda: build_network(next(seeds)), min(config.calls, 100))
    yield "town", measure(lambda: build_town(next(seeds)), min(config.calls, 100))
    drive = DriveConfig(camera=config.camera, renderer="none")
    world = World(drive)
    yield "World.reset, known town", measure(lambda: world.reset(scenario, np.random.default_rng(0)), config.calls)
    yield "World.step (0.1 s)", measure(lambda: world.step(Control(0.0, 0.2)), config.calls)
    world.close()
    states = _drive(drive, scenario_states=config.calls)
    frames = []
    for name in (row for row in RENDERERS if row != "none"):
        renderer = RENDERERS[name](config.camera)
        yield f"frame, {name}", measure(_each(states, partial(_shoot, config, renderer)), config.calls)
        frames = [_shoot(config, renderer, state) for state in states[:BATCH]]
        renderer.close()
    pairs = list(zip(states, frames, strict=False))
    yield "label", measure(_each(pairs, partial(_label, config)), config.calls)
    yield from _perceiving(config, np.stack([frame.rgb for frame in frames]))
    for name in RENDERERS:
        yield f"DrivingEnv.step, {name}", _env_step(DriveConfig(camera=config.camera, renderer=name), config.calls)


def _each(items: list[Any], work: Callable[[Any], Any]) -> Callable[[], Any]:
    """A call that works on the next item, round and round."""
    position = iter(range(10**9))
    return lambda: work(items[next(position) % len(items)])


def _shoot(config: BenchConfig, renderer: Renderer, state: WorldState) -> Frame:
    return renderer.render(build_scene(state), pose_of(config.camera, state.ego))


def _label(config: BenchConfig, pair: tuple[WorldState, Frame]) -> Any:
    state, frame = pair
    return label(state, config.camera, pose_of(config.camera, state.ego), frame)


def _drive(drive: DriveConfig, scenario_states: int) -> list[WorldState]:
    """States of an expert's drive, at least BATCH and at most so many."""
    env, expert, states = DrivingEnv(drive, split="val", ends="evaluation"), Expert(), []
    env.reset(seed=0, options={"scenario": split_scenario("val", 0)})
    for _ in range(max(scenario_states, BATCH)):
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
    command = np.tile(np.array([1, 0, 0, 0, 60], np.float32), (len(batch), 1))
    calls = min(config.calls, 200)
    yield "perceive, batch 1, per frame", measure(lambda: perceiver.perceive(batch[:1], command[:1]), calls)
    yield f"perceive, batch {len(batch)}, per frame", measure(lambda: perceiver.perceive(batch, command), calls,
                                                              units=len(batch))


def _env_step(drive: DriveConfig, calls: int) -> Timing:
    """Steps of the environment under the expert; an ended episode begins again untimed by the median."""
    env, expert = DrivingEnv(drive, split="val", ends="evaluation"), Expert()
    env.reset(seed=0)

    def step() -> None:
        _, _, terminated, truncated, _ = env.step(expert.act(None, env.state))
        if terminated or truncated:
            env.reset()

    timing = measure(step, calls)
    env.close()
    return timing
