"""Signs: every row of the table is its GTSRB class, can be told from the others, and says what it binds to."""

import cv2
import numpy as np
import pytest

from envs.render.polygons import MOST_CORNERS
from envs.roads.network import Command
from envs.signs import LOOKS, SIGN_INDEX, SIGNS, Duty, face, look_of, outline_of

ROWS = pytest.mark.parametrize("row", range(len(SIGNS)), ids=[sign.name for sign in SIGNS])
# GTSRB's own names of its classes, shortened (Stallkamp et al. 2012, table of classes).
GTSRB = [
    "limit_20", "limit_30", "limit_50", "limit_60", "limit_70", "limit_80", "end_80", "limit_100", "limit_120",
    "no_overtaking", "no_overtaking_lorries", "priority_ahead", "priority_road", "yield", "stop", "closed",
    "no_lorries", "no_entry", "caution", "curve_left", "curve_right", "double_curve", "bumps", "slippery",
    "narrowing", "roadworks", "lights", "pedestrians", "children", "bicycles", "snow", "deer", "end_of_all",
    "only_right", "only_left", "only_straight", "straight_or_right", "straight_or_left", "keep_right", "keep_left",
    "roundabout", "end_no_overtaking", "end_no_overtaking_lorries",
]


def masked(row: int, size_px: int) -> np.ndarray:
    """A face on grey, as it looks where only its outline shows."""
    outside = np.ones((size_px, size_px), np.uint8)
    cv2.fillConvexPoly(outside, np.round(SIGNS[row].outline * size_px * 16).astype(np.int32), 0, shift=4)
    picture = face(row, size_px).copy()
    picture[outside > 0] = 128
    return picture


def test_rows_are_the_43_classes_of_gtsrb():
    assert [sign.name for sign in SIGNS] == GTSRB
    assert [sign.gtsrb_class for sign in SIGNS] == list(range(43))


@ROWS
def test_outline_is_a_convex_part_of_the_unit_square(row):
    outline = SIGNS[row].outline
    edge = np.roll(outline, -1, 0) - outline
    turn = edge[:, 0] * np.roll(edge, -1, 0)[:, 1] - edge[:, 1] * np.roll(edge, -1, 0)[:, 0]
    assert (turn > -1e-9).all() or (turn < 1e-9).all()
    assert len(outline) <= MOST_CORNERS, "no more corners than the rasteriser takes"
    assert outline.min() >= -1e-9 and outline.max() <= 1 + 1e-9
    assert cv2.contourArea(outline.astype(np.float32)) > 0.4, "a sign fills its square"
    assert 0.5 < SIGNS[row].size_m < 1.0


def test_small_faces_are_read_by_the_nearest_template():
    """Seen 24 px wide, dim and noisy, each sign is still nearest to its own template (correlation of colours)."""
    size_px, rng = 24, np.random.default_rng(24)
    templates = np.stack([masked(k, size_px) for k in range(len(SIGNS))]).astype(float)
    templates -= templates.mean(axis=(1, 2), keepdims=True)
    templates /= np.sqrt((templates ** 2).sum(axis=(1, 2, 3), keepdims=True))
    for row in range(len(SIGNS)):
        dim = cv2.resize(masked(row, 128), (size_px, size_px), interpolation=cv2.INTER_AREA) * 0.6
        for _ in range(5):
            seen = dim + rng.normal(0, 5, dim.shape)
            assert (templates * (seen - seen.mean(axis=(0, 1)))).sum(axis=(1, 2, 3)).argmax() == row, GTSRB[row]


@pytest.mark.parametrize("size_px", [12, 16])
def test_kinds_of_signs_are_told_apart_when_very_small(size_px):
    """One of each shape and colour, at a size where numbers are blurs."""
    rows = [SIGN_INDEX[name] for name in (
        "limit_50", "yield", "stop", "priority_road", "no_entry", "deer", "keep_right", "end_of_all", "limit_100")]
    rng = np.random.default_rng(size_px)
    templates = np.stack([masked(row, size_px) for row in rows]).astype(float)
    templates -= templates.mean(axis=(1, 2), keepdims=True)
    templates /= np.sqrt((templates ** 2).sum(axis=(1, 2, 3), keepdims=True))
    for k, row in enumerate(rows):
        dim = cv2.resize(masked(row, 128), (size_px, size_px), interpolation=cv2.INTER_AREA) * 0.6
        for _ in range(20):
            seen = dim + rng.normal(0, 12, dim.shape)
            assert (templates * (seen - seen.mean(axis=(0, 1)))).sum(axis=(1, 2, 3)).argmax() == k


def test_limits_name_their_speed_in_si_units():
    for sign in SIGNS:
        if sign.speed_mps is not None:
            number = str(round(sign.speed_mps * 3.6))
            assert sign.name == f"limit_{number}" and f" {number} km/h" in sign.meaning
    assert SIGNS[SIGN_INDEX["limit_50"]].speed_mps == pytest.approx(13.888888)
    assert SIGNS[SIGN_INDEX["end_80"]].speed_mps is None, "where a limit ends none begins"
    assert SIGNS[SIGN_INDEX["end_80"]].order.speed_mps == pytest.approx(22.222222)


def test_what_signs_bind_to():
    """Triangles warn, but for the two about priority; blue arrows name the ways that are left."""
    warns = {sign.gtsrb_class for sign in SIGNS if sign.order.duty == Duty.WARNING}
    assert warns == set(range(18, 32))
    turns = {sign.gtsrb_class: set(sign.order.turns) for sign in SIGNS if sign.order.duty == Duty.TURN}
    left, right, straight = Command.LEFT, Command.RIGHT, Command.STRAIGHT
    assert turns == {33: {right}, 34: {left}, 35: {straight}, 36: {straight, right}, 37: {straight, left}}
    duties = [sign.order.duty for sign in SIGNS if sign.order.duty not in (Duty.WARNING, Duty.LIMIT, Duty.TURN)]
    assert len(duties) == len(set(duties)) == len(Duty) - 3, "every other duty has one sign"


def test_looks_are_drawn_once_and_differ():
    for row in (2, 14):
        looks = [look_of(row, look) for look in range(LOOKS)]
        assert len(set(looks)) == LOOKS and looks[0].fading == looks[0].dirt == looks[0].roll_rad == 0
        assert look_of(row, 3) is looks[3]
        assert any(look.roll_rad for look in looks) and not all(look.roll_rad for look in looks)


@pytest.mark.parametrize("name", ["limit_50", "stop", "yield", "deer", "priority_road"])
def test_leaning_sign_keeps_its_size_and_fits_its_texture(name):
    """A plate that leans is the same plate: turned, not smaller, and inside its picture."""
    row = SIGN_INDEX[name]
    area = cv2.contourArea(SIGNS[row].outline.astype(np.float32)) * SIGNS[row].size_m ** 2
    for look in range(LOOKS):
        outline, size_m = outline_of(row, look)
        assert outline.min() >= -1e-9 and outline.max() <= 1 + 1e-9
        assert cv2.contourArea(outline.astype(np.float32)) * size_m ** 2 == pytest.approx(area, rel=1e-4)
