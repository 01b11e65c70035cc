"""`nanodrive report`: results.json (and the learning curve) -> one self-contained HTML page and a Markdown table.

Given two runs it compares them, episode by episode. Plots are embedded; the page needs no other file. Nothing is driven
or scored here: every figure is read from results.json.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from matplotlib.axes import Axes

from agents.evaluate import RESULTS, SCHEMA_VERSION
from agents.summary import FAULTS, METRICS, interval
from envs.config import require
from envs.metrics import bootstrap
from perception import pages
from perception.checkpoint import replace_file

LARGEST_BYTES = 64 * 2**20
CURVE, FILM, SHEET = "curve.json", "drive.mp4", "drive.png"  # looked for beside results.json
COLOURS = ("#2f6fde", "#e0872a", "#3a9a5b", "#8a8f98", "#b8434e", "#7a5cc0", "#2aa5b0", "#a0a03a")
PAIRED = ("driving_score", "driving_score_20", "route_completion", "is_success", "comfort")


class ReportError(ValueError):
    """Results that cannot be shown; the message is one sentence that names the file and the way out."""


@dataclass(frozen=True)
class ReportConfig:
    """Settings of `nanodrive report`."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """a run folder with results.json, or two to compare the second with the first"""
    out: Path | None = None
    """the page to write; default: report.html (or compare.html) in the last run's folder"""

    def __post_init__(self) -> None:
        require(1 <= len(self.runs) <= 2, f"{len(self.runs)} runs are given; give one, or two to compare")


def run(config: ReportConfig) -> dict[str, Any]:
    """Write the page and print the Markdown table; raises ReportError."""
    folders = [path.parent if path.name == RESULTS else path for path in config.runs]
    results = [read_results(folder / RESULTS) for folder in folders]
    if len(folders) == 1:
        page, table = one_run(folders[0], results[0]), markdown(results[0])
    else:
        rows = compare(*results)
        page, table = two_runs(folders, rows), compare_markdown(folders, rows)
    out = config.out or folders[-1] / ("report.html" if len(folders) == 1 else "compare.html")
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(out, page.encode())
    print(table)
    return {"report": str(out), "size_bytes": out.stat().st_size}


def read_json(path: Path) -> Any:
    """The JSON of a file; ReportError when it is missing, too large or no JSON."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ReportError(f"{path} is over {LARGEST_BYTES} bytes; give a file that nanodrive wrote")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ReportError(f"cannot read {path}: {str(error.strerror).lower()}; give a folder that "
                          "`nanodrive evaluate` or `nanodrive train` wrote") from None
    except (ValueError, RecursionError):
        raise ReportError(f"{path} is not JSON; evaluate again") from None


def read_results(path: Path) -> dict[str, Any]:
    """The checked content of a results.json."""
    results = read_json(path)
    if not isinstance(results, dict) or results.get("schema") != SCHEMA_VERSION:
        raise ReportError(f"{path} is not of schema {SCHEMA_VERSION}; evaluate again")
    try:
        for policy in results["policies"]:
            str(policy["name"])
            for name in (*METRICS, FAULTS):
                _ = [float(policy["summary"][name][key]) for key in ("mean", "low", "high")]
            for row in policy["episodes"]:
                _ = [float(row[name]) for name in (*METRICS, "distance_m", "duration_s")]
                _ = [str(row[name]) for name in ("scenario", "end", "digest", "seed")], dict(row["infractions"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReportError(f"{path} lacks an entry or holds a wrong one ({error!r}); evaluate again") from None
    if not results["policies"]:
        raise ReportError(f"{path} holds no policy; evaluate again")
    return results


def markdown(results: Mapping[str, Any]) -> str:
    """The sums as a Markdown table, for a README."""
    titles = ["driver", *(title for title, _ in METRICS.values()), "infractions/km"]
    lines = [f"| {' | '.join(titles)} |", f"|---|{'---:|' * (len(titles) - 1)}"]
    lines += [f"| {' | '.join(_sums(policy))} |" for policy in results["policies"]]
    return "\n".join(lines)


def _sums(policy: Mapping[str, Any]) -> list[str]:
    cells = [interval(policy["summary"][name], factor) for name, (_, factor) in METRICS.items()]
    return [str(policy["name"]), *cells, interval(policy["summary"][FAULTS], 1.0, digits=2)]


def one_run(folder: Path, results: Mapping[str, Any]) -> str:
    """The page about one run."""
    parts = [f"<h1>{html.escape(folder.name)}</h1>", _provenance(results),
             pages.table(["driver", *(title for title, _ in METRICS.values()), "infractions/km"],
                         [_sums(policy) for policy in results["policies"]]),
             "<p class=note>Mean over episodes with 95 % bootstrap intervals. Driving score: CARLA leaderboard 2.1, "
             "beside it the 2.0 form.</p>", plot_scores(results), plot_infractions(results)]
    if (folder / CURVE).is_file():
        parts += ["<h2>Learning</h2>", plot_curve(read_json(folder / CURVE), results)]
    parts += _pictures(folder)
    for policy in results["policies"]:
        if not policy["is_baseline"]:
            parts += [f"<h2>Every episode of {html.escape(policy['name'])}</h2>", _episodes(policy)]
    return pages.page(f"nanodrive: {folder.name}", parts)


def _provenance(results: Mapping[str, Any]) -> str:
    machine, versions = results.get("machine", {}), results.get("versions", {})
    said = (f"Suite {results['suite']}, {results['num_episodes']} episodes, seed {results['seed']}, driven in "
            f"{results.get('duration_s', 0):.0f} s on {machine.get('num_cpus', '?')} cores of "
            f"{machine.get('processor', '?')}. "
            + ", ".join(f"{name} {version}" for name, version in versions.items()))
    return f"<p class=note>{html.escape(said)}</p>"


def _pictures(folder: Path) -> list[str]:
    """The film (a link to the file beside the page) and the contact sheet (embedded), where there are any."""
    parts = []
    if (folder / FILM).is_file():
        parts.append(f'<h2>One drive</h2><video src="{FILM}" controls muted></video>')
    if (folder / SHEET).is_file():
        parts.append(pages.image((folder / SHEET).read_bytes(), "moments of the drive"))
    return parts


def _episodes(policy: Mapping[str, Any]) -> str:
    rows = [[row["scenario"], *(f"{factor * float(row[name]):.1f}" for name, (_, factor) in METRICS.items()),
             f"{row['distance_m']:.0f}", f"{row['duration_s']:.0f}", row["end"],
             ", ".join(f"{kind.replace('_', ' ')} {count}" for kind, count in row["infractions"].items() if count)]
            for row in policy["episodes"]]
    titles = ["scenario", *(title for title, _ in METRICS.values()), "m", "s", "end", "infractions"]
    return pages.table(titles, rows)


def plot_scores(results: Mapping[str, Any]) -> str:
    """Driving score, route completion and success of every driver, with intervals."""
    shown, policies = ("driving_score", "route_completion", "is_success"), results["policies"]

    def draw(axes: Sequence[Axes]) -> None:
        for axis, name in zip(axes, shown, strict=True):
            title, factor = METRICS[name]
            means = np.array([factor * policy["summary"][name]["mean"] for policy in policies])
            low = np.array([factor * policy["summary"][name]["low"] for policy in policies])
            high = np.array([factor * policy["summary"][name]["high"] for policy in policies])
            axis.bar(range(len(policies)), means, color=[COLOURS[k % len(COLOURS)] for k in range(len(policies))],
                     yerr=np.maximum([means - low, high - means], 0), capsize=5, ecolor="#444")
            axis.set_xticks(range(len(policies)), [policy["name"] for policy in policies], rotation=20, ha="right")
            axis.set_ylim(0, 105)
            axis.set_title(title)

    return pages.figure(draw, columns=len(shown))


def plot_infractions(results: Mapping[str, Any]) -> str:
    """Infractions per km by kind, one group of bars per kind that ever happened."""
    policies = results["policies"]
    kinds = [kind for kind in policies[0]["summary"]["per_km"]
             if any(policy["summary"]["per_km"].get(kind) for policy in policies)]
    if not kinds:
        return "<p>No driver committed an infraction.</p>"

    def draw(axes: Sequence[Axes]) -> None:
        width = 0.8 / len(policies)
        for k, policy in enumerate(policies):
            axes[0].bar(np.arange(len(kinds)) + k * width, [policy["summary"]["per_km"][kind] for kind in kinds], width,
                        color=COLOURS[k % len(COLOURS)], label=policy["name"])
        axes[0].set_xticks(np.arange(len(kinds)) + 0.4 - width / 2, [kind.replace("_", " ") for kind in kinds])
        axes[0].set_yscale("symlog", linthresh=1.0)
        axes[0].set_ylim(bottom=0)
        axes[0].set_ylabel("per km")
        axes[0].set_title("infractions per km by kind")
        axes[0].legend()

    return pages.figure(draw, columns=1)


def plot_curve(curve: Any, results: Mapping[str, Any]) -> str:
    """Reward and route completion while PPO learned; dashed: where clone and expert stand on the suite."""
    training, validation = _rows(curve, "training"), _rows(curve, "validation")
    means = {policy["name"]: policy["summary"] for policy in results["policies"]}

    def line(axis: Axes, rows: Sequence[Mapping[str, float]], key: str, **style: Any) -> None:
        found = [(row["steps"], row[key]) for row in rows if key in row and "steps" in row]
        if found:
            axis.plot(*zip(*found, strict=True), **style)

    def draw(axes: Sequence[Axes]) -> None:
        for axis, key, title in zip(axes, ("reward", "route_completion", "driving_score"),
                                    ("reward of an episode", "route %", "driving score 2.1"), strict=True):
            line(axis, training, key, color=COLOURS[0], label="training (exploring)")
            line(axis, validation, key, color=COLOURS[1], marker="o", label="validation towns")
            for name, style in (("clone", "--"), ("expert", ":")):
                if name in means and key in means[name]:
                    axis.axhline(means[name][key]["mean"], linestyle=style, color="#888", label=f"{name}, this suite")
            axis.set_xlabel("camera steps")
            axis.set_title(title)
            axis.legend(fontsize=8)

    return pages.figure(draw, columns=3)


def _rows(curve: Any, name: str) -> list[dict[str, float]]:
    rows = curve.get(name, []) if isinstance(curve, dict) else []
    return [row for row in rows if isinstance(row, dict)]


def compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """The second run minus the first: over the episodes that both drove, for the first given driver of each.

    `metrics` maps each of PAIRED to the paired difference {mean, low, high}; ReportError when they share no episode.
    """
    ours, theirs = (next((policy for policy in results["policies"] if not policy["is_baseline"]),
                         results["policies"][0]) for results in (first, second))
    after = {(row["digest"], row["seed"]): row for row in theirs["episodes"]}
    pairs = [(row, after[row["digest"], row["seed"]]) for row in ours["episodes"]
             if (row["digest"], row["seed"]) in after]
    if not pairs:
        raise ReportError("the two runs share no episode; evaluate both on the same suite with the same seed")
    rng, metrics = np.random.default_rng(0), {}
    for name in PAIRED:
        change = [float(b[name]) - float(a[name]) for a, b in pairs]
        mean, low, high = bootstrap(change, rng)
        metrics[name] = {"mean": mean, "low": low, "high": high}
    return {"names": (ours["name"], theirs["name"]), "metrics": metrics, "episodes": [
        {"scenario": a["scenario"], **{name: (float(a[name]), float(b[name])) for name in PAIRED}} for a, b in pairs]}


def _change_rows(rows: Mapping[str, Any]) -> list[list[str]]:
    lines = []
    for name, value in rows["metrics"].items():
        title, factor = METRICS[name]
        pairs = np.array([episode[name] for episode in rows["episodes"]]) * factor
        lines.append([title, f"{pairs[:, 0].mean():.1f}", f"{pairs[:, 1].mean():.1f}", interval(value, factor)])
    return lines


def compare_markdown(folders: Sequence[Path], rows: Mapping[str, Any]) -> str:
    """The paired differences as a Markdown table."""
    titles = [f"{len(rows['episodes'])} shared episodes", str(folders[0]), str(folders[1]), "change"]
    lines = [f"| {' | '.join(line)} |" for line in (titles, *_change_rows(rows))]
    return "\n".join([lines[0], "|---|---:|---:|---:|", *lines[1:]])


def two_runs(folders: Sequence[Path], rows: Mapping[str, Any]) -> str:
    """The page that compares two runs."""
    episodes = rows["episodes"]

    def draw(axes: Sequence[Axes]) -> None:
        for axis, name in zip(axes, ("driving_score", "route_completion"), strict=True):
            pairs = np.array([episode[name] for episode in episodes])
            axis.scatter(pairs[:, 0], pairs[:, 1], color=COLOURS[0])
            axis.plot([0, 100], [0, 100], color="#888", linestyle="--")
            axis.set(xlabel=str(folders[0]), ylabel=str(folders[1]), title=METRICS[name][0])

    titles = [f"{len(episodes)} shared episodes", str(folders[0]), str(folders[1]), "change [95 % interval]"]
    columns = [f"{METRICS[name][0]} {which}" for name in PAIRED[:3] for which in ("before", "after")]
    table = pages.table(["scenario", *columns], [
        [episode["scenario"], *(f"{value:.1f}" for name in PAIRED[:3] for value in episode[name])]
        for episode in episodes])
    return pages.page("nanodrive: two runs", [
        f"<h1>{html.escape(str(folders[1]))} against {html.escape(str(folders[0]))}</h1>",
        pages.table(titles, _change_rows(rows)), pages.figure(draw, columns=2), "<h2>Every episode</h2>", table])
