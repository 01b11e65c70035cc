"""What the car sees: the frozen network on a batch of frames, its second look and its reader.

A `Percept` is one instant; what is remembered over time is tracker.py's. No ground truth enters here, and no driving
is decided here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.progress import track

from envs.config import CameraConfig
from envs.geometry import Array
from envs.labels import LEAD_MAX_M, STOP_MAX_M
from envs.roads.network import Control
from envs.signs import SIGN_INDEX, SIGNS
from envs.state import EGO_SHAPE
from perception import checkpoint
from perception.calibration import UNCHANGED, OddsMap, mapped, share_of
from perception.checkpoint import CheckpointError
from perception.export import OnnxNet
from perception.finder import KINDS, PEAK_SHARE, is_twin
from perception.glimpse import GROUNDED, SETTLED, Glimpse, ground_m, stacked
from perception.model import DriveNet, ModelConfig, frozen
from perception.namer import Namer
from perception.surroundings import Surroundings, own_phase, points_of_lines, said

WEIGHTS = Path(__file__).parent / "weights" / "perception"
READER = WEIGHTS.with_name("reader")  # a namer that has learned how this camera shows the town's signs
NO_SIGN = -1
MARGIN = 0.1  # of a sign's size, left about it on each side for the reader when it learns
MARGINS = (0.05, 0.14)  # and when it is asked: the mean of two looks is right more often than one
CAMERA_TO_BUMPER_M = EGO_SHAPE.front_m - CameraConfig().forward_m
STOP_SIGN, YIELD_SIGN = SIGN_INDEX["stop"], SIGN_INDEX["yield"]
SIGN_SAYS = 5.0  # log odds that a sign read for certain adds to the kind of its line
SIGN, LIGHT = (KINDS.index(kind) for kind in ("sign", "light"))
ON_GROUND = [KINDS.index(kind) for kind in GROUNDED]
GLIMPSED_FROM = np.array([0.15, 0.15, 0.2, 0.15], np.float32)[:, None]  # of KINDS; fainter ones are not asked
AGAIN_FROM = np.array([[0.25 if kind in SETTLED else np.inf] for kind in KINDS], np.float32)  # once looked at
BATCH = 50  # frames that are looked at together
PATH_ERROR_M = 0.5  # expected lateral error at which the path's confidence is one half, before it is calibrated


@dataclass(frozen=True, eq=False)
class Percept:
    """What one look at N frames says; lengths in metres, pixels of the full frame, confidences in [0, 1]."""

    path_m: Array  # (N, 12, 2) float32, ego frame, at PATH_STATIONS_M along the way the command asks for
    path_confidence: Array  # (N,) float32, that it lies within claims.PATH_RIGHT_M on average, up to 20 m ahead
    boundaries_px: Array  # (N, 2, 16) float32, u of the own lane's left and right boundary at LANE_ROWS rows; nan: none
    boundary_confidence: Array  # (N, 2) float32, mean over the points given that one is there and right, 0 without any
    lead_m: Array  # (N, 20) float32, nearest obstacle by image column, up to LEAD_MAX_M
    stop_m: Array  # (N,) float32, front bumper to the next line across the lane, up to STOP_MAX_M
    stop_confidence: Array  # (N,) float32, that a stop line (no yield line) lies within STOP_MAX_M
    sign_box_px: Array  # (N, 8, 4) float32, left, top, right, bottom
    sign_class: Array  # (N, 8) int64, row of SIGNS, -1: none
    sign_confidence: Array  # (N, 8) float32
    sign_distance_m: Array  # (N, 8) float32, from the camera
    sign_bearing_rad: Array  # (N, 8) float32, left positive
    embedding: Array  # (N, 32) float32 in [-1, 1]
    around: Surroundings | None = None  # what else is seen, if the network has the heads for it

    def __getattr__(self, name: str) -> Any:
        """The fields of `around` as the percept's own; without these heads it has no such attribute."""
        if name.startswith("__") or name == "around" or self.around is None:
            raise AttributeError(name)
        return getattr(self.around, name)


def joined(looks: Sequence[Percept], rows: Array | slice = slice(None)) -> Percept:
    """Percepts of several batches of frames as one, or of it the frames `rows`, in their order."""
    def join(parts: Sequence[Any]) -> dict[str, Any]:
        return {field.name: np.concatenate([getattr(part, field.name) for part in parts])[rows]
                for field in fields(parts[0]) if field.name != "around"}
    around = [look.around for look in looks if look.around is not None]
    return Percept(**join(looks), around=Surroundings(**join(around)) if around else None)


def _eight_bits(model: DriveNet) -> Callable[[torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]:
    """QuantisedNet, imported only where it is asked for: it draws frames to calibrate on."""
    from perception.quantise import QuantisedNet

    return QuantisedNet(model)


# Who computes the network: a row takes the model, and gives a function of (image, command) as `DriveNet.forward` is.
BACKENDS: dict[str, Callable[[DriveNet], Callable[[torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]]] = {
    "onnx": OnnxNet, "torch": frozen, "onnx-int8": _eight_bits}


class Perceiver:
    """The network frozen for use. Deterministic for a given batch; torch's thread count is the caller's."""

    def __init__(self, model: DriveNet, camera: CameraConfig | None = None, backend: str = "onnx",
                 namer: Namer | None = None, glimpse: Glimpse | None = None) -> None:
        self._net, self._namer, self._glimpse = BACKENDS[backend](model), namer, glimpse
        self._odds = model.odds
        self.camera = camera or CameraConfig()

    @staticmethod
    def load(stem: Path | None = None, camera: CameraConfig | None = None, backend: str = "onnx") -> Perceiver:
        """The trained perceiver at `stem` (default: the shipped one), for a camera of any size and the trained view.

        Raises CheckpointError when the files are missing or odd, or were trained for another kind of view.
        """
        source = stem or WEIGHTS
        model, trained = load_network(source)
        if camera is not None:
            _require_same_view(camera, trained, source)
        by = "torch" if backend == "torch" else "onnx"
        return Perceiver(model, camera or trained, backend, Namer.load(READER, by), Glimpse.load(backend=by))

    def perceive(self, camera: Array, command: Array) -> Percept:
        """Look at frames uint8 (N, H, W, 3) with commands (N, 10) of the navigation."""
        height, width = camera.shape[1:3]
        view = replace(self.camera, width_px=width, height_px=height)
        with torch.inference_mode():
            outputs = self._net(torch.from_numpy(np.ascontiguousarray(camera)),
                                torch.from_numpy(np.ascontiguousarray(command, np.float32)))
        out = {name: value.numpy() for name, value in outputs.items()}
        if self._glimpse is not None:
            out |= _looked_again(self._glimpse, camera, out, view)
        is_given, sure = points_of_lines(out["boundary_logit"], out["boundary_log_spread"])
        stop_m = (out["stop"] * STOP_MAX_M).clip(0, STOP_MAX_M)
        box_px = out["box"][:, SIGN] * np.array([width, height, width, height], np.float32)
        peak, distance_m = out["peak"][:, SIGN], out["distance_m"][:, SIGN]
        sign_class, share = _named(self._namer, camera, box_px, peak >= PEAK_SHARE)
        return calibrated(Percept(
            path_m=out["path"],
            path_confidence=1 / (1 + np.exp(out["path_log_error"].clip(-6, 6)) / PATH_ERROR_M),
            boundaries_px=np.where(is_given, out["boundary"] * width, np.float32(np.nan)),
            boundary_confidence=sure,
            lead_m=np.exp(out["lead"].clip(-1, math.log(LEAD_MAX_M))),
            stop_m=stop_m,
            stop_confidence=_stop_share(out["stop_logits"], stop_m, distance_m, sign_class, peak * share),
            sign_box_px=box_px, sign_class=sign_class,
            sign_confidence=np.where(sign_class == NO_SIGN, np.float32(0), peak * share),
            sign_distance_m=distance_m,
            sign_bearing_rad=np.arctan((width / 2 - box_px[:, :, [0, 2]].mean(2)) / view.focal_px),
            embedding=out["embedding"],
            around=said(out, width, height),
        ), self._odds)

    def perceive_all(self, camera: Array, command: Array, has_bar: bool = False) -> Percept:
        """`perceive` on any number of frames, in batches, with a progress bar if it is asked for."""
        starts = track(range(0, len(camera), BATCH), "look", disable=not has_bar)
        return joined([self.perceive(camera[k:k + BATCH], command[k:k + BATCH]) for k in starts])


def _looked_again(glimpse: Glimpse, camera: Array, out: dict[str, Array], view: CameraConfig) -> dict[str, Array]:
    """Boxes, peaks, distances and phases after glimpses at each thing that is not too faint, and at what may hang above
    and below a sign; and what the own light shows, by the phases seen so.

    Boxes of SETTLED may be so far off that a glimpse at them shows half of the thing: another one settles them.
    """
    size = np.array([view.width_px, view.height_px] * 2, np.float32)
    most = out["peak"].shape[2]
    given_px, peak = stacked(out["box"] * size, out["peak"])
    is_asked = peak >= GLIMPSED_FROM
    looked = glimpse.look(camera, given_px, is_asked)
    peak, distance_m = np.sqrt(peak * looked.share), np.tile(out["distance_m"], (1, 1, 3))
    settled = glimpse.look(camera, looked.box_px, is_asked & (peak >= AGAIN_FROM))
    seen_m = np.exp(looked.log_distance) * ground_m(given_px, view)
    distance_m[:, ON_GROUND] = np.where(is_asked, seen_m, distance_m)[:, ON_GROUND]
    told = {"box": settled.box_px / size, "peak": peak, "distance_m": distance_m}
    order = np.argsort(-peak, axis=2, kind="stable")  # those above and below signs compete with the rest
    order[:, LIGHT] = np.arange(order.shape[2])  # as their phases are
    new = {name: np.take_along_axis(values, order.reshape(*order.shape, *[1] * (values.ndim - 3)), 2)[:, :, :most]
           for name, values in told.items()}
    new["peak"] = np.where(is_twin(torch.from_numpy(new["box"])).numpy(), np.float32(0), new["peak"])
    is_read = is_asked[:, LIGHT, :most]
    phases = np.where(is_read[..., None], looked.phases[:, :most], out["light_phases"])
    return new | {"light_phases": phases, "light_share": own_phase(out | {"light_phases": phases}, is_read)}


def calibrated(percept: Percept, odds: Mapping[str, OddsMap]) -> Percept:
    """The percept with its confidences as the maps of log odds by head say (claims.py); what is told stays."""
    if not odds or percept.around is None:
        return percept
    around, rows = percept.around, np.arange(len(percept.path_m))
    before = around.my_light_confidence
    sure = mapped(before, odds.get("my_light", UNCHANGED))
    share = around.my_light_share * ((1 - sure) / np.maximum(1 - before, 1e-6))[:, None]
    share[rows, around.my_light] = sure
    around = replace(around, my_light_share=share.astype(np.float32), **_mapped(around, odds))
    return replace(percept, around=around, **_mapped(percept, odds))


def _mapped(seen: Percept | Surroundings, odds: Mapping[str, OddsMap]) -> dict[str, Array]:
    """The confidences of a percept's or its surroundings' own fields for which there are maps."""
    own = {field.name for field in fields(seen)}
    names = {head: head if head == "drivable" else f"{head}_confidence" for head in odds}
    return {name: mapped(getattr(seen, name), odds[head]) for head, name in names.items() if name in own}


def _named(namer: Namer | None, camera: Array, box_px: Array, is_asked: Array) -> tuple[Array, Array]:
    """Row of SIGNS (N, 8) and its share, of the boxes (N, 8, 4) that are asked for (N, 8); -1 for the rest.

    Without a namer no sign has a name.
    """
    named = np.full(is_asked.shape, NO_SIGN), np.zeros(is_asked.shape, np.float32)
    if namer is None:
        return named
    asked = np.argwhere(is_asked)
    looks = [square(camera[frame], box_px[frame, k], margin) for margin in MARGINS for frame, k in asked]
    shares = namer.name(looks).reshape(len(MARGINS), len(asked), len(SIGNS) + 1).mean(0)
    best = shares.argmax(1)
    named[0][is_asked] = np.where(best == len(SIGNS), NO_SIGN, best)
    named[1][is_asked] = shares[np.arange(len(best)), best]
    return named


def square(frame: Array, box_px: Array, margin: float = MARGIN) -> Array:
    """The square around a box and a margin of its longer side; outside the frame (H, W, 3) its border goes on, so that
    what is cut by it keeps its shape."""
    half = max(float((box_px[2:] - box_px[:2]).max()) * (1 + 2 * margin), 2.0) / 2
    (left, top), (right, bottom) = ((box_px[:2] + box_px[2:]) / 2 + step for step in (-half, half))
    rows, above, below = _inside(float(top), float(bottom), frame.shape[0])
    columns, before, behind = _inside(float(left), float(right), frame.shape[1])
    part = frame[rows, columns]
    if above or below or before or behind:
        return np.asarray(cv2.copyMakeBorder(part, above, below, before, behind, cv2.BORDER_REPLICATE))
    return np.ascontiguousarray(part)


def _inside(begin: float, end: float, size: int) -> tuple[slice, int, int]:
    """Of pixels begin to end, two at least: those within 0 to size, one at least; how many lie before and behind."""
    first = round(begin)
    count = max(round(end) - first, 2)
    part = slice(min(max(first, 0), size - 1), max(min(first + count, size), 1))
    before = max(min(-first, count - 1), 0)
    return part, before, count - before - (part.stop - part.start)


def load_network(source: Path) -> tuple[DriveNet, CameraConfig]:
    """A trained network and the camera it was trained for. Raises CheckpointError as Perceiver.load does."""
    tensors, meta = checkpoint.load(source)
    try:
        model, trained = DriveNet(ModelConfig(**meta["model"])), CameraConfig(**meta["camera"])
        model.odds = {str(head): (float(scale), float(shift)) for head, (scale, shift) in meta.get("odds", {}).items()}
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{source} does not describe a perception network ({error}); train again") from error
    checkpoint.restore(model, tensors, source)
    return model, trained


def _stop_share(logits: Array, stop_m: Array, sign_m: Array, sign_class: Array, sign_share: Array) -> Array:
    """How likely a stop line lies ahead (N,): the line from the glance, its kind also from the signs beside it.

    Both kinds of line look alike from afar; a sign (N, 8) as far away as the line settles which it is.
    """
    is_beside = np.abs(sign_m - CAMERA_TO_BUMPER_M - stop_m[:, None]) < np.maximum(4.0, 0.35 * stop_m[:, None])
    says = (sign_class == STOP_SIGN).astype(np.float32) - (sign_class == YIELD_SIGN)
    odds = logits[:, Control.STOP] - logits[:, Control.YIELD] + SIGN_SAYS * (says * sign_share * is_beside).sum(1)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    is_line = 1 - shares[:, Control.NONE] / shares.sum(1)
    return (is_line * share_of(odds)).astype(np.float32)


def _require_same_view(camera: CameraConfig, trained: CameraConfig, source: Path) -> None:
    """Raise CheckpointError unless both cameras see the same view, whatever their size in pixels."""
    views = {"aspect": camera.width_px / camera.height_px - trained.width_px / trained.height_px}
    for name in ("horizontal_fov_deg", "height_m", "forward_m", "pitch_deg"):
        views[name] = getattr(camera, name) - getattr(trained, name)
    for name, difference in views.items():
        if abs(difference) > 0.02:
            raise CheckpointError(f"{source} was trained for another camera ({name} differs by {difference:.3g}); "
                                  "use the trained view, or train perception for this camera")
