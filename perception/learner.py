"""What every training loop here shares: a network with its running mean and optimizer, a step at the rate of the cycle,
and a state on disk from which an interrupted run goes on, bit for bit.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from perception import checkpoint
from perception.checkpoint import CheckpointError

WARM_UP = 0.1  # share of the steps in which the rate rises
LONGEST_GRADIENT = 5.0  # a longer one is cut to this norm
Net = TypeVar("Net", bound=nn.Module)


class Learner(Generic[Net]):
    """A network that learns: its weights, their exponential mean, AdamW, and how many of its steps are taken."""

    def __init__(self, model: Net, steps: int, rate: float, weight_decay: float, average_decay: float,
                 warm_up: float = WARM_UP) -> None:
        self.model, self.mean = model, copy.deepcopy(model).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=weight_decay)
        self.step, self.steps = 0, steps
        self._rate, self._average_decay, self._warm_up = rate, average_decay, warm_up

    def follow(self, loss: Tensor) -> float:
        """Take a step down the gradients of a loss; returns the loss."""
        loss.backward()  # type: ignore[no-untyped-call]
        self.take_step()
        return float(loss.detach())

    def take_step(self) -> None:
        """Follow the gradients that are in the model, clear them, and move the mean weights.

        Raises RuntimeError for a gradient that is not finite.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate * one_cycle(self.step / self.steps, self._warm_up)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), LONGEST_GRADIENT, error_if_nonfinite=True)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        move_average(self.mean, self.model, self.step, self._average_decay)

    def save_state(self, **more: Any) -> None:
        """All that the run needs to go on, where `resume` looked for it: weights, their mean, the optimizer, the step,
        and `more`.
        """
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"mean.{k}": v for k, v in self.mean.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{slot}": value for slot, value in slots.items()}
        checkpoint.save(self._state, tensors, self._run | more | {"step": self.step})

    def resume(self, out: Path, kind: str, settings: dict[str, Any]) -> dict[str, Any] | None:
        """Go on where a run of this kind and these settings stopped in the folder `out`, and return what `save_state`
        was given; None where nothing was saved.

        Raises CheckpointError where another kind of run was saved, or one with other settings or steps.
        """
        self._state, self._run = out / "state", {"kind": f"{kind} training", "settings": settings, "steps": self.steps}
        if not checkpoint.exists(self._state):
            return None
        tensors, meta = checkpoint.load(self._state)
        if any(meta.get(name) != value for name, value in self._run.items()):
            raise CheckpointError(f"{self._state} belongs to a run with other settings or other data; name another "
                                  "--out, or delete it")
        for prefix, module in (("model.", self.model), ("mean.", self.mean)):
            checkpoint.restore(module, {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)},
                               self._state)
        state: dict[int, dict[str, Tensor]] = {}  # of the optimizer, by parameter
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, slot = name.split(".")
                state.setdefault(int(index), {})[slot] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})
        self.step = meta["step"]
        return meta


def one_cycle(progress: float, warm_up: float = WARM_UP) -> float:
    """Share of the highest rate at `progress` in [0, 1]: a linear rise, then a cosine to 1 %.

    After Smith and Topin, "Super-convergence", 2018.
    """
    if progress < warm_up:
        return 0.04 + 0.96 * progress / warm_up
    return 0.01 + 0.99 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up))) / 2


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
