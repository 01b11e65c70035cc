"""TuSimple's and CULane's lane scores: numbers worked out by hand from their definitions, and shapely's areas."""

import numpy as np
import pytest

from perception.lane_metrics import as_points, culane, lane_ious, matching, tusimple, tusimple_f1

ROWS = np.arange(240, 720, 10.0)  # 48


def lane(x0, slope=0.0, first=0):
    x = x0 + slope * (ROWS - ROWS[0])
    x[:first] = np.nan
    return x


TRUTH = np.stack([lane(300.0), lane(700.0, 0.5, 8)])


def test_tusimple_oracle():
    score = tusimple(TRUTH, TRUTH, ROWS)
    assert (score.accuracy, score.false_positive, score.false_negative) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("shift,share", [(19.0, 1.0), (21.0, 0.0)])
def test_tusimple_threshold_is_twenty_pixels_across_the_lane(shift, share):
    """An upright lane: 20 px. One that leans 45 degrees: 20 / cos 45 = 28.3 px."""
    assert tusimple(TRUTH[:1] + shift, TRUTH[:1], ROWS).accuracy == share
    leaning = lane(100.0, 1.0)[None]
    assert tusimple(leaning + 1.4 * shift, leaning, ROWS).accuracy == share


def test_tusimple_counts_rows_absent_in_both_as_right():
    """Truth has 12 of 48 rows; a lane told nowhere is right on the other 36: accuracy 0.75, and missed."""
    truth = lane(300.0, first=36)[None]
    score = tusimple(np.full((1, 48), np.nan), truth, ROWS)
    assert score.accuracy == 0.75 and score.false_positive == 1.0 and score.false_negative == 1.0


def test_tusimple_needs_85_percent_of_the_rows():
    for wrong, found in ((7, True), (8, False)):  # 41 of 48 rows are 85.4 %, 40 are 83.3 %
        told = TRUTH[:1].copy()
        told[0, :wrong] += 100
        score = tusimple(told, TRUTH[:1], ROWS)
        assert score.accuracy == pytest.approx(1 - wrong / 48) and (score.false_negative == 0.0) == found


def test_tusimple_extra_lanes():
    """One more is a false positive of a third; three more than there are void the picture."""
    extra = np.stack([lane(1000.0 + 100 * k) for k in range(3)])
    assert tusimple(np.concatenate([TRUTH, extra[:1]]), TRUTH, ROWS).false_positive == pytest.approx(1 / 3)
    void = tusimple(np.concatenate([TRUTH, extra]), TRUTH, ROWS)
    assert (void.accuracy, void.false_positive, void.false_negative) == (0.0, 0.0, 1.0)


def test_tusimple_forgives_the_fifth_lane():
    five = np.stack([lane(200.0 * k) for k in range(1, 6)])
    score = tusimple(five[:4], five, ROWS)
    assert score.accuracy == pytest.approx(1.0) and score.false_negative == 0.0


def test_tusimple_in_a_picture_a_quarter_as_wide():
    told = TRUTH / 4 + 19.0 / 4
    assert tusimple(told, TRUTH / 4, ROWS / 4, 320).accuracy == 1.0
    assert tusimple(told + 0.8, TRUTH / 4, ROWS / 4, 320).accuracy < 0.6


def test_tusimple_f1_of_means():
    half = tusimple(TRUTH[:1], TRUTH, ROWS)
    figures = tusimple_f1([tusimple(TRUTH, TRUTH, ROWS), half])
    assert figures["tusimple_fn"] == 0.25 and figures["tusimple_fp"] == 0.0
    assert figures["tusimple_f1"] == pytest.approx(2 * 0.75 / 1.75)


def points(x0, x1):
    y = np.arange(100.0, 590.0, 5.0)
    return np.column_stack([np.linspace(x0, x1, len(y)), y])


def test_culane_iou_is_that_of_bands_thirty_pixels_wide():
    """Upright lines 10 px apart: 20 px of 40 in common, IoU 0.5; leaning ones against shapely's bands."""
    shapely = pytest.importorskip("shapely")
    assert lane_ious([points(500, 500)], [points(510, 510)], 1640, 590)[0, 0] == pytest.approx(21 / 41, abs=0.03)
    frame = shapely.box(0, 0, 1640, 590)
    for a, b in (((500, 700), (512, 700)), ((300, 900), (330, 900)), ((200, 240), (240, 200))):
        bands = [shapely.LineString(points(*ends)).buffer(15).intersection(frame) for ends in (a, b)]
        expected = bands[0].intersection(bands[1]).area / bands[0].union(bands[1]).area
        assert lane_ious([points(*a)], [points(*b)], 1640, 590)[0, 0] == pytest.approx(expected, abs=0.03)


def test_culane_counts():
    truth = [points(300, 500), points(800, 800), points(1200, 1000)]
    told = [points(302, 502), points(840, 840), points(1203, 1003), points(1500, 1500)]
    assert culane(told, truth, 1640, 590) == (2, 2, 1)
    assert culane(truth, truth, 1640, 590) == (3, 0, 0)
    assert culane([], truth, 1640, 590) == (0, 0, 3) and culane(told, [], 1640, 590) == (0, 4, 0)


def test_culane_matches_one_to_one():
    """Two lanes told at one true lane: one hit, one false alarm."""
    assert culane([points(500, 500), points(504, 504)], [points(501, 501)], 1640, 590) == (1, 1, 0)


def test_culane_scales_other_pictures():
    small = points(300, 500) * (320 / 1640, 160 / 590)
    assert culane([small], [small + np.array([0.5, 0.0])], 320, 160) == (1, 0, 0)
    assert culane([small], [small + np.array([4.0, 0.0])], 320, 160) == (0, 1, 1)


def test_matching_has_the_largest_sum():
    """The greedy choice of 0.9 would give 0.9 + 0.0; the best is 0.8 + 0.7."""
    assert matching(np.array([[0.9, 0.8], [0.7, 0.0]])) == [(0, 1), (1, 0)]
    rng = np.random.default_rng(0)
    for _ in range(20):
        gain = rng.random((3, 3))
        perms = ([0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0])
        best = max(sum(gain[i, p[i]] for i in range(3)) for p in perms)
        assert sum(gain[i, j] for i, j in matching(gain)) == pytest.approx(best)


def test_lanes_of_one_point_are_none():
    lanes = np.full((2, 48), np.nan)
    lanes[0, 3], lanes[1, 3:6] = 100.0, 200.0
    assert [len(found) for found in as_points(lanes, ROWS)] == [3]
