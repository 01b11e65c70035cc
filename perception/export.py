"""The network by ONNX Runtime: the same weights and numbers as in torch, in less than half of its time on one core.

A network is exported in memory when it is loaded, in a fifth of a second, so no second file of weights can go stale.
What the outputs mean is model.py's business.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from envs.geometry import Array
from envs.roads.routes import COMMAND_HIGH
from perception.finder import find_peaks
from perception.model import (
    GLANCE_HEIGHT_PX,
    GLANCE_WIDTH_PX,
    PIXEL_MEAN,
    PIXEL_SCALE,
    DriveNet,
    band_pixels,
    frozen,
    glance_pixels,
)

INSIDE = ("heat", "boxes", "phases", "line_columns", "line_cells_far", "line_cells_near", "light_cells",
          "path_given")
OPSET = 17
GRAPHS_KEPT = 8
_GRAPHS: dict[bytes, bytes] = {}


class OnnxNet:
    """`frozen(model)` as an ONNX graph, for batches of any size, on as many threads as torch has now.

    Pixels go in as they are; the maps of cells stay inside, and the things found in them come out. Changes the model
    given as `frozen` does.
    """

    def __init__(self, model: DriveNet) -> None:
        frozen(model)
        pixels = np.zeros((2, 2 * GLANCE_HEIGHT_PX, 2 * GLANCE_WIDTH_PX, 3), np.uint8)
        command = np.zeros((2, len(COMMAND_HIGH)), np.float32)
        inputs = {name: torch.from_numpy(value) for name, value in inputs_of(pixels, command).items()}
        net = _Net(model)
        with torch.inference_mode():
            self.heads = tuple(net.heads(**inputs))
        self.graph = to_onnx(net, inputs, self.heads)
        self._session = session(self.graph)

    def __call__(self, image: Tensor, command: Tensor) -> dict[str, Tensor]:
        """As `DriveNet.forward`, without the heads of INSIDE."""
        values = self._session.run(None, inputs_of(image.numpy(), command.numpy()))
        return {head: torch.from_numpy(value) for head, value in zip(self.heads, values, strict=True)}


def inputs_of(image: Array, command: Array) -> dict[str, Array]:
    """What the graph takes, from frames uint8 (N, H, W, 3) and commands (N, 10)."""
    return {"glance": glance_pixels(image), "band": band_pixels(image), "command": command}


class _Net(nn.Module):
    """`DriveNet.forward` from pixels of glance and band, with its heads as a tuple, as the exporter wants them."""

    def __init__(self, model: DriveNet) -> None:
        super().__init__()
        self.model = model

    def heads(self, glance: Tensor, band: Tensor, command: Tensor) -> dict[str, Tensor]:
        whole, wide = ((pixels.permute(0, 3, 1, 2).float() - PIXEL_MEAN) * PIXEL_SCALE for pixels in (glance, band))
        outputs = self.model.look(whole, wide, command)
        found = find_peaks(outputs)
        return {head: value for head, value in (outputs | found).items() if head not in INSIDE}

    def forward(self, glance: Tensor, band: Tensor, command: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.heads(glance, band, command).values())


def to_onnx(module: nn.Module, inputs: dict[str, Tensor], outputs: Sequence[str],
            free: dict[int, str] | None = None) -> bytes:
    """An ONNX model of a module in evaluation mode; `free` names the dimensions of all that goes in or out that may be
    of any size, by default the first one, the batch.

    The last GRAPHS_KEPT are remembered: a process that loads the same weights again need not trace them again.
    """
    shapes = {name: value.shape for name, value in inputs.items()}
    key = hashlib.sha256(repr((module, shapes, outputs, free)).encode())
    for name, value in module.state_dict().items():
        key.update(name.encode() + value.contiguous().numpy().tobytes())
    graph = _GRAPHS.pop(key.digest(), None) or _traced(module, inputs, outputs, free)
    _GRAPHS[key.digest()] = graph  # the last one used is the last one to go
    if len(_GRAPHS) > GRAPHS_KEPT:
        _GRAPHS.pop(next(iter(_GRAPHS)))
    return graph


def _traced(module: nn.Module, inputs: dict[str, Tensor], outputs: Sequence[str],
            free: dict[int, str] | None) -> bytes:
    file: Any = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter by tracing is deprecated; the new one takes seconds
        torch.onnx.export(module.eval(), tuple(inputs.values()), file, input_names=list(inputs),
                          output_names=list(outputs), dynamo=False, opset_version=OPSET,
                          dynamic_axes={name: free or {0: "batch"} for name in (*inputs, *outputs)})
    return bytes(file.getvalue())


def session(graph: bytes) -> Any:
    """ONNX Runtime over a graph of `to_onnx`, on as many threads as torch has now."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other processes want the cores
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
