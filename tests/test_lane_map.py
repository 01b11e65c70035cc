"""The flattened network: the same places, conflicts of the table, and lanes abreast in bends."""

import math

import numpy as np
import pytest

from envs.drivers import lane_map as lm
from envs.geometry import interpolate, project
from envs.roads.procedural import build_town


def records(world):
    return world.lanes.view(np.recarray)


@pytest.fixture(scope="module", params=(1, 4))
def network(request):
    return build_town(request.param).network


def test_places_are_those_of_the_lanes(network):
    world = lm.lane_map(network)
    for lane in network.lanes:
        at = np.linspace(0.0, lane.length_m, 17)
        row = records(world)[lane.id]
        found = np.array([lm.place.py_func(world.points, row, station) for station in at])
        assert np.abs(found[:, :2] - interpolate(lane.centre_m, lane.station_m, at)).max() < 0.06
        turned = found[:, 2] - np.interp(at, lane.station_m, np.unwrap(lane.heading_rad))
        assert np.abs(np.angle(np.exp(1j * turned))).max() < 0.12


def test_half_widths_are_those_of_the_lanes(network):
    """Town 4 has two narrowings."""
    world = lm.lane_map(network)
    for lane in network.lanes:
        at, row = np.linspace(0.0, lane.length_m, 17), records(world)[lane.id]
        found = [lm.half_width.py_func(world.points, row, station) for station in at]
        np.testing.assert_allclose(found, np.broadcast_to(lane.half_at(at), 17), atol=0.02)


def test_the_map_is_made_once(network):
    assert lm.lane_map(network) is lm.lane_map(network)


def test_every_conflict_of_the_table_is_there(network):
    world, table = lm.lane_map(network), network.conflicts
    for lane in network.lanes:
        row = world.lanes[lane.id]
        rows = world.conflicts[row["conflict_from"]:row["conflict_to"]]
        own = table.rows_of(lane.id)
        assert rows["other"][rows["long_only"] == 0].tolist() == table.second[own].tolist()
        assert rows["yields"][rows["long_only"] == 0].tolist() == table.yields[own].astype(int).tolist()
        for other in rows["other"][rows["long_only"] == 1]:  # both ways
            back = world.conflicts[world.lanes[other]["conflict_from"]:world.lanes[other]["conflict_to"]]
            assert lane.id in back["other"].tolist()


def test_the_speed_in_bends_can_be_reached_by_gentle_braking(network):
    world = lm.lane_map(network)
    for row in world.lanes:
        speed = world.points[row["first"]:row["first"] + row["count"], 3]
        assert (np.diff(speed ** 2) >= -2 * lm.EASY_MPS2 * row["step_m"] - 1e-9).all()
        assert speed.min() <= math.sqrt(lm.LATERAL_MPS2 * row["radius_m"]) + 1e-6


def test_abreast_is_the_nearest_point_of_the_lane_beside(network):
    world, checked = lm.lane_map(network), 0
    rows = records(world)
    for lane in network.lanes:
        for beside, way in ((lane.left_neighbour, 1.0), (lane.opposite, -1.0)):
            if beside is None:
                continue
            other = network.lanes[beside]
            for station in np.linspace(5.0, lane.length_m - 5.0, 7):
                x, y = interpolate(lane.centre_m, lane.station_m, np.array([station]))[0]
                nearest = project(other.centre_m, other.station_m, x, y, 0, len(other.centre_m))[0]
                found = lm.abreast.py_func(world.points, rows[lane.id], rows[beside], station, way)
                assert found == pytest.approx(nearest, abs=0.15)
                checked += 1
    assert checked > 50
