"""`nanodrive perceive --inside PICTURE...`: which pixels each head listens to, and what the glimpses looked at.

Saliency is gradient x input (Shrikumar et al. 2017), averaged over noisy copies as in SmoothGrad (Smilkov et al. 2017);
beside it occlusion (Zeiler and Fergus 2014), which needs no gradient: how much a head's answer changes when a patch is
greyed out. Both should light up the same places. With `--data`: reliability diagrams and the confusion matrix of signs
on val frames. One self-contained HTML page; nothing is trained.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from tyro.conf import Positional

from envs.config import require
from envs.geometry import Array
from envs.roads.network import Command, Control
from envs.signs import SIGNS
from perception import dataset, metrics, pages
from perception.checkpoint import replace_file
from perception.model import GLANCE_HEIGHT_PX, GLANCE_WIDTH_PX, DriveNet, cut_crops, find_peaks, frozen, glance_of
from perception.perceiver import WEIGHTS, Perceiver, Percept, load_network
from perception.photos import InputError
from perception.robustness import evenly, look
from perception.show import cut_to_view, overlay
from perception.tasks import BLIND_STOP_M, ROW_OF_NAME, SIGN_NAMES

NOISE, COPIES = 0.15, 12  # of SmoothGrad: share of the range, number
PATCH_PX, STRIDE_PX = 16, 8  # of occlusion, on the glance
BINS = 10

# What a head is asked: one number for each frame, from its outputs.
QUESTIONS: dict[str, Callable[[dict[str, Tensor]], Tensor]] = {
    "path": lambda out: out["path"][..., 1].mean(1),
    "boundary": lambda out: out["boundary"].mean((1, 2)),
    "stop": lambda out: out["stop_logits"][:, Control.STOP] - out["stop_logits"][:, Control.NONE],
    "lead": lambda out: -out["lead"].mean(1),
    "sign": lambda out: out["sign_map"][:, 0].flatten(1).amax(1),
}


@dataclass(frozen=True)
class InsideConfig:
    """Settings of `nanodrive perceive --inside`."""

    paths: Positional[tuple[Path, ...]] = ()
    """pictures"""
    out: Path = Path("runs/inside")
    """folder of inside.html"""
    weights: Path | None = None
    """checkpoint without its ending; default: the shipped one"""
    data: Path | None = None
    """folder of `nanodrive generate`, for reliability diagrams and the confusion matrix on its val frames"""
    frames: int = 500
    """val frames, at most"""

    def __post_init__(self) -> None:
        require(1 <= self.frames <= 12_500, f"frames is {self.frames}; give 1 to 12500")


def run(config: InsideConfig) -> dict[str, Any]:
    """Write inside.html; raises InputError, CheckpointError and DatasetError for what cannot be read."""
    if not config.paths and config.data is None:
        raise InputError("no picture was named; give pictures, or --data")
    source = config.weights or WEIGHTS
    perceiver, (model, camera) = Perceiver.load(source), load_network(source)
    frozen(model)
    parts = ["<h1>Inside the camera network</h1>"]
    command = np.append(np.eye(4)[Command.FOLLOW], 60.0).astype(np.float32)[None]
    for path in track(config.paths, "look inside", disable=len(config.paths) < 2):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise InputError(f"{path} is no readable image; give a .png or .jpg file")
        view = cv2.resize(cut_to_view(image, camera), (camera.width_px, camera.height_px), interpolation=cv2.INTER_AREA)
        shown = overlay(view, perceiver.perceive(view[None], command), 0, camera)
        parts += [f"<h2>{html.escape(str(path))}</h2>", pages.picture(shown, "what it says"),
                  *_explained(model, view, torch.from_numpy(command))]
    if config.data is not None:
        parts += _judged(perceiver, evenly(dataset.read(config.data, "val"), config.frames))
    config.out.mkdir(parents=True, exist_ok=True)
    replace_file(config.out / "inside.html", pages.page("nanodrive: inside", parts).encode())
    return {"report": str(config.out / "inside.html"), "pictures": len(config.paths)}


def saliency(model: DriveNet, glance: Tensor, command: Tensor, head: str) -> Array:
    """Gradient x input of a head, smoothed over COPIES noisy glances: float32 (80, 160), not negative."""
    noise = torch.randn((COPIES, *glance.shape[1:]), generator=torch.Generator().manual_seed(0))
    noisy = (glance + NOISE * float(glance.max() - glance.min()) * noise).requires_grad_(True)
    answer = QUESTIONS[head](model.look(noisy, command.expand(COPIES, -1))).sum()
    (gradient,) = torch.autograd.grad(answer, noisy)
    return np.asarray((gradient * glance).mean(0).abs().sum(0).numpy())


def occlusion(model: DriveNet, glance: Tensor, command: Tensor) -> dict[str, Array]:
    """By head: how much its answer changes with a grey patch there, float32 (rows, columns) of patches."""
    rows = range(0, GLANCE_HEIGHT_PX - PATCH_PX + 1, STRIDE_PX)
    columns = range(0, GLANCE_WIDTH_PX - PATCH_PX + 1, STRIDE_PX)
    hidden = glance.repeat(len(rows) * len(columns), 1, 1, 1)
    for k, (row, column) in enumerate((row, column) for row in rows for column in columns):
        patch = hidden[k, :, row:row + PATCH_PX, column:column + PATCH_PX]
        patch[:] = patch.mean((1, 2), keepdim=True)
    with torch.inference_mode():
        clean, spoilt = model.look(glance, command), model.look(hidden, command.expand(len(hidden), -1))
        return {head: (ask(spoilt) - ask(clean)).abs().view(len(rows), -1).numpy() for head, ask in QUESTIONS.items()}


def _explained(model: DriveNet, view: Array, command: Tensor) -> list[str]:
    """Heat maps of every head over the picture, and the glimpses."""
    image = torch.from_numpy(view[None])
    glance = glance_of(image).contiguous()
    hidden = occlusion(model, glance, command)
    with torch.inference_mode():
        peaks = find_peaks(model.look(glance, command)["sign_map"])
        crops = cut_crops(image, peaks["sign_box"])[0]
        names = torch.softmax(model.glimpse(crops), 1)
    rows = [[head, _heat(view, saliency(model, glance, command, head)), _heat(view, hidden[head])]
            for head in QUESTIONS]
    words = (*SIGN_NAMES, "none")
    glimpses = "".join(
        pages.picture(cv2.resize(_pixels(crop), (128, 128), interpolation=cv2.INTER_NEAREST), "glimpse")
        + f" {words[int(name.argmax())]} {float(name.max()):.2f}, peak {float(peak):.2f} "
        for crop, name, peak in zip(crops, names, peaks["sign_peak"][0], strict=True))
    body = "".join(f"<tr><td>{head}</td><td>{left}</td><td>{right}</td></tr>" for head, left, right in rows)
    return [f"<table><tr><th>head</th><th>gradient x input</th><th>occlusion</th></tr>{body}</table>",
            f"<p>{glimpses}</p>"]


def _pixels(crop: Tensor) -> Array:
    """A normalised crop (3, 32, 32) as uint8 (32, 32, 3)."""
    return np.asarray((crop.permute(1, 2, 0).numpy() * 60.0 + 118.0).clip(0, 255).astype(np.uint8))


def _heat(view: Array, values: Array) -> str:
    """A map over the picture, greyed: its strongest hundredth in full colour."""
    full = cv2.resize(values.astype(np.float32), (view.shape[1], view.shape[0]), interpolation=cv2.INTER_LINEAR)
    share = (full / max(float(np.quantile(full, 0.99)), 1e-9)).clip(0, 1)[..., None]
    grey = cv2.cvtColor(view, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, 2)
    colours = cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return pages.picture((grey * (1 - 0.8 * share) + colours * 0.8 * share).astype(np.uint8), "heat map")


def answers_of(percept: Percept, labels: dict[str, Array]) -> dict[str, tuple[Array, Array]]:
    """By head: confidences of its claims and whether they hold, (K,) each."""
    is_asked = labels["stop_m"] >= BLIND_STOP_M
    has_stop = np.isfinite(labels["stop_m"]) & (labels["stop_kind"] == Control.STOP)
    overlap = metrics.boxes_iou(labels["sign_box_px"][:, None], percept.sign_box_px[:, :, None])
    is_right = ((overlap > 0.3) & (labels["sign_class"][:, None] == percept.sign_class[:, :, None])).any(2)
    found = percept.sign_class >= 0
    return {"stop": (percept.stop_confidence[is_asked], has_stop[is_asked]),
            "sign": (percept.sign_confidence[found], is_right[found])}


def reliability(confidence: Array, is_right: Array) -> tuple[Array, Array, Array, float]:
    """Mean confidence, share that holds and count by bin (BINS,), nan where empty, and the expected calibration error.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 2 and 3: bins of equal width.
    """
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        sure = np.bincount(place, confidence, BINS) / count
        holds = np.bincount(place, is_right, BINS) / count
    error = float(np.nansum(count * np.abs(sure - holds)) / max(len(confidence), 1))
    return sure, holds, count, error


def confusion(percept: Percept, labels: dict[str, Array]) -> Array:
    """Signs by what they are (rows) and were called (columns): names of SIGN_NAMES, then "not seen" as last column."""
    overlap = metrics.boxes_iou(labels["sign_box_px"][:, :, None], percept.sign_box_px[:, None])
    best = np.where(percept.sign_class[:, None] >= 0, overlap, 0.0)
    called = np.take_along_axis(percept.sign_class, best.argmax(2), 1)
    called = np.where(best.max(2) > 0.3, called, -1)
    counts = np.zeros((len(SIGN_NAMES), len(SIGN_NAMES) + 1), int)
    for row, name in enumerate(ROW_OF_NAME[:-1]):
        for column, other in enumerate([*ROW_OF_NAME[:-1], -1]):
            counts[row, column] = ((labels["sign_class"] == name) & (called == other)).sum()
    return counts


def _judged(perceiver: Perceiver, val: dataset.Frames) -> list[str]:
    """Reliability diagrams and the confusion matrix on val frames."""
    percept = look(perceiver, val.rgb, val.labels["command"])
    answers = answers_of(percept, val.labels)

    def draw(axes: Sequence[Any]) -> None:
        for axis, (head, (confidence, is_right)) in zip(axes, answers.items(), strict=True):
            sure, holds, count, error = reliability(confidence, is_right)
            axis.plot([0, 1], [0, 1], color="#888", linestyle="--")
            axis.plot(sure[count > 0], holds[count > 0], marker="o", color="#2f6fde")
            axis.set(title=f"{head}: calibration error {error:.3f} over {len(confidence)}", xlabel="confidence",
                     ylabel="share that holds", xlim=(0, 1), ylim=(0, 1))

    words = [SIGNS[row].name for row in ROW_OF_NAME[:-1]]
    counts = confusion(percept, val.labels)
    return [f"<h2>On {len(val)} val frames</h2>", pages.figure(draw, len(answers)),
            pages.table(["is \\ called", *words, "not seen"], [
                [word, *map(str, row)] for word, row in zip(words, counts.tolist(), strict=True)])]
