"""Scenery beside the road: houses in rows, avenues and groves of trees, open country in between.

How a street looks follows from its speed limit: slow ones are built up, fast ones lead through the country. Everything
keeps clear of all roads and of the strip where signs stand. It is there to be seen and hit, not to be entered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.geometry import Array, interpolate, keep_apart, offset_polyline
from envs.roads.network import SHOULDER_M, Lane, RoadNetwork, Works
from envs.state import PropKind, Props

MOST_PROPS = 150  # each is a body to physics and a box to every camera
CLEARANCE_M = 2.2  # of anything, tree crowns too, from the paved edge; signs stand within 1.5 m of it
HOUSE_SETBACK_M = (6.0, 20.0)  # of a facade from the paved edge
TRACK_CLEAR_M = 1.0  # of anything from a track
TREE_SETBACK_M = (2.4, 12.0)  # of a crown
ISLAND_SETBACK_M = 1.8  # of a crown from the middle of a roundabout's island
HOUSE_LENGTH_M, HOUSE_DEPTH_M, HOUSE_HEIGHT_M = (8.0, 18.0), (8.0, 12.0), (5.0, 12.0)
CROWN_M, TREE_HEIGHT_M = (2.5, 5.0), (4.0, 9.0)
BEACON_M, BEACON_RED = (0.4, 0.25, 1.1), (196, 30, 36)
BEACON_SPACING_M, BEACON_ASIDE_M = 6.0, 0.25  # RSA 21: at most 10 m apart along works in towns; from the shoulder
BEACONS_FROM = 0.55  # of the taper of roadworks: before, there is no room
FACADES = np.array([[226, 211, 188], [198, 112, 84], [236, 229, 214], [178, 162, 142], [214, 178, 128], [160, 120, 104],
                    [205, 205, 200], [188, 196, 204]], np.uint8)
CROWNS = np.array([[58, 104, 48], [74, 122, 56], [46, 92, 50], [92, 130, 62], [106, 118, 58]], np.uint8)


@dataclass(frozen=True)
class _Surroundings:
    """What stands along a road up to a speed limit: `density` is the share of places used, of both kinds together."""

    limit_mps: float
    step_m: float  # between two places
    density: float
    house_share: float
    avenue_share: float  # chance that one side of the road is an avenue of equal trees


_SURROUNDINGS = (
    _Surroundings(9.0, 15.0, 0.60, 0.60, 0.15),
    _Surroundings(15.0, 16.0, 0.50, 0.45, 0.20),
    _Surroundings(20.0, 17.0, 0.42, 0.12, 0.30),
    _Surroundings(np.inf, 18.0, 0.36, 0.05, 0.30),
)


@dataclass(frozen=True, eq=False)
class _Places:
    """Where something may stand, K rows, along the right side of lanes."""

    foot_m: Array  # (K, 2) on the paved edge
    heading_rad: Array  # (K,) of the road
    is_house: Array  # (K,) bool
    setback_m: Array  # (K,) from the paved edge to facade or crown


def _along(lane: Lane, rng: np.random.Generator) -> _Places:
    """Places on the right of one lane; stretches of more and of less alternate."""
    row = next(row for row in _SURROUNDINGS if lane.speed_limit_mps <= row.limit_mps)
    station = np.arange(0.3 * row.step_m, lane.length_m, row.step_m)
    is_avenue = rng.random() < row.avenue_share
    house = (rng.random(len(station)) < row.house_share) & ~is_avenue
    low, high = np.where(house[:, None], HOUSE_SETBACK_M, TREE_SETBACK_M).T
    share = rng.random(len(station))
    if is_avenue:
        share = np.full(len(station), 0.3 * rng.random())
    else:
        station = station + rng.uniform(-0.4, 0.4, len(station)) * row.step_m
    setback = low + share * (high - low)
    wave = np.sin(station / rng.uniform(20.0, 60.0) + rng.uniform(0, 2 * np.pi))
    used = rng.random(len(station)) < row.density * (1.0 + 0.9 * wave) * rng.uniform(0.4, 1.6)
    edge = offset_polyline(lane.centre_m, -(lane.half_m + SHOULDER_M))
    foot = interpolate(edge, lane.station_m, station)
    heading = lane.heading_at(station)
    return _Places(foot[used], heading[used], house[used], setback[used])


def _on_island(island_m: Array, rng: np.random.Generator) -> _Places:
    """Three trees round the middle of a roundabout: who comes sees from afar that there is no way straight on."""
    heading = rng.uniform(0, 2 * np.pi) + np.arange(3) * 2 * np.pi / 3
    return _Places(np.tile(island_m.mean(axis=0), (3, 1)), heading, np.zeros(3, bool), np.full(3, ISLAND_SETBACK_M))


def beacons_of(network: RoadNetwork, works: Works) -> Array:
    """Where beacons stand (K, 3): beside the shoulder of the lane that passes roadworks, where these have room."""
    lane, reach = network.lanes[works.lane], works.taper_m * (1 - BEACONS_FROM)
    at = np.arange(works.begin_m - reach, works.end_m + reach + 1e-6, BEACON_SPACING_M)
    heading = lane.heading_at(at)
    aside = lane.width_m / 2 + SHOULDER_M + BEACON_ASIDE_M
    foot = interpolate(lane.centre_m, lane.station_m, at)
    return np.column_stack([foot + aside * np.stack([np.sin(heading), -np.cos(heading)], axis=1), heading])


def _sizes(is_house: Array, rng: np.random.Generator) -> Array:
    """Length along the road, depth away from it, and height (K, 3) [m]."""
    count = len(is_house)
    low, high = np.array([HOUSE_LENGTH_M, HOUSE_DEPTH_M, HOUSE_HEIGHT_M]).T
    house = rng.uniform(low, high, (count, 3))
    tree = np.column_stack([np.repeat(rng.uniform(*CROWN_M, (count, 1)), 2, axis=1),
                            rng.uniform(*TREE_HEIGHT_M, count)])
    return np.where(is_house[:, None], house, tree)


def _rims(pose: Array, size_m: Array) -> Array:
    """Twelve points (K, 12, 2) around each footprint: corners and thirds of the sides."""
    third = np.array([-1.0, -1 / 3, 1 / 3])
    side = np.concatenate([np.column_stack([third, -np.ones(3)]), np.column_stack([np.ones(3), third]),
                           np.column_stack([-third, np.ones(3)]), np.column_stack([-np.ones(3), -third])])
    local = side * size_m[:, None, :2] / 2
    cos, sin = np.cos(pose[:, 2:]), np.sin(pose[:, 2:])
    return np.stack([pose[:, :1] + cos * local[..., 0] - sin * local[..., 1],
                     pose[:, 1:2] + sin * local[..., 0] + cos * local[..., 1]], axis=-1)


def _beside(points_m: Array, begin_m: Array, end_m: Array) -> Array:
    """Distance (K,) of points (K, 2) from a straight line between two points."""
    along = end_m - begin_m
    share = np.clip((points_m - begin_m) @ along / (along @ along), 0.0, 1.0)
    return np.asarray(np.hypot(*(points_m - begin_m - share[:, None] * along).T))


def place_props(network: RoadNetwork, rng: np.random.Generator) -> Props:
    """Houses and trees along every road of the network, drawn from `rng`: at most MOST_PROPS, none over another."""
    sides = [_along(lane, rng) for lane in network.lanes
             if lane.junction is None and lane.right_neighbour is None]
    sides += [_on_island(surface.island_m, rng) for surface in network.surfaces
              if surface.island_m is not None and surface.junction is not None]
    house = np.concatenate([side.is_house for side in sides])
    heading = np.concatenate([side.heading_rad for side in sides])
    size = _sizes(house, rng)
    away = np.concatenate([side.setback_m for side in sides]) + size[:, 1] / 2
    centre = np.concatenate([side.foot_m for side in sides]) + away[:, None] * np.stack(
        [np.sin(heading), -np.cos(heading)], axis=1)
    yaw = heading + np.where(house, rng.normal(0.0, 0.03, len(house)), rng.uniform(-0.8, 0.8, len(house)))
    pose = np.column_stack([centre, yaw])
    free = network.distance_to_road(_rims(pose, size).reshape(-1, 2), reach_m=CLEARANCE_M) >= CLEARANCE_M
    for track in network.tracks:
        free &= _beside(_rims(pose, size).reshape(-1, 2), *track.line_m) >= track.width_m / 2 + TRACK_CLEAR_M
    order = rng.permutation(np.flatnonzero(free.reshape(-1, 12).all(axis=1)))
    order = np.sort(order[keep_apart(centre[order], np.hypot(size[order, 0], size[order, 1]) / 2)][:MOST_PROPS])
    colour = np.where(house[:, None], FACADES[rng.integers(len(FACADES), size=len(house))],
                      CROWNS[rng.integers(len(CROWNS), size=len(house))])
    kind = np.where(house, int(PropKind.BUILDING), int(PropKind.TREE))
    beacons = np.concatenate([np.zeros((0, 3)), *(beacons_of(network, works) for works in network.works)])
    count = len(beacons)
    return Props(np.append(kind[order], np.full(count, int(PropKind.BEACON))), np.concatenate([pose[order], beacons]),
                 np.concatenate([size[order], np.tile(BEACON_M, (count, 1))]),
                 np.concatenate([colour[order], np.tile(BEACON_RED, (count, 1))]).astype(np.uint8))
