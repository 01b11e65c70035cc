"""Road pieces: one function each, listed in PIECES. A piece starts at a socket and says which area it paves.

Roads are made of the lines in `sockets.py`. `tee` and `cross` return a junction: its sockets, in counter-clockwise
order, and its paved outline with rounded kerbs. Pieces know neither lanes nor traffic rules; `procedural.py` joins
them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from envs.geometry import Array
from envs.roads.network import SHOULDER_M
from envs.roads.sockets import RoadPiece, Socket, curve, join, offset_line, straight, to_point


@dataclass(frozen=True, eq=False)
class RampPiece(RoadPiece):
    """A straight road from which a lane leaves on the right, or which it joins there.

    Its arms differ: the road with all its lanes at either end, and one lane on the right of one of them.
    """

    lane: Array = field(default_factory=lambda: np.zeros((0, 3)))  # the middle (K, 3) of the lane that leaves or joins


@dataclass(frozen=True, eq=False)
class JunctionPiece:
    """A junction. `sockets` by arm, counter-clockwise; None where a tee has no arm. `outline_m` (M, 2), ccw."""

    name: str
    sockets: tuple[Socket | None, ...]
    outline_m: Array
    corner_radius_m: float  # of its kerbs


@dataclass(frozen=True, eq=False)
class RoundaboutPiece(JunctionPiece):
    """A ring round an island, driven counter-clockwise. Its arms have a lane each way."""

    centre: Socket
    radius_m: float  # of the middle of the ring's lane
    ring_width_m: float  # of that lane
    lane_width_m: tuple[float | None, ...]  # of each arm
    island_m: Array  # (K, 2) counter-clockwise
    splitters_m: tuple[Array, ...]  # convex areas (3, 2) between each arm's two lanes that nobody drives on

    def ring_point(self, angle_rad: float) -> Socket:
        """The middle of the ring's lane at an angle from arm 0, heading in the direction of travel."""
        angle = self.centre.heading_rad + angle_rad
        outward = np.array([math.cos(angle), math.sin(angle)])
        return Socket.at(self.centre.point_m + self.radius_m * outward, angle + math.pi / 2)

    def ring(self, begin_rad: float, end_rad: float) -> Array:
        """The middle of the ring's lane (N, 3) from one angle to a later one, both from arm 0."""
        return curve(self.ring_point(begin_rad), 0.0, self.radius_m, end_rad - begin_rad).line

    def entry(self, arm: int) -> Array:
        """The middle (N, 3) of the lane that leads from an arm into the ring."""
        start, width = self.sockets[arm], self.lane_width_m[arm]
        assert start is not None and width is not None
        left = np.array([-start.direction[1], start.direction[0]])
        end = self.ring_point(arm * math.pi / 2 + ENTRY_RAD)
        return to_point(Socket.at(start.point_m + width / 2 * left, start.heading_rad + math.pi), width / 2,
                        end.x_m, end.y_m).line

    def exit(self, arm: int) -> Array:
        """The middle (N, 3) of the lane that leads from the ring into an arm: `entry` seen in a mirror."""
        goal, width = self.sockets[arm], self.lane_width_m[arm]
        assert goal is not None and width is not None
        point = goal.point_m + width / 2 * np.array([goal.direction[1], -goal.direction[0]])
        return to_point(self.ring_point(arm * math.pi / 2 - ENTRY_RAD), width / 2, float(point[0]),
                        float(point[1])).line


BAY_M, BAY_TAPER_M = 3.0, 12.0  # width of a bus bay beside the edge line, length of its tapers (RASt 06)
RAMP_TAPER_M = 40.0  # in which a lane moves aside to leave the road, or back to join it
RAMP_BEND_M, RAMP_ASIDE_M = 44.0, 9.0  # in which a ramp leads away from the road beside it, and how far
GORE_M = 2.2  # of asphalt between a road and its ramp at most: from there on it is grass
REFUGE_M, REFUGE_TAPER_M = 1.5, 24.0  # by which each direction swerves round an island, and the length it has for it
WORKS_M, WORKS_TAPER_M = 2.0, 28.0  # width that roadworks take; both directions swerve round them
NARROW_M, NARROW_TAPER_M = 2.75, 24.0  # lane for a lorry and 0.25 m of room (RAS-Q, group E), and the way to it
ENTRY_RAD = 0.52  # between an arm and the points where its lanes touch the ring


def crossing(start: Socket, half_m: float, length_m: float) -> RoadPiece:
    """A straight on which people walk over the road, in its middle."""
    return replace(straight(start, half_m, length_m), name="crossing")


def s_bend(start: Socket, half_m: float, length_m: float, aside_m: float) -> RoadPiece:
    """Two equal arcs that lead `aside_m` to the left (negative: right) within `length_m` and end as they began."""
    across = np.array([-start.direction[1], start.direction[0]])
    middle = start.point_m + (length_m * start.direction + aside_m * across) / 2
    end = start.point_m + length_m * start.direction + aside_m * across
    first = to_point(start, half_m, float(middle[0]), float(middle[1]))
    second = to_point(first.end, half_m, float(end[0]), float(end[1]))
    return RoadPiece("s_bend", np.concatenate([first.line, second.line[1:]]), half_m, first.radius_m)


def bus_bay(start: Socket, half_m: float, length_m: float, side: float) -> RoadPiece:
    """A straight with a bay for a bus beside it, on the right (`side` -1) or left (1): BAY_M wide, with tapers."""
    piece = straight(start, half_m, length_m)
    along = np.linspace(0.0, length_m, len(piece.line))
    bay = np.interp(along, [0.0, BAY_TAPER_M, length_m - BAY_TAPER_M, length_m], [0.0, BAY_M, BAY_M, 0.0])
    none = np.zeros_like(bay)
    return replace(piece, name="bus_bay", wider_m=(bay, none) if side < 0 else (none, bay))


def exit_ramp(start: Socket, half_m: float, length_m: float, lane_width_m: float) -> RampPiece:
    """A straight whose rightmost lane of `lane_width_m` is doubled: one goes on, one moves aside and runs beside it."""
    first = _beside(start, lane_width_m / 2 + SHOULDER_M - half_m)
    away = s_bend(first, 0.0, RAMP_TAPER_M, -lane_width_m)
    return _with_lane("exit_ramp", straight(start, half_m, length_m), lane_width_m,
                      _joined(away, straight(away.end, 0.0, length_m - RAMP_TAPER_M)))


def merge_ramp(start: Socket, half_m: float, length_m: float, lane_width_m: float) -> RampPiece:
    """A straight beside which a lane of `lane_width_m` comes along on the right and moves over to the rightmost one."""
    first = _beside(start, -lane_width_m / 2 + SHOULDER_M - half_m)
    along = straight(first, 0.0, length_m - RAMP_TAPER_M)
    return _with_lane("merge_ramp", straight(start, half_m, length_m), lane_width_m,
                      _joined(along, s_bend(along.end, 0.0, RAMP_TAPER_M, lane_width_m)))


def _beside(start: Socket, left_m: float) -> Socket:
    return Socket.at(offset_line(np.array([[start.x_m, start.y_m, start.heading_rad]]), left_m)[0], start.heading_rad)


def _joined(*pieces: RoadPiece) -> Array:
    return np.concatenate([pieces[0].line, *(piece.line[1:] for piece in pieces[1:])])


def _with_lane(name: str, piece: RoadPiece, lane_width_m: float, lane: Array) -> RampPiece:
    """A straight that is as much wider on the right as the lane and its shoulder need."""
    along, ahead = piece.line[0, :2], np.array([math.cos(piece.line[0, 2]), math.sin(piece.line[0, 2])])
    edge = offset_line(lane, -lane_width_m / 2 - SHOULDER_M) - along
    out = np.interp((piece.line[:, :2] - along) @ ahead, edge @ ahead, edge @ np.array([ahead[1], -ahead[0]]))
    wider = np.maximum(out - piece.half_m, 0.0)
    return RampPiece(name, piece.line, piece.half_m, math.inf, (wider, np.zeros_like(wider)), lane=lane)


def ramp(start: Socket, half_m: float, length_m: float, beside_m: float) -> RoadPiece:
    """A one-way road that bends away to the right, runs RAMP_ASIDE_M farther out and comes back.

    Its last `beside_m` run beside the road it left, for whoever joins to gather speed. Between the two roads lies
    asphalt while they are less than GORE_M apart.
    """
    away = s_bend(start, 0.0, RAMP_BEND_M, -RAMP_ASIDE_M)
    along = straight(away.end, 0.0, length_m - beside_m - 2 * RAMP_BEND_M)
    back = s_bend(along.end, 0.0, RAMP_BEND_M, RAMP_ASIDE_M)
    line = _joined(away, along, back, straight(back.end, 0.0, beside_m))
    left = np.array([-start.direction[1], start.direction[0]])
    room = half_m - 2 * SHOULDER_M - (line[:, :2] - start.point_m) @ left  # from the line to the other road's asphalt
    room = room / np.cos(line[:, 2] - start.heading_rad) - half_m
    wider = np.where(room < GORE_M, room, 0.0)
    return RoadPiece("ramp", line, half_m, away.radius_m, (np.zeros_like(wider), wider))
def _swerve(start: Socket, half_m: float, length_m: float, aside_m: float, taper_m: float) -> tuple[RoadPiece, Array]:
    """A straight, and how far (N,) aside something on it moves and comes back, each over `taper_m`, by four parabolas.

    These have the smallest curvature of all ways aside; at their steepest they lead 2 `aside_m` / `taper_m` aside.
    """
    piece = straight(start, half_m, length_m, 1.9)  # on a swerving lane they are farther apart
    along = np.linspace(0.0, length_m, len(piece.line))
    share = np.clip(np.minimum(along, length_m - along) / taper_m, 0.0, 1.0)
    aside = aside_m * np.where(share < 0.5, 2 * share ** 2, 1.0 - 2 * (1.0 - share) ** 2)
    return replace(piece, radius_m=taper_m ** 2 / (4 * aside_m)), aside


def refuge(start: Socket, half_m: float, length_m: float) -> RoadPiece:
    """A straight whose directions swerve apart round an island, halfway over the road for people on foot."""
    piece, aside = _swerve(start, half_m, length_m, REFUGE_M, REFUGE_TAPER_M)
    half, wide = length_m / 2 - REFUGE_TAPER_M, REFUGE_M - SHOULDER_M
    angle = np.linspace(-math.pi / 2, math.pi / 2, 9)
    head = np.stack([half - wide + wide * np.cos(angle), wide * np.sin(angle)], axis=1)
    local = np.concatenate([head, -head]) + np.array([length_m / 2, 0.0])
    across = np.array([-start.direction[1], start.direction[0]])
    island = start.point_m + local[:, :1] * start.direction + local[:, 1:] * across
    return replace(piece, name="refuge", wider_m=(aside, aside), shift_m=(-aside, aside), island_m=island)


def roadworks(start: Socket, half_m: float, length_m: float, side: float) -> RoadPiece:
    """A straight with a strip dug up on the right (`side` -1) or left (1): all lanes swerve to the other side."""
    piece, aside = _swerve(start, half_m, length_m, WORKS_M, WORKS_TAPER_M)
    none = np.zeros_like(aside)
    return replace(piece, name="roadworks", wider_m=(none, aside) if side < 0 else (aside, none),
                   shift_m=(-side * aside, -side * aside))


def narrowing(start: Socket, half_m: float, length_m: float, side: float) -> RoadPiece:
    """A straight of one lane each way whose kerb on the right (`side` -1) or left (1) comes in, and goes out again.

    Both lanes give up the same until they are NARROW_M wide; so the line between them moves aside half as far.
    """
    each_m = half_m - SHOULDER_M - NARROW_M
    piece, narrower = _swerve(start, half_m, length_m, each_m, NARROW_TAPER_M)
    none = np.zeros_like(narrower)
    return replace(piece, name="narrowing", wider_m=(-2 * narrower, none) if side < 0 else (none, -2 * narrower),
                   shift_m=(-side * narrower, -side * narrower), narrower_m=narrower,
                   radius_m=piece.radius_m / 1.5)  # of the lane at that kerb, which moves half as far again


def _junction(name: str, centre: Socket, halves_m: tuple[float | None, ...], corner_radius_m: float) -> JunctionPiece:
    """A junction whose arm k points to `centre.heading_rad` + k * 90 degrees and is `halves_m[k]` wide to each side.

    An arm reaches as far as its wider neighbour and a kerb corner need, so the kerb may run straight before a corner.
    """
    count = len(halves_m)
    present = [k for k in range(count) if halves_m[k] is not None]
    half = [value or 0.0 for value in halves_m]
    sockets: list[Socket | None] = [None] * count
    for k in present:
        heading = centre.heading_rad + k * math.pi / 2
        reach = max(half[k - 1], half[(k + 1) % count]) + corner_radius_m
        sockets[k] = Socket.at(centre.point_m + reach * np.array([math.cos(heading), math.sin(heading)]), heading)
    outline = []
    for k, after in zip(present, present[1:] + present[:1], strict=True):
        arm, following = sockets[k], sockets[after]
        assert arm is not None and following is not None
        left = np.array([-arm.direction[1], arm.direction[0]])
        right_after = np.array([following.direction[1], -following.direction[0]])
        corner = Socket.at(arm.point_m + half[k] * left, arm.heading_rad + math.pi)
        goal = following.point_m + half[after] * right_after
        outline.append((arm.point_m - half[k] * left)[None])
        outline.append(join(corner, Socket.at(goal, following.heading_rad))[:, :2])
    points = np.concatenate(outline)
    fresh = np.hypot(*(points - np.roll(points, 1, axis=0)).T) > 1e-6
    return JunctionPiece(name, tuple(sockets), points[fresh], corner_radius_m)


def roundabout(centre: Socket, halves_m: tuple[float | None, ...], radius_m: float,
               ring_width_m: float) -> RoundaboutPiece:
    """Three or four arms at right angles round a ring; None where one is missing. Each entry is one arc.

    An arm reaches as far as an arc needs that leaves it along its lane and touches the ring ENTRY_RAD farther.
    """
    widths = tuple(half - SHOULDER_M if half is not None else None for half in halves_m)
    turn = math.pi / 2 - ENTRY_RAD
    sockets: list[Socket | None] = []
    for k, width in enumerate(widths):
        heading = centre.heading_rad + k * math.pi / 2
        aside = radius_m * math.sin(ENTRY_RAD) - (width or 0.0) / 2
        reach = radius_m * math.cos(ENTRY_RAD) + aside / math.tan(turn / 2)
        sockets.append(Socket.at(centre.point_m + reach * np.array([math.cos(heading), math.sin(heading)]), heading)
                       if width is not None else None)
    edge_m, inner_m = ring_width_m / 2 + SHOULDER_M, radius_m - ring_width_m / 2 - SHOULDER_M
    around = centre.heading_rad + np.linspace(0.0, 2 * math.pi, 49)[:-1]
    island = centre.point_m + inner_m * np.stack([np.cos(around), np.sin(around)], axis=1)
    piece = RoundaboutPiece("roundabout", tuple(sockets), island, edge_m, centre, radius_m, ring_width_m, widths,
                            island, ())
    present = [k for k, socket in enumerate(sockets) if socket is not None]
    outline, splitters = [], []
    for k, after in zip(present, [*present[1:], present[0] + 4], strict=True):
        width = widths[k]
        assert width is not None
        into, out, aside = piece.entry(k), piece.exit(k), width / 2 + SHOULDER_M
        on = piece.ring(k * math.pi / 2 + ENTRY_RAD, after * math.pi / 2 - ENTRY_RAD)
        outline += [offset_line(out, np.linspace(-edge_m, -aside, len(out))),
                    offset_line(into, np.linspace(-aside, -edge_m, len(into))),
                    offset_line(on, -edge_m)[1:-1]]
        splitters.append(_splitter(piece, k, into, width))
    points = np.concatenate(outline)
    fresh = np.hypot(*(points - np.roll(points, 1, axis=0)).T) > 1e-6
    return replace(piece, outline_m=points[fresh], splitters_m=tuple(splitters))


def _splitter(piece: RoundaboutPiece, arm: int, into: Array, width_m: float) -> Array:
    """The triangle (3, 2) between an arm's lanes, from near its socket to the edge of the ring."""
    socket, gap = piece.sockets[arm], 0.3
    assert socket is not None
    left = np.array([-socket.direction[1], socket.direction[0]])
    away = (into[:, :2] - piece.centre.point_m) @ socket.direction
    inside = np.flatnonzero(away > piece.radius_m + piece.ring_width_m / 2 + gap)[-1]
    half = float((into[inside, :2] - socket.point_m) @ left) - width_m / 2 - gap
    base = piece.centre.point_m + away[inside] * socket.direction
    tip = socket.point_m + 0.3 * (base - socket.point_m)  # nearer to the arm the lanes leave no room
    return np.array([tip, base + half * left, base - half * left])


def tee(centre: Socket, halves_m: tuple[float, float, float], corner_radius_m: float) -> JunctionPiece:
    """Three arms: ahead, a stem to the left of `centre`'s heading, and back."""
    return _junction("tee", centre, (*halves_m, None), corner_radius_m)


def cross(centre: Socket, halves_m: tuple[float, float, float, float], corner_radius_m: float) -> JunctionPiece:
    """Four arms."""
    return _junction("cross", centre, halves_m, corner_radius_m)


PIECES: dict[str, Callable[..., Any]] = {
    "straight": straight, "curve": curve, "crossing": crossing, "tee": tee, "cross": cross,
    "roundabout": roundabout, "s_bend": s_bend, "bus_bay": bus_bay,
    "exit_ramp": exit_ramp, "merge_ramp": merge_ramp, "ramp": ramp,
    "refuge": refuge, "roadworks": roadworks, "narrowing": narrowing,
}
