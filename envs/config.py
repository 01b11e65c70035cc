"""Settings of the world as frozen dataclasses: one field is the configuration, the flag, the help text and the default.

Units stand in the field names. What is published physics (masses, lengths, tyre figures) quotes its source where it is
used. Nothing here reads a file or draws a random number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field


class ConfigError(ValueError):
    """A setting out of its range; the message is one sentence that names the value and the way out."""


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError(message)` unless `condition` holds: the one-line check used by every settings class."""
    if not condition:
        raise ConfigError(message)


def require_within(settings: object, bounds: Iterable[tuple[str, float, float]]) -> None:
    """Raise ConfigError unless each of the named settings lies in its bounds (name, low, high), both included."""
    for name, low, high in bounds:
        value = getattr(settings, name)
        require(low <= value <= high, f"{name} is {value}; give {low} to {high}")


@dataclass(frozen=True)
class CameraConfig:
    """The one front camera: an ideal pinhole fixed to the ego car, looking along ego x.

    Raises ConfigError when a field is out of range.
    """

    width_px: int = 320
    """image width [px], 16 to 4096"""
    height_px: int = 160
    """image height [px], 16 to 4096"""
    horizontal_fov_deg: float = 80.0
    """full horizontal field of view [deg], 20 to 140"""
    height_m: float = 1.4
    """optical centre above the ground [m]"""
    forward_m: float = 1.6
    """optical centre ahead of the rear axle [m]"""
    pitch_deg: float = 0.0
    """rotation about ego y [deg], positive looks down"""

    def __post_init__(self) -> None:
        for name, low, high in [
            ("width_px", 16, 4096), ("height_px", 16, 4096), ("horizontal_fov_deg", 20, 140),
            ("height_m", 0.2, 10), ("forward_m", -5, 10), ("pitch_deg", -45, 45),
        ]:
            value = getattr(self, name)
            require(math.isfinite(value) and low <= value <= high,
                    f"camera {name} is {value}; give a value from {low} to {high}")

    @property
    def focal_px(self) -> float:
        """Focal length [px], the same in both image axes (square pixels)."""
        return self.width_px / 2 / math.tan(math.radians(self.horizontal_fov_deg) / 2)


@dataclass(frozen=True)
class RewardConfig:
    """Weights and bounds of the multiplicative progress reward (CaRL, Jaeger et al. 2025); see envs/reward.py."""

    progress_scale: float = 100.0
    """reward of driving a whole route perfectly"""
    overspeed_zero_mps: float = 2.23
    """excess over the limit at which progress earns nothing [m/s]"""
    comfort_weight: float = 0.5
    """share of the reward lost when all six comfort bounds are broken"""
    centre_weight: float = 0.5
    """share of the reward lost at the edge of the lane"""
    ttc_factor: float = 0.5
    """share of the reward left while a collision is under 0.9 s away"""
    factors: tuple[str, ...] = ("lane", "centre", "speed", "comfort", "ttc")
    """rows of FACTORS that multiply the progress"""
    terminal_penalty: float = 20.0
    """paid once when an infraction ends the episode; a run stop line costs a fifth of the driving score too"""

    def __post_init__(self) -> None:
        for name, low, high in [
            ("progress_scale", 0, 1e6), ("overspeed_zero_mps", 1e-3, 100), ("comfort_weight", 0, 1),
            ("centre_weight", 0, 1), ("ttc_factor", 0, 1), ("terminal_penalty", 0, 1e6),
        ]:
            value = getattr(self, name)
            require(math.isfinite(value) and low <= value <= high,
                    f"reward {name} is {value}; give a value from {low} to {high}")


@dataclass(frozen=True)
class Patience:
    """How long a driver may dawdle. The defaults are the CARLA leaderboard's."""

    blocked_s: float = 180.0
    """standing this long is a bad end [s]"""
    timeout_s: float = 300.0
    """an episode may last this long, plus the distance driven at 10 % of the speed limit [s]"""

    def __post_init__(self) -> None:
        for name in ("blocked_s", "timeout_s"):
            value = getattr(self, name)
            require(0.1 <= value <= 86_400, f"{name} is {value}; give 0.1 to 86400 s")


@dataclass(frozen=True)
class DriveConfig:
    """Everything that `DrivingEnv` needs beside the scenario."""

    camera: CameraConfig = field(default_factory=CameraConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    renderer: str = "raster"
    """who draws the camera frames: raster (fast), bullet (the reference), none (black frames)"""
    control_dt_s: float = 0.1
    """time between two actions [s]"""
    physics_steps: int = 20
    """physics steps in one control step"""
    training_patience: Patience = Patience(blocked_s=20.0, timeout_s=60.0)
    """shorter than the leaderboard's: camera steps are dear"""
    evaluation_patience: Patience = Patience()

    def __post_init__(self) -> None:
        require(0.01 <= self.control_dt_s <= 0.5, f"control_dt_s is {self.control_dt_s}; give 0.01 to 0.5 s")
        require(1 <= self.physics_steps <= 1000, f"physics_steps is {self.physics_steps}; give 1 to 1000")
