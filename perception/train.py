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
from perception.dataset import Frames, Look
from perception.looks import disturbed
from perception.model import DriveNet, ModelConfig, cut_crops, describe, find_peaks, glance_of
from perception.namer import Namer
from perception.perceiver import Perceiver, joined
from perception.schedule import move_average, one_cycle
from perception.tasks import TASKS, Tensors, tasks_of

SHOWN = {"path_lateral_m": "path m", "boundary_f1": "lane F1", "lead_abs_rel": "lead rel", "stop_f1": "stop F1",
         "stop_mae_m": "stop m", "sign_ap50": "sign AP50", "sign_read_0_10m": "read <10m",
         "lanes_f1": "lanes F1", "drivable_iou": "road IoU", "my_light_right": "my light"}
COLUMNS = ("epoch", "loss", *SHOWN.values(), "to perfect", "s")
AVERAGE_DECAY = 0.995  # of the exponential mean of the weights, per step


@dataclass(frozen=True)
class TrainConfig:
    """Settings of `nanodrive perceive --train`."""

    data: Path = Path("data/perception")
    """folder made by `nanodrive generate`"""
    out: Path = Path("runs/perception")
    """folder of the checkpoint, the training state and TensorBoard's log"""
    epochs: int = 16
    """passes over the train frames"""
    batch: int = 64
    """frames a step"""
    rate: float = 3e-3
    """highest learning rate"""
    weight_decay: float = 0.02
    """of AdamW"""
    patience: int = 10
    """stop after this many epochs without a better val figure"""
    minutes: float = 60.0
    """start no epoch after this long [min]"""
    threads: int = 2
    """processor threads of torch; another number gives other last digits"""
    seed: int = 0
    """of weights, order and augmentation"""
    looks: float = 0.35
    """how strongly the glances are disturbed (perception/looks.py), 0 to 1"""
    model: ModelConfig = field(default_factory=lambda: ModelConfig(has_surroundings=True))
    """widths and heads of the network"""

    def __post_init__(self) -> None:
        require_within(self, [("epochs", 1, 10_000), ("batch", 2, 4096), ("rate", 1e-6, 1.0),
                               ("patience", 1, 10_000), ("weight_decay", 0.0, 1.0), ("looks", 0.0, 1.0),
                               ("minutes", 0.0, 1e5), ("threads", 1, 256), ("seed", 0, 2**31)])


def run(config: TrainConfig) -> dict[str, Any]:
    """Train, or go on with the run in `config.out`; returns the figures of the best epoch and the checkpoint's path.

    Raises DatasetError for frames and CheckpointError for a training state that cannot be used.
    """
    started = time.monotonic()
    torch.set_num_threads(config.threads)
    train, val = (dataset.by_usual_camera(dataset.read(config.data, split)) for split in ("train", "val"))
    floor = metrics.measure(metrics.constant(train.labels, len(val)), val.labels, val.camera.width_px)
    training = Training(config, train)
    table = _table(floor)
    with SummaryWriter(str(config.out / "tensorboard")) as log, Live(table, refresh_per_second=1) as live:
        while training.should_go_on() and time.monotonic() - started < config.minutes * 60:
            begun = time.monotonic()
            losses = training.epoch(train)
            figures = training.judge(training.mean, val, floor)
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
    return {"checkpoint": str(config.out / "perception"), "epochs": training.epoch_number,
            "best_epoch": training.best["epoch"], "figures": training.best["figures"], "floor": _plain(floor),
            "train_frames": len(train), "val_frames": len(val), "duration_s": round(time.monotonic() - started, 1)}


class Training:
    """The state of a run: weights, their running mean, the optimizer, what was best. On disk after every epoch."""

    def __init__(self, config: TrainConfig, train: Frames) -> None:
        self.config, self.camera, self.namer = config, train.camera, Namer.load()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.model = DriveNet(config.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        path = torch.from_numpy(train.labels["path_m"])
        self.model.path_mean.copy_(path.mean(0))
        self.model.path_std.copy_(path.std(0).clamp(min=0.05))
        self.mean = copy.deepcopy(self.model).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=config.rate, weight_decay=config.weight_decay)
        self.epoch_number, self.step = 0, 0
        self.steps = config.epochs * (len(train) // config.batch)
        require(self.steps > 0, f"batch is {config.batch} for {len(train)} train frames; give a smaller batch")
        self.best: dict[str, Any] = {"epoch": 0, "figures": {"distance_to_perfect": 1e9}}
        self.glance = _glances(train)
        if checkpoint.exists(config.out / "state"):
            self._resume()

    def should_go_on(self) -> bool:
        """Whether epochs are left and the best one is not too long ago."""
        return (self.epoch_number < self.config.epochs
                and self.epoch_number - self.best["epoch"] < self.config.patience)

    def epoch(self, train: Frames) -> dict[str, float]:
        """One pass over the frames in a random order; returns each task's mean loss."""
        self.epoch_number += 1
        rng = np.random.default_rng([self.config.seed, self.epoch_number])
        torch_seed = int(rng.integers(2**62))
        totals: dict[str, float] = {}
        self.model.train()
        batches = list(_batches(rng.permutation(len(train)), self.config.batch))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed)  # dropout
            for rows in batches:
                for name, value in self._learn(train, rows, rng).items():
                    totals[name] = totals.get(name, 0.0) + value / len(batches)
        return totals

    def _learn(self, train: Frames, rows: Array, rng: np.random.Generator) -> dict[str, float]:
        """One step on a batch; returns the losses."""
        targets = dataset.targets(train.labels, rows, train.camera) | {"path_std": self.model.path_std}
        look = Look.draw(len(rows), rng)
        seen = np.stack([disturbed(image, rng, self.config.looks) for image in self.glance[rows].numpy()])
        glance = look.applied((torch.from_numpy(seen).permute(0, 3, 1, 2).float() - 118.0) / 60.0, rng)
        outputs = self.model.look(glance.contiguous(memory_format=torch.channels_last), targets["command"])
        crops, targets["names"] = self._crops(train, rows, outputs, targets, rng)
        outputs["names"] = self.model.glimpse(look.applied(crops, rng).flatten(0, 1))
        tasks = tasks_of(outputs)
        losses = {task.name: task.loss(outputs, targets) for task in tasks}
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate * one_cycle(self.step / self.steps)
        self.optimizer.zero_grad()
        torch.stack([task.weight * losses[task.name] for task in tasks]).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 5.0, error_if_nonfinite=True)
        self.optimizer.step()
        self.step += 1
        move_average(self.mean, self.model, self.step, AVERAGE_DECAY)
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _crops(self, train: Frames, rows: Array, outputs: Tensors, targets: Tensors,
               rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """What the glimpse learns from: the network's own peaks (right or wrong) and the two nearest true signs."""
        true_box, true_class = targets["sign_box"], targets["sign_class"]
        boxes = torch.cat([find_peaks(outputs["sign_map"].detach())["sign_box"],
                           dataset.jittered(true_box[:, :2], rng)], 1)
        names = dataset.names_of(boxes, true_box, true_class)
        names[:, -2:] = torch.where(true_class[:, :2] >= 0, true_class[:, :2], -1)
        return cut_crops(torch.from_numpy(train.rgb[rows]), boxes), names

    def judge(self, model: DriveNet, frames: Frames, floor: dict[str, float]) -> dict[str, float]:
        """The figures of metrics.measure for a model on all frames, looked at in batches of 50."""
        perceiver = Perceiver(copy.deepcopy(model), self.camera, namer=self.namer)
        parts = [perceiver.perceive(frames.rgb[i:i + 50], frames.labels["command"][i:i + 50])
                 for i in range(0, len(frames), 50)]
        percept = joined(parts)
        figures = metrics.measure(percept, frames.labels, self.camera.width_px)
        if percept.around is not None:
            figures |= surroundings.measure(percept.around, frames.labels, self.camera.width_px)
        return figures | {"distance_to_perfect": metrics.distance_to_perfect(figures, floor)}

    def finish_epoch(self, figures: dict[str, float], val: Frames, floor: dict[str, float]) -> bool:
        """Save the state, and the weights if they are the best so far; returns whether they are."""
        is_best = figures["distance_to_perfect"] < self.best["figures"]["distance_to_perfect"]
        if is_best:
            self.best = {"epoch": self.epoch_number, "figures": _plain(figures)}
            checkpoint.save(self.config.out / "perception", self.mean.state_dict(), describe(self.mean) | {
                "kind": "perception", "camera": asdict(self.camera), "epoch": self.epoch_number,
                "train_frames": len(self.glance), "val_frames": len(val), "figures": _plain(figures),
                "floor": _plain(floor), "settings": self._settings()})
        checkpoint.save_training(self.config.out / "state", self.model, self.mean, self.optimizer, {
            "kind": "perception training", "settings": self._settings(), "epoch": self.epoch_number, "step": self.step,
            "steps": self.steps, "best": self.best})
        return is_best

    def _settings(self) -> dict[str, Any]:
        """What makes two runs the same."""
        return {k: v for k, v in asdict(self.config).items() if k not in ("data", "out", "minutes", "patience")}

    def _resume(self) -> None:
        """Go on where the run in `out` stopped; raises CheckpointError if it had other settings or other frames."""
        meta = checkpoint.restore_training(self.config.out / "state", self.model, self.mean, self.optimizer, {
            "settings": self._settings(), "steps": self.steps}, "settings or frames")
        self.epoch_number, self.step, self.best = meta["epoch"], meta["step"], meta["best"]


def _plain(figures: dict[str, float]) -> dict[str, float | None]:
    """Figures as JSON: nan, where there was nothing to judge, becomes null."""
    return {name: round(value, 4) if math.isfinite(value) else None for name, value in figures.items()}


def _batches(order: Array, size: int) -> Iterator[Array]:
    """Full batches of an order; the rest waits for another epoch."""
    for start in range(0, len(order) - size + 1, size):
        yield order[start:start + size]


def _glances(frames: Frames) -> Tensor:
    """All glances, uint8 (N, 80, 160, 3), so that epochs need not average the full frames again."""
    parts = [glance_of(torch.from_numpy(frames.rgb[i:i + 200])) * 60.0 + 118.0 for i in range(0, len(frames), 200)]
    return torch.cat([part.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous() for part in parts])



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
