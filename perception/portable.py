"""`nanodrive perceive --export FILE.onnx`: the trained network as a file for other programs, and what 8 bits cost.

What goes in, what comes out, the camera, the kinds of things and the units stand in its metadata as JSON. The file is
read back and must give torch's numbers within PARITY. With `--data` every backend is measured on val frames: figures,
time, bytes.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from envs.config import CameraConfig, ConfigError, require
from envs.geometry import Array
from envs.labels import PATH_STATIONS_M, STOP_MAX_M
from envs.roads.network import Command
from envs.roads.routes import navigation
from envs.state import Phase
from perception import dataset, metrics
from perception.checkpoint import plain, replace_file
from perception.export import OnnxNet, inputs_of, session
from perception.finder import BAND_BOTTOM, BAND_TOP, KINDS
from perception.model import (
    BAND_HEIGHT_PX,
    BAND_WIDTH_PX,
    GLANCE_HEIGHT_PX,
    GLANCE_WIDTH_PX,
    frozen,
)
from perception.perceiver import BACKENDS, WEIGHTS, Perceiver, load_network
from perception.quantise import QuantisedNet
from perception.robustness import evenly

PARITY = 1e-4
TABLE_WIDTH = 110  # where there is no terminal
TIMED_LOOKS, TIMED_BATCH = 40, 8


@dataclass(frozen=True)
class ExportConfig:
    """Settings of `nanodrive perceive --export`."""

    file: Positional[Path]
    """the .onnx file to write"""
    weights: Path | None = None
    """checkpoint without its ending; default: the shipped one"""
    int8: bool = False
    """write convolutions of 8 bits, calibrated on frames of train towns"""
    data: Path | None = None
    """folder of `nanodrive generate`: measure every backend on its val frames"""
    frames: int = 500
    """val frames to measure on, at most"""

    def __post_init__(self) -> None:
        require(self.file.suffix == ".onnx", f"file is {self.file}; give a name that ends in .onnx")
        require(1 <= self.frames <= 12_500, f"frames is {self.frames}; give 1 to 12500")


def run(config: ExportConfig) -> dict[str, Any]:
    """Write the file, check it against torch, and measure the backends if asked; returns what was found.

    Raises CheckpointError for weights and DatasetError for frames that cannot be used, ConfigError when an exported
    network does not compute what torch does.
    """
    source = config.weights or WEIGHTS
    model, camera = load_network(source)
    net = QuantisedNet(model) if config.int8 else OnnxNet(model)
    config.file.parent.mkdir(parents=True, exist_ok=True)
    replace_file(config.file, with_metadata(net.graph, metadata(camera)))
    difference = parity(config.file, source)
    print(f"largest difference from torch: {difference:.1e} ({'8 bits' if config.int8 else f'at most {PARITY:.0e}'})")
    if not config.int8 and not difference <= PARITY:
        raise ConfigError(f"{config.file} differs from torch by {difference:.1e}, more than {PARITY:.0e}; "
                          "do not use it")
    result: dict[str, Any] = {"file": str(config.file), "bytes": config.file.stat().st_size, "parity": difference,
                              "is_int8": config.int8}
    if config.data is not None:
        result["backends"] = compared(config.data, source, config.frames)
        console = Console()
        (console if console.is_terminal else Console(width=TABLE_WIDTH)).print(table(result["backends"]))
    return result


def metadata(camera: CameraConfig) -> dict[str, Any]:
    """What a program needs to use the files: preprocessing, camera, classes and units."""
    return {
        "camera": asdict(camera), "path_stations_m": list(PATH_STATIONS_M), "kinds": list(KINDS),
        "phases": [phase.name.lower() for phase in Phase],
        "inputs": {"glance": f"uint8 (N, {GLANCE_HEIGHT_PX}, {GLANCE_WIDTH_PX}, 3) RGB, area mean of the frame",
                   "band": f"uint8 (N, {BAND_HEIGHT_PX}, {BAND_WIDTH_PX}, 3) RGB, the frame from {BAND_TOP} to "
                           f"{BAND_BOTTOM} of its height",
                   "command": "(N, 10) one-hot of follow, left, right, straight; metres to the manoeuvre's begin, 0 to "
                              "60, and end, 0 to 120; rad that the way turns till then, left positive; next lane "
                              "change, 1 left, -1 right, 0 none; metres to its begin and end, likewise"},
        "outputs": {"path": "x ahead, y left of the rear axle [m]", "path_log_error": "log of the lateral error [m]",
                    "boundary": "share of the width", "boundary_logit": "presence",
                    "boundary_log_spread": "log of the standard deviation of its place, share of the width",
                    "lead": "log of metres by column", "lead_log_error": "log of its error",
                    "stop": f"share of {STOP_MAX_M} m from the front bumper",
                    "stop_logits": "no line, stop line, yield line", "embedding": "in [-1, 1]",
                    "box": "left, top, right, bottom as shares of the frame, by kind, strongest first",
                    "peak": "how surely each is there, 0 to 1", "distance_m": "of each [m]",
                    "light_phases": "logits of what each light shows",
                    "light_is_mine": "share of the attention for the own light that lies on each light",
                    "lanes": "share of the width, by line and row", "lanes_logit": "presence",
                    "lanes_log_spread": "as boundary_log_spread",
                    "marking_logits": "kind of marking, by line", "drivable_logit": "road, by cell of 40 x 80",
                    "light_share": "of each phase, for the own light", "light_none": "that there is none",
                    "light": "(metres to its line - 30) / 10"},
        "frame": "ISO 8855: x forward, y left, z up, origin on the ground under the rear axle"}


def with_metadata(graph: bytes, about: dict[str, Any]) -> bytes:
    """An ONNX model with `about` in its metadata: a JSON text for each key."""
    model = onnx.load_model(io.BytesIO(graph))
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in about.items()})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def parity(file: Path, source: Path) -> float:
    """Largest difference of any output of the file from torch, on random frames; relative where values exceed 1."""
    model = frozen(load_network(source)[0])
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (4, 10, 20, 3), np.uint8)
    image = coarse.repeat(16, 1).repeat(16, 2)
    command = np.stack([navigation(*said) for said in zip(Command, (0, 20, 40, 60), strict=True)])
    with torch.inference_mode():
        heads = model(torch.from_numpy(image), torch.from_numpy(command))
    run = session(file.read_bytes())
    names = [output.name for output in run.get_outputs()]
    found = dict(zip(names, run.run(names, inputs_of(image, command)), strict=True))
    return max(_difference(*pair) for pair in comparable({name: heads[name].numpy() for name in names}, found))


def comparable(ours: dict[str, Array], theirs: dict[str, Array]) -> Iterator[tuple[Array, Array]]:
    """Pairs of outputs by both; of things found only those whose rank is settled, since equal peaks may change places.
    """
    peak = ours["peak"]
    fall = np.pad(peak[:, :, :-1] - peak[:, :, 1:], ((0, 0), (0, 0), (1, 1)), constant_values=1.0)
    settled = (fall[:, :, :-1] > PARITY) & (fall[:, :, 1:] > PARITY) & (peak > PARITY)
    for name, value in ours.items():
        if name in ("box", "distance_m"):
            yield value[settled], theirs[name][settled]
        elif name == "light_phases":
            of_light = settled[:, KINDS.index("light")]
            yield value[of_light], theirs[name][of_light]
        else:
            yield value, theirs[name]


def _difference(a: Array, b: Array) -> float:
    return float((np.abs(a - b) / np.maximum(np.abs(a), 1.0)).max(initial=0.0))


def compared(data: Path, source: Path, frames: int) -> dict[str, dict[str, float | None]]:
    """By backend: every figure on val frames, milliseconds a frame in batches of 8 on one thread, seconds to load."""
    val = evenly(dataset.read_usual(data, "val"), frames)
    threads, rows = torch.get_num_threads(), {}
    torch.set_num_threads(1)
    try:
        for name in BACKENDS:
            started = time.perf_counter()
            perceiver = Perceiver.load(source, val.camera, name)
            load_s = time.perf_counter() - started
            percept = perceiver.perceive_all(val.rgb, val.labels["command"])
            figures = metrics.measure(percept, val.labels, val.camera.width_px)
            rows[name] = {"ms_per_frame": _timed(perceiver, val), "load_s": load_s} | figures
    finally:
        torch.set_num_threads(threads)
    return plain(rows)


def _timed(perceiver: Perceiver, val: dataset.Frames) -> float:
    """Median milliseconds a frame."""
    times = []
    for _ in range(TIMED_LOOKS):
        started = time.perf_counter()
        perceiver.perceive(val.rgb[:TIMED_BATCH], val.labels["command"][:TIMED_BATCH])
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1e3 / len(val.rgb[:TIMED_BATCH])


def table(backends: dict[str, dict[str, float | None]]) -> Table:
    """Figures by backend, side by side."""
    shown = Table("", *backends, title="the backends on val frames, one thread")
    for name in next(iter(backends.values())):
        shown.add_row(name, *("-" if row[name] is None else f"{row[name]:.3f}" for row in backends.values()))
    return shown
