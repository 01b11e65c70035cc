"""What a person at a kerb or on the road makes of the vehicles: is the gap long enough, will that one hit me?

Vehicles are rows (C, 7): x_m, y_m of the middle, cosine and sine of the yaw, speed_mps, half length, half width; row 0
is the ego car. At a kerb people look along the lanes that lead to their way, however these wind; on the road they look
at what comes straight at them. Pure functions, compiled.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from envs.geometry import Array
from envs.roads.ways import LaneLines, Ways
from envs.state import EGO_SHAPE, Actors, VehicleState

compiled = njit(cache=True, error_model="numpy")
inlined = njit(cache=True, error_model="numpy", forceinline=True)  # a call counts references: 10 ns an array

STANDING_MPS = 0.3
BRAKING_MPS2 = 4.0  # a driver who would need more than this cannot stop any more
REACTION_S = 0.5  # granted to drivers who have to give way
STOP_SHORT_M = 0.5
ASIDE_M = 0.5  # of a person to a vehicle that passes
LOOK_S = 4.0  # how far ahead people on the road foresee
GO, HOLD, HURRY, RETREAT = 0, 1, 2, 3


def seen(ego: VehicleState, vehicles: Actors) -> Array:
    """The ego car and other vehicles as rows (1 + K, 7)."""
    cars = np.empty((1 + len(vehicles.speed_mps), 7))
    ahead = EGO_SHAPE.centre_forward_m
    cos, sin = np.cos(ego.yaw_rad), np.sin(ego.yaw_rad)
    cars[0] = (ego.x_m + ahead * cos, ego.y_m + ahead * sin, cos, sin, ego.speed_mps, EGO_SHAPE.length_m / 2,
               EGO_SHAPE.width_m / 2)
    cars[1:, :2], cars[1:, 4] = vehicles.pose[:, :2], vehicles.speed_mps
    cars[1:, 2], cars[1:, 3] = np.cos(vehicles.pose[:, 2]), np.sin(vehicles.pose[:, 2])
    cars[1:, 5:] = vehicles.size_m[:, :2] / 2
    return cars


@inlined
def station_on(lanes: LaneLines, lane: int, car: Array) -> float:
    """How far along a lane a car drives [m]; nan unless its middle is on the lane and it heads within 60 degrees."""
    x, y = car[0], car[1]
    cx, cy, radius = lanes.circle_m[lane]
    reach = lanes.half_width_m[lane] + 0.5
    if abs(x - cx) > radius + reach or abs(y - cy) > radius + reach:
        return np.nan
    best, station = reach * reach, np.nan
    for i in range(lanes.first[lane], lanes.first[lane + 1] - 1):
        ax, ay = lanes.point_m[i]
        dx, dy = lanes.point_m[i + 1, 0] - ax, lanes.point_m[i + 1, 1] - ay
        length = np.sqrt(dx * dx + dy * dy)
        if dx * car[2] + dy * car[3] < 0.5 * length or length < 1e-9:
            continue
        along = min(max(((x - ax) * dx + (y - ay) * dy) / length, 0.0), length)
        px, py = x - ax - along * dx / length, y - ay - along * dy / length
        if px * px + py * py < best:
            best, station = px * px + py * py, lanes.station_m[i] + along
    return station


@inlined
def distance_of(car: Array, way: int, ways: Ways, lanes: LaneLines) -> float:
    """From a car's front to the near edge of a way, along the lanes [m]; negative on it, nan if it does not lead there.

    Of several lanes the car may be on, the shortest counts.
    """
    best = np.nan
    for k in range(ways.first[way], ways.first[way + 1]):
        station = station_on(lanes, ways.lane[k], car)
        if not np.isnan(station):
            gap = ways.distance_m[k] - station - car[5] - ways.width_m[way] / 2
            if not gap >= best:  # also where best is nan
                best = gap
    return best


@inlined
def is_past(gap_m: float, car: Array, width_m: float) -> bool:
    """Whether the rear of a car has left a way whose near edge its front passed long ago."""
    return gap_m + 2 * car[5] + width_m < 0.0


@inlined
def leaves_gap(car: Array, way: int, ways: Ways, lanes: LaneLines, needed_s: float, has_right: bool) -> bool:
    """Whether a car does not arrive at a way within `needed_s` or, if one has the right of way, can still stop."""
    speed = car[4]
    if speed < STANDING_MPS:
        return True
    gap = distance_of(car, way, ways, lanes)
    if np.isnan(gap) or is_past(gap, car, ways.width_m[way]):
        return True
    return can_stop(speed, gap - REACTION_S * speed) if has_right else gap >= needed_s * speed


@compiled
def is_gap(way: int, ways: Ways, lanes: LaneLines, cars: Array, needed_s: float, has_right: bool) -> bool:
    """Whether one may step out for all that the cars on the lanes do; see `leaves_gap`."""
    count = 0
    for c in range(len(cars)):
        count += leaves_gap(cars[c], way, ways, lanes, needed_s, has_right)
    return count == len(cars)


@inlined
def can_stop(speed_mps: float, gap_m: float) -> bool:
    """Whether a driver needs no more than BRAKING_MPS2 to stop STOP_SHORT_M before a place."""
    return gap_m > 0.0 and speed_mps * speed_mps <= 2 * BRAKING_MPS2 * max(gap_m - STOP_SHORT_M, 0.05)


@compiled
def is_occupied(x_m: float, y_m: float, cars: Array, margin_m: float) -> int:
    """The row of a car that is within a margin of a point, or -1."""
    for c in range(len(cars)):
        dx, dy = x_m - cars[c, 0], y_m - cars[c, 1]
        if (abs(cars[c, 2] * dx + cars[c, 3] * dy) < cars[c, 5] + margin_m
                and abs(cars[c, 2] * dy - cars[c, 3] * dx) < cars[c, 6] + margin_m):
            return c
    return -1


@compiled
def foresee(place: tuple[float, float], velocity: tuple[float, float], hurry: float, extent_m: tuple[float, float],
            cars: Array) -> int:
    """What a party that walks at `velocity` and can go `hurry` times as fast should do about the cars that come.

    Its people are within `extent_m` beside and behind `place`. Cars are taken to go straight on. One that can still
    stop is left to do so. GO: nothing will be where I am. HURRY: I am in its path, or can pass before it. HOLD: I am
    not in its path yet. RETREAT: I am, and back is nearer than on.
    """
    act = GO
    for c in range(len(cars)):
        x, y, cos, sin, speed, half_length, half_width = cars[c]
        if speed < STANDING_MPS:
            continue
        ahead = cos * (place[0] - x) + sin * (place[1] - y)
        gap = ahead - half_length - ASIDE_M
        if ahead < -half_length - ASIDE_M or gap > LOOK_S * speed:
            continue
        left = cos * (place[1] - y) - sin * (place[0] - x)
        across = cos * velocity[1] - sin * velocity[0]
        half, tail = half_width + ASIDE_M + extent_m[0], extent_m[1]
        arrives, leaves = max(gap, 0.0) / speed, (ahead + half_length + ASIDE_M) / speed
        done = left * np.sign(across)  # how far beyond the middle of its path I am
        if abs(across) < 0.1 or done >= half + tail:
            continue
        on = (half + tail - done) / abs(across)  # until I have crossed its path
        into = max(-half - done, 0.0) / abs(across)  # until I enter it
        if into > leaves or on < arrives or can_stop(speed, gap):
            continue
        if into > 0.0:
            act = HOLD if act == HOLD or on / hurry >= arrives else HURRY
        else:
            back = (half + done) / abs(across)
            return RETREAT if back < 0.6 * on and on / hurry > arrives else HURRY
    return act
