"""Training: learns, stops and goes on bit for bit, keeps the best weights, refuses what does not belong together."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from envs.config import CameraConfig, ConfigError
from perception import checkpoint, dataset, generate, train
from perception.checkpoint import CheckpointError
from perception.generate import DatasetError, GenerateConfig
from perception.model import DriveNet, ModelConfig
from perception.perceiver import Perceiver
from perception.train import TrainConfig, Training, gathered

TINY = ModelConfig(stem=8, fine=8, middle=16, coarse=16, trunk=32)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train") / "data"
    generate.run(GenerateConfig(out=folder, train_frames=32, val_frames=6, frames_per_town=8, shard_frames=32,
                                workers=1, camera=CameraConfig(width_px=160, height_px=80)))
    return folder


@pytest.fixture
def config(data, tmp_path):
    return TrainConfig(data=data, out=tmp_path / "run", epochs=4, batch=8, threads=1, model=TINY)


def stopped_after(config, epochs):
    """A run that was interrupted after some epochs: its training state on disk."""
    frames, val = dataset.read(config.data, "train"), dataset.read(config.data, "val")
    training = Training(config, frames)
    for _ in range(epochs):
        training.epoch(frames)
        training.finish_epoch({"distance_to_perfect": 1.0 / training.epoch_number}, val, {})
    return training


@pytest.mark.slow
def test_interrupted_run_goes_on_bit_for_bit(config, tmp_path):
    torch.set_num_threads(1)
    whole = stopped_after(config, 3)
    broken = replace(config, out=tmp_path / "broken")
    stopped_after(broken, 1)
    resumed = stopped_after(broken, 2)
    assert resumed.epoch_number == 3 and resumed.step == whole.step == 12
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    for name, value in whole.mean.state_dict().items():
        assert torch.equal(value, resumed.mean.state_dict()[name]), name


@pytest.mark.slow
def test_threads_share_a_batch_and_two_runs_agree(config, tmp_path):
    runs = [stopped_after(replace(config, out=tmp_path / name, threads=2, attacked=0.5), 1) for name in ("a", "b")]
    for name, value in runs[0].model.state_dict().items():
        assert torch.equal(value, runs[1].model.state_dict()[name]), name
    with pytest.raises(ConfigError, match="two frames to each thread"):
        replace(config, batch=8, threads=5)


def test_gradients_and_statistics_of_shares_are_averaged_by_their_size():
    model, *replicas = (DriveNet(TINY) for _ in range(3))
    for value, replica in zip((1.0, 5.0), replicas, strict=True):
        for parameter in replica.parameters():
            parameter.grad = torch.full_like(parameter, value)
        for buffer in replica.buffers():
            buffer.fill_(value)
    gathered(model, replicas, [0.75, 0.25])
    assert all((parameter.grad == 2.0).all() for parameter in model.parameters())
    for buffer in model.buffers():
        assert (buffer == (2.0 if buffer.is_floating_point() else 1.0)).all()


@pytest.mark.slow
def test_run_learns_and_ships_weights_that_load(config):
    result = train.run(config)
    assert result["epochs"] == 4 and 1 <= result["best_epoch"] <= 4
    assert result["figures"]["distance_to_perfect"] < 3
    perceiver = Perceiver.load(Path(result["checkpoint"]))
    val = dataset.read(config.data, "val")
    assert np.isfinite(perceiver.perceive(val.rgb, val.labels["command"]).path_m).all()
    _, meta = checkpoint.load(result["checkpoint"])
    usual = dataset.by_usual_camera(dataset.read(config.data, "train"))
    assert meta["train_frames"] == len(usual) < 32 and "floor" in meta
    assert perceiver.perceive(val.rgb, val.labels["command"]).around is not None
    assert list((config.out / "tensorboard").iterdir())
    assert train.run(config)["epochs"] == 4, "a finished run has nothing left to do"


@pytest.mark.slow
def test_losses_fall(config):
    frames = dataset.read(config.data, "train")
    training = Training(replace(config, epochs=20), frames)
    totals = [sum(training.epoch(frames).values()) for _ in range(8)]
    assert totals[-1] < 0.7 * totals[0]


@pytest.mark.slow
def test_state_of_other_settings_is_refused(config):
    stopped_after(config, 1)
    with pytest.raises(CheckpointError, match="other settings"):
        Training(replace(config, seed=1), dataset.read(config.data, "train"))


def test_nan_never_reaches_the_weights(config):
    frames = dataset.read(config.data, "train")
    frames.labels["path_m"][3] = np.nan
    training = Training(config, frames)
    training.model.path_std.fill_(1.0)
    training.model.path_mean.zero_()
    with pytest.raises(RuntimeError, match="non-finite"):
        training.epoch(frames)
    assert all(torch.isfinite(p).all() for p in training.model.parameters())


def test_no_data_is_said_in_one_sentence(tmp_path):
    with pytest.raises(DatasetError, match="nanodrive generate"):
        train.run(TrainConfig(data=tmp_path / "nothing", out=tmp_path / "run"))


@pytest.mark.parametrize("change", [{"epochs": 0}, {"batch": 1}, {"rate": float("nan")}, {"threads": 0},
                                    {"attacked": 1.5}])
def test_bad_settings_are_refused(change):
    with pytest.raises(ConfigError):
        TrainConfig(**change)


def test_batch_above_the_frames_is_refused(config):
    with pytest.raises(ConfigError, match="smaller batch"):
        Training(replace(config, batch=64), dataset.read(config.data, "train"))


@pytest.mark.slow
def test_the_last_weights_are_kept_beside_the_best(config):
    frames, val = dataset.read(config.data, "train"), dataset.read(config.data, "val")
    training = Training(config, frames)
    for merit in (0.5, 0.7):
        training.epoch(frames)
        training.finish_epoch({"distance_to_perfect": merit}, val, {})
    (best, told), (last, told_last) = (checkpoint.load(config.out / name) for name in ("perception", "last"))
    assert (told["epoch"], told_last["epoch"]) == (1, 2)
    for name, value in training.mean.state_dict().items():
        torch.testing.assert_close(last[name], value, msg=name)
    assert any(not torch.equal(best[name], value) for name, value in last.items())


@pytest.mark.slow
def test_a_run_may_start_from_trained_weights(config, tmp_path):
    """As after mining: the first weights are those of the checkpoint, its scale of the path included."""
    stopped_after(config, 2)
    frames = dataset.read(config.data, "train")
    again = Training(replace(config, out=tmp_path / "again", start=config.out / "perception"), frames)
    tensors, _ = checkpoint.load(config.out / "perception")
    for name, value in again.model.state_dict().items():
        torch.testing.assert_close(value, tensors[name].to(value.dtype), msg=name)
    with pytest.raises(CheckpointError, match="missing"):
        train.run(replace(config, data=tmp_path / "no_frames", start=tmp_path / "nothing"))
