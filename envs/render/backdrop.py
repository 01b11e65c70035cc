"""What lies behind and before everything: sky, sun, bare terrain, the grain of the ground, and fog.

All renderers begin and end with this canvas, so that they agree on it to the byte: it is pinhole geometry alone. It
draws nothing that stands in the scene.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import cv2
import numpy as np
from numba import njit

from envs.config import CameraConfig
from envs.geometry import Array
from envs.render.camera import CameraPose
from envs.render.daylight import SUN_HIDDEN, Light
from envs.render.polygons import inlined
from envs.render.scene import SemanticClass
from envs.weather import CLEAR

SUN_RADIUS_RAD, GLOW_RADIUS_RAD = math.radians(2.2), math.radians(13.0)  # larger than the real 0.27 deg, as glare is
SUN_COLOUR = (255.0, 250.0, 226.0)
GRAIN_PX, GRAIN_M = 512, 0.12  # size of the tile and of one of its texels on the ground
GRAIN_DEPTH = {SemanticClass.TERRAIN: 0.34, SemanticClass.ROAD: 0.16, SemanticClass.KERB: 0.16}
GRAIN_FADE_M = 14.0  # the grain is half as strong here: farther texels are smaller than pixels
CLOUD_PX, CLOUD_SCALE = 256, 14.0  # size of the tile; texels to a slope of 1 overhead
CLOUD_VISIBLE_M = 1_300.0  # in thicker air no cloud stands out
PUDDLE_M = 0.22  # a texel of the cloud tile on the ground
FOG_TOP_M = 80.0  # above the camera: a layer of ground fog, the sky shows through it overhead
EXTINCTION = -math.log(0.05)  # times 1 / visibility: the definition of the meteorological optical range
HORIZON = -1e-4  # rays that fall less than this per metre never meet the ground


@functools.cache
def grain_tile() -> Array:
    """Noise (GRAIN_PX, GRAIN_PX) float32 about 0 with fine and coarse parts, the same for everybody; it tiles."""
    rng = np.random.default_rng(20260)
    tile = rng.normal(0.0, 0.55, (GRAIN_PX, GRAIN_PX))
    for cells, weight in ((128, 0.4), (32, 0.45), (8, 0.5)):
        coarse = np.pad(rng.normal(0.0, weight, (cells, cells)), 1, mode="wrap")
        step = GRAIN_PX // cells
        tile += cv2.resize(coarse, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)[step:-step, step:-step]
    return np.clip(tile, -2.0, 2.0).astype(np.float32)


@njit(cache=True, nogil=True)
def _glow(rgb: Array, ahead: Array, left: Array, up: Array, sun: Array) -> None:
    """Blend sun and glow into part of a picture, from the directions of its pixels."""
    for y in range(rgb.shape[0]):
        for x in range(rgb.shape[1]):
            a, b, c = ahead[y, x], left[y, x], up[y, x]
            cosine = (a * sun[0] + b * sun[1] + c * sun[2]) / math.sqrt(a * a + b * b + c * c)
            angle = math.sqrt(max(0.0, 2.0 - 2.0 * cosine))  # a chord: 0.2 % longer than the arc at most
            if angle < GLOW_RADIUS_RAD:
                share = 1.0 if angle < SUN_RADIUS_RAD else 0.6 * (1.0 - angle / GLOW_RADIUS_RAD) ** 2
                for k in range(3):
                    rgb[y, x, k] = np.uint8(rgb[y, x, k] + share * (SUN_COLOUR[k] - rgb[y, x, k]) + 0.5)


@functools.cache
def cloud_tile() -> Array:
    """Heaps of cloud (CLOUD_PX, CLOUD_PX) float32, evenly spread from 0 to 1; it tiles."""
    rng = np.random.default_rng(20261)
    tile = np.zeros((CLOUD_PX, CLOUD_PX))
    for cells, weight in ((4, 1.0), (8, 0.7), (16, 0.45), (32, 0.25), (64, 0.12)):
        coarse = np.pad(rng.normal(0.0, weight, (cells, cells)), 2, mode="wrap")
        step = CLOUD_PX // cells
        tile += cv2.resize(coarse, None, fx=step, fy=step,
                           interpolation=cv2.INTER_CUBIC)[2 * step:-2 * step, 2 * step:-2 * step]
    return (np.argsort(np.argsort(tile.ravel())).reshape(tile.shape) / tile.size).astype(np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def _cloud_over(rgb: Array, tile: Array, ahead: Array, left: Array, up: Array, place: Array, paint: Array,
                space: Array, texel: Array) -> None:
    """Draw clouds and the afterglow into the rows of sky (N, W): tables as in `Backdrop`.

    `place` is (cos, sin, x, y) of the camera on the tile, then the share of sky left free, and where the sun is, level
    (x, y) in the camera's frame; `paint` (2, 3) the colours of clouds and of the glow; `space` (2, W) and
    `texel` int32 (W,) to work in.
    """
    mask, side, flat = np.int32(tile.shape[0] - 1), np.int32(tile.shape[0]), tile.reshape(-1)
    zero, one, full, half, soft = np.float32(0.0), np.float32(1.0), np.float32(255.0), np.float32(0.5), np.float32(4.0)
    cos, sin, at_x, at_y, free, sun_x, sun_y = place
    cloud_r, cloud_g, cloud_b = paint[0, 0], paint[0, 1], paint[0, 2]
    glow_r, glow_g, glow_b = paint[1, 0], paint[1, 1], paint[1, 2]
    covers, glows = space[0], space[1]
    for y in range(rgb.shape[0]):
        far, fade = ahead[y], min(one, np.float32(6.0) * up[y])
        low = (one - min(one, np.float32(2.2) * up[y])) ** 2
        for x in range(rgb.shape[1]):
            beside = left[y, x]
            column = np.int32(cos * far - sin * beside + at_x) & mask
            row = np.int32(sin * far + cos * beside + at_y) & mask
            texel[x] = row * side + column
        for x in range(rgb.shape[1]):
            covers[x] = fade * min(max(soft * (flat[np.uint32(texel[x])] - free), zero), one)
        for x in range(rgb.shape[1]):
            beside = left[y, x]
            toward = max(far * sun_x + beside * sun_y, zero)
            glows[x] = low * toward * toward / (far * far + beside * beside)
        line = rgb[y].reshape(-1)
        for x in range(rgb.shape[1]):
            cover = covers[x]
            glow = glows[x] * (one - half * cover)
            red = line[3 * x] + cover * (cloud_r - line[3 * x]) + glow * glow_r + half
            green = line[3 * x + 1] + cover * (cloud_g - line[3 * x + 1]) + glow * glow_g + half
            blue = line[3 * x + 2] + cover * (cloud_b - line[3 * x + 2]) + glow * glow_b + half
            line[3 * x] = np.uint8(np.int32(min(red, full)))
            line[3 * x + 1] = np.uint8(np.int32(min(green, full)))
            line[3 * x + 2] = np.uint8(np.int32(min(blue, full)))


@inlined
def see_through(inverse_depth: Array, slant: Array, up: float, per_m: float, out: Array) -> None:
    """Share of light that comes through fog to the pixels of a row (law of Bouguer and Lambert), float32 (W,).

    exp(-t) as (1 + t / 256)^-256, which vectorises, is right to 0.002.
    """
    one, rate = np.float32(1.0), np.float32(per_m / 256.0)
    endless = (up if up > 0.0 else np.float32(1e-9)) / np.float32(FOG_TOP_M)  # 1 / depth at which a ray leaves the fog
    for x in range(len(out)):
        inverse = inverse_depth[x] if inverse_depth[x] > endless else endless
        share = one / (one + rate * slant[x] / inverse)
        share *= share
        share *= share
        share *= share
        share *= share
        share *= share
        share *= share
        share *= share
        out[x] = share * share


@njit(cache=True, nogil=True, error_model="numpy")
def _veil(rgb: Array, inverse_depth: Array, slant: Array, up: Array, per_m: float, colour: Array,
          clear: Array) -> None:
    """Let each pixel fade to `colour` with the way its light comes through fog; `clear` (W,) is space to work in."""
    half = np.float32(0.5)
    red, green, blue = colour[0], colour[1], colour[2]
    for y in range(rgb.shape[0]):
        see_through(inverse_depth[y], slant[y], up[y, 0], per_m, clear)
        line = rgb[y].reshape(-1)
        for x in range(rgb.shape[1]):
            share = clear[x]
            line[3 * x] = np.uint8(np.int32(red + share * (line[3 * x] - red) + half))
            line[3 * x + 1] = np.uint8(np.int32(green + share * (line[3 * x + 1] - green) + half))
            line[3 * x + 2] = np.uint8(np.int32(blue + share * (line[3 * x + 2] - blue) + half))


class Water(NamedTuple):
    """Where puddles are: a tile of heights and tables of the ground rows, as those of the grain."""

    tile: Array
    ahead: Array  # (H - first,) float32
    left: Array  # (H - first, W)
    place: Array  # (4,)


class Backdrop:
    """Tables per pixel for a camera at one height and pitch, in the frame of that camera turned level, facing x."""

    def __init__(self, camera: CameraConfig, pose: CameraPose) -> None:
        self.height_m, self.forward_z = float(pose.position_m[2]), float(pose.rotation[2, 2])
        self.camera = camera
        u = (np.arange(camera.width_px) + 0.5 - camera.width_px / 2) / camera.focal_px
        v = (np.arange(camera.height_px) + 0.5 - camera.height_px / 2) / camera.focal_px
        right, down = np.meshgrid(u, v)
        pitch = math.asin(-self.forward_z)
        self.ahead = math.cos(pitch) - math.sin(pitch) * down
        self.left = -right
        self.up = -math.sin(pitch) - math.cos(pitch) * down
        self.slant = np.sqrt(1.0 + right**2 + down**2).astype(np.float32)  # length of a ray at depth 1
        self.rise = self.up.astype(np.float32)
        falling = self.up[:, 0] < HORIZON
        self.first = int(np.argmax(falling)) if falling.any() else camera.height_px  # topmost row of ground
        depth = self.height_m / np.maximum(-self.up[self.first:], -HORIZON)  # a ray's optical-axis part is 1 long
        self.inverse_depth = np.zeros(right.shape, np.float32)
        self.inverse_depth[self.first:] = 1.0 / depth
        self.class_id = np.full(right.shape, SemanticClass.SKY, np.uint8)
        self.class_id[self.first:] = SemanticClass.TERRAIN
        depth = depth[:, :1]  # one for each row, as no camera here rolls
        self.ground_ahead = ((self.ahead[self.first:, :1] * depth) / GRAIN_M).astype(np.float32)  # [texels]
        self.ground_left = ((self.left[self.first:] * depth) / GRAIN_M).astype(np.float32)
        self.fade = (1.0 / (1.0 + (depth / GRAIN_FADE_M) ** 2)).astype(np.float32)
        self.tile = grain_tile()
        self.strength = np.zeros(256, np.float32)
        for semantic, strength in GRAIN_DEPTH.items():
            self.strength[semantic] = strength
        step = np.float32(GRAIN_M / PUDDLE_M)
        self.water_ahead, self.water_left = step * self.ground_ahead[:, 0], step * self.ground_left  # [texels]
        self._space, self._texel = np.empty((2, camera.width_px), np.float32), np.empty(camera.width_px, np.int32)
        self._fresnel: Array | None = None
        upward = np.float32(CLOUD_SCALE) / (self.rise[:self.first, :1] + np.float32(0.05))
        self.sky_ahead = (self.ahead[:self.first, :1] * upward)[:, 0].astype(np.float32)  # [texels of the cloud tile]
        self.sky_left = (self.left[:self.first] * upward).astype(np.float32)
        self._plain: tuple[Light | None, Array] = (None, np.zeros(0))

    def fits(self, pose: CameraPose) -> bool:
        """Whether these tables hold for a pose."""
        return self.height_m == float(pose.position_m[2]) and self.forward_z == float(pose.rotation[2, 2])

    def sky(self, light: Light, pose: CameraPose) -> Array:
        """A fresh picture of sky, sun and bare terrain without grain: uint8 (H, W, 3)."""
        if self._plain[0] != light:
            self._plain = (light, self._paint(light))
        rgb = self._plain[1].copy()
        if light.weather != CLEAR and light.visibility_m > CLOUD_VISIBLE_M:
            self._cloud_over(rgb, light, pose)
        if light.weather.cloud_cover < SUN_HIDDEN:
            self._shine(rgb, light, pose)
        return rgb

    def _cloud_over(self, rgb: Array, light: Light, pose: CameraPose) -> None:
        if self.first < 1:
            return
        cos, sin = self.grain_place(pose)[:2]
        right, left = pose.rotation[2, :2], -pose.rotation[0, :2]
        sun = np.array([right @ light.sun[:2], left @ light.sun[:2]])
        sun /= max(np.hypot(*sun), 1e-9)
        drift = CLOUD_PX * 64 + pose.position_m[:2] / 40.0  # clouds are far away: they hardly move
        place = np.array([cos, sin, *drift, 1.0 - 0.9 * light.weather.cloud_cover, *sun], np.float32)
        _cloud_over(rgb[:self.first], cloud_tile(), self.sky_ahead, self.sky_left, self.rise[:self.first, 0], place,
                    np.array([light.cloud, light.afterglow], np.float32), self._space, self._texel)

    def fresnel(self, straight: float) -> Array:
        """Share of light that still water mirrors to each pixel (Schlick 1994), float32 (H, W), 0 above the horizon."""
        if self._fresnel is None:
            cosine = np.clip(-self.rise / self.slant, 0.0, 1.0)
            self._fresnel = (straight + (1 - straight) * (1 - cosine) ** 5).astype(np.float32)
        return self._fresnel

    def water(self, pose: CameraPose) -> Water:
        """Where water stands on the ground rows, fixed to the world."""
        turn = self.grain_place(pose)
        turn[2:] = np.mod(pose.position_m[:2] / PUDDLE_M, CLOUD_PX) + 32 * CLOUD_PX
        return Water(cloud_tile(), self.water_ahead, self.water_left, turn)

    def _paint(self, light: Light) -> Array:
        length = np.sqrt(self.ahead ** 2 + self.left ** 2 + self.up ** 2)
        high = np.clip(self.up / length * 2.2, 0.0, 1.0)[..., None] ** 0.7
        picture = np.asarray(light.sky_horizon) * (1 - high) + np.asarray(light.sky_zenith) * high
        picture[self.first:] = light.terrain
        return (picture + 0.5).astype(np.uint8)

    def _shine(self, rgb: Array, light: Light, pose: CameraPose) -> None:
        """Draw the sun and its glow where they are in view, above the horizon only."""
        right, down, ahead = pose.rotation @ np.asarray(light.sun)
        if ahead < 0.2:
            return
        reach = int(self.camera.focal_px * math.tan(GLOW_RADIUS_RAD) / ahead ** 2) + 2
        u = int(self.camera.width_px / 2 + self.camera.focal_px * right / ahead)
        v = int(self.camera.height_px / 2 + self.camera.focal_px * down / ahead)
        rows = slice(max(v - reach, 0), max(min(v + reach, self.first), 0))
        columns = slice(max(u - reach, 0), max(min(u + reach, self.camera.width_px), 0))
        forward, left = pose.rotation[2, :2], -pose.rotation[0, :2]
        level = forward / np.hypot(*forward)
        sun = np.array([level @ light.sun[:2], left @ light.sun[:2], light.sun[2]])
        _glow(rgb[rows, columns], self.ahead[rows, columns], self.left[rows, columns], self.up[rows, columns], sun)

    def veil(self, rgb: Array, inverse_depth: Array, light: Light) -> None:
        """Put the light's fog before a finished picture uint8 (H, W, 3) with its float32 (H, W) 1 / depth [1/m]."""
        if math.isfinite(light.visibility_m):
            _veil(rgb, inverse_depth, self.slant, self.rise, EXTINCTION / light.visibility_m,
                  np.array(light.sky_horizon, np.float32), self._space[0])

    def grain_place(self, pose: CameraPose) -> Array:
        """(cos, sin, x, y) float32, the last two in texels: takes the ground tables to places on the tile.

        Places are positive up to 2 km away, so that cutting off their decimals rounds them down.
        """
        yaw = math.atan2(pose.rotation[2, 1], pose.rotation[2, 0])
        x, y = np.mod(pose.position_m[:2] / GRAIN_M, GRAIN_PX) + 32 * GRAIN_PX
        return np.array([math.cos(yaw), math.sin(yaw), x, y], np.float32)

    def grain(self, pose: CameraPose) -> Array:
        """Noise of every pixel of the ground rows, float32 (H - first, W), fixed to the world."""
        cos, sin, x, y = self.grain_place(pose)
        column = (cos * self.ground_ahead - sin * self.ground_left + x).astype(np.int32) & (GRAIN_PX - 1)
        row = (sin * self.ground_ahead + cos * self.ground_left + y).astype(np.int32) & (GRAIN_PX - 1)
        return self.fade * self.tile[row, column]
