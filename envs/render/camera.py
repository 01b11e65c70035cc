"""The pinhole camera, the frame every renderer returns, and the table of renderers.

Camera frame: z forward, x right, y down; pixel (0, 0) is the top-left pixel, its centre at (0.5, 0.5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from envs.config import CameraConfig
from envs.geometry import Array
from envs.render.scene import Scene
from envs.state import VehicleState


@dataclass(frozen=True, eq=False)
class CameraPose:
    """Where a camera is: `rotation` (3, 3) takes world to camera directions, `position_m` (3,) is in the world."""

    position_m: Array
    rotation: Array


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture: rgb uint8 (H, W, 3), class_id uint8 (H, W), instance_id uint16 (H, W), depth_m float32 (H, W).

    Depth is the z coordinate in the camera frame, inf for the sky.
    """

    rgb: Array
    class_id: Array
    instance_id: Array
    depth_m: Array


def pose_of(camera: CameraConfig, ego: VehicleState) -> CameraPose:
    """The front camera's pose. The car's roll and pitch are left out: the mount is taken as stabilised."""
    cos, sin = np.cos(ego.yaw_rad), np.sin(ego.yaw_rad)
    tilt_cos, tilt_sin = np.cos(np.radians(camera.pitch_deg)), np.sin(np.radians(camera.pitch_deg))
    position = np.array([ego.x_m + cos * camera.forward_m, ego.y_m + sin * camera.forward_m, camera.height_m])
    forward = np.array([cos * tilt_cos, sin * tilt_cos, -tilt_sin])
    down = np.array([-cos * tilt_sin, -sin * tilt_sin, -tilt_cos])
    return CameraPose(position, np.stack([np.array([sin, -cos, 0.0]), down, forward]))


def project_points(camera: CameraConfig, pose: CameraPose, points_m: Array) -> Array:
    """World points (..., 3) to (..., 3): u_px, v_px and depth_m; u and v are nan at depths under 0.1 m."""
    local = (np.asarray(points_m, float) - pose.position_m) @ pose.rotation.T
    depth = local[..., 2]
    safe = np.where(depth > 0.1, depth, np.nan)
    return np.stack([camera.width_px / 2 + camera.focal_px * local[..., 0] / safe,
                     camera.height_px / 2 + camera.focal_px * local[..., 1] / safe, depth], axis=-1)


class Renderer(Protocol):
    """Draws scenes. One renderer serves one camera configuration and may keep the static scene between calls."""

    def render(self, scene: Scene, pose: CameraPose) -> Frame:
        """The frame seen from `pose`."""

    def close(self) -> None:
        """Free what the renderer holds."""


def _bullet(camera: CameraConfig) -> Renderer:
    from envs.render.bullet import BulletRenderer

    return BulletRenderer(camera)


def _raster(camera: CameraConfig) -> Renderer:
    from envs.render.raster import RasterRenderer

    return RasterRenderer(camera)


class BlindRenderer:
    """Black frames at no cost: for drivers that do not look at the camera."""

    def __init__(self, camera: CameraConfig) -> None:
        shape = (camera.height_px, camera.width_px)
        self._frame = Frame(np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8), np.zeros(shape, np.uint16),
                            np.full(shape, np.inf, np.float32))

    def render(self, scene: Scene, pose: CameraPose) -> Frame:
        return self._frame

    def close(self) -> None:
        return


RENDERERS: dict[str, Callable[[CameraConfig], Renderer]] = {
    "bullet": _bullet, "raster": _raster, "none": BlindRenderer}
