"""Contact sheets of the world, for people to judge what cameras see: towns, and both cameras side by side.

`python -m envs.render.sheet towns docs/frames.png` and `cameras docs/cameras.png` make those in the documentation.
Nothing is simulated here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
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
PAIRED_TOWNS = range(2, 5)
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
    return _tiled(_pictures(renderer, TOWNS), COLUMNS)


def draw_pairs() -> Array:
    """Views of three towns by both cameras, ours on the left and PyBullet's on the right; uint8 (H, W, 3) RGB."""
    ours, theirs = (_pictures(name, PAIRED_TOWNS) for name in ("raster", "bullet"))
    return _tiled([picture for pair in zip(ours, theirs, strict=True) for picture in pair], 2)


def _pictures(renderer: str, towns: Iterable[int]) -> list[Array]:
    camera = RENDERERS[renderer](CAMERA)
    pictures = [camera.render(build_scene(state), pose_of(CAMERA, state.ego)).rgb
                for seed in towns for state in views(seed)]
    camera.close()
    return pictures


def _tiled(pictures: Sequence[Array], columns: int) -> Array:
    """Pictures row by row, with FRAME_PX of black between them."""
    framed = [np.pad(picture, ((0, FRAME_PX), (0, FRAME_PX), (0, 0))) for picture in pictures]
    rows = [np.concatenate(framed[at:at + columns], axis=1) for at in range(0, len(framed), columns)]
    return np.concatenate(rows)[:-FRAME_PX, :-FRAME_PX]


SHEETS = {"towns": draw_sheet, "cameras": draw_pairs}

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in SHEETS:
        sys.exit(f"usage: python -m envs.render.sheet {'|'.join(SHEETS)} FILE.png")
    _, encoded = cv2.imencode(".png", SHEETS[sys.argv[1]]()[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    Path(sys.argv[2]).write_bytes(encoded.tobytes())
