"""What happened in traffic terms: a fold (memory, WorldState) -> (memory, Facts). Facts first; reward, ends and scores
only read them.

It runs on recorded states as well as on live ones: no physics, no randomness, nothing is searched for twice. It judges
nothing: what a fact costs is `reward.py`'s and `metrics.py`'s business.

Definitions. The car's place on the route is that of its origin (rear axle); lanes and road are judged at the centre of
its outline.
  collision      a contact begins; the same body counts again after 1 s without contact and 2 m of driving
  off lane       outline centre off the lanes that run the route's way, or off the road, or wrong way; a parallel lane
                 of the same direction is on the route's road (CARLA), so is the oncoming one where obstruction.py says
  off road       outline centre, or two of its corners, beyond the paved shoulder
  wrong lane     on a lane that runs the other way, or heading over 90 degrees against the route
  stop run       front bumper passes a stop line without having stood (< 0.1 m/s) within 4 m before it
                 (CARLA RunningStopTest's figures); a yield line binds nobody while there is no traffic, and neither
                 line binds where a light is lit
  red run        front bumper passes the stop line of a light that shows red or red and yellow, in the instants before
                 and after (CARLA RunningRedLightTest; StVO section 37: wait before the junction)
  at goal        within 5 m of the route's end, on the road (MetaDrive's arrive_dest)
  blocked        slower than 0.1 m/s for `Patience.blocked_s` (leaderboard: 180 s), but for the time in which a light
                 within 60 m ahead was red: whoever waits there, or in the queue, does right
  deviated       more than 30 m from the route (leaderboard)
  timeout        `Patience.timeout_s` (leaderboard: 300 s) plus the time for the part of the route covered so far at
                 10 % of the limit (its RouteTimeoutBehavior: who drives in circles earns no more), plus the time
                 spent waiting for red lights
  no yielding    front bumper enters a junction lane while somebody who has the right of way (conflicts.py, lights
                 that are lit aside) would, at his speed, be in the shared area before the ego, pulling away, has
                 left it: he is endangered or hindered (StVO section 8 (2)); the leaderboard knows only the collision
  overtaking     the ego's middle passes that of a moving vehicle of its direction where sign 276 forbids it (bans.py)
  forbidden turn the car's origin, off the lanes of the route's way, on a road into which a sign (209 to 214) forbade
                 to turn
  wrong way      outline centre on a one-way road, heading over 90 degrees against it: sign 267 was passed
  at fault       nuPlan's no_ego_at_fault_collisions: not while standing, nor when somebody moving hits the rear or,
                 with the ego in its lane, the side
  min_speed_pct  the leaderboard's MinimumSpeedRouteTest: at each quarter of the route, the ego's mean speed since
                 the one before in per cent of the traffic's (vehicles that have moved, within 100 m), at most 100;
                 the mean of those; 100 without traffic
  ttc            first contact if ego and every actor kept their velocity [s], inf if none within 0.9 s (CaRL, nuPlan's
                 0.95 s); a standing ego has none
  comfort        how many of the six nuPlan bounds were broken within the last 2 s, on signals smoothed by a
                 Savitzky-Golay window of 7 steps (Bench2Drive), so known 3 steps late
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from envs.bans import forbidden_exits, has_overtaken, has_turned_into, is_against_one_way, no_overtaking
from envs.config import Patience
from envs.geometry import Array, box_corners, ego_from_world, wrap_angle
from envs.obstruction import may_pass
from envs.pace import STANDSTILL_MPS, Pace, keep_pace
from envs.right_of_way import RED, Claim, claims, ego_times, is_lit, junction_lanes, phase_of
from envs.roads.network import SHOULDER_M, Control, RoadNetwork
from envs.roads.routes import ROUTE_SPACING_M, Route
from envs.state import EGO_SHAPE, Contact, Phase, VehicleState, WorldState
from envs.time_to_collision import time_to_collision

STOP_ZONE_M = 4.0  # CARLA RunningStopTest.PROXIMITY_THRESHOLD
GOAL_M = 5.0
DEVIATION_M = 30.0
BESIDE_WIDTHS = 1.0  # lane widths beside the lanes of the route's way: still its road, so progress and stops count
SLOWEST_SHARE = 0.1  # of the limit: the pace that the timeout allows
REPEAT_S, REPEAT_M = 1.0, 2.0
SPEEDING_MPS = 2.23  # nuPlan's and CaRL's tolerance, 5 mph
FRONT_M = 0.5  # what first touches this part of the car was hit by its front
QUEUE_M = 60.0  # before a red light: who stands there is taken to wait for it
COLLISIONS = ("pedestrian", "vehicle", "static")  # gravest first

# nuPlan's comfort bounds: longitudinal and lateral acceleration [m/s2], jerk of the acceleration's magnitude and
# longitudinal jerk [m/s3], yaw rate [rad/s], yaw acceleration [rad/s2].
COMFORT_LOW = np.array([-4.05, -4.89, -8.37, -4.13, -0.95, -1.93])
COMFORT_HIGH = np.array([2.40, 4.89, 8.37, 4.13, 0.95, 1.93])
COMFORT_WINDOW_S = 2.0
SMOOTHING_STEPS = 7
# Least-squares parabola over 7 equal steps at its centre (Savitzky and Golay 1964): value, and slope per step.
SMOOTH_VALUE = np.array([-2.0, 3.0, 6.0, 7.0, 6.0, 3.0, -2.0]) / 21.0
SMOOTH_SLOPE = np.arange(-3.0, 4.0) / 28.0


@dataclass(frozen=True)
class Facts:
    """One step in traffic terms. Events (`new_collision`, `has_...`) are true in the step where they happen."""

    time_s: float
    route_m: float  # of the ego origin
    lateral_m: float  # of the ego origin, left positive
    heading_error_rad: float  # ego yaw minus the route's
    lane_width_m: float
    completion: float  # best share of the route so far, 0 to 1
    completion_delta: float  # its gain in this step
    distance_m: float  # driven in this step
    speed_mps: float
    accel_mps2: float
    lateral_accel_mps2: float
    yaw_rate_radps: float
    speed_limit_mps: float
    overspeed_mps: float  # above the limit, never negative
    is_in_junction: bool
    is_off_lane: bool
    is_off_road: bool
    is_wrong_lane: bool
    new_collision: str | None  # the gravest of COLLISIONS that began
    is_at_fault: bool  # one of the collisions that began is the ego's fault
    has_run_stop: bool
    has_run_red: bool
    has_failed_to_yield: bool
    is_at_goal: bool
    is_blocked: bool
    is_deviated: bool
    is_timeout: bool
    ttc_s: float
    comfort_violations: int  # 0 to 6
    min_speed_pct: float = 100.0
    has_overtaken_where_forbidden: bool = False
    is_wrong_way: bool = False  # against a one-way road
    is_forbidden_turn: bool = False  # on the road that it led to


@dataclass(frozen=True, eq=False)
class Memory:
    """What the fold must remember between two steps."""

    patience: Patience
    previous: WorldState
    start_m: float  # of the route, where the drive began
    route_m: float
    completion: float = 0.0
    driven_m: float = 0.0
    standing_s: float = 0.0
    budget_s: float = 0.0  # time earned by progress along the route
    pace: Pace = field(default_factory=Pace)
    next_stop: int = 0  # index in route.stops
    has_stood: bool = False  # within the zone before that line
    next_signal: int = 0  # index in route.signals
    entries: tuple[tuple[float, int], ...] = ()  # (station [m], id) of the junction lanes still ahead
    bans: tuple[tuple[float, float], ...] = ()  # (from, to) [m] along the route where overtaking is forbidden
    exits: frozenset[int] = frozenset()  # lanes into which signs along the route forbid to turn
    touched: tuple[tuple[tuple[str, int], float, float], ...] = ()  # (kind, id), time [s], driven [m] of last contact
    motion: tuple[tuple[float, float, float], ...] = ()  # last SMOOTHING_STEPS of lon, lat acceleration, yaw rate
    broken: tuple[tuple[bool, ...], ...] = ()  # comfort bounds broken, one row per step of the last 2 s


def initial_memory(state: WorldState, patience: Patience | None = None) -> Memory:
    """The memory before the first step. Stop lines behind the front bumper do not count."""
    route_m, _ = state.route.locate(state.ego.x_m, state.ego.y_m)
    front_m = _front_station(state, route_m)
    stops, signals = (sum(at <= front_m for at, _ in lines) for lines in (state.route.stops, state.route.signals))
    entries = junction_lanes(state.route, state.town.network)
    return Memory(patience or Patience(), state, start_m=route_m, route_m=route_m, next_stop=stops, next_signal=signals,
                  entries=tuple(entry for entry in entries if entry[0] > front_m),
                  bans=no_overtaking(state.route, state.town), exits=forbidden_exits(state.route, state.town))


def initial_facts(memory: Memory) -> Facts:
    """The facts of the first instant, before anything was driven."""
    return fold(memory, memory.previous)[1]


def fold(memory: Memory, state: WorldState) -> tuple[Memory, Facts]:
    """Judge one step: the new memory and the facts of `state`."""
    ego, route, before = state.ego, state.route, memory.previous
    dt = state.time_s - before.time_s
    distance = math.hypot(ego.x_m - before.ego.x_m, ego.y_m - before.ego.y_m)
    route_m, lateral_m = route.locate(ego.x_m, ego.y_m, near_m=memory.route_m)
    here = route.index_at(route_m)
    limit = float(route.speed_limit_mps[here])
    heading_error = float(wrap_angle(ego.yaw_rad - route.heading_rad[here]))
    off_road, wrong, off_lane, wrong_way = _place(state, route_m, lateral_m, heading_error)
    if off_lane and not off_road and math.cos(heading_error) > 0.0 and may_pass(state, memory.pace.moved, route_m):
        wrong = off_lane = False
    is_beside = _is_beside(route, here, lateral_m)
    at_goal = bool(is_beside and not off_road and route_m >= route.length_m - GOAL_M)
    reached = _completion(memory.start_m, route_m, route.length_m, at_goal) if is_beside else 0.0
    completion = max(memory.completion, reached)
    gain = completion - memory.completion
    covered_m = gain * (route.length_m - memory.start_m)
    is_standing, waits_s = abs(ego.speed_mps) < STANDSTILL_MPS, dt if _is_red_ahead(memory, state, route_m) else 0.0
    memory = replace(
        memory, previous=state, route_m=route_m, completion=completion, driven_m=memory.driven_m + distance,
        standing_s=memory.standing_s + dt - waits_s if is_standing else 0.0,
        budget_s=memory.budget_s + covered_m / (SLOWEST_SHARE * limit) + (waits_s if is_standing else 0.0))
    memory, collision, at_fault = _collisions(memory, before, state, off_lane)
    memory = replace(memory, pace=keep_pace(memory.pace, state, completion, at_goal))
    memory, run_stop = _stop_lines(memory, state, route_m, lateral_m)
    memory, run_red = _red_lights(memory, before, state, route_m, lateral_m)
    memory, failed_to_yield = _right_of_way(memory, state, route_m, lateral_m)
    is_banned = any(begin <= route_m <= end for begin, end in memory.bans)
    memory, violations = _comfort(memory, ego, dt)
    return memory, Facts(
        time_s=state.time_s, route_m=route_m, lateral_m=lateral_m, heading_error_rad=heading_error,
        lane_width_m=float(route.width_m[here]), completion=completion, completion_delta=gain, distance_m=distance,
        speed_mps=ego.speed_mps, accel_mps2=ego.accel_mps2, lateral_accel_mps2=ego.lateral_accel_mps2,
        yaw_rate_radps=ego.yaw_rate_radps, speed_limit_mps=limit, overspeed_mps=max(0.0, ego.speed_mps - limit),
        is_in_junction=state.town.network.lanes[route.lanes[route.lane_index[here]]].junction is not None,
        is_off_lane=off_lane, is_off_road=off_road, is_wrong_lane=wrong, new_collision=collision, is_at_fault=at_fault,
        min_speed_pct=memory.pace.percent, has_run_stop=run_stop, has_run_red=run_red,
        has_failed_to_yield=failed_to_yield, is_at_goal=at_goal,
        is_blocked=memory.standing_s >= memory.patience.blocked_s,
        is_deviated=abs(lateral_m) > DEVIATION_M,
        is_timeout=state.time_s > memory.patience.timeout_s + memory.budget_s,
        ttc_s=time_to_collision(ego, state.actors), comfort_violations=violations,
        has_overtaken_where_forbidden=is_banned and is_beside and has_overtaken(before, state),
        is_wrong_way=wrong_way,
        is_forbidden_turn=off_lane and not off_road and has_turned_into(
            state.town.network, memory.exits, ego.pose[:2], ego.yaw_rad))


def _is_beside(route: Route, index: int, lateral_m: float) -> bool:
    """Whether a car is still on the route's road or close beside it."""
    reach_m = BESIDE_WIDTHS * float(route.width_m[index])
    return bool(-route.right_m[index] - reach_m < lateral_m < route.left_m[index] + reach_m)


def _completion(start_m: float, route_m: float, length_m: float, at_goal: bool) -> float:
    if at_goal:
        return 1.0
    return min(max((route_m - start_m) / max(length_m - start_m, 1e-6), 0.0), 1.0)


def _place(state: WorldState, route_m: float, lateral_m: float, heading_error: float
           ) -> tuple[bool, bool, bool, bool]:
    """(off road, wrong lane, off lane, wrong way) of the ego outline."""
    ego, route, network = state.ego, state.route, state.town.network
    corners = box_corners(ego.pose, EGO_SHAPE.length_m, EGO_SHAPE.width_m, EGO_SHAPE.centre_forward_m)
    centre = corners.mean(axis=0)
    station, lateral = route.locate(centre[0], centre[1], near_m=route_m)
    here = route.index_at(station)
    left_m, right_m = float(route.left_m[here]), float(route.right_m[here])
    # Reach of the outline to the side, with 0.4 m for the curve (4.5 m chord, 8 m radius): within it, surely on road.
    reach_m = EGO_SHAPE.length_m / 2 * abs(math.sin(heading_error)) + EGO_SHAPE.width_m / 2 + 0.4
    off_road = False
    if lateral + reach_m > left_m + SHOULDER_M or reach_m - lateral > right_m + SHOULDER_M:
        outside = [not network.is_on_road(*corner) for corner in corners]
        off_road = sum(outside) >= 2 or not network.is_on_road(*centre)
    is_outside = not -right_m <= lateral <= left_m
    against = abs(heading_error) > math.pi / 2 and not is_outside
    wrong = against or (is_outside and not off_road and _runs_back(network, centre, float(route.heading_rad[here])))
    may_be_against = is_outside or against
    return (off_road, wrong, off_road or wrong or is_outside,
            may_be_against and is_against_one_way(network, centre, ego.yaw_rad))


def _runs_back(network: RoadNetwork, point_m: Array, heading_rad: float) -> bool:
    """Whether the lane under a world point (2,), outside junctions, runs against a heading."""
    found = network.lane_under(point_m[0], point_m[1])
    return found is not None and network.lanes[found[0]].junction is None and math.cos(found[1] - heading_rad) < 0.0


def _front_station(state: WorldState, route_m: float) -> float:
    """Station of the front bumper's middle [m]."""
    ego, front_m = state.ego, EGO_SHAPE.front_m
    return state.route.locate(ego.x_m + front_m * math.cos(ego.yaw_rad), ego.y_m + front_m * math.sin(ego.yaw_rad),
                              near_m=route_m + front_m)[0]


def _collisions(memory: Memory, before: WorldState, state: WorldState, is_off_lane: bool
                ) -> tuple[Memory, str | None, bool]:
    """The updated list of recent contacts, the gravest contact that begins now, and whether one is the ego's fault."""
    now, driven = state.time_s, memory.driven_m
    recent = {body: (time, at) for body, time, at in memory.touched
              if now - time < REPEAT_S or driven - at < REPEAT_M}
    begun = [contact for contact in state.contacts if (contact.kind, contact.id) not in recent]
    at_fault = any(_is_at_fault(contact, before, is_off_lane) for contact in begun)
    recent.update({(contact.kind, contact.id): (now, driven) for contact in state.contacts})
    memory = replace(memory, touched=tuple((body, time, at) for body, (time, at) in recent.items()))
    kinds = {contact.kind for contact in begun}
    return memory, next((kind for kind in COLLISIONS if kind in kinds), None), at_fault


def _is_at_fault(contact: Contact, before: WorldState, is_off_lane: bool) -> bool:
    """nuPlan's rule, on the instant before the contact began."""
    ego, actors = before.ego, before.actors
    if abs(ego.speed_mps) < STANDSTILL_MPS:
        return False
    row = np.flatnonzero(actors.id == contact.id) if contact.kind != "static" else np.zeros(0, int)
    if len(row) == 0 or abs(actors.speed_mps[row[0]]) < STANDSTILL_MPS:
        return True
    corners = box_corners(actors.pose[row[0]], *actors.size_m[row[0], :2])
    middle = ego_from_world(ego.pose, corners.mean(axis=0))
    if middle[0] < -EGO_SHAPE.rear_overhang_m:
        return False
    nearest = ego_from_world(ego.pose, corners)[:, 0].min()
    return bool(is_off_lane or nearest > EGO_SHAPE.front_m - FRONT_M)


def _stop_lines(memory: Memory, state: WorldState, route_m: float, lateral_m: float) -> tuple[Memory, bool]:
    """Whether the front bumper passed a stop line in this step without having stood before it."""
    stops, index, stood = state.route.stops, memory.next_stop, memory.has_stood
    if index >= len(stops) or stops[index][0] - route_m > 2 * STOP_ZONE_M + EGO_SHAPE.front_m:
        return memory, False
    front_m, is_run = _front_station(state, route_m), False
    while index < len(stops) and front_m > stops[index][0]:
        at_line = state.route.index_at(stops[index][0])
        is_run |= (stops[index][1] == Control.STOP and not stood and _is_beside(state.route, at_line, lateral_m)
                   and _phase_at(state, stops[index][0]) == Phase.OFF)
        index, stood = index + 1, False
    if index < len(stops) and stops[index][0] - front_m <= STOP_ZONE_M:
        stood |= abs(state.ego.speed_mps) < STANDSTILL_MPS
    return replace(memory, next_stop=index, has_stood=stood), bool(is_run)


def _red_lights(memory: Memory, before: WorldState, state: WorldState, route_m: float,
                lateral_m: float) -> tuple[Memory, bool]:
    """Whether the front bumper passed the line of a red light in this step."""
    signals, index = state.route.signals, memory.next_signal
    if index >= len(signals) or signals[index][0] - route_m > 2 * STOP_ZONE_M + EGO_SHAPE.front_m:
        return memory, False
    front_m, is_run = _front_station(state, route_m), False
    while index < len(signals) and front_m > signals[index][0]:
        at_line = state.route.index_at(signals[index][0])
        is_run |= _is_beside(state.route, at_line, lateral_m) and all(
            _phase_at(instant, signals[index][0]) in RED for instant in (before, state))
        index += 1
    return replace(memory, next_signal=index), bool(is_run)


def _is_red_ahead(memory: Memory, state: WorldState, route_m: float) -> bool:
    """Whether the next light on the route is near and red."""
    ahead = state.route.signals[memory.next_signal:memory.next_signal + 1]
    return any(line_m - route_m < QUEUE_M and _phase_at(state, line_m) in RED for line_m, _ in ahead)


def _phase_at(state: WorldState, line_m: float) -> Phase:
    """What the light of a line on the route shows; OFF where none stands."""
    return phase_of(state, dict(state.route.signals).get(line_m))


def _right_of_way(memory: Memory, state: WorldState, route_m: float, lateral_m: float) -> tuple[Memory, bool]:
    """Whether the front bumper entered a junction lane in this step in the way of somebody who goes first."""
    entries = memory.entries
    if not entries or entries[0][0] - route_m > 2 * STOP_ZONE_M + EGO_SHAPE.front_m:
        return memory, False
    front_m, failed, lanes = _front_station(state, route_m), False, state.town.network.lanes
    while entries and front_m > entries[0][0]:
        (at_m, lane), entries = entries[0], entries[1:]
        here = state.route.index_at(at_m - ROUTE_SPACING_M)
        before = state.route.lane_at(at_m - ROUTE_SPACING_M)
        if _is_beside(state.route, here, lateral_m) and not is_lit(state, lanes[before]):
            failed |= any(claim.has_priority and _are_together(claim, at_m - front_m, state.ego.speed_mps)
                          for claim in claims(state, lane))
    return replace(memory, entries=entries), failed


def _are_together(claim: Claim, to_lane_m: float, speed_mps: float) -> bool:
    """Whether ego and claimant would be in their shared area at one time."""
    enters_s, leaves_s = ego_times(to_lane_m, claim, speed_mps)
    return claim.arrives_s < leaves_s and enters_s < claim.leaves_s


def _comfort(memory: Memory, ego: VehicleState, dt: float) -> tuple[Memory, int]:
    """How many bounds were broken within the last 2 s."""
    if dt <= 0:
        return memory, 0
    motion = (*memory.motion, (ego.accel_mps2, ego.lateral_accel_mps2, ego.yaw_rate_radps))[-SMOOTHING_STEPS:]
    broken = memory.broken
    if len(motion) == SMOOTHING_STEPS:
        signals = np.array(motion)
        signals = np.column_stack([signals, np.hypot(signals[:, 0], signals[:, 1])])
        value, slope = SMOOTH_VALUE @ signals, SMOOTH_SLOPE @ signals / dt
        row = is_uncomfortable(np.array([value[0], value[1], slope[3], slope[0], value[2], slope[2]]))
        broken = (*broken, tuple(row.tolist()))[-round(COMFORT_WINDOW_S / dt):]
    return replace(memory, motion=motion, broken=broken), int(np.any(broken, axis=0).sum()) if broken else 0


def is_uncomfortable(signals: Array) -> Array:
    """Which of the six comfort signals (..., 6), in the order of COMFORT_LOW, are out of bounds; bool (..., 6)."""
    return (signals < COMFORT_LOW) | (signals > COMFORT_HIGH)
