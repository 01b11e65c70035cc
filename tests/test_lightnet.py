"""The reader of traffic lights: learns, reads fresh heads well, and answers photographs in the agreed form."""

import csv
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

import nanodrive
from envs.config import ConfigError
from perception import checkpoint, lightnet
from perception.checkpoint import CheckpointError
from perception.lampcrops import STATES, draw_crop
from perception.lightnet import LightReader, LightTrainConfig, drawn, measure, squeezed


def test_the_shipped_reader_reads_heads_it_never_saw():
    figures = measure(LightReader.load(), *drawn(400, np.random.default_rng(2026)))
    assert figures["accuracy"] > 0.95
    assert figures["red_called_green"] == 0


def test_a_folder_of_heads_becomes_a_table(tmp_path, capsys):
    rng = np.random.default_rng(5)
    folder = tmp_path / "heads"
    folder.mkdir()
    for k in range(5):
        cv2.imwrite(str(folder / f"{k}.png"), draw_crop(rng)[0][..., ::-1])
    out = tmp_path / "lights.csv"
    assert nanodrive.main(["perceive", "--task", "light-crops", "--out", str(out), str(folder)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["files"] == 5
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [f"{k}.png" for k in range(5)]
    assert all(row["state"] in STATES and 0.25 <= float(row["confidence"]) <= 1 for row in rows)


@pytest.mark.exhaustive
def test_training_is_deterministic_and_saves_what_it_measured(tmp_path):
    settings = {"steps": 3, "batch": 8}
    results = []
    for name in ("a", "b"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lightnet, "VAL_CROPS", 20)
            results.append(lightnet.run(LightTrainConfig(out=tmp_path / name, **settings)))
    assert checkpoint.fingerprint(tmp_path / "a" / "lights") == checkpoint.fingerprint(tmp_path / "b" / "lights")
    assert results[0]["figures"] == results[1]["figures"]
    with pytest.raises(ConfigError, match="batch is 1"):
        LightTrainConfig(batch=1)


def test_a_training_that_was_cut_off_goes_on_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(lightnet, "VAL_CROPS", 20)
    monkeypatch.setattr(lightnet, "SAVED_STEPS", 2)
    whole = LightTrainConfig(out=tmp_path / "whole", steps=5, batch=8)
    lightnet.run(whole)
    cut = replace(whole, out=tmp_path / "cut")
    training, drawn_before = lightnet.Training(cut), lightnet.drawn
    for _ in range(3):  # the third step is not on disk yet
        training.learn()
    steps = []
    monkeypatch.setattr(lightnet, "drawn", lambda count, rng: steps.append(count) or drawn_before(count, rng))
    lightnet.run(cut)
    assert steps == [8, 8, 8, 20], "three steps were left"
    assert checkpoint.fingerprint(cut.out / "lights") == checkpoint.fingerprint(whole.out / "lights")
    with pytest.raises(CheckpointError, match="other settings"):
        lightnet.run(replace(cut, seed=1))


def test_crops_of_any_size_are_squeezed():
    for shape in ((3, 2, 3), (31, 90, 3), (200, 80, 3)):
        assert squeezed(np.full(shape, 77, np.uint8)).shape == (32, 32, 3)
