"""Attacks stay within their reach, raise the loss, and are the same each time."""

import numpy as np
import pytest
import torch

from envs.config import CameraConfig
from perception import dataset
from perception.attacks import ATTACKS, Attack, against, attack, harm, raised, soft_band, soft_glance
from perception.glides import glide
from perception.model import DriveNet, band_of, glance_of
from perception.perceiver import WEIGHTS, load_network


def test_fgsm_steps_along_the_sign_of_the_gradient():
    """For a linear loss the answer is known: every pixel moves by the reach, up or down with its weight."""
    rng = np.random.default_rng(0)
    images, weight = rng.integers(0, 256, (2, 6, 8, 3), np.uint8), torch.from_numpy(rng.normal(size=(2, 6, 8, 3)))
    moved = raised(Attack(2.0, 2.0, 1, False), images, lambda pixels: (pixels * weight).sum(), rng)
    assert np.array_equal(moved, np.clip(images.astype(int) + 2 * np.sign(weight.numpy()), 0, 255))


def test_pgd_ends_where_the_loss_is_highest_in_the_box():
    """A loss with its peak 1 level away from the picture: PGD stops there, FGSM overshoots."""
    images = np.full((1, 4, 4, 3), 100, np.uint8)

    def loss(pixels):
        return -((pixels - 101.0) ** 2).sum()

    pgd = raised(ATTACKS["pgd_2"], images, loss, np.random.default_rng(0))
    assert np.abs(pgd.astype(int) - 101).max() <= 1
    assert (raised(ATTACKS["fgsm_2"], images, loss, np.random.default_rng(0)) == 102).all()


def test_the_soft_glance_and_band_are_the_real_ones():
    image = torch.randint(0, 256, (2, 160, 320, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    assert float((soft_glance(image.float()) - glance_of(image)).abs().max()) < 0.51 / 60  # rounding to grey levels
    assert float((soft_band(image.float()) - band_of(image)).abs().max()) < 1e-5


@pytest.mark.parametrize("name", ATTACKS)
def test_the_shipped_network_can_be_misled(name):
    model, camera = load_network(WEIGHTS)
    frames = glide(10_001, "clear", 1, camera)
    spoilt = attack(name, model, frames, np.random.default_rng(0))
    assert spoilt.dtype == np.uint8 and spoilt.shape == frames.rgb.shape
    assert 1 <= np.abs(spoilt.astype(int) - frames.rgb).max() <= 2
    with torch.no_grad():
        command = torch.from_numpy(frames.labels["command"])
        path = torch.from_numpy(frames.labels["path_m"])
        errors = [float((model(torch.from_numpy(rgb), command)["path"] - path).abs().mean())
                  for rgb in (frames.rgb, spoilt)]
    assert errors[1] > errors[0]
    assert np.array_equal(spoilt, attack(name, load_network(WEIGHTS)[0], frames, np.random.default_rng(0)))


def test_attacks_leave_the_network_as_it_was():
    torch.manual_seed(0)
    model = DriveNet()
    frames = glide(10_001, "clear", 1, CameraConfig())
    first = attack("fgsm_2", model, frames, np.random.default_rng(0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert np.array_equal(first, attack("fgsm_2", model, frames, np.random.default_rng(0)))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_frames_to_learn_against_are_within_reach_and_harm_the_network_as_it_is():
    """The network stays in training, and no weight, gradient or running statistic of it is touched."""
    model, camera = load_network(WEIGHTS)
    frames, rows = glide(10_001, "clear", 4, camera), np.arange(4)
    targets = dataset.targets(frames.labels, rows, camera)
    before = {name: value.clone() for name, value in model.train().state_dict().items()}
    moved = against(model, frames.rgb[rows], targets, np.random.default_rng(0))
    assert model.training and all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert 1 <= int(np.abs(moved.astype(int) - frames.rgb[rows]).max()) <= 2
    loss = harm(model.eval(), targets)
    with torch.no_grad():
        clean, spoilt = (float(loss(torch.from_numpy(images).float())) for images in (frames.rgb[rows], moved))
    assert spoilt > 1.1 * clean
