"""The sign namer: a small network that says which of GTSRB's 43 signs a crop shows, or that it shows none of them.

Trained on crops from our own vector faces alone (train_namer.py), used on photographs (`nanodrive perceive --task
sign-crops`) and on the crops that the camera network finds. It finds no signs itself and remembers nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from envs.config import require_within
from envs.geometry import Array
from envs.signs import SIGNS
from perception import checkpoint
from perception.checkpoint import CheckpointError
from perception.crops import CROP_PX, normalised
from perception.export import session, to_onnx
from perception.model import convolution, frozen
from perception.photos import Pictures, View, write_csv
from perception.templates import NO_SIGN, NUM_CLASSES

WEIGHTS = Path(__file__).parent / "weights" / "namer"
MIDDLE_FROM, MIDDLE_TO = 6, 34  # rows and columns of a crop that a well-fitted sign fills
MOST_SPREADS = 4.0
DARK_SPREAD = 2.0  # added to a crop's spread of grey values: noise in the dark is not blown up to full contrast
# How a picture of unknown margin is looked at: share cut off on each side, then moved by shares of width and height.
VIEWS = ((0.08, 0.04, 0.0), (0.08, -0.04, 0.0), (0.08, 0.0, 0.04), (0.08, 0.0, -0.04))
# GTSRB's pictures have a border around the sign: a tenth of its width, 5 px at least (Stallkamp et al. 2012).
BORDER_SHARE, BORDER_PX = 1 / 12, 5
SURE = 0.95  # a name less likely than this is sought again in the whole picture
BATCH = 64  # pictures that are named at once


@dataclass(frozen=True)
class NamerConfig:
    """Widths of the network; PHOTOS are those of the shipped one."""

    stem: int = 24
    """channels at half the crop's size"""
    middle: int = 48
    """channels at a quarter"""
    top: int = 112
    """channels at an eighth"""
    last: int | None = None
    """channels at a sixteenth; None: as many as at an eighth"""
    fine: int = 0
    """layers more at half the size, where thin strokes are still apart"""
    dropout: float = 0.25
    """before the last layer, in training"""

    def __post_init__(self) -> None:
        widths = ("stem", "middle", "top", *(() if self.last is None else ("last",)))
        require_within(self, [*((name, 1, 1024) for name in widths), ("fine", 0, 8), ("dropout", 0.0, 0.9)])


PHOTOS = NamerConfig(stem=24, middle=48, top=96, last=112, fine=1)


class SignNet(nn.Module):
    """Crops uint8 (N, 40, 40, 3) RGB -> logits float32 (N, 44): rows of SIGNS, the last one "none of them"."""

    def __init__(self, config: NamerConfig | None = None) -> None:
        super().__init__()
        self.config = config or NamerConfig()
        stem, middle, top = self.config.stem, self.config.middle, self.config.top
        last = self.config.last or top
        self.layers = nn.Sequential(
            convolution(3, stem, 5, 2), *(convolution(stem, stem, 3) for _ in range(self.config.fine)),
            convolution(stem, middle, 3, 2), convolution(middle, middle, 3),
            convolution(middle, top, 3, 2), convolution(top, top, 3), convolution(top, last, 3, 2),
            nn.Flatten(), nn.Dropout(self.config.dropout), nn.Linear(last * math.ceil(CROP_PX / 16) ** 2, NUM_CLASSES))

    def forward(self, crops: Tensor) -> Tensor:
        return self.layers(standardised(crops))


def standardised(crops: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W) of mean 0 and spread about 1 over each crop's middle, colours kept.

    The middle alone counts, so that a dark sign before a bright sky still has its full contrast; what is brighter or
    darker than any part of a sign is cut off.
    """
    values = crops.permute(0, 3, 1, 2).float()
    middle = values[:, :, MIDDLE_FROM:MIDDLE_TO, MIDDLE_FROM:MIDDLE_TO]
    mean = middle.mean(dim=(1, 2, 3), keepdim=True)
    spread = (middle - mean).square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return ((values - mean) / (spread + DARK_SPREAD)).clamp(-MOST_SPREADS, MOST_SPREADS)


class Namer:
    """The network frozen for use, by ONNX Runtime ("onnx") or torch. Deterministic for a given batch."""

    classes: tuple[str, ...] = (*(sign.name for sign in SIGNS), "none")

    def __init__(self, model: SignNet, temperature: float = 1.0, backend: str = "onnx") -> None:
        """`temperature` divides the logits (Guo et al. 2017), so that a confidence is a share of right answers."""
        frozen(model)  # type: ignore[arg-type]  # any module will do
        self._temperature = temperature
        self._logits = {"onnx": _by_onnx, "torch": _by_torch}[backend](model)

    @staticmethod
    def load(stem: Path | None = None, backend: str = "onnx") -> Namer:
        """The trained namer at `stem` (default: the shipped one); raises CheckpointError when it cannot be used."""
        source = stem or WEIGHTS
        tensors, meta = checkpoint.load(source)
        try:
            model, temperature = SignNet(NamerConfig(**meta["model"])), float(meta["temperature"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{source} does not describe a sign namer ({error}); train again") from error
        checkpoint.restore(model, tensors, source)  # from float16 to the network's float32
        return Namer(model, temperature, backend)

    def name(self, crops: Array | Sequence[Array]) -> Array:
        """Probabilities float32 (N, 44) of `classes` for pictures uint8 (H, W, 3) RGB of any sizes.

        A picture shows a sign and up to a third of its width around it; an array (N, 40, 40, 3) is taken as it is.
        Raises ValueError for pictures of another kind.
        """
        for crop in crops:
            if crop.ndim != 3 or crop.shape[2] != 3 or crop.dtype != np.uint8 or 0 in crop.shape:
                raise ValueError(f"a crop is {crop.dtype} {crop.shape}; give uint8 (H, W, 3) RGB")
        if len(crops) == 0:
            return np.zeros((0, NUM_CLASSES), np.float32)
        logits = self._logits(np.stack([normalised(crop) for crop in crops])) / np.float32(self._temperature)
        shares = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(shares / shares.sum(1, keepdims=True), np.float32)


def _by_onnx(model: SignNet) -> Any:
    crops = torch.zeros(2, CROP_PX, CROP_PX, 3, dtype=torch.uint8)
    run = session(to_onnx(model, {"crops": crops}, ("logits",))).run
    return lambda pictures: run(None, {"crops": pictures})[0]


def _by_torch(model: SignNet) -> Any:
    def logits(pictures: Array) -> Array:
        with torch.inference_mode():
            return np.asarray(model(torch.from_numpy(pictures)).numpy())
    return logits


def describe(model: SignNet) -> dict[str, Any]:
    """What a checkpoint must say to rebuild the model, and its number of parameters."""
    return {"kind": "sign namer", "model": asdict(model.config), "classes": list(Namer.classes),
            "num_parameters": sum(p.numel() for p in model.parameters())}


def name_pictures(pictures: Pictures, out: Path, view: View) -> dict[str, Any]:
    """`--task sign-crops`: rows `file,class_id,confidence` with the likeliest of GTSRB's classes 0 to 42.

    Nobody says how well a picture fits its sign: it is looked at without GTSRB's border, those that then are not
    surely named once more as they are, and the surer answer counts. The confidence is the mean probability of that
    class; "none of them" keeps its share of it but is never answered.
    """
    namer, rows = Namer.load(), []
    for some in _batches(pictures):
        shares = _seen(namer, [without_border(picture) for _, picture in some])
        doubted = np.flatnonzero(shares.max(1) < SURE)
        again = _seen(namer, [some[k][1] for k in doubted])
        surer = again.max(1) > shares[doubted].max(1)
        shares[doubted[surer]] = again[surer]
        rows += [(file.name, int(row.argmax()), f"{row.max():.4f}")
                 for (file, _), row in zip(some, shares, strict=True)]
    write_csv(out, ("file", "class_id", "confidence"), rows)
    return {"rows": len(rows)}


def _seen(namer: Namer, pictures: list[Array]) -> Array:
    """Mean probabilities (N, 43) of GTSRB's classes over several cut-outs (VIEWS) of each picture."""
    views = [namer.name([cut_out(picture, *view) for picture in pictures]) for view in VIEWS]
    return np.asarray(np.mean(views, axis=0)[:, :NO_SIGN])


def without_border(picture: Array) -> Array:
    """A picture (H, W, 3) without GTSRB's border, which is a pixel less on the right and below. At least one pixel."""
    height, width = picture.shape[:2]
    top, left = (max(BORDER_PX, round(size * BORDER_SHARE)) for size in (height, width))
    return np.ascontiguousarray(picture[min(top, height - 1):max(height - top + 1, top + 1),
                                        min(left, width - 1):max(width - left + 1, left + 1)])


def cut_out(picture: Array, margin: float, right: float, down: float) -> Array:
    """A picture (H, W, 3) without a margin on each side, moved; all as shares of its size. At least one pixel."""
    height, width = picture.shape[:2]
    top, bottom = (round(edge * height) for edge in (margin + down, 1 - margin + down))
    left, side = (round(edge * width) for edge in (margin + right, 1 - margin + right))
    return np.ascontiguousarray(picture[top:max(bottom, top + 1), left:max(side, left + 1)])


def _batches(pictures: Pictures) -> Iterator[list[tuple[Path, Array]]]:
    """Pictures in groups of BATCH, the last one smaller."""
    some: list[tuple[Path, Array]] = []
    for pair in pictures:
        some.append(pair)
        if len(some) == BATCH:
            yield some
            some = []
    if some:
        yield some
