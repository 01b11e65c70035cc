"""`nanodrive perceive --train-glimpse`: the second look learns from what the first look found.

The trained camera network says where it finds things of each kind in the train frames, right or wrong; crops
of these, moved and scaled a little more each epoch, are what the glimpse learns from. Its figures are of val frames:
how well boxes fit before and after, whether what is there is told from what is not, and how far off distances are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, smooth_l1_loss

from envs.config import CameraConfig, require, require_within
from envs.geometry import Array
from perception import checkpoint, dataset
from perception.dataset import Frames, Look
from perception.export import OnnxNet
from perception.finder import KINDS
from perception.glimpse import GROUNDED, SETTLED, GlimpseNet, cut, ground_m, offsets, placed, stacked
from perception.learner import Learner
from perception.metrics import MATCH_IOU, boxes_iou
from perception.model import normalised
from perception.perceiver import WEIGHTS, load_network
from perception.workers import made_ahead

FAINTEST = np.array([0.1, 0.1, 0.15, 0.15], np.float32)[:, None]  # peaks of KINDS below this are not learned from
SURE_IOU, NONE_IOU = 0.2, 0.05  # a box so much on a thing shows it; one so little shows none
MOVED, SCALED = 0.08, 0.15  # spread of what is added to the boxes: shares of their size, and of the log of it
NEARER_SHARE = 0.5  # of the things of SETTLED are looked at from about their own box, too, as a second glimpse is
SETTLED_KINDS = [KINDS.index(kind) for kind in SETTLED]
BATCHES_AHEAD = 2  # cut out while another is learned from
AVERAGE_DECAY = 0.998


@dataclass(frozen=True)
class TrainGlimpseConfig:
    """Settings of `nanodrive perceive --train-glimpse`."""

    data: Path = Path("data/perception")
    """folder made by `nanodrive generate`"""
    weights: Path | None = None
    """the camera network that finds, without its ending; default: the shipped one"""
    out: Path = Path("runs/glimpse")
    """folder of the checkpoint and the training state"""
    start: Path | None = None
    """glimpse to start from, without its ending, as after a change of the camera network; default: weights by chance"""
    epochs: int = 6
    """passes over what was found"""
    batch: int = 256
    """crops a step"""
    rate: float = 3e-3
    """highest learning rate"""
    threads: int = 2
    """processor threads of torch; another number gives other last digits"""
    seed: int = 0
    """of weights, order and what is varied"""

    def __post_init__(self) -> None:
        require_within(self, [("epochs", 1, 10_000), ("batch", 2, 8192), ("rate", 1e-6, 1.0), ("threads", 1, 256),
                               ("seed", 0, 2**31)])


@dataclass(frozen=True, eq=False)
class Finds:
    """Boxes found in frames, with what is there: K rows."""

    frame: Array  # (K,) row of the frames
    kind: Array  # (K,) index of KINDS
    box_px: Array  # (K, 4) as found
    truth_px: Array  # (K, 4) of the thing it is, if it is one
    is_there: Array  # (K,) bool
    phase: Array  # (K,) int64 of Phase, -1 for what is no light
    distance_m: Array  # (K,) of GROUNDED, nan for the rest

    def __len__(self) -> int:
        return len(self.frame)


def run(config: TrainGlimpseConfig) -> dict[str, Any]:
    """Train, or go on with the run in `config.out`; returns the figures on val frames and the checkpoint's path.

    Raises DatasetError for frames and CheckpointError for weights or a training state that cannot be used.
    """
    started = time.monotonic()
    torch.set_num_threads(config.threads)
    if config.start is not None:
        checkpoint.load(config.start)  # if it is missing, that is told before the frames are read
    network = OnnxNet(load_network(config.weights or WEIGHTS)[0])
    train, val = (dataset.read_usual(config.data, split) for split in ("train", "val"))
    found, held_out = finds_in(network, train), finds_in(network, val)
    require(len(found) >= config.batch, f"only {len(found)} things were found in {config.data}; give more "
            "frames or a better network")
    training = Training(config, len(found) // config.batch)
    while training.epoch < config.epochs:
        loss = training.learn(train, found)
        figures = measure(training.mean, val, held_out)
        training.save(figures, len(found))
        print(f"epoch {training.epoch} after {time.monotonic() - started:.0f} s: loss {loss:.3f} {figures}", flush=True)
    return {"checkpoint": str(config.out / "glimpse"), "finds": len(found), "figures": training.figures,
            "num_parameters": sum(p.numel() for p in training.mean.parameters()),
            "duration_s": round(time.monotonic() - started, 1)}


def finds_in(network: OnnxNet, frames: Frames) -> Finds:
    """What the first look finds in frames, and what may hang above and below a sign: all from FAINTEST on that is
    clearly a thing or clearly none.
    """
    rows = []
    for start in track(range(0, len(frames), 50), "look", disable=len(frames) < 2000):
        part = slice(start, start + 50)
        out = network(torch.from_numpy(frames.rgb[part]), torch.from_numpy(frames.labels["command"][part]))
        size = np.array([frames.camera.width_px, frames.camera.height_px] * 2, np.float32)
        rows.append(_matched(*stacked(out["box"].numpy() * size, out["peak"].numpy()),
                             {name: values[part] for name, values in frames.labels.items()}, start))
    return Finds(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def _matched(box_px: Array, peak: Array, labels: dict[str, Array], start: int) -> tuple[Array, ...]:
    """The columns of Finds for some frames, from boxes (N, 4, M, 4) and peaks (N, 4, M)."""
    columns = []
    for number, kind in enumerate(KINDS):
        there = (labels[f"{kind}_distance_m"] > 0) & np.isfinite(labels[f"{kind}_distance_m"])
        overlap = boxes_iou(box_px[:, number, :, None], labels[f"{kind}_box_px"][:, None]) * there[:, None]
        best, which = overlap.max(2), overlap.argmax(2)
        is_thing = best >= SURE_IOU
        frame, k = np.nonzero((peak[:, number] >= FAINTEST[number]) & (is_thing | (best <= NONE_IOU)))
        of = which[frame, k]
        phase = labels["light_phase"][frame, of] if kind == "light" else np.full(len(frame), -1)
        is_far = is_thing[frame, k] & (kind in GROUNDED)
        columns.append((start + frame, np.full(len(frame), number), box_px[frame, number, k],
                        labels[f"{kind}_box_px"][frame, of], is_thing[frame, k],
                        np.where(is_thing[frame, k], phase, -1),
                        np.where(is_far, labels[f"{kind}_distance_m"][frame, of], np.float32(np.nan))))
    return tuple(np.concatenate(parts) for parts in zip(*columns, strict=True))


def crops_of(frames: Frames, finds: Finds, rows: Array, box_px: Array) -> tuple[Tensor, Tensor]:
    """Normalised pixels (K, 3, 32, 32) of glimpses at boxes (K, 4) for some rows of finds, and their kinds (K, 4)."""
    kind = torch.from_numpy(np.eye(len(KINDS), dtype=np.float32)[finds.kind[rows]])
    return normalised(cut(frames.rgb, finds.frame[rows], box_px)), kind


class Training(Learner[GlimpseNet]):
    """The state of a run. On disk after every epoch."""

    def __init__(self, config: TrainGlimpseConfig, steps_each: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            model = GlimpseNet()
        if config.start is not None:
            checkpoint.restore(model, checkpoint.load(config.start)[0], config.start)
        super().__init__(model, steps_each * config.epochs, config.rate, 0.02, AVERAGE_DECAY)
        self.config, self.epoch = config, 0
        self.figures: dict[str, float] = {}
        if meta := self.resume(config.out, "glimpse", self._settings()):
            self.epoch, self.figures = meta["epoch"], meta["figures"]

    def learn(self, frames: Frames, finds: Finds) -> float:
        """One pass in a random order; returns the mean loss."""
        self.epoch += 1
        self.model.train()
        losses = []
        for pixels, kind, rows, box, is_nearer in self._batches(frames, finds):
            answers = self.model.seen(pixels, kind)
            losses.append(self.follow(loss_of(answers, finds, rows, box, is_nearer, frames.camera)))
        return float(np.mean(losses))

    def _batches(self, frames: Frames, finds: Finds) -> Iterator[tuple[Tensor, Tensor, Array, Array, Array]]:
        """Pixels, kinds, rows of finds, boxes and which are nearer, in a random order, the next cut out meanwhile.

        A batch is so many finds, and some of its things once more.
        """
        rng = np.random.default_rng([self.config.seed, self.epoch])
        order = rng.permutation(len(finds))
        starts = range(0, len(order) - self.config.batch + 1, self.config.batch)

        def drawn(start: int) -> tuple[Tensor, Tensor, Array, Array, Array]:
            rows = order[start:start + self.config.batch]
            more = rows[finds.is_there[rows] & np.isin(finds.kind[rows], SETTLED_KINDS)
                        & (rng.random(len(rows)) < NEARER_SHARE)]
            box = moved(np.concatenate([finds.box_px[rows], finds.truth_px[more]]), rng)
            rows, is_nearer = np.concatenate([rows, more]), np.arange(len(rows) + len(more)) >= len(rows)
            pixels, kind = crops_of(frames, finds, rows, box)
            return Look.draw(len(rows), rng).applied(pixels, rng), kind, rows, box, is_nearer

        with ThreadPoolExecutor(1) as pool:
            yield from made_ahead(pool, drawn, starts, BATCHES_AHEAD)

    def save(self, figures: dict[str, float], num_finds: int) -> None:
        """The mean weights as they are shipped, and the state to go on from."""
        self.figures = figures
        checkpoint.save(self.config.out / "glimpse", checkpoint.halved(self.mean.state_dict()), {
            "kind": "glimpse", "epoch": self.epoch, "figures": figures, "finds": num_finds,
            "settings": self._settings(), "num_parameters": sum(p.numel() for p in self.mean.parameters())})
        self.save_state(epoch=self.epoch, figures=figures)

    def _settings(self) -> dict[str, Any]:
        """What makes two runs the same."""
        return {k: v for k, v in asdict(self.config).items() if k not in ("data", "out", "weights", "start")}


def moved(box_px: Array, rng: np.random.Generator) -> Array:
    """Boxes (K, 4) a little beside where they were, and a little larger or smaller."""
    size = box_px[:, 2:] - box_px[:, :2]
    middle = (box_px[:, :2] + box_px[:, 2:]) / 2 + rng.normal(0, MOVED, size.shape) * size
    half = size / 2 * np.exp(rng.normal(0, SCALED, size.shape))
    return np.asarray(np.concatenate([middle - half, middle + half], 1), np.float32)


def loss_of(answers: Tensor, finds: Finds, rows: Array, box_px: Array, is_nearer: Array,
            camera: CameraConfig) -> Tensor:
    """Box where something is there, whether it is, phases of lights, and distances of vehicles and people.

    Whether it is there is asked only of boxes as they were found: `is_nearer` tells what is a thing.
    """
    is_there = torch.from_numpy(finds.is_there[rows])
    wanted = torch.from_numpy(offsets(box_px, finds.truth_px[rows]))
    phase = torch.from_numpy(finds.phase[rows].astype(np.int64))
    is_found = torch.from_numpy(~is_nearer).float()
    doubt = binary_cross_entropy_with_logits(answers[:, 4], is_there.float(), weight=is_found, reduction="sum")
    total = doubt / is_found.sum().clamp(min=1)
    scale = torch.tensor([20.0, 20.0, 8.0, 8.0])  # a twentieth of the crop, and an eighth of the size, count as one
    if is_there.any():
        total = total + smooth_l1_loss(answers[is_there, :4] * scale, wanted[is_there] * scale, beta=0.2)
    if (phase >= 0).any():
        total = total + 0.5 * cross_entropy(answers[:, 5:-1], phase, ignore_index=-1)
    farther = torch.from_numpy(np.log(finds.distance_m[rows] / ground_m(box_px, camera)).astype(np.float32))
    is_known = torch.isfinite(farther)
    if is_known.any():
        total = total + smooth_l1_loss(answers[is_known, -1] * 10, farther[is_known] * 10, beta=0.2)
    return total


def measure(model: GlimpseNet, frames: Frames, finds: Finds) -> dict[str, float]:
    """Mean IoU and share over one half of the boxes of things before, after one look and after another from there; how
    well things are told from none, how often phases are right and how far off distances are after one look.
    """
    told = answers_at(model, frames, finds, finds.box_px)
    once = placed(finds.box_px, told[:, :4])
    twice = placed(once, answers_at(model, frames, finds, once)[:, :4])
    told_there, lit = (told[:, 4] > 0) == finds.is_there, finds.phase >= 0
    off = np.abs(ground_m(finds.box_px, frames.camera) * np.exp(told[:, -1]) / finds.distance_m - 1)
    parts = {"phase_right": told[lit, 5:-1].argmax(1) == finds.phase[lit]}
    for number, kind in enumerate(KINDS):
        parts[f"{kind}_told_from_none"] = told_there[finds.kind == number]
        there = finds.is_there & (finds.kind == number)
        if kind in GROUNDED:
            parts[f"{kind}_abs_rel"] = off[there & np.isfinite(off)]
        for when, box in (("before", finds.box_px), ("after", once), ("twice", twice)):
            parts[f"{kind}_iou_{when}"] = boxes_iou(box[there], finds.truth_px[there])
            parts[f"{kind}_fits_{when}"] = parts[f"{kind}_iou_{when}"] > MATCH_IOU
    return {name: round(float(values.mean()), 4) for name, values in parts.items() if len(values)}


@torch.inference_mode()
def answers_at(model: GlimpseNet, frames: Frames, finds: Finds, box_px: Array) -> Array:
    """What the model says of all finds (K, 11), seen from boxes (K, 4)."""
    model.eval()
    parts = np.array_split(np.arange(len(finds)), len(finds) // 512 + 1)
    return np.concatenate([model.seen(*crops_of(frames, finds, rows, box_px[rows])).numpy() for rows in parts])
