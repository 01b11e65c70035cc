"""Files for other programs: read back by their own definitions, an oracle scores 1.0, pixels are the shards'."""

import json

import cv2
import numpy as np
import pytest

from envs.config import ConfigError
from envs.lane_lines import lines_ahead
from envs.render.camera import pose_of
from nanodrive import main
from perception.detection_metrics import average_precision, depth_errors
from perception.exports import CATEGORIES, ExportConfig, depth_code, depth_of, read_tusimple, run
from perception.generate import Shard, make_shard, shots
from perception.lane_metrics import as_points, culane, tusimple, tusimple_f1

FRAMES = 24


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    config = ExportConfig(out=tmp_path_factory.mktemp("export"), frames=FRAMES, frames_per_town=12, split="val", seed=2)
    run(config)
    return config


@pytest.fixture(scope="module")
def made(export):
    return list(shots(export.generator(), Shard("val", 0, FRAMES)))


def test_images_are_those_of_the_shards(export):
    shard = make_shard(export.generator(), Shard("val", 0, FRAMES))
    for k in (0, 13, 23):
        image = cv2.imread(str(export.out / "images" / f"{k:06d}.png"))[..., ::-1]
        np.testing.assert_array_equal(image, shard["rgb"][k])


def test_coco_boxes_of_an_oracle_score_one(export, made):
    """The answers are the labels themselves, made anew, not the file's."""
    truth = json.loads((export.out / "coco.json").read_text())
    results = []
    for number, shot in enumerate(made, 1):
        signs = zip(shot.truth.sign_box_px, shot.truth.sign_class, strict=True)
        found = [(box, CATEGORIES[kind]) for box, kind in signs]
        found += [(box, f"light_{name}") for box, name in zip(shot.truth.light_box_px, (
            ("off", "red", "red_yellow", "green", "yellow")[phase] for phase in shot.truth.light_phase), strict=True)]
        for (left, top, right, bottom), name in found:
            row = next(row["id"] for row in truth["categories"] if row["name"] == name)
            results.append({"image_id": number, "category_id": row, "score": 0.9, "bbox": [
                float(left), float(top), float(right - left), float(bottom - top)]})
    assert len(results) == len(truth["annotations"]) > 20
    assert all({"bbox", "area", "iscrowd", "category_id", "image_id", "id"} <= set(row) for row in truth["annotations"])
    assert average_precision(truth, results)["ap"] == pytest.approx(1.0)
    assert len(truth["images"]) == FRAMES and (export.out / truth["images"][3]["file_name"]).is_file()


def test_tusimple_lanes_of_an_oracle_score_one(export, made):
    """What the world says of the file's rows, against what the file says."""
    scores, counts = [], np.zeros(3, int)
    for (lanes, rows), shot in zip(read_tusimple(export.out / "tusimple.json"), made, strict=True):
        state = shot.view.state
        told, _ = lines_ahead(state.town.network, state.route, shot.view.station_m).columns(
            shot.camera, pose_of(shot.camera, state.ego), rows)
        told = told[np.isfinite(told).sum(axis=1) >= 2]
        scores.append(tusimple(told, lanes, rows, 320))
        counts += culane(as_points(told, rows), as_points(lanes, rows), 320, 160)
    figures = tusimple_f1(scores)
    assert [figures["tusimple_f1"], figures["tusimple_fp"], figures["tusimple_fn"]] == [1.0, 0.0, 0.0]
    assert counts[0] > 40 and not counts[1:].any()


def test_masks_and_depth_are_the_renderers(export, made):
    for k in range(0, FRAMES, 5):
        mask, depth = (cv2.imread(str(export.out / kind / f"{k:06d}.png"), cv2.IMREAD_UNCHANGED)
                       for kind in ("masks", "depth"))
        assert mask.dtype == np.uint8 and depth.dtype == np.uint16
        np.testing.assert_array_equal(mask, made[k].frame.class_id)
        errors = depth_errors(depth_of(depth), made[k].frame.depth_m)
        assert errors["abs_rel"] < 1e-3 and errors["delta1"] == 1.0
    assert json.loads((export.out / "export.json").read_text())["classes"]["road"] == 2


def test_depth_code_by_hand():
    assert depth_code(np.array([1.0, 2.5, 255.99, 256.1, np.inf])).tolist() == [256, 640, 65533, 0, 0]
    assert depth_of(np.array([256, 0], np.uint16)).tolist() == [1.0, np.inf]


@pytest.mark.parametrize("change", [{"formats": ("yolo",)}, {"split": "all"}, {"frames": 0}])
def test_bad_settings_are_refused(change):
    with pytest.raises(ConfigError):
        ExportConfig(**change)


def test_commands(tmp_path, capsys):
    sheet, out = tmp_path / "sheet.png", tmp_path / "out"
    assert main(["generate", "--sheet", "--file", str(sheet), "--rows", "1", "--columns", "2"]) == 0
    assert cv2.imread(str(sheet)).shape == (320, 1280, 3)
    assert main(["generate", "--export", "--out", str(out), "--frames", "2", "--frames-per-town", "2", "--formats",
                 "coco"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["coco.json", "export.json", "images"]
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["frames"] == 2
