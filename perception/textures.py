"""Streets without signs, out of chance alone: leaves, twigs, walls, roads, boards, vehicles, lamps, in loose order.

What a sign finder must not be fooled by, and what signs stand before in its training pictures. Nothing here tries to
look real; it tries to be varied: a network that finds signs before all of it has no use for any single look (domain
randomisation, Tobin et al. 2017; pictures of overlapping shapes teach what is natural about edges, Baradad et al.
2021). No signs and no camera here.
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
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX,
          cv2.FONT_HERSHEY_PLAIN)
_LETTERS = "ABCDEFGHIKLMNOPRSTUWZ0123456789"


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


def street(rng: Rng, side_px: int) -> tuple[Array, Array]:
    """A street without signs, uint8 (S, S, 3), and where it is sky, (S, S) float32 in [0, 1]."""
    image = ground(rng, side_px)
    open_sky = np.zeros((side_px, side_px), np.float32)
    if rng.random() < 0.55:
        above = sky(rng, side_px)
        line = rng.uniform(0, 1.0) * side_px + (noise(rng, side_px, int(rng.integers(2, 10)), 6, rng.uniform(0.3, 0.9))
                                               - 0.5) * rng.uniform(0, 1.2) * side_px
        is_sky = np.arange(side_px, dtype=np.float32)[:, None] < line
        image[is_sky], open_sky[is_sky] = above[is_sky], 1.0
    for _ in range(int(rng.integers(0, 4))):  # parts of other kinds
        w, h = (int(v) for v in rng.uniform(0.1, 0.8, 2) * side_px)
        left, top = (int(v) for v in rng.integers(-side_px // 4, side_px, 2).clip(0))
        there = slice(top, top + h), slice(left, left + w)
        room = image[there]
        room[:] = ground(rng, max(w, h, 16))[:room.shape[0], :room.shape[1]]
        open_sky[there] = 0.0
    before = image.copy()
    if rng.random() < 0.35:
        twigs(rng, image)
    for _ in range(int(rng.integers(2, 9))):
        paint = THINGS[int(rng.integers(len(THINGS)))]
        paint(rng, image, tuple(rng.uniform(0, side_px, 2)), float(np.exp(rng.uniform(math.log(8), math.log(90)))))
    open_sky[cv2.max(*cv2.split(cv2.absdiff(image, before))[:2]) > 0] = 0.0
    return image, open_sky


def _seen_aslant(rng: Rng, image: Array) -> Array:
    side = image.shape[0]
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
    moved = (corners + rng.normal(0, rng.uniform(0, 0.3) * side, (4, 2))).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(moved, corners)
    return cv2.warpPerspective(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


Thing = Callable[[Rng, Array, tuple[float, float], float], None]


def _int(*values: float) -> tuple[int, ...]:
    return tuple(round(v) for v in values)


def _pole(rng: Rng, image: Array, at: tuple[float, float], size: float) -> None:
    lean, width = rng.normal(0, 0.03), max(1, round(size * rng.uniform(0.03, 0.15)))
    side = image.shape[0]
    ends = (_int(at[0], at[1] * rng.random()), _int(at[0] + lean * side, side))
    cv2.line(image, *ends, colour(rng, "grey"), width, cv2.LINE_AA)


def _wires(rng: Rng, image: Array, at: tuple[float, float], size: float) -> None:
    side = image.shape[0]
    for _ in range(int(rng.integers(1, 4))):
        left, right = rng.uniform(0, side, 2)
        cv2.line(image, (0, int(left)), (side, int(right)), colour(rng, "dark"), 1, cv2.LINE_AA)


def _text(rng: Rng, image: Array, at: tuple[float, float], size: float, paint: Colour) -> None:
    word = "".join(rng.choice(list(_LETTERS), int(rng.integers(1, 8))))
    cv2.putText(image, word, _int(*at), int(rng.choice(_FONTS)), size / 28, paint, max(1, round(size / 10)),
                cv2.LINE_AA)


def _board(rng: Rng, image: Array, at: tuple[float, float], size: float) -> None:
    """Advertising, direction signs, shop signs, number plates."""
    w, h = size * np.exp(rng.normal(0.3, 0.5)), size * np.exp(rng.normal(-0.2, 0.4))
    x, y = at
    family = str(rng.choice(["any", "vivid", "wall", "grey"]))
    back = colour(rng, family) if rng.random() < 0.6 else [(0, 82, 156), (244, 186, 8), (240, 240, 238), (190, 22, 26)][
        int(rng.integers(4))]
    paint = colour(rng, "grey") if rng.random() < 0.8 else colour(rng, "any")
    cv2.rectangle(image, _int(x, y), _int(x + w, y + h), back, -1)
    for _ in range(int(rng.integers(0, 5))):
        _text(rng, image, (x + rng.uniform(0, 0.4) * w, y + rng.uniform(0.3, 1) * h), rng.uniform(0.1, 0.5) * h, paint)
    if rng.random() < 0.3:
        arrow = np.array([x, y]) + rng.uniform(0.1, 0.9, (2, 2)) * [w, h]
        cv2.arrowedLine(image, _int(*arrow[0]), _int(*arrow[1]), paint, max(1, round(h / 12)), cv2.LINE_AA)
    if rng.random() < 0.5:
        cv2.rectangle(image, _int(x, y), _int(x + w, y + h), paint, max(1, round(0.05 * h)))


def _disc(rng: Rng, image: Array, at: tuple[float, float], size: float) -> None:
    """Wheels, clocks, lamps, mirrors, bus stops: discs and rings that are no signs of ours."""
    half = max(2, round(size / 2))
    rings = colours(rng, "any" if rng.random() < 0.3 else "grey", 3)
    if rng.random() < 0.15:
        rings = [(10, 130, 60), (244, 200, 8), (10, 130, 60)]
    stretch = rng.uniform(0.5, 1.0)
    for share, paint in zip((1.0, rng.uniform(0.5, 0.95), rng.uniform(0.1, 0.45)), rings, strict=True):
        cv2.ellipse(image, _int(*at), _int(max(1.0, half * share * stretch), max(1.0, half * share)), 0, 0, 360, paint,
                    -1, cv2.LINE_AA)
        if rng.random() < 0.35:
            break
    if rng.random() < 0.3:
        _text(rng, image, (at[0] - half / 2, at[1] + half / 3), half, rings[-1])


def _no_stopping(rng: Rng, image: Array, at: tuple[float, float], size: float) -> None:
    """Zeichen 283 and 286: signs that no class of ours names."""
    half = max(2, round(size / 2.4))
    red, blue = (190, 22, 26), (0, 82, 156)
    cv2.circle(image, _int(*at), half, red, -1, cv2.LINE_AA)
    cv2.circle(image, _int(*at), round(0.82 * half), blue, -1, cv2.LINE_AA)
    reach, width = 0.62 * half, max(1, round(0.2 * half))
    for sign in (1, -1)[:int(rng.integers(1, 3))]:
        cv2.line(image, _int(at[0] - reach, at[1] - sign * reach), _int(at[0] + reach, at[1] + sign * reach), red,
                 width, cv2.LINE_AA)


def _square_sign(rng: Rng, image: Array, at: tuple[float, float], size: float) -> None:
    """Blue squares with a white letter, triangle, arrow or square: parking, crossings, one way."""
    x, y, side = at[0], at[1], max(4.0, size * 0.9)
    blue, white = (0, 82, 156), (243, 243, 240)
    cv2.rectangle(image, _int(x, y), _int(x + side, y + side), white, -1)
    cv2.rectangle(image, _int(x + 0.05 * side, y + 0.05 * side), _int(x + 0.95 * side, y + 0.95 * side), blue, -1)
    kind = rng.random()
    if kind < 0.4:
        _text(rng, image, (x + 0.25 * side, y + 0.8 * side), 0.7 * side, white)
    elif kind < 0.7:
        tri = np.array([[0.5, 0.15], [0.88, 0.85], [0.12, 0.85]]) * side + [x, y]
        cv2.fillPoly(image, [tri.round().astype(np.int32)], white, cv2.LINE_AA)
    else:
        cv2.arrowedLine(image, _int(x + 0.15 * side, y + 0.5 * side), _int(x + 0.85 * side, y + 0.5 * side), white,
                        max(1, round(0.15 * side)), cv2.LINE_AA, 0, 0.4)


def _gable(rng: Rng, image: Array, at: tuple[float, float], size: float) -> None:
    """Triangles that are no signs: gables, tents, tree tops."""
    half = size / 2
    tri = np.array([[0, -rng.uniform(0.4, 1.6)], [1, 0.5], [-1, 0.5]]) * half + at
    if rng.random() < 0.3:
        tri[:, 1] = 2 * at[1] - tri[:, 1]
    family = str(rng.choice(["any", "brick", "grey", "leaf"]))
    cv2.fillPoly(image, [tri.round().astype(np.int32)], colour(rng, family), cv2.LINE_AA)
    if rng.random() < 0.4:
        inner = at + (tri - at) * rng.uniform(0.4, 0.8)
        cv2.fillPoly(image, [inner.round().astype(np.int32)], colour(rng, "grey"), cv2.LINE_AA)


def _vehicle(rng: Rng, image: Array, at: tuple[float, float], size: float) -> None:
    """A car from behind, roughly: body, window, lamps, wheels, number plate."""
    x, y, w = at[0], at[1], max(10.0, size * 1.3)
    body = colour(rng, "grey" if rng.random() < 0.6 else "vivid")
    h = w * rng.uniform(0.6, 1.1)
    cv2.rectangle(image, _int(x, y), _int(x + w, y + h), body, -1)
    roof = np.array([[0.05, 0.05], [0.15, -0.3], [0.85, -0.3], [0.95, 0.05]]) * [w, h] + [x, y]
    cv2.fillPoly(image, [roof.round().astype(np.int32)], colour(rng, "dark"), cv2.LINE_AA)
    lamp = colours(rng, "any", 1)[0] if rng.random() < 0.2 else (int(rng.integers(120, 256)), int(rng.integers(60)), 20)
    lw, lh = w * rng.uniform(0.08, 0.2), h * rng.uniform(0.1, 0.3)
    for left in (x, x + w - lw):
        if rng.random() < 0.4:
            cv2.ellipse(image, _int(left + lw / 2, y + 0.35 * h), _int(lw / 2 + 1, lw / 2 + 1), 0, 0, 360, lamp, -1,
                        cv2.LINE_AA)
        else:
            cv2.rectangle(image, _int(left, y + 0.2 * h), _int(left + lw, y + 0.2 * h + lh), lamp, -1)
        cv2.ellipse(image, _int(left + lw / 2, y + h), _int(0.1 * w + 1, 0.1 * w + 1), 0, 0, 360, (20, 20, 22), -1)
    cv2.rectangle(image, _int(x + 0.35 * w, y + 0.5 * h), _int(x + 0.65 * w, y + 0.62 * h), (230, 230, 225), -1)


def _lights(rng: Rng, image: Array, at: tuple[float, float], size: float) -> None:
    """A traffic light, with or without a white edge to its board, lit or not, with arrows at times."""
    w = max(4.0, rng.uniform(0.3, 0.7) * size)
    x, y = at
    board = (22, 24, 24) if rng.random() < 0.8 else colour(rng, "grey")
    cv2.rectangle(image, _int(x, y), _int(x + w, y + 2.8 * w), board, -1)
    if rng.random() < 0.4:
        cv2.rectangle(image, _int(x, y), _int(x + w, y + 2.8 * w), (230, 230, 230), max(1, round(0.06 * w)))
    lit, dark = int(rng.integers(5)), int(rng.integers(4, 30))
    for k, paint in enumerate(((255, 60, 40), (255, 190, 50), (60, 235, 180))):
        middle = x + w / 2, y + (0.5 + 0.9 * k) * w
        shown = paint if k == lit else (tuple(v // dark for v in paint))
        cv2.circle(image, _int(*middle), max(1, round(0.36 * w)), shown, -1, cv2.LINE_AA)
        if rng.random() < 0.2:
            cv2.arrowedLine(image, _int(middle[0], middle[1] + 0.25 * w), _int(middle[0], middle[1] - 0.25 * w),
                            (15, 15, 15) if k == lit else paint, max(1, round(0.1 * w)), cv2.LINE_AA, 0, 0.4)


def _headlamp(rng: Rng, image: Array, at: tuple[float, float], size: float) -> None:
    """A car's lamp and the paint around it: bright and dark rings, slanting glass, red and amber fields."""
    x, y = at
    body = colour(rng, "vivid" if rng.random() < 0.5 else "grey")
    cv2.rectangle(image, _int(x - rng.uniform(0.6, 2) * size, y - size), _int(x + rng.uniform(0.6, 2) * size, y + size),
                  body, -1)
    glass = rng.normal(0, 0.35, (6, 2)) * size * [1.5, 0.8] + at
    cv2.fillConvexPoly(image, cv2.convexHull(glass.astype(np.float32)).round().astype(np.int32), colour(rng, "grey"),
                       cv2.LINE_AA)
    for _ in range(int(rng.integers(1, 4))):
        off, half = rng.normal(0, 0.35, 2) * size, size * rng.uniform(0.1, 0.4)
        field = ((215, 25, 20), (250, 140, 20), (250, 250, 245), (60, 60, 65))[int(rng.integers(4))]
        for share in (1.0, rng.uniform(0.4, 0.9), rng.uniform(0.1, 0.4)):
            axes = _int(1 + half * share, 1 + half * share * rng.uniform(0.5, 1.0))
            cv2.ellipse(image, _int(x + off[0], y + off[1]), axes, rng.uniform(-30, 30), 0, 360, field, -1, cv2.LINE_AA)
            field = colour(rng, "grey")


def _wheel(rng: Rng, image: Array, at: tuple[float, float], size: float) -> None:
    """A tyre, seen aslant, and its rim with spokes or holes."""
    x, y = at
    body, half, squeeze = colour(rng, "any"), size / 2, rng.uniform(0.45, 1.0)
    if rng.random() < 0.6:
        cv2.rectangle(image, _int(x - 1.5 * size, y - size), _int(x + 1.5 * size, y + 0.1 * size), body, -1)
    tone = int(rng.integers(60, 240))
    rim, gap = (tone,) * 3, (int(rng.uniform(0.1, 0.5) * tone),) * 3
    for share, paint in ((1.0, (18, 18, 20)), (0.68, rim), (0.6, gap if rng.random() < 0.6 else rim)):
        cv2.ellipse(image, _int(x, y), _int(1 + half * share * squeeze, 1 + half * share), 0, 0, 360, paint, -1,
                    cv2.LINE_AA)
    spokes = int(rng.integers(4, 12))
    for angle in rng.uniform(0, 7) + np.arange(spokes) * 2 * math.pi / spokes:
        end = x + 0.6 * half * squeeze * math.cos(angle), y + 0.6 * half * math.sin(angle)
        cv2.line(image, _int(x, y), _int(*end), rim, max(1, round(0.1 * half)), cv2.LINE_AA)
    cv2.ellipse(image, _int(x, y), _int(1 + 0.15 * half * squeeze, 1 + 0.15 * half), 0, 0, 360, rim, -1, cv2.LINE_AA)


def _arrow_board(rng: Rng, image: Array, at: tuple[float, float], size: float) -> None:
    """A direction board: white arrows and words on blue, black ones on yellow."""
    x, y = at
    w, h = size * rng.uniform(1.2, 3.5), size * rng.uniform(1.2, 2.5)
    back, paint = ((0, 82, 156), (243, 243, 240)) if rng.random() < 0.6 else ((244, 186, 8), (25, 25, 25))
    cv2.rectangle(image, _int(x, y), _int(x + w, y + h), back, -1)
    for _ in range(int(rng.integers(1, 4))):
        foot = x + rng.uniform(0.1, 0.9) * w, y + rng.uniform(0.6, 0.95) * h
        tip = foot[0] + rng.choice([0.0, 0.0, -0.4, 0.4]) * size, foot[1] - rng.uniform(0.4, 0.9) * size
        cv2.arrowedLine(image, _int(*foot), _int(*tip), paint, max(1, round(0.12 * size)), cv2.LINE_AA, 0,
                        rng.uniform(0.3, 0.6))
    _text(rng, image, (x + 0.3 * w, y + 0.4 * h), 0.3 * size, paint)


def _letters(rng: Rng, image: Array, at: tuple[float, float], size: float) -> None:
    """Letters on walls, and logos: a letter or number alone, in a square, a disc or a ring."""
    x, y = at
    back, paint = colours(rng, str(rng.choice(["any", "vivid", "grey"])), 2)
    if rng.random() < 0.25:
        back, paint = (0, 82, 156), (243, 243, 240)
    half, kind = size / 2, rng.random()
    if kind < 0.3:
        cv2.rectangle(image, _int(x - half, y - half), _int(x + half, y + half), back, -1)
    elif kind < 0.5:
        cv2.circle(image, _int(x, y), max(2, round(half)), back, -1, cv2.LINE_AA)
    elif kind < 0.75:
        cv2.rectangle(image, _int(x - 2 * half, y - 1.4 * half), _int(x + 2 * half, y + 1.4 * half), back, -1)
        cv2.circle(image, _int(x, y), max(2, round(half)), paint, max(1, round(0.1 * half)), cv2.LINE_AA)
    word = "".join(rng.choice(list(_LETTERS), int(rng.integers(1, 3))))
    tall = rng.uniform(0.5, 0.9) * size
    corner, font = _int(x - 0.33 * tall * len(word), y + 0.4 * tall), int(rng.choice(_FONTS))
    cv2.putText(image, word, corner, font, tall / 24, paint, max(1, round(tall / 8)), cv2.LINE_AA)


def _cluster(rng: Rng, image: Array, at: tuple[float, float], size: float) -> None:
    """Leaves before the sky, glints on metal, litter: small shapes about a point, of one family of colours."""
    family = str(rng.choice(["dark", "leaf", "autumn", "grey", "any"]))
    count = int(rng.integers(4, 50))
    angle = np.sort(rng.uniform(0, 2 * math.pi, (count, int(rng.integers(3, 7)))), 1)
    radius = np.exp(rng.uniform(math.log(1.2), math.log(7), (count, 1)))
    points = np.stack([np.cos(angle), np.sin(angle)], 2) * radius[..., None]
    points += rng.normal(0, size / 3, (count, 1, 2)) + at
    for polygon, paint in zip(np.round(points * 16).astype(np.int32), colours(rng, family, count), strict=True):
        cv2.fillPoly(image, [polygon], paint, cv2.LINE_AA, 4)


def _beacon(rng: Rng, image: Array, at: tuple[float, float], size: float) -> None:
    """A guide beacon: slanting red and white bars."""
    w, h = max(3, round(0.3 * size)), max(8, round(1.2 * size))
    v, u = np.mgrid[:h, :w]
    bars = np.where(((u * rng.choice([-1, 1]) + v) // max(2, w // 2) % 2 == 0)[..., None], (190, 22, 26),
                    (240, 240, 238)).astype(np.uint8)
    x, y = _int(*at)
    room = image[y:y + h, x:x + w]
    room[:] = bars[:room.shape[0], :room.shape[1]]


def _plate(rng: Rng, image: Array, at: tuple[float, float], size: float) -> None:
    """A white plate with a word, as hangs under signs."""
    w, h = size * rng.uniform(0.8, 1.1), size * rng.uniform(0.3, 0.8)
    cv2.rectangle(image, _int(at[0] - w / 2, at[1]), _int(at[0] + w / 2, at[1] + h), (240, 240, 238), -1)
    cv2.rectangle(image, _int(at[0] - w / 2, at[1]), _int(at[0] + w / 2, at[1] + h), (25, 25, 25), 1)
    for row in range(int(rng.integers(1, 3))):
        _text(rng, image, (at[0] - 0.4 * w, at[1] + (0.5 + 0.4 * row) * h), 0.35 * h, (25, 25, 25))


def _back(rng: Rng, image: Array, at: tuple[float, float], size: float) -> None:
    """The grey back of a sign."""
    tone, half = int(rng.integers(50, 200)), size / 2.2
    if rng.random() < 0.5:
        cv2.circle(image, _int(*at), max(2, round(half)), (tone, tone, tone), -1, cv2.LINE_AA)
    else:
        up = rng.choice([-1.0, 1.0])
        tri = np.array([[0, -1.0 * up], [1, 0.73 * up], [-1, 0.73 * up]]) * half + at
        cv2.fillPoly(image, [tri.round().astype(np.int32)], (tone, tone, tone + 3), cv2.LINE_AA)


THINGS: tuple[Thing, ...] = (_pole, _wires, _board, _board, _disc, _disc, _no_stopping, _square_sign, _gable, _vehicle,
                             _headlamp, _headlamp, _wheel, _wheel, _lights, _lights, _lights, _letters, _letters,
                             _arrow_board, _cluster, _cluster, _beacon,
                             _plate, _back)
