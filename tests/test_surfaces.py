"""Worn roads: a share of towns stays plain, what is added lies on the road, faces up and keeps the classes right."""

import dataclasses
import itertools
from collections import Counter

import numpy as np
import pytest

from envs.config import CameraConfig
from envs.render.camera import RENDERERS, pose_of
from envs.render.paving import PAINT_HEIGHT_M, SemanticClass, patches
from envs.render.scene import build_scene
from envs.render.surfaces import FEATURES, LOOKS, PAINTED, look_of, worn
from envs.roads.procedural import build_town
from envs.state import VehicleState
from tests import straight_road
from tests.test_renderers import compare
from tests.test_scene import areas


def town_with(look: str):
    return build_town(next(seed for seed in itertools.count(30) if look_of(seed) == look))


def test_a_share_of_towns_stays_plain_and_every_look_is_seen():
    seen = Counter(look_of(seed) for seed in range(2000))
    total = sum(look.share for look in LOOKS.values())
    for name, look in LOOKS.items():
        assert seen[name] / 2000 == pytest.approx(look.share / total, abs=0.035), name
    assert seen["plain"] > 600


def test_every_feature_is_used_and_known():
    used = {name for look in LOOKS.values() for name, _ in look.per_km}
    assert used == set(FEATURES)


def test_a_plain_towns_patches_are_those_of_its_network():
    town = town_with("plain")
    ground = patches(town.network)
    assert worn(ground, town) is ground


@pytest.mark.parametrize("look", [name for name in LOOKS if name != "plain"])
def test_what_is_added_lies_on_the_road_and_faces_the_sky(look):
    town = town_with(look)
    ground = patches(town.network)
    aged = worn(ground, town)
    added = aged[len(ground):]
    assert added
    for before, after in zip(ground, aged, strict=False):
        assert after.vertices_m is before.vertices_m and after.semantic == before.semantic
    for patch in added:
        assert (areas(patch) > 0).mean() > 0.99
        assert patch.semantic in (SemanticClass.ROAD, SemanticClass.MARKING)
        assert (0.0 < patch.height_m < PAINT_HEIGHT_M) == (patch.semantic == SemanticClass.ROAD)
        inside = town.network.distance_to_road(patch.vertices_m)
        assert (inside < 0.05).all()
    assert sum(len(patch.triangles) for patch in aged) < 2.2 * sum(len(patch.triangles) for patch in ground)


@pytest.mark.parametrize("look", LOOKS)
def test_paint_stays_brighter_than_what_it_is_painted_on(look):
    aged = worn(patches(town_with(look).network), town_with(look))
    road = max(max(patch.colour) for patch in aged if patch.semantic == SemanticClass.ROAD)
    assert min(patch.colour[0] for patch in aged if patch.semantic in PAINTED) > 1.35 * road


def test_the_same_town_always_wears_the_same():
    first, again = (worn(patches(town.network), town) for town in (build_town(35), build_town(35)))
    for a, b in zip(first, again, strict=True):
        assert a.vertices_m.tobytes() == b.vertices_m.tobytes() and a.colour == b.colour


def test_trees_throw_no_shadow_without_the_sun():
    town = town_with("shaded")
    ground = patches(town.network)
    assert len(worn(ground, town)) == len(worn(ground, town, is_sunny=False)) + 1


@pytest.mark.parametrize("look", ["worn", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in (
    "mended", "concrete", "dotted", "roadworks"))])
def test_both_renderers_agree_on_worn_roads(look):
    town, camera = town_with(look), CameraConfig(width_px=160, height_px=80)
    lane = max((lane for lane in town.network.lanes if lane.junction is None), key=lambda lane: lane.length_m)
    middle = len(lane.centre_m) // 2
    (x, y), ahead = lane.centre_m[middle], lane.centre_m[middle + 1] - lane.centre_m[middle]
    ego = VehicleState(float(x), float(y), float(np.arctan2(ahead[1], ahead[0])))
    state = dataclasses.replace(straight_road.state(0.0), town=town, ego=ego)
    frames = []
    for name in ("bullet", "raster"):
        renderer = RENDERERS[name](camera)
        frames.append(renderer.render(build_scene(state), pose_of(camera, ego)))
        renderer.close()
    one = compare(*frames)
    assert one.classes >= 0.98 and one.depth >= 0.999 and one.colour < 2.0, one
