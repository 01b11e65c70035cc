"""The weather as one frozen value: what the sky, the air, the road, the lamps and the camera's lens are like.

`FIELDS` says of every number its default, least and most; `WEATHERS` names kinds of weather, each as values or ranges
to draw from. `weather_of` draws one from a seed alone, so that a recording is replayed from its scenario. How it looks
is `render/`'s business, how it drives `vehicle.py`'s: nothing here draws a picture or moves anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

DRAINAGE_M, CROSSFALL_PERCENT, TEXTURE_MM = 5.0, 2.5, 0.6  # half a road, its usual crossfall, sound asphalt
DAMP_MM = 0.2  # water in and on the texture of a road that is wet all over
# Static friction of new tyres at 50 km/h under water of 0, 0.2, 1 and 2 mm: 0.85, 0.65, 0.55, 0.50 (Bosch Automotive
# Handbook, "Tires: friction coefficients"), as shares of the dry value.
WATER_MM, GRIP = (0.0, 0.2, 1.0, 2.0), (1.0, 0.65 / 0.85, 0.55 / 0.85, 0.50 / 0.85)


@dataclass(frozen=True)
class Weather:
    """One weather. The defaults are a fair day, on which a camera sees what there is; ranges stand in `FIELDS`."""

    sun_elevation_max_rad: float = math.pi / 2
    """the town's own sun stands at most this high; below 0 it has set"""
    sun_turn_rad: float = 0.0
    """added to the azimuth of the town's own sun, counter-clockwise"""
    cloud_cover: float = 0.0
    """share of the sky under clouds"""
    darkness: float = 0.0
    """share of the day's light that is missing, once the camera has adapted"""
    visibility_m: float = math.inf
    """where 5 % of a contrast are left (meteorological optical range, WMO-No. 8)"""
    rain_mmph: float = 0.0
    wetness: float = 0.0
    """share of the road's surface under water"""
    street_lamps: float = 0.0
    """light under a street lamp, as share of the day's"""
    headlights: float = 0.0
    """low beams of the ego car: 1 is a new car's"""
    lit_windows: float = 0.0
    """share of the windows"""
    glare: float = 0.0
    """light that the lens scatters from the sun and lamps: 1 blinds"""
    exposure_ev: float = 0.0
    """stops by which the camera exposes longer than right"""
    noise: float = 0.0
    """standard deviation of the sensor's noise, as share of full scale"""
    blur_rad: float = 0.0
    """standard deviation of the lens's point spread"""
    lens_dirt: float = 0.0
    """share of the lens under dust and smears"""
    lens_drops: float = 0.0
    """share of the lens under drops"""
    vibration_rad: float = 0.0
    """largest angle by which the mount shakes"""

    @property
    def water_film_mm(self) -> float:
        """Mean depth of water on the road: what the texture holds, and what runs off over it."""
        return DAMP_MM * self.wetness + film_mm(self.rain_mmph)

    @property
    def friction(self) -> float:
        """What is left of a tyre's grip on the dry road, in (0, 1]: see GRIP."""
        return float(np.interp(self.water_film_mm, WATER_MM, GRIP))

    @property
    def is_dark(self) -> bool:
        """Whether one drives with low beams on (StVO section 17)."""
        return self.headlights > 0.0


def film_mm(rain_mmph: float) -> float:
    """Depth of water above the texture of a road in steady rain.

    Gallaway et al. 1979 (FHWA-RD-79-31), in the metric form of Austroads' Guide to Road Design, Part 5A.
    """
    flow = TEXTURE_MM**0.11 * DRAINAGE_M**0.43 * max(rain_mmph, 0.0)**0.59 / CROSSFALL_PERCENT**0.42
    return max(0.0, 0.103 * flow - TEXTURE_MM)


FIELDS: dict[str, tuple[float, float, float]] = {  # default, least, most
    "sun_elevation_max_rad": (math.pi / 2, math.radians(-18.0), math.pi / 2),  # -18 deg: astronomical dusk ends
    "sun_turn_rad": (0.0, -math.pi, math.pi),
    "cloud_cover": (0.0, 0.0, 1.0),
    "darkness": (0.0, 0.0, 0.98),
    "visibility_m": (math.inf, 30.0, math.inf),
    "rain_mmph": (0.0, 0.0, 50.0),  # 50: violent showers
    "wetness": (0.0, 0.0, 1.0),
    "street_lamps": (0.0, 0.0, 1.5),
    "headlights": (0.0, 0.0, 1.5),
    "lit_windows": (0.0, 0.0, 1.0),
    "glare": (0.0, 0.0, 1.0),
    "exposure_ev": (0.0, -2.0, 2.0),
    "noise": (0.0, 0.0, 0.1),
    "blur_rad": (0.0, 0.0, 0.02),
    "lens_dirt": (0.0, 0.0, 0.5),
    "lens_drops": (0.0, 0.0, 0.3),
    "vibration_rad": (0.0, 0.0, 0.01),
}
CLEAR = Weather()
Range = float | tuple[float, float]

# What every camera has at times, in any weather but the clear one; ranges are drawn uniformly.
_LENS: dict[str, Range] = {"exposure_ev": (-0.35, 0.35), "noise": (0.0, 0.012), "blur_rad": (0.0, 0.003),
                           "lens_dirt": (0.0, 0.12), "vibration_rad": (0.0, 0.002), "sun_turn_rad": (-math.pi, math.pi)}
WEATHERS: dict[str, dict[str, Range]] = {
    "clear": {},
    "overcast": {**_LENS, "cloud_cover": (0.8, 1.0), "darkness": (0.0, 0.2), "visibility_m": (1_500.0, 20_000.0),
                 "wetness": (0.0, 0.3)},
    "dusk": {**_LENS, "sun_elevation_max_rad": (math.radians(-4.0), math.radians(2.0)), "cloud_cover": (0.1, 0.6),
             "darkness": (0.4, 0.65), "visibility_m": (1_500.0, 20_000.0), "street_lamps": (0.1, 0.25),
             "headlights": (0.7, 1.1), "lit_windows": (0.2, 0.5), "glare": (0.1, 0.3), "noise": (0.003, 0.012)},
    "night": {**_LENS, "sun_elevation_max_rad": (math.radians(-18.0), math.radians(-12.0)), "cloud_cover": (0.0, 0.8),
              "darkness": (0.89, 0.95), "visibility_m": (800.0, 10_000.0), "street_lamps": (0.7, 1.2),
              "headlights": (0.8, 1.3), "lit_windows": (0.15, 0.45), "glare": (0.15, 0.4), "noise": (0.006, 0.022),
              "wetness": (0.0, 0.8)},
    "rain": {**_LENS, "cloud_cover": (0.9, 1.0), "darkness": (0.25, 0.5), "visibility_m": (250.0, 1_200.0),
             "rain_mmph": (2.0, 30.0), "wetness": (0.7, 1.0), "headlights": (0.7, 1.1), "lit_windows": (0.0, 0.2),
             "lens_drops": (0.03, 0.15), "glare": (0.05, 0.2), "blur_rad": (0.001, 0.004)},
    "fog": {**_LENS, "cloud_cover": (0.6, 1.0), "darkness": (0.05, 0.25), "visibility_m": (60.0, 250.0),
            "wetness": (0.1, 0.5), "headlights": (0.7, 1.1), "glare": (0.1, 0.3)},
    "low_sun": {**_LENS, "sun_elevation_max_rad": (math.radians(5.0), math.radians(11.0)), "cloud_cover": (0.0, 0.3),
                "visibility_m": (3_000.0, 30_000.0), "glare": (0.5, 1.0), "wetness": (0.0, 0.6)},
}


def weather_of(name: str, seed: int | Sequence[int]) -> Weather:
    """The weather of a row of WEATHERS, drawn from `seed` alone; "random" draws the row too.

    Visibilities are drawn on a logarithmic scale, all else uniformly. Raises KeyError on another name.
    """
    rng = np.random.default_rng(seed)
    row = str(rng.choice(list(WEATHERS))) if name == "random" else name
    if row not in WEATHERS:
        raise KeyError(f"weather '{name}' is unknown; the legal ones are {', '.join([*WEATHERS, 'random'])}")
    return drawn(WEATHERS[row], rng)


def drawn(ranges: Mapping[str, Range], rng: np.random.Generator) -> Weather:
    """A weather with values from ranges; fields that are not in `ranges` have their defaults.

    One number is drawn for every field, so that a row keeps its other values when it gets another range.
    """
    share = dict(zip(FIELDS, rng.random(len(FIELDS)).tolist(), strict=True))
    return Weather(**{name: _within(value, share[name], name == "visibility_m") for name, value in ranges.items()})


def _within(value: Range, share: float, is_logarithmic: bool) -> float:
    if not isinstance(value, tuple):
        return value
    low, high = value
    return low * (high / low)**share if is_logarithmic else low + share * (high - low)
