"""The faces of the 43 signs of GTSRB (Stallkamp et al. 2012), painted as vectors: frames, figures, numerals.

German look (StVO after the Vienna Convention on Road Signs of 1968): the faces of about 2010, and with `Make.is_new`
those of later sheets. Each painter takes a blank plate and a make; weather and years come over it in `wear.py`. No
posts and no renderer here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from envs import pictograms
from envs.geometry import Array
from envs.glyphs import Type, write
from envs.plate import (
    BLACK,
    BLUE,
    DIAMOND,
    GREY,
    OCTAGON,
    RED,
    TIP_DOWN,
    TIP_UP,
    WHITE,
    YELLOW,
    Colour,
    Plate,
    box,
    circle,
    rounded,
    shrunk,
)


@dataclass(frozen=True)
class Make:
    """Which sheet a face was cut after."""

    numerals: int = 0
    """row of NUMERALS"""
    is_new: bool = False
    """figures of the newer sheets"""
    is_other: bool = False
    """forms that some makers cut: arrows with full heads, a lorry with a bonnet"""
    ring: float = 0.0
    """how much wider a red border is than usual, shares of the plate; may be negative"""
    size: float = 1.0
    """of numerals, times the usual, and so below"""
    stretch: float = 1.0
    """their width for their height"""
    weight: float = 1.0
    """of their strokes"""
    band: float = 1.0
    """width of the band of strokes that cancels"""
    ink: float = 1.0
    """how grey cancelled figures are; 0: black"""

    @property
    def grey(self) -> Colour:
        """What cancelled figures are painted with."""
        red, green, blue = (round(dark + self.ink * (light - dark)) for dark, light in zip(BLACK, GREY, strict=True))
        return red, green, blue


Painter = Callable[[Plate, Make], None]
Figure = Callable[[Plate, bool], None]

# Regular, heavy and wide, slim: makers differ. Weight and gap are shares of the numerals' height (DIN 1451: 1/7).
NUMERALS = (Type(0.152, 0.110), Type(0.170, 0.098, 1.05), Type(0.140, 0.130, 0.94))
_FINE = circle(180)
_STRIPES = 5


def _disc(share: float) -> Array:
    return 0.5 + (_FINE - 0.5) * share


def _prohibition(plate: Plate, make: Make) -> None:
    """White disc, red ring."""
    plate.fill(RED, _disc(0.97))
    plate.fill(WHITE, _disc(0.76 - 2 * make.ring))


def _warning(plate: Plate, make: Make) -> None:
    """White triangle on its base with a red border."""
    plate.fill(RED, rounded(shrunk(TIP_UP, 0.015), 0.03, 6))
    plate.fill(WHITE, rounded(shrunk(TIP_UP, 0.105 + make.ring / 3), 0.02, 6))


def _order(plate: Plate) -> None:
    """Blue disc with a thin white rim."""
    plate.fill(BLUE, _disc(0.965))


def _cancelled(plate: Plate, make: Make) -> None:
    """Five thin black strokes from the lower left to the upper right, inside a thin black ring."""
    width = 0.036 * make.band
    along, aside = np.sqrt(0.5) * np.array([[1.0, -1.0], [1.0, 1.0]])
    for k in range(_STRIPES):
        off = (k - (_STRIPES - 1) / 2) * width
        reach = np.sqrt(0.472 ** 2 - off ** 2)
        plate.ribbon(BLACK, 0.45 * width, 0.5 + off * aside + np.array([[-reach], [reach]]) * along)
    plate.fill(BLACK, _disc(0.97), _disc(0.94))


def _number(plate: Plate, number: str, make: Make, colour: Colour, size: float = 1.0) -> None:
    size *= make.size
    width, height = {2: 0.50, 3: 0.56}[len(number)] * size, 0.42 * size
    letters = NUMERALS[make.numerals]
    if len(number) > 2:  # the narrow type, Engschrift, is lighter
        letters = replace(letters, weight=0.87 * letters.weight, gap=0.9 * letters.gap)
    letters = replace(letters, weight=make.weight * letters.weight, stretch=make.stretch * letters.stretch)
    write(plate, number, (0.5 - width / 2, 0.5 - height / 2, width, height), letters, colour)


def limit(number: str) -> Painter:
    """Zeichen 274: white disc, red ring, black number."""
    def paint(plate: Plate, make: Make) -> None:
        _prohibition(plate, make)
        _number(plate, number, make, BLACK)
    return paint


def end_of_limit(number: str) -> Painter:
    """Zeichen 278: grey number, cancelled."""
    def paint(plate: Plate, make: Make) -> None:
        _number(plate, number, make, make.grey, 1.12)
        _cancelled(plate, make)
    return paint


def warning(figure: Figure) -> Painter:
    """Zeichen 101 to 142 and 301: a figure in a triangle."""
    def paint(plate: Plate, make: Make) -> None:
        _warning(plate, make)
        figure(plate, make.is_new)
    return paint


def order(figure: Figure) -> Painter:
    """Zeichen 209 to 222: a white figure on a blue disc."""
    def paint(plate: Plate, make: Make) -> None:
        _order(plate)
        plate.has_full_heads = make.is_other
        figure(plate, make.is_new)
    return paint


def paint_yield(plate: Plate, make: Make) -> None:
    """White triangle on its tip with a red border (Zeichen 205)."""
    plate.fill(RED, rounded(shrunk(TIP_DOWN, 0.015), 0.03, 6))
    plate.fill(WHITE, rounded(shrunk(TIP_DOWN, 0.105 + make.ring / 3), 0.02, 6))


def paint_stop(plate: Plate, make: Make) -> None:
    """Red octagon, white border, white letters (Zeichen 206)."""
    plate.fill(RED, shrunk(OCTAGON, 0.035))
    write(plate, "STOP", (0.125, 0.335, 0.75, 0.33), Type(0.188, 0.121), WHITE)


def paint_priority(plate: Plate, make: Make) -> None:
    """Yellow diamond in a white one with a thin black edge (Zeichen 306)."""
    plate.fill(BLACK, rounded(shrunk(DIAMOND, 0.018), 0.05, 6))
    plate.fill(WHITE, rounded(shrunk(DIAMOND, 0.033), 0.04, 6))
    plate.fill(YELLOW, rounded(shrunk(DIAMOND, 0.155), 0.015))


def paint_closed(plate: Plate, make: Make) -> None:
    """An empty white disc with a red ring (Zeichen 250)."""
    _prohibition(plate, make)


def paint_no_lorries(plate: Plate, make: Make) -> None:
    """A lorry in a red ring (Zeichen 253)."""
    _prohibition(plate, make)
    pictograms.lorry(plate, make.is_other)


def paint_no_entry(plate: Plate, make: Make) -> None:
    """Red disc with a white bar (Zeichen 267)."""
    plate.fill(RED, _disc(0.97))
    plate.fill(WHITE, box(0.12, 0.415, 0.88, 0.585))


def paint_no_overtaking(plate: Plate, make: Make) -> None:
    """A red car on the left of a black one (Zeichen 276)."""
    _prohibition(plate, make)
    pictograms.car_from_behind(plate, 0.340, 0.595, 0.275, RED)
    pictograms.car_from_behind(plate, 0.660, 0.595, 0.275, BLACK)


def paint_lorries_no_overtaking(plate: Plate, make: Make) -> None:
    """A red lorry on the left of a black car (Zeichen 277)."""
    _prohibition(plate, make)
    pictograms.lorry_from_behind(plate, 0.330, 0.615, 0.255, RED)
    pictograms.car_from_behind(plate, 0.650, 0.615, 0.275, BLACK)


def paint_end_of_no_overtaking(plate: Plate, make: Make) -> None:
    """Both cars grey and cancelled (Zeichen 280)."""
    pictograms.car_from_behind(plate, 0.330, 0.600, 0.270, make.grey)
    pictograms.car_from_behind(plate, 0.670, 0.600, 0.270, make.grey)
    _cancelled(plate, make)


def paint_end_of_lorries_no_overtaking(plate: Plate, make: Make) -> None:
    """Lorry and car grey and cancelled (Zeichen 281)."""
    pictograms.lorry_from_behind(plate, 0.330, 0.620, 0.260, make.grey)
    pictograms.car_from_behind(plate, 0.670, 0.620, 0.270, make.grey)
    _cancelled(plate, make)


def paint_end_of_all(plate: Plate, make: Make) -> None:
    """White disc with five black strokes (Zeichen 282)."""
    _cancelled(plate, make)
