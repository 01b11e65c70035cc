"""Where road pieces join, and the straight and curved lines that lead from one such place to another.

A piece starts at a socket and returns the reference line between a road's two directions, with exact tangents, so that
lanes offset from it meet at the joints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from envs.geometry import Array


@dataclass(frozen=True)
class Socket:
    """Where another piece can be joined: a point on the road's middle and the direction that leads out of the piece."""

    x_m: float
    y_m: float
    heading_rad: float

    @staticmethod
    def at(point_m: Array, heading_rad: float) -> Socket:
        """The socket at a point (2,)."""
        return Socket(float(point_m[0]), float(point_m[1]), float(heading_rad))

    @property
    def point_m(self) -> Array:
        return np.array([self.x_m, self.y_m])

    @property
    def direction(self) -> Array:
        return np.array([math.cos(self.heading_rad), math.sin(self.heading_rad)])


@dataclass(frozen=True, eq=False)
class RoadPiece:
    """A stretch of road. `line` (N, 3): x_m, y_m and exact heading_rad of the middle between its two directions."""

    name: str
    line: Array
    half_m: float  # from the middle to the paved edge, on both sides
    radius_m: float  # of the middle line, or of lanes that swerve on it; inf where straight
    wider_m: tuple[Array, Array] | None = None  # (N,) each: by how much the right and the left edge lie farther out
    shift_m: tuple[Array, Array] | None = None  # (N,) each: how far the right and the left side's lanes move left
    narrower_m: Array | None = None  # (N,) by how much each direction's lanes are narrower there
    island_m: Array | None = None  # raised, between the two directions: (K, 2) counter-clockwise

    @property
    def end(self) -> Socket:
        return Socket.at(self.line[-1], self.line[-1, 2])

    @property
    def turn_rad(self) -> float:
        """By how much the heading changes from start to end, positive to the left."""
        return float(self.line[-1, 2] - self.line[0, 2])

    @property
    def outline_m(self) -> Array:
        """The paved area (M, 2), counter-clockwise: all lanes and their shoulders."""
        if self.wider_m is not None:
            right, left = self.wider_m
            return np.concatenate([offset_line(self.line, -self.half_m - right),
                                   offset_line(self.line, self.half_m + left)[::-1]])
        line = self.line if math.isfinite(self.radius_m) else self.line[[0, -1]]
        return np.concatenate([offset_line(line, -self.half_m), offset_line(line, self.half_m)[::-1]])


def offset_line(line: Array, left_m: float | Array) -> Array:
    """Points (N, 2) beside a line (N, 3) of x, y, heading: exact, because the headings are."""
    points = line[:, :2].copy()
    points[:, 0] -= left_m * np.sin(line[:, 2])
    points[:, 1] += left_m * np.cos(line[:, 2])
    return points


def straight(start: Socket, half_m: float, length_m: float, step_m: float = 2.0) -> RoadPiece:
    """A straight road of `length_m` > 0 with points at most `step_m` apart."""
    num_steps = max(1, math.ceil(length_m / step_m))
    along = np.arange(num_steps + 1) * (length_m / num_steps)
    line = np.empty((num_steps + 1, 3))
    line[:, 0] = start.x_m + along * math.cos(start.heading_rad)
    line[:, 1] = start.y_m + along * math.sin(start.heading_rad)
    line[:, 2] = start.heading_rad
    return RoadPiece("straight", line, half_m, math.inf)


def curve(start: Socket, half_m: float, radius_m: float, angle_rad: float) -> RoadPiece:
    """A circular arc of `radius_m` > 0 through `angle_rad`, positive to the left."""
    step_m = min(2.0 * radius_m / (radius_m + half_m), max(0.4, radius_m / 20))  # under 2 m on the outer lane too
    num_steps = max(2, math.ceil(abs(angle_rad) * radius_m / step_m))
    left_m = math.copysign(radius_m, angle_rad)  # the centre of the circle lies this far to the left
    line = np.empty((num_steps + 1, 3))
    line[:, 2] = heading = start.heading_rad + np.arange(num_steps + 1) * (angle_rad / num_steps)
    line[:, 0] = start.x_m + left_m * (np.sin(heading) - math.sin(start.heading_rad))
    line[:, 1] = start.y_m - left_m * (np.cos(heading) - math.cos(start.heading_rad))
    return RoadPiece("curve", line, half_m, radius_m)


def to_point(start: Socket, half_m: float, x_m: float, y_m: float) -> RoadPiece:
    """The arc (or straight) that leaves `start` along its heading and ends at a point."""
    cos, sin = math.cos(start.heading_rad), math.sin(start.heading_rad)
    dx, dy = x_m - start.x_m, y_m - start.y_m
    along, across = cos * dx + sin * dy, cos * dy - sin * dx
    angle, length = 2 * math.atan2(across, along), math.hypot(dx, dy)
    if abs(angle) * length < 1e-4:  # under 0.05 mm of bulge
        return straight(start, half_m, length)
    return curve(start, half_m, length / (2 * abs(math.sin(angle / 2))), angle)


def biarc(start: Socket, goal: Socket, half_m: float) -> tuple[RoadPiece, RoadPiece]:
    """Two arcs of equal tangent length from `start` to `goal`, whose heading is the direction of travel there.

    Bolton, "Biarc curves", Computer-Aided Design 7 (1975). A symmetric turn degenerates to one arc cut in two. The goal
    must not lie straight behind the start with the same heading (ValueError): no such curve is finite.
    """
    cos, sin = math.cos(start.heading_rad), math.sin(start.heading_rad)
    cos_goal, sin_goal = math.cos(goal.heading_rad), math.sin(goal.heading_rad)
    dx, dy = goal.x_m - start.x_m, goal.y_m - start.y_m
    square, slope = dx * dx + dy * dy, dx * (cos + cos_goal) + dy * (sin + sin_goal)
    divisor = slope + math.sqrt(slope * slope + 2 * (1 - cos * cos_goal - sin * sin_goal) * square)
    if divisor < 1e-9:
        raise ValueError(f"no biarc from {start} to {goal}; let the goal lie ahead of the start")
    tangent = square / divisor
    first = to_point(start, half_m, (start.x_m + goal.x_m + tangent * (cos - cos_goal)) / 2,
                     (start.y_m + goal.y_m + tangent * (sin - sin_goal)) / 2)
    return first, to_point(first.end, half_m, goal.x_m, goal.y_m)


def join(start: Socket, goal: Socket, longest_tangent_m: float = math.inf) -> Array:
    """The line (N, 3) of a turn from `start` to `goal`, whose heading is the direction of travel there.

    Where the two directions cross it is an arc as wide as fits, or of that tangent length, led straight to it and from
    it; where they are parallel a straight, or an S of two arcs.
    """
    ahead = goal.point_m - start.point_m
    turn = math.sin(goal.heading_rad - start.heading_rad)
    across = float(start.direction[0] * ahead[1] - start.direction[1] * ahead[0])
    if abs(turn) < 0.05:
        if abs(across) < 1e-6:
            return straight(start, 0.0, float(ahead @ start.direction)).line
        first, second = biarc(start, goal, 0.0)
        return np.concatenate([first.line, second.line[1:]])
    before = float(ahead[0] * goal.direction[1] - ahead[1] * goal.direction[0]) / turn
    behind = across / turn
    tangent = min(before, behind, longest_tangent_m)
    pieces = [straight(start, 0.0, before - tangent)] if before - tangent > 1e-6 else []
    entry = pieces[-1].end if pieces else start
    point = start.point_m + before * start.direction + tangent * goal.direction
    pieces.append(to_point(entry, 0.0, float(point[0]), float(point[1])))
    if behind - tangent > 1e-6:
        pieces.append(straight(pieces[-1].end, 0.0, behind - tangent))
    return np.concatenate([pieces[0].line] + [piece.line[1:] for piece in pieces[1:]])
