"""Traffic lights as boxes: posts, arms and housings, which stand still, and the lamps, which do not.

A lamp is larger than life by an eighth (0.34 m for one of 0.3 m): 20 m away it must fill two pixels of a small camera.
"""

from __future__ import annotations

import numpy as np

from envs.geometry import Array
from envs.kept import kept
from envs.lights import head_centres
from envs.render.boxes import INSTANCE_LIGHT, Boxes, stack
from envs.render.paving import SemanticClass
from envs.state import Phase, SignalHeads, Town

HOUSING_M, BOARD_M = (0.16, 0.46, 1.24), (0.03, 0.86, 1.66)  # length, width, height; boards only on arms
LAMP_M = (0.05, 0.34, 0.34)
VISOR_M = (0.26, 0.03, 1.2)  # on both sides: whom the lamps do not mean sees them not, as by the hoods of real ones
LAMP_STEP_M = 0.39  # between the middles of two lamps
POST_M, MAST_M, ARM_M = 0.12, 0.22, 0.13
ABOVE_HEAD_M = 0.75  # of the post's top
BEHIND_M = 0.14  # of the post behind its head
HOUSING_GREY, BOARD_GREY, POST_GREY = (24, 27, 26), (14, 15, 16), (122, 128, 126)
# Lamps from the top: red, yellow, green; dark and lit. Lit colours lie in the areas of EN 12368.
DARK = np.array([(66, 18, 16), (68, 54, 14), (14, 56, 38)], np.uint8)
LIT = np.array([(255, 46, 34), (255, 190, 40), (40, 255, 156)], np.uint8)
IS_LIT = np.zeros((len(Phase), 3), bool)  # by Phase
for _phase, _rows in {Phase.RED: (0,), Phase.RED_YELLOW: (0, 1), Phase.YELLOW: (1,), Phase.GREEN: (2,)}.items():
    IS_LIT[_phase, list(_rows)] = True


def _same(centre_m: Array, size_m: Array | tuple[float, float, float], yaw_rad: Array, colour: tuple[int, int, int],
          semantic: int, instance: Array) -> Boxes:
    """Boxes (K) of one colour and class."""
    count = len(yaw_rad)
    return Boxes(centre_m, np.broadcast_to(np.asarray(size_m, float), (count, 3)), yaw_rad,
                 np.full((count, 3), colour, np.uint8), np.full(count, semantic, np.uint8),
                 np.broadcast_to(np.asarray(instance, np.uint16), count), np.zeros(count, bool))


def _forward(heads: SignalHeads) -> Array:
    """Unit vectors (K, 3) along which the heads shine."""
    yaw = heads.pose[:, 2]
    return np.column_stack([np.cos(yaw), np.sin(yaw), np.zeros(len(yaw))])


def head_boxes(town: Town) -> Boxes:
    """Posts, arms and housings of a town's lights."""
    heads, centre = town.signal_heads, head_centres(town.signal_heads)
    yaw, ahead, count = heads.pose[:, 2], _forward(town.signal_heads), len(heads.group)
    number, nothing = INSTANCE_LIGHT + np.arange(count), np.zeros(1)
    on_arm = heads.arm_m > 0
    thick = np.where(on_arm, MAST_M, POST_M)
    top = heads.centre_height_m + ABOVE_HEAD_M
    foot = np.column_stack([heads.pose[:, :2], top / 2]) - BEHIND_M * ahead
    posts = _same(foot, np.column_stack([thick, thick, top]), yaw, POST_GREY, SemanticClass.POLE, nothing)
    middle = (foot + centre)[on_arm] / 2 - BEHIND_M / 2 * ahead[on_arm]
    middle[:, 2] = top[on_arm] - ARM_M
    arms = _same(middle, np.column_stack([np.full((on_arm.sum(), 1), ARM_M), heads.arm_m[on_arm],
                                          np.full((on_arm.sum(), 1), ARM_M)]), yaw[on_arm], POST_GREY,
                 SemanticClass.POLE, nothing)
    boards = _same(centre[on_arm] - 0.09 * ahead[on_arm], BOARD_M, yaw[on_arm], BOARD_GREY,
                   SemanticClass.TRAFFIC_LIGHT, number[on_arm])
    left = np.column_stack([-ahead[:, 1], ahead[:, 0], np.zeros(count)]) * (HOUSING_M[1] - VISOR_M[1]) / 2
    visors = [_same(centre + side * left + (HOUSING_M[0] + VISOR_M[0]) / 2 * ahead, VISOR_M, yaw, HOUSING_GREY,
                    SemanticClass.TRAFFIC_LIGHT, number) for side in (1, -1)]
    housings = _same(centre, HOUSING_M, yaw, HOUSING_GREY, SemanticClass.TRAFFIC_LIGHT, number)
    return stack([posts, arms, boards, housings, *visors])


@kept
def _dark_lamps(town: Town) -> Boxes:
    """All lamps, dark, three rows to a head."""
    heads = town.signal_heads
    up = np.array([[0, 0, 1], [0, 0, 0], [0, 0, -1]]) * LAMP_STEP_M
    centre = head_centres(heads) + (HOUSING_M[0] + LAMP_M[0]) / 2 * _forward(heads)
    count = len(heads.group)
    return Boxes((centre[:, None] + up).reshape(-1, 3), np.tile(np.array(LAMP_M), (3 * count, 1)),
                 np.repeat(heads.pose[:, 2], 3), np.tile(DARK, (count, 1)),
                 np.full(3 * count, SemanticClass.TRAFFIC_LIGHT, np.uint8),
                 np.repeat(INSTANCE_LIGHT + np.arange(count), 3).astype(np.uint16), np.zeros(3 * count, bool))


def lamps(town: Town, signals: Array) -> Boxes:
    """The lamps of a town's lights, lit as the phases (G,) of its groups say; all dark without phases."""
    dark = _dark_lamps(town)
    if len(signals) == 0 or len(dark.yaw_rad) == 0:
        return dark
    lit = IS_LIT[signals[town.signal_heads.group]].reshape(-1)
    colour = np.where(lit[:, None], np.tile(LIT, (len(lit) // 3, 1)), dark.colour)
    return Boxes(dark.centre_m, dark.size_m, dark.yaw_rad, colour, dark.semantic, dark.instance, lit)
