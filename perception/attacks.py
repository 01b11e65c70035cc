"""Pictures changed by so little that nobody sees it, to mislead the network: FGSM and PGD.

Goodfellow et al. 2015 ("Explaining and Harnessing Adversarial Examples", eq. in section 4) take one step of the
gradient's sign; Madry et al. 2018 ("Towards Deep Learning Models Resistant to Adversarial Attacks", section 2.1) take
many small ones from a random start and come back into the box after each. Both know the network and the truth, and
raise the loss of the heads of ATTACKED. Whole grey levels come out: what a camera could have delivered. Frames moved so
can be learned from, too (`nanodrive perceive --train --attacked`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from envs.geometry import Array
from perception import dataset
from perception.dataset import Frames
from perception.finder import BAND_BOTTOM, BAND_TOP
from perception.model import (
    BAND_HEIGHT_PX,
    BAND_WIDTH_PX,
    GLANCE_HEIGHT_PX,
    GLANCE_WIDTH_PX,
    PIXEL_MEAN,
    PIXEL_SCALE,
    DriveNet,
    frozen,
)
from perception.tasks import TASKS

ATTACKED = ("path", "things")  # rows of TASKS
BATCH = 25


@dataclass(frozen=True)
class Attack:
    """`steps` steps of `step_levels` grey levels each, staying within `reach_levels` of the picture."""

    reach_levels: float
    step_levels: float
    steps: int
    is_random_start: bool


ATTACKS: dict[str, Attack] = {
    "fgsm_2": Attack(2.0, 2.0, 1, False),
    "pgd_2": Attack(2.0, 0.5, 10, True),
}
"""By name: L-infinity, in grey levels of 255."""
TRAINED_AGAINST = Attack(2.0, 2.5, 1, True)
"""One step of 1.25 times the reach from a random start: Wong et al. 2020, "Fast is better than free"."""


def attack(name: str, model: DriveNet, frames: Frames, rng: np.random.Generator) -> Array:
    """All frames as a row of ATTACKS changes them against the network given: uint8 (N, H, W, 3).

    Freezes the model (see `frozen`); its parameters stay as they are.
    """
    frozen(model)
    out = np.empty_like(frames.rgb)
    for start in range(0, len(frames), BATCH):
        rows = np.arange(start, min(start + BATCH, len(frames)))
        targets = dataset.targets(frames.labels, rows, frames.camera)

        out[rows] = raised(ATTACKS[name], frames.rgb[rows], harm(model, targets), rng)
    return out


def harm(model: DriveNet, targets: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """What an attack raises: the loss of the heads of ATTACKED as a function of pixels (N, H, W, 3) in 0 to 255."""
    def loss(pixels: Tensor) -> Tensor:
        outputs = model.look(soft_glance(pixels), soft_band(pixels), targets["command"])
        return torch.stack([task.weight * task.loss(outputs, targets) for task in TASKS
                            if task.name in ATTACKED]).sum()
    return loss


def against(model: DriveNet, images: Array, targets: dict[str, Tensor], rng: np.random.Generator) -> Array:
    """Images uint8 (N, H, W, 3) as TRAINED_AGAINST changes them against a network in training, which stays as it is.

    Batch normalisation goes by the running statistics meanwhile: frames of an attack shall not enter them twice.
    """
    model.eval()
    moved = raised(TRAINED_AGAINST, images, harm(model, targets), rng)
    model.train()
    return moved


def raised(how: Attack, images: Array, loss: Callable[[Tensor], Tensor], rng: np.random.Generator) -> Array:
    """Images uint8 (N, H, W, 3) moved so that `loss` of float32 pixels (N, H, W, 3) in 0 to 255 rises."""
    clean = torch.from_numpy(images).float()
    pixels = clean.clone()
    if how.is_random_start:
        start = rng.uniform(-how.reach_levels, how.reach_levels, images.shape).astype(np.float32)
        pixels = (clean + torch.from_numpy(start)).clamp(0, 255)
    for _ in range(how.steps):
        pixels.requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(pixels), pixels)
        pixels = pixels.detach() + how.step_levels * gradient.sign()
        pixels = torch.minimum(torch.maximum(pixels, clean - how.reach_levels), clean + how.reach_levels).clamp(0, 255)
    return np.asarray(pixels.round().to(torch.uint8).numpy())


def soft_glance(pixels: Tensor) -> Tensor:
    """`model.glance_of` on float32 pixels (N, H, W, 3) in 0 to 255, with gradients and without rounding."""
    small = adaptive_avg_pool2d(pixels.permute(0, 3, 1, 2), (GLANCE_HEIGHT_PX, GLANCE_WIDTH_PX))
    return (small - PIXEL_MEAN) * PIXEL_SCALE


def soft_band(pixels: Tensor) -> Tensor:
    """`model.band_of` in the same way."""
    rows = pixels.permute(0, 3, 1, 2)[:, :, round(BAND_TOP * pixels.shape[1]):round(BAND_BOTTOM * pixels.shape[1])]
    return (adaptive_avg_pool2d(rows, (BAND_HEIGHT_PX, BAND_WIDTH_PX)) - PIXEL_MEAN) * PIXEL_SCALE
