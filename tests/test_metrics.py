"""Scores against figures computed by hand, the filter against its published table, intervals against theory."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from straight_road import drive, judge, state

from envs.metrics import (
    COEFFICIENTS,
    CONDITIONS,
    EVENTS,
    bootstrap,
    comfort_share,
    count_infractions,
    penalties,
    savgol,
    score,
)
from envs.rules import COLLISIONS, Facts, initial_facts, initial_memory

DT = 0.1
STEP = replace(initial_facts(initial_memory(state(60.0))), distance_m=1.0, completion=1.0)


def episode(*changes: dict, steps: int = 100) -> list[Facts]:
    """`steps` clean steps of 1 m each with one changed step per dict, ten steps apart, ending at the goal."""
    facts = [STEP] * steps
    for i, change in enumerate(changes):
        facts[10 * (i + 1)] = replace(STEP, **change)
    return [*facts[:-1], replace(facts[-1], is_at_goal=True)]


def test_perfect_episode():
    result = score(episode(), DT)
    assert (result.driving_score, result.driving_score_20, result.route_completion) == (100.0, 100.0, 100.0)
    assert result.is_success and result.status == "perfect" and result.end == "goal"
    assert result.distance_m == 100.0 and result.duration_s == pytest.approx(10.0)
    assert result.mean_speed_mps == pytest.approx(10.0) and result.infractions_per_km == 0.0 and result.comfort == 1.0


@pytest.mark.parametrize(("changes", "score_21", "score_20"), [
    ([{"new_collision": "vehicle"}, {"has_run_stop": True}], 100 / 1.95, 48.0),  # 1 / (1 + .7 + .25); .6 x .8
    ([{"new_collision": "pedestrian"}], 50.0, 50.0),
    ([{"new_collision": "static"}, {"new_collision": "static"}], 100 / 2.2, 42.25),
    ([{"has_run_red": True}], 100 / 1.4, 70.0),
    ([{"has_run_stop": True}] * 3, 100 / 1.75, 51.2),
    ([{"overspeed_mps": 9.0}], 100.0, 100.0),
])
def test_driving_score_by_hand(changes, score_21, score_20):
    result = score(episode(*changes), DT)
    assert result.driving_score == pytest.approx(score_21) and result.driving_score_20 == pytest.approx(score_20)


def test_leaderboards_own_example():
    """One vehicle collision and one red light: 47.6 (2.1), 42.0 (2.0); a red light costs 0.4 and x 0.70."""
    after_21, after_20 = penalties({"vehicle": 1})
    assert 100 / (1 / after_21 + 0.4) == pytest.approx(47.6, abs=0.05)
    assert 100 * after_20 * 0.70 == pytest.approx(42.0)


def test_minimum_speed_coefficients_and_unknown_names():
    assert penalties({}, min_speed_pct=50.0) == (pytest.approx(1 / 1.2), pytest.approx(0.85))
    assert penalties({"speeding": 3, "off_lane": 1}) == (1.0, 1.0)
    assert set(COLLISIONS) < set(COEFFICIENTS) == set(EVENTS)


def test_share_off_the_lane_multiplies_and_denies_success():
    facts = episode()
    facts[20:40] = [replace(STEP, is_off_lane=True)] * 20
    result = score(facts, DT)
    assert result.driving_score == pytest.approx(80.0) and result.off_lane_share == pytest.approx(0.2)
    assert not result.is_success and result.status == "completed" and result.infractions["off_lane"] == 1
    assert result.infractions_per_km == pytest.approx(10.0)


def test_speeding_alone_is_counted_beside():
    result = score(episode({"overspeed_mps": 9.0}, {"overspeed_mps": 2.0}), DT)
    assert result.infractions["speeding"] == 1 and result.is_success and result.infractions_per_km == 0.0


def test_partial_route_fails_with_its_reason():
    half = [replace(STEP, completion=0.5)] * 50
    assert score(half, DT).status == "failed" and score(half, DT).end == "unfinished"
    assert score(half, DT).driving_score == 50.0
    assert score([*half, replace(half[0], is_off_road=True)], DT).end == "off_road"
    assert score([*half, replace(half[0], is_off_road=True)], DT, ends_on=()).end == "unfinished"
    assert score([*half, replace(half[0], is_timeout=True)], DT).end == "timeout"


def test_conditions_count_their_beginnings_and_events_each_time():
    facts = [replace(STEP, is_off_road=flag, has_run_stop=flag) for flag in (True, True, False, True, True, True)]
    counts = count_infractions(facts)
    assert counts["off_road"] == 2 and counts["stop"] == 5 and set(counts) == {*EVENTS, *CONDITIONS}


def test_real_facts_score_and_serialise():
    result = score(judge(drive([10.0] * 139 + [0.0] * 5 + [10.0] * 255)), DT)
    assert result.driving_score == 100.0 and result.status == "perfect"
    assert all(math.isfinite(value) for value in asdict(result).values() if isinstance(value, float))


def test_no_step_no_score():
    with pytest.raises(ValueError, match="at least one"):
        score([], DT)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(COEFFICIENTS)), st.integers(0, 5)),
       st.sampled_from([name for name, (summand, _) in COEFFICIENTS.items() if summand > 0]))
def test_one_more_infraction_always_costs(counts, name):
    more = {**counts, name: counts.get(name, 0) + 1}
    for before, after in zip(penalties(counts), penalties(more), strict=True):
        assert 0 < after < before <= 1


def test_filter_reproduces_parabolas_and_savitzky_golays_table():
    t = np.arange(30) * DT
    parabola = 3 - 2 * t + 5 * t**2
    np.testing.assert_allclose(savgol(parabola, 0, DT), parabola, atol=1e-9)  # ends included
    np.testing.assert_allclose(savgol(parabola, 1, DT), -2 + 10 * t, atol=1e-9)
    impulse = np.zeros(13)
    impulse[6] = 21.0
    np.testing.assert_allclose(savgol(impulse, 0, DT)[3:10], [-2, 3, 6, 7, 6, 3, -2], atol=1e-9)  # 1964, table I
    impulse[6] = 28.0 * DT
    np.testing.assert_allclose(savgol(impulse, 1, DT)[3:10], [3, 2, 1, 0, -1, -2, -3], atol=1e-9)


def test_comfort_is_the_share_of_calm_two_second_windows():
    calm = np.zeros((100, 3))
    assert comfort_share(calm, DT) == 1.0
    brake = calm.copy()
    brake[45:55, 0] = -6.0  # within window 3 of 5, and its smoothed edges too
    assert comfort_share(brake, DT) == pytest.approx(0.8)
    swerve = calm.copy()
    swerve[:, 1] = 5.0
    assert comfort_share(swerve, DT) == 0.0
    spin = calm.copy()
    spin[:, 2] = np.sin(np.arange(100) * DT * 4) * 0.7  # 0.7 rad/s is calm, its 2.8 rad/s2 are not
    assert comfort_share(spin, DT) == 0.0
    assert comfort_share(np.full((3, 3), 9.0), DT) == 1.0  # too short to judge


def test_bootstrap_interval_matches_theory_and_repeats():
    values = np.random.default_rng(1).normal(50.0, 10.0, 400)
    mean, low, high = bootstrap(values, np.random.default_rng(2))
    half = 1.96 * values.std() / 20
    assert mean == pytest.approx(values.mean())
    assert low == pytest.approx(mean - half, abs=0.15) and high == pytest.approx(mean + half, abs=0.15)
    assert bootstrap(values, np.random.default_rng(2)) == (mean, low, high)
    assert bootstrap([7.0], np.random.default_rng(2)) == (7.0, 7.0, 7.0)
    with pytest.raises(ValueError, match="at least one episode"):
        bootstrap([], np.random.default_rng(2))
