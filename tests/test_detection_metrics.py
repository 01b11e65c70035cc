"""Boxes, classes and depth: pycocotools through our door, torchmetrics and hand-made numbers beside ours."""

import numpy as np
import pytest

from perception.detection_metrics import (
    accuracy,
    average_precision,
    coco_json,
    coco_results,
    confusion,
    depth_errors,
    macro_recall,
)

BOXES = [np.array([[10.0, 10, 50, 50], [100, 20, 112, 32]]), np.array([[30.0, 30, 60, 90]]), np.zeros((0, 4))]
CLASSES = [np.array([0, 1]), np.array([1]), np.zeros(0, int)]
NAMES = ["stop", "yield", "never"]
TRUTH = coco_json(BOXES, CLASSES, NAMES, 320, 160)


def scores(values=(0.9, 0.8, 0.7)):
    return [np.array(values[:2]), np.array(values[2:]), np.zeros(0)]


def test_oracle_scores_one():
    found = average_precision(TRUTH, coco_results(BOXES, CLASSES, scores()))
    assert [found[name] for name in ("ap", "ap50", "ar100", "ap_small")] == pytest.approx([1.0] * 4)


def test_half_the_boxes_of_a_class():
    """Class 1 has two boxes; one found: recall 0.5, so 51 of 101 recall points have precision 1."""
    results = [row for row in coco_results(BOXES, CLASSES, scores()) if row["image_id"] == 1]
    assert average_precision(TRUTH, results)["ap50"] == pytest.approx((1.0 + 51 / 101) / 2)


def test_as_one_class_a_wrong_name_does_not_matter():
    wrong = [1 - kinds for kinds in CLASSES]
    assert average_precision(TRUTH, coco_results(BOXES, wrong, scores()))["ap50"] == 0.0
    assert average_precision(TRUTH, coco_results(BOXES, wrong, scores()), by_class=False)["ap50"] == pytest.approx(1.0)


def test_nothing_told_and_nothing_there():
    assert average_precision(TRUTH, [])["ap50"] == 0.0
    assert np.isnan(average_precision(coco_json(BOXES[2:], CLASSES[2:], NAMES, 9, 9), [])["ap50"])


def test_classes_agree_with_torchmetrics():
    functional = pytest.importorskip("torchmetrics.functional.classification")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    truth, told = rng.integers(0, 5, 300), rng.integers(0, 5, 300)
    told[:200] = truth[:200]
    table, pair = confusion(truth, told, 5), (torch.tensor(told), torch.tensor(truth))
    np.testing.assert_array_equal(table, functional.multiclass_confusion_matrix(*pair, 5).numpy())
    assert accuracy(table) == pytest.approx(float(functional.multiclass_accuracy(*pair, 5, average="micro")))
    assert macro_recall(table) == pytest.approx(float(functional.multiclass_recall(*pair, 5, average="macro")))


def test_depth_by_hand():
    """10 m told as 11 and 20 m told as 30; a sky at inf and a column at 90 m are not judged."""
    found = depth_errors(np.array([11.0, 30.0, 5.0, 5.0]), np.array([10.0, 20.0, np.inf, 90.0]))
    assert found["abs_rel"] == pytest.approx((0.1 + 0.5) / 2) and found["sq_rel"] == pytest.approx((0.1 + 5.0) / 2)
    assert found["rmse"] == pytest.approx(np.sqrt((1 + 100) / 2))
    assert found["delta1"] == 0.5 and found["delta2"] == 1.0  # 1.5 < 1.25^2
