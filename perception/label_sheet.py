"""`nanodrive generate --sheet`: a sheet of labelled frames, so that a person can see whether the truth is true.

Each frame has its lines (by place), road (blue), boxes and a line of text; frames are drawn evenly from several towns.
With `--seen` the same frames show what the shipped network sees in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from envs.config import CameraConfig, require
from envs.geometry import Array
from envs.lane_lines import anchor_rows
from envs.roads.network import Marking
from envs.signs import SIGNS
from envs.state import Phase
from envs.weather import WEATHERS
from perception.checkpoint import replace_file
from perception.generate import GenerateConfig, Shard, make_shard
from perception.perceiver import Perceiver
from perception.show import overlay
from perception.sight import outlined
from scenarios.spec import SPLITS

TOWN_FRAMES = 4
SHOWN = 2  # times as large as the frames
LINE_RGB = ((255, 70, 70), (80, 240, 90), (70, 220, 255), (255, 90, 255))
BOX_RGB = {"sign": (255, 230, 60), "light": (255, 140, 40), "vehicle": (90, 130, 255), "person": (255, 255, 255)}


@dataclass(frozen=True)
class SheetConfig:
    """Settings of `nanodrive generate --sheet`."""

    file: Path = Path("runs/labels.png")
    """the picture to write"""
    split: str = "train"
    """towns: train, val or test"""
    rows: int = 6
    """of frames"""
    columns: int = 4
    """of frames"""
    seen: bool = False
    """draw what the shipped network sees, not the labels; all frames are then of the camera that drives"""
    seed: int = 0
    """of towns' order and of poses"""

    def __post_init__(self) -> None:
        require(self.split in ("train", "val", "test"), f"split is {self.split}; give train, val or test")
        for name, most in (("rows", 40), ("columns", 10)):
            require(1 <= getattr(self, name) <= most, f"{name} is {getattr(self, name)}; give 1 to {most}")


def run(config: SheetConfig) -> dict[str, Any]:
    """Make frames, draw their labels into them and write the sheet."""
    count = config.rows * config.columns
    train, val, test = (count if split == config.split else 0 for split in SPLITS)
    made = GenerateConfig(train_frames=train, val_frames=val, test_frames=test, frames_per_town=TOWN_FRAMES,
                          shard_frames=TOWN_FRAMES * count, seed=config.seed,
                          usual_share=1.0 if config.seen else 0.6)
    arrays = make_shard(made, Shard(config.split, 0, count))
    if config.seen:
        percept = Perceiver.load().perceive_all(arrays["rgb"], arrays["command"])
        tiles = [overlay(arrays["rgb"][k], percept, k, made.camera) for k in range(count)]
    else:
        tiles = [drawn({name: values[k] for name, values in arrays.items()}, made.camera) for k in range(count)]
    sheet = np.vstack([np.hstack(tiles[k:k + config.columns]) for k in range(0, count, config.columns)])
    config.file.parent.mkdir(parents=True, exist_ok=True)
    ok, data = cv2.imencode(".png", sheet[..., ::-1])
    assert ok, "OpenCV writes any picture of three channels as PNG"
    replace_file(config.file, data.tobytes())
    return {"file": str(config.file), "frames": count}


def drawn(row: dict[str, Array], camera: CameraConfig) -> Array:
    """One frame, enlarged, with its labels: uint8 (H, W, 3)."""
    size = (camera.width_px * SHOWN, camera.height_px * SHOWN)
    picture = cv2.resize(row["rgb"], size, interpolation=cv2.INTER_CUBIC)
    road = cv2.resize(row["drivable"], size, interpolation=cv2.INTER_NEAREST)
    picture[..., 2] = np.maximum(picture[..., 2], (road // 2).astype(np.uint8))
    for line, colour in zip(row["lanes_px"], LINE_RGB, strict=True):
        for u, v in zip(line, anchor_rows(camera), strict=True):
            if np.isfinite(u):
                cv2.circle(picture, (int(u * SHOWN), int((v + 0.5) * SHOWN)), 2, colour, -1)
    for kind, colour in BOX_RGB.items():
        for box in row[f"{kind}_box_px"]:
            if box[2] > box[0]:
                left, top, right, bottom = (round(float(x * SHOWN)) for x in box)
                cv2.rectangle(picture, (left, top), (right, bottom), colour, 1)
    for k, line in enumerate(_words(row)):
        outlined(picture, line, (5, 16 + 16 * k), (255, 255, 255), 0.45)
    return picture


def _words(row: dict[str, Array]) -> tuple[str, str]:
    """What cannot be drawn: weather, camera, my light; kinds of lines and names of signs."""
    signs = ", ".join(SIGNS[number].name for number in row["sign_class"] if number >= 0)
    light = "" if not np.isfinite(row["my_light_m"]) else (
        f", {Phase(int(row['my_light'])).name.lower()} in {float(row['my_light_m']):.0f} m")
    lines = "/".join(Marking(int(kind)).name.lower() for kind in row["lane_marking"])
    return (f"{list(WEATHERS)[int(row['weather'])]}, {float(row['camera_fov_deg']):.0f} deg{light}",
            f"{lines} {signs}")
