"""What a camera adds to the light that reaches it: glare, rain, drops, dirt, blur, shaking, exposure and noise.

Filters on finished pictures, the same for all renderers, each left out where its number is 0. The same picture, place
and step give the same bytes. Labels know nothing of it: a mount shakes by less than a pixel or two.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

from envs.config import CameraConfig
from envs.geometry import Array
from envs.render.camera import CameraPose
from envs.render.daylight import SUN_HIDDEN, Light
from envs.render.paving import SemanticClass

cv2.setNumThreads(1)  # waking threads costs more than small pictures do, and they would not survive a fork
SPARE_PX = 64  # tiles are this much larger than pictures, so that each frame sees another part
GLARE_CELL_PX = 8  # glare is computed for cells and blended between them
# Two halos about the sun, strength and radius, in the form of the CIE's disability glare (1 / angle^2, CIE 146:2002).
GLARE_HALOS = ((0.85, math.radians(4.0)), (0.30, math.radians(18.0)))
GLARE_COLOUR = (255.0, 236.0, 196.0)
GLARE_DIMS = 0.35  # the camera exposes less by this share when it looks into the sun
BLOOM_HALVINGS, BLOOM_FROM, BLOOM_RAD = 2, 208, 0.042  # of the picture; grey level; reach
BLOOM_GAIN, BLOOM_DARKNESS = 15.0, 0.4
WIPE_STEPS, WIPE_PHASES, DROP_PATTERNS = 16, 4, 6  # the wiper passes every 1.6 s
DROP_RAD = (0.010, 0.034)  # radius of a drop as seen by the lens
DROP_FLIP = 3.5  # a drop is a strong lens: it shows the world upside down and small
STREAKS_PER_MMPH, STREAK_RAD = 5.0, (0.02, 0.11)
LEAST_BLUR_PX, LEAST_SHAKE_PX, LEAST_EXPOSURE_EV = 0.3, 0.25, 0.02


@dataclass(frozen=True)
class _Shot:
    """What a filter may look at beside the picture."""

    class_id: Array
    light: Light
    camera: CameraConfig
    pose: CameraPose
    step: int
    chance: int  # 32 bits that differ from shot to shot


def look_through(rgb: Array, class_id: Array, light: Light, camera: CameraConfig, pose: CameraPose,
                 step: int) -> Array:
    """The picture uint8 (H, W, 3) behind the lens of `light.weather`: `rgb` itself or a new one."""
    moment = np.concatenate([[step], pose.position_m, pose.rotation[2]])
    shot = _Shot(class_id, light, camera, pose, step, zlib.crc32(moment.tobytes()))
    for is_on, effect in FILTERS:
        if is_on(light):
            rgb = effect(rgb, shot)
    return rgb


def _glare(rgb: Array, shot: _Shot) -> Array:
    """The sun's light scattered by lens and windscreen over the whole picture, if the sun is in sight."""
    sun = shot.pose.rotation @ np.asarray(shot.light.sun)
    if sun[2] < 0.25 or shot.light.sun[2] <= 0.0:
        return rgb
    camera, weather = shot.camera, shot.light.weather
    u = camera.width_px / 2 + camera.focal_px * sun[0] / sun[2]
    v = camera.height_px / 2 + camera.focal_px * sun[1] / sun[2]
    around = shot.class_id[max(int(v) - 2, 0):max(int(v) + 3, 0), max(int(u) - 2, 0):max(int(u) + 3, 0)]
    in_sight = float((around == SemanticClass.SKY).mean()) if around.size else 0.6
    seen = weather.glare * (1 - weather.cloud_cover) * in_sight
    if seen < 0.02:
        return rgb
    x = (np.arange(0, camera.width_px, GLARE_CELL_PX) + GLARE_CELL_PX / 2 - camera.width_px / 2) / camera.focal_px
    y = (np.arange(0, camera.height_px, GLARE_CELL_PX) + GLARE_CELL_PX / 2 - camera.height_px / 2) / camera.focal_px
    right, down = np.meshgrid(x, y)
    cosine = (sun[0] * right + sun[1] * down + sun[2]) / np.sqrt(1 + right**2 + down**2)
    square = np.maximum(2 - 2 * cosine, 0.0)
    halo = sum(strength / (1 + square / radius**2) for strength, radius in GLARE_HALOS)
    field = np.clip(seen * np.asarray(halo)[..., None] * GLARE_COLOUR, 0, 255).astype(np.uint8)
    full = cv2.resize(field, (camera.width_px, camera.height_px), interpolation=cv2.INTER_LINEAR)
    return cv2.addWeighted(rgb, 1 - GLARE_DIMS * seen, full, 1.0, 0.0, dst=rgb)


def _bloom(rgb: Array, shot: _Shot) -> Array:
    """A soft shine about what is very bright."""
    height, width = rgb.shape[:2]
    bright = cv2.subtract(rgb, _level(height, width, BLOOM_FROM))
    for _ in range(BLOOM_HALVINGS):  # halving twice is three times as quick as a quarter at once
        bright = cv2.resize(bright, (max(bright.shape[1] // 2, 1), max(bright.shape[0] // 2, 1)),
                            interpolation=cv2.INTER_AREA)
    if not bright.any():
        return rgb
    wide = cv2.convertScaleAbs(bright, alpha=BLOOM_GAIN * (0.4 + shot.light.weather.glare))
    side = 2 * round(BLOOM_RAD * shot.camera.focal_px / 2**BLOOM_HALVINGS) + 1
    wide = cv2.blur(cv2.blur(wide, (side, side)), (side, side))
    return cv2.add(rgb, cv2.resize(wide, (width, height), interpolation=cv2.INTER_LINEAR), dst=rgb)


@functools.lru_cache(maxsize=16)
def _level(height: int, width: int, value: int) -> Array:
    return np.full((height, width, 3), value, np.uint8)


@functools.lru_cache(maxsize=16)
def _streak_tile(width: int, height: int, focal_px: int, count: int) -> Array:
    """Falling rain, drawn out by the exposure: uint8 (height, width, 3)."""
    rng = np.random.default_rng([width, height, count])
    tile = np.zeros((height, width), np.uint8)
    for x, y, size, lean, shade in zip(rng.uniform(0, width, count), rng.uniform(0, height, count),
                                       rng.uniform(*STREAK_RAD, count) * focal_px, rng.normal(0.0, 0.08, count),
                                       rng.uniform(5, 22, count), strict=True):
        cv2.line(tile, (int(x), int(y)), (int(x + lean * size), int(y + size)), float(shade), 1, cv2.LINE_AA)
    return np.repeat(cv2.GaussianBlur(tile, (3, 3), 0.6)[..., None], 3, axis=2)


def _streaks(rgb: Array, shot: _Shot) -> Array:
    height, width = rgb.shape[:2]
    weather = shot.light.weather
    area = (width + SPARE_PX) * (height + SPARE_PX) / shot.camera.focal_px**2
    count = int(STREAKS_PER_MMPH * (4 + round(weather.rain_mmph)) * area)
    tile = _streak_tile(width + SPARE_PX, height + SPARE_PX, round(shot.camera.focal_px), count)
    return cv2.addWeighted(rgb, 1.0, _part(tile, shot), 1.0 - 0.6 * weather.darkness, 0.0, dst=rgb)


def _part(tile: Array, shot: _Shot) -> Array:
    """The part of a tile that this shot sees."""
    y, x = shot.chance % SPARE_PX, (shot.chance >> 8) % SPARE_PX
    return tile[y:y + shot.camera.height_px, x:x + shot.camera.width_px]


@functools.lru_cache(maxsize=256)
def _drop_table(width: int, height: int, focal_px: int, share: float, pattern: int) -> tuple[Array, Array, Array]:
    """Drops on the lens: the pixels they cover (N,), where each looks to (N,), and (N, 2) its weight and shade."""
    rng = np.random.default_rng([width, height, pattern])
    into, origin, mix, covered = [], [], [], 0
    while covered < share * width * height:
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        radius = focal_px * DROP_RAD[0] * (DROP_RAD[1] / DROP_RAD[0]) ** (rng.random() ** 2)
        tall = radius * rng.uniform(1.0, 1.4)
        v, u = (np.arange(max(int(at - half), 0), min(int(at + half) + 2, most))  # all that it may cover
                for at, half, most in ((y, tall, height), (x, radius, width)))
        right, down = np.broadcast_arrays((u - x) / radius, ((v - y) / tall)[:, None])
        distance = np.sqrt(right**2 + down**2)
        inside = distance < 1.0
        right, down, distance = right[inside], down[inside], distance[inside]
        rows = (v[:, None] * width + u)[inside]
        flip = DROP_FLIP * radius * (0.5 + distance ** 3)
        sideways, upward = (np.clip((at - flip * part).astype(int), 0, most - 1)
                            for at, part, most in ((x, right, width), (y, down, height)))
        into.append(rows)
        origin.append(upward * width + sideways)
        edge = np.clip(3.0 * (1.0 - distance), 0.0, 1.0)
        mix.append(np.stack([0.85 * edge, 0.9 + 0.25 * down * distance], axis=1))
        covered += max(len(rows), 1)
    if not into:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2), np.float32)
    return np.concatenate(into), np.concatenate(origin), np.concatenate(mix).astype(np.float32)


@njit(cache=True, nogil=True)
def _refract(flat: Array, source: Array, into: Array, origin: Array, mix: Array) -> None:
    for i in range(len(into)):
        for c in range(3):
            there = min(source[origin[i], c] * mix[i, 1], np.float32(255.0))
            flat[into[i], c] = np.uint8(flat[into[i], c] + mix[i, 0] * (there - flat[into[i], c]))


def _drops(rgb: Array, shot: _Shot) -> Array:
    """Drops on the lens: more of them until the wiper comes round."""
    height, width = rgb.shape[:2]
    phase = shot.step % WIPE_STEPS * WIPE_PHASES // WIPE_STEPS
    share = round(shot.light.weather.lens_drops * (phase + 1) / WIPE_PHASES, 3)
    table = _drop_table(width, height, round(shot.camera.focal_px), share, shot.step // WIPE_STEPS % DROP_PATTERNS)
    seen = cv2.blur(rgb, (5, 5))
    _refract(rgb.reshape(-1, 3), seen.reshape(-1, 3), *table)
    return rgb


@functools.lru_cache(maxsize=16)
def _dirt_masks(width: int, height: int, focal_px: int, share: float) -> tuple[Array, Array]:
    """Dust out of focus and what the wiper left: the light that passes, uint16 of 256, and the haze added, uint8.

    Both (H W 3,).
    """
    rng = np.random.default_rng([width, height, round(share * 100)])
    film: Array = np.zeros((height, width), np.float32)
    for _ in range(round(700 * share * width * height / focal_px**2 / 2.8)):
        radius = max(focal_px * rng.uniform(0.008, 0.03), 1.0)
        spot = np.zeros_like(film)
        cv2.circle(spot, (int(rng.uniform(0, width)), int(rng.uniform(0, height))), round(radius),
                   float(rng.uniform(0.03, 0.16)), -1, cv2.LINE_AA)
        film += spot
    film = cv2.GaussianBlur(film, (0, 0), 0.008 * focal_px)
    v, u = np.indices((height, width), np.float32)
    arc = np.hypot(u - 0.2 * width, v - 1.7 * height) / focal_px  # streaks about the wiper's axis
    streak = np.interp(arc, np.linspace(0.0, arc.max(), 90), rng.uniform(0.0, 0.5, 90) ** 2)
    film = np.clip(film + 0.8 * share * streak + 0.15 * share, 0.0, 0.6)
    return (np.repeat((256 * (1 - film)).astype(np.uint16), 3), np.repeat((255 * 0.8 * film).astype(np.uint8), 3))


@njit(cache=True, nogil=True)
def _film(flat: Array, passes: Array, haze: Array, shine: float) -> None:
    """flat * passes / 256 + haze * shine, in place; uint8 (N,) with uint16 (N,) and uint8 (N,)."""
    bright = np.uint16(shine * 256.0)
    for i in range(len(flat)):
        flat[i] = np.uint8((np.uint16(flat[i]) * passes[i] >> 8) + (np.uint16(haze[i]) * bright >> 8))


def _dirt(rgb: Array, shot: _Shot) -> Array:
    """Dirt takes light away and spreads the brightness of the sky over its place."""
    passes, haze = _dirt_masks(rgb.shape[1], rgb.shape[0], round(shot.camera.focal_px),
                               round(shot.light.weather.lens_dirt, 2))
    _film(rgb.reshape(-1), passes, haze, float(np.mean(shot.light.sky_horizon)) / 256.0)
    return rgb


def _blur(rgb: Array, shot: _Shot) -> Array:
    sigma = shot.light.weather.blur_rad * shot.camera.focal_px
    side = 2 * math.ceil(2.5 * sigma) - 1
    return rgb if sigma < LEAST_BLUR_PX else cv2.GaussianBlur(rgb, (side, side), sigma, dst=rgb)


@njit(cache=True, nogil=True)
def _shift(source: Array, out: Array, right: float, down: float, lean: float) -> None:
    """`source` (H, W, 3) uint8 moved by so many pixels into `out`, the rows sheared by `lean`; edges are kept."""
    height, width = source.shape[:2]
    for y in range(height):
        at_y = min(max(y - down, 0.0), height - 1.001)
        at_x = -(right + lean * (2.0 * y / height - 1.0))
        row, column = int(at_y), math.floor(at_x)
        low, near = np.float32(at_y - row), np.float32(at_x - column)
        high, far = np.float32(1.0) - low, np.float32(1.0) - near
        upper, lower, line = source[row].reshape(-1), source[row + 1].reshape(-1), out[y].reshape(-1)
        begin, end = 3 * max(-column, 0), 3 * min(width - column - 1, width)
        first, last = begin + 3 * column, end + 3 * column
        a, b, c, d = upper[first:last], upper[first + 3:last + 3], lower[first:last], lower[first + 3:last + 3]
        part = line[begin:end]
        for i in range(len(part)):
            value = high * (far * a[i] + near * b[i]) + low * (far * c[i] + near * d[i])
            part[i] = np.uint8(np.int32(value + np.float32(0.5)))
        line[:begin], line[end:] = upper[:begin], upper[end:]


def _shake(rgb: Array, shot: _Shot) -> Array:
    """A mount that shakes while a rolling shutter reads line by line: the picture shifts and leans."""
    most = shot.light.weather.vibration_rad * shot.camera.focal_px
    if most < LEAST_SHAKE_PX:
        return rgb
    right, down, lean = (most * ((shot.chance >> bits & 1023) / 511.5 - 1.0) for bits in (0, 10, 20))
    moved = np.empty_like(rgb)
    _shift(rgb, moved, right, down, lean)
    return moved


def _expose(rgb: Array, shot: _Shot) -> Array:
    stops = shot.light.weather.exposure_ev
    return rgb if abs(stops) < LEAST_EXPOSURE_EV else cv2.convertScaleAbs(rgb, dst=rgb, alpha=2.0**stops)


@functools.lru_cache(maxsize=16)
def _noise_tiles(width: int, height: int, half_steps: int) -> tuple[Array, Array]:
    """What noise of `half_steps` half grey levels adds, and what it takes away: uint8 (H, W, 3) each."""
    rng = np.random.default_rng([width, height])
    noise = rng.normal(0.0, 0.8, (height, width, 1)) + rng.normal(0.0, 0.6, (height, width, 3))
    noise = np.rint(np.clip(noise, -3.5, 3.5) * half_steps / 2)
    return np.maximum(noise, 0).astype(np.uint8), np.maximum(-noise, 0).astype(np.uint8)


def _noise(rgb: Array, shot: _Shot) -> Array:
    half_steps = round(shot.light.weather.noise * 255 * 2)
    if half_steps < 1:
        return rgb
    more, less = _noise_tiles(rgb.shape[1] + SPARE_PX, rgb.shape[0] + SPARE_PX, half_steps)
    cv2.add(rgb, _part(more, shot), dst=rgb)
    return cv2.subtract(rgb, _part(less, shot), dst=rgb)


FILTERS: tuple[tuple[Callable[[Light], bool], Callable[[Array, _Shot], Array]], ...] = (
    (lambda light: light.weather.glare > 0 and light.weather.cloud_cover < SUN_HIDDEN, _glare),
    (lambda light: light.weather.glare > 0 and light.weather.darkness > BLOOM_DARKNESS, _bloom),
    (lambda light: light.weather.rain_mmph > 0, _streaks),
    (lambda light: light.weather.lens_drops > 0, _drops),
    (lambda light: light.weather.lens_dirt > 0, _dirt),
    (lambda light: light.weather.blur_rad > 0, _blur),
    (lambda light: light.weather.vibration_rad > 0, _shake),
    (lambda light: light.weather.exposure_ev != 0, _expose),
    (lambda light: light.weather.noise > 0, _noise),
)
"""In the order in which light meets them: when it is on, and what it does."""
