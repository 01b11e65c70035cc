"""Everybody else on the road: cars, vans, lorries, buses and cyclists that follow, change lanes and give way.

`Traffic` is one episode's road users as arrays; `step` moves all of them on what they saw at its beginning. How they
drive is in `drivers/`: following and bends in `following.py`, junctions in `priority.py`, the ego, people and zebras in
`hazards.py`, lane changes and overtaking in `lane_changes.py`, poses in `motion.py`. The ego is one more row: it has a
place on the lanes and a right of way, but nothing here moves it. Same town, route, counts and generator give the same
bytes.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.random import Generator

from envs.drivers.following import (
    BODY,
    CUR,
    EASY_BRAKE_MPS2,
    FREE,
    PATH,
    USER,
    Bodies,
    free_accel,
    halting,
    leaders,
    list_bodies,
    need_for_lanes,
    room_to_line,
    set_offsets,
    towards,
    wished_speed,
)
from envs.drivers.hazards import hazards, room_to_zebra
from envs.drivers.lane_changes import DECIDES_EVERY, STILL_MPS, change_lanes, overtake, pick_lane
from envs.drivers.lane_map import LaneMap, Row, kernel, lane_map
from envs.drivers.motion import BEND_TO_TURN, advance, extend, lamps, limited, pose, rest, shift, widest_turn
from envs.drivers.priority import CLAIM, Claims, ask, find_entry, list_claims, merging, passage_end, see_light
from envs.drivers.swings import room_to_swing
from envs.geometry import Array, project
from envs.road_users import CYCLIST, KINDS, LORRY
from envs.roads.network import RoadNetwork
from envs.roads.routes import Route
from envs.signs import SIGN_INDEX
from envs.state import EGO_SHAPE, Actors, Lamp, Town, VehicleState, no_actors

NO_LORRIES = SIGN_INDEX["no_lorries"]  # a town with this sign has none: nobody need look for a way round
NEAR_ROUTE_M = 250.0
NEAR_SHARE = 0.8  # of the vehicles that begin near the route
EGO_CLEAR_M = 25.0  # nobody begins nearer to the ego
LINE_CLEAR_M = 4.0  # nor to the end of its lane
APART_M = 6.0  # between two who begin on one lane
TRIES = 8  # places drawn for each one wanted
ON_LANE_M = 0.6  # beyond the lane's edge the ego's bumper is on it still
ALIKE_COS = 0.5  # of the angle between the ego and a lane it drives on


class Traffic:
    """The road users of one episode.

    `keep_clear` (K, 3) x_m, y_m, radius_m are places where nobody begins; nor does anybody within EGO_CLEAR_M of the
    route's beginning. `vehicles` and `cyclists` are counts; fewer are placed where the town has no room for them.
    `obstacles` are those of `step` as they are now: which of them stand on a road is known from then on, and drivers
    pass those.
    """

    def __init__(self, town: Town, route: Route, vehicles: int, cyclists: int, keep_clear: Array, rng: Generator,
                 head_lamps: bool = False, obstacles: Array | None = None) -> None:
        self.actors = no_actors()
        self._is_empty = vehicles + cyclists == 0
        if self._is_empty:
            return  # a map of the lanes is for those who drive on it
        self._map = lane_map(town.network)
        self._route = np.array(route.lanes, np.int64)
        users, size, colour = _draw(vehicles, cyclists, rng, bool((town.signs.sign == NO_LORRIES).any()))
        place = _candidates(self._map, route, TRIES * len(users), rng)
        clear = np.concatenate([np.reshape(keep_clear, (-1, 3)), [[*route.points_m[0], EGO_CLEAR_M]]])
        is_placed = _scatter(self._map, users, place, clear, vehicles + cyclists)
        stills, self._is_loose = _stills(town.network, np.zeros((0, 6)) if obstacles is None else obstacles)
        self._users = np.concatenate([users[is_placed], stills, _ego_row()])
        count, everybody = int(is_placed.sum()), int(is_placed.sum()) + len(stills)
        self._bodies = Bodies(np.full(len(self._map.lanes), -1), np.zeros(8 * (everybody + 1), BODY),
                              np.zeros(1, np.int64))
        self._claims = Claims(np.full(len(self._map.lanes), -1), np.zeros(PATH * (everybody + 1), CLAIM),
                              np.zeros(1, np.int64))
        self._head_lamps = head_lamps
        self._tick = 0
        self._count = count
        draw_paths(self._map, self._users)
        _set_speeds(self._map, self._users, self._bodies)
        kind = np.array([int(row.actor) for row in KINDS])[self._users["kind"][:count]]
        self.actors = Actors(np.arange(count), kind, np.zeros((count, 3)), size[is_placed], np.zeros(count),
                             colour[is_placed], np.zeros(count, np.uint8))
        self.actors = self._seen()

    def _seen(self) -> Actors:
        count = self._count
        table, lit = np.empty((count, 3)), np.empty(count, np.uint8)
        _show(self._map, self._users, table, lit)
        if self._head_lamps:
            lit[self.actors.kind != CYCLIST] |= np.uint8(Lamp.HEAD)
        return dataclasses.replace(self.actors, pose=table, speed_mps=self._users["v"][:count].copy(), lamps=lit)

    def step(self, ego: VehicleState, signals: Array, walkers_pose: Array, walkers_velocity: Array, dt_s: float,
             obstacles: Array | None = None) -> Actors:
        """Everybody after `dt_s`, on what they see now.

        That is the ego, what the lights show, signals (G,) int64 of Phase, people, poses (W, 3) and velocities (W, 2)
        in the world, and `obstacles` (B, 6) x_m, y_m, yaw_rad, length_m, width_m, speed_mps that are none of these.
        """
        if self._is_empty:
            return self.actors
        boxes = np.array([_box_of(ego)])
        if obstacles is not None:
            boxes = np.concatenate([boxes, obstacles[self._is_loose]])
        _step(self._map, self._users, self._count, self._bodies, self._claims, self._route, boxes, signals,
              walkers_pose, walkers_velocity, self._tick, dt_s)
        self._tick += 1
        self.actors = self._seen()
        return self.actors


def _box_of(ego: VehicleState) -> tuple[float, ...]:
    """x, y, yaw, length, width, speed of the ego's outline."""
    forward = EGO_SHAPE.centre_forward_m
    return (ego.x_m + forward * float(np.cos(ego.yaw_rad)), ego.y_m + forward * float(np.sin(ego.yaw_rad)), ego.yaw_rad,
            EGO_SHAPE.length_m, EGO_SHAPE.width_m, ego.speed_mps)


def _ego_row() -> Array:
    row = np.zeros(1, USER)
    row["path"], row["hold"], row["entry"], row["wish"], row["passes"], row["d_share"] = -1, CUR, PATH, -1, -1, 1.0
    row["is_ego"], row["length_m"], row["width_m"] = 1, EGO_SHAPE.length_m, EGO_SHAPE.width_m
    row["limit_share"], row["top_mps"], row["headway_s"], row["gap_m"] = 1.0, 60.0, 1.2, 2.0
    row["accel"], row["brake"] = 1.5, 2.0
    return row


def _stills(network: RoadNetwork, boxes: Array) -> tuple[Array, Array]:
    """Rows for the boxes (B, 6) that stand on the lanes of roads, along them, and which (B,) are none of these."""
    rows, is_loose = [], np.ones(len(boxes), bool)
    for k, (x, y, yaw, length, width, speed) in enumerate(boxes.tolist()):
        number = network.lane_at(x, y, yaw)
        lane = None if number is None else network.lanes[number]
        if speed or lane is None or lane.junction is not None:
            continue
        station, lateral = project(lane.centre_m, lane.station_m, x, y, 0, len(lane.centre_m))
        front = station + length / 2
        if abs(lateral) > lane.half_at(station) or not length < front < lane.length_m:
            continue
        row = _ego_row()
        row["is_ego"], row["is_still"], row["path"][:, CUR], row["s"], row["d"], row["d_to"] = (
            0, 1, number, front, lateral, lateral)
        row["length_m"], row["width_m"], row["x"], row["y"], row["yaw"] = length, width, x, y, yaw
        rows.append(row)
        is_loose[k] = False
    return np.concatenate([np.zeros(0, USER), *rows]), is_loose


def _draw(vehicles: int, cyclists: int, rng: Generator, is_closed_to_lorries: bool,
          ) -> tuple[Array, Array, Array]:
    """Road users without a place, their sizes and colours (N, 3); at the end a car in reserve for each long one."""
    share = np.array([row.share for row in KINDS])
    if is_closed_to_lorries:
        share[LORRY] = 0.0
    kind = rng.choice(len(KINDS), vehicles, p=share / share.sum())
    is_long = np.array([row.least_radius_m > 0.0 for row in KINDS])[kind]
    kind = np.concatenate([kind, np.full(cyclists, CYCLIST), np.zeros(is_long.sum(), int)])
    count = len(kind)
    users, size, colour = np.zeros(count, USER), np.zeros((count, 3)), np.zeros((count, 3), np.uint8)
    luck, which = rng.uniform(size=(count, 4)), rng.uniform(size=(count, 2))
    factor = rng.uniform(0.97, 1.03, (count, 3))
    users["dice"] = rng.integers(1, 2 ** 63, count)
    users["kind"], users["path"], users["hold"], users["entry"] = kind, -1, CUR, PATH
    users["wish"], users["passes"], users["d_share"] = -1, -1, 1.0
    for number, row in enumerate(KINDS):
        own = kind == number
        size[own] = row.sizes_m[(which[own, 0] * len(row.sizes_m)).astype(int)] * factor[own]
        colour[own] = row.colours[(which[own, 1] * len(row.colours)).astype(int)]
        for k, (name, (low, high)) in enumerate((("headway_s", row.headway_s), ("accel", row.accel_mps2),
                                                 ("limit_share", row.limit_share), ("top_mps", row.top_mps))):
            users[name][own] = low + luck[own, k] * (high - low)
        users["brake"][own], users["gap_m"][own] = row.brake_mps2, row.gap_m
        users["least_radius_m"][own] = row.least_radius_m
        users["wheelbase_m"][own] = row.wheelbase * size[own, 0]
        users["nose_m"][own] = row.front_overhang * size[own, 0]
    users["length_m"], users["width_m"] = size[:, 0], size[:, 1]
    return users, size, colour


def _candidates(world: LaneMap, route: Route, count: int, rng: Generator) -> Array:
    """Places (count, 2) lane and station on roads, evenly along them; those near the route come first, mostly."""
    lanes = world.lanes
    length = np.where((lanes["junction"] < 0) & (lanes["length_m"] > LINE_CLEAR_M + 8.0), lanes["length_m"], 0.0)
    luck = rng.uniform(size=(count, 3))
    number = np.searchsorted(np.cumsum(length), luck[:, 0] * length.sum(), side="right").clip(0, len(lanes) - 1)
    station = luck[:, 1] * (lanes["length_m"][number] - LINE_CLEAR_M)
    row = lanes["first"][number] + (station / lanes["step_m"][number]).astype(int)
    near = route.points_m[::40]
    gap = np.hypot(*(world.points[row, None, :2] - near).transpose(2, 0, 1)).min(axis=1)
    order = np.argsort(luck[:, 2] - NEAR_SHARE * (gap < NEAR_ROUTE_M), kind="stable")
    return np.column_stack([number, station])[order]


@kernel
def _scatter(world: LaneMap, users: Array, places: Array, clear: Array, wanted: int) -> Array:
    """Put each user, up to `wanted` in all, on the first free candidate where it fits; which (N,) found one."""
    is_placed, is_taken = np.zeros(len(users), np.bool_), np.zeros(len(places), np.bool_)
    for i in range(len(users)):
        if is_placed.sum() == wanted:
            break
        user = users[i]
        for at in range(len(places)):
            if is_placed[i] or is_taken[at]:
                continue
            number, station = int(places[at, 0]), places[at, 1]
            room = min(world.lanes[number].radius_m / BEND_TO_TURN, widest_turn(world, number))
            if station < user.length_m + 1.0 or room < user.least_radius_m:
                continue
            user.path[CUR], user.s = number, station
            extend(world, user)
            pose(world, user, 0.0)
            fits = True
            for j in range(len(clear)):
                way = clear[j, 2] + user.length_m / 2
                fits &= (user.x - clear[j, 0]) ** 2 + (user.y - clear[j, 1]) ** 2 > way * way
            for j in range(i):
                other = users[j]
                if is_placed[j] and other.path[CUR] == number:
                    fits &= (station - user.length_m - APART_M > other.s
                             or other.s - other.length_m - APART_M > station)
            is_placed[i] = is_taken[at] = fits
            user.path[CUR + 1:] = -1
            if not fits:
                user.path[CUR] = -1
    return is_placed


@kernel
def draw_paths(world: LaneMap, users: Array) -> None:
    """From places on lanes: lanes ahead, places aside, poses."""
    for i in range(len(users)):
        user = users[i]
        if user.is_still:
            set_offsets(world.lanes, user)
        elif not user.is_ego:
            extend(world, user)
            user.d = rest(world, user)
            pose(world, user, 0.0)


@kernel
def _set_speeds(world: LaneMap, users: Array, bodies: Bodies) -> None:
    """Speeds near those of flowing traffic, from which all can stop in time."""
    list_bodies(world, users, bodies)
    for i in range(len(users)):
        user = users[i]
        if user.is_ego or user.is_still:
            continue
        user.v = 0.9 * wished_speed(world.lanes, world.points, user)
        line = world.lanes[user.path[CUR]].length_m - user.s
        user.v = min(user.v, np.sqrt(2.0 * 1.2 * max(line - 1.0, 0.0)))
        row = bodies.first[user.path[CUR]]
        while row >= 0:
            body = bodies.body[row]
            row = body.next
            if body.user != i and body.front > user.s:
                user.v = min(user.v, max(0.0, (body.rear - user.s - user.gap_m) / (1.3 * user.headway_s)))


@kernel
def _show(world: LaneMap, users: Array, table: Array, lit: Array) -> None:
    """Copy poses and lamps of all but the ego."""
    for i in range(len(table)):
        user = users[i]
        table[i, 0], table[i, 1] = user.x, user.y
        table[i, 2] = np.pi - (np.pi - user.yaw) % (2 * np.pi)
        lit[i] = lamps(world, user)


@kernel
def _place_ego(world: LaneMap, ego: Row, route: Array, box: Array) -> None:
    """Find the lane under the ego's bumper, first among those of its route, and what it will do next."""
    cos, sin = np.cos(box[2]), np.sin(box[2])
    x, y = box[0] + cos * ego.length_m / 2, box[1] + sin * ego.length_m / 2
    known, best, best_gap, best_at = ego.wish, -1, FREE, 0.0
    for turn in range(2):
        count = len(route) if turn == 0 else len(world.lanes)
        for r in range(count):
            if turn == 0 and known >= 0 and not known - 1 <= r <= known + 3:
                continue
            lane = world.lanes[route[r] if turn == 0 else r]
            i = 0
            while i < lane.count:
                row = lane.first + i
                px, py = x - world.points[row, 0], y - world.points[row, 1]
                gap = np.sqrt(px * px + py * py)
                if gap > 12.0:
                    i += max(1, int((gap - 8.0) / lane.step_m))
                    continue
                heading = world.points[row, 2]
                path_cos, path_sin = np.cos(heading), np.sin(heading)
                is_alike = cos * path_cos + sin * path_sin > ALIKE_COS
                if is_alike and gap < min(best_gap, lane.width_m / 2 + ON_LANE_M):
                    best, best_gap, best_at = r, gap, i * lane.step_m + path_cos * px + path_sin * py
                i += 1
        if best >= 0:
            break
    ego.path[:] = -1
    ego.s, ego.v, ego.d = best_at, box[5], 0.0
    if best < 0:
        return
    if turn == 0:
        ego.wish = best
        for k in range(min(best, CUR) + 1):
            ego.path[CUR - k] = route[best - k]
        k = CUR + 1
        for r in range(best + 1, len(route)):
            before = world.lanes[route[r - 1]]
            if k < PATH and route[r] != before.left and route[r] != before.right:  # else the route changes lanes
                ego.path[k] = route[r]
                k += 1
    else:
        ego.path[CUR] = best
    for k in range(CUR + 1, PATH):
        if ego.path[k] < 0:
            lane = world.lanes[ego.path[k - 1]]
            if lane.next_from == lane.next_to:
                break
            ego.path[k] = world.next_lane[lane.next_from]
    set_offsets(world.lanes, ego)


@kernel
def _step(world: LaneMap, users: Array, count: int, bodies: Bodies, claims: Claims, route: Array, boxes: Array,
          signals: Array, people: Array, people_mps: Array, tick: int, dt_s: float) -> None:
    """Move the first `count`; what has broken down follows, then the ego, which is the first box."""
    lanes, ego = world.lanes, users[len(users) - 1]
    _place_ego(world, ego, route, boxes[0])
    ego.still_s = ego.still_s + dt_s if abs(ego.v) < 0.3 else 0.0
    ego.hold = CUR
    for i in range(len(users)):
        find_entry(lanes, users[i])
    if ego.path[CUR] >= 0 and ego.entry < PATH:
        line = ego.off[ego.entry] - ego.s
        if ego.v * ego.v > 2.0 * EASY_BRAKE_MPS2 * max(line, 0.01):  # it cannot stop before the line any more
            ego.hold = passage_end(lanes, ego, ego.entry)
    list_bodies(world, users, bodies)
    list_claims(lanes, users, claims)
    for i in range(count):
        if (i + tick) % DECIDES_EVERY == 0:
            change_lanes(world, users, bodies, i)
        overtake(world, users, bodies, i)
    for i in range(count):
        see_light(lanes, users[i], signals, dt_s)
    for i in range(count):
        ask(world, users, bodies, claims, i, signals, dt_s)
    for i in range(count):
        user = users[i]
        room = min(room_to_line(lanes, user), room_to_zebra(world, user, people, people_mps),
                   room_to_swing(world, users, user, bodies))
        need = max(need_for_lanes(lanes, world.points, user), user.v * user.v / (2.0 * max(room, 0.05)))
        push, safe = leaders(world, users, bodies, i, dt_s)
        push_merging, safe_merging = merging(world, users, claims, i, dt_s)
        push_boxes, safe_boxes = hazards(world, user, boxes, people, people_mps, dt_s)
        push, safe = max(push, push_merging, push_boxes), min(safe, safe_merging, safe_boxes)
        wish = wished_speed(lanes, world.points, user)
        if user.passes >= 0 and users[user.passes].is_still:
            wish = min(wish, STILL_MPS)
        wanted = towards(user, free_accel(user, wish), need) - user.accel * push
        if user.v > wish:
            wanted = min(wanted, (wish - user.v) / 0.6)
        wanted = halting(user, wanted, room)
        user.v_next = limited(user, wanted, safe, dt_s)
    for i in range(count):
        user = users[i]
        before = user.d
        if advance(world, user, user.v_next, dt_s):
            pick_lane(world, user)
        shift(world, user, dt_s)
        pose(world, user, (user.d - before) / dt_s)
