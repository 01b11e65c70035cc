"""Signs on what stands in the way: they stand on it, face who comes, and say on which side it is passed."""

import math
from collections import Counter

import numpy as np
import pytest
import shapely

from envs.geometry import project, wrap_angle
from envs.posts import YAW_SPREAD_RAD
from envs.roads.network import SHOULDER_M
from envs.roads.procedural import build_town
from envs.signs import SIGN_INDEX, SIGNS
from envs.state import Town


@pytest.fixture(scope="module")
def towns() -> list[Town]:
    return [build_town(seed) for seed in range(30)]


def rows_of(town: Town, name: str) -> list[tuple[int, float, float, float]]:
    """(lane, station, left of its centre, yaw against the lane's heading) of each sign of a name."""
    found = []
    for row in np.flatnonzero(town.signs.sign == SIGN_INDEX[name]):
        lane, (x, y, yaw) = town.network.lanes[town.signs.lane[row]], town.signs.pose[row].tolist()
        station, left = project(lane.centre_m, lane.station_m, x, y, 0, len(lane.centre_m))
        heading = float(np.interp(station, lane.station_m, np.unwrap(lane.heading_rad)))
        found.append((lane.id, float(station), float(left), float(wrap_angle(yaw - heading - math.pi))))
    return found


def test_both_ends_of_an_island_are_passed_on_the_right(towns):
    count = 0
    for town in towns:
        islands = [shapely.Polygon(s.island_m) for s in town.network.surfaces
                   if s.island_m is not None and s.junction is None]
        posts = town.signs.pose[town.signs.sign == SIGN_INDEX["keep_right"], :2]
        assert len(posts) == 2 * len(islands) == 2 * len(town.network.medians)
        for island in islands:
            on_it = posts[shapely.contains_xy(island, posts)]
            assert len(on_it) == 2 and 8.0 < math.dist(*on_it) < island.length / 2
            assert shapely.distance(island.exterior, shapely.points(on_it)).min() > 0.6
        for lane, station, left, turned in rows_of(town, "keep_right"):
            width = town.network.lanes[lane].width_m
            assert left == pytest.approx(width / 2 + 1.5, abs=0.05), "in the middle between both directions"
            assert abs(turned) <= YAW_SPREAD_RAD + 0.01, f"lane {lane} at {station}"
            count += 1
    assert count > 12


def test_head_of_roadworks_is_passed_on_the_left(towns):
    count = 0
    for town in towns:
        assert sorted(lane for lane, *_ in rows_of(town, "keep_left")) == sorted(w.lane for w in town.network.works)
        for lane, station, left, turned in rows_of(town, "keep_left"):
            works = next(w for w in town.network.works if w.lane == lane)
            assert works.begin_m - works.taper_m < station < works.begin_m - 8.0, "before all beacons"
            assert left < -(town.network.lanes[lane].width_m / 2 + SHOULDER_M + 0.3), "face of 0.6 m off the lane"
            assert abs(turned) <= YAW_SPREAD_RAD + 0.06, "swerving lanes turn by up to 0.14 rad"
            count += 1
    assert count > 8


def test_who_comes_to_roadworks_is_warned_and_told_on_which_side_it_narrows(towns):
    """In every town: 30 to 150 m before the works wherever there is room, and on their own side below it the other.

    That one also stands before each kerb on the right that comes in, and nowhere else.
    """
    told, kerbs = 0, 0
    for town in towns:
        ahead = [(lane, begin) for w in town.network.works for lane, begin, _ in w.spans_m if begin > 50.0]
        own = [(w.lane, w.begin_m - w.taper_m) for w in town.network.works if w.begin_m - w.taper_m > 50.0]
        own += [(n.lane, n.begin_m) for n in town.network.narrowings if n.begin_m > 50.0]
        for name, places in (("roadworks", ahead), ("narrowing", own)):
            found = [(lane, station) for lane, station, *_ in rows_of(town, name)]
            assert len(found) == len(places), "no more, no less"
            for lane, begin in places:
                assert any(number == lane and 29.9 <= begin - at <= 151.0 for number, at in found), (town.seed, name)
        told += len(own)
        kerbs += len(town.network.narrowings)
    assert told > 8 and kerbs > 3


def test_closed_sign_stands_at_the_mouth_of_a_track_turned_to_it(towns):
    """On the right of who turns in: before the mouth as the road is driven, its face between road and track."""
    count = 0
    for town in towns:
        found = rows_of(town, "closed")
        assert len(found) == len(town.network.tracks)
        for track in town.network.tracks:
            (station, left, turned), = [(at, left, turned) for lane, at, left, turned in found
                                        if lane == track.lane and abs(track.station_m - at) < 4.0]
            assert 1.5 < track.station_m - station < 3.0 and left < 0.0
            assert -math.radians(61.0) < turned < -math.radians(49.0), "clockwise: towards the road's middle"
            count += 1
    assert count > 10


@pytest.mark.exhaustive
def test_two_hundred_towns_have_every_sign():
    found: Counter[str] = Counter()
    for seed in range(200):
        found.update({SIGNS[row].name for row in build_town(seed).signs.sign})
    assert set(found) == {sign.name for sign in SIGNS}
    for name in ("limit_20", "closed", "narrowing", "roadworks", "keep_right", "keep_left", "no_entry", "only_left",
                 "only_straight"):
        assert found[name] >= 40, f"{name} in {found[name]} towns"
