"""Street lamps stand beside lit streets, clear of everything, and throw light below them."""

import itertools

import numpy as np
import pytest

from envs.render.lamps import LAMP_ARM_M, LAMP_SPACING_M, LIT_LIMIT_MPS, REACH_M, light_map, street_lamps
from envs.roads.procedural import build_town
from envs.state import PropKind
from tests import straight_road


@pytest.mark.parametrize("seed", range(4))
def test_posts_stand_beside_slow_streets_and_clear_of_all_else(seed):
    town = build_town(seed)
    pose = street_lamps(town)
    assert len(pose) > 15
    gap = np.hypot(*(pose[:, None, :2] - pose[None, :, :2]).transpose(2, 0, 1)) + 1e9 * np.eye(len(pose))
    assert gap.min() >= LAMP_SPACING_M
    off = town.network.distance_to_road(pose[:, :2])
    assert (off > 1.5).all() and (off < 4.5).all()
    slow = np.concatenate([lane.centre_m for lane in town.network.lanes if lane.speed_limit_mps < LIT_LIMIT_MPS])
    assert (np.hypot(*(pose[:, None, :2] - slow[None]).transpose(2, 0, 1)).min(axis=1) < 7.0).all()
    houses = town.props.pose[town.props.kind == PropKind.BUILDING, :2]
    assert np.hypot(*(pose[:, None, :2] - houses[None]).transpose(2, 0, 1)).min() > 4.0


def test_arms_reach_towards_the_street():
    town = build_town(1)
    pose = street_lamps(town)
    lamps = pose[:, :2] + LAMP_ARM_M * np.stack([np.cos(pose[:, 2]), np.sin(pose[:, 2])], axis=1)
    assert (town.network.distance_to_road(lamps) < town.network.distance_to_road(pose[:, :2]) - 2.0).all()


def test_light_falls_from_the_lamp_outward():
    """Brightest below a lamp, less at every step away from a lone one, nothing beyond its reach."""
    pose, light = street_lamps(straight_road.TOWN), light_map(straight_road.TOWN)
    lamps = pose[:, :2] + LAMP_ARM_M * np.stack([np.cos(pose[:, 2]), np.sin(pose[:, 2])], axis=1)
    first = lamps[np.argmin(lamps[:, 0])]

    def level(x: float, y: float) -> float:
        column, row = np.floor(np.array([x, y]) - light.origin_m).astype(int)
        return float(light.level[row, column])

    assert level(*first) == pytest.approx(1.0, abs=0.1)
    away = [level(first[0], first[1] - metres) for metres in range(0, REACH_M, 4)]
    assert all(a > b for a, b in itertools.pairwise(away))
    assert level(first[0] - REACH_M - 1, first[1]) == 0.0


def test_a_town_without_streets_has_no_lamps():
    fast = straight_road.town()
    for lane in fast.network.lanes:
        object.__setattr__(lane, "speed_limit_mps", 100 / 3.6)
    assert street_lamps(fast).shape == (0, 3) and not light_map(fast).level.any()
