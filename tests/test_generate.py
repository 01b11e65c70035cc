"""Frames for perception: real pictures of train towns, the same every time, an interrupted run goes on."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from envs.config import CameraConfig, ConfigError
from envs.geometry import world_from_ego
from envs.roads.procedural import build_town
from perception import generate
from perception.generate import FIELDS, PADDING, DatasetError, GenerateConfig, Shard, make_shard, plan
from scenarios.spec import SPLITS
from tests.processes import runs

SMALL = GenerateConfig(train_frames=10, val_frames=4, frames_per_town=2, shard_frames=4, workers=1, renderer="none",
                       camera=CameraConfig(width_px=64, height_px=32))


@pytest.fixture
def config(tmp_path):
    return replace(SMALL, out=tmp_path / "frames")


def test_plan_covers_every_frame_once():
    shards = plan(replace(SMALL, train_frames=10, shard_frames=4))
    assert [(s.split, s.index, s.frames) for s in shards] == [
        ("train", 0, 4), ("train", 1, 4), ("train", 2, 2), ("val", 0, 4)]


@pytest.mark.slow
def test_rendered_shard_is_the_same_every_time_and_not_black():
    config = replace(SMALL, renderer="bullet")
    first, again = (make_shard(config, Shard("train", 0, 3)) for _ in range(2))
    for name in ("rgb", *FIELDS):
        assert first[name].tobytes() == again[name].tobytes(), name
        if name != "rgb":
            assert first[name].shape == (3, *FIELDS[name][0]) and first[name].dtype == FIELDS[name][1], name
    assert first["rgb"].shape == (3, 32, 64, 3) and first["rgb"].std() > 20
    assert first["rgb"][:, :8].mean() > first["rgb"][:, -8:].mean(), "the sky is brighter than the road"
    assert np.abs(first["rgb"][0].astype(int) - first["rgb"][2]).mean() > 5, "frames differ"


@pytest.mark.slow
def test_shards_share_no_town():
    towns = [set(make_shard(SMALL, shard)["town_seed"].tolist()) for shard in plan(SMALL)]
    assert all(not a & b for i, a in enumerate(towns) for b in towns[:i])
    assert all(town in SPLITS[shard.split] for shard, found in zip(plan(SMALL), towns, strict=True) for town in found)


@pytest.mark.slow
def test_run_goes_on_where_it_was_interrupted(config):
    whole = generate.run(config)
    assert whole["made_frames"] == 14
    before = {path.name: path.read_bytes() for path in config.out.glob("*.npz")}
    assert len(before) == 4
    (config.out / "train-001.npz").write_bytes(b"cut")
    (config.out / "val-000.npz").unlink()
    assert generate.run(config)["made_frames"] == 8, "only the cut and the missing shard are made again"
    assert {path.name: path.read_bytes() for path in config.out.glob("*.npz")} == before
    assert generate.run(config)["made_frames"] == 0


def test_other_settings_do_not_mix(config):
    generate.run(config)
    with pytest.raises(DatasetError, match="other settings"):
        generate.run(replace(config, seed=1))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 0, "settings": {}, "shards": {}}'])
def test_damaged_card_is_refused_in_one_sentence(config, text):
    config.out.mkdir()
    (config.out / "dataset.json").write_text(text)
    with pytest.raises(DatasetError) as caught:
        generate.run(config)
    assert "dataset.json" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{"train_frames": -1}, {"workers": 0}, {"renderer": "crayons"}, {"seed": -1},
                                    {"shard_frames": 5}, {"test_frames": 401}])
def test_bad_settings_are_refused(change):
    with pytest.raises(ConfigError) as caught:
        replace(SMALL, **change)
    assert str(next(iter(change.values()))) in str(caught.value)


def test_padding_is_named_for_labels_with_rows_only():
    assert set(PADDING) < set(FIELDS)
    assert {name.split("_")[0] for name in PADDING} == {"sign", "light", "vehicle", "person"}


def test_cameras_vary_and_the_usual_one_takes_most_frames():
    shard = make_shard(replace(SMALL, frames_per_town=40, shard_frames=40, train_frames=40), Shard("train", 0, 40))
    usual = shard["camera_fov_deg"] == 80.0
    assert 0.4 < usual.mean() < 0.8
    assert (shard["camera_height_m"][usual] == np.float32(1.4)).all() and (shard["camera_pitch_deg"][usual] == 0).all()
    odd = np.stack([shard[name][~usual] for name in ("camera_height_m", "camera_pitch_deg", "camera_fov_deg")])
    assert (odd.min(1) >= [1.1, -6, 45]).all() and (odd.max(1) <= [1.8, 4, 100]).all()
    assert len(np.unique(odd, axis=1).T) == generate.DRIVES and len(np.unique(shard["weather"])) <= generate.DRIVES


def test_path_label_is_the_route_ahead():
    """The labels in a shard, put back into the world, lie on a lane of their town."""
    shard = make_shard(SMALL, Shard("train", 0, 4))
    for pose, path, seed in zip(shard["pose"], shard["path_m"], shard["town_seed"], strict=True):
        network = build_town(int(seed)).network
        centres = np.concatenate([lane.centre_m for lane in network.lanes])
        world = world_from_ego(pose, path)
        gaps = np.sqrt(((world[:, None] - centres[None]) ** 2).sum(-1)).min(1)
        assert gaps.max() < 1.1  # centre points are at most 2 m apart


def test_card_tells_what_is_there(config):
    generate.run(config)
    card = json.loads((config.out / "dataset.json").read_text())
    assert sum(entry["frames"] for entry in card["shards"].values()) == 14
    assert card["settings"]["camera"]["width_px"] == 64 and len(card["shards"]["val-000.npz"]["sha256"]) == 64
    shown = sum(card["counts"][split]["weathers"][name] for split in card["counts"]
                for name in card["counts"][split]["weathers"])
    assert shown == 14 and len(card["sha256"]) == 64


def test_counts_are_by_name():
    labels = {"sign_class": np.array([[0, 0, -1]]), "light_phase": np.array([[1, 3, 3]]), "weather": np.array([3])}
    counts = generate.counts_of(labels)
    assert list(counts["signs"].values()) == [2] and counts["lights"] == {"red": 1, "green": 2}
    assert counts["weathers"] == {"night": 1}


@pytest.mark.slow
@pytest.mark.parametrize("blow", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.exhaustive)])
def test_stopped_or_killed_it_leaves_no_process_behind(blow: int, tmp_path: Path) -> None:
    root = Path(generate.__file__).parents[1]
    made = tmp_path / "frames"
    settings = f"--out {made} --train-frames 5000 --frames-per-town 5 --shard-frames 5 --renderer none".split()
    parent = subprocess.Popen([sys.executable, root / "nanodrive.py", "generate", *settings],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # also below `nohup &`
    try:
        assert _comes_true(lambda: (made / "dataset.json").is_file()), "no shard was made"
        helpers = [int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()]
        assert len(helpers) >= 2
        parent.send_signal(blow)
        parent.wait(timeout=60)
    finally:
        parent.kill()
    assert _comes_true(lambda: not any(runs(pid) for pid in helpers)), "a worker outlived its parent"
    assert sum(1 for _ in made.glob("train-*.npz")) < 500, "it went on to the end"


def _comes_true(is_so: Callable[[], bool]) -> bool:
    """Whether something holds within a minute."""
    begun = time.monotonic()
    while not is_so() and time.monotonic() - begun < 60:
        time.sleep(0.05)
    return is_so()
