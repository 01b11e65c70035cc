"""`nanodrive perceive --train-namer`: the sign namer, from crops painted while it learns. No photograph is read.

AdamW with a one-cycle rate and an exponential mean of the weights. Every epoch is judged on a fixed set of crops of
other painted plates (another seed), ends in a row of the table and in TensorBoard, and leaves a training state from
which an interrupted run goes on, bit for bit. How the namer does on photographs is measured elsewhere, never here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from rich.live import Live
from rich.table import Table
from torch.nn.functional import cross_entropy
from torch.utils.tensorboard import SummaryWriter

from envs.config import require_within
from envs.geometry import Array
from perception import checkpoint, crops, dataset, templates
from perception.calibration import expected_error
from perception.learner import Learner
from perception.namer import PHOTOS, NamerConfig, SignNet, describe
from perception.seen_signs import Pool, cut_outs
from perception.templates import NO_SIGN, Bank
from perception.workers import made_ahead, worker_pool

VAL_SEED, TEST_SEED = 1_000_001, 1_000_002  # of plates and crops that are never trained on
COLUMNS = ("epoch", "loss", "val loss", "val accuracy", "val recall", "s")
PLATES = {"looks": 72, "others": 600, "backdrops": 800}  # painted for training; 110 s, 0.3 GB
FEW_PLATES = {"looks": 2, "others": 20, "backdrops": 20}  # of the preset "smoke"
AVERAGE_DECAY = 0.999  # of the exponential mean of the weights, per step


@dataclass(frozen=True)
class TrainNamerConfig:
    """Settings of `nanodrive perceive --train-namer`."""

    preset: Literal["full", "smoke"] = "full"
    """smoke: seconds, to see that everything works"""
    out: Path = Path("runs/namer")
    """folder of the checkpoint, the training state and TensorBoard's log"""
    epochs: int = 40
    """rounds of `steps` steps; the rate falls over all of them"""
    steps: int = 500
    """steps an epoch"""
    batch: int = 128
    """crops a step"""
    rate: float = 3e-3
    """highest learning rate"""
    weight_decay: float = 0.02
    """of AdamW"""
    patience: int = 10
    """stop after this many epochs without a better val loss"""
    minutes: float = 120.0
    """start no epoch after this long [min]"""
    val_crops: int = 4000
    """crops that judge an epoch"""
    workers: int = 1
    """processes that paint crops; 0: paint between the steps"""
    threads: int = 1
    """processor threads of torch; another number gives other last digits"""
    seed: int = 0
    """of weights, plates and crops"""
    data: tuple[Path, ...] = ()
    """folders of `nanodrive generate` whose signs join the painted ones; default: painted ones alone"""
    seen_share: float = 0.4
    """of each batch that is cut out of these frames, 0 to 1"""
    model: NamerConfig = PHOTOS
    """widths of the network"""

    def __post_init__(self) -> None:
        require_within(self, [("epochs", 1, 10_000), ("steps", 1, 100_000), ("batch", 2, 4096), ("rate", 1e-6, 1.0),
                               ("weight_decay", 0.0, 1.0), ("patience", 1, 10_000), ("minutes", 0.0, 1e5),
                               ("val_crops", 44, 10**6), ("workers", 0, 256), ("threads", 1, 256),
                               ("seen_share", 0.0, 1.0), ("seed", 0, VAL_SEED - 1)])


SMOKE = {"epochs": 2, "steps": 4, "batch": 32, "val_crops": 88, "workers": 0}


def run(config: TrainNamerConfig) -> dict[str, Any]:
    """Train, or go on with the run in `config.out`; returns the figures of the best epoch and the checkpoint's path.

    Raises CheckpointError for a training state that cannot be used.
    """
    if config.preset == "smoke":
        config = replace(config, **SMOKE)  # type: ignore[arg-type]
    started = time.monotonic()
    torch.set_num_threads(config.threads)
    seen = [seen_in(config.data, split, np.random.default_rng([config.seed, number]))
            for number, split in enumerate(("train", "val"))] if config.data else []
    training = Training(config, Pool(*seen[0]) if seen else None)
    judges = _judges(config, VAL_SEED)
    if seen:  # judged on as many of both kinds
        pictures, labels = Pool(*seen[1]).draw(len(judges[1]), np.random.default_rng(config.seed))
        judges = np.concatenate([judges[0], pictures]), np.concatenate([judges[1], labels])
    table = Table(*COLUMNS, title="figures on painted crops of unseen plates")
    with SummaryWriter(str(config.out / "tensorboard")) as log, Live(table, refresh_per_second=1) as live:
        for loss in training.epochs(started):
            begun = time.monotonic()
            figures = training.judge(*judges)
            is_best = training.finish_epoch(figures)
            row = (f"{training.epoch}{'*' if is_best else ''}", f"{loss:.3f}", f"{figures['loss']:.3f}",
                   f"{figures['accuracy']:.4f}", f"{figures['recall']:.4f}", f"{begun - started:.0f}")
            table.add_row(*row)
            if not live.console.is_terminal:  # a log file shows no live table
                live.console.print(" ".join(f"{n} {v}" for n, v in zip(COLUMNS, row, strict=True)), soft_wrap=True)
            log.add_scalar("loss/train", loss, training.epoch)
            for name, value in figures.items():
                log.add_scalar(f"val/{name}", value, training.epoch)
    return training.ship(_judges(config, TEST_SEED), judges) | {"duration_s": round(time.monotonic() - started, 1)}


def seen_in(folders: Iterable[Path], split: str, rng: np.random.Generator) -> tuple[Array, Array]:
    """Crops and classes, as of `cut_outs`, from the usual camera's frames of all folders, one shard at a time."""
    return cut_outs((dataset.by_usual_camera(shard) for folder in folders for shard in dataset.shards(folder, split)),
                    rng)


def _judges(config: TrainNamerConfig, seed: int) -> tuple[Array, Array]:
    """Fixed crops and their classes, of plates painted for them alone."""
    few = {"looks": 1, "others": 20, "backdrops": 20} if config.preset == "smoke" else {}
    return crops.batch(templates.build_bank(seed, **few), config.val_crops, seed, 0)


class Training(Learner[SignNet]):
    """The state of a run, and what was best. On disk after every epoch."""

    def __init__(self, config: TrainNamerConfig, seen: Pool | None = None) -> None:
        self.config, self.seen = config, seen
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            model = SignNet(config.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(model, config.epochs * config.steps, config.rate, config.weight_decay, AVERAGE_DECAY)
        self.epoch = 0
        self.best: dict[str, Any] = {"epoch": 0, "figures": {"loss": 1e9}}
        if meta := self.resume(config.out, "sign namer", self._settings()):
            self.epoch, self.best = meta["epoch"], meta["best"]

    def epochs(self, started: float) -> Iterator[float]:
        """The epochs that are left, each told by its mean loss, until all are done, none gets better, or time is up."""
        painted = replace(self.config, batch=self.config.batch - self._num_seen())
        with _painted(painted, self.step, self.steps) as batches:
            while (self.epoch < self.config.epochs and self.epoch - self.best["epoch"] < self.config.patience
                   and time.monotonic() - started < self.config.minutes * 60):
                self.epoch += 1
                self.model.train()
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(self.config.seed * 100_003 + self.epoch)  # dropout
                    losses = [self._learn(*self._joined(*next(batches))) for _ in range(self.config.steps)]
                yield float(np.mean(losses))

    def _num_seen(self) -> int:
        """How many crops of a batch are signs seen in frames: never all of them."""
        most = self.config.batch - 1
        return 0 if self.seen is None else min(round(self.config.seen_share * self.config.batch), most)

    def _joined(self, pictures: Array, labels: Array) -> tuple[Array, Array]:
        """A painted part of a batch and, if there are any, signs seen in frames."""
        if self.seen is None:
            return pictures, labels
        rng = np.random.default_rng([self.config.seed, self.step, 1])
        crops, classes = self.seen.draw(self._num_seen(), rng)
        return np.concatenate([crops, pictures]), np.concatenate([classes, labels])

    def _learn(self, pictures: Array, labels: Array) -> float:
        """One step on a batch; returns the loss."""
        return self.follow(cross_entropy(self.model(torch.from_numpy(pictures)), torch.from_numpy(labels)))

    def judge(self, pictures: Array, labels: Array) -> dict[str, float]:
        """Loss, accuracy and macro recall of the mean weights on fixed crops."""
        return measure(logits_of(self.mean, pictures), labels)

    def finish_epoch(self, figures: dict[str, float]) -> bool:
        """Save the state, and the weights if they are the best so far; returns whether they are."""
        is_best = figures["loss"] < self.best["figures"]["loss"]
        if is_best:
            self.best = {"epoch": self.epoch, "figures": checkpoint.plain(figures)}
            checkpoint.save(self.config.out / "best", self.mean.state_dict(), describe(self.mean))
        self.save_state(epoch=self.epoch, best=self.best)
        return is_best

    def ship(self, test: tuple[Array, Array], val: tuple[Array, Array]) -> dict[str, Any]:
        """Write the best weights as float16 with the temperature that val crops ask for; figures on the test crops."""
        tensors, _ = checkpoint.load(self.config.out / "best")
        model = SignNet(self.config.model)
        model.load_state_dict({name: value.half().float() if value.is_floating_point() else value
                               for name, value in tensors.items()})
        temperature = calibrated(logits_of(model, val[0]), val[1])
        figures = checkpoint.plain(measure(logits_of(model, test[0]) / temperature, test[1]))
        checkpoint.save(self.config.out / "namer", checkpoint.halved(model.state_dict()), describe(model) | {
            "temperature": temperature, "epoch": self.best["epoch"], "figures": figures,
            "crops": self.best["epoch"] * self.config.steps * self.config.batch, "settings": self._settings()})
        return {"checkpoint": str(self.config.out / "namer"), "epochs": self.epoch, "best_epoch": self.best["epoch"],
                "figures": figures, "temperature": temperature}

    def _settings(self) -> dict[str, Any]:
        """What makes two runs the same."""
        return {k: v for k, v in asdict(self.config).items() if k not in (
            "out", "data", "minutes", "patience", "workers")}


def logits_of(model: SignNet, pictures: Array) -> Array:
    """Logits float32 (N, 44) of a model in evaluation mode."""
    model.eval()
    with torch.inference_mode():
        return np.concatenate([model(torch.from_numpy(pictures[i:i + 256])).numpy()
                               for i in range(0, len(pictures), 256)])


def measure(logits: Array, labels: Array) -> dict[str, float]:
    """Cross-entropy, accuracy, mean recall over the classes, and expected calibration error over 15 bins of equal
    width (Guo et al. 2017), of logits (N, 44) and classes (N,)."""
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    named, confidence = shares.argmax(1), shares.max(1)
    is_right = named == labels
    recalls = [is_right[labels == label].mean() for label in np.unique(labels)]
    return {"loss": float(-np.log(shares[np.arange(len(labels)), labels] + 1e-12).mean()),
            "accuracy": float(is_right.mean()), "recall": float(np.mean(recalls)),
            "ece": expected_error(confidence, is_right),
            "none_recall": float(is_right[labels == NO_SIGN].mean()) if (labels == NO_SIGN).any() else math.nan}


def calibrated(logits: Array, labels: Array) -> float:
    """The temperature of the least cross-entropy, from a grid in steps of 2 %."""
    grid = np.exp(np.arange(-35, 36) * 0.02)
    return float(round(min(grid, key=lambda t: measure(logits / t, labels)["loss"]), 4))


@contextmanager
def _painted(config: TrainNamerConfig, first: int, last: int) -> Iterator[Iterator[tuple[Array, Array]]]:
    """Batches `first` to `last`, painted in processes of their own (or in this one) a little ahead of their use."""
    plates = FEW_PLATES if config.preset == "smoke" else PLATES
    if not config.workers:
        bank = templates.build_bank(config.seed, **plates)
        yield (crops.batch(bank, config.batch, config.seed, number) for number in range(first, last))
        return
    with worker_pool(config.workers, _open_bank, config.seed, plates) as pool:
        yield made_ahead(pool, partial(_paint, config.batch, config.seed), range(first, last), 3 * config.workers + 1)


_BANK: list[Bank] = []  # of a worker process


def _open_bank(seed: int, plates: dict[str, int]) -> None:
    """Begin a worker: one thread for OpenCV, and the plates."""
    cv2.setNumThreads(1)
    _BANK[:] = [templates.build_bank(seed, **plates)]


def _paint(size: int, seed: int, number: int) -> tuple[Array, Array]:
    return crops.batch(_BANK[0], size, seed, number)
