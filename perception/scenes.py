"""Training pictures for the scout: vector sign faces and traffic lights hung into made-up streets and rendered towns,
then photographed.

A scene is square, with the boxes of its signs and lights. Faces come in many states of wear, seen aslant, in shadow or
against the light, with plates below and twigs before them; the camera exposes badly, blurs, adds noise and compresses.
Every scene is a function of its generator alone. No photograph enters, and nothing is learned here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from envs.config import CameraConfig
from envs.geometry import Array
from envs.labels import label
from envs.render.camera import RENDERERS, pose_of
from envs.render.scene import build_scene
from envs.roads.procedural import build_town
from envs.signs import SIGNS, face, leaning
from envs.wear import Wear
from perception import streets, textures
from perception.drives import Drive
from perception.lampcrops import hang
from perception.textures import Rng

LIGHT = -1  # in place of a row of SIGNS
FACE_PX = 96
NOISE_PX = 640
LEAST_PX, MOST_PX = 11.0, 46.0  # longer side of a sign that is to be found in a scene; see scout.py on the pyramid
IGNORED_PX = (8.0, 64.0)  # between these and the former it does not matter; outside, a sign is not to be found
LEAST_CONTRAST = 3.5  # standard deviation of the levels on a sign below which nobody could find it
LOOKS_OF_A_FACE = 8
# Rare shapes come more often than their one class of 43 would have them.
SHARES = np.ones(len(SIGNS))
SHARES[[12, 13, 17]] = 3.0  # priority road, yield, no entry
SHARES[[6, 14, 32, 41, 42]] = 2.0  # stop, and discs that lift an order
SHARES /= SHARES.sum()
WORLD_CAMERA = CameraConfig(width_px=640, height_px=320, horizontal_fov_deg=60.0)
FRAMES_PER_TOWN = 12


@dataclass(frozen=True, eq=False)
class Scene:
    """One picture and the signs and lights in it."""

    image: Array  # (S, S, 3) uint8 RGB
    box_px: Array  # (K, 4) float32 left, top, right, bottom
    sign: Array  # (K,) int64, row of SIGNS, or LIGHT
    counts: Array  # (K,) bool: to be found; the others are neither right nor wrong


@lru_cache(maxsize=len(SIGNS) * LOOKS_OF_A_FACE)
def _cut_face(row: int, look: int) -> tuple[Array, tuple[Array, ...]]:
    """A face's outline (M, 2) in the unit square, and what it cuts out as float32 RGBA in [0, 1], premultiplied: at
    FACE_PX and then each half as large.
    """
    wear = Wear.draw(np.random.default_rng([43, row, look])) if look else Wear()
    outline, _ = leaning(SIGNS[row].outline, wear.roll_rad)
    mask = np.zeros((4 * FACE_PX, 4 * FACE_PX), np.uint8)
    cv2.fillPoly(mask, [np.round(outline * 4 * FACE_PX * 16).astype(np.int32)], 255, shift=4)
    alpha = cv2.resize(mask, (FACE_PX, FACE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)[..., None] / 255
    levels = [np.concatenate([face(row, FACE_PX, wear).astype(np.float32) / 255 * alpha, alpha], 2)]
    while levels[-1].shape[0] > 12:
        side = levels[-1].shape[0] // 2
        levels.append(cv2.resize(levels[-1], (side, side), interpolation=cv2.INTER_AREA))
    return outline, tuple(levels)


def scene(rng: Rng, side_px: int = 256, frames: tuple[Scene, ...] = ()) -> Scene:
    """A new scene; `frames` are rendered pictures that may lie behind (see `world_frames`)."""
    if rng.random() < 0.01:  # lens cap, or the sun
        flat = np.full((side_px, side_px, 3), int(rng.choice([0, 255, int(rng.integers(256))])), np.uint8)
        return Scene(flat, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
    light = math.exp(rng.uniform(math.log(0.07), math.log(1.3)))  # of what is not the sky
    if frames and rng.random() < 0.2:
        ground, there = _window(rng, frames[int(rng.integers(len(frames)))], side_px)
        open_sky, light = np.zeros((side_px, side_px), np.float32), light ** 0.5
    else:
        (ground, open_sky), there = streets.street(rng, side_px), []
    shade = 0.5 + textures.noise(rng, side_px, int(rng.integers(2, 9)), 3)
    glow = rng.uniform(0.6, 2.5) if rng.random() < 0.8 else light
    lit = ground.astype(np.float32) / 255
    lit *= (open_sky * glow + (1 - open_sky) * light * shade)[..., None]
    _lamps(rng, lit)
    for _ in range(int(rng.integers(0, 9))):
        there += _hang(rng, lit, light, [box for box, _ in there])
    for _ in range(int(rng.integers(1, 5)) if rng.random() < 0.45 else 0):
        there += _hang_light(rng, lit, light, [box for box, _ in there])
    if rng.random() < 0.12:
        _twigs_before(rng, lit, light)
    image = photographed(rng, lit)
    boxes = np.array([box for box, _ in there], np.float32).reshape(-1, 4)
    side = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((centre > 0) & (centre < side_px)).all(1) & (side > IGNORED_PX[0]) & (side < IGNORED_PX[1])
    whole = (boxes[:, :2] > -0.15 * side[:, None]).all(1) & (boxes[:, 2:] < side_px + 0.15 * side[:, None]).all(1)
    counts = whole & (side >= LEAST_PX) & (side <= MOST_PX)
    counts[counts] &= np.array([_shows(image, box) for box in boxes[counts]], bool)
    return Scene(image, boxes[inside], np.array([row for _, row in there], np.int64)[inside], counts[inside])


def _lamps(rng: Rng, lit: Array) -> None:
    """Lamps that shine, with a halo, in place: of cars and traffic lights, by day and by night."""
    side_px = lit.shape[0]
    for _ in range(int(rng.integers(0, 4))):
        at, radius = rng.uniform(0, side_px, 2), math.exp(rng.uniform(math.log(1.5), math.log(12)))
        colour = np.array(((1.0, 0.12, 0.06), (1.0, 0.55, 0.08), (1.0, 0.95, 0.85), (0.2, 1.0, 0.7))[
            int(rng.choice(4, p=[0.4, 0.3, 0.2, 0.1]))]) * math.exp(rng.uniform(math.log(0.3), math.log(4.0)))
        reach = math.ceil(3 * radius)
        low, high = (np.round(at).astype(int) + off for off in (-reach, reach + 1))
        low, high = low.clip(0), high.clip(max=side_px)
        v, u = (np.arange(low[k], high[k], dtype=np.float32) - at[k] for k in (1, 0))
        away = np.hypot(v[:, None] / rng.uniform(0.6, 1.0), u) / radius
        core = (1.0 - (away - 0.75) * 4).clip(0, 1)[..., None]
        halo = (rng.uniform(0, 0.4) * np.exp(-0.7 * away ** 2))[..., None]
        room = lit[low[1]:high[1], low[0]:high[0]]
        room[:] = room * (1 - core) + core * colour + halo * colour


def _shows(image: Array, box: Array) -> bool:
    """Whether there is anything to see on a sign: neither black night nor pure white."""
    centre, half = (box[:2] + box[2:]) / 2, 0.35 * (box[2:] - box[:2])
    left, top, right, bottom = (max(0, round(float(v))) for v in (*(centre - half), *(centre + half)))
    part = image[top:bottom, left:right]
    return part.size > 0 and float(part.std(axis=(0, 1)).max()) > LEAST_CONTRAST


def _hang(rng: Rng, lit: Array, light: float, there: list[Array]) -> list[tuple[Array, int]]:
    """A post with one to three signs, their plates and its pole, if there is room; returns boxes and rows."""
    side_px = lit.shape[0]
    size = math.exp(rng.uniform(math.log(LEAST_PX), math.log(MOST_PX)))
    size = rng.uniform(MOST_PX, 150) if rng.random() < 0.07 else size
    count = int(rng.choice([1, 2, 3], p=[0.68, 0.25, 0.07]))
    x, y = rng.uniform(0, side_px, 2)
    tall = size * 1.1 * count
    room = np.array([x - 0.7 * size, y - 0.7 * size, x + 0.7 * size, y - 0.7 * size + tall + 0.4 * size])
    for box in there:
        if (np.minimum(room[2:], box[2:]) > np.maximum(room[:2], box[:2])).all():
            return []
    brightness = light * math.exp(rng.normal(0.25, 0.55))
    brightness *= rng.uniform(2, 6) if rng.random() < 0.06 else 1.0  # in the sun before a dark wood
    tint = np.exp(rng.normal(0, 0.08 if rng.random() < 0.7 else 0.2, 3)).astype(np.float32)
    if rng.random() < 0.75:
        tone = rng.uniform(0.1, 0.7) * brightness
        wide = max(1, round(size * rng.uniform(0.04, 0.14)))
        cv2.line(lit, (round(x), round(y - 0.4 * size)), (round(x + rng.normal(0, 0.03) * size), side_px),
                 (tone, tone, tone), wide, cv2.LINE_AA)
    if rng.random() < 0.08:
        _backing(rng, lit, (x, y), size, tall, brightness)
    found = []
    gap, turn = rng.uniform(0.96, 1.15), _aslant(rng)
    for _ in range(count):
        row = int(rng.choice(len(SIGNS), p=SHARES))
        there_px = _paste(rng, lit, row, (x, y), size, turn, brightness * tint)
        found += [(there_px, row)] if there_px is not None else []
        y += gap * size
    if rng.random() < 0.35:
        _plate_below(rng, lit, (x, y - 0.5 * size), size, brightness)
    return found


def _hang_light(rng: Rng, lit: Array, light: float, there: list[Array]) -> list[tuple[Array, int]]:
    """A traffic light on its pole or mast, if there is room; returns its box."""
    side_px = lit.shape[0]
    size = math.exp(rng.uniform(math.log(LEAST_PX), math.log(1.3 * MOST_PX)))
    x, y = rng.uniform(0, side_px, 2)
    room = np.array([x - 0.6 * size, y - 0.8 * size, x + 0.6 * size, y + 0.8 * size])
    if any((np.minimum(room[2:], box[2:]) > np.maximum(room[:2], box[:2])).all() for box in there):
        return []
    tone, wide = (rng.uniform(0.1, 0.7) * light,) * 3, max(1, round(size * rng.uniform(0.03, 0.12)))
    carrier = rng.random()
    if carrier < 0.5:
        cv2.line(lit, (round(x), round(y)), (round(x + rng.normal(0, 0.03) * size), side_px), tone, wide, cv2.LINE_AA)
    elif carrier < 0.8:
        end = 0 if rng.random() < 0.5 else side_px
        cv2.line(lit, (round(x), round(y)), (end, round(y + rng.normal(0, 0.1) * side_px)), tone, wide, cv2.LINE_AA)
    box = hang(lit, (x, y), size, light, rng)
    return [(box, LIGHT)] if box is not None else []


def _aslant(rng: Rng) -> Array:
    """Corners (4, 2) of a unit square about 0, as a camera sees it: squeezed, turned, in perspective."""
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    squeeze = 1 - 0.5 * rng.random() ** 2.5 if rng.random() < 0.7 else 1.0
    angle = rng.normal(0, math.radians(4))
    corners = corners * [squeeze, math.exp(rng.normal(0, 0.03))] + rng.normal(0, 0.018, (4, 2))
    return corners @ np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])


def _paste(rng: Rng, lit: Array, row: int, at: tuple[float, float], size: float, corners: Array,
           brightness: Array) -> Array | None:
    """Put a face into the picture, in place; returns its box, None where it lies outside."""
    outline, levels = _cut_face(row, int(rng.integers(LOOKS_OF_A_FACE)))
    source = next((level for level in reversed(levels) if level.shape[0] >= size), levels[0])
    goal = corners * size + at
    low, high = np.floor(goal.min(0)).astype(int) - 1, np.ceil(goal.max(0)).astype(int) + 2
    start, end = low.clip(0), high.clip(max=lit.shape[0])
    if (end - start < 3).any():
        return None
    s = source.shape[0]
    flat = np.array([[0, 0], [s, 0], [s, s], [0, s]], np.float32) - 0.5
    matrix = cv2.getPerspectiveTransform(flat, (goal - low - 0.5).astype(np.float32))
    patch = cv2.warpPerspective(source, matrix, tuple((high - low).tolist()), flags=cv2.INTER_LINEAR)
    shape = cv2.perspectiveTransform((outline * s).astype(np.float32)[None] - 0.5, matrix)[0] + low + 0.5
    if rng.random() < 0.1:
        _shadow(rng, patch)
    part = patch[start[1] - low[1]:end[1] - low[1], start[0] - low[0]:end[0] - low[0]]
    under = lit[start[1]:end[1], start[0]:end[0]]
    under *= 1 - part[..., 3:]
    under += part[..., :3] * brightness.astype(np.float32)
    return np.concatenate([shape.min(0), shape.max(0)])


def _shadow(rng: Rng, patch: Array) -> None:
    """A part of a face in shadow, in place."""
    height, width = patch.shape[:2]
    v, u = np.mgrid[:height, :width] / float(max(height, width))
    angle = rng.uniform(0, 2 * math.pi)
    is_dark = (u - 0.5) * math.cos(angle) + (v - 0.5) * math.sin(angle) > rng.uniform(-0.3, 0.3)
    patch[..., :3] *= np.where(is_dark, rng.uniform(0.3, 0.8), 1.0)[..., None].astype(np.float32)


def _plate_below(rng: Rng, lit: Array, at: tuple[float, float], size: float, brightness: float) -> None:
    """A white plate with words under a sign, in place."""
    w, h = size * rng.uniform(0.6, 1.15), size * rng.uniform(0.25, 0.8)
    if not -w < at[0] < lit.shape[1] + w or not -h < at[1] < lit.shape[0]:
        return
    plate = np.full((max(4, round(h)), max(4, round(w)), 3), 240, np.uint8)
    if rng.random() < 0.12:
        plate[:] = (240, 190, 12)
    for _ in range(int(rng.integers(1, 3))):
        word = "".join(rng.choice(list("ABEFGHIMNORSTU0123456789"), int(rng.integers(1, 7))))
        cv2.putText(plate, word, (round(0.08 * w), round(rng.uniform(0.4, 0.95) * h)), cv2.FONT_HERSHEY_SIMPLEX,
                    0.35 * h / 22, (25, 25, 25), max(1, round(0.04 * size)), cv2.LINE_AA)
    if rng.random() < 0.7:
        cv2.rectangle(plate, (0, 0), (plate.shape[1] - 1, plate.shape[0] - 1), (25, 25, 25), max(1, round(0.03 * size)))
    left, top = round(at[0] - w / 2), round(at[1] + 0.05 * size)
    x, y = max(left, 0), max(top, 0)
    room = lit[y:max(top + plate.shape[0], 0), x:max(left + plate.shape[1], 0)]
    room[:] = plate[y - top:, x - left:][:room.shape[0], :room.shape[1]].astype(np.float32) / 255 * brightness


def _backing(rng: Rng, lit: Array, at: tuple[float, float], size: float, tall: float, brightness: float) -> None:
    """A board that carries the signs, in place."""
    half = size * rng.uniform(0.52, 0.75)
    tone = tuple((brightness * v) for v in ((0.94, 0.94, 0.93), (0.95, 0.75, 0.05), (0.1, 0.1, 0.1), (0.0, 0.32, 0.6))[
        int(rng.integers(4))])
    cv2.rectangle(lit, (round(at[0] - half), round(at[1] - half)),
                  (round(at[0] + half), round(at[1] - half + tall + rng.uniform(0, 0.8) * size)), tone, -1)


def _twigs_before(rng: Rng, lit: Array, light: float) -> None:
    """Twigs or leaves before everything, in place."""
    bare = np.zeros((*lit.shape[:2], 3), np.uint8)
    if rng.random() < 0.5:
        textures.twigs(rng, bare)
    else:
        textures.shapes(rng, lit.shape[0], "leaf", 2.0, 9.0, bare, int(rng.integers(10, 60)))
    is_there = cv2.cvtColor(bare, cv2.COLOR_RGB2GRAY) > 0
    lit[is_there] = bare[is_there].astype(np.float32) / 255 * light


def photographed(rng: Rng, lit: Array) -> Array:
    """What a camera makes of light (S, S, 3) float32, 1 being its white: uint8."""
    side = lit.shape[0]
    cast = np.exp(rng.normal(0, 0.07 if rng.random() < 0.7 else 0.25, 3)).astype(np.float32)
    image = lit * (cast * np.float32(math.exp(rng.normal(0, 0.25))))
    if rng.random() < 0.3:  # veil of light scattered in the lens or by haze
        image += np.float32(rng.uniform(0, 0.25)) * (np.float32(0.7) - image) + np.float32(rng.uniform(0, 0.06))
    if rng.random() < 0.2:  # flare of what is brighter than white
        small = cv2.resize((image - 0.8).clip(0, 2), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        image += np.float32(rng.uniform(0.02, 0.2)) * cv2.resize(
            cv2.GaussianBlur(small, (0, 0), rng.uniform(0.5, 4)), (side, side), interpolation=cv2.INTER_LINEAR)
    grey = cv2.transform(image, np.full((1, 3), 1 / 3, np.float32))[..., None]
    image = grey + np.float32(rng.uniform(0.35, 1.35)) * (image - grey)
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.1))
    if rng.random() < 0.15:
        image = cv2.filter2D(image, -1, _smear(rng))
    if rng.random() < 0.3:  # enlarged, as by the interpolation of a colour filter
        small = round(side * rng.uniform(0.5, 0.95))
        image = cv2.resize(cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA), (side, side),
                           interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.35:  # colours apart
        for k in (0, 2):
            off = np.array([[1, 0, rng.normal(0, 0.5)], [0, 1, rng.normal(0, 0.5)]])
            image[..., k] = cv2.warpAffine(np.ascontiguousarray(image[..., k]), off, (side, side),
                                           borderMode=cv2.BORDER_REPLICATE)
    if rng.random() < 0.4:  # sharpened by the camera
        image += np.float32(rng.uniform(0.2, 1.2)) * (image - cv2.GaussianBlur(image, (0, 0), 1.0))
    image = image.clip(0, 1) ** np.float32(math.exp(rng.normal(0, 0.25)))
    spread = rng.uniform(0.0, 0.02) + rng.uniform(0, 0.03) * np.sqrt(image)
    left, top = rng.integers(0, NOISE_PX - side + 1, 2)
    noise = _noise_tile(bool(rng.random() < 0.4))[top:top + side, left:left + side]
    result = ((image + spread * noise * np.float32(rng.random() ** 2)) * 255).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        result = _through_mosaic(result)
    if rng.random() < 0.7:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 98))]
        result = cv2.imdecode(cv2.imencode(".jpg", result, quality)[1], cv2.IMREAD_COLOR)
    return result


@lru_cache(maxsize=2)
def _noise_tile(is_coarse: bool) -> Array:
    """Noise of a sensor (NOISE_PX, NOISE_PX, 3) float32 of standard deviation 1, from which pictures take a window."""
    noise = np.random.default_rng(11).standard_normal((NOISE_PX, NOISE_PX, 3), np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 0.7) * np.float32(2.4) if is_coarse else noise


def _through_mosaic(image: Array) -> Array:
    """What is left of uint8 (S, S, 3) when each pixel saw one colour only: coloured seams along edges."""
    seen = image[..., 1].copy()  # the Bayer pattern: half of the pixels see green
    seen[::2, ::2], seen[1::2, 1::2] = image[::2, ::2, 2], image[1::2, 1::2, 0]
    return cv2.cvtColor(seen, cv2.COLOR_BayerRG2RGB)


def _smear(rng: Rng) -> Array:
    """Kernel of a camera that moved: a line of 3 to 9 px."""
    side = int(rng.choice([3, 5, 7, 9]))
    kernel = np.zeros((side, side), np.float32)
    angle = rng.normal(0, 0.4) if rng.random() < 0.7 else rng.uniform(0, math.pi)
    reach = (side - 1) / 2 * np.array([math.cos(angle), math.sin(angle)])
    first, last = (tuple(np.round((side - 1) / 2 + s * reach).astype(int).tolist()) for s in (-1, 1))
    cv2.line(kernel, first, last, 1.0, 1)
    return kernel / kernel.sum()


def _window(rng: Rng, frame: Scene, side_px: int) -> tuple[Array, list[tuple[Array, int]]]:
    """A square part of a rendered frame, enlarged at times, with its signs."""
    height, width = frame.image.shape[:2]
    cut = int(rng.integers(min(side_px // 2, height), min(side_px, height) + 1))
    left, top = int(rng.integers(width - cut + 1)), int(rng.integers(height - cut + 1))
    scale = side_px / cut
    image = cv2.resize(frame.image[top:top + cut, left:left + cut], (side_px, side_px), interpolation=cv2.INTER_LINEAR)
    boxes = (frame.box_px - [left, top, left, top]) * scale
    is_in = (boxes[:, 2:] > 0).all(1) & (boxes[:, :2] < side_px).all(1)
    return image, [(box, int(row)) for box, row in zip(boxes[is_in], frame.sign[is_in], strict=True)]


def world_frames(towns: range, seed: int) -> tuple[Scene, ...]:
    """FRAMES_PER_TOWN rendered pictures of each town in drawn weather, (320, 640, 3), with its signs and lights."""
    renderer = RENDERERS["raster"](WORLD_CAMERA)
    frames = []
    try:
        for town_seed in towns:
            drive = Drive(build_town(town_seed), (seed, town_seed), has_other_signs=town_seed % 2 == 1)
            for view in drive.views(FRAMES_PER_TOWN):
                pose = pose_of(WORLD_CAMERA, view.state.ego)
                frame = renderer.render(build_scene(view.state), pose)
                truth = label(view.state, WORLD_CAMERA, pose, frame, view.station_m)
                lights = np.full(len(truth.light_box_px), LIGHT)
                frames.append(Scene(frame.rgb.copy(), np.concatenate([truth.sign_box_px, truth.light_box_px]),
                                    np.concatenate([truth.sign_class, lights]),
                                    np.ones(len(truth.sign_class) + len(lights), bool)))
    finally:
        renderer.close()
    return tuple(frames)
