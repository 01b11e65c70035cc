"""Truth dressed as perception, for tests of driving: frames that carry a Percept's numbers, and eyes that read them.

`OracleEnv` writes what a perfect perceiver would say (plus noise, if wanted) into the bytes of its camera image;
`OracleEyes` stands where the CNN stands. So the whole line from observation to PPO runs at over 500 steps/s.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.expert import aim
from agents.features import EMBEDDING_SIZE, Features
from envs.config import CameraConfig
from envs.driving_env import DrivingEnv
from envs.geometry import Array, ego_from_world
from envs.labels import LANE_ROWS, LEAD_COLUMNS, LEAD_MAX_M, PATH_STATIONS_M, STOP_MAX_M
from envs.roads.network import Control
from envs.signs import SIGNS
from envs.state import EGO_SHAPE, WorldState
from perception.perceiver import Percept

PATH_SIZE = 2 * len(PATH_STATIONS_M)
NUMBERS = PATH_SIZE + 3  # the path, stop distance, limit, lane half width


def truth(state: WorldState) -> Array:
    """(NUMBERS,) float32: path in the ego frame, bumper to stop line, speed limit, half lane width."""
    ego, route = state.ego, state.route
    station, _ = route.locate(ego.x_m, ego.y_m)
    path = ego_from_world(ego.pose, np.array([aim(route, station, d) for d in PATH_STATIONS_M]))
    lines = [at - station - EGO_SHAPE.front_m for at, control in route.stops if control == Control.STOP]
    stop = min([gap for gap in lines if 0 <= gap < STOP_MAX_M], default=STOP_MAX_M)
    here = route.index_at(station)
    rest = [stop, route.speed_limit_mps[here], route.width_m[here] / 2]
    return np.concatenate([path.ravel(), rest]).astype(np.float32)


class OracleEnv(DrivingEnv):
    """The environment with truth in its pixels."""

    def observe(self) -> dict[str, Any]:
        observation = super().observe()
        camera = np.zeros_like(observation["camera"])
        camera.reshape(-1)[:4 * NUMBERS] = truth(self.state).view(np.uint8)
        return {**observation, "camera": camera}


class OracleEyes:
    """Reads the numbers back. `noise` is the size of errors: lateral share of the station, and of the distance."""

    def __init__(self, noise: float = 0.0, seed: int = 0) -> None:
        self._noise, self._rng = noise, np.random.default_rng(seed)

    def perceive(self, camera: Array, command: Array) -> Percept:
        n = len(camera)
        numbers = np.ascontiguousarray(camera.reshape(n, -1)[:, :4 * NUMBERS]).view(np.float32)
        path = numbers[:, :PATH_SIZE].reshape(n, -1, 2).copy()
        path[..., 1] += self._rng.normal(0, self._noise, (n, 1)) * np.asarray(PATH_STATIONS_M)
        stop = numbers[:, PATH_SIZE] * (1 + self._rng.normal(0, self._noise, n))
        return Percept(
            path_m=path, path_confidence=np.ones(n, np.float32),
            boundaries_px=np.full((n, 2, LANE_ROWS), np.nan, np.float32),
            boundary_confidence=np.zeros((n, 2), np.float32), lead_m=np.full((n, LEAD_COLUMNS), LEAD_MAX_M, np.float32),
            stop_m=np.minimum(stop, STOP_MAX_M).astype(np.float32),
            stop_confidence=(numbers[:, PATH_SIZE] < STOP_MAX_M).astype(np.float32),
            sign_box_px=np.zeros((n, 4, 4), np.float32), sign_class=_limit_sign(numbers[:, PATH_SIZE + 1]),
            sign_confidence=np.ones((n, 4), np.float32), sign_distance_m=np.full((n, 4), 8.0, np.float32),
            sign_bearing_rad=np.full((n, 4), -0.4, np.float32), embedding=np.zeros((n, EMBEDDING_SIZE), np.float32))


def oracle_features(camera: CameraConfig, num_envs: int, dt_s: float, batch: int) -> Features:
    """What a fleet's `eyes` make, without a network."""
    return Features(OracleEyes(), num_envs, dt_s, camera, batch)


def _limit_sign(limit_mps: Array) -> Array:
    """(N, 4) rows of SIGNS: the sign of the limit in force, always 8 m ahead on the right, and no other."""
    speeds = np.array([sign.speed_mps or np.inf for sign in SIGNS])
    row = np.argmin(np.abs(limit_mps[:, None] - speeds), axis=1)
    return np.stack([row, *[np.full(len(row), -1)] * 3], axis=1)
