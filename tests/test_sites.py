"""Where signs stand: what binds where it begins, warnings 30 to 150 m before what they tell of, beside their lane."""

import dataclasses
import math

import cv2
import numpy as np
import pytest

from envs.geometry import wrap_angle
from envs.posts import BESIDE_LIGHT_M, YAW_SPREAD_RAD
from envs.roads.network import Command, Control, Crossing, RoadNetwork, Works
from envs.roads.procedural import build_town
from envs.signs import SIGN_INDEX, SIGNS, Duty, place_signs
from envs.sites import KMH, LIMIT_STATION_M
from tests.straight_road import network

TOWNS = range(12)
EACH_TOWN = pytest.mark.parametrize("seed", TOWNS)


def posts_named(name, town):
    """(lane, station) of each sign of a name in a town."""
    posts = town.signs
    return [(town.network.lanes[posts.lane[k]], posts.station_m[k])
            for k in np.flatnonzero(posts.sign == SIGN_INDEX[name])]


def turned_deg(lane, from_m, to_m):
    """By how much a lane turns to the left between two stations."""
    heading = np.unwrap(lane.heading_rad)
    first, last = np.interp([from_m, to_m], lane.station_m, heading)
    return math.degrees(last - first)


def made(**change):
    """The straight road of 400 m with its middle part changed: lane 0 is 150 m and ends at a stop line."""
    road = network(Control.STOP)
    lanes = list(road.lanes)
    for number, fields in change.pop("lanes", {}).items():
        lanes[number] = dataclasses.replace(lanes[number], **fields)
    return dataclasses.replace(road, lanes=tuple(lanes), **change)


def names_beside(road: RoadNetwork, lane: int) -> list[tuple[str, float]]:
    """What stands beside a lane, from its start on, every place used."""
    everywhere = tuple(dataclasses.replace(sign, share=1.0) for sign in SIGNS)
    posts = place_signs(road, np.random.default_rng(0), everywhere)
    rows = np.flatnonzero(posts.lane == lane)
    return sorted(((SIGNS[posts.sign[k]].name, float(posts.station_m[k])) for k in rows), key=lambda sign: sign[1])


@EACH_TOWN
def test_every_lane_that_needs_a_sign_has_it(seed):
    """Drivers read the limit after each junction, and stop or yield wherever there is a line: no more, no less."""
    town = build_town(seed)
    wanted = set()
    for lane in town.network.lanes:
        if lane.junction is not None or lane.right_neighbour is not None:
            continue
        limit = SIGN_INDEX.get(f"limit_{round(lane.speed_limit_mps / KMH)}")
        if lane.length_m >= 2 * LIMIT_STATION_M and limit is not None:
            wanted.add((lane.id, limit))
        assert limit is not None or lane.speed_limit_mps > 129 * KMH, "slower roads have a limit that signs can show"
        if lane.control != Control.NONE:
            wanted.add((lane.id, SIGN_INDEX[lane.control.name.lower()]))
    binding = [row for row, sign in enumerate(SIGNS) if sign.order.duty in (Duty.LIMIT, Duty.STOP, Duty.YIELD)]
    chosen = np.isin(town.signs.sign, binding)
    found = list(zip(town.signs.lane[chosen].tolist(), town.signs.sign[chosen].tolist(), strict=True))
    assert set(found) == wanted and len(found) == len(wanted)


@EACH_TOWN
def test_curve_signs_tell_the_truth(seed):
    """From 28 m after the sign on, the road turns the way it says, by 20 degrees and more."""
    town = build_town(seed)
    for name, side in (("curve_left", 1), ("curve_right", -1), ("double_curve", 1)):
        for lane, station in posts_named(name, town):
            along = np.arange(station + 28.0, min(station + 260.0, lane.length_m), 2.0)
            turned = side * np.array([turned_deg(lane, station, end) for end in along])
            assert (turned - np.minimum.accumulate(turned)).max() > 20.0, name
    for lane, station in posts_named("double_curve", town):
        left = max(np.arange(station, lane.length_m, 2.0), key=lambda end: turned_deg(lane, station, end))
        assert min(turned_deg(lane, left, end) for end in np.arange(left, lane.length_m + 1, 2.0)) < -20.0


@EACH_TOWN
def test_sharp_curves_are_warned_of(seed):
    """Whoever meets, at the limit, a bend of 50 m that asks for 3 m/s2 after a straight of 45 m was told of it."""
    town = build_town(seed)
    told = {(lane.id, station) for name in ("curve_left", "curve_right", "double_curve")
            for lane, station in posts_named(name, town)}
    for lane in town.network.lanes:
        if lane.junction is not None or lane.right_neighbour is not None:
            continue
        sharp_deg = math.degrees(10.0 * 3.0 / lane.speed_limit_mps ** 2)  # in 10 m
        at = np.arange(0.0, lane.length_m - 60.0, 5.0)
        bends = np.array([turned_deg(lane, start, start + 10.0) for start in at])
        for k in range(9, len(at)):
            is_first = (np.abs(bends[k - 8:k]) < sharp_deg / 2).all()
            if is_first and (bends[k:k + 9:2] * np.sign(bends[k]) > max(sharp_deg, 7.0)).all():
                assert any(number == lane.id and station < at[k] for number, station in told), (lane.id, at[k])


@EACH_TOWN
def test_orders_agree_with_the_network(seed):
    """Turn signs name exactly the ways that are there; priority signs stand where others must wait."""
    town = build_town(seed)
    lanes = town.network.lanes
    for sign in SIGNS:
        if sign.order.duty == Duty.TURN:
            for lane, station in posts_named(sign.name, town):
                if station == lane.length_m:
                    continue  # on an island: see below
                beside, ways = lane, set()
                while True:
                    ways |= {lanes[k].turn for k in beside.successors}
                    if beside.left_neighbour is None:
                        break
                    beside = lanes[beside.left_neighbour]
                assert ways == set(sign.order.turns) and lane.length_m - station < 40.0
    for name in ("priority_road", "priority_ahead"):
        for lane, station in posts_named(name, town):
            junction = town.network.junctions[lanes[lane.successors[0]].junction]
            assert lane.control == Control.NONE and lane.length_m - station <= 150.0
            assert any(lanes[k].control != Control.NONE for k in junction.incoming)


@EACH_TOWN
def test_bans_on_overtaking_agree_with_the_paint(seed):
    town = build_town(seed)
    for lane, _ in posts_named("no_overtaking", town):
        assert lane.left.name != "DASHED" and lane.opposite is not None
    for lane, _ in posts_named("end_no_overtaking", town):
        assert lane.left.name == "DASHED" or lane.left_neighbour is not None


def test_stop_sign_stands_at_its_line_on_a_road_made_by_hand():
    posts = place_signs(network(Control.STOP), np.random.default_rng(0))
    stop = np.flatnonzero(posts.sign == SIGN_INDEX["stop"])
    assert len(stop) == 1 and posts.lane[stop[0]] == 0
    assert posts.pose[stop[0], 0] == pytest.approx(149.75) and posts.pose[stop[0], 1] == pytest.approx(-4.75)
    limits = np.flatnonzero(posts.sign == SIGN_INDEX["limit_50"])
    assert posts.lane[limits].tolist() == [0, 2, 3, 5], "not on the turn lanes of the junction"
    assert posts.pose[limits, 0].tolist() == pytest.approx([10, 180, 390, 140])


def test_lights_are_announced_and_not_hidden_by_the_sign_beside_them():
    road = made(lanes={0: {"signal": 0}})
    beside = dict(names_beside(road, 0))
    assert 30.0 <= 150.0 - beside["lights"] <= 60.0, "54 m before, at 50 km/h"
    posts = place_signs(road, np.random.default_rng(0))
    stop = int(np.flatnonzero(posts.sign == SIGN_INDEX["stop"])[0])
    assert posts.pose[stop, 1] == pytest.approx(-4.7 - BESIDE_LIGHT_M)


def test_crossing_is_announced():
    crossing = Crossing(0, np.array([[100.0, -5.0], [100.0, 5.0]]), 4.0, (0, 5), (100.0, 50.0), True)
    beside = dict(names_beside(made(crossings=(crossing,)), 0))
    assert 100.0 - beside["pedestrians"] == pytest.approx(54.0)


@pytest.mark.parametrize(("ways", "name"), [
    ({Command.RIGHT}, "only_right"), ({Command.LEFT}, "only_left"), ({Command.STRAIGHT}, "only_straight")])
def test_only_way_on_is_ordered(ways, name):
    road = made(lanes={1: {"turn": next(iter(ways))}})
    found = dict(names_beside(road, 0))
    assert 10.0 < 150.0 - found[name] < 40.0
    assert not {"only_right", "only_left", "only_straight"} - {name} & set(found)


def test_limits_of_the_road_ahead_and_their_end():
    """Straight on from 80 to 100 km/h: the end of 80 over the new limit; to 130: the end of all."""
    to_100 = made(lanes={0: {"speed_limit_mps": 80 * KMH}, 2: {"speed_limit_mps": 100 * KMH}})
    assert {"end_80", "limit_100"} < {name for name, at in names_beside(to_100, 2) if at == LIMIT_STATION_M}
    to_130 = made(lanes={0: {"speed_limit_mps": 100 * KMH}, 2: {"speed_limit_mps": 130 * KMH}})
    names = {name for name, _ in names_beside(to_130, 2)}
    assert "end_of_all" in names and not any(name.startswith("limit") for name in names)


def test_roadworks_are_announced_on_one_post():
    """On the right of the eastbound lane from x = 100 to 130 m; who comes the other way passes them on his left."""
    road = made(works=(Works(0, 110.0, 120.0, 2.0, 10.0, ((0, 100.0, 130.0), (5, 20.0, 50.0))),))
    beside = dict(names_beside(road, 0))
    assert beside["roadworks"] == beside["narrowing"] == pytest.approx(100.0 - 54.0)
    assert beside["keep_left"] == pytest.approx(105.0), "halfway along their taper"
    assert not {"roadworks", "narrowing", "keep_left"} & set(dict(names_beside(road, 5))), "no room to warn in 20 m"


def test_one_way_road_may_not_be_entered_from_its_end():
    road = made(lanes={2: {"opposite": None}})
    posts = place_signs(road, np.random.default_rng(0))
    ban = int(np.flatnonzero(posts.sign == SIGN_INDEX["no_entry"])[0])
    assert posts.lane[ban] == 2 and posts.pose[ban, 0] > 350.0
    assert abs(wrap_angle(posts.pose[ban, 2])) <= YAW_SPREAD_RAD, "it looks east, at who would drive west"


def test_arrow_on_the_island_of_a_roundabout_faces_each_entry():
    """It stands on the island, off the ring, ahead of the lane's end, and says what the ring allows."""
    checked = 0
    for seed in range(20):
        town = build_town(seed)
        islands = {s.junction: s.island_m for s in town.network.surfaces
                   if s.island_m is not None and s.junction is not None}
        entries = {k for number in islands for k in town.network.junctions[number].incoming}
        rows = [k for k in np.flatnonzero(town.signs.sign == SIGN_INDEX["only_right"])
                if town.signs.station_m[k] == town.network.lanes[town.signs.lane[k]].length_m]
        assert {int(town.signs.lane[k]) for k in rows} == entries
        for k in rows:
            lane, foot = town.network.lanes[town.signs.lane[k]], town.signs.pose[k, :2]
            island = islands[town.network.lanes[lane.successors[0]].junction]
            assert cv2.pointPolygonTest(island.astype(np.float32), foot.tolist(), True) > 0.6
            to_driver = lane.centre_m[-1] - foot
            assert abs(wrap_angle(town.signs.pose[k, 2] - math.atan2(*to_driver[::-1]))) <= YAW_SPREAD_RAD + 1e-6
            checked += 1
    assert checked > 10
