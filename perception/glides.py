"""Short drives as labelled frames, one after the other: what faults that show only over time are judged on.

The car glides along the middle of a random route at an even speed and nobody else is about; no physics runs. Single
frames of all kinds are generate.py's business.
"""

from __future__ import annotations

import numpy as np

from envs.config import CameraConfig
from envs.labels import label
from envs.lights import phases
from envs.render.camera import RENDERERS, pose_of
from envs.render.scene import build_scene
from envs.roads.procedural import build_town
from envs.roads.routes import Route, random_route
from envs.state import Control, Town, VehicleState, WorldState, no_actors
from envs.weather import WEATHERS, weather_of
from perception.dataset import Frames
from perception.drives import View
from perception.generate import row_of

DT_S = 0.1
SPEED_MPS = 8.0


def glide(town_seed: int, weather: str, num_frames: int, camera: CameraConfig) -> Frames:
    """`num_frames` frames at 10 Hz along a route of a town, in a row of WEATHERS drawn for it, with all labels."""
    town = build_town(town_seed)
    route = random_route(town.network, np.random.default_rng([town_seed, 1]))
    renderer = RENDERERS["raster"](camera)
    rows = []
    try:
        for step in range(num_frames):
            state = _moment(town, route, step, weather)
            pose = pose_of(camera, state.ego)
            frame = renderer.render(build_scene(state), pose)
            view = View(state, SPEED_MPS * DT_S * step, "glide", list(WEATHERS).index(weather))
            rows.append(row_of(label(state, camera, pose, frame), view, camera) | {"rgb": frame.rgb.copy()})
    finally:
        renderer.close()
    columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return Frames(camera, columns.pop("rgb"), columns)


def _moment(town: Town, route: Route, step: int, weather: str) -> WorldState:
    """The world at a step of the drive."""
    station = min(SPEED_MPS * DT_S * step, route.length_m)
    x, y, yaw = (float(np.interp(station, route.station_m, values))
                 for values in (route.points_m[:, 0], route.points_m[:, 1], route.heading_rad))
    time_s = DT_S * step
    return WorldState(time_s, step, VehicleState(x, y, yaw, speed_mps=SPEED_MPS), no_actors(), (), Control(0.0, 0.0),
                      town, route, phases(town.signal_plan, time_s), weather_of(weather, town.seed))
