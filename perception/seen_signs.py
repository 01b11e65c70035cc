"""Signs cut out of generated frames as the driving loop shows them to the namer: small, in weather, never quite fitted.

They join the painted crops of crops.py when the reader learns, the namer that drives. What is no sign is cut from
places where none is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from envs.geometry import Array
from envs.signs import SIGNS
from perception.crops import CROP_PX, normalised
from perception.dataset import Frames
from perception.perceiver import square

LEAST_PX = 5.0  # smaller signs nobody reads
MOVED, SCALED = 0.05, 0.08  # spread of what a box is off: shares of its size, and of the log of it
TIMES = 2  # each sign is cut out so often
NONE_EVERY = 4  # frames that give one cut-out of no sign


def cut_outs(parts: Iterable[Frames], rng: np.random.Generator) -> tuple[Array, Array]:
    """Crops uint8 (K, 40, 40, 3) of the signs of all frames and their classes (K,); len(SIGNS) is none of them."""
    crops: list[Array] = []
    classes: list[int] = []
    for frames in parts:
        for crop, row in _signs_of(frames, rng):
            crops.append(crop)
            classes.append(row)
    return np.stack(crops).reshape(-1, CROP_PX, CROP_PX, 3), np.array(classes)


def _signs_of(frames: Frames, rng: np.random.Generator) -> Iterator[tuple[Array, int]]:
    """Each sign of some frames TIMES, and now and then a place where none is."""
    box_px, sign_class = frames.labels["sign_box_px"], frames.labels["sign_class"]
    for frame, k in np.argwhere((sign_class >= 0) & ((box_px[..., 2:] - box_px[..., :2]).min(2) >= LEAST_PX)):
        for _ in range(TIMES):
            yield _cut(frames.rgb[frame], box_px[frame, k], rng), int(sign_class[frame, k])
    height, width = frames.rgb.shape[1:3]
    for frame in range(0, len(frames), NONE_EVERY):
        side = float(np.exp(rng.uniform(np.log(LEAST_PX), np.log(30.0))))
        u, v = rng.uniform(0, width - side), rng.uniform(0.1, 0.6) * height
        box = np.array([u, v, u + side, v + side], np.float32)
        there = box_px[frame][sign_class[frame] >= 0]
        if not ((there[:, :2] < box[2:]) & (there[:, 2:] > box[:2])).all(1).any():
            yield _cut(frames.rgb[frame], box, rng), len(SIGNS)


def _cut(frame: Array, box_px: Array, rng: np.random.Generator) -> Array:
    """A box, a little off, as the namer takes it."""
    size = box_px[2:] - box_px[:2]
    middle = (box_px[:2] + box_px[2:]) / 2 + rng.normal(0, MOVED, 2) * size
    half = size / 2 * np.exp(rng.normal(0, SCALED))
    return normalised(square(frame, np.concatenate([middle - half, middle + half])))


class Pool:
    """Crops by class, to draw from: each class as likely as another, none of them a little less."""

    def __init__(self, crops: Array, classes: Array) -> None:
        self._crops = crops
        self._rows = [np.flatnonzero(classes == row) for row in range(len(SIGNS) + 1)]
        self._there = np.array([row for row, rows in enumerate(self._rows) if len(rows)])

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """`count` crops and their classes int64."""
        classes = rng.choice(self._there, count)
        rows = [rng.choice(self._rows[row]) for row in classes]
        return self._crops[rows], classes.astype(np.int64)
