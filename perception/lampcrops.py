"""Traffic-light heads drawn from scratch, as cut-outs that a detector or a person would make: food for lightnet.py.

No photograph enters: heads upright and lying, of one to four lamps and arrows, in housings of many countries' colours,
before skies, trees and walls, by day and night, lit, overexposed and dark, are drawn in linear light, then taken by a
poor camera (bloom, blur, noise, JPEG, few pixels). What is drawn is a function of the generator alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from envs.geometry import Array

STATES = ("red", "yellow", "green", "off")
OFF = STATES.index("off")
STATE_SHARES = (0.29, 0.21, 0.27, 0.23)
MOST_LAMPS = 4
_SHIFT = 6  # binary places of coordinates that OpenCV draws at


@dataclass(frozen=True)
class Head:
    """One head and how it stands in its cut-out; lengths in steps between lamps, light linear in [0, 1] and above."""

    state: int  # of STATES
    lamps: tuple[int, ...]  # colour of each lamp from the top (lying: from the left)
    is_lying: bool
    radius: float  # of a lens
    window: tuple[float, float, float, float]  # left, top, right, bottom of the cut-out; (0, 0) is the head's middle
    turn_rad: float
    height_px: int
    width_px: int


def draw_crop(rng: np.random.Generator) -> tuple[Array, int]:
    """One cut-out uint8 (H, W, 3) RGB, 6 to 130 px high, and its state (index of STATES)."""
    head = _random_head(rng)
    return _camera(_light(head, rng), head, rng), head.state


def hang(lit: Array, at: tuple[float, float], size_px: float, ambient: float, rng: np.random.Generator) -> Array | None:
    """Put a head of some size (its longer side) into a picture float32 (H, W, 3) of display light, in place; returns
    its box (left, top, right, bottom), or None where there is no room for it.
    """
    head = _random_head(rng)
    unit = size_px / len(head.lamps)
    half = np.array([HALF_WIDTH, len(head.lamps) / 2])
    half = half[::-1] if head.is_lying else half
    low = np.floor(at - (half + AROUND) * unit).astype(int)
    high = np.ceil(at + (half + AROUND) * unit).astype(int)
    if (low < 0).any() or (high > [lit.shape[1], lit.shape[0]]).any():
        return None
    left, top, right, bottom = (float(x) for x in (*((low - at) / unit), *((high - at) / unit)))
    width, height = (int(x) for x in high - low)
    canvas = _Canvas(replace(head, window=(left, top, right, bottom), height_px=height, width_px=width))
    region = lit[low[1]:high[1], low[0]:high[0]]
    under = cv2.resize(region, (canvas.width, canvas.height), interpolation=cv2.INTER_LINEAR).clip(0) ** 2.2 / ambient
    seen = _painted(canvas, under, head, ambient, ambient < DARK, rng)
    region[:] = cv2.resize(seen, (width, height), interpolation=cv2.INTER_AREA) ** np.float32(1 / 2.2)
    return np.concatenate([at - half * unit, at + half * unit])


HALF_WIDTH, AROUND = 0.54, 1.0  # of a head, and how much of what is around it a board or a glow may take, in lamps
DARK = 0.12  # ambient light below which lamps are as strong as by night


def _random_head(rng: np.random.Generator) -> Head:
    """What is to be drawn: lamps, state, and how tightly it is cut out."""
    state = int(rng.choice(4, p=STATE_SHARES))
    lamps: tuple[int, ...] = (0, 1, 2)
    draw = rng.random()
    if draw < 0.06:  # an arrow below, or two greens, as beside turning lanes
        lamps = (0, 1, 2, 2)
    elif draw < 0.09 and state != 1:
        lamps = (0, 2)
    is_lying = rng.random() < 0.12
    if is_lying and rng.random() < 0.25:  # green comes first where traffic keeps left
        lamps = lamps[::-1]
    half = np.array([rng.uniform(0.5, 0.72), len(lamps) / 2 + rng.uniform(-0.06, 0.12)])
    if is_lying:
        half = half[::-1]
    tight = rng.random()
    margin = rng.uniform(-0.1, 0.12, 4) if tight < 0.5 else rng.uniform(0, 0.5, 4) if tight < 0.85 else rng.uniform(
        0.2, 1.4, 4)
    margin *= np.minimum(half.min() * 1.4, half[[0, 1, 0, 1]])
    window = tuple(float(x) for x in (-half[0] - margin[0], -half[1] - margin[1], half[0] + margin[2],
                                      half[1] + margin[3]))
    height = math.exp(rng.uniform(math.log(7), math.log(130))) * (0.5 if is_lying else 1.0)
    narrow = rng.uniform(0.72, 1.08)  # seen askance
    width = height * (window[2] - window[0]) / (window[3] - window[1]) * narrow
    return Head(state, lamps, is_lying, rng.uniform(0.33, 0.46), window, math.radians(rng.normal(0, 2.5)),  # type: ignore[arg-type]
                max(int(height), 6), int(np.clip(width, 3, 200)))


class _Canvas:
    """A picture in linear light and the way from a head's own coordinates to its pixels."""

    def __init__(self, head: Head) -> None:
        more = min(max(48 / head.height_px, 1.0), 8.0) * (1.5 if head.height_px < 80 else 1.0)
        self.height, self.width = int(head.height_px * more), max(int(head.width_px * more), 8)
        left, top, right, bottom = head.window
        cos, sin = math.cos(head.turn_rad), math.sin(head.turn_rad)
        scale = np.array([[self.width / (right - left), 0], [0, self.height / (bottom - top)]])
        self.matrix = scale @ np.array([[cos, -sin], [sin, cos]])
        self.offset = -scale @ np.array([left, top])
        self.unit_px = float(scale[1, 1])
        if head.is_lying:
            self.matrix = self.matrix @ np.array([[0.0, 1.0], [1.0, 0.0]])

    def fill(self, image: Array, points: Array, colour: Array | float) -> None:
        """A filled outline (K, 2) in the head's coordinates, drawn into float32 (H, W, 3) or (H, W)."""
        at = (points @ self.matrix.T + self.offset - 0.5) * (1 << _SHIFT)
        value = tuple(float(x) for x in np.atleast_1d(colour))
        cv2.fillPoly(image, [np.round(at).astype(np.int32)], value, cv2.LINE_8, _SHIFT)


_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 25)[:-1]), np.sin(np.linspace(0, 2 * np.pi, 25)[:-1])], 1)
_HOOD = np.concatenate([_CIRCLE[12:] * 1.12, [[1.12, 0.0]], _CIRCLE[:11:-1] * [0.98, 0.8]])  # over a lens, y down
_ARROW = np.array([[0, -0.85], [0.7, -0.1], [0.3, -0.1], [0.3, 0.8], [-0.3, 0.8], [-0.3, -0.1], [-0.7, -0.1]])
_QUARTER = np.array([[0.0, 1.0], [-1.0, 0.0]])


def _box(width: float, height: float, round_share: float) -> Array:
    """A rectangle with cut corners about the origin."""
    w, h, c = width / 2, height / 2, min(width, height) / 2 * round_share
    corners = [(w, h - c), (w - c, h), (c - w, h), (-w, h - c), (-w, c - h), (c - w, -h), (w - c, -h), (w, c - h)]
    return np.array(corners)


def _light(head: Head, rng: np.random.Generator) -> Array:
    """Linear light float32 (H, W, 3) of the scene, glow of the lamps included."""
    canvas = _Canvas(head)
    is_night = rng.random() < 0.22
    ambient = rng.uniform(0.02, 0.2) if is_night else math.exp(rng.uniform(math.log(0.2), math.log(1.3)))
    return _painted(canvas, _background(canvas, is_night, rng), head, ambient, is_night, rng)


def _painted(canvas: _Canvas, image: Array, head: Head, ambient: float, is_night: bool,
             rng: np.random.Generator) -> Array:
    """Linear light of a head before what `image` reflects, which is changed."""
    count = len(head.lamps)
    length = count + rng.uniform(-0.05, 0.15)
    width = rng.uniform(0.95, 1.3)
    if rng.random() < 0.35:  # a board behind
        board = np.full(3, rng.uniform(0.01, 0.08) if rng.random() < 0.6 else rng.uniform(0.4, 0.95))
        rim = rng.random()
        if rim < 0.3:
            canvas.fill(image, _box(width + 0.95, length + 0.95, 0.3),
                        np.array([0.8, 0.8, 0.8] if rim < 0.15 else [0.75, 0.5, 0.05]) * rng.uniform(0.4, 1))
        canvas.fill(image, _box(width + 0.75, length + 0.75, rng.uniform(0, 0.6)), board)
    housing = HOUSINGS[int(rng.choice(len(HOUSINGS), p=HOUSING_SHARES))] * rng.uniform(0.5, 1.6)
    is_bare = rng.random() < 0.1  # lenses let into the board
    if not is_bare:
        canvas.fill(image, _box(width, length, rng.uniform(0, 0.8)), housing)
    shine = np.zeros_like(image)
    lit = _lit_lamps(head, rng)
    has_hoods, form = rng.random() < 0.7, rng.random()
    is_back = head.state == OFF and rng.random() < 0.12
    dust, arrow_turn = rng.uniform(0.2, 1.8), int(rng.integers(4))
    hue = {k: LAMP_LOW[k] + (LAMP_HIGH[k] - LAMP_LOW[k]) * rng.random(3) ** LAMP_POWER[k] for k in range(3)}
    strength = math.exp(rng.uniform(math.log(2.0), math.log(16.0)) if is_night
                        else rng.uniform(math.log(0.35), math.log(5.0)))
    for k, colour in enumerate(head.lamps):
        centre = np.array([0.0, k - (count - 1) / 2])
        lens = centre + head.radius * _CIRCLE
        canvas.fill(image, lens, housing * 1.3 if is_back else LENS[colour] * dust)
        if rng.random() < 0.4 and not is_back:  # the sky's reflection
            canvas.fill(image, centre + head.radius * (0.35 * _CIRCLE + rng.uniform(-0.5, 0.5, 2)),
                        LENS[colour] * dust + rng.uniform(0.02, 0.2))
        if k in lit:
            arrow = centre + head.radius * 0.95 * _ARROW @ np.linalg.matrix_power(_QUARTER, arrow_turn)
            is_arrow = form < 0.1 or (k == 3 and rng.random() < 0.5)
            canvas.fill(shine, arrow if is_arrow else lens, hue[colour] * strength)
            if form > 0.9:  # a dark arrow on a lit lens
                canvas.fill(shine, arrow, 0.05 * hue[colour] * strength)
        if has_hoods:
            canvas.fill(image, centre + head.radius * _HOOD, housing * 0.6)
    if is_back and rng.random() < 0.5:  # the tube that carries it
        canvas.fill(image, _box(0.14, 9.0, 0.0) + rng.uniform(-0.2, 0.2, 2) * [1, 0], np.full(3, rng.uniform(0.2, 0.8)))
    if canvas.unit_px > 14 and rng.random() < 0.3:
        shine *= _dots(canvas, rng)[..., None]
    return image * np.float32(ambient) + _bloomed(shine, canvas, rng)


def _lit_lamps(head: Head, rng: np.random.Generator) -> set[int]:
    """Which lamps are on. Red with yellow says "red": nobody may go yet."""
    if head.state == OFF:
        return set()
    rows = [k for k, colour in enumerate(head.lamps) if colour == head.state]
    lit = set(rows if rng.random() < 0.4 else [int(rng.choice(rows))])
    if head.state == 0 and 1 in head.lamps and rng.random() < 0.03:
        lit.add(head.lamps.index(1))
    return lit


# Reflected light: housings of most countries are black, dark green or grey, in some yellow; lenses that are off.
HOUSINGS = np.array([[0.02, 0.02, 0.02], [0.02, 0.05, 0.03], [0.08, 0.08, 0.08], [0.3, 0.3, 0.3], [0.55, 0.32, 0.03],
                     [0.1, 0.08, 0.04]])
HOUSING_SHARES = (0.5, 0.13, 0.14, 0.06, 0.1, 0.07)
LENS = np.array([[0.11, 0.015, 0.015], [0.13, 0.075, 0.01], [0.015, 0.07, 0.045]])
# Emitted light: a colour between these, nearer to the low one where the power is above one.
LAMP_LOW = np.array([[1.0, 0.0, 0.0], [1.0, 0.26, 0.0], [0.0, 1.0, 0.12]])
LAMP_HIGH = np.array([[1.0, 0.2, 0.12], [1.0, 0.75, 0.15], [0.3, 1.0, 0.95]])
LAMP_POWER = np.array([2.0, 1.0, 1.2])


def _background(canvas: _Canvas, is_night: bool, rng: np.random.Generator) -> Array:
    """Reflected light (H, W, 3) of sky, leaves or walls, with edges and poles."""
    shape = (canvas.height, canvas.width)
    base = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))] * rng.uniform(0.6, 1.5)
    if is_night and rng.random() < 0.7:
        base = base * rng.uniform(0, 0.3)
    grain = np.zeros(shape, np.float32)
    for cells in (2, 5, 12):
        coarse = rng.random((cells, cells), np.float32) - 0.5
        grain += cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_LINEAR) * rng.uniform(0, 0.9)
    image = np.asarray(base * (1 + grain[..., None]).clip(0.05), np.float32)
    for _ in range(int(rng.integers(0, 4))):
        colour = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))] * rng.uniform(0.2, 1.3)
        turn = rng.uniform(0, np.pi) if rng.random() < 0.3 else rng.integers(2) * np.pi / 2
        across = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        box = _box(rng.uniform(0.05, 2.5), rng.uniform(1, 8), 0.0) @ across + rng.uniform(-2, 2, 2)
        canvas.fill(image, box, colour)
    if rng.random() < 0.3:  # other lamps, of cars and shops
        colour = rng.random(3) * rng.uniform(0.5, 1.5)
        canvas.fill(image, rng.uniform(0.05, 0.25) * _CIRCLE + rng.uniform(-2, 2, 2), colour)
    return image


BACKGROUNDS = np.array([[0.9, 0.9, 0.9], [1.0, 1.0, 1.0], [0.25, 0.45, 0.8], [0.5, 0.62, 0.8], [0.06, 0.1, 0.03],
                        [0.03, 0.05, 0.02], [0.3, 0.22, 0.16], [0.35, 0.32, 0.28], [0.1, 0.1, 0.1], [0.3, 0.17, 0.05],
                        [0.02, 0.02, 0.03]])


def _dots(canvas: _Canvas, rng: np.random.Generator) -> Array:
    """A grid (H, W) in [0.2, 1] as of light-emitting diodes."""
    step = max(canvas.unit_px * rng.uniform(0.06, 0.14), 2.0)
    wave = np.multiply.outer(np.cos(np.arange(canvas.height) * 2 * np.pi / step),
                             np.cos(np.arange(canvas.width) * 2 * np.pi / step))
    return (0.6 + 0.4 * wave).astype(np.float32)


def _bloomed(shine: Array, canvas: _Canvas, rng: np.random.Generator) -> Array:
    """Emitted light with the halo that lens and air give it."""
    if not shine.any():
        return shine
    result = shine * rng.uniform(0.7, 1.0)
    if rng.random() < 0.6:  # brighter in the middle of the lens
        result = 0.5 * result + 0.7 * cv2.GaussianBlur(shine, (0, 0), max(0.22 * canvas.unit_px, 0.5))
    for low, high, most in ((0.1, 0.35, 0.35), (0.4, 1.2, 0.12)):
        if rng.random() < 0.7:
            sigma = max(rng.uniform(low, high) * canvas.unit_px, 0.5)
            result = result + cv2.GaussianBlur(shine, (0, 0), sigma) * rng.uniform(0, most)
    return np.asarray(result, np.float32)


def _camera(light: Array, head: Head, rng: np.random.Generator) -> Array:
    """What a camera of few pixels makes of linear light: uint8 (height_px, width_px, 3)."""
    small = cv2.resize(light, (head.width_px, head.height_px), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.6:
        small = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.3, 1.0 + 0.012 * head.height_px))
    if rng.random() < 0.15:  # shaken
        length = int(rng.integers(2, 3 + head.height_px // 12))
        small = cv2.blur(small, (length, 1) if rng.random() < 0.5 else (1, length))
    small = small * rng.uniform(0.85, 1.15, 3) * math.exp(rng.uniform(-0.5, 0.5))
    grey = small.mean(2, keepdims=True)
    small = grey + (small - grey) * rng.uniform(0.6, 1.35)  # saturation
    haze = rng.uniform(0, 0.12) if rng.random() < 0.3 else 0.0
    small = (small * (1 - haze) + haze).clip(0, 1) ** (1 / rng.uniform(1.5, 2.6))
    small = 255 * ((small - 0.5) * rng.uniform(0.75, 1.2) + 0.5 + rng.uniform(-0.08, 0.08))
    small = small + rng.normal(0, rng.uniform(0, 9), small.shape)
    pixels = small.clip(0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 96))]
        pixels = cv2.imdecode(cv2.imencode(".jpg", pixels[..., ::-1], quality)[1], cv2.IMREAD_COLOR_RGB)
    return np.asarray(pixels)
