"""Boxes judged by COCO's own code, classes by accuracy, macro recall and confusion, masks by IoU, depth as in KITTI.

Truth and detections of boxes are COCO's JSON, so that an exported file and a network's answer are judged alike.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from envs.geometry import Array

NAMES = {"ap": 0, "ap50": 1, "ap75": 2, "ap_small": 3, "ar100": 8}  # rows of COCOeval.stats
NEAREST_M, FARTHEST_M = 1e-3, 80.0  # depth that is judged (Eigen split of KITTI)


def coco_json(boxes: list[Array], classes: list[Array], names: list[str], width_px: int, height_px: int,
              files: list[str] | None = None, is_asked: list[Array] | None = None) -> dict[str, Any]:
    """COCO's annotation file of N pictures: boxes (K, 4) left, top, right, bottom [px] and rows of `names` (K,) each.

    Boxes that are not asked for, (K,) bool, are crowds in COCO's words: to find them is neither right nor wrong.
    """
    pictures = [{"id": k + 1, "file_name": files[k] if files else f"{k:06d}.png", "width": width_px,
                 "height": height_px} for k in range(len(boxes))]
    annotations: list[dict[str, Any]] = []
    for picture, (found, kinds) in enumerate(zip(boxes, classes, strict=True), 1):
        asked = is_asked[picture - 1].tolist() if is_asked else [True] * len(kinds)
        for (left, top, right, bottom), kind, is_one in zip(found.astype(float).tolist(), kinds.tolist(), asked,
                                                            strict=True):
            annotations.append({
                "id": len(annotations) + 1, "image_id": picture, "category_id": int(kind) + 1,
                "bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top),
                "iscrowd": int(not is_one)})
    return {"images": pictures, "annotations": annotations,
            "categories": [{"id": k + 1, "name": name} for k, name in enumerate(names)]}


def coco_results(boxes: list[Array], classes: list[Array], scores: list[Array]) -> list[dict[str, Any]]:
    """COCO's result list for `coco_json`'s pictures, with a score for each box."""
    return [{"image_id": picture, "category_id": int(kind) + 1, "score": float(score),
             "bbox": [left, top, right - left, bottom - top]}
            for picture, (found, kinds, marks) in enumerate(zip(boxes, classes, scores, strict=True), 1)
            for (left, top, right, bottom), kind, score in zip(
                found.astype(float).tolist(), kinds.tolist(), marks.tolist(), strict=True)]


def average_precision(truth: dict[str, Any], results: list[dict[str, Any]], by_class: bool = True) -> dict[str, float]:
    """AP over IoU 0.50:0.05:0.95, AP50, AP75, AP of small boxes (under 32 x 32 px) and AR of 100 boxes a picture.

    Means over the classes that there are, or over all boxes as one class. nan where there is nothing to judge.
    """
    if not truth["annotations"]:
        return dict.fromkeys(NAMES, float("nan"))
    if not results:
        return dict.fromkeys(NAMES, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = truth | {"info": {}}
        known.createIndex()
        judge = COCOeval(known, known.loadRes(results), "bbox")
        judge.params.useCats = int(by_class)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    found = {name: float(judge.stats[row]) for name, row in NAMES.items()}
    return {name: value if value >= 0 else float("nan") for name, value in found.items()}  # -1: nothing of that size


def confusion(truth: Array, told: Array, count: int) -> Array:
    """How often (count, count) class i was told as class j; rows and columns are classes from 0."""
    return np.bincount(truth * count + told, minlength=count * count).reshape(count, count)


def accuracy(table: Array) -> float:
    """Share told right, from a confusion table; nan without any."""
    return float(np.trace(table) / table.sum()) if table.sum() else float("nan")


def macro_recall(table: Array) -> float:
    """Mean over the classes that there are of the share told right."""
    counts = table.sum(axis=1)
    there = counts > 0
    return float((np.diag(table)[there] / counts[there]).mean()) if there.any() else float("nan")


def depth_errors(told_m: Array, truth_m: Array) -> dict[str, float]:
    """abs_rel, sq_rel, rmse, rmse_log, delta < 1.25^k (Eigen et al. 2014), truth from 1 mm to 80 m; no scaling."""
    judged = (truth_m > NEAREST_M) & (truth_m < FARTHEST_M)
    truth, told = truth_m[judged], np.clip(told_m[judged], NEAREST_M, FARTHEST_M)
    if not len(truth):
        return dict.fromkeys(("abs_rel", "sq_rel", "rmse", "rmse_log", "delta1", "delta2", "delta3"), float("nan"))
    ratio, error = np.maximum(told / truth, truth / told), told - truth
    return {"abs_rel": float((np.abs(error) / truth).mean()), "sq_rel": float((error**2 / truth).mean()),
            "rmse": float(np.sqrt((error**2).mean())),
            "rmse_log": float(np.sqrt((np.log(told / truth) ** 2).mean())),
            **{f"delta{k}": float((ratio < 1.25**k).mean()) for k in (1, 2, 3)}}
