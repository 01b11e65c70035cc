"""The town from above, for people: roads, markings, route, cars and what the driver planned, drawn with OpenCV.

The standing part of a town is drawn once, north up, and turned under the car in each frame. No camera and no policy
ever sees this picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from envs.geometry import Array, box_corners, ego_from_world, world_from_ego
from envs.render.paving import SemanticClass
from envs.render.scene import static_scene
from envs.render.signals import IS_LIT, LIT
from envs.signs import SIGNS, face
from envs.state import EGO_SHAPE, ActorKind, PropKind, SignPosts, Town, WorldState

MAP_PX_PER_M = 6.0
MARGIN_M = 40.0  # grass beyond the outermost road
SHIFT = 4  # OpenCV draws at 1/16 px
GRASS = (112, 146, 84)
ROUTE, TRAIL, PLAN, EGO = (64, 156, 255), (255, 196, 61), (90, 235, 120), (232, 62, 62)


@dataclass(frozen=True)
class BirdseyeView:
    """How the picture looks at the car."""

    width_px: int = 400
    height_px: int = 560
    px_per_m: float = 6.0
    ego_share: float = 0.72
    """height of the car in the picture, 0 top to 1 bottom"""


def draw_birdseye(state: WorldState, view: BirdseyeView, trail_m: Array | None = None,
                  plan_m: Array | None = None) -> Array:
    """The picture uint8 (H, W, 3) around the ego car, its heading up.

    `trail_m` (N, 2) is where it has been, world frame; `plan_m` (P, 2) the path its driver sees, ego frame.
    """
    ground, origin = town_map(state.town)
    px_from_world = _px_from_world(state.ego.pose, view)
    map_from_world = np.array([[MAP_PX_PER_M, 0, -origin[0] * MAP_PX_PER_M],
                               [0, -MAP_PX_PER_M, origin[1] * MAP_PX_PER_M], [0, 0, 1]])
    turn = (px_from_world @ np.linalg.inv(map_from_world))[:2]
    image = cv2.warpAffine(ground, turn, (view.width_px, view.height_px), flags=cv2.INTER_LINEAR,
                           borderMode=cv2.BORDER_CONSTANT, borderValue=GRASS)
    pixels = lambda points: _apply(px_from_world, points)  # noqa: E731
    _band(image, pixels(state.route.points_m), ROUTE, width_px=view.px_per_m * 1.1, share=0.45)
    _goal(image, pixels(state.route.points_m[-1:])[0], view.px_per_m)
    if trail_m is not None and len(trail_m) > 1:
        _band(image, pixels(trail_m), TRAIL, width_px=view.px_per_m * 0.45, share=0.8)
    _draw_signs(image, state.town.signs, px_from_world, view)
    _draw_lights(image, state, pixels, view)
    actors = state.actors
    for kind, pose, size, tone in zip(actors.kind, actors.pose, actors.size_m, actors.colour, strict=True):
        colour = tuple(int(c) for c in tone)
        if kind == ActorKind.PEDESTRIAN:
            _disc(image, pixels(pose[:2]), 0.7 * view.px_per_m, (255, 255, 255))
            _disc(image, pixels(pose[:2]), 0.5 * view.px_per_m, colour)
        else:
            _draw_car(image, pixels(box_corners(pose, size[0], size[1])), colour)
    _draw_car(image, pixels(box_corners(state.ego.pose, EGO_SHAPE.length_m, EGO_SHAPE.width_m,
                                        EGO_SHAPE.centre_forward_m)), EGO)
    if plan_m is not None:
        plan = pixels(world_from_ego(state.ego.pose, plan_m))
        _band(image, plan, PLAN, width_px=2.0, share=0.9)
        for point in plan:
            _disc(image, point, 3.0, PLAN)
    return image


@lru_cache(maxsize=1)
def town_map(town: Town) -> tuple[Array, Array]:
    """All that stands still, north up at MAP_PX_PER_M: uint8 (H, W, 3); and the world point (2,) of its top left."""
    corners = np.concatenate([surface.outline_m for surface in town.network.surfaces])
    low, high = corners.min(axis=0) - MARGIN_M, corners.max(axis=0) + MARGIN_M
    width, height = np.ceil((high - low) * MAP_PX_PER_M).astype(int)
    image = np.full((height, width, 3), GRASS, np.uint8)
    origin = np.array([low[0], high[1]])

    def pixels(points_m: Array) -> Array:
        return (np.asarray(points_m) - origin) * (MAP_PX_PER_M, -MAP_PX_PER_M)

    for patch in static_scene(town).patches:
        edge = cv2.LINE_AA if patch.semantic in (SemanticClass.MARKING, SemanticClass.STOP_LINE) else cv2.LINE_8
        for triangle in pixels(patch.vertices_m)[patch.triangles]:
            cv2.fillConvexPoly(image, _fixed(triangle), patch.colour, edge, SHIFT)
    props = town.props
    for kind, pose, size, colour in zip(props.kind, props.pose, props.size_m, props.colour, strict=True):
        _draw_prop(image, pixels, int(kind), pose, size, tuple(int(c) for c in colour))
    return image, origin


def _draw_prop(image: Array, pixels, kind: int, pose: Array, size: Array, colour: tuple[int, ...]) -> None:
    dark = tuple(int(0.7 * c) for c in colour)
    if kind == PropKind.TREE:
        centre, radius = pixels(pose[:2]), float(size[:2].mean()) / 2 * MAP_PX_PER_M
        _disc(image, centre, radius, dark)
        _disc(image, centre - 0.12 * radius, 0.8 * radius, colour)
        return
    outline = pixels(box_corners(pose, size[0], size[1]))
    _fill(image, outline, colour)
    _line(image, outline, dark, 3, is_closed=True)


def _draw_signs(image: Array, signs: SignPosts, px_from_world: Array, view: BirdseyeView) -> None:
    """Each sign's own face beside the road, upright in the picture."""
    if not len(signs.sign):
        return
    half = max(6, round(1.3 * view.px_per_m))
    for sign, at in zip(signs.sign, _apply(px_from_world, signs.pose[:, :2]).round().astype(int), strict=True):
        if half <= at[0] < view.width_px - half and half <= at[1] < view.height_px - half:
            icon = _icon(int(sign), 2 * half)
            image[at[1] - half:at[1] + half, at[0] - half:at[0] + half][icon[1]] = icon[0][icon[1]]


def _draw_lights(image: Array, state: WorldState, pixels: Callable[[Array], Array], view: BirdseyeView) -> None:
    """A bar across the end of each lane whose light is lit, in the colours of its lamps from left to right."""
    for lane in state.town.network.lanes:
        if lane.signal is None or lane.signal >= len(state.signals):
            continue
        colours = LIT[IS_LIT[state.signals[lane.signal]]].tolist()
        ahead = (lane.centre_m[-1] - lane.centre_m[-2]) / np.hypot(*(lane.centre_m[-1] - lane.centre_m[-2]))
        left = lane.width_m / 2 * np.array([-ahead[1], ahead[0]])
        ends = np.linspace(1.0, -1.0, len(colours) + 1)
        for k, colour in enumerate(colours):
            _line(image, pixels(lane.centre_m[-1] + ends[k:k + 2, None] * left), tuple(colour),
                  max(2, round(0.6 * view.px_per_m)))


@lru_cache(maxsize=64)
def _icon(sign: int, size_px: int) -> tuple[Array, Array]:
    """A sign's face uint8 (S, S, 3), and bool (S, S) where it is not cut away."""
    inside = np.zeros((size_px, size_px), np.uint8)
    cv2.fillPoly(inside, [_fixed(SIGNS[sign].outline * size_px)], 1, shift=SHIFT)
    return face(sign, size_px), inside > 0


def _draw_car(image: Array, corners: Array, colour: tuple[int, ...]) -> None:
    """A car's outline with a windscreen and a shadow; `corners` (4, 2) px from rear right, counter-clockwise."""
    rear_right, front_right, _, rear_left = corners
    _fill(image, corners + 2, (52, 55, 58))
    _fill(image, corners, colour)
    along, screen = front_right - rear_right, []
    for side, inward in ((rear_right, rear_left - rear_right), (rear_left, rear_right - rear_left)):
        screen += [side + 0.72 * along + 0.12 * inward, side + 0.55 * along + 0.16 * inward]
    _fill(image, np.array([screen[0], screen[1], screen[3], screen[2]]), (36, 44, 56))
    _line(image, corners, tuple(int(0.55 * c) for c in colour), 1, is_closed=True)


def _goal(image: Array, at: Array, px_per_m: float) -> None:
    """A chequered disc."""
    _disc(image, at, 1.9 * px_per_m, (255, 255, 255))
    _disc(image, at, 1.5 * px_per_m, ROUTE)
    _disc(image, at, 0.7 * px_per_m, (255, 255, 255))


def _px_from_world(pose: Array, view: BirdseyeView) -> Array:
    """(3, 3): homogeneous world points to pixels of the picture."""
    px_from_ego = np.array([[0, -view.px_per_m, view.width_px / 2],
                            [-view.px_per_m, 0, view.height_px * view.ego_share], [0, 0, 1]])
    axes = ego_from_world(pose, np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    ego_from_world_matrix = np.array([[*(axes[1:, 0] - axes[0, 0]), axes[0, 0]],
                                      [*(axes[1:, 1] - axes[0, 1]), axes[0, 1]], [0, 0, 1]])
    return px_from_ego @ ego_from_world_matrix


def _apply(matrix: Array, points: Array) -> Array:
    return np.asarray(points, float) @ matrix[:2, :2].T + matrix[:2, 2]


def _fixed(points_px: Array) -> Array:
    """Points in OpenCV's fixed-point form, kept within what it can clip."""
    return np.clip(np.asarray(points_px) * 2**SHIFT, -2**26, 2**26).round().astype(np.int32).reshape(-1, 1, 2)


def _fill(image: Array, points_px: Array, colour: tuple[int, ...]) -> None:
    cv2.fillPoly(image, [_fixed(points_px)], colour, cv2.LINE_AA, SHIFT)


def _line(image: Array, points_px: Array, colour: tuple[int, ...], width_px: int, is_closed: bool = False) -> None:
    cv2.polylines(image, [_fixed(points_px)], is_closed, colour, width_px, cv2.LINE_AA, SHIFT)


def _disc(image: Array, centre_px: Array, radius_px: float, colour: tuple[int, ...]) -> None:
    x, y = _fixed(centre_px)[0, 0]
    cv2.circle(image, (int(x), int(y)), round(radius_px * 2**SHIFT), colour, -1, cv2.LINE_AA, SHIFT)


def _band(image: Array, points_px: Array, colour: tuple[int, ...], width_px: float, share: float) -> None:
    """A line that lets the ground shine through: `share` of it is paint."""
    painted = image.copy()
    _line(painted, points_px, colour, max(1, round(width_px)))
    cv2.addWeighted(painted, share, image, 1 - share, 0, dst=image)
