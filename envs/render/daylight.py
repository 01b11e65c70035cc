"""Sun, sky and air of a town in a weather: what all renderers draw by, before lamps and lenses come into it.

Colours are chosen by eye; where the sun stands on a fair day is the town's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from envs.geometry import Array
from envs.state import Town
from envs.weather import CLEAR, Weather

Colour = tuple[int, int, int]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """The sun, the sky and the air: `sun` is the unit vector towards it, fog has the colour of the horizon."""

    sun: Triple = (0.4, 0.3, 0.87)
    ambient: float = 0.6
    sky_zenith: Colour = (96, 150, 214)
    sky_horizon: Colour = (206, 224, 240)
    terrain: Colour = (98, 132, 70)
    visibility_m: float = math.inf  # where 5 % of a contrast are left (meteorological optical range, WMO-No. 8)
    day: Triple = (1.0, 1.0, 1.0)  # daylight on all things, as share of a fair day's: a picture is drawn by that
    afterglow: Colour = (0, 0, 0)  # added to the sky above the sun
    cloud: Colour = (236, 238, 240)
    weather: Weather = CLEAR


# What the sky is like by the sun's elevation [deg]: zenith, horizon, light on things, glow above the sun.
_SUN_DEG = np.array([-18.0, -8.0, -3.0, 2.0, 8.0, 15.0])
_ZENITH = np.array([(7, 9, 17), (20, 28, 54), (46, 66, 112), (74, 108, 164), (90, 142, 206), (96, 150, 214)])
_HORIZON = np.array([(24, 25, 31), (60, 62, 82), (128, 116, 126), (196, 172, 156), (216, 216, 214), (206, 224, 240)])
_TINT = np.array([(0.80, 0.92, 1.30), (0.82, 0.92, 1.22), (0.92, 0.93, 1.08), (1.10, 0.98, 0.90), (1.06, 1.0, 0.93),
                  (1.0, 1.0, 1.0)])
_GLOW = np.array([(0, 0, 0), (36, 14, 6), (110, 52, 18), (96, 56, 16), (34, 24, 8), (0, 0, 0)])
SUN_HIDDEN = 0.75  # cloud cover that hides the sun's disc
OVERCAST_AMBIENT, FAIR_AMBIENT, DARK_AMBIENT = 0.86, 0.6, 0.8  # light that has no direction


def _at(table: Array, sun_deg: float) -> Array:
    return np.array([np.interp(sun_deg, _SUN_DEG, table[:, k]) for k in range(3)])


def _rgb(colour: Array) -> Colour:
    red, green, blue = (int(value) for value in np.clip(colour, 0, 255) + 0.5)
    return red, green, blue


def light_of(town: Town, weather: Weather = CLEAR) -> Light:
    """The town's light: in clear weather a fair day's, else what clouds, night and haze leave of it."""
    azimuth, height = (town.seed * 2.399963) % (2 * math.pi), math.radians(14 + (town.seed * 17) % 45)
    if weather == CLEAR:
        return Light(sun=_towards(azimuth, height))
    height = min(height, weather.sun_elevation_max_rad)
    degrees, cover = math.degrees(height), weather.cloud_cover
    zenith, horizon, tint = (_at(table, degrees) for table in (_ZENITH, _HORIZON, _TINT))
    thick = cover**2  # a few clouds leave the sky between them as it is
    grey = horizon.mean() * np.array([0.95, 0.97, 1.0])
    by_day = float(np.interp(degrees, (-10.0, 10.0), (0.0, 1.0)))
    dim = 1.0 - 0.55 * weather.darkness * by_day  # at night the tables are dark already
    zenith, horizon = (dim * (sky + thick * (shade * grey - sky)) for sky, shade in ((zenith, 0.74), (horizon, 0.97)))
    day = (1.0 - weather.darkness) * (tint + thick * (tint.mean() - tint))
    flat = max(thick, 1.0 - by_day)
    return Light(
        sun=_towards(azimuth + weather.sun_turn_rad, max(height, math.radians(3.0)) + flat * (1.2 - height)),
        ambient=FAIR_AMBIENT + flat * ((DARK_AMBIENT if by_day < 0.5 else OVERCAST_AMBIENT) - FAIR_AMBIENT),
        sky_zenith=_rgb(zenith), sky_horizon=_rgb(horizon), visibility_m=weather.visibility_m,
        day=(float(day[0]), float(day[1]), float(day[2])), afterglow=_rgb((1.0 - thick) * _at(_GLOW, degrees)),
        cloud=_rgb(0.55 * zenith + 0.55 * horizon), weather=weather)


def _towards(azimuth_rad: float, height_rad: float) -> Triple:
    return (math.cos(azimuth_rad) * math.cos(height_rad), math.sin(azimuth_rad) * math.cos(height_rad),
            math.sin(height_rad))
