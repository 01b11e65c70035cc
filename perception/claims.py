"""What a percept claims with a confidence, and whether it holds: what confidences are fitted to and judged by.

A claim is right if: `path`, it is PATH_RIGHT_M beside the true one on average up to NEAR_M ahead; `boundary`, `lane`,
MATCH_SHARE of a line's points lie within LINE_RIGHT of the width of the true line (as TuSimple's benchmark takes a line
for found); `drivable`, a cell is mostly road; `sign`, a box overlaps a sign (MATCH_IOU) of the class told; `light`,
the same with its phase; `vehicle`, `person`, a box overlaps one; `stop`, a stop line lies within STOP_MAX_M;
`my_light`, the phase told is that of the light in view that binds the car within NEAR_LIGHT_M.
"""

from __future__ import annotations

import numpy as np

from envs.geometry import Array
from envs.roads.network import Control
from perception.lane_metrics import MATCH_SHARE
from perception.metrics import MATCH_IOU, boxes_iou, lateral_errors
from perception.perceiver import Percept
from perception.surroundings import LINE_RIGHT, is_road, light_is_asked
from perception.tasks import BLIND_STOP_M

PATH_RIGHT_M = 0.3
EVERY_CELL = 7  # of the drivable ground is asked: there are 3,200 in a frame

Claims = dict[str, tuple[Array, Array]]  # by head: confidences (K,) and whether each holds (K,) bool


def claims_of(percept: Percept, labels: dict[str, Array], width_px: int) -> Claims:
    """The claims of N frames so wide by head; of heads that the percept has."""
    asked = labels["stop_m"] >= BLIND_STOP_M
    has_stop = np.isfinite(labels["stop_m"]) & (labels["stop_kind"] == Control.STOP)
    found = {"stop": (percept.stop_confidence[asked], has_stop[asked]),
             "path": (percept.path_confidence, lateral_errors(percept.path_m, labels["path_m"]).mean(1) < PATH_RIGHT_M),
             "boundary": _lines(percept.boundaries_px, percept.boundary_confidence, labels["boundaries_px"], width_px)}
    if hasattr(percept, "lane_confidence"):
        found["lane"] = _lines(percept.lanes_px, percept.lane_confidence, labels["lanes_px"], width_px)
    if hasattr(percept, "drivable"):
        found["drivable"] = (percept.drivable.reshape(-1)[::EVERY_CELL],
                             is_road(labels).reshape(-1)[::EVERY_CELL])
    found |= {kind: _things(percept, labels, kind, *pair) for kind, pair in classes_of(percept, labels).items()}
    if hasattr(percept, "my_light_confidence"):
        near = light_is_asked(labels)
        found["my_light"] = (percept.my_light_confidence[near], (percept.my_light == labels["my_light"])[near])
    return found


def classes_of(percept: Percept, labels: dict[str, Array]) -> dict[str, tuple[Array, Array]]:
    """By kind of things that the percept has: the classes told (N, K) and those there (N, L), -1 for none."""
    found = {"sign": (percept.sign_class, labels["sign_class"])}
    if hasattr(percept, "light_box_px"):
        found["light"] = (percept.light_phase, labels["light_phase"])
    for kind in ("vehicle", "person"):
        if hasattr(percept, f"{kind}_box_px"):
            told, there = getattr(percept, f"{kind}_confidence") > 0, np.isfinite(labels[f"{kind}_distance_m"])
            found[kind] = (told.astype(int) - 1, there.astype(int) - 1)
    return found


def _lines(told_px: Array, confidence: Array, truth_px: Array, width_px: int) -> tuple[Array, Array]:
    """Confidences (K,) of the lines told, columns (N, L, R) with nan for none, and whether each is the true one."""
    points = np.isfinite(told_px)
    near = (np.abs(told_px - truth_px) < LINE_RIGHT * width_px).sum(2)  # nan is not near
    is_told = points.any(2)
    return confidence[is_told], (near >= MATCH_SHARE * points.sum(2))[is_told]


def _things(percept: Percept, labels: dict[str, Array], kind: str, told: Array, there: Array) -> tuple[Array, Array]:
    """Confidences of the things told as a class (N, K), -1 for none, and whether one of it (N, L) is there."""
    overlap = boxes_iou(getattr(percept, f"{kind}_box_px")[:, :, None], labels[f"{kind}_box_px"][:, None])
    is_right = ((overlap >= MATCH_IOU) & (told[:, :, None] == there[:, None])).any(2)
    return getattr(percept, f"{kind}_confidence")[told >= 0], is_right[told >= 0]
