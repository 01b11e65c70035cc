"""The figures on signs: arrows, vehicles, people, animals. Each function paints one on a plate, at its place there.

Drawn after the sheets of the German road traffic regulations (StVO, Anlagen 1 to 3); `is_new` asks for the figure of
the revision of 2013, where one changed. Nothing here knows frames, classes or meanings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from envs.geometry import Array
from envs.plate import AMBER, BLACK, GREEN, RED, WHITE, Colour, Plate, Point, arc, box, mirrored, path


def exclamation(plate: Plate, is_new: bool) -> None:
    """General caution."""
    plate.fill(BLACK, path(arc(0.5, 0.392, 0.041, 0.034, 180, 360), (0.518, 0.668), (0.482, 0.668)))
    plate.disc(BLACK, 0.5, 0.742, 0.042)


def priority_arrow(plate: Plate, is_new: bool) -> None:
    """A broad arrow without barbs over a thin bar: priority at the next crossing."""
    plate.fill(BLACK, [(0.5, 0.405), (0.580, 0.500), (0.560, 0.555), (0.558, 0.640), (0.580, 0.770), (0.5, 0.710),
                       (0.420, 0.770), (0.442, 0.640), (0.440, 0.555), (0.420, 0.500)])
    plate.fill(BLACK, box(0.342, 0.575, 0.658, 0.616))


def bend(plate: Plate, is_new: bool, is_left: bool) -> None:
    """A heavy arrow with hardly a barb that turns to one side; its foot is notched."""
    outline = path((0.362, 0.549), (0.440, 0.503), (0.520, 0.505), arc(0.525, 0.590, 0.100, 0.085, -90, 0, 9),
                   (0.630, 0.762), (0.580, 0.733), (0.531, 0.762), (0.528, 0.645),
                   arc(0.492, 0.645, 0.036, 0.048, 0, -80, 7), (0.450, 0.598), (0.436, 0.608))
    plate.fill(BLACK, outline if is_left else mirrored(outline))


def double_bend(plate: Plate, is_new: bool) -> None:
    """A heavy arrow that goes up, hard to the left, and up again; its foot is notched."""
    plate.fill(BLACK, path((0.455, 0.395), (0.492, 0.450), (0.487, 0.585), (0.575, 0.548),
                           arc(0.588, 0.595, 0.050, 0.050, -90, 0, 5), (0.640, 0.785), (0.605, 0.757), (0.562, 0.785),
                           (0.562, 0.650), (0.470, 0.688), arc(0.450, 0.635, 0.045, 0.050, 90, 180, 5),
                           (0.408, 0.450)))


def bumps(plate: Plate, is_new: bool) -> None:
    """Two humps."""
    humps = path((0.265, 0.780), (0.270, 0.742), (0.320, 0.737), arc(0.405, 0.735, 0.070, 0.090, 195, 340),
                 (0.500, 0.715), arc(0.595, 0.735, 0.070, 0.090, 200, 345), (0.680, 0.737), (0.730, 0.742),
                 (0.735, 0.780))
    plate.fill(BLACK, humps)


def skidding_car(plate: Plate, is_new: bool) -> None:
    """A car from behind, aslant, over two winding tracks."""
    turn = math.radians(13)
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])

    def placed(points: Array) -> Array:
        return 1.22 * points @ rotation + np.array([0.505, 0.530])

    roof = np.array([[-0.066, -0.082], [0.066, -0.082], [0.094, -0.005], [-0.094, -0.005]])
    plate.fill(BLACK, placed(roof), placed(roof * [0.82, 0.74] + [0.0, -0.010]))
    plate.fill(BLACK, placed(box(-0.108, -0.016, 0.108, 0.066)))
    along = np.linspace(0.0, 1.0, 33)
    sway = 0.105 * np.cos(2 * math.pi * along) * (0.75 + 0.25 * along)
    for side in (-1, 1):
        plate.fill(BLACK, placed(box(side * 0.075 - 0.022, 0.05, side * 0.075 + 0.022, 0.095)))
        x = 0.50 + side * 0.072 + sway + 0.02 * side * along
        plate.pen(BLACK, 0.015, np.stack([x, 0.677 + side * 0.012 + 0.118 * along], axis=1))


def narrowing(plate: Plate, is_new: bool) -> None:
    """The right edge of the road moves in."""
    plate.ribbon(BLACK, 0.046, [(0.435, 0.46), (0.435, 0.80)])
    plate.ribbon(BLACK, 0.046, path((0.530, 0.46), (0.530, 0.555), (0.535, 0.575), (0.600, 0.665), (0.606, 0.685),
                                    (0.606, 0.80)))


def digging_man(plate: Plate, is_new: bool) -> None:
    """A man with a shovel before a heap."""
    plate.disc(BLACK, 0.520, 0.450, 0.032)
    plate.pen(BLACK, 0.060, [(0.485, 0.503), (0.440, 0.600)])
    plate.pen(BLACK, 0.036, [(0.434, 0.605), (0.397, 0.680), (0.345, 0.768)],
              [(0.442, 0.605), (0.470, 0.680), (0.462, 0.768)])
    plate.pen(BLACK, 0.028, [(0.495, 0.505), (0.538, 0.570), (0.508, 0.618)], [(0.460, 0.505), (0.412, 0.580)])
    plate.pen(BLACK, 0.017, [(0.392, 0.560), (0.580, 0.680)])
    plate.fill(BLACK, path((0.505, 0.782), (0.548, 0.720), (0.607, 0.648), (0.650, 0.678), (0.728, 0.782)))


def traffic_light(plate: Plate, is_new: bool) -> None:
    """Three coloured discs."""
    for y, colour in ((0.447, RED), (0.590, AMBER), (0.733, GREEN)):
        plate.disc(BLACK, 0.5, y, 0.063)
        plate.disc(colour, 0.5, y, 0.058)


@dataclass(frozen=True)
class Pose:
    """How a person holds himself: points right of the feet's middle and up, in shares of the height."""

    head: Point
    trunk: tuple[Point, ...]
    """a polygon, its corners rounded"""
    limbs: tuple[tuple[Point, ...], ...]


WALKING = Pose((0.02, 0.925), ((-0.06, 0.79), (0.10, 0.79), (0.085, 0.46), (-0.05, 0.46)), (
    ((-0.005, 0.48), (-0.07, 0.27), (-0.22, 0.03)), ((0.045, 0.48), (0.11, 0.28), (0.23, 0.03)),
    ((-0.06, 0.77), (-0.15, 0.61), (-0.18, 0.45)), ((0.10, 0.77), (0.18, 0.62), (0.22, 0.47))))
STRIDING = Pose((0.0, 0.92), ((-0.06, 0.79), (0.07, 0.79), (0.08, 0.50), (-0.06, 0.50)), (
    ((-0.01, 0.52), (-0.05, 0.28), (-0.08, 0.03)), ((0.05, 0.52), (0.16, 0.33), (0.33, 0.15)),
    ((-0.06, 0.77), (-0.20, 0.71), (-0.31, 0.58)), ((0.06, 0.77), (0.21, 0.70), (0.32, 0.56))))
RUNNING = Pose((-0.07, 0.92), ((-0.09, 0.79), (0.06, 0.77), (0.10, 0.50), (-0.02, 0.48)), (
    ((0.01, 0.50), (-0.15, 0.36), (-0.17, 0.05)), ((0.07, 0.50), (0.16, 0.30), (0.38, 0.20)),
    ((-0.08, 0.76), (-0.22, 0.63), (-0.34, 0.73)), ((0.05, 0.75), (0.17, 0.61), (0.25, 0.68))))


def _figure(plate: Plate, x: float, foot: float, height: float, weight: float, pose: Pose) -> None:
    """A person on feet at (x, foot); `weight` is the thickness of limbs as a share of the height."""
    place, scale = np.array([x, foot]), np.array([height, -height])
    plate.disc(BLACK, x + pose.head[0] * height, foot - pose.head[1] * height, 0.088 * height)
    trunk = place + np.array(pose.trunk) * scale
    plate.fill(BLACK, trunk)
    plate.pen(BLACK, 0.05 * height, np.concatenate([trunk, trunk[:1]]))
    plate.pen(BLACK, weight * height, *(place + np.array(limb) * scale for limb in pose.limbs))


def pedestrian(plate: Plate, is_new: bool) -> None:
    """Somebody who walks to the left; on a zebra crossing in the newer face."""
    if not is_new:
        _figure(plate, 0.5, 0.785, 0.405, 0.078, WALKING)
        return
    for left in (0.285, 0.375, 0.465, 0.555, 0.645):
        plate.fill(BLACK, [(left, 0.81), (left + 0.05, 0.81), (left + 0.075, 0.735), (left + 0.035, 0.735)])
    _figure(plate, 0.5, 0.765, 0.385, 0.080, WALKING)


def children(plate: Plate, is_new: bool) -> None:
    """A small and a larger child go to the left, hand in hand; in the newer face they run."""
    _figure(plate, 0.400, 0.805, 0.240, 0.092, RUNNING if is_new else STRIDING)
    _figure(plate, 0.560, 0.800, 0.345, 0.085, RUNNING if is_new else STRIDING)
    plate.pen(BLACK, 0.024, [(0.478, 0.634), (0.452, 0.628)])  # hand in hand
    if is_new:
        for x, foot, height in ((0.400, 0.805, 0.240), (0.555, 0.805, 0.335)):  # skirts
            plate.fill(BLACK, np.array([x, foot]) + height * np.array([(-0.02, -0.64), (0.12, -0.64), (0.27, -0.33),
                                                                       (-0.15, -0.33)]))


def bicycle(plate: Plate, is_new: bool) -> None:
    """A bicycle from the side; in the newer face it heads to the left."""
    rear, front, crank, seat, bar = (0.374, 0.705), (0.626, 0.705), (0.473, 0.705), (0.440, 0.583), (0.582, 0.570)
    lines = [[rear, crank, bar, seat, rear], [crank, (0.431, 0.555)], [front, bar, (0.572, 0.522), (0.610, 0.517)],
             [(0.406, 0.553), (0.458, 0.553)], [crank, (0.498, 0.747)]]
    for x, y in (rear, front):
        ring = arc(x, y, 0.087, 0.087, 0, 360)
        plate.pen(BLACK, 0.017, mirrored(ring) if is_new else ring)
    plate.pen(BLACK, 0.018, *(mirrored(line) if is_new else np.array(line) for line in lines))


def snowflake(plate: Plate, is_new: bool) -> None:
    """Six branched arms."""
    middle = np.array([0.5, 0.635])
    for angle in np.radians(np.arange(30, 390, 60)):
        along, across = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
        plate.pen(BLACK, 0.024, np.array([middle, middle + 0.150 * along]))
        for reach, size in ((0.065, 0.036), (0.105, 0.036)):
            fork = middle + reach * along
            plate.pen(BLACK, 0.021, np.array([fork + size * (along + across), fork, fork + size * (along - across)]))


def deer(plate: Plate, is_new: bool) -> None:
    """A stag that leaps to the left."""
    def leaping(points: list[Point]) -> Array:
        return np.array(points) * [1.12, 0.92] + [-0.055, 0.031]

    body = [(0.428, 0.520), (0.452, 0.492), (0.474, 0.490), (0.482, 0.535), (0.500, 0.585), (0.560, 0.622),
            (0.612, 0.652), (0.632, 0.690), (0.645, 0.745), (0.662, 0.802), (0.645, 0.806), (0.618, 0.750),
            (0.585, 0.715), (0.520, 0.690), (0.478, 0.672), (0.452, 0.630), (0.448, 0.545)]
    plate.fill(BLACK, leaping(body))
    legs = [(0.022, [(0.470, 0.655), (0.412, 0.668), (0.392, 0.712)]),
            (0.020, [(0.482, 0.665), (0.440, 0.705), (0.455, 0.745)]),
            (0.018, [(0.600, 0.700), (0.600, 0.745), (0.625, 0.795)])]
    antlers = [[(0.462, 0.492), (0.440, 0.455), (0.448, 0.420)], [(0.440, 0.455), (0.418, 0.440)],
               [(0.468, 0.490), (0.490, 0.450), (0.480, 0.412)], [(0.490, 0.450), (0.515, 0.432)],
               [(0.622, 0.655), (0.640, 0.645)]]
    for width, line in legs + [(0.013, line) for line in antlers]:
        plate.pen(BLACK, width, leaping(line))


def straight_arrow(plate: Plate, is_new: bool) -> None:
    """Up."""
    plate.arrow(WHITE, 0.115, [(0.5, 0.84), (0.5, 0.15)], (0.195, 0.195, 0.105, 0.163))


def turning_arrow(plate: Plate, is_new: bool, is_left: bool) -> None:
    """Up, then to one side."""
    line = path((0.315, 0.80), (0.315, 0.56), arc(0.475, 0.56, 0.16, 0.16, 180, 270, 17), (0.84, 0.40))
    plate.arrow(WHITE, 0.115, mirrored(line) if is_left else line, (0.185, 0.185, 0.075, 0.133))


def forking_arrow(plate: Plate, is_new: bool, is_left: bool) -> None:
    """Up, or to one side."""
    head = (0.15, 0.15, 0.080, 0.125)
    up = path((0.385, 0.85), (0.385, 0.125))
    bow = arc(0.475, 0.72, 0.09, 0.105, 180, 270, 13) if is_new else arc(0.585, 0.80, 0.20, 0.185, 180, 270, 13)
    aside = path((0.385, 0.82), bow, (0.865, 0.615))
    for line in (up, aside):
        plate.arrow(WHITE, 0.09, mirrored(line) if is_left else line, head)


def passing_arrow(plate: Plate, is_new: bool, is_left: bool) -> None:
    """Down, aslant to one side."""
    line = np.array([(0.235, 0.235), (0.775, 0.775)])
    plate.arrow(WHITE, 0.115, mirrored(line) if is_left else line, (0.20, 0.20, 0.105, 0.163))


def circling_arrows(plate: Plate, is_new: bool) -> None:
    """Three arrows run round counter-clockwise; plates hang turned by a sixth of a circle as often as not."""
    for start in (5.0, 125.0, 245.0):
        start -= 60.0 if is_new else 0.0
        bow = arc(0.5, 0.5, 0.295, 0.295, start, start - 74)
        ahead = (bow[-1] - bow[-2]) / np.hypot(*(bow[-1] - bow[-2]))
        tip = bow[-1] + 0.13 * ahead + 0.03 * (0.5 - bow[-1]) / 0.295  # a straight head that keeps to the circle
        plate.arrow(WHITE, 0.078, path(bow, tip), (0.125, 0.120, 0.045, 0.090))


def car_from_behind(plate: Plate, x: float, base: float, width: float, colour: Colour) -> None:
    """A car as the driver behind sees it, its wheels on `base`."""
    def place(points: Array) -> Array:
        return np.array([x, base]) + width * points

    roof = np.array([[-0.31, -0.66], [0.31, -0.66], [0.43, -0.38], [-0.43, -0.38]])
    window = np.array([[-0.25, -0.58], [0.25, -0.58], [0.33, -0.41], [-0.33, -0.41]])
    plate.fill(colour, place(roof), place(window))
    plate.fill(colour, place(path((-0.46, -0.40), (0.46, -0.40), (0.5, -0.31), (0.5, -0.12), (-0.5, -0.12),
                                  (-0.5, -0.31))))
    for side in (-1, 1):
        plate.fill(colour, place(box(side * 0.37 - 0.08, -0.13, side * 0.37 + 0.08, 0.0)))


def lorry_from_behind(plate: Plate, x: float, base: float, width: float, colour: Colour) -> None:
    """A lorry as the driver behind sees it."""
    plate.fill(colour, box(x - width / 2, base - 1.10 * width, x + width / 2, base - 0.20 * width))
    plate.fill(colour, box(x - 0.44 * width, base - 0.21 * width, x + 0.44 * width, base - 0.13 * width))
    for side in (-1, 1):
        wheel = x + side * 0.33 * width
        plate.fill(colour, box(wheel - 0.09 * width, base - 0.14 * width, wheel + 0.09 * width, base))


def lorry(plate: Plate, has_bonnet: bool) -> None:
    """A lorry from the side, heading left."""
    plate.fill(BLACK, box(0.415, 0.355, 0.780, 0.570))
    if has_bonnet:
        plate.fill(BLACK, path((0.215, 0.620), (0.215, 0.535), (0.305, 0.505), (0.330, 0.430), (0.395, 0.430),
                               (0.395, 0.620)))
    else:
        plate.fill(BLACK, [(0.215, 0.620), (0.215, 0.525), (0.250, 0.440), (0.385, 0.440), (0.385, 0.620)],
                   [(0.243, 0.522), (0.268, 0.466), (0.325, 0.466), (0.325, 0.522)])
    plate.fill(BLACK, box(0.215, 0.590, 0.780, 0.632))
    for x in (0.315, 0.668):
        plate.disc(WHITE, x, 0.640, 0.056)
        plate.disc(BLACK, x, 0.640, 0.045)
        plate.disc(WHITE, x, 0.640, 0.016)
