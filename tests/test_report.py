"""The page about a run: every figure of results.json is on it, it needs no other file, and odd input is refused."""

import base64
import copy
import json
import re

import cv2
import numpy as np
import pytest

from agents import report
from agents.report import ReportConfig, ReportError
from agents.summary import METRICS, summarise
from envs.config import ConfigError
from envs.metrics import CONDITIONS, EVENTS

KINDS = (*EVENTS, *CONDITIONS)


def episode(index, score):
    return {"scenario": f"test_{20_000 + index}", "town_seed": 20_000 + index, "seed": index, "digest": f"{index:064x}",
            "driving_score": score, "driving_score_20": score, "route_completion": 90.0, "is_success": score == 100.0,
            "is_blameless": score > 50.0,
            "status": "completed", "end": "goal", "infractions": dict.fromkeys(KINDS, 0) | {"stop": int(score < 100)},
            "infractions_per_km": 0.0, "off_lane_share": 0.0, "comfort": 0.9, "distance_m": 500.0, "duration_s": 60.0,
            "mean_speed_mps": 8.0, "num_clipped": 0, "recording": None, "wall_s": 1.0}


def results_of(**drivers):
    """A results.json's content: name -> scores of the episodes; 'ppo' is the given driver."""
    policies = []
    for name, scores in drivers.items():
        episodes = [episode(k, score) for k, score in enumerate(scores)]
        policies.append({"name": name, "spec": name, "is_baseline": name != "ppo", "sha256": None, "camera": {},
                         "renderer": "none", "summary": summarise(episodes, 0), "episodes": episodes})
    return {"schema": 1, "suite": "test", "num_episodes": len(episodes), "seed": 0, "config": {}, "machine": {
        "num_cpus": 2, "processor": "<script>alert(1)</script>"}, "versions": {"numpy": "2"}, "duration_s": 12.0,
        "policies": policies}


def folder_of(path, results):
    path.mkdir()
    (path / "results.json").write_text(json.dumps(results))
    return path


@pytest.fixture
def run(tmp_path):
    return folder_of(tmp_path / "quick", results_of(ppo=[100.0, 80.0, 60.0], clone=[80.0, 60.0, 40.0],
                                                    expert=[100.0] * 3))


@pytest.mark.slow
def test_page_holds_every_figure_and_needs_no_other_file(run, capsys):
    curve = {"training": [{"steps": 2048 * k, "reward": 10.0 * k, "route_completion": 20.0 * k} for k in range(1, 5)],
             "validation": [{"steps": 0, "route_completion": 50.0, "driving_score": 40.0}]}
    (run / "curve.json").write_text(json.dumps(curve))
    cv2.imwrite(str(run / "drive.png"), np.full((40, 60, 3), 90, np.uint8))
    answer = report.run(ReportConfig((run,)))
    page = (run / "report.html").read_text(encoding="utf-8")
    assert answer == {"report": str(run / "report.html"), "size_bytes": len(page.encode())}
    for text in ("80.0 [60.0, 100.0]", "test_20002", "stop 1", "Learning", "expert", "clone"):
        assert text in page
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(images) == 4, "scores, infractions, curve, sheet"
    for data in images:
        assert cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR).std() >= 0
    assert not re.search(r'(src|href)="(?!data:)', page), "nothing is fetched"
    assert "<script>" not in page, "text from files is escaped"
    table = capsys.readouterr().out
    assert table.splitlines()[0].startswith("| driver | driving score 2.1 |")
    assert len(table.splitlines()) == 2 + 3 and "| ppo | 80.0 [60.0, 100.0] |" in table


def test_film_beside_the_page_is_shown(run):
    assert "<video" not in report.one_run(run, report.read_results(run / "results.json"))
    (run / "drive.mp4").write_bytes(b"x")
    assert '<video src="drive.mp4"' in report.one_run(run, report.read_results(run / "results.json"))


def test_two_runs_are_compared_episode_by_episode(run, tmp_path, capsys):
    """Ten points better on each of the two episodes that both drove: the interval of the change has no width."""
    other = folder_of(tmp_path / "laptop", results_of(ppo=[90.0, 90.0]))
    rows = report.compare(*(report.read_results(path / "results.json") for path in (run, other)))
    assert [row["driving_score"] for row in rows["episodes"]] == [(100.0, 90.0), (80.0, 90.0)]
    assert rows["metrics"]["driving_score"]["mean"] == pytest.approx(0.0)
    better = folder_of(tmp_path / "better", results_of(ppo=[110.0, 90.0, 70.0]))
    rows = report.compare(*(report.read_results(path / "results.json") for path in (run, better)))
    assert rows["metrics"]["driving_score"] == {"mean": 10.0, "low": 10.0, "high": 10.0}
    answer = report.run(ReportConfig((run, better)))
    assert answer["report"] == str(better / "compare.html")
    assert "10.0 [10.0, 10.0]" in (better / "compare.html").read_text()
    assert "| 3 shared episodes |" in capsys.readouterr().out


def test_runs_without_a_shared_episode_cannot_be_compared(run):
    first = report.read_results(run / "results.json")
    second = copy.deepcopy(first)
    for policy in second["policies"]:
        for row in policy["episodes"]:
            row["seed"] += 1
    with pytest.raises(ReportError, match="share no episode; evaluate both"):
        report.compare(first, second)


def test_no_infraction_is_said_in_words():
    assert "No driver committed" in report.plot_infractions(results_of(ppo=[100.0, 100.0]))


@pytest.mark.parametrize(("content", "said"), [
    ("", "is not JSON"), ("\x00\x01", "is not JSON"), ("[" * 100_000, "is not JSON"), ("[]", "is not of schema 1"),
    ('{"schema": 2}', "is not of schema 1"), ('{"schema": 1}', "lacks an entry"),
    ('{"schema": 1, "policies": []}', "holds no policy"),
    ('{"schema": 1, "policies": [{"name": "a", "summary": {}, "episodes": []}]}', "lacks an entry"),
])
def test_odd_results_are_refused_in_one_sentence(tmp_path, content, said):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ReportError, match=said) as caught:
        report.run(ReportConfig((tmp_path,)))
    assert "\n" not in str(caught.value)


def test_missing_results_and_too_many_runs(tmp_path):
    with pytest.raises(ReportError, match=r"cannot read .*no such file"):
        report.run(ReportConfig((tmp_path / "nowhere",)))
    with pytest.raises(ConfigError, match="3 runs are given"):
        ReportConfig((tmp_path, tmp_path, tmp_path))


def test_titles_cover_what_is_paired():
    assert set(report.PAIRED) <= set(METRICS)
