"""Figures of perception: the oracle is perfect, known errors give known numbers, AP is COCO's own."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest

from envs.labels import PATH_STATIONS_M
from perception import metrics
from perception.perceiver import Percept

WIDTH_PX, KINDS_OF_SIGN = 320, 6


def labels(num=6, seed=0):
    """Truth of `num` frames: straight and bent paths, some boundaries missing, one to three signs, some stop lines."""
    rng = np.random.default_rng(seed)
    ahead = np.array(PATH_STATIONS_M)
    bend = rng.uniform(-0.01, 0.01, (num, 1))
    boundaries = rng.uniform(20, 300, (num, 2, 16))
    boundaries[:, :, :3] = np.nan
    size = rng.uniform(6, 30, (num, 8, 1))
    corner = rng.uniform(0, 120, (num, 8, 2)) + np.arange(8)[:, None] * 20
    is_there = np.arange(8) < rng.integers(1, 4, (num, 1))
    sign_class = np.where(is_there, rng.integers(0, KINDS_OF_SIGN, (num, 8)), -1)
    return {
        "path_m": np.stack(np.broadcast_arrays(ahead, bend * ahead**2), -1), "boundaries_px": boundaries,
        "sign_box_px": np.concatenate([corner, corner + size], -1), "sign_class": sign_class,
        "sign_distance_m": rng.uniform(4, 40, (num, 8)), "lead_m": rng.uniform(3, 60, (num, 20)),
        "stop_m": np.where(np.arange(num) % 2, rng.uniform(2, 40, num), np.inf),
        "stop_kind": np.where(np.arange(num) % 2, 1, 0),
    }


def oracle(truth):
    """The percept that says exactly the truth."""
    num = len(truth["path_m"])
    return Percept(
        path_m=truth["path_m"], path_confidence=np.ones(num), boundaries_px=truth["boundaries_px"],
        boundary_confidence=np.ones((num, 2)), lead_m=truth["lead_m"], stop_m=truth["stop_m"].clip(0, 40),
        stop_confidence=np.isfinite(truth["stop_m"]).astype(float), sign_box_px=truth["sign_box_px"][:, :4],
        sign_class=truth["sign_class"][:, :4], sign_confidence=(truth["sign_class"][:, :4] >= 0) * 0.9,
        sign_distance_m=truth["sign_distance_m"][:, :4], sign_bearing_rad=np.zeros((num, 4)),
        embedding=np.zeros((num, 32)))


def test_oracle_is_perfect():
    truth = labels()
    figures = metrics.measure(oracle(truth), truth, WIDTH_PX)
    assert set(figures) == set(metrics.BETTER)
    for name, is_more in metrics.BETTER.items():
        assert figures[name] == pytest.approx(1.0 if is_more else 0.0, abs=1e-9) or np.isnan(figures[name]), name


def test_shift_of_thirty_centimetres_is_told_in_metres():
    truth = labels() | {"path_m": np.stack(np.broadcast_arrays(np.array(PATH_STATIONS_M), np.zeros((6, 12))), -1)}
    percept = oracle(truth)
    figures = metrics.measure(replace(percept, path_m=percept.path_m + np.array([0.0, 0.3])), truth, WIDTH_PX)
    assert figures["path_lateral_m"] == pytest.approx(0.3)
    assert figures["path_heading_deg"] == pytest.approx(0.0), "a path beside the true one leads the same way"


def test_a_path_that_leads_three_degrees_aside_is_told_in_degrees():
    truth = labels() | {"path_m": np.stack(np.broadcast_arrays(np.array(PATH_STATIONS_M), np.zeros((6, 12))), -1)}
    percept, lean = oracle(truth), np.radians(3.0)
    turned = percept.path_m @ np.array([[np.cos(lean), np.sin(lean)], [-np.sin(lean), np.cos(lean)]])
    figures = metrics.measure(replace(percept, path_m=turned), truth, WIDTH_PX)
    assert figures["path_heading_deg"] == pytest.approx(3.0)


def test_error_along_the_path_is_not_lateral():
    truth = labels() | {"path_m": np.stack(np.broadcast_arrays(np.array(PATH_STATIONS_M), np.zeros((6, 12))), -1)}
    percept = oracle(truth)
    figures = metrics.measure(replace(percept, path_m=percept.path_m + np.array([0.5, 0.0])), truth, WIDTH_PX)
    assert figures["path_lateral_m"] == pytest.approx(0.0)


def test_boundaries_three_and_six_pixels_off():
    truth = labels()
    for shift, f1 in ((3.0, 1.0), (6.0, 0.0)):
        percept = replace(oracle(truth), boundaries_px=truth["boundaries_px"] + shift)
        figures = metrics.measure(percept, truth, WIDTH_PX)
        assert figures["boundary_px"] == pytest.approx(shift) and figures["boundary_f1"] == pytest.approx(f1)


def test_lead_ten_per_cent_far():
    truth = labels()
    assert metrics.measure(replace(oracle(truth), lead_m=truth["lead_m"] * 1.1), truth, WIDTH_PX)[
        "lead_abs_rel"] == pytest.approx(0.1)


def test_yield_line_called_stop_costs_precision():
    truth = labels()
    truth["stop_kind"][3] = 2
    figures = metrics.measure(oracle(truth), truth, WIDTH_PX)
    assert figures["stop_f1"] == pytest.approx(2 * 2 / (2 + 3))


def test_wrong_name_is_not_read():
    truth = labels()
    truth["sign_distance_m"][:] = 8.0
    percept = oracle(truth)
    assert metrics.measure(percept, truth, WIDTH_PX)["sign_read_0_10m"] == 1.0
    other = np.where(percept.sign_class >= 0, (percept.sign_class + 1) % KINDS_OF_SIGN, -1)
    figures = metrics.measure(replace(percept, sign_class=other), truth, WIDTH_PX)
    assert figures["sign_read_0_10m"] == 0.0 and figures["sign_ap50_any"] == pytest.approx(1.0)


def test_constant_is_the_floor_and_perfection_is_zero():
    truth = labels(40)
    floor = metrics.measure(metrics.constant(truth, 40), truth, WIDTH_PX)
    assert floor["sign_ap50"] == 0.0 and floor["path_lateral_m"] > 0.1
    assert floor["stop_f1"] == pytest.approx(2 * 20 / (20 + 40))
    assert metrics.distance_to_perfect(floor, floor) == pytest.approx(1.0)
    perfect = metrics.measure(oracle(truth), truth, WIDTH_PX)
    assert metrics.distance_to_perfect(perfect, floor) == pytest.approx(0.0, abs=1e-6)
    easy = floor | {"stop_mae_m": 0.0}  # one line in all frames: the constant answer knows it
    assert metrics.distance_to_perfect(floor | {"stop_mae_m": 3.0}, easy) == pytest.approx(1.0)


def coco_ap50(truth, percept):
    """AP50 of all signs as one class, by pycocotools."""
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    wide = lambda box: [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()]  # noqa: E731
    boxes = [(i, box) for i, row in enumerate(truth["sign_box_px"]) for box in row[truth["sign_class"][i] >= 0]]
    found = [(i, box, score) for i in range(len(percept.sign_class))
             for box, score, row in zip(percept.sign_box_px[i], percept.sign_confidence[i], percept.sign_class[i],
                                        strict=True) if row >= 0]
    with contextlib.redirect_stdout(io.StringIO()):
        reference = coco.COCO()
        reference.dataset = {
            "images": [{"id": i + 1} for i in range(len(truth["sign_class"]))], "categories": [{"id": 1}],
            "annotations": [{"id": k + 1, "image_id": i + 1, "category_id": 1, "bbox": wide(box), "iscrowd": 0,
                             "area": float(np.prod(box[2:] - box[:2]))} for k, (i, box) in enumerate(boxes)]}
        reference.createIndex()
        results = reference.loadRes([{"image_id": i + 1, "category_id": 1, "bbox": wide(box), "score": float(score)}
                                     for i, box, score in found])
        evaluation = cocoeval.COCOeval(reference, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[1])


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_cocos(seed):
    rng = np.random.default_rng(seed)
    truth = labels(30, seed)
    percept = oracle(truth)
    size = percept.sign_box_px[..., 2:] - percept.sign_box_px[..., :2]
    moved = percept.sign_box_px + np.tile(rng.normal(0, 0.2, size.shape) * size, 2)
    invented = rng.random((30, 4)) < 0.3
    percept = replace(percept, sign_box_px=moved, sign_confidence=rng.uniform(0.3, 1, (30, 4)),
                      sign_class=np.where(invented, 0, percept.sign_class))
    ours = metrics.average_precision(percept, truth, percept.sign_class >= 0, truth["sign_class"] >= 0)
    assert 0.05 < ours < 0.95
    assert ours == pytest.approx(coco_ap50(truth, percept), abs=1e-6)
