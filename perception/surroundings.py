"""What stands around the car, from the same glance as the path: lines of three lanes, drivable ground, the own light.

The second half of the camera network's heads: the module, its losses (rows of tasks.TASKS), what it says as a typed
value, and its figures. The own light is found by attention over the cells of the picture: each cell says how likely
it shows the light that binds the car, which phase, and how far its line is; "none" has a share of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    pixel_shuffle,
    smooth_l1_loss,
)

from envs.geometry import Array
from envs.labels import LIGHT_MAX_M
from envs.lane_lines import ANCHORS, LINES
from envs.roads.network import Marking
from envs.state import Phase

Tensors = dict[str, Tensor]
NUM_MARKINGS, NUM_PHASES = len(Marking), len(Phase)
SEEN_SHARE = 0.5  # a point of a line is given where its presence is at least this likely
LIGHT_ROWS, LIGHT_COLUMNS = 20, 40  # cells that the own light is looked for in, as for signs
NEAR_LIGHT_M = 40.0  # lights farther away are not judged


@dataclass(frozen=True, eq=False)
class Surroundings:
    """One look at N frames; pixels of the full frame, confidences in [0, 1]. Names as in generate.FIELDS."""

    lanes_px: Array  # (N, 4, 32) float32, u of the lines of envs.lane_lines at its anchor_rows; nan: none
    lane_confidence: Array  # (N, 4) float32, mean presence over the points given, 0 without one
    lane_marking: Array  # (N, 4) int64 of Marking
    drivable: Array  # (N, 40, 80) float32, how likely each cell of the frame is road
    my_light: Array  # (N,) int64 of Phase; OFF: none, or dark
    my_light_share: Array  # (N, 5) float32, how likely each Phase is
    my_light_m: Array  # (N,) float32, front bumper to its line, up to LIGHT_MAX_M; meaningless without one

    @property
    def my_light_confidence(self) -> Array:
        """(N,) share of the phase told."""
        return np.asarray(self.my_light_share.max(1))


class SurroundingsHead(nn.Module):
    """Features at a quarter and an eighth, and the trunk, to the tensors that `said` reads."""

    def __init__(self, fine: int, middle: int, trunk: int) -> None:
        super().__init__()
        self.lines = nn.Sequential(nn.Linear(trunk, 96), nn.ReLU(inplace=True),
                                   nn.Linear(96, LINES * (2 * ANCHORS + NUM_MARKINGS)))
        self.ground = nn.Conv2d(middle, 16, 1)
        self.light = nn.Sequential(nn.Conv2d(fine, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24),
                                   nn.ReLU(inplace=True))
        self.lamp = nn.Conv2d(24, 2 + NUM_PHASES, 1)
        self.route = nn.Linear(trunk, 1 + 24)  # no light; where on the picture the own one is to be looked for

    def forward(self, at4: Tensor, at8: Tensor, trunk: Tensor) -> Tensors:
        lines = self.lines(trunk).unflatten(1, (LINES, 2 * ANCHORS + NUM_MARKINGS))
        lamps = self.light(at4)
        cells = self.lamp(lamps).flatten(2)  # (N, 7, 800)
        sought = self.route(trunk)
        mine = cells[:, 0] + (lamps.flatten(2) * sought[:, 1:, None]).mean(1)
        share = torch.softmax(torch.cat([sought[:, :1], mine], 1), 1)
        phases = (torch.softmax(cells[:, 2:], 1) * share[:, None, 1:]).sum(2)
        distance = (cells[:, 1] * share[:, 1:]).sum(1) / (share[:, 1:].sum(1) + 0.01)
        return {
            "lanes": lines[:, :, :ANCHORS] + 0.5, "lanes_logit": lines[:, :, ANCHORS:2 * ANCHORS],
            "marking_logits": lines[:, :, 2 * ANCHORS:], "drivable_logit": pixel_shuffle(self.ground(at8), 4)[:, 0],
            "light_share": phases, "light_none": share[:, 0], "light": distance,
            "light_cells": share[:, 1:],
        }


def targets(part: Tensors, width_px: int) -> Tensors:
    """What the losses ask, from rows of the labels."""
    seen = torch.isfinite(part["lanes_px"])
    has_light = torch.isfinite(part["my_light_m"]) & (part["my_light"] != Phase.OFF)
    middle = (part["light_box_px"][..., :2] + part["light_box_px"][..., 2:]) / 2  # (N, L, 2)
    column = (middle[..., 0] * LIGHT_COLUMNS / width_px).long().clamp(0, LIGHT_COLUMNS - 1)
    row = (middle[..., 1] * 2 * LIGHT_ROWS / width_px).long().clamp(0, LIGHT_ROWS - 1)  # frames are 2 : 1
    cells = torch.zeros(len(seen), LIGHT_ROWS * LIGHT_COLUMNS)
    cells.scatter_add_(1, row * LIGHT_COLUMNS + column, part["light_is_mine"].float())
    return {
        "light_cells": (cells > 0).float(),
        "lanes": torch.where(seen, part["lanes_px"], 0.0) / width_px, "lanes_seen": seen.float(),
        "marking": torch.where(seen.any(2), part["lane_marking"], -1), "drivable": part["drivable"].float() / 255,
        "has_light": has_light.float(), "my_light": part["my_light"],
        "light_m": part["my_light_m"].clamp(max=LIGHT_MAX_M),
    }


def lanes_loss(outputs: Tensors, truth: Tensors) -> Tensor:
    """Presence of each point, its column where present in steps of 5 % of the width, and the kind of marking."""
    is_there = truth["lanes_seen"]
    presence = binary_cross_entropy_with_logits(outputs["lanes_logit"], is_there)
    error = smooth_l1_loss(outputs["lanes"] * 20, truth["lanes"] * 20, beta=0.1, reduction="none")
    marking = cross_entropy(outputs["marking_logits"].flatten(0, 1), truth["marking"].flatten(), ignore_index=-1,
                            reduction="sum") / (truth["marking"] >= 0).sum().clamp(min=1)
    return presence + (error * is_there).sum() / is_there.sum().clamp(min=1) + 0.2 * marking


def drivable_loss(outputs: Tensors, truth: Tensors) -> Tensor:
    """Binary cross-entropy over cells against the share of road in each."""
    logit = outputs["drivable_logit"]
    return binary_cross_entropy_with_logits(logit, truth["drivable"])


def light_loss(outputs: Tensors, truth: Tensors) -> Tensor:
    """Likelihood of the phase of the own light (or of none), of its place, and its line's distance in 10 m."""
    has = truth["has_light"]
    phase = outputs["light_share"].gather(1, truth["my_light"][:, None])[:, 0]
    likely = torch.where(has > 0, phase, outputs["light_none"] + outputs["light_share"][:, Phase.OFF])
    error = smooth_l1_loss(outputs["light"], truth["light_m"] / 10 - 3, beta=0.1, reduction="none") * has
    cells = truth["light_cells"]
    found = (outputs["light_cells"] * cells).sum(1)
    where = -(found.clamp(min=1e-5).log() * cells.amax(1)).sum() / cells.amax(1).sum().clamp(min=1)
    return -(likely.clamp(min=1e-5).log()).mean() + 0.3 * where + 0.3 * error.sum() / has.sum().clamp(min=1)


def said(out: dict[str, Array], width_px: int) -> Surroundings:
    """The head's tensors, as arrays, in the road's units."""
    seen = 1 / (1 + np.exp(-out["lanes_logit"]))
    is_there = seen >= SEEN_SHARE
    share = out["light_share"].copy()
    share[:, Phase.OFF] += out["light_none"]
    return Surroundings(
        lanes_px=np.where(is_there, out["lanes"] * width_px, np.float32(np.nan)),
        lane_confidence=(seen * is_there).sum(2) / np.maximum(is_there.sum(2), 1).astype(np.float32),
        lane_marking=out["marking_logits"].argmax(2), drivable=1 / (1 + np.exp(-out["drivable_logit"])),
        my_light=share.argmax(1), my_light_share=share,
        my_light_m=((out["light"] + 3) * 10).clip(0, LIGHT_MAX_M))


def measure(told: Surroundings, labels: dict[str, Array], width_px: int) -> dict[str, float]:
    """F1 of lane points (right within 1.5 % of the width), IoU of the drivable cells, and the own light's phase.

    The light is judged where one binds the car within NEAR_LIGHT_M: share of phases right, and of reds called green.
    """
    truth = labels["lanes_px"]
    hits = int((np.abs(told.lanes_px - truth) < 0.015 * width_px).sum())
    count = int(np.isfinite(truth).sum() + np.isfinite(told.lanes_px).sum())
    guess, road = told.drivable > 0.5, labels["drivable"] > 127
    near = (labels["my_light_m"] < NEAR_LIGHT_M) & (labels["my_light"] != Phase.OFF)
    red = near & np.isin(labels["my_light"], (Phase.RED, Phase.RED_YELLOW))
    nan = float("nan")
    return {"lanes_f1": 2 * hits / max(count, 1),
            "drivable_iou": float((guess & road).sum() / max((guess | road).sum(), 1)),
            "my_light_right": float((told.my_light == labels["my_light"])[near].mean()) if near.any() else nan,
            "red_called_green": float((told.my_light == Phase.GREEN)[red].mean()) if red.any() else nan}


