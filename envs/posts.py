"""From the places where signs are true to posts in the street: which are used, what shares a post, and where it stands.

Posts stand to the right of the rightmost lane, off the asphalt, apart from each other, and a little askew. Nothing here
knows how a sign looks, or why it is true.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from envs.geometry import Array, wrap_angle
from envs.lights import near_foot
from envs.roads.network import SHOULDER_M, RoadNetwork
from envs.sites import APART_M, Rule, Site, Streets
from envs.state import SignPosts

BESIDE_ROAD_M = 0.75  # from the paved edge to the post
BESIDE_LIGHT_M = 0.9  # farther out than the post of the lights ahead: a face must not hide the lamps behind it
CLEAR_OF_LIGHT_M = 15.0  # so far before their line
ASIDE_M, CLEAR_M = 0.5, 0.45  # steps outwards until a post stands this far off the paved edge, where a road widens
CENTRE_HEIGHT_M = 2.2  # of a face above the ground, as in towns (VwV-StVO: lower edge at 2 m over footways)
STACK_GAP_M = 0.04  # between two faces on a post
YAW_SPREAD_RAD = math.radians(5.0)  # signs never stand exactly square to the road
BEHIND_EXIT_M = 30.0  # no post stands nearer behind an exit: the ramp's asphalt still lies beside the road
STEP_M = 4.0  # by which a post moves on where there is no room
LEAFY_SHARE, LEAVES = 0.05, (0.25, 0.55)  # of signs; share of a face that leaves hide
MOST_ON_A_POST = 3


@dataclass
class _Post:
    """Signs on one post."""

    lane: int
    station_m: float
    is_reversed: bool
    signs: list[int]
    foot_m: tuple[float, float] | None = None
    turn_rad: float = 0.0


def _clear_of_exits(streets: Streets, site: Site) -> Site:
    """A place that is not on the far side of a ramp which just left the road."""
    is_behind = any(streets.piece_of(streets.lanes[k]) == "exit_ramp"
                    for k in streets.before[site.lane])
    return replace(site, station_m=BEHIND_EXIT_M) if is_behind and site.station_m < BEHIND_EXIT_M else site


def _stand(chosen: list[tuple[int, Site]]) -> list[_Post]:
    """Posts for the chosen sites: those with one true place share it, others move along until there is room."""
    posts: dict[int, list[_Post]] = {}
    fixed = [(sign, site) for sign, site in chosen if site.first_m is None]
    for sign, site in fixed + [(sign, site) for sign, site in chosen if site.first_m is not None]:
        beside = posts.setdefault(site.lane, [])
        at = site.station_m
        shared = next((post for post in beside if abs(post.station_m - at) < 0.01 and site.first_m is None
                       and post.is_reversed == site.is_reversed and len(post.signs) < MOST_ON_A_POST), None)
        if shared is not None:
            shared.signs.append(sign)
            continue
        low, high = (at, at) if site.first_m is None or site.last_m is None else (site.first_m, site.last_m)
        tries = itertools.chain([at], (at + way * k * STEP_M for k in range(1, 30) for way in (1, -1)
                                       if low <= at + way * k * STEP_M <= high))
        free = next((s for s in tries if site.first_m is None
                     or all(abs(post.station_m - s) >= APART_M for post in beside)), None)
        if free is not None:
            beside.append(_Post(site.lane, free, site.is_reversed, [sign], site.foot_m, site.turn_rad))
    return [post for lane in sorted(posts) for post in sorted(posts[lane], key=lambda post: post.station_m)]


def _feet(network: RoadNetwork, posts: Sequence[_Post]) -> Array:
    """Where posts stand, mostly to the right of their lanes, and how their drivers head there: (K, 3)."""
    feet = np.zeros((len(posts), 3))
    for row, post in enumerate(posts):
        lane = network.lanes[post.lane]
        k = min(max(int(lane.station_m.searchsorted(post.station_m)), 1), len(lane.station_m) - 1)
        share = (post.station_m - lane.station_m[k - 1]) / (lane.station_m[k] - lane.station_m[k - 1])
        before, after = lane.heading_rad[k - 1:k + 1]
        heading = float(before + share * wrap_angle(after - before))
        if post.foot_m is not None:
            (x, y), (end_x, end_y) = post.foot_m, lane.centre_m[-1]
            is_beyond = post.station_m >= lane.length_m
            feet[row] = x, y, math.atan2(y - end_y, x - end_x) if is_beyond else heading
            continue
        aside = lane.half_at(post.station_m) + SHOULDER_M + BESIDE_ROAD_M
        if lane.signal is not None and lane.length_m - post.station_m < CLEAR_OF_LIGHT_M:
            aside = float((near_foot(network, lane) - lane.centre_m[-1]) @ [math.sin(heading), -math.cos(heading)]
                          ) + BESIDE_LIGHT_M
        x, y = lane.centre_m[k - 1] + share * (lane.centre_m[k] - lane.centre_m[k - 1])
        feet[row] = x + aside * math.sin(heading), y - aside * math.cos(heading), heading
    near = np.flatnonzero([post.foot_m is None for post in posts])
    while len(near := near[network.distance_to_road(feet[near, :2], 2 * CLEAR_M) < CLEAR_M]):
        feet[near, :2] += ASIDE_M * np.stack([np.sin(feet[near, 2]), -np.cos(feet[near, 2])], axis=1)
    return feet


def place(network: RoadNetwork, rows: Sequence[tuple[Rule, float, float]], num_looks: int,
          rng: np.random.Generator) -> SignPosts:
    """Posts and signs: of each row (rule, share of its places, size [m]) those drawn, in order of lanes and stations.

    On a shared post the first row hangs on top.
    """
    streets = Streets(network)
    chosen = [(sign, _clear_of_exits(streets, site)) for sign, (rule, share, _) in enumerate(rows)
              for site in rule(streets) if share >= 1.0 or rng.random() < share]
    table: list[tuple[int, float, float, float, float, int, float]] = []
    posts = _stand(chosen)
    for post, (x, y, heading) in zip(posts, _feet(network, posts).tolist(), strict=True):
        yaw = wrap_angle(heading + (0.0 if post.is_reversed else math.pi) - post.turn_rad
                         + rng.uniform(-YAW_SPREAD_RAD, YAW_SPREAD_RAD))
        height, below = CENTRE_HEIGHT_M + rng.uniform(-0.1, 0.2), 0.0
        for sign in sorted(post.signs, reverse=True):
            size = rows[sign][2]
            height += (below + size) / 2 + STACK_GAP_M if below else 0.0
            below = size
            table.append((sign, x, y, float(yaw), height, post.lane, post.station_m))
    look = rng.integers(num_looks, size=len(table))
    leaves = np.where(rng.random(len(table)) < LEAFY_SHARE, rng.uniform(*LEAVES, len(table)), 0.0)
    column = np.array(table, float).reshape(-1, 7)
    return SignPosts(sign=column[:, 0].astype(int), pose=column[:, 1:4].copy(), centre_height_m=column[:, 4].copy(),
                     lane=column[:, 5].astype(int), station_m=column[:, 6].copy(), look=look, leaves=leaves)
