"""The town from above: the car where it is, the road under it, people and plans in their colours."""

import dataclasses

import numpy as np
from recorded_drive import driven

from envs.geometry import ego_from_world
from envs.render.birdseye import EGO, PLAN, TRAIL, BirdseyeView, draw_birdseye, town_map
from envs.render.signals import LIT
from envs.roads.procedural import build_town
from envs.state import Phase, VehicleState


def test_car_stands_upright_on_the_road():
    """The car is red at its place, the road ahead of it is not grass, and the town's map is north up."""
    states, _ = driven()
    view = BirdseyeView(width_px=200, height_px=300, px_per_m=6.0)
    picture = draw_birdseye(states[0], view)
    assert picture.shape == (300, 200, 3)
    x, y = 100, round(300 * view.ego_share)
    assert np.abs(picture[y - 4:y + 1, x - 1:x + 2].astype(int) - EGO).max() < 60
    ahead = picture[y - 60, x].astype(int)
    assert ahead[2] >= ahead[1], "grey asphalt or the blue route, not grass"
    image, origin = town_map(states[0].town)
    ego = states[0].ego
    column, row = round((ego.x_m - origin[0]) * 6.0), round((origin[1] - ego.y_m) * 6.0)
    assert np.ptp(image[row, column].astype(int)) < 20, "grey where the car stands"


def test_plan_and_trail_are_drawn_ahead_and_behind():
    """A plan of 20 m straight ahead is green above the car, a trail of 20 m behind it yellow below."""
    state, view = driven()[0][0], BirdseyeView(width_px=200, height_px=300, px_per_m=6.0, ego_share=0.5)
    line = np.stack([np.linspace(0, 20, 21), np.zeros(21)], axis=1)
    behind = np.stack([state.ego.x_m - line[:, 0] * np.cos(state.ego.yaw_rad),
                       state.ego.y_m - line[:, 0] * np.sin(state.ego.yaw_rad)], axis=1)
    picture = draw_birdseye(state, view, trail_m=behind, plan_m=line).astype(int)
    assert np.abs(picture[150 - 90, 100] - PLAN).max() < 60
    assert np.abs(picture[150 + 90, 100] - TRAIL).max() < 60


def test_other_road_users_are_where_they_are():
    """A person in white moved to 10 m ahead and 3 m left is a light disc there and nowhere else."""
    state, view = driven()[0][0], BirdseyeView(width_px=200, height_px=300, px_per_m=6.0, ego_share=0.5)
    cos, sin = np.cos(state.ego.yaw_rad), np.sin(state.ego.yaw_rad)
    pose = np.full_like(state.actors.pose, 1e4)
    pose[0] = [state.ego.x_m + 10 * cos - 3 * sin, state.ego.y_m + 10 * sin + 3 * cos, 0.0]
    np.testing.assert_allclose(ego_from_world(state.ego.pose, pose[0, :2]), [10.0, 3.0])
    colour = np.full_like(state.actors.colour, 255)
    moved = dataclasses.replace(state, actors=dataclasses.replace(state.actors, pose=pose, colour=colour))
    picture = draw_birdseye(moved, view).astype(int)
    assert picture[150 - 60, 100 - 18].min() > 240
    nobody = dataclasses.replace(state, actors=dataclasses.replace(state.actors, pose=np.full_like(pose, 1e4)))
    changed = np.abs(picture - draw_birdseye(nobody, view)).max(axis=2) > 20
    assert 10 < changed.sum() < 200


def test_lights_are_bars_across_their_lanes():
    """Ten metres before a line: green ahead, red and yellow side by side, nothing while the lights are off."""
    town = build_town(3)
    lane = next(lane for lane in town.network.lanes if lane.signal is not None)
    heading = float(lane.heading_rad[-1])
    x, y = lane.centre_m[-1] - 10 * np.array([np.cos(heading), np.sin(heading)])
    state = dataclasses.replace(driven()[0][0], town=town, ego=VehicleState(float(x), float(y), heading))
    view = BirdseyeView(width_px=200, height_px=300, px_per_m=6.0, ego_share=0.5)

    def shown(phase: Phase) -> np.ndarray:
        signals = np.full(len(town.signal_plan.junction), int(phase))
        return draw_birdseye(dataclasses.replace(state, signals=signals), view)[150 - 60].astype(int)

    red, yellow, green = LIT.astype(int)
    assert np.abs(shown(Phase.GREEN)[[95, 105]] - green).max() < 60
    both = shown(Phase.RED_YELLOW)
    assert np.abs(both[95] - red).max() < 60 and np.abs(both[105] - yellow).max() < 60
    assert np.abs(shown(Phase.OFF)[95] - green).max() > 60
