"""Routes and look-ups: a town drawn by hand with known answers, then real towns against shapely and brute force."""

import math
from dataclasses import replace

import numpy as np
import pytest
import shapely

from envs.roads.network import (
    CHANGE_AFTER_M,
    SHOULDER_M,
    SOLID_BEFORE_JUNCTION_M,
    Command,
    Control,
    Junction,
    Lane,
    Marking,
    RoadNetwork,
    Surface,
)
from envs.roads.procedural import build_network
from envs.roads.routes import (
    CHANGE_ACCEL_MPS2,
    COMMAND_RANGE_M,
    END_RANGE_M,
    GOAL_CLEARANCE_M,
    ROUTE_SPACING_M,
    change_length,
    navigation,
    random_route,
    route_over,
)

VAL_SEEDS = range(10000, 10100)
MPS_50, MPS_30 = 50 / 3.6, 30 / 3.6


def lane(number: int, points: list[tuple[float, float]], successors: tuple[int, ...], **fields) -> Lane:
    fields = {"width_m": 3.0, "speed_limit_mps": MPS_50, "left": Marking.DASHED, "right": Marking.SOLID,
              "surface": 0} | fields
    return Lane(id=number, centre_m=np.array(points, float), successors=successors, **fields)


@pytest.fixture
def avenue() -> RoadNetwork:
    """Three lanes of 3.5 m north over 200 m, counted from the middle of the road at x = 0, and one that comes back.

    The left lane (0) ends at a stop line before a left turn (4), the right ones (1, 2) lead straight on (5, 6).
    """
    inner = {"right": Marking.DASHED, "width_m": 3.5}
    turn = {"junction": 0, "left": Marking.NONE, "right": Marking.NONE, "width_m": 3.5}
    north = [[(x, y) for y in range(0, 201, 2)] for x in (1.75, 5.25, 8.75)]
    lanes = (
        lane(0, north[0], (4,), opposite=3, right_neighbour=1, control=Control.STOP, **inner),
        lane(1, north[1], (5,), left_neighbour=0, right_neighbour=2, control=Control.STOP, **inner),
        lane(2, north[2], (6,), left_neighbour=1, control=Control.STOP, width_m=3.5),
        lane(3, [(-1.75, y) for y in range(200, -1, -2)], (), opposite=0, width_m=3.5),
        lane(4, [(1.75, 200), (1.75, 210), (-8.25, 210)], (7,), turn=Command.LEFT, **turn),
        lane(5, [(5.25, 200), (5.25, 220)], (8,), turn=Command.STRAIGHT, **turn),
        lane(6, [(8.75, 200), (8.75, 220)], (9,), turn=Command.STRAIGHT, **turn),
        lane(7, [(-8.25 - x, 210) for x in range(0, 101, 2)], (), width_m=3.5),
        lane(8, [(5.25, y) for y in range(220, 281, 2)], (), width_m=3.5, right_neighbour=9),
        lane(9, [(8.75, y) for y in range(220, 281, 2)], (), width_m=3.5, left_neighbour=8),
    )
    return RoadNetwork(lanes, (Junction(0, (0, 1, 2), (4, 5, 6), (7, 8, 9)),), ())


@pytest.fixture(scope="module")
def ring() -> RoadNetwork:
    """A generated town's roundabout of four arms, alone as junction 0."""
    for seed in range(100):
        network = build_network(seed)
        for junction in network.junctions:
            if network.surfaces[network.lanes[junction.turns[0]].surface].piece == "roundabout" and \
                    len(junction.incoming) == 4:
                return replace(network, junctions=(junction,))
    raise LookupError("no roundabout of four arms")


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


def test_route_tells_how_far_the_turns_end_is(hook):
    route = route_over(hook, (0, 1, 2))
    end = {station: float(route.command_at(station)[5]) for station in (39.0, 41.0, 99.5, 100.0, 119.0, 120.0)}
    assert end == {39.0: END_RANGE_M, 41.0: 79.0, 99.5: 20.5, 100.0: 20.0, 119.0: 1.0, 120.0: END_RANGE_M}
    turn = [float(route.command_at(station)[6]) for station in (39.0, 41.0, 100.0, 115.0, 120.0)]
    assert turn == pytest.approx([0.0, math.pi / 2, math.pi / 2, 0.0, 0.0], abs=1e-6)


def test_what_no_map_tells_of_a_manoeuvre_is_usual():
    """A photograph's manoeuvre has a begin alone; where nothing is asked both are as far as can be told."""
    assert navigation()[4:6].tolist() == [COMMAND_RANGE_M, END_RANGE_M]
    assert 10.0 < navigation(Command.RIGHT, 20.0)[5] - 20.0 < navigation(Command.LEFT, 20.0)[5] - 20.0 < 30.0
    assert navigation(Command.RIGHT, 20.0, end=(32.0, -1.0))[5:7].tolist() == [32.0, -1.0]


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


def test_route_changes_lanes_early_smoothly_and_once(avenue):
    """At 50 km/h a lane is left after 15 m, sideways at 1.2 m/s2 at most, and the stop line is the new lane's."""
    route = route_over(avenue, (1, 0, 4, 7))
    (change,) = route.changes
    assert change.side == 1 and change.begin_m == pytest.approx(CHANGE_AFTER_M, abs=0.1)
    assert change.end_m - change.begin_m == pytest.approx(change_length(MPS_50, 3.5), rel=0.01)
    x, station = route.points_m[:, 0], route.station_m
    assert x[station < change.begin_m] == pytest.approx(5.25, abs=0.01)
    assert x[route.index_at(change.middle_m)] == pytest.approx(3.5, abs=0.05)
    straight = (station > change.end_m) & (station < 199.0)
    assert x[straight] == pytest.approx(1.75, abs=0.01)
    every_4_m = x[:route.index_at(195.0):8]  # points of lanes are 2 m apart
    sideways = np.diff(every_4_m, n=2) / 4.0 ** 2 * MPS_50 ** 2
    assert np.abs(sideways).max() == pytest.approx(CHANGE_ACCEL_MPS2, rel=0.15)
    assert [avenue.lanes[route.lanes[k]].id for k in route.lane_index[[0, route.index_at(change.middle_m - 1),
            route.index_at(change.middle_m + 1), route.index_at(205.0)]]] == [1, 1, 0, 4]
    assert len(route.stops) == 1 and route.stops[0][0] == pytest.approx(200.0, abs=0.2)
    assert route.shift_m[straight] == pytest.approx(3.5) and route.shift_m[-1] == 0.0


def test_route_crosses_two_lanes_in_a_row_and_both_changes_end_before_the_solid_line(avenue):
    route = route_over(avenue, (2, 1, 0, 4, 7))
    first, second = route.changes
    assert first.end_m == pytest.approx(second.begin_m) and second.end_m < 200.0 - SOLID_BEFORE_JUNCTION_M + 0.5
    assert route.points_m[route.index_at(second.end_m + 1), 0] == pytest.approx(1.75, abs=0.01)
    assert sorted(set(route.lane_index.tolist())) == [0, 1, 2, 3, 4]
    assert len(route.stops) == 1


def test_a_lane_change_is_announced_until_it_is_done(avenue):
    """Two to the left in a row, from the first metre on; the junction at 200 m is told beside them."""
    route = route_over(avenue, (2, 1, 0, 4, 7))
    first, second = route.changes
    for station in (0.0, first.begin_m + 5.0, first.end_m + 1.0, second.end_m - 0.5):
        change = first if station < first.end_m else second
        side, begin_m, end_m = route.command_at(station)[7:]
        assert side == 1.0 and begin_m == pytest.approx(max(change.begin_m - station, 0.0), abs=1e-3)
        assert end_m == pytest.approx(min(change.end_m - station, END_RANGE_M), abs=1e-3)
    assert route.command_at(second.end_m + 0.1)[7:].tolist() == [0.0, COMMAND_RANGE_M, END_RANGE_M], "none is left"
    to_the_right = route_over(avenue, (1, 2), start_m=0.0)
    assert to_the_right.command_at(0.0)[7] == -1.0
    assert (navigation(change=first, station_m=first.begin_m - COMMAND_RANGE_M - 0.1) == navigation()).all()


def test_route_knows_how_far_its_direction_reaches_on_both_sides(avenue):
    """From the middle lane 1.75 + 3.5 m each way; the sum of three lanes stays while the route moves over them."""
    route = route_over(avenue, (1, 0, 4, 7))
    assert (route.left_m[0], route.right_m[0]) == (5.25, 5.25)
    on_road = route.station_m < 199.0
    assert (route.left_m + route.right_m)[on_road] == pytest.approx(10.5)
    assert (route.points_m[:, 0] - route.left_m)[on_road] == pytest.approx(0.0, abs=0.01), "the middle of the road"
    turning = route.index_at(205.0)
    assert (route.left_m[turning], route.right_m[turning]) == (1.75, 1.75)
    ahead = route_over(avenue, (1, 5, 8))
    over = ahead.index_at(210.0)
    assert (ahead.left_m[over], ahead.right_m[over]) == (1.75, 5.25), "only the lane on its right goes straight on too"


def test_change_of_lanes_on_a_short_road_is_refused(avenue):
    with pytest.raises(ValueError, match="no room on lane 8"):
        route_over(avenue, (5, 8, 9))
    assert set(avenue.ways.successors(1)) == {0, 2, 5} and set(avenue.ways.successors(8)) == set()
    assert set(avenue.graph.successors(1)) == {5}


def test_command_in_a_roundabout_is_where_it_leads_in_all(ring):
    """Arms at 0, 90, 180 and 270 degrees: from arm 0 the first exit is right, then straight on, left, and back."""
    network = ring
    expected = {1: Command.RIGHT, 2: Command.STRAIGHT, 3: Command.LEFT, 0: Command.LEFT}
    first = {k: network.junctions[0].turns[4 * k] for k in range(4)}  # entry, exit, past the arm, on to the next
    for out, command in expected.items():
        way = [network.junctions[0].incoming[0], first[0], first[0] + 3]
        for k in range(1, out if out else 4):
            way += [first[k] + 2, first[k] + 3]
        route = route_over(network, (*way, first[out] + 1, network.junctions[0].outgoing[out]))
        begin, end = network.lanes[way[0]].length_m, route.length_m - network.lanes[route.lanes[-1]].length_m
        inside = (route.station_m >= begin) & (route.station_m < end - ROUTE_SPACING_M)
        assert set(route.command[inside]) == {command} and (route.manoeuvre_m[inside] == 0).all()
        assert Command(route.command[route.index_at(begin - 30.0)]) == command
        assert route.manoeuvre_m[route.index_at(begin - 30.0)] == pytest.approx(30.0, abs=ROUTE_SPACING_M)
        assert route.stops[0] == (pytest.approx(begin), Control.YIELD)
        to_end = route.manoeuvre_end_m[inside]
        assert to_end == pytest.approx(end - route.station_m[inside], abs=ROUTE_SPACING_M)
        assert to_end[0] > 15.0 * (out or 4), "a quarter more to each exit"
        turns = route.manoeuvre_turn_rad[inside]
        assert turns[0] == pytest.approx((out or 4) * math.pi / 2 - math.pi, abs=0.15), "in all"
        assert turns.max() > turns[0] + 0.5, "one enters to the right"


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
        paved = shapely.union_all([shapely.Polygon(surface.outline_m, [] if surface.island_m is None else
                                                   [surface.island_m]) for surface in network.surfaces])
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
    """On a lane's left lies what comes towards it, beyond the centre line, or its neighbour; on its right the shoulder
    ends or another neighbour begins."""
    kinds = set()
    towns = [build_network(seed) for seed in range(8, 24)]
    for lane, network in [(lane, town) for town in towns for lane in town.lanes]:
        piece = network.surfaces[lane.surface].piece
        if lane.junction is not None:
            assert lane.left == lane.right == Marking.NONE or piece in ("exit_ramp", "merge_ramp")
            assert lane.opposite is None
            continue
        if piece == "ramp":
            assert lane.opposite is None and lane.left in (Marking.SOLID, Marking.BLOCK) and lane.right == Marking.SOLID
            continue
        if (any(lane.id in median.lanes for median in network.medians)
                or any({lane.id, lane.opposite} & {works.lane} for works in network.works)):
            continue  # lanes swerve, see test_pieces.py
        middle = len(lane.centre_m) // 2
        heading = lane.heading_rad[middle]
        left = np.array([-math.sin(heading), math.cos(heading)])
        beside = lane.centre_m[middle] + left * lane.width_m
        if lane.opposite is not None:
            assert network.lane_at(*beside, heading + math.pi) == lane.opposite
            is_wide = lane.right_neighbour is not None
            assert lane.left == Marking.DOUBLE if is_wide else lane.left in (Marking.DASHED, Marking.SOLID)
        else:
            assert network.lane_at(*beside, heading) == lane.left_neighbour and lane.left == Marking.DASHED
        if lane.right_neighbour is None:
            assert lane.right == Marking.SOLID
            beyond = lane.centre_m[middle] - left * (lane.width_m / 2 + SHOULDER_M + 0.1)
            assert not network.is_on_road(*beyond) or lane.id in {bay.lane for bay in network.bays} | {
                number for number, _, _ in network.open_edges}
        else:
            assert lane.right == Marking.DASHED
        kinds.add(lane.left)
    assert kinds == {Marking.DASHED, Marking.SOLID, Marking.DOUBLE}


@pytest.mark.slow
def test_every_val_town_has_routes_of_300_to_800_m_and_most_of_them_turn():
    num_turning, num_stops, num_changes = 0, 0, 0
    for seed in VAL_SEEDS:
        network = build_network(seed)
        route = random_route(network, np.random.default_rng(seed))
        turns = {network.lanes[lane].turn for lane in route.lanes if network.lanes[lane].junction is not None}
        num_turning += bool(turns & {Command.LEFT, Command.RIGHT})
        num_stops += len(route.stops)
        num_changes += len(route.changes)
        assert 300.0 - ROUTE_SPACING_M <= route.length_m <= 800.0
        assert network.lanes[route.lanes[route.lane_index[-1]]].junction is None
        ahead = route.length_m - np.array([station for station, _ in route.stops] or [0.0])
        assert (ahead >= GOAL_CLEARANCE_M - ROUTE_SPACING_M).all()
        assert np.hypot(*np.diff(route.points_m, axis=0).T).max() <= ROUTE_SPACING_M + 1e-9
        assert np.abs(np.diff(route.heading_rad)).max() < 0.1
    assert num_turning >= 80
    assert num_stops >= 50 and num_changes >= 10


def test_same_seed_gives_the_same_route():
    network = build_network(3)
    first, second = (random_route(network, np.random.default_rng(7)) for _ in range(2))
    assert first.lanes == second.lanes and first.points_m.tobytes() == second.points_m.tobytes()
