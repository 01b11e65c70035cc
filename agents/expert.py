"""The rule-based expert: a privileged driver that follows the route, the limits, lights, signs and its manners.

Steering is pure pursuit (Coulter, CMU-RI-TR-92-01, 1992) on the route. Speed is the lowest of the limit, what bends
ahead allow at a comfortable lateral acceleration, what halts the bumper before a line (stop sign, red light, somebody
with the right of way, people on a crossing, a junction with no room behind it), and the Intelligent Driver Model
(Treiber, Hennecke, Helbing 2000) behind whatever stands or drives in the corridor. It proves that towns are drivable
and labels states for cloning. It sees no pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from agents.foresight import (
    crossings_on,
    is_claimed,
    leader,
    look_ahead,
    must_wait,
    people_in_the_way,
)
from agents.gap_choice import model_accel
from agents.sideways import Sideways
from envs.geometry import Array, wrap_angle
from envs.pace import STANDSTILL_MPS
from envs.right_of_way import RED, is_lit, junction_lanes, phase_of
from envs.roads.network import Control
from envs.roads.routes import ROUTE_SPACING_M, Route
from envs.rules import STOP_ZONE_M
from envs.state import EGO_SHAPE, Phase, WorldState
from envs.vehicle import CAR
from envs.weather import Weather


@dataclass(frozen=True)
class ExpertStyle:
    """How the expert likes to drive; well inside the nuPlan comfort bounds."""

    limit_share: float = 0.95
    """cruising speed as a share of the speed limit"""
    lateral_accel_mps2: float = 2.3
    """in bends"""
    braking_mps2: float = 1.8
    """towards bends, lower limits and stop lines"""
    throttle_mps2: float = 1.8
    """pulling away"""
    easy_braking_mps2: float = 3.0
    """braking beyond this is an emergency and knows no jerk bound"""
    hardest_braking_mps2: float = 7.0
    """in an emergency"""
    jerk_mps3: float = 5.0
    """largest change of the wished acceleration from the measured one"""
    lookahead_s: float = 0.75
    """pure pursuit aims this far ahead in time"""
    lookahead_m: tuple[float, float] = (4.0, 14.0)
    """shortest and longest aim"""
    stop_before_m: float = 1.5
    """bumper to line when standing"""
    headway_s: float = 1.4
    """time gap behind an obstacle"""
    standstill_gap_m: float = 4.0
    """gap to a standing obstacle"""
    corridor_margin_m: float = 0.35
    """free space wanted beside the car"""
    people_margin_m: float = 0.8
    """free space wanted beside people on the road"""
    amber_braking_mps2: float = 3.0
    """a yellow light is driven through if a halt takes more than this"""


LINE_SIGHT_M = 250.0  # lines count from here on: a halt from 100 km/h in comfort takes 215 m
SETTING_OFF_MPS = 1.5  # slower than this the wished acceleration may rise to SETTING_OFF_MPS2 at once: a driver who
SETTING_OFF_MPS2 = 1.0  # learns from the answers at standstill learns to leave it
REACTION_S, SIGHT_BRAKING_MPS2 = 1.0, 5.0  # to halt within what can be seen, on a dry road
TURN_IN_M, STEER_SHARE = 5.0, 0.8  # way over which a driver turns the wheel; share of the steering's rate he uses
AIM_BACK = 4.0  # aim this many times the distance from the line ahead
MAKES_ROOM_MPS2 = 1.0  # braking at most, to get behind somebody on the lane that one wants
SPEED_GAIN_PER_S = 1.6  # wished acceleration for each m/s of missing speed


def curvature(route: Route, over_m: float = 3.0) -> Array:
    """Signed curvature (N,) [1/m] of a route, left positive, averaged over `over_m`."""
    raw = np.gradient(route.heading_rad, ROUTE_SPACING_M)
    width = int(over_m / ROUTE_SPACING_M) | 1
    padded = np.pad(raw, width // 2, mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")


def speed_ceiling(route: Route, style: ExpertStyle) -> Array:
    """Highest speed (N,) [m/s] at each route point that limits and bends ahead allow with comfortable braking.

    A bend allows what lateral acceleration does, and what lets the wheels turn in time where it changes.
    """
    bend = np.sqrt(style.lateral_accel_mps2 / np.maximum(np.abs(curvature(route)), 1e-3))
    wheels = np.arctan(CAR.wheelbase_m * curvature(route, TURN_IN_M))
    per_m = np.maximum(np.abs(np.gradient(wheels, ROUTE_SPACING_M)), 1e-4)
    bend = np.minimum(bend, STEER_SHARE * CAR.steer_rate_radps / per_m)
    ceiling = np.minimum(bend, style.limit_share * route.speed_limit_mps)
    for i in range(len(ceiling) - 2, -1, -1):
        ceiling[i] = min(ceiling[i], np.sqrt(ceiling[i + 1] ** 2 + 2 * style.braking_mps2 * ROUTE_SPACING_M))
    return ceiling


def sight_speed(weather: Weather) -> float:
    """Speed [m/s] from which a halt within the visibility is possible (StVO section 3 (1)): v t + v^2 / 2 b."""
    braking = SIGHT_BRAKING_MPS2 * weather.friction
    if not math.isfinite(weather.visibility_m):
        return math.inf
    return braking * (math.sqrt(REACTION_S ** 2 + 2 * weather.visibility_m / braking) - REACTION_S)


def aim(route: Route, station_m: float, distance_m: float, aside: Callable[[Array], Array] = np.zeros_like) -> Array:
    """The point (2,) of the driven line `distance_m` ahead, `aside` of the route; beyond the end it goes straight on.
    """
    at = station_m + distance_m
    beyond = max(at - route.length_m, 0.0)
    x = np.interp(at, route.station_m, route.points_m[:, 0])
    y = np.interp(at, route.station_m, route.points_m[:, 1])
    heading = np.interp(at, route.station_m, route.heading_rad)
    cos, sin, left = np.cos(heading), np.sin(heading), float(aside(np.array(at)))
    return np.array([x + beyond * cos - left * sin, y + beyond * sin + left * cos])


def pursue(state: WorldState, station_m: float, style: ExpertStyle,
           aside: Callable[[Array], Array] = np.zeros_like) -> float:
    """Front wheel angle [rad], left positive, of the arc through the aim point."""
    ego = state.ego
    _, lateral = state.route.locate(ego.x_m, ego.y_m, station_m)
    lateral -= float(aside(np.array(station_m)))
    wished = max(style.lookahead_s * ego.speed_mps, AIM_BACK * abs(lateral))  # far off the line: back at a flat angle
    distance = float(np.clip(wished, *style.lookahead_m))
    dx, dy = aim(state.route, station_m, distance, aside) - (ego.x_m, ego.y_m)
    alpha = float(wrap_angle(np.arctan2(dy, dx) - ego.yaw_rad))
    reach = max(float(np.hypot(dx, dy)), 1.0)
    bend = 2 * np.sin(alpha) / reach
    return float(np.arctan(CAR.wheelbase_m * bend))


def idm(speed_mps: float, wished_mps: float, gap_m: float, lead_mps: float, style: ExpertStyle) -> float:
    """Acceleration [m/s2] of the Intelligent Driver Model's interaction term, at most the free-road term."""
    closing = speed_mps * (speed_mps - lead_mps) / (2 * np.sqrt(style.throttle_mps2 * style.braking_mps2))
    wanted = style.standstill_gap_m + max(0.0, speed_mps * style.headway_s + closing)
    free = 1 - (speed_mps / max(wished_mps, 0.5)) ** 4
    return float(style.throttle_mps2 * (free - (wanted / max(gap_m, 0.1)) ** 2))


class Expert:
    """The driver. It remembers its place on the route and the lines it has served; all else it reads from the state."""

    privileged = True

    def __init__(self, style: ExpertStyle | None = None, dt_s: float = 0.1) -> None:
        self.style, self._dt_s = style or ExpertStyle(), dt_s
        self.reset()

    def reset(self) -> None:
        """Forget the episode."""
        self._route: Route | None = None
        self._station_m = 0.0
        self._served = 0
        self._waited_s = 0.0

    def act(self, observation: object, state: WorldState | None) -> Array:
        """The action (2,) float32 for a state; the observation is ignored. Raises ValueError without a state."""
        if state is None:
            raise ValueError("the expert is privileged; give it the world state")
        if self._route is not state.route:
            self.reset()
            network = state.town.network
            self._route = state.route
            self._ceiling = np.minimum(speed_ceiling(state.route, self.style), sight_speed(state.weather))
            self._hardest_mps2 = self.style.hardest_braking_mps2 * state.weather.friction
            self._stops = [at for at, control in state.route.stops if control == Control.STOP]
            self._entries = junction_lanes(state.route, network)
            self._crossings = crossings_on(state.route, network.crossings)
            self._sideways = Sideways(state.route, network, self._entries, self._crossings)
        ego, style = state.ego, self.style
        self._station_m, _ = state.route.locate(ego.x_m, ego.y_m, self._station_m)
        self._waited_s = self._waited_s + self._dt_s if ego.speed_mps < STANDSTILL_MPS else 0.0
        accel = self._wished_accel(state)
        steer = pursue(state, self._station_m, style, self._sideways.aside) / CAR.max_steer_rad
        return np.clip([steer, CAR.drive_for(accel, ego.speed_mps)], -1.0, 1.0).astype(np.float32)

    def _wished_accel(self, state: WorldState) -> float:
        """Longitudinal acceleration [m/s2]: the least that road, lines and road users allow, jerk-bounded."""
        speed, style = state.ego.speed_mps, self.style
        sideways = self._sideways
        sideways.plan(state, self._station_m, look_ahead(state, self._station_m, sideways.aside), self._waited_s)
        ahead = look_ahead(state, self._station_m, sideways.aside)
        ceiling, slope = self._ceiling_at(speed)
        gap, lead_mps = leader(ahead, 0.0, style.corridor_margin_m)
        wish = min(slope + SPEED_GAIN_PER_S * (ceiling - speed), style.throttle_mps2)
        for to_line in self._lines_to_halt_at(state, gap, lead_mps):
            wish = min(wish, self._accel_to_halt(to_line, speed))
        if sideways.target is not None and -EGO_SHAPE.length_m < sideways.target.lead_gap_m < math.inf:
            follows = model_accel(speed, ceiling, sideways.target.lead_gap_m, sideways.target.lead_mps)
            wish = min(wish, max(follows, -MAKES_ROOM_MPS2))
        if wish > -style.easy_braking_mps2:
            step = style.jerk_mps3 * self._dt_s
            most = state.ego.accel_mps2 + step
            if speed < SETTING_OFF_MPS:
                most = max(most, SETTING_OFF_MPS2)
            wish = float(np.clip(wish, state.ego.accel_mps2 - step, most))
        for way, other_mps in ((gap, lead_mps), (people_in_the_way(state, ahead, style.people_margin_m), 0.0)):
            if np.isfinite(way):
                wish = min(wish, idm(speed, ceiling, way, other_mps, style))
        return max(wish, -self._hardest_mps2)

    def _ceiling_at(self, speed_mps: float) -> tuple[float, float]:
        """(speed ceiling [m/s] here, deceleration [m/s2, <= 0] that follows the ceiling over the next half second)."""
        assert self._route is not None
        ahead = max(0.5 * speed_mps, 1.0)
        now, soon = (min(float(np.interp(at, self._route.station_m, self._ceiling)),
                         self._sideways.ceiling_mps(at, self.style.braking_mps2))
                     for at in (self._station_m, self._station_m + ahead))
        return now, min((soon**2 - now**2) / (2 * ahead), 0.0)

    def _lines_to_halt_at(self, state: WorldState, gap_m: float, lead_mps: float) -> Iterator[float]:
        """Distances [m] from the bumper to each line within sight that may not be passed now."""
        speed, bumper = state.ego.speed_mps, self._station_m + EGO_SHAPE.front_m
        yield from self._stop_lines(state, bumper)
        if self._sideways.halt_m() < math.inf:
            yield self._sideways.halt_m() - bumper
        sight = min(LINE_SIGHT_M, 25.0 + speed ** 2 / self.style.braking_mps2)
        for at, crossing in self._crossings:
            to_line = at - bumper
            if 0.0 < to_line < sight and self._can_halt(to_line, speed) and is_claimed(state, crossing):
                yield to_line
        for at, lane in self._entries:
            to_line = at - bumper
            if -0.5 < to_line < sight and self._is_held_at(state, at, lane, to_line, gap_m, lead_mps):
                yield to_line

    def _is_held_at(self, state: WorldState, at_m: float, lane: int, to_line_m: float, gap_m: float,
                    lead_mps: float) -> bool:
        """Whether light, right of way or a queue keep the ego out of a junction lane that begins at a station."""
        lanes, speed = state.town.network.lanes, state.ego.speed_mps
        before = lanes[state.route.lane_at(at_m - ROUTE_SPACING_M)]
        if not self._can_halt(to_line_m, speed):
            return False
        phase = phase_of(state, before.signal)
        if phase in RED:
            return True
        if phase == Phase.YELLOW:
            return speed ** 2 / (2 * max(to_line_m - 0.3, 0.3)) < self.style.amber_braking_mps2
        behind_m = to_line_m + lanes[lane].length_m
        has_no_room = lead_mps < 1.0 and to_line_m < gap_m < behind_m + EGO_SHAPE.length_m + 2.0
        return has_no_room or must_wait(state, lane, to_line_m, self._waited_s)

    def _can_halt(self, to_line_m: float, speed_mps: float) -> bool:
        return speed_mps ** 2 / (2 * max(to_line_m - 0.3, 0.1)) < self._hardest_mps2

    def _stop_lines(self, state: WorldState, bumper_m: float) -> Iterator[float]:
        """The way to the next unserved stop line, unless a light there is on."""
        while self._served < len(self._stops):
            to_line = self._stops[self._served] - bumper_m
            is_halted = state.ego.speed_mps < STANDSTILL_MPS and to_line <= STOP_ZONE_M
            if not is_halted and to_line > -0.5:
                break
            self._served += 1
        if self._served < len(self._stops) and to_line <= LINE_SIGHT_M:
            lane = state.route.lane_at(self._stops[self._served] - ROUTE_SPACING_M)
            if not is_lit(state, state.town.network.lanes[lane]):
                yield to_line

    def _accel_to_halt(self, to_line_m: float, speed_mps: float) -> float:
        """Acceleration [m/s2] that halts the bumper before a line.

        It follows v = sqrt(2 b g + 1) - 1 over the remaining way g, which eases out to a soft halt.
        """
        style = self.style
        gap = max(to_line_m - style.stop_before_m, 0.0)
        wished = np.sqrt(2 * style.braking_mps2 * gap + 1.0) - 1.0
        needed = speed_mps**2 / (2 * max(to_line_m - 0.3, 0.3))
        if needed > style.easy_braking_mps2:
            return float(-needed)
        return float(-style.braking_mps2 * speed_mps / (speed_mps + 1.0) + 2 * SPEED_GAIN_PER_S * (wished - speed_mps))
