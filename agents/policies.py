"""Drivers under one protocol: what turns an observation into steering and pedals, and how each is named and loaded.

A saved policy is a folder with policy.safetensors and policy.json (see perception/checkpoint.py): the actor's weights,
the standardisation of its features, and where it came from. It runs on plain torch; neither Stable-Baselines3 nor any
code from the folder takes part. Nothing here trains or scores.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from agents import features as feature_room
from agents.expert import Expert
from agents.features import NAMES, SIZE, Features
from envs.config import DriveConfig
from envs.geometry import Array
from envs.state import WorldState
from perception import checkpoint
from perception.glimpse import WEIGHTS as GLIMPSE
from perception.perceiver import READER, WEIGHTS

HIDDEN = 128
STEM = "policy"  # file name of a saved policy, without its ending
LARGEST_Z = 5.0  # standardised features are clipped to this


class PolicyError(ValueError):
    """A policy that cannot be had; the message is one sentence that names it and the way out."""


@runtime_checkable
class Policy(Protocol):
    """A driver. Only one that declares `privileged = True` is ever given the world state."""

    privileged: bool

    def reset(self) -> None:
        """Called before the first observation of an episode."""

    def act(self, observation: Mapping[str, Any], state: WorldState | None) -> Array:
        """The action (2,) float32 (steer, drive) in [-1, 1] for one observation of `DrivingEnv`."""


class RandomPolicy:
    """Uniform noise on both controls, the same in every episode."""

    privileged = False

    def __init__(self, config: DriveConfig) -> None:
        self.reset()

    def reset(self) -> None:
        self._rng = np.random.default_rng(0)

    def act(self, observation: Mapping[str, Any], state: WorldState | None) -> Array:
        return self._rng.uniform(-1.0, 1.0, 2).astype(np.float32)


class StraightPolicy:
    """Blind: 30 km/h straight ahead."""

    privileged = False
    speed_mps = 30 / 3.6

    def __init__(self, config: DriveConfig) -> None:
        pass

    def reset(self) -> None:
        pass

    def act(self, observation: Mapping[str, Any], state: WorldState | None) -> Array:
        missing = self.speed_mps - float(observation["ego"][0])
        return np.array([0.0, np.clip(0.3 * missing, -1.0, 1.0)], np.float32)


class Standardise(nn.Module):
    """(x - mean) / std, clipped to +-LARGEST_Z; both buffers (F,) are fixed when cloning begins."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, size: int = SIZE) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.clamp((x - self.mean) / self.std, -LARGEST_Z, LARGEST_Z)


class Actor(nn.Module):
    """Features (N, F) float32 -> mean action (N, 2), unclipped: standardise, then a small tanh network."""

    def __init__(self, size: int = SIZE, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.standardise = Standardise(size)
        self.net = nn.Sequential(nn.Linear(size, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh())
        self.head = nn.Linear(hidden, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.net(self.standardise(x)))

    @torch.inference_mode()
    def act(self, x: Array) -> Array:
        """Deterministic actions (N, 2) float32 in [-1, 1] for features (N, F)."""
        return self(torch.from_numpy(x)).clamp(-1.0, 1.0).numpy()


class NetPolicy:
    """A saved network on perceived features. `features.percept` and `features.track` tell what it saw last."""

    privileged = False

    def __init__(self, actor: Actor, features: Features) -> None:
        self.actor, self.features = actor.eval(), features

    def reset(self) -> None:
        self.features.reset(np.array([True]))

    def act(self, observation: Mapping[str, Any], state: WorldState | None) -> Array:
        batch = {key: np.asarray(value)[None] for key, value in observation.items()}
        return self.actor.act(self.features(batch))[0]


POLICIES: dict[str, Callable[[DriveConfig], Policy]] = {
    "random": RandomPolicy,
    "straight": StraightPolicy,
    "expert": lambda config: Expert(dt_s=config.control_dt_s),
}


def save_actor(folder: str | Path, actor: Actor, kind: str, config: DriveConfig, provenance: dict[str, Any]) -> Path:
    """Write a policy folder; `kind` is 'clone' or 'ppo', `provenance` plain JSON about its training."""
    camera = {name: getattr(config.camera, name) for name in config.camera.__dataclass_fields__}
    meta = {"kind": kind, "features": list(NAMES), "hidden": HIDDEN, "camera": camera,
            "control_dt_s": config.control_dt_s, "perception_sha256": _eyes_sha256(),
            "provenance": provenance}
    Path(folder).mkdir(parents=True, exist_ok=True)
    return checkpoint.save(Path(folder) / STEM, actor.state_dict(), meta)


def load_actor(folder: str | Path, config: DriveConfig | None = None) -> tuple[Actor, dict[str, Any]]:
    """The actor of a policy folder and its meta; PolicyError when it is missing, damaged or made for another camera."""
    try:
        tensors, meta = checkpoint.load(Path(folder) / STEM)
        if meta.get("features") != list(NAMES):
            raise PolicyError(f"policy {folder} was trained on other features than this version makes; train it again")
        if meta.get("perception_sha256") != _eyes_sha256():
            raise PolicyError(f"policy {folder} was trained behind other perception weights than this version has; use "
                              "the version that trained it, or train it again")
        _require_same_camera(folder, meta, config)
        actor = Actor(SIZE, int(meta["hidden"]))
        checkpoint.restore(actor, tensors, Path(folder) / STEM)
    except (checkpoint.CheckpointError, KeyError, TypeError) as error:
        raise PolicyError(f"policy {folder} cannot be loaded: {error}") from None
    return actor, meta


def _eyes_sha256() -> str:
    """SHA-256 over all that decides what the shipped eyes say: weights of the camera network, of the second look and of
    the reader, and what makes their confidences true.
    """
    parts = [[checkpoint.fingerprint(stem), *(checkpoint.load(stem)[1].get(name) for name in ("odds", "temperature"))]
             for stem in (WEIGHTS, GLIMPSE, READER)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _require_same_camera(folder: str | Path, meta: dict[str, Any], config: DriveConfig | None) -> None:
    if config is None:
        return
    for name, trained in meta["camera"].items():
        given = getattr(config.camera, name)
        if not math.isclose(given, trained):
            raise PolicyError(f"policy {folder} was trained with camera {name} {trained}, not {given}; "
                              "use that camera or train again")


def load_policy(spec: str | Path, config: DriveConfig) -> Policy:
    """A policy by the name of a row in POLICIES, by its folder, or as a user's own `module:Class` (called with config).

    Raises PolicyError in one sentence for anything else.
    """
    name = str(spec)
    if name in POLICIES:
        return POLICIES[name](config)
    if Path(name).is_dir():
        actor, _ = load_actor(name, config)
        return NetPolicy(actor, feature_room.load(config.camera, 1, config.control_dt_s))
    if ":" in name and not Path(name).exists():
        return _load_own(name, config)
    raise PolicyError(f"policy '{name}' is neither one of {', '.join(POLICIES)} nor a folder with {STEM}.json "
                      "nor module:Class; train one or correct the name")


def _load_own(spec: str, config: DriveConfig) -> Policy:
    module_name, _, class_name = spec.partition(":")
    try:
        policy = getattr(importlib.import_module(module_name), class_name)(config)
    except (ImportError, AttributeError, ValueError) as error:
        raise PolicyError(f"policy '{spec}' cannot be imported ({error}); give module:Class on PYTHONPATH") from None
    if not isinstance(policy, Policy):
        raise PolicyError(f"policy '{spec}' lacks privileged, reset or act; give it all three")
    return policy
