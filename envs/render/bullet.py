"""PyBullet's own camera: the reference renderer, and the window that `render_mode="human"` opens.

TinyRenderer draws what stands on the ground and the paved ground itself, over `backdrop.py`'s sky and terrain, which
would cost it most. Nothing is simulated here: bodies have no mass and no collision shape.
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pybullet

from envs.config import CameraConfig
from envs.geometry import Array
from envs.render.backdrop import Backdrop
from envs.render.boxes import Boxes, stack
from envs.render.camera import CameraPose, Frame
from envs.render.effects import GLOW_MARK, WeatherPass
from envs.render.scene import Scene, SemanticClass, StaticScene
from envs.state import VehicleState

NEAR_M, FAR_M = 0.25, 1000.0
MOST_CASTS = 50  # sets of actors before all is loaded anew: PyBullet keeps about 1.5 kB of each box removed


class DisplayError(RuntimeError):
    """A window was asked for where there is no display."""


def _write_mesh(path: Path, vertices: Array, uvs: Array, triangles: Array, normal: tuple[int, int, int]) -> None:
    """A flat mesh as Wavefront OBJ: vertices (V, 3), texture coordinates (V, 2), triangles (T, 3), one normal."""
    corner = "%d/%d/1"
    text = [("v %.9g %.9g %.9g\n" * len(vertices)) % tuple(vertices.ravel().tolist()),
            ("vt %.9g %.9g\n" * len(uvs)) % tuple(uvs.ravel().tolist()), f"vn {normal[0]} {normal[1]} {normal[2]}\n",
            (f"f {corner} {corner} {corner}\n" * len(triangles)) % tuple(np.repeat(triangles + 1, 2).tolist())]
    path.write_text("".join(text))


def _turn(yaw_rad: float) -> tuple[float, float, float, float]:
    """The quaternion of a rotation about the vertical."""
    return 0.0, 0.0, math.sin(yaw_rad / 2), math.cos(yaw_rad / 2)


class _Stage:
    """A PyBullet client filled with one scene: bodies to draw, and which class and instance each is."""

    def __init__(self, client: int) -> None:
        self.client = client
        self.semantic = np.zeros(64, np.uint8)
        self.instance = np.zeros(64, np.uint16)
        self.glow = np.zeros((64, 4), np.uint8)  # RGB of a lit lamp, and whether it is one
        self.static: StaticScene | None = None
        self.actor_key: bytes = b""
        self.actor_colour = np.zeros((0, 4), np.uint8)
        self.actor_bodies: list[int] = []
        self.casts = 0

    def show(self, scene: Scene) -> None:
        """Make the client hold exactly `scene`."""
        if scene.static is not self.static or self.casts >= MOST_CASTS:
            self._clear()
            with tempfile.TemporaryDirectory(prefix="nanodrive-") as folder:
                self._load(scene.static, Path(folder))
            self.static = scene.static
        self._show_actors(stack([scene.actors, scene.signals]))

    def _clear(self) -> None:
        pybullet.resetSimulation(physicsClientId=self.client)
        pybullet.setPhysicsEngineParameter(enableFileCaching=0, physicsClientId=self.client)
        self.actor_bodies, self.actor_key, self.casts = [], b"", 0

    def _body(self, shape: int, semantic: int, instance: int, position: Array, yaw_rad: float) -> int:
        body = pybullet.createMultiBody(0, -1, shape, position, _turn(yaw_rad), physicsClientId=self.client)
        while body >= len(self.semantic):
            self.semantic = np.concatenate([self.semantic, np.zeros_like(self.semantic)])
            self.instance = np.concatenate([self.instance, np.zeros_like(self.instance)])
            self.glow = np.concatenate([self.glow, np.zeros_like(self.glow)])
        self.semantic[body], self.instance[body], self.glow[body] = semantic, instance, 0
        return body

    def _box(self, boxes: Boxes, row: int) -> int:
        shape = pybullet.createVisualShape(
            pybullet.GEOM_BOX, halfExtents=boxes.size_m[row] / 2, rgbaColor=[*(boxes.colour[row] / 255.0), 1.0],
            specularColor=[0, 0, 0], physicsClientId=self.client)
        body = self._body(shape, int(boxes.semantic[row]), int(boxes.instance[row]), boxes.centre_m[row],
                          float(boxes.yaw_rad[row]))
        self.glow[body] = np.append(boxes.colour[row], 1) * boxes.glow[row]
        return body

    def _mesh(self, path: Path, colour: tuple[int, int, int], scale: tuple[float, float, float] = (1, 1, 1)) -> int:
        return pybullet.createVisualShape(
            pybullet.GEOM_MESH, fileName=str(path), meshScale=scale, rgbaColor=[*(np.array(colour) / 255.0), 1.0],
            specularColor=[0, 0, 0], physicsClientId=self.client)

    def _load(self, static: StaticScene, folder: Path) -> None:
        """Fill the empty client. Meshes go through files: PyBullet never frees those it is given as numbers."""
        for number, patch in enumerate(static.patches):
            path, count = folder / f"patch{number}.obj", len(patch.vertices_m)
            vertices = np.column_stack([patch.vertices_m, np.full(count, patch.height_m)])
            _write_mesh(path, vertices, np.zeros((count, 2)), patch.triangles, (0, 0, 1))
            self._body(self._mesh(path, patch.colour), int(patch.semantic), 0, np.zeros(3), 0.0)
        for row in range(len(static.boxes.yaw_rad)):
            self._box(static.boxes, row)
        for kind in np.unique(static.faces.texture):
            self._load_faces(static, int(kind), folder)

    def _load_faces(self, static: StaticScene, kind: int, folder: Path) -> None:
        """All sign faces with one texture: a board that looks along x, its y to the right of who looks at it."""
        mesh_path, picture_path = folder / f"face{kind}.obj", folder / f"face{kind}.png"
        faces, outline = static.faces, static.outlines[kind]
        board = np.column_stack([np.zeros(len(outline)), outline[:, 0] - 0.5, 0.5 - outline[:, 1]])
        fan = np.arange(len(outline) - 2)[:, None] * [0, 1, 1] + [0, 1, 2]
        is_clockwise = np.cross(board[1] - board[0], board[2] - board[0])[0] < 0
        uvs = np.column_stack([outline[:, 0], 1.0 - outline[:, 1]])
        _write_mesh(mesh_path, board, uvs, fan[:, ::-1] if is_clockwise else fan, (1, 0, 0))
        cv2.imwrite(str(picture_path), static.textures[kind][..., ::-1])
        texture = pybullet.loadTexture(str(picture_path), physicsClientId=self.client)
        for row in np.flatnonzero(faces.texture == kind):
            yaw = float(faces.yaw_rad[row])
            shape = self._mesh(mesh_path, (255, 255, 255), (1.0, *faces.size_m[row]))
            body = self._body(shape, int(faces.semantic[row]), int(faces.instance[row]), faces.centre_m[row], yaw)
            pybullet.changeVisualShape(body, -1, textureUniqueId=texture, physicsClientId=self.client)

    def _show_actors(self, boxes: Boxes) -> None:
        key = boxes.size_m.tobytes() + boxes.instance.tobytes()
        colour = np.column_stack([boxes.colour, boxes.glow])
        if key != self.actor_key:
            for body in self.actor_bodies:
                pybullet.removeBody(body, physicsClientId=self.client)
            self.actor_bodies = [self._box(boxes, row) for row in range(len(boxes.yaw_rad))]
            self.actor_key, self.casts, self.actor_colour = key, self.casts + 1, np.zeros_like(colour)
        for row in np.flatnonzero(np.any(colour != self.actor_colour, axis=1)):
            body = self.actor_bodies[row]
            self.glow[body] = colour[row] * boxes.glow[row]
            pybullet.changeVisualShape(body, -1, rgbaColor=[*(boxes.colour[row] / 255.0), 1.0],
                                       physicsClientId=self.client)
        self.actor_colour = colour
        for body, centre, yaw in zip(self.actor_bodies, boxes.centre_m, boxes.yaw_rad, strict=True):
            pybullet.resetBasePositionAndOrientation(body, centre, _turn(yaw), physicsClientId=self.client)


class BulletRenderer:
    """Frames through TinyRenderer, byte for byte the same for the same scene and pose."""

    def __init__(self, camera: CameraConfig) -> None:
        self.camera = camera
        self.client = pybullet.connect(pybullet.DIRECT)
        self.stage = _Stage(self.client)
        self.backdrop: Backdrop | None = None
        width, height = camera.width_px, camera.height_px
        vertical = 2 * math.degrees(math.atan(height / 2 / camera.focal_px))
        self.projection = list(pybullet.computeProjectionMatrixFOV(vertical, width / height, NEAR_M, FAR_M))
        self.projection[8] += 1 / width  # TinyRenderer samples pixels at their lower left corners:
        self.projection[9] += 1 / height  # move the picture by half a pixel, so that it is sampled at their centres

    def render(self, scene: Scene, pose: CameraPose) -> Frame:
        """The frame seen from `pose`."""
        self.stage.show(scene)
        position, down, forward = pose.position_m, pose.rotation[1], pose.rotation[2]
        view = pybullet.computeViewMatrix(position, position + forward, -down)
        light = scene.light
        _, _, rgb, buffer, body = pybullet.getCameraImage(
            self.camera.width_px, self.camera.height_px, view, self.projection, lightDirection=light.sun,
            lightColor=[1, 1, 1], lightDistance=100.0, shadow=0, lightAmbientCoeff=light.ambient,
            lightDiffuseCoeff=1.0 - light.ambient, lightSpecularCoeff=0.0, renderer=pybullet.ER_TINY_RENDERER,
            flags=pybullet.ER_SEGMENTATION_MASK_OBJECT_AND_LINKINDEX, physicsClientId=self.client)
        return self._compose(rgb, buffer, body, scene, pose)

    def _compose(self, drawn: Array, buffer: Array, body: Array, scene: Scene, pose: CameraPose) -> Frame:
        """TinyRenderer's picture over the backdrop, with the grain of the ground."""
        if self.backdrop is None or not self.backdrop.fits(pose):
            self.backdrop = Backdrop(self.camera, pose)
            self.weather = WeatherPass(self.backdrop)
        back, first = self.backdrop, self.backdrop.first
        rgb, class_id, inverse_depth = back.sky(scene.light, pose), back.class_id.copy(), back.inverse_depth.copy()
        row, column = np.nonzero(body >= 0)
        which = body[row, column] & 0xFFFFFF
        lit = self.stage.glow[which]
        rgb[row, column] = np.where(lit[:, 3:] > 0, lit[:, :3], drawn[row, column, :3])
        class_id[row, column] = self.stage.semantic[which]
        instance_id = np.zeros(body.shape, np.uint16)
        instance_id[row, column] = self.stage.instance[which]
        mark = np.zeros_like(class_id)
        mark[row, column] = GLOW_MARK * lit[:, 3]
        grain = 1 + back.strength[class_id[first:]] * back.grain(pose)
        rgb[first:] = np.minimum(rgb[first:] * grain[..., None] + np.float32(0.5), 255)
        # The depth buffer is (1 + z_ndc) / 2, and 1 / depth is linear in it. Layers of the ground count as z = 0.
        row, column = np.nonzero(class_id > SemanticClass.KERB)
        inverse_depth[row, column] = 1 / NEAR_M - buffer[row, column].astype(np.float64) * (1 / NEAR_M - 1 / FAR_M)
        rgb = self.weather.finish(rgb, class_id + mark, inverse_depth, scene, pose)
        with np.errstate(divide="ignore"):
            return Frame(rgb, class_id, instance_id, 1 / inverse_depth)

    def close(self) -> None:
        """Disconnect from PyBullet; a second call does nothing."""
        if self.client >= 0:
            with contextlib.suppress(pybullet.error):
                pybullet.disconnect(self.client)
            self.client = -1


class BulletWindow:
    """PyBullet's own window, looking over the ego car's roof. Raises DisplayError where there is no display."""

    def __init__(self) -> None:
        if not os.environ.get("DISPLAY"):
            raise DisplayError("no display to open a window on; set DISPLAY, or use render_mode rgb_array")
        self.client = pybullet.connect(pybullet.GUI)
        if self.client < 0:
            raise DisplayError("PyBullet could not open its window; use render_mode rgb_array or replay to MP4")
        pybullet.configureDebugVisualizer(pybullet.COV_ENABLE_GUI, 0, physicsClientId=self.client)
        self.stage = _Stage(self.client)

    def show(self, scene: Scene, ego: VehicleState) -> None:
        """Draw one instant."""
        self.stage.show(scene)
        pybullet.resetDebugVisualizerCamera(0.1, math.degrees(ego.yaw_rad) - 90.0, -8.0, (ego.x_m, ego.y_m, 1.8),
                                            physicsClientId=self.client)

    def close(self) -> None:
        """Close the window; a second call does nothing."""
        if self.client >= 0:
            with contextlib.suppress(pybullet.error):
                pybullet.disconnect(self.client)
            self.client = -1
