"""`nanodrive perceive --inside PICTURE...`: which pixels each head listens to, and what the sign namer looked at.

Saliency is gradient x input (Shrikumar et al. 2017), averaged over noisy copies as in SmoothGrad (Smilkov et al. 2017);
beside it occlusion (Zeiler and Fergus 2014), which needs no gradient: how much a head's answer changes when a patch is
greyed out. Both should light up the same places. With `--data`: reliability diagrams and the confusion matrix of signs
on val frames. One self-contained HTML page; nothing is trained.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
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
from envs.roads.network import Control
from envs.roads.routes import navigation
from envs.signs import SIGNS
from perception import dataset, metrics, pages
from perception.attacks import soft_band, soft_glance
from perception.calibration import expected_error, reliability
from perception.checkpoint import replace_file
from perception.claims import claims_of
from perception.detection_metrics import confusion
from perception.finder import KINDS
from perception.model import PIXEL_MEAN, DriveNet, band_of, frozen, glance_of
from perception.perceiver import WEIGHTS, Perceiver, Percept, load_network, square
from perception.photos import InputError
from perception.robustness import evenly
from perception.show import cut_to_view, overlay

NOISE, COPIES = 0.15, 12  # of SmoothGrad: share of the range, number
PATCHES = 10, 20  # places of a grey patch that covers 2 x 2 of as many cells
MATCH_IOU = 0.3  # a sign called where it is
DIAGRAMS = 5  # of reliability, side by side

# What a head is asked: one number for each frame, from its outputs.
QUESTIONS: dict[str, Callable[[dict[str, Tensor]], Tensor]] = {
    "path": lambda out: out["path"][..., 1].mean(1),
    "boundary": lambda out: out["boundary"].mean((1, 2)),
    "stop": lambda out: out["stop_logits"][:, Control.STOP] - out["stop_logits"][:, Control.NONE],
    "lead": lambda out: -out["lead"].mean(1),
    **{kind: (lambda out, row=row: out["heat"][:, row].flatten(1).amax(1))  # type: ignore[misc]
       for row, kind in enumerate(KINDS)},
    "own light": lambda out: out["light_none"],
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
    command = navigation()[None]
    for path in track(config.paths, "look inside", disable=len(config.paths) < 2):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise InputError(f"{path} is no readable image; give a .png or .jpg file")
        view = cv2.resize(cut_to_view(image, camera), (camera.width_px, camera.height_px), interpolation=cv2.INTER_AREA)
        percept = perceiver.perceive(view[None], command)
        shown = overlay(view, percept, 0, camera)
        parts += [f"<h2>{html.escape(str(path))}</h2>", pages.picture(shown, "what it says"),
                  *_explained(model, view, torch.from_numpy(command), percept)]
    if config.data is not None:
        parts += _judged(perceiver, evenly(dataset.read_usual(config.data, "val"), config.frames))
    config.out.mkdir(parents=True, exist_ok=True)
    replace_file(config.out / "inside.html", pages.page("nanodrive: inside", parts).encode())
    return {"report": str(config.out / "inside.html"), "pictures": len(config.paths)}


def saliency(model: DriveNet, image: Array, command: Tensor, head: str) -> Array:
    """Gradient x input of a head over uint8 (H, W, 3), smoothed over COPIES noisy pictures: float32 (H, W)."""
    pixels = torch.from_numpy(image[None]).float()
    noise = torch.randn((COPIES, *image.shape), generator=torch.Generator().manual_seed(0))
    noisy = (pixels + NOISE * float(pixels.max() - pixels.min()) * noise).requires_grad_(True)
    answer = QUESTIONS[head](model.look(soft_glance(noisy), soft_band(noisy), command.expand(COPIES, -1))).sum()
    (gradient,) = torch.autograd.grad(answer, noisy)
    return np.asarray((gradient * (pixels - PIXEL_MEAN)).mean(0).abs().sum(2).numpy())


def occlusion(model: DriveNet, image: Array, command: Tensor) -> dict[str, Array]:
    """By head: how much its answer changes with a grey patch there, float32 (rows, columns) of patches."""
    height, width = (size // count for size, count in zip(image.shape[:2], PATCHES, strict=True))
    places = [(row * height, column * width) for row in range(PATCHES[0] - 1) for column in range(PATCHES[1] - 1)]
    hidden = np.repeat(image[None], len(places), 0)
    for picture, (top, left) in zip(hidden, places, strict=True):
        patch = picture[top:top + 2 * height, left:left + 2 * width]
        patch[:] = patch.mean((0, 1)).round()
    with torch.inference_mode():
        clean, spoilt = (model.look(glance_of(seen), band_of(seen), command.expand(len(seen), -1)) for seen in (
            torch.from_numpy(image[None]), torch.from_numpy(hidden)))
        return {head: (ask(spoilt) - ask(clean)).abs().view(PATCHES[0] - 1, -1).numpy()
                for head, ask in QUESTIONS.items()}


def _explained(model: DriveNet, view: Array, command: Tensor, percept: Percept) -> list[str]:
    """Heat maps of every head over the picture, and the signs that were named."""
    hidden = occlusion(model, view, command)
    body = "".join(f"<tr><td>{head}</td><td>{_heat(view, saliency(model, view, command, head))}</td>"
                   f"<td>{_heat(view, hidden[head])}</td></tr>" for head in QUESTIONS)
    looks = "".join(
        pages.picture(cv2.resize(square(view, percept.sign_box_px[0, k]), (128, 128)), "sign")
        + f" {SIGNS[percept.sign_class[0, k]].name} {percept.sign_confidence[0, k]:.2f} "
        for k in np.flatnonzero(percept.sign_class[0] >= 0))
    return [f"<table><tr><th>head</th><th>gradient x input</th><th>occlusion</th></tr>{body}</table>",
            f"<p>{looks}</p>"]


def _heat(view: Array, values: Array) -> str:
    """A map over the picture, greyed: its strongest hundredth in full colour."""
    full = cv2.resize(values.astype(np.float32), (view.shape[1], view.shape[0]), interpolation=cv2.INTER_LINEAR)
    share = (full / max(float(np.quantile(full, 0.99)), 1e-9)).clip(0, 1)[..., None]
    grey = cv2.cvtColor(view, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, 2)
    colours = cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return pages.picture((grey * (1 - 0.8 * share) + colours * 0.8 * share).astype(np.uint8), "heat map")


def called_as(percept: Percept, labels: dict[str, Array]) -> tuple[Array, Array]:
    """Signs there are, as rows of SIGNS (K,), and what each was called, len(SIGNS) where it was not seen."""
    overlap = metrics.boxes_iou(labels["sign_box_px"][:, :, None], percept.sign_box_px[:, None])
    best = np.where(percept.sign_class[:, None] >= 0, overlap, 0.0)
    called = np.where(best.max(2) > MATCH_IOU, np.take_along_axis(percept.sign_class, best.argmax(2), 1), len(SIGNS))
    there = labels["sign_class"] >= 0
    return labels["sign_class"][there], called[there]


def _judged(perceiver: Perceiver, val: dataset.Frames) -> list[str]:
    """Reliability diagrams and the confusion matrix on val frames."""
    percept = perceiver.perceive_all(val.rgb, val.labels["command"])
    answers = list(claims_of(percept, val.labels, val.camera.width_px).items())

    def draw(axes: Sequence[Any], some: list[tuple[str, tuple[Array, Array]]]) -> None:
        for axis, (head, (confidence, is_right)) in zip(axes, some, strict=True):
            count, sure, holds = reliability(confidence, is_right).T
            axis.plot([0, 1], [0, 1], color="#888", linestyle="--")
            axis.plot(sure[count > 0], holds[count > 0], marker="o", color="#2f6fde")
            axis.set(title=f"{head}: error {expected_error(confidence, is_right):.3f} over {len(confidence)}",
                     xlabel="confidence", ylabel="share that holds", xlim=(0, 1), ylim=(0, 1))

    table = confusion(*called_as(percept, val.labels), len(SIGNS) + 1)[:-1]
    shares = table / table.sum(1, keepdims=True).clip(1)

    def draw_table(axes: Sequence[Any]) -> None:
        axes[0].imshow(shares, cmap="viridis", vmin=0, vmax=1)
        axes[0].set(title="signs (rows) by what they were called; last column: not seen",
                    yticks=range(len(SIGNS)), xticks=range(len(SIGNS) + 1))
        axes[0].set_yticklabels([sign.name for sign in SIGNS], fontsize=4)
        axes[0].set_xticklabels([*(sign.name for sign in SIGNS), "not seen"], fontsize=4, rotation=90)

    rows = [answers[k:k + DIAGRAMS] for k in range(0, len(answers), DIAGRAMS)]
    return [f"<h2>On {len(val)} val frames</h2>", *(pages.figure(partial(draw, some=some), len(some)) for some in rows),
            pages.figure(draw_table, 1)]
