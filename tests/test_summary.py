"""Sums of episodes by hand."""

import io

import pytest
from rich.console import Console

from agents.summary import interval, show, summarise


def rows(scores, metres=1000.0, stops=(0, 0, 0)):
    return [{"driving_score": s, "driving_score_20": s, "is_success": s == 100.0, "is_blameless": s > 0,
             "route_completion": 100.0,
             "comfort": 1.0, "mean_speed_mps": 10.0, "distance_m": metres,
             "infractions": {"stop": n, "speeding": 3}} for s, n in zip(scores, stops, strict=False)]


def test_sums_by_hand():
    """Three drives of a kilometre with scores 100, 80, 60 and two stop lines run."""
    summary = summarise(rows((100.0, 80.0, 60.0), stops=(0, 1, 1)), seed=0)
    assert summary["driving_score"]["mean"] == pytest.approx(80.0)
    assert summary["driving_score"]["low"] == 60.0 and summary["driving_score"]["high"] == 100.0
    assert summary["is_success"]["mean"] == pytest.approx(1 / 3)
    assert summary["infractions_per_km"]["mean"] == pytest.approx(2 / 3), "speeding is counted beside"
    assert summary["per_km"] == {"stop": pytest.approx(2 / 3), "speeding": pytest.approx(3.0)}
    assert summary["km"] == pytest.approx(3.0)
    assert interval(summary["is_success"], 100.0) == "33.3 [0.0, 100.0]"


def test_sums_are_repeatable_and_a_car_that_stands_divides_by_nothing():
    still = rows((0.0, 0.0, 0.0), metres=0.0)
    assert summarise(still, seed=1) == summarise(still, seed=1)
    assert summarise(still, seed=1)["infractions_per_km"]["mean"] == 0.0


def test_tables_show_every_episode_of_given_drivers_and_sums_of_all():
    episodes = [row | {"scenario": f"town_{k}", "end": "goal"}
                for k, row in enumerate(rows((100.0, 50.0), stops=(0, 1)))]
    policies = [{"name": name, "spec": name, "is_baseline": name != "ppo", "episodes": episodes,
                 "summary": summarise(episodes, 0)} for name in ("ppo", "expert")]
    out = io.StringIO()
    show({"suite": "test", "num_episodes": 2, "policies": policies}, Console(file=out, width=176))
    text = out.getvalue()
    assert text.count("town_1") == 1, "episodes of the given driver only"
    assert text.count("75.0 [50.0, 100.0]") == 4, "both forms of the score, both drivers"
    assert "stop 1" in text and "infractions per km by kind" in text
