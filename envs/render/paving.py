"""What is paved, as flat coloured triangles: kerbs under asphalt under markings. No renderer here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from envs.geometry import Array
from envs.render.markings import (
    arrows,
    bar,
    bay_paint,
    between,
    edge_paint,
    hatching,
    paints_middle,
    solid,
    zebra,
)
from envs.render.strips import SAGITTA_M, join, strip, thin
from envs.roads.network import Control, Marking, RoadNetwork


class SemanticClass(IntEnum):
    """What a pixel shows: the values of Frame.class_id."""

    SKY = 0
    TERRAIN = 1
    ROAD = 2
    MARKING = 3
    STOP_LINE = 4
    KERB = 5
    BUILDING = 6
    VEGETATION = 7
    POLE = 8
    SIGN = 9
    VEHICLE = 10
    PEDESTRIAN = 11
    TRAFFIC_LIGHT = 12  # housing and lamps; the post is a POLE
    CYCLIST = 13  # with the bicycle


@dataclass(frozen=True, eq=False)
class Patch:
    """A flat coloured surface on the ground: triangles over vertices, all counter-clockwise seen from above.

    Later patches lie over earlier ones; `height_m` orders them for renderers with a depth buffer.
    """

    vertices_m: Array  # (V, 2) float64
    triangles: Array  # (T, 3) int32
    height_m: float
    colour: tuple[int, int, int]  # RGB
    semantic: SemanticClass
    is_thin: bool = False  # drawn with soft edges, as paint is: narrower than a pixel even close by


ASPHALT = ((98, 98, 101), (88, 88, 92), (108, 107, 106))
KERB_GREY, PAINT = (152, 148, 140), (238, 238, 232)
KERB_WIDTH_M = 0.35
GRASS = (98, 132, 70)
PAINT_HEIGHT_M = 0.012


def _edge_breaks(network: RoadNetwork) -> dict[int, Array]:
    """By lane: the stations (K, 2) between which bus bays and ramps interrupt the line on its right [m]."""
    breaks: dict[int, list[tuple[float, float]]] = {}
    for bay in network.bays:
        breaks.setdefault(bay.lane, []).append((bay.begin_m - bay.taper_m, bay.end_m + bay.taper_m))
    for number, begin, end in network.open_edges:
        breaks.setdefault(number, []).append((begin, end))
    return {lane: np.array(rows) for lane, rows in breaks.items()}


def _zebra_breaks(network: RoadNetwork) -> dict[int, Array]:
    """By lane: the stations (K, 2) between which zebras interrupt its lines [m]."""
    breaks: dict[int, list[tuple[float, float]]] = {}
    for crossing in network.crossings:
        for lane, station in zip(crossing.lanes, crossing.stations_m, strict=True):
            if crossing.is_zebra:
                breaks.setdefault(lane, []).append((station - crossing.width_m / 2, station + crossing.width_m / 2))
    return {lane: np.array(rows) for lane, rows in breaks.items()}


def _halves(outline_m: Array) -> tuple[Array, Array]:
    """Left and right sides (N, 2) of a road piece's outline."""
    count = len(outline_m) // 2
    left, right = outline_m[count:][::-1], outline_m[:count]
    keep = thin((left + right) / 2) if np.ptp(np.hypot(*(left - right).T)) < SAGITTA_M else np.union1d(
        thin(left), thin(right))
    return left[keep], right[keep]


def _fan(outline_m: Array, grow_m: float = 0.0) -> tuple[Array, Array]:
    """A junction's area as a fan about its middle, grown outward by `grow_m`."""
    middle = outline_m.mean(axis=0)
    rim = outline_m + grow_m * (outline_m - middle) / np.hypot(*(outline_m - middle).T)[:, None]
    index = np.arange(len(rim))
    triangles = np.stack([np.zeros_like(index), index + 1, (index + 1) % len(rim) + 1], axis=1)
    return np.concatenate([middle[None], rim]), triangles.astype(np.int32)


def _kerbs(left_m: Array, right_m: Array) -> list[tuple[Array, Array]]:
    outward = (left_m - right_m) / np.hypot(*(left_m - right_m).T)[:, None] * KERB_WIDTH_M
    return [strip(left_m + outward, left_m), strip(right_m, right_m - outward)]


def patches(network: RoadNetwork) -> tuple[Patch, ...]:
    """Everything flat: kerbs under asphalt under paint."""
    asphalt: list[list[tuple[Array, Array]]] = [[] for _ in ASPHALT]
    kerbs, paint, bars = [], [], []
    roads = np.unique([lane.surface for lane in network.lanes if lane.junction is None])  # first piece of each
    for number, surface in enumerate(network.surfaces):
        if surface.junction is not None and not surface.is_open:
            asphalt[0].append(_fan(surface.outline_m))
            kerbs.append(_fan(surface.outline_m, KERB_WIDTH_M))
        else:
            left, right = _halves(surface.outline_m)
            road = int(np.searchsorted(roads, number, side="right"))
            asphalt[road * 7 % 11 % len(ASPHALT)].append(strip(left, right))
            kerbs += _kerbs(left, right)
    breaks, at_bays, unbroken = _zebra_breaks(network), _edge_breaks(network), np.zeros((0, 2))
    yellow = {lane: np.array([[begin, end]]) for works in network.works for lane, begin, end in works.spans_m}
    paint += [part for bay in network.bays for part in bay_paint(network, bay)]
    islands = [surface.island_m for surface in network.surfaces if surface.island_m is not None]
    greens = [surface.island_m for surface in network.surfaces
              if surface.island_m is not None and surface.junction is not None]
    for median in network.medians:  # the other lane's left edge is the middle's
        lane = network.lanes[max(median.lanes)]
        paint += solid(lane, lane.half_m, median.spans_m[median.lanes.index(lane.id)], unbroken)
    paint += [part for area in network.hatched_m for part in hatching(area)]
    paint += [zebra(crossing) for crossing in network.crossings if crossing.is_zebra]
    for lane in network.lanes:
        broken, mended = breaks.get(lane.id, unbroken), yellow.get(lane.id, unbroken)
        paint += between(network, lane, np.concatenate([broken, mended, at_bays.get(lane.id, unbroken)]))
        if paints_middle(lane):
            paint += edge_paint(lane, lane.half_m, lane.left, np.concatenate([broken, mended]))
        paint += arrows(network, lane)
        is_bound = lane.control != Control.NONE and lane.left != Marking.BLOCK
        if is_bound or lane.signal is not None:
            bars += bar(lane)
    layers = [(kerbs, -0.012, KERB_GREY, SemanticClass.KERB)]
    layers += [(parts, 0.0, colour, SemanticClass.ROAD) for parts, colour in zip(asphalt, ASPHALT, strict=True)]
    layers += [([_fan(island) for island in islands], 0.004, KERB_GREY, SemanticClass.KERB),
               ([_fan(island, -KERB_WIDTH_M) for island in greens], 0.008, GRASS, SemanticClass.TERRAIN)]
    layers += [(paint, PAINT_HEIGHT_M, PAINT, SemanticClass.MARKING),
               (bars, PAINT_HEIGHT_M, PAINT, SemanticClass.STOP_LINE)]
    return tuple(Patch(*join(parts), height, colour, semantic) for parts, height, colour, semantic in layers if parts)
