"""A glimpse: what the band's heat-maps found is cut out of the full frame, and a second, small network looks again.

It says exactly where the sign, light, vehicle or person is, whether it is there at all, what a light shows, and how far
a vehicle or person is: the band's cells of 4 px find nearly everything, but place things a pixel off, which is a fifth
of a sign 25 m away, and a twelfth of the way to a car there. Names of signs are namer.py's business; how this network
learns is train_glimpse.py's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from envs.config import CameraConfig
from envs.geometry import Array
from perception import checkpoint
from perception.calibration import share_of
from perception.export import session, to_onnx
from perception.finder import KINDS, NUM_PHASES
from perception.model import PIXEL_MEAN, PIXEL_SCALE, convolution, folded

WEIGHTS = Path(__file__).parent / "weights" / "glimpse"
CROP_PX = 32
REACH = 2.0  # a crop is so many times as wide as the longer side of its box
SMALLEST_PX = 5.0  # boxes are taken for at least as large
GROUNDED = ("vehicle", "person")  # stand on the ground: the lower edge of their boxes tells how far they are
SETTLED = ("sign",)  # looked at once more, from where the first glimpse put it: to be named it must fit its box
STACKED_FROM = 0.3  # above and below a sign found so surely another is looked for: posts carry up to three
STACKED_PX = 5.0  # if it is at least so high
STACKED_SIDES = 1.05  # so many of its heights away
ANSWERS = 4 + 1 + NUM_PHASES + 1
LOWEST_PX = 2.0  # a box that ends less below the horizon tells no distance


class GlimpseNet(nn.Module):
    """Crops uint8 (K, 32, 32, 3) and kinds (K, 4) one-hot, in the order of KINDS, to (K, 11).

    Those are: the middle's offset x, y [crop sides], log width and log height over the box's, the logit that the thing
    is there, logits of a light's phase, and log of the distance over `ground_m` of the box (GROUNDED).
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(convolution(3, 16, 3, 2), convolution(16, 32, 3, 2), convolution(32, 48, 3, 2),
                                    nn.Flatten())
        self.answer = nn.Sequential(nn.Linear(48 * (CROP_PX // 8) ** 2 + len(KINDS), 64), nn.ReLU(inplace=True),
                                    nn.Linear(64, ANSWERS))

    def forward(self, crops: Tensor, kind: Tensor) -> Tensor:
        pixels = (crops.permute(0, 3, 1, 2).float() - PIXEL_MEAN) * PIXEL_SCALE
        return self.seen(pixels, kind)

    def seen(self, pixels: Tensor, kind: Tensor) -> Tensor:
        """The same from normalised pixels (K, 3, 32, 32)."""
        return self.answer(torch.cat([self.layers(pixels), kind], 1))


@dataclass(frozen=True, eq=False)
class Looked:
    """What glimpses say of boxes (N, 4, M) of KINDS; where none was asked for, what was given, and 0."""

    box_px: Array  # (N, 4, M, 4) float32, left, top, right, bottom
    share: Array  # (N, 4, M) float32, how likely it is there
    phases: Array  # (N, M, 5) float32, logits of the phase of lights
    log_distance: Array  # (N, 4, M) float32, over that of the ground at the given box's lower edge; of GROUNDED


class Glimpse:
    """The network frozen for use, by ONNX Runtime ("onnx") or torch. Deterministic for a given batch."""

    def __init__(self, model: GlimpseNet, backend: str = "onnx") -> None:
        folded(model)
        self._answers = {"onnx": _by_onnx, "torch": _by_torch}[backend](model)

    @staticmethod
    def load(stem: Path | None = None, backend: str = "onnx") -> Glimpse:
        """The trained network at `stem` (default: the shipped one); raises CheckpointError when it cannot be used."""
        source = stem or WEIGHTS
        tensors, _ = checkpoint.load(source)
        model = GlimpseNet()
        checkpoint.restore(model, tensors, source)  # from float16 to the network's float32
        return Glimpse(model, backend)

    def look(self, frames: Array, box_px: Array, is_asked: Array) -> Looked:
        """Look again at the boxes (N, 4, M, 4) of uint8 frames (N, H, W, 3) where `is_asked` (N, 4, M) holds."""
        box, share = box_px.copy(), np.zeros(is_asked.shape, np.float32)
        phases = np.zeros((*is_asked[:, 0].shape, NUM_PHASES), np.float32)
        log_distance = np.zeros(is_asked.shape, np.float32)
        at = np.argwhere(is_asked)
        if len(at):
            asked = box_px[is_asked]
            answers = self._answers(cut(frames, at[:, 0], asked), np.eye(len(KINDS), dtype=np.float32)[at[:, 1]])
            box[is_asked] = placed(asked, answers[:, :4])
            share[is_asked] = share_of(answers[:, 4])
            of_light = at[:, 1] == KINDS.index("light")
            phases[at[of_light, 0], at[of_light, 2]] = answers[of_light, 5:-1]
            log_distance[is_asked] = answers[:, -1]
        return Looked(box, share, phases, log_distance)


def stacked(box_px: Array, peak: Array) -> tuple[Array, Array]:
    """Boxes (N, 4, M, 4) and peaks (N, 4, M) of what was found, and of where a sign may hang above and below each sign:
    (N, 4, 3 M, 4) and (N, 4, 3 M). Cells of 4 px tell two signs on one post as one.
    """
    step, height = np.zeros_like(box_px), box_px[..., 3] - box_px[..., 1]
    step[..., 1] = step[..., 3] = STACKED_SIDES * height
    maybe = np.where((peak >= STACKED_FROM) & (height >= STACKED_PX), peak, np.float32(0))
    maybe[:, 1:] = 0.0
    return np.concatenate([box_px, box_px - step, box_px + step], 2), np.concatenate([peak, maybe, maybe], 2)


def ground_m(box_px: Array, camera: CameraConfig) -> Array:
    """How far the ground is (...,) [m] where a level camera sees it at the lower edge of boxes (..., 4)."""
    below_px = np.maximum(box_px[..., 3] - camera.height_px / 2, LOWEST_PX)
    return np.asarray(camera.focal_px * camera.height_m / below_px, np.float32)


def sides_px(box_px: Array) -> Array:
    """Side (...,) [px] of the square that a glimpse at boxes (..., 4) shows."""
    return np.asarray(REACH * np.maximum((box_px[..., 2:] - box_px[..., :2]).max(-1), SMALLEST_PX))


def cut(frames: Array, which: Array, box_px: Array) -> Array:
    """The squares around boxes (K, 4) in the frames `which` (K,) of (N, H, W, 3): uint8 (K, 32, 32, 3), bilinear; the
    border goes on outside.
    """
    side = sides_px(box_px)[:, None]
    step, place = side / CROP_PX, np.zeros((len(box_px), 2, 3))
    place[:, [0, 1], [0, 1]] = step
    place[:, :, 2] = (box_px[:, :2] + box_px[:, 2:] - side) / 2 + step / 2 - 0.5
    crops = np.empty((len(box_px), CROP_PX, CROP_PX, 3), np.uint8)
    for frame, into, crop in zip(which.tolist(), place, crops, strict=True):
        cv2.warpAffine(frames[frame], into, (CROP_PX, CROP_PX), dst=crop, borderMode=cv2.BORDER_REPLICATE,
                       flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return crops


def placed(box_px: Array, answers: Array) -> Array:
    """Boxes (K, 4) as the answers (K, 4) of glimpses at them correct them; the inverse of `offsets`."""
    middle = (box_px[:, :2] + box_px[:, 2:]) / 2 + answers[:, :2] * sides_px(box_px)[:, None]
    half = np.maximum(box_px[:, 2:] - box_px[:, :2], 0.5) / 2 * np.exp(answers[:, 2:4].clip(-2, 2))
    return np.asarray(np.concatenate([middle - half, middle + half], 1), np.float32)


def offsets(box_px: Array, truth_px: Array) -> Array:
    """What glimpses at boxes (K, 4) should answer where the truth (K, 4) is: (K, 4) float32."""
    away = (truth_px[:, :2] + truth_px[:, 2:] - box_px[:, :2] - box_px[:, 2:]) / 2 / sides_px(box_px)[:, None]
    size, wanted = (np.maximum(box[:, 2:] - box[:, :2], 0.5) for box in (box_px, truth_px))
    return np.asarray(np.concatenate([away, np.log(wanted / size).clip(-2, 2)], 1), np.float32)


def _by_onnx(model: GlimpseNet) -> Any:
    inputs = {"crops": torch.zeros(2, CROP_PX, CROP_PX, 3, dtype=torch.uint8), "kind": torch.zeros(2, len(KINDS))}
    run = session(to_onnx(model, inputs, ("answers",))).run
    return lambda crops, kind: run(None, {"crops": crops, "kind": kind})[0]


def _by_torch(model: GlimpseNet) -> Any:
    def answers(crops: Array, kind: Array) -> Array:
        with torch.inference_mode():
            return np.asarray(model(torch.from_numpy(crops), torch.from_numpy(kind)).numpy())
    return answers
