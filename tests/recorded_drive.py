"""A short recorded drive for tests: 24 steps that swerve and hit nothing, with what a driver could have perceived."""

import dataclasses
import functools

import numpy as np

from envs.config import CameraConfig, DriveConfig
from envs.driving_env import DrivingEnv
from envs.history import arrays_of
from envs.signs import SIGN_INDEX
from scenarios import recording, spec
from scenarios.recording import Recording

SCENARIO = spec.Scenario(name="short", town_seed=3, route_min_m=60.0, route_max_m=90.0, parked_cars_per_km=60.0,
                         start_speed_mps=8.0, obstacles=(spec.Obstacle(route_station_m=40.0, lateral_m=-1.0,
                                                                       kind="pedestrian", speed_mps=1.0),))
DRIVE = DriveConfig(camera=CameraConfig(width_px=160, height_px=80), renderer="none")
SEED, STEPS = 11, 24
SIGN_BOX_PX = (100, 30, 108, 38)


@functools.cache
def driven():
    """(all states, the environment after the drive)."""
    env = DrivingEnv(DRIVE, ends="evaluation")
    env.reset(seed=SEED, options={"scenario": SCENARIO})
    states = [env.state]
    for k in range(STEPS):
        env.advance(np.array([0.1 * np.sin(k), 0.3]))
        states.append(env.state)
    env.close()
    return states, env


def percept():
    """Fields of a Percept without its batch axis: a straight path, two boundaries, one limit of 50 at SIGN_BOX_PX."""
    path = np.stack([np.array([2, 4, 6, 8, 10, 12.5, 15, 18, 21, 25, 30, 36]), np.zeros(12)], axis=1)
    rows = 80 * (0.5 + 0.5 * (np.arange(16) + 1) / 16) - 0.5
    values = {"path_m": path, "boundaries_px": np.stack([80 - 1.5 * (rows - 40), 80 + 1.5 * (rows - 40)]),
              "boundary_confidence": [0.9, 0.8], "lead_m": np.linspace(5, 60, 20), "sign_box_px": [SIGN_BOX_PX] * 4,
              "sign_confidence": [0.95, 0.0, 0.0, 0.0], "sign_distance_m": [14.0] * 4}
    return {name: np.asarray(value, np.float32) for name, value in values.items()} | {
        "sign_class": np.array([SIGN_INDEX["limit_50"], -1, -1, -1])}


def recorded():
    """The drive as a Recording."""
    states, env = driven()
    arrays = arrays_of(states) | {f"percept_{name}": np.repeat(value[None], STEPS, axis=0)
                                  for name, value in percept().items()}
    header = {"version": recording.RECORDING_VERSION, "scenario": SCENARIO.model_dump(mode="json"), "seed": SEED,
              "config": dataclasses.asdict(DRIVE), "policy": "test", "score": dataclasses.asdict(env.score()),
              "state_sha256": recording.state_digest(arrays), "frame_sha256": None}
    return Recording(header, arrays)
