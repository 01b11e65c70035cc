"""Which turns a junction forbids: at some arms everybody must go straight on, or left, though a road leads elsewhere.

Drawn before lanes are made: what is forbidden has no turn lane, so routes, traffic and signs know of it by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import networkx
import numpy as np

from envs.roads.laying import Road
from envs.roads.network import Command
from envs.roads.plan import Arm, Plan

TURNS = {3: Command.LEFT, 2: Command.STRAIGHT, 1: Command.RIGHT}  # by how many arms further, in order of lanes
BAN_SHARE = 0.35  # of junctions that forbid turns at one arm
ONLY = (Command.STRAIGHT, Command.LEFT)  # what may be left, the first being tried first at crossroads


def ways(plan: Plan, arm: Arm) -> dict[Command, Arm]:
    """The turns that the roads of a junction offer from one of its arms, from the left, and where each leads."""
    node, into = arm
    arms = plan.arms(node)
    return {turn: (node, (into + ahead) % 4) for ahead, turn in TURNS.items() if (into + ahead) % 4 in arms}


def draw_bans(plan: Plan, roads: Iterable[Road], junctions: Mapping[object, object],
              rng: np.random.Generator) -> dict[Arm, Command]:
    """Arms at which one turn alone is left, and which. From every road every other one can still be reached.

    Arms with several lanes keep all turns, and so do roundabouts (which are left out of `junctions`).
    """
    ends = {road.begin: road.end for road in roads} | {road.end: road.begin for road in roads}
    graph = networkx.DiGraph((arm, ends[out]) for arm in ends for out in ways(plan, arm).values())
    bans: dict[Arm, Command] = {}
    for node in junctions:
        if rng.random() >= BAN_SHARE:
            continue
        arms = [arm for arm in ends if arm[0] == node and plan.profile[arm].num_lanes == 1]
        for arm in (arms[k] for k in rng.permutation(len(arms))):
            offered = ways(plan, arm)
            turn = ONLY[int(rng.integers(len(ONLY)))]
            others = [(arm, ends[out]) for other, out in offered.items() if other != turn]
            if turn not in offered or not others:
                continue
            graph.remove_edges_from(others)
            if networkx.is_strongly_connected(graph):
                bans[arm] = turn
                break
            graph.add_edges_from(others)
    return bans
