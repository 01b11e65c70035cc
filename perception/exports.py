"""`nanodrive generate --export`: labelled frames in the files other programs read.

    images/NNNNNN.png      the frames
    coco.json              boxes of signs (43 classes) and lights (by phase): COCO's annotation file
    tusimple.json          lanes, one JSON object a line: raw_file, h_samples, lanes (x [px], -2 where there is none)
    masks/NNNNNN.png       the class of every pixel, uint8; names stand in export.json
    depth/NNNNNN.png       depth in 1 / 256 m, uint16, 0 where there is none, as KITTI's
    export.json            settings, classes, counts

The frames are those of the shards of the same settings, pixel for pixel. Nothing is judged or learned here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.progress import track

from envs.config import CameraConfig, require
from envs.geometry import Array
from envs.lane_lines import lines_ahead
from envs.render.camera import pose_of
from envs.render.scene import SemanticClass
from envs.signs import SIGNS
from envs.state import Phase
from perception.checkpoint import replace_file
from perception.detection_metrics import coco_json
from perception.generate import GenerateConfig, Shard, Shot, shots

DEPTH_STEPS = 256  # of a metre (KITTI's development kit)
TUSIMPLE_STEP = 16  # rows of a picture are its height / this apart, from 0.4 of the height on
CATEGORIES = [sign.name for sign in SIGNS] + [f"light_{phase.name.lower()}" for phase in Phase]


@dataclass(frozen=True)
class ExportConfig:
    """Settings of `nanodrive generate --export`."""

    out: Path = Path("data/export")
    """folder of the files; files of the same names are replaced"""
    formats: tuple[str, ...] = ("coco", "tusimple", "masks", "depth")
    """which of them: coco, tusimple, masks, depth"""
    split: str = "train"
    """towns: train, val or test"""
    frames: int = 500
    """frames to write"""
    frames_per_town: int = 50
    """frames of each town"""
    seed: int = 0
    """of towns' order and of poses"""
    renderer: str = "raster"
    """row of RENDERERS that draws"""
    camera: CameraConfig = field(default_factory=CameraConfig)

    def __post_init__(self) -> None:
        for name in self.formats:
            require(name in FORMATS, f"formats has {name}; give some of {', '.join(FORMATS)}")
        require(self.split in ("train", "val", "test"), f"split is {self.split}; give train, val or test")
        require(1 <= self.frames <= 10_000, f"frames is {self.frames}; give 1 to 10000")
        self.generator()

    def generator(self) -> GenerateConfig:
        """The settings of the shards that hold the same frames."""
        frames = {f"{split}_frames": self.frames if split == self.split else 0 for split in ("train", "val", "test")}
        most = -(-self.frames // self.frames_per_town) * self.frames_per_town
        return GenerateConfig(out=self.out, frames_per_town=self.frames_per_town, shard_frames=most, workers=1,
                              seed=self.seed, renderer=self.renderer, camera=self.camera, **frames)


def run(config: ExportConfig) -> dict[str, Any]:
    """Write the frames and their labels; returns the counts and where they lie."""
    started = time.monotonic()
    writers = {name: FORMATS[name](config) for name in config.formats}
    for folder in ("images", *(name for name in config.formats if name in ("masks", "depth"))):
        (config.out / folder).mkdir(parents=True, exist_ok=True)
    made = shots(config.generator(), Shard(config.split, 0, config.frames))
    for number, shot in enumerate(track(made, "frames", total=config.frames)):
        name = f"{number:06d}.png"
        _write_png(config.out / "images" / name, shot.frame.rgb[..., ::-1])
        for writer in writers.values():
            writer.add(name, shot)
    counts: dict[str, Any] = {"frames": config.frames}
    for writer in writers.values():
        counts |= writer.finish()
    card = {"split": config.split, "seed": config.seed, "formats": list(config.formats), **counts,
            "classes": {kind.name.lower(): int(kind) for kind in SemanticClass}}
    replace_file(config.out / "export.json", json.dumps(card, indent=2).encode())
    return {"out": str(config.out), **counts, "duration_s": round(time.monotonic() - started, 1)}


class _Writer:
    """One format: `add` takes each shot in turn, `finish` writes what is left and tells the counts."""

    def __init__(self, config: ExportConfig) -> None:
        self.config = config

    def add(self, name: str, shot: Shot) -> None:
        raise NotImplementedError

    def finish(self) -> dict[str, Any]:
        return {}


class _Coco(_Writer):
    def __init__(self, config: ExportConfig) -> None:
        super().__init__(config)
        self._files: list[str] = []
        self._boxes: list[Array] = []
        self._classes: list[Array] = []

    def add(self, name: str, shot: Shot) -> None:
        truth = shot.truth
        self._files.append(f"images/{name}")
        self._boxes.append(np.concatenate([truth.sign_box_px, truth.light_box_px]))
        self._classes.append(np.concatenate([truth.sign_class, len(SIGNS) + truth.light_phase]))

    def finish(self) -> dict[str, Any]:
        camera = self.config.camera
        table = coco_json(self._boxes, self._classes, CATEGORIES, camera.width_px, camera.height_px, self._files)
        replace_file(self.config.out / "coco.json", json.dumps(table).encode())
        return {"boxes": len(table["annotations"])}


class _TuSimple(_Writer):
    def __init__(self, config: ExportConfig) -> None:
        super().__init__(config)
        height = config.camera.height_px
        step = max(height // (2 * TUSIMPLE_STEP), 1)
        self._rows = np.arange(round(0.4 * height), height, step)
        self._lines: list[str] = []
        self._lanes = 0

    def add(self, name: str, shot: Shot) -> None:
        view, pose = shot.view, pose_of(shot.camera, shot.view.state.ego)
        lines = lines_ahead(view.state.town.network, view.state.route, view.station_m)
        told, _ = lines.columns(shot.camera, pose, self._rows.astype(float))
        told = told[np.isfinite(told).sum(axis=1) >= 2]
        lanes = np.where(np.isfinite(told), told.astype(float).round(2), -2).tolist()
        self._lanes += len(lanes)
        self._lines.append(json.dumps({"lanes": lanes, "h_samples": self._rows.tolist(), "raw_file": f"images/{name}"}))

    def finish(self) -> dict[str, Any]:
        replace_file(self.config.out / "tusimple.json", ("\n".join(self._lines) + "\n").encode())
        return {"lanes": self._lanes}


class _Masks(_Writer):
    def add(self, name: str, shot: Shot) -> None:
        _write_png(self.config.out / "masks" / name, shot.frame.class_id)


class _Depth(_Writer):
    def add(self, name: str, shot: Shot) -> None:
        _write_png(self.config.out / "depth" / name, depth_code(shot.frame.depth_m))


def depth_code(depth_m: Array) -> Array:
    """Depth as uint16 of 1 / 256 m, 0 for what is farther than fits (255.99 m) and for the sky."""
    steps = np.round(depth_m * DEPTH_STEPS)
    return np.where(steps < 2**16, steps, 0).astype(np.uint16)


def depth_of(code: Array) -> Array:
    """Metres of `depth_code`'s pixels, inf where there is none."""
    return np.where(code > 0, code / np.float32(DEPTH_STEPS), np.float32(np.inf)).astype(np.float32)


def read_tusimple(path: Path) -> list[tuple[Array, Array]]:
    """(lanes (L, R) with nan where absent, rows (R,)) of each line of a TuSimple file."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [(np.where((lanes := np.reshape(row["lanes"], (-1, len(row["h_samples"])))) < 0, np.nan, lanes),
             np.array(row["h_samples"], float)) for row in rows]


def _write_png(path: Path, pixels: Array) -> None:
    ok, data = cv2.imencode(".png", pixels)
    assert ok, "OpenCV writes any picture of one or three channels as PNG"
    path.write_bytes(data.tobytes())


FORMATS: dict[str, Callable[[ExportConfig], _Writer]] = {
    "coco": _Coco, "tusimple": _TuSimple, "masks": _Masks, "depth": _Depth}
