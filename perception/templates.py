"""What stands in a training crop of the sign namer: worn faces, other plates and lamps, and the world behind them.

Painted once, at several sizes, from the vector faces of envs/faces.py; crops.py shows them as a camera would. All is
kept as linear light, so that shrinking and blurring mix it as a lens does. Nothing is read from a file: no photograph
and no font enters here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from envs import faces, pictograms
from envs.faces import NUMERALS, Make
from envs.geometry import Array
from envs.plate import (
    AMBER,
    BLACK,
    BLUE,
    DIAMOND,
    GREEN,
    GREY,
    OCTAGON,
    RED,
    TIP_DOWN,
    TIP_UP,
    WHITE,
    YELLOW,
    Plate,
    box,
    circle,
    rounded,
)
from envs.signs import SIGNS
from envs.wear import Wear, worn

NO_SIGN = len(SIGNS)  # the class of everything that is none of SIGNS
NUM_CLASSES = len(SIGNS) + 1
SIZES_PX = (96, 48, 24)
PAINTED_PX = 192
BACKDROP_PX = 128
_LINEAR = np.round(255 * (np.arange(256) / 255) ** 2.2).astype(np.uint8)  # light of an sRGB value, nearly
_SQUARE = box(0.04, 0.04, 0.96, 0.96)
_DISC = circle(48)


@dataclass(frozen=True, eq=False)
class Bank:
    """Everything that crops are put together from. Rows of `pictures` are in no order; `rows_of` finds a class."""

    pictures: tuple[Array, ...]
    """by SIZES_PX: uint8 (N, side, side, 4) linear RGB and coverage"""
    boxes: Array
    """float32 (N, 4) left, top, right, bottom of what is covered, shares of the side"""
    rows_of: tuple[Array, ...]
    """for each of NUM_CLASSES its rows"""
    backdrops: Array
    """uint8 (M, BACKDROP_PX, BACKDROP_PX, 3) linear RGB"""


def build_bank(seed: int, looks: int = 24, others: int = 300, backdrops: int = 400) -> Bank:
    """Paint `looks` pictures of each sign, `others` of what is no sign, and `backdrops`; some 6 s with the defaults."""
    rng = np.random.default_rng(seed)
    painted: list[tuple[Array, Array]] = []
    labels: list[int] = []
    for row, sign in enumerate(SIGNS):
        for _ in range(looks):
            plate = Plate(PAINTED_PX)
            sign.painter(plate, _make(rng))
            painted.append((_defaced(_aged(_recut(plate.finish(), rng), rng), rng), sign.outline))
            labels.append(row)
    for k in range(others):
        painted.append(_other(k, rng))
        labels.append(NO_SIGN)
    covered = [np.dstack([_LINEAR[picture], _coverage(outline)]) for picture, outline in painted]
    pictures = tuple(np.stack([_at_size(picture, size) for picture in covered]) for size in SIZES_PX)
    boxes = np.array([[*outline.min(0), *outline.max(0)] for _, outline in painted], np.float32)
    of_class = np.array(labels)
    return Bank(pictures, boxes, tuple(np.flatnonzero(of_class == label) for label in range(NUM_CLASSES)),
                _LINEAR[np.stack([backdrop(rng) for _ in range(backdrops)])])


def _make(rng: np.random.Generator) -> Make:
    """A sheet to cut after, as different as makers and decades: photographs show rings a third wider and narrower."""
    return Make(int(rng.integers(len(NUMERALS))), bool(rng.random() < 0.4), bool(rng.random() < 0.35),
                ring=float(rng.uniform(-0.015, 0.045)), size=float(rng.uniform(0.9, 1.1)),
                stretch=float(rng.uniform(0.88, 1.1)), weight=float(rng.uniform(0.82, 1.15)),
                band=float(rng.uniform(0.95, 1.35)), ink=float(rng.uniform(0.2, 1.0)))


def _at_size(picture: Array, size_px: int) -> Array:
    return picture if len(picture) == size_px else cv2.resize(picture, (size_px, size_px), interpolation=cv2.INTER_AREA)


def _coverage(outline: Array) -> Array:
    """Share of each pixel inside an outline (M, 2), as uint8 (side, side)."""
    side = PAINTED_PX * 2
    mask = np.zeros((side, side), np.uint8)
    cv2.fillPoly(mask, [np.round(outline * side * 16).astype(np.int32)], 255, shift=4)
    return cv2.resize(mask, (PAINTED_PX, PAINTED_PX), interpolation=cv2.INTER_AREA)


def _recut(picture: Array, rng: np.random.Generator) -> Array:
    """As another maker cuts it: strokes heavier or lighter, the figure larger or smaller, lines not quite true."""
    side = picture.shape[0]
    weight = rng.random()
    if weight < 0.4:
        change = cv2.erode if weight < 0.2 else cv2.dilate
        picture = cv2.addWeighted(picture, 0.4, change(picture, np.ones((5, 5), np.uint8)), 0.6, 0)
    grid = (np.stack(np.meshgrid(np.arange(side), np.arange(side)), 2).astype(np.float32) + 0.5) / side - 0.5
    radius2 = (grid ** 2).sum(2, keepdims=True) * 4
    within = np.clip(1 - radius2, 0, 1)  # the middle, never the rim
    swell, moved = 1 + float(rng.normal(0, 0.06)) * within, rng.normal(0, 0.015, 2).astype(np.float32) * within
    bent = cv2.resize(rng.normal(0, 0.006, (4, 4, 2)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    source = (grid * swell + moved + bent + 0.5) * side - 0.5
    return cv2.remap(picture, source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _aged(picture: Array, rng: np.random.Generator) -> Array:
    """Worn by one of the looks met in a street; every third is clean."""
    return picture if rng.random() < 0.33 else worn(picture, replace(Wear.draw(rng), roll_rad=0.0))


def _defaced(picture: Array, rng: np.random.Generator) -> Array:
    """Every seventh sign carries somebody's stickers or spray paint, up to a third of it."""
    if rng.random() > 1 / 7:
        return picture
    picture, side = picture.copy(), picture.shape[0]
    for _ in range(int(rng.integers(1, 4))):
        centre, reach = rng.uniform(0.2, 0.8, 2), rng.uniform(0.03, 0.17)
        tone = (int(rng.integers(0, 256)),) * 3
        colour = tone if rng.random() < 0.7 else _any_colour(rng)
        if rng.random() < 0.6:
            cv2.fillPoly(picture, [np.round((centre + _blob(rng, reach) - 0.5) * side).astype(np.int32)], colour,
                         cv2.LINE_AA)
        else:
            line = centre + np.cumsum(rng.normal(0, reach / 2, (6, 2)), 0)
            cv2.polylines(picture, [np.round(line * side).astype(np.int32)], False, colour,
                          int(rng.integers(2, 9)), cv2.LINE_AA)
    return picture


Other = Callable[[Plate, np.random.Generator], Array]  # paints, and gives the outline (M, 2) of what it painted


def _other(k: int, rng: np.random.Generator) -> tuple[Array, Array]:
    plate = Plate(PAINTED_PX)
    outline = OTHERS[k % len(OTHERS)](plate, rng)
    return _aged(_recut(plate.finish(), rng), rng), outline


def _any_colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in rng.integers(10, 246, 3))
    return red, green, blue


def _blob(rng: np.random.Generator, reach: float = 0.24) -> Array:
    """A star-shaped outline (9, 2) about the middle."""
    angle = np.sort(rng.uniform(0, 2 * math.pi, 9))
    radius = rng.uniform(0.25, 1.0, 9) * reach
    return np.stack([0.5 + radius * np.cos(angle), 0.54 + radius * np.sin(angle)], 1)


def _other_limit(plate: Plate, rng: np.random.Generator) -> Array:
    """A limit that GTSRB lacks."""
    faces.limit(str(rng.choice(["10", "40", "90", "110", "130"])))(plate, _make(rng))
    return _DISC


def _other_ban(plate: Plate, rng: np.random.Generator) -> Array:
    """A red ring round a bicycle, a person, an arrow or something else, sometimes crossed out in red."""
    faces.paint_closed(plate, Make())
    kind = rng.integers(4)
    if kind == 0:
        pictograms.bicycle(plate, bool(rng.integers(2)))
    elif kind == 1:
        pictograms.pedestrian(plate, False)
    elif kind == 2:
        plate.arrow(BLACK, 0.09, [(0.5, 0.76), (0.5, 0.45), (0.36 if rng.random() < 0.5 else 0.64, 0.30)],
                    (0.16, 0.14, 0.05, 0.11))
    else:
        plate.fill(BLACK, _blob(rng))
    if kind == 2 or rng.random() < 0.3:
        plate.pen(RED, 0.09, [(0.22, 0.22), (0.78, 0.78)])
    return _DISC


def _no_stopping(plate: Plate, rng: np.random.Generator) -> Array:
    """Blue disc, red ring, one or two red bars (Zeichen 283 and 286)."""
    faces.paint_closed(plate, Make())
    plate.disc(BLUE, 0.5, 0.5, 0.38)
    plate.pen(RED, 0.10, [(0.23, 0.23), (0.77, 0.77)])
    if rng.random() < 0.6:
        plate.pen(RED, 0.10, [(0.77, 0.23), (0.23, 0.77)])
    return _DISC


def _other_order(plate: Plate, rng: np.random.Generator) -> Array:
    """Blue disc with a figure of its own: paths for bicycles and people, least speeds."""
    plate.disc(BLUE, 0.5, 0.5, 0.48)
    if rng.random() < 0.4:
        faces.write(plate, str(rng.choice(["30", "50", "60"])), (0.25, 0.3, 0.5, 0.4), NUMERALS[0], WHITE)
    else:
        for _ in range(int(rng.integers(1, 3))):
            plate.fill(WHITE, _blob(rng, 0.3))
    return _DISC


def _other_warning(plate: Plate, rng: np.random.Generator) -> Array:
    """A triangle with a figure that stands for something else."""
    faces.paint_yield(plate, Make())
    plate.image[:] = plate.image[::-1]
    for _ in range(int(rng.integers(1, 4))):
        plate.fill(BLACK, _blob(rng, 0.17) + np.array([0.0, 0.08]))
    return rounded(TIP_UP, 0.04)


def _board(plate: Plate, rng: np.random.Generator) -> Array:
    """A board: parking, a crossing, one way, directions, words under a sign."""
    ground = [BLUE, BLUE, WHITE, YELLOW, GREEN, _any_colour(rng)][rng.integers(6)]
    ink = WHITE if ground in (BLUE, GREEN) else BLACK
    height = float(rng.choice([0.46, 0.46, 0.3, 0.2]))
    outline = box(0.02, 0.5 - height, 0.98, 0.5 + height)
    plate.fill(ground, outline)
    kind = rng.integers(5)
    if kind == 0:
        faces.write(plate, "P", (0.34, 0.5 - 0.6 * height, 0.32, 1.2 * height), NUMERALS[1], ink)
    elif kind == 1:
        plate.arrow(ink, 0.12, [(0.15, 0.5), (0.85, 0.5)] if rng.random() < 0.5 else [(0.85, 0.5), (0.15, 0.5)],
                    (0.15, 0.16, 0.0, 0.14))
    elif kind == 2:
        plate.fill(WHITE, TIP_UP * 0.7 + [0.15, 0.12])
        plate.fill(BLACK, _blob(rng, 0.15))
    else:
        for line in np.linspace(0.5 - 0.7 * height, 0.5 + 0.7 * height, int(rng.integers(1, 5))):
            for start in np.arange(0.1, rng.uniform(0.4, 0.9), 0.09):
                plate.pen(ink, 0.03, [(start, line), (start + rng.uniform(0.0, 0.05), line + rng.uniform(0, 0.05))])
    return outline


def _back(plate: Plate, rng: np.random.Generator) -> Array:
    """The grey back of a sign, or something round or pointed of one colour."""
    outline = [_DISC, rounded(TIP_UP, 0.04), rounded(TIP_DOWN, 0.04), OCTAGON, DIAMOND, _SQUARE][rng.integers(6)]
    tone = int(rng.integers(40, 190))
    plate.fill((tone, tone, tone) if rng.random() < 0.7 else _any_colour(rng), outline)
    plate.fill(GREY, box(0.46, 0.0, 0.54, 1.0) if rng.random() < 0.6 else box(0.0, 0.4, 1.0, 0.46))
    return outline


def _lamps(plate: Plate, rng: np.random.Generator) -> Array:
    """A light's dark housing with its three lamps, one of them lit; or a single lamp."""
    outline = box(0.3, 0.02, 0.7, 0.98) if rng.random() < 0.7 else _DISC
    plate.fill(BLACK, outline)
    lit = rng.integers(3)
    for k, (y, colour) in enumerate(zip((0.2, 0.5, 0.8), (RED, AMBER, GREEN), strict=True)):
        if len(outline) == 4:
            plate.disc(colour if k == lit else (45, 45, 45), 0.5, y, 0.13)
        elif k == lit:
            plate.disc(colour, 0.5, 0.5, 0.36)
    return outline


def _bands(plate: Plate, rng: np.random.Generator) -> Array:
    """Red and white or black and yellow bands, as on beacons and barriers."""
    first, second = [(RED, WHITE), (BLACK, YELLOW), (BLACK, WHITE)][rng.integers(3)]
    width = float(rng.uniform(0.2, 0.48))
    outline = box(0.5 - width, 0.02, 0.5 + width, 0.98)
    plate.fill(second, outline)
    for start in np.arange(-1.0, 1.2, 0.3):
        plate.ribbon(first, 0.12, [(-0.2, start), (1.2, start + 1.0)])
    return outline


OTHERS: tuple[Other, ...] = (_other_limit, _other_ban, _no_stopping, _other_order, _other_warning, _board, _board,
                             _back, _lamps, _bands)


def backdrop(rng: np.random.Generator) -> Array:
    """A uint8 (BACKDROP_PX, BACKDROP_PX, 3) RGB picture of no place: sky, leaves, walls, and clutter over them."""
    picture = _textured(rng)
    for _ in range(int(rng.integers(0, 4))):
        other, edge = _textured(rng), _edge(rng)
        picture = np.where(edge[..., None], other, picture)
    if rng.random() < 0.4:
        _clutter(picture, rng)
    return picture


def _noise(rng: np.random.Generator, roughness: float) -> Array:
    """Multi-octave value noise (side, side) float32 in 0 to 1; roughness 0 smooth to 1 white (Perlin 1985)."""
    total = np.zeros((BACKDROP_PX, BACKDROP_PX), np.float32)
    for octave in range(1, 8):
        cells = 2 ** octave
        layer = cv2.resize(rng.random((cells, cells), np.float32), (BACKDROP_PX, BACKDROP_PX),
                           interpolation=cv2.INTER_CUBIC)
        total += layer * roughness ** octave
    low, high = total.min(), total.max()
    return (total - low) / max(float(high - low), 1e-6)


def _textured(rng: np.random.Generator) -> Array:
    """Noise through a ramp of two or three colours, or an even slope."""
    noise = _noise(rng, float(rng.uniform(0.4, 1.0))) if rng.random() < 0.75 else np.linspace(
        0, 1, BACKDROP_PX, dtype=np.float32)[:, None].repeat(BACKDROP_PX, 1)
    if rng.random() < 0.4:
        noise = np.clip((noise - 0.5) * rng.uniform(1.5, 6.0) + 0.5, 0, 1)  # leaves against the sky
    base = _PALETTES[rng.integers(len(_PALETTES))]
    stops = np.clip(np.array(base) + rng.normal(0, 28, (2, 3)), 0, 255)
    ramp = np.array([np.interp(np.arange(256), (0, 255), stops[:, channel]) for channel in range(3)]).T
    return ramp.astype(np.uint8)[(noise * 255).astype(np.uint8)]


_PALETTES = (((20, 30, 15), (120, 140, 70)), ((15, 15, 15), (150, 130, 95)), ((190, 210, 240), (245, 248, 252)),
             ((60, 60, 60), (190, 190, 185)), ((90, 60, 45), (200, 150, 110)), ((20, 25, 30), (230, 235, 240)),
             ((100, 60, 10), (230, 190, 70)), ((0, 0, 0), (255, 255, 255)), ((70, 90, 140), (170, 190, 220)),
             ((128, 128, 128), (128, 128, 128)))


def _edge(rng: np.random.Generator) -> Array:
    """Which side of a straight line (side, side) bool."""
    angle, off = rng.uniform(0, 2 * math.pi), rng.uniform(-50, 50)
    y, x = np.mgrid[:BACKDROP_PX, :BACKDROP_PX] - BACKDROP_PX / 2
    return np.asarray(x * math.cos(angle) + y * math.sin(angle) > off)


def _clutter(picture: Array, rng: np.random.Generator) -> None:
    """Bars, discs and boxes of any colour, in place."""
    for _ in range(int(rng.integers(1, 7))):
        (x, y), (w, h) = rng.integers(0, BACKDROP_PX, 2).tolist(), rng.integers(3, 60, 2).tolist()
        colour = _any_colour(rng)
        if rng.random() < 0.3:
            cv2.circle(picture, (x, y), w // 2 + 2, colour, -1 if rng.random() < 0.5 else 3, cv2.LINE_AA)
        elif rng.random() < 0.5:
            cv2.line(picture, (x, y), tuple(rng.integers(0, BACKDROP_PX, 2).tolist()), colour, w // 8 + 1, cv2.LINE_AA)
        else:
            cv2.rectangle(picture, (x, y), (x + w, y + h), colour, -1)
