"""Scoring drivers: whom it finds, what it counts, what it keeps, and that worker processes change nothing."""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest

from agents import evaluate, policies, processes
from agents.evaluate import EvaluateConfig, Job, choose_drivers, episode_seed
from agents.features import SIZE
from agents.policies import Actor, PolicyError
from envs.config import CameraConfig, ConfigError, DriveConfig
from envs.roads.routes import navigation
from envs.state import ActionError
from perception.perceiver import Perceiver
from scenarios import recording, spec
from scenarios.spec import Scenario, ScenarioError

SCENARIO = """name = "{name}"
town_seed = {seed}
route_min_m = 60.0
route_max_m = 90.0
parked_cars_per_km = 0.0
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """A folder of two short drives."""
    folder = tmp_path_factory.mktemp("suite")
    for seed in (3, 5):
        (folder / f"short_{seed}.toml").write_text(SCENARIO.format(name=f"short_{seed}", seed=seed))
    return folder


@pytest.fixture(scope="module")
def driven(suite, tmp_path_factory):
    """The expert on that folder, everything recorded, by two worker processes."""
    out = tmp_path_factory.mktemp("driven")
    return out, evaluate.run(EvaluateConfig(("expert",), suite=str(suite), out=out, record="all", workers=2,
                                            baselines=False, min_score=50.0))


@pytest.mark.slow
def test_the_expert_reaches_the_goal_and_passes_the_gate(driven):
    out, answer = driven
    assert answer["is_passed"] is True
    results = json.loads((out / "results.json").read_text())
    assert results["schema"] == 1 and results["num_episodes"] == 2 and results["seed"] == 0
    assert results["machine"]["num_cpus"] >= 1 and results["versions"]["numpy"] == np.__version__
    (expert,) = results["policies"]
    assert [row["scenario"] for row in expert["episodes"]] == ["short_3", "short_5"]
    for row in expert["episodes"]:
        assert row["status"] == "perfect" and row["driving_score"] == 100.0 and 50 < row["distance_m"] < 100
        recorded = recording.read(out / row["recording"])
        assert recorded.header["seed"] == row["seed"] and recorded.header["policy"] == "expert"
        assert recorded.header["frame_sha256"] is None, "the expert does not look"
        assert recorded.num_steps == round(row["duration_s"] / 0.1)
    assert expert["summary"]["is_success"] == {"mean": 1.0, "low": 1.0, "high": 1.0}


@pytest.mark.slow
def test_workers_change_nothing(driven, suite, tmp_path):
    """One seat in this process gives the rows that two worker processes gave, to the last bit, recordings included."""
    out, _ = driven
    config = EvaluateConfig(("expert",), suite=str(suite), out=tmp_path, record="all", baselines=False)
    (driver,), seat = choose_drivers(config), evaluate.Seat()
    before = json.loads((out / "results.json").read_text())["policies"][0]["episodes"]
    for k in (1, 0):  # in another order, too
        job = Job(driver, spec.suite(str(suite))[k], episode_seed(0, k), "all", tmp_path / "recordings")
        row = json.loads(json.dumps(seat.drive(job)))
        assert {**row, "wall_s": 0} == {**before[k], "wall_s": 0}
        pair = [recording.read(folder / row["recording"]) for folder in (out, tmp_path)]
        assert recording.diff(*pair) == []


def test_threads_of_the_parent_are_left_alone(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with processes.one_thread_each():
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ


class Suicidal:
    """A driver whose process dies at the first look."""

    privileged = False

    def __init__(self, config):
        self._parent = os.getppid()

    def reset(self):
        pass

    def act(self, observation, state):
        os._exit(9)


class Greedy:
    """A driver that would like the truth but does not say so; it answers with what is given to it."""

    privileged = False

    def __init__(self, config):
        pass

    def reset(self):
        pass

    def act(self, observation, state):
        assert state is None
        return np.array([0.0, np.nan])


def jobs_of(policy, tmp_path):
    drive = DriveConfig(camera=CameraConfig(width_px=32, height_px=16), renderer="none")
    driver = evaluate.Driver("own", policy, drive, None)
    scenario = Scenario(name="short", town_seed=3, route_min_m=60.0, route_max_m=90.0, parked_cars_per_km=0.0)
    return [Job(driver, scenario, episode_seed(0, k), "none", tmp_path) for k in range(2)]


@pytest.fixture
def importable(monkeypatch):
    """Lets worker processes import this file."""
    monkeypatch.syspath_prepend(os.path.dirname(__file__))


@pytest.mark.slow
def test_a_dead_worker_is_told_in_one_sentence(importable, tmp_path):
    with pytest.raises(evaluate.WorkerError, match=r"a worker process died.*'own' drove short; free some memory"):
        evaluate.drive_all(jobs_of("test_evaluate:Suicidal", tmp_path), 1)


def test_an_action_with_nan_is_an_error_of_its_name(tmp_path):
    with pytest.raises(ActionError, match=r"action is .*nan.*give finite numbers"):
        evaluate.Seat().drive(jobs_of("test_evaluate:Greedy", tmp_path)[0])


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run folder as training leaves it, with untrained weights."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    drive = DriveConfig(camera=CameraConfig(width_px=160, height_px=80))
    policies.save_actor(folder / "clone", Actor(SIZE), "clone", drive, {})
    policies.save_actor(folder / "policy", Actor(SIZE), "ppo", drive, {})
    return folder


@pytest.fixture
def without_eyes(monkeypatch):
    """`choose_drivers` reads actors only, no perception."""
    monkeypatch.setattr(evaluate, "load_policy", lambda name, config: policies.POLICIES[name](config))


def test_a_run_folder_brings_its_clone_its_camera_and_the_baselines(run_folder, without_eyes):
    chosen = choose_drivers(EvaluateConfig((str(run_folder),)))
    assert [driver.name for driver in chosen] == ["ppo", "clone", "random", "expert"]
    assert [driver.is_baseline for driver in chosen] == [False, True, True, True]
    assert chosen[0].drive.camera.width_px == 160 and chosen[0].drive.renderer == DriveConfig().renderer
    assert chosen[0].sha256 and len(chosen[0].sha256) == 64
    assert [driver.drive.renderer for driver in chosen[2:]] == ["none", "none"], "they do not look"
    assert [d.name for d in choose_drivers(EvaluateConfig((str(run_folder),), baselines=False))] == ["ppo"]


def test_a_given_driver_is_no_baseline_and_names_are_unique(run_folder, without_eyes):
    chosen = choose_drivers(EvaluateConfig(("random", str(run_folder / "policy"), str(run_folder / "clone"))))
    assert [driver.name for driver in chosen] == ["random", "ppo", "clone", "expert"]
    assert [driver.is_baseline for driver in chosen] == [False, False, False, True]


def test_another_camera_than_the_trained_one_is_refused(run_folder):
    with pytest.raises(PolicyError, match=r"trained with camera width_px 160, not 320"):
        choose_drivers(EvaluateConfig((str(run_folder),), width_px=320))


@pytest.mark.parametrize(("settings", "said"), [
    ({"policy": ()}, "no policy is given"), ({"episodes": 0}, "episodes is 0; give at least 1"),
    ({"workers": 0}, "workers is 0"), ({"min_score": 101.0}, "min_score is 101"), ({"seed": -1}, "seed is -1"),
    ({"renderer": "gl"}, "renderer is gl; give one of"), ({"width_px": 0}, "camera width_px is 0"),
])
def test_settings_out_of_range(settings, said):
    with pytest.raises(ConfigError, match=said):
        EvaluateConfig(**{"policy": ("expert",), **settings})


def test_more_episodes_than_the_suite_holds(suite, tmp_path):
    with pytest.raises(ScenarioError, match="holds 2; ask for no more"):
        evaluate.evaluate(EvaluateConfig(("expert",), suite=str(suite), episodes=3, out=tmp_path))


def test_seeds_of_episodes_differ_and_stay():
    seeds = [episode_seed(0, k) for k in range(200)]
    assert len(set(seeds)) == 200 and seeds == [episode_seed(0, k) for k in range(200)]
    assert episode_seed(1, 0) != episode_seed(0, 0)


def test_what_the_shipped_network_saw_can_be_recorded():
    """Its surroundings are no array of the percept; they are left out of recordings."""
    percept = Perceiver.load().perceive(np.zeros((1, 160, 320, 3), np.uint8), navigation()[None])
    told = evaluate.percept_of(SimpleNamespace(percept=percept))
    assert told is not None and told["path_m"].shape == (12, 2) and {"embedding", "around"}.isdisjoint(told)
