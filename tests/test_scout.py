"""The finder of signs in photos: geometry on any size, what it finds in fresh scenes, the form it answers in."""

from dataclasses import asdict

import cv2
import numpy as np
import pytest
import torch

from envs.signs import SIGNS, face
from perception import checkpoint, scout
from perception.checkpoint import CheckpointError
from perception.lampcrops import hang
from perception.scenes import LEAST_PX, MOST_PX, scene
from perception.scout import BACKENDS, Scout, ScoutConfig, ScoutNet, best_of_each, describe, peaks
from perception.scout_train import judge, matched

PARITY = 1e-4


@pytest.fixture(scope="module")
def shipped():
    return Scout.load()


def street(height=400, width=520):
    """A grey street with a sign of each of three sizes, and where they are."""
    photo = np.full((height, width, 3), (96, 100, 98), np.uint8)
    cv2.rectangle(photo, (0, 0), (width, 90), (228, 232, 236), -1)
    boxes = []
    for row, size, left, top in ((1, 20, 60, 120), (25, 44, 200, 160), (12, 110, 340, 120)):
        picture = cv2.resize(face(row, 128), (size, size), interpolation=cv2.INTER_AREA)
        mask = np.zeros((128, 128), np.uint8)
        cv2.fillPoly(mask, [np.round(SIGNS[row].outline * 128).astype(np.int32)], 255)
        share = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA)[..., None] / 255
        part = photo[top:top + size, left:left + size]
        part[:] = np.round(part + share * (picture.astype(float) - part)).astype(np.uint8)
        low, high = SIGNS[row].outline.min(0) * size, SIGNS[row].outline.max(0) * size
        boxes.append((left + low[0], top + low[1], left + high[0], top + high[1]))
    return photo, np.array(boxes)


def test_signs_of_all_sizes_are_found_where_they_are(shipped):
    photo, true_box = street()
    found, lights = shipped.find(photo)
    assert not (lights.score > 0.3).any()
    sure = found.box_px[found.score > 0.3]
    right, _ = matched(sure, true_box, np.ones(3, bool))
    assert right.sum() == 3 and len(sure) == 3


@pytest.mark.parametrize(("height", "width"), [(37, 41), (8, 300), (123, 77), (5, 5)])
def test_photos_of_any_size_are_taken_and_boxes_stay_inside(shipped, height, width):
    photo = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    for found in shipped.find(photo):
        assert found.box_px.shape == (len(found.score), 4) and found.box_px.dtype == np.float32
        assert (found.box_px >= 0).all() and (found.box_px <= [width, height, width, height]).all()


def test_a_photo_moved_by_some_pixels_has_its_boxes_moved(shipped):
    photo, true_box = street()
    moved = cv2.copyMakeBorder(photo, 5, 0, 11, 0, cv2.BORDER_REPLICATE)
    found, _ = shipped.find(moved)
    right, _ = matched(found.box_px[found.score > 0.3], true_box + np.array([11, 5, 11, 5]), np.ones(3, bool))
    assert right.sum() == 3


@pytest.mark.parametrize("value", [0, 255, 128])
def test_nothing_is_found_in_nothing(shipped, value):
    for found in shipped.find(np.full((240, 320, 3), value, np.uint8)):
        assert not (found.score > 0.05).any()


def test_lights_of_all_sizes_are_found_and_are_no_signs(shipped):
    """Heads drawn for this test before a grey street, of 20 to 90 px."""
    rng, boxes = np.random.default_rng(3), []
    lit = np.full((400, 520, 3), 0.45, np.float32)
    lit[:90] = 0.85
    for size, at in ((20, (80, 110)), (34, (200, 140)), (50, (320, 160)), (90, (440, 200))):
        boxes.append(hang(lit, at, size, 0.5, rng))
    signs, lights = shipped.find((255 * lit.clip(0, 1)).astype(np.uint8))
    right, _ = matched(lights.box_px[lights.score > 0.3], np.array(boxes), np.ones(4, bool))
    assert right.sum() >= 3 and (lights.score > 0.3).sum() <= 5
    assert (signs.score > 0.5).sum() <= 1


def test_same_photo_same_bytes_and_torch_agrees(shipped):
    photo, _ = street()
    first, again, other = (eyes.find(photo)[0] for eyes in (shipped, Scout.load(), Scout.load(backend="torch")))
    assert first.box_px.tobytes() == again.box_px.tobytes() and first.score.tobytes() == again.score.tobytes()
    strong = first.score > 0.1
    np.testing.assert_allclose(first.score[strong], other.score[:strong.sum()], atol=PARITY)
    np.testing.assert_allclose(first.box_px[strong], other.box_px[:strong.sum()], rtol=PARITY, atol=1e-3)


def test_both_backends_give_the_same_numbers():
    pixels = np.random.default_rng(2).normal(size=(1, 3, 48, 80)).astype(np.float32)
    tensors, meta = checkpoint.load(scout.WEIGHTS)
    seen = []
    for make in BACKENDS.values():
        model = ScoutNet(ScoutConfig(**meta["model"]))
        model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
        seen.append(make(model)(pixels))
    assert seen[0].shape == (1, 10, 12, 20)
    np.testing.assert_allclose(*seen, atol=PARITY, rtol=PARITY)


def test_it_is_small():
    weights = scout.WEIGHTS.with_suffix(".safetensors")
    assert describe(ScoutNet())["num_parameters"] < 250_000
    assert weights.stat().st_size < 800_000


def test_peaks_are_decoded_to_pixels():
    heads = np.full((5, 6, 9), -9.0, np.float32)
    heads[:, 2, 5] = (2.0, 0.25, -0.5, np.log(20.0), np.log(12.0))
    box, score = peaks(heads)
    np.testing.assert_allclose(box, [[23 - 10, 8 - 6, 23 + 10, 8 + 6]], rtol=1e-5)
    np.testing.assert_allclose(score, 1 / (1 + np.exp(-2.0)), rtol=1e-5)


def test_of_boxes_that_overlap_the_best_stays():
    box = np.array([[0, 0, 20, 20], [2, 0, 22, 20], [18, 0, 38, 20], [60, 60, 70, 70]], float)
    found = best_of_each(box, np.array([0.5, 0.9, 0.7, 0.1]))
    np.testing.assert_array_equal(found.box_px, box[[1, 2, 3]])
    np.testing.assert_allclose(found.score, [0.9, 0.7, 0.1])
    assert len(best_of_each(np.zeros((0, 4)), np.zeros(0)).score) == 0


def test_of_boxes_about_one_centre_the_best_stays_and_stacked_signs_both_do():
    box = np.array([[0, 0, 40, 40], [10, 12, 28, 30], [0, 41, 40, 81]], float)
    assert len(best_of_each(box, np.array([0.5, 0.9, 0.7])).score) == 2
    np.testing.assert_array_equal(best_of_each(box, np.array([0.9, 0.5, 0.7])).box_px, box[[0, 2]])


def test_large_photos_are_looked_at_reduced():
    assert scout._scales(800, 1360) == scout.LEVELS
    first = scout._scales(3000, 4000)[0]
    assert first ** 2 * 3000 * 4000 == pytest.approx(scout.LARGEST_PX)
    small, per_px = scout._level(np.zeros((801, 1361, 3), np.uint8), 0.5)
    assert small.shape[0] % 16 == small.shape[1] % 16 == 0
    np.testing.assert_allclose(per_px, [1361 / 680, 801 / 400] * 2)


def test_the_levels_overlap():
    """A sign between the limits of one level is well inside those of another."""
    steps = [a / b for a, b in zip(scout.LEVELS, scout.LEVELS[1:], strict=False)]
    assert all(2 * step < MOST_PX / LEAST_PX for step in steps)


def test_signs_of_unseen_scenes_are_found():
    """At a score of 0.4, in scenes of a seed that training never drew."""
    tensors, meta = checkpoint.load(scout.WEIGHTS)
    model = ScoutNet(ScoutConfig(**meta["model"]))
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    figures = judge(model, [scene(np.random.default_rng([99, k]), 256) for k in range(12)])
    assert figures["recall"] > 0.7 and figures["precision"] > 0.75
    assert figures["light_ap50"] > 0.35


def test_weights_that_are_no_scout_are_refused(tmp_path):
    checkpoint.save(tmp_path / "eyes", {"a": torch.zeros(1)}, {"model": {"wings": 2}})
    with pytest.raises(CheckpointError, match="does not describe a scout"):
        Scout.load(tmp_path / "eyes")
    checkpoint.save(tmp_path / "eyes", {"a": torch.zeros(1)}, {"model": asdict(ScoutConfig())})
    with pytest.raises(CheckpointError, match="another network"):
        Scout.load(tmp_path / "eyes")
