"""What is around the car, as the camera network tells it: lane lines, drivable ground, the own light, road users.

The heads beside path, stop line and lead distance; their losses (rows of tasks.TASKS), what they say as a typed value,
and their figures. Lines are told row by row, as by Qin et al. 2020 ("Ultra Fast Structure-aware Deep Lane Detection"):
each row of cells says in which of its columns a line lies. The own light is found by attention over the cells of the
band: each says how likely it shows the light that binds the car, and how far its line is; "none" has a share too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    pixel_shuffle,
    smooth_l1_loss,
)

from envs.config import CameraConfig
from envs.geometry import Array
from envs.labels import LANE_ROWS, LIGHT_MAX_M, lane_rows
from envs.lane_lines import ANCHORS, LINES, OWN, anchor_rows
from envs.roads.network import Marking
from envs.roads.routes import COMMAND_HIGH
from envs.state import Phase
from perception import finder
from perception.calibration import share_of
from perception.finder import PEAK_SHARE
from perception.lane_metrics import PIXEL_THRESHOLD_PX, TUSIMPLE_WIDTH_PX

Tensors = dict[str, Tensor]
NUM_MARKINGS = len(Marking)
SEEN_SHARE = 0.5  # a point of a line is given where its presence is at least this likely
LINE_RIGHT = PIXEL_THRESHOLD_PX / TUSIMPLE_WIDTH_PX  # a point of a line this near is right, share of the width
LEAST_SPREAD = 0.5  # of a line's place, in columns
NEAR_LIGHT_M = 40.0  # lights farther away are not judged
LEAST_ATTENTION = 0.05  # of all: that much of it must lie on a light for its phase to count
GREEN_ODDS = 4.0  # so many times as likely as red must green be to be called green: a red run costs more than a wait
# Rows of cells in which lines are looked for: the band's last four, 4 px high, then eight of the glance, 8 px high.
BAND_NODES, GLANCE_NODES = 4, 8
NODE_ROWS = np.array([0.5 + (4 * k + 2) / 160 for k in range(BAND_NODES)]
                     + [0.6 + (8 * k + 4) / 160 for k in range(GLANCE_NODES)])  # middles, shares of the height
NODES = BAND_NODES + GLANCE_NODES
PLACES = 3  # numbers that tell where a cell lies


@dataclass(frozen=True, eq=False)
class Surroundings:
    """One look at N frames; pixels of the full frame, confidences in [0, 1]. Names as in generate.FIELDS."""

    lanes_px: Array  # (N, 4, 32) float32, u of the lines of envs.lane_lines at its anchor_rows; nan: none
    lane_confidence: Array  # (N, 4) float32, mean over the points given that one is there and right, 0 without any
    lane_marking: Array  # (N, 4) int64 of Marking
    drivable: Array  # (N, 40, 80) float32, how likely each cell of the frame is road
    my_light: Array  # (N,) int64 of Phase; OFF: none, or dark
    my_light_share: Array  # (N, 5) float32, how likely each Phase is
    my_light_m: Array  # (N,) float32, front bumper to its line, up to LIGHT_MAX_M; meaningless without one
    light_box_px: Array  # (N, 8, 4) float32, left, top, right, bottom; likeliest first, as those below
    light_phase: Array  # (N, 8) int64 of Phase, -1: none
    light_confidence: Array  # (N, 8) float32
    light_distance_m: Array  # (N, 8) float32, from the camera
    vehicle_box_px: Array  # (N, 8, 4) float32
    vehicle_confidence: Array  # (N, 8) float32, 0: none
    vehicle_distance_m: Array  # (N, 8) float32
    person_box_px: Array  # (N, 8, 4) float32, of people on foot and cyclists
    person_confidence: Array  # (N, 8) float32, 0: none
    person_distance_m: Array  # (N, 8) float32

    @property
    def my_light_confidence(self) -> Array:
        """(N,) share of the phase told."""
        return np.take_along_axis(self.my_light_share, self.my_light[:, None], 1)[:, 0]


class LinesHead(nn.Module):
    """Features at a quarter (N, near, 20, 40), of the band (N, far, 20, 80), the trunk and the command to the lines'
    tensors.

    The command belongs to them: which lane is the own one behind a junction, only the way tells.
    """

    def __init__(self, near: int, far: int, trunk: int) -> None:
        super().__init__()
        self.near, self.far = nn.Conv2d(near, 2 * LINES, 1), nn.Conv2d(far, 2 * LINES, 1)
        self.sought = nn.Linear(trunk + len(COMMAND_HIGH), LINES * (near + far))
        self.told = nn.Sequential(nn.Linear(trunk + 2 * LINES * NODES + len(COMMAND_HIGH), 96), nn.ReLU(inplace=True),
                                  nn.Linear(96, LINES * (ANCHORS + NUM_MARKINGS) + 2 * LANE_ROWS))
        camera = CameraConfig()
        self.to_anchors: Tensor
        self.to_rows: Tensor
        self.register_buffer("to_anchors", _between(anchor_rows(camera) / camera.height_px), persistent=False)
        self.register_buffer("to_rows", _between(lane_rows(camera) / camera.height_px), persistent=False)

    def forward(self, at4: Tensor, band: Tensor, trunk: Tensor, command: Tensor) -> Tensors:
        sought = self.sought(torch.cat([trunk, command], 1)).unflatten(1, (LINES, -1))
        near, far = at4[:, :, -GLANCE_NODES:], band[:, :, -BAND_NODES:]
        columns, spreads, evidence, cells = zip(
            _read(self.far(far), far, sought[..., -far.shape[1]:]),
            _read(self.near(near), near, sought[..., :near.shape[1]]), strict=True)
        column, spread = torch.cat(columns, 2), torch.cat(spreads, 2).log()  # (N, 4, NODES), shares of the width
        plain = torch.cat(evidence, 2).flatten(1) * 0.2
        told = self.told(torch.cat([trunk, column.flatten(1) * 2 - 1, plain, command], 1))
        lines = told[:, :-2 * LANE_ROWS].unflatten(1, (LINES, ANCHORS + NUM_MARKINGS))
        return {
            "line_columns": column, "line_cells_far": cells[0], "line_cells_near": cells[1],
            "lanes": column @ self.to_anchors, "lanes_logit": lines[:, :, :ANCHORS],
            "lanes_log_spread": spread @ self.to_anchors, "marking_logits": lines[:, :, ANCHORS:],
            "boundary": column[:, OWN] @ self.to_rows, "boundary_log_spread": spread[:, OWN] @ self.to_rows,
            "boundary_logit": told[:, -2 * LANE_ROWS:].unflatten(1, (2, LANE_ROWS)),
        }


def _read(maps: Tensor, features: Tensor, sought: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Maps (N, 8, R, C) and features (N, F, R, C) in which F numbers are sought for each line (N, 4, F) -> each line's
    column in each row (N, 4, R) and the standard deviation of what speaks for it, shares of the width; how plain it is;
    logits.
    """
    logits, offset = maps[:, :LINES] + (sought @ features.flatten(2)).unflatten(2, features.shape[2:]), maps[:, LINES:]
    share = torch.softmax(logits, 3)
    middle = (torch.arange(maps.shape[3], device=maps.device) + 0.5 + offset) / maps.shape[3]
    column = (share * middle).sum(3)
    spread = ((share * (middle - column[..., None]) ** 2).sum(3) + (LEAST_SPREAD / maps.shape[3]) ** 2).sqrt()
    return column, spread, logits.amax(3), logits


def _between(rows: Array) -> Tensor:
    """Matrix (NODES, R): values at NODE_ROWS -> values at rows (R,), on straight lines between and beyond."""
    right = np.clip(np.searchsorted(NODE_ROWS, rows), 1, NODES - 1)
    share = (rows - NODE_ROWS[right - 1]) / (NODE_ROWS[right] - NODE_ROWS[right - 1])
    matrix = np.zeros((NODES, len(rows)), np.float32)
    matrix[right - 1, np.arange(len(rows))], matrix[right, np.arange(len(rows))] = 1 - share, share
    return torch.from_numpy(matrix)


class LightHead(nn.Module):
    """Band features, their phases (N, 5, 20, 80), the trunk and the command to the own light's tensors.

    What is sought is a look and a place: of several lights the own one hangs where the own lane leads.
    """

    def __init__(self, channels: int, trunk: int) -> None:
        super().__init__()
        self.cells = nn.Conv2d(channels, 2, 1)  # how likely it is the own one; (metres to its line - 30) / 10
        self.sought = nn.Sequential(nn.Linear(trunk + len(COMMAND_HIGH), 48), nn.ReLU(inplace=True),
                                    nn.Linear(48, 1 + channels + PLACES))
        self.places: Tensor
        self.register_buffer("places", _places(), persistent=False)

    def forward(self, band: Tensor, phases: Tensor, trunk: Tensor, command: Tensor) -> Tensors:
        sought = self.sought(torch.cat([trunk, command], 1))
        cells = self.cells(band).flatten(2)
        look = (sought[:, None, 1:-PLACES] @ band.flatten(2))[:, 0]
        mine = cells[:, 0] + look + sought[:, -PLACES:] @ self.places
        share = torch.softmax(torch.cat([sought[:, :1], mine], 1), 1)
        here = share[:, 1:]
        return {"light_none": share[:, 0], "light_cells": here,
                "light_share": (torch.softmax(phases.flatten(2), 1) @ here[:, :, None])[:, :, 0],
                "light": (cells[:, 1] * here).sum(1) / (here.sum(1) + 0.01)}


def _places() -> Tensor:
    """Of each cell of the band: column, its square, row (PLACES, 1600), in [-1, 1]."""
    rows, columns = torch.linspace(-1, 1, finder.ROWS), torch.linspace(-1, 1, finder.COLUMNS)
    row, column = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([column, column.square(), row]).flatten(1)


class GroundHead(nn.Module):
    """Features at a quarter (N, C, 20, 40) to how likely each cell of (40, 80) is road, as a logit."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cells = nn.Conv2d(channels, 4, 1)

    def forward(self, at4: Tensor) -> Tensors:
        return {"drivable_logit": pixel_shuffle(self.cells(at4), 2)[:, 0]}


def targets(part: Tensors, width_px: int, height_px: int) -> Tensors:
    """What the losses ask, from rows of the labels."""
    seen = torch.isfinite(part["lanes_px"])
    has_light = torch.isfinite(part["my_light_m"]) & (part["my_light"] != Phase.OFF)
    size = torch.tensor([width_px, height_px] * 2)
    column, row = finder.cells_of(*finder.middles(part["light_box_px"] / size))
    cells = torch.zeros(len(seen), finder.ROWS * finder.COLUMNS)
    cells.scatter_add_(1, row * finder.COLUMNS + column, part["light_is_mine"].float())
    nodes = _at_nodes(part["lanes_px"] / width_px, height_px)
    return {
        "light_cells": (cells > 0).float(), "line_columns": nodes,
        "lanes": torch.where(seen, part["lanes_px"], 0.0) / width_px, "lanes_seen": seen.float(),
        "marking": torch.where(seen.any(2), part["lane_marking"], -1), "drivable": part["drivable"].float() / 255,
        "has_light": has_light.float(), "my_light": part["my_light"],
        "light_m": part["my_light_m"].clamp(max=LIGHT_MAX_M),
    }


def _at_nodes(lanes: Tensor, height_px: int) -> Tensor:
    """Columns of lines (N, 4, 32) at the anchor rows, read at NODE_ROWS (N, 4, NODES); nan where either side is."""
    rows = anchor_rows(CameraConfig(width_px=2 * height_px, height_px=height_px)) / height_px
    right = np.searchsorted(rows, NODE_ROWS).clip(1, ANCHORS - 1)
    share = torch.from_numpy(((NODE_ROWS - rows[right - 1]) / (rows[right] - rows[right - 1])).astype(np.float32))
    return lanes[..., right - 1] * (1 - share) + lanes[..., right] * share


def lanes_loss(outputs: Tensors, truth: Tensors) -> Tensor:
    """Presence of each point, its column where present in steps of 5 % of the width, the cell it lies in, and the kind
    of marking.
    """
    is_there = truth["lanes_seen"]
    presence = binary_cross_entropy_with_logits(outputs["lanes_logit"], is_there)
    error = smooth_l1_loss(outputs["lanes"] * 20, truth["lanes"] * 20, beta=0.02, reduction="none")
    marking = cross_entropy(outputs["marking_logits"].flatten(0, 1), truth["marking"].flatten(), ignore_index=-1,
                            reduction="sum") / (truth["marking"] >= 0).sum().clamp(min=1)
    nodes = truth["line_columns"]
    far = _cells_loss(outputs["line_cells_far"], nodes[..., :BAND_NODES])
    near = _cells_loss(outputs["line_cells_near"], nodes[..., BAND_NODES:])
    return (presence + (error * is_there).sum() / is_there.sum().clamp(min=1) + 0.2 * marking
            + 0.1 * (far * BAND_NODES + near * GLANCE_NODES) / NODES)


def _cells_loss(logits: Tensor, column: Tensor) -> Tensor:
    """Cross-entropy of the cell (N, 4, R, C) that each column (N, 4, R) lies in; nan is not asked."""
    count = logits.shape[3]
    cell = torch.where(torch.isfinite(column), (column * count).floor(), -1.0).long().clamp(max=count - 1).flatten()
    total = cross_entropy(logits.flatten(0, 2), cell, ignore_index=-1, reduction="sum")
    return total / (cell >= 0).sum().clamp(min=1)


def drivable_loss(outputs: Tensors, truth: Tensors) -> Tensor:
    """Binary cross-entropy over cells against the share of road in each."""
    return binary_cross_entropy_with_logits(outputs["drivable_logit"], truth["drivable"])


def light_loss(outputs: Tensors, truth: Tensors) -> Tensor:
    """Likelihood of the phase of the own light (or of none), of its place, and its line's distance in 10 m."""
    has = truth["has_light"]
    phase = outputs["light_share"].gather(1, truth["my_light"][:, None])[:, 0]
    likely = torch.where(has > 0, phase, outputs["light_none"] + outputs["light_share"][:, Phase.OFF])
    error = smooth_l1_loss(outputs["light"], truth["light_m"] / 10 - 3, beta=0.1, reduction="none") * has
    cells = truth["light_cells"]
    found = (outputs["light_cells"] * cells).sum(1)
    where = -(found.clamp(min=1e-5).log() * cells.amax(1)).sum() / cells.amax(1).sum().clamp(min=1)
    return -(likely.clamp(min=1e-5).log()).mean() + 0.3 * where + 0.3 * error.sum() / has.sum().clamp(min=1)


def said(out: dict[str, Array], width_px: int, height_px: int) -> Surroundings:
    """The heads' tensors, as arrays, in the road's units; `out` holds the peaks of finder.find_peaks, too."""
    is_there, sure = points_of_lines(out["lanes_logit"], out["lanes_log_spread"])
    share = out["light_share"].copy()
    share[:, Phase.OFF] += out["light_none"]
    box = out["box"] * np.array([width_px, height_px] * 2, np.float32)
    peak = np.where(out["peak"] >= PEAK_SHARE, out["peak"], np.float32(0))
    light, vehicle, person = (finder.KINDS.index(kind) for kind in ("light", "vehicle", "person"))
    return Surroundings(
        lanes_px=np.where(is_there, out["lanes"] * width_px, np.float32(np.nan)),
        lane_confidence=sure, lane_marking=out["marking_logits"].argmax(2), drivable=share_of(out["drivable_logit"]),
        my_light=called(share), my_light_share=share, my_light_m=((out["light"] + 3) * 10).clip(0, LIGHT_MAX_M),
        light_box_px=box[:, light], light_phase=np.where(peak[:, light] > 0, out["light_phases"].argmax(2), -1),
        light_confidence=peak[:, light], light_distance_m=out["distance_m"][:, light],
        vehicle_box_px=box[:, vehicle], vehicle_confidence=peak[:, vehicle],
        vehicle_distance_m=out["distance_m"][:, vehicle],
        person_box_px=box[:, person], person_confidence=peak[:, person], person_distance_m=out["distance_m"][:, person])


def points_of_lines(logit: Array, log_spread: Array) -> tuple[Array, Array]:
    """Which points of lines (..., R) are given, by logits of their presence, and how sure each line is (...), float32.

    That is the mean over its points that one is there and lies within LINE_RIGHT of where it is told, if its place has
    Laplace's distribution as wide as what speaks for it; 0 for a line without points.
    """
    seen = share_of(logit)
    is_given = seen >= SEEN_SHARE
    right = 1 - np.exp(-LINE_RIGHT * np.exp(-log_spread))
    return is_given, (seen * right * is_given).sum(-1) / np.maximum(is_given.sum(-1), 1).astype(np.float32)


def own_phase(out: dict[str, Array], is_read: Array) -> Array:
    """How likely the own light shows each Phase (N, 5), by the phases of the lights (N, 8) that are read well.

    The share of "none" stays. Where hardly any attention lies on such a light, it is what the cells said.
    """
    mine = out["light_is_mine"] * is_read
    total = mine.sum(1, keepdims=True)
    phases = np.exp(out["light_phases"] - out["light_phases"].max(2, keepdims=True))
    seen = ((mine / np.maximum(total, 1e-6))[..., None] * phases / phases.sum(2, keepdims=True)).sum(1)
    return np.asarray(np.where(total > LEAST_ATTENTION, seen * (1 - out["light_none"])[:, None], out["light_share"]),
                      np.float32)


def called(share: Array) -> Array:
    """The likeliest Phase (N,) of shares (N, 5), but green only where it is GREEN_ODDS times as likely as red."""
    called = share.argmax(1)
    red = share[:, Phase.RED] + share[:, Phase.RED_YELLOW]
    doubted = (called == Phase.GREEN) & (share[:, Phase.GREEN] < GREEN_ODDS * red)
    return np.where(doubted, int(Phase.RED), called)


def is_road(labels: dict[str, Array]) -> Array:
    """Which cells (N, 40, 80) are mostly drivable ground."""
    return np.asarray(labels["drivable"] > 127)


def light_is_asked(labels: dict[str, Array]) -> Array:
    """Where (N,) a light that can be seen binds the car within NEAR_LIGHT_M."""
    return np.asarray((labels["my_light_m"] < NEAR_LIGHT_M) & (labels["my_light"] != Phase.OFF)
                      & labels["light_is_mine"].any(1))


def measure(told: Surroundings, labels: dict[str, Array], width_px: int) -> dict[str, float]:
    """F1 of lane points (right within 1.5 % of the width), IoU of the drivable cells, and the own light's phase.

    The light is judged where one that can be seen binds the car within NEAR_LIGHT_M: share of phases right, and of reds
    called green.
    """
    truth = labels["lanes_px"]
    hits = int((np.abs(told.lanes_px - truth) < 0.015 * width_px).sum())
    count = int(np.isfinite(truth).sum() + np.isfinite(told.lanes_px).sum())
    guess, road = told.drivable > 0.5, is_road(labels)
    near = light_is_asked(labels)
    red = near & np.isin(labels["my_light"], (Phase.RED, Phase.RED_YELLOW))
    nan = float("nan")
    return {"lanes_f1": 2 * hits / max(count, 1),
            "drivable_iou": float((guess & road).sum() / max((guess | road).sum(), 1)),
            "my_light_right": float((told.my_light == labels["my_light"])[near].mean()) if near.any() else nan,
            "red_called_green": float((told.my_light == Phase.GREEN)[red].mean()) if red.any() else nan}
