"""Looks change pixels, never shapes; the same generator draws the same."""

import numpy as np
import pytest

from perception.looks import LOOKS, clouds, disturbed


@pytest.mark.parametrize("row", range(len(LOOKS)))
def test_each_look_keeps_the_shape_and_changes_something(row):
    image = np.random.default_rng(0).integers(0, 255, (40, 64, 3)).astype(np.float32)
    changed = LOOKS[row][1](image.copy(), np.random.default_rng(3))
    assert changed.shape == image.shape and np.isfinite(changed).all()
    assert np.abs(changed - image).max() > 1


def test_the_same_generator_disturbs_the_same_and_zero_strength_nothing():
    image = np.random.default_rng(1).integers(0, 255, (30, 50, 3), dtype=np.uint8)
    assert disturbed(image, np.random.default_rng(9)).tobytes() == disturbed(image, np.random.default_rng(9)).tobytes()
    assert np.array_equal(disturbed(image, np.random.default_rng(9), 0.0), image)


def test_clouds_are_smooth_and_centred():
    field = clouds((60, 80), np.random.default_rng(2), 4, 3)
    assert abs(field.mean()) < 0.6
    assert np.abs(np.diff(field, axis=1)).mean() < field.std() / 2
