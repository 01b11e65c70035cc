"""Road users as boxes: cars, vans, lorries and buses with their lamps, cyclists, people who swing arms and legs.

What a vehicle is follows from its size (`BODIES`). Parts are given once per kind as shares of length, width and height;
the boxes of all actors of an episode are laid out once (`_cast`), and each frame only moves and lights them.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from numba import njit

from envs.geometry import Array
from envs.kept import kept
from envs.render.boxes import GLASS, INSTANCE_ACTOR, Boxes, no_boxes
from envs.render.paving import SemanticClass
from envs.state import ActorKind, Actors, Lamp

BLINKS_HZ = 1.5  # UN R48: 60 to 120 flashes a minute
STRIDE_M, PEDALLING_M = 1.4, 5.0  # of ground under two steps, and under a turn of the pedals
FULL_SWING_MPS = 1.2  # who walks slower swings less

Rgb = tuple[int, int, int]
TYRE, PLATE, CHASSIS, CHROME = (24, 24, 26), (226, 226, 222), (48, 50, 52), (60, 62, 66)
SKINS = ((222, 184, 156), (198, 150, 118), (140, 96, 70), (232, 200, 176))
TROUSERS = ((50, 56, 80), (40, 40, 44), (96, 88, 74), (74, 78, 84))
HAIR = ((52, 40, 32), (30, 26, 24), (150, 116, 70), (128, 124, 120))
TAIL_OFF, TAIL_ON, BRAKE_ON = (92, 12, 16), (176, 18, 22), (255, 52, 40)
HEAD_OFF, HEAD_ON = (214, 216, 210), (255, 252, 236)
AMBER_OFF, AMBER_ON = (112, 58, 24), (255, 156, 16)


class _Part(NamedTuple):
    """A box of a road user, in shares of its length, width and height."""

    at: tuple[float, float, float]  # forward, left, up of its middle
    size: tuple[float, float, float]
    colour: Rgb | float | tuple[Rgb, ...] = 1.0  # its own, the user's times a number, or one by the user's id
    lit: tuple[tuple[Lamp, Rgb], ...] = ()  # which lamps light it, and in what colour; a later one wins
    swing: float = 0.0  # to and fro along the length, as share of it


def _lamps(rear: float, front: float, up: tuple[float, float], width: float) -> tuple[_Part, ...]:
    """Rear, front and turn lamps: where a vehicle's ends are, how high rear and front lamps sit, how wide they are."""
    parts = []
    for side, turn in ((1, Lamp.LEFT), (-1, Lamp.RIGHT)):
        inner, outer = side * (0.425 - width / 2), side * 0.468
        parts += [
            _Part((rear, inner, up[0]), (0.03, width, 0.11), TAIL_OFF, ((Lamp.HEAD, TAIL_ON), (Lamp.BRAKE, BRAKE_ON))),
            _Part((rear, outer, up[0]), (0.032, 0.085, 0.11), AMBER_OFF, ((turn, AMBER_ON),)),
            _Part((front, inner, up[1]), (0.03, width, 0.09), HEAD_OFF, ((Lamp.HEAD, HEAD_ON),)),
            _Part((front, outer, up[1]), (0.032, 0.085, 0.09), AMBER_OFF, ((turn, AMBER_ON),)),
        ]
    return tuple(parts)


def _axles(*at: tuple[float, float], height: float = 0.40) -> tuple[_Part, ...]:
    """Wheels, a pair in each box: where along the length, and how long."""
    return tuple(_Part((x, 0, height / 2), (long, 1.02, height), TYRE) for x, long in at)


def _high_brake(at: tuple[float, float, float], width: float) -> _Part:
    return _Part(at, (0.012, width, 0.035), TAIL_OFF, ((Lamp.BRAKE, BRAKE_ON),))


CAR = (
    _Part((0, 0, 0.40), (1, 1, 0.40)), _Part((-0.04, 0, 0.76), (0.52, 0.86, 0.36), GLASS),
    _Part((-0.05, 0, 0.97), (0.40, 0.80, 0.06)), _Part((-0.495, 0, 0.36), (0.02, 0.30, 0.08), PLATE),
    _high_brake((-0.302, 0, 0.90), 0.30), *_axles((-0.31, 0.15), (0.31, 0.15)),
    *_lamps(-0.49, 0.49, (0.51, 0.46), 0.19),
)
VAN = (
    _Part((-0.10, 0, 0.575), (0.80, 1, 0.85)), _Part((0.40, 0, 0.34), (0.20, 0.96, 0.38)),
    _Part((0.27, 0, 0.74), (0.18, 0.94, 0.28), GLASS), _Part((0.12, 0, 0.74), (0.14, 1.01, 0.24), GLASS),
    _Part((-0.498, 0, 0.74), (0.01, 0.80, 0.24), GLASS), _Part((-0.499, 0, 0.28), (0.012, 0.28, 0.06), PLATE),
    _high_brake((-0.499, 0, 0.92), 0.30), *_axles((-0.30, 0.13), (0.31, 0.13), height=0.34),
    *_lamps(-0.49, 0.49, (0.42, 0.36), 0.11),
)
LORRY = (
    _Part((0.40, 0, 0.46), (0.20, 0.97, 0.64)), _Part((0.496, 0, 0.60), (0.012, 0.90, 0.22), GLASS),
    _Part((0.43, 0, 0.60), (0.10, 0.98, 0.18), GLASS), _Part((-0.10, 0, 0.60), (0.78, 1, 0.80), (214, 216, 212)),
    _Part((-0.02, 0, 0.16), (0.94, 0.80, 0.10), CHASSIS), _Part((-0.494, 0, 0.13), (0.012, 0.9, 0.05), CHROME),
    _Part((-0.497, 0, 0.19), (0.012, 0.24, 0.035), PLATE),
    *_axles((-0.34, 0.11), (-0.21, 0.11), (0.36, 0.11), height=0.28), *_lamps(-0.487, 0.492, (0.19, 0.24), 0.16),
)
BUS = (
    _Part((0, 0, 0.52), (1, 1, 0.86)), _Part((0.01, 0, 0.66), (0.94, 1.012, 0.28), GLASS),
    _Part((0.497, 0, 0.56), (0.012, 0.94, 0.52), GLASS), _Part((-0.497, 0, 0.70), (0.012, 0.80, 0.22), GLASS),
    _Part((0.5, 0, 0.89), (0.01, 0.60, 0.07), (250, 176, 48)), _Part((-0.02, 0, 0.975), (0.70, 0.80, 0.05), 0.9),
    _Part((-0.498, 0, 0.22), (0.012, 0.21, 0.04), PLATE), _high_brake((-0.499, 0, 0.90), 0.30),
    *_axles((-0.27, 0.085), (0.30, 0.085), height=0.32), *_lamps(-0.487, 0.492, (0.32, 0.22), 0.14),
)
PERSON = (
    _Part((0, 0.15, 0.24), (0.38, 0.27, 0.48), TROUSERS, swing=0.42),
    _Part((0, -0.15, 0.24), (0.38, 0.27, 0.48), TROUSERS, swing=-0.42),
    _Part((0, 0, 0.64), (0.50, 0.68, 0.36)), _Part((0, 0.42, 0.61), (0.26, 0.15, 0.36), 0.82, swing=-0.32),
    _Part((0, -0.42, 0.61), (0.26, 0.15, 0.36), 0.82, swing=0.32),
    _Part((0.02, 0, 0.90), (0.44, 0.32, 0.13), SKINS), _Part((-0.03, 0, 0.97), (0.47, 0.35, 0.06), HAIR),
)
CYCLIST = (
    *(_Part((x, 0, 0.19), size, TYRE) for x in (-0.31, 0.31) for size in ((0.36, 0.07, 0.24), (0.24, 0.075, 0.37))),
    _Part((0, 0, 0.36), (0.52, 0.07, 0.05), CHROME), _Part((-0.13, 0, 0.44), (0.05, 0.08, 0.14), CHROME),
    _Part((0.25, 0, 0.52), (0.05, 0.86, 0.03), CHROME), _Part((0.28, 0, 0.40), (0.05, 0.08, 0.26), CHROME),
    _Part((-0.02, 0.17, 0.36), (0.13, 0.2, 0.34), TROUSERS, swing=0.07),
    _Part((-0.02, -0.17, 0.36), (0.13, 0.2, 0.34), TROUSERS, swing=-0.07),
    _Part((-0.05, 0, 0.66), (0.19, 0.62, 0.30)), _Part((0.10, 0.33, 0.62), (0.30, 0.13, 0.07), 0.85),
    _Part((0.10, -0.33, 0.62), (0.30, 0.13, 0.07), 0.85), _Part((0.01, 0, 0.88), (0.12, 0.30, 0.13), SKINS),
    _Part((0.0, 0, 0.96), (0.15, 0.36, 0.07), ((226, 226, 220), (190, 40, 36), (40, 44, 52))),
    _Part((-0.17, 0, 0.46), (0.03, 0.10, 0.04), TAIL_OFF, ((Lamp.HEAD, TAIL_ON),)),
    _Part((0.30, 0, 0.48), (0.03, 0.10, 0.04), HEAD_OFF, ((Lamp.HEAD, HEAD_ON),)),
)
BODIES: tuple[tuple[float, float, tuple[_Part, ...]], ...] = (  # at least this long and high [m]; the first that fits
    (10.5, 2.6, BUS), (6.0, 2.4, LORRY), (0.0, 1.85, VAN), (0.0, 0.0, CAR),
)
KINDS = {ActorKind.PEDESTRIAN: (PERSON, SemanticClass.PEDESTRIAN, STRIDE_M),
         ActorKind.CYCLIST: (CYCLIST, SemanticClass.CYCLIST, PEDALLING_M)}


class _Cast(NamedTuple):
    """The boxes of all actors before they stand anywhere, M rows."""

    owner: Array  # (M,) row of Actors
    at_m: Array  # (M, 3) in the owner's frame
    size_m: Array  # (M, 3)
    colour: Array  # (M, 3) uint8, unlit
    flag: Array  # (2, M) int64 of Lamp: by which lamps a box is lit
    lit: Array  # (2, M, 3) uint8 and in which colour; the second wins
    swing_m: Array  # (M,)
    wave: Array  # (M,) radians of swing per metre of way
    semantic: Array  # (M,) uint8
    instance: Array  # (M,) uint16


def is_blink_on(time_s: float) -> bool:
    """Whether turn lamps shine at a time; all blink together."""
    return (time_s * BLINKS_HZ + 1e-6) % 1.0 < 0.5


def body_of(length_m: float, height_m: float) -> tuple[_Part, ...]:
    """The row of BODIES that a vehicle of a size has."""
    return next(parts for longest, highest, parts in BODIES if length_m >= longest and height_m >= highest)


@functools.cache
def _table(parts: tuple[_Part, ...]) -> tuple[Array, ...]:
    """Of P parts: where (P, 3) and how large (P, 3) they are, both as shares; flags (P, 2) and colours (P, 2, 3) of
    what lights them; swings (P,); how bright they are of the owner's own colour (P,), nan where they have another.
    """
    lit = [(*part.lit, (Lamp.NONE, (0, 0, 0)), (Lamp.NONE, (0, 0, 0)))[:2] for part in parts]
    columns = ([part.at for part in parts], [part.size for part in parts],
               [[int(flag) for flag, _ in row] for row in lit], [[paint for _, paint in row] for row in lit],
               [part.swing for part in parts],
               [part.colour if isinstance(part.colour, float) else math.nan for part in parts])
    return tuple(np.array(column) for column in columns)


def _colours(parts: tuple[_Part, ...], own: Array, number: int) -> Array:
    """Unlit colours (P, 3) uint8 of parts, by the owner's own colour (3,) and his number."""
    *_, share = _table(parts)
    colours = np.minimum(share[:, None] * own, 255.0)
    for k in np.flatnonzero(np.isnan(share)):
        other = parts[k].colour
        assert not isinstance(other, float)
        colours[k] = other[number % len(other)] if isinstance(other[0], tuple) else other
    return colours.astype(np.uint8)


@functools.lru_cache(maxsize=512)
def _cast(id_bytes: bytes, kind_bytes: bytes, size_bytes: bytes, colour_bytes: bytes) -> _Cast:
    """The cast of actors given by the bytes of their columns, which stay the same while an episode lasts."""
    number, kind = np.frombuffer(id_bytes, np.int64), np.frombuffer(kind_bytes, np.int64)
    size = np.frombuffer(size_bytes, np.float64).reshape(-1, 3)
    colour = np.frombuffer(colour_bytes, np.uint8).reshape(-1, 3)
    looks = [KINDS.get(ActorKind(int(row)), (body_of(length, height), SemanticClass.VEHICLE, STRIDE_M))
             for row, (length, _, height) in zip(kind, size, strict=True)]
    owner = np.repeat(np.arange(len(looks)), [len(parts) for parts, _, _ in looks])
    at, large, flag, lit, swing, _ = (np.concatenate(column) for column in zip(
        *(_table(parts) for parts, _, _ in looks), strict=True))
    painted = [_colours(parts, colour[k], int(number[k])) for k, (parts, _, _) in enumerate(looks)]
    semantic = np.array([row for _, row, _ in looks], np.uint8)
    way_m = np.array([row for _, _, row in looks])
    return _Cast(owner, at * size[owner], large * size[owner], np.concatenate(painted), np.ascontiguousarray(flag.T),
                 np.ascontiguousarray(lit.transpose(1, 0, 2)).astype(np.uint8), swing * size[owner, 0],
                 2 * math.pi / way_m[owner], semantic[owner], (INSTANCE_ACTOR + number[owner]).astype(np.uint16))


@kept
def road_users(actors: Actors, is_blinking: bool) -> Boxes:
    """The boxes of all actors; `is_blinking`: turn lamps that are set shine now."""
    if len(actors.id) == 0:
        return no_boxes()
    cast = _cast(actors.id.astype(np.int64).tobytes(), actors.kind.astype(np.int64).tobytes(),
                 actors.size_m.astype(np.float64).tobytes(), actors.colour.tobytes())
    lamps = actors.lamps.astype(np.int64)
    if not is_blinking:
        lamps &= ~int(Lamp.LEFT | Lamp.RIGHT)
    count = len(cast.owner)
    centre, yaw, colour, glow = np.empty((count, 3)), np.empty(count), cast.colour.copy(), np.zeros(count, bool)
    _place(cast, np.ascontiguousarray(actors.pose, float), np.asarray(actors.speed_mps, float), lamps, centre, yaw,
           colour, glow)
    return Boxes(centre, cast.size_m, yaw, colour, cast.semantic, cast.instance, glow)


@njit(cache=True, nogil=True)
def _place(cast: _Cast, pose: Array, speed_mps: Array, lamps: Array, centre: Array, yaw: Array, colour: Array,
           glow: Array) -> None:
    """Put the boxes of a cast where their owners are, and light them.

    What swings is as far forward as the way says that its owner has come, so that feet do not slide.
    """
    for i in range(len(yaw)):
        k = cast.owner[i]
        cos, sin = math.cos(pose[k, 2]), math.sin(pose[k, 2])
        ahead, left = cast.at_m[i, 0], cast.at_m[i, 1]
        if cast.swing_m[i] != 0.0:
            pace = min(abs(speed_mps[k]) / FULL_SWING_MPS, 1.0)
            ahead += cast.swing_m[i] * pace * math.sin(cast.wave[i] * (pose[k, 0] * cos + pose[k, 1] * sin))
        centre[i, 0] = pose[k, 0] + cos * ahead - sin * left
        centre[i, 1] = pose[k, 1] + sin * ahead + cos * left
        centre[i, 2] = cast.at_m[i, 2]
        yaw[i] = pose[k, 2]
        for n in range(2):
            if lamps[k] & cast.flag[n, i]:
                glow[i] = True
                for c in range(3):
                    colour[i, c] = cast.lit[n, i, c]
