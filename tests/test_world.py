"""Scenarios come alive: where everybody stands, what the car runs into, and the same bytes every time."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import psutil
import pytest
from shapely import LineString, Polygon

from envs.config import CameraConfig, ConfigError, DriveConfig
from envs.geometry import box_corners, interpolate, wrap_angle
from envs.render.camera import RENDERERS, pose_of
from envs.render.scene import build_scene
from envs.roads.procedural import build_town
from envs.rules import COLLISIONS
from envs.state import EGO_SHAPE, ActionError, ActorKind, Control, PropKind, WorldState, state_bytes
from envs.world import World, _contact, plan_route
from scenarios.recording import CONTACT_KINDS
from scenarios.spec import Obstacle, Scenario, ScenarioError, split_scenario
from tests import straight_road

STRAIGHT = Control(0.0, 0.5)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World(DriveConfig(renderer="none"))
    yield world
    world.close()


@functools.cache
def straight_start() -> int:
    """The first val town whose route begins with 50 m that are straight."""
    for seed in range(10_000, 10_500):
        route = plan_route(build_town(seed).network, Scenario(name="any", town_seed=seed))
        if np.ptp(route.heading_rad[:route.index_at(50.0)]) < 1e-3:
            return seed
    raise LookupError("no val town starts straight")


def _scenario(**settings: object) -> Scenario:
    return Scenario.model_validate({"name": "story", "town_seed": straight_start(), "parked_cars_per_km": 0.0,
                                    **settings})


def _on_route(state: WorldState, station_m: float, lateral_m: float) -> np.ndarray:
    route = state.route
    point = interpolate(route.points_m, route.station_m, np.array([station_m]))[0]
    heading = np.interp(station_m, route.station_m, route.heading_rad)
    return point + lateral_m * np.array([-np.sin(heading), np.cos(heading)])


@pytest.mark.slow
def test_the_car_starts_standing_in_its_lane_and_touches_nothing(world: World) -> None:
    for k in range(12):
        state = world.reset(split_scenario("val", k), np.random.default_rng(k))
        station, lateral = state.route.locate(state.ego.x_m, state.ego.y_m)
        assert station < 3.0 and abs(lateral) <= 0.2
        assert abs(wrap_angle(state.ego.yaw_rad - state.route.heading_rad[0])) < 0.05
        assert (state.time_s, state.step, state.ego.speed_mps, state.contacts) == (0.0, 0, 0.0, ())
        for _ in range(5):
            state = world.step(Control(0.0, 0.0))
            assert state.contacts == ()
        assert abs(state.ego.speed_mps) < 1e-3 and state.time_s == pytest.approx(0.5)


def test_it_starts_with_the_speed_of_the_scenario(world: World) -> None:
    state = world.reset(_scenario(start_speed_mps=12.0), np.random.default_rng(0))
    assert state.ego.speed_mps == pytest.approx(12.0, abs=1e-9)
    assert world.step(Control(0.0, 0.0)).ego.speed_mps == pytest.approx(11.93, abs=0.05)


def test_parked_cars_keep_clear_of_lanes_junctions_signs_and_each_other(world: World) -> None:
    count = 0
    for k in range(10):
        state = world.reset(split_scenario("val", k), np.random.default_rng(k))
        lanes, actors = state.town.network.lanes, state.actors
        boxes = [Polygon(box_corners(pose, *size[:2]))
                 for pose, size in zip(actors.pose, actors.size_m, strict=True)]
        middles = [LineString(lane.centre_m) for lane in lanes]
        ends = np.concatenate([lane.centre_m[[0, -1]] for lane in lanes if lane.junction is None])
        for i, box in enumerate(boxes):
            gap = min(box.distance(middle) - lane.width_m / 2 for middle, lane in zip(middles, lanes, strict=True))
            assert 0.3 - 0.01 <= gap < 1.5
            assert np.hypot(*(ends - actors.pose[i, :2]).T).min() > 14.0
            assert np.hypot(*(state.town.signs.pose[:, :2] - actors.pose[i, :2]).T).min() > 14.0
            assert not any(box.intersects(other) for other in boxes[:i])
        for pose, size in zip(state.town.props.pose[state.town.props.kind == PropKind.BUILDING],
                              state.town.props.size_m[state.town.props.kind == PropKind.BUILDING], strict=True):
            house = Polygon(box_corners(pose, *size[:2]))
            assert not any(house.intersects(box) for box in boxes)
        count += len(boxes)
        assert (actors.speed_mps == 0).all() and len(set(actors.id.tolist())) == len(actors.id)
    assert count > 40  # about 20 for each km of route


def test_no_parked_cars_where_none_are_wanted(world: World) -> None:
    assert len(world.reset(_scenario(), np.random.default_rng(0)).actors.id) == 0


def test_the_route_is_the_scenarios_alone(world: World) -> None:
    first = world.reset(_scenario(), np.random.default_rng(1))
    second = world.reset(_scenario(parked_cars_per_km=20.0), np.random.default_rng(2))
    other = world.reset(_scenario(route_seed=1), np.random.default_rng(1))
    assert np.array_equal(first.route.points_m, second.route.points_m)
    assert not np.array_equal(first.route.points_m, other.route.points_m)
    assert 300.0 <= first.route.length_m <= 800.0


def test_a_scenario_can_cap_the_speed_limit(world: World) -> None:
    free = world.reset(_scenario(), np.random.default_rng(0)).route.speed_limit_mps
    capped = world.reset(_scenario(speed_limit_mps=7.0), np.random.default_rng(0)).route.speed_limit_mps
    assert np.array_equal(capped, np.minimum(free, 7.0)) and free.max() > 7.0


@pytest.mark.parametrize("kind", ["vehicle", "pedestrian"])
def test_an_obstacle_stands_where_it_was_put_and_is_hit_there(
        world: World, kind: Literal["vehicle", "pedestrian"]) -> None:
    obstacle = Obstacle(route_station_m=25.0, lateral_m=0.2, kind=kind)
    state = world.reset(_scenario(obstacles=(obstacle,), start_speed_mps=8.0), np.random.default_rng(0))
    assert state.actors.pose[0, :2] == pytest.approx(_on_route(state, 25.0, 0.2), abs=0.05)
    assert state.actors.kind[0] == ActorKind[kind.upper()]
    while not state.contacts:
        state = world.step(STRAIGHT)
        assert state.time_s < 6.0
    assert [(contact.kind, contact.id) for contact in state.contacts] == [(kind, 0)]
    assert state.contacts[0].impulse_ns > 1000.0
    station, _ = state.route.locate(state.ego.x_m, state.ego.y_m)
    assert station + EGO_SHAPE.front_m == pytest.approx(25.0 - state.actors.size_m[0, 0] / 2, abs=0.5)


def test_a_crossing_pedestrian_walks_straight_on(world: World) -> None:
    obstacle = Obstacle(route_station_m=60.0, lateral_m=-6.0, speed_mps=1.5, kind="pedestrian", heading_deg=90.0)
    state = world.reset(_scenario(obstacles=(obstacle,)), np.random.default_rng(0))
    for _ in range(20):
        state = world.step(Control(0.0, 0.0))
    assert state.actors.pose[0, :2] == pytest.approx(_on_route(state, 60.0, -3.0), abs=0.05)
    assert state.contacts == ()


@pytest.mark.slow
def test_off_the_road_the_town_is_solid_and_each_thing_has_its_name(world: World) -> None:
    """Full throttle with the wheel turned until something stops the car: a house's wall, a trunk (no crown), a post."""
    hit = set()
    for k in range(14):
        state = world.reset(split_scenario("val", k).model_copy(update={"parked_cars_per_km": 0.0}),
                            np.random.default_rng(k))
        while state.time_s < 25.0 and not state.contacts:
            state = world.step(Control(-0.02 if state.time_s > 2.0 else 0.0, 0.4))
        outline = Polygon(box_corners(state.ego.pose, EGO_SHAPE.length_m, EGO_SHAPE.width_m,
                                      EGO_SHAPE.centre_forward_m))
        for contact in state.contacts:
            assert contact.kind == "static"
            body, name = _static_body(state, contact.id)
            assert outline.distance(body) < 0.4, f"{name} {contact.id} in {state.town.seed}"
            hit.add(name)
    assert hit >= {"TREE", "BUILDING"}


def test_a_sign_post_in_the_way_is_hit_and_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    town = build_town(straight_start())
    state = world.reset(_scenario(), np.random.default_rng(0))
    pose = town.signs.pose.copy()
    pose[2, :2] = _on_route(state, 20.0, 0.0)
    moved = dataclasses.replace(town, signs=dataclasses.replace(town.signs, pose=pose))
    monkeypatch.setattr("envs.world.build_town", lambda seed: moved)
    state = world.reset(_scenario(start_speed_mps=6.0), np.random.default_rng(0))
    while not state.contacts:
        state = world.step(STRAIGHT)
        assert state.time_s < 4.0
    assert [(contact.kind, contact.id) for contact in state.contacts] == [("static", -1 - 2)]
    assert state.route.locate(state.ego.x_m, state.ego.y_m)[0] + EGO_SHAPE.front_m == pytest.approx(20.0, abs=0.3)


def _static_body(state: WorldState, number: int) -> tuple[Polygon, str]:
    """Footprint and name of what a static contact's id stands for: a row of Props, or -1 - a row of SignPosts."""
    props, signs = state.town.props, state.town.signs
    if number < 0:
        return Polygon(box_corners(signs.pose[-1 - number], 0.06, 0.06)), "post"
    length, width, _ = props.size_m[number] if props.kind[number] == PropKind.BUILDING else (0.4, 0.4, 0.0)
    return Polygon(box_corners(props.pose[number], length, width)), PropKind(props.kind[number]).name


def test_a_car_that_comes_along_the_road_runs_into_the_standing_ego(world: World) -> None:
    obstacle = Obstacle(route_station_m=30.0, speed_mps=5.0, heading_deg=180.0)
    state = world.reset(_scenario(obstacles=(obstacle,)), np.random.default_rng(0))
    gap = 30.0 - EGO_SHAPE.front_m - state.actors.size_m[0, 0] / 2
    while not state.contacts:
        state = world.step(Control(0.0, -0.1))
        assert state.time_s < 6.0
    assert state.time_s == pytest.approx(gap / 5.0, abs=0.12)
    assert [(contact.kind, contact.id) for contact in state.contacts] == [("vehicle", 0)]


def test_controls_are_clipped_or_refused(world: World) -> None:
    world.reset(_scenario(), np.random.default_rng(0))
    assert world.step(Control(7.0, -3.0)).control == Control(1.0, -1.0)
    for control in (Control(math.nan, 0.0), Control(0.0, math.inf)):
        with pytest.raises(ActionError, match="finite"):
            world.step(control)


@pytest.mark.slow
def test_two_worlds_side_by_side_do_not_disturb_each_other(world: World) -> None:
    alone = drive_digest(world)
    other = World(DriveConfig(renderer="none"))
    other.reset(split_scenario("val-busy", 3), np.random.default_rng(1))
    assert drive_digest(world, meanwhile=lambda: other.step(Control(0.3, 1.0))) == alone
    other.close()


@pytest.mark.parametrize(("settings", "words"), [
    ({"obstacles": ({"route_station_m": 5_000.0},)}, "smaller route_station_m"),
    ({"route_min_m": 19_000.0, "route_max_m": 20_000.0}, "no route of 19000 m"),
])
def test_what_does_not_fit_the_town_is_refused_in_one_sentence(world: World, settings: dict, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        world.reset(_scenario(**settings), np.random.default_rng(0))


def test_a_step_too_long_to_be_stable_is_refused() -> None:
    with pytest.raises(ConfigError, match="physics_steps"):
        World(DriveConfig(control_dt_s=0.2, physics_steps=5))


def test_a_step_before_the_first_reset_is_refused() -> None:
    fresh = World(DriveConfig())
    with pytest.raises(RuntimeError, match="reset"):
        fresh.step(STRAIGHT)
    fresh.close()


DIGEST_CONTROLS = [Control(0.05 * math.sin(k / 6), 0.5 if k < 90 else -0.7) for k in range(120)]


def _digest_scenario() -> Scenario:
    return Scenario(name="digest", town_seed=10_003, obstacles=(
        Obstacle(route_station_m=40.0, lateral_m=-3.0, speed_mps=1.0, kind="pedestrian", heading_deg=90.0),
        Obstacle(route_station_m=60.0, lateral_m=0.5)))


NIGHT = split_scenario("val-busy", 3).model_copy(update={"weather": "night"})


def drive_digest(world: World, seed: int = 5, meanwhile: Callable[[], object] = lambda: None) -> str:
    """SHA-256 of all states of a drive that swerves, brakes and hits what it meets, and of one in a busy town at night,
    with every tenth frame of it."""
    digest, renderer = hashlib.sha256(), RENDERERS["raster"](CameraConfig())
    for scenario in (_digest_scenario(), NIGHT):
        state = world.reset(scenario, np.random.default_rng(seed))
        for step, control in enumerate(DIGEST_CONTROLS):
            if scenario is NIGHT and step % 10 == 0:
                frame = renderer.render(build_scene(state), pose_of(CameraConfig(), state.ego))
                for layer in (frame.rgb, frame.class_id, frame.instance_id, frame.depth_m):
                    digest.update(np.ascontiguousarray(layer).tobytes())
            meanwhile()
            state = world.step(control)
            digest.update(state_bytes(state))
    return digest.hexdigest()


@pytest.mark.slow
def test_the_same_drive_gives_the_same_bytes_in_another_process_and_after_other_episodes(world: World) -> None:
    first = drive_digest(world)
    world.reset(split_scenario("val", 7), np.random.default_rng(0))
    for _ in range(60):
        world.step(Control(0.3, 1.0))
    assert drive_digest(world) == first
    assert drive_digest(world, seed=6) != first
    code = ("import sys; sys.path[:0] = ['.', 'tests']; from test_world import *; "
            "print('digest', drive_digest(World(DriveConfig(renderer='none'))))")
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert f"digest {first}" in other.stdout


def test_state_bytes_tell_every_change(world: World) -> None:
    obstacle = Obstacle(route_station_m=60.0, speed_mps=1.0)
    state = world.reset(_scenario(obstacles=(obstacle,)), np.random.default_rng(0))
    ego = dataclasses.replace(state.ego, yaw_rad=np.nextafter(state.ego.yaw_rad, 9.0))
    actors = dataclasses.replace(state.actors, pose=state.actors.pose + 1e-12 * (state.actors.pose + 1.0))
    changed = [dataclasses.replace(state, **change) for change in (
        {"ego": ego}, {"actors": actors}, {"step": 1}, {"time_s": 0.1}, {"control": Control(0.0, 0.1)})]
    assert len({state_bytes(value) for value in [state, *changed]}) == 1 + len(changed)
    assert state_bytes(dataclasses.replace(state)) == state_bytes(state)


@pytest.mark.exhaustive
def test_hundreds_of_resets_do_not_leak(world: World) -> None:
    """Memory after 600 resets of 20 towns within 5 % of that after 100."""
    process, memory = psutil.Process(), []
    for k in range(600):
        world.reset(split_scenario("val", k % 20), np.random.default_rng(k))
        for _ in range(3):
            world.step(STRAIGHT)
        if k in (100, 599):
            memory.append(process.memory_info().rss)
    assert memory[1] < 1.05 * memory[0]


def test_everybody_who_can_be_hit_is_named_as_rules_and_recordings_know_it() -> None:
    """A bicycle is a vehicle to the law and to the leaderboard."""
    kinds = np.array([int(kind) for kind in ActorKind])
    actors = dataclasses.replace(straight_road.actors(*[(10.0 * k, 0.0, 0.0, 3.0) for k in kinds]), kind=kinds)
    named = {kind: _contact(k, 1.0, actors, straight_road.TOWN).kind for k, kind in enumerate(ActorKind)}
    assert named == {ActorKind.VEHICLE: "vehicle", ActorKind.PEDESTRIAN: "pedestrian", ActorKind.CYCLIST: "vehicle"}
    assert set(named.values()) < set(CONTACT_KINDS) == set(COLLISIONS)
