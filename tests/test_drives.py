"""What frames are made of: views of cars that keep their lane, disturbed ones, every class of sign, every phase."""

import dataclasses

import numpy as np
import pytest

from envs.labels import next_light
from envs.roads.procedural import build_town
from envs.signs import SIGN_INDEX, SIGNS
from envs.state import EGO_SHAPE, ActorKind, Phase, state_bytes
from perception.drives import AWAY, PATH_END_M, VIEWS, Drive, way_through


@pytest.fixture(scope="module")
def views():
    return [view for seed in range(3) for other in (False, True)
            for view in Drive(build_town(seed), (seed, int(other)), other).views(60)]


def test_every_kind_of_view_is_drawn_by_its_share(views):
    for kind, (share, _) in VIEWS.items():
        assert np.mean([view.kind == kind for view in views]) == pytest.approx(share, abs=0.06), kind


def test_cars_of_the_traffic_keep_their_lane_and_others_are_off_it_and_askew(views):
    lateral, turn = {True: [], False: []}, {True: [], False: []}
    for view in views:
        route, ego = view.state.route, view.state.ego
        station, left = route.locate(ego.x_m, ego.y_m, view.station_m)
        heading = np.interp(station, route.station_m, route.heading_rad)
        lateral[view.kind == "traffic"].append(abs(left))
        turn[view.kind == "traffic"].append(abs(np.degrees((ego.yaw_rad - heading + np.pi) % (2 * np.pi) - np.pi)))
        assert view.station_m <= route.length_m - PATH_END_M + 1e-6
    assert np.median(lateral[True]) < 0.35 and np.median(turn[True]) < 3
    assert 0.3 < np.median(lateral[False]) < 0.6 and max(lateral[False]) < 2.6 and 3 < np.median(turn[False]) < 6.5


def test_no_view_is_in_another_lane_of_its_direction(views):
    """From there no picture can tell which lane the route means; a car that changes lanes is half in both."""
    for view in views:
        route, ego, network = view.state.route, view.state.ego, view.state.town.network
        for ahead_m in (0.0, EGO_SHAPE.front_m):
            x, y = ego.x_m + ahead_m * np.cos(ego.yaw_rad), ego.y_m + ahead_m * np.sin(ego.yaw_rad)
            lane = network.lane_at(x, y, ego.yaw_rad)
            own = route.lanes[route.lane_index[route.index_at(view.station_m + ahead_m)]]
            assert lane in (None, own) or network.lanes[lane].junction is not None, (view.kind, view.station_m)


def test_nobody_stands_in_the_camera(views):
    for view in views:
        ego = view.state.ego
        centre = np.array([ego.x_m + EGO_SHAPE.centre_forward_m * np.cos(ego.yaw_rad),
                           ego.y_m + EGO_SHAPE.centre_forward_m * np.sin(ego.yaw_rad)])
        gap = np.hypot(*(view.state.actors.pose[:, :2] - centre).T)
        assert (gap > 3.2 + view.state.actors.size_m[:, 0] / 2).all() or (
            view.state.actors.kind[gap.argmin()] != ActorKind.VEHICLE)
        assert (gap[(view.state.actors.pose != AWAY).any(axis=1)] < 5_000).all()


def test_lights_show_every_phase_near_and_far(views):
    seen, distances = [], []
    for view in views:
        distance, group = next_light(view.state.route, view.station_m)
        if view.kind == "light" and group >= 0:
            seen.append(int(view.state.signals[group]))
            distances.append(distance)
    share = np.bincount(seen, minlength=5) / len(seen)
    assert share[Phase.RED] > 0.15 and share[Phase.GREEN] > 0.15
    assert share[Phase.RED_YELLOW] > 0.06 and share[Phase.YELLOW] > 0.06
    assert min(distances) < 10 and max(distances) > 45


def test_changed_signs_are_of_all_classes_but_those_at_lines_stay(views):
    still = [SIGN_INDEX["stop"], SIGN_INDEX["yield"]]
    classes = set()
    for seed in range(3):
        town = build_town(seed)
        other = Drive(town, (seed, 1), True).town
        at_lines = np.isin(town.signs.sign, still)
        np.testing.assert_array_equal(other.signs.sign[at_lines], town.signs.sign[at_lines])
        assert not np.isin(other.signs.sign[~at_lines], still).any()
        assert (other.signs.sign != town.signs.sign).mean() > 0.5 and other.network is town.network
        classes |= set(other.signs.sign.tolist())
    assert len(classes) > 0.8 * len(SIGNS)


def test_same_seed_same_views():
    first, again = ([state_bytes(view.state) for view in Drive(build_town(5), (1, 2), True).views(8)] for _ in range(2))
    assert first == again
    assert first != [state_bytes(view.state) for view in Drive(build_town(5), (1, 3), True).views(8)]


def test_a_way_leads_through_its_lane_and_far_enough_on():
    network = build_town(4).network
    for lane in network.lanes[::7]:
        for at in (0.0, lane.length_m / 2, lane.length_m):
            route, station = way_through(network, lane.id, at, 40.0, np.random.default_rng(0))
            point = np.array([np.interp(at, lane.station_m, lane.centre_m[:, k]) for k in range(2)])
            found = np.array([np.interp(station, route.station_m, route.points_m[:, k]) for k in range(2)])
            assert np.hypot(*(point - found)) < 0.6
            assert station >= 39.0 and route.length_m - station > 100.0


def test_shapes_of_road_users_are_the_same_all_along_a_drive():
    views = list(Drive(build_town(2), (7,), False).views(6))
    for field in ("id", "kind", "size_m", "colour"):
        assert len({getattr(view.state.actors, field).tobytes() for view in views}) == 1
    assert dataclasses.is_dataclass(views[0])
