"""The camera network: shapes, preprocessing inside, folding that changes nothing, gradients that reach every weight."""

import numpy as np
import pytest
import torch
from torch import nn

from envs.roads.network import Command
from envs.roads.routes import LaneChange, navigation
from perception import dataset
from perception.finder import COLUMNS, KINDS, MOST, ROWS, find_peaks
from perception.model import DriveNet, ModelConfig, band_of, describe, frozen, glance_of, normalised
from perception.tasks import TASKS
from tests.made_labels import full

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 160, 320, 3), np.uint8))
COMMANDS = torch.from_numpy(np.stack([navigation(command, 10.0, LaneChange(20.0, 80.0, side)) for command, side in
                                      zip(Command, (0, 1, -1, 1), strict=True)]))


def seeded(config=None):
    torch.manual_seed(0)
    return DriveNet(config)


def test_network_is_small():
    assert describe(DriveNet())["num_parameters"] < 490_000


def test_folding_batch_normalisation_changes_nothing():
    net = seeded()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    with torch.no_grad():
        before = net.eval()(IMAGES, COMMANDS)
        after = frozen(net)(IMAGES, COMMANDS)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    for name in ("path", "boundary", "stop_logits", "lead", "heat", "boxes", "light_share", "embedding"):
        torch.testing.assert_close(after[name], before[name], atol=2e-4, rtol=1e-4)


def test_frames_of_a_batch_do_not_see_each_other():
    net = frozen(seeded())
    with torch.no_grad():
        together, alone = net(IMAGES, COMMANDS), net(IMAGES[2:3], COMMANDS[2:3])
    for name in ("path", "lead", "heat", "embedding"):
        torch.testing.assert_close(together[name][2:3], alone[name], atol=1e-4, rtol=1e-4)


def test_command_bends_the_path_and_chooses_the_light():
    net = frozen(seeded())
    with torch.no_grad():
        left, right = net(IMAGES[:1], COMMANDS[1:2]), net(IMAGES[:1], COMMANDS[2:3])
    assert not torch.allclose(left["path"], right["path"])
    assert not torch.allclose(left["boundary"], right["boundary"]), "behind a junction the own lane is the way's"
    for name in ("stop", "lead", "heat", "embedding"):
        assert torch.equal(left[name], right[name]), name


def test_every_weight_learns():
    """One backward pass over all tasks: each parameter gets a gradient that is finite and not all zero."""
    net = seeded(ModelConfig(stem=8, fine=16, middle=16, coarse=16, found=16, trunk=32)).train()
    frame = full(4) | {"command": COMMANDS.numpy(), "stop_kind": np.array([1, 2, 1, 0])}
    targets = dataset.targets(frame, np.arange(4), dataset.CameraConfig())
    outputs = net.look(glance_of(IMAGES), band_of(IMAGES), COMMANDS)
    losses = {task.name: task.loss(outputs, targets) for task in TASKS}
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all() and parameter.grad.any(), name


def test_the_band_is_the_frame_around_the_horizon():
    assert torch.equal(band_of(IMAGES), normalised(IMAGES.numpy()[:, 16:96]))
    large = torch.from_numpy(IMAGES.numpy().repeat(2, 1).repeat(2, 2))
    assert torch.equal(band_of(large), band_of(IMAGES)), "each pixel twice"


def maps(heat, boxes):
    """The band's maps, phases and own light without a word."""
    return {"heat": heat, "boxes": boxes, "phases": torch.zeros(1, 5, ROWS, COLUMNS),
            "light_cells": torch.zeros(1, ROWS * COLUMNS)}


def test_peaks_are_apart_and_best_first():
    heat = torch.full((1, len(KINDS), ROWS, COLUMNS), -9.0)
    heat[0, 2, 5, 10], heat[0, 2, 5, 11], heat[0, 2, 15, 30] = 2.0, 1.5, 3.0
    boxes = torch.zeros(1, len(KINDS) * 5, ROWS, COLUMNS)
    peaks = find_peaks(maps(heat, boxes))
    assert peaks["peak"][0, 2, :2].tolist() == pytest.approx(torch.sigmoid(torch.tensor([3.0, 2.0])).tolist())
    assert peaks["peak"][0, 2, 2] < 0.01, "the neighbour of a peak is none"
    assert peaks["box"][0, 2, 0, [0, 2]].mean() == pytest.approx(30 / COLUMNS)
    assert peaks["box"][0, 2, 0, [1, 3]].mean() == pytest.approx(0.1 + 0.5 * 15 / ROWS)
    assert peaks["peak"][0, 1].max() < 0.01, "kinds do not see each other"


def test_two_peaks_on_one_thing_are_told_once():
    """Two cells that tell the same box 12 cells wide, and one that tells another beside it."""
    heat, boxes = torch.full((1, len(KINDS), ROWS, COLUMNS), -9.0), torch.zeros(1, len(KINDS) * 5, ROWS, COLUMNS)
    for column, offset, strength in ((30, 0.5, 3.0), (34, -3.5, 2.0), (46, 0.5, 1.0)):
        heat[0, 2, 10, column] = strength
        boxes[0, 10:14, 10, column] = torch.tensor([offset, 0.5, np.log(12.0), np.log(6.0)])
    peak = find_peaks(maps(heat, boxes))["peak"][0, 2]
    assert peak[:3].tolist() == pytest.approx([float(torch.sigmoid(torch.tensor(3.0))), 0.0,
                                               float(torch.sigmoid(torch.tensor(1.0)))])


def test_the_own_lights_share_is_what_lies_on_it_and_around():
    """Attention of 0.5 on a light's cell and 0.25 beside it, of 0.25 on another light."""
    seen = maps(torch.full((1, len(KINDS), ROWS, COLUMNS), -9.0), torch.zeros(1, len(KINDS) * 5, ROWS, COLUMNS))
    for column, strength in ((20, 3.0), (40, 2.0)):
        seen["heat"][0, KINDS.index("light"), 8, column] = strength
    for column, share in ((20, 0.5), (21, 0.25), (40, 0.25)):
        seen["light_cells"][0, 8 * COLUMNS + column] = share
    assert find_peaks(seen)["light_is_mine"][0, :2].tolist() == pytest.approx([0.75, 0.25])


def test_outputs_of_a_frame():
    with torch.no_grad():
        outputs = frozen(seeded())(IMAGES, COMMANDS)
    assert outputs["box"].shape == (4, len(KINDS), MOST, 4) and outputs["path"].shape == (4, 12, 2)
    assert all(torch.isfinite(value).all() for value in outputs.values())
