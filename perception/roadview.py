"""The random camera over a random flat road that roadscapes.py draws through.

Places are told in road terms: metres to the left of the axis that runs through the camera, metres ahead, metres up.
"""

from __future__ import annotations

import math

import numpy as np

from envs.geometry import Array

WIDTH_PX, HEIGHT_PX = 320, 192
NEAREST_M = 0.8  # nothing is drawn nearer to the camera than this


class RoadView:
    """Where every pixel lies on the ground, and where every place lies in the picture."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.horizon_px = HEIGHT_PX * rng.uniform(0.22, 0.64)
        self.focal_u = WIDTH_PX / 2 / math.tan(math.radians(rng.uniform(38, 100)) / 2)
        self.focal_v = self.focal_u * math.exp(rng.uniform(math.log(0.8), math.log(1.5)))
        self.height_m = rng.uniform(1.0, 2.2)
        self.turn = rng.normal(0, 0.035)
        self.bend_pm = rng.normal(0, 0.002) if rng.random() < 0.7 else 0.0  # curvature, per metre
        self.roll = rng.normal(0, 0.012)
        self.middle_u = WIDTH_PX * rng.uniform(0.42, 0.58)

    def ground(self, u: Array, v: Array) -> tuple[Array, Array, Array]:
        """(aside [m] left of the road's axis through the camera, ahead [m], row under the horizon [px]) of pixels."""
        below = v - self.horizon_px - (u - self.middle_u) * self.roll
        ahead = (self.focal_v * self.height_m / np.maximum(below, 0.15)).astype(np.float32)
        aside = -(u - self.middle_u) / self.focal_u * ahead - self.turn * ahead + self.bend_pm / 2 * ahead**2
        return aside.astype(np.float32), ahead, below.astype(np.float32)

    def pixels(self, aside_m: Array | float, ahead_m: Array | float, up_m: Array | float = 0.0) -> Array:
        """Pixels (..., 2) of places beside the road's axis; nearer ones are put NEAREST_M ahead."""
        ahead = np.maximum(ahead_m, NEAREST_M)
        lateral = np.asarray(aside_m) + self.turn * ahead - self.bend_pm / 2 * ahead**2
        u = self.middle_u - self.focal_u * lateral / ahead
        v = (self.horizon_px + (u - self.middle_u) * self.roll
             + self.focal_v * (self.height_m - np.asarray(up_m)) / ahead)
        return np.stack(np.broadcast_arrays(u, v), -1)
