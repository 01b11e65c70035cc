"""People on foot in stories with numbers, and what holds for everybody at every time."""

from __future__ import annotations

import numpy as np
import pytest

from envs.pedestrians import PACE_MPS, PACE_SD_MPS, Walkers, draw_people
from envs.state import ActorKind, VehicleState, no_actors
from tests.straight_road import ROUTE, TOWN

DARK = np.zeros(0, np.int64)
EGO = VehicleState(5.0, -1.75, 0.0)


def test_a_crowd_has_weidmanns_paces() -> None:
    size, pace = draw_people(4000, np.random.default_rng(0))
    assert pace.mean() == pytest.approx(PACE_MPS, abs=0.02) and pace.std() == pytest.approx(PACE_SD_MPS, abs=0.02)
    assert pace.min() >= 0.6 and pace.max() <= 2.1
    assert 0.08 < (size[:, 2] < 1.45).mean() < 0.16, "children"


def test_people_walk_at_their_pace_off_the_road() -> None:
    walkers = Walkers(TOWN, ROUTE, 20, no_actors(), np.random.default_rng(3))
    for _ in range(300):
        walkers.step(EGO, no_actors(), DARK, 0.1)
        assert (TOWN.network.distance_to_road(walkers.actors.pose[:, :2]) > 0.4).all()
    assert (walkers.actors.kind == ActorKind.PEDESTRIAN).all()
    assert (walkers.actors.speed_mps > 0.4).mean() > 0.9


def test_same_generator_same_bytes() -> None:
    runs = []
    for _ in range(2):
        walkers = Walkers(TOWN, ROUTE, 12, no_actors(), np.random.default_rng(7))
        for _ in range(100):
            walkers.step(EGO, no_actors(), DARK, 0.1)
        runs.append(walkers.actors.pose.tobytes() + walkers.velocity_mps.tobytes())
    assert runs[0] == runs[1]
