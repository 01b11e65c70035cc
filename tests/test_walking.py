"""What parties do at kerbs and on the road, as stories with numbers.

A crossing 8 m wide lies at x = 80 m of the straight road; the party stands at its south end beside the eastbound lane.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.gaps import seen
from envs.parties import CROSS, HIDE, LINGER, PARTY, PERSON, SLOTS, WAIT, WALK, Ground, settle
from envs.roads.network import Crossing
from envs.roads.pavements import pave
from envs.roads.ways import WayKind, find_ways, lane_lines
from envs.state import EGO_SHAPE, Actors, Phase, VehicleState, no_actors
from envs.walking import Sight, advance, child_distance
from tests.straight_road import ROUTE, TOWN, actors, network

FAR = VehicleState(390.0, 90.0, 0.0)
DARK = np.zeros(0, np.int64)
LUCK_NEVER = 0.99  # a drawn number with which nothing special happens
LUCK = np.full((1, 64), LUCK_NEVER)  # nobody turns back


def ground(kind: WayKind, signal: int | None = None) -> Ground:
    """The straight road with a crossing of a kind as way 0; with a signal, the eastbound light stands 5 m before."""
    crossing = Crossing(0, np.array([[80.0, -4.5], [80.0, 4.5]]), 4.0, (0, 5), (80.0, 70.0), kind == WayKind.ZEBRA)
    roads = dataclasses.replace(network(), crossings=(crossing,))
    town = dataclasses.replace(TOWN, network=roads)
    pavements = pave(town, ROUTE, no_actors())
    ways = find_ways(town, ROUTE, pavements, no_actors())
    kinds = ways.kind.copy()
    kinds[0] = kind
    groups = np.full((len(kinds), 1), -1)
    groups[0] = -1 if signal is None else signal
    return Ground(pavements, ways._replace(kind=kinds, group=groups), lane_lines(roads))


GROUNDS = {kind: ground(kind) for kind in WayKind}


class Story:
    """A party at the crossing and cars (x, y, yaw, speed) that drive as `driver` says: straight on if it is None."""

    def __init__(self, kind: WayKind, cars: list[tuple[float, float, float, float]], *, size: int = 1,
                 pace_mps: float = 1.4, end: int = 0, place: Ground | None = None, state: int = WAIT,
                 luck: np.ndarray = LUCK) -> None:
        self.ground = place or GROUNDS[kind]
        self.luck = luck
        self.parties, self.people = np.zeros(1, PARTY), np.zeros(size, PERSON)
        party = self.parties[0]
        party["size"], party["state"], party["end"], party["pace_mps"] = size, state, end, pace_mps
        for person, slot in zip(self.people, SLOTS, strict=False):
            person["line"], person["behind_m"] = slot
        settle(self.parties, self.people, self.ground)
        self.cars, self.ego, self.time_s = np.array(cars, float).reshape(-1, 4), FAR, 0.0
        self.signals, self.red_s = DARK, np.zeros(0)

    @property
    def state(self) -> int:
        return int(self.parties[0]["state"])

    @property
    def y_m(self) -> float:
        """Of the leader; -4 to 4 is the road."""
        return float(self.people[0]["y_m"])

    def vehicles(self) -> Actors:
        return actors(*self.cars)

    def step(self, driver: Callable[[Story], None] | None = None) -> None:
        sight = Sight(seen(self.ego, self.vehicles()), self.signals, self.red_s)
        advance(self.parties, self.people, self.ground, sight, self.luck, 0.1)
        if driver is not None:
            driver(self)
        self.cars[:, 0] += 0.1 * self.cars[:, 3] * np.cos(self.cars[:, 2])
        self.time_s += 0.1

    def until(self, *states: int, within_s: float = 60.0, driver: Callable[[Story], None] | None = None) -> float:
        """Time when the party's state is one of `states`."""
        while self.state not in states:
            assert self.time_s < within_s, f"still in state {self.state}"
            self.step(driver)
        return self.time_s

    def is_hit(self, margin_m: float = 0.2) -> bool:
        """Whether a moving car is nearer to anybody than a margin."""
        for x, y, _, speed in self.cars:
            dx, dy = np.abs(self.people["x_m"] - x), np.abs(self.people["y_m"] - y)
            if speed > 0.3 and ((dx < 2.25 + margin_m) & (dy < 0.9 + margin_m)).any():
                return True
        return False


def eastbound(gap_s: float, speed_mps: float) -> tuple[float, float, float, float]:
    """A car whose front reaches the crossing's near edge after `gap_s`."""
    return 78.0 - 2.25 - gap_s * speed_mps, -1.75, 0.0, speed_mps


def test_an_empty_road_is_crossed_at_once() -> None:
    for kind in (WayKind.ZEBRA, WayKind.PLAIN, WayKind.FREE):
        story = Story(kind, [])
        assert story.until(CROSS) <= 0.1
        assert story.until(WALK) == pytest.approx(9.0 / 1.4, abs=0.3), "9 m at 1.4 m/s"
        assert story.y_m == pytest.approx(4.5, abs=0.2)


@pytest.mark.parametrize(("gap_s", "goes"), [(2.0, False), (5.0, False), (8.0, True)])
def test_without_the_right_of_way_people_wait_for_a_gap(gap_s: float, goes: bool) -> None:
    """8 m of road take 5.7 s at 1.4 m/s; with 2 s to spare a gap of 8 s is taken and one of 5 s is not."""
    story = Story(WayKind.PLAIN, [eastbound(gap_s, 8.5)])
    story.step()
    assert (story.state == CROSS) == goes
    if not goes:
        story.until(CROSS)
        assert story.cars[0, 0] - 2.25 > 82.0, "only when the car's rear is past"


def test_where_nothing_is_marked_the_gap_is_larger() -> None:
    story = Story(WayKind.FREE, [eastbound(8.5, 8.0)])
    story.step()
    assert story.state == WAIT


def test_a_gap_counts_on_the_far_lane_too() -> None:
    story = Story(WayKind.PLAIN, [(80 + 2 + 2.25 + 30.0, 1.75, math.pi, 10.0)])
    story.step()
    assert story.state == WAIT


@pytest.mark.parametrize(("distance_m", "speed_mps", "goes"), [(20.0, 10.0, True), (14.0, 10.0, False),
                                                              (40.0, 14.0, True), (25.0, 14.0, False)])
def test_on_a_zebra_people_step_out_before_a_car_that_can_stop(distance_m: float, speed_mps: float,
                                                               goes: bool) -> None:
    """Half a second of reaction, then 4 m/s2 to 0.5 m before the stripes: 18 m from 10 m/s, 32 m from 14 m/s."""
    story = Story(WayKind.ZEBRA, [eastbound(distance_m / speed_mps, speed_mps)])
    story.step()
    assert (story.state == CROSS) == goes


def test_a_car_that_stands_at_the_zebra_lets_people_over_and_one_on_it_does_not() -> None:
    story = Story(WayKind.ZEBRA, [(75.0, -1.75, 0.0, 0.0)])
    story.step()
    assert story.state == CROSS
    story = Story(WayKind.ZEBRA, [(80.0, -1.75, 0.0, 0.0)])
    for _ in range(50):
        story.step()
    assert story.state == WAIT


def test_patience_ends() -> None:
    """A queue creeps over the crossing for minutes: after 45 s the party walks on along its side."""
    story = Story(WayKind.PLAIN, [(80.0 - 9.0 * k, -1.75, 0.0, 1.5) for k in range(20)])
    assert 44.0 < story.until(WALK, CROSS) < 46.0
    assert story.state == WALK and story.y_m < -4.0


def test_the_lanes_green_keeps_people_at_the_kerb() -> None:
    """They start only when the lanes' red is fresh; dark lights mean nothing."""
    place = ground(WayKind.PLAIN, signal=0)
    for phase, red_s, goes in [(Phase.GREEN, 0.0, False), (Phase.YELLOW, 0.0, False), (Phase.RED_YELLOW, 0.0, False),
                               (Phase.RED, 1.0, True), (Phase.RED, 9.0, False), (Phase.OFF, 0.0, True)]:
        story = Story(WayKind.PLAIN, [], place=place)
        story.signals, story.red_s = np.array([int(phase)]), np.array([red_s])
        story.step()
        assert (story.state == CROSS) == goes, phase


def test_some_turn_back_after_the_first_step() -> None:
    story = Story(WayKind.ZEBRA, [], luck=np.zeros((1, 64)))
    story.until(CROSS)
    farthest = -9.0
    while story.state != WALK:
        story.step()
        farthest = max(farthest, story.y_m)
    assert -3.9 < farthest < -3.0 and story.y_m < -4.0


def test_a_car_left_on_the_crossing_is_walked_round() -> None:
    """It stops on the stripes while somebody is crossing: they pass behind it and are off the road within 20 s."""
    story = Story(WayKind.ZEBRA, [(78.5, 1.75, 0.0, 0.0)], pace_mps=0.9, state=CROSS)
    assert story.until(WALK, within_s=20.0) < 20.0
    assert story.y_m > 4.0


def brake(story: Story) -> None:
    """Drivers who keep their distance and stop for people on the crossing, with at most 8 m/s2."""
    for i, (x, y, yaw, speed) in enumerate(story.cars):
        ahead = math.cos(yaw)
        gaps = [(other[0] - x) * ahead - 6.0 for other in story.cars if other[1] == y and (other[0] - x) * ahead > 0.1]
        if story.state in (CROSS, CROSS + 1) and (80.0 - x) * ahead > 4.4:
            gaps.append((80.0 - x) * ahead - 5.25)
        change = 1.5
        for gap in gaps:
            if gap < speed**2 / 6.0 + 0.3 * speed:
                change = min(change, -min(speed**2 / (2 * max(gap, 0.1)), 8.0))
        story.cars[i, 3] = min(max(speed + 0.1 * change, 0.0), 13.0)


def random_cars(rng: np.random.Generator) -> list[tuple[float, float, float, float]]:
    """Columns of equal speed on both lanes; all on the road, which begins at 0: off it, nobody looks for cars."""
    cars = []
    for side in (-1, 1):
        speed, away = rng.uniform(3.0, 15.0), rng.uniform(5.0, 120.0)
        for _ in range(rng.integers(0, 4)):
            cars.append((80.0 + side * away, side * 1.75, 0.0 if side < 0 else math.pi, speed))
            away += rng.uniform(12.0, 60.0)
    return [car for car in cars if car[0] > 0.0]


def walk_among(kind: WayKind, seed: int, driver: Callable[[Story], None] | None) -> None:
    rng = np.random.default_rng(seed)
    story = Story(kind, random_cars(rng), size=int(rng.integers(1, 5)), pace_mps=rng.uniform(0.7, 1.9),
                  end=int(rng.integers(2)), luck=rng.random((1, 64)))
    on_road_s = 0.0
    while story.state != WALK and story.time_s < 60.0:
        story.step(driver)
        assert not story.is_hit()
        on_road_s = on_road_s + 0.1 if (np.abs(story.people["y_m"]) < 4.0).any() else 0.0
        assert on_road_s < 20.0


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from([WayKind.ZEBRA, WayKind.PLAIN, WayKind.FREE]))
def test_traffic_that_obeys_the_rules_hits_nobody(seed: int, kind: WayKind) -> None:
    walk_among(kind, seed, brake)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from([WayKind.PLAIN, WayKind.FREE]))
def test_who_waits_for_a_gap_needs_no_drivers_mercy(seed: int, kind: WayKind) -> None:
    walk_among(kind, seed, None)


def hidden(limit_mps: float) -> Ground:
    """The way at x = 80 m as one on which a child hides, 1.1 m from the paved edge and 1.6 m from the lane."""
    ways = GROUNDS[WayKind.HIDDEN].ways
    count, ends = len(ways.kind), ways.end_m.copy()
    ends[0, 0] = 80.0, -5.1
    return GROUNDS[WayKind.HIDDEN]._replace(ways=ways._replace(
        end_m=ends, limit_mps=np.full(count, limit_mps), outside_m=np.full(count, 1.1), width_m=np.full(count, 1.5)))


def drive_at_child(story: Story, front_m: float, speed_mps: float) -> float:
    """The ego car goes on evenly until the child runs; where its front is then [m]."""
    while story.state == HIDE:
        story.ego = VehicleState(front_m - EGO_SHAPE.front_m, -1.75, 0.0, speed_mps=speed_mps)
        story.step()
        front_m += 0.1 * speed_mps
        assert front_m < 79.25, "the child runs out before the car has come"
    return front_m


@pytest.mark.parametrize("limit_kmh", [30, 50])
@pytest.mark.parametrize("run_mps", [2.0, 3.0])
@pytest.mark.parametrize("share", [0.6, 1.0])
def test_a_child_runs_only_when_a_careful_driver_can_stop(limit_kmh: float, run_mps: float, share: float) -> None:
    """The driver goes at a share of the limit, sees the child when it is past the parked cars, reacts after 1 s and
    brakes with 6 m/s2: the front stops before the child's way."""
    speed = share * limit_kmh / 3.6
    story = Story(WayKind.HIDDEN, [], place=hidden(limit_kmh / 3.6), state=HIDE, pace_mps=run_mps)
    front = drive_at_child(story, 10.0, speed)
    assert 79.25 - front < child_distance(limit_kmh / 3.6, 1.6, run_mps) + 3.0, "and not long before"
    stops = front + speed * (1.0 + 1.6 / run_mps) + speed**2 / (2 * 6.0)
    assert stops < 79.25 - 0.5, "0.1 s of the step and 1 m to spare"
    start = story.time_s
    while story.state != WALK:
        story.ego = VehicleState(stops - EGO_SHAPE.front_m, -1.75, 0.0)
        story.step()
    assert story.time_s - start == pytest.approx(9.6 / run_mps, abs=0.4) and story.y_m > 4.0


@pytest.mark.parametrize("limit_kmh", [30, 50])
def test_a_child_that_freezes_is_hit_by_a_driver_who_does_not_brake(limit_kmh: float) -> None:
    """It stands in the middle of the lane for up to 3 s: who brakes stops, who sleeps does not."""
    speed = limit_kmh / 3.6
    story = Story(WayKind.HIDDEN, [], place=hidden(speed), state=HIDE, pace_mps=2.5,
                  luck=np.array([[0.0, 0.9] + 62 * [LUCK_NEVER]]))
    front = drive_at_child(story, 10.0, speed)
    while front < 80.0:
        story.step()
        front += 0.1 * speed
    assert -2.5 < story.y_m < -1.0, "where the car is"
    assert story.until(WALK, within_s=story.time_s + 10.0) and story.y_m > 4.0


@pytest.mark.parametrize("case", ["too fast", "oncoming", "gone by"])
def test_a_child_does_not_run_into_what_nobody_can_help(case: str) -> None:
    place = hidden(50 / 3.6)
    speed = 20.0 if case == "too fast" else 13.0
    story = Story(WayKind.HIDDEN, [(120.0, 1.75, math.pi, 13.0)] if case == "oncoming" else [], place=place,
                  state=HIDE, pace_mps=2.5)
    front = 60.0 if case == "gone by" else 5.0
    while story.state == HIDE:
        assert story.time_s < 30.0
        if case == "oncoming":
            story.cars[0, 0] = 80.0 + 40.0 + max(0.0, 40.0 - front)
        story.ego = VehicleState(front - EGO_SHAPE.front_m, -1.75, 0.0, speed_mps=speed)
        story.step()
        front += 0.1 * speed
    assert story.state == WALK and front > 90.0, "it gives the game up when the car has passed"


def lingering(away: int) -> Story:
    """A party that stands `away` points from the crossing's south end until the ego car is 50 m from it."""
    story = Story(WayKind.ZEBRA, [], state=LINGER)
    party = story.parties[0]
    party["place"], party["heading"], party["line"] = story.ground.ways.foot[0, 0] - away, 1, 1
    party["due_m"] = 50.0
    settle(story.parties, story.people, story.ground)
    return story


@pytest.mark.parametrize("away", [0, 8])
def test_who_lingers_goes_to_cross_when_the_ego_car_comes(away: int) -> None:
    """The ego car drives evenly at 8 m/s: at 50 m the party starts, walks to the kerb, and crosses before it stops."""
    story, front = lingering(away), 5.0
    while story.state == LINGER:
        story.ego = VehicleState(front - EGO_SHAPE.front_m, -1.75, 0.0, speed_mps=8.0)
        story.step()
        front += 0.8
    assert 78.0 - front == pytest.approx(49.6, abs=0.9)
    story.ego = VehicleState(70.0, -1.75, 0.0)
    assert story.until(CROSS, within_s=story.time_s + 12.0)
    assert story.until(WALK, within_s=story.time_s + 8.0) and story.y_m > 4.0


def test_who_lingers_walks_on_when_the_ego_car_has_gone() -> None:
    """It came out of a drive near the crossing, too late for anybody to start."""
    story, front = lingering(8), 70.0
    story.parties[0]["due_m"] = -1.0
    while story.state == LINGER:
        story.ego = VehicleState(front - EGO_SHAPE.front_m, -1.75, 0.0, speed_mps=80.0)
        story.step()
        front += 8.0
    assert front > 78.0 and int(story.parties[0]["meets"]) == 0


def test_a_group_stays_together_over_the_road_and_beyond() -> None:
    story = Story(WayKind.ZEBRA, [], size=4)
    for _ in range(200):
        story.step()
        spots = np.stack([story.people["x_m"], story.people["y_m"]], axis=1)
        assert np.hypot(*(spots[:, None] - spots[None]).reshape(-1, 2).T).max() < 1.5
    assert story.state == WALK and (story.people["y_m"] > 4.0).all()


def test_people_who_meet_on_one_line_make_room() -> None:
    """Two parties walk towards each other on line 1: each goes to its right, and they pass at arm's length."""
    place = GROUNDS[WayKind.ZEBRA]
    parties, people = np.zeros(2, PARTY), np.zeros(2, PERSON)
    south = np.flatnonzero(place.pavements.kerb_m[:, 1] < 0.0)
    first = south[np.argmin(np.abs(place.pavements.kerb_m[south, 0] - 120.0))]
    for row, (heading, where) in enumerate([(1, first), (-1, first + 20)]):
        parties[row]["row"], parties[row]["first"], parties[row]["size"] = row, row, 1
        parties[row]["place"], parties[row]["heading"], parties[row]["line"] = where, heading, 1
        parties[row]["pace_mps"], parties[row]["due_m"] = 1.3, 999.0
        people[row]["party"] = row
    settle(parties, people, place)
    nearest, sight = 9.0, Sight(seen(FAR, no_actors()), DARK, np.zeros(0))
    for _ in range(150):
        advance(parties, people, place, sight, np.full((2, 64), LUCK_NEVER), 0.1)
        nearest = min(nearest, float(np.hypot(*(np.diff(people["x_m"])[0], np.diff(people["y_m"])[0]))))
    assert 0.5 < nearest < 1.5


def test_nobody_walks_into_a_car_on_the_pavement() -> None:
    """A car has come to stand across the lines at x = 130 m: people stop before it, then turn round."""
    place = GROUNDS[WayKind.ZEBRA]
    parties, people = np.zeros(1, PARTY), np.zeros(1, PERSON)
    kerb = place.pavements.kerb_m
    party = parties[0]
    party["size"], party["heading"], party["line"], party["pace_mps"], party["due_m"] = 1, 1, 1, 1.4, 999.0
    party["place"] = np.argmin(np.hypot(kerb[:, 0] - 120.0, kerb[:, 1] + 4.0))
    settle(parties, people, place)
    sight = Sight(seen(FAR, actors((130.0, -5.5, 1.6, 0.0))), DARK, np.zeros(0))
    where = []
    for _ in range(200):
        advance(parties, people, place, sight, LUCK, 0.1)
        where.append(float(people["x_m"][0]))
    assert 127.8 < max(where) < 128.9, "the car's side is at 129.1 m"
    assert where[-1] < 118.0 and np.abs(np.diff(where)).max() < 0.25
