"""Where the members of a party want to be: beside and behind their leader, on pavements and on ways."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.parties import ABREAST_M, CROSS, PARTY, PERSON, SLOTS, WALK, goal, is_walkable, settle, shifted
from envs.roads.ways import WayKind
from tests.test_walking import GROUNDS

PLACE = GROUNDS[WayKind.ZEBRA]
POINTS = PLACE.pavements.kerb_m
SOUTH = int(np.argmin(np.hypot(POINTS[:, 0] - 120.0, POINTS[:, 1] + 4.0)))  # where the lane leads east


def four(state: int, heading: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A party of four at x = 120 m on the pavement south of the road, or 3 m along the crossing at x = 80 m."""
    parties, people = np.zeros(1, PARTY), np.zeros(4, PERSON)
    party = parties[0]
    party["size"], party["state"], party["place"], party["line"], party["heading"] = 4, state, SOUTH, 1, heading
    party["progress_m"] = 3.0
    for person, slot in zip(people, SLOTS, strict=True):
        person["line"], person["behind_m"] = slot
    settle(parties, people, PLACE)
    return parties, people


@pytest.mark.parametrize("heading", [1, -1])
def test_a_party_walks_two_by_two_along_the_kerb(heading: int) -> None:
    """The second beside the first on the next line, the other two behind them; all face their way."""
    _, people = four(WALK, heading)
    ahead = heading * (people["x_m"] - people["x_m"][0])
    np.testing.assert_allclose(ahead, [0.0, -0.15, -0.75, -0.90], atol=0.01)
    np.testing.assert_allclose(people["y_m"], [-5.35, -5.9, -5.35, -5.9], atol=1e-6)
    np.testing.assert_allclose(np.cos(people["yaw_rad"]), heading, atol=1e-6)


def test_a_party_crosses_two_by_two() -> None:
    _, people = four(CROSS)
    np.testing.assert_allclose(people["y_m"], np.array([3.0, 2.85, 2.25, 2.1]) - 4.5, atol=1e-9)
    assert np.ptp(people["x_m"]) == pytest.approx(ABREAST_M)
    assert people["x_m"].mean() == pytest.approx(80.0)
    np.testing.assert_allclose(people["yaw_rad"], np.pi / 2)


@settings(max_examples=50, deadline=None)
@given(there=st.floats(-60.0, 60.0), share=st.floats(0.0, 0.99))
def test_there_and_back_along_a_kerb(there: float, share: float) -> None:
    place, part = shifted(PLACE.pavements, SOUTH, share, there)
    assert 0.0 <= part <= 1.0, "1 by rounding"
    assert place + part == pytest.approx(SOUTH + share + there)
    again, rest = shifted(PLACE.pavements, place, part, -there)
    assert again + rest == pytest.approx(SOUTH + share)


def test_a_kerb_ends_where_the_world_ends() -> None:
    end, share = shifted(PLACE.pavements, SOUTH, 0.5, 1000.0)
    assert share == 0.0 and PLACE.pavements.after[end] == end
    parties, people = four(WALK)
    assert is_walkable(parties[0], PLACE.pavements, SOUTH, 2)
    assert not is_walkable(parties[0], PLACE.pavements, end, 2)
    parties[0]["place"] = end
    assert np.isfinite(goal(parties[0], people[3], PLACE)).all()
