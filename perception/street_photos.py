"""`nanodrive perceive --task signs`: the signs in street photos, found by the scout and named by the namer.

The scout says where something looks like a sign, from its surroundings too; the namer looks at it alone, closer, and
may say that it is none. A sign's score is what both make of it. Neither is trained here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from envs.geometry import Array
from envs.signs import SIGNS
from perception.namer import Namer
from perception.photos import Pictures, View, write_csv
from perception.scout import Found, Scout

HEADER = ("file", "left_px", "top_px", "right_px", "bottom_px", "class_id", "score")
MARGIN = 0.10  # of a sign's longer side, on each side of what the namer sees
LEAST_SCORE = 0.05  # weaker ones are not told
GTSRB_CLASS = np.array([sign.gtsrb_class for sign in SIGNS])


def find_signs(pictures: Pictures, out: Path, view: View) -> dict[str, Any]:
    """Rows of HEADER, a photo's best first: boxes in the photo's own pixels, GTSRB's ids 0 to 42, scores in [0, 1].

    A photo without signs has no row. The camera need not be known, so `view` is not looked at.
    """
    scout, namer = Scout.load(), Namer.load()
    rows: list[tuple[object, ...]] = []
    for file, photo in pictures:
        (found,) = scout.find(photo, ("sign",))
        row, score = named(namer, photo, found)
        for k in told(score):
            box = (f"{value:.1f}" for value in found.box_px[k])
            rows.append((file.name, *box, int(GTSRB_CLASS[row[k]]), f"{score[k]:.4f}"))
    write_csv(out, HEADER, rows)
    return {"rows": len(rows)}


def told(score: Array) -> list[int]:
    """Which of things with scores (K,) are told, best first."""
    return [k for k in np.argsort(-score, kind="stable").tolist() if score[k] >= LEAST_SCORE]


def named(namer: Namer, photo: Array, found: Found) -> tuple[Array, Array]:
    """Row of SIGNS (K,) int64 and score (K,) float32 of what was found in a photo uint8 (H, W, 3)."""
    shares = namer.name([cut(photo, box) for box in found.box_px])  # (K, 44)
    return shares[:, :-1].argmax(1), joined(found.score, shares)


def joined(score: Array, shares: Array) -> Array:
    """The score (K,) of signs by the scout's score (K,) and the namer's shares (K, 44), the last one "none".

    A namer that wavers between classes sees no sign clearly, so its best share counts, not the sum of all; the scout's
    weighs less, since it must also judge from afar.
    """
    return np.asarray(np.sqrt(score) * shares[:, :-1].max(1), np.float32)


def cut(photo: Array, box_px: Array) -> Array:
    """The square around a box and MARGIN more, (S, S, 3), as far as it lies in the photo."""
    height, width = photo.shape[:2]
    centre, half = (box_px[:2] + box_px[2:]) / 2, (0.5 + MARGIN) * float((box_px[2:] - box_px[:2]).max())
    low = np.floor(centre - half).astype(int).clip(0, [width - 1, height - 1])
    high = np.ceil(centre + half).astype(int).clip(low + 1, [width, height])
    return np.ascontiguousarray(photo[low[1]:high[1], low[0]:high[0]])
