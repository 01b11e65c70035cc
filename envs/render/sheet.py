"""A contact sheet of the world: two views from each of some towns, for people to judge what cameras see.

`python -m envs.render.sheet docs/frames.png` makes the one in the documentation. Nothing is simulated here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from envs.config import CameraConfig, DriveConfig
from envs.geometry import Array
from envs.render.camera import RENDERERS, pose_of
from envs.render.scene import build_scene
from envs.signs import SIGNS
from envs.state import WorldState
from envs.world import World
from scenarios.spec import Scenario

TOWNS, COLUMNS = range(6), 3
CAMERA = CameraConfig(width_px=384, height_px=192)
SIGN_AHEAD_M = 9.5  # of the camera car's rear axle
ROUTE_SHARE = 0.55  # where on its route a town is seen
FRAME_PX = 4  # black between pictures


def _at(state: WorldState, line_m: Array, station_m: Array, at_m: float) -> WorldState:
    """The same instant with the ego car at a station of a polyline (N, 2), along it."""
    (x, y), (ahead_x, ahead_y) = ([float(np.interp(s, station_m, line_m[:, k])) for k in range(2)]
                                  for s in (at_m, at_m + 0.5))
    return replace(state, ego=replace(state.ego, x_m=x, y_m=y, yaw_rad=float(np.arctan2(ahead_y - y, ahead_x - x))))


def views(town_seed: int) -> Iterator[WorldState]:
    """A town seen before one of its signs, of another kind in each town, and on the way."""
    world = World(DriveConfig(camera=CAMERA))
    start = world.reset(Scenario(name="sheet", town_seed=town_seed), np.random.default_rng(town_seed))
    world.close()
    signs, route, lanes = start.town.signs, start.route, start.town.network.lanes
    kinds = signs.sign - town_seed % len(SIGNS)
    row = int(np.argmin(np.where(kinds < 0, kinds + len(SIGNS), kinds)))
    lane = lanes[signs.lane[row]]
    yield _at(start, lane.centre_m, lane.station_m, max(0.0, signs.station_m[row] - SIGN_AHEAD_M))
    yield _at(start, route.points_m, route.station_m, ROUTE_SHARE * route.length_m)


def draw_sheet(renderer: str = "raster") -> Array:
    """The sheet as uint8 (H, W, 3) RGB: pictures row by row, the two views of a town one after the other."""
    camera = RENDERERS[renderer](CAMERA)
    pictures = [np.pad(camera.render(build_scene(state), pose_of(CAMERA, state.ego)).rgb,
                       ((0, FRAME_PX), (0, FRAME_PX), (0, 0))) for seed in TOWNS for state in views(seed)]
    camera.close()
    rows = [np.concatenate(pictures[at:at + COLUMNS], axis=1) for at in range(0, len(pictures), COLUMNS)]
    return np.concatenate(rows)[:-FRAME_PX, :-FRAME_PX]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m envs.render.sheet FILE.png")
    _, encoded = cv2.imencode(".png", draw_sheet()[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    Path(sys.argv[1]).write_bytes(encoded.tobytes())
