"""Road users are drawn where they are, as large as they are, and tell by their lamps what they do."""

import itertools
import math

import numpy as np
import pytest
import straight_road

from envs.geometry import box_corners
from envs.render.boxes import INSTANCE_ACTOR, Boxes
from envs.render.paving import SemanticClass
from envs.render.scene import build_scene
from envs.render.vehicles import (
    AMBER_ON,
    BODIES,
    BRAKE_ON,
    BUS,
    CAR,
    HEAD_ON,
    KINDS,
    LORRY,
    TAIL_ON,
    VAN,
    body_of,
    is_blink_on,
    road_users,
)
from envs.state import ActorKind, Actors, Lamp, no_actors

SIZES_M = {"car": (4.5, 1.8, 1.5), "van": (5.4, 1.95, 2.2), "lorry": (8.5, 2.5, 3.4), "bus": (12.0, 2.55, 3.1)}
NORTH_EAST = (30.0, 10.0, math.pi / 4)


def one(kind: ActorKind = ActorKind.VEHICLE, size_m: tuple[float, float, float] = SIZES_M["car"],
        lamps: Lamp = Lamp.NONE, pose: tuple[float, float, float] = NORTH_EAST, speed_mps: float = 0.0) -> Actors:
    return Actors(np.array([7]), np.array([int(kind)]), np.array([pose]), np.array([size_m]), np.array([speed_mps]),
                  np.array([[200, 10, 10]], np.uint8), np.array([int(lamps)], np.uint8))


def seen_from(boxes: Boxes, pose: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """How far ahead and to the left of a pose the corners of all boxes lie (K, 4) each."""
    corners = np.stack([box_corners(np.array([*centre[:2], yaw]), size[0], size[1]) for centre, size, yaw in zip(
        boxes.centre_m, boxes.size_m, boxes.yaw_rad, strict=True)])
    x, y, yaw = pose
    delta = corners - [x, y]
    return delta @ [math.cos(yaw), math.sin(yaw)], delta @ [-math.sin(yaw), math.cos(yaw)]


@pytest.mark.parametrize("size_m", SIZES_M.values(), ids=SIZES_M)
def test_a_vehicle_fills_its_outline_and_turns_with_it(size_m):
    boxes = road_users(one(size_m=size_m), True)
    assert set(boxes.instance.tolist()) == {INSTANCE_ACTOR + 7}
    assert set(boxes.semantic.tolist()) == {int(SemanticClass.VEHICLE)}
    ahead, aside = seen_from(boxes, NORTH_EAST)
    length, width, height = size_m
    assert ahead.max() == pytest.approx(length / 2, rel=0.025) and ahead.min() == pytest.approx(-length / 2, rel=0.025)
    assert abs(aside).max() == pytest.approx(width / 2, rel=0.03)
    assert (boxes.centre_m[:, 2] + boxes.size_m[:, 2] / 2).max() == pytest.approx(height, abs=0.02 * height)
    assert (boxes.centre_m[:, 2] - boxes.size_m[:, 2] / 2).min() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("lamp", "colour", "is_behind", "is_left"), [
    (Lamp.BRAKE, BRAKE_ON, True, None), (Lamp.HEAD, HEAD_ON, False, None), (Lamp.HEAD, TAIL_ON, True, None),
    (Lamp.LEFT, AMBER_ON, None, True), (Lamp.RIGHT, AMBER_ON, None, False)])
@pytest.mark.parametrize("size_m", SIZES_M.values(), ids=SIZES_M)
def test_lamps_are_lit_where_they_belong(size_m, lamp, colour, is_behind, is_left):
    dark, lit = road_users(one(size_m=size_m), True), road_users(one(size_m=size_m, lamps=lamp), True)
    assert not dark.glow.any() and not (dark.colour == colour).all(axis=1).any()
    rows = np.flatnonzero((lit.colour == colour).all(axis=1))
    assert len(rows) >= 2 and lit.glow[rows].all()
    changed = np.any(dark.colour != lit.colour, axis=1)
    np.testing.assert_array_equal(changed, lit.glow)
    ahead, aside = seen_from(lit, NORTH_EAST)
    if is_behind is not None:
        assert ((ahead[rows].mean(axis=1) < 0) == is_behind).all()
    if is_left is not None:
        assert ((aside[rows].mean(axis=1) > 0) == is_left).all()
        assert {bool(part.mean() > 0) for part in ahead[rows]} == {True, False}, "in front and behind"


def test_braking_outshines_the_tail_lights():
    lit = road_users(one(lamps=Lamp.BRAKE | Lamp.HEAD), True)
    assert not (lit.colour == TAIL_ON).all(axis=1).any() and (lit.colour == BRAKE_ON).all(axis=1).sum() == 3


def test_turn_lamps_blink_ninety_times_a_minute():
    car = one(lamps=Lamp.LEFT | Lamp.BRAKE)
    lit = [is_blink_on(0.1 * k) for k in range(600)]
    flashes = sum(b and not a for a, b in itertools.pairwise(lit)) + lit[0]
    assert flashes == 90 and 0.4 < np.mean(lit) < 0.6
    on, off = road_users(car, True), road_users(car, False)
    assert (on.colour == AMBER_ON).all(axis=1).sum() == 2 and not (off.colour == AMBER_ON).all(axis=1).any()
    assert (off.colour == BRAKE_ON).all(axis=1).any()
    states = [straight_road.state(0.0, step=step, actors=car) for step in (0, 5)]
    assert not np.array_equal(*(build_scene(state).actors.glow for state in states))


def test_vehicles_are_told_apart_by_size():
    assert [body_of(size[0], size[2]) for size in SIZES_M.values()] == [CAR, VAN, LORRY, BUS]
    assert body_of(16.5, 4.0) is BUS and body_of(7.0, 1.5) is CAR and body_of(3.5, 1.5) is CAR
    assert BODIES[-1][:2] == (0.0, 0.0)


def test_people_and_cyclists_have_classes_of_their_own():
    kinds = {kind: set(road_users(one(kind, (0.5, 0.6, 1.75)), True).semantic.tolist()) for kind in KINDS}
    assert kinds == {ActorKind.PEDESTRIAN: {SemanticClass.PEDESTRIAN}, ActorKind.CYCLIST: {SemanticClass.CYCLIST}}


def test_who_walks_swings_legs_against_each_other_and_stays_where_he_is():
    """Over one stride every box comes back; who stands keeps still."""
    ways = np.linspace(0.0, 1.4, 9)
    def forward(speed_mps: float) -> np.ndarray:
        return np.stack([road_users(one(ActorKind.PEDESTRIAN, (0.45, 0.6, 1.75), Lamp.NONE, (way, 0.0, 0.0), speed_mps),
                                    True).centre_m[:, 0] - way for way in ways])

    walk = forward(1.4)
    np.testing.assert_allclose(walk[0], walk[-1], atol=1e-9)
    legs = walk[:, :2]
    np.testing.assert_allclose(legs[:, 0], -legs[:, 1], atol=1e-9)
    assert 0.1 < np.ptp(legs[:, 0]) < 0.6 and np.abs(walk).max() < 0.35
    assert np.ptp(forward(0.0), axis=0).max() < 1e-9


def test_many_at_once_are_the_same_as_each_alone():
    rng, count = np.random.default_rng(3), 9
    size = np.array([*SIZES_M.values(), *SIZES_M.values(), (0.5, 0.6, 1.7)])
    crowd = Actors(np.arange(count), np.array([0] * 8 + [1]), rng.uniform(-9, 9, (count, 3)), size,
                   rng.uniform(0, 9, count), rng.integers(0, 255, (count, 3), np.uint8),
                   rng.integers(0, 16, count).astype(np.uint8))
    together = road_users(crowd, True)
    for k in range(count):
        alone = road_users(Actors(*(column[k:k + 1] for column in vars(crowd).values())), True)
        rows = together.instance == INSTANCE_ACTOR + k
        for name in vars(alone):
            np.testing.assert_array_equal(getattr(together, name)[rows], getattr(alone, name), err_msg=name)


def test_an_empty_street():
    assert len(road_users(no_actors(), True).yaw_rad) == 0
