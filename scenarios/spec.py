"""One situation to drive, as plain data: read from TOML, checked at the door, grouped into suites and splits.

A scenario names a town (by seed), a route in it, how much stands in the way and how the ego car starts. What it becomes
on the road is the world's business: nothing here knows of lanes or cars, and nothing here draws a random number.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

MAX_FILE_BYTES = 1_000_000  # a scenario is a page of text
TOWN_SEED_MAX = 2**31 - 1

SPLITS: dict[str, range] = {"train": range(0, 10_000), "val": range(10_000, 10_500), "test": range(20_000, 20_200)}
"""Town seeds of each split; perception and policy share them. Nothing is tuned on test."""
BUSY = "-busy"
BUSY_STREETS: dict[str, Any] = {"vehicles": 20, "pedestrians": 10, "cyclists": 3, "signals": True, "weather": "random"}
"""What the suite of a split with the ending BUSY has more: traffic, people, lights that are on, any weather."""
BUSY_VANS = (0, 0, 1, 2)
"""How many delivery vans stand in every fourth town of such a suite."""
SUITES: dict[str, range] = {split + ending: towns for ending in ("", BUSY) for split, towns in SPLITS.items()}


Weather = Literal["clear", "overcast", "dusk", "night", "rain", "fog", "low_sun", "random"]


class ScenarioError(ValueError):
    """A scenario or suite that cannot be used; the message is one sentence that names the value and the way out."""


class _Data(BaseModel):
    """Frozen plain data; an unknown key, a wrong type, nan and infinity are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Obstacle(_Data):
    """A body placed relative to the route; with a speed it moves straight on along its heading."""

    route_station_m: Annotated[float, Field(ge=0, le=100_000)]
    """along the route, from its start [m]"""
    lateral_m: Annotated[float, Field(ge=-50, le=50)] = 0.0
    """left of the lane's centre [m]"""
    speed_mps: Annotated[float, Field(ge=0, le=60)] = 0.0
    kind: Literal["vehicle", "pedestrian"] = "vehicle"
    heading_deg: Annotated[float, Field(ge=-360, le=360)] = 0.0
    """counter-clockwise from the route's direction there [deg]"""
    hazard_lights: bool = False
    """both indicators of a vehicle flash: it has broken down"""


class Scenario(_Data):
    """One situation. Only `name` and `town_seed` are needed; a field is the TOML key."""

    name: Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[\w.-]+$")]
    town_seed: Annotated[int, Field(ge=0, le=TOWN_SEED_MAX)]
    route_seed: Annotated[int, Field(ge=0, le=TOWN_SEED_MAX)] = 0
    """another drive in the same town"""
    route_min_m: Annotated[float, Field(ge=20, le=20_000)] = 300.0
    route_max_m: Annotated[float, Field(ge=20, le=20_000)] = 800.0
    parked_cars_per_km: Annotated[float, Field(ge=0, le=100)] = 20.0
    vehicles: Annotated[int, Field(ge=0, le=100)] = 0
    """cars, vans, lorries and buses that drive about the town"""
    pedestrians: Annotated[int, Field(ge=0, le=100)] = 0
    """people who walk on pavements and crossings"""
    cyclists: Annotated[int, Field(ge=0, le=50)] = 0
    """cyclists at the lanes' edges"""
    delivery_vans: Annotated[int, Field(ge=0, le=10)] = 0
    """vans that stand at the lane's edge near the route with their hazard lights on"""
    signals: bool = False
    """traffic lights are on; where they are off, the signs beside them bind"""
    weather: Weather = "clear"
    """a row of envs.weather.WEATHERS, or random: drawn for each town"""
    start_speed_mps: Annotated[float, Field(ge=0, le=50)] = 0.0
    speed_limit_mps: Annotated[float, Field(ge=5, le=50)] | None = None
    """caps the limit everywhere on the route [m/s]; None leaves the town's own"""
    obstacles: Annotated[tuple[Obstacle, ...], Field(max_length=100, strict=False)] = ()

    @model_validator(mode="after")
    def _lengths_in_order(self) -> Scenario:
        if self.route_min_m > self.route_max_m:
            raise ValueError(f"route_min_m is {self.route_min_m} and route_max_m is {self.route_max_m}; "
                             "give a minimum not above the maximum")
        return self


def load(path: str | Path) -> Scenario:
    """The scenario of a TOML file; any failure (missing, empty, binary, unknown key, bad value) is a ScenarioError."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ScenarioError(f"cannot read scenario {path}: {error.strerror}; give the path of a TOML file") from None
    if len(raw) > MAX_FILE_BYTES:
        raise ScenarioError(f"scenario {path} is over {MAX_FILE_BYTES} bytes; a scenario is a page of TOML")
    try:
        values = tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise ScenarioError(f"scenario {path} is not UTF-8 text; give a TOML file") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ScenarioError(f"scenario {path} is not valid TOML ({error}); correct that line") from None
    if not values:
        raise ScenarioError(f"scenario {path} is empty; give at least name and town_seed")
    return parse(values, str(path))


def parse(values: dict[str, Any], origin: str = "scenario") -> Scenario:
    """The scenario of a plain dict (from TOML, or a recording's header); ScenarioError names `origin` and the fault."""
    try:
        return Scenario.model_validate(values)
    except ValidationError as error:
        raise ScenarioError(f"{origin}: {_sentence(error)}") from None


def _sentence(error: ValidationError) -> str:
    """The first fault of a validation as one sentence; an unknown key comes first and names the legal ones."""
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    where, kind, value = faults[0]["loc"], faults[0]["type"], faults[0]["input"]
    key = ".".join(str(part) for part in where)
    if kind == "extra_forbidden":
        model = Obstacle if where[0] == "obstacles" else Scenario
        return f"unknown key '{key}'; the legal keys are {', '.join(model.model_fields)}"
    if kind == "missing":
        return f"'{key}' is missing; give it"
    if kind == "value_error":
        return faults[0]["msg"].removeprefix("Value error, ")
    return f"{key} is {_short(value)}; {faults[0]['msg'][0].lower()}{faults[0]['msg'][1:]}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def digest(scenario: Scenario) -> str:
    """SHA-256 (hex) of the scenario's canonical JSON: equal scenarios, equal digests, in any process."""
    text = json.dumps(scenario.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def split_scenario(suite_name: str, index: int) -> Scenario:
    """The default drive in the `index`-th town of a row of SUITES."""
    town = SUITES[suite_name][index]
    more = {**BUSY_STREETS, "delivery_vans": BUSY_VANS[town % len(BUSY_VANS)]} if suite_name.endswith(BUSY) else {}
    return Scenario(name=f"{suite_name}_{town}", town_seed=town, **more)


def suite(name: str, episodes: int | None = None) -> tuple[Scenario, ...]:
    """The scenarios of a row of SUITES (its first `episodes` towns), of a TOML file, or of a folder in name order.

    `episodes=None` means all. Raises ScenarioError on an unknown name or a count that the suite does not hold.
    """
    if episodes is not None and episodes < 1:
        raise ScenarioError(f"episodes is {episodes}; give at least 1")
    if name in SUITES:
        return _first([lambda i=i: split_scenario(name, i) for i in range(len(SUITES[name]))], name, episodes)
    path = Path(name)
    if path.is_dir():
        files = sorted(path.glob("*.toml"))
        if not files:
            raise ScenarioError(f"folder {path} holds no .toml file; give a folder of scenarios")
        return _first([lambda f=f: load(f) for f in files], name, episodes)
    if path.is_file():
        return _first([lambda: load(path)], name, episodes)
    raise ScenarioError(f"suite '{name}' is neither a file nor a folder nor one of {', '.join(SUITES)}")


def _first(makers: list[Any], name: str, episodes: int | None) -> tuple[Scenario, ...]:
    if episodes is not None and episodes > len(makers):
        raise ScenarioError(f"episodes is {episodes}, but suite '{name}' holds {len(makers)}; ask for no more")
    return tuple(make() for make in makers[:episodes])
