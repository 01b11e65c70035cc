"""The pavements of built-up streets as flat strips along their kerbs, where people walk.

They follow the rings of `roads/pavements.py`, so they lead round corners and junctions; fast roads have none.
"""

from __future__ import annotations

import numpy as np

from envs.geometry import Array
from envs.render.paving import KERB_WIDTH_M, Patch, SemanticClass
from envs.render.strips import bands
from envs.roads.network import RoadNetwork
from envs.roads.pavements import rings

WIDTH_M = 2.5  # RASt 06, 6.1.6.1: the usual width of a pavement
SLABS = (176, 172, 166)
FASTEST_MPS = 51 / 3.6
SHORTEST_M = 30.0  # the few metres through a junction of fast roads are left out
HEIGHT_M = -0.018  # under the kerbs


def pavements(network: RoadNetwork) -> tuple[Patch, ...]:
    """One patch with the pavements of all streets up to FASTEST_MPS; none if there is no such street."""
    kerb, right, limit, after = rings(network)
    inner, outer = kerb + 0.5 * KERB_WIDTH_M * right, kerb + (KERB_WIDTH_M + WIDTH_M) * right
    sides = [(inner[rows], outer[rows]) for rows in _runs(limit <= FASTEST_MPS, after)]
    return (Patch(*bands(sides), HEIGHT_M, SLABS, SemanticClass.KERB),) if sides else ()


def _runs(is_slow: Array, after: Array) -> list[Array]:
    """Rows of kerb points that follow each other along slow streets; the first comes again at the end of a ring."""
    runs, first = [], 0
    for last in np.flatnonzero(after != np.arange(1, len(after) + 1)).tolist():  # of a kerb
        rows = np.arange(first, last + 1)
        if after[last] == first:
            fast = np.flatnonzero(~is_slow[rows])
            rows = np.roll(rows, -fast[0]) if len(fast) else np.append(rows, first)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], is_slow[rows], [False]])))
        runs += [rows[begin:end] for begin, end in edges.reshape(-1, 2) if end - begin > SHORTEST_M]
        first = last + 1
    return runs
