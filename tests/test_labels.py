"""Every label, projected, is found on its pixels: the truth and the picture speak of the same thing."""

import dataclasses
import math
from functools import lru_cache

import numpy as np
import pytest

from envs.config import CameraConfig
from envs.geometry import interpolate, world_from_ego
from envs.labels import (
    LEAD_COLUMNS,
    LEAD_MAX_M,
    PATH_STATIONS_M,
    SIGN_MAX_M,
    SIGN_MIN_PX,
    SIGN_MIN_VISIBLE,
    STOP_MAX_M,
    Labels,
    label,
    lane_rows,
    next_line,
)
from envs.render.boxes import INSTANCE_LIGHT, INSTANCE_SIGN
from envs.render.camera import RENDERERS, CameraPose, Frame, pose_of, project_points
from envs.render.scene import SemanticClass, build_scene
from envs.roads.network import Control, Lane, Marking
from envs.roads.procedural import build_town
from envs.roads.routes import Route, random_route, route_over
from envs.state import EGO_SHAPE, ActorKind, Actors, Phase, Town, VehicleState, WorldState
from tests import straight_road

CAMERA = CameraConfig()
TOWNS, VIEWS = range(60, 66), 8


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    state: WorldState
    pose: CameraPose
    frame: Frame
    labels: Labels


def look(state: WorldState, camera: CameraConfig = CAMERA) -> View:
    renderer, pose = RENDERERS["raster"](camera), pose_of(camera, state.ego)
    frame = renderer.render(build_scene(state), pose)
    return View(state, pose, frame, label(state, camera, pose, frame))


def stations_of_interest(town: Town, route: Route, rng: np.random.Generator) -> list[float]:
    """Anywhere, before every sign and line on the way, and inside its first junctions [m]."""
    own = {lane: float(route.station_m[np.flatnonzero(route.lane_index == k)[0]]) for k, lane in enumerate(route.lanes)
           if (route.lane_index == k).any()}
    signs = [own[lane] + at - back for lane, at in zip(town.signs.lane.tolist(), town.signs.station_m, strict=True)
             if lane in own for back in (8.0, 14.0, 25.0)]
    lines = [at - EGO_SHAPE.front_m - gap for at, _ in route.stops for gap in (4.0, 9.0)]
    junctions = [begin + 1.0 for lane, begin in own.items() if town.network.lanes[lane].junction is not None]
    found = [*rng.uniform(0, route.length_m, VIEWS), *signs, *lines, *junctions]
    return [at for at in found if 0 <= at < route.length_m - 45]


@lru_cache(maxsize=1)
def views() -> tuple[View, ...]:
    """Empty streets of several towns, seen from places on a route and a little beside it."""
    found = []
    for seed in TOWNS:
        town, rng = build_town(seed), np.random.default_rng(seed)
        route = random_route(town.network, rng)
        for at in stations_of_interest(town, route, rng):
            k = route.index_at(at)
            place = world_from_ego(np.array([*route.points_m[k], route.heading_rad[k]]),
                                   np.array([0.0, rng.normal(0, 0.4)]))
            ego = VehicleState(*place.tolist(), float(route.heading_rad[k] + rng.normal(0, 0.05)))
            found.append(look(dataclasses.replace(straight_road.state(0.0), town=town, route=route, ego=ego)))
    return tuple(found)


def actors(*rows: tuple[float, float, ActorKind]) -> Actors:
    """Parked at (x, y), along x."""
    kind = np.array([int(row[2]) for row in rows])
    size = np.where(kind[:, None] == ActorKind.VEHICLE, (4.5, 1.8, 1.5), (0.5, 0.5, 1.75))
    return Actors(np.arange(len(rows)), kind, np.array([(x, y, 0.0) for x, y, _ in rows]), size, np.zeros(len(rows)),
                  np.full((len(rows), 3), 120, np.uint8), np.zeros(len(rows), np.uint8))


class TestOnItsPixels:
    @pytest.mark.slow
    def test_path_runs_over_road(self):
        """Every point of the path in view and not hidden lies on asphalt or paint, in all towns."""
        checked = 0
        for view in views():
            world = world_from_ego(view.state.ego.pose, view.labels.path_m.astype(float))
            seen = project_points(CAMERA, view.pose, np.column_stack([world, np.zeros(len(world))]))
            for u, v, depth in seen:
                if 0 <= u < 320 and 0 <= v < 160 and depth < view.frame.depth_m[int(v), int(u)] * 1.05:
                    near = view.frame.class_id[max(int(v) - 1, 0):int(v) + 2, max(int(u) - 1, 0):int(u) + 2]
                    assert np.isin(near, (SemanticClass.ROAD, SemanticClass.MARKING, SemanticClass.STOP_LINE)).any()
                    checked += 1
        assert checked > 300

    def test_boundaries_lie_on_paint(self):
        """Where the right edge line is solid and in view, MARKING pixels are within 2 px of the label, row by row.

        Rows whose line is thinner than half a pixel are left out: paint has no class of its own there.
        """
        on_paint = checked = 0
        for view in views():
            route, station = view.state.route, view.state.route.locate(view.state.ego.x_m, view.state.ego.y_m)[0]
            ahead = slice(route.index_at(station), route.index_at(station + 50.0))
            lanes = {route.lanes[k] for k in route.lane_index[ahead]}
            is_crossed = any(crossing.is_zebra and lanes & set(crossing.lanes)
                             for crossing in view.state.town.network.crossings)
            if is_crossed or (route.right_m[ahead] > 0.6 * route.width_m[ahead]).any():
                continue  # bars of a zebra, or dashes of a lane on the right
            for row, u in zip(lane_rows(CAMERA), view.labels.boundaries_px[1], strict=True):
                if math.isnan(u) or row < 96:
                    continue
                y = int(row)
                near = view.frame.class_id[y, max(int(u) - 2, 0):int(u) + 3]
                if np.isin(near, (SemanticClass.POLE, SemanticClass.SIGN)).any():
                    continue
                on_paint += bool((near == SemanticClass.MARKING).any())
                checked += 1
        assert checked > 200
        assert on_paint >= 0.98 * checked, (on_paint, checked)

    def test_left_boundary_lies_between_the_lanes(self):
        """On the dashed line most rows see a gap: there, road on both sides and paint nowhere else between."""
        checked = 0
        for view in views():
            left, right = view.labels.boundaries_px[:, lane_rows(CAMERA) >= 100]
            both = ~np.isnan(left) & ~np.isnan(right)
            assert (left[both] < right[both]).all()
            checked += both.sum()
        assert checked > 60

    def test_no_boundary_is_told_inside_junctions_without_lines(self):
        checked = 0
        for view in views():
            route, station = view.state.route, view.state.route.locate(view.state.ego.x_m, view.state.ego.y_m)[0]
            lanes = [view.state.town.network.lanes[route.lanes[route.lane_index[route.index_at(station + ahead)]]]
                     for ahead in np.arange(1.6, 9.0, 0.5)]
            if all(lane.left == lane.right == Marking.NONE for lane in lanes):
                assert np.isnan(view.labels.boundaries_px[:, -3:]).all()
                checked += 1
        assert checked >= 1

    def test_sign_boxes_fit_their_pixels(self):
        """A sign that nothing hides: its box is the bounding box of its instance's pixels, within 1 px."""
        checked = 0
        for view in views():
            signs = view.state.town.signs
            for box, kind, visible, position in zip(view.labels.sign_box_px, view.labels.sign_class,
                                                    view.labels.sign_visible, view.labels.sign_position_m, strict=True):
                world = world_from_ego(view.state.ego.pose, position.astype(float))
                away_m = np.hypot(*(signs.pose[:, :2] - world).T)
                row = int(np.argmin(np.where(signs.sign == kind, away_m, np.inf)))  # two signs may share a post
                assert away_m[row] < 0.01
                rows, columns = np.nonzero(view.frame.instance_id == INSTANCE_SIGN + row)
                if visible > 0.98:
                    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                    np.testing.assert_allclose(box, found, atol=1.2)
                    checked += 1
                assert (view.frame.class_id[rows, columns] == SemanticClass.SIGN).all()
        assert checked > 20

    def test_no_readable_sign_is_left_out(self):
        """Any sign that shows 40 pixels, all inside the picture and not much from the side, has a label."""
        checked = 0
        for view in views():
            signs = view.state.town.signs
            count = np.bincount(view.frame.instance_id.ravel(), minlength=INSTANCE_SIGN + len(signs.sign))
            for row in range(len(signs.sign)):
                offset = view.pose.position_m[:2] - signs.pose[row, :2]
                facing = offset @ [math.cos(signs.pose[row, 2]), math.sin(signs.pose[row, 2])] / np.hypot(*offset)
                if count[INSTANCE_SIGN + row] >= 40 and facing > 0.5:
                    rows, columns = np.nonzero(view.frame.instance_id == INSTANCE_SIGN + row)
                    if rows.min() > 0 and columns.min() > 0 and columns.max() < CAMERA.width_px - 1:
                        assert signs.sign[row] in view.labels.sign_class
                        checked += 1
        assert checked > 20

    def test_labels_keep_their_promises(self):
        for view in views():
            truth = view.labels
            assert (np.diff(truth.sign_distance_m) >= 0).all(), "nearest first"
            assert ((truth.sign_box_px[:, 2:] - truth.sign_box_px[:, :2]) >= SIGN_MIN_PX - 1e-3).all()
            assert (truth.sign_visible >= SIGN_MIN_VISIBLE).all() and (truth.sign_visible <= 1).all()
            assert (truth.sign_distance_m < SIGN_MAX_M).all()
            assert truth.path_m.dtype == truth.boundaries_px.dtype == truth.lead_m.dtype == np.float32
            assert np.abs(np.hypot(*truth.path_m.T)).max() <= PATH_STATIONS_M[-1] + 2
            inside = truth.boundaries_px[~np.isnan(truth.boundaries_px)]
            assert (inside >= 0).all() and (inside < CAMERA.width_px).all()

    def test_line_is_as_far_as_its_pixels(self):
        """STOP_LINE pixels in the column of the line's middle begin at the label's distance and end 0.5 m before it.

        Farther than 7 m ahead of the bumper the line is about a pixel high, and may have no pixel of its own.
        """
        checked = 0
        for view in views():
            if not 2.5 < view.labels.stop_m < 7.0 or view.labels.stop_kind != Control.STOP:
                continue
            route = view.state.route
            station = (route.locate(view.state.ego.x_m, view.state.ego.y_m)[0] + EGO_SHAPE.front_m
                       + view.labels.stop_m)
            end = interpolate(route.points_m, route.station_m, np.array([station]))[0]
            u, _, depth = project_points(CAMERA, view.pose, np.array([*end, 0.0]))
            column = view.frame.class_id[:, int(u)] == SemanticClass.STOP_LINE
            found = view.frame.depth_m[column, int(u)]
            row_m = depth ** 2 / (CAMERA.height_m * CAMERA.focal_px)  # depth that a pixel row spans there
            assert found.max() == pytest.approx(depth, abs=row_m)
            assert found.min() == pytest.approx(depth - 0.5, abs=1.5 * row_m)
            checked += 1
        assert checked >= 2


class TestByHand:
    """The road of tests/straight_road.py, where every number is known."""

    def test_path_straight_ahead(self):
        view = look(straight_road.state(40.0, straight_road.LANE_Y_M + 0.5))
        np.testing.assert_allclose(view.labels.path_m[:, 0], PATH_STATIONS_M, atol=1e-4)
        np.testing.assert_allclose(view.labels.path_m[:, 1], -0.5, atol=1e-4)

    def test_path_goes_straight_on_past_the_goal(self):
        view = look(straight_road.state(390.0))
        np.testing.assert_allclose(view.labels.path_m[-1], [36.0, 0.0], atol=1e-4)

    def test_boundaries_at_a_row_that_is_ten_metres_away(self):
        camera, row = CAMERA, lane_rows(CAMERA)
        view = look(straight_road.state(40.0))
        depth = camera.height_m * camera.focal_px / (row + 0.5 - 80)
        near = depth < 60
        for side, sign in enumerate((1, -1)):
            expected = 160 - sign * 1.75 * camera.focal_px / depth
            told = view.labels.boundaries_px[side]
            visible = near & (expected >= 0) & (expected < 320)
            np.testing.assert_allclose(told[visible], expected[visible], atol=0.3)
            assert np.isnan(told[near & ~visible]).all()

    def test_lead_is_the_nearest_obstacle_in_its_columns(self):
        """A car straight ahead, a person to the right: rear bumper at 20 m, person's near side at 12 m."""
        ego_camera = 40.0 + CAMERA.forward_m
        view = look(straight_road.state(40.0, actors=actors(
            (ego_camera + 20 + 2.25, -1.75, ActorKind.VEHICLE), (ego_camera + 12.2, -5.0, ActorKind.PEDESTRIAN))))
        lead = view.labels.lead_m
        assert lead[LEAD_COLUMNS // 2] == pytest.approx(20.0, abs=0.05)
        assert lead[LEAD_COLUMNS // 2 - 3] == LEAD_MAX_M
        u = 160 + CAMERA.focal_px * 3.25 / 12.2
        assert lead[int(u * LEAD_COLUMNS / 320)] == pytest.approx(12.0, abs=0.15)
        assert (lead == LEAD_MAX_M).sum() >= 14

    def test_lead_agrees_with_depth_and_classes(self):
        for view in views():
            solid = np.isin(view.frame.class_id, (SemanticClass.VEHICLE, SemanticClass.PEDESTRIAN,
                                                  SemanticClass.BUILDING, SemanticClass.VEGETATION))
            depth = np.where(solid, view.frame.depth_m, np.inf).reshape(160, LEAD_COLUMNS, -1).min(axis=(0, 2))
            np.testing.assert_allclose(view.labels.lead_m, np.minimum(depth, LEAD_MAX_M), rtol=1e-6)

    @pytest.mark.parametrize("gap_m,expected", [
        (10.0, 10.0), (0.0, 0.0), (39.9, 39.9), (40.2, math.inf), (-0.2, math.inf)])
    def test_stop_distance_is_from_the_bumper(self, gap_m, expected):
        distance, kind = next_line(straight_road.ROUTE, 150 - EGO_SHAPE.front_m - gap_m)
        assert distance == pytest.approx(expected, abs=1e-6)
        assert kind == (Control.STOP if distance <= STOP_MAX_M else Control.NONE)

    def test_yield_is_told_from_stop(self):
        view = look(straight_road.state(130.0, place=straight_road.town(Control.YIELD)))
        assert view.labels.stop_kind == Control.YIELD
        assert view.labels.stop_m == pytest.approx(20 - EGO_SHAPE.front_m, abs=0.01)

    def test_limit_is_the_lanes(self):
        assert look(straight_road.state(40.0)).labels.speed_limit_mps == pytest.approx(50 / 3.6)

    def test_hidden_sign_has_no_label(self):
        """A town's sign seen from 12 m, then with a wall before it."""
        town = build_town(36)
        signs = town.signs
        row = int(np.flatnonzero(signs.sign == signs.sign[0])[0])
        x, y, yaw = signs.pose[row]
        ego = VehicleState(x + 13.6 * math.cos(yaw), y + 13.6 * math.sin(yaw), yaw + math.pi)
        route = random_route(town.network, np.random.default_rng(0))
        open_view = dataclasses.replace(straight_road.state(0.0), town=town, route=route, ego=ego)
        seen = look(open_view).labels
        assert seen.sign_distance_m[0] == pytest.approx(12.0, abs=0.2) and seen.sign_class[0] == signs.sign[row]
        wall = Actors(np.array([1]), np.array([int(ActorKind.VEHICLE)]),
                      np.array([[x + 3 * math.cos(yaw), y + 3 * math.sin(yaw), yaw]]), np.array([[2.0, 12.0, 6.0]]),
                      np.zeros(1), np.full((1, 3), 99, np.uint8), np.zeros(1, np.uint8))
        hidden = look(dataclasses.replace(open_view, actors=wall)).labels
        assert not (hidden.sign_distance_m < 12.5).any()

    def test_half_hidden_sign_says_so(self):
        town = build_town(36)
        x, y, yaw = town.signs.pose[0]
        ego = VehicleState(x + 9.6 * math.cos(yaw), y + 9.6 * math.sin(yaw), yaw + math.pi)
        left = np.array([math.sin(yaw), -math.cos(yaw)])
        near = np.array([x, y]) + 1.0 * np.array([math.cos(yaw), math.sin(yaw)]) + 0.5 * left
        wall = Actors(np.array([1]), np.array([int(ActorKind.VEHICLE)]), np.array([[*near, yaw]]),
                      np.array([[0.2, 1.0, 6.0]]), np.zeros(1), np.full((1, 3), 99, np.uint8), np.zeros(1, np.uint8))
        state = dataclasses.replace(straight_road.state(0.0), town=town, ego=ego, actors=wall,
                                    route=random_route(town.network, np.random.default_rng(0)))
        assert 0.35 < look(state).labels.sign_visible[0] < 0.65


def test_marked_lanes_of_towns_have_an_edge_line():
    """What makes boundaries learnable: no road lane in a town without paint on its right."""
    for seed in TOWNS:
        assert all(lane.right != Marking.NONE for lane in build_town(seed).network.lanes if lane.junction is None)


def approaching(town: Town, lane: Lane, away_m: float, signals: np.ndarray) -> View:
    """On a lane with a light, front bumper `away_m` before its line, over an empty road."""
    route = route_over(town.network, (lane.id, lane.successors[0]))
    at = route.signals[0][0] - away_m - EGO_SHAPE.front_m
    x, y = (float(np.interp(at, route.station_m, route.points_m[:, k])) for k in range(2))
    ego = VehicleState(x, y, float(np.interp(at, route.station_m, route.heading_rad)))
    return look(dataclasses.replace(straight_road.state(0.0), town=town, route=route, ego=ego, signals=signals))


class TestLights:
    TOWN = build_town(3)

    def before_line(self, away_m: float, mine: Phase, others: Phase) -> View:
        """On the first lane with a light, front bumper `away_m` before its line."""
        lane = next(lane for lane in self.TOWN.network.lanes if lane.signal is not None and lane.length_m > 80)
        signals = np.full(len(self.TOWN.signal_plan.junction), int(others))
        signals[lane.signal] = int(mine)
        return approaching(self.TOWN, lane, away_m, signals)

    @pytest.mark.parametrize("away_m", [1.0, 8.0, 25.0])
    def test_the_light_that_binds_the_ego_is_told_from_the_others(self, away_m):
        for mine, others in ((Phase.GREEN, Phase.RED), (Phase.RED_YELLOW, Phase.RED), (Phase.OFF, Phase.OFF)):
            labels = self.before_line(away_m, mine, others).labels
            assert labels.my_light == mine and labels.my_light_m == pytest.approx(away_m, abs=0.1)
            assert labels.light_is_mine.any()
            assert (labels.light_phase[labels.light_is_mine] == mine).all()
            assert (labels.light_phase[~labels.light_is_mine] == others).all()
            assert (np.diff(labels.light_distance_m) >= 0).all() and (labels.light_visible >= 0.3).all()

    @pytest.mark.parametrize("seed", [10100, 10108])
    def test_signs_hide_no_lamps(self, seed):
        """Approaching each line at green, the lowest lamp, over an empty road: one in ten were hidden before."""
        town, seen = build_town(seed), []
        green = np.full(len(town.signal_plan.junction), int(Phase.GREEN))
        for lane in (lane for lane in town.network.lanes if lane.signal is not None and lane.length_m > 60):
            seen += [approaching(town, lane, away_m, green).labels.light_is_mine.any() for away_m in (14.0, 22.0, 30.0)]
        assert len(seen) > 30 and np.mean(seen) > 0.98

    def test_a_head_is_labelled_where_its_lit_lamp_shows(self):
        """A plate before the lowest lamp takes the green head from the labels, and the red one stays."""
        for phase, is_told in ((Phase.GREEN, False), (Phase.RED, True)):
            view = self.before_line(8.0, phase, phase)
            row = int(view.labels.light_is_mine.argmax())
            left, top, right, bottom = view.labels.light_box_px[row]
            frame = dataclasses.replace(view.frame, instance_id=view.frame.instance_id.copy())
            frame.instance_id[int(bottom - 0.4 * (bottom - top)):, int(left) - 1:int(right) + 2] = 0
            labels = label(view.state, CAMERA, view.pose, frame)
            assert (len(labels.light_phase) == len(view.labels.light_phase)) == is_told

    def test_no_light_binds_behind_the_line_or_far_before_it(self):
        for away_m in (-2.0, 62.0):
            labels = self.before_line(away_m, Phase.RED, Phase.RED).labels
            assert labels.my_light == Phase.OFF and labels.my_light_m == np.inf and not labels.light_is_mine.any()

    def test_boxes_fit_the_pixels_of_their_head(self):
        """Seen from in front and unhidden, within a pixel and a half: the side of the housing shows too."""
        view, checked = self.before_line(8.0, Phase.RED, Phase.RED), 0
        for box, share in zip(view.labels.light_box_px, view.labels.light_visible, strict=True):
            left, top, right, bottom = box
            inside = view.frame.class_id[int(top):math.ceil(bottom), int(left):math.ceil(right)]
            assert (inside == SemanticClass.TRAFFIC_LIGHT).mean() > 0.5 * share
            number = np.bincount(view.frame.instance_id[int(top):math.ceil(bottom), int(left):math.ceil(right)].ravel())
            rows, columns = np.nonzero(view.frame.instance_id == INSTANCE_LIGHT + number[INSTANCE_LIGHT:].argmax())
            if share > 0.9:
                found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                np.testing.assert_allclose(box, found, atol=1.8)
                checked += 1
        assert checked >= 1
