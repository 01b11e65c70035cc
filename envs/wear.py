"""What years do to a sign: fading, dirt, stickers, scratches, a bent post; and the few looks that towns draw from.

Wear lies over a clean picture in shares of the plate, drawn from its own seed: the same at every size. Nothing here
knows which sign it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np

from envs.faces import Make
from envs.geometry import Array
from envs.plate import Colour

BLEACHED = (222, 208, 196)  # what colour fades to in the sun
DUST = (104, 92, 72)
# What is drawn for a look: (low, high) of a uniform distribution; stickers and scratches are counts.
_RANGES = {"fading": (0.0, 0.75), "dirt": (0.0, 0.7), "roll_deg": (-6.0, 6.0)}
_STICKERS, _SCRATCHES = (0, 0, 0, 1, 2), (0, 0, 1, 3)
_MAKES = (Make(0, False), Make(1, True), Make(2, False))
STRAIGHT_SHARE = 0.5  # of looks that do not lean


@dataclass(frozen=True)
class Wear:
    """How a sign looks; the default is fresh from the factory."""

    make: Make = field(default_factory=Make)
    fading: float = 0.0
    """share of colour lost to the sun, 0 to 1"""
    dirt: float = 0.0
    """0 to 1"""
    stickers: int = 0
    scratches: int = 0
    roll_rad: float = 0.0
    """how far the plate leans, clockwise as its driver sees it"""
    seed: int = 0
    """of where dirt, stickers and scratches lie"""

    @staticmethod
    def draw(rng: np.random.Generator) -> Wear:
        """One of the looks met in a street."""
        leans = rng.random() > STRAIGHT_SHARE
        return Wear(make=_MAKES[rng.integers(len(_MAKES))],
                    fading=float(rng.uniform(*_RANGES["fading"])) ** 1.5, dirt=float(rng.uniform(*_RANGES["dirt"])),
                    stickers=int(rng.choice(_STICKERS)), scratches=int(rng.choice(_SCRATCHES)),
                    roll_rad=math.radians(rng.uniform(*_RANGES["roll_deg"])) if leans else 0.0,
                    seed=int(rng.integers(2 ** 31)))


def leaning(outline: Array, roll_rad: float) -> tuple[Array, float]:
    """An outline (M, 2) turned about the plate's middle, shrunk to the unit square, and by how much."""
    cos, sin = math.cos(roll_rad), math.sin(roll_rad)
    turned = (outline - 0.5) @ np.array([[cos, sin], [-sin, cos]])
    shrink = max(1.0, 2.0 * float(np.abs(turned).max()))
    return 0.5 + turned / shrink, shrink


def leaned(picture: Array, roll_rad: float, shrink: float) -> Array:
    """A square picture (S, S, 3), turned and shrunk as its outline."""
    if roll_rad == 0.0 and shrink == 1.0:
        return picture
    side = picture.shape[0]
    turn = cv2.getRotationMatrix2D((side / 2 - 0.5, side / 2 - 0.5), -math.degrees(roll_rad), 1 / shrink)
    return cv2.warpAffine(picture, turn, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def worn(picture: Array, wear: Wear) -> Array:
    """A clean picture uint8 (S, S, 3) with its wear, but for the lean."""
    if not (wear.fading or wear.dirt or wear.stickers or wear.scratches):
        return picture
    rng, side = np.random.default_rng(wear.seed), picture.shape[0]
    dirt = _dirt(side, rng)
    shown = picture.astype(np.float32)
    if wear.fading:
        red, green, blue = cv2.split(shown)
        chroma = cv2.max(cv2.max(red, green), blue) - cv2.min(cv2.min(red, green), blue)
        _blend(shown, wear.fading * (0.15 + 0.65 / 255 * chroma), BLEACHED)
    if wear.dirt:
        _blend(shown, 0.75 * wear.dirt * dirt, DUST)
    result = cv2.convertScaleAbs(shown)
    for _ in range(wear.scratches):
        _scratch(result, rng)
    for _ in range(wear.stickers):
        _sticker(result, rng)
    return result


def _blend(picture: Array, share: Array, colour: Colour) -> None:
    """Move a float32 picture (S, S, 3), in place, towards a colour by a share (S, S) float32."""
    for channel, value in enumerate(colour):
        part = picture[..., channel]
        part += share * (np.float32(value) - part)


def _dirt(side: int, rng: np.random.Generator) -> Array:
    """Share of dirt (side, side) float32: clouds, streaks that run down, and more of it towards the lower edge."""
    clouds = cv2.resize(rng.random((7, 7), np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    streaks = cv2.resize(rng.random((3, 40), np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    down = np.linspace(0.35, 1.0, side, dtype=np.float32)[:, None]
    return np.clip(1.6 * clouds * streaks * down, 0.0, 1.0)


def _scratch(picture: Array, rng: np.random.Generator) -> None:
    side = picture.shape[0]
    start, angle = rng.uniform(0.15, 0.85, 2), rng.uniform(0, 2 * math.pi)
    end = start + rng.uniform(0.1, 0.45) * np.array([math.cos(angle), math.sin(angle)])
    tone = int(rng.uniform(120, 215))
    first, last = (tuple(int(v) for v in np.round(point * side * 16)) for point in (start, end))
    cv2.line(picture, first, last, (tone, tone, tone), max(1, round(0.006 * side)), cv2.LINE_AA, 4)


def _sticker(picture: Array, rng: np.random.Generator) -> None:
    side = picture.shape[0]
    centre, size = rng.uniform(0.25, 0.75, 2), rng.uniform(0.035, 0.07, 2)
    turn = rng.uniform(-0.6, 0.6)
    axes = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    corners = centre + (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size) @ axes
    colour = tuple(int(v) for v in 0.55 * rng.integers(20, 245, 3) + 0.45 * rng.integers(40, 250))
    cv2.fillConvexPoly(picture, np.round(corners * side * 16).astype(np.int32), colour, cv2.LINE_AA, 4)
