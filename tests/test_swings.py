"""Long vehicles that turn off: nobody stands where their tails swing, and they use the shoulder all along the bend."""

from collections.abc import Iterator

import numpy as np
from test_traffic import AWAY, DT_S, NOBODY, STILL, cars, draw_paths, lane, overlapping, road, town_of

from envs.drivers.following import CUR
from envs.drivers.swings import SWING_M
from envs.road_users import BUS
from envs.roads.network import Command, Junction, Marking
from envs.state import Actors, Phase, Town
from envs.traffic import Traffic


def turn_beside_straight(radius_m: float = 12.0) -> Town:
    """Two lanes east, 0 on the left, which turns left at x = 200 m, and 1, which goes on; one light for both."""
    end = 1.75 + radius_m
    arc = np.linspace(0.0, np.pi / 2, 24)
    bend = np.stack([200.0 + radius_m * np.sin(arc), 1.75 + radius_m * (1 - np.cos(arc))], axis=1)
    turn = lane(2, [(200, 1.75), (200 + radius_m, end)], (4,), junction=0, turn=Command.LEFT, left=Marking.NONE)
    object.__setattr__(turn, "centre_m", bend)
    return town_of(road((
        lane(0, [(0, 1.75), (200, 1.75)], (2,), right_neighbour=1, right=Marking.SOLID, signal=0),
        lane(1, [(0, -1.75), (200, -1.75)], (3,), left_neighbour=0, left=Marking.SOLID, signal=0),
        turn, lane(3, [(200, -1.75), (224, -1.75)], (5,), junction=0, turn=Command.STRAIGHT),
        lane(4, [(200 + radius_m, end), (200 + radius_m, 200)]), lane(5, [(224, -1.75), (500, -1.75)])),
        (Junction(0, (0, 1), (2, 3), (4, 5)),)))


RED, GREEN = np.array([Phase.RED], np.int64), np.array([Phase.GREEN], np.int64)


def with_buses(town: Town, rows: tuple[tuple[int, float, float], ...], buses: tuple[int, ...]) -> Traffic:
    """As `cars`; some of the rows are buses. Nobody wishes for another lane."""
    traffic = cars(town, *rows)
    users, count = traffic._users, len(rows)
    for row in buses:
        user = users[row]
        user["length_m"], user["width_m"], user["wheelbase_m"], user["nose_m"], user["kind"] = 12.0, 2.5, 6.5, 2.5, BUS
    users["wish"][:count] = -1
    traffic.actors.size_m[:, 0], traffic.actors.size_m[:, 1] = users["length_m"][:count], users["width_m"][:count]
    draw_paths(traffic._map, users)
    return traffic


def step(traffic: Traffic, light: np.ndarray, seconds: float) -> Iterator[Actors]:
    """What is seen every step; nobody touches anybody."""
    for _ in range(round(seconds / DT_S)):
        seen = traffic.step(AWAY, light, NOBODY, STILL, DT_S)
        assert overlapping(seen) == []
        yield seen


def test_a_tail_swings_out_beside_a_car_only_if_it_clears_it():
    """Lanes of 3.5 m, a car of 1.8 m: 1.35 m of the bus's lane are beyond its side and 0.9 m of the other's.

    Along the chord of its axles the tail swings out by 3 m x 6.5 m / 2 R: 0.8 m on a radius of 12 m, 1.2 m on 8 m.
    """
    for radius_m, goes in ((12.0, True), (8.0, False)):
        traffic = with_buses(turn_beside_straight(radius_m), ((0, 199.2, 0.0), (1, 199.2, 0.0)), buses=(0,))
        traffic._users["pause_s"][1] = 1e3  # the car does not go
        seen, = list(step(traffic, GREEN, 20.0))[-1:]
        assert (seen.pose[0, 1] > 20.0) == goes
        assert seen.pose[1, 0] < 200.0
    traffic._users["pause_s"][1] = 0.0
    seen, = list(step(traffic, GREEN, 25.0))[-1:]
    assert seen.pose[0, 1] > 20.0 and seen.pose[1, 0] > 250.0, "once the car is gone"


def test_a_car_that_comes_to_the_line_beside_a_bus_halts_behind_its_tail():
    traffic = with_buses(turn_beside_straight(8.0), ((0, 199.0, 0.5), (1, 20.0, 8.0)), buses=(0,))
    seen, = list(step(traffic, RED, 30.0))[-1:]
    assert seen.speed_mps.max() < 0.1
    assert SWING_M < 200.0 - (seen.pose[1, 0] + 2.25) < SWING_M + 4.0
    seen, = list(step(traffic, GREEN, 15.0))[-1:]
    assert seen.pose[0, 1] > 15.0 and seen.pose[1, 0] > 210.0


def test_of_two_who_cannot_go_at_once_the_one_who_has_waited_longer_goes_when_the_light_turns_green():
    """Whatever their rows: nobody judges the other by the light of a step before."""
    for bus, car in ((0, 1), (1, 0)):
        rows = ((0, 199.2, 0.0), (1, 199.2, 0.0)) if bus == 0 else ((1, 199.2, 0.0), (0, 199.2, 0.0))
        traffic = with_buses(turn_beside_straight(), rows, buses=(bus,))
        traffic._users["still_s"][[bus, car]] = 9.0, 60.0
        list(step(traffic, RED, 1.0))
        went = next(seen for seen in step(traffic, GREEN, 20.0) if seen.speed_mps.max() > 2.0)
        assert went.speed_mps.argmax() == car
        seen, = list(step(traffic, GREEN, 25.0))[-1:]
        assert seen.pose[bus, 1] > 20.0


def test_a_bus_keeps_to_the_kerb_until_its_tail_has_left_a_bend():
    """Round a bend to the right of 12 m: 0.35 m towards the kerb also where only its front is on the road behind."""
    arc = np.linspace(0.0, np.pi / 2, 24)
    turn = lane(1, [(200, 0), (212, -12)], (2,), junction=0, turn=Command.RIGHT, left=Marking.NONE)
    object.__setattr__(turn, "centre_m", np.stack([200.0 + 12.0 * np.sin(arc), 12.0 * (np.cos(arc) - 1)], axis=1))
    town = town_of(road((lane(0, [(0, 0), (200, 0)], (1,)), turn, lane(2, [(212, -12), (212, -300)])),
                        (Junction(0, (0,), (1,), (2,)),)))
    traffic = with_buses(town, ((0, 190.0, 4.0),), buses=(0,))
    user = traffic._users[0]
    aside = {}
    for _ in step(traffic, GREEN, 25.0):
        if user["path"][CUR] == 2:
            aside[float(user["s"])] = float(user["d"])
    assert max(d for at, d in aside.items() if at < 4.0) < -0.3 and max(aside) > 40.0
    assert min(d for at, d in aside.items() if at > 30.0) == 0.0, "and back"


def test_a_lorry_halts_behind_the_tail_of_a_bus_that_will_turn_off():
    traffic = with_buses(turn_beside_straight(), ((0, 150.0, 8.0), (1, 110.0, 8.0)), buses=(0, 1))
    seen, = list(step(traffic, RED, 25.0))[-1:]
    front = seen.pose[:, 0] + 6.0
    assert seen.speed_mps.max() < 0.1
    assert front[0] > 198.0 and SWING_M < 200.0 - front[1] < SWING_M + 4.0
    list(step(traffic, GREEN, 30.0))
    assert traffic.actors.pose[0, 1] > 40.0 and traffic.actors.pose[1, 0] > 260.0
