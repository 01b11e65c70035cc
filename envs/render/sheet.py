"""Contact sheets of the world, for people to judge what cameras see: towns, both cameras side by side, hard cases.

`python -m envs.render.sheet towns docs/frames.png`, and likewise `cameras`, `cases`, `signs` and `weather`, make those
in the documentation.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from envs.config import CameraConfig, DriveConfig
from envs.geometry import Array, ego_from_world
from envs.render.camera import RENDERERS, pose_of
from envs.render.scene import Light, build_scene, light_of
from envs.signs import LOOKS, SIGNS, face, look_of, outline_of
from envs.state import ActorKind, Control, PropKind, WorldState
from envs.weather import WEATHERS, weather_of
from envs.world import World
from scenarios.spec import BUSY_STREETS, Obstacle, Scenario

TOWNS, COLUMNS = range(6), 3
PAIRED_TOWNS = range(2, 5)
CAMERA = CameraConfig(width_px=384, height_px=192)
SIGN_AHEAD_M = 9.5  # of the camera car's rear axle
ROUTE_SHARE = 0.55  # where on its route a town is seen
FRAME_PX = 4  # black between pictures
CASE_TOWNS, CASE_COLUMNS = (3, 11, 12, 20), 4  # a town in each column
JUNCTION_AHEAD_M = 9.0
NEIGHBOURS = (Obstacle(route_station_m=6.0), Obstacle(route_station_m=4.6, lateral_m=2.9, heading_deg=180),
              Obstacle(route_station_m=5.5, lateral_m=-1.0, heading_deg=70),
              Obstacle(route_station_m=5.0, lateral_m=0.6, kind="pedestrian"))  # from the camera car's rear axle
WEATHER_TOWN = 10005
SUN_AHEAD, SUN_BESIDE_RAD = ("low_sun", "dusk"), 0.25
SIGN_AWAY_M = (32.0, 20.0, 12.0, 7.0)
HIDDEN_FROM_M, HIDER_BEFORE_M = 16.0, (3.2, 3.8, 4.4, 5.0)
HIDER_ASIDE_M, VAN_M = 1.0, (4.4, 1.9, 2.6)
SUN_TURN_DEG = (0, 90, 180, 270)  # of the driver's heading, to the left
LOW_SUN = math.radians(15)
BUSY_TOWNS, BUSY_STEPS, BUSY_AHEAD_M = range(10_000, 10_008), 150, 14.0
SIGN_PX, SIGN_COLUMNS, SIGN_GROUND = 128, 11, 112


def _at(state: WorldState, line_m: Array, station_m: Array, at_m: float) -> WorldState:
    """The same instant with the ego car at a station of a polyline (N, 2), along it."""
    (x, y), (ahead_x, ahead_y) = ([float(np.interp(s, station_m, line_m[:, k])) for k in range(2)]
                                  for s in (at_m, at_m + 0.5))
    return replace(state, ego=replace(state.ego, x_m=x, y_m=y, yaw_rad=float(np.arctan2(ahead_y - y, ahead_x - x))))


def _start(town_seed: int, obstacles: tuple[Obstacle, ...] = ()) -> WorldState:
    world = World(DriveConfig(camera=CAMERA))
    start = world.reset(Scenario(name="sheet", town_seed=town_seed, obstacles=obstacles),
                        np.random.default_rng(town_seed))
    world.close()
    return start


def _before_sign(state: WorldState, away_m: float) -> tuple[WorldState, int]:
    """Before one of the town's signs, of another kind in each town, and the sign's row."""
    signs = state.town.signs
    kinds = signs.sign - state.town.seed % len(SIGNS)
    row = int(np.argmin(np.where(kinds < 0, kinds + len(SIGNS), kinds)))
    lane = state.town.network.lanes[signs.lane[row]]
    return _at(state, lane.centre_m, lane.station_m, max(0.0, signs.station_m[row] - away_m)), row


def _on_route(state: WorldState, at_m: float) -> WorldState:
    return _at(state, state.route.points_m, state.route.station_m, at_m)


def views(town_seed: int) -> Iterator[WorldState]:
    """A town seen before one of its signs and on the way."""
    start = _start(town_seed)
    yield _before_sign(start, SIGN_AHEAD_M)[0]
    yield _on_route(start, ROUTE_SHARE * start.route.length_m)


def _junction(state: WorldState) -> WorldState:
    """Before the first junction on the route that is not at its start."""
    lanes = state.town.network.lanes
    ends = np.cumsum([lanes[k].length_m for k in state.route.lanes])
    at_m = next(end for k, end in zip(state.route.lanes[1:], ends, strict=False)
                if lanes[k].junction is not None and end > 2 * JUNCTION_AHEAD_M)
    return _on_route(state, at_m - JUNCTION_AHEAD_M)


def _beside(state: WorldState, neighbour: Obstacle) -> WorldState:
    """Halfway along the route, with somebody placed as seen from the camera car."""
    at_m = ROUTE_SHARE * state.route.length_m
    there = neighbour.model_copy(update={"route_station_m": neighbour.route_station_m + at_m})
    return _on_route(_start(state.town.seed, (there,)), at_m)


def _hidden_sign(state: WorldState, before_m: float) -> WorldState:
    """Before a sign of which a van, the town's last actor moved there, hides a part."""
    view, row = _before_sign(state, HIDDEN_FROM_M)
    (x, y, yaw), ego = view.town.signs.pose[row], view.ego
    away_m = math.hypot(x - ego.x_m, y - ego.y_m)
    ahead_x, ahead_y = (x - ego.x_m) / away_m, (y - ego.y_m) / away_m
    pose, size = view.actors.pose.copy(), view.actors.size_m.copy()
    pose[-1] = (x - before_m * ahead_x + HIDER_ASIDE_M * ahead_y, y - before_m * ahead_y - HIDER_ASIDE_M * ahead_x, yaw)
    size[-1] = VAN_M
    return replace(view, actors=replace(view.actors, pose=pose, size_m=size))


def cases() -> Iterator[tuple[WorldState, Light]]:
    """What is hard to draw, a row of pictures each: towns, junctions, close by, signs, half hidden, low sun."""
    starts = [_start(seed) for seed in CASE_TOWNS]
    rows = [[_on_route(start, ROUTE_SHARE * start.route.length_m) for start in starts],
            [_junction(start) for start in starts],
            [_beside(start, neighbour) for start, neighbour in zip(starts, NEIGHBOURS, strict=True)],
            [_before_sign(start, away_m)[0] for start, away_m in zip(starts, SIGN_AWAY_M, strict=True)],
            [_hidden_sign(start, before_m) for start, before_m in zip(starts, HIDER_BEFORE_M, strict=True)]]
    yield from ((state, light_of(state.town)) for row in rows for state in row)
    here = _on_route(starts[0], 0.3 * starts[0].route.length_m)
    for turn in np.radians(SUN_TURN_DEG) + here.ego.yaw_rad:
        sun = math.cos(turn) * math.cos(LOW_SUN), math.sin(turn) * math.cos(LOW_SUN), math.sin(LOW_SUN)
        yield here, replace(light_of(here.town), sun=sun)


def busy_junction(town_seed: int) -> WorldState:
    """A quarter of a minute into a busy town's life: before the junction with most road users in view."""
    state = _busy(town_seed, str(BUSY_STREETS.get("weather", "clear")))
    network, actors = state.town.network, state.actors
    best, most = state, -1.0
    for junction in network.junctions:
        for lane in (network.lanes[k] for k in junction.incoming if network.lanes[k].length_m > 2 * BUSY_AHEAD_M):
            view = _at(state, lane.centre_m, lane.station_m, lane.length_m - BUSY_AHEAD_M)
            ahead, aside = ego_from_world(view.ego.pose, actors.pose[:, :2]).T
            is_free = np.hypot(ahead - 3.0, aside).min(initial=np.inf) > 6.0
            seen = (ahead > 6) & (ahead < 50) & (np.abs(aside) < 0.75 * ahead)
            count = np.where(actors.kind[seen] == ActorKind.VEHICLE, 1.0, 1.5) @ (0.5 + (ahead[seen] < 30))
            if is_free and count > most:
                best, most = view, float(count)
    return best


def draw_junctions(renderer: str = "raster") -> Array:
    """Eight busy junctions of val towns as uint8 (H, W, 3) RGB, two rows of four, each in the weather of its town."""
    states = [busy_junction(seed) for seed in BUSY_TOWNS]
    camera = RENDERERS[renderer](CAMERA)
    pictures = [camera.render(build_scene(state), pose_of(CAMERA, state.ego)).rgb for state in states]
    camera.close()
    return _tiled(pictures, CASE_COLUMNS)


def _busy(town_seed: int, weather: str = "clear") -> WorldState:
    """A quarter of a minute into a busy town's life."""
    world = World(DriveConfig(camera=CAMERA))
    scenario = Scenario(name="sheet", town_seed=town_seed, **{**BUSY_STREETS, "weather": weather})
    state = world.reset(scenario, np.random.default_rng(town_seed))
    for _ in range(BUSY_STEPS):
        state = world.step(Control(0.0, -1.0))
    world.close()
    return state


def _both_ways(state: WorldState) -> tuple[WorldState, WorldState]:
    """The place on a slow street that shows most, looking both ways: road users, houses, signs, lights."""
    network, actors, town = state.town.network, state.actors, state.town
    shown = np.concatenate([actors.pose[:, :2], town.props.pose[:, :2], town.signs.pose[:, :2]])
    worth = np.concatenate([np.full(len(actors.id), 2.0), np.where(town.props.kind == PropKind.BUILDING, 1.0, 0.4),
                            np.full(len(town.signs.sign), 0.7)])
    best, most = (state, state), -1.0
    for lane in network.lanes:
        if lane.junction is not None or lane.opposite is None or lane.speed_limit_mps > 14.0:
            continue
        other = network.lanes[lane.opposite]
        for at_m in np.arange(25.0, lane.length_m - 25.0, 8.0):
            pair = (_at(state, lane.centre_m, lane.station_m, at_m),
                    _at(state, other.centre_m, other.station_m, max(other.length_m - at_m, 0.0)))
            total = 0.0
            for view in pair:
                ahead, aside = ego_from_world(view.ego.pose, shown).T
                near = np.hypot(ahead - 3.0, aside)[:len(actors.id)].min(initial=np.inf)
                seen = (ahead > 8) & (ahead < 60) & (np.abs(aside) < 0.75 * ahead)
                total += float((worth * (0.4 + (ahead < 30)))[seen].sum()) - 100.0 * (near < 7.0)
            if total > most:
                best, most = pair, total
    return best


def draw_weather(renderer: str = "raster") -> Array:
    """One street in every weather and on a wet night, looking both ways; uint8 (H, W, 3) RGB, two weathers a row."""
    pictures, camera = [], RENDERERS[renderer](CAMERA)
    for name, least_wet in (*((name, 0.0) for name in WEATHERS), ("night", 0.6)):
        views = _both_ways(_busy(WEATHER_TOWN, name))
        for seed in range(1000):  # a low sun stands ahead of the first view
            weather = weather_of(name, (WEATHER_TOWN, seed))
            ahead = views[0].ego.yaw_rad - math.atan2(*light_of(views[0].town, weather).sun[1::-1])
            is_ahead = name not in SUN_AHEAD or math.cos(ahead - SUN_BESIDE_RAD) > 0.995
            if is_ahead and weather.wetness >= least_wet:
                break
        pictures += [camera.render(build_scene(replace(view, weather=weather)), pose_of(CAMERA, view.ego)).rgb
                     for view in views]
    camera.close()
    return _tiled(pictures, 4)


def draw_sheet(renderer: str = "raster") -> Array:
    """The sheet as uint8 (H, W, 3) RGB: pictures row by row, the two views of a town one after the other."""
    return _tiled(_pictures(renderer, TOWNS), COLUMNS)


def draw_pairs() -> Array:
    """Views of three towns by both cameras, ours on the left and PyBullet's on the right; uint8 (H, W, 3) RGB."""
    ours, theirs = (_pictures(name, PAIRED_TOWNS) for name in ("raster", "bullet"))
    return _tiled([picture for pair in zip(ours, theirs, strict=True) for picture in pair], 2)


def draw_cases(renderer: str = "raster") -> Array:
    """24 cases, six rows of four, as uint8 (H, W, 3) RGB."""
    return _tiled(_shots(renderer, cases()), CASE_COLUMNS)


def cut_out(sign: int, look: int, size_px: int) -> Array:
    """One look of a sign on grey, cut along its outline with smooth edges; uint8 (S, S, 3) RGB."""
    inside = np.zeros((4 * size_px, 4 * size_px), np.uint8)
    cv2.fillConvexPoly(inside, np.round(outline_of(sign, look)[0] * 4 * size_px * 16).astype(np.int32), 255, shift=4)
    share = cv2.resize(inside, (size_px, size_px), interpolation=cv2.INTER_AREA)[..., None] / 255.0
    picture = face(sign, size_px, look_of(sign, look))
    return np.asarray(np.round(share * picture + (1 - share) * SIGN_GROUND), np.uint8)


def draw_signs() -> Array:
    """All signs new, then all worn, each as another of its looks; uint8 (H, W, 3) RGB."""
    empty = np.full((SIGN_PX, SIGN_PX, 3), SIGN_GROUND, np.uint8)
    filling = [empty] * (-len(SIGNS) % SIGN_COLUMNS)
    new = [cut_out(sign, 0, SIGN_PX) for sign in range(len(SIGNS))]
    worn = [cut_out(sign, 1 + sign % (LOOKS - 1), SIGN_PX) for sign in range(len(SIGNS))]
    return _tiled([*new, *filling, *worn, *filling], SIGN_COLUMNS, SIGN_GROUND)


def _pictures(renderer: str, towns: Iterable[int]) -> list[Array]:
    return _shots(renderer, ((state, light_of(state.town)) for seed in towns for state in views(seed)))


def _shots(renderer: str, moments: Iterable[tuple[WorldState, Light]]) -> list[Array]:
    camera = RENDERERS[renderer](CAMERA)
    pictures = [camera.render(replace(build_scene(state), light=light), pose_of(CAMERA, state.ego)).rgb
                for state, light in moments]
    camera.close()
    return pictures


def _tiled(pictures: Sequence[Array], columns: int, ground: int = 0) -> Array:
    """Pictures row by row, with FRAME_PX of black between them."""
    framed = [np.pad(picture, ((0, FRAME_PX), (0, FRAME_PX), (0, 0)), constant_values=ground) for picture in pictures]
    rows = [np.concatenate(framed[at:at + columns], axis=1) for at in range(0, len(framed), columns)]
    return np.concatenate(rows)[:-FRAME_PX, :-FRAME_PX]


SHEETS = {"towns": draw_sheet, "cameras": draw_pairs, "cases": draw_cases, "signs": draw_signs,
          "junctions": draw_junctions, "weather": draw_weather}

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in SHEETS:
        sys.exit(f"usage: python -m envs.render.sheet {'|'.join(SHEETS)} FILE.png|FILE.jpg")
    suffix = Path(sys.argv[2]).suffix
    how = [cv2.IMWRITE_PNG_COMPRESSION, 9] if suffix == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 88]
    _, encoded = cv2.imencode(suffix, SHEETS[sys.argv[1]]()[..., ::-1], how)
    Path(sys.argv[2]).write_bytes(encoded.tobytes())
