"""The losses: nothing to lose when right, more the more wrong, and nothing asked that the picture cannot show."""

import numpy as np
import pytest
import torch

from envs.config import CameraConfig
from perception import dataset, surroundings
from perception.finder import KINDS, VALUES
from perception.tasks import TASKS, laplace
from tests.made_labels import blank, full

FRAMES = 3


def right():
    """Outputs that say the targets, and the targets."""
    labels = full(FRAMES)
    labels["stop_kind"], labels["stop_m"] = np.array([0, 1, 2]), np.array([np.inf, 12, 30], np.float32)
    targets = dataset.targets(labels, np.arange(FRAMES), CameraConfig())
    heat = targets["thing_heat"].view(FRAMES, len(KINDS), *targets["thing_heat"].shape[1:])
    peak = torch.zeros(heat.numel()).index_fill_(0, targets["thing_at"], 1.0).view_as(heat)
    boxes = torch.zeros(heat.numel(), VALUES)
    boxes[targets["thing_at"]] = targets["thing_values"]
    phases = torch.zeros(FRAMES * heat.shape[2] * heat.shape[3], 5)
    phases[targets["phase_at"], targets["phase"]] = 24.0
    grid = heat.shape[2:]
    outputs = {
        "path": targets["path"], "path_log_error": torch.full((FRAMES,), -5.0), "boundary": targets["boundary"],
        "boundary_logit": 24 * targets["boundary_seen"] - 12, "lead": targets["lead"],
        "lead_log_error": torch.full((FRAMES, 20), -5.0),
        "stop_logits": 24.0 * torch.nn.functional.one_hot(targets["stop_kind"], 3),
        "stop": targets["stop_m"].clamp(max=40) / 40,
        "heat": torch.where(peak > 0, 12.0, torch.where(heat > 0.05, 0.0, -12.0)),
        "boxes": boxes.view(FRAMES, len(KINDS), *grid, VALUES).movedim(-1, 2).flatten(1, 2),
        "phases": phases.view(FRAMES, *grid, 5).movedim(-1, 1),
        "lanes": targets["lanes"], "lanes_logit": 40 * targets["lanes_seen"] - 20,
        "marking_logits": 20 * torch.nn.functional.one_hot(targets["marking"].clamp(min=0), 5).float(),
        "line_cells_far": cells(targets["line_columns"][..., :surroundings.BAND_NODES], 80),
        "line_cells_near": cells(targets["line_columns"][..., surroundings.BAND_NODES:], 40),
        "drivable_logit": 40 * targets["drivable"] - 20,
        "light_share": torch.nn.functional.one_hot(targets["my_light"], 5).float(),
        "light_none": torch.zeros(FRAMES), "light_cells": targets["light_cells"], "light": targets["light_m"] / 10 - 3,
    }
    return {name: value.clone() for name, value in outputs.items()}, targets


def cells(column, count):
    """Logits that name the cell of each column."""
    return 24.0 * torch.nn.functional.one_hot((column * count).floor().long(), count).float()


WRONG = {
    "path": lambda o: o["path"].add_(1.0), "boundary": lambda o: o["boundary"].add_(0.1),
    "stop": lambda o: o["stop_logits"].mul_(-1), "lead": lambda o: o["lead"].add_(0.5),
    "things": lambda o: o["heat"].mul_(-1), "lanes": lambda o: o["lanes"].add_(0.1),
    "drivable": lambda o: o["drivable_logit"].mul_(-1), "light": lambda o: o["light_share"].mul_(0.1),
}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_right_costs_less_than_wrong(task):
    outputs, targets = right()
    best = float(task.loss(outputs, targets))
    WRONG[task.name](outputs)
    assert np.isfinite(best) and float(task.loss(outputs, targets)) > best + 0.3


def test_every_task_is_a_row_of_its_own():
    assert len({task.name for task in TASKS}) == len(TASKS) and all(task.weight > 0 for task in TASKS)


def test_line_under_the_bonnet_is_not_asked_for():
    outputs, targets = right()
    stop = next(task for task in TASKS if task.name == "stop")
    targets["stop_m"] = torch.tensor([torch.inf, 12.0, 1.0])
    before = float(stop.loss(outputs, targets))
    outputs["stop"][2], outputs["stop_logits"][2] = 0.9, torch.tensor([9.0, -9.0, -9.0])
    assert float(stop.loss(outputs, targets)) == pytest.approx(before)


@pytest.mark.parametrize("change", [
    lambda o: o["boxes"].add_(1.0), lambda o: o["phases"].neg_(), lambda o: o["line_cells_far"].neg_(),
    lambda o: o["marking_logits"].neg_(), lambda o: o["light"].add_(2.0), lambda o: o["light_cells"].mul_(0.01)])
def test_each_part_of_a_loss_is_asked_for(change):
    outputs, targets = right()
    before = sum(float(task.loss(outputs, targets)) for task in TASKS)
    change(outputs)
    assert sum(float(task.loss(outputs, targets)) for task in TASKS) > before + 0.3


def test_likelihood_is_best_at_the_true_scale():
    error = torch.full((100,), 0.3)
    costs = {scale: float(laplace(error, torch.tensor(scale).log())) for scale in (0.1, 0.2, 0.3, 0.45, 1.0)}
    assert min(costs, key=costs.__getitem__) == 0.3


def test_frames_in_which_nothing_is_to_be_seen_cost_a_finite_sum():
    outputs, _ = right()
    targets = dataset.targets(blank(FRAMES), np.arange(FRAMES), CameraConfig())
    assert all(torch.isfinite(task.loss(outputs, targets)) for task in TASKS)
