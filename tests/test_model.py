"""The camera network: shapes, preprocessing inside, folding that changes nothing, gradients that reach every weight."""

import numpy as np
import pytest
import torch
from torch import nn

from envs.signs import SIGN_INDEX
from perception import dataset
from perception.model import (
    CROP_PX,
    NUM_SIGNS,
    PIXEL_MEAN,
    PIXEL_SCALE,
    DriveNet,
    ModelConfig,
    cut_crops,
    describe,
    find_peaks,
    frozen,
    glance_of,
)
from perception.tasks import NUM_NAMES, tasks_of

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 160, 320, 3), np.uint8))
COMMANDS = torch.tensor([[1.0, 0, 0, 0, 60], [0, 1, 0, 0, 10], [0, 0, 1, 0, 10], [0, 0, 0, 1, 10]])


def seeded(config=None):
    torch.manual_seed(0)
    return DriveNet(config)


def test_network_is_small():
    assert describe(DriveNet())["num_parameters"] < 400_000


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
    for name in ("path", "boundary", "stop_logits", "lead", "sign_map", "embedding"):
        torch.testing.assert_close(after[name], before[name], atol=2e-4, rtol=1e-4)


def test_frames_of_a_batch_do_not_see_each_other():
    net = frozen(seeded())
    with torch.no_grad():
        together, alone = net(IMAGES, COMMANDS), net(IMAGES[2:3], COMMANDS[2:3])
    for name in ("path", "lead", "sign_logits", "embedding"):
        torch.testing.assert_close(together[name][2:3], alone[name], atol=1e-4, rtol=1e-4)


def test_command_bends_the_path_and_nothing_else():
    net = frozen(seeded())
    with torch.no_grad():
        left, right = net(IMAGES[:1], COMMANDS[1:2]), net(IMAGES[:1], COMMANDS[2:3])
    assert not torch.allclose(left["path"], right["path"])
    for name in ("boundary", "stop", "lead", "sign_map", "embedding"):
        assert torch.equal(left[name], right[name]), name


def test_every_weight_learns():
    """One backward pass over all tasks: each parameter gets a gradient that is finite and not all zero."""
    net = seeded(ModelConfig(stem=8, fine=16, middle=16, coarse=16, trunk=32, has_surroundings=True)).train()
    frame = {
        "command": COMMANDS.numpy(), "path_m": np.random.default_rng(1).normal(0, 1, (4, 12, 2)).astype(np.float32),
        "boundaries_px": np.full((4, 2, 16), 100, np.float32), "stop_kind": np.array([1, 2, 1, 0]),
        "sign_box_px": np.tile(np.array([200, 60, 220, 80], np.float32), (4, 8, 1)),
        "sign_class": np.tile(np.array([SIGN_INDEX["limit_100"]] + [-1] * 7), (4, 1)),
        "sign_distance_m": np.full((4, 8), 9, np.float32),
        "lanes_px": np.full((4, 4, 32), 90, np.float32), "lane_marking": np.ones((4, 4), np.int64),
        "drivable": np.full((4, 40, 80), 200, np.uint8), "my_light": np.array([1, 3, 0, 4]),
        "light_box_px": np.full((4, 4, 4), 70, np.float32), "light_is_mine": np.ones((4, 4), bool),
        "my_light_m": np.array([9, 20, np.inf, 40], np.float32),
        "lead_m": np.full((4, 20), 20, np.float32), "stop_m": np.array([10, 20, 5, np.inf], np.float32),
    }
    targets = dataset.targets(frame, np.arange(4), dataset.CameraConfig()) | {"path_std": net.path_std}
    targets["names"] = targets["sign_class"][:, :NUM_SIGNS]
    outputs = net.look(glance_of(IMAGES), COMMANDS)
    outputs["names"] = net.glimpse(cut_crops(IMAGES, targets["sign_box"][:, :NUM_SIGNS]).flatten(0, 1))
    losses = {task.name: task.loss(outputs, targets) for task in tasks_of(outputs)}
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all() and parameter.grad.any(), name


def test_crop_shows_the_box_and_a_margin():
    """A white square of 20 px on black: its crop is white in the middle 1 / 1.3 and black around."""
    image = torch.zeros(1, 160, 320, 3, dtype=torch.uint8)
    image[0, 60:80, 200:220] = 255
    box = torch.tensor([[[200 / 320, 60 / 160, 220 / 320, 80 / 160]]])
    crop = cut_crops(image, box)[0, 0] / PIXEL_SCALE + PIXEL_MEAN
    assert crop.shape == (3, CROP_PX, CROP_PX)
    edge = CROP_PX * (1 - 1 / 1.3) / 2
    assert crop[:, :int(edge) - 1].max() < 1 and crop[:, :, -int(edge) + 1:].max() < 1
    inner = slice(int(edge) + 2, CROP_PX - int(edge) - 2)
    assert crop[:, inner, inner].min() > 254


def test_crop_of_the_whole_square_is_a_plain_resize():
    image = torch.arange(64, dtype=torch.uint8).view(1, 1, 64, 1).expand(1, 64, 64, 3).contiguous() * 4
    crop = cut_crops(image, torch.tensor([[[0.25, 0.25, 0.75, 0.75]]]))[0, 0, 0, 16] / PIXEL_SCALE + PIXEL_MEAN
    step = crop.diff()
    assert torch.allclose(step, torch.full_like(step, 4 * 32 * 1.3 / CROP_PX), atol=0.01)


def test_crops_beyond_the_border_repeat_it():
    crops = cut_crops(IMAGES, torch.tensor([[[-0.5, -0.9, -0.2, -0.7]]]).expand(4, 1, 4))
    assert torch.isfinite(crops).all() and crops[0, 0].std((1, 2)).max() == 0


def test_peaks_are_apart_and_best_first():
    heat = torch.full((1, 6, 20, 40), -9.0)
    heat[0, 0, 5, 10], heat[0, 0, 5, 11], heat[0, 0, 15, 30] = 2.0, 1.5, 3.0
    peaks = find_peaks(heat)
    assert peaks["sign_peak"][0, :2].tolist() == pytest.approx(torch.sigmoid(torch.tensor([3.0, 2.0])).tolist())
    assert peaks["sign_peak"][0, 2] < 0.01, "the neighbour of a peak is none"
    assert peaks["sign_box"][0, 0, [0, 2]].mean() == pytest.approx(30 / 40)


def test_outputs_of_a_frame():
    with torch.no_grad():
        outputs = frozen(seeded())(IMAGES, COMMANDS)
    assert outputs["sign_logits"].shape == (4, NUM_SIGNS, NUM_NAMES) and outputs["path"].shape == (4, 12, 2)
    assert all(torch.isfinite(value).all() for value in outputs.values())
