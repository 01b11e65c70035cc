"""Scenario files: what is read is what was written, and every bad file ends in one sentence with the way out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from scenarios.spec import SPLITS, Obstacle, Scenario, ScenarioError, digest, load, parse, suite

ROOT = Path(__file__).parent.parent
LIBRARY = sorted((ROOT / "scenarios" / "library").glob("*.toml"))
MINIMAL = 'name = "a"\ntown_seed = 3\n'

BAD_FILES = {
    "empty": ("", "is empty; give at least name and town_seed"),
    "comment only": ("# nothing\n", "is empty"),
    "binary": (b"\x00\xff\xfe\x80" * 50, "is not UTF-8 text"),
    "nul bytes": (b"\x00" * 50, "not valid TOML"),
    "not toml": ("name: a\n", "not valid TOML"),
    "unknown key": (MINIMAL + "temper = 1\n", "unknown key 'temper'; the legal keys are name, town_seed, route_"),
    "unknown obstacle key": (MINIMAL + "[[obstacles]]\nroute_station_m = 5\nspeed = 2\n",
                             r"unknown key 'obstacles\.0\.speed'; the legal keys are route_station_m, lateral_m"),
    "negative speed limit": (MINIMAL + "speed_limit_mps = -13.9\n", r"speed_limit_mps is -13\.9; .* equal to 5"),
    "negative speed": (MINIMAL + "start_speed_mps = -1\n", "start_speed_mps is -1"),
    "nan": (MINIMAL + "start_speed_mps = nan\n", "start_speed_mps is nan; .* finite"),
    "text for number": (MINIMAL + 'route_seed = "5"\n', "route_seed is '5'; .* integer"),
    "true for number": (MINIMAL + "route_seed = true\n", "route_seed is True"),
    "half a town": ('name = "a"\ntown_seed = 1.5\n', r"town_seed is 1\.5"),
    "missing": ('name = "a"\n', "'town_seed' is missing"),
    "name with a path": ('name = "../a"\ntown_seed = 3\n', "name is '../a'"),
    "lengths": (MINIMAL + "route_min_m = 900\n", r"route_min_m is 900\.0 and route_max_m is 800\.0; give a minimum"),
    "kind": (MINIMAL + '[[obstacles]]\nroute_station_m = 5\nkind = "cow"\n',
             "kind is 'cow'; .*'vehicle' or 'pedestrian'"),
    "obstacle as number": (MINIMAL + "obstacles = [3]\n", r"obstacles\.0 is 3"),
    "nested": (MINIMAL + "x = " + "[" * 2000, "not valid TOML"),
    "huge": ("#" + "x" * 1_000_001, "over 1000000 bytes"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_one_sentence(tmp_path, name):
    content, message = BAD_FILES[name]
    path = tmp_path / "bad.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ScenarioError, match=message) as caught:
        load(path)
    assert "bad.toml" in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ScenarioError, match="cannot read scenario"):
            load(path)


def test_minimal_file_takes_the_defaults(tmp_path):
    (tmp_path / "a.toml").write_text(MINIMAL)
    assert load(tmp_path / "a.toml") == Scenario(name="a", town_seed=3)


obstacles = st.builds(Obstacle, route_station_m=st.floats(0, 800), lateral_m=st.floats(-5, 5),
                      speed_mps=st.floats(0, 20), kind=st.sampled_from(["vehicle", "pedestrian"]))
scenarios = st.builds(Scenario, name=st.from_regex(r"\A[a-z0-9_.-]{1,20}\Z"), town_seed=st.integers(0, 2**31 - 1),
                      route_seed=st.integers(0, 99), start_speed_mps=st.floats(0, 30),
                      speed_limit_mps=st.none() | st.floats(5, 50),
                      obstacles=st.lists(obstacles, max_size=3).map(tuple))


@settings(max_examples=50, deadline=None)
@given(scenarios)
def test_plain_dict_round_trip_and_digest(scenario):
    again = parse(scenario.model_dump(mode="json"))
    assert again == scenario and digest(again) == digest(scenario)
    assert digest(scenario.model_copy(update={"route_seed": 100})) != digest(scenario)


def test_digest_is_the_same_in_another_process():
    code = "from scenarios.spec import *; print(digest(Scenario(name='a', town_seed=3)))"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told.strip() == digest(Scenario(name="a", town_seed=3))


def test_scenario_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Scenario(name="a", town_seed=3).town_seed = 4


def test_splits_are_disjoint_and_suites_are_their_first_towns():
    seeds = [seed for split in SPLITS.values() for seed in split]
    assert len(seeds) == len(set(seeds)) == 10_000 + 500 + 200
    assert [scenario.town_seed for scenario in suite("test", 20)] == list(range(20_000, 20_020))
    assert suite("test", 20) == suite("test")[:20] and len(suite("test")) == 200
    assert len({scenario.name for scenario in suite("val")}) == 500


def test_suite_of_files(tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.toml").write_text(f'name = "{name}"\ntown_seed = 3\n')
    assert [scenario.name for scenario in suite(str(tmp_path))] == ["a", "b"]
    assert [scenario.name for scenario in suite(str(tmp_path / "b.toml"), 1)] == ["b"]


@pytest.mark.parametrize(("name", "episodes", "message"), [
    ("test", 0, "episodes is 0; give at least 1"),
    ("test", -3, "episodes is -3"),
    ("test", 201, "holds 200"),
    ("tset", 5, "suite 'tset' is neither a file nor a folder nor one of train, val, test"),
])
def test_bad_suites(name, episodes, message):
    with pytest.raises(ScenarioError, match=message):
        suite(name, episodes)


def test_empty_folder_is_no_suite(tmp_path):
    with pytest.raises(ScenarioError, match=r"holds no \.toml file"):
        suite(str(tmp_path))


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_library_files_are_valid_and_named_after_their_file(path):
    assert load(path).name == path.stem
    assert path.read_text().startswith("# ")  # says in words what happens
