"""Ground that is not paved: tracks into the fields, and roadworks with the yellow lines that lead round them.

`paving.py` leaves the white lines out there; beacons are scenery (`roads/roadside.py`).
"""

from __future__ import annotations

import numpy as np

from envs.geometry import Array, interpolate, offset_polyline
from envs.render.markings import paints_middle, solid
from envs.render.paving import PAINT_HEIGHT_M, Patch, SemanticClass
from envs.render.strips import join, strip
from envs.roads.network import SHOULDER_M, RoadNetwork, Works

YELLOW = (226, 182, 40)  # TL M 2006: yellow overrules white where roads are mended
EARTH, EARTH_HEIGHT_M = (134, 108, 80), 0.008
GRAVEL, TRACK_HEIGHT_M = (158, 144, 116), -0.02  # under kerbs
GRASS_M = 0.9  # between the ruts of a track
CLEAR_M = 0.5  # from the shoulder of the lane that leads past to the hole


def track_patches(network: RoadNetwork) -> tuple[Patch, ...]:
    """The two ruts of every track, grass between them; none without tracks."""
    ruts = []
    for track in network.tracks:
        rut = (track.width_m - GRASS_M) / 2
        for aside in (-(GRASS_M + rut) / 2, (GRASS_M + rut) / 2):
            ruts.append(strip(*(offset_polyline(track.line_m, aside + side * rut / 2) for side in (1, -1))))
    return (Patch(*join(ruts), TRACK_HEIGHT_M, GRAVEL, SemanticClass.TERRAIN),) if ruts else ()


def works_patches(network: RoadNetwork) -> tuple[Patch, ...]:
    """Opened ground and yellow paint of a town; none without roadworks."""
    if not network.works:
        return ()
    return (Patch(*join([_hole(network, works) for works in network.works]), EARTH_HEIGHT_M, EARTH, SemanticClass.ROAD),
            Patch(*join([part for works in network.works for part in _lines(network, works)]), PAINT_HEIGHT_M, YELLOW,
                  SemanticClass.MARKING))


def _hole(network: RoadNetwork, works: Works) -> tuple[Array, Array]:
    """The strip at its full width, between the beacons and the kerb."""
    lane = network.lanes[works.lane]
    inner = lane.width_m / 2 + SHOULDER_M + CLEAR_M
    outer = inner + works.width_m - 1.5 * CLEAR_M
    at = np.arange(works.begin_m, works.end_m + 1e-6, (works.end_m - works.begin_m) / 4)
    left, right = (interpolate(offset_polyline(lane.centre_m, -aside), lane.station_m, at) for aside in (inner, outer))
    return strip(left, right)


def _lines(network: RoadNetwork, works: Works) -> list[tuple[Array, Array]]:
    """Both edges and the middle of the lanes that lead round."""
    lanes = [(network.lanes[number], (begin, end)) for number, begin, end in works.spans_m]
    sides = [(lane, -lane.half_m, span) for lane, span in lanes]
    sides += [(lane, lane.half_m, span) for lane, span in lanes if paints_middle(lane)]
    return [part for lane, aside, span in sides for part in solid(lane, aside, span, np.zeros((0, 2)))]
