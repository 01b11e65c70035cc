"""Roadworks on the ground: yellow lines where white ones end, and a hole where nobody drives."""

import numpy as np
import pytest
import shapely

from envs.render.paving import PAINT, SemanticClass, patches
from envs.render.works import EARTH, GRASS_M, YELLOW, track_patches, works_patches
from envs.roads.procedural import build_town
from tests.straight_road import network

SEED = next(seed for seed in range(40) if build_town(seed).network.works)


def area(patch) -> shapely.Geometry:
    return shapely.union_all([shapely.Polygon(corners).buffer(1e-6) for corners in patch.vertices_m[patch.triangles]])


def test_without_roadworks_nothing_is_yellow():
    assert works_patches(network()) == () == track_patches(network())


def test_a_track_is_two_ruts_and_no_road():
    roads = next(town.network for town in map(build_town, range(40)) if len(town.network.tracks) == 1)
    track, = roads.tracks
    ruts, = track_patches(roads)
    length = float(np.hypot(*(track.line_m[1] - track.line_m[0])))
    assert area(ruts).area == pytest.approx(length * (track.width_m - GRASS_M), rel=0.01)
    assert ruts.semantic == SemanticClass.TERRAIN and ruts.height_m < min(p.height_m for p in patches(roads))
    assert not area(ruts).contains(shapely.Point(track.line_m.mean(axis=0))), "grass in the middle"


def test_lines_round_roadworks_are_yellow_and_no_longer_white():
    roads = build_town(SEED).network
    hole, lines = works_patches(roads)
    assert (hole.colour, lines.colour) == (EARTH, YELLOW) and lines.semantic == SemanticClass.MARKING
    yellow, white = area(lines), area(next(p for p in patches(roads) if p.colour == PAINT))
    assert yellow.intersection(white).area < 0.2, "where they meet"
    for works in roads.works:
        for number, begin, end in works.spans_m:
            lane = roads.lanes[number]
            at = np.interp((begin + end) / 2, lane.station_m, np.arange(len(lane.station_m)))
            middle, heading = lane.centre_m[int(at)], lane.heading_rad[int(at)]
            for aside in (-lane.width_m / 2, lane.width_m / 2):
                spot = shapely.Point(middle + aside * np.array([-np.sin(heading), np.cos(heading)]))
                assert yellow.distance(spot) < 0.01
    expected = sum(3 * (end - begin) * 0.14 for works in roads.works for _, begin, end in works.spans_m[:1])
    assert yellow.area == pytest.approx(expected, rel=0.03), "two edges and the middle"


def test_hole_lies_beside_the_lanes_on_asphalt():
    for seed in range(SEED, SEED + 20):
        roads = build_town(seed).network
        for patch in works_patches(roads)[:1]:
            hole = area(patch)
            driven = shapely.union_all([shapely.LineString(lane.centre_m).buffer(lane.width_m / 2 + 0.5)
                                        for lane in roads.lanes])
            paved = shapely.union_all([shapely.Polygon(s.outline_m) for s in roads.surfaces if s.piece == "roadworks"])
            assert hole.distance(driven) > 0.3 and paved.buffer(0.01).contains(hole) and patch.height_m > 0.0
