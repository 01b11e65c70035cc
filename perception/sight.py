"""What the networks for photographs make of one picture of any camera: road, lines, the way ahead, signs, lights.

Joins roadnet.py, scout.py, namer.py and lightnet.py into one value, its JSON and its drawing. The camera network,
which sees only through its own camera, has no part in it (show.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from envs.config import CameraConfig
from envs.geometry import Array
from envs.signs import SIGNS
from perception.lampcrops import OFF, STATES
from perception.lightnet import SIDE_PX, LightReader, squeezed
from perception.namer import Namer
from perception.photos import View
from perception.roadfit import NEAREST_CELLS, ROAD_SHARE, Curve, is_road, look_at
from perception.roadnet import RoadReader
from perception.roadscapes import COLUMNS, ROWS
from perception.scout import Found, Scout
from perception.street_photos import LEAST_SCORE, named, told

USUAL_FOV_DEG = 60.0  # of dashboard cameras, where nothing is said
HALF_LANE_M = 1.75
LIGHT_MARGIN = 0.05  # of a light's box, on each side of what is read
STEPS = 24  # points of a line
LEAST_SHOWN_PX, MOST_SHOWN_PX = 960, 1920  # width of what is drawn
SURE_SIGN, SURE_LIGHT = 0.5, 0.38  # what is less likely to be there is not drawn; the JSON has it
STATE_RGB = {"red": (255, 60, 60), "yellow": (255, 220, 60), "green": (70, 235, 110)}
ROAD_RGB, PATH_RGB, LINE_RGB, SIGN_RGB = (40, 200, 80), (60, 220, 90), (255, 190, 40), (255, 60, 160)


@dataclass(frozen=True, eq=False)
class Sight:
    """What was seen in a picture of H x W px; pixels are the picture's own."""

    road: Array  # (48, 80) float32, how likely each cell of the picture is road
    horizon: float  # its row as a share of the height
    lines_px: tuple[Array, ...]  # each (24, 2) u, v of a line between lanes, from the nearest point on, left to right
    line_confidence: tuple[float, ...]
    path_px: Array  # (24, 2) the middle of the own lane, from the nearest point on; (0, 2) where there is no road
    path_m: Array  # (24, 2) the same as x ahead, y left of the camera on flat ground, for a camera 1.4 m high
    sign_box_px: Array  # (K, 4) float32 left, top, right, bottom, best first
    sign_class: Array  # (K,) int64, row of SIGNS
    sign_confidence: Array  # (K,) float32
    light_box_px: Array  # (L, 4) float32 of lights that are on, best first
    light_state: Array  # (L,) int64 of lampcrops.STATES
    light_confidence: Array  # (L,) float32, that it is a light and shows that


class PhotoEyes:
    """The networks for photographs, loaded once. Raises CheckpointError for weights that cannot be used."""

    def __init__(self) -> None:
        self._reader, self._scout, self._namer = RoadReader.load(), Scout.load(), Namer.load()
        self._lamps = LightReader.load()

    def look(self, picture: Array, view: View) -> Sight:
        """See a picture uint8 (H, W, 3) RGB of any size; `view` tells what is known of its camera."""
        height, width = picture.shape[:2]
        road, curves, horizon = look_at(self._reader, picture, view)
        cell_px = np.array([width / COLUMNS, height / ROWS])
        path = _path(curves, road, horizon, (1 / CameraConfig().height_m) * cell_px[1] / cell_px[0])
        found, lights = self._scout.find(picture)
        row, score = named(self._namer, picture, found)
        lights, state = self._lit(picture, lights, horizon * height)
        best = told(score)
        return Sight(
            road=road, horizon=horizon,
            lines_px=tuple(_points(curve, horizon) * cell_px for curve in curves),
            line_confidence=tuple(curve.share for curve in curves),
            path_px=path * cell_px, path_m=_on_ground(path * cell_px, horizon * height, width, view.fov_deg),
            sign_box_px=found.box_px[best], sign_class=row[best], sign_confidence=score[best],
            light_box_px=lights.box_px, light_confidence=lights.score, light_state=state)

    def _lit(self, picture: Array, found: Found, horizon_px: float) -> tuple[Found, Array]:
        """The lights that are on, best first, and what they show (L,) int64 of STATES.

        What shines below the horizon is on a car; and a light that is off cannot be told from a window.
        """
        rows = np.flatnonzero((found.box_px[:, [1, 3]].mean(1) < horizon_px) & (found.score >= LEAST_SCORE))
        crops = np.array([squeezed(around(picture, box)) for box in found.box_px[rows]], np.uint8)
        shares = self._lamps.read(crops.reshape(-1, SIDE_PX, SIDE_PX, 3))[:, :OFF]
        score = found.score[rows] * shares.max(1)
        order = told(score)
        return Found(found.box_px[rows][order], score[order]), shares.argmax(1)[order]


def around(picture: Array, box_px: Array) -> Array:
    """A light's box and a little more of a picture, (h, w, 3), one pixel at least."""
    low, high = box_px[:2], box_px[2:]
    more = LIGHT_MARGIN * (high - low)
    size = picture.shape[1::-1]
    left, top = np.floor(low - more).astype(int).clip(0, np.array(size) - 1)
    right, bottom = np.ceil(high + more).astype(int).clip([left + 1, top + 1], size)
    return picture[top:bottom, left:right]


def _points(curve: Curve, horizon: float) -> Array:
    """Points (STEPS, 2) of a curve [cells], column and row, from the picture's lower edge to its last row."""
    below = np.geomspace(ROWS * (1 - horizon), max(curve.first_row, NEAREST_CELLS), STEPS)
    return np.stack([curve.at(below), below + horizon * ROWS], 1)


def _path(curves: list[Curve], road: Array, horizon: float, cells_per_m: float) -> Array:
    """The middle of the own lane (STEPS, 2) [cells]: between the nearest lines, beside the one there is, or in the
    middle of the road; (0, 2) without any of these.

    `cells_per_m`: by how much a line leans, for each metre to the side [columns per row].
    """
    bottom = ROWS * (1 - horizon)
    left = [curve for curve in curves if curve.at(np.array(bottom)) < COLUMNS / 2][-1:]
    right = [curve for curve in curves if curve.at(np.array(bottom)) >= COLUMNS / 2][:1]
    if not left and not right:
        return _middle_of(road, horizon)
    first_row = max(NEAREST_CELLS, min(curve.first_row for curve in left + right))
    below = np.geomspace(bottom, first_row, STEPS)
    aside = HALF_LANE_M * cells_per_m * below
    sides = [curve.at(below) + side * aside for side, found in ((1, left), (-1, right)) for curve in found]
    middle = np.mean([curve.at(below) for curve in left + right], 0) if len(sides) == 2 else sides[0]
    return np.stack([middle, below + horizon * ROWS], 1)


def _middle_of(road: Array, horizon: float) -> Array:
    """The middle of the stretch of road ahead in each row, (STEPS, 2) [cells] or (0, 2)."""
    rows, middles = [], []
    at = COLUMNS / 2
    for row in range(ROWS - 1, math.ceil(horizon * ROWS + NEAREST_CELLS), -1):
        paved = np.flatnonzero(road[row] > ROAD_SHARE)
        if len(paved) == 0:
            break
        stretches = np.split(paved, np.flatnonzero(np.diff(paved) > 1) + 1)
        stretch = min(stretches, key=lambda part: np.abs(part + 0.5 - at).min())
        at = float(stretch.mean()) + 0.5
        rows.append(row + 0.5)
        middles.append(at)
    if len(rows) < 2:
        return np.zeros((0, 2))
    steps = np.linspace(rows[0], rows[-1], STEPS)
    smooth = np.polynomial.Polynomial.fit(rows, middles, min(3, len(rows) - 1))
    return np.stack([smooth(steps), steps], 1)


def _on_ground(pixels: Array, horizon_px: float, width_px: int, fov_deg: float | None) -> Array:
    """Where pixels (K, 2) meet flat ground: x ahead, y left [m] of a camera as high as ours that looks level."""
    focal_px = width_px / 2 / math.tan(math.radians(fov_deg or USUAL_FOV_DEG) / 2)
    below = np.maximum(pixels[:, 1] - horizon_px, 1e-3)
    ahead = focal_px * CameraConfig().height_m / below
    return np.stack([ahead, (width_px / 2 - pixels[:, 0]) / focal_px * ahead], 1)


def plain(sight: Sight) -> dict[str, Any]:
    """A sight as JSON data."""
    def rounded(values: Array, digits: int) -> Any:
        return np.round(values.astype(float), digits).tolist()
    signs = [{"name": SIGNS[row].name, "class_id": SIGNS[row].gtsrb_class, "box_px": rounded(box, 1),
              "confidence": round(float(sure), 3)}
             for row, box, sure in zip(sight.sign_class, sight.sign_box_px, sight.sign_confidence, strict=True)]
    lines = [{"points_px": rounded(points, 1), "confidence": round(sure, 3)}
             for points, sure in zip(sight.lines_px, sight.line_confidence, strict=True)]
    lights = [{"state": STATES[state], "box_px": rounded(box, 1), "confidence": round(float(sure), 3)}
              for state, box, sure in zip(sight.light_state, sight.light_box_px, sight.light_confidence, strict=True)]
    return {"horizon": round(sight.horizon, 4), "path_px": rounded(sight.path_px, 1),
            "path_m": rounded(sight.path_m, 2), "lines": lines, "signs": signs, "lights": lights,
            "road_share": round(float((sight.road > ROAD_SHARE).mean()), 4)}


def drawn(picture: Array, sight: Sight) -> Array:
    """The picture at 960 to 1920 px of width with road, lines, path, signs and lights drawn in."""
    height, width = picture.shape[:2]
    scale = min(max(width, LEAST_SHOWN_PX), MOST_SHOWN_PX) / width
    size = round(width * scale), round(height * scale)
    shown = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    paved = is_road(sight.road, size)
    shown[paved] = (0.72 * shown[paved] + 0.28 * np.array(ROAD_RGB)).astype(np.uint8)
    thick = max(2, round(size[0] / 480))
    for points, colour in [(points, LINE_RGB) for points in sight.lines_px] + [(sight.path_px, PATH_RGB)]:
        at = (points * scale).clip(-5000, 5000).round().astype(np.int32)
        cv2.polylines(shown, [at[:, None]], False, (0, 0, 0), thick + 2, cv2.LINE_AA)
        cv2.polylines(shown, [at[:, None]], False, colour, thick, cv2.LINE_AA)
    things = [(box, SIGNS[row].name, SIGN_RGB, sure)
              for box, row, sure in zip(sight.sign_box_px, sight.sign_class, sight.sign_confidence, strict=True)
              if sure >= SURE_SIGN]
    things += [(box, STATES[state], STATE_RGB[STATES[state]], sure)
               for box, state, sure in zip(sight.light_box_px, sight.light_state, sight.light_confidence, strict=True)
               if sure >= SURE_LIGHT]
    for box, name, colour, sure in things:
        left, top, right, bottom = (round(float(x)) for x in box * scale)
        cv2.rectangle(shown, (left, top), (right, bottom), colour, 2)
        outlined(shown, f"{name} {sure:.2f}", (left - 20, top - 8), colour)
    return shown


def outlined(shown: Array, text: str, at: tuple[int, int], colour: tuple[int, int, int], size: float = 0.55) -> None:
    """Text with a black rim, its first letter's foot at a pixel, or where the picture begins."""
    x, y = max(at[0], 2), max(at[1], 14)
    for right, down in ((-1, 0), (1, 0), (0, -1), (0, 1)):  # a thicker stroke would be a wider text
        cv2.putText(shown, text, (x + right, y + down), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.putText(shown, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
