"""How well perception sees, in metres, pixels and shares, on frames whose truth is known.

`measure` judges a Percept, that is exactly what a driver would be given. `constant` is the floor: the same answer for
every frame, made from the training labels; a figure means little without the floor's beside it. AP is COCO's at IoU
0.5 (101 recall points; checked against pycocotools). Nothing is trained or chosen here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.geometry import Array, wrap_angle
from envs.labels import LEAD_MAX_M, PATH_STATIONS_M, STOP_MAX_M
from envs.roads.network import Control
from envs.signs import SIGNS
from perception.perceiver import NO_SIGN, Percept
from perception.tasks import BLIND_STOP_M

NEAR_M = 20.0  # the path is judged this far
NEAR = np.array(PATH_STATIONS_M) <= NEAR_M
BOUNDARY_SHARE = 0.015  # of the width: a boundary point this near is right (5 px of 320)
MATCH_IOU = 0.5  # COCO's AP50
RANGES_M = ((0, 10), (10, 20), (20, 40))  # sign reading is told by distance
BETTER: dict[str, bool] = {  # name: whether more is better; the rows of the table of figures
    "path_lateral_m": False, "path_heading_deg": False, "boundary_px": False, "boundary_f1": True,
    "lead_abs_rel": False, "stop_f1": True, "stop_mae_m": False, "sign_ap50": True, "sign_ap50_any": True,
    "sign_read_0_10m": True, "sign_read_10_20m": True, "sign_read_20_40m": True,
}


def measure(percept: Percept, labels: dict[str, Array], width_px: int) -> dict[str, float]:
    """The figures of BETTER for N frames; labels as in generate.FIELDS. nan where a figure has nothing to judge."""
    return (_path(percept, labels) | _boundaries(percept, labels, width_px) | _lead(percept, labels)
            | _stop(percept, labels) | _signs(percept, labels))


def constant(train: dict[str, Array], num_frames: int) -> Percept:
    """The trivial predictor: for every frame the training labels' mean, median or commonest value, and no sign."""
    is_there = np.isfinite(train["boundaries_px"])
    boundary = np.full(is_there.shape[1:], np.nan)
    for side, row in zip(*np.nonzero(is_there.mean(0) >= 0.5), strict=True):
        boundary[side, row] = np.nanmedian(train["boundaries_px"][:, side, row])
    has_stop = (train["stop_kind"] == Control.STOP) & np.isfinite(train["stop_m"])
    values = {
        "path_m": train["path_m"].mean(0), "path_confidence": np.ones(()), "boundaries_px": boundary,
        "boundary_confidence": np.ones(2), "lead_m": np.exp(np.log(train["lead_m"].clip(0.5)).mean(0)),
        "stop_m": np.median(train["stop_m"][has_stop]) if has_stop.any() else np.array(STOP_MAX_M),
        "stop_confidence": np.ones(()),  # always yes: the best F1 a constant can have
        "sign_box_px": np.zeros((1, 4)), "sign_class": np.full(1, NO_SIGN), "sign_confidence": np.zeros(1),
        "sign_distance_m": np.zeros(1), "sign_bearing_rad": np.zeros(1), "embedding": np.zeros(32),
    }
    full: dict[str, Any] = {name: np.broadcast_to(value, (num_frames, *np.shape(value)))
                            for name, value in values.items()}
    return Percept(**full)


def floor_of(train: dict[str, Array], labels: dict[str, Array], width_px: int) -> dict[str, float]:
    """The figures on some labels of the trivial predictor that knows others."""
    return measure(constant(train, len(labels["path_m"])), labels, width_px)


def distance_to_perfect(figures: dict[str, float], floor: dict[str, float]) -> float:
    """One number for early stopping: the mean over the figures of error / floor's error; 0 perfect, 1 the floor.

    A figure in which the floor itself is perfect tells nothing and is left out.
    """
    errors = [((1 - figures[name], 1 - floor[name]) if is_more else (figures[name], floor[name]))
              for name, is_more in BETTER.items()]
    shares = [error / most for error, most in errors if most > 0]
    return float(np.mean([share for share in shares if np.isfinite(share)]))


def _path(percept: Percept, labels: dict[str, Array]) -> dict[str, float]:
    """Mean distance to the side of the true path, and mean angle between both, up to NEAR_M ahead."""
    return {"path_lateral_m": float(lateral_errors(percept.path_m, labels["path_m"]).mean()),
            "path_heading_deg": float(heading_errors(percept.path_m, labels["path_m"]).mean())}


def lateral_errors(told_m: Array, truth_m: Array) -> Array:
    """Distances (N, K) [m] to the side of true paths (N, 12, 2) at the stations up to NEAR_M ahead."""
    heading, delta = headings(truth_m[:, NEAR]), (told_m - truth_m)[:, NEAR]
    return np.asarray(np.abs(np.cos(heading) * delta[..., 1] - np.sin(heading) * delta[..., 0]))


def heading_errors(told_m: Array, truth_m: Array) -> Array:
    """Angles (N, K) [deg] between paths (N, 12, 2) and true ones at the stations up to NEAR_M ahead."""
    turned = wrap_angle(headings(told_m[:, NEAR]) - headings(truth_m[:, NEAR]))
    return np.asarray(np.degrees(np.abs(turned)))


def headings(points_m: Array) -> Array:
    """Direction (N, K) of the segment that ends at each point of paths (N, K, 2); the first has the second's.

    The rear axle is no point of the path: beside it, a segment from there would lean by more the nearer the point.
    """
    step = np.diff(points_m, axis=1)
    turned = np.arctan2(step[..., 1], step[..., 0])
    return np.concatenate([turned[:, :1], turned], axis=1)


def _boundaries(percept: Percept, labels: dict[str, Array], width_px: int) -> dict[str, float]:
    """Mean column error where both have a point, and F1 over points: right if within BOUNDARY_SHARE of the width."""
    truth, guess = labels["boundaries_px"], percept.boundaries_px
    error = np.abs(truth - guess)
    hits = int((error < BOUNDARY_SHARE * width_px).sum())
    counts = int(np.isfinite(truth).sum()) + int(np.isfinite(guess).sum())
    return {"boundary_px": float(np.nanmean(error)) if np.isfinite(error).any() else float("nan"),
            "boundary_f1": 2 * hits / counts if counts else float("nan")}


def _lead(percept: Percept, labels: dict[str, Array]) -> dict[str, float]:
    truth = labels["lead_m"].clip(0.5, LEAD_MAX_M)
    return {"lead_abs_rel": float((np.abs(percept.lead_m - truth) / truth).mean())}


def _stop(percept: Percept, labels: dict[str, Array]) -> dict[str, float]:
    """F1 of "a stop line lies ahead", and mean distance error where one does; not asked nearer than the camera sees."""
    distance = labels["stop_m"]
    is_asked = distance >= BLIND_STOP_M  # inf is asked
    truth = is_asked & np.isfinite(distance) & (labels["stop_kind"] == Control.STOP)
    guess = is_asked & (percept.stop_confidence > 0.5)
    hits = truth & guess
    error = np.abs(percept.stop_m - distance)[truth]
    return {"stop_f1": 2 * hits.sum() / (truth.sum() + guess.sum()) if truth.any() else float("nan"),
            "stop_mae_m": float(error.mean()) if len(error) else float("nan")}


def _signs(percept: Percept, labels: dict[str, Array]) -> dict[str, float]:
    """AP50 by class and as one class; share of signs found and rightly named by distance."""
    found = percept.sign_class != NO_SIGN
    there = labels["sign_class"] >= 0
    figures = {"sign_ap50_any": average_precision(percept, labels, found, there)}
    by_class = [average_precision(percept, labels, percept.sign_class == row, labels["sign_class"] == row)
                for row in range(len(SIGNS)) if (labels["sign_class"] == row).any()]
    figures["sign_ap50"] = float(np.mean(by_class)) if by_class else float("nan")
    overlap = boxes_iou(labels["sign_box_px"][:, :, None], percept.sign_box_px[:, None])
    is_read = ((overlap > 0.3) & (labels["sign_class"][:, :, None] == percept.sign_class[:, None])).any(2)
    for low, high in RANGES_M:
        inside = there & (labels["sign_distance_m"] >= low) & (labels["sign_distance_m"] < high)
        figures[f"sign_read_{low}_{high}m"] = float(is_read[inside].mean()) if inside.any() else float("nan")
    return figures


def boxes_iou(a: Array, b: Array) -> Array:
    """Intersection over union of boxes (..., 4) left, top, right, bottom, broadcast."""
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    both = (high - low).clip(0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - both
    return both / np.maximum(union, 1e-9)


def average_precision(percept: Percept, labels: dict[str, Array], found: Array, there: Array) -> float:
    """COCO's AP at IoU 0.5 of the detections `found` (N, 4) against the signs `there` (N, S), pooled over frames."""
    scores, hits = [], []
    for i in range(len(found)):
        free = list(np.flatnonzero(there[i]))
        order = [k for k in np.argsort(-percept.sign_confidence[i], kind="stable") if found[i, k]]
        for k in order:
            overlap = boxes_iou(labels["sign_box_px"][i, free], percept.sign_box_px[i, k]) if free else np.zeros(0)
            is_hit = len(overlap) > 0 and overlap.max() >= MATCH_IOU
            if is_hit:
                free.pop(int(overlap.argmax()))
            scores.append(percept.sign_confidence[i, k])
            hits.append(is_hit)
    num_true = int(there.sum())
    if not num_true:
        return float("nan")
    return interpolated_precision(np.array(scores), np.array(hits, float), num_true)


def interpolated_precision(score: Array, is_hit: Array, num_true: int) -> float:
    """COCO's AP of detections with scores (K,), right or wrong (K,), over 101 recall points of `num_true` > 0."""
    right = np.cumsum(is_hit[np.argsort(-score, kind="stable")])
    recall, precision = right / num_true, right / np.arange(1, len(right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
    return float(np.append(envelope, 0.0)[at].mean())
