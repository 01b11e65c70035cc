"""The people of an episode: who they are, that they come to no harm and do none, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from shapely import STRtree, points

from envs.pedestrians import CHILD_HEIGHT_M, PACE_MPS, PACE_SD_MPS, Walkers, draw_people
from envs.roads.procedural import build_town
from envs.roads.routes import random_route
from envs.state import ActorKind, Actors, VehicleState, no_actors
from tests.straight_road import ROUTE, TOWN, actors
from tests.test_pavements import cars_on_the_verge, solids
from tests.test_ways import CROSSED

DARK = np.zeros(0, np.int64)
EGO = VehicleState(5.0, -1.75, 0.0)


def walk(walkers: Walkers, seconds: float, cars: Actors | None = None) -> Actors:
    for _ in range(round(10 * seconds)):
        walkers.step(EGO, cars or no_actors(), DARK, 0.1)
    return walkers.actors


def test_a_crowd_has_weidmanns_paces() -> None:
    size, pace = draw_people(4000, np.random.default_rng(0))
    assert pace.mean() == pytest.approx(PACE_MPS, abs=0.02) and pace.std() == pytest.approx(PACE_SD_MPS, abs=0.02)
    assert pace.min() >= 0.6 and pace.max() <= 2.1
    height = size[:, 2]
    assert 0.08 < (height < 1.45).mean() < 0.16, "children"
    assert pace[(height > 1.5) & (height < 1.8)].mean() < pace[height > 1.8].mean() - 0.1, "the old go slower"


def test_people_show_what_they_do() -> None:
    """A pose faces the way somebody walks, and the speed is that of the pose's change."""
    walkers = Walkers(CROSSED, ROUTE, 20, no_actors(), np.random.default_rng(3))
    before = walk(walkers, 5.0)
    after = walkers.step(EGO, no_actors(), DARK, 0.1)
    assert (after.kind == ActorKind.PEDESTRIAN).all() and after.id.tolist() == list(range(20))
    moved = after.pose[:, :2] - before.pose[:, :2]
    np.testing.assert_allclose(moved, 0.1 * walkers.velocity_mps, atol=1e-12)
    walking = after.speed_mps > 0.3
    assert walking.mean() > 0.8
    heading = np.stack([np.cos(after.pose[:, 2]), np.sin(after.pose[:, 2])], axis=1)
    np.testing.assert_allclose(heading[walking] * after.speed_mps[walking, None], walkers.velocity_mps[walking],
                               atol=1e-9)


def test_who_wants_to_cross_says_where() -> None:
    """Traffic may ask who waits at the zebra (number 0) or is on it; jaywalkers have no number but are on a way."""
    walkers = Walkers(CROSSED, ROUTE, 40, no_actors(), np.random.default_rng(5))
    seen: set[int] = set()
    for _ in range(2000):
        people = walkers.step(EGO, no_actors(), DARK, 0.1)
        y, where = people.pose[:, 1], walkers.crossing
        assert walkers.is_on_way[np.abs(y) < 3.9].all(), "nobody is on the road but to cross it"
        assert (np.abs(people.pose[where == 0, 0] - 80.0) < 2.0).all()
        seen |= set(where.tolist())
        if len(seen) == 3:
            break
    assert seen == {-1, 0, 1}


@pytest.mark.parametrize("seed", [10_000, 10_003, *(pytest.param(k, marks=pytest.mark.exhaustive)
                                                    for k in range(10_004, 10_022))])
def test_a_minute_in_a_town_harms_nobody(seed: int) -> None:
    """Nobody is inside a house, a post, a trunk or a parked car, on the road but to cross it, or longer than 20 s;
    groups stay within 1.5 m of their middle; nobody leaps."""
    town = build_town(seed)
    route = random_route(town.network, np.random.default_rng(seed))
    cars = cars_on_the_verge(town, route.lanes[::2], np.random.default_rng(seed))
    walkers = Walkers(town, route, 24, cars, np.random.default_rng(seed))
    things, on_road_s, before = STRtree(solids(town, cars)), np.zeros(24), walkers.actors.pose
    party = walkers.party
    for step in range(600):
        people = walkers.step(EGO, cars, DARK, 0.1)
        spots = people.pose[:, :2]
        assert np.hypot(*(spots - before[:, :2]).T).max() < 0.35
        before = people.pose
        is_on_road = town.network.distance_to_road(spots, 1.0) < 0.0
        assert walkers.is_on_way[is_on_road].all()
        on_road_s = np.where(is_on_road, on_road_s + 0.1, 0.0)
        assert on_road_s.max() < 20.0
        if step % 5 == 0:
            assert things.query_nearest(points(spots), return_distance=True)[1].min() > 0.2
            for row in np.unique(party):
                members = spots[party == row]
                assert np.hypot(*(members - members.mean(axis=0)).T).max() < 1.5


def test_people_are_where_the_ego_meets_them() -> None:
    town = build_town(10_004)
    route = random_route(town.network, np.random.default_rng(4))
    people = Walkers(town, route, 60, no_actors(), np.random.default_rng(0)).actors
    away = np.hypot(*(people.pose[:, None, :2] - route.points_m[None, ::4]).transpose(2, 0, 1)).min(axis=1)
    assert (away < 20.0).mean() > 0.4 and away.max() < 160.0


def test_the_ego_meets_people_on_its_way() -> None:
    """Of 20 drives past a zebra at 36 km/h with 10 people about, many see somebody at it or on it close ahead."""
    met = 0
    for seed in range(20):
        walkers, is_met = Walkers(CROSSED, ROUTE, 10, no_actors(), np.random.default_rng(seed)), False
        for x in np.arange(5.0, 76.0, 1.0):
            walkers.step(VehicleState(float(x), -1.75, 0.0, speed_mps=10.0), no_actors(), DARK, 0.1)
            is_met |= x > 46.0 and 0 in walkers.crossing.tolist()
        met += is_met
    assert met >= 8


def test_a_hidden_child_is_small_stands_between_the_cars_and_is_rare() -> None:
    """Cars at 40 and 50 m of the straight road: in under half of the episodes somebody waits at x = 43 m."""
    cars = actors((40.0, -5.2, 0.0, 0.0), (50.0, -5.2, 0.0, 0.0))
    heights = []
    for seed in range(40):
        people = Walkers(TOWN, ROUTE, 8, cars, np.random.default_rng(seed)).actors
        hides = np.hypot(people.pose[:, 0] - 43.0, people.pose[:, 1] + 5.2) < 0.1
        assert hides.sum() <= 1
        heights += people.size_m[hides, 2].tolist()
    assert 4 <= len(heights) <= 20
    assert min(heights) >= CHILD_HEIGHT_M[0] and max(heights) <= CHILD_HEIGHT_M[1]


@pytest.mark.parametrize("count", [0, 1, 12])
def test_same_generator_same_bytes(count: int) -> None:
    runs = []
    for _ in range(2):
        walkers = Walkers(CROSSED, ROUTE, count, no_actors(), np.random.default_rng(7))
        people = walk(walkers, 20.0, actors((20.0, -1.75, 0.0, 9.0)))
        runs.append(people.pose.tobytes() + people.size_m.tobytes() + people.colour.tobytes()
                    + walkers.velocity_mps.tobytes() + walkers.crossing.tobytes())
    assert runs[0] == runs[1] and len(people.id) == count
