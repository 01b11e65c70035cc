"""An episode's facts -> its score: the CARLA leaderboard's two forms, an infraction table, success and comfort.

Driving score = route completion (0 to 100) x penalty x (1 - share of the distance driven off the route's lane), after
CARLA leaderboard, leaderboard/utils/statistics_manager.py:
  2.1   penalty = 1 / (1 + sum of coefficients)
  2.0   penalty = product of coefficients
Scenario timeouts and yielding to emergency vehicles do not exist in the towns. The minimum-speed penalty compares with
the surrounding traffic (`Facts.min_speed_pct`).

Success: the goal is reached with no infraction but speeding, which the leaderboard does not know either: it is counted
beside. Nothing here drives, and nothing here averages over episodes except `bootstrap`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from envs.geometry import Array
from envs.reward import ENDS, bad_end
from envs.rules import COMFORT_WINDOW_S, SMOOTHING_STEPS, SPEEDING_MPS, Facts, is_uncomfortable

COEFFICIENTS: dict[str, tuple[float, float]] = {  # infraction: (2.1 summand, 2.0 factor)
    "pedestrian": (1.0, 0.50),
    "vehicle": (0.7, 0.60),
    "static": (0.6, 0.65),
    "red_light": (0.4, 0.70),
    "stop": (0.25, 0.80),
    "yield": (0.0, 1.0),  # denies success; the leaderboard knows only the collision that may follow
    "overtaking": (0.0, 1.0),  # where a sign forbids it: denies success, the leaderboard does not know it
}
MIN_SPEED = (0.4, 0.3)  # x (1 - pct / 100): 2.1 summand; 2.0 taken from a factor of 1

EVENTS: dict[str, Callable[[Facts], bool]] = {  # one infraction each time it holds in a step
    "pedestrian": lambda facts: facts.new_collision == "pedestrian",
    "vehicle": lambda facts: facts.new_collision == "vehicle",
    "static": lambda facts: facts.new_collision == "static",
    "red_light": lambda facts: facts.has_run_red,
    "stop": lambda facts: facts.has_run_stop,
    "yield": lambda facts: facts.has_failed_to_yield,
    "overtaking": lambda facts: facts.has_overtaken_where_forbidden,
}
CONDITIONS: dict[str, Callable[[Facts], bool]] = {  # one infraction each time it begins to hold
    "off_lane": lambda facts: facts.is_off_lane,
    "off_road": lambda facts: facts.is_off_road,
    "wrong_way": lambda facts: facts.is_wrong_way,
    "forbidden_turn": lambda facts: facts.is_forbidden_turn,
    "speeding": lambda facts: facts.overspeed_mps > SPEEDING_MPS,
    "blocked": lambda facts: facts.is_blocked,
    "deviated": lambda facts: facts.is_deviated,
    "timeout": lambda facts: facts.is_timeout,
}


@dataclass(frozen=True)
class EpisodeScore:
    """One episode in numbers; `dataclasses.asdict` gives what goes into results.json."""

    driving_score: float  # leaderboard 2.1, 0 to 100
    driving_score_20: float  # leaderboard 2.0, 0 to 100
    route_completion: float  # 0 to 100
    is_success: bool
    status: str  # "perfect" (success), "completed" (with infractions) or "failed" (goal not reached)
    end: str  # "goal", a row of INFRACTION_ENDS, "timeout", or "unfinished"
    infractions: dict[str, int]  # every row of EVENTS and CONDITIONS
    is_blameless: bool  # no collision that the driver caused, by nuPlan's definition
    min_speed_pct: float  # mean speed in per cent of the surrounding traffic's, at most 100
    infractions_per_km: float  # all but speeding
    off_lane_share: float  # of the distance driven, 0 to 1
    comfort: float  # share of 2 s windows inside all six bounds, 0 to 1
    distance_m: float
    duration_s: float
    mean_speed_mps: float


def score(facts: Sequence[Facts], dt: float, ends_on: tuple[str, ...] = ENDS["training"]) -> EpisodeScore:
    """The score of an episode's steps, `dt` [s] apart, without the initial instant. ValueError if there is none."""
    if not facts:
        raise ValueError("an episode without a step has no score; drive at least one")
    infractions = count_infractions(facts)
    distance = sum(fact.distance_m for fact in facts)
    off_lane = sum(fact.distance_m for fact in facts if fact.is_off_lane) / max(distance, 1e-9)
    completion, duration = 100.0 * facts[-1].completion, len(facts) * dt
    penalty_21, penalty_20 = penalties(infractions, facts[-1].min_speed_pct)
    in_lane = 1.0 - off_lane
    faults = sum(count for name, count in infractions.items() if name != "speeding")
    is_success = facts[-1].is_at_goal and faults == 0
    return EpisodeScore(
        driving_score=completion * penalty_21 * in_lane, driving_score_20=completion * penalty_20 * in_lane,
        route_completion=completion, is_success=is_success,
        status="perfect" if is_success else "completed" if facts[-1].is_at_goal else "failed",
        end=_end(facts[-1], ends_on), infractions=infractions,
        is_blameless=not any(fact.is_at_fault for fact in facts), min_speed_pct=facts[-1].min_speed_pct,
        infractions_per_km=faults / max(distance / 1000, 1e-3),
        off_lane_share=off_lane, comfort=comfort_share(motion(facts), dt), distance_m=distance, duration_s=duration,
        mean_speed_mps=distance / duration)


def _end(last: Facts, ends_on: tuple[str, ...]) -> str:
    return bad_end(last, ends_on) or ("goal" if last.is_at_goal else "timeout" if last.is_timeout else "unfinished")


def count_infractions(facts: Iterable[Facts]) -> dict[str, int]:
    """How often each row of EVENTS happened and each row of CONDITIONS began."""
    counts = dict.fromkeys([*EVENTS, *CONDITIONS], 0)
    held = dict.fromkeys(CONDITIONS, False)
    for fact in facts:
        for name, happens in EVENTS.items():
            counts[name] += happens(fact)
        for name, holds in CONDITIONS.items():
            now = holds(fact)
            counts[name] += now and not held[name]
            held[name] = now
    return counts


def penalties(infractions: dict[str, int], min_speed_pct: float = 100.0) -> tuple[float, float]:
    """The leaderboard's penalties (2.1, 2.0), each in (0, 1]; names without a coefficient cost nothing."""
    slow = 1.0 - min_speed_pct / 100.0
    total, product = MIN_SPEED[0] * slow, 1.0 - MIN_SPEED[1] * slow
    for name, (summand, factor) in COEFFICIENTS.items():
        total += summand * infractions.get(name, 0)
        product *= factor ** infractions.get(name, 0)
    return 1.0 / (1.0 + total), product


def motion(facts: Sequence[Facts]) -> Array:
    """Longitudinal and lateral acceleration [m/s2] and yaw rate [rad/s] (T, 3)."""
    return np.array([(fact.accel_mps2, fact.lateral_accel_mps2, fact.yaw_rate_radps) for fact in facts])


def comfort_share(series: Array, dt: float) -> float:
    """Share of consecutive 2 s windows of a motion (T, 3) in which all six signals stay in nuPlan's bounds.

    After Bench2Drive's smoothness, with the yaw acceleration really differentiated. A last part shorter than 2 s is
    left out unless it is all there is; under 7 steps there is nothing to judge and the share is 1.
    """
    if len(series) < SMOOTHING_STEPS:
        return 1.0
    lon, lat, yaw_rate = series.T
    signals = np.stack([
        savgol(lon, 0, dt), savgol(lat, 0, dt), savgol(np.hypot(lon, lat), 1, dt), savgol(lon, 1, dt),
        savgol(yaw_rate, 0, dt), savgol(yaw_rate, 1, dt)], axis=1)
    steps = round(COMFORT_WINDOW_S / dt)
    bad = np.any(is_uncomfortable(signals), axis=1)
    whole = len(bad) // steps * steps or len(bad)
    return float(1 - np.mean([bad[first:first + steps].any() for first in range(0, whole, steps)]))


def savgol(values: Array, derivative: int, dt: float) -> Array:
    """Savitzky-Golay filter (T,) of window 7 and order 2: the value (0) or slope per second (1) of the local parabola.

    The three samples at either end take the parabola of the outermost window, as scipy's mode 'interp' does.
    """
    half = SMOOTHING_STEPS // 2
    fit = np.linalg.pinv(np.vander(np.arange(-half, half + 1.0), 3, increasing=True))  # (3, 7): c0, c1, c2
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(values, float), SMOOTHING_STEPS) @ fit.T
    index = np.clip(np.arange(len(values)) - half, 0, len(windows) - 1)
    c, t = windows[index], np.arange(len(values)) - half - index
    return c[:, 0] + c[:, 1] * t + c[:, 2] * t**2 if derivative == 0 else (c[:, 1] + 2 * c[:, 2] * t) / dt


def bootstrap(values: Sequence[float], rng: np.random.Generator, n: int = 2000) -> tuple[float, float, float]:
    """(mean, low, high): the mean and its 95 % percentile bootstrap interval. Raises ValueError if empty."""
    if len(values) == 0:
        raise ValueError("no values to average; give at least one episode")
    sample = np.asarray(values, float)
    means = sample[rng.integers(len(sample), size=(n, len(sample)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(sample.mean()), float(low), float(high)
