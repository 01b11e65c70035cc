"""The scout: finds traffic signs and lights in street photographs at full resolution, whatever the camera.

One small network looks at a pyramid of the photo (full size down to a quarter): it only knows signs of 11 to 46 px, so
that large signs are found as small ones in a smaller picture, and few parameters suffice. CenterNet's way (Zhou et al.
2019): a heat map of centres at a quarter of the resolution, with offset and size. Pixels enter as logarithms, since a
sign against the sky has a tenth of the light of one in the sun, with the same contrast. Which sign it is, is namer.py's
business; weights are made in scout_train.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.utils.fusion import fuse_conv_bn_eval

from envs.geometry import Array
from perception import checkpoint
from perception.calibration import share_of
from perception.checkpoint import CheckpointError
from perception.export import session, to_onnx
from perception.metrics import boxes_iou
from perception.model import convolution

KINDS = ("sign", "light")  # what it finds; each has five numbers a cell
LIGHT_CHANNELS, LIGHT_REACHES = 32, (1, 2, 4)  # of what finds lights: its width, and how far its layers look [cells]
WEIGHTS = Path(__file__).parent / "weights" / "scout"
STRIDE_PX = 4
MULTIPLE_PX = 16  # sides of what the network sees
LEVELS = (1.0, 0.71, 0.5, 0.355, 0.25)  # a sign is looked at near the middle of the known sizes in one of them
LARGEST_PX = 4_000_000  # photos of more pixels are looked at reduced to this many
LEAST_SCORE = 0.02
MOST_FOUND = 100  # in a photo, and in each level of its pyramid
SAME_SIGN_IOU = 0.35
SAME_SIGN_AWAY = 0.3  # between centres, as a share of the smaller sign
LOG_OF_PIXEL = ((np.log2(np.arange(256) + 6.0) - 5.2) / 1.6).astype(np.float32)


@dataclass(frozen=True)
class ScoutConfig:
    """Widths of the network; the defaults are the shipped one."""

    half: int = 16
    """channels at half the resolution"""
    quarter: int = 32
    """channels at a quarter, where signs are found"""
    eighth: int = 64
    """channels at an eighth and a sixteenth, where their surroundings are seen"""
    depth: int = 3
    """blocks at an eighth"""


class Block(nn.Module):
    """A 3 x 3 convolution with a bypass."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = convolution(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same shape."""
        return x + self.layer(x)


def _far_block(reach: int) -> nn.Sequential:
    """A depthwise 3 x 3 convolution that looks `reach` cells away, then a pointwise one."""
    apart = nn.Conv2d(LIGHT_CHANNELS, LIGHT_CHANNELS, 3, padding=reach, dilation=reach, groups=LIGHT_CHANNELS,
                      bias=False)
    return nn.Sequential(nn.Sequential(apart, nn.BatchNorm2d(LIGHT_CHANNELS), nn.ReLU(inplace=True)),
                         convolution(LIGHT_CHANNELS, LIGHT_CHANNELS))


class ScoutNet(nn.Module):
    """Log pixels (N, 3, H, W) -> (N, 10, H / 4, W / 4): for each of KINDS heat logit, offset x, y [cells], log width,
    log height [px].

    H and W are multiples of MULTIPLE_PX; offsets are from a cell's middle to the sign's.
    """

    def __init__(self, config: ScoutConfig | None = None) -> None:
        super().__init__()
        self.config = config or ScoutConfig()
        half, quarter, eighth = self.config.half, self.config.quarter, self.config.eighth
        self.down4 = nn.Sequential(convolution(3, half, 3, 2), convolution(half, quarter, 3, 2), Block(quarter))
        self.down8 = nn.Sequential(convolution(quarter, eighth, 3, 2), *(Block(eighth) for _ in range(
            self.config.depth)))
        self.down16 = nn.Sequential(convolution(eighth, eighth, 3, 2), Block(eighth))
        self.up8, self.up4 = convolution(eighth, eighth), convolution(eighth, quarter)
        self.mix4 = Block(quarter)
        self.head = nn.Conv2d(quarter, 5, 1)
        self.lights = nn.Sequential(convolution(2 * quarter, LIGHT_CHANNELS), *map(_far_block, LIGHT_REACHES),
                                    nn.Conv2d(LIGHT_CHANNELS, 5, 1))
        for last in (self.head, self.lights[-1]):  # things are rare at the start, and 20 px large
            last.bias = nn.Parameter(torch.tensor([-4.5, 0.0, 0.0, 3.0, 3.0]))

    def forward(self, x: Tensor) -> Tensor:
        at4 = self.down4(x)
        at8 = self.down8(at4)
        at8 = at8 + interpolate(self.up8(self.down16(at8)), scale_factor=2.0)
        features = self.mix4(at4 + interpolate(self.up4(at8), scale_factor=2.0))
        seen = torch.cat([features, at4], 1).detach()  # lights take what signs have learned
        return torch.cat([self.head(features), self.lights(seen)], 1)


@dataclass(frozen=True, eq=False)
class Found:
    """Things of one kind in one photo, best first."""

    box_px: Array  # (K, 4) float32 left, top, right, bottom in the photo's pixels
    score: Array  # (K,) float32 in [0, 1]


class Scout:
    """The network frozen for use, by ONNX Runtime or torch on as many threads as torch has now. Deterministic."""

    def __init__(self, model: ScoutNet, backend: str = "onnx") -> None:
        self._net = BACKENDS[backend](model)

    @staticmethod
    def load(stem: Path | None = None, backend: str = "onnx") -> Scout:
        """The trained scout at `stem` (default: the shipped one); raises CheckpointError."""
        source = stem or WEIGHTS
        tensors, meta = checkpoint.load(source)
        try:
            model = ScoutNet(ScoutConfig(**meta["model"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{source} does not describe a scout ({error}); train again") from error
        checkpoint.restore(model, tensors, source)  # from float16 to the network's float32
        return Scout(model, backend)

    def find(self, photo: Array, kinds: Sequence[str] = KINDS) -> tuple[Found, ...]:
        """The things of each of some KINDS in a photo uint8 (H, W, 3) RGB of any size."""
        levels = [self._look(photo, scale, kinds) for scale in _scales(*photo.shape[:2])]
        return tuple(best_of_each(*(np.concatenate(values) for values in zip(*parts, strict=True)))
                     for parts in zip(*levels, strict=True))

    def _look(self, photo: Array, scale: float, kinds: Sequence[str]) -> list[tuple[Array, Array]]:
        """Boxes in the photo's pixels and scores of each kind at one level."""
        seen, shrink = _level(photo, scale)
        heads = np.split(self._net(_as_input(seen))[0], len(KINDS))
        height, width = photo.shape[:2]
        found = (peaks(heads[KINDS.index(kind)]) for kind in kinds)
        return [((box * shrink).clip(0, [width, height, width, height]).astype(np.float32), score)
                for box, score in found]


def _scales(height: int, width: int) -> tuple[float, ...]:
    """Levels of the pyramid for a photo of this size."""
    first = min(1.0, (LARGEST_PX / (height * width)) ** 0.5)
    return tuple(first * level for level in LEVELS)


def _level(photo: Array, scale: float) -> tuple[Array, Array]:
    """The photo at a scale, its last row and column repeated to full multiples; and photo pixels per pixel of it (4,).
    """
    height, width = photo.shape[:2]
    h, w = (max(MULTIPLE_PX, round(side * scale)) for side in (height, width))
    small = photo if (h, w) == (height, width) else cv2.resize(photo, (w, h), interpolation=cv2.INTER_AREA)
    more = [-side % MULTIPLE_PX for side in (h, w)]
    if any(more):
        small = cv2.copyMakeBorder(small, 0, more[0], 0, more[1], cv2.BORDER_REPLICATE)
    return small, np.array([width / w, height / h] * 2)


def _as_input(image: Array) -> Array:
    """uint8 (H, W, 3) -> log pixels float32 (1, 3, H, W)."""
    return np.ascontiguousarray(LOG_OF_PIXEL[image].transpose(2, 0, 1))[None]


def peaks(heads: Array) -> tuple[Array, Array]:
    """Boxes (K, 4) [px of the level] and scores (K,) of the local maxima of one kind's output (5, h, w)."""
    heat = share_of(heads[0])
    is_peak = (heat == cv2.dilate(heat, np.ones((3, 3), np.uint8))) & (heat >= LEAST_SCORE)
    row, column = np.nonzero(is_peak)
    order = np.argsort(-heat[row, column], kind="stable")[:MOST_FOUND]
    row, column = row[order], column[order]
    off_x, off_y, log_w, log_h = heads[1:, row, column]
    x, y = (column + 0.5 + off_x) * STRIDE_PX, (row + 0.5 + off_y) * STRIDE_PX
    half_w, half_h = (np.exp(log.clip(0, 6)) / 2 for log in (log_w, log_h))
    return np.stack([x - half_w, y - half_h, x + half_w, y + half_h], 1), heat[row, column]


def best_of_each(box: Array, score: Array) -> Found:
    """Of boxes (K, 4) on one sign the one with the best score: greedy non-maximum suppression.

    Boxes are on one sign if they overlap, or if one lies in the middle of the other: two scales may disagree on a size,
    while no two signs share a centre.
    """
    order = np.argsort(-score, kind="stable")
    box, score = box[order], score[order]
    centre, side = (box[:, :2] + box[:, 2:]) / 2, (box[:, 2:] - box[:, :2]).max(1)
    away = np.abs(centre[:, None] - centre[None]).max(2) / np.minimum(side[:, None], side[None]).clip(min=1.0)
    is_same = (boxes_iou(box[:, None], box[None]) > SAME_SIGN_IOU) | (away < SAME_SIGN_AWAY)
    kept: list[int] = []
    for k in range(len(box)):
        if len(kept) < MOST_FOUND and not is_same[k, kept].any():
            kept.append(k)
    return Found(box[kept].astype(np.float32), score[kept].astype(np.float32))


def frozen(model: ScoutNet) -> ScoutNet:
    """The same function for inference, batch normalisation folded into the convolutions; changes the model given."""
    model.eval().requires_grad_(False)
    for module in list(model.modules()):
        if isinstance(module, nn.Sequential) and len(module) == 3 and isinstance(module[1], nn.BatchNorm2d):
            module[0] = fuse_conv_bn_eval(module[0], module[1])  # type: ignore[type-var]
            module[1] = nn.Identity()
    return model


def _by_onnx(model: ScoutNet) -> Callable[[Array], Array]:
    with torch.inference_mode():
        graph = to_onnx(frozen(model), {"pixels": torch.zeros(1, 3, 64, 64)}, ("heads",), {2: "rows", 3: "columns"})
    run = session(graph)
    return lambda pixels: run.run(None, {"pixels": pixels})[0]  # type: ignore[no-any-return]


def _by_torch(model: ScoutNet) -> Callable[[Array], Array]:
    frozen(model)

    def run(pixels: Array) -> Array:
        with torch.inference_mode():
            return model(torch.from_numpy(pixels)).numpy()  # type: ignore[no-any-return]
    return run


BACKENDS: dict[str, Callable[[ScoutNet], Callable[[Array], Array]]] = {"onnx": _by_onnx, "torch": _by_torch}


def describe(model: ScoutNet) -> dict[str, Any]:
    """What a checkpoint must say to rebuild the model."""
    return {"kind": "scout", "model": asdict(model.config),
            "num_parameters": sum(p.numel() for p in model.parameters())}
