"""Finding things of four kinds in the band around the horizon: signs, heads of traffic lights, vehicles, people.

A heat-map for each kind, as in CenterNet (Zhou et al. 2019, "Objects as Points"): a peak is a thing's middle, and the
same cell tells box, distance and, of a light, the phase. A thing whose middle lies above or below the band is looked
for in the band's first or last row. Here are the head, its targets, its loss and how peaks are read.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, max_pool2d, smooth_l1_loss

from envs.state import Phase

Tensors = dict[str, Tensor]
KINDS = ("sign", "light", "vehicle", "person")
BAND_TOP, BAND_BOTTOM = 0.1, 0.6  # shares of the height: the horizon of a level camera is at 0.5
ROWS, COLUMNS = 20, 80  # cells of the band: 4 x 4 px of a frame of 320 x 160
MOST = 8  # peaks of each kind that are told
VALUES = 5  # of a cell: offset x, y [cells], log width, log height [cells], log distance [m]
NUM_PHASES = len(Phase)
PEAK_SHARE = 0.3  # a peak below this is not told
TWIN_IOU = 0.45  # two boxes of a kind that overlap more are of one thing
FARTHEST_M = 100.0
_TALL = BAND_BOTTOM - BAND_TOP


class FinderHead(nn.Module):
    """Band features (N, C, 20, 80) to heat logits (N, 4, 20, 80), boxes (N, 20, 20, 80) and phases (N, 5, 20, 80)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.maps = nn.Conv2d(channels, len(KINDS) * (1 + VALUES) + NUM_PHASES, 1)
        nn.init.zeros_(self.maps.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.maps.bias[:len(KINDS)], -4.0)  # type: ignore[index]  # things are rare at the start

    def forward(self, band: Tensor) -> Tensors:
        maps = self.maps(band)
        kinds = len(KINDS)
        return {"heat": maps[:, :kinds], "boxes": maps[:, kinds:kinds * (1 + VALUES)],
                "phases": maps[:, kinds * (1 + VALUES):]}


def targets(part: Tensors, size: Tensor) -> Tensors:
    """What `loss` asks of a batch of B frames of `size` (width, height, width, height) px, from rows of the labels.

    thing_heat (B * 4, 20, 80) with a bell at each thing; thing_at (K,) cells among all of the batch and thing_values
    (K, 5) there; phase_at (L,) the same cells counted without kinds, and phase (L,).
    """
    boxes, distances, rows = [], [], []
    for number, kind in enumerate(KINDS):
        distance = part[f"{kind}_distance_m"]
        is_there = (distance > 0) & torch.isfinite(distance)  # the rest fills up the table
        boxes.append((part[f"{kind}_box_px"] / size)[is_there])
        distances.append(distance[is_there])
        rows.append(is_there.nonzero()[:, 0] * len(KINDS) + number)
    box, distance, row = torch.cat(boxes), torch.cat(distances), torch.cat(rows)
    x, y = middles(box)
    width, height = (box[:, 2] - box[:, 0]) * COLUMNS, (box[:, 3] - box[:, 1]) / _TALL * ROWS
    column, line = cells_of(x, y)
    spread = (0.5 + torch.minimum(width, height) / 6)[:, None]
    across = torch.exp(-((torch.arange(COLUMNS) + 0.5 - x[:, None]) ** 2) / (2 * spread ** 2))
    down = torch.exp(-((torch.arange(ROWS) + 0.5 - y.clamp(0, ROWS)[:, None]) ** 2) / (2 * spread ** 2))
    heat = torch.zeros(len(part["sign_class"]) * len(KINDS), ROWS, COLUMNS)
    bells = down[:, :, None] * across[:, None]
    heat.scatter_reduce_(0, row[:, None, None].expand_as(bells), bells, "amax")
    values = torch.stack([x - column, y - line, width.clamp(min=0.2).log(), height.clamp(min=0.2).log(),
                          distance.clamp(0.5, FARTHEST_M).log()], 1)
    is_light = row % len(KINDS) == KINDS.index("light")
    cell = line * COLUMNS + column
    return {"thing_heat": heat, "thing_at": row * ROWS * COLUMNS + cell, "thing_values": values,
            "phase_at": (row // len(KINDS) * ROWS * COLUMNS + cell)[is_light],
            "phase": part["light_phase"][part["light_phase"] >= 0]}


def middles(box: Tensor) -> tuple[Tensor, Tensor]:
    """Middles x, y (...,) [cells of the band] of boxes (..., 4), shares of the frame."""
    return (box[..., 0] + box[..., 2]) / 2 * COLUMNS, ((box[..., 1] + box[..., 3]) / 2 - BAND_TOP) / _TALL * ROWS


def cells_of(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Column and row of the cell that a middle lies in, or of the nearest one of the band."""
    return x.long().clamp(0, COLUMNS - 1), y.floor().long().clamp(0, ROWS - 1)


def loss(outputs: Tensors, asked: Tensors) -> Tensor:
    """Penalty-reduced focal loss on the heat (Law and Deng 2018, eq. 1), the mean of four kinds, plus box and distance
    at the centres and the phases of lights.
    """
    kinds = len(KINDS)
    heat, truth = torch.sigmoid(outputs["heat"]).clamp(1e-4, 1 - 1e-4), asked["thing_heat"].view_as(outputs["heat"])
    at = asked["thing_at"]
    is_centre = torch.zeros(heat.numel()).index_fill_(0, at, 1.0).view_as(heat)
    hit = is_centre * (1 - heat) ** 2 * heat.log()
    miss = (1 - is_centre) * (1 - truth) ** 4 * heat ** 2 * (1 - heat).log()
    count = is_centre.sum((0, 2, 3)).clamp(min=1)
    found = -((hit + miss).sum((0, 2, 3)) / count).mean()
    if not len(at):
        return found
    values = outputs["boxes"].unflatten(1, (kinds, VALUES)).movedim(2, -1).flatten(0, 3)  # (N * 4 * 1600, 5)
    error = smooth_l1_loss(values[at], asked["thing_values"], beta=0.1, reduction="none").sum(1)
    total = found + error.mean()
    if len(asked["phase"]):
        cells = outputs["phases"].movedim(1, -1).flatten(0, 2)[asked["phase_at"]]
        total = total + 0.5 * cross_entropy(cells, asked["phase"])
    return total


def find_peaks(outputs: Tensors) -> Tensors:
    """The MOST strongest local maxima of each kind: box (N, 4, 8, 4) left, top, right, bottom as shares of the frame,
    peak (N, 4, 8) in [0, 1], distance_m (N, 4, 8), light_phases (N, 8, 5), logits of what each light shows, and
    light_is_mine (N, 8), how much of `light_cells` lies on it.

    A peak whose box is much that of a stronger one has 0: large things have several.
    """
    share, boxes, phases = torch.sigmoid(outputs["heat"]), outputs["boxes"], outputs["phases"]
    mine = 9 * avg_pool2d(outputs["light_cells"].unflatten(1, (1, ROWS, COLUMNS)), 3, 1, 1)
    peak, cell = torch.where(share == max_pool2d(share, 3, 1, 1), share, 0.0).flatten(2).topk(MOST, dim=2)
    values = boxes.unflatten(1, (len(KINDS), VALUES)).flatten(3).gather(3, cell[:, :, None].expand(-1, -1, VALUES, -1))
    x = ((cell % COLUMNS) + values[:, :, 0]) / COLUMNS
    y = ((cell // COLUMNS) + values[:, :, 1]) / ROWS * _TALL + BAND_TOP
    half_width = values[:, :, 2].clamp(-2, 5).exp() / COLUMNS / 2
    half_height = values[:, :, 3].clamp(-2, 5).exp() / ROWS * _TALL / 2
    box = torch.stack([x - half_width, y - half_height, x + half_width, y + half_height], 3)
    distance_m = values[:, :, 4].clamp(-1, 5).exp()
    of_light = cell[:, KINDS.index("light"), None]
    return {"box": box, "peak": torch.where(is_twin(box), 0.0, peak), "distance_m": distance_m,
            "light_phases": phases.flatten(2).gather(2, of_light.expand(-1, NUM_PHASES, -1)).movedim(1, 2),
            "light_is_mine": mine.flatten(2).gather(2, of_light)[:, 0]}


def is_twin(box: Tensor) -> Tensor:
    """Whether each box (N, K, M, 4) overlaps one before it by more than TWIN_IOU: non-maximum suppression in one step,
    as in YOLACT (Bolya et al. 2019, section 5).
    """
    a, b = box[:, :, :, None], box[:, :, None]
    both = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    area = (box[..., 2:] - box[..., :2]).prod(-1)
    overlap = both / (area[:, :, :, None] + area[:, :, None] - both).clamp(min=1e-9)
    return overlap.triu(1).amax(2) > TWIN_IOU
