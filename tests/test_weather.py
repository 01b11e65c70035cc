"""The weather table: every row within its bounds, drawn from the seed alone, and the water that takes grip."""

import dataclasses
import itertools
import math
import typing

import numpy as np
import pytest

from envs.weather import CLEAR, FIELDS, WEATHERS, Weather, film_mm, weather_of
from scenarios import spec


def test_every_weather_of_a_scenario_is_a_row():
    assert {*WEATHERS, "random"} == set(typing.get_args(spec.Weather))


def test_table_names_every_field_with_its_default():
    defaults = {field.name: field.default for field in dataclasses.fields(Weather)}
    assert {name: default for name, (default, _, _) in FIELDS.items()} == defaults
    assert all(least <= default <= most for default, least, most in FIELDS.values())


@pytest.mark.parametrize("name", WEATHERS)
def test_rows_stay_within_the_bounds(name):
    for field, value in WEATHERS[name].items():
        low, high = value if isinstance(value, tuple) else (value, value)
        assert FIELDS[field][1] <= low <= high <= FIELDS[field][2], field
    for seed in range(20):
        for field, value in dataclasses.asdict(weather_of(name, seed)).items():
            assert FIELDS[field][1] <= value <= FIELDS[field][2], field


def test_the_seed_alone_decides():
    for name in (*WEATHERS, "random"):
        assert weather_of(name, (7, 1)) == weather_of(name, (7, 1))
    assert len({weather_of("night", (7, k)) for k in range(8)}) == 8
    assert weather_of("clear", 3) == CLEAR == Weather()


def test_random_weather_shows_every_row_about_as_often():
    seen = [weather_of("random", (1, k)) for k in range(700)]
    assert 60 < sum(one == CLEAR for one in seen) < 145
    assert 60 < sum(one.darkness > 0.9 for one in seen) < 145
    assert 60 < sum(one.rain_mmph > 0 for one in seen) < 145


def test_unknown_weather_is_refused_by_name():
    with pytest.raises(KeyError, match="weather 'hail' is unknown; the legal ones are clear, "):
        weather_of("hail", 0)


def test_visibility_is_drawn_by_its_logarithm():
    seen = np.log([weather_of("fog", k).visibility_m for k in range(300)])
    assert np.mean(seen) == pytest.approx((math.log(60) + math.log(250)) / 2, abs=0.1)


def test_water_takes_grip():
    """Dry 1; wet all over about 3/4; heavy rain 0.55 / 0.85 at 1 mm of water: the handbook's own points."""
    assert CLEAR.friction == 1.0
    assert Weather(wetness=1.0).friction == pytest.approx(0.65 / 0.85)
    rain = [Weather(wetness=1.0, rain_mmph=mmph) for mmph in (0, 5, 20, 50)]
    assert all(a.friction >= b.friction for a, b in itertools.pairwise(rain))
    assert 0.6 < rain[-1].friction < 0.72
    assert all(0.6 < weather_of("rain", seed).friction < 0.85 for seed in range(20))


def test_film_is_that_of_a_worked_example():
    """50 mm/h over 5 m at 2.5 % and 0.6 mm of texture: 0.103 * 0.945 * 1.998 * 10.06 / 1.469 - 0.6 = 0.73 mm."""
    assert film_mm(50.0) == pytest.approx(0.73, abs=0.01)
    assert film_mm(2.0) == 0.0, "light rain stays within the texture"
