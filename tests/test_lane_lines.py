"""Lines beside the ego's lane and its neighbours': on a road made by hand, and on the paint of towns."""

from dataclasses import replace

import numpy as np

from envs.config import CameraConfig
from envs.lane_lines import anchor_rows, lines_ahead
from envs.render.camera import RENDERERS, pose_of
from envs.render.scene import SemanticClass, build_scene
from envs.roads.network import Command, Marking
from envs.roads.procedural import build_town
from envs.roads.routes import random_route, route_over
from envs.state import VehicleState
from tests import straight_road

CAMERA = CameraConfig()


def columns(state):
    station = state.route.locate(state.ego.x_m, state.ego.y_m)[0]
    lines = lines_ahead(state.town.network, state.route, station)
    return lines.columns(CAMERA, pose_of(CAMERA, state.ego), anchor_rows(CAMERA))


def test_anchors_end_at_the_bottom_and_hold_the_horizon_of_a_camera_that_looks_down():
    rows = anchor_rows(CAMERA)
    assert rows[-1] == 159.5 and np.allclose(np.diff(rows), 3.0) and rows[0] < 80 - CAMERA.focal_px * np.tan(0.07)


def test_two_lane_road_by_hand():
    """The oncoming lane's outer edge lies 5.25 m left of the own middle, the own edges 1.75 m; nothing on the right."""
    told, marking = columns(straight_road.state(40.0))
    depth = CAMERA.height_m * CAMERA.focal_px / (anchor_rows(CAMERA) + 0.5 - 80)
    for line, left_m in enumerate((5.25, 1.75, -1.75)):
        expected = 160 - left_m * CAMERA.focal_px / depth
        inside = (depth > 0) & (depth < 60) & (expected >= 0) & (expected < 320)
        np.testing.assert_allclose(told[line, inside], expected[inside], atol=0.3)
        assert inside.sum() > 5
        assert np.isnan(told[line, (depth > 0) & (depth < 60) & ~inside]).all(), "out of the picture"
    assert np.isnan(told[3]).all() and np.isnan(told[:, depth < 0]).all()
    assert marking.tolist() == [Marking.SOLID, Marking.DASHED, Marking.SOLID, Marking.NONE]


def test_no_line_is_told_across_a_junction():
    """The junction runs from x = 150 to 170 m; the camera stands 20 m before it."""
    told, _ = columns(straight_road.state(150.0 - 20.0 - CAMERA.forward_m))
    depth = CAMERA.height_m * CAMERA.focal_px / (anchor_rows(CAMERA) + 0.5 - 80)
    inside = (depth > 20.5) & (depth < 39.5)
    assert inside.any() and np.isnan(told[:, inside]).all() and np.isfinite(told[1, (depth > 10) & (depth < 19)]).all()


def test_lines_draw_nearer_to_each_other_where_the_road_narrows():
    """2.75 m apart instead of more than 3 m, at the edges of the lanes; the oncoming lane's outer line follows."""
    network = next(town for town in (build_town(seed).network for seed in range(40)) if town.narrowings)
    lane = network.lanes[network.narrowings[0].lane]
    begin = network.narrowings[0].begin_m
    route = route_over(network, (lane.id, lane.successors[0]))
    lines = lines_ahead(network, route, begin - 5.0)
    apart = np.hypot(*np.moveaxis(np.diff(lines.points_m[:3], axis=0), -1, 0))
    at = route.station_m[route.index_at(begin - 5.0):][:apart.shape[1]] - begin
    np.testing.assert_allclose(apart[:, at < 0.0], lane.width_m, atol=0.01)
    np.testing.assert_allclose(apart[:, (at > 25.0) & (at < 30.0)], 2.75, atol=0.01)
    is_between = lines.points_m[1:3].mean(axis=0) - route.points_m[route.index_at(begin - 5.0):][:apart.shape[1]]
    assert np.abs(is_between).max() < 1e-9
    np.testing.assert_allclose(route.width_m[route.index_at(begin + 27.0)], 2.75, atol=0.01)


def many_lanes():
    """A town, an inner lane of a road with two lanes each way or more and 120 m or longer, and a route along it."""
    for seed in range(20):
        network = build_town(seed).network
        for lane in network.lanes:
            if (lane.junction is None and lane.left_neighbour is None and lane.right_neighbour is not None
                    and lane.length_m > 120 and network.lanes[lane.successors[0]].junction is not None):
                return build_town(seed), lane, route_over(network, (lane.id, lane.successors[0]))
    raise AssertionError("no town has such a road")


def test_dashes_between_lanes_become_solid_before_the_junction():
    town, lane, route = many_lanes()
    for at, kind in ((20.0, Marking.DASHED), (lane.length_m - 28.0, Marking.SOLID)):
        lines = lines_ahead(town.network, route, at)
        assert lines.marking[2, 0] == kind
        assert lines.marking[1, 0] == lane.left and lines.marking[0, 0] == town.network.lanes[lane.opposite].right


def test_the_own_lane_changes_only_when_the_car_has():
    """A route that moves to the lane on the right: before the middle of its change lines are those of the first lane.
    """
    town, lane, _ = many_lanes()
    route = route_over(town.network, (lane.id, lane.right_neighbour))
    change = route.changes[0]
    for at, own in ((change.begin_m + 1.0, lane), (change.end_m - 1.0, town.network.lanes[lane.right_neighbour])):
        lines = lines_ahead(town.network, route, at)
        middle = lines.points_m[1:3].mean(axis=0)
        gaps = np.hypot(*(middle[:40, None] - own.centre_m[None]).transpose(2, 0, 1)).min(axis=1)
        assert gaps.max() < 1.1, "centre points are at most 2 m apart"


def test_solid_lines_of_towns_lie_on_paint():
    """Every solid line told, own or a neighbour's, has paint within 2 px at rows where it is wide enough to be seen."""
    renderer, hits, checked = RENDERERS["raster"](CAMERA), np.zeros(4, int), np.zeros(4, int)
    for seed in (30, 33, 35, 36):
        town, rng = build_town(seed), np.random.default_rng(seed)
        route = random_route(town.network, rng)
        crossed = {lane for crossing in town.network.crossings for lane in crossing.lanes}
        bays = {bay.lane for bay in town.network.bays}
        for at in np.arange(10.0, route.length_m - 80, 35.0):
            k = route.index_at(at)
            if {route.lane_at(at), route.lane_at(at + 60)} & (crossed | bays) or route.command[k] != Command.FOLLOW:
                continue
            ego = VehicleState(*route.points_m[k], float(route.heading_rad[k]))
            state = replace(straight_road.state(0.0), town=town, route=route, ego=ego)
            told, marking = columns(state)
            classes = renderer.render(build_scene(state), pose_of(CAMERA, ego)).class_id
            for line in range(4):
                for v, u in zip(anchor_rows(CAMERA), told[line], strict=True):
                    if marking[line] == Marking.SOLID and np.isfinite(u) and v > 100:
                        near = classes[int(v), max(int(u) - 2, 0):int(u) + 3]
                        hits[line] += (near == SemanticClass.MARKING).any()
                        checked[line] += not (near >= SemanticClass.BUILDING).any()
    assert checked[0] > 50 and checked[2] > 50
    assert (hits >= 0.95 * checked)[[0, 2]].all(), (hits, checked)
