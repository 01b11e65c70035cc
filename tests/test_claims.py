"""Claims with confidences: what holds is told right, maps change how sure a percept is and nothing else."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from envs.roads.routes import navigation
from envs.state import Phase
from perception.claims import claims_of
from perception.model import DriveNet
from perception.perceiver import Perceiver, calibrated
from tests.made_labels import full

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 160, 320, 3), np.uint8)


@pytest.fixture(scope="module")
def percept():
    torch.manual_seed(0)
    return Perceiver(DriveNet()).perceive(FRAMES, np.tile(navigation(), (3, 1)))


def filled(percept, labels, phase=Phase.RED, shift=0.0):
    """The percept, told the first of each kind of thing of the labels, moved aside."""
    def first(values, row, blank):
        rows = np.full((3, 8, *row.shape[1:]), blank, values.dtype)
        rows[:, 0] = row
        return rows
    changes = {"my_light": np.full(3, phase), "light_phase": first(percept.light_phase, np.full(3, phase), -1)}
    for kind in ("light", "vehicle", "person"):
        changes[f"{kind}_box_px"] = first(percept.light_box_px, labels[f"{kind}_box_px"][:, 0] + shift, 0)
        changes[f"{kind}_confidence"] = first(percept.light_confidence, np.full(3, 0.8), 0)
    signs = {"sign_box_px": first(percept.sign_box_px, labels["sign_box_px"][:, 0] + shift, 0),
             "sign_class": first(percept.sign_class, labels["sign_class"][:, 0], -1),
             "sign_confidence": first(percept.sign_confidence, np.full(3, 0.7), 0)}
    return replace(percept, around=replace(percept.around, **changes), **signs)


def test_true_claims_hold_and_others_do_not(percept):
    labels = full(3)
    for shift, holds in ((0.0, True), (60.0, False)):
        claims = claims_of(filled(percept, labels, shift=shift), labels, 320)
        for head in ("sign", "light", "vehicle", "person"):
            assert claims[head][1].tolist() == [holds] * 3, head
    assert claims_of(filled(percept, labels), labels, 320)["my_light"][1].all()
    wrong = claims_of(filled(percept, labels, Phase.GREEN), labels, 320)
    assert not wrong["my_light"][1].any() and not wrong["light"][1].any() and wrong["vehicle"][1].all()


def test_maps_change_confidences_and_nothing_else(percept):
    seen = filled(percept, full(3))
    new = calibrated(seen, {"vehicle": (1.0, -2.0), "my_light": (3.0, 0.0)})
    assert (new.around.vehicle_confidence[:, 0] < 0.5).all() and (new.around.vehicle_confidence[:, 1:] == 0).all()
    assert np.allclose(new.around.my_light_share.sum(1), 1, atol=1e-5)
    assert np.array_equal(new.around.light_confidence, seen.around.light_confidence)
    for field in fields(seen.around):
        if "confidence" not in field.name and field.name != "my_light_share":
            assert getattr(new.around, field.name) is getattr(seen.around, field.name)
    assert calibrated(seen, {}) is seen


def test_paths_lines_and_ground_hold_where_they_are_true(percept):
    """The truth holds; a path 0.5 m aside, lines 8 px aside and ground for air do not, a line 2 px aside does."""
    labels = full(3)
    labels["lanes_px"][:, 3] = np.nan
    around = replace(percept.around, lanes_px=labels["lanes_px"], drivable=labels["drivable"] / np.float32(255),
                     lane_confidence=np.full((3, 4), 0.9, np.float32))
    true = replace(percept, path_m=labels["path_m"], boundaries_px=labels["boundaries_px"], around=around)
    claims = claims_of(true, labels, 320)
    assert all(claims[head][1].all() for head in ("path", "boundary", "lane"))
    assert len(claims["lane"][0]) == 9, "a line that is not told claims nothing"
    assert np.array_equal(claims["drivable"][0] > 0.5, claims["drivable"][1])
    labels["path_m"] = np.cumsum(np.ones((3, 12, 2), np.float32) * [2.0, 0.0], 1).astype(np.float32)
    aside = replace(true, path_m=labels["path_m"] + np.array([0.0, 0.5], np.float32),
                    boundaries_px=true.boundaries_px + 2, around=replace(around, lanes_px=around.lanes_px + 8))
    claims = claims_of(aside, labels, 320)
    assert not claims["path"][1].any() and not claims["lane"][1].any() and claims["boundary"][1].all()
