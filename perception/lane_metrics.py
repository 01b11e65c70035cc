"""Lane lines judged as TuSimple and CULane judge them: accuracy, false rates, and F1 by the overlap of wide lines.

Written from the benchmarks' definitions; nothing of the networks is known here. A lane is a row of x [px], one for each
image row asked for; absent points are nan here and -2 in TuSimple's files.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import networkx
import numpy as np

from envs.geometry import Array

# TuSimple lane detection benchmark, evaluate/lane.py: thresholds in pixels of its 1280 x 720 pictures
PIXEL_THRESHOLD_PX, MATCH_SHARE, TUSIMPLE_WIDTH_PX, MOST_LANES = 20.0, 0.85, 1280, 4
ABSENT_PX = -100.0  # what absent points count as: absent in both is a hit
# CULane (Pan et al. 2018), lane_evaluation -w 30 -t 0.5 -c 1640 -r 590
CULANE_WIDTH_PX, CULANE_HEIGHT_PX, LINE_WIDTH_PX, MATCH_IOU = 1640, 590, 30, 0.5


@dataclass(frozen=True)
class TuSimple:
    """Scores of one picture."""

    accuracy: float
    false_positive: float
    """share of the lanes told that match none"""
    false_negative: float
    """share of the true lanes that none matches"""


def tusimple(told: Array, truth: Array, rows: Array, width_px: int = TUSIMPLE_WIDTH_PX) -> TuSimple:
    """The benchmark's score of lanes told (P, R) against true ones (T, R), x [px] at image rows (R,), nan: absent.

    Pixels count as in its pictures of 1280 px, whatever `width_px` is. A point is right within 20 px / cos(theta) of a
    lane that leans by theta. Each true lane takes its best lane told (no one-to-one matching), and is found if 85 % of
    ALL rows are right, where both absent is right too. More than two lanes too many: accuracy 0, nothing found.
    """
    scale = TUSIMPLE_WIDTH_PX / width_px
    told, truth, rows = np.asarray(told, float) * scale, np.asarray(truth, float) * scale, np.asarray(rows) * scale
    if len(told) > len(truth) + 2:
        return TuSimple(0.0, 0.0, 1.0)
    best = []
    for lane in truth:
        threshold = PIXEL_THRESHOLD_PX / np.cos(_lean_rad(lane, rows))
        gaps = np.abs(np.nan_to_num(told, nan=ABSENT_PX) - np.nan_to_num(lane, nan=ABSENT_PX))
        best.append(float((gaps < threshold).mean(axis=1).max()) if len(told) else 0.0)
    matched = sum(share >= MATCH_SHARE for share in best)
    missed, total = len(truth) - matched, sum(best)
    if len(truth) > MOST_LANES:  # the fifth lane may be missed
        missed, total = max(missed - 1, 0), total - min(best)
    counted = max(min(MOST_LANES, len(truth)), 1)
    false_positive = (len(told) - matched) / len(told) if len(told) else 0.0
    return TuSimple(total / counted, false_positive, missed / counted)


def tusimple_f1(scores: list[TuSimple]) -> dict[str, float]:
    """Means over pictures, and F1 of precision 1 - FP and recall 1 - FN (as LaneATT and CLRNet give it)."""
    accuracy, fp, fn = (float(np.mean([getattr(score, name) for score in scores])) if scores else float("nan")
                        for name in ("accuracy", "false_positive", "false_negative"))
    both = (1 - fp) + (1 - fn)
    return {"tusimple_accuracy": accuracy, "tusimple_fp": fp, "tusimple_fn": fn,
            "tusimple_f1": 2 * (1 - fp) * (1 - fn) / both if both > 0 else 0.0}


def _lean_rad(lane: Array, rows: Array) -> float:
    """The angle between a lane and the image's columns: arctan of dx / dy of the least-squares line."""
    seen = np.isfinite(lane)
    if seen.sum() < 2:
        return 0.0
    return float(np.arctan(np.polyfit(rows[seen], lane[seen], 1)[0]))


def culane(told: list[Array], truth: list[Array], width_px: int, height_px: int,
           least_iou: float = MATCH_IOU) -> tuple[int, int, int]:
    """(true positives, false positives, false negatives) of one picture; lanes are points (K, 2) x, y [px].

    Pictures are scaled to 1640 x 590, lanes drawn 30 px wide (points are joined by straight lines: they lie closely),
    and matched one to one so that the sum of IoUs is largest. A match of IoU above `least_iou` is a true positive.
    """
    ious = lane_ious(told, truth, width_px, height_px)
    hits = sum(float(ious[i, j]) > least_iou for i, j in matching(ious))
    return hits, len(told) - hits, len(truth) - hits


def lane_ious(told: list[Array], truth: list[Array], width_px: int, height_px: int) -> Array:
    """IoU (P, T) of lanes drawn as on CULane's canvas."""
    scale = np.array([CULANE_WIDTH_PX / width_px, CULANE_HEIGHT_PX / height_px])
    drawn, wanted = ([_drawn(lane * scale) for lane in lanes] for lanes in (told, truth))
    ious = np.zeros((len(told), len(truth)))
    for i, a in enumerate(drawn):
        for j, b in enumerate(wanted):
            either = np.count_nonzero(a | b)
            ious[i, j] = np.count_nonzero(a & b) / either if either else 0.0
    return ious


def _drawn(points: Array) -> Array:
    """Pixels (590, 1640) bool of a lane."""
    canvas = np.zeros((CULANE_HEIGHT_PX, CULANE_WIDTH_PX), np.uint8)
    cv2.polylines(canvas, [points.round().astype(np.int32)[:, None]], False, 1, LINE_WIDTH_PX)
    return canvas.astype(bool)


def matching(gain: Array) -> list[tuple[int, int]]:
    """Pairs (row, column) of a one-to-one assignment of gains (P, T) with the largest sum."""
    graph = networkx.Graph()
    graph.add_weighted_edges_from((("row", i), ("column", j), float(gain[i, j]))
                                  for i, j in zip(*np.nonzero(gain > 0), strict=True))
    pairs = (dict(pair) for pair in networkx.max_weight_matching(graph))
    return sorted((int(pair["row"]), int(pair["column"])) for pair in pairs)


def as_points(lanes_px: Array, rows: Array, least_points: int = 2) -> list[Array]:
    """Lanes (L, R) with nan as lists of points (K, 2) x, y [px]; those of fewer points are left out."""
    is_there = np.isfinite(lanes_px)
    return [np.column_stack([lane[seen], rows[seen]]) for lane, seen in zip(lanes_px, is_there, strict=True)
            if seen.sum() >= least_points]
