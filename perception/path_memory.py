"""The path ahead over time: each look corrects what odometry makes of those before.

The camera does not see the road beside and just before the front wheels; the looks before did, a few metres back. So
the path believed is moved along by the car's own motion, and every look draws it towards what it says: hardly at the
nearest stations, where a look can only guess, and all the more farther away.
"""

from __future__ import annotations

import numpy as np

from envs.geometry import Array, ego_from_world
from envs.labels import PATH_STATIONS_M

# Of a look at PATH_STATIONS_M, at 10 looks a second; chosen on drives through val towns.
GAIN = np.array([0.12, 0.2, 0.25, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.5, 0.6, 1.0])[:, None]


class PathMemory:
    """The paths of N cars. Deterministic."""

    def __init__(self, num_envs: int, dt_s: float) -> None:
        self.dt_s = dt_s
        self._path_m, self._motion = np.zeros((num_envs, len(PATH_STATIONS_M), 2)), np.zeros((num_envs, 2))
        self._is_new = np.ones(num_envs, bool)

    def reset(self, mask: Array) -> None:
        """Forget the paths of the cars where `mask` (N,) bool holds."""
        self._is_new[mask] = True

    def update(self, path_m: Array, ego: Array) -> Array:
        """Paths (N, 12, 2) float32 after a look at them (N, 12, 2), of cars whose ego rows (N, 2 or more) start with
        speed [m/s] and yaw rate [rad/s], both of this instant.
        """
        motion = ego[:, :2].astype(float)
        moved_m, turned = (0.5 * self.dt_s * (motion + self._motion)).T
        at = np.asarray(PATH_STATIONS_M) + moved_m[:, None]
        expected = _in_frame_after(spline(at) @ self._path_m, moved_m, turned)
        is_known = (at >= PATH_STATIONS_M[0]) & (at <= PATH_STATIONS_M[-1]) & ~self._is_new[:, None]
        self._path_m = expected + np.where(is_known[..., None], GAIN, 1.0) * (path_m - expected)
        self._motion, self._is_new[:] = motion, False
        return self._path_m.astype(np.float32)


def _in_frame_after(points_m: Array, moved_m: Array, turned: Array) -> Array:
    """Points (N, K, 2) of an ego frame in that of the car which has since driven `moved_m` (N,) on an arc that turned
    it by `turned` (N,).
    """
    chord_m = moved_m * np.sinc(turned / (2 * np.pi))  # numpy's sinc(x) is sin(pi x) / (pi x)
    pose = np.stack([chord_m * np.cos(turned / 2), chord_m * np.sin(turned / 2), turned])
    return ego_from_world(pose[..., None], points_m)


def spline(at_m: Array) -> Array:
    """Matrices (..., 12) that read, at stations (...), the cubic spline through values at PATH_STATIONS_M (in the form
    of Press et al., Numerical Recipes, section 3.3; at both ends "not a knot", de Boor 1978: two pieces are one cubic).
    """
    station = np.asarray(PATH_STATIONS_M)
    left = np.clip(np.searchsorted(station, at_m) - 1, 0, len(station) - 2)
    width_m = np.diff(station)[left]
    right = (at_m - station[left]) / width_m
    values, bends = np.eye(len(station)), BENDS

    def between(low: Array, high: Array, rows: Array) -> Array:
        return np.asarray(low[..., None] * rows[left] + high[..., None] * rows[left + 1])

    curve = width_m**2 / 6
    return (between(1 - right, right, values)
            + between(curve * ((1 - right) ** 3 - (1 - right)), curve * (right**3 - right), bends))


def _bends() -> Array:
    """Matrix (12, 12) from values at PATH_STATIONS_M to the spline's second derivatives there."""
    count, width_m = len(PATH_STATIONS_M), np.diff(PATH_STATIONS_M)
    left, right = np.zeros((count, count)), np.zeros((count, count))
    left[0, :3] = -width_m[1], width_m[0] + width_m[1], -width_m[0]  # the third derivative does not jump
    left[-1, -3:] = -width_m[-1], width_m[-2] + width_m[-1], -width_m[-2]
    for k in range(1, count - 1):
        before, after = width_m[k - 1:k + 1]
        left[k, k - 1:k + 2] = before, 2 * (before + after), after
        right[k, k - 1:k + 2] = 6 / before, -6 / before - 6 / after, 6 / after
    return np.linalg.solve(left, right)


BENDS = _bends()
