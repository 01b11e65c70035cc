"""`nanodrive perceive --average`: one camera network from several of the same kind, the mean of their weights.

Networks that went on from one another lie in one valley of the loss, and the mean of their weights is often better than
each of them (Wortsman et al. 2022, "Model soups"). Of one network alone the confidences are fitted anew, as they must
be after the second look or the reader has changed. Nothing is learned here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tyro.conf import Positional

from envs.config import require
from perception import checkpoint, dataset, metrics
from perception.checkpoint import CheckpointError
from perception.train import finish


@dataclass(frozen=True)
class AverageConfig:
    """Settings of `nanodrive perceive --average`."""

    stems: Positional[tuple[Path, ...]]
    """checkpoints of `--train`, without their endings; one named twice counts twice"""
    data: Path = Path("data/perception")
    """folder made by `nanodrive generate`: confidences are fitted on its val frames, and the figures are of these"""
    out: Path = Path("runs/average")
    """folder of the new checkpoint"""

    def __post_init__(self) -> None:
        require(len(self.stems) > 0, "no checkpoint is named; give one or more, without their endings")


def run(config: AverageConfig) -> dict[str, Any]:
    """Write the mean network with its confidences fitted; returns its figures and the checkpoint's path.

    Raises CheckpointError for checkpoints that cannot be used or are of different networks, DatasetError for frames.
    """
    parts = [checkpoint.load(stem) for stem in config.stems]
    for stem, (_, meta) in zip(config.stems, parts, strict=True):
        for what in ("kind", "model", "camera"):
            if meta.get(what) != parts[0][1].get(what):
                raise CheckpointError(f"{stem} is of another {what} than {config.stems[0]}; average networks of one "
                                      "kind, size and camera")
    val = dataset.read_usual(config.data, "val")
    floor = metrics.floor_of(val.labels, val.labels, val.camera.width_px)
    sources = [checkpoint.fingerprint(stem) for stem in config.stems]
    out = config.out / "perception"
    checkpoint.save(out, mean([tensors for tensors, _ in parts]), parts[0][1] | {
        "averaged": sources, "val_frames": len(val)})
    figures = finish(out, val, floor)
    return {"checkpoint": str(out), "averaged": sources, "figures": figures, "floor": checkpoint.plain(floor),
            "val_frames": len(val)}


def mean(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each tensor over several networks, float32; counters are the first one's. Raises CheckpointError
    where names or shapes differ.
    """
    shapes = [{name: tensor.shape for name, tensor in part.items()} for part in parts]
    if any(shape != shapes[0] for shape in shapes):
        raise CheckpointError("the checkpoints have other tensors; average networks that went on from one another")
    return {name: torch.stack([part[name].double() for part in parts]).mean(0).float()
            if tensor.is_floating_point() else tensor for name, tensor in parts[0].items()}
