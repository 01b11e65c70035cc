"""When the ego would first touch somebody if all kept velocity and heading."""

from __future__ import annotations

import math

import numpy as np

from envs.geometry import Array
from envs.pace import STANDSTILL_MPS
from envs.state import EGO_SHAPE, Actors, VehicleState

TTC_HORIZON_S = 0.9  # CaRL; nuPlan has 0.95


def time_to_collision(ego: VehicleState, actors: Actors) -> float:
    """First contact [s] of the outlines if all kept velocity and heading; inf if none within TTC_HORIZON_S.

    Exact for boxes that slide without turning: on each of the four separating axes they overlap during one interval of
    time, and they touch where all four intervals meet.
    """
    if len(actors.id) == 0 or abs(ego.speed_mps) < STANDSTILL_MPS:
        return math.inf
    heading = np.array([math.cos(ego.yaw_rad), math.sin(ego.yaw_rad)])
    offset = actors.pose[:, :2] - (np.array([ego.x_m, ego.y_m]) + EGO_SHAPE.centre_forward_m * heading)
    reach_m = TTC_HORIZON_S * (abs(ego.speed_mps) + np.abs(actors.speed_mps)) + EGO_SHAPE.length_m
    near = np.flatnonzero(np.hypot(*offset.T) <= reach_m + np.hypot(actors.size_m[:, 0], actors.size_m[:, 1]) / 2)
    if len(near) == 0:
        return math.inf
    yaw = actors.pose[near, 2]
    velocity = actors.speed_mps[near, None] * np.stack([np.cos(yaw), np.sin(yaw)], 1) - ego.speed_mps * heading
    first = np.min(_meeting_times(offset[near], velocity, ego.yaw_rad, yaw, actors.size_m[near, :2] / 2))
    return float(first) if first <= TTC_HORIZON_S else math.inf


def _meeting_times(offset_m: Array, velocity_mps: Array, own_yaw: float, yaw: Array, half_m: Array) -> Array:
    """When each box (K rows: offset of its centre and velocity relative to the ego box, yaw, half sizes) touches it.

    In seconds (K,): 0 if it does now, inf if it never will.
    """
    angle = np.stack([np.full_like(yaw, own_yaw), np.full_like(yaw, own_yaw + math.pi / 2), yaw, yaw + math.pi / 2], 1)
    axis = np.stack([np.cos(angle), np.sin(angle)], axis=2)  # (K, 4, 2)
    gap, speed = np.einsum("kad,kd->ka", axis, offset_m), np.einsum("kad,kd->ka", axis, velocity_mps)
    reach = (EGO_SHAPE.length_m * np.abs(np.cos(angle - own_yaw)) + EGO_SHAPE.width_m * np.abs(np.sin(angle - own_yaw))
             ) / 2 + half_m[:, :1] * np.abs(np.cos(angle - yaw[:, None])) \
        + half_m[:, 1:] * np.abs(np.sin(angle - yaw[:, None]))
    safe = np.where(np.abs(speed) < 1e-9, 1e-9, speed)  # overlap while |gap + speed t| <= reach
    ends = np.stack([(-reach - gap) / safe, (reach - gap) / safe])
    enter, leave = np.max(ends.min(0), axis=1), np.min(ends.max(0), axis=1)
    return np.where((enter <= leave) & (leave >= 0), np.maximum(enter, 0.0), np.inf)
