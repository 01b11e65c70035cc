"""A blank sign plate and the tools to paint it: filled shapes, pen strokes, arrows, and the outlines plates are cut to.

Coordinates are shares of the plate's width: x to the right, y down, both in [0, 1]. A plate is painted large and shrunk
(`finish`), so that every edge is smooth at any size. Which sign shows what stands in `faces.py`.
"""

from __future__ import annotations

import math
from itertools import pairwise

import cv2
import numpy as np

from envs.geometry import Array, offset_polyline

Colour = tuple[int, int, int]
Point = tuple[float, float]

# RAL 3020, 1023, 5017, 9017 and the grey of cancelled symbols (RAL 7042) as sRGB; the white is a little below full so
# that it can be lit, and blue and yellow are as retroreflective film looks by day.
RED, YELLOW, BLUE = (190, 22, 26), (244, 186, 8), (0, 82, 156)
WHITE, BLACK, GREY = (243, 243, 240), (26, 26, 28), (139, 144, 146)
AMBER, GREEN = (244, 176, 20), (0, 140, 80)

LEAST_CANVAS_PX, OVERSAMPLING = 512, 4
_SHIFT = 4  # fractional bits of cv2's coordinates


def _fixed(points: Array, size_px: int) -> Array:
    return np.round(points * (size_px << _SHIFT)).astype(np.int32)


class Plate:
    """A square uint8 (S, S, 3) RGB picture to paint on, white at first."""

    def __init__(self, size_px: int) -> None:
        """Raises ValueError for a size under 8 px or over 1024 px."""
        if not 8 <= size_px <= 1024:
            raise ValueError(f"face size is {size_px}; give 8 to 1024 px")
        self.size_px = size_px
        self.has_full_heads = False  # of arrows: a triangle instead of two barbs
        canvas_px = size_px * max(OVERSAMPLING, math.ceil(LEAST_CANVAS_PX / size_px))
        self.image = np.full((canvas_px, canvas_px, 3), WHITE, np.uint8)

    def fill(self, colour: Colour, *contours: Array | list[Point]) -> None:
        """Fill polygons (N, 2); where two overlap there is a hole (even-odd rule)."""
        side = self.image.shape[0]
        cv2.fillPoly(self.image, [_fixed(np.asarray(points, float), side) for points in contours], colour,
                     shift=_SHIFT)

    def disc(self, colour: Colour, x: float, y: float, radius: float) -> None:
        """Fill a circle."""
        side = self.image.shape[0]
        centre = round(x * (side << _SHIFT)), round(y * (side << _SHIFT))
        cv2.circle(self.image, centre, round(radius * (side << _SHIFT)), colour, -1, shift=_SHIFT)

    def pen(self, colour: Colour, width: float, *lines: Array | list[Point]) -> None:
        """Lines (N, 2) with round ends and joints."""
        side = self.image.shape[0]
        cv2.polylines(self.image, [_fixed(np.asarray(line, float), side) for line in lines], False, colour,
                      max(1, round(width * side)), shift=_SHIFT)

    def ribbon(self, colour: Colour, width: float, line: Array | list[Point],
               window: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)) -> None:
        """A line (N, 2) of even width with straight ends, cut off at a window (left, top, right, bottom)."""
        side = self.image.shape[0]
        left, top, right, bottom = (round(share * side) for share in window)
        view, corner = self.image[top:bottom, left:right], np.array([left, top]) / side
        points = np.asarray(line, float) - corner
        sides = np.stack([offset_polyline(points, width / 2), offset_polyline(points, -width / 2)], axis=1)
        for (a, b), (c, d) in pairwise(_fixed(sides, side)):
            cv2.fillConvexPoly(view, np.array([a, b, d, c]), colour, shift=_SHIFT)

    def arrow(self, colour: Colour, width: float, line: Array | list[Point], head: tuple[float, float, float, float],
              ) -> None:
        """A ribbon with a head at its end. `head`: length, half width, length of the barbs' ends, depth at shaft."""
        length, half, barb, depth = head
        if self.has_full_heads:
            length, barb, depth = 1.15 * length, 0.0, 1.15 * length
        points = np.asarray(line, float)
        ahead = (points[-1] - points[-2]) / np.hypot(*(points[-1] - points[-2]))
        turn = np.array([ahead, [-ahead[1], ahead[0]]])
        shaft = points.copy()
        shaft[-1] -= depth * 0.9 * ahead
        self.ribbon(colour, width, shaft)
        half_outline = [(-length, half), (-length - barb, half), (-depth, width / 2)]
        outline = [(0.0, 0.0), *half_outline, *[(x, -y) for x, y in reversed(half_outline)]]
        self.fill(colour, points[-1] + np.array(outline) @ turn)

    def finish(self) -> Array:
        """The picture at its own size."""
        return cv2.resize(self.image, (self.size_px, self.size_px), interpolation=cv2.INTER_AREA)


def arc(x: float, y: float, radius_x: float, radius_y: float, start_deg: float, end_deg: float,
        num_points: int = 33) -> Array:
    """Points (num_points, 2) of an ellipse's arc; angles run clockwise from the right, as y points down."""
    angle = np.radians(np.linspace(start_deg, end_deg, num_points))
    return np.stack([x + radius_x * np.cos(angle), y + radius_y * np.sin(angle)], axis=1)


def path(*parts: object) -> Array:
    """Points and lines joined to one line (N, 2)."""
    return np.concatenate([np.atleast_2d(np.asarray(part, float)) for part in parts])


def box(left: float, top: float, right: float, bottom: float) -> Array:
    """Corners (4, 2) of a rectangle."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def mirrored(points: Array | list[Point]) -> Array:
    """Points (N, 2) with left and right exchanged."""
    return np.asarray(points, float) * [-1.0, 1.0] + [1.0, 0.0]


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


def shrunk(outline: Array, margin: float) -> Array:
    """A convex outline (N, 2) moved inwards by `margin` on every side."""
    edge = np.roll(outline, -1, 0) - outline
    normal = np.stack([-edge[:, 1], edge[:, 0]], 1) / np.hypot(*edge.T)[:, None]
    normal *= np.sign(((outline.mean(0) - outline) * normal).sum(1))[:, None]
    before = np.roll(normal, 1, 0)
    return outline + margin * (normal + before) / (1 + (normal * before).sum(1))[:, None]


OCTAGON = 0.5 + 0.5 / math.cos(math.pi / 8) * np.stack(
    [np.cos(np.pi / 8 + np.arange(8) * np.pi / 4), np.sin(np.pi / 8 + np.arange(8) * np.pi / 4)], 1)
TIP_DOWN = np.array([[0.0, 0.07], [1.0, 0.07], [0.5, 0.07 + math.sqrt(0.75)]])
TIP_UP = TIP_DOWN[::-1] * [1.0, -1.0] + [0.0, 1.0]
DIAMOND = np.array([[0.5, 0.0], [1.0, 0.5], [0.5, 1.0], [0.0, 0.5]])
