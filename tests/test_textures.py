"""Streets made of chance: always a picture, never twice the same, the same from the same generator."""

import numpy as np
import pytest

from perception import textures
from perception.textures import FAMILIES, GROUNDS, THINGS


@pytest.mark.parametrize("paint", [paint for _, paint in GROUNDS], ids=lambda paint: paint.__name__)
def test_every_ground_is_a_varied_picture_of_its_generator(paint):
    first, again, other = (paint(np.random.default_rng(seed), 96) for seed in (1, 1, 2))
    assert first.shape == (96, 96, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("paint", THINGS, ids=lambda paint: paint.__name__)
@pytest.mark.parametrize("at", [(40.0, 40.0), (0.0, 95.0), (95.0, 0.0)])
def test_every_thing_is_drawn_anywhere_and_at_any_size(paint, at):
    """Also half outside the picture."""
    for size in (8.0, 90.0):
        image = np.full((96, 96, 3), 128, np.uint8)
        for seed in range(3):
            paint(np.random.default_rng(seed), image, at, size)
        assert image.shape == (96, 96, 3)
        if at == (40.0, 40.0):
            assert (image != 128).any()


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


def test_a_street_tells_its_sky():
    """Over many streets some have a sky, bright and without things in it; others have none."""
    shares = []
    for seed in range(30):
        image, sky = textures.street(np.random.default_rng(seed), 96)
        assert image.shape == (96, 96, 3) and sky.shape == (96, 96)
        assert set(np.unique(sky)) <= {0.0, 1.0}
        shares.append(float(sky.mean()))
        if shares[-1] > 0.1:
            assert image[sky == 1].mean() > 120
    assert 0.2 < np.mean(np.array(shares) > 0.1) < 0.8
