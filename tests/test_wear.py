"""Wear: each parameter does to a face what its name says, the same every time and at every size."""

import dataclasses
import math

import cv2
import numpy as np
import pytest

from envs.signs import SIGN_INDEX, SIGNS, face
from envs.wear import Wear, leaning, worn

STOP, LIMIT = SIGN_INDEX["stop"], SIGN_INDEX["limit_50"]
CHANGES = {"fading": 0.6, "dirt": 0.6, "stickers": 2, "scratches": 3, "roll_rad": 0.08}


def chroma(picture: np.ndarray) -> float:
    return float(np.ptp(picture.astype(int), axis=2).mean())


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("row", [STOP, LIMIT])
def test_each_kind_of_wear_shows(row, name):
    clean, changed = (face(row, 64, Wear(seed=3, **change)).astype(int) for change in ({}, {name: CHANGES[name]}))
    assert 0.4 < np.abs(clean - changed).mean() < 60.0, "seen, and still a sign"


def test_fading_takes_colour_and_dirt_takes_light():
    clean = face(STOP, 64)
    levels = [chroma(face(STOP, 64, Wear(fading=share))) for share in (0.0, 0.3, 0.6, 0.9)]
    assert sorted(levels, reverse=True) == levels and levels[3] < 0.6 * levels[0]
    white = [face(LIMIT, 64, Wear(dirt=share, seed=1)).mean() for share in (0.0, 0.4, 0.8)]
    assert white[0] > white[1] > white[2]
    assert worn(clean, Wear()) is clean, "nothing to do"


def test_dirt_gathers_below():
    dirty = np.mean([face(LIMIT, 128, Wear(dirt=0.7, seed=k)) for k in range(12)], axis=0)
    darker = face(LIMIT, 128) - dirty
    assert darker[80:110].mean() > 1.3 * darker[20:50].mean()


def test_wear_is_repeatable_and_its_seed_moves_it():
    wear = Wear(dirt=0.5, stickers=1, scratches=2, seed=5)
    first = worn(face(LIMIT, 64), wear)
    assert (worn(face(LIMIT, 64), wear) == first).all()
    assert (worn(face(LIMIT, 64), dataclasses.replace(wear, seed=6)) != first).any()


def test_wear_lies_in_the_same_place_at_every_size():
    wear = Wear(dirt=0.6, stickers=2, fading=0.3, seed=4)
    small, large = face(LIMIT, 64, wear), face(LIMIT, 256, wear)
    assert np.abs(cv2.resize(large, (64, 64), interpolation=cv2.INTER_AREA).astype(int) - small).mean() < 6.0


def test_a_sign_leans_clockwise():
    """Turned by 10 degrees, the upper tip of a triangle moves to the right, and the face with its outline."""
    row = SIGN_INDEX["deer"]
    outline, shrink = leaning(SIGNS[row].outline, math.radians(10))
    assert outline[outline[:, 1].argmin(), 0] > 0.55 and 1.0 < shrink < 1.3
    inside = np.zeros((128, 128), np.uint8)
    cv2.fillConvexPoly(inside, np.round(outline * 128 * 16).astype(np.int32), 255, shift=4)
    picture = face(row, 128, Wear(roll_rad=math.radians(10))).astype(int)
    red = (picture[..., 0] > picture[..., 1] + 60) & (picture[..., 0] > picture[..., 2] + 60)
    assert red.sum() > 1500 and not (red & (cv2.dilate(inside, np.ones((3, 3))) == 0)).any()


def test_looks_are_drawn_within_their_ranges():
    looks = [Wear.draw(np.random.default_rng(k)) for k in range(200)]
    assert all(0 <= look.fading <= 0.75 and 0 <= look.dirt <= 0.7 for look in looks)
    assert 0.3 < np.mean([look.roll_rad == 0 for look in looks]) < 0.7
    assert max(abs(look.roll_rad) for look in looks) <= math.radians(6)
