"""Passing over the oncoming lane: legal beside a vehicle that stands in the way of a dashed road, else not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from straight_road import LANE_Y_M, actors, judge, state, town

from envs.obstruction import HAZARD, may_pass
from envs.roads.network import Marking
from envs.state import Actors, Town


def _solid(place: Town) -> Town:
    lanes = tuple(dataclasses.replace(lane, left=Marking.SOLID) for lane in place.network.lanes)
    return dataclasses.replace(place, network=dataclasses.replace(place.network, lanes=lanes))


def _off_lane(others: Actors, place: Town, first_m: float = 35.0, last_m: float = 80.0) -> int:
    """Steps off the lane of a drive on the oncoming lane past whatever stands at x = 60 m."""
    drive = [state(x, -LANE_Y_M, step=k, actors=others, place=place)
             for k, x in enumerate(np.arange(first_m, last_m, 1.0))]
    return sum(fact.is_off_lane or fact.is_wrong_lane for fact in judge(drive))


def test_a_broken_down_car_may_be_passed_over_a_dashed_line():
    assert _off_lane(actors((60.0, LANE_Y_M, 0.0, 0.0)), town()) == 0


def test_without_an_obstacle_or_over_a_solid_line_it_is_the_wrong_lane():
    assert _off_lane(actors((60.0, -7.0, 0.0, 0.0)), town()) == 44  # parked beside the road
    assert _off_lane(actors((60.0, LANE_Y_M, 0.0, 0.0)), _solid(town())) == 44


def test_thirty_metres_further_on_it_is_the_wrong_lane_again():
    assert _off_lane(actors((60.0, LANE_Y_M, 0.0, 0.0)), town(), 95.0, 105.0) == 9


@pytest.mark.parametrize(("lamps", "allowed"), [(0, False), (HAZARD, True)])
def test_who_has_driven_and_halts_stands_in_the_way_only_with_hazard_lights(lamps, allowed):
    halted = dataclasses.replace(actors((60.0, LANE_Y_M, 0.0, 0.0)), lamps=np.array([lamps], np.uint8))
    assert may_pass(state(45.0, actors=halted), np.array([True]), 45.0) is allowed
