"""Who comes first, in generated towns: a car on the main road, seen from a side road with a yield or stop line."""

import dataclasses
import functools
import math

import numpy as np
import pytest

from envs.geometry import interpolate
from envs.right_of_way import claims, ego_times, is_lit, junction_lanes
from envs.roads.network import Control
from envs.roads.procedural import build_town
from envs.roads.routes import route_over
from envs.rules import fold, initial_memory
from envs.state import Actors, Lamp, Phase, VehicleState, WorldState
from tests import straight_road


@functools.cache
def meeting(seed: int) -> tuple:
    """(town, side lane, its junction lane, main lane, that lane's junction lane): the first yields to the second."""
    town = build_town(seed)
    network, table = town.network, town.network.conflicts
    for row in np.flatnonzero(table.yields):
        mine, other = network.lanes[table.first[row]], network.lanes[table.second[row]]
        into = {turn: lane for lane in network.lanes for turn in lane.successors}
        side, main = into[mine.id], into[other.id]
        if side.control != Control.NONE and main.control == Control.NONE and main.length_m > 40 and side.length_m > 40 \
                and {2, 3} <= {network.lanes[k].turn for k in main.successors} and other.turn == 3:
            return town, side, mine, main, other
    raise AssertionError("no such junction")


def scene(seed: int, away_m: float, speed_mps: float, ego_before_m: float = 1.0, lamps: int = 0,
          ego_mps: float = 3.0) -> WorldState:
    """The ego on the side lane, its rear axle `ego_before_m` + its front before the line; one car on the main road."""
    town, side, mine, main, _ = meeting(seed)

    def pose(lane, station):
        point = interpolate(lane.centre_m, lane.station_m, np.array([station]))[0]
        return [*point, float(np.interp(station, lane.station_m, np.unwrap(lane.heading_rad)))]
    car = Actors(np.array([0]), np.array([0]), np.array([pose(main, main.length_m - away_m)]),
                 np.array([[4.5, 1.8, 1.5]]), np.array([float(speed_mps)]), np.zeros((1, 3), np.uint8),
                 np.array([lamps], np.uint8))
    route = route_over(town.network, (side.id, mine.id, *mine.successors))
    ego = VehicleState(*pose(side, side.length_m - 3.548 - ego_before_m), speed_mps=ego_mps)
    return dataclasses.replace(straight_road.state(0.0), town=town, ego=ego, actors=car, route=route)


@pytest.mark.parametrize("seed", range(4))
def test_car_on_the_main_road_goes_first_and_its_time_is_way_over_speed(seed):
    _, _, mine, _, other = meeting(seed)
    found = [claim for claim in claims(scene(seed, 30.0, 10.0), mine.id) if claim.lane == other.id]
    assert len(found) == 1 and found[0].has_priority and not found[0].is_inside
    table = meeting(seed)[0].network.conflicts
    row = next(r for r in range(*table.rows_of(mine.id).indices(len(table.first))) if table.second[r] == other.id)
    assert found[0].arrives_s == pytest.approx((30.0 + table.second_from_m[row] - 2.25) / 10.0, abs=0.1)
    assert found[0].soonest_s <= found[0].arrives_s < found[0].leaves_s


def test_indicator_tells_the_turn_and_a_red_light_holds():
    _, _, mine, main, other = meeting(0)
    turning = claims(scene(0, 30.0, 10.0, lamps=int(Lamp.RIGHT)), mine.id)
    assert all(claim.lane != other.id for claim in turning)
    state = scene(0, 30.0, 10.0)
    lanes = tuple(dataclasses.replace(lane, signal=0) if lane.id == main.id else lane
                  for lane in state.town.network.lanes)
    lit = dataclasses.replace(state, town=dataclasses.replace(
        state.town, network=dataclasses.replace(state.town.network, lanes=lanes)), signals=np.array([int(Phase.RED)]))
    assert is_lit(lit, lit.town.network.lanes[main.id]) and claims(lit, mine.id) == []
    assert len(claims(dataclasses.replace(lit, signals=np.array([int(Phase.OFF)])), mine.id)) > 0


@pytest.mark.parametrize(("away_m", "speed_mps", "is_failure"), [
    (30.0, 14.0, True), (85.0, 4.0, False), (60.0, 0.0, False)])
def test_driving_out_before_somebody_is_judged_by_time_not_by_sight(away_m, speed_mps, is_failure):
    before = scene(1, away_m, speed_mps, ego_before_m=0.6)
    after = dataclasses.replace(scene(1, away_m, speed_mps, ego_before_m=-0.6), step=1, time_s=0.1)
    facts = fold(initial_memory(before), after)[1]
    assert facts.has_failed_to_yield is is_failure


def test_times_of_the_ego_follow_from_pulling_away():
    """From a standstill at 2 m/s2: sqrt(2 s / a)."""
    _, _, mine, _, _ = meeting(0)
    claim = claims(scene(0, 30.0, 10.0), mine.id)[0]
    enters, leaves = ego_times(1.5, claim, 0.0)
    assert enters == pytest.approx(math.sqrt(1.5 + claim.from_m))
    assert leaves == pytest.approx(math.sqrt(1.5 + claim.to_m + 4.508))


def test_junction_lanes_of_a_route_come_in_order():
    town, side, mine, _, _ = meeting(0)
    route = route_over(town.network, (side.id, mine.id, *mine.successors))
    ((at, lane),) = junction_lanes(route, town.network)
    assert lane == mine.id and at == pytest.approx(side.length_m, abs=0.5)
