"""The network by ONNX Runtime gives what torch gives."""

import copy
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch

from envs.roads.routes import COMMAND_HIGH, COMMAND_LOW
from perception import export
from perception.export import INSIDE, OnnxNet
from perception.model import DriveNet, frozen
from perception.perceiver import Perceiver
from perception.portable import comparable

LOOSE = 2e-2
PARITY = 1e-4  # of outputs of order one; metres and pixels are compared relative to their size


@pytest.mark.parametrize("count", [1, 3, 8])
def test_onnx_agrees_with_torch_on_the_shipped_weights(count):
    rng = np.random.default_rng(count)
    smooth = rng.integers(0, 256, (count, 20, 40, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    command = rng.uniform(COMMAND_LOW, COMMAND_HIGH, (count, len(COMMAND_HIGH))).astype(np.float32)
    seen = [vars(Perceiver.load(backend=name).perceive(smooth, command)) for name in ("onnx", "torch")]
    around = [vars(percept.pop("around") or SimpleNamespace()) for percept in seen]
    for name, value in (seen[0] | around[0]).items():
        # crops for the second look and the namer come in whole grey levels, so a ten-thousandth more may turn one
        loose = LOOSE if name.startswith(("sign_", "light_", "vehicle_", "person_", "stop_confidence")) else PARITY
        np.testing.assert_allclose(value, (seen[1] | around[1])[name], rtol=loose, atol=loose, err_msg=name)


def test_every_output_keeps_its_name():
    torch.manual_seed(3)
    model = DriveNet()
    image, command = torch.randint(0, 256, (2, 160, 320, 3), dtype=torch.uint8), torch.rand(2, len(COMMAND_HIGH))
    with torch.inference_mode():
        by_onnx, by_torch = OnnxNet(model)(image, command), frozen(model)(image, command)
    assert by_onnx.keys() == by_torch.keys() - set(INSIDE)
    assert all(value.shape == by_torch[name].shape for name, value in by_onnx.items())
    pairs = comparable({name: by_torch[name].numpy() for name in by_onnx}, {k: v.numpy() for k, v in by_onnx.items()})
    assert all(np.abs(ours - theirs).max(initial=0) < PARITY for ours, theirs in pairs)


def test_a_graph_is_valid_and_small():
    net = OnnxNet(DriveNet())
    graph = onnx.load_model_from_string(net.graph)
    onnx.checker.check_model(graph, full_check=True)
    assert [given.name for given in graph.graph.input] == ["glance", "band", "command"]
    assert len(net.graph) < 3_000_000


def test_the_same_weights_are_traced_once_and_others_anew(monkeypatch):
    traced, inputs = [], {"x": torch.zeros(1, 2)}
    really = export._traced
    monkeypatch.setattr(export, "_GRAPHS", {})
    monkeypatch.setattr(export, "_traced", lambda *given: traced.append(given) or really(*given))
    layer = torch.nn.Linear(2, 1)
    graph = export.to_onnx(layer, inputs, ("y",))
    assert export.to_onnx(copy.deepcopy(layer), inputs, ("y",)) == graph and len(traced) == 1
    assert export.to_onnx(layer, inputs, ("z",)) != graph and len(traced) == 2
    with torch.no_grad():
        layer.bias += 1.0
    other = export.session(export.to_onnx(layer, inputs, ("y",)))
    assert len(traced) == 3
    assert other.run(None, {"x": np.zeros((1, 2), np.float32)})[0] == pytest.approx(layer.bias.item())
    for width in range(3, 4 + export.GRAPHS_KEPT):
        export.to_onnx(torch.nn.Linear(width, 1), {"x": torch.zeros(1, width)}, ("y",))
    assert len(export._GRAPHS) == export.GRAPHS_KEPT
