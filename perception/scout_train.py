"""`nanodrive perceive --train-scout`: made-up scenes in, the weights of the scout out. No data set and no photograph.

Every step draws fresh scenes from its own number, so a run that was interrupted goes on bit for bit from its state on
disk. AdamW with a one-cycle rate, an exponential mean of the weights, early stopping on held-out scenes of val towns,
TensorBoard with pictures. How photos are looked at is scout.py's business.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from envs.config import require_within
from envs.geometry import Array
from perception import checkpoint
from perception.learner import Learner
from perception.metrics import boxes_iou, interpolated_precision
from perception.scenes import LIGHT, Scene, scene, world_frames
from perception.scout import KINDS, LOG_OF_PIXEL, STRIDE_PX, Found, ScoutConfig, ScoutNet, best_of_each, describe, peaks

AVERAGE_DECAY = 0.998  # of the exponential mean of the weights, per step
WARM_UP = 0.05  # share of the steps in which the rate rises
SCENE_PX = 256
VAL_TOWNS = range(10_000, 10_006)
BOX_WEIGHT = 0.5
SHOWN_SCENES = 12


@dataclass(frozen=True)
class ScoutTrainConfig:
    """Settings of `nanodrive perceive --train-scout`."""

    out: Path = Path("runs/scout")
    """folder of the checkpoint, the training state and TensorBoard's log"""
    steps: int = 5000
    """training steps"""
    batch: int = 8
    """scenes a step"""
    epoch_steps: int = 250
    """steps between two looks at the held-out scenes"""
    val_scenes: int = 160
    """held-out scenes"""
    towns: int = 24
    """train towns rendered for backgrounds"""
    rate: float = 3e-3
    """highest learning rate"""
    weight_decay: float = 0.02
    """of AdamW"""
    patience: int = 12
    """stop after this many epochs without a better figure"""
    threads: int = 1
    """processor threads of torch; another number gives other last digits"""
    signs: Path | None = None
    """checkpoint, without its ending, whose way of finding signs is kept as it is: only finding lights is learned"""
    seed: int = 0
    """of weights and scenes"""
    model: ScoutConfig = field(default_factory=ScoutConfig)

    def __post_init__(self) -> None:
        require_within(self, [("steps", 1, 10**6), ("batch", 1, 1024), ("epoch_steps", 1, 10**6),
                               ("val_scenes", 1, 10**5), ("towns", 0, 10_000), ("rate", 1e-6, 1.0),
                               ("weight_decay", 0.0, 1.0), ("patience", 1, 10_000), ("threads", 1, 256),
                               ("seed", 0, 2**31)])


def run(config: ScoutTrainConfig) -> dict[str, Any]:
    """Train, or go on with the run in `config.out`; returns the best figures and the checkpoint's path.

    Raises CheckpointError for a training state that cannot be used.
    """
    started = time.monotonic()
    torch.set_num_threads(config.threads)
    cv2.setNumThreads(config.threads)
    training = ScoutTraining(config)
    val_frames = world_frames(VAL_TOWNS, config.seed)
    val = [scene(np.random.default_rng([config.seed, 1, k]), SCENE_PX, val_frames) for k in range(config.val_scenes)]
    with SummaryWriter(str(config.out / "tensorboard")) as log:
        while training.should_go_on():
            begun = time.monotonic()
            losses = training.epoch()
            figures = judge(training.mean, val)
            is_best = training.finish_epoch(figures)
            for name, value in (losses | figures).items():
                log.add_scalar(name, value, training.step)
            shown = np.stack([drawn(training.mean, one) for one in val[:SHOWN_SCENES]])
            log.add_images("scenes", shown, training.step, dataformats="NHWC")
            words = " ".join(f"{name} {value:.4f}" for name, value in (losses | figures).items())
            print(f"step {training.step}{'*' if is_best else ''} {words} {time.monotonic() - begun:.0f} s", flush=True)
    return {"checkpoint": str(config.out / "scout"), "steps": training.step, "best_step": training.best["step"],
            "figures": training.best["figures"], "duration_s": round(time.monotonic() - started, 1)}


class ScoutTraining(Learner[ScoutNet]):
    """The state of a run, and what was best. On disk after every epoch."""

    def __init__(self, config: ScoutTrainConfig) -> None:
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            model = ScoutNet(config.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if config.signs is not None:
            _keep_signs(model, config.signs)
        super().__init__(model, config.steps, config.rate, config.weight_decay, AVERAGE_DECAY, WARM_UP)
        self.best: dict[str, Any] = {"step": 0, "figures": {"ap50": -1.0, "light_ap50": -1.0}}
        self.frames = world_frames(range(config.towns), config.seed)
        if meta := self.resume(config.out, "scout", self._settings()):
            self.best = meta["best"]

    def should_go_on(self) -> bool:
        """Whether steps are left and the best ones are not too long ago."""
        return (self.step < self.config.steps
                and self.step - self.best["step"] < self.config.patience * self.config.epoch_steps)

    def epoch(self) -> dict[str, float]:
        """Some steps; returns the mean losses."""
        self.model.train(self.config.signs is None)
        self.model.lights.train()
        totals = np.zeros(2)
        last = min(self.step + self.config.epoch_steps, self.config.steps)
        todo = range(self.step, last)
        for _ in track(todo, "steps"):
            totals += self._learn([scene(np.random.default_rng([self.config.seed, 0, self.step, k]), SCENE_PX,
                                         self.frames) for k in range(self.config.batch)])
        return dict(zip(("loss_heat", "loss_box"), (totals / len(todo)).tolist(), strict=True))

    def _learn(self, scenes: list[Scene]) -> tuple[float, float]:
        """One step on a batch; returns the losses."""
        pixels, goal = batch_of(scenes)
        heat_loss, box_loss = losses_of(self.model(pixels), goal)
        self.follow(heat_loss + BOX_WEIGHT * box_loss)
        return float(heat_loss.detach()), float(box_loss.detach())

    def finish_epoch(self, figures: dict[str, float]) -> bool:
        """Save the state, and the weights if they are the best so far; returns whether they are."""
        is_best = merit(figures) > merit(self.best["figures"])
        if is_best:
            self.best = {"step": self.step, "figures": {k: round(v, 4) for k, v in figures.items()}}
            checkpoint.save(self.config.out / "scout", checkpoint.halved(self.mean.state_dict()),
                            describe(self.mean) | {"step": self.step, "figures": self.best["figures"],
                                                    "settings": self._settings()})
        self.save_state(best=self.best)
        return is_best

    def _settings(self) -> dict[str, Any]:
        """What makes two runs the same."""
        settings = asdict(self.config) | {"signs": self.config.signs is not None and self.config.signs.name}
        return {k: v for k, v in settings.items() if k not in ("out", "patience", "threads")}


def _keep_signs(model: ScoutNet, stem: Path) -> None:
    """Take all but what finds lights from a checkpoint, and let it stay so. Raises CheckpointError for another network.
    """
    tensors, _ = checkpoint.load(stem)
    signs = {name: tensor for name, tensor in tensors.items() if not name.startswith("lights.")}
    lights = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("lights.")}
    checkpoint.restore(model, signs | lights, stem)
    model.requires_grad_(False)
    model.lights.requires_grad_(True)


def merit(figures: dict[str, float]) -> float:
    """What the best epoch has most of: signs count twice as much as lights."""
    return 2 * figures["ap50"] + figures["light_ap50"]


def batch_of(scenes: list[Scene]) -> tuple[Tensor, dict[str, Tensor]]:
    """Log pixels (N, 3, S, S) and what the network should answer; see `goal_of`."""
    pixels = np.stack([LOG_OF_PIXEL[one.image] for one in scenes])
    goals = [goal_of(one) for one in scenes]
    tensors = {name: torch.from_numpy(np.stack([goal[name] for goal in goals])) for name in goals[0]}
    return torch.from_numpy(pixels).permute(0, 3, 1, 2), tensors


def goal_of(one: Scene) -> dict[str, Array]:
    """The goals of each of KINDS, stacked before what `_goal` gives."""
    is_light = one.sign == LIGHT
    goals = [_goal(one, which) for which in (~is_light, is_light)]
    return {name: np.stack([goal[name] for goal in goals]) for name in goals[0]}


def _goal(one: Scene, which: Array) -> dict[str, Array]:
    """Of some of a scene's things: heat (h, w) float32, a Gaussian at each, 1 in its cell; weight (h, w), 0 where it
    does not matter; box (4, h, w) offsets and log sizes, and has_box (h, w) where they count.
    """
    side = one.image.shape[0] // STRIDE_PX
    heat, weight = np.zeros((side, side), np.float32), np.ones((side, side), np.float32)
    box, has_box = np.zeros((4, side, side), np.float32), np.zeros((side, side), np.float32)
    middle = np.arange(side) + 0.5
    for (left, top, right, bottom), counts in zip(one.box_px[which] / STRIDE_PX, one.counts[which], strict=True):
        x, y, w, h = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
        if not counts:
            rows, columns = ((np.abs(middle - at) < size / 2 + 0.5) for at, size in ((y, h), (x, w)))
            weight[np.ix_(rows, columns)] = 0.0
            continue
        row, column = (min(max(int(v), 0), side - 1) for v in (y, x))
        off_x, off_y = x - middle, y - middle
        spread_x, spread_y = (max(0.6, 0.11 * size) for size in (w, h))
        near_x, near_y = middle - middle[column], middle - middle[row]
        bump = np.exp(-near_y[:, None] ** 2 / (2 * spread_y ** 2) - near_x ** 2 / (2 * spread_x ** 2))
        np.maximum(heat, bump, out=heat)
        heat[row, column] = 1.0
        near = slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2)
        box[0][near], box[1][near] = np.meshgrid(off_x[near[1]], off_y[near[0]])
        box[2][near], box[3][near] = math.log(w * STRIDE_PX), math.log(h * STRIDE_PX)
        has_box[near] = 1.0
    return {"heat": heat, "weight": np.maximum(weight, heat == 1.0).astype(np.float32), "box": box, "has_box": has_box}


def losses_of(heads: Tensor, goal: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """CenterNet's focal loss of the heat (Zhou et al. 2019, eq. 1) per thing, and the mean error of the boxes."""
    heads = heads.unflatten(1, (len(KINDS), 5))
    log_yes, log_no = torch.nn.functional.logsigmoid(heads[:, :, 0]), torch.nn.functional.logsigmoid(-heads[:, :, 0])
    is_centre = goal["heat"] == 1.0
    at_centre = -(1 - log_yes.exp()) ** 2 * log_yes
    elsewhere = -(1 - goal["heat"]) ** 4 * log_yes.exp() ** 2 * log_no
    heat = (torch.where(is_centre, at_centre, elsewhere) * goal["weight"]).sum() / is_centre.sum().clamp(min=1)
    error = (heads[:, :, 1:] - goal["box"]).abs().sum(2) * goal["has_box"]
    return heat, error.sum() / goal["has_box"].sum().clamp(min=1)


def found_in(model: ScoutNet, image: Array) -> list[Found]:
    """What a model finds in one scene, at its one size: of each of KINDS."""
    with torch.inference_mode():
        heads = model.eval()(torch.from_numpy(LOG_OF_PIXEL[image]).permute(2, 0, 1)[None])[0].numpy()
    return [best_of_each(*peaks(part)) for part in np.split(heads, len(KINDS))]


def judge(model: ScoutNet, scenes: list[Scene]) -> dict[str, float]:
    """AP at IoU 0.5 of signs and of lights (`light_...`) against background, pooled over scenes, and their recall and
    precision at a score of 0.4.
    """
    seen = [found_in(model, one.image) for one in scenes]
    figures: dict[str, float] = {}
    for k, prefix in enumerate(("", "light_")):
        scores, hits, number = [], [], 0
        for one, found in zip(scenes, seen, strict=True):
            rows = (one.sign == LIGHT) == (k == 1)
            right, matters = matched(found[k].box_px, one.box_px[rows], one.counts[rows])
            scores += found[k].score[matters].tolist()
            hits += right[matters].tolist()
            number += int(one.counts[rows].sum())
        sure = np.array(hits, bool)[np.array(scores) >= 0.4]
        figures |= {f"{prefix}ap50": interpolated_precision(np.array(scores), np.array(hits, float), max(number, 1)),
                    f"{prefix}recall": float(sure.sum() / max(number, 1)),
                    f"{prefix}precision": float(sure.mean()) if len(sure) else 0.0}
    return figures


def matched(box: Array, true_box: Array, counts: Array) -> tuple[Array, Array]:
    """For boxes (K, 4), best first: whether each is a sign not found before, and whether it matters (K,)."""
    right, matters = np.zeros(len(box), bool), np.ones(len(box), bool)
    if not len(true_box):
        return right, matters
    overlap = boxes_iou(box[:, None], true_box[None])
    free = counts.copy()
    for k in range(len(box)):
        mine = np.where(free, overlap[k], 0.0)
        if mine.max() >= 0.5:
            right[k], free[mine.argmax()] = True, False
        else:
            matters[k] = overlap[k][~counts].max(initial=0.0) < 0.4
    return right, matters


def drawn(model: ScoutNet, one: Scene) -> Array:
    """A scene with the signs (yellow) and lights (blue) found in it, and what should be (green)."""
    shown = one.image.copy()
    for (left, top, right, bottom), is_mine in zip(one.box_px, one.counts, strict=True):
        if is_mine:
            cv2.rectangle(shown, (int(left), int(top)), (int(right), int(bottom)), (0, 255, 0), 1)
    for found, colour in zip(found_in(model, one.image), ((255, 230, 0), (0, 220, 255)), strict=True):
        for left, top, right, bottom in found.box_px[found.score > 0.4]:
            cv2.rectangle(shown, (int(left) - 2, int(top) - 2), (int(right) + 2, int(bottom) + 2), colour, 1)
    return shown
