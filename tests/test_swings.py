"""Long vehicles side by side at a line: the second halts far enough back for the tail of the first."""

import numpy as np
from test_traffic import AWAY, DT_S, NOBODY, STILL, cars, draw_paths, lane, overlapping, road, town_of

from envs.drivers.swings import SWING_M
from envs.roads.network import Command, Junction, Marking
from envs.state import Phase, Town


def turn_beside_straight() -> Town:
    """Two lanes east, 0 on the left, which turns left at x = 200 m, and 1, which goes on; a light each."""
    arc = np.linspace(0.0, np.pi / 2, 24)
    bend = np.stack([200.0 + 12.0 * np.sin(arc), 1.75 + 12.0 * (1 - np.cos(arc))], axis=1)
    turn = lane(2, [(200, 1.75), (212, 13.75)], (4,), junction=0, turn=Command.LEFT, left=Marking.NONE)
    object.__setattr__(turn, "centre_m", bend)
    return town_of(road((
        lane(0, [(0, 1.75), (200, 1.75)], (2,), right_neighbour=1, right=Marking.DASHED, signal=0),
        lane(1, [(0, -1.75), (200, -1.75)], (3,), left_neighbour=0, signal=0),
        turn, lane(3, [(200, -1.75), (224, -1.75)], (5,), junction=0, turn=Command.STRAIGHT),
        lane(4, [(212, 13.75), (212, 200)]), lane(5, [(224, -1.75), (500, -1.75)])),
        (Junction(0, (0, 1), (2, 3), (4, 5)),)))


def test_a_lorry_halts_behind_the_tail_of_a_bus_that_will_turn_off():
    traffic = cars(turn_beside_straight(), (0, 150.0, 8.0), (1, 110.0, 8.0))
    users = traffic._users[:2]
    users["length_m"], users["width_m"], users["wheelbase_m"], users["nose_m"] = 12.0, 2.5, 6.5, 2.5
    users["kind"], users["wish"] = 3, -1
    traffic.actors.size_m[:, 0], traffic.actors.size_m[:, 1] = 12.0, 2.5
    draw_paths(traffic._map, traffic._users)
    red, green = np.array([Phase.RED], np.int64), np.array([Phase.GREEN], np.int64)
    for _ in range(250):
        seen = traffic.step(AWAY, red, NOBODY, STILL, DT_S)
    front = seen.pose[:, 0] + 6.0
    assert seen.speed_mps.max() < 0.1
    assert front[0] > 198.0 and SWING_M < 200.0 - front[1] < SWING_M + 4.0
    for _ in range(300):
        assert overlapping(traffic.step(AWAY, green, NOBODY, STILL, DT_S)) == []
    assert traffic.actors.pose[0, 1] > 40.0 and traffic.actors.pose[1, 0] > 260.0
