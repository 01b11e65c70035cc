"""A scenario come alive: `World.reset(scenario, rng)` sets it up, `World.step(control)` moves it one control step.

A world is the town of the scenario's seed, a route through it, the ego car at its start, cars parked on the verge, the
scenario's obstacles, which move straight on, traffic, people on foot, lights and the weather. In a step everybody else
moves on what they saw at its beginning, then physics moves the ego among them. Same scenario, generator seed and
controls give the same bytes. Nothing here draws, labels or judges.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from envs.config import DriveConfig, require
from envs.deliveries import delivery_vans
from envs.geometry import Array, box_corners, interpolate, keep_apart, wrap_angle
from envs.lights import phases
from envs.obstruction import HAZARD
from envs.pedestrians import Walkers
from envs.physics import Physics, Solids
from envs.road_users import CAR_COLOURS, CAR_SIZES_M, COAT_COLOURS
from envs.roads.network import SHOULDER_M, Lane, RoadNetwork
from envs.roads.procedural import build_town
from envs.roads.routes import Route, random_route
from envs.state import ActionError, ActorKind, Actors, Contact, Control, PropKind, Town, WorldState
from envs.traffic import Traffic
from envs.vehicle import STEP_MAX_S, Vehicle
from envs.weather import weather_of
from scenarios.spec import Scenario, ScenarioError

START_LATERAL_M = 0.1  # the ego starts at most this far beside the lane's centre
START_YAW_RAD = 0.01
TRUNK_M = 0.4  # across; a tree's crown is above the car
POST_M = 0.06  # across
PARKED_EDGE_GAP_M = 0.3  # from the edge line to a parked car's near side, at least
PARKED_JUNCTION_GAP_M = 15.0
PARKED_CROSSING_GAP_M = 9.6  # between a car's centre and a crossing's end: bumper 5 m before the bars (StVO 26, 12)
PARKED_POST_GAP_M = 15.0  # from a sign post, whose face a van would hide, or an obstacle
PARKED_SPACING_M = 7.0  # between two parked cars' centres
OBSTACLE_CLEAR_M = 4.0  # between an obstacle and where traffic begins
PARKED_TRIES = 4  # places drawn for each parked car wanted

CONTACT_KIND = {ActorKind.VEHICLE: "vehicle", ActorKind.PEDESTRIAN: "pedestrian",
                ActorKind.CYCLIST: "vehicle"}  # a bicycle is a vehicle to the law and to the leaderboard
PEDESTRIAN_SIZE_M = (0.45, 0.6, 1.75)


class World:
    """One town at a time, with its own physics. Call `reset` before `step`, and `close` at the end.

    Raises ConfigError when the physics step of `config` is too long to be stable.
    """

    def __init__(self, config: DriveConfig) -> None:
        step_s = config.control_dt_s / config.physics_steps
        require(step_s <= STEP_MAX_S, f"physics_steps is {config.physics_steps} in {config.control_dt_s} s; "
                f"give at least {math.ceil(config.control_dt_s / STEP_MAX_S)} so that a step is at most {STEP_MAX_S} s")
        self._config = config
        self._physics = Physics(step_s)
        self._vehicle = Vehicle(self._physics)
        self._state: WorldState | None = None
        self._has_signals = False

    def reset(self, scenario: Scenario, rng: np.random.Generator) -> WorldState:
        """Set the scenario up; `rng` draws the parked cars and small errors of the start pose.

        Raises ScenarioError when the town has no such route, or an obstacle lies beyond the route's end.
        """
        town = build_town(scenario.town_seed)
        route = plan_route(town.network, scenario)
        obstacles = _place_obstacles(scenario, route, rng)
        if scenario.delivery_vans:
            obstacles = _number([obstacles, delivery_vans(town.network, route, scenario.delivery_vans,
                                                          obstacles.pose[:, :2], rng.spawn(1)[0])])
        actors = _number([obstacles, _park_cars(town, route, scenario.parked_cars_per_km, obstacles, rng)])
        lateral, turn = rng.uniform(-START_LATERAL_M, START_LATERAL_M), rng.uniform(-START_YAW_RAD, START_YAW_RAD)
        x, y, yaw = _beside_route(route, 0.0, float(lateral)).tolist()
        motion = self._vehicle.at(x, y, yaw + float(turn), scenario.start_speed_mps)
        weather = weather_of(scenario.weather, (scenario.town_seed, scenario.route_seed))
        self._standing = actors
        self._walkers = Walkers(town, route, scenario.pedestrians, actors, rng)
        self._num_obstacles = len(obstacles.id)
        keep_clear = np.column_stack([obstacles.pose[:, :2], obstacles.size_m[:, 0] / 2 + OBSTACLE_CLEAR_M])
        self._traffic = Traffic(town, route, scenario.vehicles, scenario.cyclists, keep_clear, rng, weather.is_dark,
                                _boxes(actors, self._num_obstacles))
        actors = _number([self._standing, self._traffic.actors, self._walkers.actors])
        self._vehicle.set_road_friction(weather.friction)
        self._physics.reset(self._vehicle.car.body(), motion, _solids(actors, town))
        self._vehicle.centre_actuators()
        ego = self._vehicle.state(motion, motion, 0.0)
        self._has_signals = scenario.signals
        self._state = WorldState(0.0, 0, ego, actors, (), Control(0.0, 0.0), town, route,
                                 phases(town.signal_plan, 0.0, scenario.signals), weather)
        return self._state

    def step(self, control: Control) -> WorldState:
        """Drive one control step. Raises ActionError on a control that is not finite; out of range it is clipped."""
        before = self._state
        if before is None:
            raise RuntimeError("the world is not set up; call reset before step")
        if not (math.isfinite(control.steer) and math.isfinite(control.drive)):
            raise ActionError(f"control is ({control.steer}, {control.drive}); give finite numbers from -1 to 1")
        control = Control(min(max(control.steer, -1.0), 1.0), min(max(control.drive, -1.0), 1.0))
        actors = self._move_others(before)
        if actors is not before.actors:
            way = actors.pose[:, :2] - before.actors.pose[:, :2]
            self._physics.redirect(before.actors.pose, way / self._config.control_dt_s)
        ego, impulses = self._vehicle.advance(control, self._config.physics_steps)
        step = before.step + 1
        self._state = dataclasses.replace(
            before, time_s=step * self._config.control_dt_s, step=step, ego=ego, control=control,
            actors=actors, signals=phases(before.town.signal_plan, step * self._config.control_dt_s, self._has_signals),
            contacts=tuple(_contact(row, impulses[row], before.actors, before.town) for row in sorted(impulses)))
        return self._state

    def _move_others(self, before: WorldState) -> Actors:
        """Everybody but the ego one control step later, on what they saw `before`; the same value if nobody moves."""
        dt_s, standing = self._config.control_dt_s, self._standing
        self._standing = _advance(standing, dt_s)
        traffic, walkers = self._traffic.actors, self._walkers.actors
        if self._standing is standing and not len(traffic.id) and not len(walkers.id):
            return before.actors
        obstacles = _boxes(standing, self._num_obstacles)
        seen = traffic if not self._num_obstacles else _number([_first(standing, self._num_obstacles), traffic])
        parts = [self._standing, self._traffic.step(before.ego, before.signals, walkers.pose,
                                                    self._walkers.velocity_mps, dt_s, obstacles),
                 self._walkers.step(before.ego, seen, before.signals, dt_s)]
        return dataclasses.replace(before.actors, **{
            name: np.concatenate([getattr(part, name) for part in parts]) for name in ("pose", "speed_mps", "lamps")})

    def close(self) -> None:
        """Free the physics; the world cannot be used afterwards."""
        self._physics.close()


def plan_route(network: RoadNetwork, scenario: Scenario) -> Route:
    """The scenario's drive: its seeds alone decide. ScenarioError when the town has none of that length."""
    rng = np.random.default_rng([scenario.town_seed, scenario.route_seed])
    try:
        route = random_route(network, rng, scenario.route_min_m, scenario.route_max_m)
    except ValueError as error:
        raise ScenarioError(f"scenario {scenario.name}: {error}") from None
    if scenario.speed_limit_mps is None:
        return route
    return dataclasses.replace(route, speed_limit_mps=np.minimum(route.speed_limit_mps, scenario.speed_limit_mps))


def _beside_route(route: Route, station_m: float, lateral_m: float) -> Array:
    """Pose (3,) at a station, `lateral_m` to the left of the route."""
    x, y = interpolate(route.points_m, route.station_m, np.array([station_m]))[0]
    heading = float(np.interp(station_m, route.station_m, route.heading_rad))
    return np.array([x - math.sin(heading) * lateral_m, y + math.cos(heading) * lateral_m, wrap_angle(heading)])


def _place_obstacles(scenario: Scenario, route: Route, rng: np.random.Generator) -> Actors:
    """The scenario's obstacles as actors; sizes and colours are drawn."""
    rows = scenario.obstacles
    for obstacle in rows:
        if obstacle.route_station_m > route.length_m:
            raise ScenarioError(f"scenario {scenario.name}: an obstacle stands at {obstacle.route_station_m} m of a "
                                f"route of {route.length_m:.0f} m; give a smaller route_station_m")
    pose = np.reshape([_beside_route(route, row.route_station_m, row.lateral_m) for row in rows], (-1, 3))
    pose[:, 2] = wrap_angle(pose[:, 2] + np.radians([row.heading_deg for row in rows]))
    size, colour = _draw_cars(len(rows), rng)
    is_person = np.array([row.kind == "pedestrian" for row in rows], bool)
    size[is_person], colour[is_person] = PEDESTRIAN_SIZE_M, rng.choice(COAT_COLOURS, is_person.sum())
    return Actors(np.zeros(len(rows), int), np.where(is_person, int(ActorKind.PEDESTRIAN), int(ActorKind.VEHICLE)),
                  pose, size, np.array([row.speed_mps for row in rows]), colour,
                  np.array([HAZARD if row.hazard_lights else 0 for row in rows], np.uint8))


def _draw_cars(count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Sizes (count, 3) [m] and colours (count, 3) uint8 of usual cars."""
    size = rng.choice(CAR_SIZES_M, count) * rng.uniform(0.97, 1.03, (count, 3))
    return size, rng.choice(CAR_COLOURS, count)


def _park_cars(town: Town, route: Route, cars_per_km: float, obstacles: Actors, rng: np.random.Generator) -> Actors:
    """Cars that stand on the right verges of the route's roads, both ways, where nothing else stands."""
    network = town.network
    driven = dict.fromkeys(route.lanes[:int(route.lane_index[-1]) + 1])  # the route may end before its last lanes
    kerbside = dict.fromkeys(network.outermost(i, "right") for i in driven if network.lanes[i].junction is None)
    own = [network.lanes[i] for i in kerbside]
    inner = [network.lanes[network.outermost(i, "left")].opposite for i in kerbside]
    other = [network.lanes[network.outermost(i, "right")] for i in inner if i is not None]
    wanted = round(cars_per_km / 1000 * sum(lane.length_m for lane in own))
    lanes = [lane for lane in own + other if lane.length_m > 2 * PARKED_JUNCTION_GAP_M + 1.0]
    if not wanted or not lanes:
        return _parked(np.zeros((0, 3)), *_draw_cars(0, rng))
    size, colour = _draw_cars(PARKED_TRIES * wanted, rng)
    pose = _verge_places(lanes, size, rng)
    fits = np.flatnonzero(_is_free(town, pose, size, obstacles))
    fits = fits[keep_apart(pose[fits, :2], np.full(len(fits), PARKED_SPACING_M / 2))][:wanted]
    return _parked(pose[fits], size[fits], colour[fits])


def _parked(pose: Array, size_m: Array, colour: Array) -> Actors:
    count = len(pose)
    return Actors(np.zeros(count, int), np.full(count, int(ActorKind.VEHICLE)), pose, size_m, np.zeros(count), colour,
                  np.zeros(count, np.uint8))


def _verge_places(lanes: list[Lane], size_m: Array, rng: np.random.Generator) -> Array:
    """Poses (K, 3) on the right verges of lanes for cars of sizes (K, 3), clear of the lanes' ends."""
    usable = np.array([lane.length_m - 2 * PARKED_JUNCTION_GAP_M for lane in lanes])
    which = rng.choice(len(lanes), len(size_m), p=usable / usable.sum())
    station = PARKED_JUNCTION_GAP_M + rng.uniform(0.0, 1.0, len(size_m)) * usable[which]
    gap = PARKED_EDGE_GAP_M + rng.uniform(0.05, 0.5, len(size_m))
    turn = rng.normal(0.0, 0.015, len(size_m))
    pose = np.zeros((len(size_m), 3))
    for i in np.unique(which):
        lane, rows = lanes[i], which == i
        centre = interpolate(lane.centre_m, lane.station_m, station[rows])
        heading = lane.heading_at(station[rows])
        right = (lane.half_at(station[rows]) + gap[rows] + size_m[rows, 1] / 2)[:, None]
        pose[rows, :2] = centre + right * np.stack([np.sin(heading), -np.cos(heading)], axis=1)
        pose[rows, 2] = wrap_angle(heading + turn[rows])
    return pose


def _is_free(town: Town, pose: Array, size_m: Array, obstacles: Actors) -> Array:
    """Whether (K,) cars stand clear of every lane's edge line, of crossings, sign posts, scenery and obstacles."""
    corners = np.stack([box_corners(*row) for row in zip(pose, size_m[:, 0], size_m[:, 1], strict=True)])
    clear = town.network.distance_to_road(corners.reshape(-1, 2)).reshape(-1, 4).min(axis=1)
    is_free = clear >= PARKED_EDGE_GAP_M - SHOULDER_M
    is_house = town.props.kind == PropKind.BUILDING
    reach = np.where(is_house, np.hypot(town.props.size_m[:, 0], town.props.size_m[:, 1]) / 2, TRUNK_M) + 2.6
    ends = np.concatenate([np.zeros((0, 2)), *(crossing.ends_m for crossing in town.network.crossings)])
    for points, gap_m in ((ends, np.full(len(ends), PARKED_CROSSING_GAP_M)),
                          (town.signs.pose, np.full(len(town.signs.pose), PARKED_POST_GAP_M)),
                          (obstacles.pose, np.full(len(obstacles.pose), PARKED_POST_GAP_M)), (town.props.pose, reach)):
        delta = pose[:, None, :2] - points[None, :, :2]
        is_free &= ~np.any(np.hypot(delta[..., 0], delta[..., 1]) < gap_m, axis=1)
    return is_free


def _number(parts: list[Actors]) -> Actors:
    """All rows of several tables, with ids from 0."""
    joined = [np.concatenate([getattr(part, field.name) for part in parts]) for field in dataclasses.fields(Actors)]
    return Actors(np.arange(len(joined[0])), *joined[1:])


def _boxes(actors: Actors, count: int) -> Array:
    """The first rows of a table (count, 6): x_m, y_m, yaw_rad, length_m, width_m, speed_mps."""
    return np.column_stack([actors.pose[:count], actors.size_m[:count, :2], actors.speed_mps[:count]])


def _first(actors: Actors, count: int) -> Actors:
    """The first rows of a table."""
    return Actors(*(getattr(actors, field.name)[:count] for field in dataclasses.fields(Actors)))


def _advance(actors: Actors, dt_s: float) -> Actors:
    """The actors after `dt_s`; the same value if nobody moves."""
    if not actors.speed_mps.any():
        return actors
    pose, way = actors.pose.copy(), actors.speed_mps * dt_s
    pose[:, 0] += way * np.cos(pose[:, 2])
    pose[:, 1] += way * np.sin(pose[:, 2])
    return dataclasses.replace(actors, pose=pose)


def _solids(actors: Actors, town: Town) -> Solids:
    """All that the car can hit: rows of actors, then props (of a tree the trunk), then posts of signs and lights."""
    heading = np.stack([np.cos(actors.pose[:, 2]), np.sin(actors.pose[:, 2])], axis=1)
    props, posts = town.props, np.concatenate([town.signs.pose, town.signal_heads.pose])
    is_tree = (props.kind == PropKind.TREE)[:, None]
    prop_size = np.where(is_tree, np.column_stack([np.full((len(props.kind), 2), TRUNK_M), props.size_m[:, 2]]),
                         props.size_m)
    post_size = np.column_stack([np.full((len(posts), 2), POST_M), np.concatenate([
        town.signs.centre_height_m, town.signal_heads.centre_height_m])])
    return Solids.join([Solids(actors.pose, actors.size_m, heading * actors.speed_mps[:, None]),
                        Solids.still(props.pose, prop_size), Solids.still(posts, post_size)])


def _contact(row: int, impulse_ns: float, actors: Actors, town: Town) -> Contact:
    """The contact of a row of `_solids`. Static ids are the row of Props, or -1 - the row of sign and signal posts."""
    count, props = len(actors.id), len(town.props.kind)
    if row < count:
        return Contact(CONTACT_KIND[ActorKind(int(actors.kind[row]))], int(actors.id[row]), impulse_ns)
    return Contact("static", row - count if row < count + props else -1 - (row - count - props), impulse_ns)
