"""The lanes of a ramp beside a road: out of its rightmost lane, along a one-way road, and back into it.

A driver who leaves moves aside onto a lane of his own before he brakes; one who joins gathers speed beside the road,
at the end of that lane gives way to whoever is on it (StVO section 18 (3)) and moves over. Nothing here decides where.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from envs.geometry import Array, stations
from envs.roads.laying import Road
from envs.roads.network import SHOULDER_M, Command, Control, Junction, Lane, Marking, Surface
from envs.roads.pieces import GORE_M, RampPiece
from envs.roads.plan import BESIDE_M
from envs.roads.sockets import RoadPiece, offset_line

if TYPE_CHECKING:
    from envs.roads.lanes import Builder

RAMP_LIMIT_MPS = 60 / 3.6
HATCH_FROM_M, HATCH_GAP_M = 0.5, 0.35  # of asphalt between two roads where hatching begins; kept to their lines


def add_ramp(builder: Builder, road: Road, forward: tuple[tuple[int, ...], ...],
             back: tuple[tuple[int, ...], ...]) -> None:
    """The ramp of a road whose lanes lie in five sections: before, at and behind the exit, at and behind the entry."""
    leave, join = (piece for piece in road.pieces if isinstance(piece, RampPiece))
    assert road.ramp is not None
    lanes, line = builder.lanes, road.ramp.line
    row = int(stations(line[:, :2]).searchsorted(stations(line[:, :2])[-1] - BESIDE_M - 1e-6))
    surface = len(builder.surfaces)
    builder.surfaces.append(Surface("ramp", road.ramp.outline_m, None, is_open=True))
    before, at_exit, between, at_entry, behind = (lanes[section[-1]] for section in forward)
    out, along, beside, into = range(len(lanes), len(lanes) + 4)
    width, limit = before.width_m, before.speed_limit_mps
    lanes += [
        Lane(out, leave.lane[:, :2].copy(), width, limit, Marking.NONE, Marking.SOLID, (along,), at_exit.surface,
             junction=at_exit.junction, turn=Command.RIGHT),
        Lane(along, line[:row + 1, :2].copy(), width, min(RAMP_LIMIT_MPS, limit), Marking.SOLID, Marking.SOLID,
             (beside,), surface),
        Lane(beside, line[row:, :2].copy(), width, limit, Marking.BLOCK, Marking.SOLID, (into,), surface,
             control=Control.YIELD),
        Lane(into, join.lane[:, :2].copy(), width, limit, Marking.NONE, Marking.SOLID, (behind.id,), at_entry.surface,
             junction=at_entry.junction)]
    lanes[before.id] = replace(before, successors=(*before.successors, out))
    builder.open_edges.append((between.id, between.length_m - lanes[beside].length_m, between.length_m))
    builder.hatched += _gores(road.ramp)
    for number, incoming, turn, outgoing in ((1, (), out, (along,)), (3, (beside,), into, ())):
        junction = lanes[forward[number][0]].junction
        assert junction is not None
        builder.junctions[junction] = Junction(
            junction, (*forward[number - 1], *back[number + 1], *incoming), (*forward[number], *back[number], turn),
            (*forward[number + 1], *back[number - 1], *outgoing))


def _gores(ramp: RoadPiece) -> list[Array]:
    """The triangles (3, 2) of asphalt between a road and its ramp, counter-clockwise: where they part and meet."""
    assert ramp.wider_m is not None
    found, half = [], ramp.half_m
    for line, wider in ((ramp.line, ramp.wider_m[1]), (ramp.line[::-1], ramp.wider_m[1][::-1])):
        gap = wider + 2 * SHOULDER_M  # between the edge lines
        nose = int(np.argmax(np.concatenate([wider[1:] < wider[:-1] - 0.5, [True]])))
        if gap[nose] < GORE_M / 2:
            continue
        tip = nose - int(np.argmax(gap[nose::-1] < HATCH_FROM_M + 2 * HATCH_GAP_M))
        inner = offset_line(line[nose][None], half - SHOULDER_M + HATCH_GAP_M)[0]
        outer = offset_line(line[nose][None], half - SHOULDER_M + gap[nose] - HATCH_GAP_M)[0]
        point = offset_line(line[tip][None], half - SHOULDER_M + gap[tip] / 2)[0]
        corners = np.array([point, inner, outer])
        a, b = corners[1] - corners[0], corners[2] - corners[0]
        found.append(corners if a[0] * b[1] - a[1] * b[0] > 0 else corners[[0, 2, 1]])
    return found
