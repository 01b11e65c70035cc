"""Labelled frames from disk into memory, their targets for training, and what is varied about their pixels.

Frames belong to the split of their town's seed, and a frame of another split is refused. Brightness, contrast, colour,
blur and noise are varied; a mirrored image is not (traffic keeps right). Making frames is generate.py's business.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from envs.config import CameraConfig
from envs.geometry import Array
from envs.labels import LEAD_MAX_M
from perception import surroundings
from perception.generate import FIELDS, DatasetError, hash_of, read_card
from perception.model import GLANCE_HEIGHT_PX, GLANCE_WIDTH_PX, SIGN_COLUMNS, SIGN_ROWS
from perception.tasks import NO_NAME, Tensors, names_of_rows
from scenarios.spec import SPLITS

CERTAIN_IOU, ABSENT_IOU = 0.35, 0.1  # a box at least this like a sign shows it; below the other it shows none


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
    folder = Path(folder)
    card = read_card(folder)
    names = sorted(name for name, entry in card["shards"].items() if entry["split"] == split)
    if not names:
        raise DatasetError(f"{folder} has no {split} frames; make them with `nanodrive generate --out {folder}`")
    camera = CameraConfig(**card["settings"]["camera"])
    fields = {"rgb": ((camera.height_px, camera.width_px, 3), "uint8")} | FIELDS
    total = sum(card["shards"][name]["frames"] for name in names)
    arrays = {field: np.empty((total, *shape), dtype) for field, (shape, dtype) in fields.items()}
    start = 0
    for name in names:
        shard = _read_shard(folder / name, card["shards"][name]["sha256"])
        stop = start + card["shards"][name]["frames"]
        for field, array in arrays.items():
            if field not in shard or shard[field].shape != array[start:stop].shape or shard[field].dtype != array.dtype:
                raise DatasetError(f"{folder / name} has an odd array {field}; delete {folder} and generate again")
            array[start:stop] = shard[field]
        start = stop
    strangers = set(np.unique(arrays["town_seed"]).tolist()) - set(SPLITS[split])
    if strangers:
        raise DatasetError(f"{folder} calls town {min(strangers)} {split}, which it is not; generate again")
    return Frames(camera, arrays.pop("rgb"), arrays)


def by_usual_camera(frames: Frames) -> Frames:
    """Those frames that the data set's own camera took, not one mounted oddly: of these a path is known in metres."""
    camera = frames.camera
    usual = np.all([np.isclose(frames.labels[name], value) for name, value in (
        ("camera_height_m", camera.height_m), ("camera_pitch_deg", camera.pitch_deg),
        ("camera_fov_deg", camera.horizontal_fov_deg))], axis=0)
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
    size = torch.tensor([camera.width_px, camera.height_px] * 2)
    name = torch.from_numpy(names_of_rows(labels["sign_class"][rows]))
    result = {
        "command": part["command"],
        "path": part["path_m"],
        "boundary": torch.where(seen, part["boundaries_px"], 0.0) / camera.width_px,
        "boundary_seen": seen.float(),
        "stop_kind": torch.where(torch.isfinite(part["stop_m"]), part["stop_kind"], 0),
        "stop_m": part["stop_m"],
        "lead": part["lead_m"].clamp(0.5, LEAD_MAX_M).log(),
        "sign_box": part["sign_box_px"] / size,
        "sign_class": name,
    }
    if "lanes_px" in part:
        result |= surroundings.targets(part, camera.width_px)
    return result | _sign_map(result["sign_box"], part["sign_class"], part["sign_distance_m"])  # all are to be found


def _sign_map(box: Tensor, sign_class: Tensor, distance_m: Tensor) -> Tensors:
    """The sign head's targets: heat (B, 20, 40) with a bell at each sign, centre (B, 20, 40), values (B, 5, 20, 40)."""
    batch = len(box)
    heat, centre = torch.zeros(batch, SIGN_ROWS, SIGN_COLUMNS), torch.zeros(batch, SIGN_ROWS, SIGN_COLUMNS)
    values = torch.zeros(batch, 5, SIGN_ROWS, SIGN_COLUMNS)
    frame, _ = torch.nonzero(sign_class >= 0, as_tuple=True)
    left, top, right, bottom = box[sign_class >= 0].unbind(1)
    x, y = (left + right) / 2 * SIGN_COLUMNS, (top + bottom) / 2 * SIGN_ROWS
    column, row = x.long().clamp(0, SIGN_COLUMNS - 1), y.long().clamp(0, SIGN_ROWS - 1)
    spread = 0.5 + (right - left) * SIGN_COLUMNS / 6
    across = torch.arange(SIGN_COLUMNS)[None] + 0.5 - x[:, None]
    down = torch.arange(SIGN_ROWS)[None] + 0.5 - y[:, None]
    bells = torch.exp(-(across[:, None] ** 2 + down[:, :, None] ** 2) / (2 * spread[:, None, None] ** 2))
    for k, at in enumerate(frame.tolist()):
        heat[at] = torch.maximum(heat[at], bells[k])
    centre[frame, row, column] = 1.0
    log_size = [((right - left) * GLANCE_WIDTH_PX).clamp(min=0.4).log(),
                ((bottom - top) * GLANCE_HEIGHT_PX).clamp(min=0.4).log()]
    log_distance = distance_m[sign_class >= 0].clamp(min=0.4).log()
    values[frame, :, row, column] = torch.stack([x - column, y - row, *log_size, log_distance], 1)
    return {"sign_heat": heat, "sign_centre": centre, "sign_values": values}


def names_of(box: Tensor, truth_box: Tensor, truth_class: Tensor) -> Tensor:
    """What each box (B, K, 4) shows, given the signs (B, S, 4) and (B, S): a name, NO_NAME, or -1 if unclear."""
    overlap = iou(box[:, :, None], truth_box[:, None]) * (truth_class >= 0)[:, None]
    best, which = overlap.max(2)
    names = truth_class.gather(1, which)
    return torch.where(best >= CERTAIN_IOU, names, torch.where(best <= ABSENT_IOU, NO_NAME, -1))


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes (..., 4), broadcast."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    both = (high - low).clamp(min=0).prod(-1)
    return both / ((a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - both).clamp(min=1e-9)


def jittered(box: Tensor, rng: np.random.Generator) -> Tensor:
    """Boxes (B, K, 4) moved by up to 15 % and scaled by up to 20 %, as a detector would miss them."""
    size = box[..., 2:] - box[..., :2]
    move = torch.from_numpy(rng.uniform(-0.15, 0.15, (*size.shape,)).astype(np.float32)) * size
    scale = torch.from_numpy(rng.uniform(0.8, 1.2, (*size.shape[:-1], 1)).astype(np.float32))
    middle = (box[..., :2] + box[..., 2:]) / 2 + move
    return torch.cat([middle - size / 2 * scale, middle + size / 2 * scale], -1)


@dataclass(frozen=True, eq=False)
class Look:
    """How the pixels of a batch of B frames are varied: the same for a frame's glance and its crops."""

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
        """Normalised pixels (B, 3, H, W) or crops (B, K, 3, H, W), varied."""
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
