"""The reward's arithmetic by hand, the ends by name, and what a whole drive earns."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from straight_road import drive, judge, state

from envs.config import ConfigError, RewardConfig
from envs.reward import ENDS, FACTORS, INFRACTION_ENDS, bad_end, check_names, ended, reward
from envs.rules import Facts, initial_facts, initial_memory

CLEAN = replace(initial_facts(initial_memory(state(60.0))), lateral_m=0.0, completion_delta=0.01)
CONFIG = RewardConfig()


@pytest.mark.parametrize(("change", "expected"), [
    ({}, 1.0),
    ({"is_off_lane": True}, 0.0),
    ({"overspeed_mps": 1.115}, 0.5),
    ({"overspeed_mps": 5.0}, 0.0),
    ({"comfort_violations": 3}, 0.75),
    ({"comfort_violations": 6}, 0.5),
    ({"ttc_s": 0.5}, 0.5),
    ({"lateral_m": 1.75}, 0.5),
    ({"lateral_m": -0.875}, 0.75),
    ({"lateral_m": 1.75, "is_in_junction": True}, 1.0),
    ({"completion_delta": 0.0}, 0.0),
    ({"overspeed_mps": 1.115, "comfort_violations": 6, "ttc_s": 0.1}, 0.125),
])
def test_one_percent_of_progress_under_each_factor(change, expected):
    value, terms = reward(replace(CLEAN, **change), CONFIG)
    assert value == pytest.approx(expected)
    assert set(terms) == {"progress", *CONFIG.factors, "terminal"}
    assert value == pytest.approx(terms["progress"] * math.prod(terms[name] for name in CONFIG.factors)
                                  + terms["terminal"])


ENDINGS = {"collision": {"new_collision": "static"}, "off_road": {"is_off_road": True}, "stop": {"has_run_stop": True},
           "red_light": {"has_run_red": True}, "blocked": {"is_blocked": True}, "deviated": {"is_deviated": True}}


@pytest.mark.parametrize("name", INFRACTION_ENDS)
def test_each_bad_end_ends_and_costs_only_where_its_row_says_so(name):
    facts = replace(CLEAN, completion_delta=0.0, **ENDINGS[name])
    for mode, ends_on in ENDS.items():
        ends = name in ends_on
        assert ended(facts, ends_on) == (ends, False), mode
        assert bad_end(facts, ends_on) == (name if ends else None)
        assert reward(facts, CONFIG, ends_on)[0] == (-CONFIG.terminal_penalty if ends else 0.0)


def test_every_mode_names_rows_that_exist_and_evaluation_goes_on_after_a_bump():
    assert all(name in INFRACTION_ENDS for ends_on in ENDS.values() for name in ends_on)
    assert ENDS["evaluation"] == ("blocked", "deviated")


def test_goal_terminates_and_timeout_truncates():
    assert ended(replace(CLEAN, is_at_goal=True)) == (True, False)
    assert ended(replace(CLEAN, is_timeout=True)) == (False, True)
    assert ended(replace(CLEAN, is_timeout=True, is_at_goal=True)) == (True, False)
    assert ended(CLEAN) == (False, False)


def test_whole_perfect_drive_earns_the_scale_and_overtaking_the_limit_earns_less():
    def earned(speed: float) -> float:
        speeds = [speed] * round(1390 / speed) + [0.0] * 5 + [speed] * round(2550 / speed)
        return sum(reward(fact, CONFIG, ())[0] for fact in _until_goal(judge(drive(speeds))))

    assert earned(10.0) == pytest.approx(CONFIG.progress_scale, rel=1e-3)
    assert earned(15.0) == pytest.approx(CONFIG.progress_scale * (1 - (15.0 - 50 / 3.6) / 2.23), rel=0.02)
    assert earned(17.0) < 1.0


def _until_goal(facts: list[Facts]) -> list[Facts]:
    return facts[:1 + next(i for i, fact in enumerate(facts) if fact.is_at_goal)]


def test_unknown_factor_is_an_error_that_names_the_legal_ones():
    with pytest.raises(ConfigError, match=f"factor 'lnae' is unknown; the legal ones are {', '.join(FACTORS)}"):
        check_names(RewardConfig(factors=("lnae",)))
    check_names(RewardConfig(factors=tuple(FACTORS)))


@pytest.mark.parametrize("change", [{"progress_scale": -1.0}, {"ttc_factor": 1.5}, {"overspeed_zero_mps": 0.0},
                                    {"terminal_penalty": math.nan}])
def test_weights_out_of_range_are_refused(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        RewardConfig(**change)
