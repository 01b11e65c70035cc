"""Whether the camera works: black, frozen, covered or overexposed pictures are flagged from the pictures alone.

Every eighth pixel's green is looked at, in tiles of 4 x 4 of them. A stuck picture repeats byte for byte. So do the
pictures of a car that stands, where nothing moves and no noise stirs; but a car comes to a halt by and by, while a
stuck camera stops from one frame to the next: repeats count only after a frame in which most of the picture changed.
(Sensor noise changes all of it, so in a noisy picture any repeat counts; other traffic changes a few tiles and proves
nothing.) Given the speed, repeats while the car moves count, too. What is covered is sought where the road is, as a
night's sky is black and even. Bounds stand well between 4,800 frames of expert drives in all weathers and the same
frames with the faults of corruptions.py. Nothing is repaired here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.geometry import Array

STEP_PX, TILE = 8, 4  # every eighth pixel; tiles of 4 x 4 of those
CONFIRM = 3  # frames in a row before a flag is up
BLACK_MEAN, BLACK_MOST = 6.0, 40  # grey levels; the darkest clean night has mean 26 and lamps of 60
DARK_MEAN, DARK_SPREAD, DARK_SHARE = 30.0, 3.0, 0.35  # a covered tile; share of tiles of the road (clean: at most 0.2)
ROAD_SHARE = 0.6  # of the picture's height
WHITE, WHITE_SHARE = 250, 0.15  # all channels at least so bright; share of pixels (clean: at most 0.01)
STIRRED = 0.5  # grey levels: median over the tiles of a frame's mean change; more is the car's own motion, or noise
MOVING_MPS = 0.3


@dataclass(frozen=True, eq=False)
class Health:
    """What is wrong with N cameras: (N,) bool each."""

    is_black: Array
    is_frozen: Array
    is_covered: Array
    is_overexposed: Array

    @property
    def is_ill(self) -> Array:
        """Whether anything is wrong (N,)."""
        return self.is_black | self.is_frozen | self.is_covered | self.is_overexposed


class HealthMonitor:
    """Watches the cameras of N cars. Deterministic; a flag is up from the third bad frame in a row to the next good."""

    def __init__(self, num_envs: int) -> None:
        self._before: Array | None = None  # samples of the last frames
        self._has_before = np.zeros(num_envs, bool)
        self._stir = np.zeros(num_envs)  # of the last frame that differed from the one before it
        self._bad = np.zeros((4, num_envs), int)  # frames in a row: black, frozen, covered, overexposed

    def reset(self, mask: Array) -> None:
        """Forget the cars whose `mask` (N,) bool is set: their next frame begins an episode."""
        self._has_before[mask], self._stir[mask], self._bad[:, mask] = False, 0.0, 0

    def update(self, camera: Array, speed_mps: Array | None = None) -> Health:
        """Take in frames uint8 (N, H, W, 3), at least 32 x 32, and, if known, the cars' speeds (N,)."""
        coarse = camera[:, STEP_PX // 2::STEP_PX, STEP_PX // 2::STEP_PX]
        height, width = (size // TILE * TILE for size in coarse.shape[1:3])
        samples = np.ascontiguousarray(coarse[:, :height, :width, 1])
        light = _tile_means(samples)
        grey = light.mean(1)
        spread = np.sqrt(np.maximum(_tile_means(np.square(samples, dtype=np.uint16)) - light**2, 0.0))
        is_black = (grey < BLACK_MEAN) & (samples.reshape(len(samples), -1).max(1) < BLACK_MOST)
        sky = round((1 - ROAD_SHARE) * height / TILE) * (width // TILE)  # tiles
        is_even = (light[:, sky:] < DARK_MEAN) & (spread[:, sky:] < DARK_SPREAD)
        is_dark = (is_even.mean(1) > DARK_SHARE) & ~is_black
        is_white = (coarse >= WHITE).all(3).mean((1, 2)) > WHITE_SHARE
        now = np.stack([is_black, self._repeats(samples, speed_mps), is_dark, is_white])
        self._bad = np.where(now, self._bad + 1, 0)
        return Health(*(self._bad >= CONFIRM))

    def _repeats(self, samples: Array, speed_mps: Array | None) -> Array:
        """Whether each frame repeats the one before although it should not (N,)."""
        if self._before is None or self._before.shape != samples.shape:
            self._before, self._has_before[:] = samples, False
        change = np.maximum(samples, self._before) - np.minimum(samples, self._before)
        is_same = ~change.any((1, 2)) & self._has_before
        stir = np.median(_tile_means(change), axis=1)
        self._stir = np.where(is_same | ~self._has_before, self._stir, stir)
        self._before, self._has_before[:] = samples, True
        is_odd = self._stir > STIRRED
        if speed_mps is not None:
            is_odd |= np.abs(speed_mps) > MOVING_MPS
        return np.asarray(is_same & is_odd)


def _tile_means(samples: Array) -> Array:
    """Mean of each tile: (N, rows, columns) -> (N, tiles) float32."""
    n, height, width = samples.shape
    sums = np.add.reduceat(samples.reshape(n, height // TILE, TILE, width).sum(2, dtype=np.uint32),
                           np.arange(0, width, TILE), axis=2)
    return (sums / np.float32(TILE * TILE)).reshape(n, -1).astype(np.float32)
