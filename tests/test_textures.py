"""Grounds made of chance: always a picture, never twice the same, the same from the same generator."""

import numpy as np
import pytest

from perception import textures
from perception.textures import FAMILIES, GROUNDS


@pytest.mark.parametrize("paint", [paint for _, paint in GROUNDS], ids=lambda paint: paint.__name__)
def test_every_ground_is_a_varied_picture_of_its_generator(paint):
    first, again, other = (paint(np.random.default_rng(seed), 96) for seed in (1, 1, 2))
    assert first.shape == (96, 96, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_colours_keep_to_their_family():
    rng = np.random.default_rng(0)
    dark, grey = (np.array(textures.colours(rng, name, 300)) for name in ("dark", "grey"))
    assert dark.max() <= FAMILIES["dark"][1][2] + 1
    assert (grey.max(1) - grey.min(1)).max() <= 30  # saturation 30 of 255
    assert len(np.unique(dark, axis=0)) > 100


def test_noise_fills_its_range_and_gets_rougher_with_its_share():
    rough, smooth = (textures.noise(np.random.default_rng(4), 128, 4, 6, share) for share in (1.0, 0.3))
    assert rough.min() >= 0 and rough.max() <= 1
    assert np.abs(np.diff(rough)).mean() > 2 * np.abs(np.diff(smooth)).mean()
