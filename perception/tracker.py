"""What the car remembers, from percepts and odometry alone.

A `Track` is memory: the speed limit in force, the stop line that has slipped under the bonnet, the way driven since the
last standstill, what the own light shows, the path, whose first metres lie below the picture. No ground truth enters
here, and no driving is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.geometry import Array
from envs.labels import STOP_MAX_M
from envs.signs import SIGNS, Duty
from envs.state import Phase
from perception.path_memory import PathMemory
from perception.perceiver import CAMERA_TO_BUMPER_M, NO_SIGN, STOP_SIGN, Percept
from perception.surroundings import SEEN_SHARE, called

DEFAULT_LIMIT_MPS = 50 / 3.6  # in force until a sign was read: the limit in towns of most of the world
MOVING_MPS = 0.1  # slower is a standstill
CLEAR_M = -3.0  # a stop line this far behind the bumper is forgotten
BLIND_M = 3.0  # nearer than this the line slips out of view and only odometry tells
SIGN_GONE_M = 5.0  # this near its sign has left the view, and a look that doubts what kind of line it is tells little
GIVE_UP = 0.1  # a line or a confidence below this was a mistake
IN_FORCE_M = 12.0  # a limit is taken as in force this near to its sign: by then it is 10 px wide and read well
LAST_SEEN_M = 20.0  # a sign that was last seen farther away is not believed to have been passed
RIGHT_SIDE_M = (0.5, 9.0)  # a sign that binds us stands this far to the right of the camera
LIGHT_GAIN = 0.6  # of a look at the own light: after two looks five sixths of what is believed are new
LEAST_VOTES = 0.004  # as much as two sure looks from 22 m away: less is a misread sign, not a limit
FREE_MPS = 130 / 3.6  # where all limits end: what the Autobahn-Richtgeschwindigkeits-Verordnung recommends
SPEEDS_MPS = np.array([FREE_MPS if sign.order.duty == Duty.END_OF_ALL else sign.speed_mps or np.nan for sign in SIGNS],
                      np.float32)


@dataclass(frozen=True, eq=False)
class Track:
    """What is remembered at one instant, for N cars."""

    limit_mps: Array  # (N,) float32, speed limit in force
    limit_confidence: Array  # (N,) float32, 0 while it is the default
    stop_m: Array  # (N,) float32, front bumper to the stop line, down to -3 behind it; STOP_MAX_M: none
    stop_confidence: Array  # (N,) float32
    since_stop_m: Array  # (N,) float32, way driven since the last standstill, up to STOP_MAX_M
    light_share: Array  # (N, 5) float32, how likely the own light shows each Phase; OFF: there is none, or it is dark
    path_m: Array  # (N, 12, 2) float32, as Percept.path_m, from this look and those before

    @property
    def light(self) -> Array:
        """(N,) int64 of Phase: what the own light is taken to show; in doubt rather red than green."""
        return called(self.light_share)


class Tracker:
    """Memory over time for N cars at once, from percepts and odometry alone. Deterministic.

    One limit sign and one stop line are followed at a time, the nearest. A sign's class is voted on by every look while
    the car approaches, near looks counting more; its limit comes into force as the car passes.
    """

    def __init__(self, num_envs: int, dt_s: float) -> None:
        self.dt_s = dt_s
        self._limit_mps, self._limit_confidence = np.empty(num_envs), np.empty(num_envs)
        self._sign_m, self._sign_seen_m = np.empty(num_envs), np.empty(num_envs)  # inf: none is followed
        self._votes = np.empty((num_envs, len(SIGNS)))
        self._stop_m, self._stop_confidence = np.empty(num_envs), np.empty(num_envs)  # inf: none is followed
        self._since_stop_m = np.empty(num_envs)
        self._light_share = np.empty((num_envs, len(Phase)))
        self._path = PathMemory(num_envs, dt_s)
        self.reset(np.ones(num_envs, bool))

    def reset(self, mask: Array) -> None:
        """Forget everything for the cars where `mask` (N,) bool holds."""
        self._limit_mps[mask], self._limit_confidence[mask] = DEFAULT_LIMIT_MPS, 0.0
        self._sign_m[mask], self._sign_seen_m[mask], self._votes[mask] = np.inf, np.inf, 0.0
        self._stop_m[mask], self._stop_confidence[mask] = np.inf, 0.0
        self._since_stop_m[mask] = STOP_MAX_M
        self._light_share[mask] = np.eye(len(Phase))[Phase.OFF]
        self._path.reset(mask)

    def update(self, percept: Percept, ego: Array) -> Track:
        """Take in the percept of this instant and the ego rows (N, 5) that start with the speed [m/s] and the yaw rate
        [rad/s].
        """
        moved_m = ego[:, 0].astype(float) * self.dt_s
        driven = np.minimum(self._since_stop_m + np.abs(moved_m), STOP_MAX_M)
        self._since_stop_m = np.where(np.abs(ego[:, 0]) < MOVING_MPS, 0.0, driven)
        with np.errstate(invalid="ignore"):  # inf - inf: nothing seen and nothing followed compare as unlike
            self._follow_sign(percept, moved_m)
            self._follow_line(percept, moved_m)
        if percept.around is not None:
            self._light_share += LIGHT_GAIN * (percept.around.my_light_share - self._light_share)
        stop_m = np.minimum(self._stop_m, STOP_MAX_M)
        return Track(*(values.astype(np.float32) for values in (
            self._limit_mps, self._limit_confidence, stop_m, self._stop_confidence, self._since_stop_m,
            self._light_share, self._path.update(percept.path_m, ego))))

    def _follow_sign(self, percept: Percept, moved_m: Array) -> None:
        """Dead-reckon the nearest limit sign, let this look vote on its class, and obey it once it is near."""
        rows = np.arange(len(moved_m))
        right_m = -percept.sign_distance_m * np.sin(percept.sign_bearing_rad)
        binds = (right_m > RIGHT_SIDE_M[0]) & (right_m < RIGHT_SIDE_M[1])
        is_limit = (percept.sign_class != NO_SIGN) & np.isfinite(SPEEDS_MPS)[percept.sign_class] & binds
        distances = np.where(is_limit, percept.sign_distance_m, np.inf)
        nearest = distances.argmin(1)
        seen_m = distances[rows, nearest]
        expected_m = self._sign_m - moved_m
        is_same = np.abs(seen_m - expected_m) < np.maximum(5.0, 0.35 * seen_m)
        is_new = np.isfinite(seen_m) & ~is_same & ((seen_m < expected_m) | (expected_m < 0))
        self._votes[is_new] = 0.0
        takes = is_same | is_new
        self._sign_m = np.where(is_new, seen_m, np.where(is_same, 0.5 * (seen_m + expected_m), expected_m))
        self._sign_seen_m = np.where(takes, seen_m, self._sign_seen_m)
        weight = percept.sign_confidence[rows, nearest] ** 2 / np.maximum(seen_m, 4.0) ** 2
        self._votes[rows[takes], percept.sign_class[rows, nearest][takes]] += weight[takes]
        total = self._votes.sum(1)
        obeys = (self._sign_m < IN_FORCE_M) & (self._sign_seen_m < LAST_SEEN_M) & (total >= LEAST_VOTES)
        self._limit_mps = np.where(obeys, SPEEDS_MPS[self._votes.argmax(1)], self._limit_mps)
        self._limit_confidence = np.where(obeys, self._votes.max(1) / np.maximum(total, 1e-9), self._limit_confidence)
        is_passed = self._sign_m < CLEAR_M
        self._sign_m[is_passed], self._votes[is_passed] = np.inf, 0.0

    def _follow_line(self, percept: Percept, moved_m: Array) -> None:
        """Dead-reckon the stop line and correct it by what is seen, until it slips out of view and is passed."""
        seen_m, share = _stop_line_seen(percept)
        expected_m = self._stop_m - moved_m
        is_known = np.isfinite(expected_m)
        is_blind = is_known & (expected_m < BLIND_M)
        is_near = np.abs(seen_m - expected_m) < np.maximum(4.0, 0.4 * seen_m)
        corrects = is_known & ~is_blind & is_near
        begins = np.isfinite(seen_m) & ~is_blind & ~corrects & (~is_known | (seen_m < expected_m))
        gain = np.where(seen_m < 12.0, 0.4, 0.25)  # far looks are worse
        self._stop_m = np.where(begins, seen_m, expected_m)
        self._stop_m[corrects] += (gain * (seen_m - expected_m))[corrects]
        kept = np.where(is_blind, self._stop_confidence, 0.8 * self._stop_confidence)
        doubts = (share < self._stop_confidence) & (seen_m < SIGN_GONE_M)
        believed = self._stop_confidence + np.where(doubts, 0.05, 0.4) * (share - self._stop_confidence)
        self._stop_confidence = np.where(corrects, believed, np.where(begins, 0.4 * share, kept))
        is_over = (self._stop_m < CLEAR_M) | (self._stop_confidence < GIVE_UP)
        self._stop_m[is_over], self._stop_confidence[is_over] = np.inf, 0.0


def _stop_line_seen(percept: Percept) -> tuple[Array, Array]:
    """Front bumper to the stop line (N,) [m], inf if none is seen, and how sure: from the line, else from its sign."""
    is_sign = (percept.sign_class == STOP_SIGN) & (percept.sign_confidence > 0.5)
    sign_m = np.where(is_sign, percept.sign_distance_m, np.inf).min(1) - CAMERA_TO_BUMPER_M
    sign_share = np.where(is_sign, percept.sign_confidence, 0.0).max(1)
    is_line = percept.stop_confidence > SEEN_SHARE
    seen_m = np.where(is_line, percept.stop_m, np.where(sign_m < STOP_MAX_M, sign_m, np.inf))
    return seen_m, np.where(is_line, np.maximum(percept.stop_confidence, sign_share), sign_share)
