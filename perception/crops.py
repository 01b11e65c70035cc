"""Training crops of the sign namer: painted plates before painted backdrops, as a poor camera sees them.

Endless, seeded and the same in any process: batch number k of a seed is a function of (seed, k) alone. The ranges
follow what is known to carry over to photographs (Lopes da Silva and Fernandes 2022: affine and perspective, noise,
blur, brightness 10 + u^2 * 245), lie around the contrast and sharpness of photographs of signs, and reach beyond them
to the worse: where half of the crops could not be read by anybody, training learned less. All is mixed and blurred as
linear light, which makes thin strokes paler and greys darker than blurred sRGB would. No photograph enters here.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from envs.geometry import Array
from perception.templates import BACKDROP_PX, NO_SIGN, NUM_CLASSES, SIZES_PX, Bank

CROP_PX = 40  # what the namer looks at
NONE_SHARE = 0.1  # of crops that show none of the signs
LEAST_PX, MOST_PX = 14, 64  # width of the picture that the crop is taken from; larger ones would only be shrunk again
_RESIZES = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA, cv2.INTER_NEAREST)


def normalised(picture: Array) -> Array:
    """A picture uint8 (H, W, 3) of any size as the namer takes it: uint8 (CROP_PX, CROP_PX, 3)."""
    height, width = picture.shape[:2]
    if (height, width) == (CROP_PX, CROP_PX):
        return picture
    shrinks = height > CROP_PX and width > CROP_PX
    return cv2.resize(picture, (CROP_PX, CROP_PX), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def batch(bank: Bank, size: int, seed: int, number: int) -> tuple[Array, Array]:
    """Batch `number` of a seed: crops uint8 (size, CROP_PX, CROP_PX, 3) and their classes int64 (size,)."""
    rng = np.random.default_rng([seed, number])
    labels = rng.integers(0, NUM_CLASSES - 1, size)
    labels[rng.random(size) < NONE_SHARE] = NO_SIGN
    return np.stack([draw(bank, int(label), rng) for label in labels]), labels


def draw(bank: Bank, label: int, rng: np.random.Generator) -> Array:
    """One crop uint8 (CROP_PX, CROP_PX, 3) of a class."""
    width = math.exp(rng.uniform(math.log(LEAST_PX), math.log(MOST_PX)))
    scene = _scene(bank, label, width, rng)
    _shade(scene, rng)
    scene = _blurred(scene, rng)
    scene = _exposed(scene, rng)
    picture = _recorded(scene, rng)
    if rng.random() < 0.2:
        picture = _rescaled(picture, rng)
    return normalised(picture)


def _scene(bank: Bank, label: int, width: float, rng: np.random.Generator) -> Array:
    """The plate before its backdrop, linear float32 (h, w, 3), sharp and evenly lit."""
    row, margin, shift, zoom = _subject(bank, label, rng)
    left, top, right, bottom = bank.boxes[max(row, 0)]
    is_wide = rng.random() < 0.15
    aspect = (bottom - top) / (right - left) * math.exp(rng.normal(0, 0.22 if is_wide else 0.07))
    height = width * min(max(aspect, 0.5), 2.0)
    size = max(round(width), 8), max(round(height), 8)
    scene = _behind(bank, size, rng)
    if rng.random() < 0.35:
        _neighbour(scene, bank, rng)
    if rng.random() < 0.5:
        _post(scene, rng)
    if row >= 0:
        extent = np.array(size) / (1 + 2 * margin) * zoom
        centre = np.array(size) / 2 + shift * extent + rng.normal(0, 0.035, 2) * extent
        _put(scene, bank, row, centre, extent, rng)
    if rng.random() < 0.15:
        _occlude(scene, bank, rng)
    return scene


def _subject(bank: Bank, label: int, rng: np.random.Generator) -> tuple[int, float, Array, float]:
    """Row of the bank (-1: nothing), margin as a share of the plate, shift and zoom of the plate in the crop."""
    margin, kind = rng.uniform(-0.06, 0.30), rng.random()
    still = np.zeros(2)
    if label != NO_SIGN:
        return int(rng.choice(bank.rows_of[label])), margin, still, 1.0
    if kind < 0.35:
        return -1, margin, still, 1.0
    if kind < 0.75:
        return int(rng.choice(bank.rows_of[NO_SIGN])), margin, still, 1.0
    row = int(rng.integers(len(bank.boxes)))
    if kind < 0.9:  # most of the plate lies outside
        angle = rng.uniform(0, 2 * math.pi)
        return row, 0.1, rng.uniform(0.75, 1.0) * np.array([math.cos(angle), math.sin(angle)]), 1.0
    if kind < 0.95:  # a detail
        return row, 0.0, rng.uniform(-0.3, 0.3, 2), rng.uniform(2.5, 4.0)
    return row, 0.0, rng.uniform(-1.2, 1.2, 2), rng.uniform(0.15, 0.3)  # far away


def _behind(bank: Bank, size: tuple[int, int], rng: np.random.Generator) -> Array:
    """A piece of a backdrop at the size, with a light of its own."""
    picture = bank.backdrops[rng.integers(len(bank.backdrops))]
    side = int(rng.integers(24, BACKDROP_PX + 1))
    x, y = rng.integers(0, BACKDROP_PX - side + 1, 2)
    piece = picture[y:y + side, x:x + side]
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    area = cv2.INTER_AREA if side > size[0] else cv2.INTER_LINEAR
    scene = cv2.resize(piece, size, interpolation=area).astype(np.float32)
    gain = math.exp(rng.normal(-0.1, 0.7)) * np.exp(rng.normal(0, 0.12, 3))
    scene *= gain.astype(np.float32)
    return scene


def _put(scene: Array, bank: Bank, row: int, centre: Array, extent: Array, rng: np.random.Generator) -> None:
    """Paint a plate over the scene, in place: `extent` (2,) is the size of its box [px], seen a little from aside."""
    level = int(np.clip(math.floor(math.log2(SIZES_PX[0] / max(float(extent.max()) * 1.15, 1.0))), 0, 2))
    picture, side = bank.pictures[level][row], SIZES_PX[level]
    left, top, right, bottom = bank.boxes[row]
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    local = (corners - [(left + right) / 2, (top + bottom) / 2]) / [right - left, bottom - top]
    turn = math.radians(rng.normal(0, 11 if rng.random() < 0.2 else 4))
    cos, sin, shear = math.cos(turn), math.sin(turn), rng.normal(0, 0.04)
    placed = local @ np.array([[cos, sin], [-sin + shear, cos]]) * extent + centre
    placed += rng.normal(0, 0.025, (4, 2)) * extent
    homography = cv2.getPerspectiveTransform(corners * np.float32(side), placed.astype(np.float32))
    seen = cv2.warpPerspective(picture, homography, (scene.shape[1], scene.shape[0]), flags=cv2.INTER_LINEAR)
    cover = seen[..., 3:].astype(np.float32) * np.float32(1 / 255)
    scene += cover * (_tinted(seen[..., :3], rng) - scene)


def _tinted(face: Array, rng: np.random.Generator) -> Array:
    """The face's colours, float32, as inks and film age: red towards orange or brown, blue towards grey or cyan."""
    mix = np.eye(3) + rng.normal(0, 0.05, (3, 3))
    saturation = rng.uniform(0.35, 1.25)
    mix = mix @ (saturation * np.eye(3) + (1 - saturation) / 3)
    shown = face.reshape(-1, 3).astype(np.float32) @ mix.astype(np.float32)
    lift = rng.uniform(0, 25) if rng.random() < 0.3 else 0.0  # dark inks bleach, or mirror the sky
    light = rng.uniform(0.03, 0.25) if rng.random() < 0.13 else 1.0  # against the light
    shown = shown * np.float32(light * (1 - lift / 255)) + np.float32(light * lift)
    return shown.reshape(face.shape)


def _neighbour(scene: Array, bank: Bank, rng: np.random.Generator) -> None:
    """Another plate that the crop has cut into."""
    size = np.array([scene.shape[1], scene.shape[0]])
    extent = size * rng.uniform(0.6, 1.0)
    side = rng.integers(4)  # below and above are likelier
    way = np.array([[0, 1], [0, -1], [0, 1], [1 if rng.random() < 0.5 else -1, 0]][side])
    centre = size / 2 + way * (size / 2 + extent * rng.uniform(0.3, 0.5)) + rng.normal(0, 0.05, 2) * size
    _put(scene, bank, int(rng.integers(len(bank.boxes))), centre, extent, rng)


def _post(scene: Array, rng: np.random.Generator) -> None:
    height, width = scene.shape[:2]
    x, half = width * rng.uniform(0.4, 0.6), width * rng.uniform(0.02, 0.07)
    tone = 180 * rng.random() ** 2
    top = 0 if rng.random() < 0.3 else height // 2
    scene[top:, max(int(x - half), 0):max(int(x + half + 1), 1)] = tone


def _occlude(scene: Array, bank: Bank, rng: np.random.Generator) -> None:
    """Leaves, a branch or the edge of something stands before the plate, in place; up to two fifths of it."""
    height, width = scene.shape[:2]
    front = _behind(bank, (width, height), rng)
    if rng.random() < 0.6:
        grain = front.sum(2)
        hides = grain > np.quantile(grain, rng.uniform(0.7, 0.95))
    else:
        angle, share = rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 0.42)
        y, x = np.mgrid[:height, :width]
        hides = (x / width - 0.5) * math.cos(angle) + (y / height - 0.5) * math.sin(angle) > 0.5 - share
    scene[hides] = front[hides]


def _shade(scene: Array, rng: np.random.Generator) -> None:
    """Shadows with an edge, dappled light, glare and haze, in place."""
    height, width = scene.shape[:2]
    kind = rng.random()
    if kind < 0.15:
        angle, off, soft = rng.uniform(0, 2 * math.pi), rng.uniform(-0.3, 0.3), rng.uniform(0.02, 0.2)
        y, x = np.mgrid[:height, :width].astype(np.float32)
        across = (x / width - 0.5) * math.cos(angle) + (y / height - 0.5) * math.sin(angle) - off
        dark = np.clip(across / soft + 0.5, 0, 1) * rng.uniform(0.3, 0.8)
        scene *= (1 - dark)[..., None].astype(np.float32)
    elif kind < 0.3:
        cells = int(rng.integers(2, 7))
        light = cv2.resize(rng.random((cells, cells), np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        contrast = rng.uniform(1.0, 5.0)
        dark = np.clip((light - 0.5) * contrast + 0.5, 0, 1) * rng.uniform(0.2, 0.75)
        scene *= (1 - dark)[..., None].astype(np.float32)
    if rng.random() < 0.12:
        x0, y0, reach = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.15, 0.6) * width
        y, x = np.mgrid[:height, :width].astype(np.float32)
        glow = np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * reach ** 2)) * rng.uniform(60, 255)
        scene += glow[..., None].astype(np.float32)


def _blurred(scene: Array, rng: np.random.Generator) -> Array:
    """Out of focus, moved, or both."""
    width = scene.shape[1]
    if rng.random() < 0.55:
        sigma = 0.3 + rng.random() ** 3 * 0.045 * width
        scene = cv2.GaussianBlur(scene, (0, 0), sigma)
    if rng.random() < 0.3:
        length = rng.random() ** 2 * 0.22 * width
        scene = cv2.filter2D(scene, -1, _streak(length, rng.uniform(0, math.pi)), borderType=cv2.BORDER_REPLICATE)
    return scene


def _streak(length_px: float, angle_rad: float) -> Array:
    """A motion-blur kernel that sums to one."""
    half = math.ceil(length_px / 2)
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    dx, dy = math.cos(angle_rad) * length_px / 2, math.sin(angle_rad) * length_px / 2
    first, last = [(round((half + sign * dx) * 16), round((half + sign * dy) * 16)) for sign in (-1, 1)]
    cv2.line(kernel, first, last, 1.0, 1, cv2.LINE_8, 4)
    return kernel / kernel.sum()


def _exposed(scene: Array, rng: np.random.Generator) -> Array:
    """Colour of the light, saturation, exposure, tone curve, contrast: sensor values, 0 to 255 and not clipped."""
    cast = np.exp(rng.normal(0, 0.4 if rng.random() < 0.2 else 0.12, 3))
    saturation = rng.uniform(0.0, 1.3) if rng.random() < 0.4 else 1.0
    mix = (saturation * np.eye(3) + (1 - saturation) / 3) * cast / cast.mean() / 255
    shown = np.clip((scene.reshape(-1, 3) @ mix.astype(np.float32)).reshape(scene.shape), 0, None)
    if rng.random() < 0.2:
        shown *= rng.uniform(1.0, 5.0)  # burnt out
    shown = np.minimum(shown, 1.0) ** np.float32(1 / rng.uniform(1.0, 2.4))  # raw values, or as a display wants them
    white = 12 + rng.random() ** 1.5 * 243 if rng.random() < 0.7 else 255
    black = rng.random() ** 1.5 * 0.6 * white if rng.random() < 0.2 else 0.0
    return shown * np.float32(white - black) + np.float32(black)


def _recorded(scene: Array, rng: np.random.Generator) -> Array:
    """uint8 (h, w, 3) from a sensor: noise, the mosaic of colour filters, sharpening (of its seams, too), JPEG."""
    height, width = scene.shape[:2]
    if rng.random() < 0.6:
        sigma = math.exp(rng.uniform(math.log(0.5), math.log(12.0)))
        sigma *= 0.3 + 0.7 * min(float(scene.mean()) / 100, 1.0)
        scene = scene + sigma * rng.standard_normal((height, width, 3), np.float32)
    picture = cv2.convertScaleAbs(np.clip(scene, 0, 255))
    if rng.random() < 0.45:
        picture = _mosaic(picture)
    if rng.random() < 0.4:
        soft = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.6, 1.5))
        picture = cv2.addWeighted(picture, 1 + (k := rng.uniform(0.3, 2.0)), soft, -k, 0)
    if rng.random() < 0.12:
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))])
        picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return picture


def _mosaic(picture: Array) -> Array:
    """Seen through a Bayer pattern (each pixel one colour) and interpolated again."""
    raw = picture[..., 1].copy()
    raw[::2, ::2], raw[1::2, 1::2] = picture[::2, ::2, 0], picture[1::2, 1::2, 2]
    return cv2.cvtColor(raw, cv2.COLOR_BayerRGGB2RGB)


def _rescaled(picture: Array, rng: np.random.Generator) -> Array:
    """Shrunk and enlarged again by somebody's programs."""
    height, width = picture.shape[:2]
    share = rng.uniform(0.5, 1.6)
    size = max(round(width * share), 8), max(round(height * share), 8)
    there, back = (_RESIZES[k] for k in rng.integers(0, len(_RESIZES), 2))
    return cv2.resize(cv2.resize(picture, size, interpolation=there), (width, height), interpolation=back)
