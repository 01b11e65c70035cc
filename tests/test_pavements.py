"""Where people walk: beside every road, clear of roads and of all that stands, round the blocks."""

from __future__ import annotations

import numpy as np
import pytest
from shapely import MultiPoint, Polygon, STRtree, points

from envs.geometry import box_corners
from envs.roads.network import SHOULDER_M
from envs.roads.pavements import FASTEST_MPS, LINES, Pavements, pave
from envs.roads.procedural import build_town
from envs.roads.routes import random_route
from envs.state import Actors, PropKind, Town, no_actors
from tests.straight_road import ROUTE, TOWN

TOWNS = range(10_000, 10_006)


def cars_on_the_verge(town: Town, lanes: tuple[int, ...], rng: np.random.Generator) -> Actors:
    """A car in every 25 m of kerb of some lanes, half over the grass, where it stands in the way."""
    pose = []
    for lane in (town.network.lanes[i] for i in lanes):
        for k in range(20, len(lane.centre_m) - 20, 15):
            right, heading = lane.width_m / 2 + rng.uniform(1.3, 2.0), lane.heading_rad[k]
            pose.append([*(lane.centre_m[k] + right * np.array([np.sin(heading), -np.cos(heading)])), heading])
    count = len(pose)
    return Actors(np.arange(count), np.zeros(count, int), np.array(pose).reshape(-1, 3),
                  np.tile([4.5, 1.8, 1.5], (count, 1)), np.zeros(count), np.zeros((count, 3), np.uint8),
                  np.zeros(count, np.uint8))


def solids(town: Town, standing: Actors) -> list[Polygon]:
    """Footprints of houses, trunks, posts and cars, by shapely."""
    size = np.where((town.props.kind == PropKind.TREE)[:, None], 0.4, town.props.size_m[:, :2])
    boxes = [*zip(town.props.pose, size, strict=True), *((pose, (0.06, 0.06)) for pose in town.signs.pose),
             *zip(standing.pose, standing.size_m[:, :2], strict=True)]
    return [Polygon(box_corners(pose, *length[:2])) for pose, length in boxes]


def paved(seed: int) -> tuple[Town, Actors, Pavements]:
    town = build_town(seed)
    route = random_route(town.network, np.random.default_rng(seed))
    cars = cars_on_the_verge(town, route.lanes, np.random.default_rng(seed))
    return town, cars, pave(town, route, cars)


def test_a_straight_road_has_a_pavement_on_each_side() -> None:
    """Four lines 0.8 to 2.45 m from both kerbs, walkable but for the ends of the world."""
    pavements = pave(TOWN, ROUTE, no_actors())
    assert len(pavements.kerb_m) == pytest.approx(2 * 400, abs=4)
    away = np.abs(pavements.point_m[..., 1]) - (3.5 + SHOULDER_M)
    np.testing.assert_allclose(away, np.tile([0.8, 1.35, 1.9, 2.45], (len(away), 1)), atol=1e-9)
    assert (~pavements.is_open).sum() == 4 * LINES, "closed at the four ends only"


@pytest.mark.parametrize("seed", TOWNS)
def test_every_open_point_is_off_the_road_and_clear_of_what_stands(seed: int) -> None:
    town, cars, pavements = paved(seed)
    spots = pavements.point_m[pavements.is_open]
    assert pavements.is_open.mean() > 0.9
    assert town.network.distance_to_road(spots).min() >= 0.5 - 1e-9
    tree = STRtree(solids(town, cars))
    _, near = tree.query_nearest(points(spots), max_distance=5.0, return_distance=True)
    assert near.min() >= 0.3


@pytest.mark.parametrize("seed", TOWNS)
def test_lines_bend_round_what_stands_without_a_leap(seed: int) -> None:
    _, _, pavements = paved(seed)
    both = pavements.is_open & pavements.is_open[pavements.after]
    assert pavements.step_m[both].max() < 1.9, "a shift of 0.9 m along 1 m at most"


@pytest.mark.parametrize("seed", TOWNS)
def test_a_town_without_dead_ends_is_walked_round_in_rings(seed: int) -> None:
    """Every lane outside junctions has its kerb in some ring; after and before are inverse."""
    town = build_town(seed)
    far = random_route(town.network, np.random.default_rng(seed), 300.0, 3000.0)
    pavements = pave(town, far, no_actors())
    inner = pavements.after != np.arange(len(pavements.after))
    assert (pavements.before[pavements.after[inner]] == np.flatnonzero(inner)).all()
    whole = MultiPoint(pavements.kerb_m)
    for lane in (town.network.lanes[town.network.outermost(i, "right")] for i in far.lanes[:far.lane_index[-1]]):
        if lane.junction is not None or lane.speed_limit_mps > FASTEST_MPS:
            continue  # nobody walks beside fast roads
        middle = len(lane.centre_m) // 2
        heading, aside = lane.heading_rad[middle], lane.width_m / 2 + SHOULDER_M
        kerb = lane.centre_m[middle] + aside * np.array([np.sin(heading), -np.cos(heading)])
        assert whole.distance(points(kerb)) < 0.6


def test_same_town_same_bytes() -> None:
    first, again = paved(10_002)[2], paved(10_002)[2]
    assert [a.tobytes() for a in first] == [a.tobytes() for a in again]
