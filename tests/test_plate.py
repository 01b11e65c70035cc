"""A plate: shapes cover the area geometry says, at any size, and outlines are what cameras can take."""

import math

import cv2
import numpy as np
import pytest

from envs.plate import BLACK, OCTAGON, TIP_DOWN, TIP_UP, WHITE, Plate, arc, box, circle, mirrored, path, rounded, shrunk


def dark_share(plate: Plate) -> float:
    """How much of a white plate was painted black."""
    grey = plate.finish().astype(float).mean(axis=2)
    return float((np.mean(WHITE) - grey).mean() / (np.mean(WHITE) - np.mean(BLACK)))


@pytest.mark.parametrize("size_px", [8, 31, 128, 600])
@pytest.mark.parametrize(("paint", "area"), [
    (lambda plate: plate.fill(BLACK, box(0.2, 0.3, 0.7, 0.5)), 0.10),
    (lambda plate: plate.fill(BLACK, box(0.2, 0.2, 0.8, 0.8), box(0.4, 0.4, 0.6, 0.6)), 0.32),
    (lambda plate: plate.disc(BLACK, 0.5, 0.4, 0.3), 0.09 * math.pi),
    (lambda plate: plate.pen(BLACK, 0.1, [(0.2, 0.5), (0.8, 0.5)]), 0.06 + 0.0025 * math.pi),
    (lambda plate: plate.ribbon(BLACK, 0.1, [(0.2, 0.5), (0.8, 0.5)]), 0.06),
    (lambda plate: plate.ribbon(BLACK, 0.1, arc(0.5, 0.5, 0.3, 0.3, 0, 90)), 0.1 * 0.15 * math.pi),
    (lambda plate: plate.ribbon(BLACK, 0.2, [(0.1, 0.5), (0.9, 0.5)], (0.3, 0.0, 0.6, 1.0)), 0.06),
    (lambda plate: plate.arrow(BLACK, 0.1, [(0.5, 0.9), (0.5, 0.1)], (0.3, 0.2, 0.0, 0.3)), 0.05 + 0.06),
])
def test_shapes_cover_their_area(paint, area, size_px):
    plate = Plate(size_px)
    paint(plate)
    assert dark_share(plate) == pytest.approx(area, rel=0.05)  # cv2 paints pixels on the edge too
    assert plate.finish().shape == (size_px, size_px, 3)


def test_full_heads_are_triangles():
    """The same shaft, and a head that covers length x half width instead of two barbs."""
    barbed, full = Plate(128), Plate(128)
    full.has_full_heads = True
    for plate in (barbed, full):
        plate.arrow(BLACK, 0.1, [(0.5, 0.9), (0.5, 0.1)], (0.2, 0.2, 0.08, 0.13))
    length = 1.15 * 0.2
    assert dark_share(full) == pytest.approx(length * 0.2 + 0.1 * (0.8 - length), rel=0.05)
    assert dark_share(full) > dark_share(barbed)


def test_no_size_out_of_range():
    for size_px in (0, 7, 1025):
        with pytest.raises(ValueError, match=f"face size is {size_px}"):
            Plate(size_px)


def test_shrunk_outline_keeps_its_distance():
    """Every side moves inwards by the margin: the area shrinks by margin x girth to first order."""
    for outline in (OCTAGON, TIP_UP, TIP_DOWN):
        area, girth = cv2.contourArea(outline.astype(np.float32)), cv2.arcLength(outline.astype(np.float32), True)
        smaller = cv2.contourArea(shrunk(outline, 0.001).astype(np.float32))
        assert area - smaller == pytest.approx(0.001 * girth, rel=0.02)


def test_triangles_are_equilateral_and_mirror_each_other():
    for triangle in (TIP_UP, TIP_DOWN):
        np.testing.assert_allclose(np.hypot(*(triangle - np.roll(triangle, 1, 0)).T), 1.0, atol=1e-9)
    assert np.sort(TIP_UP[:, 1])[1] == pytest.approx(TIP_UP[:, 1].max()), "it stands on a side"
    np.testing.assert_allclose(mirrored(TIP_UP)[:, 1], TIP_UP[:, 1])


def test_rounded_corner_touches_its_sides():
    square = box(0.0, 0.0, 1.0, 1.0)
    soft = rounded(square, 0.1, 9)
    assert len(soft) == 36 and 0.98 < cv2.contourArea(soft.astype(np.float32)) < 1.0
    assert np.hypot(*(circle(12) - 0.5).T) == pytest.approx(0.5)
    assert path((0, 0), [(1, 1), (2, 2)]).shape == (3, 2)
