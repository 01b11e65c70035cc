"""Our own rasteriser: the same scenes as PyBullet's camera draws, many times faster, in numba.

Ground triangles are painted in order (kerbs, asphalt, paint) as materials; then each ground pixel gets its colour, its
share of paint (four scan lines a pixel row, exact coverage along each) and the grain of `backdrop.py`. Everything solid
is drawn over it with a depth buffer, sign faces with perspective-correct mip-mapped textures. The ground counts as the
plane z = 0 for depth. No shadows, no reflections.
"""

from __future__ import annotations

import functools
import math
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from envs.config import CameraConfig
from envs.geometry import Array
from envs.kept import kept
from envs.render import polygons
from envs.render.backdrop import Backdrop
from envs.render.camera import CameraPose, Frame
from envs.render.effects import GLOW_MARK, WeatherPass
from envs.render.polygons import Canvas, Scratch, View, columns, cover, draw_solid, fill, may_show, project, trace
from envs.render.scene import Boxes, Light, Scene, SemanticClass, StaticScene
from envs.weather import CLEAR

MIP_SIZES = (128, 64, 32, 16, 8)
CELL_M = 24.0  # ground triangles are sought by square cells
SMALLEST_PX = 0.7  # boxes with a shorter diagonal, such as lamps of cars far away, would only flicker
BARE = 1  # material of ground without a patch; 0 is the sky, 2 and up are patches
PAINT = (SemanticClass.MARKING, SemanticClass.STOP_LINE)


class _Ground(NamedTuple):
    """Ground triangles in painting order, R runs of one material in one cell, and what each material looks like."""

    corners: Array  # (T, 3, 2) [m]
    first: Array  # (R + 1,) int64 row of `corners` at which a run begins
    bound: Array  # (R, 3) circle about a run: x, y, radius
    height: Array  # (R,)
    material: Array  # (R,) uint8
    colour: Array  # (materials, 3) float32, lit
    semantic: Array  # (materials,) uint8
    is_paint: Array  # (materials,) bool


class _Layers(NamedTuple):
    """Ground before it has colours, (H, W) each."""

    material: Array  # uint8
    coverage: Array  # float32 share of the pixel under paint
    paint: Array  # uint8 material of that paint


class _Grain(NamedTuple):
    """Tables of the ground rows that `Backdrop` gives: see there."""

    tile: Array
    fade: Array
    ahead: Array
    left: Array
    place: Array
    strength: Array


class _Solids(NamedTuple):
    """Boxes as kernels take them: fields of `Boxes`."""

    centre: Array
    size: Array
    yaw: Array
    colour: Array
    semantic: Array
    instance: Array
    glow: Array


class _Faces(NamedTuple):
    """Sign faces as kernels take them, and all mip levels of their textures in one list of texels."""

    centre: Array
    size: Array
    yaw: Array
    texture: Array
    semantic: Array
    instance: Array
    texels: Array  # (P, 3) uint8
    offset: Array  # (textures, levels) int64
    outline: Array  # (textures, MOST_CORNERS, 2) unit coordinates
    corners: Array  # (textures,) how many of them are used


@kept
def _ground(static: StaticScene, light: Light) -> _Ground:
    strength = light.ambient + (1 - light.ambient) * max(0.0, light.sun[2])
    corners, run, bound, height, material = [], [], [], [], []
    patches = sorted(static.patches, key=lambda patch: patch.height_m)
    total = 0
    for number, patch in enumerate(patches, BARE + 1):
        flat = patch.vertices_m[patch.triangles]
        cell = np.floor(flat.mean(axis=1) / CELL_M).astype(np.int64)
        order = np.lexsort(cell.T)
        flat, cell = flat[order], cell[order]
        start = np.flatnonzero(np.any(np.diff(cell, axis=0, prepend=cell[:1] - 1), axis=1))
        low = np.minimum.reduceat(flat.min(axis=1), start)
        high = np.maximum.reduceat(flat.max(axis=1), start)
        corners.append(flat)
        run.append(total + start)
        bound.append(np.column_stack([(low + high) / 2, np.hypot(*(high - low).T) / 2]))
        height.append(np.full(len(start), patch.height_m))
        material.append(np.full(len(start), number, np.uint8))
        total += len(flat)
    colour = np.array([(0, 0, 0), light.terrain, *(np.array(patch.colour) * strength for patch in patches)])
    is_soft = np.array([False, False, *(patch.is_thin or patch.semantic in PAINT for patch in patches)])
    semantic = [SemanticClass.SKY, SemanticClass.TERRAIN, *(patch.semantic for patch in patches)]
    return _Ground(np.concatenate(corners), np.append(np.concatenate(run), total), np.concatenate(bound),
                   np.concatenate(height), np.concatenate(material), np.clip(colour, 0, 255).astype(np.float32),
                   np.array(semantic, np.uint8), is_soft)


@kept
def _faces(static: StaticScene) -> _Faces:
    texels: list[Array] = [np.zeros((0, 3), np.uint8)]
    offset, start = [], 0
    for picture in static.textures:
        row = []
        for size in MIP_SIZES:
            picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
            texels.append(picture.reshape(-1, 3))
            row.append(start)
            start += size * size
        offset.append(row)
    outline = np.zeros((len(static.outlines), polygons.MOST_CORNERS, 2))
    for k, corners in enumerate(static.outlines):
        outline[k, :len(corners)] = corners
    faces = static.faces
    return _Faces(faces.centre_m, faces.size_m, faces.yaw_rad, faces.texture, faces.semantic, faces.instance,
                  np.concatenate(texels), np.array(offset, np.int64).reshape(-1, len(MIP_SIZES)), outline,
                  np.array([len(corners) for corners in static.outlines], np.int64))


def _solids(boxes: Boxes, is_marked: bool) -> _Solids:
    """Boxes for kernels; with `is_marked` those that glow are marked for `effects`."""
    semantic = boxes.semantic + GLOW_MARK * boxes.glow.astype(np.uint8) if is_marked else boxes.semantic
    return _Solids(boxes.centre_m, boxes.size_m, boxes.yaw_rad, boxes.colour, semantic, boxes.instance, boxes.glow)


@polygons.kernel
def _meets_rows(ahead: float, reach: float, below: float, per_row: int, view: View) -> bool:
    """Whether flat ground `reach` about a place `ahead` of the camera can meet a scan line: far away little does."""
    turn = view.rotation
    near, level = ahead - reach, math.hypot(turn[2, 0], turn[2, 1])
    if near * level + below * turn[2, 2] < polygons.NEAR_M:
        return True
    far = ahead + reach
    low = view.focal_px * (below * turn[1, 2] + near * turn[2, 2]) / (near * level + below * turn[2, 2])
    high = view.focal_px * (below * turn[1, 2] + far * turn[2, 2]) / (far * level + below * turn[2, 2])
    return (math.ceil((view.centre_v + low) * per_row - 0.5) > math.ceil((view.centre_v + high) * per_row - 0.5))


@polygons.kernel
def _draw_ground(ground: _Ground, view: View, scratch: Scratch, material: Array, coverage: Array,
                 paint: Array) -> None:
    """Fill `material` with what lies where, and `coverage` and `paint` with how much of which paint lies on it."""
    turn, points = view.rotation, scratch.points
    level = turn[2, :2] / math.hypot(turn[2, 0], turn[2, 1])
    for run in range(len(ground.material)):
        dx, dy = ground.bound[run, 0] - view.position_m[0], ground.bound[run, 1] - view.position_m[1]
        if not may_show(dx, dy, ground.bound[run, 2], view):
            continue
        kind, below = ground.material[run], ground.height[run] - view.position_m[2]
        per_row = polygons.SUBROWS if ground.is_paint[kind] else 1
        if not _meets_rows(dx * level[0] + dy * level[1], ground.bound[run, 2], below, per_row, view):
            continue
        for t in range(ground.first[run], ground.first[run + 1]):
            for i in range(3):
                x = ground.corners[t, i, 0] - view.position_m[0]
                y = ground.corners[t, i, 1] - view.position_m[1]
                for c in range(3):
                    points[i, c] = turn[c, 0] * x + turn[c, 1] * y + turn[c, 2] * below
            count = project(scratch, 3, view)
            if ground.is_paint[kind]:
                cover(scratch, count, kind, coverage, paint)
            else:
                fill(scratch, count, kind, material)


@polygons.kernel
def _lay_ground(ground: _Ground, grain: _Grain, first: int, material: Array, coverage: Array, paint: Array,
                canvas: Canvas) -> None:
    """Colour the ground rows: the material under its share of paint, times noise that is fixed to the world."""
    width, mask, side = material.shape[1], np.int32(grain.tile.shape[0] - 1), np.int32(grain.tile.shape[0])
    half, full, one = np.float32(0.5), np.float32(255.0), np.float32(1.0)
    tile, noise = grain.tile.reshape(-1), np.empty(width, np.float32)
    cos, sin, at_x, at_y = grain.place[0], grain.place[1], grain.place[2], grain.place[3]
    for i in range(material.shape[0] - first):
        y = first + i
        ahead, left, fade = grain.ahead[i, 0], grain.left[i], grain.fade[i, 0]
        for x in range(width):
            column = np.int32(cos * ahead - sin * left[x] + at_x) & mask
            row = np.int32(sin * ahead + cos * left[x] + at_y) & mask
            noise[x] = fade * tile[np.uint32(row * side + column)]
        for x in range(width):
            kind = material[y, x]
            red, green, blue = ground.colour[kind, 0], ground.colour[kind, 1], ground.colour[kind, 2]
            if coverage[y, x] > 0.0:
                share, over = min(coverage[y, x], one), paint[y, x]
                red += share * (ground.colour[over, 0] - red)
                green += share * (ground.colour[over, 1] - green)
                blue += share * (ground.colour[over, 2] - blue)
                kind = over if share > half else kind
            factor = one + grain.strength[ground.semantic[kind]] * noise[x]
            canvas.rgb[y, x, 0] = np.uint8(min(red * factor + half, full))
            canvas.rgb[y, x, 1] = np.uint8(min(green * factor + half, full))
            canvas.rgb[y, x, 2] = np.uint8(min(blue * factor + half, full))
            canvas.class_id[y, x] = ground.semantic[kind]


@polygons.kernel
def _draw_boxes(boxes: _Solids, light: Array, view: View, scratch: Scratch, canvas: Canvas) -> None:
    """Draw upright boxes: the at most three sides each that look at the camera, lit by the sun."""
    turn, points = view.rotation, scratch.points
    axis, arm = np.zeros((3, 3)), np.empty((3, 3))  # unit vectors in the world, half edges in the camera's frame
    middle, normal = np.empty(3), np.empty(3)
    axis[2, 2] = 1.0
    for k in range(len(boxes.yaw)):
        dx, dy, dz = (boxes.centre[k, 0] - view.position_m[0], boxes.centre[k, 1] - view.position_m[1],
                      boxes.centre[k, 2] - view.position_m[2])
        half = (boxes.size[k, 0] / 2, boxes.size[k, 1] / 2, boxes.size[k, 2] / 2)
        reach = math.sqrt(half[0] ** 2 + half[1] ** 2 + half[2] ** 2)
        if not may_show(dx, dy, reach, view):
            continue
        if 2 * reach * view.focal_px < SMALLEST_PX * (dx * turn[2, 0] + dy * turn[2, 1] + dz * turn[2, 2]):
            continue
        cos, sin = math.cos(boxes.yaw[k]), math.sin(boxes.yaw[k])
        axis[0, 0], axis[0, 1], axis[1, 0], axis[1, 1] = cos, sin, -sin, cos
        for c in range(3):
            middle[c] = turn[c, 0] * dx + turn[c, 1] * dy + turn[c, 2] * dz
            arm[0, c] = half[0] * (turn[c, 0] * cos + turn[c, 1] * sin)
            arm[1, c] = half[1] * (turn[c, 1] * cos - turn[c, 0] * sin)
            arm[2, c] = half[2] * turn[c, 2]
        for side in range(3):
            across, up = (side + 1) % 3, (side + 2) % 3
            towards = -(dx * axis[side, 0] + dy * axis[side, 1] + dz * axis[side, 2])
            if abs(towards) <= half[side]:
                continue
            sign = 1.0 if towards > 0.0 else -1.0
            for c in range(3):
                normal[c] = sign * arm[side, c]
                face = middle[c] + normal[c]
                points[0, c], points[1, c] = face - arm[across, c] - arm[up, c], face + arm[across, c] - arm[up, c]
                points[2, c], points[3, c] = face + arm[across, c] + arm[up, c], face - arm[across, c] + arm[up, c]
            count = project(scratch, 4, view)
            plane = polygons.inverse_depth_plane(normal, half[side] * (half[side] - abs(towards)), view)
            facing = sign * (axis[side, 0] * light[0] + axis[side, 1] * light[1] + axis[side, 2] * light[2])
            strength = 1.0 if boxes.glow[k] else light[3] + (1.0 - light[3]) * max(0.0, facing)
            colour = (int(min(255.0, boxes.colour[k, 0] * strength + 0.5)),
                      int(min(255.0, boxes.colour[k, 1] * strength + 0.5)),
                      int(min(255.0, boxes.colour[k, 2] * strength + 0.5)))
            draw_solid(scratch, count, plane, colour, boxes.semantic[k], boxes.instance[k], canvas)


@polygons.kernel
def _draw_faces(faces: _Faces, light: Array, view: View, scratch: Scratch, canvas: Canvas) -> None:
    """Draw the sign faces that look at the camera."""
    turn, points = view.rotation, scratch.points
    board = np.empty((4, 3))  # camera coordinates of a face: its normal, its right, its up, its centre
    for k in range(len(faces.yaw)):
        nx, ny = math.cos(faces.yaw[k]), math.sin(faces.yaw[k])
        dx = faces.centre[k, 0] - view.position_m[0]
        dy = faces.centre[k, 1] - view.position_m[1]
        dz = faces.centre[k, 2] - view.position_m[2]
        offset = dx * nx + dy * ny
        if offset >= -1e-3 or not may_show(dx, dy, max(faces.size[k, 0], faces.size[k, 1]), view):
            continue
        for c in range(3):
            board[0, c] = turn[c, 0] * nx + turn[c, 1] * ny
            board[1, c] = turn[c, 1] * nx - turn[c, 0] * ny
            board[2, c] = turn[c, 2]
            board[3, c] = turn[c, 0] * dx + turn[c, 1] * dy + turn[c, 2] * dz
        kind = faces.texture[k]
        for i in range(faces.corners[kind]):
            across = (faces.outline[kind, i, 0] - 0.5) * faces.size[k, 0]
            up = (0.5 - faces.outline[kind, i, 1]) * faces.size[k, 1]
            for c in range(3):
                points[i, c] = board[3, c] + across * board[1, c] + up * board[2, c]
        count = project(scratch, faces.corners[kind], view)
        strength = light[3] + (1.0 - light[3]) * max(0.0, nx * light[0] + ny * light[1])
        _texture_face(faces, k, board, offset, strength, count, view, scratch, canvas)


@polygons.kernel
def _texture_face(faces: _Faces, k: int, board: Array, offset: float, strength: float, count: int, view: View,
                  scratch: Scratch, canvas: Canvas) -> None:
    """Draw one projected sign face from the mip level whose texels are as large as pixels, blended bilinearly."""
    height, width = canvas.class_id.shape
    shown, texels = view.focal_px * faces.size[k, 0] / max(board[3, 2], polygons.NEAR_M), faces.texels
    level, side = 0, MIP_SIZES[0]
    while level < len(MIP_SIZES) - 1 and side > 1.9 * shown:
        level, side = level + 1, side // 2
    base = faces.offset[faces.texture[k], level]
    first, last = trace(scratch, count, width, height, 1)
    right, up, centre = board[1], board[2], board[3]
    at_u = centre[0] * right[0] + centre[1] * right[1] + centre[2] * right[2]
    at_v = centre[0] * up[0] + centre[1] * up[1] + centre[2] * up[2]
    for y in range(first, last):
        begin, end = columns(scratch.left[y], scratch.right[y], width)
        ray_y = (y + 0.5 - view.centre_v) / view.focal_px
        for x in range(begin, end):
            ray_x = (x + 0.5 - view.centre_u) / view.focal_px
            inverse = (board[0, 0] * ray_x + board[0, 1] * ray_y + board[0, 2]) / offset
            if inverse <= canvas.inverse_depth[y, x]:
                continue
            u = ((ray_x * right[0] + ray_y * right[1] + right[2]) / inverse - at_u) / faces.size[k, 0] + 0.5
            v = 0.5 - ((ray_x * up[0] + ray_y * up[1] + up[2]) / inverse - at_v) / faces.size[k, 1]
            u, v = min(max(u * side - 0.5, 0.0), side - 1.001), min(max(v * side - 0.5, 0.0), side - 1.001)
            iu, iv = int(u), int(v)
            fu, fv = u - iu, v - iv
            at = base + iv * side + iu
            for c in range(3):
                upper = texels[at, c] * (1 - fu) + texels[at + 1, c] * fu
                lower = texels[at + side, c] * (1 - fu) + texels[at + side + 1, c] * fu
                canvas.rgb[y, x, c] = np.uint8(min(255.0, (upper * (1 - fv) + lower * fv) * strength + 0.5))
            canvas.inverse_depth[y, x] = inverse
            canvas.class_id[y, x] = faces.semantic[k]
            canvas.instance_id[y, x] = faces.instance[k]


@polygons.kernel
def _depth(inverse_depth: Array, out: Array) -> None:
    """1 / inverse_depth into `out`, both flat float32; inf where it is 0."""
    one = np.float32(1.0)
    for i in range(len(out)):
        out[i] = one / inverse_depth[i]


@polygons.kernel
def _draw(ground: _Ground, grain: _Grain, faces: _Faces, solids: tuple[_Solids, _Solids, _Solids], light: Array,
          view: View, first: int, scratch: Scratch, layers: _Layers, canvas: Canvas, depth: Array) -> None:
    """Draw a whole frame on a canvas that holds the sky, the plane's 1 / depth, and zeros."""
    layers.material[:first] = 0
    layers.material[first:] = BARE
    layers.coverage[:] = 0.0
    _draw_ground(ground, view, scratch, layers.material, layers.coverage, layers.paint)
    _lay_ground(ground, grain, first, layers.material, layers.coverage, layers.paint, canvas)
    for boxes in solids:
        _draw_boxes(boxes, light, view, scratch, canvas)
    _draw_faces(faces, light, view, scratch, canvas)
    _depth(canvas.inverse_depth.reshape(-1), depth.reshape(-1))


class RasterRenderer:
    """Frames by our own rasteriser, byte for byte the same for the same scene and pose."""

    def __init__(self, camera: CameraConfig) -> None:
        self.camera = camera
        self.backdrop: Backdrop | None = None
        shape = (camera.height_px, camera.width_px)
        self.scratch = polygons.scratch_for(camera.height_px)
        self.layers = _Layers(np.zeros(shape, np.uint8), np.zeros(shape, np.float32), np.zeros(shape, np.uint8))
        self.inverse_depth = np.zeros(shape, np.float32)
        announce_compilation()

    def render(self, scene: Scene, pose: CameraPose) -> Frame:
        """The frame seen from `pose`."""
        if self.backdrop is None or not self.backdrop.fits(pose):
            self.backdrop = Backdrop(self.camera, pose)
            self.weather = WeatherPass(self.backdrop)
        back, camera, light = self.backdrop, self.camera, scene.light
        shape = (camera.height_px, camera.width_px)
        self.inverse_depth[:] = back.inverse_depth
        canvas = Canvas(back.sky(light, pose), np.zeros(shape, np.uint8), np.zeros(shape, np.uint16),
                        self.inverse_depth)
        depth = np.empty(shape, np.float32)
        view = View(camera.width_px / 2, camera.height_px / 2, camera.focal_px,
                    camera.width_px / 2 / camera.focal_px, pose.rotation, pose.position_m)
        is_marked = light.weather != CLEAR
        grain = _Grain(back.tile, back.fade, back.ground_ahead, back.ground_left, back.grain_place(pose),
                       back.strength)
        _draw(_ground(scene.static, light), grain, _faces(scene.static),
              (_solids(scene.static.boxes, is_marked), _solids(scene.actors, is_marked),
               _solids(scene.signals, is_marked)),
              np.array([*light.sun, light.ambient]), view, back.first, self.scratch, self.layers, canvas, depth)
        rgb = self.weather.finish(canvas.rgb, canvas.class_id, self.inverse_depth, scene, pose)
        return Frame(rgb, canvas.class_id, canvas.instance_id, depth)

    def close(self) -> None:
        """Nothing is held."""


@functools.cache
def announce_compilation() -> None:
    """Say on stderr, once, that the first frame will take long, if no compiled kernels lie in numba's cache."""
    source = Path(__file__)
    indexes = Path(_draw.stats.cache_path or source.parent).glob(f"{source.stem}._draw-*.nbi")
    if not any(index.stat().st_mtime >= source.stat().st_mtime for index in indexes):
        print("nanodrive: compiling the rasteriser, once, for about ten seconds", file=sys.stderr, flush=True)
