"""What may change about a picture without changing what it shows: light, lens, sensor and file, drawn at random.

Strong on purpose: a network that learns from drawn frames must not learn how they are drawn. Shapes stay where they
are, so labels stay true; geometry is varied where the labels are made.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from envs.geometry import Array


def disturbed(image: Array, rng: np.random.Generator, strength: float = 1.0) -> Array:
    """A uint8 (H, W, 3) picture through each row of LOOKS with its probability times `strength`; a new array."""
    pixels = image.astype(np.float32)
    for probability, change in LOOKS:
        if rng.random() < probability * strength:
            pixels = change(pixels, rng)
    return np.asarray(pixels.clip(0, 255).astype(np.uint8))


def _tone(pixels: Array, rng: np.random.Generator) -> Array:
    """Exposure, gamma, contrast, brightness."""
    gamma, gain = math.exp(rng.uniform(-0.6, 0.6)), math.exp(rng.uniform(-0.5, 0.5))
    table = (np.arange(256, dtype=np.float32) / 255 * gain).clip(0, 1) ** gamma
    table = 255 * ((table - 0.5) * rng.uniform(0.6, 1.4) + 0.5 + rng.uniform(-0.15, 0.15))
    return np.asarray(table[pixels.clip(0, 255).astype(np.uint8)])


def _colour(pixels: Array, rng: np.random.Generator) -> Array:
    """White balance and saturation; sometimes channels mixed, as no camera would."""
    grey = pixels.mean(2, keepdims=True)
    pixels = grey + (pixels - grey) * np.float32(rng.uniform(0.0, 1.7))
    if rng.random() < 0.15:
        mix = np.eye(3) + rng.normal(0, 0.25, (3, 3))
        pixels = cv2.transform(pixels, mix / mix.sum(1, keepdims=True))
    return np.asarray(pixels * rng.uniform(0.8, 1.2, 3).astype(np.float32))


def _shade(pixels: Array, rng: np.random.Generator) -> Array:
    """Shadows with hard or soft edges: some of the picture is darker by half or more."""
    height, width = pixels.shape[:2]
    if rng.random() < 0.5:
        field = clouds((height, width), rng, int(rng.integers(2, 9)), 2)
        mask = (field * rng.uniform(4, 40)).clip(0, 1)
    else:
        corners = rng.uniform(-0.3, 1.3, (int(rng.integers(3, 6)), 2)) * [width, height]
        mask = np.zeros((height, width), np.float32)
        cv2.fillConvexPoly(mask, cv2.convexHull(corners.astype(np.int32)), 1.0)
    return np.asarray(pixels * (1 - mask[..., None] * np.float32(rng.uniform(0.2, 0.7))))


def _texture(pixels: Array, rng: np.random.Generator) -> Array:
    """Brightness that varies over the picture on every scale, and what does not belong there."""
    field = clouds(pixels.shape[:2], rng, int(rng.integers(2, 20)), 4)
    return np.asarray(pixels * (1 + field[..., None] * np.float32(rng.uniform(0.1, 0.5))))


def _stickers(pixels: Array, rng: np.random.Generator) -> Array:
    """Small things in front of the lens, of any colour."""
    height, width = pixels.shape[:2]
    pixels = pixels.copy()
    for _ in range(int(rng.integers(1, 5))):
        size = rng.uniform(0.02, 0.14, 2) * [width, height]
        at = rng.uniform(0, 1, 2) * [width, height]
        colour = tuple(float(x) for x in rng.uniform(0, 255, 3))
        cv2.ellipse(pixels, tuple(int(x) for x in at), tuple(int(x) + 1 for x in size), rng.uniform(0, 180), 0, 360,
                    colour, -1)
    return pixels


def _blur(pixels: Array, rng: np.random.Generator) -> Array:
    """Out of focus, or moved during the exposure."""
    if rng.random() < 0.7:
        return np.asarray(cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.3, 1.3)))
    length = int(rng.integers(2, 6))
    return np.asarray(cv2.blur(pixels, (length, 1) if rng.random() < 0.6 else (1, length)))


def _sharpen(pixels: Array, rng: np.random.Generator) -> Array:
    """What cameras do to look crisp."""
    soft = cv2.GaussianBlur(pixels, (0, 0), 1.2)
    return np.asarray(pixels + (pixels - soft) * np.float32(rng.uniform(0.3, 1.5)))


def _haze(pixels: Array, rng: np.random.Generator) -> Array:
    """Stray light over the whole picture or from one side."""
    height, width = pixels.shape[:2]
    slope = rng.uniform(-1, 1) * np.linspace(-0.5, 0.5, width)[None] + rng.uniform(-1, 1) * np.linspace(
        -0.5, 0.5, height)[:, None]
    share = (rng.uniform(0, 0.45) * (1 + slope)).clip(0, 0.8)[..., None].astype(np.float32)
    return np.asarray(pixels * (1 - share) + share * rng.uniform(150, 255, 3).astype(np.float32))


def _noise(pixels: Array, rng: np.random.Generator) -> Array:
    """Sensor noise, a little of it shared by the channels."""
    sigma = np.float32(rng.uniform(1, 14))
    shape = pixels.shape if rng.random() < 0.5 else (*pixels.shape[:2], 1)
    grain = rng.standard_normal(shape, np.float32)
    return np.asarray(pixels + sigma * grain)


def _jpeg(pixels: Array, rng: np.random.Generator) -> Array:
    """Saved once with few bits."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 90))]
    data = cv2.imencode(".jpg", pixels.clip(0, 255).astype(np.uint8), quality)[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.float32)


def clouds(shape: tuple[int, int], rng: np.random.Generator, cells: int, octaves: int) -> Array:
    """Smooth noise float32 (H, W), about in [-1, 1]: `cells` bumps across, halved in size and weight each octave."""
    total = np.zeros(shape, np.float32)
    for k in range(octaves):
        count = cells * 2**k
        coarse = rng.standard_normal((max(count * shape[0] // shape[1], 2), count), np.float32)
        total += cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_LINEAR) * np.float32(0.6 * 0.6**k)
    return total


Look = Callable[[Array, np.random.Generator], Array]
LOOKS: tuple[tuple[float, Look], ...] = (  # (probability, change), in this order: scene, lens, sensor, file
    (0.3, _shade), (0.3, _texture), (0.85, _tone), (0.75, _colour), (0.2, _haze), (0.15, _stickers), (0.3, _blur),
    (0.15, _sharpen), (0.5, _noise), (0.3, _jpeg))
