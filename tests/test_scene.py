"""The one description of what can be seen: complete, flat where flat, shared between frames, right way up."""

import math
from dataclasses import replace

import numpy as np
import pytest

from envs.render.boxes import INSTANCE_ACTOR, INSTANCE_LIGHT, INSTANCE_PROP, INSTANCE_SIGN
from envs.render.markings import DASH_M, GAP_M, LINE_WIDTH_M
from envs.render.paving import Patch, SemanticClass, patches
from envs.render.scene import (
    build_scene,
    light_of,
    static_scene,
)
from envs.roads.network import Command, Control, Crossing, Junction, Lane, Marking, RoadNetwork, Surface
from envs.roads.procedural import build_town
from envs.signs import face, look_of
from tests import straight_road

TOWNS = range(6)


def areas(patch: Patch) -> np.ndarray:
    """Signed area of each triangle [m2]."""
    corner = patch.vertices_m[patch.triangles]
    a, b = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    return (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2


def area_of(scene, semantic: SemanticClass) -> float:
    return sum(float(areas(patch).sum()) for patch in scene.patches if patch.semantic == semantic)


def cover(scene, semantic: SemanticClass, point: tuple[float, float]) -> bool:
    """Whether a patch of a class lies at a world point."""
    for patch in scene.patches:
        if patch.semantic == semantic:
            corner = patch.vertices_m[patch.triangles]
            edge = np.roll(corner, -1, axis=1) - corner
            to = np.asarray(point) - corner
            side = edge[..., 0] * to[..., 1] - edge[..., 1] * to[..., 0]
            if ((side >= 0).all(axis=1) & (areas(patch) > 0)).any():
                return True
    return False


@pytest.mark.parametrize("seed", TOWNS)
def test_paint_lies_over_asphalt_over_kerbs(seed):
    scene = static_scene(build_town(seed))
    heights = {semantic: {patch.height_m for patch in scene.patches if patch.semantic == semantic}
               for semantic in (SemanticClass.KERB, SemanticClass.ROAD, SemanticClass.MARKING)}
    assert min(heights[SemanticClass.KERB]) < min(heights[SemanticClass.ROAD])
    assert max(heights[SemanticClass.KERB]) < min(heights[SemanticClass.MARKING]), "an island's lies on the asphalt"
    assert max(heights[SemanticClass.ROAD]) < min(heights[SemanticClass.MARKING])


@pytest.mark.parametrize("seed", TOWNS)
def test_triangles_face_the_sky_and_road_fills_its_outlines(seed):
    town = build_town(seed)
    scene = static_scene(town)
    for patch in scene.patches:
        signed = areas(patch)
        assert signed[signed < 0].sum() > -0.01 * signed.sum(), patch.semantic
    outlines = 0.0
    for surface in town.network.surfaces:
        x, y = surface.outline_m.T
        outlines += 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))
    new = [patch for patch in patches(town.network) if patch.semantic == SemanticClass.ROAD]
    assert sum(float(areas(patch).sum()) for patch in new) == pytest.approx(outlines, rel=0.005)


def test_straight_road_has_the_paint_the_rules_ask_for():
    """Two edge lines and a dashed middle line over 380 m, a stop line half a lane wide: areas by hand."""
    scene = static_scene(straight_road.TOWN)
    dashes = len(np.arange(GAP_M / 2, 150 - DASH_M, DASH_M + GAP_M)) + len(
        np.arange(GAP_M / 2, 230 - DASH_M, DASH_M + GAP_M))
    lines = 2 * 380 + dashes * DASH_M  # nothing is painted in the junction
    assert area_of(scene, SemanticClass.MARKING) == pytest.approx(LINE_WIDTH_M * lines, rel=0.02)
    assert area_of(scene, SemanticClass.STOP_LINE) == pytest.approx(0.5 * (3.5 - LINE_WIDTH_M))
    assert area_of(scene, SemanticClass.ROAD) == pytest.approx(400 * 8)


def test_lines_lie_where_the_lanes_say():
    scene = static_scene(straight_road.TOWN)
    assert cover(scene, SemanticClass.MARKING, (20.0, -3.5)) and cover(scene, SemanticClass.MARKING, (20.0, 3.5))
    assert cover(scene, SemanticClass.MARKING, (GAP_M / 2 + 0.5 * DASH_M, 0.0)), "the first dash"
    assert not cover(scene, SemanticClass.MARKING, (GAP_M / 2 + DASH_M + 1.0, 0.0)), "the first gap"
    assert not cover(scene, SemanticClass.MARKING, (20.0, -1.75)), "the middle of the lane"
    assert cover(scene, SemanticClass.STOP_LINE, (149.7, -1.75))
    assert not cover(scene, SemanticClass.STOP_LINE, (149.7, 1.75)), "not across the oncoming lane"
    assert cover(scene, SemanticClass.KERB, (50.0, 4.2)) and not cover(scene, SemanticClass.KERB, (50.0, 7.0))


def test_zebra_is_bars_along_the_road_that_interrupt_its_lines():
    """Over 8 m of asphalt less its shoulders: seven bars of 0.5 x 4 m, the middle one on the centre line."""
    network = replace(straight_road.network(), crossings=(
        Crossing(0, np.array([[60.0, -4.6], [60.0, 4.6]]), 4.0, (0, 5), (60.0, 90.0), is_zebra=True),
        Crossing(1, np.array([[90.0, -4.6], [90.0, 4.6]]), 4.0, (0, 5), (90.0, 60.0), is_zebra=False)))
    town = replace(straight_road.TOWN, network=network)
    scene, plain = static_scene(town), static_scene(straight_road.TOWN)
    for y in (-3.0, -1.0, 0.0, 2.0):
        assert cover(scene, SemanticClass.MARKING, (58.2, y + 0.2)) and cover(scene, SemanticClass.MARKING, (61.8, y))
        assert not cover(scene, SemanticClass.MARKING, (60.0, y + 0.5))
        assert not cover(scene, SemanticClass.MARKING, (62.2, y + 0.2)), "past the bars"
    assert not cover(scene, SemanticClass.MARKING, (60.0, 3.5)), "the edge line stops"
    assert cover(scene, SemanticClass.MARKING, (57.8, 3.5)) and cover(scene, SemanticClass.MARKING, (62.2, -3.5))
    bars, lines = 7 * 0.5 * 4.0, LINE_WIDTH_M * (2 * 4.0 + DASH_M)
    assert area_of(scene, SemanticClass.MARKING) - area_of(plain, SemanticClass.MARKING) == pytest.approx(
        bars - lines, abs=0.02), "the crossing that is none has no paint"


def test_yield_line_is_broken_into_blocks():
    scene = static_scene(straight_road.town(Control.YIELD))
    solid = 0.5 * (3.5 - LINE_WIDTH_M)
    assert 0.5 * solid < area_of(scene, SemanticClass.STOP_LINE) < 0.8 * solid


@pytest.mark.parametrize("seed", TOWNS)
def test_every_sign_and_prop_is_there_with_its_own_number(seed):
    town = build_town(seed)
    scene = static_scene(town)
    faces, boxes = scene.faces, scene.boxes
    count = len(town.signs.sign)
    assert faces.instance.tolist() == [INSTANCE_SIGN + row for row in range(count)] + [0] * count, "faces, then backs"
    looks = list(zip(town.signs.sign.tolist(), town.signs.look.tolist(), strict=True))
    for texture, (sign, look) in zip(faces.texture[:count], looks, strict=True):
        np.testing.assert_array_equal(scene.textures[texture], face(sign, wear=look_of(sign, look)))
    assert len(scene.textures) <= len(set(looks)) + 5, "each look is there once, and the back of each shape"
    np.testing.assert_array_equal(faces.yaw_rad[:count], town.signs.pose[:, 2])
    np.testing.assert_array_equal(faces.yaw_rad[count:], town.signs.pose[:, 2] + math.pi)
    numbered = boxes.instance[boxes.instance > 0]
    assert set(numbered.tolist()) == {*(INSTANCE_PROP + row for row in range(len(town.props.kind))),
                                      *(INSTANCE_LIGHT + row for row in range(len(town.signal_heads.group)))}
    assert boxes.instance.max() < INSTANCE_ACTOR
    assert (boxes.size_m > 0).all() and np.isfinite(boxes.centre_m).all()
    assert (boxes.centre_m[:, 2] + boxes.size_m[:, 2] / 2 > 0).all(), "nothing is buried"


@pytest.mark.parametrize("seed", TOWNS)
def test_a_house_is_as_large_as_the_thing_one_can_hit(seed):
    """What the eye sees of a prop stays within its footprint, roofs by 8 % over it, and reaches its height."""
    town = build_town(seed)
    boxes = static_scene(town).boxes
    for row, (pose, size) in enumerate(zip(town.props.pose, town.props.size_m, strict=True)):
        own = np.flatnonzero(boxes.instance == INSTANCE_PROP + row)
        delta = boxes.centre_m[own, :2] - pose[:2]
        assert np.hypot(*delta.T).max() < 0.01
        assert (boxes.size_m[own, :2] <= 1.1 * size[:2] + 1e-9).all()
        top = (boxes.centre_m[own, 2] + boxes.size_m[own, 2] / 2).max()
        assert top == pytest.approx(size[2], rel=0.01)


def test_static_scene_is_made_once_a_town_and_scenes_share_it():
    state = straight_road.state(5.0)
    later = replace(state, ego=replace(state.ego, x_m=30.0))
    assert build_scene(state).static is build_scene(later).static
    assert len(build_scene(state).actors.yaw_rad) == 0


def test_scene_depends_on_the_town_alone():
    first, again = (static_scene.__wrapped__(build_town(3)) for _ in range(2))
    for a, b in zip(first.patches, again.patches, strict=True):
        assert a.vertices_m.tobytes() == b.vertices_m.tobytes() and a.triangles.tobytes() == b.triangles.tobytes()
    assert first.boxes.centre_m.tobytes() == again.boxes.centre_m.tobytes()


def test_sun_stands_above_the_horizon_on_many_sides():
    suns = np.array([light_of(build_town(seed)).sun for seed in TOWNS])
    np.testing.assert_allclose(np.linalg.norm(suns, axis=1), 1)
    assert (suns[:, 2] > math.sin(math.radians(13))).all()
    assert len({(x > 0, y > 0) for x, y in suns[:, :2]}) >= 3


def test_sign_faces_carry_their_outline():
    scene = static_scene(build_town(1))
    assert len(scene.textures) == len(scene.outlines) > 5
    assert {texture.shape for texture in scene.textures} == {(128, 128, 3), (8, 8, 3)}, "faces and their plain backs"
    assert all(texture.dtype == np.uint8 for texture in scene.textures)


def test_wide_road_has_a_double_middle_dashes_that_turn_solid_and_arrows():
    """Two eastbound lanes of 3.5 m: the left one turns left, the right one goes on at x = 300."""
    def lane(number: int, first: tuple[float, float], last: tuple[float, float], after: tuple[int, ...],
             **fields) -> Lane:
        count = 1 + round(math.dist(first, last))
        values = {"width_m": 3.5, "speed_limit_mps": 13.9, "left": Marking.NONE, "right": Marking.NONE, "surface": 0}
        return Lane(number, np.linspace(first, last, count), successors=after, **{**values, **fields})

    turn = {"junction": 0}
    lanes = (lane(0, (0, -1.75), (300, -1.75), (2,), left=Marking.DOUBLE, right=Marking.DASHED, right_neighbour=1),
             lane(1, (0, -5.25), (300, -5.25), (3,), left=Marking.DASHED, right=Marking.SOLID, left_neighbour=0),
             lane(2, (300, -1.75), (310, 8.25), (), turn=Command.LEFT, **turn),
             lane(3, (300, -5.25), (320, -5.25), (), turn=Command.STRAIGHT, **turn))
    outline = np.array([[0.0, -7.5], [320.0, -7.5], [320.0, 7.5], [0.0, 7.5]])
    network = RoadNetwork(lanes, (Junction(0, (0, 1), (2, 3), ()),), (Surface("straight", outline, None),))
    scene = static_scene(replace(straight_road.TOWN, network=network))
    paint = SemanticClass.MARKING
    assert cover(scene, paint, (50.0, LINE_WIDTH_M)) and cover(scene, paint, (50.0, -LINE_WIDTH_M))
    assert not cover(scene, paint, (50.0, 0.0)), "two lines, not a broad one"
    assert all(cover(scene, paint, (x, -3.5)) for x in np.arange(271.0, 299.0, 0.5)), "nobody changes lanes here"
    assert not all(cover(scene, paint, (x, -3.5)) for x in np.arange(220.0, 240.0, 0.5))
    for foot in (288.0, 268.0):
        assert cover(scene, paint, (foot + 4.5, -5.25)) and not cover(scene, paint, (foot + 2.2, -4.45)), "straight on"
        assert cover(scene, paint, (foot + 0.5, -1.75)) and cover(scene, paint, (foot + 2.2, -1.75 + 0.8)), "left"
        assert not cover(scene, paint, (foot + 4.5, -1.75)) and not cover(scene, paint, (foot + 2.2, -1.75 - 0.8))
