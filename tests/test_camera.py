"""The pinhole camera: where known points fall, and what a pixel means."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.config import CameraConfig, ConfigError
from envs.render.camera import RENDERERS, CameraPose, pose_of, project_points
from envs.state import VehicleState

CAMERA = CameraConfig()


def back_project(camera: CameraConfig, pose: CameraPose, seen: np.ndarray) -> np.ndarray:
    """World points of (u, v, depth): the textbook inverse, written apart from the code under test."""
    u, v, depth = seen.T
    local = np.stack([(u - camera.width_px / 2) / camera.focal_px, (v - camera.height_px / 2) / camera.focal_px,
                      np.ones_like(u)]) * depth
    return (pose.rotation.T @ local).T + pose.position_m


@settings(max_examples=60, deadline=None)
@given(x=st.floats(-1e3, 1e3), y=st.floats(-1e3, 1e3), yaw=st.floats(-math.pi, math.pi), pitch=st.floats(-40, 40),
       fov=st.floats(20, 140), seed=st.integers(0, 999))
def test_projection_and_its_inverse_meet(x, y, yaw, pitch, fov, seed):
    camera = CameraConfig(horizontal_fov_deg=fov, pitch_deg=pitch)
    pose = pose_of(camera, VehicleState(x, y, yaw))
    local = np.random.default_rng(seed).uniform([-5, -5, 0.2], [5, 5, 80], (20, 3))
    world = local @ pose.rotation + pose.position_m
    seen = project_points(camera, pose, world)
    np.testing.assert_allclose(seen[:, 2], local[:, 2], atol=1e-9)
    np.testing.assert_allclose(back_project(camera, pose, seen), world, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(yaw=st.floats(-math.pi, math.pi), pitch=st.floats(-40, 40))
def test_rotation_is_a_rotation_without_roll(yaw, pitch):
    rotation = pose_of(CameraConfig(pitch_deg=pitch), VehicleState(0, 0, yaw)).rotation
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    assert rotation[0, 2] == 0, "the image's right stays level"
    assert rotation[1, 2] < 0, "the image's down points down"


def test_points_ahead_left_and_above_fall_where_a_driver_sees_them():
    """Car at (10, 20) facing north: the camera is 1.6 m ahead of the axle, 1.4 m high."""
    pose = pose_of(CAMERA, VehicleState(10, 20, math.pi / 2))
    np.testing.assert_allclose(pose.position_m, [10, 21.6, 1.4])
    focal = 160 / math.tan(math.radians(40))
    ahead, left, above, ground = project_points(CAMERA, pose, [
        [10, 31.6, 1.4], [8, 31.6, 1.4], [10, 31.6, 3.4], [10, 31.6, 0]])
    np.testing.assert_allclose(ahead, [160, 80, 10])
    np.testing.assert_allclose(left, [160 - 0.2 * focal, 80, 10])
    np.testing.assert_allclose(above, [160, 80 - 0.2 * focal, 10])
    np.testing.assert_allclose(ground, [160, 80 + 0.14 * focal, 10])


def test_field_of_view_ends_at_the_image_edge():
    pose = pose_of(CAMERA, VehicleState(0, 0, 0))
    edge = math.tan(math.radians(40)) * 10
    u = project_points(CAMERA, pose, [[11.6, edge, 1.4], [11.6, -edge, 1.4]])[:, 0]
    np.testing.assert_allclose(u, [0, 320], atol=1e-9)


def test_positive_pitch_looks_down():
    pose = pose_of(CameraConfig(pitch_deg=10), VehicleState(0, 0, 0))
    v = project_points(CameraConfig(pitch_deg=10), pose, [[100, 0, 1.4]])[0, 1]
    assert v < 80, "the horizon rises in the picture"
    assert v == pytest.approx(80 - CAMERA.focal_px * math.tan(math.radians(10)), abs=1e-6)


def test_what_is_behind_has_no_pixel():
    pose = pose_of(CAMERA, VehicleState(0, 0, 0))
    behind = project_points(CAMERA, pose, [[-10, 0, 1], [1.65, 0, 1]])
    assert np.isnan(behind[:, :2]).all() and behind[0, 2] == pytest.approx(-11.6)


def test_roll_and_pitch_of_the_car_do_not_move_the_camera():
    still = pose_of(CAMERA, VehicleState(1, 2, 0.3))
    braking = pose_of(CAMERA, VehicleState(1, 2, 0.3, roll_rad=0.05, pitch_rad=0.04))
    np.testing.assert_array_equal(still.rotation, braking.rotation)
    np.testing.assert_array_equal(still.position_m, braking.position_m)


def test_projection_keeps_the_shape_of_its_points():
    pose = pose_of(CAMERA, VehicleState(0, 0, 0))
    assert project_points(CAMERA, pose, np.ones((4, 5, 3))).shape == (4, 5, 3)
    assert project_points(CAMERA, pose, np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("field,value", [("width_px", 0), ("height_px", -1), ("width_px", 5000), ("height_m", 0.0),
                                         ("horizontal_fov_deg", 180.0), ("pitch_deg", math.nan)])
def test_cameras_that_cannot_be_built_are_refused_in_one_sentence(field, value):
    with pytest.raises(ConfigError, match=f"camera {field} is {value}; give a value from"):
        CameraConfig(**{field: value})


def test_blind_frames_are_black_and_fit_the_camera():
    camera = CameraConfig(width_px=40, height_px=24)
    frame = RENDERERS["none"](camera).render(None, pose_of(camera, VehicleState(0, 0, 0)))  # it never looks
    assert frame.rgb.shape == (24, 40, 3) and not frame.rgb.any() and np.isinf(frame.depth_m).all()
