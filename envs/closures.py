"""Where signs are true that tell where one cannot drive: islands, roadworks that lanes lead round, closed tracks.

Rules like those of `sites.py`. Nothing here knows how a sign looks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from envs.geometry import interpolate
from envs.roads.network import SHOULDER_M, Lane
from envs.roads.pieces import REFUGE_TAPER_M
from envs.sites import APART_M, LIMIT_STATION_M, NEAREST_WARNING_M, Site, Streets, warning_distance_m

BESIDE_TRACK_M, TRACK_TURN_RAD = 0.6, math.radians(55.0)
WORKS_HEAD = 0.5  # of the taper of roadworks, where the sign on their head stands


def islands(streets: Streets) -> Iterator[Site]:
    """On both ends of every island in the middle of a road, facing who comes."""
    for median in streets.network.medians:
        for number, (begin_m, _), (x, y) in zip(median.lanes, median.spans_m, median.heads_m.tolist(), strict=True):
            yield Site(streets.network.outermost(number, "right"), begin_m + REFUGE_TAPER_M, foot_m=(x, y))


def works_head(streets: Streets) -> Iterator[Site]:
    """On the head of roadworks that one passes on their left."""
    for works in streets.network.works:
        lane = streets.lanes[works.lane]
        station = works.begin_m - works.taper_m * (1 - WORKS_HEAD)
        foot, after = interpolate(lane.centre_m, lane.station_m, np.array([station, station + 0.5]))
        along = (after - foot) / 0.5
        foot = foot + (lane.width_m / 2 + SHOULDER_M + works.width_m / 4) * np.array([along[1], -along[0]])
        yield Site(works.lane, station, foot_m=(float(foot[0]), float(foot[1])))


def roadworks(streets: Streets) -> Iterator[Site]:
    """Before roadworks, on every lane that leads round them."""
    for works in streets.network.works:
        for number, begin_m, _ in works.spans_m:
            yield from _announced(streets.lanes[number], begin_m)


def narrowing_right(streets: Streets) -> Iterator[Site]:
    """Before a kerb on the right that comes in, and on the post of works that take the road's own right side."""
    for works in streets.network.works:
        yield from _announced(streets.lanes[works.lane], works.begin_m - works.taper_m)
    for narrowing in streets.network.narrowings:
        yield from _announced(streets.lanes[narrowing.lane], narrowing.begin_m)


def _announced(lane: Lane, begin_m: float) -> Iterator[Site]:
    """One place before what narrows a road, behind the signs at the start of the lane, if there is room."""
    last = begin_m - NEAREST_WARNING_M
    if last >= LIMIT_STATION_M + APART_M:
        yield Site(lane.id, max(LIMIT_STATION_M + APART_M, begin_m - warning_distance_m(lane.speed_limit_mps)))


def closed_tracks(streets: Streets) -> Iterator[Site]:
    """On the right of who would turn into a track, half turned to the road from which he comes."""
    for track in streets.network.tracks:
        yield Site(track.lane, track.station_m - track.width_m / 2 - BESIDE_TRACK_M, turn_rad=TRACK_TURN_RAD)
