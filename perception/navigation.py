"""What the navigation says, as the camera network is told it: every number between -1 and 1."""

from __future__ import annotations

import torch
from torch import Tensor

from envs.roads.network import Command
from envs.roads.routes import COMMAND_HIGH

NEAR_M = (20.0, 40.0, 40.0)  # to a manoeuvre's begin, to its end, from one to the other: the path's own scale
SAID = len(COMMAND_HIGH) + len(NEAR_M)  # numbers the network is told


def as_shares(command: Tensor) -> Tensor:
    """Commands (N, 9), as envs.roads.routes.COMMAND_HIGH says, in shares of their ranges and, once more, of NEAR_M: how
    far the manoeuvre's begin and end are, and how long it is (N, SAID).
    """
    begin_m, end_m = command[:, len(Command)], command[:, len(Command) + 1]
    near = torch.stack([begin_m, end_m, end_m - begin_m], 1) / torch.tensor(NEAR_M, device=command.device)
    return torch.cat([command / torch.from_numpy(COMMAND_HIGH).to(command.device), near.clamp(max=1.0)], 1)
