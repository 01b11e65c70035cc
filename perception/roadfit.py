"""Curves and masks in the pixels of a photograph, from the cells of roadnet.py.

On flat ground all lines of a road are, in the picture, u = aside * d + meet + bend / d, where d is the row's distance
below the horizon: `aside` is its own, while `meet` (where all meet on the horizon) and `bend` belong to the
road (Kluge 1994, "Extracting road curvature and orientation from image edge points"). So one search finds it, peaks
of a histogram its lines, and each is then fitted by itself, leaning on the others.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from envs.geometry import Array
from perception.checkpoint import replace_file
from perception.photos import Pictures, View
from perception.roadnet import RoadReader
from perception.roadscapes import COLUMNS, ROWS

POINT_SHARE = 0.25  # a cell below this is no point of a line
LINE_SHARE = 0.42  # a line of points fainter than this on average is none
FEWEST_ROWS = 6
NEAREST_CELLS = 1.0  # below the horizon: nothing is told of rows above this
MEET_CELLS, NUM_MEETS = 24.0, 49  # how far from the middle lines may meet, and how many places are tried
BENDS = np.concatenate([-np.geomspace(120, 1, 14), [0.0], np.geomspace(1, 120, 14)])
BIN, APART = 0.1, 0.9  # of `aside`: of the histogram, and between two lines (a lane is 1.5 to 3 wide)
NEAR_CELLS = 1.6  # a point this near to a curve, along its row, belongs to it
MOST_PER_SIDE = 2
ROAD_SHARE = 0.5  # what is likelier than this to be road is road
ABSENT = -2  # TuSimple's x where a lane is not


@dataclass(frozen=True)
class Curve:
    """u = aside * d + meet + bend / d in cells, from the first to the last row of its points."""

    aside: float
    meet: float
    bend: float
    first_row: float
    share: float  # mean share of its points

    def at(self, below: Array) -> Array:
        """Columns [cells] at rows `below` the horizon."""
        return self.aside * below + self.meet + self.bend / below


def points_of(line: Array, horizon: float) -> Array:
    """Points (K, 3): column and row below the horizon [cells], share; the peaks of each row of a (48, 80) picture."""
    smooth = cv2.GaussianBlur(line, (3, 1), 0.6)
    left, right = np.roll(smooth, 1, 1), np.roll(smooth, -1, 1)
    is_peak = (smooth >= left) & (smooth > right) & (line > POINT_SHARE)
    rows, columns = np.nonzero(is_peak)
    denominator = (left + right - 2 * smooth)[rows, columns]
    offset = 0.5 * (left - right)[rows, columns] / np.minimum(denominator, -1e-6)
    below = rows + 0.5 - horizon * ROWS
    keep = below > NEAREST_CELLS
    return np.stack([columns + 0.5 + offset.clip(-0.5, 0.5), below, line[rows, columns]], 1)[keep]


def curves_of(points: Array) -> list[Curve]:
    """The lines that points (K, 3) lie on, from left to right."""
    if len(points) < FEWEST_ROWS:
        return []
    u, below, share = points.T
    meet, bend = _road_of(u, below, share)
    aside = (u - meet - bend / below) / below
    weight = share * np.minimum(below / 5, 1)
    edges = np.arange(-25, 25 + BIN, BIN)
    histogram = np.histogram(aside, edges, weights=weight)[0]
    smooth = np.convolve(histogram, np.exp(-0.5 * (np.arange(-4, 5) / 1.6) ** 2), "same")
    curves: list[Curve] = []
    taken = np.zeros(len(u), bool)
    for k in np.argsort(-smooth):
        if smooth[k] < 1.0:
            break
        start = edges[k] + BIN / 2
        if all(abs(start - other.aside) > APART for other in curves):
            found = _fitted(points, taken, (start, meet, bend))
            if found is not None and all(abs(found[0].aside - other.aside) > APART for other in curves):
                curves.append(found[0])
                taken |= found[1]
    return sorted(curves, key=lambda curve: curve.aside)


def _road_of(u: Array, below: Array, share: Array) -> tuple[float, float]:
    """The (meet, bend) under which the points gather into the sharpest lines."""
    weight = share * np.minimum(below / 5, 1)
    best, found = -1.0, (COLUMNS / 2, 0.0)
    for meet in COLUMNS / 2 + np.linspace(-MEET_CELLS, MEET_CELLS, NUM_MEETS):
        aside = (u - meet - BENDS[:, None] / below) / below  # (B, K)
        index = ((aside + 25) / 0.2).astype(int).clip(0, 249) + 250 * np.arange(len(BENDS))[:, None]
        histogram = np.bincount(index.ravel(), np.broadcast_to(weight, aside.shape).ravel(), 250 * len(BENDS))
        rows = histogram.reshape(len(BENDS), 250)
        rows = rows + 0.5 * (np.roll(rows, 1, 1) + np.roll(rows, -1, 1))
        sharp = (rows**2).sum(1) * (1 - 0.002 * np.abs(BENDS))  # of two equals, the straighter one
        k = int(sharp.argmax())
        if sharp[k] > best:
            best, found = float(sharp[k]), (float(meet), float(BENDS[k]))
    return found


def _fitted(points: Array, taken: Array, start: tuple[float, float, float]) -> tuple[Curve, Array] | None:
    """The curve near `start` and which points are its own, or None where too few support it."""
    u, below, share = points.T
    guess = np.array(start)
    terms = np.stack([below, np.ones_like(below), 1 / below], 1)
    stiffness = np.diag([0.0, 0.3, 0.05])  # towards the road's own meet and bend
    inside = np.zeros(len(u), bool)
    for reach in (2.5, NEAR_CELLS, NEAR_CELLS):
        inside = (np.abs(u - terms @ guess) < reach + 0.04 * np.abs(guess[0]) * below) & ~taken
        if inside.sum() < FEWEST_ROWS:
            return None
        weighted = terms[inside] * share[inside, None]
        left = weighted.T @ terms[inside] + stiffness
        guess = np.linalg.solve(left, weighted.T @ u[inside] + stiffness @ np.array(start))
    rows = np.unique(below[inside])
    mean = float(share[inside].mean())
    if len(rows) < FEWEST_ROWS or mean < LINE_SHARE:
        return None
    aside, meet, bend = (float(x) for x in guess)
    return Curve(aside, meet, bend, float(rows[0]), mean), inside


def beside_the_car(curves: list[Curve], horizon: float) -> list[Curve]:
    """The nearest MOST_PER_SIDE lines on each side of the picture's middle, by where they leave it at the bottom."""
    bottom = ROWS * (1 - horizon)
    at = np.array([curve.at(np.array(bottom)) - COLUMNS / 2 for curve in curves])
    order = np.argsort(np.abs(at))
    chosen = [k for side in (at < 0, at >= 0) for k in [k for k in order if side[k]][:MOST_PER_SIDE]]
    return [curves[k] for k in sorted(chosen, key=lambda k: at[k])]


def look_at(reader: RoadReader, image: Array, view: View) -> tuple[Array, list[Curve], float]:
    """Share of road (48, 80), the lines beside the car, and the horizon: the view's, where it is known."""
    road, line, horizon = reader.look(image)
    horizon = horizon if view.horizon is None else view.horizon
    return road, beside_the_car(curves_of(points_of(line, horizon)), horizon), horizon


def lanes_of(reader: RoadReader, image: Array, view: View) -> tuple[list[list[int]], list[float]]:
    """For each line an x [px] for each of the view's rows, -2 where it is not; and how sure each is."""
    height, width = image.shape[:2]
    _, curves, horizon = look_at(reader, image, view)
    rows = np.array(view.h_samples)
    below = (rows + 0.5) / height * ROWS - horizon * ROWS
    lanes, shares = [], []
    for curve in curves:
        is_told = below > max(NEAREST_CELLS, curve.first_row - 1.5)
        u = np.where(is_told, curve.at(np.where(is_told, below, 1.0)), -1) * width / COLUMNS
        x = np.where(is_told & (u >= 0) & (u < width), np.round(u), ABSENT).astype(int)
        if (x >= 0).sum() >= 2:
            lanes.append(x.tolist())
            shares.append(curve.share)
    return lanes, shares


def write_lanes(pictures: Pictures, out: Path, view: View) -> dict[str, Any]:
    """`--task lanes`: a JSON line for each picture in the TuSimple form."""
    reader = RoadReader.load()
    torch.set_num_threads(1)  # a picture is too small to share, and TuSimple refuses answers that took over 200 ms
    reader.look(np.zeros((192, 320, 3), np.uint8))  # the first look is slow
    lines, num_lanes = [], 0
    for file, image in pictures:
        started = time.perf_counter()
        lanes, _ = lanes_of(reader, image, view)
        run_time = round((time.perf_counter() - started) * 1e3, 1)
        num_lanes += len(lanes)
        lines.append(json.dumps({"raw_file": file.name, "lanes": lanes, "h_samples": list(view.h_samples),
                                 "run_time": run_time}))
    replace_file(out, ("\n".join(lines) + "\n").encode())
    return {"lanes": num_lanes}


def road_mask(reader: RoadReader, image: Array) -> Array:
    """Where the road is, uint8 (H, W) of 0 and 1."""
    road, _, _ = reader.look(image)
    return is_road(road, image.shape[1::-1]).astype(np.uint8)


def is_road(road: Array, size_px: tuple[int, int]) -> Array:
    """Where the road is in a picture (width, height), bool (H, W), by the shares of its cells."""
    return np.asarray(cv2.resize(road, size_px, interpolation=cv2.INTER_LINEAR) > ROAD_SHARE)


def write_masks(pictures: Pictures, out: Path, view: View) -> dict[str, Any]:
    """`--task road`: a PNG for each picture, of its size, 1 where one could drive and 0 elsewhere."""
    del view
    reader = RoadReader.load()
    out.mkdir(parents=True, exist_ok=True)
    shares = []
    for file, image in pictures:
        mask = road_mask(reader, image)
        shares.append(float(mask.mean()))
        replace_file(out / f"{file.stem}.png", cv2.imencode(".png", mask)[1].tobytes())
    return {"mean_share": round(float(np.mean(shares)), 4)}
