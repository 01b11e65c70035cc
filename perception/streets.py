"""Streets without signs, out of chance alone: boards, vehicles, lamps and more before grounds, in loose order.

What a sign finder must not be fooled by, and what signs stand before in its training pictures. A new thing is one
function and one row of THINGS. No signs and no camera here; the grounds are those of textures.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from envs.geometry import Array
from perception.textures import Colour, Rng, colour, colours, ground, noise, sky, twigs

_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX,
          cv2.FONT_HERSHEY_PLAIN)
_LETTERS = "ABCDEFGHIKLMNOPRSTUWZ0123456789"


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
