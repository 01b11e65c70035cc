"""Routes and look-ups: a town drawn by hand with known answers, then real towns against shapely and brute force."""

import math

import numpy as np
import pytest
import shapely

from envs.roads.network import (
    COMMAND_RANGE_M,
    GOAL_CLEARANCE_M,
    ROUTE_SPACING_M,
    SHOULDER_M,
    Command,
    Control,
    Junction,
    Lane,
    Marking,
    RoadNetwork,
    Surface,
    random_route,
    route_over,
)
from envs.roads.procedural import build_network

VAL_SEEDS = range(10000, 10100)
MPS_50, MPS_30 = 50 / 3.6, 30 / 3.6


def lane(number: int, points: list[tuple[float, float]], successors: tuple[int, ...], **fields) -> Lane:
    fields = {"width_m": 3.0, "speed_limit_mps": MPS_50, "left": Marking.DASHED, "right": Marking.SOLID,
              "surface": 0} | fields
    return Lane(id=number, centre_m=np.array(points, float), successors=successors, **fields)


@pytest.fixture
def hook() -> RoadNetwork:
    """100 m east to a stop line, a left turn of two straights (10 m and 10 m), then 100 m north; 3 is the way back."""
    turn = {"junction": 0, "left": Marking.NONE, "right": Marking.NONE}
    lanes = (
        lane(0, [(x, 0) for x in range(0, 101, 2)], (1,), control=Control.STOP, opposite=3),
        lane(1, [(100, 0), (110, 0), (110, 10)], (2,), turn=Command.LEFT, speed_limit_mps=MPS_50, **turn),
        lane(2, [(110, y) for y in range(10, 111, 2)], (), speed_limit_mps=MPS_30),
        lane(3, [(x, 3) for x in range(100, -1, -2)], (), opposite=0),
    )
    area = np.array([(100.0, -5.0), (115.0, -5.0), (115.0, 10.0), (100.0, 10.0)])
    return RoadNetwork(lanes, (Junction(0, (0,), (1,), (2,)),), (Surface("tee", area, 0),))


def test_route_announces_the_turn_sixty_metres_ahead_and_counts_down(hook):
    route = route_over(hook, (0, 1, 2))
    at = {station: route.index_at(station) for station in (0.0, 39.0, 41.0, 99.5, 100.0, 119.0, 120.0, 200.0)}
    command = {station: Command(route.command[i]) for station, i in at.items()}
    distance = {station: float(route.manoeuvre_m[i]) for station, i in at.items()}
    assert command == {0.0: Command.FOLLOW, 39.0: Command.FOLLOW, 41.0: Command.LEFT, 99.5: Command.LEFT,
                       100.0: Command.LEFT, 119.0: Command.LEFT, 120.0: Command.FOLLOW, 200.0: Command.FOLLOW}
    assert distance == {0.0: COMMAND_RANGE_M, 39.0: COMMAND_RANGE_M, 41.0: 59.0, 99.5: 0.5, 100.0: 0.0, 119.0: 0.0,
                        120.0: COMMAND_RANGE_M, 200.0: COMMAND_RANGE_M}


def test_route_knows_its_length_limits_stops_and_lanes(hook):
    route = route_over(hook, (0, 1, 2))
    assert route.length_m == pytest.approx(220.0)
    assert route.stops == ((100.0, Control.STOP),)
    assert np.diff(route.station_m) == pytest.approx(ROUTE_SPACING_M)
    assert route.speed_limit_mps[route.index_at(50.0)] == MPS_50
    assert route.speed_limit_mps[route.index_at(150.0)] == MPS_30
    stations = (0.0, 99.5, 100.0, 119.5, 120.0, 220.0)
    assert [int(route.lane_index[route.index_at(station)]) for station in stations] == [0, 0, 1, 1, 2, 2]
    assert route.heading_rad[route.index_at(200.0)] == pytest.approx(math.pi / 2)


def test_route_may_start_and_end_within_its_lanes(hook):
    route = route_over(hook, (0, 1, 2), start_m=80.0, length_m=60.0)
    np.testing.assert_allclose(route.points_m[[0, -1]], [[80.0, 0.0], [110.0, 30.0]])
    assert route.stops == ((20.0, Control.STOP),)
    assert route_over(hook, (0, 1, 2), start_m=0.0, length_m=90.0).stops == ()


def test_route_over_lanes_that_do_not_meet_is_refused(hook):
    with pytest.raises(ValueError, match="lane 2 does not follow lane 0"):
        route_over(hook, (0, 2))


def test_town_without_a_long_enough_route_is_refused(hook):
    with pytest.raises(ValueError, match="no route of 300 m"):
        random_route(hook, np.random.default_rng(0))


def test_locating_near_a_station_ignores_the_far_end(hook):
    route = route_over(hook, (0, 1, 2))
    assert route.locate(60.0, 1.0) == pytest.approx((60.0, 1.0))
    assert route.locate(112.0, 60.0) == pytest.approx((170.0, -2.0))
    station, _ = route.locate(112.0, 60.0, near_m=20.0)
    assert station <= 51.0


def test_by_hand_who_may_drive_where(hook):
    assert hook.lane_at(50.0, 1.0, 0.3) == 0
    assert hook.lane_at(50.0, 1.0, math.pi) == 3  # facing west 0.5 m over the middle: the other lane is in reach
    assert hook.lane_at(50.0, 3.0, 0.0) is None  # on the far lane, against its traffic
    assert hook.lane_at(50.0, -3.0, 0.0) is None
    assert hook.is_on_road(50.0, -1.9) and not hook.is_on_road(50.0, -2.1)
    assert hook.is_on_road(50.0, -2.9, margin_m=1.5)
    assert hook.is_on_road(113.5, 5.0)  # no lane is near, but it lies between the junction's kerbs
    assert not hook.is_on_road(116.0, 5.0)
    np.testing.assert_allclose(hook.distance_to_road(np.array([[50.0, -4.0], [50.0, 0.0], [50.0, -90.0]]), reach_m=9.0),
                               [2.0, -2.0, 9.0])


def test_surfaces_and_lanes_tell_the_same_road():
    """Over random points: on the road is inside the paved polygons, but for what rounding arcs to chords leaves."""
    for seed in range(4):
        network = build_network(seed)
        paved = shapely.union_all([shapely.Polygon(surface.outline_m) for surface in network.surfaces])
        rng = np.random.default_rng(seed)
        centres = np.concatenate([lane.centre_m for lane in network.lanes])
        points = centres[rng.integers(len(centres), size=1500)] + rng.normal(0.0, 3.5, (1500, 2))
        clear = shapely.distance(paved.boundary, shapely.points(points)) > 0.05
        on_road = np.array([network.is_on_road(x, y) for x, y in points])
        inside = shapely.contains_xy(paved, points)
        np.testing.assert_array_equal(on_road[clear], inside[clear])
        assert 0.3 < inside.mean() < 0.95
        gap = network.distance_to_road(points)
        outside = clear & ~inside
        np.testing.assert_allclose(gap[outside], shapely.distance(paved, shapely.points(points[outside])), atol=0.06)


def test_car_in_its_lane_is_told_that_lane_and_against_traffic_none():
    network = build_network(5)
    for lane in network.lanes:
        middle = len(lane.centre_m) // 2
        (x, y), yaw = lane.centre_m[middle], lane.heading_rad[middle]
        if lane.junction is None:
            assert network.lane_at(x, y, yaw + 0.5) == lane.id
            assert network.lane_at(x, y, yaw + math.pi) is None
        else:
            assert network.lanes[network.lane_at(x, y, yaw)].junction == lane.junction


def test_paint_follows_right_hand_traffic():
    """On a lane's left lies the lane that comes towards it, beyond the centre line; on its right the shoulder ends."""
    network = build_network(8)
    for lane in network.lanes:
        if lane.junction is not None:
            assert lane.left == lane.right == Marking.NONE and lane.opposite is None
            continue
        assert lane.left in (Marking.DASHED, Marking.SOLID) and lane.right == Marking.SOLID
        middle = len(lane.centre_m) // 2
        left = np.array([-math.sin(lane.heading_rad[middle]), math.cos(lane.heading_rad[middle])])
        beside = lane.centre_m[middle] + left * lane.width_m
        assert network.lane_at(*beside, lane.heading_rad[middle] + math.pi) == lane.opposite
        assert not network.is_on_road(*(lane.centre_m[middle] - left * (lane.width_m / 2 + SHOULDER_M + 0.1)))
        assert network.lanes[lane.opposite].opposite == lane.id


def test_every_val_town_has_routes_of_300_to_800_m_and_most_of_them_turn():
    num_turning, num_stops = 0, 0
    for seed in VAL_SEEDS:
        network = build_network(seed)
        route = random_route(network, np.random.default_rng(seed))
        turns = {network.lanes[lane].turn for lane in route.lanes if network.lanes[lane].junction is not None}
        num_turning += bool(turns & {Command.LEFT, Command.RIGHT})
        num_stops += len(route.stops)
        assert 300.0 - ROUTE_SPACING_M <= route.length_m <= 800.0
        assert network.lanes[route.lanes[route.lane_index[-1]]].junction is None
        ahead = route.length_m - np.array([station for station, _ in route.stops] or [0.0])
        assert (ahead >= GOAL_CLEARANCE_M - ROUTE_SPACING_M).all()
        assert np.hypot(*np.diff(route.points_m, axis=0).T).max() <= ROUTE_SPACING_M + 1e-9
        assert np.abs(np.diff(route.heading_rad)).max() < 0.1
    assert num_turning >= 80
    assert num_stops >= 50


def test_same_seed_gives_the_same_route():
    network = build_network(3)
    first, second = (random_route(network, np.random.default_rng(7)) for _ in range(2))
    assert first.lanes == second.lanes and first.points_m.tobytes() == second.points_m.tobytes()
