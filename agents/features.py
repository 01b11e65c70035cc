"""Camera -> the numbers a policy acts on: percepts, tracked signs, own motion and the command, bounded and named.

One batch of observations becomes one float32 matrix (N, F); the CNN runs once per frame, and what it says is laid out
in named slices (`SLICES`). A few columns are derived by plain geometry from the same percepts (the bearing of the path,
the obstacle along it, the braking that a stop line asks for): they spare the policy network from learning division.
Nothing here sees ground truth, learns, or decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from envs.config import CameraConfig
from envs.geometry import Array
from envs.labels import LANE_ROWS, LEAD_COLUMNS, LEAD_MAX_M, PATH_STATIONS_M, STOP_MAX_M
from envs.roads.routes import COMMAND_RANGE_M, END_RANGE_M
from envs.state import EGO_SHAPE
from envs.vehicle import CAR
from perception.perceiver import Perceiver, Percept, joined
from perception.tracker import Track, Tracker

PURSUIT_S = (0.35, 0.6, 1.0)  # aims of the steering columns, ahead in time
PURSUIT_M = (3.5, 30.0)  # shortest and longest aim
BEND_MPS2 = 2.5  # lateral acceleration at which a bend is taken
LIMITS_MPS = tuple(kmh / 3.6 for kmh in (30, 50, 70, 100))
EMBEDDING_SIZE = 32
BOUNDARY_ROWS = (15, 11, 7, 4, 2)  # image rows of the lane boundary, nearest first: 3.4 to 18 m at the default camera
SERVED_M = 3.5  # a line this close ahead of the last standstill has been served (the rule says 4 m)
NEAR_STOP_M = 8.0  # finer scale of the last metres to a line
CORRIDOR_M = 1.6  # half width of the way watched for obstacles: half a lane


@dataclass(frozen=True, eq=False)
class Senses:
    """What one step's features are made of: N rows each."""

    percept: Percept
    track: Track
    ego: Array  # (N, 5) float32: speed_mps, yaw_rate_radps, accel_mps2, last steer, last drive
    command: Array  # (N, 10) float32: what the navigation says (envs.roads.routes.COMMAND_HIGH)
    camera: CameraConfig


def _path_bearing(s: Senses) -> Array:
    """Sine of the direction to each path point, doubled (12): what pure pursuit steers by."""
    return 2 * s.percept.path_m[..., 1] / np.asarray(PATH_STATIONS_M)


def _path_reach(s: Senses) -> Array:
    """Share of each station that lies straight ahead (12)."""
    return s.percept.path_m[..., 0] / np.asarray(PATH_STATIONS_M)


def _path_bend(s: Senses) -> Array:
    """Change of direction between the path's 11 pieces, doubled (10)."""
    steps = np.diff(s.percept.path_m, axis=1)
    heading = np.unwrap(np.arctan2(steps[..., 1], steps[..., 0]), axis=1)
    return 2 * np.diff(heading, axis=1)


def _boundaries(s: Senses) -> Array:
    """Lateral offset of the own lane's boundaries at BOUNDARY_ROWS over 4 m (10), 0 where there is none."""
    row = np.asarray(BOUNDARY_ROWS)
    half_height = s.camera.height_px / 2
    below_px = half_height * (row + 1) / LANE_ROWS - 0.5
    depth_m = s.camera.focal_px * s.camera.height_m / below_px
    left_m = (s.camera.width_px / 2 - s.percept.boundaries_px[..., row]) * depth_m / s.camera.focal_px
    return np.nan_to_num(left_m / 4.0).reshape(len(s.ego), -1)


def _dense_path() -> Array:
    """Matrix (37, 12) that reads a path every metre from the ego origin (0, 0) to its last point."""
    station = np.concatenate([[0.0], PATH_STATIONS_M])
    at = np.arange(station[-1] + 1.0)
    return np.stack([np.interp(at, station, row) for row in np.eye(len(station))[1:]], axis=1)


DENSE_PATH = _dense_path()


def _pursuit(s: Senses) -> Array:
    """Steer that leads to a point of the path PURSUIT_S ahead, and the lateral acceleration over 5 m/s2 (6)."""
    path = DENSE_PATH @ s.percept.path_m
    columns = []
    for ahead_s in PURSUIT_S:
        at = np.clip(ahead_s * s.ego[:, 0], *PURSUIT_M)
        low = np.minimum(at.astype(int), len(DENSE_PATH) - 2)
        share = (at - low)[:, None]
        rows = np.arange(len(at))
        x, y = ((1 - share) * path[rows, low] + share * path[rows, low + 1]).T
        curvature = 2 * y / np.maximum(x**2 + y**2, 1.0)
        columns += [np.arctan(CAR.wheelbase_m * curvature) / CAR.max_steer_rad, curvature * s.ego[:, 0] ** 2 / 5.0]
    return np.stack(columns, axis=1)


def _pace(s: Senses) -> Array:
    """Braking over 5 m/s2 that the sharpest bend ahead asks for, and the speed it allows over 20 m/s (2)."""
    chord = s.percept.path_m[:, 2:] - s.percept.path_m[:, :-2]
    turn = np.diff(np.unwrap(np.arctan2(chord[..., 1], chord[..., 0]), axis=1), axis=1)
    station = np.asarray(PATH_STATIONS_M)
    spacing = (station[3:] + station[1:-2] - station[2:-1] - station[:-3]) / 2
    allowed = np.sqrt(BEND_MPS2 / np.maximum(np.abs(turn) / spacing, 1e-3))
    way = np.maximum(station[1:-2], 1.0)
    braking = (s.ego[:, :1] ** 2 - allowed**2) / (2 * way)
    return np.stack([braking.max(axis=1) / 5.0, allowed.min(axis=1) / 20.0], axis=1)


def _corridor_m(s: Senses) -> Array:
    """Distance (N,) [m] of the nearest obstacle seen within CORRIDOR_M of the path, else 60."""
    focal, width = s.camera.focal_px, s.camera.width_px
    column_px = (np.arange(LEAD_COLUMNS) + 0.5) * width / LEAD_COLUMNS
    x = s.percept.lead_m + s.camera.forward_m
    y = (width / 2 - column_px) / focal * s.percept.lead_m
    path = DENSE_PATH @ s.percept.path_m
    square = (x[:, :, None] - path[:, None, :, 0]) ** 2 + (y[:, :, None] - path[:, None, :, 1]) ** 2
    return np.where(square.min(axis=2) < CORRIDOR_M**2, s.percept.lead_m, LEAD_MAX_M).min(axis=1)


def _obstacle(s: Senses) -> Array:
    """Closeness of the obstacle along the path and the braking it asks for (2)."""
    gap = np.maximum(_corridor_m(s) + s.camera.forward_m - EGO_SHAPE.front_m, 0.1)
    return np.stack([1 - gap / LEAD_MAX_M, _braking(s, gap - 3.0)], axis=1)


def _braking(s: Senses, way_m: Array) -> Array:
    """Deceleration (N,) that halts the car within `way_m`, over 5 m/s2."""
    return s.ego[:, 0] ** 2 / (2 * np.maximum(way_m, 0.5)) / 5.0


def _stop(s: Senses) -> Array:
    """Closeness, fine closeness, confidence, 'not served yet' and the braking asked for, of the next stop line (5)."""
    stop = np.minimum(s.track.stop_m, STOP_MAX_M)
    sure = s.track.stop_confidence
    is_pending = np.clip(stop + s.track.since_stop_m - SERVED_M, 0.0, 1.0) * (stop < STOP_MAX_M)
    return np.stack([1 - stop / STOP_MAX_M, 1 - np.clip(stop / NEAR_STOP_M, -1, 1), sure, is_pending * sure,
                     is_pending * _braking(s, stop - 1.0)], axis=1)


def _limit(s: Senses) -> Array:
    """One-hot of the limit in force, how sure it is, and the speed over it in 5 m/s (6)."""
    is_row = np.argmin(np.abs(s.track.limit_mps[:, None] - np.asarray(LIMITS_MPS)), axis=1)
    over = (s.ego[:, 0] - s.track.limit_mps) / 5.0
    return np.column_stack([np.eye(len(LIMITS_MPS))[is_row], s.track.limit_confidence, over])


def _ego(s: Senses) -> Array:
    """Speed on a coarse and a fine scale, yaw rate, acceleration, last steer and drive (6)."""
    speed, yaw_rate, accel, steer, drive = s.ego.T
    return np.stack([speed / 20.0, speed / 2.0 - 1.0, yaw_rate, accel / 5.0, 2 * steer, drive], axis=1)


def _command(s: Senses) -> Array:
    """One-hot of the command, closeness and fine closeness of the manoeuvre, the same of its end, how far the way turns
    till there, and the lane change to come (12).
    """
    begin_m, end_m, turn_rad = s.command[:, 4:7].T
    return np.column_stack([s.command[:, :4], 1 - begin_m / COMMAND_RANGE_M, 1 - np.clip(begin_m / 10.0, 0, 1),
                            1 - end_m / END_RANGE_M, 1 - np.clip(end_m / 30.0, 0, 1), turn_rad / 2,
                            _lane_change(s.command[:, 7:])])


def _lane_change(said: Array) -> Array:
    """Its side, towards that side how near its begin is, and how near its end (3)."""
    side, begin_m, end_m = said.T
    return np.stack([side, side * (1 - begin_m / COMMAND_RANGE_M), side * (1 - end_m / END_RANGE_M)], axis=1)


GROUPS: dict[str, tuple[int, Callable[[Senses], Array]]] = {
    "path_bearing": (12, _path_bearing),
    "path_reach": (12, _path_reach),
    "path_bend": (10, _path_bend),
    "pursuit": (2 * len(PURSUIT_S), _pursuit),
    "pace": (2, _pace),
    "path_confidence": (1, lambda s: s.percept.path_confidence[:, None]),
    "boundaries": (2 * len(BOUNDARY_ROWS), _boundaries),
    "boundary_confidence": (2, lambda s: s.percept.boundary_confidence),
    "lead": (LEAD_COLUMNS, lambda s: 1 - s.percept.lead_m / LEAD_MAX_M),
    "obstacle": (2, _obstacle),
    "stop": (5, _stop),
    "limit": (6, _limit),
    "ego": (6, _ego),
    "command": (12, _command),
    "embedding": (EMBEDDING_SIZE, lambda s: s.percept.embedding),
}


def _slices() -> dict[str, slice]:
    ends = np.cumsum([size for size, _ in GROUPS.values()])
    return {name: slice(int(end - size), int(end)) for (name, (size, _)), end in zip(GROUPS.items(), ends, strict=True)}


SLICES = _slices()
SIZE = max(s.stop for s in SLICES.values())
NAMES = tuple(f"{name}.{i}" for name, (size, _) in GROUPS.items() for i in range(size))
BOUND = 2.0  # every feature is clipped to this


class Perceives(Protocol):
    """What features need of a perceiver."""

    def perceive(self, camera: Array, command: Array) -> Percept:
        """camera uint8 (N, H, W, 3), command float32 (N, 10)."""


def layout(senses: Senses) -> Array:
    """The feature matrix (N, SIZE) float32 of one step, each value within +-BOUND."""
    columns = [make(senses) for _, make in GROUPS.values()]
    return np.clip(np.nan_to_num(np.concatenate(columns, axis=1)), -BOUND, BOUND).astype(np.float32)


class Features:
    """Turns batches of observations of `num_envs` cars into features; remembers each car's signs and path.

    `percept` and `track` hold the last step's, for overlays and the safety monitor; the percept's path is the one
    remembered. The network's sums depend, in their last bits, on how many frames it sees at once: `batch` shows it
    exactly so many each time (0: all there are), so that a car's features do not depend on how many others there are.
    """

    size = SIZE

    def __init__(self, perceiver: Perceives, num_envs: int, dt_s: float, camera: CameraConfig, batch: int = 0) -> None:
        self.camera = camera
        self._perceiver, self._batch = perceiver, batch
        self._tracker = Tracker(num_envs, dt_s)
        self.percept: Percept | None = None
        self.track: Track | None = None

    def reset(self, mask: Array) -> None:
        """Forget what the cars have seen whose `mask` (N,) bool is set: their next observation begins an episode."""
        self._tracker.reset(mask)

    def __call__(self, observation: Mapping[str, Any], is_awake: Array | None = None) -> Array:
        """Features (N, SIZE) of observations with keys camera (N, H, W, 3), ego (N, 5) and command (N, 10).

        Nothing is looked at for cars of which `is_awake` (N,) bool is false: their features are 0.
        """
        ego, command = np.asarray(observation["ego"]), np.asarray(observation["command"])
        awake = np.ones(len(ego), bool) if is_awake is None else is_awake
        if not awake.any():
            return np.zeros((len(ego), SIZE), np.float32)
        seen = self._perceive(np.asarray(observation["camera"]), command, awake)
        self.track = self._tracker.update(seen, ego)
        self.percept = replace(seen, path_m=self.track.path_m)
        return layout(Senses(self.percept, self.track, ego, command, self.camera)) * awake[:, None]

    def peek(self, observation: Mapping[str, Any]) -> Array:
        """As a call, but nothing is remembered: for the last observation of an episode that goes on elsewhere."""
        twin = copy(self)
        twin._tracker = deepcopy(self._tracker)
        return twin(observation)

    def _perceive(self, camera: Array, command: Array, awake: Array) -> Percept:
        """Look at the frames of those `awake` (N,) bool, `batch` at a time; the last batch is filled up with its last
        frame. A percept of all N: for the others it holds what somebody else sees.
        """
        rows = np.flatnonzero(awake)
        size = self._batch or len(rows)
        if len(rows) == size == len(camera):
            return self._perceiver.perceive(camera, command)
        looks = []
        for first in range(0, len(rows), size):
            some = rows[first:first + size]
            some = np.append(some, np.repeat(some[-1:], size - len(some)))
            looks.append(self._perceiver.perceive(camera[some], command[some]))
        return joined(looks, np.cumsum(awake) - 1)


def load(camera: CameraConfig, num_envs: int, dt_s: float, batch: int = 0) -> Features:
    """Features on the shipped perception weights."""
    return Features(Perceiver.load(None, camera), num_envs, dt_s, camera, batch)
