"""Rows of episodes -> means with 95 % intervals, and the tables that a terminal shows.

Means are over episodes, rates over all metres. Nothing is driven, read or written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from envs.metrics import bootstrap

METRICS: dict[str, tuple[str, float]] = {  # key of an episode's row: column title, factor for people
    "driving_score": ("driving score 2.1", 1.0), "driving_score_20": ("2.0", 1.0), "is_success": ("success %", 100.0),
    "is_blameless": ("blameless %", 100.0), "route_completion": ("route %", 1.0), "comfort": ("comfort %", 100.0),
    "mean_speed_mps": ("km/h", 3.6),
}
FAULTS = "infractions_per_km"
TABLE_WIDTH = 200  # letters, where the output is no terminal


def wide_console() -> Console:
    """Standard output, wide enough for a table where it is no terminal."""
    return Console() if Console().is_terminal else Console(width=TABLE_WIDTH)


def summarise(episodes: Sequence[dict[str, Any]], seed: int) -> dict[str, Any]:
    """Means over episodes with 95 % bootstrap intervals, and infractions per km by kind.

    A rate per km is a ratio of sums over all episodes (the leaderboard's form), so that a short drive weighs no more
    than its metres; its interval resamples whole episodes.
    """
    rng = np.random.default_rng(seed)
    summary: dict[str, Any] = {}
    for name in METRICS:
        mean, low, high = bootstrap([float(row[name]) for row in episodes], rng)
        summary[name] = {"mean": mean, "low": low, "high": high}
    km = np.array([row["distance_m"] for row in episodes]) / 1000
    faults = np.array([sum(n for kind, n in row["infractions"].items() if kind != "speeding") for row in episodes])
    picks = rng.integers(len(km), size=(2000, len(km)))
    rates = faults[picks].sum(axis=1) / np.maximum(km[picks].sum(axis=1), 1e-3)
    low, high = np.percentile(rates, [2.5, 97.5])
    summary[FAULTS] = {"mean": float(faults.sum() / max(km.sum(), 1e-3)), "low": float(low), "high": float(high)}
    summary["per_km"] = {kind: float(sum(row["infractions"][kind] for row in episodes) / max(km.sum(), 1e-3))
                         for kind in episodes[0]["infractions"]}
    summary["km"] = float(km.sum())
    return summary


def show(results: dict[str, Any], console: Console) -> None:
    """Print one table per given driver with a row per episode, then the sums of all drivers."""
    for policy in results["policies"]:
        if not policy["is_baseline"]:
            console.print(_episode_table(policy))
    console.print(_sum_table(results))
    kinds = [kind for kind in results["policies"][0]["summary"]["per_km"]
             if any(policy["summary"]["per_km"][kind] for policy in results["policies"])]
    table = Table("driver", *[kind.replace("_", " ") for kind in kinds], title="infractions per km by kind")
    for policy in results["policies"]:
        table.add_row(policy["name"], *[f"{policy['summary']['per_km'][kind]:.2f}" for kind in kinds])
    if kinds:
        console.print(table)


def _episode_table(policy: dict[str, Any]) -> Table:
    table = Table("scenario", *[title for title, _ in METRICS.values()], "m", "end", "infractions",
                  title=f"{policy['name']} ({policy['spec']}), every episode")
    for row in policy["episodes"]:
        faults = ", ".join(f"{kind.replace('_', ' ')} {n}" for kind, n in row["infractions"].items() if n)
        table.add_row(row["scenario"], *[f"{factor * row[name]:.1f}" for name, (_, factor) in METRICS.items()],
                      f"{row['distance_m']:.0f}", row["end"], faults or "-")
    return table


def _sum_table(results: dict[str, Any]) -> Table:
    table = Table("driver", *[title for title, _ in METRICS.values()], "infractions/km",
                  title=f"suite {results['suite']}, {results['num_episodes']} episodes: mean [95 % interval]")
    for policy in results["policies"]:
        cells = [interval(policy["summary"][name], factor) for name, (_, factor) in METRICS.items()]
        table.add_row(policy["name"], *cells, interval(policy["summary"][FAULTS], 1.0, digits=2))
    return table


def interval(value: dict[str, float], factor: float, digits: int = 1) -> str:
    """'mean [low, high]' for people."""
    return (f"{factor * value['mean']:.{digits}f} "
            f"[{factor * value['low']:.{digits}f}, {factor * value['high']:.{digits}f}]")
