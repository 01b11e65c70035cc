"""Whether a confidence means what it says, and how sure a figure is: calibration error and bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from envs.geometry import Array

BINS = 15  # of equal width, as Guo et al. 2017
TIMES, COVERED = 400, 0.95


def reliability(confidence: Array, is_right: Array, bins: int = BINS) -> Array:
    """By bin of confidence in [0, 1], (bins, 3): how many there are, their mean confidence, the share that is right."""
    number = np.clip(np.ceil(np.asarray(confidence, float) * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(number, minlength=bins)
    held = np.maximum(count, 1)
    return np.column_stack([count, np.bincount(number, confidence, bins) / held,
                            np.bincount(number, np.asarray(is_right, float), bins) / held])


def expected_error(confidence: Array, is_right: Array, bins: int = BINS) -> float:
    """Expected calibration error (Naeini et al. 2015): mean over answers of |confidence - share right| of their bin."""
    if not len(confidence):
        return float("nan")
    count, mean, share = reliability(confidence, is_right, bins).T
    return float((count * np.abs(mean - share)).sum() / count.sum())


def interval(figure: Callable[[Array], float], count: int, rng: np.random.Generator,
             times: int = TIMES) -> tuple[float, float]:
    """The percentile bootstrap interval of 95 % of `figure(rows)` over `count` pictures drawn with replacement."""
    drawn = np.array([figure(rng.integers(0, count, count)) for _ in range(times)])
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - COVERED) / 2, (1 + COVERED) / 2])
    return float(low), float(high)
