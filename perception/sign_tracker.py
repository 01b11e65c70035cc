"""Memory of the signs in view: each is followed from look to look, and every look votes on its name.

A sign grows and moves outwards while the car approaches, by a few pixels at 10 Hz; what lies nearest and is about as
large is taken for the same. Large looks count more, with the area: a sign of 20 px is read four times as surely as one
of 10 px. Only pixels are used, no odometry and no truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.geometry import Array
from envs.signs import SIGNS

REACH_SIZES, REACH_PX = 0.8, 4.0  # a sign moves at most so much of its size, and so many pixels, between two looks
GROWTH = 1.7  # and grows or shrinks by this factor at most
PATIENCE = 4  # looks without it after which a sign is forgotten


@dataclass(eq=False)
class FollowedSign:
    """One sign: its last box, and the votes for each row of SIGNS and for none of them."""

    box_px: Array  # (4,) float32, left, top, right, bottom
    votes: Array  # (len(SIGNS) + 1,)
    missed: int = 0  # looks since it was last seen

    @property
    def sign_class(self) -> int:
        """Row of SIGNS that has most votes, -1 if it is taken for none."""
        best = int(self.votes.argmax())
        return best if best < len(SIGNS) else -1

    @property
    def confidence(self) -> float:
        """Share of the votes for that name."""
        return float(self.votes.max() / max(self.votes.sum(), 1e-9))


class SignTracker:
    """The signs that one car sees; `update` at each look."""

    def __init__(self) -> None:
        self.signs: list[FollowedSign] = []

    def update(self, box_px: Array, sign_class: Array, share: Array) -> None:
        """Take in the boxes (K, 4) of one look, their rows of SIGNS (K,), -1 for none, and confidences (K,).

        A box without confidence is not there.
        """
        rows = [k for k in range(len(box_px)) if share[k] > 0]
        pairs = sorted((gap, k, n) for n, sign in enumerate(self.signs) for k in rows
                       if (gap := _gap(sign.box_px, box_px[k], sign.missed)) is not None)
        taken: dict[int, FollowedSign] = {}
        for _, k, n in pairs:
            sign = self.signs[n]
            if k not in taken and sign not in taken.values():
                taken[k] = sign
        for sign in self.signs:
            sign.missed += 1
        for k in rows:
            sign = taken.get(k) or FollowedSign(box_px[k], np.zeros(len(SIGNS) + 1))
            if k not in taken:
                self.signs.append(sign)
            area = float(np.prod(box_px[k, 2:] - box_px[k, :2]))
            sign.votes[sign_class[k]] += float(share[k]) * area  # -1 is the last one
            sign.box_px, sign.missed = box_px[k], 0
        self.signs = [sign for sign in self.signs if sign.missed <= PATIENCE]


def _gap(old: Array, new: Array, missed: int) -> float | None:
    """How far apart two boxes are, in sizes, if they may be the same sign; else None."""
    sizes = [float(max(box[2] - box[0], box[3] - box[1], 1.0)) for box in (old, new)]
    if not 1 / GROWTH < sizes[1] / sizes[0] < GROWTH:
        return None
    away = float(np.hypot(*((new[:2] + new[2:] - old[:2] - old[2:]) / 2)))
    return away / sizes[1] if away < (REACH_PX + REACH_SIZES * sizes[0]) * (1 + missed) else None
