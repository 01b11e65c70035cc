"""One picture of a drive, for people: the driver's view with what it saw, the town from above, controls and score.

It draws values it is given and knows neither files nor policies; scenarios/replay.py puts the pictures in a row.
Colours mean the same everywhere: green what the driver saw or planned, blue the route, red a fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from envs.config import CameraConfig
from envs.geometry import Array, interpolate, offset_polyline, resample, world_from_ego
from envs.render.birdseye import EGO, PLAN, ROUTE, BirdseyeView, draw_birdseye
from envs.render.camera import pose_of, project_points
from envs.render.lettering import Colour, text_width, write
from envs.roads.network import Command
from envs.rules import SPEEDING_MPS, Facts
from envs.signs import SIGNS
from envs.state import Control, WorldState

SIZE_PX = (1280, 720)  # width, height; both even, as H.264 wants
BACK, PANEL, DIM, FAINT, INK, FAULT = (16, 18, 22), (28, 31, 37), (148, 156, 168), (58, 64, 74), (240, 242, 245), EGO
LANE, SEEN_SIGN, THROTTLE = (255, 214, 64), (64, 224, 255), (92, 214, 120)
VIEW_BOX, MAP_BOX, PEDAL_BOX, TERM_BOX, PROGRESS_BOX = (  # left, top, width, height
    (16, 16, 848, 424), (880, 16, 384, 474), (16, 452, 848, 204), (880, 502, 384, 154), (16, 668, 1248, 36))
MIN_CONFIDENCE = 0.3
LEAD_MAX_M = 60.0
WHEEL_TURN_DEG = 200.0  # of the drawn wheel at full lock
RIBBON_M = 0.75  # half width of the drawn path


@dataclass(frozen=True, eq=False)
class Traces:
    """A whole episode, T steps: what the charts and the progress line show."""

    title: str
    dt_s: float
    speed_mps: Array  # (T+1,)
    limit_mps: Array  # (T+1,)
    control: Array  # (T, 2) steer, drive
    completion: Array  # (T+1,) 0 to 1
    faults: tuple[tuple[int, str], ...]  # step, name
    ending: str  # the verdict, shown at the last instant

    @property
    def num_steps(self) -> int:
        return len(self.control)


@dataclass(frozen=True, eq=False)
class Moment:
    """One instant of it."""

    step: int
    state: WorldState
    rgb: Array  # uint8 (H, W, 3), the driver's view
    camera: CameraConfig  # that drew `rgb`
    facts: Facts
    control: Control  # the one given at this instant
    terms: Mapping[str, float]  # factors of the reward, 0 to 1
    trail_m: Array  # (N, 2) where the car has been
    percept: Mapping[str, Array] | None = None  # fields of perception's Percept without the batch axis
    percept_camera: CameraConfig | None = None  # in whose pixels they are


def draw(traces: Traces, moment: Moment) -> Array:
    """The picture uint8 (720, 1280, 3)."""
    image = np.full((SIZE_PX[1], SIZE_PX[0], 3), BACK, np.uint8)
    _place(image, VIEW_BOX, _view(traces, moment))
    plan = None if moment.percept is None else moment.percept["path_m"]
    birdseye = BirdseyeView(MAP_BOX[2], MAP_BOX[3], px_per_m=5.0)
    _place(image, MAP_BOX, draw_birdseye(moment.state, birdseye, moment.trail_m, plan))
    _pedals(_cut(image, PEDAL_BOX), traces, moment)
    _terms(_cut(image, TERM_BOX), traces, moment)
    _progress(_cut(image, PROGRESS_BOX), traces, moment)
    return image


def _cut(image: Array, box: tuple[int, int, int, int]) -> Array:
    """The part of the picture inside a box, painted as a panel."""
    left, top, width, height = box
    part = image[top:top + height, left:left + width]
    part[:] = PANEL
    return part


def _place(image: Array, box: tuple[int, int, int, int], picture: Array) -> None:
    left, top, width, height = box
    image[top:top + height, left:left + width] = picture


def _view(traces: Traces, moment: Moment) -> Array:
    """The driver's view scaled to its box, with overlays and captions."""
    _, _, width, height = VIEW_BOX
    scale = min(width / moment.camera.width_px, height / moment.camera.height_px)
    camera = replace(moment.camera, width_px=round(moment.camera.width_px * scale),
                     height_px=round(moment.camera.height_px * scale))
    picture = cv2.resize(moment.rgb, (camera.width_px, camera.height_px), interpolation=cv2.INTER_CUBIC)
    overlay_view(picture, camera, moment)
    image = np.zeros((height, width, 3), np.uint8)
    top, left = (height - camera.height_px) // 2, (width - camera.width_px) // 2
    image[top:top + camera.height_px, left:left + camera.width_px] = picture
    _caption(image, traces, moment)
    return image


def overlay_view(picture: Array, camera: CameraConfig, moment: Moment) -> None:
    """Draw what the driver saw onto its view in place; without a percept, the route ahead."""
    if moment.percept is None:
        route, here = moment.state.route, moment.facts.route_m
        at = np.arange(here + 4.0, min(here + 36.0, route.length_m), 1.0)
        ahead = interpolate(route.points_m, route.station_m, at)
        _ribbon(picture, camera, moment, ahead, ROUTE)
        return
    percept, seen = moment.percept, moment.percept_camera or camera
    zoom = camera.width_px / seen.width_px
    path = resample(np.asarray(percept["path_m"], float), 1.0)
    _ribbon(picture, camera, moment, world_from_ego(moment.state.ego.pose, path), PLAN)
    rows = seen.height_px * (0.5 + 0.5 * (np.arange(percept["boundaries_px"].shape[1]) + 1) / 16) - 0.5
    for line, confidence in zip(percept["boundaries_px"], percept["boundary_confidence"], strict=True):
        points = np.stack([line, rows], axis=1)[np.isfinite(line)] * zoom
        if confidence > MIN_CONFIDENCE and len(points) > 1:
            _stroke(picture, points, LANE, 2)
    _leads(picture, percept["lead_m"])
    for k in np.flatnonzero(percept["sign_confidence"] > MIN_CONFIDENCE):
        if percept["sign_class"][k] >= 0:
            _sign(picture, percept["sign_box_px"][k] * zoom, int(percept["sign_class"][k]),
                  float(percept["sign_confidence"][k]), float(percept["sign_distance_m"][k]))


def _ribbon(picture: Array, camera: CameraConfig, moment: Moment, path_m: Array, colour: Colour) -> None:
    """A translucent band on the road along a path (N, 2) in the world."""
    if len(path_m) < 2:
        return
    edges = np.concatenate([offset_polyline(path_m, RIBBON_M), offset_polyline(path_m, -RIBBON_M)[::-1]])
    pixels = project_points(camera, pose_of(camera, moment.state.ego), np.pad(edges, ((0, 0), (0, 1))))
    pixels = pixels[np.isfinite(pixels[:, 0])][:, :2]
    if len(pixels) < 3:
        return
    painted = picture.copy()
    cv2.fillPoly(painted, [_fixed(pixels)], colour, cv2.LINE_AA, 4)
    cv2.addWeighted(painted, 0.38, picture, 0.62, 0, dst=picture)
    _stroke(picture, pixels, colour, 1, is_closed=True)


def _leads(picture: Array, lead_m: Array) -> None:
    """A strip along the lower edge: how near the nearest obstacle is in each column, red near, clear far."""
    height, width = picture.shape[:2]
    edges = np.linspace(0, width, len(lead_m) + 1).round().astype(int)
    for left, right, distance in zip(edges, edges[1:], lead_m, strict=False):
        near = float(np.clip(1 - distance / LEAD_MAX_M, 0, 1))
        part = picture[height - 7:, left + 1:right - 1].astype(np.float32)
        colour = np.array([255, 200 * (1 - near), 40], np.float32)
        picture[height - 7:, left + 1:right - 1] = (part + near * (colour - part)).astype(np.uint8)


def _sign(picture: Array, box_px: Array, sign: int, confidence: float, distance_m: float) -> None:
    left, top, right, bottom = box_px
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    _stroke(picture, corners, SEEN_SIGN, 2, is_closed=True)
    label = f"{SIGNS[sign].name.replace('_', ' ')}  {confidence:.2f}  {distance_m:.0f} m"
    width = text_width(label, 14) + 10
    x = float(np.clip(left, 0, max(picture.shape[1] - width, 0)))
    y = top - 22 if top > 70 else bottom + 4
    _shade(picture, (round(x), round(y), width, 19), 0.65)
    write(picture, label, (x + 5, y + 9), 14, SEEN_SIGN)


def _caption(image: Array, traces: Traces, moment: Moment) -> None:
    """Title and clock on top, the next manoeuvre in the middle, the verdict at the end."""
    width = image.shape[1]
    _shade(image, (0, 0, width, 34), 0.55)
    write(image, traces.title, (12, 17), 16, INK)
    write(image, f"{moment.state.time_s:5.1f} s", (width - 12, 17), 16, INK, anchor=(1, 0.5))
    shaft, distance = _next(moment.state.route.command_at(moment.facts.route_m))
    _shade(image, (width // 2 - 66, 44, 132, 44), 0.5)
    _arrow(image[44:88, width // 2 - 64:width // 2 - 20], shaft, INK if distance else DIM)
    write(image, distance or "follow", (width // 2 - 12, 66), 18, INK)
    if moment.step == traces.num_steps:
        _shade(image, (0, image.shape[0] // 2 - 30, width, 60), 0.7)
        write(image, traces.ending, (width / 2, image.shape[0] / 2), 24, INK, anchor=(0.5, 0.5), is_bold=True)


def _next(said: Array) -> tuple[Array, str]:
    """Shaft of the arrow, and how far ahead, of what the navigation (10,) wants first: a manoeuvre or a lane change."""
    command, manoeuvre_m, end_m, _, side, begin_m = Command(int(said[:len(Command)].argmax())), *said[len(Command):-1]
    if side and begin_m < manoeuvre_m:
        return CHANGE_ARROWS[int(side)], f"{begin_m:.0f} m"
    return ARROWS[command], "" if command == Command.FOLLOW else f"{manoeuvre_m or end_m:.0f} m"


CHANGE_ARROWS: dict[int, Array] = {  # as those below, by the side of a lane change
    1: np.array([[0.65, 0.85], [0.65, 0.62], [0.35, 0.42], [0.35, 0.2]]),
    -1: np.array([[0.35, 0.85], [0.35, 0.62], [0.65, 0.42], [0.65, 0.2]]),
}
ARROWS: dict[Command, Array] = {  # shaft from the bottom to the tip, in a unit square
    Command.FOLLOW: np.array([[0.5, 0.85], [0.5, 0.2]]),
    Command.STRAIGHT: np.array([[0.5, 0.85], [0.5, 0.2]]),
    Command.LEFT: np.array([[0.68, 0.85], [0.68, 0.42], [0.2, 0.42]]),
    Command.RIGHT: np.array([[0.32, 0.85], [0.32, 0.42], [0.8, 0.42]]),
}


def _arrow(image: Array, shaft: Array, colour: tuple[int, int, int]) -> None:
    size = image.shape[0]
    shaft = shaft * size
    _stroke(image, shaft, colour, 4)
    along = (shaft[-1] - shaft[-2]) / np.hypot(*(shaft[-1] - shaft[-2]))
    across = np.array([-along[1], along[0]])
    head = shaft[-1] + size * np.array([0.14 * along, -0.12 * along + 0.2 * across, -0.12 * along - 0.2 * across])
    cv2.fillPoly(image, [_fixed(head)], colour, cv2.LINE_AA, 4)


def _pedals(image: Array, traces: Traces, moment: Moment) -> None:
    """Speed, limit, steering wheel, pedals, and their course over the whole drive."""
    speed, limit = 3.6 * moment.state.ego.speed_mps, 3.6 * moment.facts.speed_limit_mps
    is_fast = moment.facts.overspeed_mps > SPEEDING_MPS
    write(image, f"{abs(speed):.0f}", (104, 62), 56, FAULT if is_fast else INK, anchor=(1, 0.5), is_bold=True)
    write(image, "km/h", (112, 78), 16, DIM)
    cv2.circle(image, (80, 148), 30, (206, 32, 38), -1, cv2.LINE_AA)
    cv2.circle(image, (80, 148), 23, (246, 246, 244), -1, cv2.LINE_AA)
    write(image, f"{limit:.0f}", (80, 148), 22, (20, 20, 22), anchor=(0.5, 0.5), is_bold=True)
    _wheel(image, (222, 100), 58, moment.control.steer)
    write(image, f"steer {moment.control.steer:+.2f}", (222, 182), 14, DIM, anchor=(0.5, 0.5))
    _bar(image, (312, 34, 20, 132), max(moment.control.drive, 0.0), THROTTLE, "throttle")
    _bar(image, (366, 34, 20, 132), max(-moment.control.drive, 0.0), FAULT, "brake")
    _chart(image[10:104, 420:836], moment.step, {
        "limit km/h": (3.6 * traces.limit_mps, (206, 82, 82)), "speed km/h": (3.6 * traces.speed_mps, INK)}, 0.0,
        max(60.0, 3.6 * float(max(traces.limit_mps.max(), traces.speed_mps.max())) * 1.3))
    _chart(image[108:198, 420:836], moment.step, {
        "steer": (traces.control[:, 0], ROUTE), "drive": (traces.control[:, 1], THROTTLE)}, -1.05, 1.05)


def _wheel(image: Array, centre: tuple[int, int], radius: int, steer: float) -> None:
    """A steering wheel, turned to the left for a positive `steer`."""
    cv2.circle(image, centre, radius, (92, 99, 110), 9, cv2.LINE_AA)
    for spoke_deg in (90.0, 0.0, 180.0):  # down, right, left in picture coordinates
        angle = np.radians(spoke_deg - steer * WHEEL_TURN_DEG)
        end = np.array(centre) + radius * np.array([np.cos(angle), np.sin(angle)])
        _stroke(image, np.array([centre, end]), (92, 99, 110), 8)
    top = np.radians(-90.0 - steer * WHEEL_TURN_DEG)
    mark = np.array(centre) + radius * np.array([np.cos(top), np.sin(top)])
    cv2.circle(image, (round(mark[0]), round(mark[1])), 7, ROUTE, -1, cv2.LINE_AA)
    cv2.circle(image, centre, 14, (92, 99, 110), -1, cv2.LINE_AA)


def _bar(image: Array, box: tuple[int, int, int, int], share: float, colour: Colour, name: str) -> None:
    """An upright bar filled from below, 0 to 1."""
    left, top, width, height = box
    image[top:top + height, left:left + width] = FAINT
    filled = round(height * min(max(share, 0.0), 1.0))
    image[top + height - filled:top + height, left:left + width] = colour
    write(image, name, (left + width / 2, top + height + 16), 13, DIM, anchor=(0.5, 0.5))


def _chart(image: Array, step: int, curves: Mapping[str, tuple[Array, Colour]], low: float, high: float) -> None:
    """Curves over the whole drive: bright up to now, dim after it, with a legend and a line at zero."""
    image[:] = (22, 25, 30)
    height, width = image.shape[:2]
    zero = (height - 1) * high / (high - low)
    cv2.line(image, (0, round(zero)), (width - 1, round(zero)), FAINT, 1)
    legend = 6
    for name, (values, colour) in curves.items():
        x = np.linspace(0, width - 1, len(values))
        y = (height - 3) * (high - np.clip(values, low, high)) / (high - low) + 1
        points = np.stack([x, y], axis=1)
        _stroke(image, points, tuple(int(0.35 * c) for c in colour), 1)
        _stroke(image, points[:step + 1], colour, 2)
        _shade(image, (legend - 4, 2, text_width(name, 12) + 8, 15), 0.8)
        write(image, name, (legend, 9), 12, colour)
        legend += text_width(name, 12) + 14
    now = round((width - 1) * step / max(len(values) - 1, 1))
    cv2.line(image, (now, 0), (now, height - 1), DIM, 1)


def _terms(image: Array, traces: Traces, moment: Moment) -> None:
    """The reward's factors as bars, and the faults so far."""
    for k, (name, value) in enumerate(moment.terms.items()):
        y = 18 + 19 * k
        write(image, name, (12, y), 13, DIM)
        image[y - 6:y + 6, 86:286] = FAINT
        image[y - 6:y + 6, 86:86 + round(200 * min(max(value, 0.0), 1.0))] = THROTTLE if value > 0.5 else FAULT
        write(image, f"{value:.2f}", (330, y), 13, INK, anchor=(1, 0.5))
    counts: dict[str, int] = {}
    for step, name in traces.faults:
        if step <= moment.step:
            counts[name] = counts.get(name, 0) + 1
    faults = ",  ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items())
    write(image, f"faults: {faults or 'none'}", (12, 136), 14, FAULT if faults else DIM)


def _progress(image: Array, traces: Traces, moment: Moment) -> None:
    """The way along the route, with a red mark where a fault happened."""
    width = image.shape[1] - 190
    done = float(traces.completion[moment.step])
    cv2.rectangle(image, (12, 14), (12 + width, 22), FAINT, -1)
    cv2.rectangle(image, (12, 14), (12 + round(width * done), 22), ROUTE, -1)
    for step, _ in traces.faults:
        x = 12 + round(width * float(traces.completion[min(step, traces.num_steps)]))
        cv2.line(image, (x, 8), (x, 28), FAULT, 3, cv2.LINE_AA)
    cv2.circle(image, (12 + round(width * done), 18), 9, INK, -1, cv2.LINE_AA)
    write(image, f"{100 * done:.0f} % of {moment.state.route.length_m:.0f} m", (image.shape[1] - 14, 18), 15, INK,
          anchor=(1, 0.5))


def _shade(image: Array, box: tuple[int, int, int, int], share: float) -> None:
    """Darken a box."""
    left, top, width, height = box
    part = image[max(top, 0):top + height, max(left, 0):left + width]
    part[:] = (part * (1 - share)).astype(np.uint8)


def _fixed(points_px: Array) -> Array:
    return np.clip(np.asarray(points_px) * 16, -2**26, 2**26).round().astype(np.int32).reshape(-1, 1, 2)


def _stroke(image: Array, points_px: Array | Sequence[Array], colour: Sequence[int], width_px: int,
            is_closed: bool = False) -> None:
    cv2.polylines(image, [_fixed(np.asarray(points_px))], is_closed, tuple(colour), width_px, cv2.LINE_AA, 4)
