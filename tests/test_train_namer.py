"""Training of the sign namer: learns, goes on bit for bit, ships calibrated weights, and never reads a picture."""

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from envs.config import ConfigError
from perception import checkpoint, crops, namer, templates, train_namer
from perception.checkpoint import CheckpointError
from perception.namer import Namer, NamerConfig
from perception.train_namer import SMOKE, Training, TrainNamerConfig

TINY = NamerConfig(stem=4, middle=4, top=8)


@pytest.fixture
def config(tmp_path):
    return TrainNamerConfig(out=tmp_path / "run", model=TINY, **(SMOKE | {"epochs": 3, "steps": 2, "batch": 8}))


@pytest.fixture(autouse=True)
def few_plates(monkeypatch):
    """One small bank for all tests of this file: painting it takes longer than all the rest."""
    monkeypatch.setattr(templates, "build_bank", lambda seed, **few: BANK)


BUILD = templates.build_bank
BANK = templates.build_bank(1, looks=1, others=10, backdrops=4)


def stopped_after(config, epochs):
    """A run that was interrupted after some epochs: its training state on disk."""
    training = Training(config)
    for k, _ in enumerate(training.epochs(started=np.inf)):
        training.finish_epoch({"loss": 1.0 / training.epoch})
        if k == epochs - 1:
            return training
    return training


def test_an_interrupted_run_goes_on_bit_for_bit(config, tmp_path):
    torch.set_num_threads(1)
    whole = stopped_after(config, 3)
    broken = replace(config, out=tmp_path / "broken")
    stopped_after(broken, 1)
    resumed = stopped_after(broken, 2)
    assert resumed.epoch == 3 and resumed.step == whole.step == 6
    for kind in ("model", "mean"):
        for name, value in getattr(whole, kind).state_dict().items():
            assert torch.equal(value, getattr(resumed, kind).state_dict()[name]), name
    with pytest.raises(CheckpointError, match="other settings"):
        Training(replace(broken, rate=1e-4))


def test_training_reads_no_photograph(config, monkeypatch):
    """Neither in what runs, nor in what is written: no call that could read pixels or arrays from a file."""
    def refuse(*args, **kwargs):
        raise AssertionError("training read a picture")

    for reader in ("imread", "VideoCapture", "imreadmulti"):
        monkeypatch.setattr(cv2, reader, refuse)
    monkeypatch.setattr(np, "load", refuse)
    monkeypatch.setattr(np, "fromfile", refuse)
    result = train_namer.run(config)
    assert result["epochs"] == 3
    for module in (templates, crops, train_namer):
        source = Path(module.__file__).read_text()
        assert not re.search(r"imread|VideoCapture|np\.load|fromfile|real.val|open\(", source)


def test_what_is_shipped_loads_and_says_what_it_is(config):
    result = train_namer.run(config)
    stem = Path(result["checkpoint"])
    meta = checkpoint.load(stem)[1]
    assert meta["classes"] == list(namer.Namer.classes) and meta["temperature"] == result["temperature"]
    shares = Namer.load(stem).name(np.zeros((2, 40, 40, 3), np.uint8))
    assert shares.shape == (2, 44)


def test_temperature_undoes_overconfidence():
    """Of normal scores with the right class one spread higher, the scores are the log-likelihood ratios themselves."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 44, 4000)
    honest = rng.normal(0, 1, (4000, 44))
    honest[np.arange(4000), labels] += 1.0
    loud = 1.7 * honest
    assert train_namer.calibrated(honest, labels) == pytest.approx(1.0, abs=0.1)
    assert train_namer.calibrated(loud, labels) == pytest.approx(1.7, abs=0.15)
    measured = train_namer.measure(loud / train_namer.calibrated(loud, labels), labels)
    assert measured["ece"] < train_namer.measure(loud, labels)["ece"]


def test_measure_by_hand():
    logits = np.full((4, 44), -50.0)
    logits[[0, 1, 2, 3], [0, 0, 1, 43]] = 50.0  # sure of 0, 0, 1, none
    figures = train_namer.measure(logits, np.array([0, 1, 1, 43]))
    assert figures["accuracy"] == 0.75 and figures["recall"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert figures["ece"] == pytest.approx(0.25) and figures["none_recall"] == 1.0


def test_settings_out_of_range_are_refused():
    for bad in ({"epochs": 0}, {"rate": float("nan")}, {"seed": train_namer.VAL_SEED}, {"workers": -1}):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            TrainNamerConfig(**bad)


@pytest.mark.exhaustive
def test_painters_in_other_processes_paint_the_same(config, monkeypatch):
    monkeypatch.setattr(templates, "build_bank", BUILD)
    config = replace(config, preset="smoke")
    with train_namer._painted(config, 0, 3) as here, train_namer._painted(replace(config, workers=2), 0, 3) as there:
        for (pictures, labels), (others, names) in zip(here, there, strict=True):
            assert (pictures == others).all() and (labels == names).all()


def test_signs_of_frames_join_the_painted_ones(config):
    """Of a batch of eight, three are those of the pool: 0.4 of it, rounded."""
    seen = np.full((4, crops.CROP_PX, crops.CROP_PX, 3), 77, np.uint8), np.array([3, 3, 9, 9])
    training = Training(config, train_namer.Pool(*seen))
    pictures, labels = training._joined(np.zeros((8, crops.CROP_PX, crops.CROP_PX, 3), np.uint8), np.full(8, 40))
    assert (pictures[:3] == 77).all() and (pictures[3:] == 0).all()
    assert set(labels[:3].tolist()) <= {3, 9} and (labels[3:] == 40).all()
