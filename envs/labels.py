"""Ground truth for a frame: what perception learns to say, from WorldState plus class, instance and depth buffers.

Positions and distances come from the state, never from the picture; the buffers only tell what of it can be seen. A
policy may not take Labels unless it declares itself privileged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

from envs.config import CameraConfig
from envs.geometry import Array, ego_from_world, interpolate
from envs.lane_lines import OWN, anchor_rows, lines_ahead
from envs.lights import head_centres
from envs.render.boxes import INSTANCE_ACTOR, INSTANCE_LIGHT, INSTANCE_SIGN
from envs.render.camera import CameraPose, Frame, project_points
from envs.render.scene import SemanticClass
from envs.render.signals import BOARD_M, HOUSING_M, IS_LIT, LAMP_M, LAMP_STEP_M, VISOR_M
from envs.roads.network import Control
from envs.roads.routes import Route
from envs.signs import outline_of
from envs.state import EGO_SHAPE, ActorKind, Phase, SignalHeads, Town, WorldState

PATH_STATIONS_M = (2.0, 4.0, 6.0, 8.0, 10.0, 12.5, 15.0, 18.0, 21.0, 25.0, 30.0, 36.0)
LANE_ROWS = 16
DRIVABLE_ROWS, DRIVABLE_COLUMNS = 40, 80
LEAD_COLUMNS = 20
LEAD_MAX_M = 60.0
STOP_MAX_M = 40.0
SIGN_MAX_M = 60.0
_CORNERS = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
_HOUSING = np.concatenate([np.column_stack([np.full(4, x), _CORNERS * HOUSING_M[1:]])  # to the ends of the visors
                           for x in (-HOUSING_M[0] / 2, HOUSING_M[0] / 2 + VISOR_M[0])])
_HEAD = (_HOUSING, np.concatenate([_HOUSING, np.column_stack([np.full(4, -0.09), _CORNERS * BOARD_M[1:]])]))
_LAMPS = np.column_stack([np.full(3, HOUSING_M[0] / 2 + LAMP_M[0]), np.zeros(3), np.array([1, 0, -1]) * LAMP_STEP_M])
SIGN_MIN_PX = 3.0
SIGN_MIN_VISIBLE = 0.3
SIGN_FACING_COS = 0.3  # a face turned farther away cannot be read
LIGHT_FACING_COS = 0.5  # from farther aside the visors hide the lamps
LIGHT_MAX_M = 60.0
LIGHT_MIN_PX = 2.0  # across: a lamp is then as large as a pixel
USER_MAX_M = 100.0  # road users farther away, or than one can see through fog, are left out
USER_MIN_PX = 3.0  # the shorter side of a road user's box
USER_MIN_PIXELS = 12  # that show it
_ROAD = np.zeros(256, np.uint8)
_ROAD[[SemanticClass.ROAD, SemanticClass.MARKING, SemanticClass.STOP_LINE]] = 255
_OBSTACLES = np.zeros(256, bool)
_OBSTACLES[[SemanticClass.BUILDING, SemanticClass.VEGETATION, SemanticClass.VEHICLE, SemanticClass.PEDESTRIAN,
            SemanticClass.CYCLIST]] = True


@dataclass(frozen=True, eq=False)
class Labels:
    """What is true of one frame. Lengths in metres, pixels of the full frame; S signs and L heads of
    traffic lights, nearest first.
    """

    path_m: Array  # (12, 2) float32, ego frame, route points PATH_STATIONS_M ahead; straight on past the route's end
    boundaries_px: Array  # (2, 16) float32, u of the own lane's left and right edge at lane_rows(); nan: not there
    lanes_px: Array  # (4, 32) float32, u of the four lines of lane_lines.py at anchor_rows(); nan: not there
    lane_marking: Array  # (4,) int64, Marking of each line where it enters the picture, NONE if it does not
    drivable: Array  # (40, 80) uint8, share of each cell's pixels that show road or its paint, 255 for all
    vehicle_box_px: Array  # (V, 4) float32, left, top, right, bottom of the pixels that show it; nearest first
    vehicle_distance_m: Array  # (V,) float32, smallest depth of its pixels
    person_box_px: Array  # (P, 4) float32, of people on foot and cyclists
    person_kind: Array  # (P,) int64 of ActorKind
    person_distance_m: Array  # (P,) float32
    sign_box_px: Array  # (S, 4) float32, left, top, right, bottom, clipped to the frame
    sign_class: Array  # (S,) int64, row of SIGNS
    sign_distance_m: Array  # (S,) float32, from the camera
    sign_position_m: Array  # (S, 2) float32, ego frame
    sign_visible: Array  # (S,) float32, share of the face's projected area that shows
    lead_m: Array  # (20,) float32, smallest depth of an obstacle in each block of columns, at most LEAD_MAX_M
    light_box_px: Array  # (L, 4) float32, of housing, visors and board
    light_phase: Array  # (L,) int64 of Phase; OFF where it is dark
    light_distance_m: Array  # (L,) float32, from the camera
    light_visible: Array  # (L,) float32, share of its projected area that shows
    light_is_mine: Array  # (L,) bool: it binds the ego on its route
    my_light: int  # Phase of the next light on the route within LIGHT_MAX_M, OFF if there is none
    my_light_m: float  # front bumper to its stop line, inf without one
    stop_m: float  # front bumper to the next stop or yield line on the route, inf beyond STOP_MAX_M
    stop_kind: int  # Control of that line
    speed_limit_mps: float


def lane_rows(camera: CameraConfig) -> Array:
    """The image rows (16,) [px] at which boundaries are given, evenly from the middle to the bottom."""
    return camera.height_px * (0.5 + 0.5 * np.arange(1, LANE_ROWS + 1) / LANE_ROWS) - 0.5


def label(state: WorldState, camera: CameraConfig, pose: CameraPose, frame: Frame,
          route_m: float | None = None) -> Labels:
    """The truth about `frame`, taken at `state` from `pose`; `route_m` is the ego's station on the route, if known."""
    station, _ = state.route.locate(state.ego.x_m, state.ego.y_m, route_m)
    stop_m, stop_kind = next_line(state.route, station)
    heads = state.town.signal_heads
    pixels = _count(frame.instance_id, INSTANCE_LIGHT + len(heads.group))
    box, row, distance, position, visible = _signs(state.town, camera, pose, pixels, state.ego.pose)
    my_light_m, mine = next_light(state.route, station)
    phase = _phases(state, heads.group)
    light_box, light_row, light_distance, light_visible = _lights(heads, phase, camera, pose, frame.instance_id, pixels)
    lines_px, marking = lines_ahead(state.town.network, state.route, station).columns(
        camera, pose, np.concatenate([lane_rows(camera), anchor_rows(camera)]))
    return Labels(
        path_m=path_ahead(state.route, station, state.ego.pose),
        boundaries_px=lines_px[OWN, :LANE_ROWS], lanes_px=lines_px[:, LANE_ROWS:], lane_marking=marking,
        drivable=_drivable(frame), **_road_users(state, frame),
        sign_box_px=box, sign_class=row, sign_distance_m=distance, sign_position_m=position, sign_visible=visible,
        light_box_px=light_box, light_phase=phase[light_row], light_distance_m=light_distance,
        light_visible=light_visible, light_is_mine=heads.group[light_row] == mine,
        my_light=int(_phases(state, np.array([mine]))[0]), my_light_m=my_light_m,
        lead_m=_lead(frame), stop_m=stop_m, stop_kind=stop_kind,
        speed_limit_mps=float(state.route.speed_limit_mps[state.route.index_at(station)]))


def path_ahead(route: Route, station_m: float, ego_pose: Array) -> Array:
    """Route points PATH_STATIONS_M after a station, (12, 2) float32 in the ego frame."""
    at = station_m + np.asarray(PATH_STATIONS_M)
    inside = np.minimum(at, route.length_m)
    points = interpolate(route.points_m, route.station_m, inside)
    heading = route.heading_rad[-1]
    points += (at - inside)[:, None] * np.array([math.cos(heading), math.sin(heading)])
    return ego_from_world(ego_pose, points).astype(np.float32)


def next_line(route: Route, station_m: float) -> tuple[float, int]:
    """(distance from the front bumper [m], Control) of the next line within STOP_MAX_M, else (inf, NONE)."""
    bumper = station_m + EGO_SHAPE.front_m
    for line_m, control in route.stops:
        if 0.0 <= line_m - bumper <= STOP_MAX_M:
            return float(line_m - bumper), int(control)
    return math.inf, int(Control.NONE)


def next_light(route: Route, station_m: float) -> tuple[float, int]:
    """(distance from the front bumper [m], signal group) of the next light within LIGHT_MAX_M, else (inf, -1)."""
    bumper = station_m + EGO_SHAPE.front_m
    for line_m, group in route.signals:
        if 0.0 <= line_m - bumper <= LIGHT_MAX_M:
            return float(line_m - bumper), group
    return math.inf, -1


def _phases(state: WorldState, group: Array) -> Array:
    """What groups (K,) show, int64; OFF for group -1 and where nobody runs the lights."""
    if len(state.signals) == 0:
        return np.full(len(group), int(Phase.OFF))
    return np.where(group >= 0, state.signals[group], int(Phase.OFF)).astype(np.int64)


def _signs(town: Town, camera: CameraConfig, pose: CameraPose, pixels: Array,
           ego_pose: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Box, class, distance, position and visible share of every sign that can be read, nearest first."""
    posts = town.signs
    centre = np.column_stack([posts.pose[:, :2], posts.centre_height_m])
    offset = pose.position_m - centre
    distance = np.sqrt((offset ** 2).sum(axis=1))
    facing = (offset[:, 0] * np.cos(posts.pose[:, 2]) + offset[:, 1] * np.sin(posts.pose[:, 2])) / distance
    ahead = -offset @ pose.rotation[2]
    near = np.flatnonzero((distance < SIGN_MAX_M) & (facing > SIGN_FACING_COS) & (ahead > 0.5))
    found = []
    for row in near[np.argsort(distance[near])]:
        corners = project_points(camera, pose, face_outline(town, int(row)))[:, :2]
        low = np.maximum(corners.min(axis=0), 0.0)
        high = np.minimum(corners.max(axis=0), [camera.width_px, camera.height_px])
        area = cv2.contourArea(corners.astype(np.float32))
        visible = min(1.0, pixels[INSTANCE_SIGN + row] / max(area, 1.0))
        if (high - low).min() >= SIGN_MIN_PX and visible >= SIGN_MIN_VISIBLE:
            found.append((int(row), *low, *high, visible))
    table = np.array(found, np.float64).reshape(-1, 6)
    rows = table[:, 0].astype(np.int64)
    return (table[:, 1:5].astype(np.float32), posts.sign[rows].astype(np.int64).reshape(-1),
            distance[rows].astype(np.float32), ego_from_world(ego_pose, posts.pose[rows, :2]).astype(np.float32),
            table[:, 5].astype(np.float32))


def _lights(heads: SignalHeads, phase: Array, camera: CameraConfig, pose: CameraPose, instance_id: Array,
            pixels: Array) -> tuple[Array, Array, Array, Array]:
    """Box, row of SignalHeads, distance and visible share of every head whose lit lamps can all be seen, nearest first.

    `phase` (K,) is what each head shows; of a dark one SIGN_MIN_VISIBLE of its area is enough.
    """
    centre, yaw = head_centres(heads), heads.pose[:, 2]
    offset = pose.position_m - centre
    distance = np.sqrt((offset ** 2).sum(axis=1))
    facing = (offset[:, 0] * np.cos(yaw) + offset[:, 1] * np.sin(yaw)) / np.maximum(distance, 1e-9)
    near = np.flatnonzero((distance < LIGHT_MAX_M) & (facing > LIGHT_FACING_COS) & (-offset @ pose.rotation[2] > 0.5)
                          & (pixels[INSTANCE_LIGHT:] > 0))
    found = []
    for row in near[np.argsort(distance[near])]:
        turn = np.array([[math.cos(yaw[row]), math.sin(yaw[row]), 0.0], [-math.sin(yaw[row]), math.cos(yaw[row]), 0.0],
                         [0.0, 0.0, 1.0]])
        parts = np.concatenate([_LAMPS, _HEAD[int(heads.arm_m[row] > 0)]])
        lamps, corners = np.split(project_points(camera, pose, centre[row] + parts @ turn)[:, :2], [len(_LAMPS)])
        low = np.maximum(corners.min(axis=0), 0.0)
        high = np.minimum(corners.max(axis=0), [camera.width_px, camera.height_px])
        area = cv2.contourArea(cv2.convexHull(corners.astype(np.float32)))
        visible = min(1.0, pixels[INSTANCE_LIGHT + row] / max(area, 1.0))
        lit = lamps[IS_LIT[phase[row]]]
        if ((high - low).min() >= LIGHT_MIN_PX and visible >= SIGN_MIN_VISIBLE
                and (_instance_at(instance_id, lit) == INSTANCE_LIGHT + row).all()):
            found.append((int(row), *low, *high, visible))
    table = np.array(found, np.float64).reshape(-1, 6)
    rows = table[:, 0].astype(np.int64)
    return (table[:, 1:5].astype(np.float32), rows, distance[rows].astype(np.float32),
            table[:, 5].astype(np.float32))


def _instance_at(instance_id: Array, at_px: Array) -> Array:
    """What (N,) is seen at points (N, 2) of the picture, -1 beyond its borders."""
    column, row = np.floor(at_px).astype(np.int64).T
    height, width = instance_id.shape
    is_inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return np.where(is_inside, instance_id[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)].astype(np.int64),
                    -1)


def face_outline(town: Town, row: int) -> Array:
    """Corners (M, 3) [m] in the world of the face on a row of SignPosts."""
    posts = town.signs
    outline, size_m = outline_of(int(posts.sign[row]), int(posts.look[row]))
    yaw = posts.pose[row, 2]
    left = np.array([-math.sin(yaw), math.cos(yaw), 0.0])
    centre = np.array([*posts.pose[row, :2], posts.centre_height_m[row]])
    x, y = outline[:, :1] - 0.5, 0.5 - outline[:, 1:]
    return centre + size_m * (x * left + y * np.array([0.0, 0.0, 1.0]))


def _lead(frame: Frame) -> Array:
    """Nearest obstacle (20,) [m] by block of columns."""
    starts = np.arange(LEAD_COLUMNS) * frame.class_id.shape[1] // LEAD_COLUMNS
    depth = _nearest(frame.class_id, frame.depth_m, _OBSTACLES)
    return np.minimum(np.minimum.reduceat(depth, starts), LEAD_MAX_M).astype(np.float32)


def _drivable(frame: Frame) -> Array:
    """Share of road (40, 80) uint8 by cell of the frame."""
    return cv2.resize(cv2.LUT(frame.class_id, _ROAD), (DRIVABLE_COLUMNS, DRIVABLE_ROWS), interpolation=cv2.INTER_AREA)


def _road_users(state: WorldState, frame: Frame) -> dict[str, Array]:
    """The labels of vehicles and of people, nearest first."""
    actors = state.actors
    count = int(actors.id.max(initial=-1)) + 1
    left, top, right, bottom, pixels, depth = _extents(frame.instance_id, frame.depth_m, INSTANCE_ACTOR, count)[
        actors.id].T
    is_seen = ((pixels >= USER_MIN_PIXELS) & (np.minimum(right - left, bottom - top) >= USER_MIN_PX)
               & (depth < min(USER_MAX_M, state.weather.visibility_m)))
    seen = np.flatnonzero(is_seen)
    seen = seen[np.argsort(depth[seen], kind="stable")]
    box, is_vehicle = np.column_stack([left, top, right, bottom])[seen], actors.kind[seen] == ActorKind.VEHICLE
    people = seen[~is_vehicle]
    return {"vehicle_box_px": box[is_vehicle], "vehicle_distance_m": depth[seen[is_vehicle]],
            "person_box_px": box[~is_vehicle], "person_distance_m": depth[people],
            "person_kind": actors.kind[people].astype(np.int64)}


@njit(cache=True)
def _extents(instance_id: Array, depth_m: Array, first: int, count: int) -> Array:
    """Of instances `first` and up, (count, 6) float32: left, top, right, bottom, number of pixels, smallest depth."""
    table = np.zeros((count, 6), np.float32)
    table[:, :2], table[:, 5] = np.inf, np.inf
    for y in range(instance_id.shape[0]):
        for x in range(instance_id.shape[1]):
            row = int(instance_id[y, x]) - first
            if 0 <= row < count:
                table[row, 0], table[row, 1] = min(table[row, 0], x), min(table[row, 1], y)
                table[row, 2], table[row, 3] = max(table[row, 2], x + 1), max(table[row, 3], y + 1)
                table[row, 4] += 1
                table[row, 5] = min(table[row, 5], depth_m[y, x])
    return table


@njit(cache=True)
def _nearest(class_id: Array, depth_m: Array, wanted: Array) -> Array:
    """Smallest depth (W,) in each column among pixels of the wanted classes (256,), inf without any."""
    nearest = np.full(class_id.shape[1], np.float32(np.inf))
    for y in range(class_id.shape[0]):
        for x in range(class_id.shape[1]):
            if wanted[class_id[y, x]] and depth_m[y, x] < nearest[x]:
                nearest[x] = depth_m[y, x]
    return nearest


@njit(cache=True)
def _count(instance_id: Array, below: int) -> Array:
    """How many pixels (below,) show each instance."""
    counts = np.zeros(below, np.int64)
    for instance in instance_id.flat:
        if instance < below:
            counts[instance] += 1
    return counts
