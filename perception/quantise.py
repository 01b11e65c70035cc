"""The network's convolutions in whole numbers of 8 bits, for processors that are quick with them.

Static quantisation by ONNX Runtime: scales of the activations are measured (their range over frames of train towns,
drawn anew when the network is loaded, so no second file can go stale), weights have a scale for each channel. The small
heads stay in floating point: they cost little and place things to the centimetre. What it loses and gains is measured
by portable.py.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from envs.geometry import Array
from perception.export import OnnxNet, inputs_of, session
from perception.generate import GenerateConfig, Shard, make_shard
from perception.model import DriveNet

CALIBRATION_FRAMES, CALIBRATION_TOWNS, BATCH = 64, 4, 16
QUANTISED = ("Conv",)  # kinds of nodes


class QuantisedNet(OnnxNet):
    """`OnnxNet` with 8-bit convolutions. Takes a second or two to load: see CALIBRATION_FRAMES."""

    def __init__(self, model: DriveNet) -> None:
        super().__init__(model)
        shard = calibration_frames()
        batches = [inputs_of(shard["rgb"][rows], shard["command"][rows])
                   for rows in np.split(np.arange(CALIBRATION_FRAMES), CALIBRATION_FRAMES // BATCH)]
        self.graph = quantised(self.graph, batches)
        self._session = session(self.graph)


def calibration_frames() -> Mapping[str, Array]:
    """CALIBRATION_FRAMES frames of train towns with their labels, the same each time."""
    config = GenerateConfig(train_frames=CALIBRATION_FRAMES, shard_frames=CALIBRATION_FRAMES, workers=1,
                            usual_share=1.0, frames_per_town=CALIBRATION_FRAMES // CALIBRATION_TOWNS)
    return make_shard(config, Shard("train", 0, CALIBRATION_FRAMES))


class _Reader(CalibrationDataReader):
    """Batches of inputs, one after the other."""

    def __init__(self, batches: list[dict[str, Array]]) -> None:
        self._left: Iterator[dict[str, Array]] = iter(batches)

    def get_next(self) -> dict[str, Array] | None:  # type: ignore[override]
        return next(self._left, None)


def quantised(graph: bytes, batches: list[dict[str, Array]]) -> bytes:
    """An ONNX graph with its QUANTISED nodes in 8 bits; `batches` are inputs by name to measure ranges on."""
    quiet = logging.getLogger()
    level = quiet.level
    quiet.setLevel(logging.ERROR)  # it advises what has been done
    try:
        with tempfile.TemporaryDirectory() as folder:
            plain, ready, small = (Path(folder) / name for name in ("plain.onnx", "ready.onnx", "small.onnx"))
            plain.write_bytes(graph)
            quant_pre_process(plain, ready, skip_symbolic_shape=True)
            quantize_static(ready, small, _Reader(batches), quant_format=QuantFormat.QDQ, per_channel=True,
                            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                            op_types_to_quantize=list(QUANTISED))
            return small.read_bytes()
    finally:
        quiet.setLevel(level)

