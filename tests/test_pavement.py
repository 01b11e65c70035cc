"""Pavements as they are drawn: beside slow streets, round corners, under kerbs and roads, nowhere else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from shapely import Polygon, union_all

from envs.render.pavement import FASTEST_MPS, HEIGHT_M, WIDTH_M, pavements
from envs.render.paving import KERB_WIDTH_M, SemanticClass, patches
from envs.roads.network import RoadNetwork
from envs.roads.procedural import build_town
from tests.straight_road import network


def area(roads: RoadNetwork) -> Polygon:
    """The ground that pavements cover, by shapely."""
    patch, = pavements(roads)
    return union_all([Polygon(corners).buffer(1e-6) for corners in patch.vertices_m[patch.triangles]])


def test_a_slow_street_has_a_pavement_on_each_side_and_a_fast_one_none() -> None:
    covered = area(network())
    assert covered.area == pytest.approx(2 * 400 * (WIDTH_M + KERB_WIDTH_M / 2), rel=0.01)
    assert covered.bounds == pytest.approx((0, -4 - KERB_WIDTH_M - WIDTH_M, 400, 4 + KERB_WIDTH_M + WIDTH_M), abs=0.01)
    fast = dataclasses.replace(network(), lanes=tuple(
        dataclasses.replace(lane, speed_limit_mps=70 / 3.6) for lane in network().lanes))
    assert pavements(fast) == ()


@pytest.mark.parametrize("seed", [10_000, 10_003, 10_012])
def test_people_of_slow_streets_have_slabs_under_their_feet(seed: int) -> None:
    """The middle of every slow street's pavement is covered, and no road farther than its kerb's half is."""
    roads = build_town(seed).network
    patch, = pavements(roads)
    corner = patch.vertices_m[patch.triangles]
    first, second = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    signed = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    assert signed[signed < 0].sum() > -0.01 * signed.sum(), "triangles face the sky"
    covered = area(roads)
    for lane in roads.lanes:
        if lane.junction is None and lane.right_neighbour is None and lane.length_m > 40.0:
            middle = len(lane.centre_m) // 2
            heading, aside = lane.heading_rad[middle], lane.width_m / 2 + 0.5 + 1.5
            spot = lane.centre_m[middle] + aside * np.array([np.sin(heading), -np.cos(heading)])
            assert covered.buffer(0.05).contains(Polygon.from_bounds(*(spot - 0.1), *(spot + 0.1))) == (
                lane.speed_limit_mps <= FASTEST_MPS), lane.id


def test_pavements_lie_under_everything() -> None:
    patch, = pavements(network())
    assert patch.height_m == HEIGHT_M < min(other.height_m for other in patches(network()))
    assert patch.semantic == SemanticClass.KERB
