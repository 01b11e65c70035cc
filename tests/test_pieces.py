"""Road pieces: every row of the table keeps its promises, arcs against closed forms, outlines against shapely."""

import math

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from envs.geometry import wrap_angle
from envs.roads.network import SHOULDER_M
from envs.roads.pieces import PIECES, JunctionPiece, RoadPiece, Socket, biarc, curve, offset_line, straight

WIDTH_M = 3.25
START = Socket(12.0, -7.0, 0.6)
# One call of each row: the start socket and lane width come first, then these.
ARGUMENTS = {"straight": (35.0,), "curve": (40.0, -1.2), "tee": (6.0,), "cross": (6.0,)}


def test_every_piece_has_its_arguments_here():
    assert set(ARGUMENTS) == set(PIECES)


@pytest.mark.parametrize("name", PIECES)
def test_piece_paves_a_simple_counter_clockwise_area_under_its_own_name(name):
    piece = PIECES[name](START, WIDTH_M, *ARGUMENTS[name])
    ring = shapely.LinearRing(piece.outline_m)
    assert piece.name == name
    assert ring.is_simple and ring.is_ccw
    assert np.hypot(*np.diff(piece.outline_m, axis=0).T).min() > 1e-6


@pytest.mark.parametrize("name", PIECES)
def test_piece_meets_its_neighbours_over_the_full_width(name):
    """At each socket the outline has an edge across the road: its middle is the socket, its length the paved width."""
    piece = PIECES[name](START, WIDTH_M, *ARGUMENTS[name])
    sockets = [piece.end] if isinstance(piece, RoadPiece) else [s for s in piece.sockets if s]
    ends = piece.outline_m, np.roll(piece.outline_m, -1, axis=0)
    middles, lengths = (ends[0] + ends[1]) / 2, np.hypot(*(ends[1] - ends[0]).T)
    for socket in sockets:
        nearest = np.hypot(*(middles - socket.point_m).T).argmin()
        np.testing.assert_allclose(middles[nearest], socket.point_m, atol=1e-9)
        assert lengths[nearest] == pytest.approx(2 * (WIDTH_M + SHOULDER_M))
        assert (ends[1] - ends[0])[nearest] @ socket.direction == pytest.approx(0.0, abs=1e-9)


def test_straight_runs_along_its_heading():
    end = straight(START, WIDTH_M, 35.0).end
    assert (end.x_m, end.y_m) == pytest.approx((12.0 + 35.0 * math.cos(0.6), -7.0 + 35.0 * math.sin(0.6)))
    assert end.heading_rad == 0.6


@pytest.mark.parametrize("angle_rad", [1.2, -1.2, 0.01, -3.0])
def test_curve_is_a_circle_and_its_lanes_are_concentric(angle_rad):
    piece = curve(START, WIDTH_M, 40.0, angle_rad)
    normal = np.array([-math.sin(0.6), math.cos(0.6)]) * math.copysign(40.0, angle_rad)
    centre = START.point_m + normal
    for left_m, radius_m in ((0.0, 40.0), (1.6, 40.0 - math.copysign(1.6, angle_rad))):
        points = offset_line(piece.line, left_m)
        np.testing.assert_allclose(np.hypot(*(points - centre).T), radius_m, atol=1e-9)
        assert np.hypot(*np.diff(points, axis=0).T).max() <= 2.0
    assert piece.turn_rad == pytest.approx(angle_rad)


@settings(max_examples=60, deadline=None)
@given(st.floats(30.0, 300.0), st.floats(-150.0, 150.0), st.floats(-1.4, 1.4), st.floats(-1.4, 1.4))
def test_biarc_joins_two_sockets_without_a_kink(ahead_m, aside_m, heading_rad, goal_heading_rad):
    assume(all(ahead_m * math.cos(a) + aside_m * math.sin(a) > 5.0 for a in (heading_rad, goal_heading_rad)))
    start, goal = Socket(0.0, 0.0, heading_rad), Socket(ahead_m, aside_m, goal_heading_rad)
    first, second = biarc(start, goal, WIDTH_M)
    assert math.dist(second.end.point_m, goal.point_m) < 1e-4
    assert abs(float(wrap_angle(second.end.heading_rad - goal_heading_rad))) < 1e-4
    np.testing.assert_allclose(first.line[-1], second.line[0], atol=1e-12)


def test_biarc_between_the_arms_of_a_crossing_is_one_quarter_circle():
    first, second = biarc(Socket(-10.0, 0.0, 0.0), Socket(0.0, 10.0, math.pi / 2), WIDTH_M)
    assert first.radius_m == pytest.approx(10.0) and second.radius_m == pytest.approx(10.0)


def test_biarc_refuses_a_goal_straight_behind():
    with pytest.raises(ValueError, match="let the goal lie ahead"):
        biarc(Socket(0.0, 0.0, 0.0), Socket(-20.0, 0.0, 0.0), WIDTH_M)


@pytest.mark.parametrize(("name", "count", "num_corners"), [("tee", 3, 2), ("cross", 4, 4)])
def test_junction_arms_stand_at_right_angles_and_kerbs_are_rounded(name, count, num_corners):
    piece: JunctionPiece = PIECES[name](START, WIDTH_M, 6.0)
    arms = [socket for socket in piece.sockets if socket is not None]
    half = WIDTH_M + SHOULDER_M
    assert len(arms) == count
    for k, socket in enumerate(piece.sockets):
        if socket is not None:
            assert float(wrap_angle(socket.heading_rad - START.heading_rad - k * math.pi / 2)) == pytest.approx(0.0)
            assert math.dist(socket.point_m, START.point_m) == pytest.approx(half + 6.0)
    # A square of twice the reach, less a quarter disc at each kerb corner and the strip where a tee has no arm.
    reach = half + 6.0
    area = (2 * reach) ** 2 - num_corners * math.pi / 4 * 6.0 ** 2
    area -= 2 * reach * 6.0 if count == 3 else 0.0
    assert shapely.Polygon(piece.outline_m).area == pytest.approx(area, rel=0.005)
