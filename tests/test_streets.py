"""Streets made of chance: every thing can be drawn anywhere, and where the sky is, is known."""

import numpy as np
import pytest

from perception import streets
from perception.streets import THINGS


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


def test_a_street_tells_its_sky():
    """Over many streets some have a sky, bright and without things in it; others have none."""
    shares = []
    for seed in range(30):
        image, sky = streets.street(np.random.default_rng(seed), 96)
        assert image.shape == (96, 96, 3) and sky.shape == (96, 96)
        assert set(np.unique(sky)) <= {0.0, 1.0}
        shares.append(float(sky.mean()))
        if shares[-1] > 0.1:
            assert image[sky == 1].mean() > 120
    assert 0.2 < np.mean(np.array(shares) > 0.1) < 0.8
