"""What a percept claims with a confidence, and whether it holds: what confidences are fitted to and judged by.

A claim is right if: `sign`, a box overlaps a sign (MATCH_IOU) of the class told; `light`, the same with its phase;
`vehicle`, `person`, a box overlaps one; `stop`, a stop line lies within STOP_MAX_M; `my_light`, the phase told is that
of the light in view that binds the car within NEAR_LIGHT_M.
"""

from __future__ import annotations

import numpy as np

from envs.geometry import Array
from envs.roads.network import Control
from perception.metrics import MATCH_IOU, boxes_iou
from perception.perceiver import Percept
from perception.surroundings import light_is_asked
from perception.tasks import BLIND_STOP_M

Claims = dict[str, tuple[Array, Array]]  # by head: confidences (K,) and whether each holds (K,) bool


def claims_of(percept: Percept, labels: dict[str, Array]) -> Claims:
    """The claims of N frames by head; of heads that the percept has."""
    asked = labels["stop_m"] >= BLIND_STOP_M
    has_stop = np.isfinite(labels["stop_m"]) & (labels["stop_kind"] == Control.STOP)
    found = {"stop": (percept.stop_confidence[asked], has_stop[asked])}
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


def _things(percept: Percept, labels: dict[str, Array], kind: str, told: Array, there: Array) -> tuple[Array, Array]:
    """Confidences of the things told as a class (N, K), -1 for none, and whether one of it (N, L) is there."""
    overlap = boxes_iou(getattr(percept, f"{kind}_box_px")[:, :, None], labels[f"{kind}_box_px"][:, None])
    is_right = ((overlap >= MATCH_IOU) & (told[:, :, None] == there[:, None])).any(2)
    return getattr(percept, f"{kind}_confidence")[told >= 0], is_right[told >= 0]
