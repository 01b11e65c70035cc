"""Grounds out of chance alone: leaves, twigs, walls, roads, skies, and colours and noise to make them of.

Nothing here tries to look real; it tries to be varied: a network that finds signs before all of it has no use for any
single look (domain randomisation, Tobin et al. 2017; pictures of overlapping shapes teach what is natural about edges,
Baradad et al. 2021). What stands before them is streets.py's business.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from envs.geometry import Array

Rng = np.random.Generator
Colour = tuple[int, int, int]

# Ranges of hue (0 to 180, as OpenCV counts), saturation and value (0 to 255).
FAMILIES: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "any": ((0, 0, 10), (180, 255, 255)),
    "leaf": ((20, 50, 15), (60, 220, 170)),
    "autumn": ((3, 80, 30), (30, 240, 230)),
    "wall": ((0, 0, 60), (30, 110, 255)),
    "brick": ((0, 60, 40), (14, 180, 180)),
    "grey": ((0, 0, 10), (180, 30, 235)),
    "dark": ((0, 0, 0), (180, 90, 60)),
    "vivid": ((0, 140, 70), (180, 255, 255)),
}

def colours(rng: Rng, family: str, count: int) -> list[Colour]:
    """RGB colours of a family."""
    low, high = FAMILIES[family]
    hsv = rng.uniform(low, np.add(high, 1), (1, count, 3)).clip(0, 255).astype(np.uint8)
    rgb = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0]
    return [tuple(row) for row in rgb.tolist()]


def colour(rng: Rng, family: str = "any") -> Colour:
    """One RGB colour of a family."""
    return colours(rng, family, 1)[0]


def noise(rng: Rng, side_px: int, cells: int = 4, octaves: int = 5, share: float = 0.6) -> Array:
    """Smooth noise (S, S) float32 in [0, 1]: octaves of random lattices, each finer one weaker by `share`."""
    total, weight, sum_of_weights = np.zeros((side_px, side_px), np.float32), 1.0, 0.0
    for octave in range(octaves):
        lattice = rng.random((min(cells << octave, side_px),) * 2, np.float32)
        total += weight * cv2.resize(lattice, (side_px, side_px), interpolation=cv2.INTER_LINEAR)
        sum_of_weights, weight = sum_of_weights + weight, weight * share
    return total / sum_of_weights


def _flat(side_px: int, paint: Colour) -> Array:
    """uint8 (S, S, 3) of one colour (ten times faster than np.full)."""
    return cv2.rectangle(np.empty((side_px, side_px, 3), np.uint8), (0, 0), (side_px, side_px), paint, -1)


def _mixed(first: Colour, second: Colour, share: Array) -> Array:
    """uint8 (H, W, 3) between two colours by a share (H, W) float32."""
    a, b = (np.array(c, np.float32) for c in (first, second))
    return (a + share[..., None].clip(0, 1) * (b - a)).astype(np.uint8)


def grain(image: Array, rng: Rng, strength: float) -> None:
    """Uneven brightness over an image, in place: up to `strength` of it."""
    side = image.shape[0]
    factor = 1 + strength * 2 * (noise(rng, side, int(rng.integers(2, 24)), 4, rng.uniform(0.5, 1.0)) - 0.5)
    image[:] = np.multiply(image, factor[..., None]).clip(0, 255).astype(np.uint8)


def sky(rng: Rng, side_px: int) -> Array:
    """A gradient from white, grey or blue, with or without clouds."""
    low, high = ((235, 240, 250), (120, 165, 225)) if rng.random() < 0.4 else ((250, 250, 250), (190, 195, 205))
    share = np.linspace(1.0, 0.0, side_px, dtype=np.float32)[:, None] * np.float32(rng.uniform(0, 1))
    clouds = noise(rng, side_px, 2, 5) - 0.5
    return _mixed(low, high, share + np.float32(rng.uniform(0, 1.5)) * clouds)


def shapes(rng: Rng, side_px: int, family: str, least_px: float, most_px: float, image: Array | None = None,
           count: int = 220) -> Array:
    """Dead leaves: shapes over shapes, sizes after a power law (Lee, Mumford and Huang 2001)."""
    image = _flat(side_px, colour(rng, family)) if image is None else image
    u = rng.random(count)
    radius = least_px / np.sqrt(1 - u * (1 - (least_px / most_px) ** 2))
    radius = np.sort(radius)[::-1] if rng.random() < 0.5 else radius
    corners = int(rng.integers(3, 8))
    turn = rng.uniform(0, 2 * math.pi, (count, 1)) if rng.random() < 0.8 else np.full((count, 1), math.pi / 4)
    angle = turn + np.arange(corners) * 2 * math.pi / corners + rng.normal(0, 0.25 * rng.random(), (count, corners))
    stretch = np.exp(rng.normal(0, 0.5, (count, 1)))
    points = np.stack([np.cos(angle) * stretch, np.sin(angle) / stretch], 2) * radius[:, None, None]
    centre = rng.uniform(-0.05, 1.05, (count, 1, 2)) * side_px
    polygons = np.round((points + centre) * 16).astype(np.int32)
    paints = colours(rng, family, count)
    is_round = rng.random() < 0.35
    for k in range(count):
        if is_round:
            at = (int(centre[k, 0, 0]), int(centre[k, 0, 1]))
            cv2.circle(image, at, max(1, int(radius[k])), paints[k], -1)
        else:
            cv2.fillPoly(image, [polygons[k]], paints[k], cv2.LINE_8, 4)
    return image


def foliage(rng: Rng, side_px: int) -> Array:
    """Leaves before leaves, with holes to the sky or to the dark."""
    family = "autumn" if rng.random() < 0.3 else "leaf"
    base = noise(rng, side_px, int(rng.integers(3, 12)), 6, rng.uniform(0.6, 1.0))
    image = _mixed(colour(rng, "dark"), colour(rng, family), 2.2 * base - 0.6)
    shapes(rng, side_px, family, 1.0, rng.uniform(3, 14), image, int(rng.integers(100, 500)))
    shade = noise(rng, side_px, int(rng.integers(4, 20)), 4, 0.8)
    image[:] = (image * (2.4 * shade[..., None] - 0.5).clip(0.05, 1.4)).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.4:  # holes
        holes = noise(rng, side_px, int(rng.integers(8, 40)), 3, 0.8) > rng.uniform(0.6, 0.75)
        image[holes] = colour(rng, "grey") if rng.random() < 0.3 else (245, 247, 250)
    return image


def twigs(rng: Rng, image: Array) -> None:
    """Bare branches, in place."""
    side = image.shape[0]
    paint = colour(rng, "dark")
    todo = [(rng.uniform(0, side), side * rng.uniform(0.6, 1.1), -math.pi / 2 + rng.normal(0, 0.3),
             rng.uniform(0.15, 0.35) * side, rng.uniform(2, 9)) for _ in range(int(rng.integers(1, 4)))]
    for _ in range(int(rng.integers(40, 140))):
        if not todo:
            return
        x, y, angle, length, width = todo.pop(0)
        end = x + length * math.cos(angle), y + length * math.sin(angle)
        cv2.line(image, (int(x), int(y)), (int(end[0]), int(end[1])), paint, max(1, int(width)), cv2.LINE_AA)
        todo += [(*end, angle + turn, length * rng.uniform(0.55, 0.9), width * 0.65)
                 for turn in rng.normal(0, 0.55, int(rng.integers(2, 4)))]


def wall(rng: Rng, side_px: int) -> Array:
    """A front of houses: rows of windows, courses of bricks or boards, seen from aside."""
    image = _flat(side_px, colour(rng, "brick" if rng.random() < 0.3 else "wall"))
    if rng.random() < 0.4:  # courses
        step, tone = int(rng.integers(3, 12)), colour(rng, "grey")
        for y in range(0, side_px, step):
            cv2.line(image, (0, y), (side_px, y), tone, 1)
            for x in range((y // step % 2) * step, side_px, 2 * step):
                cv2.line(image, (x, y), (x, y + step), tone, 1)
    across, down = rng.uniform(14, 90, 2)
    width, height = across * rng.uniform(0.25, 0.8), down * rng.uniform(0.3, 0.8)
    glass, frame = colours(rng, "dark" if rng.random() < 0.7 else "grey", 6), colour(rng, "wall")
    for y in np.arange(rng.uniform(0, down), side_px, down):
        for x in np.arange(rng.uniform(0, across), side_px, across):
            corner, other = (int(x), int(y)), (int(x + width), int(y + height))
            cv2.rectangle(image, corner, other, glass[int(rng.integers(6))], -1)
            cv2.rectangle(image, corner, other, frame, int(rng.integers(1, 3)))
            if width > 12:
                cv2.line(image, (int(x + width / 2), int(y)), (int(x + width / 2), int(y + height)), frame, 1)
    grain(image, rng, rng.uniform(0, 0.3))
    return _seen_aslant(rng, image)


def road(rng: Rng, side_px: int) -> Array:
    """Asphalt with lines that run to a point."""
    image = _flat(side_px, colour(rng, "grey"))
    grain(image, rng, rng.uniform(0.05, 0.3))
    apex = rng.uniform(-0.2, 1.2) * side_px, -rng.uniform(0, 1) * side_px
    paint = colour(rng, "grey") if rng.random() < 0.9 else (230, 190, 40)
    for _ in range(int(rng.integers(0, 5))):
        foot = rng.uniform(-0.5, 1.5) * side_px
        steps = np.cumsum(rng.uniform(0.05, 0.4, 8))
        for a, b in zip(steps[::2], steps[1::2], strict=True):
            points = [(apex[0] + (foot + s * 8 - apex[0]) * t, apex[1] + (side_px - apex[1]) * t)
                      for t, s in ((a, -a), (a, a), (b, b), (b, -b))]
            cv2.fillPoly(image, [np.array(points, np.int32)], paint)
    return image


def stripes(rng: Rng, side_px: int) -> Array:
    """Fences, shutters, barriers: two colours in turn."""
    if rng.random() < 0.3:
        first, second = (200, 30, 30), (240, 240, 240)
    else:
        first, second = colours(rng, "any" if rng.random() < 0.3 else "grey", 2)
    angle, period = rng.uniform(0, math.pi), rng.uniform(3, 50)
    v, u = np.mgrid[:side_px, :side_px].astype(np.float32)
    wave = np.mod((u * math.cos(angle) + v * math.sin(angle)) / period, 1.0)
    image = _mixed(first, second, (wave < rng.uniform(0.2, 0.8)).astype(np.float32))
    grain(image, rng, 0.2)
    return image


def clouds(rng: Rng, side_px: int) -> Array:
    """Coloured noise of any roughness."""
    rough = rng.uniform(0.4, 1.0)
    image = np.stack([noise(rng, side_px, int(rng.integers(2, 16)), 6, rough) for _ in range(3)], 2)
    grey = image.mean(2, keepdims=True)
    image = grey + rng.uniform(0, 1) * (image - grey)
    return ((image - 0.5) * rng.uniform(100, 700) + rng.uniform(30, 220)).clip(0, 255).astype(np.uint8)


def any_shapes(rng: Rng, side_px: int) -> Array:
    """Dead leaves of one family of colours."""
    family = str(rng.choice(["any", "grey", "wall", "vivid", "dark"]))
    image = shapes(rng, side_px, family, rng.uniform(1, 8), rng.uniform(20, 160))
    grain(image, rng, rng.uniform(0, 0.4))
    return image


GROUNDS: tuple[tuple[float, Callable[[Rng, int], Array]], ...] = (
    (0.30, foliage), (0.22, wall), (0.16, any_shapes), (0.12, clouds), (0.10, road), (0.05, stripes), (0.05, sky))


def ground(rng: Rng, side_px: int) -> Array:
    """One row of GROUNDS, by its share."""
    shares = np.array([share for share, _ in GROUNDS])
    return GROUNDS[int(rng.choice(len(GROUNDS), p=shares / shares.sum()))][1](rng, side_px)


def _seen_aslant(rng: Rng, image: Array) -> Array:
    side = image.shape[0]
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
    moved = (corners + rng.normal(0, rng.uniform(0, 0.3) * side, (4, 2))).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(moved, corners)
    return cv2.warpPerspective(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
