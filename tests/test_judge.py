"""`perceive --eval`: an oracle is perfect in every figure, known faults give known numbers, missing heads stay out."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from envs.config import CameraConfig, ConfigError
from envs.geometry import Array
from envs.labels import PATH_STATIONS_M
from envs.state import Phase
from perception.dataset import Frames
from perception.generate import DatasetError, GenerateConfig, Shard, make_shard
from perception.judge import EvalConfig, judge, of_usual_camera, ratios, wholes
from perception.perceiver import NO_SIGN, Percept

CAMERA = CameraConfig()


@dataclass(frozen=True, eq=False, kw_only=True)
class FullPercept(Percept):
    """With the heads that not every network has."""

    lanes_px: Array
    drivable: Array
    my_light: Array
    my_light_confidence: Array
    light_box_px: Array
    light_phase: Array
    light_confidence: Array
    vehicle_box_px: Array
    vehicle_confidence: Array
    vehicle_distance_m: Array


@pytest.fixture(scope="module")
def labels():
    """Of forty real frames, without pictures; two have lights."""
    config = GenerateConfig(train_frames=0, val_frames=40, frames_per_town=20, shard_frames=40, workers=1,
                            renderer="none", seed=3)
    found = make_shard(config, Shard("val", 0, 40))
    found.pop("rgb")
    num = 40  # nothing is seen on black frames: signs, lights and cars are put in by hand
    found["sign_class"][:, 0], found["sign_distance_m"][:, 0] = np.arange(num) % 43, 15.0
    found["sign_box_px"][:, 0] = (200, 40, 220, 60)
    found["light_phase"][:5, 0], found["light_box_px"][:5, 0] = np.arange(5), (100, 20, 106, 34)
    found["light_is_mine"][:, 0] = True
    found["path_m"][:] = np.stack([PATH_STATIONS_M, np.zeros(12)], 1)
    found["path_m"][20:, :, 1] = 0.01 * np.square(PATH_STATIONS_M)  # no vehicles there
    found["vehicle_distance_m"][:] = np.inf
    found["vehicle_distance_m"][:20, 0], found["vehicle_box_px"][:20, 0] = 20.0, (150, 70, 170, 94)
    found["my_light"], found["my_light_m"] = np.arange(num) % 5, np.full(num, 20.0, np.float32)
    found["drivable"][:, 20:] = 255
    found["lead_m"][:, :10] = np.linspace(6, 36, num, dtype=np.float32)[:, None]
    return found


def oracle(truth):
    """Says exactly what is true; of signs only those that have a name."""
    num = len(truth["path_m"])
    there = truth["sign_class"][:, :4] >= 0
    return FullPercept(
        path_m=truth["path_m"], path_confidence=np.ones(num), boundaries_px=truth["boundaries_px"],
        boundary_confidence=np.ones((num, 2)), lead_m=truth["lead_m"], stop_m=truth["stop_m"].clip(0, 40),
        stop_confidence=(np.isfinite(truth["stop_m"]) & (truth["stop_kind"] == 1)).astype(float),
        sign_box_px=truth["sign_box_px"][:, :4], sign_class=np.where(there, truth["sign_class"][:, :4], NO_SIGN),
        sign_confidence=there.astype(float), sign_distance_m=truth["sign_distance_m"][:, :4],
        sign_bearing_rad=np.zeros((num, 4)), embedding=np.zeros((num, 32)), lanes_px=truth["lanes_px"],
        drivable=truth["drivable"] / 255, my_light=truth["my_light"], my_light_confidence=np.ones(num),
        light_box_px=truth["light_box_px"], light_phase=truth["light_phase"],
        light_confidence=np.ones(truth["light_phase"].shape), vehicle_box_px=truth["vehicle_box_px"],
        vehicle_confidence=np.isfinite(truth["vehicle_distance_m"]).astype(float),
        vehicle_distance_m=truth["vehicle_distance_m"])


def is_error(name):
    return any(part in name for part in ("lateral", "heading", "_fp", "_fn", "abs_rel", "mae", "called", "ece"))


def test_oracle_is_perfect(labels):
    result = judge(oracle(labels), labels, CAMERA, np.random.default_rng(0))
    known = {name: row["value"] for name, row in result["figures"].items() if row["value"] is not None}
    for name, value in known.items():
        assert value == pytest.approx(0.0 if is_error(name) else 1.0, abs=1e-6), name
    assert {"lane_culane_f1", "own_lane_tusimple_accuracy", "road_iou", "my_light_accuracy", "light_ap50", "sign_ap50",
            "stop_f1", "sign_ece", "sign_read_10_25m", "sign_25m_ap50_any", "vehicle_ap50", "lead_vehicle_f1",
            "lead_vehicle_abs_rel"} <= set(known)
    for part in result["by_weather"].values():
        for name, value in part.items():
            assert name == "frames" or value is None or value == pytest.approx(0.0 if is_error(name) else 1.0, abs=1e-6)
    assert sum(part["frames"] for part in result["by_weather"].values()) == 40


def test_floor_is_worse_than_the_oracle(labels):
    figures = judge(oracle(labels), labels, CAMERA, np.random.default_rng(0))["figures"]
    for name in ("path_lateral_m", "own_lane_culane_f1", "lead_abs_rel", "stop_f1"):
        low, high = sorted((figures[name]["value"], figures[name]["floor"]))
        assert high > low + 0.02, name


def test_heads_that_a_network_lacks_are_left_out(labels):
    full = oracle(labels)
    plain = Percept(**{name: getattr(full, name) for name in Percept.__dataclass_fields__})
    names = set(ratios(plain, labels, CAMERA)) | set(wholes(plain, labels, CAMERA))
    assert not [name for name in names if name.startswith(("lane_", "road", "my_light", "light", "red"))]


def test_red_told_green_is_counted_apart(labels):
    percept = replace(oracle(labels), my_light=np.where(labels["my_light"] == Phase.RED, Phase.GREEN,
                                                        labels["my_light"]))
    found = {name: over.sum() / under.sum() for name, (over, under) in ratios(percept, labels, CAMERA).items()
             if under.sum()}
    assert found["red_called_green"] == 1.0 and found["my_light_accuracy"] == pytest.approx(0.75)


def test_half_the_stop_lines_and_a_false_one(labels):
    """Two lines, one of them seen, and one seen where none is: F1 = 2 / (2 + 2)."""
    truth = labels | {"stop_m": np.where(np.arange(40) < 2, 20.0, np.inf), "stop_kind": (np.arange(40) < 2).astype(int)}
    percept = replace(oracle(truth), stop_confidence=np.isin(np.arange(40), (0, 7)).astype(float))
    over, under = ratios(percept, truth, CAMERA)["stop_f1"]
    assert over.sum() / under.sum() == 0.5


def test_other_cameras_are_left_out_unless_asked_for(labels):
    frames = Frames(CAMERA, np.zeros((40, 2, 4, 3), np.uint8), labels)
    usual = of_usual_camera(frames)
    assert 10 < len(usual) < 40 and (usual.labels["camera_fov_deg"] == 80).all()
    with pytest.raises(DatasetError, match="usual camera"):
        of_usual_camera(replace(frames, camera=CameraConfig(horizontal_fov_deg=33)))


@pytest.mark.parametrize("change", [{"split": "train"}, {"frames": 0}, {"backend": "abacus"}])
def test_bad_settings_are_refused(change):
    with pytest.raises(ConfigError, match=str(next(iter(change.values())))):
        EvalConfig(**change)


def test_the_vehicle_ahead_is_the_nearest_on_the_path(labels):
    """Told 10 % too far in half of the frames that have one, and once where there is none; beside does not count."""
    percept = oracle(labels)
    distance, confidence = percept.vehicle_distance_m.copy(), percept.vehicle_confidence.copy()
    box = percept.vehicle_box_px.copy()
    distance[:10, 0] = 22.0
    distance[30, 1], confidence[30, 1], box[30, 1] = 9.0, 1.0, (120, 70, 200, 120)
    distance[31, 1], confidence[31, 1], box[31, 1] = 9.0, 1.0, (20, 70, 90, 120)
    seen = replace(percept, vehicle_distance_m=distance, vehicle_confidence=confidence, vehicle_box_px=box)
    found = {name: over.sum() / under.sum() for name, (over, under) in ratios(seen, labels, CAMERA).items()
             if name.startswith("lead_vehicle")}
    assert found["lead_vehicle_abs_rel"] == pytest.approx(0.05)
    assert found["lead_vehicle_f1"] == pytest.approx(2 * 20 / (20 + 21))


def test_signs_farther_away_are_neither_right_nor_wrong(labels):
    """With half of the signs 40 m away and missed, AP within 25 m stays 1, AP of all is a half."""
    far = labels | {"sign_distance_m": np.where(np.arange(40)[:, None] % 2, 40.0, labels["sign_distance_m"])}
    percept = oracle(far)
    blind = replace(percept, sign_class=np.where(np.arange(40)[:, None] % 2, NO_SIGN, percept.sign_class))
    for seen, all_of_them in ((percept, 1.0), (blind, 0.5)):
        found = wholes(seen, far, CAMERA)
        assert found["sign_25m_ap50_any"] == pytest.approx(1.0)
        assert found["sign_ap50_any"] == pytest.approx(all_of_them, abs=0.02)
