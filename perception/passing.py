"""Signs rightly named by the time they are passed, the own light over time, and the path of a car that keeps its lane:
judged on drives, not on single frames.

The car glides through towns it never saw, at 8 m/s and 10 Hz; trackers hold a name for each sign in
view and what the own light shows. A sign
counts once it was PASSED_M near and then left the picture; it is right if the name held for it when it was last seen is
its own. A sign that the tracker never had is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.progress import track

from envs.config import CameraConfig
from envs.geometry import Array
from envs.roads.procedural import build_town
from envs.state import Phase, SignPosts
from envs.weather import WEATHERS
from perception.dataset import Frames
from perception.glides import DT_S, SPEED_MPS, glide
from perception.metrics import boxes_iou, heading_errors, lateral_errors
from perception.perceiver import Perceiver, Percept, Tracker
from perception.sign_tracker import SignTracker
from perception.surroundings import light_is_asked

PASSED_M = 12.0  # seen this near, a sign is passed when it is seen no more
SAME_IOU = 0.3  # a followed sign whose box overlaps a true one so much is that sign
SAME_M = 0.5  # a labelled sign is the town's own of its class at this distance


@dataclass(frozen=True)
class Passed:
    """What was judged on some drives, and how much of it was right."""

    signs: int
    signs_right: int
    lights: int  # frames with a light that binds the car, in view
    lights_right: int
    reds: int
    reds_called_green: int
    frames: int
    lateral_m: float  # sums over frames of the path's mean errors
    heading_deg: float

    def figures(self) -> dict[str, float]:
        """The shares; nan where there was nothing to judge."""
        return {"signs_right_when_passed": self.signs_right / self.signs if self.signs else float("nan"),
                "my_light_on_drives": self.lights_right / self.lights if self.lights else float("nan"),
                "red_called_green_on_drives": self.reds_called_green / self.reds if self.reds else float("nan"),
                "path_lateral_m_on_drives": self.lateral_m / self.frames if self.frames else float("nan"),
                "path_heading_deg_on_drives": self.heading_deg / self.frames if self.frames else float("nan")}


def judge_drives(perceiver: Perceiver, towns: list[int], num_frames: int) -> Passed:
    """A drive of so many frames through each town, in the WEATHERS one after the other."""
    counts = np.zeros(9)
    for number, town in enumerate(track(towns, "drives", disable=len(towns) < 3)):
        frames = glide(town, list(WEATHERS)[number % len(WEATHERS)], num_frames, perceiver.camera)
        looks = [perceiver.perceive(frames.rgb[step:step + 1], frames.labels["command"][step:step + 1])
                 for step in range(len(frames))]
        signs = _signs_passed(looks, frames, build_town(town).signs)
        counts += [len(signs), sum(truth == told for truth, told in signs), *_lights(looks, frames.labels),
                   len(looks), *_path(looks, frames.labels)]
    return Passed(*counts[:-2].astype(int).tolist(), *counts[-2:].tolist())


def _path(looks: list[Percept], labels: dict[str, Array]) -> tuple[float, float]:
    """Sums over frames of the path's mean lateral error [m] and mean heading error [deg] up to NEAR_M ahead."""
    told, truth = np.concatenate([percept.path_m for percept in looks]), labels["path_m"]
    return (float(lateral_errors(told, truth).mean(1).sum()), float(heading_errors(told, truth).mean(1).sum()))


def _signs_passed(looks: list[Percept], frames: Frames, posts: SignPosts) -> list[tuple[int, int]]:
    """(true class, class held when it was last seen, -2 for none) of each sign that was passed."""
    labels, tracker = frames.labels, SignTracker(frames.camera.width_px)
    held: dict[int, int] = {}  # by post, as those below
    nearest: dict[int, float] = {}
    last: dict[int, int] = {}
    for step, percept in enumerate(looks):
        tracker.update(percept.sign_box_px[0], percept.sign_class[0], percept.sign_confidence[0])
        offset = np.column_stack([posts.pose[:, :2], posts.centre_height_m]) - _camera_at(labels["pose"][step],
                                                                                          frames.camera)
        away_m = np.linalg.norm(offset, axis=1)
        for k in np.flatnonzero(labels["sign_class"][step] >= 0).tolist():
            far = float(labels["sign_distance_m"][step, k])
            gap = np.where(posts.sign == labels["sign_class"][step, k], np.abs(away_m - far), np.inf)
            post = int(gap.argmin())
            if gap[post] > SAME_M:
                continue
            nearest[post], last[post] = min(far, nearest.get(post, np.inf)), step
            overlap = [float(boxes_iou(labels["sign_box_px"][step, k], sign.box_px)) if not sign.missed else 0.0
                       for sign in tracker.signs]
            if overlap and max(overlap) > SAME_IOU:
                held[post] = tracker.signs[int(np.argmax(overlap))].sign_class
    return [(int(posts.sign[post]), held.get(post, -2)) for post, near in nearest.items()
            if near < PASSED_M and last[post] < len(looks) - 1]


def _camera_at(pose: Array, camera: CameraConfig) -> Array:
    """Where the camera is (3,) [m], of a car at a pose."""
    return np.array([pose[0] + camera.forward_m * np.cos(pose[2]), pose[1] + camera.forward_m * np.sin(pose[2]),
                     camera.height_m])


def _lights(looks: list[Percept], labels: dict[str, Array]) -> tuple[int, int, int, int]:
    """Frames with an own light in view, those in which the tracker tells it rightly, reds, and reds called green."""
    tracker, ego = Tracker(1, DT_S), np.array([[SPEED_MPS, 0.0, 0.0, 0.0, 0.0]], np.float32)
    told = np.array([tracker.update(percept, ego).light[0] for percept in looks])
    asked = light_is_asked(labels)
    red = asked & np.isin(labels["my_light"], (Phase.RED, Phase.RED_YELLOW))
    return (int(asked.sum()), int((told == labels["my_light"])[asked].sum()), int(red.sum()),
            int((told == Phase.GREEN)[red].sum()))
