"""Calibration error against torchmetrics and by hand; bootstrap intervals cover what they should."""

import numpy as np
import pytest

from perception.calibration import UNCHANGED, expected_error, fitted, interval, mapped, reliability


def test_by_hand():
    """Ten answers at 0.9 of which 6 are right, ten at 0.5 of which 5: (10 x 0.3 + 10 x 0) / 20."""
    confidence = np.array([0.9] * 10 + [0.5] * 10)
    right = np.array([True] * 6 + [False] * 4 + [True] * 5 + [False] * 5)
    assert expected_error(confidence, right) == pytest.approx(0.15)
    assert np.isnan(expected_error(np.zeros(0), np.zeros(0, bool)))


def test_agrees_with_torchmetrics():
    functional = pytest.importorskip("torchmetrics.functional.classification")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    confidence = rng.random(2000)
    right = rng.random(2000) < confidence**1.5
    theirs = functional.binary_calibration_error(torch.tensor(confidence), torch.tensor(right.astype(int)), n_bins=15)
    assert expected_error(confidence, right) == pytest.approx(float(theirs), abs=1e-6)


def test_ends_of_the_scale_have_bins():
    table = reliability(np.array([0.0, 1.0, 1.0]), np.array([False, True, True]))
    assert table[0].tolist() == [1, 0, 0] and table[-1].tolist() == [2, 1, 1] and table[:, 0].sum() == 3


def test_interval_of_a_mean_is_the_normal_one():
    """Of 400 standard normal values: mean +- 1.96 / 20."""
    values = np.random.default_rng(1).normal(size=400)
    low, high = interval(lambda rows: float(values[rows].mean()), 400, np.random.default_rng(2))
    assert [low, high] == pytest.approx([values.mean() - 0.098, values.mean() + 0.098], abs=0.02)


def test_interval_of_nothing_is_nan():
    assert np.isnan(interval(lambda rows: float("nan"), 5, np.random.default_rng(0))).all()


def test_a_map_of_odds_makes_an_overconfident_head_true():
    """Who says 0.9 and is right in 60 %, and 0.6 and is right in half of the cases, is believed as much afterwards."""
    sure = np.repeat([0.9, 0.6], 1000)
    right = np.concatenate([np.arange(1000) < 600, np.arange(1000) < 500])
    by = fitted(sure, right)
    assert mapped(np.array([0.9, 0.6]), by) == pytest.approx([0.6, 0.5], abs=0.01)
    assert expected_error(mapped(sure, by), right) < 0.02 < expected_error(sure, right)


def test_a_true_head_is_left_as_it_is_and_zero_stays_zero():
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.02, 0.98, 20_000)
    assert fitted(sure, rng.random(20_000) < sure) == pytest.approx((1.0, 0.0), abs=0.05)
    assert fitted(sure[:20], np.ones(20, bool)) == UNCHANGED, "too few to tell"
    assert mapped(np.array([0.0, 0.5, 1.0]), (2.0, 1.0))[0] == 0.0
    assert np.isfinite(fitted(np.ones(100), np.ones(100, bool))).all(), "always sure and always right"


def test_a_map_is_found_where_nearly_all_confidences_are_alike():
    """A step of Newton's method that leads too far is shortened: without that the map of these runs away."""
    sure = np.concatenate([np.linspace(0.990, 0.9999, 2000), [0.55, 0.6, 0.7] * 10])
    right = np.concatenate([np.arange(2000) % 5 > 0, np.zeros(30, bool)])
    by = fitted(sure, right)
    assert mapped(sure[:2000], by).mean() == pytest.approx(0.8, abs=0.02) and abs(by[0]) < 5
