"""The robustness table: its arithmetic on made-up cases, and the real command on a few frames."""

import json

import numpy as np
import pytest

import nanodrive
from envs.config import ConfigError
from perception import metrics, robustness
from perception.generate import GenerateConfig
from perception.generate import run as generate
from perception.robustness import Case, RobustnessConfig, mean_kept, share_kept, summarise, table


def figures(**given):
    return dict.fromkeys(metrics.BETTER, float("nan")) | given


def test_share_kept_counts_from_the_floor_to_the_clean_figure():
    clean = figures(path_lateral_m=0.1, sign_ap50=0.8, stop_f1=0.1)
    floor = figures(path_lateral_m=1.1, sign_ap50=0.0, stop_f1=0.3)
    kept = share_kept(figures(path_lateral_m=0.6, sign_ap50=0.2, stop_f1=0.2), clean, floor)
    assert kept["path_lateral_m"] == pytest.approx(0.5) and kept["sign_ap50"] == pytest.approx(0.25)
    assert np.isnan(kept["stop_f1"]), "clean is no better than the floor: nothing to lose"
    assert np.isnan(kept["lead_abs_rel"])


def test_worse_than_constant_counts_as_nothing_left():
    case = Case("fog", 1, {}, {}, figures(path_lateral_m=-7.0, path_heading_deg=0.5, sign_ap50=0.9))
    assert mean_kept(case, "path") == pytest.approx(0.25) and mean_kept(case, "sign") == pytest.approx(0.9)
    assert np.isnan(mean_kept(case, "stop"))


def made_up(confidence):
    """Cases of fog in which the path gets worse; `confidence(severity)` is what the network says."""
    return [Case("clean" if k == 0 else "fog", k, {}, {"path_confidence": confidence(k)},
                 figures(path_lateral_m=1 - k / 6)) for k in range(6)]


def test_confidence_that_falls_along_is_told_from_one_that_does_not():
    falls, rises = (summarise(made_up(sure))["confidence_follows"]["path"] for sure in (
        lambda k: 0.9 - 0.1 * k, lambda k: 0.4 + 0.1 * k))
    assert falls == pytest.approx(1.0) and rises == pytest.approx(-1.0)
    assert summarise(made_up(lambda k: 0.5))["confidence_follows"]["boundary"] is None


@pytest.mark.slow
def test_the_command_measures_and_writes(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(robustness, "names", lambda with_spare: ["contrast"])
    monkeypatch.setattr(robustness, "WEATHERS", ["clear"])
    monkeypatch.setattr(robustness, "SEVERITIES", (1, 5))
    generate(GenerateConfig(out=tmp_path / "data", train_frames=8, val_frames=8, frames_per_town=8,
                            shard_frames=8, workers=1, usual_share=1.0))
    capfd.readouterr()
    code = nanodrive.main(["perceive", "--robustness", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"),
                           "--attack-frames", "1", "--drive-frames", "11"])
    out = capfd.readouterr().out
    answer = json.loads(out.strip().splitlines()[-1])
    assert code == 0 and answer["frames"] == 8 and "contrast" in out and "pgd_2" in out and "frozen" in out
    written = json.loads((tmp_path / "out" / "robustness.json").read_text())
    by_kind = {(case["kind"], case["severity"]): case for case in written["cases"]}
    assert {("clean", 0), ("contrast", 5), ("fgsm_2", 1), ("black", 1), ("delayed", 1)} <= set(by_kind)
    clean, grey = by_kind["clean", 0], by_kind["contrast", 5]
    assert grey["figures"]["path_lateral_m"] > clean["figures"]["path_lateral_m"]  # how much is the network's business
    assert grey["confidences"]["path_confidence"] < clean["confidences"]["path_confidence"]
    page = (tmp_path / "out" / "robustness.html").read_text()
    assert page.count("data:image/png;base64,") == 3 and "contrast" in page


def test_bad_settings(tmp_path, capfd):
    for settings, said in [({"frames": 0}, "frames is 0; give 1"), ({"drive_frames": 5}, "drive_frames is 5; give 0"),
                           ({"attack_frames": -1}, "attack_frames is -1")]:
        with pytest.raises(ConfigError, match=said):
            RobustnessConfig(**settings)
    assert nanodrive.main(["perceive", "--robustness", "--data", str(tmp_path)]) == 2
    assert "dataset.json is missing; make frames" in capfd.readouterr().err


def test_the_table_names_every_kind_once():
    shown = table(made_up(lambda k: 0.5))
    assert list(shown.columns[0].cells) == ["clean", "fog"] and list(shown.columns[5].cells) == ["", "17"]
