"""WorldState -> Scene: the one description that every renderer draws. It knows nothing of PyBullet.

The town's part (`StaticScene`) is made once and shared by identity between frames; actors come as boxes each frame.
The ego car is not drawn: the camera sits on it.
"""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np

from envs.geometry import Array
from envs.render.paving import Patch, SemanticClass, patches
from envs.signs import SIGNS, face, look_of, outline_of
from envs.state import ActorKind, Actors, PropKind, SignPosts, Town, WorldState

Kept = TypeVar("Kept")


INSTANCE_SIGN = 1  # + row of SignPosts
INSTANCE_PROP = 10_000  # + row of Props
INSTANCE_ACTOR = 30_000  # + Actors.id


@dataclass(frozen=True, eq=False)
class Boxes:
    """Upright boxes, K rows."""

    centre_m: Array  # (K, 3)
    size_m: Array  # (K, 3) length, width, height
    yaw_rad: Array  # (K,)
    colour: Array  # (K, 3) uint8 RGB
    semantic: Array  # (K,) uint8
    instance: Array  # (K,) uint16


@dataclass(frozen=True, eq=False)
class Faces:
    """Upright textured convex polygons seen from the side `yaw_rad` looks to, K rows (sign faces)."""

    centre_m: Array  # (K, 3)
    size_m: Array  # (K, 2) width, height
    yaw_rad: Array  # (K,) outward normal
    texture: Array  # (K,) int index into StaticScene.textures and outlines
    semantic: Array  # (K,) uint8
    instance: Array  # (K,) uint16


@dataclass(frozen=True)
class Light:
    """The sun, the sky and the air: `sun` is the unit vector towards it, fog has the colour of the horizon."""

    sun: tuple[float, float, float] = (0.4, 0.3, 0.87)
    ambient: float = 0.6
    sky_zenith: tuple[int, int, int] = (96, 150, 214)
    sky_horizon: tuple[int, int, int] = (206, 224, 240)
    terrain: tuple[int, int, int] = (98, 132, 70)
    visibility_m: float = math.inf  # where 5 % of a contrast are left (meteorological optical range, WMO-No. 8)


@dataclass(frozen=True, eq=False)
class StaticScene:
    """All that stands still. The terrain is the plane z = 0 wherever no patch lies."""

    patches: tuple[Patch, ...]
    boxes: Boxes
    faces: Faces
    textures: tuple[Array, ...]  # each uint8 (S, S, 3) RGB, S a power of two
    outlines: tuple[Array, ...]  # the part of each texture that is the sign: convex (M, 2), x right, y down, in [0, 1]


@dataclass(frozen=True, eq=False)
class Scene:
    """What a camera could see at one instant."""

    static: StaticScene
    actors: Boxes
    light: Light


# Boxes of a thing, in shares of its size: forward, left, up of the middle; length, width, height; turn [rad]; colour
# (None: the thing's own; a number: its own times that).
_Part = tuple[tuple[float, float, float], tuple[float, float, float], float, tuple[int, int, int] | float | None]
GLASS, TYRE, TAIL, HEAD = (44, 54, 66), (24, 24, 26), (190, 20, 24), (244, 240, 220)
HOUSE: tuple[_Part, ...] = (
    ((0, 0, 0.43), (1, 1, 0.86), 0, None), ((0, 0, 0.93), (1.06, 1.08, 0.14), 0, (112, 62, 50)),
    ((0, 0, 0.24), (0.86, 1.01, 0.14), 0, GLASS), ((0, 0, 0.62), (0.86, 1.01, 0.14), 0, GLASS),
    ((0, 0, 0.24), (1.01, 0.7, 0.14), 0, GLASS), ((0, 0, 0.62), (1.01, 0.7, 0.14), 0, GLASS),
)
TREE: tuple[_Part, ...] = (
    ((0, 0, 0.2), (0.10, 0.10, 0.4), 0, (92, 70, 50)), ((0, 0, 0.5), (0.8, 0.8, 0.32), 0, 0.9),
    ((0, 0, 0.62), (0.72, 0.72, 0.42), math.pi / 4, None), ((0, 0, 0.84), (0.45, 0.45, 0.32), 0.2, 1.12),
)
CAR: tuple[_Part, ...] = (
    ((0, 0, 0.40), (1, 1, 0.40), 0, None), ((-0.04, 0, 0.76), (0.52, 0.86, 0.36), 0, GLASS),
    ((-0.05, 0, 0.97), (0.40, 0.80, 0.06), 0, None), ((-0.49, 0, 0.50), (0.03, 0.94, 0.10), 0, TAIL),
    ((0.49, 0, 0.45), (0.03, 0.94, 0.08), 0, HEAD), ((-0.31, 0, 0.20), (0.15, 1.02, 0.40), 0, TYRE),
    ((0.31, 0, 0.20), (0.15, 1.02, 0.40), 0, TYRE),
)
PERSON: tuple[_Part, ...] = (
    ((0, 0, 0.24), (0.7, 0.7, 0.48), 0, (50, 56, 80)), ((0, 0, 0.65), (0.8, 1, 0.36), 0, None),
    ((0, 0, 0.91), (0.6, 0.5, 0.16), 0, (222, 184, 156)),
)
PROP_PARTS = {PropKind.BUILDING: (HOUSE, SemanticClass.BUILDING), PropKind.TREE: (TREE, SemanticClass.VEGETATION)}
ACTOR_PARTS = {ActorKind.VEHICLE: (CAR, SemanticClass.VEHICLE),
               ActorKind.PEDESTRIAN: (PERSON, SemanticClass.PEDESTRIAN)}


@functools.cache
def _table(parts: tuple[_Part, ...]) -> tuple[Array, Array, Array, Array, Array]:
    """Columns of P parts: middle (P, 3), size (P, 3), turn (P,), own colour (P, 3), how much of the thing's (P, 1)."""
    own = [part[3] if isinstance(part[3], tuple) else (0, 0, 0) for part in parts]
    share = [0.0 if isinstance(part[3], tuple) else part[3] or 1.0 for part in parts]
    return (np.array([part[0] for part in parts], float), np.array([part[1] for part in parts], float),
            np.array([part[2] for part in parts], float), np.array(own, float), np.array(share)[:, None])


def _build(parts: tuple[_Part, ...], pose: Array, size_m: Array, colour: Array, semantic: int,
           instance: Array) -> Boxes:
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
                 np.full(count * each, semantic, np.uint8), np.tile(instance, each).astype(np.uint16))


def _stack(groups: list[Boxes]) -> Boxes:
    if len(groups) == 1:
        return groups[0]
    return Boxes(*(np.concatenate([getattr(group, field.name) for group in groups]) for field in fields(Boxes)))


def no_boxes() -> Boxes:
    """Nothing."""
    return Boxes(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros((0, 3), np.uint8), np.zeros(0, np.uint8),
                 np.zeros(0, np.uint16))


_SLAB_EDGES = (0.06, 0.32, 0.68, 0.94)  # of an outline's height: where the boxes behind a sign begin and end
# Leaves before a sign: right of the hidden part's left edge and up from the middle, in shares of the part's width and
# of the sign; ahead of it [m]; size in shares of the part's width; turn [rad]; how bright.
_LEAVES = np.array([(0.30, 0.22, 0.10, 0.50, 0.3, 1.0), (0.62, 0.02, 0.16, 0.64, 0.9, 0.86),
                    (0.34, -0.20, 0.12, 0.52, 0.6, 1.1), (0.88, 0.30, 0.20, 0.60, 0.2, 0.92),
                    (0.92, -0.28, 0.22, 0.58, 1.1, 1.0), (1.15, 0.04, 0.18, 0.70, 0.5, 0.8)])
_LEAF_GREEN = np.array([70, 112, 52])


@functools.cache
def _slabs(sign: int, look: int) -> Array:
    """Boxes (3, 4) inside a face's outline: middle to the right and up of the face's, width, height [m]."""
    outline, size_m = outline_of(sign, look)
    low, high = outline[:, 1].min(), outline[:, 1].max()
    edges = low + np.array(_SLAB_EDGES) * (high - low)
    following = np.roll(outline, -1, axis=0)
    spans = []
    for y in edges:
        crosses = np.flatnonzero((outline[:, 1] - y) * (following[:, 1] - y) <= 0)
        a, b = outline[crosses], following[crosses]
        x = a[:, 0] + (b[:, 0] - a[:, 0]) * (y - a[:, 1]) / (b[:, 1] - a[:, 1])
        spans.append((x.min(), x.max()))
    span = np.array(spans)
    left, right = np.maximum(span[:-1, 0], span[1:, 0]), np.minimum(span[:-1, 1], span[1:, 1])
    return size_m * np.column_stack([(left + right) / 2 - 0.5, 0.5 - (edges[:-1] + edges[1:]) / 2, right - left,
                                     np.diff(edges)])


def _plain(centre_m: Array, size_m: Array, yaw_rad: Array, colour: Array, semantic: int) -> Boxes:
    """Boxes without an instance of their own."""
    return Boxes(centre_m, size_m, yaw_rad, np.broadcast_to(colour, centre_m.shape).astype(np.uint8),
                 np.full(len(yaw_rad), semantic, np.uint8), np.zeros(len(yaw_rad), np.uint16))


def _posts(posts: SignPosts) -> Boxes:
    """A pole for each sign, the grey back of its board, and leaves before some."""
    pairs = list(zip(posts.sign.tolist(), posts.look.tolist(), strict=True))
    slabs = np.array([_slabs(*pair) for pair in pairs]).reshape(-1, 3, 4)
    cos, sin, none = np.cos(posts.pose[:, 2]), np.sin(posts.pose[:, 2]), np.zeros(len(pairs))
    ahead, right = np.column_stack([cos, sin, none]), np.column_stack([-sin, cos, none])  # right: as its driver sees
    face = np.column_stack([posts.pose[:, :2], posts.centre_height_m])
    top = posts.centre_height_m + slabs[:, 0, 1]
    pole = _plain(np.column_stack([(face - 0.04 * ahead)[:, :2], top / 2]),
                  np.column_stack([np.full((len(pairs), 2), 0.07), top]), posts.pose[:, 2], np.array([128, 130, 132]),
                  SemanticClass.POLE)
    middle = (face - 0.016 * ahead)[:, None] + slabs[..., :1] * right[:, None] + slabs[..., 1:2] * [0.0, 0.0, 1.0]
    board = _plain(middle.reshape(-1, 3), np.insert(slabs[..., 2:], 0, 0.02, axis=-1).reshape(-1, 3),
                   np.repeat(posts.pose[:, 2], 3), np.array([140, 142, 144]), SemanticClass.POLE)
    return _stack([pole, board, _leaves(posts, face, ahead, right)])


def _leaves(posts: SignPosts, face: Array, ahead: Array, right: Array) -> Boxes:
    """Clumps before the right-hand part of the signs that leaves hide."""
    rows = np.flatnonzero(posts.leaves > 0)
    size = np.array([SIGNS[row].size_m for row in posts.sign[rows]])
    part = (posts.leaves[rows] * size)[:, None]
    across = size[:, None] / 2 - part + _LEAVES[:, 0] * part
    centre = (face[rows, None] + across[..., None] * right[rows, None] + _LEAVES[:, 2, None] * ahead[rows, None]
              + (size[:, None] * _LEAVES[:, 1])[..., None] * [0.0, 0.0, 1.0])
    return _plain(centre.reshape(-1, 3), np.repeat((part * _LEAVES[:, 3]).reshape(-1, 1), 3, axis=1),
                  (posts.pose[rows, 2:] + _LEAVES[:, 4]).reshape(-1),
                  np.tile(_LEAVES[:, 5, None] * _LEAF_GREEN, (len(rows), 1)), SemanticClass.VEGETATION)


def kept(make: Callable[..., Kept]) -> Callable[..., Kept]:
    """Remember what `make` returned for its first argument for as long as that lives, however many there are.

    (A cache of fixed size works until there is one car more than it has places, and then not at all.)
    """
    memory: weakref.WeakKeyDictionary[Any, dict[Any, Kept]] = weakref.WeakKeyDictionary()

    @functools.wraps(make)
    def remembered(first: Any, *rest: Any) -> Kept:
        known = memory.setdefault(first, {})
        if rest not in known:
            known[rest] = make(first, *rest)
        return known[rest]

    return remembered


def _faces(posts: SignPosts) -> tuple[Faces, list[tuple[int, int]]]:
    """The faces, and the (sign, look) of each texture they need: at least one."""
    pairs = list(zip(posts.sign.tolist(), posts.look.tolist(), strict=True))
    used = sorted(set(pairs)) or [(0, 0)]
    size = np.array([outline_of(*pair)[1] for pair in pairs])
    return Faces(np.column_stack([posts.pose[:, :2], posts.centre_height_m]), np.column_stack([size, size]),
                 posts.pose[:, 2], np.array([used.index(pair) for pair in pairs], int),
                 np.full(len(pairs), SemanticClass.SIGN, np.uint8),
                 (INSTANCE_SIGN + np.arange(len(pairs))).astype(np.uint16)), used


@kept
def static_scene(town: Town) -> StaticScene:
    """The part of every frame of a town that never changes."""
    props = town.props
    groups = [_posts(town.signs)]
    for kind, (parts, semantic) in PROP_PARTS.items():
        rows = np.flatnonzero(props.kind == kind)
        groups.append(_build(parts, props.pose[rows], props.size_m[rows], props.colour[rows], semantic,
                             INSTANCE_PROP + rows))
    faces, used = _faces(town.signs)
    return StaticScene(patches(town.network), _stack(groups), faces,
                       tuple(face(row, wear=look_of(row, look)) for row, look in used),
                       tuple(outline_of(*pair)[0] for pair in used))


def light_of(town: Town) -> Light:
    """A fair day; where the sun stands is the town's own."""
    azimuth, height = (town.seed * 2.399963) % (2 * math.pi), math.radians(14 + (town.seed * 17) % 45)
    return Light(sun=(math.cos(azimuth) * math.cos(height), math.sin(azimuth) * math.cos(height), math.sin(height)))


@kept
def _actor_boxes(actors: Actors) -> Boxes:
    """The boxes of all actors; the world hands on the same `Actors` while nobody moves."""
    groups = []
    for kind, (parts, semantic) in ACTOR_PARTS.items():
        rows = np.flatnonzero(actors.kind == kind)
        if len(rows):
            groups.append(_build(parts, actors.pose[rows], actors.size_m[rows], actors.colour[rows], semantic,
                                 INSTANCE_ACTOR + actors.id[rows]))
    return _stack(groups or [no_boxes()])


def build_scene(state: WorldState) -> Scene:
    """What a camera could see at this instant."""
    return Scene(static_scene(state.town), _actor_boxes(state.actors), light_of(state.town))
