"""Facts -> reward, term by term, and when an episode ends. Nothing here looks at the world.

The reward is one multiplicative progress term (CaRL, Jaeger et al. 2025, carla-garage's simple_reward.py; its finding:
shaped sums stall PPO, this form scales):

    progress (share of the route gained x `progress_scale`)  x  every row of FACTORS  -  `terminal_penalty` at a bad end

A whole route driven perfectly sums to `progress_scale`; finishing itself pays nothing. Not here: scores (metrics.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from envs.config import ConfigError, RewardConfig
from envs.rules import Facts


def _lane(facts: Facts, config: RewardConfig) -> float:
    """0 outside the route's own lane."""
    return 0.0 if facts.is_off_lane else 1.0


def _centre(facts: Facts, config: RewardConfig) -> float:
    """Falls linearly from 1 at the lane's centre to 1 - centre_weight at its edge; 1 in junctions."""
    if facts.is_in_junction:
        return 1.0
    return 1.0 - config.centre_weight * min(1.0, abs(facts.lateral_m) / (facts.lane_width_m / 2))


def _speed(facts: Facts, config: RewardConfig) -> float:
    """Falls linearly to 0 at `overspeed_zero_mps` above the limit."""
    return max(0.0, 1.0 - facts.overspeed_mps / config.overspeed_zero_mps)


def _comfort(facts: Facts, config: RewardConfig) -> float:
    """1 - comfort_weight x share of the six comfort bounds broken in the last 2 s."""
    return 1.0 - config.comfort_weight * facts.comfort_violations / 6


def _ttc(facts: Facts, config: RewardConfig) -> float:
    """`ttc_factor` while a collision is less than 0.9 s away at constant velocity."""
    return config.ttc_factor if math.isfinite(facts.ttc_s) else 1.0


FACTORS: dict[str, Callable[[Facts, RewardConfig], float]] = {
    "lane": _lane, "centre": _centre, "speed": _speed, "comfort": _comfort, "ttc": _ttc,
}

INFRACTION_ENDS: dict[str, Callable[[Facts], bool]] = {
    "collision": lambda facts: facts.new_collision is not None,
    "off_road": lambda facts: facts.is_off_road,
    "stop": lambda facts: facts.has_run_stop,
    "red_light": lambda facts: facts.has_run_red,
    "blocked": lambda facts: facts.is_blocked,
    "deviated": lambda facts: facts.is_deviated,
}
"""Bad ends by name; which of them end an episode is a row of ENDS."""

ENDS: dict[str, tuple[str, ...]] = {
    "training": ("collision", "off_road", "stop", "red_light", "blocked", "deviated"),
    "evaluation": ("blocked", "deviated"),
}


def check_names(config: RewardConfig) -> None:
    """Raise ConfigError if a factor's name is not a row of FACTORS."""
    for name in config.factors:
        if name not in FACTORS:
            raise ConfigError(f"reward factor '{name}' is unknown; the legal ones are {', '.join(FACTORS)}")


def bad_end(facts: Facts, ends_on: tuple[str, ...]) -> str | None:
    """The name of the first bad end in `ends_on` that holds; KeyError on a name that is not in INFRACTION_ENDS."""
    return next((name for name in ends_on if INFRACTION_ENDS[name](facts)), None)


def reward(facts: Facts, config: RewardConfig,
           ends_on: tuple[str, ...] = ENDS["training"]) -> tuple[float, dict[str, float]]:
    """The reward of one step and its terms by name.

    Terms: `progress` (before the factors), one per factor in `config.factors`, `terminal` (0 or negative). The reward
    is progress x product of factors + terminal.
    """
    factors = {name: FACTORS[name](facts, config) for name in config.factors}
    progress = config.progress_scale * facts.completion_delta
    terminal = -config.terminal_penalty if bad_end(facts, ends_on) else 0.0
    return progress * math.prod(factors.values()) + terminal, {"progress": progress, **factors, "terminal": terminal}


def ended(facts: Facts, ends_on: tuple[str, ...] = ENDS["training"]) -> tuple[bool, bool]:
    """(terminated, truncated): a bad end or the goal terminates, a timeout truncates."""
    terminated = facts.is_at_goal or bad_end(facts, ends_on) is not None
    return terminated, facts.is_timeout and not terminated
