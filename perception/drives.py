"""What the camera looks at when frames are made: instants of streets with traffic, people, lights and weather.

A `Drive` is one town in one weather, in which traffic moves by its own rules. Its views are what the cars of that
traffic see, and what a car sees that stands where there is something to learn: before a line, a light or a sign, off
the lane's middle and askew (VIEWS). Rare things are drawn as often as common ones: signs by class, lights by phase. On
half of the drives the signs of the town have been changed for others, so that no class is rare and none stands for a
place. Nothing is drawn or written here, and no physics runs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from envs.geometry import Array, world_from_ego
from envs.lights import phases
from envs.pedestrians import Walkers, draw_people
from envs.road_users import COAT_COLOURS, CYCLIST, KINDS
from envs.roads.network import RoadNetwork
from envs.roads.routes import Route, random_route, route_over
from envs.signs import SIGN_INDEX, SIGNS
from envs.state import (
    EGO_SHAPE,
    ActorKind,
    Actors,
    Control,
    Lamp,
    Phase,
    SignPosts,
    Town,
    VehicleState,
    WorldState,
    no_actors,
)
from envs.traffic import Traffic
from envs.weather import WEATHERS, weather_of

STEP_S = 0.1
STEPS_BETWEEN, VIEWS_AT_ONCE = 12, 3  # of traffic, before so many views
VEHICLES, CYCLISTS, PEOPLE = 24, 4, 12
LIGHTS_ON_SHARE = 0.85
AHEAD_M = 120.0  # how far a made route leads on at least
PATH_END_M = 40.0  # no view this near to a route's end, where the path label runs out
AWAY = np.array([1e5, 1e5, 0.0])  # pose of who is not there
ROOM_M, PERSON_ROOM_M = 3.2, 3.5  # between the ego's middle and a vehicle's end, or a person
LONGEST_CAR_M = 6.0  # of those whose view is taken
NO_TRAFFIC_EGO = VehicleState(1e6, 1e6, 0.0)  # traffic drives as if nobody else were there
STILL_SIGNS = ("stop", "yield")  # stand by their lines: these are never changed for others
LATERAL_M, TURN_DEG = 0.6, 6.0  # standard deviations of disturbed poses
ASTRAY_SHARE = 0.1  # of them are disturbed three times as much
STRAY = 0.4  # share that is left of an offset and a turn which would lead into another lane
LOOKS_IN_RAIN = 4  # moments of the wiper that a drive shows


@dataclass(frozen=True)
class Place:
    """A pose beside a route: station, and how far to the left of it and turned."""

    route: Route
    station_m: float
    lateral_m: float
    turn_rad: float
    signals: Array | None = None  # (G,) Phase, where the view wants lights of its own


@dataclass(frozen=True, eq=False)
class _Shot:
    """Where the camera's car is, and the row of traffic it stands in for, if any."""

    place: Place
    pose: Array
    car: int | None


@dataclass(frozen=True, eq=False)
class View:
    """One instant to be rendered, the route station of its ego, and what it was drawn for: a key of VIEWS."""

    state: WorldState
    station_m: float
    kind: str
    weather: int  # row of WEATHERS


class Drive:
    """A town in one weather with traffic: `views` makes as many instants as wanted. The seed decides everything."""

    def __init__(self, town: Town, seed: tuple[int, ...], has_other_signs: bool) -> None:
        self.rng = np.random.default_rng(seed)
        self.town = dataclasses.replace(town, signs=_changed(town.signs, self.rng)) if has_other_signs else town
        self.weather_row = int(self.rng.integers(len(WEATHERS)))
        self.weather = weather_of(list(WEATHERS)[self.weather_row], self.rng.integers(2**62, size=2).tolist())
        self.route = random_route(town.network, self.rng)
        self.has_lights = bool(self.rng.random() < LIGHTS_ON_SHARE)
        self.time_s = float(self.rng.uniform(0.0, 120.0))
        self.steps = self.rng.integers(0, 96, LOOKS_IN_RAIN).tolist()  # of the episode: where the wiper is
        self._traffic = Traffic(town, self.route, VEHICLES, CYCLISTS, np.zeros((0, 3)), self.rng, self.weather.is_dark)
        self._walkers = Walkers(town, self.route, PEOPLE, no_actors(), self.rng)
        self._extras = _draw_extras(self.weather.is_dark, self.rng)

    def views(self, count: int) -> Iterator[View]:
        """`count` instants, every VIEWS_AT_ONCE a little later than those before."""
        shares = np.array([share for share, _ in VIEWS.values()])
        kinds = self.rng.choice(list(VIEWS), count, p=shares / shares.sum()).tolist()
        for number, kind in enumerate(kinds):
            if number % VIEWS_AT_ONCE == 0:
                self._advance()
            make = VIEWS[kind][1]
            shot = (self._from_traffic() if make is None else None) or self._beside(make or on_route)
            yield View(self._state(shot, number), shot.place.station_m, kind, self.weather_row)

    def _advance(self) -> None:
        for _ in range(STEPS_BETWEEN):
            signals, cars = phases(self.town.signal_plan, self.time_s, self.has_lights), self._traffic.actors
            self._traffic.step(NO_TRAFFIC_EGO, signals, self._walkers.actors.pose, self._walkers.velocity_mps, STEP_S)
            self._walkers.step(NO_TRAFFIC_EGO, cars, signals, STEP_S)
            self.time_s += STEP_S

    def _from_traffic(self) -> _Shot | None:
        """What one of the cars sees; None if all are off their lanes."""
        actors, network = self._traffic.actors, self.town.network
        cars = np.flatnonzero((actors.kind == ActorKind.VEHICLE) & (actors.size_m[:, 0] < LONGEST_CAR_M))
        for car in self.rng.permutation(cars).tolist():
            x, y, yaw = actors.pose[car].tolist()
            lane = network.lane_at(x, y, yaw)
            if lane is None:
                continue
            pose = np.append(world_from_ego(actors.pose[car], np.array([-EGO_SHAPE.centre_forward_m, 0.0])), yaw)
            route, _ = way_through(network, lane, 0.0, 20.0, self.rng)
            station, lateral = route.locate(*pose[:2].tolist())
            is_told = abs(lateral) < 3.0 and not _is_astray(network, route, station, pose)
            if is_told and station < route.length_m - PATH_END_M:
                return _Shot(Place(route, station, lateral, 0.0), pose, car)
        return None

    def _beside(self, make: Callable[[Drive], Place]) -> _Shot:
        place = make(self)
        return _Shot(place, _pose_on(place.route, place.station_m, place.lateral_m, place.turn_rad), None)

    def _state(self, shot: _Shot, number: int) -> WorldState:
        """The instant of a shot; whoever is not there, or where the ego is, is far away.

        All instants of a drive have the same table of road users, so that renderers build their shapes once.
        """
        place, extras = shot.place, self._extras
        if shot.car is None:
            extras = _placed(extras, place.route, place.station_m, self.rng)
        actors = _stack(self._traffic.actors, self._walkers.actors, extras)
        middle = world_from_ego(shot.pose, np.array([EGO_SHAPE.centre_forward_m, 0.0]))
        gap = np.hypot(*(actors.pose[:, :2] - middle).T)
        room = np.where(actors.kind == ActorKind.VEHICLE, ROOM_M + actors.size_m[:, 0] / 2, PERSON_ROOM_M)
        is_away = (gap < room) | (actors.id == shot.car)
        signals = place.signals
        if signals is None:
            signals = phases(self.town.signal_plan, self.time_s, self.has_lights)
        return WorldState(
            time_s=self.time_s, step=int(self.steps[number % len(self.steps)]),
            ego=VehicleState(*shot.pose.tolist()), contacts=(), control=Control(0.0, 0.0), town=self.town,
            actors=dataclasses.replace(actors, pose=np.where(is_away[:, None], AWAY, actors.pose)),
            route=place.route, signals=signals, weather=self.weather)

    def disturbed(self, route: Route, station_m: float, signals: Array | None = None) -> Place:
        """A place at a station, off the lane's middle and askew."""
        size = 3.0 if self.rng.random() < ASTRAY_SHARE else 1.0
        lateral = float(np.clip(self.rng.normal(0, size * LATERAL_M), -2.5, 2.5))
        turn = math.radians(float(np.clip(self.rng.normal(0, size * TURN_DEG), -25, 25)))
        station = float(np.clip(station_m, 0.0, max(route.length_m - PATH_END_M, 1.0)))
        if _is_astray(self.town.network, route, station, _pose_on(route, station, lateral, turn)):
            lateral, turn = STRAY * lateral, STRAY * turn
        return Place(route, station, lateral, turn, signals)


def on_route(drive: Drive) -> Place:
    """Anywhere on the drive's own route, which changes lanes where it has to."""
    return drive.disturbed(drive.route, float(drive.rng.uniform(0, drive.route.length_m - PATH_END_M)))


def before_line(drive: Drive) -> Place:
    """Up to 33 m before a stop or yield line, or with the bumper up to 3 m over it."""
    lanes = [lane.id for lane in drive.town.network.lanes if lane.control]
    return _before(drive, lanes, -3.0, 33.0)


def before_light(drive: Drive) -> Place:
    """Up to 58 m before a traffic light's line, the light in a phase drawn evenly."""
    lanes = [lane.id for lane in drive.town.network.lanes if lane.signal is not None]
    if not lanes:
        return before_line(drive)
    place = _before(drive, lanes, -1.0, 58.0)
    group = next((group for at, group in place.route.signals if at > place.station_m), None)
    if group is None or not drive.has_lights:
        return place
    wanted = drive.rng.choice([Phase.RED, Phase.RED_YELLOW, Phase.GREEN, Phase.YELLOW], p=[0.3, 0.2, 0.3, 0.2])
    plan = drive.town.signal_plan
    begin, length = _phase_span(int(wanted), plan.green_s[group], plan.yellow_s[group], plan.cycle_s[group])
    time_s = float(plan.start_s[group] + begin + drive.rng.uniform(0.05, 0.95) * length)
    return dataclasses.replace(place, signals=phases(plan, time_s))


def before_sign(drive: Drive) -> Place:
    """4 to 45 m before a sign, of a class drawn evenly from those of the town."""
    posts = drive.town.signs
    if not len(posts.sign):
        return on_route(drive)
    row = int(drive.rng.choice(np.flatnonzero(posts.sign == drive.rng.choice(np.unique(posts.sign)))))
    away_m = float(drive.rng.uniform(4.0, 45.0))
    route, station = way_through(drive.town.network, int(posts.lane[row]), float(posts.station_m[row]), away_m + 5.0,
                                 drive.rng)
    return drive.disturbed(route, station - away_m)


# what a view is drawn for: share of the views, and where it stands; the first is what a car of the traffic sees
VIEWS: dict[str, tuple[float, Callable[[Drive], Place] | None]] = {
    "traffic": (0.28, None), "route": (0.12, on_route), "line": (0.15, before_line), "light": (0.20, before_light),
    "sign": (0.25, before_sign)}


def _before(drive: Drive, lanes: list[int], nearest_m: float, farthest_m: float) -> Place:
    """So far before the end of one of the lanes, from the front bumper; anywhere on the route if there is none."""
    if not lanes:
        return on_route(drive)
    lane = int(drive.rng.choice(lanes))
    away_m = float(drive.rng.uniform(nearest_m, farthest_m)) + EGO_SHAPE.front_m
    length = drive.town.network.lanes[lane].length_m
    route, station = way_through(drive.town.network, lane, length, away_m + 5.0, drive.rng)
    return drive.disturbed(route, station - away_m)


def _phase_span(wanted: int, green_s: float, yellow_s: float, cycle_s: float) -> tuple[float, float]:
    """(begin after the start of red-yellow, length) [s] of a phase in a signal's cycle."""
    spans = {Phase.RED_YELLOW: (0.0, 1.0), Phase.GREEN: (1.0, green_s), Phase.YELLOW: (1.0 + green_s, yellow_s)}
    end = 1.0 + green_s + yellow_s
    return spans.get(Phase(wanted), (end, cycle_s - end))


def way_through(network: RoadNetwork, lane: int, station_m: float, behind_m: float,
                rng: np.random.Generator) -> tuple[Route, float]:
    """(a route over a lane that begins `behind_m` before a station of it and leads on AHEAD_M, that station on it).

    Where there is a choice of lanes it is drawn. The route begins at the lane's beginning where nothing leads to it.
    """
    lanes, before_m = [lane], 0.0
    while before_m + station_m < behind_m and (into := list(network.graph.predecessors(lanes[0]))):
        lanes.insert(0, int(rng.choice(into)))
        before_m += network.lanes[lanes[0]].length_m
    ahead_m = network.lanes[lane].length_m - station_m
    while (ahead_m < AHEAD_M or network.lanes[lanes[-1]].junction is not None) and (
            out := network.lanes[lanes[-1]].successors):
        lanes.append(int(rng.choice(out)))
        ahead_m += network.lanes[lanes[-1]].length_m
    begin = max(before_m + station_m - behind_m - 30.0, 0.0)
    begin = min(begin, network.lanes[lanes[0]].length_m - 1.0)  # a route begins on its first lane
    return route_over(network, tuple(lanes), begin), before_m + station_m - begin


def _changed(posts: SignPosts, rng: np.random.Generator) -> SignPosts:
    """Signs of the town changed for others, each class as likely as another; those at lines stay."""
    still = [SIGN_INDEX[name] for name in STILL_SIGNS]
    others = np.setdiff1d(np.arange(len(SIGNS)), still)
    drawn = rng.choice(others, len(posts.sign))
    return dataclasses.replace(posts, sign=np.where(np.isin(posts.sign, still), posts.sign, drawn))


def _is_astray(network: RoadNetwork, route: Route, station_m: float, pose: Array) -> bool:
    """Whether the axle or the bumper is in another lane that leads the same way: no picture from there tells that the
    route is not it.
    """
    for ahead_m in (0.0, EGO_SHAPE.front_m):
        x, y = world_from_ego(pose, np.array([ahead_m, 0.0])).tolist()
        lane = network.lane_at(x, y, float(pose[2]))
        own = route.lanes[route.lane_index[route.index_at(station_m + ahead_m)]]
        if lane is not None and lane != own and network.lanes[lane].junction is None:
            return True
    return False


def _pose_on(route: Route, station_m: float, lateral_m: float, turn_rad: float) -> Array:
    """(x_m, y_m, yaw_rad) at a station of the route, moved to its left and turned."""
    x, y, yaw = (np.interp(station_m, route.station_m, values)
                 for values in (route.points_m[:, 0], route.points_m[:, 1], route.heading_rad))
    return np.append(world_from_ego(np.array([x, y, yaw]), np.array([0.0, lateral_m])), yaw + turn_rad)


# who else is near a disturbed pose: probability, lowest and highest distance ahead of the bumper [m], lateral range
# [m], turned by [deg], row of KINDS, or -1 for a person
EXTRA: tuple[tuple[float, float, float, float, float, float, int], ...] = (
    (0.30, 3.0, 50.0, -0.4, 0.4, 0.0, 0),  # ahead in the own lane
    (0.08, 5.0, 60.0, -0.3, 0.3, 0.0, 2),  # a lorry there
    (0.20, 5.0, 60.0, 3.0, 4.0, 180.0, 0),  # coming the other way
    (0.25, 4.0, 60.0, -4.2, -3.2, 0.0, 0),  # parked on the own verge
    (0.10, 4.0, 60.0, -4.5, -3.4, 0.0, 1),
    (0.15, 4.0, 60.0, 5.8, 7.5, 180.0, 0),  # parked on the other verge
    (0.10, 4.0, 40.0, -1.6, -1.0, 0.0, CYCLIST),  # at the lane's edge
    (0.12, 6.0, 40.0, -6.0, 6.0, 90.0, -1),  # beside or on the road
    (0.12, 6.0, 40.0, -6.5, -4.0, 0.0, -1),  # on the pavement
)


def _draw_extras(is_dark: bool, rng: np.random.Generator) -> Actors:
    """One road user for each row of EXTRA, far away."""
    rows: list[tuple[int, Array, Array, int]] = []
    for *_, number in EXTRA:
        if number < 0:
            rows.append((int(ActorKind.PEDESTRIAN), draw_people(1, rng)[0][0], rng.choice(COAT_COLOURS), 0))
            continue
        look = KINDS[number]
        lamps = int(rng.choice([Lamp.NONE, Lamp.BRAKE, Lamp.LEFT, Lamp.RIGHT], p=[0.6, 0.25, 0.075, 0.075]))
        lamps = (lamps | (Lamp.HEAD if is_dark else 0)) if look.actor == ActorKind.VEHICLE else 0
        rows.append((int(look.actor), rng.choice(look.sizes_m) * rng.uniform(0.97, 1.03, 3), rng.choice(look.colours),
                     lamps))
    kind, size, colour, lamp = (np.array(column) for column in zip(*rows, strict=True))
    return Actors(np.arange(len(rows)), kind, np.tile(AWAY, (len(rows), 1)), size, np.zeros(len(rows)),
                  colour.astype(np.uint8), lamp.astype(np.uint8))


def _placed(extras: Actors, route: Route, station_m: float, rng: np.random.Generator) -> Actors:
    """Each of the extras, with the probability of its row, around a station; distances are drawn on a log scale."""
    pose = extras.pose.copy()
    for k, (probability, near, far, right, left, turn_deg, _) in enumerate(EXTRA):
        share, aside, turn = rng.random(), rng.uniform(right, left), math.radians(turn_deg) + rng.normal(0, 0.05)
        ahead = station_m + EGO_SHAPE.front_m + near * (far / near) ** rng.random() + extras.size_m[k, 0] / 2
        if share < probability and ahead < route.length_m:
            pose[k] = _pose_on(route, ahead, aside, turn)
    return dataclasses.replace(extras, pose=pose)


def _stack(*parts: Actors) -> Actors:
    """All rows of several tables, with ids from 0."""
    joined = [np.concatenate([getattr(part, field.name) for part in parts]) for field in dataclasses.fields(Actors)]
    return Actors(np.arange(len(joined[0])), *joined[1:])
