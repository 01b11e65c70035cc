"""Weather over finished pictures: both renderers agree in it, labels stay, and light obeys simple physics."""

import dataclasses
import hashlib
import itertools

import numpy as np
import pytest

from envs.config import CameraConfig
from envs.render.camera import RENDERERS, Frame, pose_of
from envs.render.scene import Scene, SemanticClass, build_scene, static_scene
from envs.roads.procedural import build_town
from envs.state import VehicleState, WorldState
from envs.weather import CLEAR, WEATHERS, Weather, weather_of
from tests import straight_road
from tests.test_renderers import CAMERA, DRAWING, car, compare, digest, in_town

ROAD = (SemanticClass.ROAD, SemanticClass.MARKING, SemanticClass.STOP_LINE)


def state_in(weather: Weather, x_m: float = 20.0, seed: int | None = None) -> WorldState:
    state = straight_road.state(x_m, actors=car(40.0, -1.75))
    if seed is not None:
        town = build_town(seed)
        lane = next(lane for lane in town.network.lanes if lane.length_m > 60 and lane.speed_limit_mps < 14)
        (x, y), ahead = lane.centre_m[4], lane.centre_m[5] - lane.centre_m[4]
        ego = VehicleState(float(x), float(y), float(np.arctan2(ahead[1], ahead[0])))
        state = dataclasses.replace(state, town=town, ego=ego)
    return dataclasses.replace(state, weather=weather)


def drawn(weather: Weather, name: str = "raster", **where: float) -> Frame:
    state = state_in(weather, **where)
    renderer = RENDERERS[name](CameraConfig())
    frame = renderer.render(build_scene(state), pose_of(CameraConfig(), state.ego))
    renderer.close()
    return frame


def brightness(frame: Frame, *kinds: SemanticClass) -> float:
    return float(frame.rgb[np.isin(frame.class_id, kinds)].mean())


@pytest.fixture(scope="module")
def cameras():
    cameras = [RENDERERS[one](CAMERA) for one in DRAWING]
    yield cameras
    for camera in cameras:
        camera.close()


@pytest.mark.parametrize("name", WEATHERS)
@pytest.mark.parametrize("seeds", [(1,), pytest.param(range(2, 8), marks=pytest.mark.exhaustive)], ids=["one", "more"])
def test_both_renderers_agree_in_every_weather(name, seeds, cameras):
    for seed in seeds:
        scene, ego = in_town(build_town(seed), 5)
        state = dataclasses.replace(state_in(weather_of(name, seed)), town=build_town(seed), ego=ego)
        lit = np.random.default_rng(seed).random(len(scene.actors.yaw_rad)) < 0.2
        scene = dataclasses.replace(build_scene(state), actors=dataclasses.replace(scene.actors, glow=lit))
        one = compare(*(camera.render(scene, pose_of(CAMERA, ego)) for camera in cameras))
        assert one.classes >= 0.98 and one.instances >= 0.99 and one.depth >= 0.999 and one.colour < 2.0, one


@pytest.mark.parametrize("name", WEATHERS)
def test_labels_know_nothing_of_the_weather(name):
    """Class, instance and depth are those of the plain scene with the same things in it; the glow mark is gone."""
    state = state_in(weather_of(name, 4), seed=3)
    scene, pose, renderer = build_scene(state), pose_of(CAMERA, state.ego), RENDERERS["raster"](CAMERA)
    plain = Scene(scene.static, scene.actors, build_scene(dataclasses.replace(state, weather=CLEAR)).light)
    one, other = renderer.render(scene, pose), renderer.render(plain, pose)
    for part in ("class_id", "instance_id", "depth_m"):
        np.testing.assert_array_equal(getattr(one, part), getattr(other, part))
    assert one.class_id.max() <= max(SemanticClass)


@pytest.mark.parametrize("renderer", DRAWING)
def test_clear_weather_changes_nothing(renderer):
    """The default state's picture, and the one of a scene that knows of no weather at all."""
    state = state_in(CLEAR, seed=2)
    scene = build_scene(state)
    assert scene.street_light is None and scene.static is static_scene(state.town)
    assert scene.light.day == (1.0, 1.0, 1.0) and not scene.static.boxes.glow.any()
    camera = RENDERERS[renderer](CAMERA)
    frames = [camera.render(one, pose_of(CAMERA, state.ego)) for one in (
        scene, dataclasses.replace(scene, step=77), build_scene(dataclasses.replace(state, weather=Weather())))]
    camera.close()
    assert len({digest(frame) for frame in frames}) == 1


def test_the_same_moment_gives_the_same_bytes():
    for name in WEATHERS:
        frames = [drawn(weather_of(name, 1), seed=2) for _ in range(2)]
        assert hashlib.sha256(frames[0].rgb).digest() == hashlib.sha256(frames[1].rgb).digest(), name


def test_thicker_fog_leaves_less_contrast():
    spread = [float(drawn(Weather(visibility_m=metres)).rgb[60:110].std()) for metres in (2000, 400, 120, 50)]
    assert all(a > b for a, b in itertools.pairwise(spread)), spread


def test_a_darker_day_is_darker_everywhere():
    seen = [drawn(Weather(darkness=share, cloud_cover=1.0)) for share in (0.0, 0.3, 0.6)]
    for kind in (SemanticClass.ROAD, SemanticClass.TERRAIN, SemanticClass.SKY):
        values = [brightness(frame, kind) for frame in seen]
        assert values[0] > values[1] > values[2], kind
    road = [brightness(frame, SemanticClass.ROAD) for frame in seen]
    assert road[2] / road[0] == pytest.approx(0.4, abs=0.03), "light scales with the share that is left"


NIGHT = Weather(sun_elevation_max_rad=-0.3, darkness=0.95)


def test_headlights_light_the_road_ahead_and_less_far_away():
    dark, lit = drawn(NIGHT), drawn(dataclasses.replace(NIGHT, headlights=1.0))
    gain = (lit.rgb.astype(float) - dark.rgb).mean(axis=2)
    rows = [gain[row, 140:180][np.isin(lit.class_id[row, 140:180], ROAD)].mean() for row in (150, 110, 96, 88)]
    assert rows[0] > 15 and rows[0] > rows[1] > rows[2] > rows[3]
    assert gain[lit.class_id == SemanticClass.SKY].max() <= 0
    assert gain[140, 150:170].mean() > 2 * gain[140, :10].mean(), "the beam is narrow"


def test_signs_throw_the_beam_back():
    """A sign ahead outshines a wall by far: retro-reflective sheets."""
    town = build_town(1)
    x, y, yaw = town.signs.pose[0]
    ego = VehicleState(x + 20 * np.cos(yaw), y + 20 * np.sin(yaw), yaw + np.pi)
    weather = dataclasses.replace(NIGHT, headlights=1.0)
    state = dataclasses.replace(state_in(weather), town=town, ego=ego)
    camera = RENDERERS["raster"](CameraConfig())
    frame = camera.render(build_scene(state), pose_of(CameraConfig(), ego))
    assert brightness(frame, SemanticClass.SIGN) > 4 * brightness(frame, SemanticClass.VEGETATION,
                                                                 SemanticClass.BUILDING)


def test_street_lamps_make_pools_of_light():
    """Along the road the brightness rises and falls with the lamps, which it does not without."""
    lamps, none = (drawn(dataclasses.replace(NIGHT, street_lamps=share), seed=0) for share in (0.8, 0.0))
    road = lamps.class_id == SemanticClass.ROAD
    assert lamps.rgb[road].mean() > 1.5 * none.rgb[road & (none.class_id == SemanticClass.ROAD)].mean()
    warm = lamps.rgb[road].mean(axis=0)
    assert warm[0] > 1.1 * warm[2], "lamps of 3000 K"


def test_what_glows_shines_in_the_dark():
    static = build_scene(state_in(dataclasses.replace(NIGHT, street_lamps=0.5, lit_windows=0.5), seed=0)).static
    assert static.boxes.glow.sum() > 60
    lit, dark = (drawn(dataclasses.replace(NIGHT, lit_windows=share), seed=0) for share in (1.0, 0.0))
    house = lit.class_id == SemanticClass.BUILDING
    assert lit.rgb[house].max() > 150 > 4 * dark.rgb[house].max()


def test_a_wet_road_mirrors_the_sky_far_away_and_is_dark_close_by():
    dry, wet = (drawn(Weather(cloud_cover=1.0, wetness=share)) for share in (0.0, 1.0))
    road = (dry.class_id == SemanticClass.ROAD) & (dry.instance_id == 0)
    near, far = road.copy(), road.copy()
    near[:140], far[:84], far[88:] = False, False, False
    assert wet.rgb[near].mean() < 0.8 * dry.rgb[near].mean()
    assert wet.rgb[far].mean() > 1.1 * dry.rgb[far].mean()
    sky = dry.class_id == SemanticClass.SKY
    np.testing.assert_array_equal(wet.rgb[sky], dry.rgb[sky])


def test_a_wet_road_shows_the_car_that_stands_on_it():
    """Below a red car's foot the wet road is redder than beside it."""
    red = car(34.0, -1.75)
    red = dataclasses.replace(red, colour=np.array([[230, 10, 10]], np.uint8))
    state = dataclasses.replace(state_in(Weather(cloud_cover=1.0, wetness=1.0)), actors=red)
    camera = RENDERERS["raster"](CameraConfig())
    frame = camera.render(build_scene(state), pose_of(CameraConfig(), state.ego))
    rows, columns = np.nonzero(frame.class_id == SemanticClass.VEHICLE)
    foot, middle = rows.max() + 1, int(columns.mean())
    below = frame.rgb[foot + 6:foot + 16, middle - 5:middle + 5].reshape(-1, 3).mean(axis=0)
    beside = frame.rgb[foot + 6:foot + 16, middle + 30:middle + 40].reshape(-1, 3).mean(axis=0)
    assert below[0] - below[2] > 6 + beside[0] - beside[2]
