"""The mean of several networks: of their weights, and with confidences of its own."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

import nanodrive
from envs.config import CameraConfig
from perception import checkpoint, generate
from perception.average import AverageConfig, mean, run
from perception.checkpoint import CheckpointError
from perception.generate import GenerateConfig
from perception.model import DriveNet, ModelConfig, describe

CAMERA = CameraConfig(width_px=160, height_px=80)
TINY = ModelConfig(stem=8, fine=8, middle=16, coarse=16, trunk=32)


def saved(stem, seed, model=TINY):
    torch.manual_seed(seed)
    net = DriveNet(model)
    checkpoint.save(stem, net.state_dict(), describe(net) | {"kind": "perception", "camera": asdict(CAMERA)})
    return stem


def test_the_mean_is_of_every_weight():
    parts = [{"w": torch.full((2, 3), value), "count": torch.tensor(number)} for value, number in
             ((1.0, 7), (2.0, 8), (6.0, 9))]
    found = mean(parts)
    assert (found["w"] == 3.0).all() and found["w"].dtype == torch.float32 and found["count"] == 7
    assert torch.equal(mean(parts[1:2])["w"], parts[1]["w"])
    with pytest.raises(CheckpointError, match="other tensors"):
        mean([parts[0], {"w": torch.zeros(3, 2), "count": torch.tensor(0)}])


@pytest.mark.slow
def test_a_mean_network_sees_and_says_what_it_is_made_of(tmp_path):
    generate.run(GenerateConfig(out=tmp_path / "data", train_frames=0, val_frames=6, frames_per_town=6,
                                shard_frames=6, workers=1, usual_share=1.0, camera=CAMERA))
    stems = tuple(saved(tmp_path / name, seed) for seed, name in enumerate("ab"))
    result = run(AverageConfig(stems, tmp_path / "data", tmp_path / "out"))
    tensors, meta = checkpoint.load(tmp_path / "out" / "perception")
    assert meta["averaged"] == [checkpoint.fingerprint(stem) for stem in stems] and meta["odds"]
    assert meta["figures"] == result["figures"] and result["val_frames"] == meta["val_frames"] == 6
    a, b = (checkpoint.load(stem)[0] for stem in stems)
    name = "trunk.0.weight"
    assert np.allclose(tensors[name].float(), (a[name] + b[name]) / 2, atol=1e-3), "as float16"


@pytest.mark.parametrize(("others", "said"), [
    (("nowhere",), "nowhere"), (("wide",), "another model than"), ((), "no checkpoint is named")])
def test_what_cannot_be_averaged_is_told_in_a_sentence(others, said, tmp_path, capfd):
    saved(tmp_path / "a", 0)
    saved(tmp_path / "wide", 0, ModelConfig(stem=8, fine=8, middle=24, coarse=16, trunk=32))
    stems = [str(tmp_path / name) for name in ("a", *others)] if others else []
    assert nanodrive.main(["perceive", "--average", *stems, "--data", str(tmp_path / "none")]) == 2
    err = capfd.readouterr().err
    assert said in err and err.count("\n") == 1
