"""Boxes are built where things stand, and kept values live as long as what they were made from."""

import gc
import math

import numpy as np

from envs.kept import kept
from envs.render.boxes import build, no_boxes, stack


def test_parts_are_shares_of_a_thing_that_turns():
    """A thing 4 x 2 x 1 m facing north at (10, 20): its front part lies 1 m north, its left part 0.5 m west."""
    parts = (((0.25, 0, 0.5), (0.5, 1, 1), 0.0, None), ((0, 0.25, 0.5), (1, 0.5, 0.5), 0.3, (1, 2, 3)),
             ((0, 0, 0.5), (1, 1, 1), 0.0, 0.5))
    boxes = build(parts, np.array([[10.0, 20.0, math.pi / 2]]), np.array([[4.0, 2.0, 1.0]]), np.array([[100, 50, 200]]),
                  9, np.array([77]))
    np.testing.assert_allclose(boxes.centre_m, [[10, 21, 0.5], [9.5, 20, 0.5], [10, 20, 0.5]])
    np.testing.assert_allclose(boxes.size_m, [[2, 2, 1], [4, 1, 0.5], [4, 2, 1]])
    np.testing.assert_allclose(boxes.yaw_rad, [math.pi / 2, math.pi / 2 + 0.3, math.pi / 2])
    np.testing.assert_array_equal(boxes.colour, [[100, 50, 200], [1, 2, 3], [50, 25, 100]])
    assert boxes.semantic.tolist() == [9] * 3 and boxes.instance.tolist() == [77] * 3 and not boxes.glow.any()


def test_stacking_keeps_order_and_a_single_group_itself():
    some = build((((0, 0, 0), (1, 1, 1), 0.0, None),), np.zeros((2, 3)), np.ones((2, 3)), np.zeros((2, 3)), 1,
                 np.array([1, 2]))
    assert stack([some]) is some
    assert stack([some, no_boxes(), some]).instance.tolist() == [1, 2, 1, 2]


def test_kept_values_are_made_once_and_go_with_their_argument():
    class Thing:
        pass

    made = []

    @kept
    def double(thing: Thing, factor: int) -> int:
        made.append(factor)
        return 2 * factor

    one = Thing()
    assert [double(one, 2), double(one, 2), double(one, 3)] == [4, 4, 6] and made == [2, 3]
    del one
    gc.collect()
    assert double(Thing(), 2) == 4 and made == [2, 3, 2]
