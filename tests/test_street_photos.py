"""`--task signs`: the form others score, boxes in the photo's own pixels, and what is cut out for the namer."""

import csv
import json

import cv2
import numpy as np
import pytest

import nanodrive
from envs.signs import SIGNS
from perception import street_photos
from perception.scout import Found
from perception.scout_train import matched
from perception.street_photos import HEADER, MARGIN, cut, joined, named
from tests.test_scout import street


class Knowing:
    """A namer of the tests' own: it is sure of row 7, and of "none" where a crop is black."""

    def name(self, crops):
        shares = np.zeros((len(crops), len(SIGNS) + 1), np.float32)
        for row, crop in zip(shares, crops, strict=True):
            row[7 if crop.any() else -1] = 1.0
        return shares


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """A folder of two photos of different sizes, an empty one among them, and the table made of it."""
    folder = tmp_path_factory.mktemp("photos")
    photo, _ = street()
    cv2.imwrite(str(folder / "a.png"), photo[..., ::-1])
    cv2.imwrite(str(folder / "b.jpg"), cv2.copyMakeBorder(photo, 40, 3, 80, 1, cv2.BORDER_REPLICATE)[..., ::-1])
    cv2.imwrite(str(folder / "c.png"), np.zeros((90, 120, 3), np.uint8))
    return folder


def test_the_command_writes_the_form_that_others_score(answered, tmp_path, capfd):
    out = tmp_path / "signs.csv"
    assert nanodrive.main(["perceive", "--task", "signs", "--out", str(out), str(answered)]) == 0
    result = json.loads(capfd.readouterr().out.strip().splitlines()[-1])
    with out.open() as file:
        rows = list(csv.reader(file))
    assert tuple(rows[0]) == HEADER and len(rows) - 1 == result["rows"] and result["files"] == 3
    by_file = {name: [row for row in rows[1:] if row[0] == name] for name in ("a.png", "b.jpg", "c.png")}
    assert not by_file["c.png"]
    _, true_box = street()
    for name, shift in (("a.png", (0, 0)), ("b.jpg", (80, 40))):
        best = by_file[name][:3]
        scores = [float(row[6]) for row in by_file[name]]
        assert scores == sorted(scores, reverse=True) and scores[-1] >= 0 and scores[0] <= 1
        assert {int(row[5]) for row in by_file[name]} <= set(range(43))
        boxes = np.array([[float(v) for v in row[1:5]] for row in best])
        right, _ = matched(boxes, true_box + np.tile(shift, 2), np.ones(3, bool))
        assert right.all()


def test_two_runs_write_the_same_bytes(answered, tmp_path):
    for name in ("one.csv", "two.csv"):
        nanodrive.main(["perceive", "--task", "signs", "--out", str(tmp_path / name), str(answered)])
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def test_bad_input_is_one_sentence(tmp_path, capfd):
    (tmp_path / "no.png").write_text("no picture")
    code = nanodrive.main(["perceive", "--task", "signs", "--out", str(tmp_path / "t.csv"), str(tmp_path)])
    assert code == 2 and "no.png is no readable image" in capfd.readouterr().err
    assert not (tmp_path / "t.csv").exists()


def test_what_the_namer_calls_none_loses_its_score():
    photo = np.full((50, 80, 3), 200, np.uint8)
    photo[:, 40:] = 0
    found = Found(np.array([[5, 5, 25, 25], [50, 10, 70, 30]], np.float32), np.array([0.5, 0.9], np.float32))
    row, score = named(Knowing(), photo, found)
    assert row[0] == 7
    np.testing.assert_allclose(score, [0.5**0.5, 0.0], rtol=1e-6)
    assert joined(np.zeros(0), np.zeros((0, 44))).shape == (0,)
    unsure = np.array([[0.4, 0.4] + [0.0] * 41 + [0.2], [0.8] + [0.0] * 42 + [0.2]])
    np.testing.assert_allclose(joined(np.ones(2), unsure), [0.4, 0.8])


def test_a_cut_is_the_box_and_its_margin_inside_the_photo():
    photo = np.arange(60 * 90 * 3, dtype=np.uint32).reshape(60, 90, 3)
    assert cut(photo, np.array([20.0, 20, 40, 30])).shape[:2] == (24, 24)
    np.testing.assert_array_equal(cut(photo, np.array([20.0, 20, 40, 30])), photo[13:37, 18:42])
    assert cut(photo, np.array([-30.0, -10, -10, 5])).size > 0
    assert cut(photo, np.array([80.0, 50, 90, 60])).shape[:2] == (11, 11)
    assert pytest.approx(0.1) == MARGIN


def test_the_table_names_the_task():
    from perception.photos import PHOTO_TASKS

    assert PHOTO_TASKS["signs"].load() is street_photos.find_signs
