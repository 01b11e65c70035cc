"""One picture of a drive: what was perceived lies on its pixels, controls and faults show."""

import dataclasses

import numpy as np
import pytest
from recorded_drive import SIGN_BOX_PX, STEPS, recorded

from envs.render import dashboard
from envs.roads.network import Command
from envs.roads.routes import LaneChange
from envs.state import Control
from scenarios import replay
from scenarios.recording import Recording
from scenarios.replay import ReplayConfig


def part(image, box):
    left, top, width, height = box
    return image[top:top + height, left:left + width].astype(int)


@pytest.fixture(scope="module")
def scene():
    """(traces, moment at step 5) as the replay hands them over."""
    given = {}
    episode = replay.restore(recorded())
    draw, dashboard.draw = dashboard.draw, lambda traces, moment: given.update(traces=traces, moment=moment)
    try:
        list(replay.pictures(episode, [5], ReplayConfig("unused.npz", view_width_px=212)))
    finally:
        dashboard.draw = draw
    return given["traces"], given["moment"]


def test_view_shows_what_was_perceived():
    """Signs in cyan with class, confidence and distance, boundaries in yellow, the path in green."""
    record = recorded()
    episode = replay.restore(record)
    config = ReplayConfig("unused.npz", view_width_px=424)
    (with_percept,) = replay.pictures(episode, [5], config)
    blind = dataclasses.replace(episode, record=Recording(record.header, {
        name: array for name, array in record.arrays.items() if not name.startswith("percept_")}))
    (without,) = replay.pictures(blind, [5], config)
    view, plain = (part(image, dashboard.VIEW_BOX) for image in (with_percept, without))
    zoom = view.shape[1] / 160
    x, y = round((SIGN_BOX_PX[0] + 4) * zoom), round(SIGN_BOX_PX[1] * zoom)
    assert np.abs(view[y - 3:y + 4, x] - dashboard.SEEN_SIGN).max(axis=1).min() < 30, "the upper edge of the sign's box"
    assert np.abs(view - plain).max(axis=2)[len(view) // 2:].mean() > 5


def test_controls_show(scene):
    """Full throttle fills the one bar and leaves the other; the wheel's mark goes left for a positive steer."""
    traces, moment = scene
    image = part(dashboard.draw(traces, dataclasses.replace(moment, control=Control(0.4, 1.0))), dashboard.PEDAL_BOX)
    assert (np.abs(image[34:166, 312:332] - dashboard.THROTTLE).max(axis=2) < 10).mean() > 0.95
    assert (np.abs(image[34:166, 366:386] - dashboard.FAINT).max(axis=2) < 10).mean() > 0.95
    wheel = np.abs(image[30:170, 150:300] - dashboard.ROUTE).max(axis=2) < 40
    assert np.argwhere(wheel)[:, 1].mean() < 72 - 10, "left of the hub"


def test_faults_show_when_they_have_happened(scene):
    """A stop line run at step 8 is told at step 8, not at step 5, and marked on the way at both."""
    traces, moment = scene
    traces = dataclasses.replace(traces, faults=((8, "stop"),))
    before, after = (part(dashboard.draw(traces, dataclasses.replace(moment, step=step)), dashboard.TERM_BOX)
                     for step in (5, 8))
    is_red = [(np.abs(image[126:146, :200] - dashboard.FAULT).max(axis=2) < 40).sum() for image in (before, after)]
    assert is_red[0] == 0 and is_red[1] > 50


def test_the_verdict_shows_at_the_end_only(scene):
    traces, moment = scene
    last, other = (part(dashboard.draw(traces, dataclasses.replace(moment, step=step)), dashboard.VIEW_BOX)
                   for step in (STEPS, STEPS - 1))
    middle = slice(dashboard.VIEW_BOX[3] // 2 - 28, dashboard.VIEW_BOX[3] // 2 + 28)
    assert last[middle, :40].mean() < 0.5 * other[middle, :40].mean()


@pytest.mark.parametrize("side", [1, -1])
def test_a_lane_change_is_shown_to_its_side_before_the_manoeuvre_behind_it(scene, side):
    """The arrow leads to the change's own side; without a change it leads straight on."""
    traces, moment = scene
    route, here_m = moment.state.route, moment.facts.route_m
    width = dashboard.VIEW_BOX[2]
    lean = {}
    for name, changes in (("change", (LaneChange(here_m + 8.0, here_m + 60.0, side),)), ("none", ())):
        state = dataclasses.replace(moment.state, route=dataclasses.replace(
            route, changes=changes, command=np.full_like(route.command, Command.FOLLOW)))
        image = part(dashboard.draw(traces, dataclasses.replace(moment, state=state)), dashboard.VIEW_BOX)
        bright = image[44:88, width // 2 - 64:width // 2 - 20].min(axis=2) > 130
        head, foot = (np.argwhere(rows)[:, 1].mean() for rows in (bright[6:16], bright[30:37]))
        lean[name] = foot - head
    assert side * lean["change"] > 8 and abs(lean["none"]) < 2
