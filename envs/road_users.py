"""Kinds of vehicles on the road: how large they are, what colours they have, and how their drivers drive. A table.

The driver's figures are the Intelligent Driver Model's. Treiber and Kesting, "Traffic Flow Dynamics" (Springer 2013),
table 11.2, city traffic: time gap 1.0 s, gap at a halt 2 m, acceleration 1.0 m/s2, comfortable deceleration 1.5 m/s2;
lorries keep longer gaps and accelerate less. Ranges around these figures make drivers differ. Nothing here moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.geometry import Array
from envs.state import ActorKind

# length, width, height [m] of usual European cars: small, compact, saloon, off-roader, van
CAR_SIZES_M = np.array([[3.7, 1.65, 1.49], [4.3, 1.79, 1.46], [4.7, 1.83, 1.44], [4.5, 1.86, 1.68], [5.1, 1.93, 1.97]])
CAR_COLOURS = np.array([[40, 40, 44], [120, 124, 128], [200, 202, 204], [238, 238, 236], [150, 28, 30], [34, 62, 122],
                        [60, 92, 74], [176, 160, 130]], np.uint8)
WORK_COLOURS = np.array([[238, 238, 236], [238, 238, 236], [214, 168, 40], [34, 62, 122], [120, 124, 128]], np.uint8)
BUS_COLOURS = np.array([[196, 44, 40], [232, 226, 206], [44, 98, 150]], np.uint8)
COAT_COLOURS = np.array([[170, 60, 50], [46, 70, 120], [70, 70, 74], [206, 170, 70]], np.uint8)


@dataclass(frozen=True, eq=False)
class UserKind:
    """A kind of road user; ranges are (low, high) of a uniform distribution."""

    name: str
    actor: ActorKind
    share: float  # of the vehicles, in parts
    sizes_m: Array  # (S, 3) length, width, height
    colours: Array  # (C, 3) uint8
    wheelbase: float  # as a share of the length
    front_overhang: float  # from the front bumper to the front axle, as a share of the length
    headway_s: tuple[float, float]
    accel_mps2: tuple[float, float]
    brake_mps2: float  # comfortable
    limit_share: tuple[float, float]  # of the speed limit that its driver wishes to drive
    top_mps: tuple[float, float]
    least_radius_m: float  # of a turn it takes if it has the choice
    gap_m: float = 2.0  # at a halt


KINDS = (
    UserKind("car", ActorKind.VEHICLE, 78.0, CAR_SIZES_M, CAR_COLOURS, 0.58, 0.20, (1.0, 1.5), (1.1, 1.8), 1.7,
             (0.85, 1.0), (60.0, 60.0), 0.0),
    UserKind("van", ActorKind.VEHICLE, 12.0, np.array([[5.4, 1.98, 2.3], [5.9, 2.0, 2.5]]), WORK_COLOURS, 0.58, 0.17,
             (1.1, 1.6), (1.0, 1.4), 1.6, (0.85, 1.0), (44.0, 44.0), 0.0),
    UserKind("lorry", ActorKind.VEHICLE, 6.0, np.array([[8.2, 2.42, 3.3], [9.6, 2.48, 3.6]]), WORK_COLOURS, 0.60, 0.16,
             (1.5, 2.0), (0.7, 0.9), 1.5, (0.85, 0.95), (24.0, 24.0), 10.5),
    UserKind("bus", ActorKind.VEHICLE, 4.0, np.array([[12.0, 2.5, 3.1]]), BUS_COLOURS, 0.54, 0.21, (1.4, 1.8),
             (0.8, 1.0), 1.4, (0.85, 0.95), (23.0, 23.0), 12.0),
    UserKind("cyclist", ActorKind.CYCLIST, 0.0, np.array([[1.75, 0.6, 1.75]]), COAT_COLOURS, 0.62, 0.19, (0.8, 1.2),
             (0.6, 0.9), 1.5, (1.0, 1.0), (4.0, 6.5), 0.0, gap_m=1.5),
)
LORRY, BUS, CYCLIST = 2, 3, 4  # rows of KINDS
