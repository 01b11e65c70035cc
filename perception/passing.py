"""Signs rightly named by the time they are passed, the own light over time, and the path of a car that keeps its lane:
judged on drives, not on single frames.

The car glides through towns it never saw, at 8 m/s and 10 Hz; trackers hold a name for each sign in view, what the own
light shows, and the path. A sign counts once it was PASSED_M near and then left the picture; it is right if the name
held for it when it was last seen is its own. A sign that the tracker never had is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.progress import track

from envs.config import CameraConfig
from envs.geometry import Array
from envs.roads.procedural import build_town
from envs.state import Phase, SignPosts
from envs.weather import WEATHERS
from perception.dataset import Frames
from perception.glides import DT_S, glide
from perception.metrics import boxes_iou, heading_errors, lateral_errors
from perception.perceiver import Perceiver, Percept
from perception.sign_tracker import SignTracker
from perception.surroundings import light_is_asked
from perception.tracker import Track, Tracker

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
    lateral_m: float  # sums over frames of the path's mean errors, as single looks tell it
    heading_deg: float
    remembered_lateral_m: float  # the same of the path that is remembered
    remembered_heading_deg: float

    def figures(self) -> dict[str, float]:
        """Shares, and mean errors of the path; nan where there was nothing to judge."""
        parts = {"signs_right_when_passed": (self.signs_right, self.signs),
                 "my_light_on_drives": (self.lights_right, self.lights),
                 "red_called_green_on_drives": (self.reds_called_green, self.reds),
                 "path_lateral_m_on_drives": (self.lateral_m, self.frames),
                 "path_heading_deg_on_drives": (self.heading_deg, self.frames),
                 "path_lateral_m_remembered": (self.remembered_lateral_m, self.frames),
                 "path_heading_deg_remembered": (self.remembered_heading_deg, self.frames)}
        return {name: part / whole if whole else float("nan") for name, (part, whole) in parts.items()}


def judge_drives(perceiver: Perceiver, towns: list[int], num_frames: int) -> Passed:
    """A drive of so many frames through each town, in the WEATHERS one after the other."""
    counts = np.zeros(11)
    for number, town in enumerate(track(towns, "drives", disable=len(towns) < 3)):
        frames = glide(town, list(WEATHERS)[number % len(WEATHERS)], num_frames, perceiver.camera)
        looks = [perceiver.perceive(frames.rgb[step:step + 1], frames.labels["command"][step:step + 1])
                 for step in range(len(frames))]
        signs = _signs_passed(looks, frames, build_town(town).signs)
        tracks = tracks_of(looks, frames.labels["pose"])
        counts += [len(signs), sum(truth == told for truth, told in signs), *_lights(tracks, frames.labels),
                   len(looks), *_path(looks, frames.labels), *_path(tracks, frames.labels)]
    return Passed(*counts[:-4].astype(int).tolist(), *counts[-4:].tolist())


def tracks_of(looks: list[Percept], pose: Array) -> list[Track]:
    """What is remembered at each look of a car that was at these poses (K, 3), by its own motion alone."""
    tracker, turned = Tracker(1, DT_S), np.gradient(np.unwrap(pose[:, 2]), DT_S)
    speed = np.linalg.norm(np.gradient(pose[:, :2], DT_S, axis=0), axis=1)
    motion = np.column_stack([speed, turned, np.zeros((len(pose), 3))]).astype(np.float32)
    return [tracker.update(percept, ego[None]) for percept, ego in zip(looks, motion, strict=True)]


def _path(seen: Sequence[Percept | Track], labels: dict[str, Array]) -> tuple[float, float]:
    """Sums over frames of the path's mean lateral error [m] and mean heading error [deg] up to NEAR_M ahead."""
    told, truth = np.concatenate([instant.path_m for instant in seen]), labels["path_m"]
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


def _lights(tracks: list[Track], labels: dict[str, Array]) -> tuple[int, int, int, int]:
    """Frames with an own light in view, those in which the tracker tells it rightly, reds, and reds called green."""
    told = np.array([known.light[0] for known in tracks])
    asked = light_is_asked(labels)
    red = asked & np.isin(labels["my_light"], (Phase.RED, Phase.RED_YELLOW))
    return (int(asked.sum()), int((told == labels["my_light"])[asked].sum()), int(red.sum()),
            int((told == Phase.GREEN)[red].sum()))
