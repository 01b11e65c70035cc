"""`nanodrive perceive --train-path`: the path head of a trained camera network learns on, alone.

The path needs many more steps than all that it is read from, and its head is small. So the frames are looked at once as
they are and a few times disturbed, what the head is given is kept, and it learns from that: an epoch takes seconds. All
other weights stay as they are, to the bit; confidences are fitted anew at the end.
"""

from __future__ import annotations

import copy
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn

from envs.config import require, require_within
from envs.geometry import Array
from perception import checkpoint, dataset, metrics
from perception.dataset import Frames, Look
from perception.learner import Learner
from perception.looks import disturbed
from perception.model import DriveNet, band_of, folded, glance_of
from perception.perceiver import WEIGHTS, load_network
from perception.tasks import path_loss
from perception.train import finish, varied
from perception.workers import made_ahead

AT_ONCE = 64  # frames looked at together
AVERAGE_DECAY = 0.998
TOLD_EVERY = 10  # epochs: each takes a second or two


@dataclass(frozen=True)
class TrainPathConfig:
    """Settings of `nanodrive perceive --train-path`."""

    data: tuple[Path, ...] = (Path("data/perception"),)
    """folders made by `nanodrive generate`, with train frames in each; the first has val frames, too"""
    weights: Path | None = None
    """the camera network, without its ending; default: the shipped one"""
    out: Path = Path("runs/path")
    """folder of the new checkpoint and the training state"""
    epochs: int = 300
    """passes over all looks"""
    batch: int = 256
    """looks a step"""
    rate: float = 2e-3
    """highest learning rate"""
    disturbed: int = 1
    """looks at each frame beside the one as it is, disturbed each time anew"""
    looks: float = 0.35
    """how strongly (perception/looks.py), 0 to 1"""
    threads: int = 2
    """processor threads of torch; another number gives other last digits"""
    seed: int = 0
    """of the order and of what is disturbed"""

    def __post_init__(self) -> None:
        require_within(self, [("epochs", 1, 10_000), ("batch", 2, 8192), ("rate", 1e-6, 1.0), ("disturbed", 0, 100),
                               ("looks", 0.0, 1.0), ("threads", 1, 256), ("seed", 0, 2**31)])
        require(len(self.data) > 0, "no folder of frames is named; give one or more after --data")

    @property
    def source(self) -> Path:
        """The camera network to go on from."""
        return self.weights or WEIGHTS


def run(config: TrainPathConfig) -> dict[str, Any]:
    """Train, or go on with the run in `config.out`; returns the figures on val frames and the checkpoint's path.

    Raises DatasetError for frames and CheckpointError for weights or a training state that cannot be used.
    """
    started = time.monotonic()
    torch.set_num_threads(config.threads)
    network = load_network(config.source)[0].eval().requires_grad_(False)
    val = dataset.read_usual(config.data[0], "val")
    given, paths = looked_at(network, config)
    require(len(given) >= config.batch, f"only {len(given)} looks were had of {len(config.data)} folders; give more "
            "frames or a smaller batch")
    training = Training(config, network, len(given))
    while training.epoch < config.epochs:
        loss = training.learn(given, paths)
        if training.epoch % TOLD_EVERY == 0:
            print(f"epoch {training.epoch} after {time.monotonic() - started:.0f} s: loss {loss:.3f}", flush=True)
    stem, floor = config.out / "perception", metrics.floor_of(val.labels, val.labels, val.camera.width_px)
    tensors, meta = checkpoint.load(config.source)
    learned = {f"path.{name}": value for name, value in training.mean.state_dict().items()}
    checkpoint.save(stem, tensors | learned, meta | {"path_from": checkpoint.fingerprint(config.source),
                                                     "val_frames": len(val)})
    return {"checkpoint": str(stem), "looks": len(given), "figures": finish(stem, val, floor),
            "floor": checkpoint.plain(floor), "duration_s": round(time.monotonic() - started, 1)}


def looked_at(network: DriveNet, config: TrainPathConfig) -> tuple[Tensor, Tensor]:
    """What the path head is given (K, F) at each look at the train frames, and the true paths (K, 12, 2)."""
    eyes = copy.deepcopy(network)
    folded(eyes)

    def looks_at(shard: tuple[int, int, Frames]) -> tuple[Tensor, Tensor]:
        number, index, frames = shard
        return _looks(eyes, config, dataset.by_usual_camera(frames),
                      np.random.default_rng([config.seed, number, index]))

    total = sum(entry["split"] == "train" for folder in config.data
                for entry in dataset.read_card(folder)["shards"].values())
    shards = ((number, index, frames) for number, folder in enumerate(config.data)
              for index, frames in enumerate(dataset.shards(folder, "train")))
    with ThreadPoolExecutor(config.threads, initializer=lambda: torch.set_num_threads(1)) as pool:
        looks = list(track(made_ahead(pool, looks_at, shards, config.threads), "look at shards", total))
    given, paths = zip(*looks, strict=True)
    return torch.cat(given), torch.cat(paths)


def _looks(eyes: DriveNet, config: TrainPathConfig, frames: Frames, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """What `looked_at` gives, of the frames of one shard."""
    given, paths = [], []
    for k in range(0, len(frames), AT_ONCE):
        rows = slice(k, k + AT_ONCE)
        rgb, command = frames.rgb[rows], torch.from_numpy(frames.labels["command"][rows])
        looks = [_given(eyes, rgb, command, None)]
        looks += [_given(eyes, np.stack([disturbed(frame, rng, config.looks) for frame in rgb]), command, rng)
                  for _ in range(config.disturbed)]
        given += looks
        paths += len(looks) * [torch.from_numpy(frames.labels["path_m"][rows])]
    return torch.cat(given), torch.cat(paths)


@torch.inference_mode()
def _given(eyes: DriveNet, rgb: Array, command: Tensor, rng: np.random.Generator | None) -> Tensor:
    """What the path head is given (N, F) at frames, varied as in training if chance is given."""
    if rng is None:
        pixels = glance_of(torch.from_numpy(rgb)), band_of(torch.from_numpy(rgb))
    else:
        pixels = varied(rgb, Look.draw(len(rgb), rng), rng)
    return eyes.look(*pixels, command)["path_given"]


class Training(Learner[nn.Sequential]):
    """The state of a run: the head, learning in its network. On disk after every epoch."""

    def __init__(self, config: TrainPathConfig, network: DriveNet, num_looks: int) -> None:
        self.config, self.epoch, self._network = config, 0, copy.deepcopy(network)
        super().__init__(self._network.path.requires_grad_(True), config.epochs * (num_looks // config.batch),
                         config.rate, 0.02, AVERAGE_DECAY)
        settings = {k: v for k, v in asdict(config).items() if k not in ("data", "out", "weights")}
        if meta := self.resume(config.out, "path", settings | {"weights": checkpoint.fingerprint(config.source)}):
            self.epoch = meta["epoch"]

    def learn(self, given: Tensor, paths: Tensor) -> float:
        """One pass in a random order; returns the mean loss."""
        self.epoch += 1
        order = np.random.default_rng([self.config.seed, self.epoch]).permutation(len(given))
        losses = []
        for k in range(0, len(order) - self.config.batch + 1, self.config.batch):
            rows = torch.from_numpy(order[k:k + self.config.batch])
            losses.append(self.follow(path_loss(self._network.path_of(given[rows]), {"path": paths[rows]})))
        self.save_state(epoch=self.epoch)
        return float(np.mean(losses))
