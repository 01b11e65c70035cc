"""The losses: nothing to lose when right, more the more wrong, and nothing asked that the picture cannot show."""

import numpy as np
import pytest
import torch

from envs.signs import SIGN_INDEX
from perception import dataset
from perception.tasks import NUM_NAMES, TASKS, laplace

FRAMES = 3


def right():
    """Outputs that say the targets, and the targets."""
    rng = np.random.default_rng(0)
    boxes = np.zeros((FRAMES, 8, 4), np.float32)
    boxes[:, 0], boxes[:, 1] = [200, 60, 214, 74], [40, 64, 48, 72]
    labels = {
        "command": np.tile(np.array([1, 0, 0, 0, 60], np.float32), (FRAMES, 1)),
        "path_m": rng.normal(0, 2, (FRAMES, 12, 2)).astype(np.float32), "lead_m": np.full((FRAMES, 20), 12, np.float32),
        "boundaries_px": rng.uniform(10, 300, (FRAMES, 2, 16)).astype(np.float32), "sign_box_px": boxes,
        "sign_class": np.tile([SIGN_INDEX["limit_70"], SIGN_INDEX["stop"]] + [-1] * 6, (FRAMES, 1)),
        "stop_kind": np.array([0, 1, 2]),
        "sign_distance_m": np.full((FRAMES, 8), 9, np.float32), "stop_m": np.array([np.inf, 12, 30], np.float32),
        "speed_limit_mps": np.zeros(FRAMES, np.float32),
    }
    labels["boundaries_px"][:, 1, :5] = np.nan
    targets = dataset.targets(labels, np.arange(FRAMES), dataset.CameraConfig())
    targets |= {"path_std": torch.ones(12, 2), "names": torch.tensor([[2, NUM_NAMES - 1, -1]] * FRAMES)}
    heat = torch.where(targets["sign_centre"] > 0, 12.0, torch.where(targets["sign_heat"] > 0.05, 0.0, -12.0))
    outputs = {
        "path": targets["path"], "path_log_error": torch.full((FRAMES,), -5.0), "boundary": targets["boundary"],
        "boundary_logit": 24 * targets["boundary_seen"] - 12, "lead": targets["lead"],
        "lead_log_error": torch.full((FRAMES, 20), -5.0),
        "stop_logits": 24.0 * torch.nn.functional.one_hot(targets["stop_kind"], 3),
        "stop": targets["stop_m"].clamp(max=40) / 40,
        "sign_map": torch.cat([heat[:, None], targets["sign_values"]], 1),
        "names": 24.0 * torch.nn.functional.one_hot(targets["names"].clamp(min=0), NUM_NAMES),
    }
    return {name: value.clone() for name, value in outputs.items()}, targets


WRONG = {
    "path": lambda o: o["path"].add_(1.0), "boundary": lambda o: o["boundary"].add_(0.1),
    "stop": lambda o: o["stop_logits"].mul_(-1), "lead": lambda o: o["lead"].add_(0.5),
    "sign": lambda o: o["sign_map"][:, 0].mul_(-1), "name": lambda o: o["names"].mul_(-1),
}


@pytest.mark.parametrize("task", [task for task in TASKS if not task.head], ids=lambda task: task.name)
def test_right_costs_less_than_wrong(task):
    outputs, targets = right()
    best = float(task.loss(outputs, targets))
    WRONG[task.name](outputs)
    assert np.isfinite(best) and float(task.loss(outputs, targets)) > best + 0.3


def test_every_task_is_a_row_of_its_own():
    assert len({task.name for task in TASKS}) == len(TASKS) and all(task.weight > 0 for task in TASKS)


def test_line_under_the_bonnet_is_not_asked_for():
    outputs, targets = right()
    stop = next(task for task in TASKS if not task.head if task.name == "stop")
    targets["stop_m"] = torch.tensor([torch.inf, 12.0, 1.0])
    before = float(stop.loss(outputs, targets))
    outputs["stop"][2], outputs["stop_logits"][2] = 0.9, torch.tensor([9.0, -9.0, -9.0])
    assert float(stop.loss(outputs, targets)) == pytest.approx(before)


def test_crops_of_unclear_content_teach_nothing():
    outputs, targets = right()
    name = next(task for task in TASKS if not task.head if task.name == "name")
    before = float(name.loss(outputs, targets))
    outputs["names"][:, 2] = torch.randn(NUM_NAMES)
    assert float(name.loss(outputs, targets)) == pytest.approx(before)


def test_likelihood_is_best_at_the_true_scale():
    error = torch.full((100,), 0.3)
    costs = {scale: float(laplace(error, torch.tensor(scale).log())) for scale in (0.1, 0.2, 0.3, 0.45, 1.0)}
    assert min(costs, key=costs.__getitem__) == 0.3


def test_frames_without_signs_lines_or_boundaries_cost_a_finite_sum():
    outputs, targets = right()
    for name in ("sign_heat", "sign_centre", "sign_values", "boundary_seen", "stop_kind"):
        targets[name] = torch.zeros_like(targets[name])
    targets["stop_m"], targets["names"] = torch.full((FRAMES,), torch.inf), torch.full((FRAMES, 3), -1)
    assert all(torch.isfinite(task.loss(outputs, targets)) for task in TASKS if not task.head)
