"""Letters and numerals of traffic signs: forms after DIN 1451, as pen strokes of even weight. Vectors, no font file."""

from __future__ import annotations

from dataclasses import dataclass

from envs.geometry import Array
from envs.plate import Colour, Plate, arc, path

Stroke = Array  # (N, 2) centre line of a pen stroke in a unit box, x right, y down
_RING = path(arc(0.5, 0.3, 0.5, 0.3, 180, 360), arc(0.5, 0.7, 0.5, 0.3, 0, 180), arc(0.5, 0.3, 0.5, 0.3, 180, 186, 3))
_SIX = (arc(0.5, 0.68, 0.5, 0.32, 0, 363), path((0.76, -0.1), (0.20, 0.36), arc(0.5, 0.68, 0.5, 0.32, 222, 180, 9)))
# Strokes in a box of height 1, cut off straight where they leave it.
GLYPHS: dict[str, tuple[Stroke, ...]] = {
    "0": (_RING,),
    "1": (path((0.86, -0.1), (0.86, 1.1)), path((1.0, -0.06), (-0.1, 0.23))),
    "2": (path(arc(0.49, 0.27, 0.48, 0.27, 188, 396), (0.02, 0.99)), path((-0.2, 1.0), (1.2, 1.0))),
    "3": (path(arc(0.48, 0.235, 0.47, 0.235, 190, 450), (0.34, 0.47)), arc(0.47, 0.735, 0.53, 0.265, -90, 168)),
    "4": (path((0.56, -0.1), (0.0, 0.74), (1.2, 0.74)), path((0.74, 0.42), (0.74, 1.1))),
    "5": (path((-0.09, 0.0), (0.96, 0.0)), path((0.12, -0.05), (0.07, 0.5)), arc(0.48, 0.68, 0.52, 0.32, 205, 520)),
    "6": _SIX,
    "7": (path((-0.1, 0.0), (1.1, 0.0)), path((1.02, -0.1), (0.93, 0.16), (0.3, 1.1))),
    "8": (arc(0.5, 0.235, 0.44, 0.235, 0, 363), arc(0.5, 0.735, 0.5, 0.265, 0, 363)),
    "9": tuple(1.0 - stroke for stroke in _SIX),
    "S": (path(arc(0.5, 0.245, 0.48, 0.245, -14, -180), arc(0.5, 0.245, 0.48, 0.245, 180, 110),
               arc(0.5, 0.745, 0.5, 0.255, -70, 0), arc(0.5, 0.745, 0.5, 0.255, 0, 166)),),
    "T": (path((-0.2, 0.0), (1.2, 0.0)), path((0.5, 0.0), (0.5, 1.2))),
    "O": (_RING,),
    "P": (path((0.0, -0.2), (0.0, 1.2)), path((0.0, 0.0), (0.5, 0.0), arc(0.5, 0.27, 0.5, 0.27, -90, 90),
                                              (0.5, 0.54), (0.0, 0.54))),
}
NARROW = {"1": 0.64}  # share of the others' width


@dataclass(frozen=True)
class Type:
    """How letters are cut: shares of a row's height."""

    weight: float
    gap: float
    stretch: float = 1.0  # of the row's width


def write(plate: Plate, text: str, box: tuple[float, float, float, float], letters: Type, colour: Colour) -> None:
    """Letters in a row, filling `box` = (left, top, width, height) up to the type's stretch about its middle."""
    left, top, width, height = box
    left, width = left + width * (1 - letters.stretch) / 2, width * letters.stretch
    weight, gap = letters.weight * height, letters.gap * height
    shares = [NARROW.get(letter, 1.0) for letter in text]
    unit = (width - gap * (len(text) - 1)) / sum(shares)
    for letter, share in zip(text, shares, strict=True):
        across = unit * share
        for stroke in GLYPHS[letter]:
            line = stroke * [across - weight, height - weight] + [left + weight / 2, top + weight / 2]
            plate.ribbon(colour, weight, line, (left, top, left + across, top + height))
        left += across + gap
