"""WorldState -> Scene: the one description that every renderer draws. It knows nothing of PyBullet.

The town's part (`StaticScene`) is made once and shared by identity between frames; actors come as boxes each frame.
The ego car is not drawn: the camera sits on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from envs.geometry import Array
from envs.kept import kept
from envs.plate import mirrored
from envs.render.boxes import GLASS, INSTANCE_PROP, INSTANCE_SIGN, Boxes, Part, build, no_boxes, stack
from envs.render.daylight import Light, light_of
from envs.render.lamps import LightMap, lamp_boxes, light_map, window_boxes
from envs.render.pavement import pavements
from envs.render.paving import Patch, SemanticClass, patches
from envs.render.signals import head_boxes, lamps
from envs.render.surfaces import worn
from envs.render.vehicles import is_blink_on, road_users
from envs.render.works import track_patches, works_patches
from envs.roads.network import RoadNetwork
from envs.signs import face, look_of, outline_of
from envs.state import PropKind, SignPosts, Town, WorldState
from envs.weather import CLEAR


@dataclass(frozen=True, eq=False)
class Faces:
    """Upright textured convex polygons seen from the side `yaw_rad` looks to, K rows (sign faces)."""

    centre_m: Array  # (K, 3)
    size_m: Array  # (K, 2) width, height
    yaw_rad: Array  # (K,) outward normal
    texture: Array  # (K,) int index into StaticScene.textures and outlines
    semantic: Array  # (K,) uint8
    instance: Array  # (K,) uint16


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
    signals: Boxes = field(default_factory=no_boxes)  # lamps of traffic lights
    street_light: LightMap | None = None  # None: no street lamp is on
    step: int = 0  # of the episode: what differs between two pictures from one place


HOUSE: tuple[Part, ...] = (
    ((0, 0, 0.43), (1, 1, 0.86), 0, None), ((0, 0, 0.93), (1.06, 1.08, 0.14), 0, (112, 62, 50)),
    ((0, 0, 0.24), (0.86, 1.01, 0.14), 0, GLASS), ((0, 0, 0.62), (0.86, 1.01, 0.14), 0, GLASS),
    ((0, 0, 0.24), (1.01, 0.7, 0.14), 0, GLASS), ((0, 0, 0.62), (1.01, 0.7, 0.14), 0, GLASS),
)
TREE: tuple[Part, ...] = (
    ((0, 0, 0.2), (0.10, 0.10, 0.4), 0, (92, 70, 50)), ((0, 0, 0.5), (0.8, 0.8, 0.32), 0, 0.9),
    ((0, 0, 0.62), (0.72, 0.72, 0.42), math.pi / 4, None), ((0, 0, 0.84), (0.45, 0.45, 0.32), 0.2, 1.12),
)
BEACON: tuple[Part, ...] = (  # StVO sign 605: a striped board on a foot
    ((0, 0, 0.06), (1, 1.08, 0.12), 0, (52, 52, 54)), ((0, 0, 0.56), (0.12, 1, 0.88), 0, None),
    ((0, 0, 0.31), (0.15, 1.02, 0.15), 0, (236, 236, 232)), ((0, 0, 0.61), (0.15, 1.02, 0.15), 0, (236, 236, 232)),
    ((0, 0, 0.91), (0.15, 1.02, 0.15), 0, (236, 236, 232)),
)
PROP_PARTS = {PropKind.BUILDING: (HOUSE, SemanticClass.BUILDING), PropKind.TREE: (TREE, SemanticClass.VEGETATION),
              PropKind.BEACON: (BEACON, SemanticClass.POLE)}


BACK_M, POLE_M, POLE_BEHIND_M, POLE_SHORT_M = 0.02, 0.07, 0.06, 0.12  # a sign's back behind its face; its pole
BACK_GREY, POLE_GREY = np.full((8, 8, 3), 141, np.uint8), np.array([128, 130, 132])
# Leaves before a sign: right of the hidden part's left edge and up from the middle, in shares of the part's width and
# of the sign; ahead of it [m]; size in shares of the part's width; turn [rad]; how bright.
_LEAVES = np.array([(0.30, 0.22, 0.10, 0.50, 0.3, 1.0), (0.62, 0.02, 0.16, 0.64, 0.9, 0.86),
                    (0.34, -0.20, 0.12, 0.52, 0.6, 1.1), (0.88, 0.30, 0.20, 0.60, 0.2, 0.92),
                    (0.92, -0.28, 0.22, 0.58, 1.1, 1.0), (1.15, 0.04, 0.18, 0.70, 0.5, 0.8)])
_LEAF_GREEN = np.array([70, 112, 52])


def _plain(centre_m: Array, size_m: Array, yaw_rad: Array, colour: Array, semantic: int) -> Boxes:
    """Boxes without an instance of their own."""
    return Boxes(centre_m, size_m, yaw_rad, np.broadcast_to(colour, centre_m.shape).astype(np.uint8),
                 np.full(len(yaw_rad), semantic, np.uint8), np.zeros(len(yaw_rad), np.uint16),
                 np.zeros(len(yaw_rad), bool))


def _posts(posts: SignPosts) -> Boxes:
    """A pole for each sign, and leaves before some."""
    cos, sin, none = np.cos(posts.pose[:, 2]), np.sin(posts.pose[:, 2]), np.zeros(len(posts.sign))
    ahead, right = np.column_stack([cos, sin, none]), np.column_stack([-sin, cos, none])  # right: as its driver sees
    face = np.column_stack([posts.pose[:, :2], posts.centre_height_m])
    above = np.array([size_m * (0.5 - outline[:, 1].min()) for outline, size_m in (
        outline_of(int(row), 0) for row in posts.sign)])
    top = posts.centre_height_m + above - POLE_SHORT_M
    pole = _plain(np.column_stack([(face - POLE_BEHIND_M * ahead)[:, :2], top / 2]),
                  np.column_stack([np.full((len(top), 2), POLE_M), top]), posts.pose[:, 2], POLE_GREY,
                  SemanticClass.POLE)
    return stack([pole, _leaves(posts, face, ahead, right)])


def _leaves(posts: SignPosts, face: Array, ahead: Array, right: Array) -> Boxes:
    """Clumps before the right-hand part of the signs that leaves hide."""
    rows = np.flatnonzero(posts.leaves > 0)
    size = np.array([outline_of(int(row), 0)[1] for row in posts.sign[rows]])
    part = (posts.leaves[rows] * size)[:, None]
    across = size[:, None] / 2 - part + _LEAVES[:, 0] * part
    centre = (face[rows, None] + across[..., None] * right[rows, None] + _LEAVES[:, 2, None] * ahead[rows, None]
              + (size[:, None] * _LEAVES[:, 1])[..., None] * [0.0, 0.0, 1.0])
    return _plain(centre.reshape(-1, 3), np.repeat((part * _LEAVES[:, 3]).reshape(-1, 1), 3, axis=1),
                  (posts.pose[rows, 2:] + _LEAVES[:, 4]).reshape(-1),
                  np.tile(_LEAVES[:, 5, None] * _LEAF_GREEN, (len(rows), 1)), SemanticClass.VEGETATION)


def _faces(posts: SignPosts) -> tuple[Faces, tuple[Array, ...], tuple[Array, ...]]:
    """The signs' faces, then their grey backs; the textures and the outlines of both."""
    pairs = list(zip(posts.sign.tolist(), posts.look.tolist(), strict=True))
    looks, shapes = sorted(set(pairs)), [outline_of(row, 0)[0] for row, _ in pairs]
    backs = {outline.tobytes(): mirrored(outline) for outline in shapes}
    number_of = {shape: len(looks) + k for k, shape in enumerate(backs)}
    size = np.array([[outline_of(*pair)[1] for pair in pairs], [outline_of(row, 0)[1] for row, _ in pairs]]).reshape(-1)
    yaw, count, kinds = posts.pose[:, 2], len(pairs), np.array([SemanticClass.SIGN, SemanticClass.POLE], np.uint8)
    centre = np.column_stack([posts.pose[:, :2], posts.centre_height_m])
    behind = centre - BACK_M * np.column_stack([np.cos(yaw), np.sin(yaw), np.zeros(count)])
    texture = [looks.index(pair) for pair in pairs] + [number_of[outline.tobytes()] for outline in shapes]
    faces = Faces(np.concatenate([centre, behind]), np.column_stack([size, size]), np.concatenate([yaw, yaw + math.pi]),
                  np.array(texture, int), np.repeat(kinds, count),
                  np.concatenate([INSTANCE_SIGN + np.arange(count), np.zeros(count)]).astype(np.uint16))
    return (faces, (*(face(row, wear=look_of(row, look)) for row, look in looks), *(BACK_GREY for _ in backs)),
            (*(outline_of(*pair)[0] for pair in looks), *backs.values()))


@kept
def _new_roads(network: RoadNetwork) -> tuple[Patch, ...]:
    """Pavements, roads and paint before use and time: the same in every weather."""
    return (*track_patches(network), *pavements(network), *patches(network), *works_patches(network))


@kept
def static_scene(town: Town, lit_windows: float = 0.0, is_lamp_lit: bool = False,
                 is_sunny: bool = True) -> StaticScene:
    """The part of every frame of a town that never changes in a weather; lamp posts are there while they are lit."""
    props = town.props
    groups = [_posts(town.signs), head_boxes(town)]
    for kind, (parts, semantic) in PROP_PARTS.items():
        rows = np.flatnonzero(props.kind == kind)
        groups.append(build(parts, props.pose[rows], props.size_m[rows], props.colour[rows], semantic,
                             INSTANCE_PROP + rows))
    groups += [window_boxes(props, town.seed, lit_windows)] if lit_windows > 0 else []
    groups += [lamp_boxes(town)] if is_lamp_lit else []
    flat = worn(_new_roads(town.network), town, is_sunny)
    return StaticScene(flat, stack(groups), *_faces(town.signs))


kept_light, _street_light = kept(light_of), kept(light_map)


def build_scene(state: WorldState) -> Scene:
    """What a camera could see at this instant."""
    town, weather = state.town, state.weather
    users, signals = road_users(state.actors, is_blink_on(state.time_s)), lamps(town, state.signals)
    if weather == CLEAR:
        return Scene(static_scene(town), users, kept_light(town), signals)
    is_lit = weather.street_lamps > 0.0
    return Scene(static_scene(town, round(weather.lit_windows, 1), is_lit, False), users, kept_light(town, weather),
                 signals, _street_light(town) if is_lit else None, state.step)
