"""Road pieces: every row of the table keeps its promises, arcs against closed forms, outlines against shapely."""

import math

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from envs.geometry import wrap_angle
from envs.roads.network import SHOULDER_M
from envs.roads.pieces import PIECES, JunctionPiece
from envs.roads.sockets import RoadPiece, Socket, biarc, curve, join, offset_line, straight

START = Socket(12.0, -7.0, 0.6)
HALF_M = 3.75
# One call of each row: the start socket comes first, then these.
ARGUMENTS = {
    "straight": (HALF_M, 35.0), "curve": (HALF_M, 40.0, -1.2), "crossing": (HALF_M, 8.0),
    "tee": ((HALF_M, 7.25, HALF_M), 6.0), "cross": ((7.25, HALF_M, 7.25, 10.5), 6.0),
    "s_bend": (HALF_M, 60.0, -7.0), "bus_bay": (HALF_M, 44.0, -1.0),
    "refuge": (HALF_M, 60.0), "roadworks": (HALF_M, 76.0, -1.0), "narrowing": (HALF_M, 60.0, -1.0),
    "roundabout": ((HALF_M, 3.5, None, HALF_M), 15.0, 4.5),
    "exit_ramp": (7.5, 52.0, 3.5), "merge_ramp": (7.5, 45.0, 3.5), "ramp": (2.25, 190.0, 64.0),
}


def test_every_piece_has_its_arguments_here():
    assert set(ARGUMENTS) == set(PIECES)


@pytest.mark.parametrize("name", PIECES)
def test_piece_paves_a_simple_counter_clockwise_area_under_its_own_name(name):
    piece = PIECES[name](START, *ARGUMENTS[name])
    ring = shapely.LinearRing(piece.outline_m)
    assert piece.name == name
    assert ring.is_simple and ring.is_ccw
    assert np.hypot(*np.diff(piece.outline_m, axis=0).T).min() > 1e-6


@pytest.mark.parametrize("name", PIECES)
def test_piece_meets_its_neighbours_over_the_full_width(name):
    """At each socket the outline has an edge across the road: its middle is the socket, its length the paved width.

    What is wider there on one side is so.
    """
    piece = PIECES[name](START, *ARGUMENTS[name])
    sockets = [piece.end] if isinstance(piece, RoadPiece) else [s for s in piece.sockets if s]
    halves = [half for half in np.atleast_1d(ARGUMENTS[name][0]) if half is not None]
    ends = piece.outline_m, np.roll(piece.outline_m, -1, axis=0)
    middles, lengths = (ends[0] + ends[1]) / 2, np.hypot(*(ends[1] - ends[0]).T)
    right, left = (float(side[-1]) for side in getattr(piece, "wider_m", None) or np.zeros((2, 1)))
    for socket, half in zip(sockets, halves, strict=True):
        middle = socket.point_m + (left - right) / 2 * np.array([-socket.direction[1], socket.direction[0]])
        nearest = np.hypot(*(middles - middle).T).argmin()
        np.testing.assert_allclose(middles[nearest], middle, atol=1e-9)
        assert lengths[nearest] == pytest.approx(2 * half + left + right)
        assert (ends[1] - ends[0])[nearest] @ socket.direction == pytest.approx(0.0, abs=1e-9)


def test_straight_runs_along_its_heading():
    end = straight(START, HALF_M, 35.0).end
    assert (end.x_m, end.y_m) == pytest.approx((12.0 + 35.0 * math.cos(0.6), -7.0 + 35.0 * math.sin(0.6)))
    assert end.heading_rad == 0.6


@pytest.mark.parametrize("angle_rad", [1.2, -1.2, 0.01, -3.0])
def test_curve_is_a_circle_and_its_lanes_are_concentric(angle_rad):
    piece = curve(START, HALF_M, 40.0, angle_rad)
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
    first, second = biarc(start, goal, HALF_M)
    assert math.dist(second.end.point_m, goal.point_m) < 1e-4
    assert abs(float(wrap_angle(second.end.heading_rad - goal_heading_rad))) < 1e-4
    np.testing.assert_allclose(first.line[-1], second.line[0], atol=1e-12)


def test_biarc_between_the_arms_of_a_crossing_is_one_quarter_circle():
    first, second = biarc(Socket(-10.0, 0.0, 0.0), Socket(0.0, 10.0, math.pi / 2), HALF_M)
    assert first.radius_m == pytest.approx(10.0) and second.radius_m == pytest.approx(10.0)


def test_biarc_refuses_a_goal_straight_behind():
    with pytest.raises(ValueError, match="let the goal lie ahead"):
        biarc(Socket(0.0, 0.0, 0.0), Socket(-20.0, 0.0, 0.0), HALF_M)


@pytest.mark.parametrize(("name", "count", "num_corners"), [("tee", 3, 2), ("cross", 4, 4)])
def test_junction_arms_stand_at_right_angles_and_kerbs_are_rounded(name, count, num_corners):
    piece: JunctionPiece = PIECES[name](START, (HALF_M,) * count, 6.0)
    arms = [socket for socket in piece.sockets if socket is not None]
    assert len(arms) == count
    for k, socket in enumerate(piece.sockets):
        if socket is not None:
            assert float(wrap_angle(socket.heading_rad - START.heading_rad - k * math.pi / 2)) == pytest.approx(0.0)
            assert math.dist(socket.point_m, START.point_m) == pytest.approx(HALF_M + 6.0)
    # A square of twice the reach, less a quarter disc at each kerb corner and the strip where a tee has no arm.
    reach = HALF_M + 6.0
    area = (2 * reach) ** 2 - num_corners * math.pi / 4 * 6.0 ** 2
    area -= 2 * reach * 6.0 if count == 3 else 0.0
    assert shapely.Polygon(piece.outline_m).area == pytest.approx(area, rel=0.005)


def test_arm_of_a_wide_crossing_reaches_past_its_wider_neighbour():
    """Arms of 1, 2, 1 and 3 lanes: each socket is a corner radius beyond the wider of the roads beside it."""
    piece: JunctionPiece = PIECES["cross"](START, (4.0, 7.0, 4.0, 10.0), 6.0)
    reach = [math.dist(socket.point_m, START.point_m) for socket in piece.sockets if socket is not None]
    assert reach == pytest.approx([16.0, 10.0, 16.0, 10.0])


@settings(max_examples=60, deadline=None)
@given(st.floats(4.0, 30.0), st.floats(4.0, 30.0), st.sampled_from([-1.7, -1.5, 1.4, 1.6]))
def test_turn_is_led_straight_to_the_widest_arc(before_m, behind_m, turn_rad):
    """The arc's tangent is the shorter of the two ways to the corner; the line ends at its goal without a kink."""
    goal = Socket.at(before_m * START.direction + START.point_m
                     + behind_m * np.array([math.cos(0.6 + turn_rad), math.sin(0.6 + turn_rad)]), 0.6 + turn_rad)
    line = join(START, goal)
    np.testing.assert_allclose(line[[0, -1], :2], [START.point_m, goal.point_m], atol=1e-6)
    step = np.diff(line[:, :2], axis=0)
    course = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
    assert course[-1] - course[0] == pytest.approx(turn_rad, abs=0.12) and np.abs(np.diff(course)).max() < 0.12
    length = np.hypot(*step.T).sum()
    tangent = min(before_m, behind_m)
    arc = abs(turn_rad) * tangent / math.tan(abs(turn_rad) / 2)
    assert length == pytest.approx(abs(before_m - behind_m) + arc, rel=0.01)


def test_roundabout_is_entered_and_left_along_arcs_that_touch_its_ring():
    """Each entry begins at its arm's left lane and each exit ends on its right lane, no tighter than a car turns."""
    piece = PIECES["roundabout"](START, *ARGUMENTS["roundabout"])
    for arm in (0, 1, 3):
        socket, width = piece.sockets[arm], piece.lane_width_m[arm]
        left = np.array([-socket.direction[1], socket.direction[0]])
        entry, out = piece.entry(arm), piece.exit(arm)
        np.testing.assert_allclose(entry[0, :2], socket.point_m + width / 2 * left, atol=1e-9)
        np.testing.assert_allclose(out[-1, :2], socket.point_m - width / 2 * left, atol=1e-9)
        for line, k, away in ((entry, -1, 0.52), (out, 0, -0.52)):
            from_centre = line[k, :2] - START.point_m
            assert np.hypot(*from_centre) == pytest.approx(15.0)
            angle = math.atan2(from_centre[1], from_centre[0])
            assert wrap_angle(angle - socket.heading_rad) == pytest.approx(away)
            assert wrap_angle(line[k, 2] - angle) == pytest.approx(math.pi / 2, abs=1e-6), "along the ring"
            assert abs(line[-1, 2] - line[0, 2]) * 8.0 < np.hypot(*np.diff(line[:, :2], axis=0).T).sum(), "8 m at least"
        assert wrap_angle(out[-1, 2] - socket.heading_rad) == pytest.approx(0.0, abs=1e-6)
    paved = shapely.Polygon(piece.outline_m, [piece.island_m])
    lanes = [line[:, :2] for arm in (0, 1, 3) for line in (piece.entry(arm), piece.exit(arm))]
    lanes.append(piece.ring(0.0, 2 * math.pi)[:, :2])
    driven = shapely.union_all([shapely.LineString(line).buffer(1.5, cap_style="flat") for line in lanes])
    assert driven.difference(paved).area < 0.5, "a car stays on asphalt"
    for splitter in piece.splitters_m:
        area = shapely.Polygon(splitter)
        assert area.exterior.is_ccw and paved.contains(area.buffer(-0.01)) and 2.0 < area.area < 30.0
        assert driven.intersection(area).area < 0.05 * area.area, "nobody drives on the splitter"


def test_s_bend_ends_as_it_began_and_aside():
    piece = PIECES["s_bend"](START, HALF_M, 60.0, -7.0)
    aside = np.array([-START.direction[1], START.direction[0]])
    np.testing.assert_allclose(piece.end.point_m, START.point_m + 60.0 * START.direction - 7.0 * aside, atol=1e-9)
    assert piece.end.heading_rad == pytest.approx(START.heading_rad)
    assert piece.radius_m == pytest.approx((60.0 ** 2 + 7.0 ** 2) / (4 * 7.0)), "of two arcs whose chords halve the way"


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_bus_bay_widens_one_side_alone(side):
    """Three metres over 20 m, and 12 m long tapers: 3 x (20 + 12) more asphalt than the straight has."""
    piece = PIECES["bus_bay"](START, HALF_M, 44.0, side)
    bay = shapely.Polygon(piece.outline_m).difference(shapely.Polygon(straight(START, HALF_M, 44.0).outline_m))
    assert bay.area == pytest.approx(3.0 * (20.0 + 12.0))
    middle = START.point_m + 22.0 * START.direction
    aside = np.array([-START.direction[1], START.direction[0]])
    assert bay.contains(shapely.Point(middle + side * (HALF_M + 1.5) * aside))


def test_lane_of_an_exit_moves_aside_by_its_width_and_that_of_an_entry_comes_back():
    """Both lie within the asphalt of their road, 0.5 m from its edge where they run beside it; they begin and end on or
    beside the rightmost lane, whose middle is 5.25 m right of the road's."""
    leave, join = (PIECES[name](START, *ARGUMENTS[name]) for name in ("exit_ramp", "merge_ramp"))
    across = np.array([math.sin(0.6), -math.cos(0.6)])
    for piece, ends in ((leave, (5.25, 8.75)), (join, (8.75, 5.25))):
        assert ((piece.lane[[0, -1], :2] - START.point_m) @ across).tolist() == pytest.approx(ends)
        assert piece.lane[[0, -1], 2].tolist() == pytest.approx([0.6, 0.6])
        edge = shapely.LineString(offset_line(piece.lane, -1.75))
        paved = shapely.Polygon(piece.outline_m)
        assert paved.buffer(0.02).contains(edge)
        rim = shapely.LineString(piece.outline_m[:len(piece.line)])
        assert shapely.distance(rim, edge) == pytest.approx(0.5, abs=0.03)
    end = join.outline_m[len(join.line) - 1]
    assert (end - START.point_m) @ across == pytest.approx(7.5), "as wide as its road again"


def test_ramp_touches_its_road_where_it_parts_and_meets_and_is_nine_metres_away_between():
    """The road's asphalt ends 1 m left of where the ramp's would begin: there the ramp's own begins."""
    piece = PIECES["ramp"](START, *ARGUMENTS["ramp"])
    left = np.array([-math.sin(0.6), math.cos(0.6)])
    edge = (piece.outline_m[len(piece.line):][::-1] - START.point_m) @ left
    assert edge[[0, -1]].tolist() == pytest.approx([1.25, 1.25]) and edge.max() <= 1.25 + 1e-9
    assert edge.min() == pytest.approx(2.25 - 9.0)
    nose = edge[np.argmax(edge < 1.24)]
    assert -1.5 < nose < -0.5, "asphalt between them up to about two metres, then grass"
    assert piece.radius_m > 40.0
def swerve_mps2(aside_m, step_m, speed_mps):
    """Largest sideways acceleration of who follows a line that moves aside (N,) by steps of `step_m`."""
    return np.abs(np.diff(aside_m, 2)).max() / step_m ** 2 * speed_mps ** 2


def test_lanes_part_round_a_refuge_and_meet_again():
    """3 m apart over 12 m and side by side at both ends; 50 km/h is comfortable; half a metre from lane to island."""
    piece = PIECES["refuge"](START, HALF_M, 60.0)
    right, left = piece.shift_m
    step = 60.0 / (len(right) - 1)
    np.testing.assert_allclose(right, -left)
    assert left[[0, -1]].tolist() == [0.0, 0.0] and left.max() == 1.5 and (left == 1.5).sum() * step > 11.0
    assert np.abs(np.diff(left))[[0, -1]].max() < 0.02, "no kink at the ends"
    assert swerve_mps2(left, step, 50 / 3.6) < 2.1
    island = shapely.Polygon(piece.island_m)
    assert island.exterior.is_ccw and island.area == pytest.approx(math.pi + 10.0 * 2.0, rel=0.02)
    assert shapely.Polygon(piece.outline_m).contains(island)
    for aside in (offset_line(piece.line, left), offset_line(piece.line, right)):  # the lanes' inner edges
        assert shapely.LineString(aside).distance(island) == pytest.approx(SHOULDER_M, abs=0.01)


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_kerb_comes_in_and_both_lanes_become_narrower(side):
    """Lanes of 3.25 m give up half a metre each, so the kerb comes in by one; 50 km/h is comfortable on either lane."""
    piece = PIECES["narrowing"](START, HALF_M, 60.0, side)
    right, left = piece.shift_m
    step = 60.0 / (len(right) - 1)
    np.testing.assert_allclose(right, left)
    np.testing.assert_allclose(right, -side * piece.narrower_m)
    assert piece.narrower_m[[0, -1]].tolist() == [0.0, 0.0] and piece.narrower_m.max() == pytest.approx(0.5)
    assert (piece.narrower_m > 0.499).sum() * step > 11.0
    for lane in (right - (3.25 - piece.narrower_m) / 2, left + (3.25 - piece.narrower_m) / 2):
        assert swerve_mps2(lane, step, 50 / 3.6) < 2.1
        assert np.abs(np.diff(lane, 2)).max() / step ** 2 < 1.01 / piece.radius_m
    paved, was = (shapely.Polygon(outline) for outline in (
        piece.outline_m, straight(START, HALF_M, 60.0).outline_m))
    given = was.difference(paved)
    assert given.area == pytest.approx(1.0 * (60.0 - 24.0), rel=0.01) and paved.difference(was).area < 1e-6
    aside = np.array([-START.direction[1], START.direction[0]])
    assert side * float((np.array(given.centroid.coords[0]) - START.point_m) @ aside) == pytest.approx(
        HALF_M - 0.5, abs=0.1)


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_all_lanes_swerve_away_from_roadworks(side):
    """Two metres of one side are taken and two of the other added; 50 km/h is comfortable."""
    piece = PIECES["roadworks"](START, HALF_M, 76.0, side)
    right, left = piece.shift_m
    np.testing.assert_allclose(right, left)
    assert right[[0, -1]].tolist() == [0.0, 0.0] and (-side * right).max() == 2.0
    assert swerve_mps2(right, 76.0 / (len(right) - 1), 50 / 3.6) < 2.1
    paved, was = (shapely.Polygon(outline) for outline in (
        piece.outline_m, straight(START, HALF_M, 76.0).outline_m))
    assert paved.area - was.area == pytest.approx(2.0 * (76.0 - 28.0), rel=0.01)
    lanes = shapely.Polygon(np.concatenate([offset_line(piece.line, right - HALF_M),
                                            offset_line(piece.line, right + HALF_M)[::-1]]))
    works = paved.difference(lanes.buffer(1e-6))
    assert works.area == pytest.approx(2.0 * (76.0 - 28.0), rel=0.01) and lanes.difference(paved).area < 0.05
    aside = np.array([-START.direction[1], START.direction[0]])
    assert side * float((np.array(works.centroid.coords[0]) - START.point_m) @ aside) > 0.0
