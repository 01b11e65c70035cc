"""Whether a confidence means what it says, and how sure a figure is: calibration error and bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from envs.geometry import Array

BINS = 15  # of equal width, as Guo et al. 2017
TIMES, COVERED = 400, 0.95
OddsMap = tuple[float, float]  # log odds become so many times as large, plus so much
UNCHANGED: OddsMap = (1.0, 0.0)
FEWEST, NEWTON_STEPS, EDGE = 50, 12, 1e-4


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


def fitted(confidence: Array, is_right: Array) -> OddsMap:
    """The map of log odds under which what holds is likeliest (Platt 1999, by Newton's method); none for few claims.

    A confidence of 0 or 1 counts as EDGE away from it. The fit leans a little to leaving things as they are.
    """
    if len(confidence) < FEWEST:
        return UNCHANGED
    rows = np.column_stack([log_odds(confidence), np.ones(len(confidence))])
    weight = np.array(UNCHANGED)
    for _ in range(NEWTON_STEPS):
        share = share_of(rows @ weight)
        gradient = rows.T @ (share - is_right) + (weight - UNCHANGED)
        step = np.linalg.solve((rows * (share * (1 - share))[:, None]).T @ rows + np.eye(2), gradient)
        while _misfit(weight - step, rows, is_right) > _misfit(weight, rows, is_right) + 1e-9:
            step = step / 2  # a whole step leads too far where nearly all confidences are alike
        weight = weight - step
    return float(weight[0]), float(weight[1])


def _misfit(weight: Array, rows: Array, is_right: Array) -> float:
    """What `fitted` makes small: the claims' negative log-likelihood, and how far the map is from none."""
    odds = rows @ weight
    return float((np.logaddexp(0.0, odds) - odds * is_right).sum() + ((weight - UNCHANGED) ** 2).sum() / 2)


def mapped(confidence: Array, by: OddsMap) -> Array:
    """Confidences through a map of log odds; 0, which says that nothing was claimed, stays."""
    share = share_of(by[0] * log_odds(confidence) + by[1])
    return np.where(confidence > 0, share, 0.0).astype(np.float32)


def log_odds(share: Array) -> Array:
    """log(p / (1 - p)), of shares kept EDGE away from 0 and 1."""
    inside = np.clip(np.asarray(share, float), EDGE, 1 - EDGE)
    return np.asarray(np.log(inside / (1 - inside)))


def share_of(log_odds: Array) -> Array:
    """The share p of log(p / (1 - p)), of any size."""
    with np.errstate(over="ignore"):  # of large negative ones, whose share is 0
        return np.asarray(1 / (1 + np.exp(-log_odds)))


def interval(figure: Callable[[Array], float], count: int, rng: np.random.Generator,
             times: int = TIMES) -> tuple[float, float]:
    """The percentile bootstrap interval of 95 % of `figure(rows)` over `count` pictures drawn with replacement."""
    drawn = np.array([figure(rng.integers(0, count, count)) for _ in range(times)])
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - COVERED) / 2, (1 + COVERED) / 2])
    return float(low), float(high)
