"""Curves from cells: lines drawn by the formula are found again, and photographs are answered in the agreed forms."""

import json

import cv2
import numpy as np
import pytest
import torch

import nanodrive
from perception.photos import View
from perception.roadfit import ABSENT, beside_the_car, curves_of, lanes_of, points_of
from perception.roadnet import RoadReader
from perception.roadscapes import COLUMNS, HEIGHT_PX, RIDGE_CELLS, ROWS, WIDTH_PX, draw_scape


def ridges(asides, meet, bend, horizon):
    """A perfect network's line picture."""
    below = np.arange(ROWS) + 0.5 - horizon * ROWS
    line = np.zeros((ROWS, COLUMNS))
    for aside in asides:
        u = aside * below + meet + bend / np.maximum(below, 0.5)
        off = np.arange(COLUMNS) + 0.5 - u[:, None]
        line = np.maximum(line, np.exp(-0.5 * (off / RIDGE_CELLS) ** 2) * (below > 1)[:, None])
    return line.astype(np.float32)


@pytest.mark.parametrize(("asides", "meet", "bend"), [
    ((-3.4, -1.1, 1.2), 40.0, 0.0), ((-1.0, 1.3), 33.0, 15.0), ((-1.4, 1.2, 3.6), 47.0, -25.0)])
def test_lines_are_found_again(asides, meet, bend):
    line = ridges(asides, meet, bend, 0.4)
    curves = curves_of(points_of(line, 0.4))
    assert len(curves) == len(asides)
    below = np.array([3.0, 6.0, 12.0, 20.0])
    for curve, aside in zip(curves, asides, strict=True):
        truth = aside * below + meet + bend / below
        assert np.abs(curve.at(below) - truth)[(truth > 0) & (truth < COLUMNS)].max() < 0.8  # cells


def test_nothing_is_made_of_nothing():
    assert curves_of(points_of(np.zeros((ROWS, COLUMNS), np.float32), 0.4)) == []


def test_two_lines_on_each_side_are_kept():
    curves = curves_of(points_of(ridges((-5.5, -3.3, -1.1, 1.1, 3.3, 5.5), 40.0, 0.0, 0.3), 0.3))
    assert len(curves) >= 5
    kept = beside_the_car(curves, 0.3)
    assert np.allclose([curve.aside for curve in kept], [-3.3, -1.1, 1.1, 3.3], atol=0.1)


def test_drawn_roads_are_read_by_the_shipped_network():
    reader, rng, errors, asked = RoadReader.load(), np.random.default_rng(31), [], 0
    torch.set_num_threads(1)
    for _ in range(10):
        scape = draw_scape(rng)
        road, line, _ = reader.look(scape.rgb)
        errors.append(float((np.abs(road - scape.road) * scape.road_weight).mean()))
        asked += len(curves_of(points_of(line, scape.horizon)))
    assert np.mean(errors) < 0.08
    assert asked > 15


def test_lane_rows_are_whole_pixels_or_absent():
    rng = np.random.default_rng(8)
    view = View(h_samples=tuple(range(240, 720, 10)))
    image = cv2.resize(draw_scape(rng).rgb, (1280, 720))
    lanes, shares = lanes_of(RoadReader.load(), image, view)
    assert len(lanes) == len(shares) <= 4
    assert all(len(lane) == 48 and all(x == ABSENT or 0 <= x < 1280 for x in lane) for lane in lanes)


def test_folders_of_photographs_become_json_lines_and_masks(tmp_path, capsys):
    folder, rng = tmp_path / "photos", np.random.default_rng(2)
    folder.mkdir()
    for k in range(2):
        cv2.imwrite(str(folder / f"{k}.jpg"), cv2.resize(draw_scape(rng).rgb, (WIDTH_PX * 2, HEIGHT_PX * 2 + 1)))
    lanes, masks = tmp_path / "lanes.json", tmp_path / "masks"
    assert nanodrive.main(["perceive", "--task", "lanes", "--h-samples", "200:380:10", "--out", str(lanes),
                           str(folder)]) == 0
    assert nanodrive.main(["perceive", "--task", "road", "--out", str(masks), str(folder)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["files"] == 2
    rows = [json.loads(line) for line in lanes.read_text().splitlines()]
    assert [row["raw_file"] for row in rows] == ["0.jpg", "1.jpg"]
    assert all(row["h_samples"] == list(range(200, 380, 10)) and row["run_time"] > 0 for row in rows)
    mask = cv2.imread(str(masks / "0.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (HEIGHT_PX * 2 + 1, WIDTH_PX * 2)
    assert set(np.unique(mask)) <= {0, 1} and 0.05 < mask.mean() < 0.9
