"""Heads for neighbour lanes, drivable ground and the own light: shapes, losses of the truth, figures by hand."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from envs.config import CameraConfig
from envs.labels import lane_rows
from envs.lane_lines import anchor_rows
from envs.roads.routes import navigation
from envs.state import Phase
from perception import surroundings
from perception.model import DriveNet
from perception.perceiver import Perceiver, joined
from perception.surroundings import Surroundings
from tests.made_labels import full


def labels(num=4):
    rng = np.random.default_rng(0)
    lanes = rng.uniform(0, 320, (num, 4, 32)).astype(np.float32)
    lanes[:, 3] = np.nan
    return {"lanes_px": lanes, "lane_marking": rng.integers(1, 4, (num, 4)),
            "drivable": rng.integers(0, 2, (num, 40, 80)).astype(np.uint8) * 255,
            "my_light": np.array([Phase.RED, Phase.GREEN, Phase.OFF, Phase.YELLOW])[:num],
            "light_is_mine": np.array([[True] + [False] * 3] * 2 + [[False] * 4] + [[True] * 4])[:num],
            "my_light_m": np.array([12.0, 30.0, np.inf, 50.0], np.float32)[:num]}


def oracle(truth):
    nothing = dict.fromkeys([field.name for field in fields(Surroundings)])
    return Surroundings(**nothing | truth | {"drivable": truth["drivable"] / 255})


def test_the_truth_scores_full_marks_and_a_green_for_red_is_counted():
    truth = labels()
    asked = truth.pop("light_is_mine")
    seen, truth = oracle(truth), truth | {"light_is_mine": asked}
    figures = surroundings.measure(seen, truth, 320)
    assert figures == {"lanes_f1": 1.0, "drivable_iou": 1.0, "my_light_right": 1.0, "red_called_green": 0.0}
    wrong = replace(seen, my_light=np.full(4, Phase.GREEN), lanes_px=truth["lanes_px"] + 5)
    figures = surroundings.measure(wrong, truth, 320)
    assert figures["my_light_right"] == 0.5, "of the red and the green one; that 50 m away is not judged"
    assert figures["red_called_green"] == 1.0
    assert figures["lanes_f1"] == 0.0, "5 px are more than 1.5 % of 320"


def test_a_light_that_cannot_be_seen_is_not_judged():
    truth = labels()
    truth["light_is_mine"][:] = False
    seen = oracle({name: value for name, value in truth.items() if name != "light_is_mine"})
    assert np.isnan(surroundings.measure(seen, truth, 320)["my_light_right"])


@pytest.mark.parametrize(("share", "called"), [
    ([0.1, 0.1, 0.0, 0.8, 0.0], Phase.GREEN), ([0.0, 0.3, 0.0, 0.7, 0.0], Phase.RED),
    ([0.0, 0.05, 0.2, 0.75, 0.0], Phase.RED), ([0.0, 0.1, 0.0, 0.3, 0.6], Phase.YELLOW), ([1, 0, 0, 0, 0], Phase.OFF)])
def test_green_is_called_only_where_red_is_far_less_likely(share, called):
    assert surroundings.called(np.array([share])).tolist() == [called]


def test_lines_between_rows_of_cells_are_straight():
    """Columns that grow evenly with the row are read without error at every anchor and every row of the own lane."""
    nodes = torch.from_numpy(0.2 + 0.5 * surroundings.NODE_ROWS).float()
    for rows in (anchor_rows(CameraConfig()) / 160, lane_rows(CameraConfig()) / 160):
        np.testing.assert_allclose(nodes @ surroundings._between(rows), 0.2 + 0.5 * rows, atol=1e-5)
    anchors = torch.from_numpy(0.2 + 0.5 * anchor_rows(CameraConfig()) / 160).float()
    np.testing.assert_allclose(surroundings._at_nodes(anchors[None, None], 160)[0, 0], nodes, atol=1e-5)


def test_a_line_is_as_sure_as_its_points_are_there_and_narrow():
    """Against Laplace's distribution, drawn: the share of a million points that lie within LINE_RIGHT."""
    spread, logit = np.array([[0.004, 0.02], [0.1, 0.1], [0.1, 0.1]]), np.array([[9.0, 9.0], [9.0, -2.0], [-2.0, -2.0]])
    is_given, sure = surroundings.points_of_lines(logit, np.log(spread))
    drawn = np.random.default_rng(0).laplace(0.0, 1.0, 1_000_000)
    right = [(np.abs(width * drawn) < surroundings.LINE_RIGHT).mean() for width in (0.004, 0.02, 0.1)]
    np.testing.assert_allclose(sure, [(right[0] + right[1]) / 2, right[2], 0.0], atol=2e-3)
    assert is_given.tolist() == [[True, True], [True, False], [False, False]]


def test_the_cell_of_the_own_light():
    asked = surroundings.targets({name: torch.from_numpy(value) for name, value in full(2).items()}, 320, 160)
    cell = (50 - 16) // 4 * 80 + 100 // 4
    assert asked["light_cells"].nonzero().tolist() == [[0, cell], [1, cell]]


def test_both_backends_say_the_same_and_shares_sum_to_one():
    frames = np.random.default_rng(1).integers(0, 255, (3, 160, 320, 3), dtype=np.uint8)
    command = np.tile(navigation(), (3, 1))
    told = []
    for backend in ("torch", "onnx"):
        torch.manual_seed(0)
        told.append(Perceiver(DriveNet(), backend=backend).perceive(frames, command).around)
    assert np.allclose(told[0].drivable, told[1].drivable, atol=1e-4)
    assert np.allclose(told[0].my_light_share.sum(1), 1, atol=1e-4)
    assert told[0].lanes_px.shape == (3, 4, 32) and told[0].drivable.shape == (3, 40, 80)


def test_percepts_that_were_recorded_have_nothing_around_them():
    frames = np.zeros((2, 160, 320, 3), np.uint8)
    percept = Perceiver(DriveNet()).perceive(frames, np.stack([navigation()] * 2))
    assert joined([percept, percept], slice(3)).around.lanes_px.shape == (3, 4, 32)
    bare = replace(percept, around=None)
    assert joined([bare, bare], slice(3)).around is None and not hasattr(bare, "my_light")
    assert len(joined([bare, bare], slice(3)).path_m) == 3


def test_the_own_lights_phase_is_read_from_the_light_that_attention_lies_on():
    """Attention of 0.6 on a green light and 0.2 on a red one, 0.2 on none; the cells said yellow."""
    phases = np.full((2, 8, 5), -9.0, np.float32)
    phases[:, 0, Phase.GREEN], phases[:, 1, Phase.RED] = 9.0, 9.0
    mine = np.array([[0.6, 0.2] + [0.0] * 6] * 2, np.float32)
    out = {"light_is_mine": mine, "light_none": np.full(2, 0.2, np.float32),
           "light_share": np.eye(5, dtype=np.float32)[[Phase.YELLOW] * 2] * 0.8, "light_phases": phases}
    is_read = np.array([[True] * 2 + [False] * 6, [False] * 8])
    share = surroundings.own_phase(out, is_read)
    assert share[0, [Phase.GREEN, Phase.RED]] == pytest.approx([0.6, 0.2], abs=1e-4), "0.8 divided as attention is"
    assert share[1] == pytest.approx(out["light_share"][1]), "what nobody looked at again stays as it was"
