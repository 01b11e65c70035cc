"""Text on pictures for people: DejaVu Sans with smooth edges on uint8 RGB arrays.

OpenCV's stroke fonts are hard to read at small sizes, so letters are drawn by Pillow with the typeface that ships with
matplotlib. A piece of text is drawn once and kept. Cameras never see these letters.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from envs.geometry import Array

Colour = tuple[int, int, int]


@lru_cache(maxsize=32)
def _font(size_px: int, is_bold: bool) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if is_bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size_px)


@lru_cache(maxsize=2048)
def _mask(text: str, size_px: int, is_bold: bool) -> Array:
    """Coverage (h, w) float32 in [0, 1]; every line of a size is equally high, so that baselines agree."""
    font = _font(size_px, is_bold)
    width = max(1, int(np.ceil(font.getlength(text))))
    image = Image.new("L", (width, sum(font.getmetrics())))
    ImageDraw.Draw(image).text((0, 0), text, fill=255, font=font)
    return np.asarray(image, np.float32) / 255


def text_width(text: str, size_px: int, is_bold: bool = False) -> int:
    """Width [px] that `write` will cover."""
    return _mask(text, size_px, is_bold).shape[1]


def write(image: Array, text: str, at_px: tuple[float, float], size_px: int, colour: Colour = (255, 255, 255),
          anchor: tuple[float, float] = (0.0, 0.5), is_bold: bool = False) -> None:
    """Put one line of text on `image` uint8 (H, W, 3) in place, cut at its edges.

    `anchor` is the point of the text's box that comes to lie at `at_px`, from (0, 0) top left to (1, 1) bottom right.
    """
    mask = _mask(text, size_px, is_bold)
    left = round(at_px[0] - anchor[0] * mask.shape[1])
    top = round(at_px[1] - anchor[1] * mask.shape[0])
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + mask.shape[1], image.shape[1]), min(top + mask.shape[0], image.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    cover = mask[y0 - top:y1 - top, x0 - left:x1 - left, None]
    part = image[y0:y1, x0:x1]
    part[:] = (part + cover * (np.array(colour, np.float32) - part)).round().astype(np.uint8)
