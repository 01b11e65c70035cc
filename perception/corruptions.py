"""What can befall a picture: the common corruptions of ImageNet-C, and the faults of a camera.

CORRUPTIONS has the 15 kinds of Hendrycks and Dietterich ("Benchmarking Neural Network Robustness to Common Corruptions
and Perturbations", ICLR 2019, section 4 and appendix B) and their 4 spare ones, each with its 5 severities. The paper's
numbers are for pictures of 224 x 224 px: every length in pixels is taken times (shorter side / 224), so at 320 x 160
by 0.71, and covers the same share of the view. Where the paper pastes photographs of frost, frost grows here from
noise; glass blur reads displaced pixels where the paper swaps them. FAULTS are done to a sequence of frames.

Same frames, severity and generator: same bytes. Labels stay as they were: elastic_transform moves what is in the
picture, and is meant to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from envs.config import require
from envs.geometry import Array

REFERENCE_PX = 224.0  # side of the paper's pictures
SEVERITIES = (1, 2, 3, 4, 5)
Row = tuple[float, ...]


@dataclass(frozen=True)
class Corruption:
    """One kind: `apply(picture, numbers, scale, rng)` on float32 (H, W, 3) in [0, 1]; `numbers` has 5 severities.

    `scale` is the shorter side over 224.
    """

    group: str
    numbers: tuple[Row, ...]
    apply: Callable[[Array, Row, float, np.random.Generator], Array]


def corrupt(name: str, frames: Array, severity: int, rng: np.random.Generator) -> Array:
    """Frames uint8 (N, H, W, 3) corrupted: as many, each in its own way; severity 0 changes nothing.

    Raises ConfigError for a name that is no row of CORRUPTIONS and for a severity that is not 0 to 5.
    """
    require(name in CORRUPTIONS, f"corruption '{name}' is unknown; the legal ones are {', '.join(CORRUPTIONS)}")
    require(severity in (0, *SEVERITIES), f"severity is {severity}; give 0 to {SEVERITIES[-1]}")
    if severity == 0:
        return frames.copy()
    row = CORRUPTIONS[name]
    scale = min(frames.shape[1:3]) / REFERENCE_PX
    out = np.empty_like(frames)
    for frame, into in zip(frames, out, strict=True):
        picture = row.apply(frame.astype(np.float32) / 255.0, row.numbers[severity - 1], scale, rng)
        into[...] = np.rint(np.clip(picture, 0.0, 1.0) * 255.0)
    return out


def _gaussian_noise(picture: Array, numbers: Row, scale: float, rng: np.random.Generator) -> Array:
    return picture + rng.normal(0.0, numbers[0], picture.shape)


def _shot_noise(picture: Array, numbers: Row, scale: float, rng: np.random.Generator) -> Array:
    """Photons: Poisson with this many at full white."""
    return rng.poisson(picture * numbers[0]) / numbers[0]


def _impulse_noise(picture: Array, numbers: Row, scale: float, rng: np.random.Generator) -> Array:
    """A share of all values is black or white."""
    chance = rng.random(picture.shape)
    return np.where(chance < numbers[0], (chance < numbers[0] / 2).astype(picture.dtype), picture)


def _speckle_noise(picture: Array, numbers: Row, scale: float, rng: np.random.Generator) -> Array:
    return picture + picture * rng.normal(0.0, numbers[0], picture.shape)


def _gaussian_blur(picture: Array, numbers: Row, scale: float, rng: np.random.Generator) -> Array:
    return _smooth(picture, numbers[0] * scale)


def _smooth(picture: Array, sigma: float) -> Array:
    """Gaussian of any width [px]; wide ones on a coarser grid."""
    step = int(sigma / 8.0)
    if step < 2:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), max(sigma, 1e-3), borderType=cv2.BORDER_REFLECT))
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (max(width // step, 2), max(height // step, 2)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / step, borderType=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def _defocus_blur(picture: Array, numbers: Row, scale: float, rng: np.random.Generator) -> Array:
    """A disc of this radius, softened at its rim by a Gaussian."""
    radius, rim = numbers[0] * scale, numbers[1] * scale
    reach = math.ceil(radius + 2)
    down, right = np.mgrid[-reach:reach + 1, -reach:reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(right, down), 0.0, 1.0).astype(np.float32)
    kernel = _smooth(disc, rim)
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT))


def _glass_blur(picture: Array, numbers: Row, scale: float, rng: np.random.Generator) -> Array:
    """Seen through frosted glass: smoothed, every other pixel read from up to `reach` away, some times, smoothed."""
    sigma, reach, times = numbers[0] * scale, numbers[1] * scale, int(numbers[2])
    height, width = picture.shape[:2]
    picture = _smooth(picture, sigma)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    for _ in range(times):
        moves = rng.uniform(-reach, reach, (2, height, width)) * (rng.random((height, width)) < 0.5)
        picture = cv2.remap(picture, columns + moves[0].astype(np.float32), rows + moves[1].astype(np.float32),
                            cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return _smooth(picture, sigma)


def _motion_blur(picture: Array, numbers: Row, scale: float, rng: np.random.Generator) -> Array:
    return _streaked(picture, numbers[0] * scale, numbers[1] * scale, rng.uniform(-45.0, 45.0))


def _streaked(picture: Array, radius: float, sigma: float, angle_deg: float) -> Array:
    """Drawn out to one side: half a Gaussian of `sigma`, 2 `radius` + 1 long, along an angle."""
    reach = math.ceil(2 * radius)
    along = np.arange(0.0, 2 * radius + 1, 0.25)
    weight = np.exp(-along**2 / (2 * sigma**2))
    x, y = along * math.cos(math.radians(angle_deg)) + reach + 1, along * math.sin(math.radians(angle_deg)) + reach + 1
    kernel = np.zeros((2 * reach + 3, 2 * reach + 3), np.float32)
    for dx in (0, 1):
        for dy in (0, 1):
            column, row = np.floor(x).astype(int) + dx, np.floor(y).astype(int) + dy
            np.add.at(kernel, (row, column), weight * (1 - np.abs(x - column)) * (1 - np.abs(y - row)))
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT))


def _zoom_blur(picture: Array, numbers: Row, scale: float, rng: np.random.Generator) -> Array:
    """The mean of the picture and of enlargements from 1 up to (not including) numbers[0] in steps of numbers[1]."""
    factors = np.arange(1.0, numbers[0] - 1e-9, numbers[1])
    return (picture + sum(_enlarged(picture, factor) for factor in factors)) / (len(factors) + 1)


def _enlarged(picture: Array, factor: float) -> Array:
    """The middle of a picture or layer, `factor` times as large, in the same size."""
    height, width = picture.shape[:2]
    move = np.array([[factor, 0, (1 - factor) * (width - 1) / 2], [0, factor, (1 - factor) * (height - 1) / 2]])
    return np.asarray(cv2.warpAffine(picture, move, (width, height), flags=cv2.INTER_LINEAR,
                                     borderMode=cv2.BORDER_REFLECT))


def _snow(picture: Array, numbers: Row, scale: float, rng: np.random.Generator) -> Array:
    """Flakes: noise of a mean and spread, enlarged, what is over a threshold, drawn out; behind it a paler picture."""
    mean, spread, size, threshold, radius, sigma, keep = numbers
    layer = _enlarged(rng.normal(mean, spread, picture.shape[:2]).astype(np.float32), max(size * scale, 1.0))
    layer = np.where(layer < threshold, np.float32(0), np.clip(layer, 0.0, 1.0))
    layer = _streaked(layer, radius * scale, sigma * scale, rng.uniform(-135.0, -45.0))[..., None]
    pale = np.maximum(picture, _grey(picture) * 1.5 + 0.5)
    return keep * picture + (1 - keep) * pale + layer + layer[::-1, ::-1]


def _grey(picture: Array) -> Array:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))[..., None]


def _frost(picture: Array, numbers: Row, scale: float, rng: np.random.Generator) -> Array:
    """Picture and frost, each with its share."""
    height, width = picture.shape[:2]
    return numbers[0] * picture + numbers[1] * _ice(height, width, scale, rng)


def _ice(height: int, width: int, scale: float, rng: np.random.Generator) -> Array:
    """Ice on glass (H, W, 3) in [0, 1]: bluish needles where noise of three sizes crosses zero, denser to the rim."""
    needles = np.zeros((height, width), np.float32)
    for size, share in ((18.0, 0.5), (7.0, 0.3), (3.0, 0.2)):
        angle = rng.uniform(-90.0, 90.0)
        noise = _streaked(rng.normal(0.0, 1.0, (height, width)).astype(np.float32), size * scale, size * scale, angle)
        noise = _smooth(noise, 0.25 * size * scale)
        needles += np.float32(share) * np.exp(-np.abs(noise / noise.std()) * 2.2)
    x, y = np.linspace(-1, 1, width)[None], np.linspace(-1, 1, height)[:, None]
    rim = np.clip(0.35 + 0.65 * np.maximum(np.abs(x - rng.uniform(-0.4, 0.4)), np.abs(y - rng.uniform(-0.4, 0.4))),
                  0.0, 1.0)
    ice = np.clip((0.25 + 1.3 * needles) * rim, 0.0, 1.0)[..., None]
    return np.asarray(ice * np.array([0.86, 0.93, 1.0]), np.float32)


def _fog(picture: Array, numbers: Row, scale: float, rng: np.random.Generator) -> Array:
    """Plasma added, then brought back to the picture's brightness; numbers[1]: how fast small clouds fade."""
    height, width = picture.shape[:2]
    brightest = float(picture.max())
    cloud = _plasma(height, width, numbers[1], rng)[..., None]
    return (picture + numbers[0] * cloud) * brightest / (brightest + numbers[0])


def _plasma(height: int, width: int, decay: float, rng: np.random.Generator) -> Array:
    """A fractal by midpoint displacement (diamond and square, Fournier et al. 1982) in [0, 1], float32 (H, W)."""
    side = 1 << math.ceil(math.log2(max(height, width)))
    field, step, spread = np.zeros((side, side)), side, 1.0
    while step >= 2:
        half = step // 2
        corners = field[::step, ::step]
        field[half::step, half::step] = _midway(corners, np.roll(corners, -1, 0), np.roll(corners, -1, 1),
                                                np.roll(corners, (-1, -1), (0, 1)), spread, rng)
        middles = field[half::step, half::step]
        field[::step, half::step] = _midway(corners, np.roll(corners, -1, 1), middles, np.roll(middles, 1, 0),
                                            spread, rng)
        field[half::step, ::step] = _midway(corners, np.roll(corners, -1, 0), middles, np.roll(middles, 1, 1),
                                            spread, rng)
        step, spread = half, spread / decay
    field = (field - field.min()) / (field.max() - field.min())
    return field[:height, :width].astype(np.float32)


def _midway(a: Array, b: Array, c: Array, d: Array, spread: float, rng: np.random.Generator) -> Array:
    return np.asarray((a + b + c + d) / 4 + rng.uniform(-spread, spread, a.shape))


def _brightness(picture: Array, numbers: Row, scale: float, rng: np.random.Generator) -> Array:
    """Added to the value of HSV."""
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    hsv[..., 2] = np.clip(hsv[..., 2] + numbers[0], 0.0, 1.0)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def _saturate(picture: Array, numbers: Row, scale: float, rng: np.random.Generator) -> Array:
    """The saturation of HSV times a factor, plus a share."""
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.clip(hsv[..., 1] * numbers[0] + numbers[1], 0.0, 1.0)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def _contrast(picture: Array, numbers: Row, scale: float, rng: np.random.Generator) -> Array:
    mean = picture.mean((0, 1), keepdims=True)
    return (picture - mean) * numbers[0] + mean


def _elastic_transform(picture: Array, numbers: Row, scale: float, rng: np.random.Generator) -> Array:
    """A random affine map (corners of the middle third moved by up to numbers[2]), then smooth random displacements."""
    height, width = picture.shape[:2]
    strength, sigma, most = (number * scale for number in numbers)
    middle, side = np.array([width // 2, height // 2], np.float32), min(height, width) // 3
    corners = middle + np.array([[side, side], [side, -side], [-side, -side]], np.float32)
    moved = corners + rng.uniform(-most, most, corners.shape).astype(np.float32)
    picture = cv2.warpAffine(picture, cv2.getAffineTransform(corners, moved), (width, height),
                             borderMode=cv2.BORDER_REFLECT_101)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    right, down = (_smooth(rng.uniform(-1, 1, (height, width)).astype(np.float32), sigma) * strength for _ in range(2))
    return np.asarray(cv2.remap(picture, columns + right, rows + down, cv2.INTER_LINEAR,
                                borderMode=cv2.BORDER_REFLECT_101))


def _pixelate(picture: Array, numbers: Row, scale: float, rng: np.random.Generator) -> Array:
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (int(width * numbers[0]), int(height * numbers[0])), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST))


def _jpeg_compression(picture: Array, numbers: Row, scale: float, rng: np.random.Generator) -> Array:
    pixels = np.rint(picture[..., ::-1] * 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(numbers[0])])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB))
    return decoded.astype(np.float32) / 255


def _spatter(picture: Array, numbers: Row, scale: float, rng: np.random.Generator) -> Array:
    """Water (severity 1 to 3) or mud on the lens: smoothed noise over a threshold."""
    mean, spread, sigma, threshold, strength, is_mud = numbers
    noise = rng.normal(mean, spread, picture.shape[:2]).astype(np.float32)
    # Smoothing at a smaller scale leaves more contrast, and more of it over the threshold: brought back to the paper's.
    liquid = mean + (_smooth(noise, sigma * scale) - mean) * min(scale, 1.0)
    if is_mud:
        mask = _smooth((liquid > threshold).astype(np.float32), strength * scale)
        mask = np.where(mask < 0.8, 0.0, mask)[..., None]
        return picture * (1 - mask) + np.array([63, 42, 20]) / 255.0 * mask
    drops = np.where(liquid < threshold, 0.0, liquid).astype(np.float32)
    if not drops.any():
        return picture
    edges = cv2.Canny(np.rint(np.clip(drops, 0, 1) * 255).astype(np.uint8), 50, 150)
    near = np.minimum(cv2.distanceTransform(255 - edges, cv2.DIST_L2, 5), 20 * scale)  # lit along their rims
    mask = drops * (1 - cv2.blur(near, (3, 3)) / (20 * scale))
    mask = (strength * mask / max(float(mask.max()), 1e-6))[..., None]
    return picture + mask * np.array([175, 238, 238]) / 255.0


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": Corruption("noise", ((0.08,), (0.12,), (0.18,), (0.26,), (0.38,)), _gaussian_noise),
    "shot_noise": Corruption("noise", ((60,), (25,), (12,), (5,), (3,)), _shot_noise),
    "impulse_noise": Corruption("noise", ((0.03,), (0.06,), (0.09,), (0.17,), (0.27,)), _impulse_noise),
    "defocus_blur": Corruption("blur", ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)), _defocus_blur),
    "glass_blur": Corruption("blur", ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)), _glass_blur),
    "motion_blur": Corruption("blur", ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)), _motion_blur),
    "zoom_blur": Corruption("blur", ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
                            _zoom_blur),
    "snow": Corruption("weather", (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8), (0.2, 0.3, 2, 0.5, 12, 4, 0.7), (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65), (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55)), _snow),
    "frost": Corruption("weather", ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)), _frost),
    "fog": Corruption("weather", ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)), _fog),
    "brightness": Corruption("weather", ((0.1,), (0.2,), (0.3,), (0.4,), (0.5,)), _brightness),
    "contrast": Corruption("digital", ((0.4,), (0.3,), (0.2,), (0.1,), (0.05,)), _contrast),
    "elastic_transform": Corruption("digital", (  # the paper takes shares of 244 (not 224)
        (488, 170.8, 24.4), (488, 19.52, 48.8), (12.2, 2.44, 4.88), (17.08, 2.44, 4.88), (29.28, 2.44, 4.88)),
        _elastic_transform),
    "pixelate": Corruption("digital", ((0.6,), (0.5,), (0.4,), (0.3,), (0.25,)), _pixelate),
    "jpeg_compression": Corruption("digital", ((25,), (18,), (15,), (10,), (7,)), _jpeg_compression),
    "speckle_noise": Corruption("spare", ((0.15,), (0.2,), (0.35,), (0.45,), (0.6,)), _speckle_noise),
    "gaussian_blur": Corruption("spare", ((1,), (2,), (3,), (4,), (6,)), _gaussian_blur),
    "spatter": Corruption("spare", (
        (0.65, 0.3, 4, 0.69, 0.6, 0), (0.65, 0.3, 3, 0.68, 0.6, 0), (0.65, 0.3, 2, 0.68, 0.5, 0),
        (0.65, 0.3, 1, 0.65, 1.5, 1), (0.67, 0.4, 1, 0.65, 1.5, 1)), _spatter),
    "saturate": Corruption("spare", ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)), _saturate),
}
"""By name, in the paper's order; the rows of the group "spare" are its extra ones."""

DELAY_FRAMES = 5  # 0.5 s at 10 Hz
OVEREXPOSED_EV = 3.0  # stops


def _frozen(frames: Array) -> Array:
    return np.repeat(frames[:1], len(frames), axis=0)


def _delayed(frames: Array) -> Array:
    return frames[np.maximum(np.arange(len(frames)) - DELAY_FRAMES, 0)]


def _half_covered(frames: Array) -> Array:
    """Something dark and unsharp lies over the left half."""
    out = frames.copy()
    out[:, :, :frames.shape[2] // 2] = 12
    return out


def _overexposed(frames: Array) -> Array:
    return np.minimum(frames.astype(np.uint16) * int(2**OVEREXPOSED_EV), 255).astype(np.uint8)


FAULTS: dict[str, Callable[[Array], Array]] = {
    "black": np.zeros_like, "frozen": _frozen, "delayed": _delayed, "half_covered": _half_covered,
    "overexposed": _overexposed,
}
"""What may go wrong with a camera, done to a sequence uint8 (T, H, W, 3) from its first frame on."""


def break_camera(name: str, frames: Array) -> Array:
    """A sequence of frames with a fault; raises ConfigError for a name that is no row of FAULTS."""
    require(name in FAULTS, f"fault '{name}' is unknown; the legal ones are {', '.join(FAULTS)}")
    return np.asarray(FAULTS[name](frames))


def names(with_spare: bool) -> Sequence[str]:
    """The 15 kinds, or all 19."""
    return [name for name, row in CORRUPTIONS.items() if with_spare or row.group != "spare"]
