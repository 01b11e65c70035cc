"""Training scenes: boxes lie where faces were hung; scenes are functions of their generator, none like another."""

import math

import cv2
import numpy as np
import pytest

from envs.signs import SIGNS
from perception import scenes
from perception.scenes import LEAST_PX, LIGHT, MOST_PX, Scene, scene


def many(count, side_px=128, frames=()):
    return [scene(np.random.default_rng([5, k]), side_px, frames) for k in range(count)]


@pytest.fixture(scope="module")
def some():
    return many(40)


def test_a_scene_is_a_function_of_its_generator(some):
    again = scene(np.random.default_rng([5, 7]), 128)
    for name in Scene.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(some[7], name), getattr(again, name))
    assert len({one.image.tobytes() for one in some}) == len(some)


def test_what_counts_can_be_seen_and_has_the_right_size(some):
    counted = 0
    for one in some:
        assert one.image.shape == (128, 128, 3) and one.image.dtype == np.uint8
        assert len(one.box_px) == len(one.sign) == len(one.counts)
        for box, row in zip(one.box_px[one.counts], one.sign[one.counts], strict=True):
            side = max(box[2] - box[0], box[3] - box[1])
            assert LEAST_PX <= side <= MOST_PX and (0 <= row < len(SIGNS) or row == LIGHT)
            left, top, right, bottom = np.round(box).astype(int).clip(0, 128)
            assert one.image[top:bottom, left:right].std() > 1.0
            counted += 1
    assert counted > 40
    assert sum(int((one.sign == LIGHT).sum()) for one in some) >= 8


def test_scenes_are_bright_and_dark_with_many_signs_and_none(some):
    brightness = np.array([one.image.mean() for one in some])
    assert np.percentile(brightness, 10) < 50 and np.percentile(brightness, 90) > 120
    numbers = [len(one.box_px) for one in some]
    assert min(numbers) <= 1 and max(numbers) >= 4


@pytest.mark.parametrize("row", [1, 12, 13, 14, 25, 38])
@pytest.mark.parametrize("size", [12.0, 40.0])
def test_the_box_is_where_the_face_is(row, size):
    """A face pasted onto black changes exactly its box, to a pixel."""
    for seed in range(5):
        rng = np.random.default_rng([row, seed])
        lit = np.zeros((96, 96, 3), np.float32)
        box = scenes._paste(rng, lit, row, (48.3, 40.7), size, scenes._aslant(rng), np.ones(3))
        rows, columns = np.nonzero(lit.max(2) > 0.06)
        drawn = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        np.testing.assert_allclose(box, drawn, atol=1.3)


def test_a_face_outside_the_picture_is_no_sign():
    lit = np.zeros((64, 64, 3), np.float32)
    rng = np.random.default_rng(0)
    assert scenes._paste(rng, lit, 1, (-40.0, 20.0), 30.0, scenes._aslant(rng), np.ones(3)) is None
    assert not lit.any()


def test_the_camera_keeps_things_where_they_are():
    """The brightest spot stays within 2 px, however bad the photograph."""
    lit = np.full((96, 96, 3), 0.1, np.float32)
    cv2.circle(lit, (60, 33), 8, (0.9, 0.9, 0.9), -1)
    for seed in range(40):
        image = scenes.photographed(np.random.default_rng(seed), lit.copy())
        bright = cv2.GaussianBlur(image.mean(2), (0, 0), 3.0)
        row, column = np.unravel_index(bright.argmax(), bright.shape)
        assert math.hypot(row - 33, column - 60) < 6


@pytest.mark.exhaustive
def test_rendered_frames_bring_their_signs():
    frames = scenes.world_frames(range(10_100, 10_103), 0)
    assert len(frames) == 3 * scenes.FRAMES_PER_TOWN
    assert sum(len(frame.box_px) for frame in frames) > 10
    shown = many(30, 128, frames)
    assert any(len(one.box_px) for one in shown)
