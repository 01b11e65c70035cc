"""The Gymnasium environment: wiring only. It draws a scenario, steps the world, folds the rules, renders the camera.

Nothing is decided here: rules are `rules.py`'s, reward and ends `reward.py`'s, scores `metrics.py`'s. Importing this
file registers `nanodrive/Drive-v0`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import Any

import gymnasium
import numpy as np

from envs.config import DriveConfig, require
from envs.geometry import Array
from envs.metrics import EpisodeScore, score
from envs.render.boxes import no_boxes
from envs.render.camera import RENDERERS, BlindRenderer, Frame, pose_of
from envs.render.scene import Faces, Light, Scene, StaticScene, build_scene
from envs.reward import ENDS, check_names, ended, reward
from envs.roads.routes import COMMAND_HIGH, COMMAND_LOW
from envs.rules import Facts, fold, initial_facts, initial_memory
from envs.state import Control, WorldState
from envs.world import World
from scenarios.spec import SUITES, Scenario, split_scenario

# speed_mps, yaw_rate_radps, accel_mps2, steer, drive
EGO_LOW = np.array([-20.0, -5.0, -50.0, -1.0, -1.0], np.float32)
EGO_HIGH = np.array([80.0, 5.0, 50.0, 1.0, 1.0], np.float32)

NOTHING = Scene(StaticScene((), no_boxes(), Faces(*np.zeros((6, 0))), (), ()), no_boxes(), Light())
"""What a blind renderer is given: building a scene costs more than a physics step."""

Observation = dict[str, Array]


def _require_row(kind: str, name: str, table: Collection[str]) -> None:
    require(name in table, f"{kind} '{name}' is unknown; the legal ones are {', '.join(table)}")


def _render_modes() -> list[str]:
    return ["rgb_array", "human"] if os.environ.get("DISPLAY") else ["rgb_array"]


class DrivingEnv(gymnasium.Env[Any, Any]):
    """Drive a route through a town by camera.

    **Action** `Box(-1, 1, (2,), float32)`, held for `config.control_dt_s` (0.1 s). Not finite or of another shape:
    `ActionError`; out of range: clipped, and counted in `num_clipped`.

    | index | name  | range   | meaning                                                  |
    |-------|-------|---------|----------------------------------------------------------|
    | 0     | steer | -1 .. 1 | share of the largest steering angle, left positive       |
    | 1     | drive | -1 .. 1 | positive: throttle, negative: brake, as share of the max |

    **Observation** `Dict`; never ground truth.

    | key             | dtype, shape     | range      | unit   | meaning                                            |
    |-----------------|------------------|------------|--------|----------------------------------------------------|
    | camera          | uint8 (H, W, 3)  | 0 .. 255   | -      | RGB of the front camera (`config.camera`)          |
    | ego[0]          | float32          | -20 .. 80  | m/s    | speed, negative when rolling back                  |
    | ego[1]          | float32          | -5 .. 5    | rad/s  | yaw rate, left positive                            |
    | ego[2]          | float32          | -50 .. 50  | m/s2   | longitudinal acceleration, mean of the last step   |
    | ego[3], ego[4]  | float32          | -1 .. 1    | -      | last steer, last drive                             |
    | command[0 .. 3] | float32          | 0 or 1     | -      | one-hot of the next manoeuvre: `Command`           |
    | command[4]      | float32          | 0 .. 60    | m      | distance to it, 0 inside it, 60 where just follow  |
    | command[5]      | float32          | 0 .. 120   | m      | distance to its end, 120 where just follow         |
    | command[6]      | float32          | -4.5 .. 4.5 | rad   | how far the way turns till there, left positive    |
    | command[7]      | float32          | -1, 0, 1   | -      | next lane change: 1 left, -1 right, 0 none         |
    | command[8]      | float32          | 0 .. 60    | m      | distance to where it begins, 0 inside it           |
    | command[9]      | float32          | 0 .. 120   | m      | distance to where it must be done                  |

    **Reward** see `envs/reward.py`; its terms are in `info["reward"]`. **Info** holds `facts` (Facts); `reward` after a
    step; and after an episode's last step `score` (EpisodeScore) and `is_success`.

    **End** terminated: at the goal, or at a bad end named in `ENDS[ends]` ("training": collision, off road, stop line
    or red light run, blocked, deviated; "evaluation": blocked, deviated). Truncated: out of time
    (`config.training_patience`, `config.evaluation_patience`).

    **Episodes** `reset(seed=..., options={"scenario": Scenario})` drives that scenario; without it one is drawn, by the
    seed alone, from `scenarios` or else from the towns of `split`. Same seed, same scenario, same actions: same bytes.

    **Rendering** `rgb_array` returns the camera image; `human` opens PyBullet's window. `human` is among the render
    modes only where there is a display. `config.renderer` "none" gives black frames at no cost.

    Raises ConfigError on a name that is no row of its table.
    """

    metadata = {"render_modes": _render_modes(), "render_fps": 10}  # noqa: RUF012 (Gymnasium's own form)

    def __init__(self, config: DriveConfig | None = None, split: str = "train",
                 scenarios: Sequence[Scenario] | None = None, ends: str = "training",
                 render_mode: str | None = None) -> None:
        self.config = config or DriveConfig()
        _require_row("split", split, SUITES)
        _require_row("ends", ends, ENDS)
        _require_row("renderer", self.config.renderer, RENDERERS)
        _require_row("render_mode", render_mode or "human", ("rgb_array", "human"))
        require(scenarios is None or len(scenarios) > 0, "scenarios is empty; give at least one, or None for the split")
        check_names(self.config.reward)
        self.render_mode, self.num_clipped = render_mode, 0
        self._split, self._scenarios, self._ends_on = split, scenarios, ENDS[ends]
        self._patience = self.config.training_patience if ends == "training" else self.config.evaluation_patience
        self._world = World(self.config)
        self._renderer = RENDERERS[self.config.renderer](self.config.camera)
        self._window: Any = None
        camera = self.config.camera
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space = gymnasium.spaces.Dict({
            "camera": gymnasium.spaces.Box(0, 255, (camera.height_px, camera.width_px, 3), np.uint8),
            "ego": gymnasium.spaces.Box(EGO_LOW, EGO_HIGH),
            "command": gymnasium.spaces.Box(COMMAND_LOW, COMMAND_HIGH)})

    state: WorldState
    frame: Frame
    facts: Facts
    scenario: Scenario

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict]:
        """Begin an episode. Raises ConfigError on an option other than `scenario`."""
        super().reset(seed=seed)
        unknown = set(options or {}) - {"scenario"}
        require(not unknown, f"reset option {sorted(unknown)} is unknown; the legal one is scenario")
        self.scenario = (options or {}).get("scenario") or self._draw_scenario()
        rng = np.random.default_rng(self.np_random.integers(2**63))
        self.state = self._world.reset(self.scenario, rng)
        self._memory = initial_memory(self.state, self._patience)
        self.facts = initial_facts(self._memory)
        self._history: list[Facts] = []
        self.num_clipped = 0
        return self.observe(), {"facts": self.facts}

    def _draw_scenario(self) -> Scenario:
        if self._scenarios is not None:
            return self._scenarios[int(self.np_random.integers(len(self._scenarios)))]
        return split_scenario(self._split, int(self.np_random.integers(len(SUITES[self._split]))))

    def step(self, action: Array) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """`advance`, then `observe`."""
        value, terminated, truncated, info = self.advance(action)
        return self.observe(), value, terminated, truncated, info

    def advance(self, action: Array) -> tuple[float, bool, bool, dict[str, Any]]:
        """One control step without a camera frame: reward, terminated, truncated, info."""
        control = Control.from_action(action)
        self.num_clipped += bool(np.any(np.abs(action) > 1))
        self.state = self._world.step(control)
        self._memory, self.facts = fold(self._memory, self.state)
        self._history.append(self.facts)
        value, terms = reward(self.facts, self.config.reward, self._ends_on)
        terminated, truncated = ended(self.facts, self._ends_on)
        info: dict[str, Any] = {"facts": self.facts, "reward": terms}
        if terminated or truncated:
            info["score"] = self.score()
            info["is_success"] = info["score"].is_success
        return value, terminated, truncated, info

    def observe(self) -> Observation:
        """The observation of the present state; renders one frame."""
        ego, route, control = self.state.ego, self.state.route, self.state.control
        scene = NOTHING if isinstance(self._renderer, BlindRenderer) else build_scene(self.state)
        self.frame = self._renderer.render(scene, pose_of(self.config.camera, ego))
        if self.render_mode == "human":
            self._show()
        motion = [ego.speed_mps, ego.yaw_rate_radps, ego.accel_mps2, control.steer, control.drive]
        return {"camera": self.frame.rgb.copy(), "ego": np.clip(np.array(motion, np.float32), EGO_LOW, EGO_HIGH),
                "command": route.command_at(self.facts.route_m)}

    def score(self) -> EpisodeScore:
        """The score of the steps driven so far. Raises ValueError before the first one."""
        return score(self._history, self.config.control_dt_s, self._ends_on)

    def render(self) -> Array | None:
        """The camera image (H, W, 3) uint8 in mode rgb_array; None otherwise."""
        if self.render_mode == "human":
            self._show()
        return self.frame.rgb.copy() if self.render_mode == "rgb_array" else None

    def _show(self) -> None:
        from envs.render.bullet import BulletWindow

        self._window = self._window or BulletWindow()
        self._window.show(build_scene(self.state), self.state.ego)

    def close(self) -> None:
        """Free the world, the renderer and the window; a second call does nothing."""
        for part in (self._world, self._renderer, self._window):
            if part is not None:
                part.close()
        self._window = None


gymnasium.register("nanodrive/Drive-v0", entry_point="envs.driving_env:DrivingEnv")
