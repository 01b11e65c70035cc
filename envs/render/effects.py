"""Weather put over a finished picture: lamps instead of daylight, wet roads that mirror, fog, and the camera's lens.

Renderers draw by `Light` as on a day without shadows and mark what glows. Then all that one of them cannot draw happens
here, for all of them alike, from each pixel's class, depth and ray. Labels stay as they are. In clear weather nothing
happens. No light is thrown by other cars' lamps, and nothing casts a shadow.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import cv2
import numpy as np
from numba import njit

from envs.geometry import Array
from envs.render import lens, polygons
from envs.render.backdrop import EXTINCTION, Backdrop, Water, see_through
from envs.render.camera import CameraPose
from envs.render.lamps import CELL_M, LAMP_HEIGHT_M
from envs.render.paving import SemanticClass
from envs.render.scene import Scene
from envs.weather import CLEAR

GLOW_MARK = 128  # added to the class of pixels that shine by themselves
LAMP_COLOUR, BEAM_COLOUR = (1.0, 0.83, 0.62), (0.98, 0.97, 0.93)  # 3000 K street lamps, 5500 K headlights
BEAM_HEIGHT_M = 0.65  # of the lamps above the road
CUT_OFF = -0.01  # a low beam ends 1 % below the horizon (UN ECE R48)
KINK, KINK_MOST = 0.27, 0.035  # to the right it rises by 15 deg (R112), here up to a limit
CUT_SHARPNESS, STRAY = 45.0, 0.05  # per unit of slope; light above the cut-off, as share of that below
BEAM_WIDTH = 0.62  # tangent at which a beam has lost half its light
BEAM_REACH_M = {SemanticClass.SIGN: 45.0, SemanticClass.MARKING: 20.0, SemanticClass.STOP_LINE: 20.0,
                SemanticClass.TERRAIN: 13.0, SemanticClass.ROAD: 15.0, SemanticClass.KERB: 15.0}
OTHER_REACH_M = 18.0  # where a beam has lost half its light
# Retro-reflective sheets and, less so, the beads in paint throw the beam back; dark asphalt loses some of it.
RETRO = {SemanticClass.SIGN: 22.0, SemanticClass.MARKING: 1.0, SemanticClass.STOP_LINE: 1.0, SemanticClass.ROAD: 0.7,
         SemanticClass.TERRAIN: 0.55}
# What water in the pores leaves of a surface's brightness (Lekner and Dorf 1988), wet all over.
SOAKED = {SemanticClass.ROAD: 0.52, SemanticClass.KERB: 0.62, SemanticClass.TERRAIN: 0.8, SemanticClass.MARKING: 0.85,
          SemanticClass.STOP_LINE: 0.85}
GLOW_GAIN = 1.12  # lamps and lit windows against what their colour says, in the dark
F0 = 0.02  # reflectance of water straight on
ROUGH, PUDDLE = 0.42, 0.95  # share of a mirror's reflection that wet asphalt and standing water give
BEAM_ADAPTATION = 4  # by day the camera is too short exposed for headlights: their share is darkness to this power
LEAST_BEAM = 0.02  # a beam weaker than this is left out
FARTHEST = 1 / 250.0  # 1/m: lamps farther away light nothing


class _Lamps(NamedTuple):
    """All that `_relight` needs beside the picture: tables by class, by row, by column; the map of lamps."""

    light: Array  # (4, 3) float32: day, under a street lamp, in the beam, and the fog's colour
    by_class: Array  # (5, 256) float32: see _tables
    ahead: Array  # (H,) float32 rays: level part ahead, up; at depth 1
    up: Array
    slant: Array  # (H, W) length of a ray at depth 1
    left: Array  # (W,)
    cut: Array  # (W,) slope at which the beam ends
    spread: Array  # (W,)
    level: Array  # (rows, columns) float32 of LightMap
    place: Array  # (4,) float32 cos, sin of the camera's yaw, x, y on the map [cells]
    air: Array  # (3,) float32: height above the beam's lamps, above the ground [m], extinction [1/m]


class _Mirror(NamedTuple):
    """Space for one row of wet road, (W,) each."""

    foot: Array  # int32 row below what stands nearest in a column
    part: Array  # float32 share of the mirror image
    place: Array  # int32


class _Row(NamedTuple):
    """Space for one row of pixels, (W,) float32 each."""

    keep: Array  # share of its brightness that a wet surface keeps
    own: Array  # 1 where a pixel shines by itself
    street: Array
    beam: Array
    clear: Array  # share of the light that comes through the air


@polygons.inlined
def _beam(kinds: Array, inverse_depth: Array, up: float, lamps: _Lamps, out: Array) -> None:
    """The car's own beam on a row of pixels."""
    zero, one, sharp, stray = np.float32(0.0), np.float32(1.0), np.float32(CUT_SHARPNESS), np.float32(STRAY)
    cut, spread, over, farthest = lamps.cut, lamps.spread, lamps.air[0], np.float32(FARTHEST)
    for x in range(len(out)):
        inverse = max(inverse_depth[x], farthest)
        square = inverse * inverse
        shape = stray + (one - stray) * min(max(sharp * (cut[x] - up - over * inverse), zero), one)
        out[x] = spread[x] * shape * square
    gain, reach = lamps.by_class[2], lamps.by_class[3]
    for x in range(len(out)):
        inverse = max(inverse_depth[x], farthest)
        out[x] *= gain[kinds[x]] / (inverse * inverse + reach[kinds[x]])


@polygons.inlined
def _street(kinds: Array, inverse_depth: Array, ahead: float, up: float, lamps: _Lamps, place: Array,
            out: Array) -> None:
    """The street lamps' light on a row of pixels; `place` int32 (W,) is space to work in."""
    one, dusky, roof = np.float32(1.0), np.float32(0.12), np.float32(LAMP_HEIGHT_M - 0.5)
    cos, sin, at_x, at_y = lamps.place[0], lamps.place[1], lamps.place[2], lamps.place[3]
    left, over_ground, farthest = lamps.left, lamps.air[1], np.float32(FARTHEST)
    rows, columns = np.int32(lamps.level.shape[0] - 1), np.int32(lamps.level.shape[1] - 1)
    flat, side, none = lamps.level.reshape(-1), np.int32(lamps.level.shape[1]), np.int32(0)
    for x in range(len(out)):
        depth = one / max(inverse_depth[x], farthest)
        column = np.int32(at_x + depth * (cos * ahead - sin * left[x]))
        line = np.int32(at_y + depth * (sin * ahead + cos * left[x]))
        place[x] = min(max(line, none), rows) * side + min(max(column, none), columns)
        out[x] = one if over_ground + up * depth < roof else dusky
    shines = lamps.by_class[4]
    for x in range(len(out)):
        out[x] *= flat[np.uint32(place[x])] * shines[kinds[x]]


@polygons.inlined
def _paint(line: Array, row: _Row, light: Array) -> None:
    """Colours of a row of pixels (3 W,) from the light that falls on each."""
    one, full, half = np.float32(1.0), np.float32(255.0), np.float32(0.5)
    day_r, day_g, day_b = light[0, 0], light[0, 1], light[0, 2]
    street_r, street_g, street_b = light[1, 0], light[1, 1], light[1, 2]
    beam_r, beam_g, beam_b = light[2, 0], light[2, 1], light[2, 2]
    fog_r, fog_g, fog_b = light[3, 0], light[3, 1], light[3, 2]
    keeps, owns, streets, beams, clears = row.keep, row.own, row.street, row.beam, row.clear
    for x in range(len(keeps)):
        clear, own, street, beam = clears[x], owns[x], streets[x], beams[x]
        keep, air = keeps[x] * clear, one - clear
        red = line[3 * x] * keep * (day_r + own * (one - day_r) + street * street_r + beam * beam_r) + air * fog_r
        green = line[3 * x + 1] * keep * (day_g + own * (one - day_g) + street * street_g + beam * beam_g) + air * fog_g
        blue = line[3 * x + 2] * keep * (day_b + own * (one - day_b) + street * street_b + beam * beam_b) + air * fog_b
        line[3 * x] = np.uint8(np.int32(min(red + half, full)))
        line[3 * x + 1] = np.uint8(np.int32(min(green + half, full)))
        line[3 * x + 2] = np.uint8(np.int32(min(blue + half, full)))


@njit(cache=True, nogil=True, error_model="numpy")
def _relight(rgb: Array, class_id: Array, inverse_depth: Array, lamps: _Lamps, has_beam: bool, is_lit: bool,
             row: _Row, place: Array) -> None:
    """Light a picture anew, see it through the air, and take the marks off `class_id`.

    Row by row in short loops that write one thing each, the colours written out: compilers vectorise those.
    """
    row.street[:] = np.float32(0.0)
    row.beam[:] = np.float32(0.0)
    keep, own, mark = lamps.by_class[0], lamps.by_class[1], np.uint8(GLOW_MARK - 1)
    for y in range(rgb.shape[0]):
        kinds, inverse = class_id[y], inverse_depth[y]
        see_through(inverse, lamps.slant[y], lamps.up[y], lamps.air[2], row.clear)
        for x in range(len(kinds)):
            row.keep[x] = keep[kinds[x]]
        for x in range(len(kinds)):
            row.own[x] = own[kinds[x]]
        if has_beam:
            _beam(kinds, inverse, lamps.up[y], lamps, row.beam)
        if is_lit:
            _street(kinds, inverse, lamps.ahead[y], lamps.up[y], lamps, place, row.street)
        _paint(rgb[y].reshape(-1), row, lamps.light)
        for x in range(len(kinds)):
            kinds[x] &= mark


@njit(cache=True, nogil=True, error_model="numpy")
def _mirror(rgb: Array, blurred: Array, class_id: Array, fresnel: Array, water: Water, share: float,
            space: _Mirror) -> None:
    """Lay the mirror image of what stands on the ground, or of the sky, over wet ground, column by column.

    A point z above the ground appears as far below its foot as it stands above it.
    """
    first, zero, one, half = rgb.shape[0] - len(water.ahead), np.float32(0.0), np.float32(1.0), np.float32(0.5)
    wet, rough, smooth = np.float32(share), np.float32(ROUGH), np.float32(PUDDLE - ROUGH)
    steep, level, least = np.float32(6.0), np.float32(0.62), np.float32(1 / 256)
    cos, sin, at_x, at_y = water.place[0], water.place[1], water.place[2], water.place[3]
    mask, side, tile = np.int32(water.tile.shape[0] - 1), np.int32(water.tile.shape[0]), water.tile.reshape(-1)
    foot, part, place = space.foot, space.part, space.place
    lowest, highest = np.uint8(SemanticClass.ROAD), np.uint8(SemanticClass.KERB)
    foot[:] = first
    for y in range(first, rgb.shape[0]):
        ahead, left, kinds, mirror = water.ahead[y - first], water.left[y - first], class_id[y], fresnel[y]
        for x in range(len(foot)):
            foot[x] = y + 1 if kinds[x] > highest else foot[x]
        for x in range(len(foot)):
            column = np.int32(cos * ahead - sin * left[x] + at_x) & mask
            line = np.int32(sin * ahead + cos * left[x] + at_y) & mask
            place[x] = line * side + column
        for x in range(len(foot)):
            pool = min(max(steep * (tile[np.uint32(place[x])] - level), zero), one)
            is_paved = one if lowest <= kinds[x] <= highest else zero
            part[x] = is_paved * wet * mirror[x] * (rough + smooth * pool)
        for x in range(len(foot)):
            if part[x] > least:
                source = max(2 * foot[x] - 1 - y, 0)
                for c in range(3):
                    there, here = np.float32(blurred[source, x, c]), np.float32(rgb[y, x, c])
                    rgb[y, x, c] = np.uint8(np.int32(here + part[x] * (there - here) + half))


def _by_class(values: dict[SemanticClass, float], other: float) -> Array:
    table = np.full(256, other, np.float32)
    for kind, value in values.items():
        table[kind] = value
    return table


_NO_LAMPS = np.zeros((1, 1), np.float32)


@functools.lru_cache(maxsize=64)
def _tables(wetness: float) -> Array:
    """By class, marked ones too, (5, 256) float32: brightness kept, whether it shines itself, gain and 1 / reach^2 of
    the beam, gain of street lamps."""
    keep = _by_class({kind: 1 - wetness * (1 - share) for kind, share in SOAKED.items()}, 1.0)
    own = _by_class({SemanticClass.SKY: 1.0}, 0.0)
    own[GLOW_MARK:], keep[GLOW_MARK:] = GLOW_GAIN, 1.0
    lit = (own == 0).astype(np.float32)
    return np.stack([keep, own, _by_class(RETRO, 1.0) * lit, _by_class(BEAM_REACH_M, OTHER_REACH_M)**-2, lit])


class WeatherPass:
    """The last step of every renderer, for one camera: `finish` its pictures."""

    def __init__(self, back: Backdrop) -> None:
        self.back = back
        width = back.camera.width_px
        self._row = _Row(*np.zeros((5, width), np.float32))
        self._place = np.zeros(width, np.int32)
        self._mirror = _Mirror(np.zeros(width, np.int32), np.zeros(width, np.float32), self._place)
        self._ahead, self._up = back.ahead[:, 0].astype(np.float32), back.rise[:, 0].copy()
        self._left = back.left[0].astype(np.float32)
        self._cut = (CUT_OFF + np.clip(-KINK * self._left, 0.0, KINK_MOST)).astype(np.float32)
        self._spread = (1 / (1 + (self._left / BEAM_WIDTH)**4)).astype(np.float32)
        self._fresnel = back.fresnel(F0)

    def finish(self, rgb: Array, class_id: Array, inverse_depth: Array, scene: Scene, pose: CameraPose) -> Array:
        """The picture as the weather and the lens make it: uint8 (H, W, 3), `rgb` itself or a new one.

        `rgb` uint8 (H, W, 3), `class_id` uint8 (H, W) with marks, float32 (H, W) `inverse_depth` [1/m] are as drawn.
        Takes the marks off `class_id`.
        """
        light, weather = scene.light, scene.light.weather
        if weather == CLEAR:
            self.back.veil(rgb, inverse_depth, light)
            return rgb
        is_lit = scene.street_light is not None
        lamps = self._lamps(scene, pose)
        has_beam = bool(lamps.light[2, 0] > LEAST_BEAM)
        _relight(rgb, class_id, inverse_depth, lamps, has_beam, is_lit, self._row, self._place)
        if weather.wetness > 0.0:
            _mirror(rgb, self._smeared(rgb, weather.darkness), class_id, self._fresnel, self.back.water(pose),
                    weather.wetness, self._mirror)
        return lens.look_through(rgb, class_id, light, self.back.camera, pose, scene.step)

    def _smeared(self, rgb: Array, darkness: float) -> Array:
        """What rough wet asphalt mirrors: the picture drawn out downwards, the lamps of the night more than all."""
        reach = self.back.camera.focal_px / 190.0
        tall = max(round(5 * reach), 1) * 2 + 1
        if darkness > 0.6:
            rgb = cv2.dilate(rgb, np.ones((tall, 1), np.uint8))
        return cv2.blur(rgb, (3, tall))

    def _lamps(self, scene: Scene, pose: CameraPose) -> _Lamps:
        weather, light, street = scene.light.weather, scene.light, scene.street_light
        yaw = math.atan2(pose.rotation[2, 1], pose.rotation[2, 0])
        height, origin = float(pose.position_m[2]), np.zeros(2) if street is None else street.origin_m
        x, y = ((pose.position_m[:2] - origin) / CELL_M).tolist()
        shine = weather.headlights * weather.darkness**BEAM_ADAPTATION * (1 - 0.45 * weather.wetness)
        colours = np.array([light.day, [weather.street_lamps * value for value in LAMP_COLOUR],
                            [shine * value for value in BEAM_COLOUR], light.sky_horizon], np.float32)
        return _Lamps(colours, _tables(weather.wetness), self._ahead, self._up, self.back.slant, self._left, self._cut,
                      self._spread, _NO_LAMPS if street is None else street.level,
                      np.array([math.cos(yaw), math.sin(yaw), x, y], np.float32),
                      np.array([height - BEAM_HEIGHT_M, height, EXTINCTION / light.visibility_m], np.float32))
