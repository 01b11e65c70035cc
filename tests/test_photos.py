"""Real pictures in, tables out: folders, rows and bad input; what each task answers is tested beside its network."""

import csv

import cv2
import numpy as np
import pytest

from envs.config import ConfigError
from perception import photos
from perception.photos import InputError, PhotoTask, View


def brightness(pictures, out, view):
    """A task of the tests' own: one row a picture."""
    rows = [(file.name, int(image[..., 0].mean())) for file, image in pictures]
    photos.write_csv(out, ("file", "red"), rows)
    return {"rows": len(rows)}


@pytest.fixture
def task(monkeypatch):
    monkeypatch.setitem(photos.PHOTO_TASKS, "brightness", PhotoTask("mean red", __name__, "brightness"))


def test_a_folder_becomes_a_table_by_name_in_rgb(task, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, red in (("b.png", 200), ("a.ppm", 10)):
        image = np.zeros((5, 7, 3), np.uint8)
        image[..., 2] = red  # OpenCV writes blue first
        cv2.imwrite(str(folder / name), image)
    (folder / "notes.txt").write_text("no picture")
    result = photos.run("brightness", [folder], tmp_path / "out" / "table.csv", View())
    with (tmp_path / "out" / "table.csv").open() as file:
        assert list(csv.reader(file)) == [["file", "red"], ["a.ppm", "10"], ["b.png", "200"]]
    assert result["files"] == result["rows"] == 2


def test_what_is_no_picture_is_named_and_nothing_is_written(task, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        photos.run("brightness", [tmp_path / "missing"], tmp_path / "t.csv", View())
    with pytest.raises(InputError, match="holds no image"):
        photos.run("brightness", [tmp_path], tmp_path / "t.csv", View())
    (tmp_path / "cut.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match=r"cut\.png is no readable image"):
        photos.run("brightness", [tmp_path], tmp_path / "t.csv", View())
    assert not (tmp_path / "t.csv").exists()


def test_rows_are_those_of_pythons_range():
    assert photos.parse_rows("240:720:10") == tuple(range(240, 720, 10))
    for text in ("240:720", "a:b:c", "720:240:10", "0:10:0", "-20:10:5"):
        with pytest.raises(ConfigError, match="h_samples"):
            photos.parse_rows(text)
