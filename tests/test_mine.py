"""Mining: the frames kept are the worst, they join the train shards, and the data set stays readable."""

import numpy as np
import pytest

from envs.config import CameraConfig, ConfigError
from perception import checkpoint, dataset, generate, mine
from perception.dataset import Frames
from perception.generate import DatasetError, GenerateConfig
from perception.mine import MineConfig, badness
from perception.model import DriveNet, ModelConfig, describe
from perception.perceiver import Perceiver

SMALL = CameraConfig(width_px=160, height_px=80)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Frames of one train town, and an untrained network."""
    folder = tmp_path_factory.mktemp("mined")
    generate.run(GenerateConfig(out=folder, train_frames=8, val_frames=0, frames_per_town=4, shard_frames=8, workers=1,
                                camera=SMALL))
    net = DriveNet(ModelConfig(stem=8, fine=8, middle=16, coarse=16, trunk=32))
    checkpoint.save(folder / "net", net.state_dict(), describe(net) | {"camera": vars(SMALL)})
    return folder


@pytest.mark.slow
def test_the_worst_frames_join_the_train_shards(data):
    before = len(dataset.read(data, "train"))
    result = mine.run(MineConfig(data / "net", data, candidates=24, keep=0.25))
    train = dataset.read(data, "train")
    assert result["kept"] == round(0.25 * result["looked_at"]) == len(train) - before
    assert result["badness_kept"] > result["badness_rest"]
    again = mine.run(MineConfig(data / "net", data, candidates=24, keep=0.1))
    assert again["shard"] != result["shard"] and len(dataset.read(data, "train")) == len(train) + again["kept"]


def test_who_sees_better_is_less_bad(data):
    """The truth about the path, put in the place of an untrained network's, lowers every frame's badness."""
    frames: Frames = dataset.read(data, "train")
    percept = Perceiver.load(data / "net").perceive(frames.rgb, frames.labels["command"])
    worse = badness(percept, frames.labels)
    object.__setattr__(percept, "path_m", frames.labels["path_m"])
    assert (badness(percept, frames.labels) <= worse).all() and np.isfinite(worse).all()


def test_what_cannot_be_mined_is_told(data, tmp_path):
    with pytest.raises(DatasetError, match="is missing"):
        mine.run(MineConfig(data / "net", tmp_path))
    with pytest.raises(ConfigError, match="keep is 0"):
        MineConfig(data / "net", keep=0.0)
