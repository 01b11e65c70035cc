"""A gliding camera: what it passes moves as its labels say."""

import numpy as np

from envs.config import CameraConfig
from perception.generate import FIELDS
from perception.glides import DT_S, SPEED_MPS, glide

CAMERA = CameraConfig(width_px=160, height_px=80)


def test_a_drive_moves_on_frame_by_frame():
    drive = glide(10_001, "clear", 4, CAMERA)
    assert drive.rgb.shape == (4, 80, 160, 3) and drive.labels.keys() == FIELDS.keys()
    steps = np.linalg.norm(np.diff(drive.labels["pose"][:, :2], axis=0), axis=1)
    np.testing.assert_allclose(steps, SPEED_MPS * DT_S, rtol=0.02)
    assert all((drive.rgb[k] != drive.rgb[k + 1]).mean() > 0.02 for k in range(3))
    assert np.abs(drive.labels["path_m"][:, 0, 1]).max() < 0.2, "in the middle of its lane"


def test_same_drive_same_bytes_and_weather_shows():
    drives = [glide(10_001, weather, 2, CAMERA) for weather in ("rain", "rain", "night")]
    assert np.array_equal(drives[0].rgb, drives[1].rgb)
    assert drives[2].rgb.mean() < 0.7 * drives[0].rgb.mean()
