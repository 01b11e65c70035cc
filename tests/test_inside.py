"""Looking inside: heat where it belongs, calibration by hand, and a page on which file names stay words."""

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

import nanodrive
from envs.signs import SIGNS
from perception.glides import glide
from perception.inside import QUESTIONS, called_as, occlusion, saliency
from perception.model import frozen
from perception.perceiver import WEIGHTS, load_network
from tests.made_labels import blank, put


@pytest.fixture(scope="module")
def seen():
    model, camera = load_network(WEIGHTS)
    frames = glide(10_001, "clear", 1, camera)
    return frozen(model), frames


def test_boundaries_are_read_from_the_road_and_not_from_the_sky(seen):
    model, frames = seen
    command = torch.from_numpy(frames.labels["command"])
    view = frames.rgb[0]
    heat, hidden = saliency(model, view, command, "boundary"), occlusion(model, view, command)["boundary"]
    assert heat.shape == (160, 320) and hidden.shape == (9, 19)
    assert heat[80:].sum() > 2 * heat[:60].sum() and hidden[4:].sum() > 2 * hidden[:3].sum()


def test_signs_are_called_by_the_box_over_them():
    """Two signs and three claims: one right, one beside the sign, none on the second sign."""
    rows = blank(1)
    put(rows, "sign", 0, [100, 40, 120, 60], 9.0, **{"class": 5})
    put(rows, "sign", 1, [200, 40, 220, 60], 9.0, **{"class": 7})
    told = SimpleNamespace(sign_box_px=np.array([[[101, 40, 121, 60], [130, 40, 150, 60], [0, 0, 0, 0]]], float),
                           sign_class=np.array([[5, 7, -1]]))
    truth, called = called_as(told, rows)
    assert truth.tolist() == [5, 7] and called.tolist() == [5, len(SIGNS)]


@pytest.mark.slow
def test_the_page_shows_every_head_and_escapes_names(tmp_path, seen, capfd):
    path = tmp_path / "<b>street.png"
    cv2.imwrite(str(path), seen[1].rgb[0][..., ::-1])
    assert nanodrive.main(["perceive", "--inside", str(path), "--out", str(tmp_path / "out")]) == 0
    page = Path(json.loads(capfd.readouterr().out.strip().splitlines()[-1])["report"]).read_text()
    assert "<b>" not in page and "&lt;b&gt;street.png" in page
    assert page.count("data:image/png") >= 1 + 2 * len(QUESTIONS)


def test_bad_input(tmp_path, capfd):
    (tmp_path / "no.png").write_text("no")
    for arguments, said in [([], "no picture was named"), ([str(tmp_path / "no.png")], "is no readable image")]:
        assert nanodrive.main(["perceive", "--inside", *arguments]) == 2
        assert said in capfd.readouterr().err
