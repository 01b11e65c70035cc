"""The exported files stand on their own: right numbers, right words; and all shipped networks are small."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors import safe_open

import nanodrive
from envs.config import ConfigError
from perception import portable
from perception.perceiver import WEIGHTS, load_network
from perception.portable import PARITY, ExportConfig

MOST_PARAMETERS, MOST_BYTES = 1_500_000, 4_000_000


def test_export_checks_parity_and_says_what_it_is(tmp_path, capfd):
    file = tmp_path / "eyes.onnx"
    assert nanodrive.main(["perceive", "--export", str(file)]) == 0
    out = capfd.readouterr().out
    answer = json.loads(out.strip().splitlines()[-1])
    assert 0 <= answer["parity"] < PARITY and "largest difference from torch" in out
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert about["camera"]["horizontal_fov_deg"] == 80.0 and "sign" in about["kinds"]
    assert "[m]" in about["outputs"]["path"] and len(about["path_stations_m"]) == 12
    assert {output.name for output in session.get_outputs()} <= about["outputs"].keys()
    assert {given.name for given in session.get_inputs()} <= about["inputs"].keys()
    onnx.checker.check_model(onnx.load_model(file))


def test_a_changed_file_misses_parity(tmp_path, monkeypatch):
    monkeypatch.setattr(portable, "_difference", lambda a, b: float(np.abs(a - b - 0.001).max()))
    with pytest.raises(ConfigError, match=r"differs from torch by .*, more than 1e-04; do not use it"):
        portable.run(ExportConfig(tmp_path / "eyes.onnx"))


def test_bad_input(tmp_path, capfd):
    for arguments, said in [([str(tmp_path / "eyes.pt")], "give a name that ends in .onnx"),
                            ([str(tmp_path / "e.onnx"), "--weights", str(tmp_path / "none")], "none.json is missing"),
                            ([str(tmp_path / "e.onnx"), "--data", str(tmp_path)], "dataset.json is missing")]:
        assert nanodrive.main(["perceive", "--export", *arguments]) == 2
        err = capfd.readouterr().err
        assert said in err and len(err.strip().splitlines()) == 1


def test_all_shipped_networks_together_are_small():
    """Parameters and bytes of every checkpoint in perception/weights; running statistics are bytes, no parameters."""
    files = list(Path(WEIGHTS).parent.glob("*.safetensors"))
    assert files
    count = 0
    for file in files:
        with safe_open(file, "np") as tensors:
            count += sum(int(np.prod(tensors.get_slice(name).get_shape())) for name in tensors.keys()  # noqa: SIM118
                         if not name.endswith(("running_mean", "running_var", "num_batches_tracked")))
    assert count < MOST_PARAMETERS and sum(file.stat().st_size for file in files) < MOST_BYTES
    assert sum(p.numel() for p in load_network(WEIGHTS)[0].parameters()) <= count
