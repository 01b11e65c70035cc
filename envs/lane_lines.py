"""Where the lines beside lanes lie in a picture: those of the ego's own lane and of its neighbours, row by row.

Lines are the lanes' edges projected from the ground, as annotators of TuSimple and CULane draw them: on through cars
that hide them and through the gaps of dashes, but not across junctions where nothing is painted. The own lane is the
route's, but it changes only when the car has: a lane change ahead does not bend it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.config import CameraConfig
from envs.geometry import Array
from envs.render.camera import CameraPose, project_points
from envs.roads.network import SOLID_BEFORE_JUNCTION_M, Lane, Marking, RoadNetwork
from envs.roads.routes import Route

LINES = 4  # the left neighbour's outer line, own left, own right, the right neighbour's outer line
OWN = slice(1, 3)
RANGE_M = 70.0
ANCHORS, FIRST_ANCHOR = 32, 0.4  # image rows at which lines are told, from this share of the height on
NEAREST_M = 0.5  # depth below which points are cut off


def anchor_rows(camera: CameraConfig) -> Array:
    """The image rows (32,) [px] at which lines are told, evenly from FIRST_ANCHOR of the height to the bottom.

    The horizon lies there when the camera looks 4 degrees down; rows above the horizon have no points.
    """
    share = np.arange(1, ANCHORS + 1) / ANCHORS
    return camera.height_px * (FIRST_ANCHOR + (1 - FIRST_ANCHOR) * share) - 0.5


@dataclass(frozen=True, eq=False)
class LaneLines:
    """The four lines along RANGE_M of a route, as points on the ground from near to far."""

    points_m: Array  # (4, N, 2)
    is_there: Array  # (4, N) bool: there is such a lane, and it is not in a junction
    marking: Array  # (4, N) int64 of Marking

    def columns(self, camera: CameraConfig, pose: CameraPose, rows: Array) -> tuple[Array, Array]:
        """Where they are in a picture: u [px] (4, R) float32 at the image rows (R,), nan where a line is not there or
        out of the picture; and the Marking (4,) int64 of each where it enters the picture, NONE if it does not.
        """
        ground = np.concatenate([self.points_m, np.zeros((*self.points_m.shape[:2], 1))], axis=2)
        pixels = project_points(camera, pose, ground)
        u, marking = np.full((LINES, len(rows)), np.nan, np.float32), np.zeros(LINES, np.int64)
        for line in range(LINES):
            pixels[line, ~self.is_there[line], 0] = np.nan
            u[line] = _at_rows(pixels[line], rows, camera.width_px)
            if np.isfinite(u[line]).any():
                across, down = pixels[line, :, 0], pixels[line, :, 1]
                enters = ((across >= 0) & (across < camera.width_px) & (down < camera.height_px)).argmax()
                marking[line] = self.marking[line, enters]
        return u, marking


def lines_ahead(network: RoadNetwork, route: Route, station_m: float) -> LaneLines:
    """The lines beside the own lane from a station of the route on."""
    first, last = route.index_at(station_m), route.index_at(station_m + RANGE_M) + 1
    index, heading = route.lane_index[first:last], route.heading_rad[first:last]
    follows = [k > 0 and lane in network.lanes[route.lanes[k - 1]].successors for k, lane in enumerate(route.lanes)]
    road = np.cumsum(follows)  # (lanes of the route,): a new one at each junction and behind it
    entered = round(float(route.shift_m[first] / route.width_m[first]))  # lanes changed on this road, to the left
    aside, is_there = np.zeros((LINES, last - first)), np.zeros((LINES, last - first), bool)
    marking = np.zeros((LINES, last - first), np.int64)
    for number in np.unique(road[index]):
        on_it = road[index] == number
        changed = entered if number == road[index[0]] else 0
        lane = _moved(network, network.lanes[route.lanes[int(np.argmax(road == number))]], changed)
        edges, has = _edges_m(network, lane, lane.width_m - route.width_m[first:last][on_it])
        aside[:, on_it] = changed * lane.width_m - route.shift_m[first:last][on_it] + edges
        is_there[:, on_it] = has[:, None]
        marking[:, on_it] = _markings(network, lane, _to_end_m(route, road == number, first, last)[on_it])
    left = np.stack([-np.sin(heading), np.cos(heading)], axis=1)
    return LaneLines(route.points_m[first:last] + aside[:, :, None] * left, is_there, marking)


def _moved(network: RoadNetwork, lane: Lane, lanes_left: int) -> Lane:
    """The lane so many lanes to the left of another."""
    for _ in range(abs(lanes_left)):
        beside = lane.left_neighbour if lanes_left > 0 else lane.right_neighbour
        lane = lane if beside is None else network.lanes[beside]
    return lane


def _neighbours(network: RoadNetwork, lane: Lane) -> tuple[Lane | None, Lane | None]:
    """The lanes on the left, which may run the other way, and on the right."""
    left = lane.opposite if lane.left_neighbour is None else lane.left_neighbour
    return (None if left is None else network.lanes[left],
            None if lane.right_neighbour is None else network.lanes[lane.right_neighbour])


def _edges_m(network: RoadNetwork, lane: Lane, narrower_m: Array) -> tuple[Array, Array]:
    """How far (4, N) left of a lane's middle the lines run, and which (4,) of them there are.

    All lanes of the road are `narrower_m` (N,) than elsewhere.
    """
    (left, right), half = _neighbours(network, lane), (lane.width_m - narrower_m) / 2
    beside = [half + (other.width_m - narrower_m if other else 0.0) for other in (left, right)]
    edges = np.stack([beside[0], half, -half, -beside[1]])
    if lane.junction is not None:  # a ramp's junction has lines beside it
        return edges, np.array([False, lane.left != Marking.NONE, lane.right != Marking.NONE, False])
    return edges, np.array([left is not None, True, True, right is not None])


def _markings(network: RoadNetwork, lane: Lane, to_end_m: Array) -> Array:
    """Marking (4, N) of the lines so far before the lane's end; dashes end where nobody may change lanes any more."""
    left, right = _neighbours(network, lane)
    outer_left = Marking.NONE
    if left is not None:
        outer_left = left.right if lane.left_neighbour is None else left.left
    kinds = (outer_left, lane.left, lane.right, Marking.NONE if right is None else right.right)
    table = np.repeat(np.array([[int(kind)] for kind in kinds]), len(to_end_m), axis=1)
    ends_at_junction = any(network.lanes[after].junction is not None for after in lane.successors)
    between = np.array([left is not None and lane.left_neighbour is not None and left.left_neighbour is not None,
                        lane.left_neighbour is not None, right is not None,
                        right is not None and right.right_neighbour is not None])  # lanes that run the same way
    is_solid = between[:, None] & (to_end_m < SOLID_BEFORE_JUNCTION_M) & ends_at_junction
    table[is_solid & (table == Marking.DASHED)] = Marking.SOLID
    return table


def _to_end_m(route: Route, is_on_road: Array, first: int, last: int) -> Array:
    """Way (last - first,) to the end of a road of the route, or to the route's own end."""
    return route.station_m[np.flatnonzero(is_on_road[route.lane_index])[-1]] - route.station_m[first:last]


def _at_rows(pixels: Array, rows: Array, width_px: int) -> Array:
    """Columns (R,) [px] of a line of pixels (N, 3) u, v, depth at image rows; nan where it is not, or out of sight."""
    u, v, depth = pixels.T
    ahead = np.flatnonzero(depth > NEAREST_M)
    if len(ahead) < 2:
        return np.full(len(rows), np.nan)
    falls = np.flatnonzero(np.diff(depth[ahead]) <= 0)  # where it bends back, rows are met twice: keep the near part
    kept = ahead[:falls[0] + 1] if len(falls) else ahead
    found = np.interp(rows, v[kept][::-1] - 0.5, u[kept][::-1], left=np.nan, right=np.nan)
    return np.where((found >= 0) & (found < width_px), found, np.nan)
