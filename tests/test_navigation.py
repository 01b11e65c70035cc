"""The way that the navigation's numbers describe, against a drive integrated step by step and against real routes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from envs.geometry import ego_from_world
from envs.roads.network import Command
from envs.roads.procedural import build_network
from envs.roads.routes import COMMAND_HIGH, navigation, random_route
from perception.navigation import STATIONS_M, WAY, way_told


def told(command) -> np.ndarray:
    """x and y (K, 2) [m] at STATIONS_M of one command."""
    flat = way_told(torch.from_numpy(np.asarray(command, np.float32)[None]))[0].numpy().reshape(2, -1).T * 10.0
    return flat + np.column_stack([STATIONS_M, np.zeros(len(STATIONS_M))])


@given(begin_m=st.floats(0, 60), length_m=st.floats(1, 60), turn_rad=st.floats(-4.5, 4.5))
def test_the_way_is_that_of_a_car_which_turns_evenly(begin_m, length_m, turn_rad):
    step_m = 0.01
    middle = np.arange(0.0, STATIONS_M[-1], step_m) + step_m / 2
    heading = turn_rad * np.clip((middle - begin_m) / length_m, 0, 1)
    driven = np.cumsum(np.column_stack([np.cos(heading), np.sin(heading)]) * step_m, axis=0)
    way = told(navigation(Command.LEFT, begin_m, end=(begin_m + length_m, turn_rad)))
    rows = np.round(np.array(STATIONS_M) / step_m).astype(int) - 1
    np.testing.assert_allclose(way, driven[rows], atol=2e-3)


def test_where_nothing_is_asked_the_way_is_straight():
    assert told(navigation()) == pytest.approx(np.column_stack([STATIONS_M, np.zeros(len(STATIONS_M))]))
    assert len(way_told(torch.from_numpy(COMMAND_HIGH[None]))[0]) == WAY


def test_the_way_through_a_junction_is_the_routes_to_the_lanes_width():
    """Seen from 2 m before it, 18 m far: half of all routes lie within 0.3 m of it, four of five within 1 m."""
    errors = []
    for seed in range(10_000, 10_040):
        route = random_route(build_network(seed), np.random.default_rng(seed))
        begins = np.flatnonzero((route.manoeuvre_m[1:] == 0) & (route.manoeuvre_m[:-1] > 0)) + 1
        for at in begins - 4:
            reach = route.manoeuvre_end_m[at]
            if reach > 35 or at < 0:  # no arc tells the way round an island
                continue
            pose = np.array([*route.points_m[at], route.heading_rad[at]])
            rows = [int(min(at + round(s / 0.5), len(route.points_m) - 1)) for s in STATIONS_M[:4]]
            true = ego_from_world(pose, route.points_m[rows])
            errors.append(np.hypot(*(told(route.command_at(float(route.station_m[at])))[:4] - true).T).max())
    assert len(errors) > 30
    assert np.median(errors) < 0.3 and np.quantile(errors, 0.8) < 1.0
