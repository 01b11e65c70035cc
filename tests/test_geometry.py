"""Geometry against closed forms, brute force and shapely."""

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import geometry

few = settings(max_examples=60, deadline=None)
coordinate = st.floats(-500.0, 500.0)
angle = st.floats(-20.0, 20.0)
pose = st.tuples(coordinate, coordinate, angle).map(np.array)


def arc(radius_m: float, angle_rad: float, count: int = 200) -> np.ndarray:
    """A left turn from the origin, at first along x."""
    turned = np.linspace(0.0, angle_rad, count)
    return radius_m * np.column_stack([np.sin(turned), 1 - np.cos(turned)])


def wavy(seed: int, count: int = 80) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.normal([1.5, 0.0], 1.0, (count, 2)), axis=0)


@few
@given(angle)
def test_wrapped_angle_is_the_same_direction_in_half_open_range(value):
    wrapped = float(geometry.wrap_angle(value))
    assert -math.pi < wrapped <= math.pi
    assert math.cos(wrapped) == pytest.approx(math.cos(value), abs=1e-9)
    assert math.sin(wrapped) == pytest.approx(math.sin(value), abs=1e-9)


def test_half_turn_wraps_to_plus_pi():
    assert geometry.wrap_angle(-math.pi) == math.pi
    assert geometry.wrap_angle(3 * math.pi) == pytest.approx(math.pi)


@few
@given(pose, st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=5).map(np.array))
def test_ego_and_world_frames_are_inverse(frame, points):
    there = geometry.ego_from_world(frame, points)
    np.testing.assert_allclose(geometry.world_from_ego(frame, there), points, atol=1e-8)


def test_car_facing_north_sees_east_on_its_right():
    ahead, right = geometry.ego_from_world(np.array([10.0, 5.0, math.pi / 2]), np.array([[10.0, 8.0], [12.0, 5.0]]))
    np.testing.assert_allclose([ahead, right], [[3.0, 0.0], [0.0, -2.0]], atol=1e-12)


def test_arc_has_its_length_headings_and_offsets():
    line = arc(50.0, 2.0)
    assert geometry.stations(line)[-1] == pytest.approx(100.0, rel=1e-4)
    np.testing.assert_allclose(geometry.headings(line)[1:-1], np.linspace(0.0, 2.0, 200)[1:-1], atol=1e-6)
    inner = geometry.offset_polyline(line, 3.0)[1:-1]
    np.testing.assert_allclose(np.hypot(inner[:, 0], inner[:, 1] - 50.0), 47.0, atol=1e-3)


@few
@given(st.integers(0, 999), st.floats(0.3, 9.0))
def test_resampling_keeps_ends_and_steps_evenly_on_the_line(seed, spacing_m):
    line = wavy(seed)
    even = geometry.resample(line, spacing_m)
    np.testing.assert_allclose(even[[0, -1]], line[[0, -1]], atol=1e-9)
    assert np.hypot(*np.diff(even, axis=0).T).max() <= spacing_m + 1e-9
    assert shapely.distance(shapely.points(even), shapely.LineString(line)).max() < 1e-9


@few
@given(st.integers(0, 999), coordinate, coordinate)
def test_projection_agrees_with_shapely(seed, x_m, y_m):
    line = wavy(seed)
    station, lateral = geometry.project(line, geometry.stations(line), x_m, y_m, 0, len(line))
    reference, point = shapely.LineString(line), shapely.Point(x_m, y_m)
    assert abs(lateral) == pytest.approx(reference.distance(point), abs=1e-6)
    foot = reference.interpolate(station)
    assert foot.distance(point) == pytest.approx(reference.distance(point), abs=1e-6)


def test_left_of_the_line_is_positive():
    line = np.array([[0.0, 0.0], [10.0, 0.0]])
    assert geometry.project(line, geometry.stations(line), 4.0, 1.5, 0, 2) == pytest.approx((4.0, 1.5))
    assert geometry.project(line, geometry.stations(line), 4.0, -1.5, 0, 2) == pytest.approx((4.0, -1.5))
    assert geometry.project(line, geometry.stations(line), 13.0, 4.0, 0, 2) == pytest.approx((10.0, 5.0))


@few
@given(pose.map(lambda p: p * [0.01, 0.01, 1.0]), pose.map(lambda p: p * [0.01, 0.01, 1.0]),
       st.floats(0.5, 6.0), st.floats(0.5, 6.0))
def test_box_overlap_agrees_with_shapely(first, second, length_m, width_m):
    boxes = [geometry.box_corners(first, length_m, width_m, 1.0), geometry.box_corners(second, width_m, length_m)]
    area = shapely.Polygon(boxes[0]).intersection(shapely.Polygon(boxes[1])).area
    apart = shapely.Polygon(boxes[0]).distance(shapely.Polygon(boxes[1]))
    if area > 1e-6 or apart > 1e-6:
        assert geometry.boxes_overlap(*boxes) == (area > 1e-6)


def test_box_corners_start_at_the_rear_right_and_go_counter_clockwise():
    np.testing.assert_allclose(geometry.box_corners(np.zeros(3), 4.0, 2.0, 1.0), [[-1, -1], [3, -1], [3, 1], [-1, 1]])


@few
@given(st.integers(0, 999), st.floats(-20.0, 160.0), st.floats(-40.0, 40.0))
def test_nearest_segment_agrees_with_shapely(seed, x_m, y_m):
    lines, halves = [wavy(seed), wavy(seed + 1000) + np.array([0.0, 15.0])], [1.0, 2.5]
    index = geometry.index_segments(lines, halves)
    gaps = [shapely.LineString(line).distance(shapely.Point(x_m, y_m)) - half
            for line, half in zip(lines, halves, strict=True)]
    segment, gap = geometry.nearest_segment(index, x_m, y_m, 1e9, (0.0, 0.0))
    assert gap == pytest.approx(min(gaps), abs=1e-9)
    if abs(gaps[0] - gaps[1]) > 1e-6:
        assert index.owner[segment] == int(np.argmin(gaps))
    if min(gaps) > 1.0:
        assert geometry.nearest_segment(index, x_m, y_m, min(gaps) - 0.5, (0.0, 0.0)) == (-1, min(gaps) - 0.5)
    capped = geometry.gaps_to_segments(index, np.array([[x_m, y_m]]), 3.0)
    assert capped[0] == pytest.approx(min(*gaps, 3.0), abs=1e-9)


def test_nearest_segment_may_ask_for_a_direction():
    east, west = np.array([[0.0, 0.0], [10.0, 0.0]]), np.array([[10.0, 3.0], [0.0, 3.0]])
    index = geometry.index_segments([east, west], [1.5, 1.5])
    owner = [index.owner[geometry.nearest_segment(index, 5.0, 2.5, 9.0, forward)[0]]
             for forward in ((0.0, 0.0), (1.0, 0.0), (-1.0, 0.1))]
    assert owner == [1, 0, 1]
    assert geometry.nearest_segment(index, 5.0, 2.5, 0.5, (1.0, 0.0))[0] == -1  # a metre off the eastward lane's edge


def test_edges_of_a_line_that_narrows_run_straight_from_point_to_point():
    index = geometry.index_segments([np.array([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0]])], [np.array([2.0, 2.0, 1.0])])
    gaps = geometry.gaps_to_segments(index, np.array([[5.0, 3.0], [15.0, 3.0], [17.5, -3.0], [20.0, 3.0]]), 9.0)
    np.testing.assert_allclose(gaps, [1.0, 1.5, 1.75, 2.0])


def test_inside_agrees_with_shapely_on_a_star():
    turned = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    star = np.where(np.arange(14) % 2, 4.0, 10.0)[:, None] * np.column_stack([np.cos(turned), np.sin(turned)])
    points = np.random.default_rng(0).uniform(-11, 11, (500, 2))
    inside = [geometry.is_inside(star, x, y) for x, y in points]
    area = geometry.areas_of([star], [np.zeros((0, 2))])
    assert [geometry.is_within(area, *point) for point in points] == inside
    np.testing.assert_array_equal(inside, shapely.contains_xy(shapely.Polygon(star), points))
    assert 50 < sum(inside) < 250


def test_circles_kept_apart_are_as_many_as_can_stay():
    rng = np.random.default_rng(3)
    points, radius = rng.uniform(0, 40, (120, 2)), rng.uniform(0.5, 3.0, 120)
    kept = geometry.keep_apart(points, radius)
    gaps = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1)) - radius[:, None] - radius[None]
    np.fill_diagonal(gaps, 1.0)
    assert gaps[np.ix_(kept, kept)].min() > 0
    for dropped in np.flatnonzero(~kept):
        assert gaps[dropped, :dropped][kept[:dropped]].min() <= 0
