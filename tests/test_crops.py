"""Training crops: endless, seeded, of every class, as varied as bad photographs, and always a picture."""

import cv2
import numpy as np
import pytest

from perception import crops, templates
from perception.crops import CROP_PX
from perception.templates import NO_SIGN, NUM_CLASSES


@pytest.fixture(scope="module")
def bank():
    return templates.build_bank(3, looks=2, others=10, backdrops=12)


def test_a_batch_is_a_function_of_seed_and_number(bank):
    first, labels = crops.batch(bank, 24, 7, 3)
    again, same = crops.batch(bank, 24, 7, 3)
    assert first.shape == (24, CROP_PX, CROP_PX, 3) and first.dtype == np.uint8 and labels.dtype == np.int64
    assert (first == again).all() and (labels == same).all()
    for seed, number in ((7, 4), (8, 3)):
        assert (crops.batch(bank, 24, seed, number)[1] != labels).any()


def test_classes_are_balanced(bank, monkeypatch):
    monkeypatch.setattr(crops, "draw", lambda bank, label, rng: np.zeros((1, 1, 3), np.uint8))
    _, labels = crops.batch(bank, 44_000, 0, 0)
    counts = np.bincount(labels, minlength=NUM_CLASSES)
    assert counts[NO_SIGN] == pytest.approx(44_000 * crops.NONE_SHARE, rel=0.1)
    assert counts[:NO_SIGN].min() > 0.8 * counts[:NO_SIGN].mean()


def test_light_sharpness_and_colour_vary_as_widely_as_in_bad_photographs(bank):
    pictures, _ = crops.batch(bank, 300, 1, 0)
    light = pictures.mean((1, 2, 3))
    assert np.quantile(light, 0.05) < 12 and np.quantile(light, 0.95) > 150
    spread = pictures.reshape(300, -1, 3).astype(float).mean(1).std(1)
    assert np.quantile(spread, 0.1) < 3 and np.quantile(spread, 0.9) > 15
    edges = [cv2.Laplacian(picture, cv2.CV_32F).std() / (picture.std() + 1) for picture in pictures]
    assert np.quantile(edges, 0.9) > 4 * np.quantile(edges, 0.1)


def test_the_sign_is_in_the_middle_and_its_margin_varies(bank):
    """An empty ring is red where it should be: the scene before any light and lens, on a black backdrop."""
    rng, widths = np.random.default_rng(0), []
    for _ in range(60):
        scene = np.zeros((64, 64, 3), np.float32)
        margin = rng.uniform(-0.03, 0.34)
        extent = np.full(2, 64 / (1 + 2 * margin))
        crops._put(scene, bank, int(bank.rows_of[15][0]), np.full(2, 32.0), extent, rng)
        covered = np.flatnonzero(scene.sum((0, 2)) > 0)
        widths.append(covered[-1] - covered[0] + 1)
        assert abs((covered[0] + covered[-1]) / 2 - 31.5) < 5
    assert min(widths) < 45 and max(widths) >= 60


@pytest.mark.parametrize("shape", [(15, 15), (250, 250), (40, 40), (20, 90), (1, 1)])
def test_any_picture_becomes_a_crop(shape):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    crop = crops.normalised(picture)
    assert crop.shape == (CROP_PX, CROP_PX, 3) and crop.dtype == np.uint8
    assert abs(float(crop.mean()) - float(picture.mean())) < 12


def test_motion_blur_keeps_the_light():
    for length, angle in ((0.0, 0.0), (3.0, 1.0), (9.5, 2.0)):
        kernel = crops._streak(length, angle)
        assert kernel.sum() == pytest.approx(1) and kernel.shape[0] % 2 == 1


def test_a_mosaic_keeps_an_even_picture():
    even = np.full((10, 12, 3), (200, 100, 50), np.uint8)
    assert (crops._mosaic(even)[1:-1, 1:-1] == (200, 100, 50)).all()
