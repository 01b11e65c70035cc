"""`nanodrive generate`: drives through train, val or test towns -> rendered, labelled frames in shards on disk.

A shard is one .npz of fixed-shape arrays (FIELDS) over some twenty towns; which towns is settled by its number, so
shards can be made in any order, by any number of processes, and an interrupted run continues where it stopped. What the
camera looks at is drawn by drives.py; here it is rendered by several cameras, labelled and written. Nothing is learned
here and no physics runs.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
import os
import time
from collections.abc import Generator, Iterator
from concurrent.futures import as_completed
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from envs.config import CameraConfig, require, require_within
from envs.geometry import Array
from envs.labels import (
    DRIVABLE_COLUMNS,
    DRIVABLE_ROWS,
    LANE_ROWS,
    LEAD_COLUMNS,
    PATH_STATIONS_M,
    Labels,
    label,
)
from envs.lane_lines import ANCHORS, LINES
from envs.render.camera import RENDERERS, Frame, Renderer, pose_of
from envs.render.scene import build_scene
from envs.roads.procedural import build_town
from envs.roads.routes import COMMAND_HIGH
from envs.signs import SIGNS
from envs.state import Phase
from envs.weather import WEATHERS
from perception.drives import Drive, View
from perception.workers import worker_pool
from scenarios.spec import SPLITS

DATASET_VERSION = 8
MAX_SIGNS = 8  # a frame keeps its nearest signs
DRIVES = 2  # of each town, in two weathers
CAMERAS: dict[str, tuple[float, float]] = {  # ranges of CameraConfig's fields that other cars' cameras have
    "height_m": (1.1, 1.8), "pitch_deg": (-6.0, 4.0), "horizontal_fov_deg": (45.0, 100.0)}
OPEN_CAMERAS = 2
MAX_LIGHTS = 12  # and heads of traffic lights
MAX_USERS = 12  # and vehicles, and people
FIELDS: dict[str, tuple[tuple[int, ...], str]] = {  # name: shape behind the frame axis, dtype; rgb is put first
    "command": (COMMAND_HIGH.shape, "float32"),
    "path_m": ((len(PATH_STATIONS_M), 2), "float32"),
    "boundaries_px": ((2, LANE_ROWS), "float32"),
    "lanes_px": ((LINES, ANCHORS), "float32"),  # at envs.lane_lines.anchor_rows
    "lane_marking": ((LINES,), "int64"),
    "drivable": ((DRIVABLE_ROWS, DRIVABLE_COLUMNS), "uint8"),
    "sign_box_px": ((MAX_SIGNS, 4), "float32"),
    "sign_class": ((MAX_SIGNS,), "int64"),  # row of SIGNS, -1 for padding
    "sign_distance_m": ((MAX_SIGNS,), "float32"),
    "sign_visible": ((MAX_SIGNS,), "float32"),
    "light_box_px": ((MAX_LIGHTS, 4), "float32"),
    "light_phase": ((MAX_LIGHTS,), "int64"),  # of Phase, -1 for padding
    "light_is_mine": ((MAX_LIGHTS,), "bool"),
    "light_distance_m": ((MAX_LIGHTS,), "float32"),
    "my_light": ((), "int64"),  # of Phase; OFF without one within LIGHT_MAX_M
    "my_light_m": ((), "float32"),  # front bumper to its line, inf without one
    "vehicle_box_px": ((MAX_USERS, 4), "float32"),
    "vehicle_distance_m": ((MAX_USERS,), "float32"),  # inf for padding
    "person_box_px": ((MAX_USERS, 4), "float32"),
    "person_kind": ((MAX_USERS,), "int64"),  # of ActorKind, -1 for padding
    "person_distance_m": ((MAX_USERS,), "float32"),  # inf for padding
    "lead_m": ((LEAD_COLUMNS,), "float32"),
    "stop_m": ((), "float32"),  # inf: no line within STOP_MAX_M
    "stop_kind": ((), "int64"),
    "speed_limit_mps": ((), "float32"),
    "camera_height_m": ((), "float32"),
    "camera_pitch_deg": ((), "float32"),  # positive looks down
    "camera_fov_deg": ((), "float32"),  # horizontal
    "weather": ((), "int64"),  # row of envs.weather.WEATHERS
    "pose": ((3,), "float64"),
    "town_seed": ((), "int64"),
}
# Labels with a row for each thing seen, nearest first: a frame keeps as many as fit, and is filled up with this value.
PADDING: dict[str, float] = {
    "sign_box_px": 0.0, "sign_class": -1, "sign_distance_m": 0.0, "sign_visible": 0.0,
    "light_box_px": 0.0, "light_phase": -1, "light_is_mine": False, "light_distance_m": 0.0,
    "vehicle_box_px": 0.0, "vehicle_distance_m": math.inf,
    "person_box_px": 0.0, "person_kind": -1, "person_distance_m": math.inf,
}


Counts = dict[str, dict[str, int]]  # by kind of thing, by name


@dataclass(frozen=True)
class GenerateConfig:
    """Settings of `nanodrive generate`."""

    out: Path = Path("data/perception")
    """folder of the shards; a run interrupted there is continued"""
    train_frames: int = 12_000
    """frames from train towns"""
    val_frames: int = 1_500
    """frames from val towns"""
    test_frames: int = 0
    """frames from test towns: to judge, never to learn from"""
    frames_per_town: int = 50
    """frames of each town"""
    shard_frames: int = 500
    """frames of each file"""
    workers: int = 2
    """processes"""
    seed: int = 0
    """of towns' order and of poses"""
    usual_share: float = 0.6
    """share of frames that the camera that drives takes, 0 to 1; the rest is taken by others"""
    renderer: str = "raster"
    """row of RENDERERS that draws"""
    camera: CameraConfig = field(default_factory=CameraConfig)

    def __post_init__(self) -> None:
        require_within(self, [("train_frames", 0, 500_000), ("val_frames", 0, 25_000), ("test_frames", 0, 10_000),
                               ("frames_per_town", 1, 1000), ("shard_frames", 1, 10_000), ("workers", 1, 256),
                               ("seed", 0, 2**31), ("usual_share", 0.0, 1.0)])
        require(self.renderer in RENDERERS, f"renderer is {self.renderer}; give one of {', '.join(RENDERERS)}")
        require(self.shard_frames % self.frames_per_town == 0, f"shard_frames is {self.shard_frames}; give a multiple "
                f"of frames_per_town, {self.frames_per_town}")
        require(sum(self.frames.values()) > 0, "all numbers of frames are 0; give train_frames, val_frames or "
                "test_frames")
        for split, frames in self.frames.items():
            towns = math.ceil(frames / self.frames_per_town)
            require(towns <= len(SPLITS[split]), f"{frames} {split} frames at {self.frames_per_town} a town need "
                    f"{towns} of {len(SPLITS[split])} towns; raise frames_per_town")

    @property
    def frames(self) -> dict[str, int]:
        """Frames of each split."""
        return {"train": self.train_frames, "val": self.val_frames, "test": self.test_frames}


@dataclass(frozen=True)
class Shard:
    """One file to make: `frames` frames of the split's towns, in the order of the run's seed."""

    split: str
    index: int
    frames: int

    @property
    def name(self) -> str:
        return f"{self.split}-{self.index:03d}.npz"


class DatasetError(ValueError):
    """Frames on disk that cannot be used; the message is one sentence that names the file and the way out."""


def run(config: GenerateConfig) -> dict[str, Any]:
    """Make all shards that are not there yet and return the card (also in `dataset.json`).

    Raises DatasetError when the folder holds frames made with other settings.
    """
    started = time.monotonic()
    card = _begin(config)
    shards = [shard for shard in plan(config) if not _is_done(config, shard, card)]
    columns = (TextColumn("frames"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress, closing(_make_all(config, shards)) as made_shards:
        total = sum(config.frames.values())
        bar = progress.add_task("frames", total=total)
        progress.advance(bar, total - sum(shard.frames for shard in shards))
        for shard, digest, counts in made_shards:
            card["shards"][shard.name] = {"frames": shard.frames, "split": shard.split, "sha256": digest,
                                          "counts": counts}
            card |= totals(card["shards"])
            _write_atomic(config.out / "dataset.json", json.dumps(card, indent=2, sort_keys=True).encode())
            progress.advance(bar, shard.frames)
    made = sum(shard.frames for shard in shards)
    seconds = time.monotonic() - started
    return {"out": str(config.out), **{f"{split}_frames": frames for split, frames in config.frames.items()},
            "made_frames": made, "duration_s": round(seconds, 1), "frames_per_s": round(made / seconds, 1)}


def plan(config: GenerateConfig) -> list[Shard]:
    """All shards of a run, the last of each split shorter where the numbers do not divide."""
    return [Shard(split, index, min(config.shard_frames, frames - index * config.shard_frames))
            for split, frames in config.frames.items()
            for index in range(math.ceil(frames / config.shard_frames))]


def make_shard(config: GenerateConfig, shard: Shard) -> dict[str, Array]:
    """The arrays of one shard: FIELDS and rgb, one row a frame. A function of the settings alone."""
    rows = [{"rgb": shot.frame.rgb} | row_of(shot.truth, shot.view, shot.camera) for shot in shots(config, shard)]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def shots(config: GenerateConfig, shard: Shard) -> Iterator[Shot]:
    """What one shard is made of, one after the other."""
    towns = np.array(SPLITS[shard.split])
    order = np.random.default_rng([config.seed, int(towns[0])]).permutation(towns)
    first = shard.index * config.shard_frames // config.frames_per_town
    eyes = Eyes(config.renderer)
    made = 0
    try:
        for town_seed in order[first:first + math.ceil(shard.frames / config.frames_per_town)].tolist():
            wanted = min(config.frames_per_town, shard.frames - made)
            yield from itertools.islice(shots_of(config, eyes, town_seed), wanted)
            made += wanted
    finally:
        eyes.close()


class Eyes:
    """Renderers by camera, the last few kept open: setting one up takes longer than a frame."""

    def __init__(self, renderer: str) -> None:
        self._make = RENDERERS[renderer]
        self._open: dict[CameraConfig, Renderer] = {}

    def of(self, camera: CameraConfig) -> Renderer:
        """The renderer of a camera."""
        found = self._open.pop(camera, None) or self._make(camera)
        self._open[camera] = found  # the last one used is the last one to go
        if len(self._open) > OPEN_CAMERAS:
            self._open.pop(next(iter(self._open))).close()
        return found

    def close(self) -> None:
        for renderer in self._open.values():
            renderer.close()


@dataclass(frozen=True, eq=False)
class Shot:
    """A rendered view with its labels."""

    view: View
    camera: CameraConfig
    frame: Frame
    truth: Labels


def shots_of(config: GenerateConfig, eyes: Eyes, town_seed: int) -> Iterator[Shot]:
    """The rendered and labelled views of a town, frames_per_town of them from its DRIVES."""
    town = build_town(town_seed)
    for number in range(DRIVES):
        drive = Drive(town, (config.seed, town_seed, number), has_other_signs=number % 2 == 1)
        rng = np.random.default_rng([config.seed, town_seed, number, 1])
        odd = odd_camera(config.camera, rng)
        count = (config.frames_per_town + DRIVES - 1 - number) // DRIVES
        for view in drive.views(count):
            camera = config.camera if rng.random() < config.usual_share else odd
            pose = pose_of(camera, view.state.ego)
            frame = eyes.of(camera).render(build_scene(view.state), pose)
            yield Shot(view, camera, frame, label(view.state, camera, pose, frame, view.station_m))


def odd_camera(usual: CameraConfig, rng: np.random.Generator) -> CameraConfig:
    """A camera mounted higher or lower than the usual one, tilted, with another lens."""
    return CameraConfig(**asdict(usual) | {name: float(rng.uniform(*span)) for name, span in CAMERAS.items()})


def row_of(truth: Labels, view: View, camera: CameraConfig) -> dict[str, Any]:
    """Labels as fixed-shape arrays: FIELDS without the frame axis."""
    state = view.state
    row: dict[str, Any] = {
        "command": state.route.command_at(view.station_m), "pose": state.ego.pose, "town_seed": state.town.seed,
        "weather": view.weather, "camera_height_m": camera.height_m, "camera_pitch_deg": camera.pitch_deg,
        "camera_fov_deg": camera.horizontal_fov_deg}
    for name, (shape, dtype) in FIELDS.items():
        if name in PADDING:
            values = getattr(truth, name)[:shape[0]]
            row[name] = np.full(shape, PADDING[name], dtype)
            row[name][:len(values)] = values
        elif name not in row:
            row[name] = getattr(truth, name)
    return {name: np.asarray(row[name], dtype) for name, (_, dtype) in FIELDS.items()}


def _settings(config: GenerateConfig) -> dict[str, Any]:
    """What the frames depend on, as JSON: the settings without the folder and the number of processes."""
    return {k: v for k, v in asdict(replace(config, out=Path("."))).items() if k not in ("out", "workers")}


def _begin(config: GenerateConfig) -> dict[str, Any]:
    """The card of a run begun before in this folder, or a new one."""
    fresh = {"version": DATASET_VERSION, "settings": _settings(config), "shards": {}}
    config.out.mkdir(parents=True, exist_ok=True)
    if not (config.out / "dataset.json").is_file():
        return fresh
    card = read_card(config.out)
    if card["settings"] != fresh["settings"]:
        raise DatasetError(f"{config.out} holds frames made with other settings; name another folder, or delete it")
    return card


def read_card(folder: Path) -> dict[str, Any]:
    """The checked `dataset.json` of a folder; raises DatasetError."""
    path = folder / "dataset.json"
    try:
        card = json.loads(path.read_text())
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing; make frames with `nanodrive generate --out {folder}`") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); delete {folder} and generate again") from error
    if not isinstance(card, dict) or card.get("version") != DATASET_VERSION or {"settings", "shards"} - set(card):
        raise DatasetError(f"{path} is not the card of a data set of version {DATASET_VERSION}; generate again")
    return card


def _is_done(config: GenerateConfig, shard: Shard, card: dict[str, Any]) -> bool:
    """Whether a shard is on disk as the card says."""
    entry, path = card["shards"].get(shard.name), config.out / shard.name
    return entry is not None and path.is_file() and hash_of(path) == entry["sha256"]


def _make_all(config: GenerateConfig, shards: list[Shard]) -> Generator[tuple[Shard, str, Counts]]:
    """Make shards, in processes of their own if more than one is asked for; yields each with its hash when done."""
    if config.workers == 1:
        yield from ((shard, *_make_and_write(config, shard)) for shard in shards)
        return
    with worker_pool(min(config.workers, max(len(shards), 1))) as pool:
        futures = {pool.submit(_make_and_write, config, shard): shard for shard in shards}
        for future in as_completed(futures):
            yield futures[future], *future.result()


def _make_and_write(config: GenerateConfig, shard: Shard) -> tuple[str, Counts]:
    """Make one shard, write it, and return its hash and what it shows."""
    buffer, arrays = io.BytesIO(), make_shard(config, shard)
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    _write_atomic(config.out / shard.name, buffer.getvalue())
    return hash_of(config.out / shard.name), counts_of(arrays)


def counts_of(labels: dict[str, Array]) -> Counts:
    """How often frames show each sign, light phase and weather, by name; what is not shown is left out."""
    named = {"signs": ("sign_class", [sign.name for sign in SIGNS]), "weathers": ("weather", list(WEATHERS)),
             "lights": ("light_phase", [phase.name.lower() for phase in Phase])}
    return {kind: {names[number]: int(count) for number, count in zip(*np.unique(
        labels[field][labels[field] >= 0], return_counts=True), strict=True)} for kind, (field, names) in named.items()}


def totals(shards: dict[str, Any]) -> dict[str, Any]:
    """What all shards of a card show together, by split, and one hash over theirs."""
    totals: dict[str, dict[str, dict[str, int]]] = {}
    for shard in shards.values():
        for kind, counts in shard["counts"].items():
            row = totals.setdefault(shard["split"], {}).setdefault(kind, {})
            for name, count in counts.items():
                row[name] = row.get(name, 0) + count
    hashes = "".join(shards[name]["sha256"] for name in sorted(shards))
    return {"counts": totals, "sha256": hashlib.sha256(hashes.encode()).hexdigest()}


def hash_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_atomic(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)

