"""`nanodrive generate --mine CHECKPOINT`: frames on which a network is wrong or unsure, added to what it learned from.

New drives through train towns are rendered and shown to the network; the worst share of the frames is kept, as further
shards of the data set, so that the next `nanodrive perceive --train` learns from them too. Val and test towns are never
mined. Labels and files are generate.py's.
"""

from __future__ import annotations

import io
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from tyro.conf import Positional

from envs.config import CameraConfig, require
from envs.geometry import Array
from envs.roads.network import Control
from envs.state import Phase
from perception import generate
from perception.checkpoint import replace_file
from perception.dataset import Frames, by_usual_camera
from perception.generate import GenerateConfig, Shard
from perception.metrics import boxes_iou
from perception.perceiver import Perceiver, Percept
from perception.surroundings import NEAR_LIGHT_M

PATH_UNIT_M = 0.3  # of lateral error weighs as much as a sign that is missed
NEAR_POINTS = 8  # of the path, up to 18 m ahead
NEAR_SIGN_M, MATCH_IOU = 30.0, 0.3
BLIND_M = 2.0  # stop lines nearer than this lie below the picture


@dataclass(frozen=True)
class MineConfig:
    """Settings of `nanodrive generate --mine`."""

    checkpoint: Positional[Path]
    """the network, without its ending, such as runs/perception/perception"""
    data: Path = Path("data/perception")
    """data set that gets the frames; their settings are its own"""
    candidates: int = 4_000
    """frames to look at"""
    keep: float = 0.25
    """share of them to keep: the worst"""

    def __post_init__(self) -> None:
        require(1 <= self.candidates <= 500_000, f"candidates is {self.candidates}; give 1 to 500000")
        require(0.0 < self.keep <= 1.0, f"keep is {self.keep}; give a share above 0, up to 1")


def run(config: MineConfig) -> dict[str, Any]:
    """Add the worst frames to the data set; returns how many, and how bad they are beside the rest.

    Raises DatasetError for a data set and CheckpointError for a network that cannot be used.
    """
    started = time.monotonic()
    card = generate.read_card(config.data)
    round_number = 1 + sum(name.startswith("train-mined") for name in card["shards"])
    settings = dict(card["settings"])
    camera = CameraConfig(**settings.pop("camera"))
    source = GenerateConfig(out=config.data, camera=camera, **settings)
    source = replace(source, seed=source.seed + 1_000_003 * round_number)  # other drives than those it learned from
    perceiver = Perceiver.load(config.checkpoint, camera)
    parts, errors = [], []
    size = source.shard_frames
    for index in track(range(-(-config.candidates // size)), "mine"):
        shard = generate.make_shard(source, Shard("train", index, min(size, config.candidates - index * size)))
        frames = by_usual_camera(Frames(camera, shard.pop("rgb"), shard))  # the network is made for this camera alone
        parts.append(frames.labels | {"rgb": frames.rgb})
        errors.append(badness(perceiver.perceive(frames.rgb, frames.labels["command"]), frames.labels))
    error = np.concatenate(errors)
    kept = np.sort(np.argsort(-error, kind="stable")[:max(round(config.keep * len(error)), 1)])
    arrays = {name: np.concatenate([part[name] for part in parts])[kept] for name in parts[0]}
    name = f"train-mined-{round_number:03d}.npz"
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    replace_file(config.data / name, buffer.getvalue())
    card["shards"][name] = {"frames": len(kept), "split": "train", "counts": generate.counts_of(arrays),
                            "sha256": generate.hash_of(config.data / name)}
    card |= generate.totals(card["shards"])
    replace_file(config.data / "dataset.json", json.dumps(card, indent=2, sort_keys=True).encode())
    rest = np.delete(error, kept)
    return {"data": str(config.data), "shard": name, "looked_at": len(error), "kept": len(kept),
            "badness_kept": round(float(error[kept].mean()), 3),
            "badness_rest": round(float(rest.mean()), 3) if len(rest) else None,
            "duration_s": round(time.monotonic() - started, 1)}


def badness(percept: Percept, labels: dict[str, Array]) -> Array:
    """How wrong and unsure each frame's percept is (N,): 1 is about one thing missed, or PATH_UNIT_M off the path."""
    lateral = np.abs(percept.path_m - labels["path_m"])[:, :NEAR_POINTS, 1].mean(1) / PATH_UNIT_M
    truth = np.isfinite(labels["boundaries_px"])
    lines = (truth != np.isfinite(percept.boundaries_px)).mean((1, 2))
    there = (labels["sign_class"] >= 0) & (labels["sign_distance_m"] < NEAR_SIGN_M)
    hit = boxes_iou(labels["sign_box_px"][:, :, None], percept.sign_box_px[:, None]) > MATCH_IOU
    is_read = (hit & (labels["sign_class"][:, :, None] == percept.sign_class[:, None])).any(2)
    invented = ((percept.sign_class >= 0) & ~(hit & (labels["sign_class"] >= 0)[:, :, None]).any(1)).sum(1)
    has_stop = (labels["stop_kind"] == Control.STOP) & np.isfinite(labels["stop_m"])
    stop = np.abs(has_stop - percept.stop_confidence) * (labels["stop_m"] > BLIND_M)
    total = lateral + lines + (there & ~is_read).sum(1) + invented + stop + (1 - percept.path_confidence)
    if percept.around is not None:
        near = np.where(labels["my_light_m"] < NEAR_LIGHT_M, labels["my_light"], int(Phase.OFF))
        total = total + (percept.around.my_light != near)
    return np.asarray(total, float)
