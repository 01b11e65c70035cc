"""Roads drawn from scratch, with what roadnet.py should find in them: paved ground, lines between lanes, the horizon.

The towns of `envs` have our roads; the world has more: six lanes, raised dots and concrete seams in place of paint,
patches, tyre marks, kerbs, side roads. Each picture is a flat curved road seen by a random camera (roadview.py), every
pixel of the ground coloured by where it lies on the road; what stands on it is drawn by roadobjects.py. It need not
look real, it must never look twice the same. What is drawn is a function of the generator alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from envs.geometry import Array
from perception.looks import clouds
from perception.roadobjects import GROUNDS, Canvas, draw_bonnet, draw_users, draw_walls
from perception.roadview import HEIGHT_PX, WIDTH_PX, RoadView

STRIDE_PX = 4
COLUMNS, ROWS = WIDTH_PX // STRIDE_PX, HEIGHT_PX // STRIDE_PX
RIDGE_CELLS = 0.7  # spread of the bell across a line, in cells of the labels
FAR_M = 110.0  # no line is asked for beyond this


@dataclass(frozen=True, eq=False)
class Scape:
    """A picture and its labels; weights are 0 where nothing is asked."""

    rgb: Array  # uint8 (192, 320, 3)
    road: Array  # float32 (48, 80), share of paved ground
    road_weight: Array  # float32 (48, 80)
    ridge: Array  # float32 (48, 80), 1 on lines between lanes
    ridge_weight: Array  # float32 (48, 80)
    horizon: float  # its row as a share of the height


@dataclass(frozen=True)
class _Paving:
    """Where the ground is paved: between two edges, and to the sides where another road comes in."""

    left_m: float
    right_m: float
    side_m: tuple[float, float] | None  # where a road comes in from the side [m ahead]
    sides: tuple[bool, bool]  # left, right

    @property
    def far_m(self) -> float:
        """How far on nothing comes in from the side."""
        return self.side_m[0] if self.side_m else 500.0

    def crosses(self, ahead: Array) -> Array:
        """Which places lie abreast of a side road."""
        return (ahead > self.side_m[0]) & (ahead < self.side_m[1]) if self.side_m else np.zeros(ahead.shape, bool)

    def holds(self, aside: Array, ahead: Array) -> Array:
        """Which places are paved; a side road's corners are round."""
        is_paved = (aside < self.left_m) & (aside > self.right_m)
        if self.side_m:
            middle, half = (self.side_m[0] + self.side_m[1]) / 2, (self.side_m[1] - self.side_m[0]) / 2
            for is_there, off in zip(self.sides, (aside - self.left_m, self.right_m - aside), strict=True):
                if is_there:
                    corner = np.maximum(0, CORNER_M - off) ** 2 / CORNER_M / 2
                    is_paved |= (off >= 0) & (np.abs(ahead - middle) < half + corner)
        return np.asarray(is_paved)


CORNER_M = 5.0  # where a side road's edge begins to turn


@dataclass(frozen=True)
class _Line:
    """A line along the road; dash 0 is a whole one."""

    aside_m: float
    width_m: float
    colour: Array  # (3,)
    dash_m: float
    period_m: float
    start_m: float
    cover: float  # share of the paint that is left


def draw_scape(rng: np.random.Generator) -> Scape:
    """One road and its labels."""
    view = RoadView(rng)
    lanes, lane_m = int(rng.choice([1, 2, 3, 4, 5, 6], p=[0.08, 0.3, 0.22, 0.2, 0.13, 0.07])), rng.uniform(2.7, 4.0)
    own = int(rng.integers(lanes))
    left_edge = (own + 0.5) * lane_m + rng.normal(0, 0.35)
    borders = left_edge - lane_m * np.arange(lanes + 1)
    lines = [line for k, at in enumerate(borders) for line in _lines_at(float(at), 0 < k < lanes, rng)]
    paving = _paving(borders, rng)
    first = int(view.horizon_px - abs(view.roll) * WIDTH_PX)  # no ground above this row
    v, u = np.mgrid[first:HEIGHT_PX, 0:WIDTH_PX].astype(np.float32) + np.float32(0.5)
    aside, ahead, below = view.ground(u, v)
    brightness = rng.uniform(0.12, 0.75)
    ground = _surfaces(aside, ahead, brightness, paving, borders, view, rng)
    _marks(ground, aside, ahead, lines, paving, view)
    if rng.random() < 0.35:
        _symbols(ground, first, view, borders, rng)
    _litter(ground, aside, ahead, paving, rng)
    _shadows(ground, aside, ahead, rng)
    canvas = Canvas(_backdrop(view, rng), rng)
    if rng.random() < 0.2:
        _shine(ground, below, canvas.image[max(first - 1, 0)].mean(0), rng)
    canvas.image[first:][below > 0.4] = ground[below > 0.4]
    edges = paving.left_m, paving.right_m
    draw_walls(canvas, view, edges, brightness, paving.far_m, rng)
    draw_users(canvas, view, borders, edges, rng)
    bonnet = draw_bonnet(canvas, rng) if rng.random() < 0.25 else HEIGHT_PX
    rgb = (255 * canvas.image.clip(0, 1)).astype(np.uint8)
    return _labelled(rgb, canvas.solid, view, paving, borders, bonnet)


def _paving(borders: Array, rng: np.random.Generator) -> _Paving:
    """Shoulders beside the lanes, and in one picture of four a side road or a crossing."""
    left, right = (rng.uniform(0.2, 4) if rng.random() < 0.6 else rng.uniform(0.05, 0.5) for _ in range(2))
    side = None
    if rng.random() < 0.25:
        begin = math.exp(rng.uniform(math.log(5), math.log(60)))
        side = (begin, begin + rng.uniform(5, 14))
    draw = rng.random()
    return _Paving(float(borders[0]) + left, float(borders[-1]) - right, side, (draw < 0.7, draw > 0.3))


def _lines_at(aside_m: float, is_inner: bool, rng: np.random.Generator) -> list[_Line]:
    """What marks a border between lanes, or a road's edge: paint, dots, a seam, or nothing."""
    white, yellow = np.full(3, rng.uniform(0.65, 1.0)), np.array([0.9, 0.65, 0.12]) * rng.uniform(0.7, 1.1)
    colour = yellow if rng.random() < (0.15 if is_inner else 0.3) else white
    wear = 1.0 if rng.random() < 0.5 else rng.uniform(0.2, 1)
    width, start = rng.uniform(0.09, 0.22), rng.uniform(0, 20)
    seam = _Line(aside_m + rng.normal(0, 0.06), rng.uniform(0.03, 0.09), np.full(3, rng.uniform(0.02, 0.2)), 0, 1, 0,
                 rng.uniform(0.3, 1))
    kind = rng.random()
    if is_inner and kind < 0.22:  # raised dots, four and a gap or evenly
        step = rng.uniform(0.9, 1.6)
        dots = _Line(aside_m, rng.uniform(0.1, 0.17), colour, rng.uniform(0.12, 0.3), step, start, wear)
        bright = _Line(aside_m, 0.14, colour, rng.uniform(0.2, 4.5), rng.uniform(7, 15), start, rng.uniform(0.3, 1))
        return [dots, bright] if rng.random() < 0.5 else [seam, dots]
    if kind < 0.3:
        return [seam] if rng.random() < 0.7 else []
    if is_inner and kind < 0.85:
        period = rng.choice([6.0, 9.0, 12.0, 14.6]) * rng.uniform(0.8, 1.2)
        return [_Line(aside_m, width, colour, period * rng.uniform(0.2, 0.6), period, start, wear)]
    if kind < 0.94:
        return [_Line(aside_m, width, colour, 0, 1, 0, wear)]
    gap = rng.uniform(0.1, 0.2) / 2 + width / 2
    return [_Line(aside_m - gap, width, colour, 0, 1, 0, wear), _Line(aside_m + gap, width, colour, 0, 1, 0, wear)]


def _surfaces(aside: Array, ahead: Array, brightness: float, paving: _Paving, borders: Array, view: RoadView,
              rng: np.random.Generator) -> Array:
    """Reflected light (H, W, 3) of the ground: grass, kerb or dirt, and asphalt or concrete with its wear."""
    shape, paved = aside.shape, (paving.left_m, paving.right_m)
    tint = rng.uniform(0.9, 1.1, 3).astype(np.float32)
    road = np.full(shape, brightness, np.float32)
    grain = clouds(shape, rng, 60, 2) * np.float32(rng.uniform(0, 0.12))
    grain += clouds(shape, rng, 5, 3) * np.float32(rng.uniform(0, 0.15))
    for low, high in zip(borders[1:], borders[:-1], strict=True):
        if rng.random() < 0.3:  # a lane paved at another time
            road[(aside > low) & (aside < high)] *= rng.uniform(0.6, 1.5)
        if rng.random() < 0.4:  # the tracks of tyres, and oil between them
            off = np.abs(aside - np.float32((low + high) / 2))
            reach, tracks = (1 - off / 0.7).clip(0), (1 - np.abs(off - np.float32(0.8)) / 0.6).clip(0)
            road *= (1 - np.float32(rng.uniform(0, 0.25)) * tracks - np.float32(rng.uniform(0, 0.2)) * reach)
    for _ in range(int(rng.integers(0, 4))):  # patches
        x0, z0 = rng.uniform(paved[1], paved[0]), math.exp(rng.uniform(1.2, 4))
        inside = (np.abs(aside - x0) < rng.uniform(0.2, 2)) & (np.abs(ahead - z0) < rng.uniform(0.3, 6))
        road[inside] *= rng.uniform(0.5, 1.5)
    if rng.random() < 0.35:  # joints across
        step = rng.uniform(3, 8)
        joint = _stripe((ahead + rng.uniform(0, 9)) % step - step / 2, 0.06, ahead**2 / (view.focal_v * view.height_m))
        road *= 1 - np.float32(rng.uniform(0.1, 0.6)) * joint
    for _ in range(int(rng.integers(0, 3))):  # seams and cracks that divide no lanes
        at = rng.uniform(paved[1], paved[0]) + rng.uniform(-0.02, 0.02) * ahead
        crack = _stripe(aside - at, rng.uniform(0.02, 0.12), ahead / view.focal_u)
        road *= 1 + np.float32(rng.uniform(-0.5, 0.3)) * crack
    beside = GROUNDS[int(rng.integers(len(GROUNDS)))] * rng.uniform(0.3, 1.5)
    if rng.random() < 0.3:  # no darker and no lighter than the road
        beside *= brightness / beside.mean() * rng.uniform(0.75, 1.25)
    bumps = 1 + clouds(shape, rng, 40, 3) * np.float32(rng.uniform(0.05, 0.4))
    ground = beside.astype(np.float32) * bumps[..., None]
    if rng.random() < 0.4:  # a kerb with a pavement behind it
        stone, flags = rng.uniform(0.3, 0.9), rng.uniform(0.25, 0.8) * rng.uniform(0.92, 1.08, 3)
        if rng.random() < 0.4:
            flags *= brightness / flags.mean() * rng.uniform(0.85, 1.3)
        wide = rng.uniform(1, 5)
        off = np.maximum(aside - paved[0], paved[1] - aside)
        ground[(off > 0) & (off < wide)] = flags * (1 + grain[(off > 0) & (off < wide), None])
        if rng.random() < 0.5:
            joints = _stripe(off % np.float32(0.6) - np.float32(0.3), 0.03, ahead / view.focal_u)
            ground *= (1 - np.float32(0.3) * joints)[..., None]
        ground[(off > 0) & (off < 0.18)] = stone
    if rng.random() < 0.2:  # another carriageway
        off = aside - paved[0] - rng.uniform(1.0, 4.0) if rng.random() < 0.7 else paved[1] - rng.uniform(1, 4) - aside
        ground[(off > 0) & (off < rng.uniform(5, 12))] = brightness * rng.uniform(0.8, 1.2) * tint
    is_paved = paving.holds(aside, ahead)
    ground[is_paved] = (road * (1 + grain))[is_paved, None] * tint
    return ground


def _stripe(off: Array, width: float, pixel: Array) -> Array:
    """Coverage [0, 1] of pixels that are `pixel` metres wide by a stripe, given their middle's distance from its."""
    reach = (width / 2 + pixel / 2 - np.abs(off)) / np.maximum(pixel, 1e-6)
    return reach.clip(0, 1) * np.minimum(width / np.maximum(pixel, 1e-6), 1.0)


def _marks(image: Array, aside: Array, ahead: Array, lines: list[_Line], paving: _Paving, view: RoadView) -> None:
    """Paint the lines into the image of the ground; none runs past a side road."""
    is_painted = (ahead < 200) & ~paving.crosses(ahead)
    across, along = ahead / view.focal_u, ahead**2 / (view.focal_v * view.height_m)
    for line in lines:
        near = np.abs(aside - line.aside_m) < line.width_m / 2 + across
        rows, columns = np.nonzero(near & is_painted)
        if len(rows) == 0:
            continue
        cover = _stripe(aside[rows, columns] - line.aside_m, line.width_m, across[rows, columns])
        if line.dash_m > 0:
            off = (ahead[rows, columns] + line.start_m) % line.period_m - line.period_m / 2
            pixel = along[rows, columns]
            fine = _stripe(off, line.dash_m, pixel)
            cover = cover * np.where(pixel > line.period_m, line.dash_m / line.period_m, fine)
        cover = cover * line.cover
        image[rows, columns] += cover[:, None].astype(np.float32) * (line.colour - image[rows, columns])


def _symbols(image: Array, first: int, view: RoadView, borders: Array, rng: np.random.Generator) -> None:
    """Arrows, words and bars across: paint that divides no lanes."""
    colour = tuple(float(x) for x in np.full(3, rng.uniform(0.6, 1)))
    for _ in range(int(rng.integers(1, 4))):
        lane = int(rng.integers(len(borders) - 1))
        middle, at = (borders[lane] + borders[lane + 1]) / 2, rng.uniform(5, 35)
        kind = rng.random()
        if kind < 0.3:  # a bar across or the stripes of a crossing
            width, step = borders[0] - borders[-1], rng.uniform(0.8, 1.2)
            places = np.arange(0, width, step) if rng.random() < 0.6 else np.zeros(1)
            long, wide = (rng.uniform(2.5, 4), 0.5) if len(places) > 1 else (rng.uniform(0.3, 0.6), width)
            bar = np.array([[0, 0], [wide, 0], [wide, long], [0, long]])
            shapes = [bar + np.array([borders[-1] + x, at]) for x in places]
        elif kind < 0.75:
            shapes = [_ARROW_M * np.array([rng.choice([-1, 1]), rng.uniform(0.6, 1.3)]) + np.array([middle, at])]
        else:
            shapes = [_LETTER_M + np.array([middle + x, at]) for x in rng.uniform(-1.2, 1.2, 5)]
        for shape in shapes:
            points = view.pixels(shape[:, 0], shape[:, 1]) - [0, first]
            if np.abs(points).max() < 4000:
                cv2.fillPoly(image, [np.round(points * 16).astype(np.int32)], colour, cv2.LINE_8, 4)


_LETTER_M = np.array([[0, 0], [0.15, 0], [0.15, 1.6], [0, 1.6]])
_ARROW_M = np.array([[0.1, 0], [0.1, 2.5], [0.45, 2.5], [0.0, 4.5], [-0.45, 2.5], [-0.1, 2.5], [-0.1, 0]])


def _shadows(image: Array, aside: Array, ahead: Array, rng: np.random.Generator) -> None:
    """Shadows of trees, bridges and buildings on the ground."""
    draw = rng.random()
    if draw < 0.2:  # across, from a bridge or a row of trees
        at, long, slant = rng.uniform(4, 40), rng.uniform(1, 15), rng.normal(0, 0.5)
        inside = np.abs(ahead + slant * aside - at) < long / 2
    elif draw < 0.45:  # leaves
        table = clouds((64, 256), rng, 40, 3)
        scale = rng.uniform(0.5, 4)
        inside = table[(aside * scale).astype(int) % 64, (ahead * scale).astype(int) % 256] > rng.uniform(-0.2, 0.6)
        inside &= np.abs(ahead - rng.uniform(5, 50)) < rng.uniform(5, 40)
    elif draw < 0.6:  # along, from a wall
        side = rng.uniform(-8, 8)
        inside = (aside < side) if rng.random() < 0.5 else (aside > side)
    else:
        return
    image[inside] *= np.float32(rng.uniform(0.25, 0.75))


def _litter(image: Array, aside: Array, ahead: Array, paving: _Paving, rng: np.random.Generator) -> None:
    """Leaves, dirt and puddles, mostly along the edges."""
    if rng.random() > 0.25:
        return
    off = np.minimum(paving.left_m - aside, aside - paving.right_m)
    table, scale = rng.random((128, 128), np.float32), rng.uniform(3, 12)
    seen = table[(aside * scale).astype(int) % 128, (ahead * scale).astype(int) % 128]
    thick = rng.uniform(0.0, 0.05) + rng.uniform(0.05, 0.3) * np.exp(-np.maximum(off, 0) / rng.uniform(0.3, 2))
    lying = (seen < thick) & (ahead < 40)
    colour, cover = rng.uniform(0.1, 0.8) * np.array([1, rng.uniform(0.5, 1), 0.4]), rng.uniform(0.2, 0.8)
    image[lying] += np.float32(cover) * (colour.astype(np.float32) - image[lying])


def _shine(image: Array, below: Array, sky: Array, rng: np.random.Generator) -> None:
    """A wet road, or one against the sun: far away it mirrors the sky."""
    blotches = 1 + clouds(below.shape, rng, 8, 3) * np.float32(rng.uniform(0, 0.8))
    share = (rng.uniform(0.2, 0.9) * np.exp(-below / rng.uniform(8, 60)) * blotches).clip(0, 0.9)[..., None]
    image += share.astype(np.float32) * (sky.astype(np.float32) - image)


def _backdrop(view: RoadView, rng: np.random.Generator) -> Array:
    """What stands above the horizon: sky, hills, trees, houses, gantries."""
    shape = (HEIGHT_PX, WIDTH_PX)
    sky = SKIES[int(rng.integers(len(SKIES)))]
    down = np.linspace(0, 1, HEIGHT_PX, dtype=np.float32)[:, None, None]
    image = (sky * (1 + 0.5 * down * rng.uniform(0, 1)) + np.zeros((*shape, 3))).astype(np.float32)
    image *= 1 + (clouds(shape, rng, 4, 4) * np.float32(rng.uniform(0, 0.3)))[..., None]
    u = np.arange(WIDTH_PX)
    for _ in range(int(rng.integers(0, 4))):  # silhouettes, one before the other
        top = view.horizon_px - HEIGHT_PX * rng.uniform(0.0, 0.35) * (1 + clouds((2, WIDTH_PX), rng, int(
            rng.integers(3, 40)), 3)[0])
        colour = np.float32(GROUNDS[int(rng.integers(len(GROUNDS)))] * rng.uniform(0.2, 1.2))
        image[np.arange(HEIGHT_PX)[:, None] > top[u][None]] = colour
    for _ in range(int(rng.integers(0, 7)) if rng.random() < 0.6 else 0):
        left, wide, tall = rng.uniform(-20, WIDTH_PX), rng.uniform(8, 90), rng.uniform(0.05, 0.9)
        wall = tuple(float(x) for x in rng.uniform(0.1, 0.9) * rng.uniform(0.75, 1.2, 3))
        cv2.rectangle(image, (int(left), int(view.horizon_px * (1 - tall))), (int(left + wide), HEIGHT_PX), wall, -1)
    image *= 1 + (clouds(shape, rng, 80, 2) * np.float32(rng.uniform(0, 0.25)))[..., None]
    return image


SKIES = np.array([[0.95, 0.95, 0.97], [0.5, 0.65, 0.9], [0.7, 0.78, 0.85], [0.25, 0.4, 0.75], [1.0, 1.0, 1.0],
                  [0.45, 0.48, 0.52], [0.1, 0.11, 0.15], [0.9, 0.75, 0.6]])


def _labelled(rgb: Array, solid: Array, view: RoadView, paving: _Paving, borders: Array, bonnet_px: int) -> Scape:
    """The picture with its labels at the middles of the cells."""
    v, u = (np.mgrid[0:ROWS, 0:COLUMNS].astype(np.float32) + 0.5) * STRIDE_PX
    aside, ahead, below = view.ground(u, v)
    hidden = cv2.resize(solid * np.uint8(255), (COLUMNS, ROWS), interpolation=cv2.INTER_AREA) / np.float32(255)
    is_ground = below > 0.4
    road = (paving.holds(aside, ahead) & is_ground) * (1 - hidden)
    is_own = (v < bonnet_px).astype(np.float32)
    off = np.abs(aside[..., None] - borders.astype(np.float32)).min(-1) * view.focal_u / ahead / STRIDE_PX  # cells
    axis_u = view.middle_u - view.focal_u * (view.turn - view.bend_pm * ahead)  # where lines of this row lead
    square = below / np.hypot(below, u - axis_u)  # lines that lie flat are nearer than along the row
    ridge = np.exp(-0.5 * (off * square / RIDGE_CELLS) ** 2) * (
        is_ground & (ahead < FAR_M) & ~paving.crosses(ahead))
    return Scape(rgb, road.astype(np.float32), is_own, ridge.astype(np.float32),
                 (is_own * (1 - 0.7 * hidden)).astype(np.float32), view.horizon_px / HEIGHT_PX)
