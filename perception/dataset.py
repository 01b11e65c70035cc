"""Labelled frames from disk into memory, their targets for training, and what is varied about their pixels.

Frames belong to the split of their town's seed, and a frame of another split is refused. Brightness, contrast, colour,
blur and noise are varied; a mirrored image is not (traffic keeps right). Making frames is generate.py's business.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from envs.config import CameraConfig
from envs.geometry import Array
from envs.labels import LEAD_MAX_M
from perception import finder, surroundings
from perception.generate import FIELDS, DatasetError, hash_of, read_card
from perception.tasks import Tensors
from scenarios.spec import SPLITS


@dataclass(frozen=True, eq=False)
class Frames:
    """All frames of a split: `rgb` uint8 (N, H, W, 3) and the arrays of FIELDS by name, row by row."""

    camera: CameraConfig
    rgb: Array
    labels: dict[str, Array]

    def __len__(self) -> int:
        return len(self.rgb)


def read(folder: str | Path, split: str) -> Frames:
    """The frames of a split. Raises DatasetError for a missing, cut or altered shard or one of another split."""
    card = read_card(Path(folder))
    camera = CameraConfig(**card["settings"]["camera"])
    total = sum(entry["frames"] for entry in card["shards"].values() if entry["split"] == split)
    arrays = {field: np.empty((total, *shape), dtype) for field, (shape, dtype) in _fields(camera).items()}
    start = 0
    for frames in shards(folder, split):
        stop = start + len(frames)
        for field, values in (frames.labels | {"rgb": frames.rgb}).items():
            arrays[field][start:stop] = values
        start = stop
    return Frames(camera, arrays.pop("rgb"), arrays)


def shards(folder: str | Path, split: str) -> Iterator[Frames]:
    """The frames of a split shard by shard, for what needs not all of them in memory; raises as `read` does."""
    folder = Path(folder)
    card = read_card(folder)
    names = sorted(name for name, entry in card["shards"].items() if entry["split"] == split)
    if not names:
        raise DatasetError(f"{folder} has no {split} frames; make them with `nanodrive generate --out {folder}`")
    camera = CameraConfig(**card["settings"]["camera"])
    fields = _fields(camera)
    for name in names:
        shard, count = _read_shard(folder / name, card["shards"][name]["sha256"]), card["shards"][name]["frames"]
        for field, (shape, dtype) in fields.items():
            if field not in shard or shard[field].shape != (count, *shape) or shard[field].dtype != dtype:
                raise DatasetError(f"{folder / name} has an odd array {field}; delete {folder} and generate again")
        strangers = set(np.unique(shard["town_seed"]).tolist()) - set(SPLITS[split])
        if strangers:
            raise DatasetError(f"{folder} calls town {min(strangers)} {split}, which it is not; generate again")
        yield Frames(camera, shard["rgb"], {field: shard[field] for field in FIELDS})


def _fields(camera: CameraConfig) -> dict[str, tuple[tuple[int, ...], str]]:
    return {"rgb": ((camera.height_px, camera.width_px, 3), "uint8")} | FIELDS


def read_usual(folder: str | Path, split: str) -> Frames:
    """`read`, and of these the frames that the data set's own camera took."""
    return by_usual_camera(read(folder, split))


def by_usual_camera(frames: Frames) -> Frames:
    """Those frames that the data set's own camera took, not one mounted oddly: of these a path is known in metres."""
    camera = frames.camera
    usual = np.all([np.isclose(frames.labels[name], value) for name, value in (
        ("camera_height_m", camera.height_m), ("camera_pitch_deg", camera.pitch_deg),
        ("camera_fov_deg", camera.horizontal_fov_deg))], axis=0)
    if usual.all():
        return frames  # they may be half of the memory
    return Frames(frames.camera, frames.rgb[usual], {name: values[usual] for name, values in frames.labels.items()})


def _read_shard(path: Path, sha256: str) -> dict[str, Array]:
    """The arrays of one shard, after its hash was found right."""
    if not path.is_file():
        raise DatasetError(f"{path} is missing; continue with `nanodrive generate --out {path.parent}`")
    if hash_of(path) != sha256:
        raise DatasetError(f"{path} is cut or altered; delete it and continue with `nanodrive generate`")
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def targets(labels: dict[str, Array], rows: Array, camera: CameraConfig) -> Tensors:
    """What the losses of tasks.py ask of a batch, from label rows; see each loss for its keys."""
    part = {name: torch.from_numpy(values[rows]) for name, values in labels.items()}
    seen = torch.isfinite(part["boundaries_px"])
    result = {
        "command": part["command"],
        "path": part["path_m"],
        "boundary": torch.where(seen, part["boundaries_px"], 0.0) / camera.width_px,
        "boundary_seen": seen.float(),
        "stop_kind": torch.where(torch.isfinite(part["stop_m"]), part["stop_kind"], 0),
        "stop_m": part["stop_m"],
        "lead": part["lead_m"].clamp(0.5, LEAD_MAX_M).log(),
    }
    return (result | surroundings.targets(part, camera.width_px, camera.height_px)
            | finder.targets(part, torch.tensor([camera.width_px, camera.height_px] * 2)))


@dataclass(frozen=True, eq=False)
class Look:
    """How the pixels of a batch of B frames are varied: the same for a frame's glance and its band."""

    gain: Tensor  # (B, 3) colour times contrast
    shift: Tensor  # (B, 1) brightness, in normalised pixels
    noise: Tensor  # (B,) standard deviation, in normalised pixels
    is_blurred: Tensor  # (B,) bool

    @staticmethod
    def draw(batch: int, rng: np.random.Generator) -> Look:
        """Contrast 0.6 to 1.4, colours 0.85 to 1.15, brightness ±40 grey levels, noise to 10, a quarter blurred."""
        gain = rng.uniform(0.6, 1.4, (batch, 1)) * rng.uniform(0.85, 1.15, (batch, 3))
        shift, noise = rng.uniform(-0.66, 0.66, (batch, 1)), rng.uniform(0, 0.16, batch) * (rng.random(batch) < 0.5)
        return Look(torch.from_numpy(gain).float(), torch.from_numpy(shift).float(), torch.from_numpy(noise).float(),
                    torch.from_numpy(rng.random(batch) < 0.25))

    def applied(self, pixels: Tensor, rng: np.random.Generator) -> Tensor:
        """Normalised pixels (B, 3, H, W), varied."""
        shape = (len(pixels), *(1,) * (pixels.dim() - 4), -1, 1, 1)
        varied = pixels * self.gain.view(shape) + self.shift.view(shape)
        varied[self.is_blurred] = _blurred(varied[self.is_blurred])
        noisy = self.noise > 0
        seed = int(rng.integers(2**62))
        grain = torch.randn(varied[noisy].shape, generator=torch.Generator().manual_seed(seed))
        varied[noisy] += grain * self.noise.view(shape)[noisy]
        return varied


def _blurred(pixels: Tensor) -> Tensor:
    """A 3 x 3 mean over the last two axes, borders counted by what lies inside."""
    flat = pixels.reshape(-1, *pixels.shape[-3:])
    return avg_pool2d(flat, 3, 1, 1, count_include_pad=False).view_as(pixels)
