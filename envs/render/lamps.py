"""What shines in a town at night: street lamps, the map of their light, and lit windows. No pictures are drawn here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from envs.geometry import Array, interpolate, keep_apart
from envs.kept import kept
from envs.render.boxes import INSTANCE_PROP, Boxes, Part, build
from envs.render.paving import SemanticClass
from envs.state import PropKind, Props, Town

LIT_LIMIT_MPS = 51 / 3.6  # streets with a lower limit than this have lamps: those within towns
LAMP_SPACING_M = 30.0  # usual for lamps of 6 to 8 m (EN 13201 class M5)
LAMP_HEIGHT_M, LAMP_ARM_M = 7.0, 2.6
CANDIDATE_M = 5.0  # between places that are tried
POST_BESIDE_M = 3.4  # of the right lane's edge, behind parked cars
END_CLEAR_M = 6.0  # from a lane's ends, where the kerb turns
HOUSE_CLEAR_M, TREE_CLEAR_M, SIGN_CLEAR_M = 1.0, 1.6, 2.5
CELL_M = 1.0
REACH_M = 32  # where a lamp's light is cut off
LAMP_POST: tuple[Part, ...] = (
    ((0, 0, 0.5), (0.13, 0.13, 1), 0, (118, 122, 124)),
    ((LAMP_ARM_M / 2, 0, 0.99), (LAMP_ARM_M, 0.07, 0.012), 0, (118, 122, 124)),
    ((LAMP_ARM_M, 0, 0.982), (0.7, 0.3, 0.016), 0, (255, 236, 200)),
)
WINDOW_LIGHT = ((255, 206, 132), (255, 222, 164), (250, 196, 120), (208, 214, 236))
WINDOW_PLACES = (*((x, side * 0.5) for x in (-0.32, -0.11, 0.11, 0.32) for side in (1, -1)),
                 *((side * 0.5, y) for y in (-0.24, 0.0, 0.24) for side in (1, -1)))  # shares of length and width
WINDOWS: tuple[Part, ...] = tuple(
    ((x, y, up), (0.02, 0.13, 0.12) if abs(x) > 0.4 else (0.13, 0.02, 0.12), 0, None)
    for up in (0.24, 0.62) for x, y in WINDOW_PLACES)
POOL_M = 7.5  # where it is a quarter


@dataclass(frozen=True, eq=False)
class LightMap:
    """Light of the street lamps by place: `level` float32 (rows, columns), 1 right under a lamp, 0 along the rim."""

    origin_m: Array  # (2,) x, y of the corner of cell (0, 0)
    level: Array  # rows run along y


@kept
def street_lamps(town: Town) -> Array:
    """Poses (K, 3) of lamp posts: x_m, y_m and the direction of the arm, towards the street."""
    places = []
    for lane in town.network.lanes:
        if lane.junction is None and lane.right_neighbour is None and lane.speed_limit_mps < LIT_LIMIT_MPS:
            at = np.arange(END_CLEAR_M, lane.length_m - END_CLEAR_M, CANDIDATE_M)
            heading = lane.heading_at(at)
            aside = np.reshape(lane.half_at(at) + POST_BESIDE_M, (-1, 1))
            right = np.stack([np.sin(heading), -np.cos(heading)], axis=1) * aside
            places.append(np.column_stack([interpolate(lane.centre_m, lane.station_m, at) + right,
                                           heading + np.pi / 2]))
    if not places:
        return np.zeros((0, 3))
    pose = np.concatenate(places)
    pose = pose[_is_free(town, pose[:, :2])]
    return pose[keep_apart(pose[:, :2], np.full(len(pose), LAMP_SPACING_M / 2))]


def _is_free(town: Town, points_m: Array) -> Array:
    """Whether (K,) posts stand clear of roads, houses, trees and signs."""
    free = town.network.distance_to_road(points_m) > POST_BESIDE_M / 2
    size, is_house = town.props.size_m, town.props.kind == PropKind.BUILDING
    reach = np.where(is_house, np.hypot(size[:, 0], size[:, 1]) / 2 + HOUSE_CLEAR_M, TREE_CLEAR_M)
    for pose, gap_m in ((town.props.pose, reach), (town.signs.pose, np.full(len(town.signs.pose), SIGN_CLEAR_M))):
        delta = points_m[:, None] - pose[None, :, :2]
        free &= ~np.any(np.hypot(delta[..., 0], delta[..., 1]) < gap_m, axis=1)
    return np.asarray(free)


def light_map(town: Town) -> LightMap:
    """The light of all street lamps of a town, summed."""
    pose = street_lamps(town)
    lamps = pose[:, :2] + LAMP_ARM_M * np.stack([np.cos(pose[:, 2]), np.sin(pose[:, 2])], axis=1)
    if not len(lamps):
        return LightMap(np.zeros(2), np.zeros((2, 2), np.float32))
    low = np.floor(lamps.min(axis=0)) - REACH_M - 2
    columns, rows = (np.ceil(lamps.max(axis=0)) + REACH_M + 2 - low).astype(int)
    level = np.zeros((rows, columns), np.float32)
    offset = np.arange(-REACH_M, REACH_M + 1)
    for x, y in lamps - low:
        column, row = int(x), int(y)
        square = (offset[None] + column + 0.5 - x)**2 + (offset[:, None] + row + 0.5 - y)**2
        rim = (1 + REACH_M**2 / POOL_M**2)**-2
        pool = np.maximum((1 + square / POOL_M**2)**-2 - rim, 0) / (1 - rim)
        level[row - REACH_M:row + REACH_M + 1, column - REACH_M:column + REACH_M + 1] += pool
    return LightMap(low, level)


def lamp_boxes(town: Town) -> Boxes:
    """A pole, an arm over the verge and a lit lamp for each street lamp."""
    pose = street_lamps(town)
    boxes = build(LAMP_POST, pose, np.tile([1.0, 1.0, LAMP_HEIGHT_M], (len(pose), 1)), np.zeros((len(pose), 3)),
                  SemanticClass.POLE, np.zeros(len(pose), np.uint16))
    return dataclasses.replace(boxes, glow=np.repeat([False, False, True], len(pose)))


def window_boxes(props: Props, seed: int, share: float) -> Boxes:
    """Bright panes at a share of the places where the houses may have windows."""
    rows = np.flatnonzero(props.kind == PropKind.BUILDING)
    rng = np.random.default_rng([seed, 77])
    panes = build(WINDOWS, props.pose[rows], props.size_m[rows], rng.choice(np.array(WINDOW_LIGHT), len(rows)),
                  SemanticClass.BUILDING, INSTANCE_PROP + rows)
    lit = rng.random(len(panes.yaw_rad)) < share
    columns = {column.name: getattr(panes, column.name)[lit] for column in dataclasses.fields(Boxes)}
    return Boxes(**{**columns, "glow": np.ones(int(lit.sum()), bool)})
