"""What every training loop here does at each step: the learning rate's cycle, a bounded step, the running mean of the
weights.
"""

from __future__ import annotations

import math

import torch
from torch import nn

WARM_UP = 0.1  # share of the steps in which the rate rises
LONGEST_GRADIENT = 5.0  # a longer one is cut to this norm


def one_cycle(progress: float, warm_up: float = WARM_UP) -> float:
    """Share of the highest rate at `progress` in [0, 1]: a linear rise, then a cosine to 1 %.

    After Smith and Topin, "Super-convergence", 2018.
    """
    if progress < warm_up:
        return 0.04 + 0.96 * progress / warm_up
    return 0.01 + 0.99 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up))) / 2


def take_step(model: nn.Module, mean: nn.Module, optimizer: torch.optim.Optimizer, rate: float, step: int,
              decay: float) -> None:
    """Follow the gradients that a loss has left in a model, clear them, and move the mean weights; `step` counts those
    taken before. Raises RuntimeError for a gradient that is not finite.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    torch.nn.utils.clip_grad_norm_(model.parameters(), LONGEST_GRADIENT, error_if_nonfinite=True)
    optimizer.step()
    optimizer.zero_grad()
    move_average(mean, model, step + 1, decay)


@torch.no_grad()
def move_average(mean: nn.Module, present: nn.Module, step: int, decay: float) -> None:
    """Move the mean weights towards the present ones, faster in the first steps; counters are copied.

    The exponential mean of Polyak and Juditsky (1992) with the growing decay of TensorFlow's ExponentialMovingAverage.
    """
    decay = min(decay, (1 + step) / (10 + step))
    now = present.state_dict()
    for name, value in mean.state_dict().items():
        if value.is_floating_point():
            value.lerp_(now[name], 1 - decay)
        else:
            value.copy_(now[name])
