"""What the navigation says, drawn out as a way: so the path head is told it beside the plain numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from envs.labels import PATH_STATIONS_M
from envs.roads.network import Command

STATIONS_M = PATH_STATIONS_M[1::2]
WAY = 2 * len(STATIONS_M)


def way_told(command: Tensor) -> Tensor:
    """Commands (N, 10) of the navigation (envs.roads.routes.COMMAND_HIGH) as a path at STATIONS_M: x less straight
    ahead, then y, in tens of metres (N, WAY).

    Straight on to the manoeuvre's begin, an arc to its end, straight on, for a car on its lane where neither bends. At
    an angle t of a circle of radius r: x = r sin t, y = r (1 - cos t), here written for a curvature that may be 0.
    """
    ahead = torch.tensor(STATIONS_M, device=command.device)
    begin_m, end_m, turn = command[:, len(Command):len(Command) + 3].T[..., None]
    length_m = (end_m - begin_m).clamp(min=0.5)
    on_arc = torch.minimum((ahead - begin_m).clamp(min=0.0), length_m)
    behind = (ahead - begin_m - length_m).clamp(min=0.0)
    angle = turn * on_arc / length_m
    x_m = torch.minimum(ahead, begin_m) + on_arc * _sinc(angle) + behind * torch.cos(turn)
    y_m = on_arc * torch.sin(angle / 2) * _sinc(angle / 2) + behind * torch.sin(turn)
    return torch.cat([x_m - ahead, y_m], 1) / 10.0


def _sinc(angle: Tensor) -> Tensor:
    """sin(x) / x."""
    safe = torch.where(angle.abs() < 1e-3, 1e-3, angle)
    return torch.sin(safe) / safe
