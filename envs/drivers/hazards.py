"""What a driver of the traffic stops for beside other traffic: the ego, things in its way, people, zebra crossings.

Boxes and people may be anywhere; each driver looks along the points of its own path for those that touch, or are about
to step into, the corridor that its car will sweep. Kernels on arrays; nothing here moves.
"""

from __future__ import annotations

import math

from envs.drivers.following import CUR, FREE, PATH, inlined, interaction, safe_speed
from envs.drivers.lane_map import LaneMap, Row
from envs.geometry import Array

BOX_MARGIN_M = 0.3  # beside the car
PERSON_MARGIN_M = 0.7
PERSON_GAP_M = 0.8  # kept before a person beyond the gap at a halt
EGO_AHEAD_S = 0.4  # a moving box is thought longer by its way in this time
STEP_OUT_S = 1.6  # people are foreseen this long
KERB_M = 0.9  # who is so close to the end of a crossing is about to step on it
PASSED_M = 2.2  # beyond the middle of the lane, and going away: he does not matter any more
ZEBRA_BRAKE_MPS2 = 3.5  # giving way at a zebra, at most
ZEBRA_GAP_M = 1.0  # bumper to paint when standing
WAITS_FOR_STANDING_S = 4.0  # then a driver goes on before somebody who only stands at the kerb
STANDING_MPS = 0.2


@inlined
def _sight(v: float) -> float:
    return 20.0 + 3.0 * v + v * v / 5.0


@inlined
def box_ahead(world: LaneMap, user: Row, box: Array) -> tuple[float, float]:
    """(gap [m], speed along the path [m/s]) of a box (x, y, yaw, length, width, speed) in the corridor; FREE if not."""
    sight, reach = _sight(user.v), box[3] / 2 + box[4] / 2
    dx, dy = box[0] - user.x, box[1] - user.y
    if dx * dx + dy * dy > (sight + reach + user.length_m) ** 2:
        return FREE, 0.0
    ahead = max(box[5], 0.0) * EGO_AHEAD_S
    cos, sin = math.cos(box[2]), math.sin(box[2])
    centre_x, centre_y, half = box[0] + cos * ahead / 2, box[1] + sin * ahead / 2, box[3] / 2 + ahead / 2
    corridor = user.width_m / 2 + BOX_MARGIN_M
    for k in range(CUR, PATH):
        if user.path[k] < 0 or user.off[k] - user.s > sight:
            break
        lane = world.lanes[user.path[k]]
        i = max(0, math.ceil((user.s - user.off[k]) / lane.step_m))
        while i < lane.count:
            row = lane.first + i
            px, py = world.points[row, 0] - centre_x, world.points[row, 1] - centre_y
            far = math.sqrt(px * px + py * py) - half - corridor - box[4] - 3.0
            if far > 0.0:
                i += max(1, int(far / lane.step_m))
                continue
            heading = world.points[row, 2]
            path_cos, path_sin = math.cos(heading), math.sin(heading)
            px, py = px - path_sin * user.d, py + path_cos * user.d
            along, across = cos * px + sin * py, cos * py - sin * px
            same, turned = cos * path_cos + sin * path_sin, cos * path_sin - sin * path_cos
            over = half + abs(turned) * corridor - abs(along)
            if over > 0.0 and abs(across) < box[4] / 2 + abs(same) * corridor:
                gap = user.off[k] + i * lane.step_m - user.s - (over if abs(same) > 0.7 else 0.5)
                if same > 0.7:
                    gap = max(gap, -0.1)
                return gap, box[5] * same
            i += 1
    return FREE, 0.0


@inlined
def person_ahead(world: LaneMap, user: Row, x_m: float, y_m: float, vx: float, vy: float) -> tuple[float, float]:
    """(gap [m], speed along the path [m/s]) of a person in the corridor or about to step into it; FREE if not."""
    sight = _sight(user.v)
    dx, dy = x_m - user.x, y_m - user.y
    if dx * dx + dy * dy > (sight + user.length_m) ** 2:
        return FREE, 0.0
    best, best_row, best_at = 64.0, -1, 0.0
    for k in range(CUR, PATH):
        if user.path[k] < 0 or user.off[k] - user.s > sight:
            break
        lane = world.lanes[user.path[k]]
        i = max(0, math.floor((user.s - user.off[k]) / lane.step_m))
        while i < lane.count:
            row = lane.first + i
            px, py = x_m - world.points[row, 0], y_m - world.points[row, 1]
            square = px * px + py * py
            if square > 400.0:
                i += max(1, int((math.sqrt(square) - 18.0) / lane.step_m))
                continue
            if square < best:
                best, best_row, best_at = square, row, user.off[k] + i * lane.step_m - user.s
            i += 1
    if best_row < 0:
        return FREE, 0.0
    heading = world.points[best_row, 2]
    cos, sin = math.cos(heading), math.sin(heading)
    px, py = x_m - world.points[best_row, 0], y_m - world.points[best_row, 1]
    at, across, sideways = best_at + cos * px + sin * py, cos * py - sin * px - user.d, cos * vy - sin * vx
    if at < -0.3:
        return FREE, 0.0
    half, then = user.width_m / 2 + PERSON_MARGIN_M, across + sideways * STEP_OUT_S
    if abs(across) < half and not (across * sideways > 0.0 and abs(across) > half - 0.4):
        return at - PERSON_GAP_M, cos * vx + sin * vy
    if across * then < 0.0 or abs(then) < half:
        return at - PERSON_GAP_M, 0.0
    return FREE, 0.0


@inlined
def hazards(world: LaneMap, user: Row, boxes: Array, pose: Array, velocity: Array,
            dt_s: float) -> tuple[float, float]:
    """As `following.leaders`, for boxes (K, 6) and people, (W, 3) and (W, 2)."""
    strongest, safe = 0.0, FREE
    for j in range(len(boxes)):
        gap, speed = box_ahead(world, user, boxes[j])
        if gap < FREE:
            strongest = max(strongest, interaction(user, gap, speed))
            safe = min(safe, safe_speed(gap - 0.5, speed, dt_s))
    for j in range(len(pose)):
        gap, speed = person_ahead(world, user, pose[j, 0], pose[j, 1], velocity[j, 0], velocity[j, 1])
        if gap < FREE:
            strongest = max(strongest, interaction(user, gap, speed))
            safe = min(safe, safe_speed(gap, speed, dt_s))
    return strongest, safe


@inlined
def room_to_zebra(world: LaneMap, user: Row, pose: Array, velocity: Array) -> float:
    """Way [m] to the first zebra crossing on which somebody walks or is about to; FREE if none, or too near to halt."""
    sight = 15.0 + user.v * user.v / 3.0
    for k in range(CUR, PATH):
        if user.path[k] < 0 or user.off[k] - user.s > sight:
            break
        lane = world.lanes[user.path[k]]
        for row in range(lane.crossing_from, lane.crossing_to):
            crossing = world.crossings[row]
            away = user.off[k] + crossing.station_m - crossing.half_m - ZEBRA_GAP_M - user.s
            if (crossing.is_zebra and -0.5 < away < sight
                    and user.v * user.v < 2.0 * ZEBRA_BRAKE_MPS2 * max(away, 0.3)
                    and _is_taken(world, lane, crossing, pose, velocity, user.still_s > WAITS_FOR_STANDING_S)):
                return away
    return FREE


@inlined
def _is_taken(world: LaneMap, lane: Row, crossing: Row, pose: Array, velocity: Array, only_walking: bool) -> bool:
    """Whether somebody on a crossing, or at its kerb, has yet to pass a lane."""
    ex, ey = crossing.bx - crossing.ax, crossing.by - crossing.ay
    length = math.sqrt(ex * ex + ey * ey)
    ex, ey = ex / length, ey / length
    row = lane.first + min(int(crossing.station_m / lane.step_m), lane.count - 1)
    middle = (world.points[row, 0] - crossing.ax) * ex + (world.points[row, 1] - crossing.ay) * ey
    for j in range(len(pose)):
        px, py = pose[j, 0] - crossing.ax, pose[j, 1] - crossing.ay
        at, aside = px * ex + py * ey, abs(py * ex - px * ey)
        if aside > crossing.half_m + 0.8 or at < -KERB_M or at > length + KERB_M:
            continue
        speed = velocity[j, 0] * ex + velocity[j, 1] * ey
        pace = math.sqrt(velocity[j, 0] ** 2 + velocity[j, 1] ** 2)
        is_kerb = at < KERB_M or at > length - KERB_M
        if is_kerb and pace < STANDING_MPS and only_walking:
            continue
        if is_kerb and pace >= STANDING_MPS and (speed < 0.5 * pace if at < KERB_M else speed > -0.5 * pace):
            continue  # walks past the crossing, or leaves it
        if (at - middle) * speed > 0.0 and abs(at - middle) > PASSED_M:
            continue
        return True
    return False


