"""Rows of labels in which nothing is to be seen, for tests to fill in what they are about."""

import numpy as np

from envs.roads.routes import navigation
from perception.generate import FIELDS, PADDING

NOWHERE = {"boundaries_px": np.nan, "lanes_px": np.nan, "stop_m": np.inf, "my_light_m": np.inf, "lead_m": 60.0}


def blank(num):
    """Labels of `num` frames by the names of generate.FIELDS; the navigation says to follow the road."""
    values = NOWHERE | PADDING
    rows = {name: np.full((num, *shape), values.get(name, 0), dtype) for name, (shape, dtype) in FIELDS.items()}
    rows["command"][:] = navigation()
    return rows


def put(rows, thing, k, box_px, distance_m, **more):
    """The k-th thing of a kind into all rows: its box, distance and other fields, such as class=7 or phase=1."""
    rows[f"{thing}_box_px"][:, k], rows[f"{thing}_distance_m"][:, k] = box_px, distance_m
    for name, value in more.items():
        rows[f"{thing}_{name}"][:, k] = value


def full(num):
    """Something of everything: lines, a road, a stop line, a vehicle, a person, a red light that binds, two signs."""
    rows = blank(num)
    rng = np.random.default_rng(0)
    rows["path_m"][:] = rng.normal(0, 2, rows["path_m"].shape)
    rows["boundaries_px"][:] = rng.uniform(10, 300, rows["boundaries_px"].shape)
    rows["lanes_px"][:] = rng.uniform(10, 300, (num, 4, 1))
    rows["boundaries_px"][:, 1, :5] = np.nan
    rows["lane_marking"][:], rows["drivable"][:, 20:] = rng.integers(1, 4, (num, 4)), 255
    rows["lead_m"][:], rows["stop_m"][:], rows["stop_kind"][:] = 12.0, 14.0, 1
    rows["my_light"][:], rows["my_light_m"][:] = 1, 15.0
    put(rows, "sign", 0, [200, 60, 214, 74], 9.0, **{"class": 7})
    put(rows, "sign", 1, [40, 64, 48, 72], 21.0, **{"class": 14})
    put(rows, "light", 0, [96, 40, 104, 60], 18.0, phase=1, is_mine=True)
    put(rows, "vehicle", 0, [140, 70, 190, 110], 12.0)
    put(rows, "person", 0, [240, 74, 250, 104], 14.0, kind=2)
    return rows
