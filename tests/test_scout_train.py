"""Training of the scout: goals and figures by hand, and a run that is interrupted goes on bit for bit."""

import numpy as np
import pytest
import torch

from envs.config import ConfigError
from perception import checkpoint, scout_train
from perception.checkpoint import CheckpointError
from perception.scenes import LIGHT, Scene
from perception.scout import LOG_OF_PIXEL, ScoutConfig, ScoutNet, peaks
from perception.scout_train import ScoutTrainConfig, ScoutTraining, batch_of, goal_of, judge, losses_of, matched

TINY = ScoutConfig(half=4, quarter=8, eighth=8, depth=1)


def plain_scene(boxes, counts, side=64, sign=0):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Scene(np.full((side, side, 3), 90, np.uint8), boxes, np.full(len(boxes), sign), np.array(counts, bool))


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(scout_train, "SCENE_PX", 64)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield ScoutTrainConfig(out=tmp_path / "run", steps=4, batch=2, epoch_steps=2, val_scenes=2, towns=0, model=TINY)
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("kind", "sign"), [(0, 0), (1, LIGHT)])
def test_a_goal_read_back_is_the_box(kind, sign):
    """What the network should answer, decoded as its answers are, gives the boxes it was made of, of their kind."""
    boxes = [[10, 20, 30, 44], [40.5, 3.25, 53.0, 14.5]]
    goal = goal_of(plain_scene(boxes, [True, True], sign=sign))
    heat = np.log(goal["heat"].clip(1e-6, 1 - 1e-6) / (1 - goal["heat"].clip(1e-6, 1 - 1e-6)))
    box, score = peaks(np.concatenate([heat[kind, None], goal["box"][kind]]).astype(np.float32))
    found = box[score > 0.99]
    np.testing.assert_allclose(sorted(found.tolist()), boxes, atol=1e-3)
    assert goal["heat"][1 - kind].max() == 0.0


def test_what_does_not_matter_has_no_weight_and_no_centre():
    goal = goal_of(plain_scene([[8, 8, 56, 56]], [False]))
    assert goal["weight"][0, 8, 8] == 0.0 and goal["weight"][0, 0, 0] == 1.0 and goal["heat"].max() == 0.0
    assert (goal["weight"][1] == 1.0).all()
    beside = goal_of(plain_scene([[8, 8, 56, 56], [20, 20, 32, 32]], [False, True]))
    assert beside["weight"][0, 6, 6] == 1.0 and beside["heat"][0, 6, 6] == 1.0


def test_a_perfect_answer_costs_nothing_and_a_missed_sign_does():
    _, goal = batch_of([plain_scene([[10, 20, 30, 44]], [True])])
    sharp = torch.where(goal["heat"] == 1.0, 12.0, -12.0)[:, :, None]

    def losses(heat, box):
        return losses_of(torch.cat([heat, box], 2).flatten(1, 2), goal)
    assert all(float(loss) < 1e-4 for loss in losses(sharp, goal["box"]))
    heat, box = losses(torch.full_like(sharp, -5.0), goal["box"] + 0.5)
    assert float(heat) > 4.0 and float(box) == pytest.approx(2.0, rel=1e-5)


def test_a_second_box_on_a_sign_is_wrong_and_one_on_what_does_not_matter_is_nothing():
    truth = np.array([[0, 0, 20, 20], [40, 40, 60, 60]], float)
    boxes = np.array([[1, 0, 20, 20], [0, 0, 20, 21], [41, 40, 60, 60], [80, 80, 90, 90]], float)
    right, matters = matched(boxes, truth, np.array([True, False]))
    assert right.tolist() == [True, False, False, False]
    assert matters.tolist() == [True, True, False, True]


def test_figures_of_a_blind_network_are_the_floor():
    torch.manual_seed(0)
    figures = judge(ScoutNet(TINY), [plain_scene([[10, 20, 30, 44]], [True])])
    assert figures["ap50"] < 0.05 and figures["recall"] == 0.0


@pytest.mark.slow
def test_an_interrupted_run_goes_on_bit_for_bit(config, tmp_path):
    whole = ScoutTraining(config)
    val = [plain_scene([[10, 20, 30, 44]], [True])]
    for _ in range(2):
        whole.epoch()
        whole.finish_epoch(judge(whole.mean, val))
    first = ScoutTraining(ScoutTrainConfig(**vars(config) | {"out": tmp_path / "cut"}))
    first.epoch()
    first.finish_epoch(judge(first.mean, val))
    second = ScoutTraining(ScoutTrainConfig(**vars(config) | {"out": tmp_path / "cut"}))
    assert second.step == 2
    second.epoch()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    with pytest.raises(CheckpointError, match="other settings"):
        ScoutTraining(ScoutTrainConfig(**vars(config) | {"seed": 1}))


def test_lights_can_be_learned_while_signs_stay_bit_for_bit(config, tmp_path):
    first = ScoutTraining(config)
    first.epoch()
    val = [plain_scene([[10, 20, 30, 44]], [True])]
    first.finish_epoch(judge(first.mean, val))
    stem = config.out / "scout"
    second = ScoutTraining(ScoutTrainConfig(**vars(config) | {"out": tmp_path / "lights", "signs": stem}))
    before = {name: value.clone() for name, value in second.model.state_dict().items()}
    second.epoch()
    kept, _ = checkpoint.load(stem)
    for name, value in second.model.state_dict().items():
        if name.startswith("lights."):
            assert value.dtype == torch.int64 or not torch.equal(value, before[name]), name
        else:
            assert torch.equal(value, kept[name].to(value.dtype)), name
            assert torch.allclose(second.mean.state_dict()[name], value), name


@pytest.mark.exhaustive
def test_the_command_learns_and_leaves_weights(config):
    result = scout_train.run(ScoutTrainConfig(**vars(config) | {"steps": 60, "epoch_steps": 30}))
    tensors, meta = checkpoint.load(config.out / "scout")
    assert result["steps"] == 60 and meta["kind"] == "scout" and tensors
    assert any((config.out / "tensorboard").iterdir())


def test_log_pixels_keep_contrast_in_the_dark():
    """Half the light is the same step down, in the sun and in deep shadow, within a third."""
    assert LOG_OF_PIXEL[200] - LOG_OF_PIXEL[100] == pytest.approx(LOG_OF_PIXEL[40] - LOG_OF_PIXEL[20], rel=0.33)


@pytest.mark.parametrize("change", [{"steps": 0}, {"batch": 0}, {"rate": float("nan")}, {"threads": 0}])
def test_bad_settings_are_refused(change):
    with pytest.raises(ConfigError):
        ScoutTrainConfig(**change)
