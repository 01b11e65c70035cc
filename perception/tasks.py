"""TASKS: one row per head: how it is judged in training, and how much it weighs. A new head is one row.

A loss takes the network's outputs (see DriveNet.look) and the targets of dataset.targets and gives one number. The
weights are fixed: they bring the losses, in the units below, to about the same size on the first epoch's end, which
trained as well as learned weights in fewer lines. What is measured on val towns stands in metrics.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, smooth_l1_loss

from envs.geometry import Array
from envs.labels import STOP_MAX_M
from envs.signs import SIGN_INDEX, SIGNS
from perception import surroundings

Tensors = dict[str, Tensor]
NEAR_STATIONS = 9  # PATH_STATIONS_M up to 21 m count for the path's own expected error
BLIND_STOP_M = 1.5  # a line nearer to the bumper than this lies below the image
# The signs the network tells apart, in the order of its outputs, which the weights fix: a new name goes to the end.
SIGN_NAMES = ("limit_30", "limit_50", "limit_70", "limit_100", "yield", "stop")
NUM_NAMES = len(SIGN_NAMES) + 1  # the last name is "none of them"
NO_NAME = NUM_NAMES - 1
ROW_OF_NAME: Array = np.array([SIGN_INDEX[name] for name in SIGN_NAMES] + [-1])  # (NUM_NAMES,) row of SIGNS


def names_of_rows(rows: Array) -> Array:
    """What the network should call rows of SIGNS: an index of SIGN_NAMES, -1 where it has no name (and for -1)."""
    name_of_row = np.full(len(SIGNS) + 1, -1)
    name_of_row[ROW_OF_NAME[:NO_NAME]] = np.arange(NO_NAME)
    return np.asarray(name_of_row[rows])


@dataclass(frozen=True)
class Task:
    """One head: `loss(outputs, targets)` in training, times `weight`."""

    name: str
    weight: float
    loss: Callable[[Tensors, Tensors], Tensor]
    head: str = ""  # the output without which a network is not asked; "": all have it


def path_loss(outputs: Tensors, targets: Tensors) -> Tensor:
    """Absolute error in units of each station's spread, and the likelihood of the lateral error (Laplace).

    The likelihood sees a detached path: it teaches the confidence and does not blur the path.
    """
    error_m = outputs["path"] - targets["path"]
    error = error_m / targets["path_std"]
    lateral_m = error_m[:, :NEAR_STATIONS, 1].abs().mean(1).detach()
    return (smooth_l1_loss(error, torch.zeros_like(error), beta=0.1)
            + 0.1 * laplace(lateral_m, outputs["path_log_error"]))


def laplace(error: Tensor, log_scale: Tensor) -> Tensor:
    """Mean negative log-likelihood of absolute errors under Laplace scales exp(log_scale), clamped to e^-5 .. e^5."""
    scale = log_scale.clamp(-5, 5)
    return (error * torch.exp(-scale) + scale).mean()


def boundary_loss(outputs: Tensors, targets: Tensors) -> Tensor:
    """Presence of each point, and where present its column in steps of 5 % of the width."""
    is_there = targets["boundary_seen"]
    presence = binary_cross_entropy_with_logits(outputs["boundary_logit"], is_there)
    error = smooth_l1_loss(outputs["boundary"] * 20, targets["boundary"] * 20, beta=0.1, reduction="none")
    return presence + (error * is_there).sum() / is_there.sum().clamp(min=1)


def stop_loss(outputs: Tensors, targets: Tensors) -> Tensor:
    """Kind of line, and its distance where there is one; lines too near to be in the image are not asked for."""
    distance_m, kind = targets["stop_m"], targets["stop_kind"]
    is_asked = (distance_m >= BLIND_STOP_M).float()
    named = cross_entropy(outputs["stop_logits"], kind, reduction="none")
    has_line = is_asked * (kind > 0)
    error = smooth_l1_loss(outputs["stop"], distance_m.clamp(max=STOP_MAX_M) / STOP_MAX_M, beta=0.02, reduction="none")
    nearer = 1 / (0.2 + distance_m.clamp(max=STOP_MAX_M) / STOP_MAX_M)  # a metre matters more near the line
    return ((named * is_asked).sum() / is_asked.sum().clamp(min=1)
            + 4 * (error * nearer * has_line).sum() / has_line.sum().clamp(min=1))


def lead_loss(outputs: Tensors, targets: Tensors) -> Tensor:
    """Error of the log distance by column, and its likelihood (Laplace, detached as the path's)."""
    error = outputs["lead"] - targets["lead"]
    return (smooth_l1_loss(error, torch.zeros_like(error), beta=0.1)
            + 0.1 * laplace(error.abs().detach(), outputs["lead_log_error"]))


def sign_loss(outputs: Tensors, targets: Tensors) -> Tensor:
    """Penalty-reduced focal loss on the heat (Law and Deng 2018, eq. 1), plus box and distance at the centres."""
    heat, truth = torch.sigmoid(outputs["sign_map"][:, 0]).clamp(1e-4, 1 - 1e-4), targets["sign_heat"]
    is_centre = targets["sign_centre"]
    hit = is_centre * (1 - heat) ** 2 * heat.log()
    miss = (1 - is_centre) * (1 - truth) ** 4 * heat ** 2 * (1 - heat).log()
    count = is_centre.sum().clamp(min=1)
    error = smooth_l1_loss(outputs["sign_map"][:, 1:], targets["sign_values"], beta=0.1, reduction="none").sum(1)
    return -(hit.sum() + miss.sum()) / count + (error * is_centre).sum() / count


def name_loss(outputs: Tensors, targets: Tensors) -> Tensor:
    """Cross-entropy of the glimpse's names over the crops whose name is certain (others are -1)."""
    logits, names = outputs["names"].reshape(-1, NUM_NAMES), targets["names"].reshape(-1)
    return cross_entropy(logits, names, ignore_index=-1, reduction="sum") / (names >= 0).sum().clamp(min=1)


def tasks_of(outputs: Tensors) -> list[Task]:
    """The rows of TASKS whose head a network has."""
    return [task for task in TASKS if not task.head or task.head in outputs]


TASKS: tuple[Task, ...] = (
    Task("path", 2.0, path_loss),
    Task("boundary", 1.0, boundary_loss),
    Task("stop", 1.0, stop_loss),
    Task("lead", 1.0, lead_loss),
    Task("sign", 0.5, sign_loss),
    Task("name", 0.5, name_loss),
    Task("lanes", 1.0, surroundings.lanes_loss, "lanes"),
    Task("drivable", 0.5, surroundings.drivable_loss, "drivable_logit"),
    Task("light", 0.5, surroundings.light_loss, "light_share"),
)
