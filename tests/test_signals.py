"""Lamps show what their group shows, on both cameras, and housings stand where the lights are."""

import dataclasses
import math

import numpy as np
import pytest
import straight_road

from envs.config import CameraConfig
from envs.lights import head_centres
from envs.render.boxes import INSTANCE_LIGHT, stack
from envs.render.camera import RENDERERS, pose_of, project_points
from envs.render.paving import SemanticClass
from envs.render.scene import build_scene
from envs.render.signals import IS_LIT, LAMP_STEP_M, LIT, head_boxes, lamps
from envs.roads.procedural import build_town
from envs.state import Phase, SignalHeads

TOWN = build_town(3)
GROUPS = len(TOWN.signal_plan.junction)


def test_which_lamps_burn():
    shown = {phase: [name for name, lit in zip(("red", "yellow", "green"), IS_LIT[phase], strict=True) if lit]
             for phase in Phase}
    assert shown == {Phase.OFF: [], Phase.RED: ["red"], Phase.RED_YELLOW: ["red", "yellow"], Phase.GREEN: ["green"],
                     Phase.YELLOW: ["yellow"]}


def test_lamps_follow_their_group_red_on_top():
    signals = np.arange(GROUPS) % len(Phase)
    boxes, heads = lamps(TOWN, signals), TOWN.signal_heads
    for row in range(len(heads.group)):
        mine = np.flatnonzero(boxes.instance == INSTANCE_LIGHT + row)
        mine = mine[np.argsort(-boxes.centre_m[mine, 2])]
        np.testing.assert_array_equal(boxes.glow[mine], IS_LIT[signals[heads.group[row]]])
        np.testing.assert_array_equal(boxes.colour[mine][boxes.glow[mine]], LIT[boxes.glow[mine]])
        np.testing.assert_allclose(np.diff(boxes.centre_m[mine, 2]), -LAMP_STEP_M)
    assert not lamps(TOWN, np.zeros(GROUPS, int)).glow.any() and not lamps(TOWN, np.zeros(0, int)).glow.any()
    assert len(lamps(straight_road.TOWN, np.zeros(0, int)).yaw_rad) == 0


def test_posts_stand_on_the_ground_and_arms_reach_their_heads():
    """A head 6 m out on an arm: the arm runs from post to head, at right angles to the view."""
    heads = SignalHeads(np.zeros(1, int), np.array([[10.0, 5.0, math.pi]]), np.array([5.3]), np.zeros(1, int),
                        np.array([6.0]))
    np.testing.assert_allclose(head_centres(heads), [[10.0, 11.0, 5.3]], atol=1e-9)
    boxes = head_boxes(dataclasses.replace(straight_road.TOWN, signal_heads=heads))
    poles = boxes.semantic == SemanticClass.POLE
    low, high = (boxes.centre_m + side * boxes.size_m / 2 for side in (-1, 1))
    assert poles.sum() == 2 and low[poles, 2].min() == pytest.approx(0.0)
    arm = int(np.flatnonzero(poles)[1])
    assert low[arm, 1] == pytest.approx(5.0) and high[arm, 1] == pytest.approx(11.0)
    assert (boxes.instance[~poles] == INSTANCE_LIGHT).all()
    assert (boxes.semantic[~poles] == SemanticClass.TRAFFIC_LIGHT).all()


@pytest.mark.parametrize("name", ["raster", "bullet"])
def test_both_cameras_see_the_phase(name):
    """8 m before a head: its pixels are its own, and each lamp has its colour when it burns and is dark when not."""
    camera = CameraConfig(width_px=160, height_px=80)
    heads = SignalHeads(np.zeros(1, int), np.array([[29.6, -5.0, math.pi]]), np.array([2.5]), np.zeros(1, int),
                        np.zeros(1))
    town = dataclasses.replace(straight_road.TOWN, signal_heads=heads)
    renderer = RENDERERS[name](camera)
    for phase in Phase:
        state = dataclasses.replace(straight_road.state(20.0), town=town, signals=np.array([int(phase)]))
        scene, pose = build_scene(state), pose_of(camera, state.ego)
        frame = renderer.render(scene, pose)
        for lamp in range(3):
            u, v, _ = project_points(
                camera, pose, head_centres(heads)[0] + np.array([0, 0, (1 - lamp) * LAMP_STEP_M]))
            at = int(v), int(u)
            assert frame.class_id[at] == SemanticClass.TRAFFIC_LIGHT and frame.instance_id[at] == INSTANCE_LIGHT
            if IS_LIT[phase, lamp]:
                np.testing.assert_array_equal(frame.rgb[at], LIT[lamp])
            else:
                assert frame.rgb[at].max() < 80
    renderer.close()


def test_lamps_lie_on_their_housings():
    boxes = stack([head_boxes(TOWN), lamps(TOWN, np.zeros(0, int))])
    for row in range(3):
        mine = boxes.instance == INSTANCE_LIGHT + row
        centre = boxes.centre_m[mine]
        assert np.ptp(centre, axis=0)[:2].max() < 0.5 and mine.sum() in (6, 7)
