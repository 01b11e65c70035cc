"""Traffic signs: one row of SIGNS each, and where they stand. A new sign is one row.

Faces follow the Vienna Convention on Road Signs (1968) in their German look (StVO); class ids are GTSRB's (Stallkamp et
al. 2012). Painters draw with cv2 and know nothing of the world. No posts, no lights and no renderer here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise

import cv2
import numpy as np

from envs.geometry import Array, interpolate, offset_polyline, wrap_angle
from envs.roads.network import SHOULDER_M, Control, RoadNetwork
from envs.state import SignPosts

# RAL 3020 traffic red and RAL 9017 traffic black as sRGB; the white is a little below full so that it can be lit.
RED, WHITE, BLACK = (190, 22, 26), (243, 243, 240), (26, 26, 28)
KMH = 1 / 3.6
BESIDE_ROAD_M = 0.75  # from the paved edge to the post
CENTRE_HEIGHT_M = 2.2  # of a face above the ground, as in towns (VwV-StVO: lower edge at 2 m over footways)
LIMIT_STATION_M = 10.0  # of a limit sign after its lane's start
LINE_SETBACK_M = 0.25  # of a stop or yield sign before its line
YAW_SPREAD_RAD = math.radians(5.0)  # signs never stand exactly square to the road
SUPERSAMPLING = 8

Stroke = Array  # (N, 2) centre line of a pen stroke in a unit box, x right, y down
Painter = Callable[[int], Array]  # face width [px] -> uint8 (S, S, 3) RGB


def _arc(x: float, y: float, radius_x: float, radius_y: float, start_deg: float, end_deg: float) -> Stroke:
    angle = np.radians(np.linspace(start_deg, end_deg, 33))
    return np.stack([x + radius_x * np.cos(angle), y + radius_y * np.sin(angle)], axis=1)


def _path(*parts: object) -> Stroke:
    return np.concatenate([np.atleast_2d(np.asarray(part, float)) for part in parts])


_RING = _path(_arc(0.5, 0.3, 0.5, 0.3, 180, 360), _arc(0.5, 0.7, 0.5, 0.3, 0, 180), (0.0, 0.3))
# Letter forms after DIN 1451: strokes of even weight in a box of height 1, cut off straight.
GLYPHS: dict[str, tuple[Stroke, ...]] = {
    "0": (_RING,),
    "1": (_path((0.62, -0.1), (0.62, 1.1)), _path((0.62, -0.02), (0.12, 0.27))),
    "3": (_path(_arc(0.48, 0.235, 0.47, 0.235, 190, 450), (0.34, 0.47)), _arc(0.47, 0.735, 0.53, 0.265, -90, 168)),
    "5": (_path((0.12, 0.0), (0.96, 0.0)), _path((0.12, -0.05), (0.07, 0.5)), _arc(0.48, 0.68, 0.52, 0.32, 205, 520)),
    "7": (_path((-0.1, 0.0), (1.1, 0.0)), _path((1.02, -0.1), (0.93, 0.16), (0.3, 1.1))),
    "S": (_path(_arc(0.5, 0.245, 0.48, 0.245, -14, -180), _arc(0.5, 0.245, 0.48, 0.245, 180, 110),
                _arc(0.5, 0.745, 0.5, 0.255, -70, 0), _arc(0.5, 0.745, 0.5, 0.255, 0, 166)),),
    "T": (_path((-0.2, 0.0), (1.2, 0.0)), _path((0.5, 0.0), (0.5, 1.2))),
    "O": (_RING,),
    "P": (_path((0.0, -0.2), (0.0, 1.2)), _path((0.0, 0.0), (0.5, 0.0), _arc(0.5, 0.27, 0.5, 0.27, -90, 90),
                                                (0.5, 0.54), (0.0, 0.54))),
}


def _fill(image: Array, polygon: Array, colour: tuple[int, int, int]) -> None:
    """Fill a polygon (N, 2) given in face units [0, 1]."""
    cv2.fillPoly(image, [np.round(polygon * image.shape[0] * 16).astype(np.int32)], colour, shift=4)


def _write(image: Array, text: str, box: tuple[float, float, float, float], weight: float, gap: float,
           colour: tuple[int, int, int]) -> None:
    """Letters in a row, filling `box` = (left, top, width, height); `weight` and `gap` are widths in face units."""
    left, top, width, height = box
    glyph_width = (width - gap * (len(text) - 1)) / len(text)
    for k, letter in enumerate(text):
        origin = np.array([left + k * (glyph_width + gap), top])
        cell = np.zeros(image.shape[:2], np.uint8)
        for stroke in GLYPHS[letter]:
            line = origin + weight / 2 + stroke * (np.array([glyph_width, height]) - weight)
            sides = np.stack([offset_polyline(line, weight / 2), offset_polyline(line, -weight / 2)], axis=1)
            for (a, b), (c, d) in pairwise(np.round(sides * image.shape[0] * 16).astype(np.int32)):
                cv2.fillConvexPoly(cell, np.array([a, b, d, c]), 255, shift=4)
        inside = np.zeros_like(cell)
        first, last = origin * image.shape[0], (origin + np.array([glyph_width, height])) * image.shape[0]
        inside[round(first[1]):round(last[1]), round(first[0]):round(last[0])] = 255
        image[(cell & inside) > 0] = colour


def circle(sides: int = 20) -> Array:
    """Outline (sides, 2) of a disc in the unit square."""
    angle = np.arange(sides) * 2 * np.pi / sides
    return 0.5 + 0.5 * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def rounded(corners: Array, radius: float, steps: int = 3) -> Array:
    """A convex polygon (N, 2) with its corners rounded: (N * steps, 2)."""
    points = []
    for before, here, after in zip(np.roll(corners, 1, 0), corners, np.roll(corners, -1, 0), strict=True):
        into, out = (before - here) / np.hypot(*(before - here)), (after - here) / np.hypot(*(after - here))
        half = math.acos(float(np.clip(into @ out, -1, 1))) / 2
        reach = radius / math.tan(half)
        for t in np.linspace(0, 1, steps):
            points.append(here + reach * ((1 - t) ** 2 * into + t ** 2 * out))
    return np.array(points)


def _shrink(outline: Array, margin: float) -> Array:
    """A convex outline (N, 2) moved inwards by `margin` on every side."""
    edge = np.roll(outline, -1, 0) - outline
    normal = np.stack([-edge[:, 1], edge[:, 0]], 1) / np.hypot(*edge.T)[:, None]
    normal *= np.sign(((outline.mean(0) - outline) * normal).sum(1))[:, None]
    before = np.roll(normal, 1, 0)
    return outline + margin * (normal + before) / (1 + (normal * before).sum(1))[:, None]


_OCTAGON = 0.5 + 0.5 / math.cos(math.pi / 8) * np.stack(
    [np.cos(np.pi / 8 + np.arange(8) * np.pi / 4), np.sin(np.pi / 8 + np.arange(8) * np.pi / 4)], 1)
_TRIANGLE = np.array([[0.0, 0.07], [1.0, 0.07], [0.5, 0.07 + math.sqrt(0.75)]])


def paint_limit(number: str, size: int) -> Array:
    """White disc, red ring, black number (Zeichen 274)."""
    image = np.full((size, size, 3), WHITE, np.uint8)
    fine = circle(180)
    _fill(image, 0.5 + (fine - 0.5) * 0.97, RED)
    _fill(image, 0.5 + (fine - 0.5) * 0.76, WHITE)
    width = {2: 0.50, 3: 0.58}[len(number)]
    _write(image, number, (0.5 - width / 2, 0.29, width, 0.42), {2: 0.066, 3: 0.056}[len(number)], 0.045, BLACK)
    return image


def paint_yield(size: int) -> Array:
    """White triangle on its tip with a red border (Zeichen 205)."""
    image = np.full((size, size, 3), WHITE, np.uint8)
    _fill(image, rounded(_shrink(_TRIANGLE, 0.015), 0.03), RED)
    _fill(image, rounded(_shrink(_TRIANGLE, 0.105), 0.02), WHITE)
    return image


def paint_stop(size: int) -> Array:
    """Red octagon, white border, white letters (Zeichen 206)."""
    image = np.full((size, size, 3), WHITE, np.uint8)
    _fill(image, _shrink(_OCTAGON, 0.035), RED)
    _write(image, "STOP", (0.125, 0.335, 0.75, 0.33), 0.062, 0.04, WHITE)
    return image


@dataclass(frozen=True, eq=False)
class Sign:
    """One kind of sign. `outline` is the convex part (M, 2) of the unit square that is the sign, x right, y down."""

    name: str
    gtsrb_class: int
    meaning: str
    speed_mps: float | None
    painter: Painter
    outline: Array
    size_m: float


def _limit(kmh: int, gtsrb_class: int) -> Sign:
    return Sign(f"limit_{kmh}", gtsrb_class, f"speed limit {kmh} km/h", kmh * KMH, partial(paint_limit, str(kmh)),
                circle(), 0.7)


@lru_cache(maxsize=64)
def face(sign_index: int, size_px: int = 128) -> Array:
    """The face of SIGNS[sign_index] as uint8 (S, S, 3) RGB, read-only; white outside its outline.

    Raises ValueError for a size under 8 px or over 1024 px.
    """
    if not 8 <= size_px <= 1024:
        raise ValueError(f"face size is {size_px}; give 8 to 1024 px")
    large = SIGNS[sign_index].painter(size_px * SUPERSAMPLING)
    image = cv2.resize(large, (size_px, size_px), interpolation=cv2.INTER_AREA)
    image.setflags(write=False)
    return image


def _beside(network: RoadNetwork, lane_id: int, station_m: float, rng: np.random.Generator) -> Array:
    """Pose (3,) of a post to the right of a lane, its face turned to the oncoming driver."""
    lane = network.lanes[lane_id]
    heading = float(np.interp(station_m, lane.station_m, np.unwrap(lane.heading_rad)))
    foot = interpolate(lane.centre_m, lane.station_m, np.array([station_m]))[0]
    foot = foot + (lane.width_m / 2 + SHOULDER_M + BESIDE_ROAD_M) * np.array([math.sin(heading), -math.cos(heading)])
    return np.array([*foot, wrap_angle(heading + math.pi + rng.uniform(-YAW_SPREAD_RAD, YAW_SPREAD_RAD))])


def place_signs(network: RoadNetwork, rng: np.random.Generator) -> SignPosts:
    """The signs of a town, drawn from `rng`: its limit on every road lane, and stop or yield where its end has a line.

    Limits stand LIMIT_STATION_M after a lane's start (lanes under twice that length: none), so that a driver who came
    through a junction reads the limit in force. Rows are in the order of lanes.
    """
    rows: list[tuple[int, int, float]] = []  # sign, lane, station
    for lane in network.lanes:
        name = f"limit_{round(lane.speed_limit_mps / KMH)}"
        if lane.junction is None and name in SIGN_INDEX and lane.length_m >= 2 * LIMIT_STATION_M:
            rows.append((SIGN_INDEX[name], lane.id, LIMIT_STATION_M))
        if lane.control != Control.NONE:
            rows.append((SIGN_INDEX[lane.control.name.lower()], lane.id, lane.length_m - LINE_SETBACK_M))
    poses = [_beside(network, lane, station, rng) for _, lane, station in rows]
    return SignPosts(sign=np.array([row[0] for row in rows], int), pose=np.array(poses, float).reshape(-1, 3),
                     centre_height_m=CENTRE_HEIGHT_M + rng.uniform(-0.1, 0.2, len(rows)),
                     lane=np.array([row[1] for row in rows], int), station_m=np.array([row[2] for row in rows], float))


SIGNS: tuple[Sign, ...] = (
    _limit(30, 1),
    _limit(50, 2),
    _limit(70, 4),
    _limit(100, 7),
    Sign("yield", 13, "give way", None, paint_yield, rounded(_TRIANGLE, 0.04), 0.9),
    Sign("stop", 14, "stop and give way", None, paint_stop, _OCTAGON, 0.75),
)
SIGN_INDEX: dict[str, int] = {sign.name: row for row, sign in enumerate(SIGNS)}
if len(SIGN_INDEX) != len(SIGNS):
    raise ValueError("two rows of SIGNS share a name; give each its own")
