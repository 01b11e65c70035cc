"""What a cut-out of a traffic light shows: a small network that has only seen the heads drawn by lampcrops.py.

`nanodrive perceive --train-lights` trains it, `nanodrive perceive --task light-crops` asks it about photographs. Where
in a frame a light stands, and whose it is, is the camera network's business (model.py).
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.progress import track
from torch import nn
from torch.nn.functional import cross_entropy

from envs.config import require_within
from envs.geometry import Array
from perception import checkpoint
from perception.lampcrops import STATES, draw_crop
from perception.learner import Learner
from perception.model import convolution, normalised
from perception.photos import Pictures, View, write_csv

WEIGHTS = Path(__file__).parent / "weights" / "lights"
SIDE_PX = 32
VAL_CROPS = 4000
AVERAGE_DECAY = 0.998
SAVED_STEPS = 500  # from so many steps before, at most, an interrupted run goes on


class LightNet(nn.Sequential):
    """Normalised cut-outs float32 (N, 3, 32, 32) -> logits (N, 4) of STATES."""

    def __init__(self) -> None:
        super().__init__(convolution(3, 16, 3), convolution(16, 32, 3, 2), convolution(32, 48, 3, 2),
                         convolution(48, 64, 3, 2), nn.Flatten(), nn.Dropout(0.3),
                         nn.Linear(64 * (SIDE_PX // 8) ** 2, len(STATES)))


@dataclass(frozen=True)
class LightTrainConfig:
    """Settings of `nanodrive perceive --train-lights`."""

    out: Path = Path("runs/lights")
    """folder of the checkpoint and the training state"""
    steps: int = 3000
    """batches"""
    batch: int = 96
    """freshly drawn cut-outs a step"""
    rate: float = 3e-3
    """highest learning rate"""
    threads: int = 1
    """processor threads of torch"""
    seed: int = 0
    """of weights and cut-outs"""

    def __post_init__(self) -> None:
        require_within(self, [("steps", 1, 10**6), ("batch", 2, 4096), ("rate", 1e-6, 1.0), ("threads", 1, 256),
                               ("seed", 0, 2**31)])


def squeezed(crop: Array) -> Array:
    """A cut-out of any size as the network sees it: uint8 (32, 32, 3), its sides stretched to be equal."""
    is_large = min(crop.shape[:2]) >= SIDE_PX
    return np.asarray(cv2.resize(crop, (SIDE_PX, SIDE_PX),
                                 interpolation=cv2.INTER_AREA if is_large else cv2.INTER_LINEAR))


def drawn(count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Fresh cut-outs uint8 (count, 32, 32, 3) and their states int64 (count,)."""
    crops, states = zip(*(draw_crop(rng) for _ in range(count)), strict=True)
    return np.stack([squeezed(crop) for crop in crops]), np.array(states)


def run(config: LightTrainConfig) -> dict[str, Any]:
    """Train, or go on with the run in `config.out`, and save the mean weights; returns the figures on drawn cut-outs
    that were not trained on. Raises CheckpointError for a training state that cannot be used.
    """
    started = time.monotonic()
    torch.set_num_threads(config.threads)
    with torch.random.fork_rng(devices=[]):
        training = Training(config)
        for _ in track(range(training.step, config.steps), "lights"):
            training.learn()
    mean = training.mean
    figures = measure(LightReader(mean), *drawn(VAL_CROPS, np.random.default_rng([config.seed, 1])))
    checkpoint.save(config.out / "lights", checkpoint.halved(mean.state_dict()), {
        "kind": "lights", "states": list(STATES), "settings": training.settings, "figures": figures})
    return {"checkpoint": str(config.out / "lights"), "figures": figures,
            "num_parameters": sum(p.numel() for p in mean.parameters()),
            "duration_s": round(time.monotonic() - started, 1)}


class Training(Learner[LightNet]):
    """The state of a run. On disk every SAVED_STEPS."""

    def __init__(self, config: LightTrainConfig) -> None:
        torch.manual_seed(config.seed)
        super().__init__(LightNet(), config.steps, config.rate, 0.05, AVERAGE_DECAY)
        self.config, self.settings = config, {k: v for k, v in asdict(config).items() if k != "out"}
        self.resume(config.out, "lights", self.settings)

    def learn(self) -> None:
        """One step on fresh cut-outs."""
        rng = np.random.default_rng([self.config.seed, 0, self.step])
        torch.manual_seed(int(rng.integers(2**62)))  # dropout
        crops, states = drawn(self.config.batch, rng)
        self.follow(cross_entropy(self.model(normalised(crops)), torch.from_numpy(states), label_smoothing=0.02))
        if self.step % SAVED_STEPS == 0:
            self.save_state()


class LightReader:
    """The trained network on cut-outs of any size."""

    def __init__(self, model: LightNet) -> None:
        self._model = model.eval().requires_grad_(False)

    @staticmethod
    def load(stem: Path | None = None) -> LightReader:
        """The network at `stem` (default: the shipped one); raises CheckpointError."""
        source = stem or WEIGHTS
        tensors, _ = checkpoint.load(source)
        model = LightNet()
        checkpoint.restore(model, tensors, source)
        return LightReader(model)

    def read(self, crops: Array) -> Array:
        """Probabilities float32 (N, 4) of STATES for uint8 (N, 32, 32, 3) from `squeezed`."""
        with torch.inference_mode():
            parts = [torch.softmax(self._model(normalised(crops[i:i + 256])), 1) for i in range(0, len(crops), 256)]
        return np.concatenate([part.numpy() for part in parts]) if parts else np.zeros((0, len(STATES)), np.float32)


def measure(reader: LightReader, crops: Array, states: Array) -> dict[str, float]:
    """Accuracy, recall of each state, and the share of red that was called green."""
    guess = reader.read(crops).argmax(1)
    figures = {"accuracy": float((guess == states).mean())}
    figures |= {f"{name}_recall": float((guess == k)[states == k].mean()) for k, name in enumerate(STATES)}
    figures["red_called_green"] = float((guess == STATES.index("green"))[states == STATES.index("red")].mean())
    return {name: round(value, 4) for name, value in figures.items()}


def read_photos(pictures: Pictures, out: Path, view: View) -> dict[str, Any]:
    """`--task light-crops`: rows file, state, confidence; one photographed head per file. `view` is not needed."""
    del view
    files, crops = [], []
    for file, image in pictures:
        files.append(file.name)
        crops.append(squeezed(image))
    shares = LightReader.load().read(np.stack(crops))
    best = shares.argmax(1)
    write_csv(out, ("file", "state", "confidence"),
              ((name, STATES[k], f"{row[k]:.4f}") for name, k, row in zip(files, best, shares, strict=True)))
    return {name: int((best == k).sum()) for k, name in enumerate(STATES)}
