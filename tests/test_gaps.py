"""What people see of the vehicles: distances along winding lanes, and what to do about one that comes straight on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from envs.gaps import GO, HOLD, HURRY, RETREAT, can_stop, distance_of, foresee, is_occupied, is_past, seen
from envs.roads.procedural import build_town
from envs.roads.ways import WayKind, lane_lines, pack_ways, way_at
from envs.state import EGO_SHAPE, VehicleState, no_actors
from tests.straight_road import actors
from tests.test_walking import FAR, GROUNDS

PLAIN = GROUNDS[WayKind.PLAIN]


def car(x_m: float, y_m: float, yaw_rad: float, speed_mps: float) -> np.ndarray:
    return seen(FAR, actors((x_m, y_m, yaw_rad, speed_mps)))[1:]


def test_the_ego_car_is_seen_by_its_middle() -> None:
    row = seen(VehicleState(10.0, 2.0, math.pi / 2, speed_mps=7.0), no_actors())[0]
    np.testing.assert_allclose(row, [10.0, 2.0 + EGO_SHAPE.centre_forward_m, 0, 1, 7, 2.254, 0.805], atol=1e-9)


def test_distance_is_from_bumper_to_stripe() -> None:
    """The near edge of the 4 m wide crossing lies at x = 78 m; a car's front is 2.25 m before its middle."""
    for x, y, yaw, expected in [(50.0, -1.75, 0.0, 25.75), (79.0, -1.5, 0.1, -3.25), (110.0, 1.75, math.pi, 25.75),
                                (50.0, -1.75, math.pi, math.nan), (50.0, 6.0, 0.0, math.nan)]:
        gap = distance_of(car(x, y, yaw, 9.0)[0], 0, PLAIN.ways, PLAIN.lanes)
        assert gap == pytest.approx(expected, abs=0.1, nan_ok=True), (x, y)
    gone = car(85.0, -1.75, 0.0, 9.0)[0]
    assert is_past(distance_of(gone, 0, PLAIN.ways, PLAIN.lanes), gone, 4.0)


def test_distance_follows_the_lanes_through_a_junction() -> None:
    """In a town, a car on a lane that leads to the way's lane over a turn is as far as both lanes are long."""
    network = build_town(10_003).network
    lane = next(lane for lane in network.lanes if lane.junction is None and lane.length_m > 60.0)
    turn = next(other for other in network.lanes if lane.id in other.successors)
    into = next(other for other in network.lanes if turn.id in other.successors)
    way = way_at(network, lane, 30.0)
    assert way is not None
    ways, lines = pack_ways([way], np.zeros((1, 2), int), network, 1), lane_lines(network)
    x, y = into.centre_m[-12]
    expected = 30.0 + turn.length_m + into.length_m - into.station_m[-12] - 2.25 - way.width_m / 2
    assert distance_of(car(x, y, into.heading_rad[-12], 8.0)[0], 0, ways, lines) == pytest.approx(expected, abs=0.2)


@pytest.mark.parametrize(("speed_mps", "gap_m", "possible"), [
    (10.0, 13.1, True), (10.0, 12.9, False), (14.0, 25.1, True), (14.0, 24.9, False), (1.0, -0.1, False)])
def test_stopping_takes_four_metres_per_second_squared(speed_mps: float, gap_m: float, possible: bool) -> None:
    """v^2 / (2 * 4 m/s2) and half a metre."""
    assert can_stop(speed_mps, gap_m) == possible


# A car comes along y = 0 from the west with 10 m/s; its path with 0.5 m of air is 2.8 m wide.
@pytest.mark.parametrize(("front_m", "y_m", "walks_mps", "act"), [
    (-30.0, -3.0, 1.4, GO),  # it can stop: let it
    (-8.0, -3.0, 1.4, HOLD),  # it cannot, and I am not in its path yet
    (-8.0, -8.0, 1.4, GO),  # it will have passed
    (-8.0, 1.5, 1.4, GO),  # I am out of its path
    (-8.0, 0.2, 1.4, HURRY),  # almost out
    (-8.0, -1.2, 1.4, RETREAT),  # just in, and it is too late to pass
    (-12.0, -1.6, 2.6, HURRY),  # quick enough to pass before it
    (2.0, -1.8, 1.4, HOLD),  # it is just passing: nobody walks into its side
    (8.0, -1.8, 1.4, GO),  # it is past
])
def test_what_to_do_about_a_car_that_comes(front_m: float, y_m: float, walks_mps: float, act: int) -> None:
    cars = car(front_m - 2.25, 0.0, 0.0, 10.0)
    assert foresee((0.0, y_m), (0.0, walks_mps), 1.7, (0.0, 0.0), cars) == act
    assert foresee((0.0, -y_m), (0.0, -walks_mps), 1.7, (0.0, 0.0), cars) == act, "and mirrored"


def test_a_spot_in_a_car_is_occupied() -> None:
    cars = car(0.0, 0.0, math.pi / 2, 0.0)
    assert is_occupied(0.0, 2.0, cars, 0.1) == 0
    assert is_occupied(2.0, 0.0, cars, 0.1) == -1
