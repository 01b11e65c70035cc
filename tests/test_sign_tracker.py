"""Signs followed from look to look: a wrong look is outvoted, neighbours keep apart, what is gone is forgotten."""

from types import SimpleNamespace

import numpy as np
import pytest

from envs.config import CameraConfig
from envs.state import Phase
from envs.weather import WEATHERS
from perception.glides import glide
from perception.passing import Passed, judge_drives
from perception.sign_tracker import PATIENCE, SignTracker

TOWN, LOOKS = 10_004, 250


def box(u, v, size):
    return np.array([u - size / 2, v - size / 2, u + size / 2, v + size / 2], np.float32)


def approach(tracker, names, start=(200.0, 60.0, 6.0), beside=None):
    """A sign that grows by 8 % a look and moves out to the right; `names`: what each look reads."""
    u, v, size = start
    for k, name in enumerate(names):
        grown = 1.08**k
        boxes, classes = [box(160 + (u - 160) * grown, 80 + (v - 80) * grown, size * grown)], [name]
        if beside is not None:
            boxes.append(box(160 + (u - 160) * grown, 80 + (v - 80 - 8) * grown, size * grown))
            classes.append(beside)
        tracker.update(np.array(boxes), np.array(classes), np.full(len(boxes), 0.8))
    return tracker


def test_a_sign_keeps_its_name_against_wrong_looks():
    tracker = approach(SignTracker(320), [7, 8, 7, 7, 3, 7, 7, 8, 7, 7])
    assert [sign.sign_class for sign in tracker.signs] == [7]
    assert 0.5 < tracker.signs[0].confidence < 1.0


def test_large_looks_outvote_small_ones():
    tracker = approach(SignTracker(320), [8] * 10 + [7] * 12)
    assert [sign.sign_class for sign in tracker.signs] == [7]


def test_two_signs_on_one_post_do_not_mix():
    tracker = approach(SignTracker(320), [7] * 15, beside=14)
    assert sorted(sign.sign_class for sign in tracker.signs) == [7, 14]
    assert all(sign.confidence == pytest.approx(1.0) for sign in tracker.signs)


def test_the_lower_sign_does_not_become_the_upper_one_that_was_not_seen():
    """Close before the post the lower sign of two moves up by its own height between two looks."""
    tracker = SignTracker(320)
    for k, v in enumerate((60.0, 56.0, 51.0, 45.0, 37.0, 27.0)):
        size, upper = 8.0 * 1.12**k, k not in (3, 5)
        boxes = [box(230 + 6 * k, v, size), *([box(230 + 6 * k, v - size, size)] if upper else [])]
        tracker.update(np.array(boxes), np.array([7, 14][:len(boxes)]), np.full(len(boxes), 0.8))
    assert sorted(sign.sign_class for sign in tracker.signs) == [7, 14]
    assert all(sign.confidence == pytest.approx(1.0) for sign in tracker.signs)


def test_a_sign_is_expected_where_its_motion_leads():
    tracker = SignTracker(320)
    for k in range(4):
        tracker.update(box(200 + 5 * k, 60 - 3 * k, 10)[None], np.array([7]), np.array([0.9]))
    tracker.update(np.zeros((1, 4), np.float32), np.array([-1]), np.zeros(1))
    assert tracker.signs[0].expected_px == pytest.approx(box(225, 45, 10), abs=0.5)


def test_a_missed_look_is_bridged_and_a_lost_sign_forgotten():
    tracker = approach(SignTracker(320), [7] * 5)
    nothing = np.zeros((1, 4), np.float32), np.array([-1]), np.zeros(1)
    tracker.update(*nothing)
    assert len(tracker.signs) == 1 and tracker.signs[0].missed == 1
    for _ in range(PATIENCE):
        tracker.update(*nothing)
    assert tracker.signs == []


def test_what_is_seen_and_has_no_name_votes_for_none():
    tracker = approach(SignTracker(320), [-1, -1, 7, -1])
    assert [sign.sign_class for sign in tracker.signs] == [-1]


def test_in_a_bend_signs_move_aside_by_more_than_their_size():
    """As two on one post moved on a drive, 19 to 25 px a look: each stays one sign, and keeps its name where the border
    cuts it and another name is read."""
    tracker = SignTracker(320)
    for u, v, size in ((208, 63, 8.5), (227, 61, 9.5), (246, 60, 10), (270, 57, 11.5), (294, 54, 13.5)):
        boxes = np.array([box(u, v, size), box(u, v - 1.1 * size, size)])
        tracker.update(boxes, np.array([10, 7]), np.array([0.99, 0.73]))
    assert [sign.sign_class for sign in tracker.signs] == [10, 7]
    tracker.update(np.array([[314, 53, 322, 65]], np.float32), np.array([7]), np.array([0.05]))
    assert [(sign.sign_class, sign.missed) for sign in tracker.signs] == [(10, 0), (7, 1)]


def test_what_was_seen_once_does_not_reach_for_what_comes_later():
    """As on a drive: a mistake of one look, between two signs on a post, is not taken for one of them four looks later,
    where the border cuts it."""
    tracker = SignTracker(320)
    upper = [(222, 39, 235, 51), (228, 35, 243, 48), (236, 29, 253, 45), (245, 22, 265, 40), (257, 14, 280, 35),
             (274, 1, 302, 28)]
    lower = [(222, 53, 236, 66), (228, 50, 244, 64), (236, 48, 253, 62), (245, 41, 266, 60), (258, 36, 281, 57),
             (277, 29, 302, 53)]
    for k, pair in enumerate(zip(upper, lower, strict=True)):
        boxes, names = [*pair, *([(233, 39, 255, 59)] if k == 2 else [])], [2, 9, 22]
        tracker.update(np.array(boxes, np.float32), np.array(names[:len(boxes)]), np.full(len(boxes), 0.99))
    tracker.update(np.array([(299, 20, 324, 45), (303, 9, 317, 24), (302, -5, 320, 14)], np.float32),
                   np.array([9, 20, 1]), np.array([0.95, 0.22, 0.02]))
    assert [sign.sign_class for sign in tracker.signs if not sign.missed] == [2, 9]


def test_another_sign_far_away_is_another():
    tracker = SignTracker(320)
    for at in ((100, 60), (250, 60)):
        tracker.update(np.array([box(*at, 10)]), np.array([7]), np.array([0.9]))
    assert len(tracker.signs) == 2


def test_a_sign_that_leaves_the_picture_keeps_the_name_it_had():
    """Its last looks are its largest, and show half of it: as a triangle cut down its middle, read as another one."""
    tracker = SignTracker(320)
    for *at, size in ((231, 61, 21), (240, 57, 25), (254, 55, 30), (268, 52, 34), (291, 44, 37)):
        tracker.update(box(*at, size)[None], np.array([19]), np.array([0.98]))
    half = np.array([[296, 36, 317, 57]], np.float32)  # as it was found on a drive: of a sign from 300 on
    tracker.update(half, np.array([21]), np.array([0.6]))
    assert [sign.sign_class for sign in tracker.signs] == [19]
    tracker = SignTracker(320)
    tracker.update(half, np.array([21]), np.array([0.6]))
    assert [sign.sign_class for sign in tracker.signs] == [21], "what comes into view at the border is new"


@pytest.fixture(scope="module")
def drive():
    """A drive past several signs."""
    camera = CameraConfig()
    return camera, glide(TOWN, next(iter(WEATHERS)), LOOKS, camera)


def told(drive, name=lambda row: row, light=lambda phase: phase, aside_m=0.0):
    """A perceiver that says the labels of the drive, through `name` and `light`, its path so far to the left."""
    camera, frames = drive
    step = {rgb.tobytes(): k for k, rgb in enumerate(frames.rgb)}

    def perceive(rgb, command):
        rows = [step[picture.tobytes()] for picture in rgb]
        classes = frames.labels["sign_class"][rows]
        shares = np.eye(5)[light(frames.labels["my_light"][rows])]
        path = frames.labels["path_m"][rows] + np.float32([0.0, aside_m])
        return SimpleNamespace(
            path_m=path, sign_box_px=frames.labels["sign_box_px"][rows],
            sign_class=np.where(classes >= 0, name(classes), -1),
            sign_confidence=(classes >= 0).astype(float), around=SimpleNamespace(my_light_share=shares),
            sign_distance_m=frames.labels["sign_distance_m"][rows], sign_bearing_rad=np.zeros(classes.shape),
            stop_m=np.full(len(rows), 40.0), stop_confidence=np.zeros(len(rows)))

    return SimpleNamespace(camera=camera, perceive=perceive)


def test_who_reads_every_sign_passes_all_of_them_rightly(drive):
    passed = judge_drives(told(drive), [TOWN], LOOKS)
    assert passed.signs >= 3 and passed.signs_right == passed.signs
    assert passed.lights_right >= passed.lights - 6, "a change of phase is believed after two or three looks"
    assert passed.reds_called_green == 0
    assert (passed.frames, passed.lateral_m, passed.heading_deg) == (LOOKS, 0.0, 0.0)
    assert passed.remembered_lateral_m < 0.002 * LOOKS and passed.remembered_heading_deg < 0.02 * LOOKS


@pytest.mark.slow
def test_wrong_names_and_green_for_red_are_counted(drive):
    def green(phase):
        return np.full_like(phase, Phase.GREEN)

    wrong = judge_drives(told(drive, lambda row: (row + 1) % 43, green), [TOWN], LOOKS)
    assert wrong.signs_right == 0 and wrong.reds_called_green == wrong.reds
    blind = judge_drives(told(drive, lambda row: np.full_like(row, -1)), [TOWN], LOOKS)
    assert blind.signs == wrong.signs and blind.signs_right == 0


def test_the_path_on_drives_is_judged_in_metres_and_degrees(drive):
    """Half a metre to the left of a way that bends little: up to that far aside, and hardly turned."""
    figures = judge_drives(told(drive, aside_m=0.5), [TOWN], LOOKS).figures()
    assert 0.4 < figures["path_lateral_m_on_drives"] <= 0.5 and figures["path_heading_deg_on_drives"] < 1e-3
    assert 0.4 < figures["path_lateral_m_remembered"] <= 0.5 and figures["path_heading_deg_remembered"] < 0.02


def test_shares_of_nothing_are_nan():
    figures = Passed(0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0).figures()
    assert all(np.isnan(value) for value in figures.values())
    assert Passed(4, 3, 10, 9, 5, 1, 100, 5.0, 50.0, 4.0, 30.0).figures() == {
        "signs_right_when_passed": 0.75, "my_light_on_drives": 0.9, "red_called_green_on_drives": 0.2,
        "path_lateral_m_on_drives": 0.05, "path_heading_deg_on_drives": 0.5,
        "path_lateral_m_remembered": 0.04, "path_heading_deg_remembered": 0.3}
