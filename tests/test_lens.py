"""The lens: each filter does what its number says, the same for the same moment, and nothing where it is 0."""

import dataclasses

import numpy as np
import pytest

from envs.config import CameraConfig
from envs.render.camera import pose_of
from envs.render.daylight import Light
from envs.render.lens import WIPE_STEPS, look_through
from envs.render.paving import SemanticClass
from envs.state import VehicleState
from envs.weather import Weather

CAMERA = CameraConfig()
GREY = np.full((160, 320, 3), 100, np.uint8)
SKY = np.full((160, 320), SemanticClass.SKY, np.uint8)
RAMP = np.repeat(np.tile(np.arange(320) % 64 * 3, (160, 1)).astype(np.uint8)[..., None], 3, axis=2)


def through(picture: np.ndarray, step: int = 0, x_m: float = 0.0, light: Light | None = None,
            class_id: np.ndarray = SKY, **weather: float) -> np.ndarray:
    light = dataclasses.replace(light or Light(), weather=Weather(**weather))
    pose = pose_of(CAMERA, VehicleState(x_m, 0.0, 0.0))
    return look_through(picture.copy(), class_id, light, CAMERA, pose, step).astype(int)


def test_a_clean_lens_changes_nothing():
    np.testing.assert_array_equal(through(RAMP), RAMP)


@pytest.mark.parametrize("name,value", [("rain_mmph", 10.0), ("lens_drops", 0.1), ("lens_dirt", 0.1),
                                        ("blur_rad", 0.01), ("vibration_rad", 0.01), ("exposure_ev", 0.5),
                                        ("noise", 0.02)])
def test_each_filter_acts_and_is_the_same_for_the_same_moment(name, value):
    first = through(RAMP, step=5, **{name: value})
    np.testing.assert_array_equal(through(RAMP, step=5, **{name: value}), first)
    assert (first != RAMP).any()
    assert first.shape == RAMP.shape


@pytest.mark.parametrize("name,value", [("rain_mmph", 10.0), ("noise", 0.02), ("vibration_rad", 0.01)])
def test_chance_differs_from_step_to_step_and_from_place_to_place(name, value):
    seen = [through(RAMP, **{name: value}, **where) for where in ({}, {"step": 1}, {"x_m": 3.0})]
    assert (seen[0] != seen[1]).any() and (seen[0] != seen[2]).any()


@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_noise_has_the_deviation_that_is_asked_for_and_no_bias(noise):
    gap = through(GREY, noise=noise) - 100
    assert gap.std() == pytest.approx(255 * noise, rel=0.12)
    assert abs(gap.mean()) < 0.15


def test_a_stop_doubles_the_light():
    assert (through(GREY, exposure_ev=1.0) == 200).all() and (through(GREY, exposure_ev=-1.0) == 50).all()


def test_blur_spreads_a_point_by_its_angle():
    point = np.zeros_like(GREY)
    point[80, 160] = 255
    image = through(point, blur_rad=0.01)[..., 0].astype(float)
    x = np.arange(320) - 160
    spread = np.sqrt((image.sum(axis=0) @ x**2) / image.sum())
    assert spread == pytest.approx(0.01 * CAMERA.focal_px, rel=0.15)


def test_more_dirt_hides_more_of_the_contrast():
    spread = [through(RAMP, lens_dirt=share).std() for share in (0.0, 0.15, 0.4)]
    assert spread[0] > spread[1] > spread[2]


def test_drops_gather_until_the_wiper_comes():
    changed = [(through(RAMP, step=step, lens_drops=0.15) != RAMP).mean() for step in (0, WIPE_STEPS - 1)]
    assert 0.01 < changed[0] < 0.5 * changed[1] < 0.2


def test_a_low_sun_ahead_dazzles_and_one_behind_or_hidden_does_not():
    """Veiling light falls with the angle from the sun; contrast falls with it."""
    ahead = Light(sun=(np.cos(0.1), 0.0, np.sin(0.1)))
    seen = through(RAMP, light=ahead, glare=0.8)
    sun_row = 80 - int(CAMERA.focal_px * np.tan(0.1))
    veil = (seen - RAMP)[sun_row, :, 2]
    assert seen[sun_row, 155:165].min() > 150
    assert veil[160] > veil[200] > veil[310]
    bars = GREY.copy()
    bars[:, ::2] = 40
    left = through(bars, light=ahead, glare=0.8)[120, 200:300, 0]
    assert np.abs(np.diff(left)).mean() < 0.8 * 60, "bars of 40 and 100 are less apart"
    behind = Light(sun=(-np.cos(0.1), 0.0, np.sin(0.1)))
    np.testing.assert_array_equal(through(RAMP, light=behind, glare=0.8), RAMP)
    house = np.full_like(SKY, SemanticClass.BUILDING)
    np.testing.assert_array_equal(through(RAMP, light=ahead, glare=0.8, class_id=house), RAMP)


def test_a_lamp_in_the_dark_has_a_halo():
    night = np.zeros_like(GREY)
    night[70:73, 150:156] = 255
    seen = through(night, glare=0.3, darkness=0.9)
    assert seen[71, 161].max() > 5 > seen[71, 200].max()
    np.testing.assert_array_equal(through(night, light=Light(sun=(-1.0, 0.0, 0.1)), glare=0.3), night)


def test_shaking_moves_the_picture_by_less_than_its_angle():
    """A bright column stays within 0.01 rad of its place, and the picture's edges are filled."""
    bar = np.zeros_like(GREY)
    bar[:, 150] = 240
    places = []
    for step in range(12):
        seen = through(bar, step=step, vibration_rad=0.01)[80, :, 0].astype(float)
        places.append(float(seen @ np.arange(320) / seen.sum()) - 150)
        assert seen.sum() == pytest.approx(240, abs=4)
    assert np.std(places) > 0.5 and np.abs(places).max() <= 0.01 * CAMERA.focal_px + 0.1
    assert (through(GREY, vibration_rad=0.01) == 100).all()
