"""The stop-watch: medians, spread and units are right. (All stages are timed in test_commands.)"""

import time

import numpy as np
import pytest

from agents import bench
from agents.bench import BenchConfig, measure
from envs.config import ConfigError, DriveConfig
from envs.state import ActorKind, Phase
from envs.world import World


def test_sleeping_takes_time_but_no_processor():
    timing = measure(lambda: time.sleep(0.005), calls=5)
    assert 5.0 <= timing.p10_ms <= timing.median_ms <= timing.p90_ms and timing.calls == 5
    assert timing.cpu_ms < 0.5 * timing.median_ms
    assert timing.peak_memory_mib > 20


def test_units_share_a_call():
    timing = measure(lambda: time.sleep(0.016), calls=3, units=8)
    assert timing.median_ms >= 2.0 and timing.p10_ms < 16.0


def test_the_first_call_is_left_out():
    waits = iter([0.2, 0.0, 0.0, 0.0])
    assert measure(lambda: time.sleep(next(waits)), calls=3).p90_ms < 200.0


def test_items_come_round_and_round():
    seen = []
    work = bench._each([1, 2, 3], seen.append)
    for _ in range(5):
        work()
    assert seen == [1, 2, 3, 1, 2]


def test_the_busy_town_has_twenty_cars():
    world = World(DriveConfig(renderer="none"))
    state = world.reset(bench.busy_scenario(), np.random.default_rng(0))
    actors = state.actors
    counts = [int((actors.kind == kind).sum()) for kind in ActorKind]
    assert (actors.speed_mps[actors.kind == ActorKind.VEHICLE] > 1.0).sum() >= 12
    assert counts[ActorKind.VEHICLE] >= 20 and counts[ActorKind.PEDESTRIAN] == 10 and counts[ActorKind.CYCLIST] > 0
    assert len(state.signals) > 0 and (state.signals != Phase.OFF).all()
    world.close()


@pytest.mark.parametrize(("settings", "said"), [({"calls": 2}, "calls is 2"), ({"threads": 0}, "threads is 0"),
                                               ({"max_cars": 300}, "max_cars is 300")])
def test_settings_out_of_range(settings, said):
    with pytest.raises(ConfigError, match=said):
        BenchConfig(**settings)
