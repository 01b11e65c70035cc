"""`nanodrive perceive --eval`: every figure of the network on towns it never saw, beside a trivial predictor's.

Most figures are a ratio of sums over pictures (`ratios`), so that the same numbers give the total, each weather's part
and a bootstrap interval over pictures; AP and calibration errors are judged on all pictures at once (`wholes`). What a
Percept does not have is not asked for. Frames come from `nanodrive generate`; nothing is trained or chosen here.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from envs.config import CameraConfig, require, require_within
from envs.geometry import Array
from envs.labels import LEAD_MAX_M, lane_rows
from envs.lane_lines import anchor_rows
from envs.roads.network import Command, Control
from envs.signs import SIGNS
from envs.state import Phase
from envs.weather import WEATHERS
from perception import dataset, generate, metrics, passing
from perception.calibration import expected_error, interval
from perception.checkpoint import plain
from perception.claims import claims_of, classes_of
from perception.dataset import Frames
from perception.detection_metrics import average_precision, coco_json, coco_results
from perception.generate import GenerateConfig
from perception.lane_metrics import as_points, culane, tusimple
from perception.perceiver import NO_SIGN, Perceiver, Percept
from perception.surroundings import SEEN_SHARE, light_is_asked
from perception.tasks import BLIND_STOP_M
from scenarios.spec import SPLITS

Ratios = dict[str, tuple[Array, Array]]  # by figure: what is summed over pictures (N,), and what that is divided by
LEAD_NEAR_M = 40.0  # the vehicle ahead is judged this near
SIGN_NEAR_M = 25.0  # and signs, for one of their figures
DRIVE_FRAMES = 250  # at 10 Hz
TABLE_WIDTH = 130  # where there is no terminal
ROAD_SHARE = 0.5  # a cell of which so much is road counts as road
LEAD_RANGES_M, SIGN_RANGES_M = ((0, 10), (10, 20), (20, 40), (40, 60)), ((0, 10), (10, 25), (25, 40), (40, 60))


@dataclass(frozen=True)
class EvalConfig:
    """Settings of `nanodrive perceive --eval`."""

    data: Path | None = None
    """folder of `nanodrive generate`; default: frames of the split are made in data/perception-SPLIT"""
    split: str = "test"
    """towns to judge on: test or val"""
    frames: int = 1000
    """frames to make when no folder is named"""
    weights: Path | None = None
    """checkpoint without its ending; default: the shipped one"""
    backend: str = "onnx"
    """who computes the network: onnx or torch"""
    odd_cameras: bool = False
    """judge frames of other cameras than the one that drives, too"""
    workers: int = 2
    """processes that make frames"""
    drives: int = 56
    """drives of 25 s through towns of the split, on which passed signs and lights are judged; 0: none"""
    seed: int = 0
    """of the bootstrap, and of frames that are made"""

    def __post_init__(self) -> None:
        require(self.split in ("test", "val"), f"split is {self.split}; give test or val")
        require(self.backend in ("onnx", "torch"), f"backend is {self.backend}; give onnx or torch")
        require_within(self, [("frames", 1, 10_000), ("workers", 1, 256), ("drives", 0, 200), ("seed", 0, 2**31)])


def run(config: EvalConfig) -> dict[str, Any]:
    """Judge a checkpoint, print the tables, and return all figures.

    Raises DatasetError for frames and CheckpointError for weights that cannot be used.
    """
    folder = config.data or Path("data") / f"perception-{config.split}"
    if config.data is None:
        made = {f"{config.split}_frames": config.frames}
        generate.run(GenerateConfig(**{"out": folder, "train_frames": 0, "val_frames": 0, "workers": config.workers,
                                       "usual_share": 0.6 if config.odd_cameras else 1.0,
                                       "seed": config.seed} | made))  # type: ignore[arg-type]
    frames = dataset.read(folder, config.split)
    if not config.odd_cameras:
        frames = of_usual_camera(frames)
    perceiver = Perceiver.load(config.weights, frames.camera, config.backend)
    percept = perceiver.perceive_all(frames.rgb, frames.labels["command"], has_bar=True)
    result = judge(percept, frames.labels, frames.camera, np.random.default_rng(config.seed))
    if config.drives:
        towns = list(SPLITS[config.split])[-config.drives:]
        passed = passing.judge_drives(perceiver, towns, DRIVE_FRAMES)
        result["figures"] |= {name: {"value": value, "floor": None} for name, value in plain(passed.figures()).items()}
        result["drives"] = asdict(passed)
    console = Console()
    _print(result, console if console.is_terminal else Console(width=TABLE_WIDTH))
    return {"split": config.split, "frames": len(frames), "data": str(folder), **result}


def of_usual_camera(frames: Frames) -> Frames:
    """The frames taken by the camera that drives. Raises DatasetError if there is none."""
    usual = dataset.by_usual_camera(frames)
    if not len(usual):
        raise generate.DatasetError("no frame was taken by the usual camera; generate more, or give --odd-cameras")
    return usual


def judge(percept: Percept, labels: dict[str, Array], camera: CameraConfig, rng: np.random.Generator) -> dict[str, Any]:
    """All figures: value, 95 % interval and floor of each; those that are ratios also by weather. nan becomes None."""
    count = len(labels["path_m"])
    floor = metrics.constant(labels, count)  # constants fitted to these very frames: the best that constants can do
    ours, trivial = ratios(percept, labels, camera), ratios(floor, labels, camera)
    figures: dict[str, dict[str, float | None]] = {}
    for name, (over, under) in ours.items():
        low, high = interval(lambda rows, a=over, b=under: _divide(a[rows], b[rows]), count, rng)  # type: ignore[misc]
        figures[name] = {"value": _divide(over, under), "low": low, "high": high,
                         "floor": _divide(*trivial[name]) if name in trivial else None}
    for name, value in wholes(percept, labels, camera).items():
        figures[name] = {"value": value, "floor": 0.0 if "_ap" in name else None}
    weather = {kind: {"frames": int(rows.sum()), **{name: _divide(over[rows], under[rows])
                                                     for name, (over, under) in ours.items()}}
               for number, kind in enumerate(WEATHERS) if (rows := labels["weather"] == number).any()}
    told: dict[str, Any] = plain({"figures": figures, "by_weather": weather})
    return told


def ratios(percept: Percept, labels: dict[str, Array], camera: CameraConfig) -> Ratios:
    """Figures that are sums over pictures divided by sums; a name that ends in a range is of things so far away."""
    found = _path(percept, labels) | _lines(percept, labels, camera) | _lead(percept, labels) | _stop(percept, labels)
    found |= _signs(percept, labels)
    if hasattr(percept, "drivable"):
        found |= _road(percept.drivable, labels["drivable"])
    if hasattr(percept, "vehicle_box_px"):
        found |= _lead_vehicle(percept, labels, camera)
    if hasattr(percept, "my_light"):
        found |= _my_light(percept.my_light, labels)
    return found


def wholes(percept: Percept, labels: dict[str, Array], camera: CameraConfig) -> dict[str, float]:
    """COCO's AP of things, and calibration errors."""
    found: dict[str, float] = {}
    for prefix, asked in _asked_of(percept, labels).items():
        for suffix in ("", "_any") if asked.kind == "sign" else ("",):
            scores = _precision(percept, labels, camera, asked, by_class=not suffix)
            found |= {f"{prefix}_{name}{suffix}": value for name, value in scores.items()}
    return found | {f"{head}_ece": expected_error(*claims)
                    for head, claims in claims_of(percept, labels, camera.width_px).items()}


@dataclass(frozen=True, eq=False)
class _Asked:
    """One kind of things whose AP is asked: classes of those there (N, K) and of those told (N, M), -1 for none."""

    kind: str
    names: tuple[str, ...]
    truth: Array
    told: Array
    is_near: Array | None = None  # (N, K) bool: those not near are neither right nor wrong


def _asked_of(percept: Percept, labels: dict[str, Array]) -> dict[str, _Asked]:
    """What the percept has of things, by the name of its figures."""
    signs, phases = tuple(sign.name for sign in SIGNS), tuple(phase.name.lower() for phase in Phase)
    names = {"sign": signs, "light": phases}
    found = {kind: _Asked(kind, names.get(kind, (kind,)), there, told)
             for kind, (told, there) in classes_of(percept, labels).items()}
    found["sign_25m"] = replace(found["sign"], is_near=labels["sign_distance_m"] < SIGN_NEAR_M)
    return found


def _precision(percept: Percept, labels: dict[str, Array], camera: CameraConfig, asked: _Asked,
               by_class: bool) -> dict[str, float]:
    def rows(values: Array, classes: Array) -> list[Array]:
        return [row[kinds >= 0] for row, kinds in zip(values, classes, strict=True)]
    truth, told = asked.truth, asked.told
    known = coco_json(rows(labels[f"{asked.kind}_box_px"], truth), rows(truth, truth), list(asked.names),
                      camera.width_px, camera.height_px,
                      is_asked=None if asked.is_near is None else rows(asked.is_near, truth))
    return average_precision(known, coco_results(*(rows(values, told) for values in (
        getattr(percept, f"{asked.kind}_box_px"), told, getattr(percept, f"{asked.kind}_confidence")))), by_class)


def _divide(over: Array, under: Array) -> float:
    return float(over.sum() / under.sum()) if under.sum() > 0 else math.nan


def _each(values: Array, where: Array) -> tuple[Array, Array]:
    """Sum and number by picture of values (N, ...) where it holds."""
    rows = (len(values), -1)
    return np.where(where, values, 0.0).reshape(rows).sum(1), where.reshape(rows).sum(1).astype(float)


def _f1(hits: Array, told: Array, there: Array) -> tuple[Array, Array]:
    """F1 as a ratio of sums, from counts by picture (N,)."""
    return 2.0 * hits, np.asarray(told, float) + there


def _path(percept: Percept, labels: dict[str, Array]) -> Ratios:
    lateral = metrics.lateral_errors(percept.path_m, labels["path_m"])
    turned = metrics.heading_errors(percept.path_m, labels["path_m"])
    follows = np.broadcast_to(labels["command"][:, [Command.FOLLOW]] > 0, lateral.shape)
    where = {"": np.ones_like(lateral, bool), "_along_lanes": follows, "_at_junctions": ~follows}
    return {f"path_{name}{part}": _each(values, rows) for part, rows in where.items()
            for name, values in (("lateral_m", lateral), ("heading_deg", turned))}


def _lines(percept: Percept, labels: dict[str, Array], camera: CameraConfig) -> Ratios:
    """CULane's F1 and TuSimple's rates of the own lane's lines, and of all four if the network tells them."""
    found: Ratios = {}
    kinds = {"own_lane": ("boundaries_px", lane_rows(camera))}
    if hasattr(percept, "lanes_px"):
        kinds["lane"] = ("lanes_px", anchor_rows(camera))
    for prefix, (field, rows) in kinds.items():
        table = np.array([_picture_lines(told, truth, rows, camera) for told, truth in zip(
            getattr(percept, field), labels[field], strict=True)])
        hits, false, missed, accuracy, false_rate, missed_rate = table.T
        ones = np.ones(len(table))
        found |= {f"{prefix}_culane_f1": _f1(hits, hits + false, hits + missed),
                  f"{prefix}_tusimple_accuracy": (accuracy, ones), f"{prefix}_tusimple_fp": (false_rate, ones),
                  f"{prefix}_tusimple_fn": (missed_rate, ones)}
    return found


def _picture_lines(told: Array, truth: Array, rows: Array, camera: CameraConfig) -> tuple[float, ...]:
    """CULane's counts and TuSimple's rates of one picture."""
    counts = culane(as_points(told, rows), as_points(truth, rows), camera.width_px, camera.height_px)
    lanes, wanted = (lines[np.isfinite(lines).sum(1) >= 2] for lines in (told, truth))
    score = tusimple(lanes, wanted, rows, camera.width_px)
    return (*counts, score.accuracy if len(wanted) else 1.0 - score.false_positive, score.false_positive,
            score.false_negative)


def _lead(percept: Percept, labels: dict[str, Array]) -> Ratios:
    truth = labels["lead_m"].clip(0.5, LEAD_MAX_M)
    error, there = np.abs(percept.lead_m - truth) / truth, labels["lead_m"] < LEAD_MAX_M
    found = {"lead_abs_rel": _each(error, there), "lead_abs_rel_0_40m": _each(error, there & (truth < 40))}
    return found | {f"lead_abs_rel_{low}_{high}m": _each(error, there & (truth >= low) & (truth < high))
                    for low, high in LEAD_RANGES_M}


def _lead_vehicle(percept: Percept, labels: dict[str, Array], camera: CameraConfig) -> Ratios:
    """The vehicle ahead on the path within LEAD_NEAR_M: F1 of "there is one", and relative error of its distance."""
    there = np.isfinite(labels["vehicle_distance_m"])
    truth = _nearest_on_path(labels["path_m"], labels["vehicle_box_px"], labels["vehicle_distance_m"], there, camera)
    told = _nearest_on_path(percept.path_m, percept.vehicle_box_px, percept.vehicle_distance_m,
                            percept.vehicle_confidence > 0, camera)
    both = np.isfinite(truth) & np.isfinite(told)
    error = np.abs(np.where(both, told, 1.0) / np.where(both, truth, 1.0) - 1)
    return {"lead_vehicle_f1": _f1(both.astype(float), np.isfinite(told), np.isfinite(truth)),
            "lead_vehicle_abs_rel": _each(error, both)}


def _nearest_on_path(path_m: Array, box_px: Array, distance_m: Array, there: Array, camera: CameraConfig) -> Array:
    """Distance (N,) of the nearest vehicle (N, K) whose box the path runs into within LEAD_NEAR_M, inf without one."""
    found = np.full(len(path_m), np.inf)
    for row, path in enumerate(path_m):
        ahead = np.maximum.accumulate(path[:, 0])
        aside = np.interp(distance_m[row] + camera.forward_m, ahead, path[:, 1])
        column = camera.width_px / 2 - camera.focal_px * aside / np.maximum(distance_m[row], 0.5)
        is_on = there[row] & (box_px[row, :, 0] <= column) & (column <= box_px[row, :, 2])
        near = distance_m[row][is_on & (distance_m[row] < LEAD_NEAR_M)]
        found[row] = near.min() if len(near) else np.inf
    return found


def _stop(percept: Percept, labels: dict[str, Array]) -> Ratios:
    distance = labels["stop_m"]
    asked = distance >= BLIND_STOP_M
    there = asked & np.isfinite(distance) & (labels["stop_kind"] == Control.STOP)
    told = asked & (percept.stop_confidence > SEEN_SHARE)
    return {"stop_f1": _f1(told & there, told, there),
            "stop_mae_m": _each(np.abs(percept.stop_m - np.where(there, distance, 0.0)), there)}


def _signs(percept: Percept, labels: dict[str, Array]) -> Ratios:
    """Share of the signs that are found (IoU 0.5), and found and rightly named, by distance."""
    there = labels["sign_class"] >= 0
    told = (percept.sign_class != NO_SIGN)[:, None]
    hit = told & (metrics.boxes_iou(labels["sign_box_px"][:, :, None], percept.sign_box_px[:, None]) >= 0.5)
    is_found, is_read = hit.any(2), (hit & (labels["sign_class"][:, :, None] == percept.sign_class[:, None])).any(2)
    found: Ratios = {}
    for low, high in SIGN_RANGES_M:
        inside = there & (labels["sign_distance_m"] >= low) & (labels["sign_distance_m"] < high)
        found |= {f"sign_found_{low}_{high}m": _each(is_found.astype(float), inside),
                  f"sign_read_{low}_{high}m": _each(is_read.astype(float), inside)}
    return found


def _road(told: Array, truth: Array) -> Ratios:
    """IoU of road and of the rest, pooled over cells; shares are 0 to 255 or 0 to 1."""
    masks = [values > ROAD_SHARE * (255 if values.dtype == np.uint8 else 1) for values in (told, truth)]
    found: Ratios = {}
    for name, (a, b) in (("road_iou", masks), ("other_iou", [~mask for mask in masks])):
        found[name] = ((a & b).sum((1, 2)).astype(float), (a | b).sum((1, 2)).astype(float))
    return found


def _my_light(told: Array, labels: dict[str, Array]) -> Ratios:
    """Phase of the light that binds, within NEAR_LIGHT_M; and reds that are called green, which nothing excuses."""
    asked = light_is_asked(labels)
    red = asked & (labels["my_light"] == Phase.RED)
    return {"my_light_accuracy": _each((told == labels["my_light"]).astype(float), asked),
            "red_called_green": _each((told == Phase.GREEN).astype(float), red)}


def _print(result: dict[str, Any], console: Console) -> None:
    """The table of figures, and the main ones by weather."""
    table = Table("figure", "value", "95 % interval", "floor", title="perception on unseen towns")
    for name, row in result["figures"].items():
        span = "" if row.get("low") is None else f"{row['low']:.3f} to {row['high']:.3f}"
        table.add_row(name, _told(row["value"]), span, _told(row["floor"]))
    console.print(table)
    names = [name for name in result["figures"] if name in next(iter(result["by_weather"].values()))
             and (not name.endswith("m") or name in ("path_lateral_m", "sign_read_10_25m", "stop_mae_m"))]
    table = Table("figure", *result["by_weather"], title="by weather")
    table.add_row("frames", *(str(part["frames"]) for part in result["by_weather"].values()))
    for name in names:
        table.add_row(name, *(_told(part[name]) for part in result["by_weather"].values()))
    console.print(table)


def _told(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
