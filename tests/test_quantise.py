"""8-bit convolutions: smaller, nearly the same answers, and the same each time."""

import numpy as np
import onnx
import pytest

from perception.glides import glide
from perception.perceiver import BACKENDS, WEIGHTS, Perceiver, load_network
from perception.quantise import QuantisedNet


@pytest.mark.exhaustive
def test_eight_bits_see_nearly_the_same():
    frames = glide(10_001, "overcast", 6, load_network(WEIGHTS)[1])
    percepts = [Perceiver.load(backend=name).perceive(frames.rgb, frames.labels["command"])
                for name in ("onnx", "onnx-int8", "onnx-int8")]
    assert np.abs(percepts[1].path_m - percepts[0].path_m)[:, :9].mean() < 0.1
    assert np.abs(percepts[1].path_m - percepts[0].path_m).max() > 1e-6, "it is another network"
    assert np.array_equal(percepts[1].path_m, percepts[2].path_m)


@pytest.mark.exhaustive
def test_the_convolutions_are_eight_bits_and_smaller():
    net = QuantisedNet(load_network(WEIGHTS)[0])
    graph = onnx.load_model_from_string(net.look_graph)
    kinds = [node.op_type for node in graph.graph.node]
    assert kinds.count("QuantizeLinear") > 10
    assert isinstance(BACKENDS["onnx-int8"](load_network(WEIGHTS)[0]), QuantisedNet)
