"""`nanodrive perceive --train`: from shards of labelled frames to a checkpoint of the camera network.

AdamW with a one-cycle rate, an exponential mean of the weights, early stopping on val towns; every epoch ends in a row
of the live table, in TensorBoard, and in a checkpoint from which an interrupted run goes on, bit for bit. Makes no
frames and draws no overlays.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.live import Live
from rich.table import Table
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from envs.config import require, require_within
from envs.geometry import Array
from perception import checkpoint, dataset, metrics, surroundings
from perception.attacks import against
from perception.calibration import fitted
from perception.claims import claims_of
from perception.dataset import Frames, Look
from perception.glimpse import Glimpse
from perception.learner import Learner
from perception.looks import disturbed
from perception.model import DriveNet, ModelConfig, band_of, describe, glance_of
from perception.namer import Namer
from perception.perceiver import READER, Perceiver, Percept, calibrated
from perception.show import overlay
from perception.tasks import TASKS

SHOWN = {"path_lateral_m": "path m", "boundary_f1": "lane F1", "lead_abs_rel": "lead rel", "stop_f1": "stop F1",
         "stop_mae_m": "stop m", "sign_ap50": "sign AP50", "sign_read_0_10m": "read <10m",
         "lanes_f1": "lanes F1", "drivable_iou": "road IoU", "my_light_right": "my light"}
COLUMNS = ("epoch", "loss", *SHOWN.values(), "to perfect", "s")
PICTURED = 6  # val frames shown in TensorBoard
AVERAGE_DECAY = 0.995  # of the exponential mean of the weights, per step


@dataclass(frozen=True)
class TrainConfig:
    """Settings of `nanodrive perceive --train`."""

    data: Path = Path("data/perception")
    """folder made by `nanodrive generate`"""
    out: Path = Path("runs/perception")
    """folder of two checkpoints (perception: of the best epoch, last: of the last), the state and TensorBoard's log"""
    start: Path | None = None
    """checkpoint to start from, without its ending, as after a round of mining; default: weights by chance"""
    epochs: int = 13
    """passes over the train frames"""
    batch: int = 64
    """frames a step"""
    rate: float = 3e-3
    """highest learning rate"""
    weight_decay: float = 0.02
    """of AdamW"""
    patience: int = 10
    """stop after this many epochs without a better val figure"""
    minutes: float = 120.0
    """start no epoch after this long [min]"""
    threads: int = 2
    """processor threads, each with a share of every batch; another number gives other weights"""
    seed: int = 0
    """of weights, order and augmentation"""
    looks: float = 0.35
    """how strongly the glances are disturbed (perception/looks.py), 0 to 1"""
    attacked: float = 0.0
    """share of every batch that an attack on the present weights has changed (perception/attacks.py), 0 to 1"""
    model: ModelConfig = field(default_factory=ModelConfig)
    """widths and heads of the network"""

    def __post_init__(self) -> None:
        require_within(self, [("epochs", 1, 10_000), ("batch", 2, 4096), ("rate", 1e-6, 1.0),
                               ("patience", 1, 10_000), ("weight_decay", 0.0, 1.0), ("looks", 0.0, 1.0),
                               ("attacked", 0.0, 1.0),
                               ("minutes", 0.0, 1e5), ("threads", 1, 256), ("seed", 0, 2**31)])
        require(self.batch >= 2 * self.threads, f"batch is {self.batch} for {self.threads} threads; give two frames to "
                "each thread at least")


def run(config: TrainConfig) -> dict[str, Any]:
    """Train, or go on with the run in `config.out`; returns the figures of the best epoch and the checkpoint's path.

    Raises DatasetError for frames and CheckpointError for a training state that cannot be used.
    """
    started = time.monotonic()
    if config.start is not None:
        checkpoint.load(config.start)  # if it is missing, that is told before the frames are read
    torch.set_num_threads(1)  # a share of the batch for each thread: 1.5 times faster than threads within a layer
    train, val = (dataset.read_usual(config.data, split) for split in ("train", "val"))
    floor = metrics.floor_of(train.labels, val.labels, val.camera.width_px)
    training = Training(config, train)
    table = _table(floor)
    with SummaryWriter(str(config.out / "tensorboard")) as log, Live(table, refresh_per_second=1) as live:
        while training.should_go_on() and time.monotonic() - started < config.minutes * 60:
            begun = time.monotonic()
            losses = training.epoch(train)
            perceiver = training.perceiver()
            figures = figures_of(perceiver.perceive_all(val.rgb, val.labels["command"]), val, floor)
            is_best = training.finish_epoch(figures, val, floor)
            row = _row(training.epoch_number, losses, figures, time.monotonic() - begun, is_best)
            table.add_row(*row)
            if not live.console.is_terminal:  # a log file shows no live table
                line = " ".join(f"{name} {value}" for name, value in zip(COLUMNS, row, strict=True))
                live.console.print(line, soft_wrap=True)
            table.caption = "losses: " + ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
            for group, values in (("loss", losses), ("val", figures)):
                for name, value in values.items():
                    log.add_scalar(f"{group}/{name}", value, training.epoch_number)
            log.add_image("val", picture(perceiver, val), training.epoch_number, dataformats="HWC")
    figures = finish(config.out / "perception", val, floor)
    return {"checkpoint": str(config.out / "perception"), "epochs": training.epoch_number,
            "best_epoch": training.best["epoch"], "figures": figures, "floor": checkpoint.plain(floor),
            "train_frames": len(train), "val_frames": len(val), "duration_s": round(time.monotonic() - started, 1)}


class Training(Learner[DriveNet]):
    """The state of a run, and what was best. On disk after every epoch."""

    def __init__(self, config: TrainConfig, train: Frames) -> None:
        self.config, self.camera = config, train.camera
        self.namer, self.glimpse = Namer.load(READER), Glimpse.load()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            model = DriveNet(config.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if config.start is not None:
            tensors, _ = checkpoint.load(config.start)
            checkpoint.restore(model, tensors, config.start)
        else:
            path = torch.from_numpy(train.labels["path_m"])
            model.path_mean.copy_(path.mean(0))
            model.path_std.copy_(path.std(0).clamp(min=0.05))
        super().__init__(model, config.epochs * (len(train) // config.batch), config.rate, config.weight_decay,
                         AVERAGE_DECAY)
        self.replicas = [copy.deepcopy(model) for _ in range(config.threads)]
        self.epoch_number = 0
        require(self.steps > 0, f"batch is {config.batch} for {len(train)} train frames; give a smaller batch")
        self.best: dict[str, Any] = {"epoch": 0, "figures": {"distance_to_perfect": 1e9}}
        self.train_frames = len(train)
        if meta := self.resume(config.out, "perception", self._settings()):
            self.epoch_number, self.best = meta["epoch"], meta["best"]

    def should_go_on(self) -> bool:
        """Whether epochs are left and the best one is not too long ago."""
        return (self.epoch_number < self.config.epochs
                and self.epoch_number - self.best["epoch"] < self.config.patience)

    def epoch(self, train: Frames) -> dict[str, float]:
        """One pass over the frames in a random order; returns each task's mean loss."""
        self.epoch_number += 1
        rng = np.random.default_rng([self.config.seed, self.epoch_number])
        totals: dict[str, float] = {}
        batches = list(_batches(rng.permutation(len(train)), self.config.batch))
        with ThreadPoolExecutor(self.config.threads, initializer=lambda: torch.set_num_threads(1)) as pool:
            for rows in batches:
                for name, value in self._learn(train, rows, rng, pool).items():
                    totals[name] = totals.get(name, 0.0) + value / len(batches)
        return totals

    def _learn(self, train: Frames, rows: Array, rng: np.random.Generator, pool: Executor) -> dict[str, float]:
        """One step on a batch, each replica of the network with a share of it; returns the losses."""
        shares = np.array_split(rows, len(self.replicas))
        work = [pool.submit(self._backward, replica, train, share, own_rng) for replica, share, own_rng in zip(
            self.replicas, shares, rng.spawn(len(shares)), strict=True)]
        losses = [done.result() for done in work]
        weights = [len(share) / len(rows) for share in shares]
        gathered(self.model, self.replicas, weights)
        self.take_step()
        return {task.name: sum(weight * part[task.name] for weight, part in zip(weights, losses, strict=True))
                for task in TASKS}

    def _backward(self, replica: DriveNet, train: Frames, rows: Array, rng: np.random.Generator) -> dict[str, float]:
        """Gradients of the losses on some frames, into a replica of the network as it is now; returns the losses."""
        replica.load_state_dict(self.model.state_dict())
        replica.train().zero_grad()
        targets = dataset.targets(train.labels, rows, train.camera)
        look = Look.draw(len(rows), rng)
        seen = np.stack([disturbed(frame, rng, self.config.looks) for frame in train.rgb[rows]])
        if few := round(self.config.attacked * len(rows)):
            seen[:few] = against(replica, seen[:few], dataset.targets(train.labels, rows[:few], train.camera), rng)
        outputs = replica.look(*varied(seen, look, rng), targets["command"])
        losses = {task.name: task.loss(outputs, targets) for task in TASKS}
        torch.stack([task.weight * losses[task.name] for task in TASKS]).sum().backward()
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def perceiver(self) -> Perceiver:
        """The mean weights to look with, beside the shipped second look: a driver gets both."""
        return Perceiver(copy.deepcopy(self.mean), self.camera, namer=self.namer, glimpse=self.glimpse)

    def finish_epoch(self, figures: dict[str, float], val: Frames, floor: dict[str, float]) -> bool:
        """Save the state and the weights, as "last" and, if they are the best so far, as "perception"; returns whether
        they are. At the end of a short run that went on from good weights, the last may be the better part of a mean.
        """
        is_best = figures["distance_to_perfect"] < self.best["figures"]["distance_to_perfect"]
        if is_best:
            self.best = {"epoch": self.epoch_number, "figures": checkpoint.plain(figures)}
        for name in ("last", "perception") if is_best else ("last",):
            checkpoint.save(self.config.out / name, self.mean.state_dict(), describe(self.mean) | {
                "kind": "perception", "camera": asdict(self.camera), "epoch": self.epoch_number,
                "train_frames": self.train_frames, "val_frames": len(val), "figures": checkpoint.plain(figures),
                "floor": checkpoint.plain(floor), "settings": self._settings()})
        self.save_state(epoch=self.epoch_number, best=self.best)
        return is_best

    def _settings(self) -> dict[str, Any]:
        """What makes two runs the same."""
        aside = ("data", "out", "start", "minutes", "patience")
        return {name: value for name, value in asdict(self.config).items() if name not in aside}


def varied(rgb: Array, look: Look, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Glance and band of frames (N, H, W, 3), varied alike."""
    glance, band = (look.applied(pixels, rng).contiguous(memory_format=torch.channels_last)
                    for pixels in (glance_of(torch.from_numpy(rgb)), band_of(torch.from_numpy(rgb))))
    return glance, band


def picture(perceiver: Perceiver, frames: Frames) -> Array:
    """What it sees on PICTURED frames, spread evenly, one below the other: uint8 (H, W, 3)."""
    rows = np.linspace(0, len(frames) - 1, min(PICTURED, len(frames))).astype(int)
    percept = perceiver.perceive(frames.rgb[rows], frames.labels["command"][rows])
    return np.concatenate([overlay(frames.rgb[row], percept, k, perceiver.camera) for k, row in enumerate(rows)])


@torch.no_grad()
def gathered(model: DriveNet, replicas: list[DriveNet], weights: list[float]) -> None:
    """The weighted mean of replicas' gradients into the model's, and that of their running statistics."""
    for own, *parts in zip(model.parameters(), *(replica.parameters() for replica in replicas), strict=True):
        own.grad = sum(weight * part.grad for weight, part in zip(weights, parts, strict=True))
    for own, *parts in zip(model.buffers(), *(replica.buffers() for replica in replicas), strict=True):
        if own.is_floating_point():
            own.copy_(sum(weight * part for weight, part in zip(weights, parts, strict=True)))
        else:
            own.copy_(parts[0])  # counters


def finish(stem: Path, val: Frames, floor: dict[str, float]) -> dict[str, Any]:
    """Fit the confidences of a checkpoint to what holds on val frames, measure it with glimpse and namer as a driver
    gets it, and save both in it; returns the figures.
    """
    tensors, meta = checkpoint.load(stem)
    tensors = checkpoint.halved(tensors)
    checkpoint.save(stem, tensors, meta | {"odds": {}})
    percept = Perceiver.load(stem).perceive_all(val.rgb, val.labels["command"])
    odds = {head: fitted(confidence, is_right)
            for head, (confidence, is_right) in claims_of(percept, val.labels, val.camera.width_px).items()}
    figures: dict[str, Any] = checkpoint.plain(figures_of(calibrated(percept, odds), val, floor))
    checkpoint.save(stem, tensors, meta | {"odds": odds, "figures": figures, "floor": checkpoint.plain(floor)})
    return figures


def figures_of(percept: Percept, frames: Frames, floor: dict[str, float]) -> dict[str, float]:
    """The figures of metrics.measure and surroundings.measure of all frames, and how near to perfect they are."""
    width_px = frames.camera.width_px
    assert percept.around is not None  # of a network's own percepts
    figures = (metrics.measure(percept, frames.labels, width_px)
               | surroundings.measure(percept.around, frames.labels, width_px))
    return figures | {"distance_to_perfect": metrics.distance_to_perfect(figures, floor)}



def _batches(order: Array, size: int) -> Iterator[Array]:
    """Full batches of an order; the rest waits for another epoch."""
    for start in range(0, len(order) - size + 1, size):
        yield order[start:start + size]


def _table(floor: dict[str, float]) -> Table:
    """The live table, begun with the floor."""
    table = Table(*(name.replace(" ", "\n") for name in COLUMNS), title="figures on val towns")
    table.add_row("floor", "", *(f"{floor.get(name, math.nan):.3f}" for name in SHOWN), "1.000", "")
    return table


def _row(epoch: int, losses: dict[str, float], figures: dict[str, float], seconds: float, is_best: bool) -> list[str]:
    total = sum(task.weight * losses.get(task.name, 0.0) for task in TASKS)
    shown = (f"{figures.get(name, math.nan):.3f}" for name in SHOWN)
    return [f"{epoch}{'*' if is_best else ''}", f"{total:.3f}", *shown, f"{figures['distance_to_perfect']:.3f}",
            f"{seconds:.0f}"]
