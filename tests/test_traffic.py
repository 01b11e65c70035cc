"""Traffic as driving stories: following, lights, right of way, and hours on the road without a scratch."""

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest

from envs.drivers.following import CUR, PATH
from envs.drivers.lane_changes import SAFE_MPS2
from envs.geometry import box_corners, boxes_overlap
from envs.lights import phases
from envs.pedestrians import Walkers
from envs.road_users import CYCLIST
from envs.roads.network import Command, Control, Junction, Lane, Marking, RoadNetwork, Surface
from envs.roads.procedural import build_town
from envs.roads.routes import random_route, route_over
from envs.signs import SIGN_INDEX
from envs.state import EGO_SHAPE, ActorKind, Actors, Lamp, Phase, Props, SignPosts, Town, VehicleState, no_actors
from envs.traffic import Traffic, draw_paths

NOBODY, STILL, DARK = np.zeros((0, 3)), np.zeros((0, 2)), np.zeros(0, np.int64)
AWAY = VehicleState(1e5, 1e5, 0.0)
DT_S = 0.1


def town_of(network: RoadNetwork) -> Town:
    nothing = np.zeros(0, int)
    none = np.zeros(0)
    return Town(0, network, SignPosts(nothing, np.zeros((0, 3)), none, nothing, none, nothing, none),
                Props(nothing, np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3), np.uint8)))


def lane(number: int, points: list[tuple[float, float]], successors: tuple[int, ...] = (), **more: object) -> Lane:
    """A straight lane between two points."""
    (ax, ay), (bx, by) = points
    share = np.linspace(0.0, 1.0, 1 + math.ceil(math.hypot(bx - ax, by - ay) / 1.5))[:, None]
    values: dict = {"width_m": 3.5, "speed_limit_mps": 50 / 3.6, "left": Marking.DASHED, "right": Marking.SOLID,
                    "surface": 0, **more}
    return Lane(id=number, centre_m=np.array([[ax, ay]]) + share * np.array([[bx - ax, by - ay]]),
                successors=successors, **values)


def road(lanes: tuple[Lane, ...], junctions: tuple[Junction, ...] = ()) -> RoadNetwork:
    outline = np.array([[0.0, -9.0], [3000.0, -9.0], [3000.0, 9.0], [0.0, 9.0]])
    return RoadNetwork(lanes, junctions, (Surface("straight", outline, None),))


LONG_ROAD = town_of(road((lane(0, [(0, 0), (3000, 0)]),)))


def cars(town: Town, *rows: tuple[int, float, float], cyclist: int | None = None,
         obstacles: np.ndarray | None = None) -> Traffic:
    """Cars as (lane, station of the bumper, speed), all drivers alike; one of the rows may be a cyclist at 5 m/s."""
    network = town.network
    traffic = Traffic(town, route_over(network, (0,)), len(rows), 0, np.array([[1e6, 1e6, 1.0]]),
                      np.random.default_rng(1), obstacles=obstacles)
    assert len(traffic.actors.id) == len(rows)
    users = traffic._users
    for row, (where, station, speed) in enumerate(rows):
        user = users[row]
        user["path"], user["kind"], user["hold"], user["entry"] = -1, 0, CUR, PATH
        user["path"][CUR], user["s"], user["v"], user["a"], user["d"], user["still_s"] = where, station, speed, 0, 0, 0
        user["length_m"], user["width_m"], user["wheelbase_m"], user["nose_m"] = 4.5, 1.8, 2.6, 0.9
        user["limit_share"], user["top_mps"], user["headway_s"], user["gap_m"] = 1.0, 60.0, 1.2, 2.0
        user["accel"], user["brake"], user["least_radius_m"] = 1.3, 1.7, 0.0
    if cyclist is not None:
        user = users[cyclist]
        user["kind"], user["top_mps"] = CYCLIST, 5.0
        user["length_m"], user["width_m"], user["wheelbase_m"] = 1.75, 0.6, 1.0
    draw_paths(traffic._map, users)
    return traffic


def drive(traffic: Traffic, seconds: float, ego: VehicleState = AWAY, signals: np.ndarray = DARK,
          people: np.ndarray = NOBODY) -> list[Actors]:
    """What is seen after each step."""
    return [traffic.step(ego, signals, people, np.zeros((len(people), 2)), DT_S)
            for _ in range(round(seconds / DT_S))]


def test_the_gap_of_steady_following_is_the_models():
    """Behind a car that can only drive 10 m/s: s = s* / sqrt(1 - (v / v0)^4)."""
    traffic = cars(LONG_ROAD, (0, 60.0, 10.0), (0, 20.0, 8.0))
    traffic._users["top_mps"][0] = 10.0
    seen = drive(traffic, 240.0)[-1]
    gap = seen.pose[0, 0] - seen.pose[1, 0] - 4.5
    wish, v = 50 / 3.6, 10.0
    assert seen.speed_mps == pytest.approx([v, v], abs=0.01)
    assert gap == pytest.approx((2.0 + 1.2 * v) / math.sqrt(1 - (v / wish) ** 4), abs=0.05)


def test_a_platoon_halts_behind_an_ego_that_stands():
    traffic = cars(LONG_ROAD, (0, 300.0, 13.0), (0, 270.0, 13.0), (0, 240.0, 13.0), (0, 200.0, 13.0))
    drives = drive(traffic, 40.0, ego=VehicleState(420.0, 0.0, 0.0))
    seen, front = drives[-1], drives[-1].pose[:, 0] + 2.25
    assert (seen.speed_mps == 0.0).all()
    assert 1.0 < 420.0 - EGO_SHAPE.rear_overhang_m - front[0] < 4.0
    assert ((front[:-1] - 4.5 - front[1:] > 1.0) & (front[:-1] - 4.5 - front[1:] < 4.0)).all()
    speeds = np.array([now.speed_mps for now in drives])
    assert np.diff(speeds, axis=0).min() > -3.5 * DT_S  # nobody brakes hard
    assert (seen.lamps & 1).all()


def test_an_ego_across_the_lane_is_not_driven_into():
    traffic = cars(LONG_ROAD, (0, 100.0, 13.0))
    seen = drive(traffic, 30.0, ego=VehicleState(200.0, -1.5, math.pi / 2))[-1]
    assert seen.speed_mps[0] == 0.0 and 190.0 < seen.pose[0, 0] + 2.25 < 199.0


def test_a_person_in_the_lane_is_waited_for():
    traffic = cars(LONG_ROAD, (0, 100.0, 13.0))
    seen = drive(traffic, 20.0, people=np.array([[180.0, 0.6, 0.0]]))[-1]
    assert seen.speed_mps[0] == 0.0 and 174.0 < seen.pose[0, 0] + 2.25 < 179.0
    assert drive(traffic, 10.0, people=np.array([[180.0, 4.6, 0.0]]))[-1].pose[0, 0] > 190.0


def overlapping(seen: Actors) -> list[tuple[int, int]]:
    """Pairs of outlines that touch."""
    reach = np.hypot(seen.size_m[:, 0], seen.size_m[:, 1]) / 2
    gap = np.hypot(*(seen.pose[:, None, :2] - seen.pose[None, :, :2]).transpose(2, 0, 1))
    corners = [box_corners(pose, *size[:2]) for pose, size in zip(seen.pose, seen.size_m, strict=True)]
    pairs = zip(*np.nonzero(np.triu(gap < reach[:, None] + reach, 1)), strict=True)
    return [(int(i), int(j)) for i, j in pairs if boxes_overlap(corners[i], corners[j])]


def town_traffic(seed: int, vehicles: int = 20, cyclists: int = 3) -> Traffic:
    town, rng = build_town(seed), np.random.default_rng(seed)
    return Traffic(town, random_route(town.network, rng), vehicles, cyclists, NOBODY, rng)


def live(seed: int, seconds: float, people: int = 0, is_lit: bool = False) -> tuple[float, float]:
    """(mean speed as a share of the limit, longest stand [s]) of a town's vehicles; nobody may touch anybody."""
    town, traffic, shares, longest = build_town(seed), town_traffic(seed), [], 0.0
    rng = np.random.default_rng(seed)
    walkers = Walkers(town, random_route(town.network, rng), people, no_actors(), rng)
    is_car = traffic.actors.kind == ActorKind.VEHICLE
    for step in range(round(seconds / DT_S)):
        signals, seen = phases(town.signal_plan, step * DT_S, is_lit), traffic.actors
        traffic.step(AWAY, signals, walkers.actors.pose, walkers.velocity_mps, DT_S)
        walkers.step(AWAY, seen, signals, DT_S)
        seen = traffic.actors
        if step % 2 == 0:
            assert overlapping(seen) == [], f"town {seed} after {step * DT_S:.1f} s"
        users = traffic._users[:-1]
        shares.append(np.mean((users["v"] / traffic._map.lanes["limit_mps"][users["path"][:, CUR]])[is_car]))
        longest = max(longest, float(users["still_s"].max()))
    return float(np.mean(shares)), longest


def test_nobody_touches_anybody_and_traffic_flows():
    shares, longest = zip(*(live(seed, 60.0) for seed in (4, 8)), strict=True)
    assert min(shares) > 0.3 and max(longest) < 60.0


@pytest.mark.exhaustive
@pytest.mark.parametrize(("first", "people", "is_lit"), [(0, 0, False), (10_000, 10, True)])
def test_a_hundred_towns_without_a_scratch_or_a_deadlock(first: int, people: int, is_lit: bool):
    """Ten minutes each: mean speed over 30 % of the limit, nobody stands over three minutes."""
    for seed in range(first, first + 100):
        share, longest = live(seed, 600.0, people, is_lit)
        assert share > 0.3 and longest < 180.0, f"town {seed}: {share:.2f} of the limit, one stood {longest:.0f} s"


def test_the_same_seed_gives_the_same_bytes_whatever_was_built_before():
    def digest(order: tuple[int, ...]) -> str:
        for seed in order:
            traffic = town_traffic(seed)
        drive(traffic, 20.0, signals=np.zeros(99, np.int64))
        seen = traffic.actors
        return hashlib.sha256(b"".join(part.tobytes() for part in (seen.pose, seen.speed_mps, seen.lamps, seen.size_m,
                                                                   seen.colour, seen.kind))).hexdigest()
    assert digest((7,)) == digest((3, 5, 7))


def test_nobody_begins_where_it_must_stay_clear():
    town, rng = build_town(2), np.random.default_rng(0)
    route = random_route(town.network, rng)
    clear = np.array([[*route.points_m[200], 60.0]])
    seen = Traffic(town, route, 30, 5, clear, rng).actors
    assert len(seen.id) == 35 and overlapping(seen) == []
    assert np.hypot(*(seen.pose[:, :2] - route.points_m[0]).T).min() > 25.0
    assert np.hypot(*(seen.pose[:, :2] - clear[0, :2]).T).min() > 60.0


def crossing(*controls: Control) -> Town:
    """Four straight ways over a junction of 20 m from the west, south, east and north; roads of 150 m, lanes 3.5 m."""
    lanes: list[Lane] = []
    for arm, control in enumerate(controls):
        cos, sin = round(math.cos(arm * math.pi / 2)), round(math.sin(arm * math.pi / 2))
        at = [(cos * x - sin * -1.75, sin * x + cos * -1.75) for x in (-160.0, -10.0, 10.0, 160.0)]
        first = 3 * arm
        lanes += [lane(first, at[0:2], (first + 1,), control=control),
                  lane(first + 1, at[1:3], (first + 2,), junction=0, turn=Command.STRAIGHT), lane(first + 2, at[2:4])]
    count = 3 * len(controls)
    return town_of(road(tuple(lanes), (Junction(0, tuple(range(0, count, 3)), tuple(range(1, count, 3)),
                                                tuple(range(2, count, 3))),)))


def passages(drives: list[Actors], traffic: Traffic) -> list[int]:
    """Rows of users in the order in which they left the junction of `crossing`; nobody may touch anybody."""
    order: list[int] = []
    for seen in drives:
        assert overlapping(seen) == []
        ahead = (seen.pose[:, :2] * np.stack([np.cos(seen.pose[:, 2]), np.sin(seen.pose[:, 2])], axis=1)).sum(axis=1)
        order += [int(row) for row in np.flatnonzero(ahead > 15.0) if row not in order]
    return order


def test_who_comes_from_the_right_goes_first():
    traffic = cars(crossing(Control.NONE, Control.NONE), (0, 90.0, 10.0), (3, 90.0, 10.0))
    drives = drive(traffic, 25.0)
    speeds = np.array([seen.speed_mps for seen in drives])
    assert passages(drives, traffic) == [1, 0]
    assert speeds[:100, 1].min() > 5.0 > speeds[:100, 0].min()  # the one from the left slows down, the other hardly


@pytest.mark.parametrize("control", [Control.YIELD, Control.STOP])
def test_the_signs_come_before_the_right_hand(control):
    traffic = cars(crossing(Control.NONE, control), (0, 90.0, 10.0), (3, 90.0, 10.0))
    drives = drive(traffic, 25.0)
    assert passages(drives, traffic) == [0, 1]
    assert np.array([seen.speed_mps[0] for seen in drives[:150]]).min() > 8.0


def test_a_stop_line_is_halted_at_though_nobody_comes():
    traffic = cars(crossing(Control.STOP), (0, 60.0, 10.0))
    drives = drive(traffic, 20.0)
    halts = [seen.pose[0, 0] + 2.25 for seen in drives if seen.speed_mps[0] < 0.1]
    assert halts and min(halts) > -13.0 and max(halts) < -10.0 and drives[-1].pose[0, 0] > 15.0


def test_four_who_all_have_somebody_on_their_right_agree():
    traffic = cars(crossing(*[Control.NONE] * 4), *[(arm, 100.0, 9.0) for arm in (0, 3, 6, 9)])
    assert len(passages(drive(traffic, 40.0), traffic)) == 4


def test_the_ego_from_the_right_is_let_through_and_not_waited_for_when_it_stays():
    town = crossing(Control.NONE, Control.NONE)
    traffic = cars(town, (0, 100.0, 9.0))
    for step in range(100):  # it comes from the south at 9 m/s
        y = -55.0 + 0.9 * step
        seen = drive(traffic, 0.1, ego=VehicleState(1.75, y, math.pi / 2, speed_mps=9.0))[0]
        assert seen.pose[0, 0] + 2.25 < -10.0 or y > 0.0
    assert seen.pose[0, 0] > -5.0
    traffic = cars(town, (0, 100.0, 9.0))
    waits = drive(traffic, 40.0, ego=VehicleState(1.75, -16.0, math.pi / 2))
    assert waits[60].pose[0, 0] < -10.0 and waits[-1].pose[0, 0] > 20.0


def test_nobody_enters_a_junction_behind_which_there_is_no_room():
    traffic = cars(crossing(Control.NONE), (2, 6.0, 0.0), (0, 100.0, 9.0))
    traffic._users["top_mps"][0] = 0.01  # it broke down
    seen = drive(traffic, 30.0)[-1]
    assert seen.speed_mps[1] == 0.0 and -14.0 < seen.pose[1, 0] + 2.25 < -10.0


def test_red_lights_are_obeyed_by_all():
    """Five minutes of a town: nobody's bumper crosses a line at red, and nobody at yellow who could have stopped."""
    traffic, town = town_traffic(3), build_town(3)
    lanes, crossed = town.network.lanes, 0
    before = traffic._users["path"][:-1, CUR].copy()
    for step in range(3000):
        signals = phases(town.signal_plan, step * DT_S)
        traffic.step(AWAY, signals, NOBODY, STILL, DT_S)
        now = traffic._users["path"][:-1, CUR].copy()
        for row in np.flatnonzero(now != before):
            signal = lanes[before[row]].signal
            if signal is not None and lanes[now[row]].junction is not None:
                crossed += 1
                assert signals[signal] in (Phase.GREEN, Phase.YELLOW)
        before = now
    assert crossed > 10


def two_lanes(length_m: float = 2000.0) -> Town:
    """Lane 0 on the left, lane 1 on the right, both eastwards."""
    return town_of(road((lane(0, [(0, 1.75), (length_m, 1.75)], right_neighbour=1, right=Marking.DASHED),
                         lane(1, [(0, -1.75), (length_m, -1.75)], left_neighbour=0))))


def test_a_slow_leader_is_passed_on_the_left_and_then_the_right_lane_taken_again():
    traffic = cars(two_lanes(), (1, 130.0, 6.0), (1, 80.0, 12.0))
    traffic._users["top_mps"][0] = 6.0
    drives = drive(traffic, 60.0)
    y = np.array([seen.pose[1, 1] for seen in drives])
    beside = [k for k, seen in enumerate(drives) if abs(seen.pose[1, 0] - seen.pose[0, 0]) < 4.0]
    assert beside and y[beside].min() > 1.0
    assert y[-1] == pytest.approx(-1.75, abs=0.01) and drives[-1].pose[1, 0] > drives[-1].pose[0, 0] + 20.0
    lamps = np.array([seen.lamps[1] for seen in drives])
    first_left, first_right = np.argmax(lamps & Lamp.LEFT > 0), np.argmax(lamps & Lamp.RIGHT > 0)
    assert 0 < first_left < beside[0] < first_right
    assert np.abs(np.diff(y)).max() / DT_S < 2.0  # smoothly, over about 4 s


def test_nobody_changes_before_a_follower_that_would_have_to_brake_harder_than_b_safe():
    traffic = cars(two_lanes(), (1, 130.0, 6.0), (1, 105.0, 6.0), (0, 60.0, 13.5), (0, 20.0, 13.5))
    traffic._users["top_mps"][0] = 6.0
    drives = drive(traffic, 30.0)
    moved = next(k for k, seen in enumerate(drives) if seen.pose[1, 1] > -1.5)
    assert drives[moved].pose[2, 0] > drives[moved].pose[1, 0]  # only when the first of them was past
    assert np.diff([seen.speed_mps[2:] for seen in drives], axis=0).min() > -SAFE_MPS2 * DT_S


def two_way() -> Town:
    """Lane 0 eastwards, lane 1 westwards."""
    return town_of(road((lane(0, [(0, -1.75), (1200, -1.75)], opposite=1),
                         lane(1, [(1200, 1.75), (0, 1.75)], opposite=0))))


def test_a_cyclist_is_passed_with_a_metre_and_a_half_where_nobody_comes():
    traffic = cars(two_way(), (0, 120.0, 5.0), (0, 60.0, 12.0), (1, 1000.0, 13.0), cyclist=0)
    drives, passed = drive(traffic, 70.0), 0
    for seen in drives:
        gap = seen.pose[1, 0] - seen.pose[0, 0]
        if abs(gap) < 2.0:
            passed += 1
            assert seen.pose[1, 1] - seen.pose[0, 1] - 0.9 - 0.3 > 1.3
        if abs(seen.pose[1, 0] - seen.pose[2, 0]) < 8.0:  # it meets the oncoming car on its own side
            assert seen.pose[1, 1] == pytest.approx(-1.75, abs=0.3)
    assert passed and drives[0].pose[0, 1] == pytest.approx(-2.8, abs=0.3)


def test_behind_a_cyclist_one_waits_while_somebody_comes():
    oncoming = [(1, 1150.0 - 60.0 * k, 10.0) for k in range(14)]
    traffic = cars(two_way(), (0, 120.0, 5.0), (0, 90.0, 6.0), *oncoming, cyclist=0)
    assert max(seen.pose[1, 1] for seen in drive(traffic, 20.0)) < -1.5


def roundabout() -> Town:
    """Lane 0 leads north to a ring of radius 14 m and enters it by lane 1; the ring is lanes 2, 3 (joined) and 4."""
    def arc(begin_deg: float, end_deg: float) -> np.ndarray:
        angle = np.radians(np.linspace(begin_deg, end_deg, 40))
        return 14.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    ring: dict = {"junction": 0, "turn": Command.FOLLOW}
    entry = np.array([[0.0, -24.0], [0.4, -21.0], [1.6, -18.0], [4.0, -15.0], *arc(-66.0, -55.0)[::8]])
    lanes = (lane(0, [(0, -120), (0, -24)], (1,), control=Control.YIELD),
             replace(lane(1, [(0, 0), (1, 0)], (3,), **ring), centre_m=entry),
             replace(lane(2, [(0, 0), (1, 0)], (3,), **ring), centre_m=arc(150.0, 305.0)),
             replace(lane(3, [(0, 0), (1, 0)], (4,), **ring), centre_m=arc(-55.0, 90.0)),
             lane(4, [(0, 14), (-150, 14)]))
    return town_of(road(lanes, (Junction(0, (0,), (1, 2, 3), (4,)),)))


def test_the_ring_of_a_roundabout_goes_before_its_entries():
    traffic = cars(roundabout(), (0, 70.0, 8.0), (2, 6.0, 5.0))
    drives = drive(traffic, 30.0)
    assert all(overlapping(seen) == [] for seen in drives)
    ring = np.array([seen.speed_mps[1] for seen in drives])[:100]
    x = np.array([seen.pose[:, 0] for seen in drives])
    passed = [int(np.argmax((x[:, row] < -20.0) & (np.arange(len(x)) > 50))) for row in (0, 1)]
    assert ring.min() > 4.0 and passed[0] > passed[1] > 0
    assert (np.array([seen.lamps[1] for seen in drives[:60]]) & (Lamp.LEFT | Lamp.RIGHT) == 0).all()


@pytest.mark.slow
def test_no_lorry_drives_in_a_town_that_is_closed_to_them():
    closed = [seed for seed in range(40) if (build_town(seed).signs.sign == SIGN_INDEX["no_lorries"]).any()]
    assert 2 <= len(closed) < 40
    for seed in closed[:3]:
        length = town_traffic(seed, 60).actors.size_m[:, 0]
        assert not ((length > 7.5) & (length < 10.5)).any() and len(length) > 50
    free = next(seed for seed in range(40) if seed not in closed)
    length = town_traffic(free, 60).actors.size_m[:, 0]
    assert ((length > 7.5) & (length < 10.5)).any()


def broken_down(town: Town, stands: tuple[float, float], *rows: tuple[int, float, float], cyclist: int | None = None,
                ) -> tuple[Traffic, np.ndarray]:
    """As `cars`, and what has broken down at x, y: its box."""
    box = np.array([[*stands, 0.0, 4.5, 1.8, 0.0]])
    return cars(town, *rows, cyclist=cyclist, obstacles=box), box


def past(traffic: Traffic, box: np.ndarray, seconds: float, oncoming: tuple[int, ...] = ()) -> list[float]:
    """When [s] each one but the oncoming has passed the box; nobody may touch anybody or it, or brake hard."""
    users = traffic._users[:len(traffic.actors.id)]
    done, before = [math.inf] * len(users), users["v"].copy()
    traffic.actors.size_m[:, 0], traffic.actors.size_m[:, 1] = users["length_m"], users["width_m"]
    for step in range(round(seconds / DT_S)):
        seen = traffic.step(AWAY, DARK, NOBODY, STILL, DT_S, box)
        assert overlapping(seen) == []
        wreck = box_corners(box[0, :3], *box[0, 3:5])
        for row, (pose, size) in enumerate(zip(seen.pose, seen.size_m, strict=True)):
            assert abs(pose[0] - box[0, 0]) > 12.0 or not boxes_overlap(box_corners(pose, *size[:2]), wreck)
            if row not in oncoming and pose[0] > box[0, 0] + 10.0 and done[row] == math.inf:
                done[row] = step * DT_S
        assert (seen.speed_mps - before).min() > -4.5 * DT_S
        before = seen.speed_mps
    return [at for row, at in enumerate(done) if row not in oncoming]


def test_what_has_broken_down_is_passed_by_the_other_lane_and_by_cyclists_too():
    traffic, box = broken_down(two_lanes(), (300.0, -1.75), (1, 200.0, 13.0), (1, 170.0, 12.0), (0, 185.0, 13.0),
                               (1, 140.0, 5.0), cyclist=3)
    times = past(traffic, box, 60.0)
    assert max(times[:3]) < 25.0 and times[3] < 50.0


def test_it_is_passed_over_the_oncoming_lane_when_that_is_free():
    traffic, box = broken_down(two_way(), (300.0, -1.9), (0, 200.0, 13.0), (0, 170.0, 12.0), (0, 150.0, 5.0),
                               (1, 700.0, 12.0), cyclist=2)
    times = past(traffic, box, 90.0, oncoming=(3,))
    assert max(times) < 80.0
    assert traffic.actors.pose[:3, 1] == pytest.approx([-1.75, -1.75, -2.8], abs=0.3)


def test_oncoming_traffic_is_let_through_first():
    oncoming = [(1, 800.0 - 45.0 * k, 12.0) for k in range(6)]
    traffic, box = broken_down(two_way(), (300.0, -1.75), (0, 200.0, 13.0), (0, 180.0, 13.0), *oncoming)
    times = past(traffic, box, 90.0, oncoming=tuple(range(2, 8)))
    assert min(times) > 30.0 and max(times) < 60.0  # the last of them is past after 27 s


def test_lorries_and_buses_pass_what_has_broken_down():
    traffic, box = broken_down(two_way(), (300.0, -1.75), (0, 200.0, 10.0), (0, 150.0, 10.0))
    users = traffic._users
    users["length_m"][:2], users["width_m"][:2], users["wheelbase_m"][:2], users["nose_m"][:2] = 12.0, 2.5, 6.5, 2.5
    draw_paths(traffic._map, users)
    assert max(past(traffic, box, 90.0)) < 80.0
