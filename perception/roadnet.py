"""Road and lines in photographs of any camera: a fully convolutional network, and the pictures it learns from.

It sees a whole picture squeezed to 320 x 192 px and says, for cells of 4 x 4 px, whether the ground is paved and
whether a line between lanes runs there, and in which row the horizon lies. It learns from drawn roads (roadscapes.py)
and from town frames of many cameras (generate.py), disturbed until neither looks like itself (looks.py). Curves are
made of its lines in roadfit.py.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

from envs.config import require_within
from envs.geometry import Array
from envs.lane_lines import anchor_rows
from perception import checkpoint, dataset
from perception.dataset import Frames
from perception.learner import Learner
from perception.looks import disturbed
from perception.model import convolution, folded, normalised
from perception.roadscapes import COLUMNS, HEIGHT_PX, RIDGE_CELLS, ROWS, WIDTH_PX, Scape, draw_scape
from perception.workers import worker_pool

WEIGHTS = Path(__file__).parent / "weights" / "road"
AVERAGE_DECAY = 0.995
VAL_SHARE = 0.05


class RoadNet(nn.Module):
    """Normalised pictures float32 (N, 3, 192, 320) -> logits (N, 2, 48, 80) of road and line, horizon (N,) share."""

    def __init__(self) -> None:
        super().__init__()
        self.down4 = nn.Sequential(convolution(3, 16, 3, 2), convolution(16, 32, 3, 2))
        self.down8 = nn.Sequential(convolution(32, 48, 3, 2), convolution(48, 48, 3))
        self.down16 = nn.Sequential(convolution(48, 64, 3, 2), wide(64, 2), wide(64, 4))
        self.whole = nn.Sequential(nn.Linear(64, 64), nn.ReLU(inplace=True), nn.Linear(64, 64))
        self.up8, self.mix8 = convolution(64, 48), convolution(48, 48, 3)
        self.up4, self.mix4 = convolution(48, 32), convolution(32, 32, 3)
        self.head = nn.Conv2d(32, 2, 1)
        self.narrow = convolution(64, 12)
        self.horizon = nn.Sequential(nn.Linear(12 * HEIGHT_PX // 16, 48), nn.ReLU(inplace=True), nn.Linear(48, 1))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        at4 = self.down4(pictures)
        at8 = self.down8(at4)
        at16 = self.down16(at8)
        at16 = at16 + self.whole(at16.mean((2, 3)))[..., None, None]
        at8 = self.mix8(at8 + interpolate(self.up8(at16), scale_factor=2.0))
        at4 = self.mix4(at4 + interpolate(self.up4(at8), scale_factor=2.0))
        horizon = self.horizon(self.narrow(at16).mean(3).flatten(1))[:, 0]
        return self.head(at4), horizon + 0.45


def wide(channels: int, dilation: int) -> nn.Sequential:
    """A 3 x 3 convolution that looks `dilation` cells away."""
    return nn.Sequential(nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False),
                         nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


@dataclass(frozen=True)
class RoadTrainConfig:
    """Settings of `nanodrive perceive --train-road`."""

    out: Path = Path("runs/road")
    """folder of the checkpoint and the training state"""
    data: Path | None = None
    """folder made by `nanodrive generate`, for town frames beside the drawn roads"""
    towns: int = 3000
    """town frames of `data` to take, those of odd cameras first"""
    scapes: int = 6000
    """roads to draw"""
    epochs: int = 8
    """passes over all pictures"""
    batch: int = 16
    """pictures a step"""
    rate: float = 3e-3
    """highest learning rate"""
    minutes: float = 60.0
    """start no epoch after this long [min]"""
    threads: int = 1
    """processor threads of torch"""
    workers: int = 1
    """processes that draw"""
    seed: int = 0
    """of weights, roads, order and looks"""

    def __post_init__(self) -> None:
        require_within(self, [("scapes", 40, 10**6), ("towns", 1, 10**6), ("epochs", 1, 1000), ("batch", 2, 512),
                               ("rate", 1e-6, 1.0), ("minutes", 0.0, 1e5), ("threads", 1, 256), ("workers", 1, 256),
                               ("seed", 0, 2**31)])


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures uint8 (N, 192, 320, 3) and their labels uint8 (N, 48, 80, 4): road, its weight, line, its weight."""

    rgb: Array
    labels: Array
    horizon: Array  # (N,) float32, nan: not known

    def __len__(self) -> int:
        return len(self.rgb)

    def part(self, rows: slice) -> Pictures:
        return Pictures(self.rgb[rows], self.labels[rows], self.horizon[rows])


def scape_of(seed: int, number: int) -> tuple[Array, Array, float]:
    """The drawn road of a number: picture, labels as in Pictures, horizon."""
    scape: Scape = draw_scape(np.random.default_rng([seed, number]))
    labels = np.stack([scape.road, scape.road_weight, scape.ridge, scape.ridge_weight], -1)
    return scape.rgb, (labels * 255).astype(np.uint8), scape.horizon


def draw_all(config: RoadTrainConfig) -> Pictures:
    """The drawn roads of a run: the same for any number of workers."""
    draw, count = partial(scape_of, config.seed), config.scapes
    drawn = Pictures(np.empty((count, HEIGHT_PX, WIDTH_PX, 3), np.uint8), np.empty((count, ROWS, COLUMNS, 4), np.uint8),
                     np.empty(count, np.float32))

    def fill(parts: Iterable[tuple[Array, Array, float]]) -> Pictures:
        for k, part in enumerate(track(parts, "roads", total=count)):
            drawn.rgb[k], drawn.labels[k], drawn.horizon[k] = part
        return drawn
    if config.workers == 1:
        return fill(map(draw, range(count)))
    with worker_pool(config.workers) as pool:
        return fill(pool.map(draw, range(count), chunksize=50))


def from_frames(frames: Frames, most: int) -> Pictures:
    """Town frames as pictures. Of their lines four are known: nothing is asked of the road beyond the outer ones."""
    usual = frames.labels["camera_fov_deg"] == frames.camera.horizontal_fov_deg
    rows = np.argsort(usual, kind="stable")[:most]
    rgb = np.stack([cv2.resize(frames.rgb[k], (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_LINEAR) for k in rows])
    labels = np.zeros((len(rows), ROWS, COLUMNS, 4), np.uint8)
    cell_rows, cell_columns = np.arange(ROWS) + 0.5, np.arange(COLUMNS) + 0.5
    anchors = (anchor_rows(frames.camera) + 0.5) / frames.camera.height_px * ROWS
    for k, row in enumerate(rows):
        road = cv2.resize(frames.labels["drivable"][row], (COLUMNS, ROWS), interpolation=cv2.INTER_LINEAR)
        u = frames.labels["lanes_px"][row] / frames.camera.width_px * COLUMNS
        at = np.stack([np.interp(cell_rows, anchors, line, left=np.nan, right=np.nan) for line in u])  # (4, ROWS)
        slope = np.gradient(at, axis=1)
        off = (cell_columns - at[..., None]) / np.sqrt(1 + slope**2)[..., None]
        ridge = np.nan_to_num(np.exp(-0.5 * (off / RIDGE_CELLS) ** 2)).max(0)
        low, high = np.fmin.reduce(at), np.fmax.reduce(at)
        inside = (cell_columns > low[:, None] - 1.5) & (cell_columns < high[:, None] + 1.5) & (
            np.isfinite(at).sum(0) > 1)[:, None]
        labels[k] = np.stack([road, np.full_like(road, 255), (255 * ridge).astype(np.uint8),
                              255 * (inside | (road < 30)).astype(np.uint8)], -1)
    focal_px = frames.camera.width_px / 2 / np.tan(np.radians(frames.labels["camera_fov_deg"][rows]) / 2)
    up_px = focal_px * np.tan(np.radians(frames.labels["camera_pitch_deg"][rows]))
    return Pictures(rgb, labels, (0.5 - up_px / frames.camera.height_px).astype(np.float32))


def joined(pictures: list[Pictures]) -> Pictures:
    """Several sets as one."""
    return Pictures(*(np.concatenate([getattr(part, name) for part in pictures])
                      for name in ("rgb", "labels", "horizon")))


def varied(rgb: Array, labels: Array, horizon: float, rng: np.random.Generator) -> tuple[Array, Array, float]:
    """One picture mirrored, cut to a part of itself and disturbed, with labels to match."""
    if rng.random() < 0.5:
        rgb, labels = rgb[:, ::-1], labels[:, ::-1]
    if rng.random() < 0.5:
        size = rng.uniform(0.62, 1.0, 2)
        low = rng.uniform(0, 1, 2) * (1 - size)
        top, bottom = round(low[0] * ROWS), round((low[0] + size[0]) * ROWS)
        left, right = round(low[1] * COLUMNS), round((low[1] + size[1]) * COLUMNS)
        horizon = (horizon * ROWS - top) / (bottom - top)
        step = HEIGHT_PX // ROWS
        rgb = cv2.resize(np.ascontiguousarray(rgb[top * step:bottom * step, left * step:right * step]),
                         (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_LINEAR)
        labels = cv2.resize(np.ascontiguousarray(labels[top:bottom, left:right]), (COLUMNS, ROWS),
                            interpolation=cv2.INTER_LINEAR)
    return disturbed(rgb, rng), labels, horizon


def road_loss(logits: Tensor, horizon: Tensor, labels: Tensor, truth: Tensor) -> Tensor:
    """Weighted binary cross-entropies of road and line (a line's cells count more), and the horizon's error."""
    road, road_weight, line, line_weight = (labels[..., k].float() / 255 for k in range(4))
    roads = binary_cross_entropy_with_logits(logits[:, 0], road, reduction="none") * road_weight
    lines = binary_cross_entropy_with_logits(logits[:, 1], line, reduction="none") * line_weight * (1 + 4 * line)
    known = (truth > 0.02) & (truth < 0.98)  # nan is not
    rows = torch.where(known, (horizon - truth.nan_to_num()).abs(), 0.0)
    return roads.mean() + 2 * lines.mean() + 3 * rows.mean()


def run(config: RoadTrainConfig) -> dict[str, Any]:
    """Train, or go on with the run in `config.out`, saving the mean weights after every epoch; returns the last figures
    on val pictures. Raises CheckpointError for a training state that cannot be used.
    """
    started = time.monotonic()
    torch.set_num_threads(config.threads)
    everything, sets = _pictures(config)
    training = Training(config, len(everything) // config.batch)
    while training.epoch < config.epochs and time.monotonic() - started < config.minutes * 60:
        loss = training.learn(everything)
        reader = RoadReader(copy.deepcopy(training.mean))
        training.save({f"{name}_{figure}": value for name, part in sets.items()
                       for figure, value in measure(reader, part).items()})
        print(f"epoch {training.epoch} after {time.monotonic() - started:.0f} s: loss {loss:.3f} {training.figures}",
              flush=True)
    return {"checkpoint": str(config.out / "road"), "figures": training.figures, "pictures": len(everything),
            "num_parameters": sum(p.numel() for p in training.mean.parameters()),
            "duration_s": round(time.monotonic() - started, 1)}


def _pictures(config: RoadTrainConfig) -> tuple[Pictures, dict[str, Pictures]]:
    """All train pictures of a run, and its val pictures by what they are."""
    drawn = draw_all(config)
    num_val = max(int(len(drawn) * VAL_SHARE), 20)
    val, train = {"drawn": joined([drawn.part(slice(0, num_val))])}, [drawn.part(slice(num_val, None))]
    if config.data is not None:
        val["town"] = from_frames(dataset.read(config.data, "val"), 500)
        train.append(from_frames(dataset.read(config.data, "train"), config.towns))
    return joined(train), val  # copies: what was drawn is let go


class Training(Learner[RoadNet]):
    """The state of a run. On disk after every epoch."""

    def __init__(self, config: RoadTrainConfig, steps_each: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            super().__init__(RoadNet(), steps_each * config.epochs, config.rate, 0.03, AVERAGE_DECAY)
        self.config = config
        self.settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()
                         if k not in ("out", "minutes", "workers")}
        self.epoch = 0
        self.figures: dict[str, float] = {}
        if meta := self.resume(config.out, "road", self.settings):
            self.epoch, self.figures = meta["epoch"], meta["figures"]

    def learn(self, pictures: Pictures) -> float:
        """One pass in a random order; returns the last batch's loss."""
        rng = np.random.default_rng([self.config.seed, self.epoch, 1])
        self.epoch += 1
        self.model.train()
        for rgb, labels, horizon in _batches(pictures, self.config.batch, rng):
            logits, rows = self.model(normalised(rgb).contiguous())
            loss = self.follow(road_loss(logits, rows, torch.from_numpy(labels), torch.from_numpy(horizon)))
        return loss

    def save(self, figures: dict[str, float]) -> None:
        """The mean weights as they are shipped, and the state to go on from."""
        self.figures = figures
        checkpoint.save(self.config.out / "road", checkpoint.halved(self.mean.state_dict()), {
            "kind": "road", "settings": self.settings, "epoch": self.epoch, "figures": figures})
        self.save_state(epoch=self.epoch, figures=figures)


def _batches(pictures: Pictures, size: int, rng: np.random.Generator) -> Iterator[tuple[Array, Array, Array]]:
    """One pass in random order, every picture varied."""
    order = rng.permutation(len(pictures))
    for start in range(0, len(order) - size + 1, size):
        parts = [varied(pictures.rgb[k], pictures.labels[k], float(pictures.horizon[k]), rng)
                 for k in order[start:start + size]]
        yield (np.stack([part[0] for part in parts]), np.stack([part[1] for part in parts]),
               np.array([part[2] for part in parts], np.float32))


class RoadReader:
    """The trained network on pictures of any size. Changes the model given: it is frozen."""

    def __init__(self, model: RoadNet) -> None:
        self._model = model.eval().requires_grad_(False)
        folded(model)

    @staticmethod
    def load(stem: Path | None = None) -> RoadReader:
        """The network at `stem` (default: the shipped one); raises CheckpointError."""
        source = stem or WEIGHTS
        tensors, _ = checkpoint.load(source)
        model = RoadNet()
        checkpoint.restore(model, tensors, source)
        return RoadReader(model)

    def read(self, rgb: Array) -> tuple[Array, Array, Array]:
        """Shares of road and of line float32 (N, 48, 80), and the horizon (N,), of uint8 (N, 192, 320, 3)."""
        with torch.inference_mode():
            logits, horizon = self._model(normalised(rgb).contiguous())
            shares = torch.sigmoid(logits).numpy()
        return shares[:, 0], shares[:, 1], horizon.numpy()

    def look(self, image: Array) -> tuple[Array, Array, float]:
        """The same of one picture uint8 (H, W, 3) of any size."""
        small = cv2.resize(image, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA)
        road, line, horizon = self.read(small[None])
        return road[0], line[0], float(horizon[0])


def measure(reader: RoadReader, pictures: Pictures) -> dict[str, float]:
    """IoU of the road at one half, F1 of line cells at 0.4 (against truth above 0.5), mean error of the horizon."""
    parts = [reader.read(pictures.rgb[i:i + 32]) for i in range(0, len(pictures), 32)]
    road, line, horizon = (np.concatenate([part[k] for part in parts]) for k in range(3))
    truth, weight, line_truth, line_weight = (pictures.labels[..., k] / 255 for k in range(4))
    is_asked = weight > 0.5
    both = ((road > 0.5) & (truth > 0.5) & is_asked).sum()
    either = (((road > 0.5) | (truth > 0.5)) & is_asked).sum()
    is_asked = line_weight > 0.5
    guess, there = (line > 0.4) & is_asked, (line_truth > 0.5) & is_asked
    f1 = 2 * (guess & there).sum() / max(guess.sum() + there.sum(), 1)
    error = np.nanmean(np.abs(horizon - pictures.horizon)) if np.isfinite(pictures.horizon).any() else np.nan
    return {"road_iou": round(float(both / max(either, 1)), 4), "line_f1": round(float(f1), 4),
            "horizon": round(float(error), 4)}
