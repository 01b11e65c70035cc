"""TASKS: one row per head: how it is judged in training, and how much it weighs. A new head is one row.

A loss takes the network's outputs (see DriveNet.look) and the targets of dataset.targets and gives one number. The
weights are fixed: they bring the losses, in the units below, to about the same size on the first epoch's end, which
trained as well as learned weights in fewer lines. What is measured on val towns stands in metrics.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, smooth_l1_loss

from envs.labels import PATH_STATIONS_M, STOP_MAX_M
from perception import finder, surroundings

Tensors = dict[str, Tensor]
NEAR_STATIONS = 9  # PATH_STATIONS_M up to 21 m count for the path's own expected error
STEPS_M = torch.tensor(PATH_STATIONS_M).diff()
STATION_WEIGHT = torch.where(torch.arange(len(PATH_STATIONS_M)) < NEAR_STATIONS, 1.0, 0.3)  # farther ones count less
TURN_WEIGHT = 6.0  # of a radian beside a metre: a segment of 2 m turns by as many metres
SMALL_M, SMALL_TURN = 0.02, 0.004  # below these an error of place, or of direction [rad], counts by its square
BLIND_STOP_M = 1.5  # a line nearer to the bumper than this lies below the image


@dataclass(frozen=True)
class Task:
    """One head: `loss(outputs, targets)` in training, times `weight`."""

    name: str
    weight: float
    loss: Callable[[Tensors, Tensors], Tensor]


def path_loss(outputs: Tensors, targets: Tensors) -> Tensor:
    """Absolute error in metres and error of the direction between stations, as the path is judged, and the likelihood
    of the lateral error (Laplace).

    The likelihood sees a detached path: it teaches the confidence and does not blur the path.
    """
    error_m = outputs["path"] - targets["path"]
    told, true = outputs["path"].diff(dim=1), targets["path"].diff(dim=1)
    turned = (told[..., 0] * true[..., 1] - told[..., 1] * true[..., 0]) / STEPS_M.square()  # sine of the angle
    direction = smooth_l1_loss(turned, torch.zeros_like(turned), beta=SMALL_TURN, reduction="none").mean(0)
    place = smooth_l1_loss(error_m, torch.zeros_like(error_m), beta=SMALL_M, reduction="none").mean((0, 2))
    lateral_m = error_m[:, :NEAR_STATIONS, 1].abs().mean(1).detach()
    return ((place * STATION_WEIGHT).mean() + TURN_WEIGHT * (direction * STATION_WEIGHT[1:]).mean()
            + 0.1 * laplace(lateral_m, outputs["path_log_error"]))


def laplace(error: Tensor, log_scale: Tensor) -> Tensor:
    """Mean negative log-likelihood of absolute errors under Laplace scales exp(log_scale), clamped to e^-5 .. e^5."""
    scale = log_scale.clamp(-5, 5)
    return (error * torch.exp(-scale) + scale).mean()


def boundary_loss(outputs: Tensors, targets: Tensors) -> Tensor:
    """Presence of each point, and where present its column in steps of 5 % of the width."""
    is_there = targets["boundary_seen"]
    presence = binary_cross_entropy_with_logits(outputs["boundary_logit"], is_there)
    error = smooth_l1_loss(outputs["boundary"] * 20, targets["boundary"] * 20, beta=0.02, reduction="none")
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


TASKS: tuple[Task, ...] = (
    Task("path", 5.0, path_loss),
    Task("boundary", 1.0, boundary_loss),
    Task("stop", 1.0, stop_loss),
    Task("lead", 1.0, lead_loss),
    Task("things", 1.0, finder.loss),
    Task("lanes", 2.0, surroundings.lanes_loss),
    Task("drivable", 0.5, surroundings.drivable_loss),
    Task("light", 1.0, surroundings.light_loss),
)
