"""A road made by hand for the tests of rules, reward and metrics: no generator, no physics.

It runs 400 m east with a lane each way of 3.5 m; the eastbound lane's centre is y = -1.75. At x = 150 m a stop line
ends the eastbound lane 0; lane 1 (150 to 170 m) goes straight through a junction, lane 2 leads on to x = 400 m.
"""

from __future__ import annotations

import numpy as np

from envs.config import Patience
from envs.roads.network import Command, Control, Junction, Lane, Marking, RoadNetwork, Surface
from envs.roads.routes import route_over
from envs.rules import Facts, fold, initial_memory
from envs.state import Actors, Contact, Props, SignPosts, Town, VehicleState, WorldState, no_actors
from envs.state import Control as Action

LIMIT_MPS = 50 / 3.6
LANE_Y_M = -1.75


def _lane(number: int, first_m: float, last_m: float, y_m: float, successors: tuple[int, ...], **more: object) -> Lane:
    x = np.linspace(first_m, last_m, 1 + int(np.ceil(abs(last_m - first_m))))
    left, right = (Marking.NONE, Marking.NONE) if "junction" in more else (Marking.DASHED, Marking.SOLID)
    values: dict = {"width_m": 3.5, "speed_limit_mps": LIMIT_MPS, "left": left, "right": right, "surface": 0, **more}
    return Lane(id=number, centre_m=np.stack([x, np.full_like(x, y_m)], axis=1), successors=successors, **values)


def network(control: Control = Control.STOP) -> RoadNetwork:
    lanes = (
        _lane(0, 0, 150, LANE_Y_M, (1,), control=control, opposite=5),
        _lane(1, 150, 170, LANE_Y_M, (2,), junction=0, turn=Command.STRAIGHT),
        _lane(2, 170, 400, LANE_Y_M, (), opposite=3),
        _lane(3, 400, 170, -LANE_Y_M, (4,), opposite=2),
        _lane(4, 170, 150, -LANE_Y_M, (5,), junction=0, turn=Command.STRAIGHT),
        _lane(5, 150, 0, -LANE_Y_M, (), opposite=0),
    )
    outline = np.array([[0.0, -4.0], [400.0, -4.0], [400.0, 4.0], [0.0, 4.0]])
    return RoadNetwork(lanes, (Junction(0, (0, 3), (1, 4), (2, 5)),), (Surface("straight", outline, None),))


def town(control: Control = Control.STOP) -> Town:
    nothing = np.zeros(0, int)
    none = np.zeros(0)
    return Town(0, network(control), SignPosts(nothing, np.zeros((0, 3)), none, nothing, none, nothing, none),
                Props(nothing, np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3), np.uint8)))


TOWN = town()
ROUTE = route_over(TOWN.network, (0, 1, 2))


def state(x_m: float, y_m: float = LANE_Y_M, *, step: int = 0, speed_mps: float = 10.0, yaw_rad: float = 0.0,
          actors: Actors | None = None, contacts: tuple[Contact, ...] = (), place: Town = TOWN,
          **motion: float) -> WorldState:
    """An instant with the ego's rear axle at (x, y); 10 steps a second."""
    ego = VehicleState(x_m, y_m, yaw_rad, speed_mps=speed_mps, **motion)
    return WorldState(0.1 * step, step, ego, actors or no_actors(), contacts, Action(0.0, 0.0), place,
                      route_over(place.network, (0, 1, 2)) if place is not TOWN else ROUTE)


def drive(speeds_mps: list[float] | np.ndarray, start_m: float = 5.0, y_m: float = LANE_Y_M) -> list[WorldState]:
    """States along a straight line: the first instant, then one per speed."""
    states, x = [state(start_m, y_m, speed_mps=float(speeds_mps[0]))], start_m
    for step, speed in enumerate(speeds_mps, 1):
        x += 0.1 * float(speed)
        states.append(state(x, y_m, step=step, speed_mps=float(speed)))
    return states


def judge(states: list[WorldState], patience: Patience | None = None) -> list[Facts]:
    """The facts of every state but the first."""
    memory, facts = initial_memory(states[0], patience), []
    for now in states[1:]:
        memory, fact = fold(memory, now)
        facts.append(fact)
    return facts


def actors(*rows: tuple[float, float, float, float]) -> Actors:
    """Cars (4.5 x 1.8 m) as (x_m, y_m, yaw_rad, speed_mps)."""
    count = len(rows)
    table = np.array(rows, float).reshape(count, 4)
    return Actors(np.arange(count), np.zeros(count, int), table[:, :3], np.tile([4.5, 1.8, 1.5], (count, 1)),
                  table[:, 3], np.full((count, 3), 128, np.uint8), np.zeros(count, np.uint8))
