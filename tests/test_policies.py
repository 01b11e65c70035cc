"""Policies: the table's contract, saved folders there and back, and every way a name can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from agents.features import SIZE
from agents.policies import POLICIES, Actor, Policy, PolicyError, load_actor, load_policy, save_actor
from envs.config import CameraConfig, DriveConfig
from envs.roads.routes import navigation
from perception import checkpoint

CONFIG = DriveConfig(renderer="none")


def observation(speed_mps: float = 0.0) -> dict[str, np.ndarray]:
    return {"camera": np.zeros((160, 320, 3), np.uint8), "ego": np.array([speed_mps, 0, 0, 0, 0], np.float32),
            "command": navigation()}


class OwnPolicy:
    """A user's driver."""

    privileged = False

    def __init__(self, config: DriveConfig) -> None:
        self.config = config

    def reset(self) -> None:
        pass

    def act(self, observation: object, state: object) -> np.ndarray:
        return np.array([0.25, -1.0], np.float32)


class NoPolicy:
    def __init__(self, config: DriveConfig) -> None:
        pass


def actor(seed: int = 0) -> Actor:
    torch.manual_seed(seed)
    made = Actor()
    made.standardise.mean.normal_()
    made.standardise.std.uniform_(0.5, 2.0)
    return made


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_every_row_is_a_policy_and_only_the_expert_sees_the_truth(name: str) -> None:
    policy = load_policy(name, CONFIG)
    assert isinstance(policy, Policy)
    assert policy.privileged == (name == "expert")
    policy.reset()
    if not policy.privileged:
        action = policy.act(observation(), None)
        assert action.shape == (2,) and action.dtype == np.float32 and np.abs(action).max() <= 1


def test_the_expert_refuses_to_drive_blind() -> None:
    with pytest.raises(ValueError, match="privileged"):
        load_policy("expert", CONFIG).act(observation(), None)


def test_random_is_the_same_in_every_episode() -> None:
    policy = load_policy("random", CONFIG)
    first = [policy.act(observation(), None) for _ in range(5)]
    policy.reset()
    np.testing.assert_array_equal(first, [policy.act(observation(), None) for _ in range(5)])
    assert len(np.unique(first)) == 10


def test_straight_holds_30_kmh() -> None:
    policy = load_policy("straight", CONFIG)
    assert policy.act(observation(0.0), None)[1] == 1.0
    assert policy.act(observation(30 / 3.6), None)[1] == pytest.approx(0.0, abs=1e-6)
    assert policy.act(observation(20.0), None)[1] == -1.0


def test_a_saved_policy_acts_to_the_bit_as_before(tmp_path: Path) -> None:
    made = actor()
    save_actor(tmp_path / "mine", made, "clone", CONFIG, {"frames": 12})
    loaded, meta = load_actor(tmp_path / "mine", CONFIG)
    x = np.random.default_rng(0).normal(size=(7, SIZE)).astype(np.float32)
    np.testing.assert_array_equal(made.act(x), loaded.act(x))
    assert meta["kind"] == "clone" and meta["provenance"] == {"frames": 12}
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == ["policy.json", "policy.safetensors"]


def test_actions_are_clipped_to_the_controls_range() -> None:
    made = actor()
    with torch.no_grad():
        made.head.bias.copy_(torch.tensor([9.0, -9.0]))
    np.testing.assert_array_equal(made.act(np.zeros((3, SIZE), np.float32)), [[1.0, -1.0]] * 3)


def test_a_users_own_class_drives() -> None:
    policy = load_policy(f"{__name__}:OwnPolicy", CONFIG)
    assert isinstance(policy, OwnPolicy) and policy.config is CONFIG


def test_each_wrong_name_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for spec, words in [("nonsense", "random, straight, expert"), (tmp_path / "gone", "neither"),
                        (tmp_path / "empty", "missing"), ("no_such_module:Driver", "cannot be imported"),
                        (f"{__name__}:Missing", "cannot be imported"), (f"{__name__}:NoPolicy", "lacks")]:
        with pytest.raises(PolicyError, match=words) as error:
            load_policy(spec, CONFIG)
        assert "\n" not in str(error.value)


def test_weights_cut_in_half_are_refused(tmp_path: Path) -> None:
    save_actor(tmp_path, actor(), "ppo", CONFIG, {})
    weights = tmp_path / "policy.safetensors"
    weights.write_bytes(weights.read_bytes()[:weights.stat().st_size // 2])
    with pytest.raises(PolicyError, match="cut or altered"):
        load_policy(tmp_path, CONFIG)


@pytest.mark.parametrize("network", ["perception", "glimpse", "reader"])
def test_a_policy_behind_other_perception_weights_is_refused(network: str, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the camera network, of the second look, or of the reader of signs: each decides what the policy is told."""
    known = checkpoint.fingerprint
    with monkeypatch.context() as patch:
        patch.setattr("perception.checkpoint.fingerprint",
                      lambda stem: "f" * 64 if Path(stem).name == network else known(stem))
        save_actor(tmp_path, actor(), "ppo", CONFIG, {})
    with pytest.raises(PolicyError, match="other perception weights"):
        load_actor(tmp_path, CONFIG)


def test_another_camera_is_refused(tmp_path: Path) -> None:
    save_actor(tmp_path, actor(), "ppo", CONFIG, {})
    with pytest.raises(PolicyError, match=r"height_px 160, not 80"):
        load_policy(tmp_path, DriveConfig(camera=CameraConfig(width_px=160, height_px=80), renderer="none"))
