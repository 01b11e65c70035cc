"""Pictures of any camera: the way ahead lies between lines, metres follow from the camera, drawings show both."""

import json
import math

import cv2
import numpy as np
import pytest

from perception import show, sight
from perception.lampcrops import STATES, draw_crop
from perception.photos import View
from perception.roadfit import Curve
from perception.roadscapes import COLUMNS, ROWS
from perception.scout import Found
from perception.show import PerceiveConfig
from perception.sight import LINE_RGB, PATH_RGB, PhotoEyes

HORIZON = 0.4
NO_ROAD = np.zeros((ROWS, COLUMNS), np.float32)


def motorway(width=1280, height=720):
    """A straight road of three lanes of 3.6 m seen by a level camera of 60 degrees, 1.4 m above the middle lane."""
    focal, v0 = width / 2 / math.tan(math.radians(30)), HORIZON * height
    v, u = np.mgrid[0:height, 0:width] + 0.5
    ahead = np.where(v > v0, focal * 1.4 / np.maximum(v - v0, 0.5), 1e6)
    aside = (u - width / 2) / focal * ahead
    picture = np.where((v < v0)[..., None], np.array([150, 190, 240]), np.array([70, 110, 50]))
    picture[(np.abs(aside) < 6.5) & (v > v0)] = (105, 105, 108)
    for line, is_dashed in ((-5.4, False), (-1.8, True), (1.8, True), (5.4, False)):
        is_paint = (np.abs(aside - line) < 0.12) & (v > v0) & ((not is_dashed) | (ahead % 9 < 4.5))
        picture[is_paint] = (235, 235, 235)
    noise = np.random.default_rng(0).normal(0, 4, picture.shape)
    return (picture + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def eyes():
    return PhotoEyes()


def test_the_way_ahead_leads_down_the_middle_lane(eyes):
    seen = eyes.look(motorway(), View(fov_deg=60.0, horizon=HORIZON))
    near = (seen.path_m[:, 0] > 5) & (seen.path_m[:, 0] < 30)
    assert near.sum() > 5
    off_m = float(np.abs(seen.path_m[near, 1]).max())
    assert off_m < 0.5  # of a lane of 3.6 m
    assert len(seen.lines_px) >= 2 and seen.horizon == HORIZON
    assert 0.3 < (seen.road > 0.5).mean() < 0.6


@pytest.mark.parametrize(("lines", "middle_m"), [([-1.5, 2.5], 0.5), ([-1.5], 0.25), ([2.0], 0.25)])
def test_the_path_keeps_to_the_middle_of_two_lines_or_beside_one(lines, middle_m):
    """On square cells of a camera 1.4 m high; a line at `m` metres to the right leans by m / 1.4 columns a row."""
    curves = [Curve(m / 1.4, COLUMNS / 2, 0.0, 2.0, 0.9) for m in lines]
    path = sight._path(curves, NO_ROAD, HORIZON, 1 / 1.4)
    below = path[:, 1] - HORIZON * ROWS
    np.testing.assert_allclose((path[:, 0] - COLUMNS / 2) / below * 1.4, middle_m, atol=1e-9)


def test_without_lines_the_path_follows_the_road_and_without_road_there_is_none():
    assert sight._path([], NO_ROAD, HORIZON, 1.0).shape == (0, 2)
    road = NO_ROAD.copy()
    for row in range(24, ROWS):
        road[row, 30 + (ROWS - row) // 2:51 + (ROWS - row) // 2] = 1.0  # leads to the right
    path = sight._path([], road, HORIZON, 1.0)
    np.testing.assert_allclose(path[:, 0], 40.5 + (ROWS - path[:, 1]) / 2, atol=0.6)


@pytest.mark.parametrize("fov_deg", [40.0, 60.0, 100.0])
def test_metres_follow_from_the_cameras_view(fov_deg):
    focal = 500 / math.tan(math.radians(fov_deg) / 2)
    ahead, left = 12.0, -1.5
    pixel = np.array([[500 - focal * left / ahead, 300 + focal * 1.4 / ahead]])
    np.testing.assert_allclose(sight._on_ground(pixel, 300.0, 1000, fov_deg), [[ahead, left]])


@pytest.mark.slow
def test_what_is_seen_is_drawn_and_told(tmp_path):
    cv2.imwrite(str(tmp_path / "road.png"), motorway()[..., ::-1])
    small = cv2.resize(motorway(), (400, 225))
    cv2.imwrite(str(tmp_path / "small.jpg"), small[..., ::-1])
    result = show.run(PerceiveConfig(paths=(tmp_path,), out=tmp_path / "out", fov_deg=60.0, horizon=HORIZON))
    assert result["files"] == 2
    rows = json.loads((tmp_path / "out" / "percepts.json").read_text())
    assert [row["seen_by"] for row in rows] == ["photo networks"] * 2
    shown = cv2.imread(str(tmp_path / "out" / "road.png"), cv2.IMREAD_COLOR_RGB)
    assert shown.shape == (720, 1280, 3) and cv2.imread(str(tmp_path / "out" / "small.png")).shape == (540, 960, 3)
    for points, colour in ((rows[0]["path_px"], PATH_RGB), (rows[0]["lines"][1]["points_px"], LINE_RGB)):
        u, v = (round(x) for x in points[8])
        unlike = int(np.abs(shown[v - 2:v + 3, u - 2:u + 3].astype(int) - colour).sum(-1).min())
        assert unlike < 40


@pytest.mark.slow
def test_pictures_of_the_cameras_own_view_are_for_the_camera_network(tmp_path):
    frame = np.full((160, 320, 3), 90, np.uint8)
    cv2.imwrite(str(tmp_path / "own.png"), frame)
    for more, seen_by in (({}, "camera network"), ({"horizon": 0.5}, "photo networks")):
        show.run(PerceiveConfig(paths=(tmp_path / "own.png",), out=tmp_path / "out", **more))
        assert json.loads((tmp_path / "out" / "percepts.json").read_text())[0]["seen_by"] == seen_by


def drawn_head(state):
    """A cut-out of a light that shows a state, 30 to 80 px high."""
    heads = (draw_crop(np.random.default_rng(seed)) for seed in range(1000))
    return next(crop for crop, shows in heads if shows == STATES.index(state) and 30 < crop.shape[0] < 80
                and crop.shape[0] > 1.5 * crop.shape[1])


def test_lights_that_are_on_are_told_above_the_horizon_only(eyes):
    picture = np.full((400, 600, 3), 120, np.uint8)
    boxes = []
    for state, left, top in (("red", 40, 30), ("green", 200, 40), ("off", 350, 30), ("red", 480, 300)):
        crop = drawn_head(state)
        height, width = crop.shape[:2]
        picture[top:top + height, left:left + width] = crop
        boxes.append((left, top, left + width, top + height))
    found = Found(np.array(boxes, np.float32), np.array([0.5, 0.9, 0.8, 0.9], np.float32))
    lights, state = eyes._lit(picture, found, 200.0)
    assert [STATES[k] for k in state] == ["green", "red"]  # best first; neither the dark one nor the one below
    np.testing.assert_array_equal(lights.box_px, found.box_px[[1, 0]])
    assert (lights.score <= [0.9, 0.5]).all() and (lights.score > [0.6, 0.3]).all()


@pytest.mark.parametrize("horizon", [0.0, 0.02, 0.98, 1.0])
def test_a_horizon_at_the_pictures_edge_breaks_nothing(eyes, horizon):
    seen = eyes.look(motorway(320, 180), View(horizon=horizon))
    assert np.isfinite(seen.path_px).all() and np.isfinite(seen.path_m).all()
    json.dumps(sight.plain(seen), allow_nan=False)


@pytest.mark.parametrize("shape", [(40, 50), (31, 700), (600, 33)])
def test_pictures_of_any_size_are_taken(eyes, shape):
    picture = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    seen = eyes.look(picture, View())
    assert sight.drawn(picture, seen).shape[1] == 960
    json.dumps(sight.plain(seen))
