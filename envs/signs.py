"""Traffic signs: one row of SIGNS each, sorted so that a row is its GTSRB class (Stallkamp et al. 2012).

A row says what the sign means, what it binds the driver to, how it is painted and where it truly stands. A new sign is
one row and one function that paints it (CONTRIBUTING.md). No posts' collisions, no lights and no renderer here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import cache, lru_cache, partial

import numpy as np

from envs import closures, pictograms, posts, sites
from envs.faces import (
    Make,
    Painter,
    end_of_limit,
    limit,
    order,
    paint_closed,
    paint_end_of_all,
    paint_end_of_lorries_no_overtaking,
    paint_end_of_no_overtaking,
    paint_lorries_no_overtaking,
    paint_no_entry,
    paint_no_lorries,
    paint_no_overtaking,
    paint_priority,
    paint_stop,
    paint_yield,
    warning,
)
from envs.geometry import Array
from envs.plate import DIAMOND, OCTAGON, TIP_DOWN, TIP_UP, Plate, circle, rounded
from envs.roads.network import Command, Control, RoadNetwork
from envs.sites import KMH, Rule
from envs.state import SignPosts
from envs.wear import Wear, leaned, leaning, worn

LOOKS = 6  # of each sign; the first is new
KEPT_PX = 128  # faces up to this size are kept in memory: 49 kB each at the most


class Duty(IntEnum):
    """What a sign asks of the driver from where it stands, or from where it says."""

    WARNING = 0
    LIMIT = 1
    END_OF_LIMIT = 2
    END_OF_ALL = 3
    NO_OVERTAKING = 4
    END_OF_NO_OVERTAKING = 5
    LORRIES_NO_OVERTAKING = 6
    END_OF_LORRIES_NO_OVERTAKING = 7
    PRIORITY_AHEAD = 8
    PRIORITY_ROAD = 9
    YIELD = 10
    STOP = 11
    CLOSED = 12
    NO_LORRIES = 13
    NO_ENTRY = 14
    TURN = 15
    KEEP_RIGHT = 16
    KEEP_LEFT = 17
    ROUNDABOUT = 18


@dataclass(frozen=True)
class Order:
    """What a sign binds the driver to."""

    duty: Duty
    speed_mps: float | None = None
    """the limit, or the limit that ends"""
    turns: tuple[Command, ...] = ()
    """the only ways on, where the duty is TURN"""


@dataclass(frozen=True, eq=False)
class Sign:
    """One kind of sign. `outline` is the convex part (M, 2) of the unit square that is the sign, x right, y down."""

    name: str
    gtsrb_class: int
    meaning: str
    order: Order
    painter: Painter
    outline: Array
    size_m: float
    stands: Rule
    """all its true places in a network"""
    share: float = 1.0
    """of those places, how many have it"""

    @property
    def speed_mps(self) -> float | None:
        """The limit that begins here [m/s]."""
        return self.order.speed_mps if self.order.duty == Duty.LIMIT else None


_DISC, _UP, _DOWN = circle(), rounded(TIP_UP, 0.04), rounded(TIP_DOWN, 0.04)
_DIAMOND = rounded(DIAMOND, 0.05)
_STRAIGHT, _LEFT, _RIGHT = Command.STRAIGHT, Command.LEFT, Command.RIGHT


def _limit(kmh: int, gtsrb_class: int) -> Sign:
    # Sizes by speed (VwV-StVO to sections 39 to 43): discs of 0.6 m up to 80 km/h, 0.75 m beyond.
    return Sign(f"limit_{kmh}", gtsrb_class, f"speed limit {kmh} km/h", Order(Duty.LIMIT, kmh * KMH), limit(str(kmh)),
                _DISC, 0.6 if kmh <= 80 else 0.75, partial(sites.limit, kmh))


def _warns(name: str, gtsrb_class: int, meaning: str, figure: Callable[[Plate, bool], None], stands: Rule,
           share: float = 1.0) -> Sign:
    return Sign(name, gtsrb_class, meaning, Order(Duty.WARNING), warning(figure), _UP, 0.9, stands, share)


def _turns(name: str, gtsrb_class: int, meaning: str, figure: Callable[[Plate, bool], None], turns: tuple[Command, ...],
           share: float = 1.0) -> Sign:
    return Sign(name, gtsrb_class, meaning, Order(Duty.TURN, turns=turns), order(figure), _DISC, 0.6,
                partial(sites.only_turns, turns), share)


def _disc(name: str, gtsrb_class: int, meaning: str, duty: Duty, painter: Painter, stands: Rule,
          share: float = 1.0) -> Sign:
    return Sign(name, gtsrb_class, meaning, Order(duty), painter, _DISC, 0.6, stands, share)


@cache
def look_of(sign_index: int, look: int) -> Wear:
    """How one of the looks 0 to LOOKS - 1 of a sign is worn."""
    return Wear.draw(np.random.default_rng([sign_index, look])) if look else Wear()


def face(sign_index: int, size_px: int = 128, wear: Wear | None = None) -> Array:
    """The face of SIGNS[sign_index] as uint8 (S, S, 3) RGB, read-only; white outside its outline.

    Raises ValueError for a size under 8 px or over 1024 px.
    """
    paint = _kept_face if size_px <= KEPT_PX else _painted
    return paint(sign_index, size_px, wear or look_of(sign_index, 0))


def _painted(sign_index: int, size_px: int, wear: Wear) -> Array:
    paint = _kept_paint if size_px <= KEPT_PX else _paint
    _, shrink = leaning(SIGNS[sign_index].outline, wear.roll_rad)
    picture = worn(leaned(paint(sign_index, size_px, wear.make), wear.roll_rad, shrink), wear)
    picture.setflags(write=False)
    return picture


def _paint(sign_index: int, size_px: int, make: Make) -> Array:
    plate = Plate(size_px)
    SIGNS[sign_index].painter(plate, make)
    return plate.finish()


_kept_face = lru_cache(maxsize=512)(_painted)  # at 128 px: 25 MB when full
_kept_paint = lru_cache(maxsize=256)(_paint)


@lru_cache(maxsize=1024)
def outline_of(sign_index: int, look: int) -> tuple[Array, float]:
    """The convex part (M, 2) of the unit square that a look shows, and how many metres wide that square is."""
    sign = SIGNS[sign_index]
    outline, shrink = leaning(sign.outline, look_of(sign_index, look).roll_rad)
    return outline, sign.size_m * shrink


def place_signs(network: RoadNetwork, rng: np.random.Generator, table: tuple[Sign, ...] | None = None) -> SignPosts:
    """The signs of a town, drawn from `rng`: of each row of `table` (default: SIGNS) its share of true places.

    Rows are in order of lanes and stations.
    """
    return posts.place(network, [(sign.stands, sign.share, sign.size_m) for sign in table or SIGNS], LOOKS, rng)


SIGNS: tuple[Sign, ...] = (
    _limit(20, 0),
    _limit(30, 1),
    _limit(50, 2),
    _limit(60, 3),
    _limit(70, 4),
    _limit(80, 5),
    Sign("end_80", 6, "end of the speed limit 80 km/h", Order(Duty.END_OF_LIMIT, 80 * KMH), end_of_limit("80"), _DISC,
         0.6, partial(sites.end_of_limit, 80)),
    _limit(100, 7),
    _limit(120, 8),
    _disc("no_overtaking", 9, "no overtaking", Duty.NO_OVERTAKING, paint_no_overtaking, sites.solid_line),
    _disc("no_overtaking_lorries", 10, "no overtaking for lorries over 3.5 t", Duty.LORRIES_NO_OVERTAKING,
          paint_lorries_no_overtaking, sites.fast_road),
    Sign("priority_ahead", 11, "priority at the next crossing", Order(Duty.PRIORITY_AHEAD),
         warning(pictograms.priority_arrow), _UP, 0.9, sites.priority_ahead),
    Sign("priority_road", 12, "priority road", Order(Duty.PRIORITY_ROAD), paint_priority, _DIAMOND, 0.84,
         sites.priority_road),
    Sign("yield", 13, "give way", Order(Duty.YIELD), paint_yield, _DOWN, 0.9, partial(sites.line, Control.YIELD)),
    Sign("stop", 14, "stop and give way", Order(Duty.STOP), paint_stop, OCTAGON, 0.9,
         partial(sites.line, Control.STOP)),
    _disc("closed", 15, "closed to all vehicles", Duty.CLOSED, paint_closed, closures.closed_tracks),
    _disc("no_lorries", 16, "no lorries over 3.5 t", Duty.NO_LORRIES, paint_no_lorries, sites.quiet_road, 0.2),
    _disc("no_entry", 17, "no entry", Duty.NO_ENTRY, paint_no_entry, sites.one_way_end),
    _warns("caution", 18, "general caution", pictograms.exclamation, sites.hidden_line),
    _warns("curve_left", 19, "dangerous curve to the left", partial(pictograms.bend, is_left=True),
           partial(sites.curve, True)),
    _warns("curve_right", 20, "dangerous curve to the right", partial(pictograms.bend, is_left=False),
           partial(sites.curve, False)),
    _warns("double_curve", 21, "double curve, the first to the left", pictograms.double_bend, sites.double_curve),
    _warns("bumps", 22, "uneven road", pictograms.bumps, sites.rough_road, 0.1),
    _warns("slippery", 23, "slippery road", pictograms.skidding_car, sites.wet_curve, 0.25),
    _warns("narrowing", 24, "road narrows on the right", pictograms.narrowing,
           closures.narrowing_right),
    _warns("roadworks", 25, "roadworks", pictograms.digging_man, closures.roadworks),
    _warns("lights", 26, "traffic lights ahead", pictograms.traffic_light, sites.before_lights, 0.5),
    _warns("pedestrians", 27, "pedestrian crossing", pictograms.pedestrian, sites.before_crossing, 0.5),
    _warns("children", 28, "children", pictograms.children, sites.homes, 0.35),
    _warns("bicycles", 29, "cyclists cross", pictograms.bicycle, sites.town_junction, 0.12),
    _warns("snow", 30, "snow or ice", pictograms.snowflake, sites.open_country, 0.2),
    _warns("deer", 31, "wild animals", pictograms.deer, sites.open_country, 0.35),
    _disc("end_of_all", 32, "end of all limits", Duty.END_OF_ALL, paint_end_of_all, sites.no_limit),
    Sign("only_right", 33, "turn right", Order(Duty.TURN, turns=(_RIGHT,)),
         order(partial(pictograms.turning_arrow, is_left=False)), _DISC, 0.6, sites.round_islands),
    _turns("only_left", 34, "turn left", partial(pictograms.turning_arrow, is_left=True), (_LEFT,)),
    _turns("only_straight", 35, "straight on", pictograms.straight_arrow, (_STRAIGHT,)),
    _turns("straight_or_right", 36, "straight on or right", partial(pictograms.forking_arrow, is_left=False),
           (_STRAIGHT, _RIGHT), 0.4),
    _turns("straight_or_left", 37, "straight on or left", partial(pictograms.forking_arrow, is_left=True),
           (_STRAIGHT, _LEFT), 0.4),
    _disc("keep_right", 38, "pass on the right", Duty.KEEP_RIGHT,
          order(partial(pictograms.passing_arrow, is_left=False)), closures.islands),
    _disc("keep_left", 39, "pass on the left", Duty.KEEP_LEFT,
          order(partial(pictograms.passing_arrow, is_left=True)), closures.works_head),
    _disc("roundabout", 40, "roundabout", Duty.ROUNDABOUT, order(pictograms.circling_arrows), sites.roundabout),
    _disc("end_no_overtaking", 41, "end of no overtaking", Duty.END_OF_NO_OVERTAKING, paint_end_of_no_overtaking,
          sites.end_of_solid_line),
    _disc("end_no_overtaking_lorries", 42, "end of no overtaking for lorries", Duty.END_OF_LORRIES_NO_OVERTAKING,
          paint_end_of_lorries_no_overtaking, sites.end_of_fast_road),
)
SIGN_INDEX: dict[str, int] = {sign.name: row for row, sign in enumerate(SIGNS)}
if len(SIGN_INDEX) != len(SIGNS):
    raise ValueError("two rows of SIGNS share a name; give each its own")
