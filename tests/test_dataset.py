"""Frames from disk: checked, of the right towns; targets that say what the labels say; pixels varied, labels not."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from envs.config import CameraConfig
from perception import dataset, generate
from perception.dataset import Look
from perception.finder import COLUMNS, KINDS, ROWS, VALUES, find_peaks
from perception.generate import DatasetError, GenerateConfig
from perception.model import glance_of
from tests.made_labels import blank, put

CAMERA = CameraConfig()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames") / "data"
    generate.run(GenerateConfig(out=folder, train_frames=6, val_frames=2, frames_per_town=2, shard_frames=4, workers=1,
                                renderer="none", camera=CameraConfig(width_px=64, height_px=32)))
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy that a test may damage."""
    copy = tmp_path / "data"
    copy.mkdir()
    for path in made.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def test_frames_come_back_in_order(folder):
    frames = dataset.read(folder, "train")
    assert len(frames) == 6 and frames.rgb.shape == (6, 32, 64, 3) and frames.camera.width_px == 64
    config = GenerateConfig(out=folder, train_frames=6, val_frames=2, frames_per_town=2, shard_frames=4, workers=1,
                            renderer="none", camera=frames.camera)
    parts = [generate.make_shard(config, shard) for shard in generate.plan(config) if shard.split == "train"]
    for name, values in frames.labels.items():
        np.testing.assert_array_equal(values, np.concatenate([part[name] for part in parts]))


def relabel(folder, change):
    """Change the card of a data set."""
    card = json.loads((folder / "dataset.json").read_text())
    change(card)
    (folder / "dataset.json").write_text(json.dumps(card))


def cut(folder):
    path = folder / "train-000.npz"
    path.write_bytes(path.read_bytes()[:1000])


DAMAGE = {
    "cut shard": (cut, "cut or altered"),
    "missing shard": (lambda folder: (folder / "train-001.npz").unlink(), "missing"),
    "missing card": (lambda folder: (folder / "dataset.json").unlink(), "missing"),
    "val towns called train": (lambda folder: relabel(folder, lambda card: card["shards"]["val-000.npz"].update(
        split="train")), "town"),
    "no train shards": (lambda folder: relabel(folder, lambda card: card["shards"].pop("train-000.npz")
                                               and card["shards"].pop("train-001.npz")), "no train frames"),
    "wrong count": (lambda folder: relabel(folder, lambda card: card["shards"]["train-000.npz"].update(frames=3)),
                    "odd array"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_refused_in_one_sentence(folder, damage):
    hurt, words = DAMAGE[damage]
    hurt(folder)
    with pytest.raises(DatasetError, match=words) as caught:
        dataset.read(folder, "train")
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_targets_of_things_decode_to_the_labels(kind):
    """A head that said exactly its target would give back boxes and distances to a hundredth of a pixel, also of
    things whose middle lies over the band or below it."""
    boxes = [[200.0, 60.0, 214.0, 74.0], [30.0, 50.0, 36.0, 56.0], [60.0, 0.0, 80.0, 21.0], [100.0, 80.0, 220.0, 160.0]]
    rows = blank(1)
    for k, box in enumerate(boxes):
        put(rows, kind, k, box, 9.0 + k)
    rows["sign_class"][:, :4], rows["light_phase"][:, :4] = 3, 1
    targets = dataset.targets(rows, np.arange(1), CAMERA)
    assert len(targets["thing_at"]) == 4 and (len(targets["phase_at"]) == 4) == (kind == "light")
    heat = torch.logit(targets["thing_heat"].clamp(1e-4, 1 - 1e-4)).flatten()
    heat[targets["thing_at"]] += 9
    maps = torch.zeros(len(heat), VALUES)
    maps[targets["thing_at"]] = targets["thing_values"]
    peaks = find_peaks({
        "heat": heat.view(1, len(KINDS), ROWS, COLUMNS), "phases": torch.zeros(1, 5, ROWS, COLUMNS),
        "boxes": maps.view(1, len(KINDS), ROWS, COLUMNS, VALUES).movedim(-1, 2).flatten(1, 2),
        "light_cells": torch.zeros(1, ROWS * COLUMNS)})
    row = KINDS.index(kind)
    found = peaks["box"][0, row, :4] * torch.tensor([320.0, 160.0, 320.0, 160.0])
    order = peaks["distance_m"][0, row, :4].argsort()
    torch.testing.assert_close(found[order], torch.tensor(boxes), atol=0.01, rtol=0)
    torch.testing.assert_close(peaks["distance_m"][0, row, :4][order], torch.tensor([9.0, 10.0, 11.0, 12.0]))


def test_targets_mark_what_is_absent():
    rows = blank(1)
    rows["boundaries_px"][0, 0], rows["stop_kind"][:], rows["lead_m"][:] = 160.0, 1, 0.01
    targets = dataset.targets(rows, np.arange(1), CAMERA)
    assert targets["boundary_seen"][0].tolist() == [[1.0] * 16, [0.0] * 16]
    assert torch.isfinite(targets["boundary"]).all() and targets["boundary"][0, 0, 0] == 0.5
    assert targets["stop_kind"][0] == 0, "a line beyond the horizon of 40 m is none"
    assert len(targets["thing_at"]) == 0 and targets["thing_heat"].sum() == 0
    assert targets["lead"].min() == pytest.approx(np.log(0.5))


def test_look_varies_frames_apart_but_a_frames_glance_and_band_alike():
    rng = np.random.default_rng(0)
    look = replace(Look.draw(64, rng), noise=torch.zeros(64), is_blurred=torch.zeros(64, dtype=torch.bool))
    glance, band = torch.ones(64, 3, 8, 8), torch.ones(64, 3, 8, 16)
    seen, near = look.applied(glance, rng), look.applied(band, rng)
    assert seen[:, 0].mean((1, 2)).std() > 0.2
    torch.testing.assert_close(seen[:, :, 0, 0], near[:, :, 0, 0])


def test_look_is_the_same_for_the_same_generator():
    pixels = torch.rand(4, 3, 8, 8)
    first, again = (Look.draw(4, rng).applied(pixels, rng) for rng in (np.random.default_rng(5) for _ in range(2)))
    assert torch.equal(first, again)


def test_glance_is_the_area_mean_to_half_a_level():
    image = np.random.default_rng(0).integers(0, 256, (2, 160, 320, 3), np.uint8)
    mean = image.reshape(2, 80, 2, 160, 2, 3).astype(np.float64).mean((2, 4))
    glance = glance_of(torch.from_numpy(image)).double().permute(0, 2, 3, 1) * 60 + 118
    torch.testing.assert_close(glance, torch.from_numpy(mean), atol=0.5001, rtol=0)
    assert abs(float(glance.mean() - mean.mean())) < 0.2


def test_shards_are_the_frames_in_their_order(folder):
    """What is read shard by shard is what is read at once."""
    whole, parts = dataset.read(folder, "train"), list(dataset.shards(folder, "train"))
    assert [len(part) for part in parts] == [4, 2]
    assert np.array_equal(np.concatenate([part.rgb for part in parts]), whole.rgb)
    for name, values in whole.labels.items():
        np.testing.assert_array_equal(values, np.concatenate([part.labels[name] for part in parts]))
