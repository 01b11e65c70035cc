"""Letters after DIN 1451: each is a legible form of its own, of even weight, inside its box."""

import itertools

import numpy as np
import pytest

from envs.glyphs import GLYPHS, Type, write
from envs.plate import BLACK, Plate

LETTERS = Type(0.15, 0.11)


def ink(text: str, letters: Type = LETTERS) -> np.ndarray:
    """Where a text in a box of 0.2 to 0.8 is black, bool (128, 128)."""
    plate = Plate(128)
    write(plate, text, (0.2, 0.2, 0.6, 0.6), letters, BLACK)
    return plate.finish().mean(axis=2) < 130


def test_every_digit_is_there():
    assert set("0123456789") < set(GLYPHS)


@pytest.mark.parametrize("letter", GLYPHS)
def test_letter_fills_its_box_and_stays_inside(letter):
    rows, columns = np.nonzero(ink(letter))
    assert 25 <= rows.min() <= 27 and 101 <= rows.max() <= 102, "from the top to the base line"
    assert 25 <= columns.min() <= 34 and columns.max() <= 102


def test_letters_differ():
    seen = {letter: ink(letter) for letter in GLYPHS}
    for a, b in itertools.combinations(GLYPHS, 2):
        assert (seen[a] != seen[b]).mean() > 0.02 or {a, b} == {"0", "O"}, (a, b)


def test_types_differ_in_weight_width_and_gap():
    """The heavier type has more ink; a wider gap lies between two letters."""
    slim, heavy = ink("50", Type(0.12, 0.11)), ink("50", Type(0.18, 0.11))
    assert heavy.sum() > 1.25 * slim.sum()
    empty = [int((~ink("11", Type(0.12, gap)).any(axis=0))[26:102].sum()) for gap in (0.1, 0.2)]
    assert empty[1] > empty[0]
    assert np.ptp(np.nonzero(ink("50", Type(0.12, 0.11, 1.1)))[1]) > np.ptp(np.nonzero(slim)[1]) + 4
