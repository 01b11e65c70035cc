"""The rate's cycle and the mean of the weights."""

import pytest
import torch
from torch import nn

from perception.learner import move_average, one_cycle


def test_rate_rises_to_one_and_falls_to_a_hundredth():
    assert one_cycle(0.0) == pytest.approx(0.04) and one_cycle(0.1) == pytest.approx(1.0)
    assert one_cycle(1.0) == pytest.approx(0.01) and one_cycle(0.05, 0.05) == pytest.approx(1.0)
    falling = [one_cycle(0.1 + 0.1 * k) for k in range(10)]
    assert falling == sorted(falling, reverse=True)


def test_mean_follows_and_copies_counters():
    """Ten steps at decay 0.5 towards constant weights leave 1 / 2^9 of the distance: the first step goes 90 % there."""
    mean, present = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    with torch.no_grad():
        present.weight.fill_(3.0)
    present.num_batches_tracked.fill_(7)
    move_average(mean, present, 0, 0.5)
    assert mean.weight[0].item() == pytest.approx(1.0 + 2.0 * 0.9) and mean.num_batches_tracked.item() == 7
    for _ in range(9):
        move_average(mean, present, 1000, 0.5)
    assert mean.weight[0].item() == pytest.approx(3.0 - 0.2 / 2 ** 9, abs=1e-6)
