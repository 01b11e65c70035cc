"""Looking inside: heat where it belongs, calibration by hand, and a page on which file names stay words."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import nanodrive
from perception.glides import glide
from perception.inside import QUESTIONS, occlusion, reliability, saliency
from perception.model import frozen, glance_of
from perception.perceiver import WEIGHTS, load_network


@pytest.fixture(scope="module")
def seen():
    model, camera = load_network(WEIGHTS)
    frames = glide(10_001, "clear", 1, camera)
    return frozen(model), frames, glance_of(torch.from_numpy(frames.rgb)).contiguous()


def test_boundaries_are_read_from_the_road_and_not_from_the_sky(seen):
    model, frames, glance = seen
    command = torch.from_numpy(frames.labels["command"])
    heat, hidden = saliency(model, glance, command, "boundary"), occlusion(model, glance, command)["boundary"]
    assert heat.shape == (80, 160) and hidden.shape == (9, 19)
    assert heat[40:].sum() > 2 * heat[:30].sum() and hidden[4:].sum() > 2 * hidden[:3].sum()


def test_reliability_by_hand():
    sure, holds, count, error = reliability(np.array([0.95, 0.95, 0.15, 0.15]), np.array([1, 0, 0, 0]))
    assert count.tolist() == [0, 2, 0, 0, 0, 0, 0, 0, 0, 2]
    assert (sure[9], holds[9], holds[1]) == pytest.approx((0.95, 0.5, 0.0))
    assert error == pytest.approx((0.45 + 0.15) / 2)


def test_the_page_shows_every_head_and_escapes_names(tmp_path, seen, capfd):
    path = tmp_path / "<b>street.png"
    cv2.imwrite(str(path), seen[1].rgb[0][..., ::-1])
    assert nanodrive.main(["perceive", "--inside", str(path), "--out", str(tmp_path / "out")]) == 0
    page = Path(json.loads(capfd.readouterr().out.strip().splitlines()[-1])["report"]).read_text()
    assert "<b>" not in page and "&lt;b&gt;street.png" in page
    assert page.count("data:image/png") == 1 + 2 * len(QUESTIONS) + 4


def test_bad_input(tmp_path, capfd):
    (tmp_path / "no.png").write_text("no")
    for arguments, said in [([], "no picture was named"), ([str(tmp_path / "no.png")], "is no readable image")]:
        assert nanodrive.main(["perceive", "--inside", *arguments]) == 2
        assert said in capfd.readouterr().err
