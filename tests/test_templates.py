"""Painted plates for the sign namer: every class has its pictures, at every size, and others have none of their own."""

import numpy as np
import pytest

from envs.signs import SIGNS
from perception import templates
from perception.templates import NUM_CLASSES, OTHERS, PAINTED_PX, SIZES_PX


@pytest.fixture(scope="module")
def bank():
    return templates.build_bank(5, looks=2, others=len(OTHERS), backdrops=6)


def test_every_class_has_its_pictures_at_every_size(bank):
    assert [len(rows) for rows in bank.rows_of] == [2] * len(SIGNS) + [len(OTHERS)] and NUM_CLASSES == 44
    count = 2 * len(SIGNS) + len(OTHERS)
    for size, pictures in zip(SIZES_PX, bank.pictures, strict=True):
        assert pictures.shape == (count, size, size, 4) and pictures.dtype == np.uint8
    assert bank.boxes.shape == (count, 4) and bank.backdrops.dtype == np.uint8
    assert (bank.boxes[:, :2] >= -1e-6).all() and (bank.boxes[:, 2:] <= 1 + 1e-6).all()


def test_sizes_show_the_same_light(bank):
    """Light is kept when a picture shrinks: linear values, so that means agree."""
    means = [pictures.reshape(len(pictures), -1).mean(1) for pictures in bank.pictures]
    assert np.abs(means[0] - means[2]).max() < 1.0


def test_coverage_is_the_outline(bank):
    """A disc covers pi / 4 of its square, a triangle about half of its own box."""
    cover = bank.pictures[0][..., 3].astype(float).mean((1, 2)) / 255
    disc, triangle = bank.rows_of[2][0], bank.rows_of[18][0]
    assert cover[disc] == pytest.approx(np.pi / 4, abs=0.02)
    assert cover[triangle] == pytest.approx(np.sqrt(0.75) / 2, abs=0.03)


def test_colours_are_light_not_codes(bank):
    """The middle of an empty white disc is nearly full light; the grey of cancelled figures gives less than a third."""
    clean = templates.build_bank(0, looks=1, others=1, backdrops=1).pictures[0]
    assert clean[15, 48, 48, :3].min() > 150
    assert templates._LINEAR[140] < 255 / 3


def test_makers_and_vandals_differ():
    """Of a hundred sheets no two are alike; of a hundred plates one in seven is defaced, and never most of it."""
    rng = np.random.default_rng(0)
    assert len({templates._make(rng) for _ in range(100)}) == 100
    plate = np.full((PAINTED_PX, PAINTED_PX, 3), 100, np.uint8)
    hidden = np.array([(templates._defaced(plate, rng) != plate).any(2).mean() for _ in range(100)])
    assert 5 <= (hidden > 0).sum() <= 25 and hidden.max() < 0.35 and (plate == 100).all()


@pytest.mark.slow
def test_the_same_seed_paints_the_same_bank(bank):
    again = templates.build_bank(5, looks=2, others=len(OTHERS), backdrops=6)
    other = templates.build_bank(6, looks=2, others=len(OTHERS), backdrops=6)
    assert all((a == b).all() for a, b in zip(bank.pictures, again.pictures, strict=True))
    assert (bank.backdrops == again.backdrops).all() and (bank.backdrops != other.backdrops).any()


@pytest.mark.parametrize("paint", dict.fromkeys(OTHERS), ids=lambda paint: paint.__name__)
def test_others_paint_inside_their_outline(paint):
    plate = templates.Plate(PAINTED_PX)
    outline = paint(plate, np.random.default_rng(1))
    assert outline.ndim == 2 and outline.shape[1] == 2 and outline.min() >= -1e-6 and outline.max() <= 1 + 1e-6
    assert plate.finish().std() > 5
