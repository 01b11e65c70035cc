"""Heads for neighbour lanes, drivable ground and the own light: shapes, losses of the truth, figures by hand."""

import numpy as np
import pytest
import torch

from envs.state import Phase
from perception import surroundings
from perception.model import DriveNet, ModelConfig
from perception.perceiver import Perceiver, joined
from perception.surroundings import Surroundings


def labels(num=4):
    rng = np.random.default_rng(0)
    lanes = rng.uniform(0, 320, (num, 4, 32)).astype(np.float32)
    lanes[:, 3] = np.nan
    return {"lanes_px": lanes, "lane_marking": rng.integers(1, 4, (num, 4)),
            "drivable": rng.integers(0, 2, (num, 40, 80)).astype(np.uint8) * 255,
            "my_light": np.array([Phase.RED, Phase.GREEN, Phase.OFF, Phase.YELLOW])[:num],
            "light_box_px": np.tile(np.array([96, 40, 104, 60], np.float32), (num, 4, 1)),
            "light_is_mine": np.array([[True] + [False] * 3] * 2 + [[False] * 4] * 2)[:num],
            "my_light_m": np.array([12.0, 30.0, np.inf, 50.0], np.float32)[:num]}


def oracle(truth):
    return Surroundings(truth["lanes_px"], np.ones((4, 4)), truth["lane_marking"], truth["drivable"] / 255,
                        truth["my_light"], np.eye(5)[truth["my_light"]], truth["my_light_m"])


def test_the_truth_scores_full_marks_and_a_green_for_red_is_counted():
    truth = labels()
    figures = surroundings.measure(oracle(truth), truth, 320)
    assert figures == {"lanes_f1": 1.0, "drivable_iou": 1.0, "my_light_right": 1.0, "red_called_green": 0.0}
    wrong = oracle(truth | {"my_light": np.full(4, Phase.GREEN), "lanes_px": truth["lanes_px"] + 5})
    figures = surroundings.measure(wrong, truth, 320)
    assert figures["my_light_right"] == 0.5, "of the red and the green one; that 50 m away is not judged"
    assert figures["red_called_green"] == 1.0
    assert figures["lanes_f1"] == 0.0, "5 px are more than 1.5 % of 320"


def test_losses_are_small_for_the_truth():
    truth = {name: torch.from_numpy(np.asarray(value)) for name, value in labels().items()}
    asked = surroundings.targets(truth, 320)
    outputs = {
        "lanes": asked["lanes"], "lanes_logit": 40 * asked["lanes_seen"] - 20,
        "marking_logits": 20 * torch.nn.functional.one_hot(asked["marking"].clamp(min=0), 5).float(),
        "drivable_logit": 40 * asked["drivable"] - 20,
        "light_share": torch.nn.functional.one_hot(truth["my_light"], 5).float() * asked["has_light"][:, None],
        "light_none": 1 - asked["has_light"],
        "light_cells": asked["light_cells"], "light": asked["light_m"] / 10 - 3}
    assert asked["light_cells"][0].nonzero().tolist() == [[6 * 40 + 12]], "50 px down and 100 across, in cells of 8"
    for loss in (surroundings.lanes_loss, surroundings.drivable_loss, surroundings.light_loss):
        assert float(loss(outputs, asked)) == pytest.approx(0, abs=1e-4)


def test_both_backends_say_the_same_and_shares_sum_to_one():
    frames = np.random.default_rng(1).integers(0, 255, (3, 160, 320, 3), dtype=np.uint8)
    command = np.tile(np.array([1, 0, 0, 0, 60], np.float32), (3, 1))
    told = []
    for backend in ("torch", "onnx"):
        torch.manual_seed(0)
        told.append(Perceiver(DriveNet(ModelConfig(has_surroundings=True)), backend=backend).perceive(
            frames, command).around)
    assert np.allclose(told[0].drivable, told[1].drivable, atol=1e-4)
    assert np.allclose(told[0].my_light_share.sum(1), 1, atol=1e-4)
    assert told[0].lanes_px.shape == (3, 4, 32) and told[0].drivable.shape == (3, 40, 80)


def test_weights_from_before_these_heads_say_nothing_of_them():
    percept = Perceiver(DriveNet(ModelConfig())).perceive(np.zeros((2, 160, 320, 3), np.uint8),
                                                         np.zeros((2, 5), np.float32))
    assert percept.around is None
    assert joined([percept, percept], 3).around is None
    assert len(joined([percept, percept], 3).path_m) == 3
