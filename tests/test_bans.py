"""No overtaking under its sign, no driving against a one-way road: on the straight road, and a real ramp."""

import dataclasses
import math

import numpy as np
import pytest
import straight_road
from straight_road import LANE_Y_M, actors, judge, state

from envs.bans import NO_OVERTAKING, forbidden_exits, is_against_one_way, is_one_way, no_overtaking
from envs.metrics import score
from envs.roads.network import Marking
from envs.roads.procedural import build_network, build_town
from envs.roads.routes import route_over
from envs.signs import SIGN_INDEX
from envs.state import ActorKind, SignPosts, Town

BAN_M = 200.0  # where the sign stands; the road ends at 400 m


def banned() -> Town:
    """The straight road with the sign 30 m behind the beginning of its last lane."""
    one = np.array([0])
    posts = SignPosts(np.array([NO_OVERTAKING]), np.array([[BAN_M, -5.0, math.pi]]), np.array([2.3]), np.array([2]),
                      np.array([BAN_M - 170.0]), one, np.zeros(1))
    return dataclasses.replace(straight_road.town(), signs=posts)


def passing(from_m: float, other_mps: float = 6.0, kind: ActorKind = ActorKind.VEHICLE, yaw_rad: float = 0.0,
            town: Town | None = None) -> list[bool]:
    """Where the ego drives 12 m/s on the other side past somebody who is 8 m ahead of it at first."""
    town, states = town or banned(), []
    for step in range(40):
        other = actors((from_m + 8.0 + 0.1 * step * other_mps * math.cos(yaw_rad), LANE_Y_M, yaw_rad, other_mps))
        other = dataclasses.replace(other, kind=np.array([int(kind)]))
        states.append(state(from_m + 1.2 * step, -LANE_Y_M, step=step, speed_mps=12.0, actors=other, place=town))
    return [fact.has_overtaken_where_forbidden for fact in judge(states)]


def test_ban_holds_from_its_sign_to_the_end_of_the_road():
    town = banned()
    route = state(0.0, place=town).route
    assert no_overtaking(route, town) == (pytest.approx((BAN_M, route.length_m), abs=0.6),)
    assert no_overtaking(straight_road.ROUTE, straight_road.TOWN) == ()


def test_overtaking_is_told_once_where_it_is_forbidden():
    assert passing(220.0).count(True) == 1
    assert not any(passing(175.0, other_mps=2.0)), "done before the sign"
    assert not any(passing(220.0, town=straight_road.TOWN)), "no sign"


@pytest.mark.parametrize("who", [{"kind": ActorKind.CYCLIST}, {"other_mps": 0.0}, {"yaw_rad": math.pi}])
def test_cyclists_who_stands_and_who_comes_towards_one_are_not_overtaken(who):
    assert not any(passing(220.0, **who))


def test_overtaking_under_the_ban_denies_success_and_costs_no_points():
    facts = judge([state(380.0, step=0), *(state(380.0 + step, step=step) for step in range(1, 18))])
    clean = score(facts, 0.1)
    bad = score([dataclasses.replace(facts[0], has_overtaken_where_forbidden=True), *facts[1:]], 0.1)
    assert clean.is_success and not bad.is_success and bad.infractions["overtaking"] == 1
    assert bad.driving_score == pytest.approx(clean.driving_score)


def test_ramp_is_a_one_way_road_and_who_drives_it_backwards_is_against_it():
    network = build_network(5)
    beside = next(lane for lane in network.lanes if lane.left == Marking.BLOCK)
    (before,) = (lane for lane in network.lanes if beside.id in lane.successors)
    assert {lane.id for lane in network.lanes if is_one_way(network, lane.id)} == {before.id, beside.id}
    middle = len(before.centre_m) // 2
    point, yaw = before.centre_m[middle], float(before.heading_rad[middle])
    assert is_against_one_way(network, point, yaw + math.pi) and not is_against_one_way(network, point, yaw + 0.3)
    road = next(lane for lane in network.lanes if lane.junction is None and lane.opposite is not None)
    point, yaw = road.centre_m[len(road.centre_m) // 2], float(road.heading_rad[len(road.centre_m) // 2])
    assert not is_against_one_way(network, point, yaw + math.pi), "that is the wrong lane, not a wrong way"


def test_wrong_way_is_told_beside_the_wrong_lane():
    """The straight road without its westbound lanes: whoever turns round on it drives against a one-way road."""
    town = straight_road.town()
    lanes = tuple(dataclasses.replace(lane, opposite=None) for lane in town.network.lanes)
    town = dataclasses.replace(town, network=dataclasses.replace(town.network, lanes=lanes))
    facts = judge([state(300.0 - step, step=step, yaw_rad=math.pi, place=town) for step in range(4)])
    assert all(fact.is_wrong_way and fact.is_wrong_lane and fact.is_off_lane for fact in facts)
    assert score(facts, 0.1).infractions["wrong_way"] == 1
    right = judge([state(300.0 + step, step=step, place=town) for step in range(4)])
    assert not any(fact.is_wrong_way for fact in right)


@pytest.fixture(scope="module")
def turn_left_out():
    """A town, a route past its first sign that leaves one turn, and a lane that the sign forbids to turn into."""
    for seed in range(12):
        town = build_town(seed)
        for lane in town.signs.lane[np.isin(town.signs.sign, [SIGN_INDEX["only_straight"], SIGN_INDEX["only_left"]])]:
            turn = town.network.lanes[lane].successors[0]
            route = route_over(town.network, (int(lane), turn, town.network.lanes[turn].successors[0]))
            exits = sorted(forbidden_exits(route, town))
            if exits:
                return town, route, exits[0]
    raise AssertionError("no such sign in twelve towns")


def test_turns_are_forbidden_by_their_sign_alone(turn_left_out):
    town, route, exit_lane = turn_left_out
    network = town.network
    junction = network.lanes[route.lanes[1]].junction
    into = {lane.junction for lane in network.lanes if exit_lane in lane.successors}
    assert into == {junction} and exit_lane not in route.lanes
    bare = dataclasses.replace(town, signs=dataclasses.replace(town.signs, sign=np.full_like(town.signs.sign, 0)))
    assert forbidden_exits(route, bare) == frozenset()
    back = network.lanes[network.outermost(route.lanes[0], "left")].opposite
    assert back not in forbidden_exits(route, town), "to turn round is another matter"


def test_a_forbidden_turn_is_told_once_and_the_right_one_never(turn_left_out):
    town, route, exit_lane = turn_left_out

    def along(lane):
        line = town.network.lanes[lane]
        poses = zip(line.centre_m[2:8], line.heading_rad[2:8], strict=True)
        return judge([dataclasses.replace(state(x, y, step=step, yaw_rad=yaw, place=straight_road.town()), town=town,
                                          route=route) for step, ((x, y), yaw) in enumerate(poses)])

    wrong, right = along(exit_lane), along(route.lanes[-1])
    assert all(fact.is_forbidden_turn and fact.is_off_lane for fact in wrong)
    assert score(wrong, 0.1).infractions["forbidden_turn"] == 1
    assert not any(fact.is_forbidden_turn for fact in right)
