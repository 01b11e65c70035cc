"""Memory of the signs in view: each is followed from look to look, and every look votes on its name.

A sign grows and moves outwards while the car approaches; what lies nearest to where it should be by now and is about
as large is taken for the same: signs hang one above the other, and the lower one soon is where the upper one was. In a
bend all signs move aside, far and at once, so a sign that was seen once is looked for farther to the side. Large looks
count more, with the area: a sign of 20 px is read four times as surely as one of 10 px. A sign that the border of
the picture cuts is at its largest and hardly to be read: it has little of a vote, and is a new sign only where none is
followed. Only pixels are used, no odometry and no truth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from envs.geometry import Array
from envs.signs import SIGNS
from perception.metrics import boxes_iou

REACH_SIZES, REACH_PX = 0.8, 4.0  # a sign moves at most so much of its size, and so many pixels, between two looks
SIDEWAYS = 2.0  # times as far to the side while its motion is not known
GROWTH = 1.7  # and grows or shrinks by this factor at most
MOTION_GAIN = 0.5  # of a look on how a sign's box moves between two looks
PATIENCE = 4  # looks without it after which a sign is forgotten
BORDER_PX = 4.0  # a box that ends this near to the picture's border is of a sign that it cuts
CUT_WEIGHT = 0.1  # of the vote of such a box


@dataclass(eq=False)
class FollowedSign:
    """One sign: its last box, and the votes for each row of SIGNS and for none of them."""

    box_px: Array  # (4,) float32, left, top, right, bottom
    votes: Array  # (len(SIGNS) + 1,)
    missed: int = 0  # looks since it was last seen
    motion_px: Array | None = None  # (4,) of its box from look to look, once it was seen twice

    @property
    def expected_px(self) -> Array:
        """(4,) where its box should be in the next look."""
        return self.box_px if self.motion_px is None else self.box_px + self.motion_px * (self.missed + 1)

    def see(self, box_px: Array, row: int, weight: float) -> None:
        """Take in a box (4,) that is taken for this sign, and its vote for a row of SIGNS."""
        moved = (box_px - self.box_px) / (self.missed + 1)
        self.motion_px = moved if self.motion_px is None else self.motion_px + MOTION_GAIN * (moved - self.motion_px)
        self.votes[row] += weight
        self.box_px, self.missed = box_px, 0

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
    """The signs that one car sees in pictures so wide; `update` at each look."""

    def __init__(self, width_px: float) -> None:
        self.width_px = width_px
        self.signs: list[FollowedSign] = []

    def update(self, box_px: Array, sign_class: Array, share: Array) -> None:
        """Take in the boxes (K, 4) of one look, their rows of SIGNS (K,), -1 for none, and confidences (K,).

        A box without confidence is not there.
        """
        rows = [k for k in range(len(box_px)) if share[k] > 0]
        pairs = sorted((gap, k, n) for n, sign in enumerate(self.signs) for k in rows
                       if (gap := _gap(sign, box_px[k])) is not None)
        taken: dict[int, int] = {}
        for _, k, n in pairs:
            if k not in taken and n not in taken.values():
                taken[k] = n
        known, expected = self.signs.copy(), [sign.expected_px for sign in self.signs]
        for k in rows:
            is_cut = self._is_cut(box_px[k])
            weight = float(share[k]) * float(np.prod(box_px[k, 2:] - box_px[k, :2])) * (CUT_WEIGHT if is_cut else 1.0)
            if k in taken:
                known[taken[k]].see(box_px[k], sign_class[k], weight)  # -1 is the last row
            elif not (is_cut and any(boxes_iou(there, box_px[k]) > 0 for there in expected)):
                self.signs.append(_new_sign(box_px[k], sign_class[k], weight))
        for n, sign in enumerate(known):
            sign.missed += n not in taken.values()
        self.signs = [sign for sign in self.signs if sign.missed <= PATIENCE]

    def _is_cut(self, box_px: Array) -> bool:
        """Whether the left, right or upper border of the picture cuts a box (4,); none leaves it below."""
        left, top, right, _ = box_px.tolist()
        return left < BORDER_PX or top < BORDER_PX or right > self.width_px - BORDER_PX


def _new_sign(box_px: Array, row: int, weight: float) -> FollowedSign:
    votes = np.zeros(len(SIGNS) + 1)
    votes[row] = weight
    return FollowedSign(box_px, votes)


def _gap(sign: FollowedSign, new: Array) -> float | None:
    """How far a box is from where a sign should be, in sizes, if it may be that sign; else None."""
    expected = sign.expected_px
    sizes = [float(max(box[2] - box[0], box[3] - box[1], 1.0)) for box in (expected, new)]
    if not 1 / GROWTH < sizes[1] / sizes[0] < GROWTH:
        return None
    aside, down = ((new[:2] + new[2:] - expected[:2] - expected[2:]) / 2).tolist()
    sideways, looks = (SIDEWAYS, 1) if sign.motion_px is None else (1.0, 1 + sign.missed)
    away = math.hypot(aside / sideways, down)
    return away / sizes[1] if away < (REACH_PX + REACH_SIZES * sizes[0]) * looks else None
