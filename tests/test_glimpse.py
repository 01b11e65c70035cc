"""The second look: crops where they should be, boxes put right, learning that makes them fit, refusals."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nanodrive
from envs.config import CameraConfig
from perception import checkpoint, perceiver, train_glimpse
from perception.dataset import Frames
from perception.finder import KINDS
from perception.glimpse import (
    CROP_PX,
    REACH,
    STACKED_FROM,
    Glimpse,
    GlimpseNet,
    Looked,
    cut,
    ground_m,
    offsets,
    placed,
    stacked,
)
from perception.train_glimpse import Finds, TrainGlimpseConfig, Training, measure
from tests.made_labels import blank, put


def box(u, v, width, height):
    return np.array([u - width / 2, v - height / 2, u + width / 2, v + height / 2], np.float32)


def one_cut(frame, box_px):
    """Its crop, asked for beside one of another frame."""
    return cut(np.stack([np.zeros_like(frame), frame]), np.array([0, 1]), np.stack([box(30, 30, 9, 9), box_px]))[1]


def test_a_crop_shows_twice_the_box_and_its_middle_is_the_boxs():
    """A white square of 20 px on black fills the middle half of its crop, also where it lies between two pixels."""
    frame = np.zeros((160, 320, 3), np.uint8)
    frame[60:80, 200:220] = 255
    crop = one_cut(frame, box(210, 70, 20, 20))
    quarter = CROP_PX // 4
    assert crop.shape == (CROP_PX, CROP_PX, 3) and REACH == 2.0
    assert crop[quarter + 1:-quarter - 1, quarter + 1:-quarter - 1].min() > 250
    assert crop[:quarter - 1].max() < 5 and crop[:, -quarter + 1:].max() < 5
    moved = one_cut(frame, box(210.5, 70, 20, 20)).astype(int)
    assert moved[16, :16].sum() > crop[16, :16].astype(int).sum(), "half a pixel farther right shows more of it"


def test_a_crop_beyond_the_border_repeats_it():
    frame = np.random.default_rng(0).integers(0, 256, (160, 320, 3), np.uint8)
    assert (one_cut(frame, box(-60, -60, 10, 10)) == frame[0, 0]).all()


def test_above_and_below_a_sign_another_is_looked_for():
    """A sign found surely, a faint one, and a sure light: only the first asks for what is above and below it."""
    box_px = np.stack([[box(100, 50, 8, 10), box(200, 50, 8, 10)]] * len(KINDS))[None]
    peak = np.array([[[0.8, 0.5 * STACKED_FROM], [0.9, 0.9], [0.9, 0.9], [0.9, 0.9]]], np.float32)
    more_px, more = stacked(box_px, peak)
    assert more_px.shape == (1, len(KINDS), 6, 4)
    assert (more_px[:, :, :2] == box_px).all() and (more[:, :, :2] == peak).all()
    assert more[0, 0, 2:].tolist() == pytest.approx([0.8, 0.0, 0.8, 0.0]) and not more[0, 1:, 2:].any()
    above, below = more_px[0, 0, 2], more_px[0, 0, 4]
    assert above[3] == pytest.approx(45, abs=1) and below[1] == pytest.approx(55, abs=1), "they touch the sign"
    assert (above[[0, 2]] == box_px[0, 0, 0, [0, 2]]).all()


def test_the_ground_at_a_boxs_lower_edge_is_as_far_as_a_pinhole_says():
    """80 degrees over 320 px, 1.4 m high: 26.7 px below the horizon the ground is 10 m away."""
    camera = CameraConfig()
    below = camera.focal_px * 1.4 / np.array([10.0, 20.0])
    boxes = np.stack([box(160, 80 + px - 5, 20, 10) for px in below])
    assert ground_m(boxes, camera) == pytest.approx([10, 20], rel=1e-4)
    assert np.isfinite(ground_m(box(160, 40, 20, 10), camera)), "above the horizon there is none"


sizes, places = st.floats(3, 60), st.floats(0, 320)


@given(places, places, sizes, sizes, st.floats(-0.6, 0.6), st.floats(-0.6, 0.6), st.floats(0.5, 2), st.floats(0.5, 2))
def test_answers_put_a_box_where_the_truth_is(u, v, width, height, right, down, wider, taller):
    guess = box(u, v, width, height)[None]
    truth = box(u + right * width, v + down * height, wider * width, taller * height)[None]
    np.testing.assert_allclose(placed(guess, offsets(guess, truth)), truth, atol=2e-2)


@pytest.fixture(scope="module")
def squares():
    """Frames with one red square each, lit a little differently, and finds a few pixels off; half are of nothing."""
    rng = np.random.default_rng(3)
    num = 128
    rgb = np.full((num, 160, 320, 3), 110, np.uint8) + rng.integers(0, 30, (num, 160, 320, 1), np.uint8)
    labels = blank(num)
    truth, found = np.zeros((num, 4), np.float32), np.zeros((num, 4), np.float32)
    for k in range(num):
        side, u, v = rng.uniform(6, 16), rng.uniform(40, 280), rng.uniform(30, 110)
        truth[k] = box(u, v, side, side)
        left, top, right, bottom = truth[k].round().astype(int)
        if k % 2 == 0:
            rgb[k, top:bottom, left:right] = (200, 30, 40)
        found[k] = box(u + rng.normal(0, 0.15) * side, v + rng.normal(0, 0.15) * side, side * rng.uniform(0.7, 1.4),
                       side * rng.uniform(0.7, 1.4))
    there = np.arange(num) % 2 == 0
    finds = Finds(np.arange(num), np.zeros(num, int), found, truth, there, np.full(num, -1), np.full(num, np.nan))
    return Frames(CameraConfig(), rgb, labels), finds


@pytest.mark.slow
def test_learning_makes_boxes_fit_and_tells_something_from_nothing(squares, tmp_path):
    frames, finds = squares
    config = TrainGlimpseConfig(out=tmp_path, epochs=25, batch=32, threads=1)
    training = Training(config, len(finds) // config.batch)
    for _ in range(config.epochs):
        training.learn(frames, finds)
    figures = measure(training.model, frames, finds)
    assert figures["sign_iou_after"] > figures["sign_iou_before"] + 0.15
    assert figures["sign_told_from_none"] > 0.95


@pytest.mark.slow
def test_learning_tells_how_far_a_vehicle_is_from_a_box_that_does_not_fit(squares, tmp_path):
    """The squares stand on the ground: a guess whose lower edge is two pixels off is metres off far away."""
    frames, finds = squares
    stands = finds.is_there & (finds.truth_px[:, 3] > 92)
    finds = replace(finds, kind=np.full(len(finds), KINDS.index("vehicle")), distance_m=np.where(
        stands, ground_m(finds.truth_px, frames.camera), np.nan))
    before = np.abs(ground_m(finds.box_px, frames.camera) / finds.distance_m - 1)[stands].mean()
    training = Training(TrainGlimpseConfig(out=tmp_path, epochs=25, batch=32, threads=1), len(finds) // 32)
    for _ in range(25):
        training.learn(frames, finds)
    assert measure(training.model, frames, finds)["vehicle_abs_rel"] < 0.7 * before


@pytest.mark.slow
def test_an_interrupted_run_goes_on_bit_for_bit(squares, tmp_path):
    frames, finds = squares
    parts = []
    for name, epochs in (("whole", (2,)), ("broken", (1, 1))):
        config = TrainGlimpseConfig(out=tmp_path / name, epochs=2, batch=32, threads=1)
        for number in epochs:
            training = Training(config, 4)
            for _ in range(number):
                training.learn(frames, finds)
                training.save({}, len(finds))
        parts.append(training.model.state_dict())
    assert all(torch.equal(value, parts[1][name]) for name, value in parts[0].items())


def test_only_what_is_asked_for_is_looked_at_and_backends_agree(squares):
    frames, finds = squares
    torch.manual_seed(0)
    boxes = np.tile(finds.box_px[:2, None, None], (1, len(KINDS), 3, 1))
    asked = np.zeros((2, len(KINDS), 3), bool)
    asked[0, 0, 1], asked[1, 1, 2] = True, True
    looked = []
    for backend in ("onnx", "torch"):
        torch.manual_seed(0)
        looked.append(Glimpse(GlimpseNet(), backend).look(frames.rgb[:2], boxes, asked))
    assert np.array_equal(looked[0].box_px[~asked], boxes[~asked]) and (looked[0].share[~asked] == 0).all()
    assert (looked[0].phases[0] == 0).all() and (looked[0].phases[1, 2] != 0).any()
    for name in ("box_px", "share", "phases"):
        np.testing.assert_allclose(getattr(looked[0], name), getattr(looked[1], name), atol=1e-4)


def test_finds_are_matched_to_what_is_there():
    """Of three peaks one is on a sign, one on nothing, one too faint; one on the edge of a light is left out."""
    rows = blank(1)
    put(rows, "sign", 0, box(100, 50, 10, 10), 9.0, **{"class": 7})
    put(rows, "light", 0, box(200, 50, 10, 20), 9.0, phase=3)
    boxes = np.zeros((1, len(KINDS), 3, 4), np.float32)
    boxes[0, 0] = [box(101, 51, 10, 10), box(30, 60, 10, 10), box(100, 50, 10, 10)]
    boxes[0, 1] = [box(200, 50, 12, 18), box(208, 50, 10, 20), box(0, 0, 1, 1)]
    put(rows, "vehicle", 0, box(160, 90, 30, 20), 15.0)
    boxes[0, 2, 0] = box(162, 91, 28, 20)
    put(rows, "person", 0, box(260, 85, 6, 18), 12.0)
    boxes[0, 3, :2] = [box(261, 85, 6, 18), box(20, 85, 6, 18)]
    peak = np.array([[[0.9, 0.5, 0.05], [0.8, 0.7, 0.01], [0.6, 0.0, 0.0], [0.3, 0.2, 0.0]]], np.float32)
    found = Finds(*train_glimpse._matched(boxes, peak, rows, 5))
    assert found.frame.tolist() == [5] * 6 and found.kind.tolist() == [0, 0, 1, 2, 3, 3]
    assert found.is_there.tolist() == [True, False, True, True, True, False]
    assert found.phase.tolist() == [-1, -1, 3, -1, -1, -1]
    np.testing.assert_array_equal(found.distance_m, [np.nan, np.nan, np.nan, 15.0, 12.0, np.nan])


def test_it_may_start_from_trained_weights(squares, tmp_path):
    frames, finds = squares
    first = Training(TrainGlimpseConfig(out=tmp_path / "first", epochs=1, batch=32, threads=1), 4)
    first.learn(frames, finds)
    first.save({}, len(finds))
    second = Training(TrainGlimpseConfig(out=tmp_path / "second", start=tmp_path / "first" / "glimpse", threads=1), 4)
    for name, value in first.mean.state_dict().items():
        torch.testing.assert_close(second.model.state_dict()[name], value, rtol=1e-3, atol=1e-3, msg=name)  # halved


def test_state_of_other_settings_is_refused(squares, tmp_path):
    frames, finds = squares
    config = TrainGlimpseConfig(out=tmp_path, epochs=2, batch=32, threads=1)
    training = Training(config, 4)
    training.learn(frames, finds)
    training.save({}, len(finds))
    with pytest.raises(checkpoint.CheckpointError, match="other settings"):
        Training(replace(config, seed=4), 4)


def test_bad_input_is_one_sentence(tmp_path, capfd):
    assert nanodrive.main(["perceive", "--train-glimpse", "--data", str(tmp_path)]) == 2
    assert "dataset.json is missing" in capfd.readouterr().err
    assert nanodrive.main(["perceive", "--train-glimpse", "--start", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capfd.readouterr().err
    assert nanodrive.main(["perceive", "--train-glimpse", "--batch", "1"]) == 2
    assert "batch is 1; give 2 to 8192" in capfd.readouterr().err


def test_the_card_tells_the_shipped_weights_figures():
    _, meta = checkpoint.load(train_glimpse.WEIGHTS.with_name("glimpse"))
    card = train_glimpse.WEIGHTS.with_name("README.md").read_text()
    for name in ("sign_fits_after", "light_fits_after", "phase_right"):
        assert f"{meta['figures'][name]:.3f}" in card, name
    assert json.dumps(meta)


class _SameBox:
    """A second look that puts two finds of a kind on one thing, and takes the fainter of them for the surer."""

    def look(self, frames, box_px, is_asked):
        boxes, share = box_px.copy(), np.zeros(is_asked.shape, np.float32)
        boxes[:, :, :2], share[:, :, 0], share[:, :, 1] = box(100, 70, 20, 14), 0.4, 0.9
        phases = np.zeros((*is_asked[:, 0].shape, 5), np.float32)
        return Looked(boxes, share, phases, np.zeros(is_asked.shape, np.float32))


def found(**peaks):
    """What the first look says of four finds of each kind in one frame, in boxes of 32 x 16 px side by side."""
    shape = (1, len(KINDS), 4)
    left = np.array([0.1, 0.3, 0.5, 0.7], np.float32)
    out = {"box": np.tile(np.stack([left, left * 0 + 0.2, left + 0.1, left * 0 + 0.3], 1), (1, len(KINDS), 1, 1)),
           "peak": np.zeros(shape, np.float32), "distance_m": np.ones(shape, np.float32),
           "light_phases": np.zeros((1, 4, 5), np.float32), "light_is_mine": np.zeros((1, 4), np.float32),
           "light_none": np.ones(1, np.float32), "light_share": np.zeros((1, 5), np.float32)}
    for kind, values in peaks.items():
        out["peak"][0, KINDS.index(kind), :len(values)] = values
    return out


class _HalfWay:
    """A look that moves boxes half of the way to the one 8 px below the first, where it sees its lower edge stand."""

    def __init__(self, share):
        self.share = share

    def look(self, frames, box_px, is_asked):
        lower = np.float32([32, 40, 64, 56])
        boxes = np.where(is_asked[..., None], (box_px + lower) / 2, box_px)
        phases = np.zeros((*is_asked[:, 0].shape, 5), np.float32)
        phases[..., 3] = boxes[:, 1, :, 1]
        share = np.where(is_asked, np.float32(self.share), np.float32(0))
        return Looked(boxes, share, phases, np.zeros(is_asked.shape, np.float32))


@pytest.mark.parametrize(("share", "top_px"), [(0.9, 38.0), (0.05, 36.0)])
def test_a_sign_that_is_surely_there_is_looked_at_again_from_nearer(share, top_px):
    """From 32 px half of the way to 40 and half of the rest; what the first look doubts, and what is no sign, once."""
    camera = CameraConfig()
    told = perceiver._looked_again(_HalfWay(share), np.zeros((1, 160, 320, 3), np.uint8), found(
        sign=[0.9], light=[0.9], vehicle=[0.9], person=[0.9]), camera)
    assert told["box"][0, :, 0, 1] * 160 == pytest.approx([top_px, 36.0, 36.0, 36.0], abs=1e-3)
    assert told["peak"][0, :, 0] == pytest.approx(np.full(len(KINDS), np.sqrt(0.9 * share)))
    assert told["light_phases"][0, 0, 3] == pytest.approx(36.0)
    seen_from = np.float32([0, 0, 0, 48])  # the lower edge they were told from
    assert told["distance_m"][0, 2:, 0] == pytest.approx(np.full(2, ground_m(seen_from, camera)))


def test_two_finds_that_turn_out_one_thing_are_told_once():
    """Of signs, vehicles and people the surer stays; of lights the first, since their phases are told in order."""
    twins = (0.9, 0.8)
    out = found(sign=twins, light=twins, vehicle=twins, person=twins)
    told = perceiver._looked_again(_SameBox(), np.zeros((1, 160, 320, 3), np.uint8), out, CameraConfig())["peak"][0]
    assert (np.count_nonzero(told, axis=1) == 1).all()
    for kind, row in zip(KINDS, told, strict=True):
        assert row[0] == pytest.approx(np.sqrt(0.9 * 0.4 if kind == "light" else 0.8 * 0.9)), kind
