"""The path head learns on alone: better than before, all else to the bit as it was, and on from where it stopped."""

from dataclasses import asdict, replace

import pytest
import torch

import nanodrive
from envs.config import CameraConfig
from perception import checkpoint, generate, train_path
from perception.generate import GenerateConfig
from perception.model import DriveNet, ModelConfig, describe
from perception.perceiver import load_network
from perception.train_path import Training, TrainPathConfig, looked_at, run

CAMERA = CameraConfig(width_px=160, height_px=80)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("path")
    generate.run(GenerateConfig(out=folder / "data", train_frames=32, val_frames=8, frames_per_town=8, shard_frames=32,
                                workers=1, usual_share=1.0, camera=CAMERA))
    torch.manual_seed(0)
    net = DriveNet(ModelConfig(stem=8, fine=8, middle=16, coarse=16, trunk=32))
    checkpoint.save(folder / "net", checkpoint.halved(net.state_dict()), describe(net) | {
        "kind": "perception", "camera": asdict(CAMERA)})
    return TrainPathConfig(data=(folder / "data",), weights=folder / "net", out=folder / "out", epochs=40, batch=8,
                           rate=5e-3, threads=1)


@pytest.mark.slow
def test_the_path_gets_better_and_nothing_else_changes(config):
    result = run(config)
    before, after = checkpoint.load(config.weights)[0], checkpoint.load(config.out / "perception")
    assert result["looks"] == 64, "each of the frames as it is and once disturbed"
    changed = {name for name, value in after[0].items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("path.") for name in changed)
    assert after[1]["path_from"] == checkpoint.fingerprint(config.weights) and after[1]["odds"]
    net, learned = (load_network(stem)[0].eval() for stem in (config.weights, config.out / "perception"))
    given, paths = looked_at(net, config)
    with torch.no_grad():
        errors = [float((model.path_of(given)["path"] - paths).abs().mean()) for model in (net, learned)]
    assert errors[1] < 0.8 * errors[0], "32 frames and a trunk by chance"


@pytest.mark.slow
def test_an_interrupted_run_goes_on_bit_for_bit(config, tmp_path):
    net = load_network(config.source)[0].eval().requires_grad_(False)
    given, paths = looked_at(net, config)
    whole = Training(replace(config, out=tmp_path / "whole"), net, len(given))
    for _ in range(3):
        whole.learn(given, paths)
    broken = replace(config, out=tmp_path / "broken")
    Training(broken, net, len(given)).learn(given, paths)
    resumed = Training(broken, net, len(given))
    assert resumed.epoch == 1
    for _ in range(2):
        resumed.learn(given, paths)
    assert all(torch.equal(value, resumed.mean.state_dict()[name]) for name, value in whole.mean.state_dict().items())


@pytest.mark.parametrize(("arguments", "said"), [
    (["--data"], "data"), (["--data", "nowhere"], "nowhere"), (["--weights", "nowhere"], "nowhere"),
    (["--epochs", "0"], "epochs is 0")])
def test_bad_input_is_told_in_a_sentence(arguments, said, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert nanodrive.main(["perceive", "--train-path", *arguments]) == 2
    assert said in capfd.readouterr().err
    assert train_path.WEIGHTS.with_suffix(".json").is_file()
