"""The finder of roads: its pictures, its labels after mirroring and cutting, its training from a seed."""

import numpy as np
import pytest
import torch

from envs.config import ConfigError
from perception import checkpoint, roadnet
from perception.checkpoint import CheckpointError
from perception.roadnet import RoadNet, RoadTrainConfig, draw_all, varied


def test_the_network_is_small():
    assert sum(p.numel() for p in RoadNet().parameters()) < 250_000


def test_labels_go_with_the_picture(monkeypatch):
    """A bright square in picture and label stays in one place through mirror and cut."""
    monkeypatch.setattr(roadnet, "disturbed", lambda image, rng: image)
    rgb, labels = np.zeros((192, 320, 3), np.uint8), np.zeros((48, 80, 4), np.uint8)
    rgb[100:140, 200:260], labels[25:35, 50:65] = 255, 255
    for seed in range(12):
        picture, label, horizon = varied(rgb, labels, 0.4, np.random.default_rng(seed))
        bright = np.stack(np.nonzero(picture[..., 0] > 127)).mean(1) + 0.5
        marked = np.stack(np.nonzero(label[..., 0] > 127)).mean(1) + 0.5
        assert np.abs(bright / 4 - marked).max() < 0.6
        assert -0.7 < horizon < 1.1


@pytest.mark.slow
def test_a_training_that_was_cut_off_goes_on_bit_for_bit(tmp_path):
    pictures, _ = draw_all(RoadTrainConfig(scapes=40)), torch.set_num_threads(1)
    results = []
    for name, cut_after in (("whole", 2), ("cut", 1)):
        training = roadnet.Training(RoadTrainConfig(out=tmp_path / name, epochs=2, batch=16), 2)
        for epoch in range(2):
            if epoch == cut_after:
                training = roadnet.Training(training.config, 2)
                assert (training.epoch, training.step, training.figures) == (1, 2, {"loss": 0.0})
            training.learn(pictures)
            training.save({"loss": float(epoch)})
        results.append(checkpoint.fingerprint(tmp_path / name / "road"))
    assert results[0] == results[1]
    with pytest.raises(CheckpointError, match="other settings or other data"):
        roadnet.Training(training.config, 3)


@pytest.mark.exhaustive
def test_training_is_a_function_of_the_seed(tmp_path):
    for name in ("a", "b"):
        roadnet.run(RoadTrainConfig(out=tmp_path / name, scapes=40, epochs=1, batch=10))
    assert checkpoint.fingerprint(tmp_path / "a" / "road") == checkpoint.fingerprint(tmp_path / "b" / "road")
    first = draw_all(RoadTrainConfig(scapes=40))
    assert len(first) == 40 and first.labels.shape[1:] == (48, 80, 4)
    with pytest.raises(ConfigError, match="epochs is 0"):
        RoadTrainConfig(epochs=0)
