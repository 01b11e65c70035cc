"""CONTRIBUTING.md's promise: a new sign is one row and one function, and then it stands in towns and is drawn."""

import numpy as np
import pytest

from envs import faces, pictograms, signs, sites
from envs.config import CameraConfig
from envs.labels import face_outline
from envs.plate import BLACK, Plate
from envs.render.camera import RENDERERS, pose_of
from envs.render.scene import INSTANCE_SIGN, SemanticClass, build_scene
from envs.roads.network import RoadNetwork
from envs.signs import SIGN_INDEX, Duty, Order, Sign, face, outline_of, place_signs
from envs.state import SignPosts, Town
from tests import straight_road
from tests.straight_road import network


def falling_rocks(plate: Plate, is_new: bool) -> None:
    """A slope on the left, from which stones fall (Zeichen 101-15)."""
    plate.fill(BLACK, [(0.28, 0.80), (0.28, 0.66), (0.44, 0.50), (0.47, 0.62), (0.56, 0.80)])
    for x, y in ((0.55, 0.58), (0.60, 0.68), (0.66, 0.76)):
        plate.disc(BLACK, x, y, 0.025)


ROW = Sign("falling_rocks", 43, "falling rocks", Order(Duty.WARNING), faces.warning(falling_rocks),
           signs.SIGNS[SIGN_INDEX["caution"]].outline, 0.9, sites.town_junction)


@pytest.fixture
def number(monkeypatch):
    """The table with one row more; returns the row's number."""
    monkeypatch.setattr(signs, "SIGNS", (*signs.SIGNS, ROW))
    yield len(signs.SIGNS) - 1
    for kept in (signs._kept_face, signs._kept_paint, signs.outline_of):
        kept.cache_clear()


def placed(road: RoadNetwork) -> tuple[SignPosts, Town]:
    posts = place_signs(road, np.random.default_rng(1))
    town = straight_road.town()
    return posts, Town(0, road, posts, town.props)


def test_new_sign_has_a_face_of_its_own(number):
    new, others = face(number).astype(int), [face(row).astype(int) for row in range(number)]
    assert min(np.abs(new - other).mean() for other in others) > 2.0
    assert outline_of(number, 1)[1] >= 0.9


def test_new_sign_is_placed_and_drawn(number):
    """It stands where its rule says, 54 m before the junction, and the camera sees it from 12 m before."""
    posts, town = placed(network())
    rows = np.flatnonzero((posts.sign == number) & (posts.lane == 0))
    assert len(rows) == 1 and posts.station_m[rows[0]] == pytest.approx(150.0 - 54.0, abs=20.0)
    row, camera = int(rows[0]), CameraConfig()
    state = straight_road.state(float(posts.station_m[row]) - 12.0, place=town)
    pose = pose_of(camera, state.ego)
    frame = RENDERERS["raster"](camera).render(build_scene(state), pose)
    seen = frame.instance_id == INSTANCE_SIGN + row
    assert seen.sum() > 40 and (frame.class_id[seen] == SemanticClass.SIGN).all()
    assert face_outline(town, row)[:, 2].mean() == pytest.approx(posts.centre_height_m[row], abs=0.3)


def test_the_guide_shows_the_same_function():
    """The example in CONTRIBUTING.md is the one tested here, letter by letter."""
    import inspect
    from pathlib import Path
    guide = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert inspect.getsource(falling_rocks) in guide
    assert not hasattr(pictograms, "falling_rocks")
