"""`nanodrive perceive --robustness`: how well the network still sees when the picture is bad, and whether it knows.

Val frames under every corruption and severity of corruptions.py, under the attacks of attacks.py, and drives with the
camera's faults. Each figure of metrics.measure becomes what is left of it: 1 as on clean frames, 0 as the constant
predictor. Beside it stands the mean of each confidence, which must fall along. Table, robustness.json, and a page with
the heat maps; nothing is trained.
"""

from __future__ import annotations

import html
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from envs.config import require, require_within
from envs.geometry import Array
from envs.weather import WEATHERS
from perception import dataset, metrics, pages
from perception.attacks import ATTACKS, attack
from perception.checkpoint import replace_file
from perception.corruptions import CORRUPTIONS, FAULTS, SEVERITIES, break_camera, corrupt, names
from perception.dataset import Frames
from perception.glides import glide
from perception.perceiver import WEIGHTS, Perceiver, Percept, load_network
from scenarios.spec import SPLITS

SCHEMA_VERSION = 1
TABLE_WIDTH = 110  # where there is no terminal
WARM_UP_FRAMES = 10  # of a drive, before its fault is judged: a delay needs time to show
HEADS = ("path", "boundary", "stop", "sign")  # figures and confidences that begin with the same word belong together


@dataclass(frozen=True)
class RobustnessConfig:
    """Settings of `nanodrive perceive --robustness`."""

    data: Path = Path("data/perception")
    """folder made by `nanodrive generate`; its val frames are used"""
    out: Path = Path("runs/robustness")
    """folder of robustness.json and robustness.html"""
    weights: Path | None = None
    """checkpoint without its ending; default: the shipped one"""
    frames: int = 200
    """val frames, evenly picked"""
    attack_frames: int = 100
    """of them under attack; 0: no attacks"""
    drive_frames: int = 40
    """frames of each drive with a broken camera, one drive for each weather; 0: none"""
    spare: bool = False
    """the four spare corruptions, too"""
    seed: int = 0
    """of noise and of the attacks' starts"""

    def __post_init__(self) -> None:
        require_within(self, [("frames", 1, 12_500), ("attack_frames", 0, 12_500), ("seed", 0, 2**31)])
        require(self.drive_frames == 0 or WARM_UP_FRAMES < self.drive_frames <= 400,
                f"drive_frames is {self.drive_frames}; give 0, or {WARM_UP_FRAMES + 1} to 400")


@dataclass(frozen=True)
class Case:
    """What one kind of trouble at one severity leaves: figures, and mean confidences."""

    kind: str
    severity: int  # 0: clean; faults and attacks are 1
    figures: dict[str, float]
    confidences: dict[str, float]
    kept: dict[str, float]  # by figure: 1 as clean, 0 as the constant predictor, nan where that cannot be said


def run(config: RobustnessConfig) -> dict[str, Any]:
    """Measure everything, print the table, write robustness.json and robustness.html; returns where and the means.

    Raises DatasetError for frames and CheckpointError for weights that cannot be used.
    """
    started = time.monotonic()
    frames = evenly(dataset.read_usual(config.data, "val"), config.frames)
    source = config.weights or WEIGHTS
    perceiver = Perceiver.load(source, frames.camera)
    cases = list(_with_progress(config, frames, perceiver, source))
    summary = summarise(cases)
    result = {"schema": SCHEMA_VERSION, "weights": str(source), "frames": len(frames), "seed": config.seed,
              "cases": [_plain(case) for case in cases], "summary": summary}
    config.out.mkdir(parents=True, exist_ok=True)
    replace_file(config.out / "robustness.json", json.dumps(result, indent=1, allow_nan=False).encode())
    replace_file(config.out / "robustness.html", page(cases, str(source), len(frames)).encode())
    console = Console()
    (console if console.is_terminal else Console(width=TABLE_WIDTH)).print(table(cases))
    return {"out": str(config.out), "frames": len(frames), "duration_s": round(time.monotonic() - started, 1)} | summary


def evenly(frames: Frames, count: int) -> Frames:
    """At most `count` frames, spread over all."""
    rows = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
    return Frames(frames.camera, frames.rgb[rows], {name: values[rows] for name, values in frames.labels.items()})


def confidences_of(percept: Percept) -> dict[str, float]:
    """The mean of each field of a percept that is a confidence."""
    return {field.name: float(np.mean(getattr(percept, field.name))) for field in fields(Percept)
            if field.name.endswith("_confidence")}


def share_kept(figures: Mapping[str, float], clean: Mapping[str, float], floor: Mapping[str, float]
               ) -> dict[str, float]:
    """By figure: (figure - floor) / (clean - floor), nan where a figure is missing or clean is no better than floor."""
    kept = {}
    for name, is_more in metrics.BETTER.items():
        worth = clean[name] - floor[name]
        is_told = np.isfinite([figures[name], worth]).all() and (worth > 0) == is_more and worth != 0
        kept[name] = (figures[name] - floor[name]) / worth if is_told else float("nan")
    return kept


class _Judge:
    """Cases of one set of frames; the first look at it clean is what all others are compared with."""

    def __init__(self, perceiver: Perceiver, frames: Frames) -> None:
        self._perceiver, self._frames = perceiver, frames
        self._floor = self._figures(metrics.constant(frames.labels, len(frames)))
        self._clean = self._figures(perceiver.perceive_all(frames.rgb, frames.labels["command"]))

    def case(self, kind: str, severity: int, rgb: Array) -> Case:
        """What is left when these pixels are seen in place of the frames' own."""
        percept = self._perceiver.perceive_all(rgb, self._frames.labels["command"])
        figures = self._figures(percept)
        return Case(kind, severity, figures, confidences_of(percept), share_kept(figures, self._clean, self._floor))

    def _figures(self, percept: Percept) -> dict[str, float]:
        return metrics.measure(percept, self._frames.labels, self._frames.camera.width_px)


def _with_progress(config: RobustnessConfig, frames: Frames, perceiver: Perceiver, source: Path) -> Iterator[Case]:
    """All cases, one after the other, with a bar."""
    kinds = names(config.spare)
    num_attacks = len(ATTACKS) + 1 if config.attack_frames else 0
    num_faults = len(FAULTS) + 1 if config.drive_frames else 0
    with Progress() as progress:
        bar = progress.add_task("cases", total=1 + len(kinds) * len(SEVERITIES) + num_attacks + num_faults)
        for case in _cases(config, frames, perceiver, source, kinds):
            progress.advance(bar)
            yield case


def _cases(config: RobustnessConfig, frames: Frames, perceiver: Perceiver, source: Path,
           kinds: Sequence[str]) -> Iterator[Case]:
    judge = _Judge(perceiver, frames)
    yield judge.case("clean", 0, frames.rgb)
    for kind in kinds:
        for severity in SEVERITIES:  # the same chance at each severity
            rng = np.random.default_rng([config.seed, list(CORRUPTIONS).index(kind)])
            yield judge.case(kind, severity, corrupt(kind, frames.rgb, severity, rng))
    if config.attack_frames:
        few = evenly(frames, config.attack_frames)
        judge, (model, _) = _Judge(perceiver, few), load_network(source)
        yield judge.case("before attacks", 0, few.rgb)
        for index, name in enumerate(ATTACKS):
            rng = np.random.default_rng([config.seed, 100 + index])
            yield judge.case(name, 1, attack(name, model, few, rng))
    if config.drive_frames:
        drives = [glide(SPLITS["val"][k], weather, config.drive_frames, frames.camera)
                  for k, weather in enumerate(WEATHERS)]
        judged = joined([_after_warm_up(drive) for drive in drives])
        judge = _Judge(perceiver, judged)
        yield judge.case("before faults", 0, judged.rgb)
        for name in FAULTS:
            yield judge.case(name, 1, np.concatenate([_after_warm_up(
                replace(drive, rgb=break_camera(name, drive.rgb))).rgb for drive in drives]))


def _after_warm_up(drive: Frames) -> Frames:
    return Frames(drive.camera, drive.rgb[WARM_UP_FRAMES:],
                  {name: values[WARM_UP_FRAMES:] for name, values in drive.labels.items()})


def joined(parts: Sequence[Frames]) -> Frames:
    """All frames of several sets of one camera."""
    return Frames(parts[0].camera, np.concatenate([part.rgb for part in parts]), {
        name: np.concatenate([part.labels[name] for part in parts]) for name in parts[0].labels})


def mean_kept(case: Case, head: str = "") -> float:
    """Mean of `kept` over the figures of a head (default: all) that can be told, each taken as 0 to 1.

    Worse than a constant answer is no more useless than a constant answer.
    """
    values = [min(max(value, 0.0), 1.0) for name, value in case.kept.items()
              if name.startswith(head) and np.isfinite(value)]
    return float(np.mean(values)) if values else float("nan")


def summarise(cases: Sequence[Case]) -> dict[str, Any]:
    """What is left on average, and how confidence goes along: `confidence_follows` by head is Spearman's rank
    correlation, over corruptions and severities, of what is left of a head with its confidence (1: falls along).
    """
    clean = cases[0]
    spoilt = [case for case in cases[1:] if case.kind in CORRUPTIONS]
    severe = [case for case in spoilt if case.severity == SEVERITIES[-1]]
    other = [case for case in cases if case.kind in ATTACKS or case.kind in FAULTS]
    follows = {}
    for head in HEADS:
        sure = [name for name in clean.confidences if name.startswith(head)]
        pairs = np.array([(mean_kept(case, head), np.mean([case.confidences[name] for name in sure]))
                          for case in spoilt if sure])
        follows[head] = _number(_spearman(*pairs.T)) if len(pairs) else None
    return {"mean_kept": _number(np.mean([mean_kept(case) for case in spoilt])),
            "mean_kept_severity_5": _number(np.mean([mean_kept(case) for case in severe])),
            "kept": {case.kind: _number(mean_kept(case)) for case in other}, "confidence_follows": follows}


def _spearman(a: Array, b: Array) -> float:
    """Rank correlation of finite pairs."""
    told = np.isfinite(a) & np.isfinite(b)
    ranks = np.array([np.argsort(np.argsort(values[told], kind="stable")) for values in (a, b)], float)
    return float(np.corrcoef(ranks)[0, 1]) if told.sum() > 2 else float("nan")


def _number(value: float | np.floating[Any]) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _plain(case: Case) -> dict[str, Any]:
    """A case as JSON."""
    parts = {name: {key: _number(value) for key, value in getattr(case, name).items()}
             for name in ("figures", "confidences", "kept")}
    return {"kind": case.kind, "severity": case.severity} | parts


def table(cases: Sequence[Case]) -> Table:
    """By kind: what is left at each severity, of each head at the worst, and the mean confidence, clean and worst."""
    shown = Table(title="left of the clean figures by severity [%]: 100 as clean, 0 as a constant answer; of each head "
                        "at the worst severity; mean confidence")
    for title in ("", *map(str, SEVERITIES), *HEADS, "clean", "worst"):
        shown.add_column(title, justify="left" if not title else "right", no_wrap=True)
    clean = cases[0]
    for kind, group in by_kind(cases).items():
        if group[0].severity == 0:
            clean = group[0]
        marks = [f"{100 * mean_kept(case):.0f}" for case in group]
        worst = group[-1]
        shown.add_row(kind, *marks, *[""] * (len(SEVERITIES) - len(marks)),
                      *(f"{100 * mean_kept(worst, head):.0f}" for head in HEADS),
                      f"{np.mean(list(clean.confidences.values())):.2f}",
                      f"{np.mean(list(worst.confidences.values())):.2f}", end_section=group[0].severity == 0)
    return shown


def by_kind(cases: Sequence[Case]) -> dict[str, list[Case]]:
    """Cases grouped by kind, in order."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.kind, []).append(case)
    return groups


def page(cases: Sequence[Case], source: str, num_frames: int) -> str:
    """The HTML page: a heat map of what is left by figure, one of the confidences, and both against each other."""
    figures = [name for name in cases[0].kept if any(np.isfinite(case.kept[name]) for case in cases)]
    sure = list(cases[0].confidences)
    return pages.page("nanodrive: robustness", [
        "<h1>How well it sees when the picture is bad</h1>",
        f"<p class=note>{html.escape(source)}, {num_frames} val frames. Corruptions: Hendrycks and Dietterich 2019, "
        "severities 1 to 5 from left to right. 1: as on clean frames, 0: as a constant answer.</p>",
        heat_map(cases, figures, lambda case, name: case.kept[name], "what is left of each figure"),
        "<h2>Confidence</h2>",
        heat_map(cases, sure, lambda case, name: case.confidences[name], "mean confidence"),
        _scatter(cases),
        "<h2>All figures</h2>",
        pages.table(["", "severity", *cases[0].figures, *sure], [
            [case.kind, str(case.severity), *(f"{case.figures[name]:.3f}" for name in cases[0].figures),
             *(f"{case.confidences[name]:.3f}" for name in sure)] for case in cases])])


def heat_map(cases: Sequence[Case], names: Sequence[str], value: Callable[[Case, str], float], title: str) -> str:
    """Rows: kinds; columns: names, each with its severities side by side."""
    groups = by_kind(cases)
    cells = np.full((len(groups), len(names) * len(SEVERITIES)), np.nan)
    for row, group in enumerate(groups.values()):
        for column, name in enumerate(names):
            values = [value(case, name) for case in group]
            spread = values if len(values) == len(SEVERITIES) else [values[0]] * len(SEVERITIES)
            cells[row, column * len(SEVERITIES):(column + 1) * len(SEVERITIES)] = spread
    plot = Figure(figsize=(11, 1.2 + 0.26 * len(groups)), dpi=110, layout="constrained")
    axis = plot.subplots()
    drawn = axis.imshow(cells, aspect="auto", vmin=0, vmax=1, cmap="RdYlGn", interpolation="nearest")
    axis.set_yticks(range(len(groups)), list(groups))
    axis.set_xticks((np.arange(len(names)) + 0.5) * len(SEVERITIES) - 0.5, names, rotation=30, ha="right")
    for edge in range(1, len(names)):
        axis.axvline(edge * len(SEVERITIES) - 0.5, color="white", linewidth=2)
    axis.set_title(title)
    plot.colorbar(drawn, ax=axis, fraction=0.03)
    return pages.embedded(plot)


def _scatter(cases: Sequence[Case]) -> str:
    """What is left of each head against its mean confidence: the points should rise together."""
    heads = [head for head in HEADS if any(name.startswith(head) for name in cases[0].confidences)]

    def draw(axes: Sequence[Any]) -> None:
        for axis, head in zip(axes, heads, strict=True):
            sure = [name for name in cases[0].confidences if name.startswith(head)]
            for kinds, colour, words in ((CORRUPTIONS, "#2f6fde", "corrupted"), (ATTACKS, "#b8434e", "attacked"),
                                         (FAULTS, "#e0872a", "camera broken")):
                chosen = [case for case in cases if case.kind in kinds]
                axis.scatter([mean_kept(case, head) for case in chosen],
                             [np.mean([case.confidences[name] for name in sure]) for case in chosen],
                             s=14, color=colour, label=words)
            axis.set(title=head, xlabel="left of its figures", ylabel="mean confidence", ylim=(0, 1))
        axes[0].legend(fontsize=8)

    return pages.figure(draw, len(heads))
