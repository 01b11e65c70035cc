"""What use and time do to a town's roads: seams, mended places, tar, wheel tracks, faded paint, shadows of trees.

The look of a town is drawn from its seed alone; a share of towns keeps plain new asphalt. Everything here is flat and
of the class of what lies below it, so labels do not change: a mended place is road, a raised dot is a marking.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from envs.geometry import Array, interpolate
from envs.render.daylight import light_of
from envs.render.paving import Patch, SemanticClass
from envs.render.works import YELLOW
from envs.roads.network import Lane, Marking
from envs.state import PropKind, Town

Mesh = tuple[Array, Array]  # vertices (V, 2) and triangles (T, 3)
PAINTED = (SemanticClass.MARKING, SemanticClass.STOP_LINE)
BESIDE_PAINT_M = 0.3  # what is not paint keeps this far from a lane's edge
END_M = 2.0  # and this far from a lane's ends
STRAIGHT_STEP_M, BEND_STEP_M = 40.0, 8.0
WHEEL_M, TRACK_WIDTH_M = 0.78, 0.5  # wheels beside the lane's centre; width of the band they polish
SLAB_M = 5.0  # ZTV Beton: slabs of concrete are 5 m long
SEAM_M, TAR_M, JOINT_M = 0.05, 0.08, 0.05  # widths
MANHOLE_M, DOT_M, DOT_SPACING_M = 0.34, 0.1, 2.0
DETOUR_M, DETOUR_POINTS = (50.0, 110.0), 25  # length of a stretch with yellow paint; places where its edge is asked
LEAF_SPOTS, SPOT_M = 16, (0.25, 0.75)
MOST_SHADOW_M = 14.0  # from its tree


@dataclass(frozen=True)
class Look:
    """How the roads of a town look: `share` of towns, colours as factors, and how much of what there is per km."""

    share: float
    asphalt: float = 1.0
    warmth: float = 0.0  # red over blue: concrete and gravel are warmer than bitumen
    paint: float = 1.0
    per_km: tuple[tuple[str, float], ...] = ()


LOOKS = {
    "plain": Look(share=0.4),
    "shaded": Look(share=0.08, per_km=(("manhole", 8.0),)),
    "worn": Look(share=0.17, asphalt=1.1, paint=0.86, per_km=(("track", 1.0), ("seam", 0.6), ("manhole", 10.0))),
    "mended": Look(share=0.17, asphalt=1.04, paint=0.9, per_km=(
        ("mend", 16.0), ("tar", 12.0), ("manhole", 10.0), ("skid", 5.0))),
    "concrete": Look(share=0.09, asphalt=1.32, warmth=0.03, per_km=(("joint", 1.0), ("track", 0.7), ("tar", 4.0))),
    "roadworks": Look(share=0.06, paint=0.84, per_km=(("detour", 2.5), ("mend", 20.0), ("skid", 3.0))),
    "dotted": Look(share=0.03, asphalt=0.95, per_km=(("dot", 1.0), ("seam", 0.5))),
}
SHADED = ("shaded", "worn", "mended", "roadworks")  # looks with trees that throw shadows on the road


def look_of(town_seed: int) -> str:
    """The key of a town's row in LOOKS."""
    shares = np.array([look.share for look in LOOKS.values()])
    rng = np.random.default_rng([town_seed, 3301])
    return str(rng.choice(list(LOOKS), p=shares / shares.sum()))


def _band(lane: Lane, from_m: float, to_m: float, left_m: float | Array, width_m: float,
          step_m: float = 4.0) -> Mesh:
    """A band along a lane between two stations, its middle `left_m` beside the lane's (at even steps, if several)."""
    count = max(2, math.ceil((to_m - from_m) / step_m) + 1)
    share = np.arange(count) / (count - 1)
    middle, heading = _places(lane, from_m + share * (to_m - from_m))
    beside = np.ravel(left_m) if np.size(left_m) in (1, count) else np.interp(
        share, np.linspace(0.0, 1.0, np.size(left_m)), np.ravel(left_m))
    normal = np.stack([-np.sin(heading), np.cos(heading)], axis=1)
    vertices = np.concatenate([middle + (beside - width_m / 2)[:, None] * normal,
                               middle + (beside + width_m / 2)[:, None] * normal])
    lower = np.arange(count - 1)
    upper = lower + count  # right side first: counter-clockwise from above
    triangles = np.concatenate([np.stack([lower, lower + 1, upper + 1], 1), np.stack([lower, upper + 1, upper], 1)])
    return vertices, triangles.astype(np.int32)


def _discs(middle_m: Array, radius_m: Array, corners: int) -> Mesh:
    """Regular polygons about points (K, 2) with radii (K,)."""
    angle = np.arange(corners) * 2 * math.pi / corners
    rim = middle_m[:, None] + radius_m[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    index = np.arange(1, corners - 1)
    fan = np.stack([np.zeros_like(index), index, index + 1], axis=1)
    triangles = corners * np.arange(len(middle_m))[:, None, None] + fan
    return rim.reshape(-1, 2), triangles.reshape(-1, 3).astype(np.int32)


def _tiles(middle_m: Array, heading_rad: Array, length_m: float, width_m: float) -> Mesh:
    """Rectangles (K) about points (K, 2), `length_m` along their headings (K,)."""
    ahead = np.stack([np.cos(heading_rad), np.sin(heading_rad)], axis=1) * length_m / 2
    left = np.stack([-np.sin(heading_rad), np.cos(heading_rad)], axis=1) * width_m / 2
    corners = np.stack([middle_m - ahead - left, middle_m + ahead - left, middle_m + ahead + left,
                        middle_m - ahead + left], axis=1)
    index = 4 * np.arange(len(middle_m))[:, None, None] + np.array([[0, 1, 2], [0, 2, 3]])
    return corners.reshape(-1, 2), index.reshape(-1, 3).astype(np.int32)


def _places(lane: Lane, at: Array, left_m: float = 0.0) -> tuple[Array, Array]:
    """Points (K, 2) `left_m` beside the lane's centre at stations (K,), and its headings (K,) there."""
    heading, points = lane.heading_at(at), interpolate(lane.centre_m, lane.station_m, at)
    return points + left_m * np.stack([-np.sin(heading), np.cos(heading)], axis=1), heading


def _stretch(lane: Lane, length_m: float, rng: np.random.Generator) -> tuple[float, float]:
    """A piece of a lane, as long as it can be up to `length_m`."""
    length = min(length_m, lane.length_m - 2 * END_M)
    start = rng.uniform(END_M, lane.length_m - END_M - length)
    return start, start + length


def _between_paint_m(lane: Lane) -> float:
    """How far from a lane's middle there may be what is not paint, all along."""
    return float(np.min(lane.half_m)) - BESIDE_PAINT_M


def _long_step(lane: Lane) -> float:
    """How far apart [m] the corners of a band all along a lane may be: bends need many, straight lanes few."""
    return STRAIGHT_STEP_M if np.ptp(lane.turned_rad) < 0.03 else BEND_STEP_M


def _track(lane: Lane, rng: np.random.Generator) -> list[Mesh]:
    """Two bands that wheels have polished, all along."""
    step_m = _long_step(lane)
    return [_band(lane, END_M, lane.length_m - END_M, side * WHEEL_M, TRACK_WIDTH_M, step_m) for side in (1, -1)]


def _seam(lane: Lane, rng: np.random.Generator) -> list[Mesh]:
    """The joint of two paver's tracks along the lane."""
    return [_band(lane, END_M, lane.length_m - END_M, 0.12, SEAM_M, _long_step(lane))]


def _joint(lane: Lane, rng: np.random.Generator) -> list[Mesh]:
    """Joints across, between slabs of concrete."""
    places = _places(lane, np.arange(SLAB_M, lane.length_m - END_M, SLAB_M), 0.0)
    return [_tiles(*places, JOINT_M, 2 * _between_paint_m(lane))]


def _mend(lane: Lane, rng: np.random.Generator) -> list[Mesh]:
    """A rectangle of other asphalt, often along a trench."""
    half = _between_paint_m(lane)
    width = rng.uniform(0.6, 2 * half)
    free = half - width / 2
    start, end = _stretch(lane, rng.uniform(0.8, 2.5) if rng.random() < 0.7 else rng.uniform(4.0, 15.0), rng)
    return [_band(lane, start, end, rng.uniform(-free, free), width)]


def _tar(lane: Lane, rng: np.random.Generator) -> list[Mesh]:
    """A crack sealed with bitumen, winding along the lane."""
    half = _between_paint_m(lane)
    start, end = _stretch(lane, rng.uniform(3.0, 14.0), rng)
    steps = max(3, math.ceil((end - start) / 0.9))
    left = np.clip(rng.uniform(-half, half) + np.cumsum(rng.normal(0.0, 0.12, steps)), -half, half)
    return [_band(lane, start, end, left, TAR_M, (end - start) / (steps - 1) * 1.0001)]


def _skid(lane: Lane, rng: np.random.Generator) -> list[Mesh]:
    """A pair of tyre marks, mostly where one brakes before a lane's end."""
    length = rng.uniform(5.0, 16.0)
    end = lane.length_m - rng.uniform(END_M, 12.0)
    start = max(END_M, end - length)
    if end - start < 2.0:
        return []
    drift = rng.uniform(-0.2, 0.2)
    return [_band(lane, start, end, np.array([side * WHEEL_M, side * WHEEL_M + drift]), 0.19) for side in (1, -1)]


def _manhole(lane: Lane, rng: np.random.Generator) -> list[Mesh]:
    places, _ = _places(lane, np.array([_stretch(lane, 1.0, rng)[0]]), rng.uniform(-0.9, 0.9))
    return [_discs(places, np.array([MANHOLE_M]), 8)]


def _detour(lane: Lane, rng: np.random.Generator) -> list[Mesh]:
    """A yellow line beside the old white one on the right."""
    if lane.right != Marking.SOLID:
        return []
    start, end = _stretch(lane, rng.uniform(*DETOUR_M), rng)
    return [_band(lane, start, end, 0.32 - lane.half_at(np.linspace(start, end, DETOUR_POINTS)), 0.13)]


def _dot(lane: Lane, rng: np.random.Generator) -> list[Mesh]:
    """Raised dots along a broken line."""
    if lane.left != Marking.DASHED:
        return []
    places = _places(lane, np.arange(END_M, lane.length_m - END_M, DOT_SPACING_M), lane.width_m / 2)
    return [_tiles(*places, DOT_M, DOT_M)]


@dataclass(frozen=True)
class Feature:
    """A kind of thing on the road: who makes it, its colour, its height among the patches, and whether it is thin.

    `colour` is a factor of the town's asphalt or a colour of its own; with `is_whole` the number per km is the share of
    lanes that have it all along.
    """

    make: Callable[[Lane, np.random.Generator], list[Mesh]]
    colour: float | tuple[int, int, int]
    height_m: float
    is_thin: bool = False
    is_whole: bool = False
    semantic: SemanticClass = SemanticClass.ROAD


FEATURES = {  # heights lie between those of asphalt (0) and of paint (0.012 m)
    "track": Feature(_track, 0.93, 0.001, is_whole=True),
    "mend": Feature(_mend, 0.78, 0.003),
    "seam": Feature(_seam, 0.72, 0.004, is_thin=True, is_whole=True),
    "joint": Feature(_joint, 0.6, 0.004, is_thin=True, is_whole=True),
    "skid": Feature(_skid, 0.66, 0.005, is_thin=True),
    "tar": Feature(_tar, 0.5, 0.006, is_thin=True),
    "manhole": Feature(_manhole, (76, 74, 72), 0.007),
    "detour": Feature(_detour, YELLOW, 0.014, semantic=SemanticClass.MARKING),
    "dot": Feature(_dot, (226, 226, 220), 0.014, is_whole=True, semantic=SemanticClass.MARKING),
}


def _shadows(town: Town) -> Mesh:
    """Spots of shade that trees throw on the road, where they fall on it whole."""
    sun = np.array(light_of(town).sun)
    trees = np.flatnonzero(town.props.kind == PropKind.TREE)
    rng = np.random.default_rng([town.seed, 3302])
    share = rng.random((len(trees), LEAF_SPOTS, 3))
    size, foot = town.props.size_m[trees], town.props.pose[trees, :2]
    up = (0.35 + 0.6 * share[..., 2]) * size[:, 2:]  # the crown's part of the tree
    angle, reach = 2 * math.pi * share[..., 0], 0.5 * size[:, :1] * np.sqrt(share[..., 1])
    fall = -np.minimum(up / max(sun[2], 0.05), MOST_SHADOW_M)
    at = foot[:, None] + np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=-1) + fall[..., None] * sun[:2]
    spots, radius = at.reshape(-1, 2), rng.uniform(*SPOT_M, at.size // 2)
    inside = -town.network.distance_to_road(spots, 8.0) > radius * 1.3
    return _discs(spots[inside], radius[inside], 7)


def _joined(parts: list[Mesh]) -> Mesh:
    start = np.cumsum([0] + [len(vertices) for vertices, _ in parts[:-1]])
    return (np.concatenate([vertices for vertices, _ in parts]),
            np.concatenate([triangles + at for (_, triangles), at in zip(parts, start, strict=True)]))


def _tinted(colour: tuple[int, int, int], factor: float, warmth: float = 0.0) -> tuple[int, int, int]:
    red, green, blue = (int(min(255.0, value * factor * (1 + lean * warmth) + 0.5))
                        for value, lean in zip(colour, (1, 0, -1), strict=True))
    return red, green, blue


def worn(patches: tuple[Patch, ...], town: Town, is_sunny: bool = True) -> tuple[Patch, ...]:
    """The patches of a town's roads as they look after years of use; those of a plain town as they are.

    Trees throw shadows while it `is_sunny`, as on the fair day of `light_of(town)`.
    """
    name = look_of(town.seed)
    look, roads = LOOKS[name], [patch for patch in patches if patch.semantic == SemanticClass.ROAD]
    if name == "plain" or not roads:
        return patches
    aged = [dataclasses.replace(patch, colour=_tinted(patch.colour, look.asphalt, look.warmth))
            if patch.semantic == SemanticClass.ROAD else
            dataclasses.replace(patch, colour=_tinted(patch.colour, look.paint))
            if patch.semantic in PAINTED else patch for patch in patches]
    asphalt = _tinted(roads[0].colour, look.asphalt, look.warmth)
    lanes = [lane for lane in town.network.lanes if lane.junction is None and lane.length_m > 4 * END_M]
    added = []
    for kind, (feature_name, per_km) in enumerate(look.per_km):
        feature, rng = FEATURES[feature_name], np.random.default_rng([town.seed, 3303, kind])
        parts: list[Mesh] = []
        for lane in lanes:
            count = int(rng.random() < per_km) if feature.is_whole else rng.poisson(per_km * lane.length_m / 1000)
            for _ in range(count):
                parts += feature.make(lane, rng)
        if parts:
            colour = _tinted(asphalt, feature.colour) if isinstance(feature.colour, float) else feature.colour
            added.append(Patch(*_joined(parts), feature.height_m, colour, feature.semantic, feature.is_thin))
    if name in SHADED and is_sunny:
        vertices, triangles = _shadows(town)
        if len(triangles):
            added.append(Patch(vertices, triangles, 0.009, _tinted(asphalt, 0.64), SemanticClass.ROAD))
    return (*aged, *added)
