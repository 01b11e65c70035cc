"""What stands on and beside the drawn roads of roadscapes.py, and hides them: walls, barriers, cars, people, posts.

Flat faces put in perspective, the far ones first. A road network that has seen only lone cars on empty roads takes a
dark car, a concrete barrier or a hedge in shadow for road; so all of these come in the colours of roads, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from envs.geometry import Array
from perception.looks import clouds
from perception.roadview import HEIGHT_PX, NEAREST_M, WIDTH_PX, RoadView

# colours of reflected light of what is no road: grass, meadow, sand, earth, gravel, forest, snow, clay
GROUNDS = np.array([[0.2, 0.3, 0.08], [0.35, 0.4, 0.15], [0.6, 0.5, 0.3], [0.45, 0.38, 0.28], [0.3, 0.3, 0.28],
                    [0.1, 0.16, 0.06], [0.8, 0.8, 0.82], [0.5, 0.45, 0.4]])
WALL_POINTS = 24  # along a wall
Profile = tuple[tuple[float, float], ...]  # outline of a flank: shares of the length from behind, of the height

SALOON: Profile = ((0, 0.2), (0, 0.58), (0.08, 0.66), (0.22, 0.98), (0.62, 1.0), (0.76, 0.66), (1, 0.55), (1, 0.2))
ESTATE: Profile = ((0, 0.2), (0, 0.62), (0.06, 0.95), (0.65, 1.0), (0.78, 0.66), (1, 0.55), (1, 0.2))
VAN: Profile = ((0, 0.15), (0, 1.0), (0.8, 1.0), (0.92, 0.6), (1, 0.5), (1, 0.15))
BOX: Profile = ((0, 0.1), (0, 1.0), (1, 1.0), (1, 0.1))


@dataclass(frozen=True)
class VehicleKind:
    """A row of VEHICLES: its share, and ranges of its size [m]."""

    share: float
    flank: Profile
    length_m: tuple[float, float]
    width_m: tuple[float, float]
    height_m: tuple[float, float]
    taper: float  # how much narrower its roof is


VEHICLES = (VehicleKind(0.35, SALOON, (4.2, 5.0), (1.7, 1.9), (1.35, 1.5), 0.22),
            VehicleKind(0.35, ESTATE, (3.6, 4.8), (1.65, 1.95), (1.4, 1.75), 0.18),
            VehicleKind(0.16, VAN, (4.6, 6.2), (1.9, 2.1), (1.9, 2.6), 0.06),
            VehicleKind(0.14, BOX, (6.0, 14.0), (2.3, 2.55), (2.6, 4.0), 0.0))


@dataclass(frozen=True, eq=False)
class Paint:
    """A colour (3,) that varies over the picture: times `bumps` (H, W), times `light` (H,), plus `glow` (H,)."""

    colour: Array
    bumps: Array
    light: Array
    glow: Array

    def at(self, rows: Array, columns: Array) -> Array:
        """Colours (K, 3) of some pixels."""
        return np.asarray(self.colour * (self.bumps[rows, columns] * self.light[rows])[:, None]
                          + self.glow[rows][:, None])


EVEN, DARK = np.ones(HEIGHT_PX, np.float32), np.zeros(HEIGHT_PX, np.float32)


class Canvas:
    """A picture float32 (H, W, 3) of reflected light, and which of its pixels are hidden by something solid."""

    def __init__(self, image: Array, rng: np.random.Generator) -> None:
        self.image, self.solid = image, np.zeros(image.shape[:2], np.uint8)
        self._rng = rng
        self._bumps = [clouds(image.shape[:2], rng, int(rng.integers(4, 80)), 2) for _ in range(3)]

    def rough(self, colour: Array, most: float, light: Array = EVEN, glow: Array = DARK) -> Paint:
        """A colour (3,) with bumps of up to `most` of it."""
        bumps = self._bumps[int(self._rng.integers(len(self._bumps)))]
        return Paint(colour, 1 + bumps * np.float32(self._rng.uniform(0, most)), light, glow)

    def fill(self, outline: Array, colour: Array | Paint, is_solid: bool = True) -> None:
        """A polygon (K, 2) of pixels in one colour (3,), or in a paint."""
        points = [np.round(outline.clip(-3000, 3000) * 16).astype(np.int32)]
        if isinstance(colour, Paint):
            mask = np.zeros(self.solid.shape, np.uint8)
            cv2.fillPoly(mask, points, 1, cv2.LINE_8, 4)
            low = max(int(outline[:, 1].min()) - 1, 0)  # no row above it is looked at
            rows, columns = np.nonzero(mask[low:int(max(outline[:, 1].max(), 0)) + 2])
            rows += low
            self.image[rows, columns] = colour.at(rows, columns)
        else:
            cv2.fillPoly(self.image, points, tuple(float(x) for x in colour), cv2.LINE_8, 4)
        if is_solid:
            cv2.fillPoly(self.solid, points, 1, cv2.LINE_8, 4)


def draw_walls(canvas: Canvas, view: RoadView, edges_m: tuple[float, float], road: float, far_m: float,
               rng: np.random.Generator) -> None:
    """What runs along the road on either side of its edges (left, right), up to `far_m`, and posts before it; `road` is
    the road's own brightness.
    """
    for side, edge in ((1, edges_m[0]), (-1, edges_m[1])):
        rows = sorted((float(rng.exponential(4.0)) if rng.random() < 0.6 else float(rng.uniform(0, 0.8))
                       for _ in range(int(rng.integers(0, 3)))), reverse=True)
        for off in rows:
            make = WALLS[int(rng.choice(len(WALLS), p=WALL_SHARES))]
            make(canvas, view, edge + side * (off + 0.05), road, far_m, rng)
        for _ in range(int(rng.integers(0, 4))):
            at, off = min(math.exp(rng.uniform(1.5, 4.3)), far_m), edge + side * rng.uniform(0.2, 6)
            low, high = view.pixels(off, np.array([at, at]), np.array([0.0, rng.uniform(1, 8)]))
            shade = tuple(float(x) for x in rng.uniform(0.05, 0.9) * np.ones(3))
            cv2.line(canvas.image, tuple(int(x) for x in low), tuple(int(x) for x in high), shade,
                     max(int(view.focal_u * 0.12 / at), 1))


def _along(far_m: float, rng: np.random.Generator) -> Array:
    """Where a wall runs [m ahead]: often from beside the camera on."""
    begin = NEAREST_M if rng.random() < 0.5 else min(math.exp(rng.uniform(0.5, 3.3)), far_m / 2)
    return np.geomspace(begin, min(math.exp(rng.uniform(2.7, 5.0)) + begin, far_m), WALL_POINTS)


def _face(view: RoadView, aside: float, ahead: Array, low: float, high: float) -> Array:
    """Outline of an upright strip along the road."""
    return np.concatenate([view.pixels(aside, ahead, low), view.pixels(aside, ahead, high)[::-1]])


def _hedge(canvas: Canvas, view: RoadView, aside: float, road: float, far_m: float, rng: np.random.Generator) -> None:
    """A hedge, an earth bank or a house front of one colour; in shadow as dark as the road."""
    colour = GROUNDS[int(rng.integers(len(GROUNDS)))] * rng.uniform(0.15, 1.6)
    if rng.random() < 0.3:
        colour = colour / colour.mean() * road * rng.uniform(0.7, 1.2)
    tall = rng.choice([0.8, 1.5, 4.0, 9.0]) * rng.uniform(0.5, 1.3)
    canvas.fill(_face(view, aside, _along(far_m, rng), 0.0, tall), canvas.rough(colour, 0.6))


def _barrier(canvas: Canvas, view: RoadView, aside: float, road: float, far_m: float, rng: np.random.Generator) -> None:
    """A barrier of concrete, of about the road's own brightness: its foot lighter or darker, joints, perhaps a rail."""
    grey = road * rng.uniform(0.6, 1.5) if rng.random() < 0.6 else rng.uniform(0.15, 0.85)
    colour = grey * rng.uniform(0.93, 1.07, 3)
    ahead, tall = _along(far_m, rng), rng.uniform(0.6, 1.2)
    canvas.fill(_face(view, aside, ahead, 0.0, tall), canvas.rough(colour, 0.3))
    if rng.random() < 0.6:
        canvas.fill(_face(view, aside, ahead, 0.0, tall * rng.uniform(0.1, 0.4)), colour * rng.uniform(0.7, 1.3))
    if rng.random() < 0.6:
        canvas.fill(_face(view, aside, ahead, tall * 0.93, tall), colour * rng.uniform(0.8, 1.5))
    if rng.random() < 0.5:
        step = rng.uniform(2.5, 6)
        for at in np.arange(ahead[0] + step, min(ahead[-1], 40.0), step):
            canvas.fill(_face(view, aside, np.array([at, at + 0.06]), 0.0, tall), colour * 0.6)
    if rng.random() < 0.4:
        _rail(canvas, view, aside, ahead, tall, rng)


def _guard_rail(canvas: Canvas, view: RoadView, aside: float, road: float, far_m: float,
                rng: np.random.Generator) -> None:
    """A steel rail on posts; the ground goes on behind it."""
    del road
    _rail(canvas, view, aside, _along(far_m, rng), 0.0, rng)


def _rail(canvas: Canvas, view: RoadView, aside: float, ahead: Array, foot: float, rng: np.random.Generator) -> None:
    """A rail on posts that stand `foot` [m] high."""
    shade, step = rng.uniform(0.25, 0.9) * rng.uniform(0.95, 1.05, 3), rng.uniform(1.3, 4.0)
    low = foot + rng.uniform(0.25, 0.5)
    for at in np.arange(ahead[0], min(ahead[-1], 60.0), step):
        canvas.fill(_face(view, aside, np.array([at, at + 0.12]), foot, low), shade * 0.7)
    for k in range(int(rng.integers(1, 4))):
        canvas.fill(_face(view, aside, ahead, low + 0.12 * k, low + 0.12 * k + rng.uniform(0.06, 0.12)),
                    shade * rng.uniform(0.7, 1.2))


def _fence(canvas: Canvas, view: RoadView, aside: float, road: float, far_m: float, rng: np.random.Generator) -> None:
    """Bars, or boards of two colours in turn, as before building sites."""
    del road
    colours, tall = rng.uniform(0.05, 0.95, (2, 3)), rng.uniform(0.7, 2.0)
    step = rng.uniform(0.15, 3.0)
    ahead = _along(min(far_m, 40.0), rng)
    for k, at in enumerate(np.arange(ahead[0], ahead[-1], step)[:120]):
        wide = step if rng.random() < 0.9 else step / 2
        canvas.fill(_face(view, aside, np.array([at, at + wide / 2]), 0.0, tall), colours[k % 2])


def _houses(canvas: Canvas, view: RoadView, aside: float, road: float, far_m: float, rng: np.random.Generator) -> None:
    """A street of house fronts with windows."""
    del road
    at, end = (float(x) for x in _along(far_m, rng)[[0, -1]])
    away = aside + math.copysign(rng.uniform(0.5, 6), aside)
    while at < end:
        long, tall = rng.uniform(6, 20), rng.uniform(4, 16)
        front = rng.uniform(0.08, 0.9) * rng.uniform(0.75, 1.2, 3)
        canvas.fill(_face(view, away, np.geomspace(at, at + long, 5), 0.0, tall), canvas.rough(front, 0.2))
        glass = front * rng.uniform(0.1, 0.7)
        for u in np.arange(at + 1.0, at + long - 1.5, rng.uniform(2.0, 3.5)):
            for low in np.arange(0.9, tall - 1.5, 2.9):
                canvas.fill(_face(view, away, np.array([u, u + 1.1]), low, low + 1.4), glass)
        at += long * rng.uniform(1.0, 1.3)


Wall = Callable[[Canvas, RoadView, float, float, float, np.random.Generator], None]
WALLS: tuple[Wall, ...] = (_hedge, _barrier, _guard_rail, _fence, _houses)
WALL_SHARES = np.array([0.3, 0.28, 0.17, 0.07, 0.18])


def draw_users(canvas: Canvas, view: RoadView, borders_m: Array, edges_m: tuple[float, float],
               rng: np.random.Generator) -> None:
    """Vehicles in the lanes (borders from left to right), parked at the edges, and people, the far ones first."""
    middles = (borders_m[1:] + borders_m[:-1]) / 2
    places = [(float(math.exp(rng.uniform(math.log(5), math.log(90)))), float(rng.choice(middles) + rng.normal(0, 0.3)))
              for _ in range(int(rng.integers(0, 7)))]
    if rng.random() < 0.25:  # beside the camera, cut by the picture's border
        places.append((rng.uniform(-3, 4), rng.choice([-1, 1]) * rng.uniform(2.6, 4.5)))
    for edge, inwards in zip(edges_m, (-1, 1), strict=True):
        if rng.random() < 0.2:
            start, step = rng.uniform(3, 30), rng.uniform(5, 8)
            off = edge + inwards * rng.uniform(-1.2, 1.2)
            places += [(start + k * step, off) for k in range(int(rng.integers(1, 9)))]
    movers = [(at, aside, _vehicle) for at, aside in places]
    if rng.random() < 0.3:
        movers += [(rng.uniform(5, 40), rng.uniform(edges_m[1] - 3, edges_m[0] + 3), _person)
                   for _ in range(int(rng.integers(1, 5)))]
    for at, aside, draw in sorted(movers, key=lambda mover: -mover[0]):
        draw(canvas, view, at, aside, rng)


def _vehicle(canvas: Canvas, view: RoadView, at: float, aside: float, rng: np.random.Generator) -> None:
    """A vehicle whose near end is `at` metres ahead: the flank that faces the camera, then the end."""
    kind = VEHICLES[int(rng.choice(len(VEHICLES), p=[kind.share for kind in VEHICLES]))]
    long, wide, tall = (rng.uniform(*span) for span in (kind.length_m, kind.width_m, kind.height_m))
    if at + long < 2 * NEAREST_M or (at < 3.0 and abs(aside) < wide):
        return
    body = rng.uniform(0.02, 0.9) ** 1.6 * rng.uniform(0.94, 1.06, 3)  # grey, and dark more often than light
    if rng.random() < 0.3:
        body = body * rng.uniform(0.3, 1.7, 3)
    shown, is_near_end = _sheen(canvas, body, view, at, tall, rng), at > NEAREST_M
    shadow = view.pixels(np.array([aside + wide * 0.55, aside - wide * 0.55, aside - wide * 0.55, aside + wide * 0.55]),
                         np.array([at - 0.1, at - 0.1, at + long, at + long]))
    if is_near_end:
        canvas.fill(shadow, np.full(3, 0.03), is_solid=False)
    flank = aside - math.copysign(wide / 2, aside + view.turn * at)
    is_oncoming = rng.random() < 0.4
    along, up = np.array(kind.flank).T
    lengthwise = at + long * (1 - along if is_oncoming else along)
    canvas.fill(view.pixels(flank, lengthwise, up * tall), replace(shown, light=shown.light * rng.uniform(0.6, 1.1)))
    glass = np.full(3, rng.uniform(0.03, 0.3)) * rng.uniform(0.9, 1.15, 3)
    if kind.flank in (SALOON, ESTATE):
        inside = np.array([[0.16, 0.66], [0.24, 0.92], [0.6, 0.93], [0.7, 0.66]])
        along = 1 - inside[:, 0] if is_oncoming else inside[:, 0]
        canvas.fill(view.pixels(flank, at + long * along, inside[:, 1] * tall), glass)
    for share in (0.18, 0.82):
        _wheel(canvas, view, flank, at + long * share, rng.uniform(0.28, 0.36) * (1.4 if kind.flank is BOX else 1))
    if is_near_end:
        _end(canvas, view, kind, (at, aside, wide, tall), shown, glass, is_oncoming, rng)


def _sheen(canvas: Canvas, body: Array, view: RoadView, at: float, tall: float, rng: np.random.Generator) -> Paint:
    """A body's paint: lighter upwards, where it mirrors the sky, with a band of another brightness."""
    foot = view.pixels(0.0, max(at, 2.0))[1]
    high = view.focal_v * tall / max(at, 2.0)
    up = ((foot - np.arange(HEIGHT_PX, dtype=np.float32)) / max(high, 1.0)).clip(0, 1)
    light = 1 + rng.uniform(-0.1, 0.7) * (up - 0.5) + rng.uniform(0, 0.5) * (np.abs(up - rng.uniform(0.3, 0.6)) < 0.06)
    return canvas.rough(body, 0.12, light, rng.uniform(0, 0.1) * up)


def _wheel(canvas: Canvas, view: RoadView, aside: float, at: float, radius: float) -> None:
    """A dark wheel of a flank."""
    if at < 2 * NEAREST_M:
        return
    angle = np.linspace(0, 2 * math.pi, 12, endpoint=False)
    for share, shade in ((1.0, 0.03), (0.6, 0.3)):
        canvas.fill(view.pixels(aside, at + share * radius * np.cos(angle), radius * (1 + share * np.sin(angle))),
                    np.full(3, shade))


def _end(canvas: Canvas, view: RoadView, kind: VehicleKind, box: tuple[float, float, float, float], shown: Paint,
         glass: Array, is_oncoming: bool, rng: np.random.Generator) -> None:
    """The end of a vehicle that faces the camera: box is (ahead, aside, width, height)."""
    at, aside, wide, tall = box
    top, belt = wide / 2 * (1 - kind.taper), 0.62 * tall

    def face(corners: list[tuple[float, float]], colour: Array | Paint) -> None:
        across, up = np.array(corners).T
        canvas.fill(view.pixels(aside + across, at, up), colour)

    face([(-wide * 0.5, 0.0), (-wide * 0.48, 0.3), (wide * 0.48, 0.3), (wide * 0.5, 0.0)], np.full(3, 0.03))
    face([(-wide / 2, 0.2), (-wide / 2, belt), (-top, tall), (top, tall), (wide / 2, belt), (wide / 2, 0.2)], shown)
    if kind.flank is not BOX or is_oncoming:
        face([(-wide * 0.42, belt), (-top * 0.85, tall * 0.94), (top * 0.85, tall * 0.94), (wide * 0.42, belt)], glass)
    face([(-wide * 0.46, 0.2), (-wide * 0.46, 0.45), (wide * 0.46, 0.45), (wide * 0.46, 0.2)],
         (shown if rng.random() < 0.5 else np.full(3, rng.uniform(0.03, 0.3))))
    lamp = np.array([0.95, 0.95, 0.85]) if is_oncoming else np.array([0.7, 0.06, 0.05]) * rng.uniform(0.6, 1.4)
    low, high = belt * 0.78, belt * rng.uniform(0.95, 1.1)
    for side in (-1, 1):
        face([(side * wide * 0.48, low), (side * wide * 0.34, low), (side * wide * 0.34, high),
              (side * wide * 0.48, high)], lamp)
    face([(-0.26, 0.5), (-0.26, 0.61), (0.26, 0.61), (0.26, 0.5)], np.array([0.9, 0.88, rng.uniform(0.2, 0.9)]))


def _person(canvas: Canvas, view: RoadView, at: float, aside: float, rng: np.random.Generator) -> None:
    """Somebody on foot or on a bicycle: legs, coat, head."""
    tall, wide = rng.uniform(1.4, 1.9), rng.uniform(0.2, 0.35)
    parts = ((0.0, 0.5, 0.7, rng.uniform(0.02, 0.5, 3)), (0.45, 0.86, 1.0, rng.uniform(0, 0.9, 3)),
             (0.87, 1.0, 0.35, np.array([0.6, 0.42, 0.32]) * rng.uniform(0.3, 1.3)))
    for low, high, share, colour in parts:
        half = wide * share
        canvas.fill(view.pixels(aside + np.array([-half, -half, half, half]), at,
                                tall * np.array([low, high, high, low])), colour)
    if rng.random() < 0.3:
        for off in (0.0, 1.05):
            _wheel(canvas, view, aside, at + off, 0.34)


def draw_bonnet(canvas: Canvas, rng: np.random.Generator) -> int:
    """The own car's bonnet at the bottom; returns its highest row."""
    high = HEIGHT_PX * rng.uniform(0.02, 0.15)
    u = np.linspace(0, WIDTH_PX, 20)
    top = HEIGHT_PX - high * (1 - rng.uniform(0, 0.5) * (2 * u / WIDTH_PX - 1) ** 2)
    outline = np.concatenate([np.stack([u, top], 1), [[WIDTH_PX, HEIGHT_PX + 9], [0, HEIGHT_PX + 9]]])
    canvas.fill(outline, rng.uniform(0.02, 0.5) * rng.uniform(0.7, 1.3, 3), is_solid=False)
    return int(HEIGHT_PX - high)
