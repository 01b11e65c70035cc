"""Train a driver: config -> expert -> clone -> PPO -> evaluate -> report. Read `main` aloud, it is the story.

    python train_agent.py                     the quick preset: about a quarter of an hour on two cores
    python train_agent.py --preset laptop     one to two hours
    python train_agent.py --resume            go on where an interrupted run stopped

The run folder then holds clone/ and policy/ (weights), curve.json, results.json, recordings/, drive.mp4, report.html
and TensorBoard logs. What each step does stands in agents/; nothing is decided here but the order and the presets.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import nanodrive
from envs.config import DriveConfig, require


@dataclass(frozen=True)
class Preset:
    """How much of everything: all that a preset decides."""

    expert_steps: int
    clone_steps: int
    dagger_rounds: int
    ppo_steps: int
    validation_towns: int
    episodes: int
    num_envs: int = 32


PRESETS: dict[str, Preset] = {
    "smoke": Preset(expert_steps=320, clone_steps=160, dagger_rounds=1, ppo_steps=512, validation_towns=1, episodes=1,
                    num_envs=2),
    "quick": Preset(expert_steps=12_000, clone_steps=8_000, dagger_rounds=4, ppo_steps=450_000, validation_towns=40,
                    episodes=20),
    "laptop": Preset(expert_steps=40_000, clone_steps=20_000, dagger_rounds=6, ppo_steps=2_000_000,
                     validation_towns=80, episodes=50),
    "full": Preset(expert_steps=100_000, clone_steps=50_000, dagger_rounds=4, ppo_steps=10_000_000,
                   validation_towns=100, episodes=200),
}


@dataclass(frozen=True)
class TrainConfig:
    """Settings of `nanodrive train`. The preset decides the amounts."""

    preset: Literal["smoke", "quick", "laptop", "full"] = "quick"
    """how much: smoke a minute, quick a quarter of an hour, laptop one to two hours, full a day"""
    out: Path | None = None
    """run folder; default: runs/<preset>"""
    seed: int = 0
    """of everything random in training"""
    workers: int = 2
    """processes that drive; the result does not depend on it"""
    renderer: str = DriveConfig.renderer
    """row of RENDERERS that draws the camera"""
    resume: bool = False
    """go on from the last checkpoint in the run folder"""

    def __post_init__(self) -> None:
        require(self.seed >= 0, f"seed is {self.seed}; give 0 or more")
        require(0 <= self.workers <= 64, f"workers is {self.workers}; give 0 to 64")

    @property
    def folder(self) -> Path:
        return self.out or Path("runs") / self.preset


def main(config: TrainConfig) -> dict[str, Any]:
    """Train, evaluate and report; returns what `nanodrive train` prints as its last line."""
    import torch  # here and not above: worker processes import this file again, and need none of it

    from agents import evaluate, imitate, policies, ppo, report, rollouts
    from scenarios import replay, spec

    torch.set_num_threads(1)  # the other core drives; two threads here slow both
    preset, folder, started = PRESETS[config.preset], config.folder, time.monotonic()
    drive = DriveConfig(renderer=config.renderer)
    recipe = ppo.PPOConfig(total_steps=preset.ppo_steps, seed=config.seed)

    def cars(is_labelled: bool) -> closing[rollouts.FleetVecEnv]:
        return closing(rollouts.make(drive, preset.num_envs, "train", config.seed, config.workers, is_labelled,
                                     recipe.reward_scale))

    # The expert drives and is disturbed; the clone learns its answers from what the camera shows.
    if config.resume and (folder / "clone" / "policy.json").is_file():
        clone, _ = policies.load_actor(folder / "clone", drive)
    else:
        lessons = imitate.ImitateConfig(preset.expert_steps, preset.clone_steps, preset.dagger_rounds, seed=config.seed)
        with cars(is_labelled=True) as venv:
            clone, figures = imitate.clone(venv, lessons, folder)
        policies.save_actor(folder / "clone", clone, "clone", drive, {"lessons": asdict(lessons), **figures})
        print(f"clone: steering error {figures['steer_error']:.3f}, pedal error {figures['drive_error']:.3f} "
              f"on {figures['frames']} frames of {figures['towns']} towns")

    # PPO improves the clone on the reward.
    is_resumed = config.resume and (folder / f"{ppo.STATE}.json").is_file()
    with cars(is_labelled=False) as venv:
        actor, curve = ppo.train(venv, recipe, clone, folder, spec.suite("val", preset.validation_towns), is_resumed)
    policies.save_actor(folder / "policy", actor, "ppo", drive, {"recipe": asdict(recipe)})

    # Towns that nobody has seen decide, with clone, expert and random beside it.
    answer = evaluate.run(evaluate.EvaluateConfig(
        policy=(str(folder),), suite="test", episodes=preset.episodes, seed=config.seed, out=folder, record="all",
        workers=max(config.workers, 1), renderer=config.renderer))

    # What it looks like, and everything on one page.
    first = min((folder / "recordings").glob("ppo-*.npz"))
    film = replay.run(replay.ReplayConfig(first, out=folder / "drive.mp4"))
    page = report.run(report.ReportConfig((folder,)))
    return {**answer, "policy": str(folder / "policy"), "film": film["mp4"], "report": page["report"],
            "ppo_steps_per_s": round(curve.steps_per_s()), "wall_s": round(time.monotonic() - started, 1)}


if __name__ == "__main__":
    sys.exit(nanodrive.run_command(nanodrive.COMMANDS["train"], "train_agent.py", sys.argv[1:]))
