"""The 43 faces: the right colours in the right frame, sharp at every size, each different from all others."""

import numpy as np
import pytest

from envs.faces import NUMERALS, Make
from envs.plate import Plate
from envs.signs import SIGNS, face

ROWS = pytest.mark.parametrize("row", range(len(SIGNS)), ids=[sign.name for sign in SIGNS])
RED_RING, CANCELLED, BLUE_DISC = {*range(6), 7, 8, 9, 10, 15, 16}, {6, 32, 41, 42}, set(range(33, 41))


def painted(row: int, make: Make, size_px: int = 64) -> np.ndarray:
    plate = Plate(size_px)
    SIGNS[row].painter(plate, make)
    return plate.finish().astype(int)


def shares(picture: np.ndarray) -> dict[str, float]:
    """How much of a picture is of each colour."""
    red, green, blue = picture.astype(int).reshape(-1, 3).T
    return {"red": ((red > green + 60) & (red > blue + 60)).mean(), "blue": ((blue > red + 60) & (blue > green)).mean(),
            "yellow": ((red > 180) & (green > 130) & (blue < 90)).mean(),
            "white": ((red > 200) & (green > 200) & (blue > 200)).mean(),
            "black": ((red < 80) & (green < 80) & (blue < 80)).mean()}


@ROWS
def test_colours_of_the_sign(row):
    share = shares(face(row))
    if row in RED_RING or row in (11, 13, *range(18, 32)):
        assert 0.12 < share["red"] < 0.5 and share["white"] > 0.3 and share["blue"] < 0.01
    elif row in CANCELLED:
        assert share["red"] == share["blue"] == 0 and share["black"] > 0.04
    elif row in BLUE_DISC:
        assert share["blue"] > 0.4 and share["white"] > 0.25 and share["red"] == 0
    else:
        assert {12: share["yellow"] > 0.1, 14: share["red"] > 0.5, 17: share["red"] > 0.5}[row]


@ROWS
@pytest.mark.parametrize("size_px", [8, 33, 128])
def test_face_is_a_read_only_picture(row, size_px):
    picture = face(row, size_px)
    assert picture.shape == (size_px, size_px, 3) and picture.dtype == np.uint8
    assert not picture.flags.writeable


def test_faces_are_sharp_at_any_size():
    """From 128 to 512 px only edges change, by less than a pixel's width: shrunk again, the pictures agree."""
    for row in (2, 14, 21, 25, 28, 36):
        large = face(row, 512).reshape(128, 4, 128, 4, 3).mean(axis=(1, 3))
        assert np.abs(large - face(row, 128)).mean() < 3.0, SIGNS[row].name


def test_no_size_of_face_out_of_range():
    for size_px in (0, 7, 1025):
        with pytest.raises(ValueError, match=f"face size is {size_px}"):
            face(0, size_px)


def test_all_faces_differ():
    pictures = [face(row, 64).astype(int) for row in range(len(SIGNS))]
    for row, first in enumerate(pictures):
        for other, second in enumerate(pictures[:row]):
            assert np.abs(first - second).mean() > 2.5, (SIGNS[row].name, SIGNS[other].name)


def test_makes_vary_numerals_and_figures_only():
    """Numbers come in three cuts, some figures in two; frames stay."""
    for row in (1, 6, 7):
        cuts = [painted(row, Make(numerals=k)) for k in range(len(NUMERALS))]
        assert len(cuts) == 3
        for k in range(3):
            assert np.abs(cuts[k] - cuts[k - 1]).mean() > 0.5
            assert (cuts[k][:8] == cuts[0][:8]).all(), "the rim"
    for row in (27, 28, 29, 36, 40):
        assert np.abs(painted(row, Make()) - painted(row, Make(is_new=True))).mean() > 0.3
    for row in (13, 14, 12):
        assert (painted(row, Make()) == painted(row, Make(2, True))).all()


@pytest.mark.parametrize(("row", "change"), [
    (15, {"ring": 0.04}), (13, {"ring": 0.04}), (20, {"ring": 0.04}), (2, {"size": 0.9}), (2, {"stretch": 0.9}),
    (2, {"weight": 0.85}), (32, {"band": 1.3}), (6, {"ink": 0.2}), (41, {"ink": 0.2}), (34, {"is_other": True}),
    (40, {"is_other": True}), (16, {"is_other": True})])
def test_makers_differ_by_measures(row, change):
    """Each measure changes the faces it belongs to, and no face that lacks what it measures."""
    assert np.abs(painted(row, Make()) - painted(row, Make(**change))).mean() > 0.3
    for other in (12, 14, 17):
        assert (painted(other, Make()) == painted(other, Make(**change))).all()


def test_a_wider_ring_leaves_less_white_and_less_ink_is_darker():
    narrow, wide = (shares(painted(15, Make(ring=ring))) for ring in (-0.015, 0.045))
    assert wide["red"] > 1.4 * narrow["red"] and wide["white"] < narrow["white"]
    assert painted(41, Make(ink=0.2)).mean() < painted(41, Make()).mean()
