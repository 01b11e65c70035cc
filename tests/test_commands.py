"""The real command line: every command does its work and ends in one JSON line; bad input gets one sentence and a 2."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import nanodrive
from agents import bench, policies
from agents.features import SIZE
from agents.policies import Actor
from envs.config import CameraConfig, DriveConfig

ROOT = Path(__file__).parents[1]
SHORT = 'name = "short"\ntown_seed = 4\nroute_min_m = 60.0\nroute_max_m = 90.0\nparked_cars_per_km = 0.0\n'
OWN = """
import numpy as np

class Driver:
    privileged = False
    action = {action}

    def __init__(self, config):
        pass

    def reset(self):
        pass

    def act(self, observation, state):
        return np.array(self.action)
"""


def start(*arguments, cwd=ROOT):
    """The program as a user starts it."""
    return subprocess.Popen([sys.executable, str(ROOT / "nanodrive.py"), *map(str, arguments)], cwd=cwd, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"})


def finish(program, timeout_s=240):
    """(exit code, stdout, stderr); a program that takes too long is killed."""
    try:
        out, err = program.communicate(timeout=timeout_s)
    finally:
        program.kill()
    return program.returncode, out, err


def last_line(out):
    return json.loads(out.strip().splitlines()[-1])


def is_one_sentence(err):
    """One line of ours (PyBullet announces itself on the same stream), no traceback."""
    lines = [line for line in err.splitlines() if line and not line.startswith("pybullet build time")]
    return len(lines) == 1 and lines[0].startswith("nanodrive: ") and "Traceback" not in err


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    (folder / "short.toml").write_text(SHORT)
    return folder


@pytest.fixture(scope="module")
def driven(suite, tmp_path_factory):
    """The expert's short drive, evaluated by the real program; its folder and what was printed."""
    out = tmp_path_factory.mktemp("driven")
    return out, finish(start("evaluate", "--policy", "expert", "--suite", suite / "short.toml", "--record", "all",
                             "--workers", 1, "--no-baselines", "--min-score", 90, "--out", out))


@pytest.mark.slow
def test_evaluate_prints_tables_and_ends_in_json(driven):
    folder, (code, out, err) = driven
    assert code == 0, err
    answer = last_line(out)
    assert answer["is_passed"] is True and answer["policies"]["expert"]["driving_score"]["mean"] == 100.0
    assert "every episode" in out and "short" in out and "driving score 2.1" in out and "100.0 [100.0, 100.0]" in out
    assert "1/1" in err, "progress"
    assert json.loads((folder / "results.json").read_text())["num_episodes"] == 1


@pytest.mark.slow
def test_a_missed_threshold_is_exit_code_1(suite, tmp_path, capfd):
    assert nanodrive.main(["evaluate", "--policy", "straight", "--suite", str(suite), "--no-baselines",
                           "--workers", "1", "--min-score", "99", "--out", str(tmp_path)]) == 1
    assert last_line(capfd.readouterr().out)["is_passed"] is False


@pytest.mark.slow
def test_replay_verifies_as_a_program_and_films(driven, tmp_path, capfd):
    folder, _ = driven
    (file,) = (folder / "recordings").glob("*.npz")
    verifying = start("replay", file, "--verify")
    assert nanodrive.main(["replay", str(file), "--sheet", "--out", str(tmp_path / "sheet.png")]) == 0
    assert last_line(capfd.readouterr().out)["sheet"] == str(tmp_path / "sheet.png")
    assert nanodrive.main(["report", str(folder)]) == 0
    assert Path(last_line(capfd.readouterr().out)["report"]).is_file()
    code, out, err = finish(verifying)
    assert code == 0 and last_line(out)["is_passed"] is True, err


@pytest.mark.slow
def test_generate_then_perceive(tmp_path, capfd):
    """Four frames are made and the network looks at a picture."""
    code = nanodrive.main(["generate", "--out", str(tmp_path / "data"), "--train-frames", "2", "--val-frames", "2",
                           "--frames-per-town", "1", "--shard-frames", "2", "--workers", "1"])
    assert code == 0 and last_line(capfd.readouterr().out)["made_frames"] == 4
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((160, 320, 3), 120, np.uint8))
    code = nanodrive.main(["perceive", str(tmp_path / "grey.png"), "--out", str(tmp_path / "seen")])
    assert code == 0 and last_line(capfd.readouterr().out)["frames"] == 1
    assert (tmp_path / "seen" / "grey.png").is_file()


@pytest.mark.slow
def test_bench_measures_every_stage_and_compares(tmp_path, capfd):
    old = {"stages": {"label": {"median_ms": 1e6}, "gone": {"median_ms": 1.0}}}
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert nanodrive.main(["bench", "--calls", "3", "--max-cars", "2", "--workers", "0", "--camera.width-px", "160",
                           "--camera.height-px", "80", "--compare", str(tmp_path / "old.json"),
                           "--out", str(tmp_path / "new.json")]) == 0
    out = capfd.readouterr().out
    answer = last_line(out)
    assert set(answer["rollout_steps_per_s"]) == {"1", "2"} and min(answer["rollout_steps_per_s"].values()) > 1
    assert answer["ratio_to_tinyrenderer"] > 1 and 0 < answer["memory_per_environment_mib"] < 200
    assert json.loads((tmp_path / "new.json").read_text()) == answer
    assert set(answer["speedup"]) == {"label"} and answer["speedup"]["label"] > 1000 and "times faster" in out
    assert {"town", "World.step (0.1 s)", "frame, bullet", "label", "perceive, batch 8, per frame",
            "DrivingEnv.step, bullet"} <= set(answer["stages"])
    assert all(0 < timing["p10_ms"] <= timing["median_ms"] <= timing["p90_ms"] for timing in answer["stages"].values())
    assert answer["machine"]["num_cpus"] >= 1 and answer["stages"]["label"]["peak_memory_mib"] > 50
    (tmp_path / "log").write_text(out)
    for name in ("new.json", "log"):  # what it wrote can be compared with
        assert set(bench._older(tmp_path / name)) == set(answer["stages"])
    (tmp_path / "odd.json").write_text("[1]")
    assert nanodrive.main(["bench", "--compare", str(tmp_path / "odd.json")]) == 2
    assert "is no result of nanodrive bench" in capfd.readouterr().err


def test_overview_is_quick_and_names_every_command():
    """`nanodrive --help` loads neither numpy nor torch."""
    code = ("import sys, nanodrive; code = nanodrive.main(['--help']); "
            "sys.exit(code or 10 * bool({'torch', 'numpy', 'tyro'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""
    assert all(f"  {name} " in done.stdout for name in nanodrive.COMMANDS)


@pytest.mark.parametrize("name", [*nanodrive.COMMANDS, "perceive --train", "perceive --train-scout"])
def test_help_reads_well(name, capfd):
    """Every option has words and a default; lines fit a terminal."""
    assert nanodrive.main([*name.split(), "--help"]) == 0
    out = capfd.readouterr().out
    assert out.startswith(f"usage: nanodrive {name}")
    assert "Settings of" not in out and max(map(len, out.splitlines())) <= 120
    assert out.count("(default") + out.count("(required)") >= 1


@pytest.mark.parametrize(("arguments", "said"), [
    ([], "usage"), (["fly"], "'fly' is no command; the commands are train, evaluate"),
    (["evaluate"], "--policy"),
    (["evaluate", "--policy", "expert", "--episodes", "0"], "episodes is 0; give at least 1"),
    (["evaluate", "--policy", "expert", "--episodes", "two"], "invalid literal"),
    (["evaluate", "--policy", "expert", "--record", "some"], "invalid choice 'some'"),
    (["evaluate", "--policy", "expert", "--wings", "2"], "Unrecognized options: --wings"),
    (["evaluate", "--policy", "expert", "--suite", "nowhere"], "suite 'nowhere' is neither a file nor a folder"),
    (["evaluate", "--policy", "expert", "--width-px", "0"], "camera width_px is 0; give a value from 16 to 4096"),
    (["evaluate", "--policy", "runs/no_such_run"], "'runs/no_such_run' is neither one of random, straight, expert"),
    (["evaluate", "--policy", "json:Nothing"], "json:Nothing"),
    (["generate", "--camera.height-px", "0"], "camera height_px is 0"),
    (["bench", "--calls", "0"], "calls is 0; give 3 to 100000"),
    (["replay", "nowhere.npz"], "cannot read recording nowhere.npz"),
    (["replay", "nowhere.toml"], "cannot read scenario nowhere.toml"),
    (["report", "nowhere"], "cannot read nowhere/results.json"),
    (["perceive", "nowhere.png"], "nowhere.png does not exist"),
    (["train", "--preset", "huge"], "invalid choice 'huge'"),
])
def test_bad_options(arguments, said, capfd):
    assert nanodrive.main(arguments) == 2
    out, err = capfd.readouterr()
    assert said in (out if not arguments else err)
    assert not arguments or is_one_sentence(err), err


@pytest.mark.parametrize(("content", "said"), [
    (SHORT + "wings = 2\n", "unknown key 'wings'; the legal keys are name, town_seed"),
    (SHORT + "speed_limit_mps = -8.0\n", "speed_limit_mps is -8.0"), (SHORT + "start_speed_mps = -1.0\n", "is -1.0"),
    ("", "is empty; give at least name and town_seed"), (bytes(range(256)), "is not UTF-8 text"),
    (SHORT[:len(SHORT) // 2] + "= =", "is not valid TOML"),
])
def test_bad_scenario_files(content, said, tmp_path, capfd):
    file = tmp_path / "bad.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    for options in (["replay", str(file)], ["evaluate", "--policy", "expert", "--no-baselines", "--suite", str(file)]):
        assert nanodrive.main(options) == 2
        err = capfd.readouterr().err
        assert said in err and is_one_sentence(err), err


@pytest.mark.parametrize(("content", "said"), [
    (SHORT + "[[obstacles]]\nroute_station_m = 5000.0\n", "give a smaller route_station_m"),
    ('name = "x"\ntown_seed = 3\nroute_min_m = 20000.0\nroute_max_m = 20000.0\n', "no route of 20000 m"),
])
def test_scenarios_that_their_town_cannot_hold(content, said, tmp_path, capfd):
    (tmp_path / "bad.toml").write_text(content)
    assert nanodrive.main(["replay", str(tmp_path / "bad.toml")]) == 2
    err = capfd.readouterr().err
    assert said in err and is_one_sentence(err), err


def halve(path):
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


@pytest.mark.slow
def test_bad_files(driven, tmp_path, capfd):
    """Cut in half, emptied, of another kind: a recording, a policy's weights and card, the network's weights."""
    (file,) = (driven[0] / "recordings").glob("*.npz")
    (tmp_path / "half.npz").write_bytes(file.read_bytes()[:file.stat().st_size // 2])
    (tmp_path / "empty.npz").write_bytes(b"")
    policies.save_actor(tmp_path / "run" / "policy", Actor(SIZE), "ppo", DriveConfig(camera=CameraConfig()), {})
    halve(tmp_path / "run" / "policy" / "policy.safetensors")
    policies.save_actor(tmp_path / "card", Actor(SIZE), "ppo", DriveConfig(camera=CameraConfig()), {})
    halve(tmp_path / "card" / "policy.json")
    (tmp_path / "folder").mkdir()
    for suffix in (".json", ".safetensors"):
        (tmp_path / f"eyes{suffix}").write_bytes((ROOT / f"perception/weights/perception{suffix}").read_bytes())
    halve(tmp_path / "eyes.safetensors")
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((160, 320, 3), 120, np.uint8))
    for arguments, said in [
        (["replay", tmp_path / "half.npz"], "is damaged"), (["replay", tmp_path / "empty.npz"], "is damaged"),
        (["replay", file.parent], "cannot read recording"),
        (["evaluate", "--policy", tmp_path / "run"], "cannot be loaded"),
        (["evaluate", "--policy", tmp_path / "card"], "cannot be loaded"),
        (["evaluate", "--policy", tmp_path / "folder"], "cannot be loaded"),
        (["perceive", tmp_path / "grey.png", "--weights", tmp_path / "eyes"], "eyes"),
        (["perceive", tmp_path / "grey.png", "--weights", tmp_path / "nowhere"], "nowhere"),
    ]:
        assert nanodrive.main(list(map(str, arguments))) == 2, arguments
        err = capfd.readouterr().err
        assert said in err and is_one_sentence(err), err


@pytest.mark.slow
def test_actions_that_cannot_be_executed(suite, tmp_path):
    """A user's own drivers, found in the working folder, as programs side by side: NaN, and three numbers."""
    (tmp_path / "nan_driver.py").write_text(OWN.format(action="[0.0, float('nan')]"))
    (tmp_path / "wide_driver.py").write_text(OWN.format(action="[0.0, 0.1, 0.2]"))
    programs = {said: start("evaluate", "--policy", f"{name}:Driver", "--suite", suite, "--no-baselines",
                            "--workers", 1, "--renderer", "none", "--out", tmp_path, cwd=tmp_path) for name, said in [
        ("nan_driver", "action is [0.0, nan]; give finite numbers from -1 to 1"),
        ("wide_driver", "action has shape (3,); give (2,): steer and drive")]}
    for said, program in programs.items():
        code, out, err = finish(program)
        told = [line for line in err.splitlines() if line.startswith("nanodrive: ")]
        assert code == 2 and "Traceback" not in err and told == [f"nanodrive: {said}"], err
        assert not out.strip()


@pytest.mark.exhaustive
def test_interrupt_leaves_no_process_behind(tmp_path):
    """Ctrl-C during an evaluation: exit code 130, one word, no worker survives."""
    import psutil

    program = start("evaluate", "--policy", "random", "--suite", "test", "--episodes", 50, "--no-baselines", "--out",
                    tmp_path)
    family: list[psutil.Process] = []
    while len(family) < 3 and program.poll() is None:
        time.sleep(0.2)
        family = psutil.Process(program.pid).children(recursive=True)
    time.sleep(5.0)
    program.send_signal(signal.SIGINT)
    code, _, err = finish(program)
    assert code == 130 and "Traceback" not in err and "interrupted" in err
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


@pytest.mark.exhaustive
def test_train_tells_the_whole_story(tmp_path):
    """The smallest preset, as a program: weights, curve, results, film and report are there, the last line is JSON."""
    code, out, err = finish(start("train", "--preset", "smoke", "--out", tmp_path / "smoke"), timeout_s=900)
    assert code == 0, err
    answer = last_line(out)
    assert {"random", "expert", "clone", "ppo"} <= set(answer["policies"])
    for name in ("policy/policy.safetensors", "clone/policy.json", "curve.json", "results.json", "drive.mp4",
                 "report.html"):
        assert (tmp_path / "smoke" / name).is_file(), name
    assert Path(answer["film"]).is_file() and Path(answer["report"]).is_file()
