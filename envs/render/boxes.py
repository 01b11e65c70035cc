"""Upright boxes, of which everything solid is built, and the numbers by which cameras tell things apart."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields

import numpy as np

from envs.geometry import Array

INSTANCE_SIGN = 1  # + row of SignPosts
INSTANCE_PROP = 10_000  # + row of Props
INSTANCE_LIGHT = 20_000  # + row of SignalHeads
INSTANCE_ACTOR = 30_000  # + Actors.id

# Boxes of a thing, in shares of its size: forward, left, up of the middle; length, width, height; turn [rad]; colour
# (None: the thing's own; a number: its own times that).
Part = tuple[tuple[float, float, float], tuple[float, float, float], float, tuple[int, int, int] | float | None]
GLASS = (44, 54, 66)


@dataclass(frozen=True, eq=False)
class Boxes:
    """Upright boxes, K rows."""

    centre_m: Array  # (K, 3)
    size_m: Array  # (K, 3) length, width, height
    yaw_rad: Array  # (K,)
    colour: Array  # (K, 3) uint8 RGB
    semantic: Array  # (K,) uint8
    instance: Array  # (K,) uint16
    glow: Array  # (K,) bool: a lit lamp; it has its colour whatever light falls on it


def no_boxes() -> Boxes:
    """Nothing."""
    return Boxes(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros((0, 3), np.uint8), np.zeros(0, np.uint8),
                 np.zeros(0, np.uint16), np.zeros(0, bool))


def stack(groups: list[Boxes]) -> Boxes:
    """Several groups as one; the very same object if there is but one."""
    if len(groups) == 1:
        return groups[0]
    return Boxes(*(np.concatenate([getattr(group, field.name) for group in groups]) for field in fields(Boxes)))


@functools.cache
def _table(parts: tuple[Part, ...]) -> tuple[Array, Array, Array, Array, Array]:
    """Columns of P parts: middle (P, 3), size (P, 3), turn (P,), own colour (P, 3), how much of the thing's (P, 1)."""
    own = [part[3] if isinstance(part[3], tuple) else (0, 0, 0) for part in parts]
    share = [0.0 if isinstance(part[3], tuple) else part[3] or 1.0 for part in parts]
    return (np.array([part[0] for part in parts], float), np.array([part[1] for part in parts], float),
            np.array([part[2] for part in parts], float), np.array(own, float), np.array(share)[:, None])


def build(parts: tuple[Part, ...], pose: Array, size_m: Array, colour: Array, semantic: int, instance: Array) -> Boxes:
    """Boxes of K things of one kind: pose (K, 3) of the middle on the ground, size (K, 3), colour (K, 3)."""
    place, share, turn, own, tint = _table(parts)
    each, count = len(parts), len(pose)
    cos, sin = np.cos(pose[:, 2]), np.sin(pose[:, 2])
    local = place[:, None] * size_m
    centre = np.empty((each, count, 3))
    centre[..., 0] = pose[:, 0] + cos * local[..., 0] - sin * local[..., 1]
    centre[..., 1] = pose[:, 1] + sin * local[..., 0] + cos * local[..., 1]
    centre[..., 2] = local[..., 2]
    paint = np.minimum(own[:, None] + tint[:, None] * colour, 255.0).astype(np.uint8)
    return Boxes(centre.reshape(-1, 3), (share[:, None] * size_m).reshape(-1, 3),
                 (turn[:, None] + pose[:, 2]).reshape(-1), paint.reshape(-1, 3),
                 np.full(count * each, semantic, np.uint8), np.tile(instance, each).astype(np.uint16),
                 np.zeros(count * each, bool))
