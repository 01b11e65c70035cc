"""`nanodrive perceive`: the shipped networks on images, folders or videos -> overlays and one JSON file.

Pictures of the camera network's own view, as recordings are, are shown to it; all others to the networks for
photographs (sight.py). Nothing is trained and no truth is known here; figures come from metrics.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from rich.progress import track
from tyro.conf import Positional

from envs.config import CameraConfig, require
from envs.geometry import Array
from envs.labels import LANE_ROWS
from envs.render.camera import pose_of, project_points
from envs.roads.network import Command
from envs.roads.routes import navigation
from envs.signs import SIGNS
from envs.state import Phase, VehicleState
from perception import photos, sight
from perception.checkpoint import replace_file
from perception.perceiver import NO_SIGN, Perceiver, Percept
from perception.photos import PICTURES, InputError
from perception.sight import LINE_RGB, PATH_RGB, SIGN_RGB, STATE_RGB, PhotoEyes, outlined
from perception.surroundings import Surroundings

VIDEOS = (".mp4", ".mkv", ".mov", ".avi", ".webm")
OVERLAY = "overlay"  # the task of this file; the others are rows of photos.PHOTO_TASKS
SHOWN_WIDTH_PX = 960
SURE = 0.25  # things less likely to be there are not drawn; the JSON has them
BOUNDARY_RGB, STOP_RGB, LEAD_RGB = LINE_RGB, (255, 70, 70), (80, 170, 255)
THINGS_RGB = {"vehicles": (90, 200, 255), "people": (255, 150, 90), "lights": (170, 170, 170), "signs": SIGN_RGB}
PHASE_RGB = STATE_RGB | {"off": (170, 170, 170), "red_yellow": (255, 150, 40)}


@dataclass(frozen=True)
class PerceiveConfig:
    """Settings of `nanodrive perceive`."""

    paths: Positional[tuple[Path, ...]] = ()
    """images, folders of images, or videos"""
    out: Path = Path("runs/perceive")
    """folder of the overlays and of percepts.json"""
    weights: Path | None = None
    """checkpoint of a camera network, without its ending, which then sees all pictures, cut to its view; default: the
    shipped one for pictures of its own view (2 : 1), and the networks for photographs for all others"""
    command: str = "follow"
    """what the navigation asks for: follow, left, right or straight"""
    manoeuvre_m: float = 60.0
    """distance to that manoeuvre [m], 0 to 60"""
    task: str = OVERLAY
    """overlay draws everything; sign-crops, light-crops, signs, lanes and road write one file for other programs"""
    fov_deg: float | None = None
    """horizontal field of view of the camera that took the pictures [deg], if known; default: 60"""
    horizon: float | None = None
    """row of the horizon as a share of the height, 0 top to 1 bottom, if known"""
    h_samples: str = "240:720:10"
    """rows [px] at which `--task lanes` answers, first:last:step"""

    def __post_init__(self) -> None:
        names = [command.name.lower() for command in Command]
        require(self.command in names, f"command is {self.command}; give one of {', '.join(names)}")
        require(0 <= self.manoeuvre_m <= 60, f"manoeuvre_m is {self.manoeuvre_m}; give 0 to 60")
        tasks = (OVERLAY, *photos.PHOTO_TASKS)
        require(self.task in tasks, f"task is {self.task}; give one of {', '.join(tasks)}")
        require(self.fov_deg is None or 10 <= self.fov_deg <= 150, f"fov_deg is {self.fov_deg}; give 10 to 150")
        require(self.horizon is None or 0 <= self.horizon <= 1, f"horizon is {self.horizon}; give 0 to 1")
        photos.parse_rows(self.h_samples)


def run(config: PerceiveConfig) -> dict[str, Any]:
    """Overlays of every frame into `out`, and percepts.json; returns the counts and where they lie.

    Raises InputError for a path that cannot be read and CheckpointError for weights that cannot.
    """
    if config.task != OVERLAY:
        taken_by = photos.View(config.fov_deg, config.horizon, photos.parse_rows(config.h_samples))
        return photos.run(config.task, config.paths, config.out, taken_by)
    started = time.monotonic()
    sources = [source for path in config.paths for source in _sources(path)]
    if not sources:
        raise InputError("no picture was named; give images, folders of images or videos")
    eyes = _Eyes(config)
    config.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for source in track(sources, "perceive", disable=len(sources) < 2):
        overlays: list[Array] = []
        for image in _frames(source):
            shown, told = eyes.look(image)
            rows.append({"file": str(source), "frame": len(overlays)} | told)
            overlays.append(shown)
        _write(config.out, source, overlays)
    replace_file(config.out / "percepts.json", json.dumps(rows, indent=1).encode())
    return {"out": str(config.out), "files": len(sources), "frames": len(rows),
            "duration_s": round(time.monotonic() - started, 1)}


class _Eyes:
    """Who looks at a picture: the camera network at those of its own view, the networks for photographs at all others.
    """

    def __init__(self, config: PerceiveConfig) -> None:
        self._config, self._view = config, photos.View(config.fov_deg, config.horizon)
        self._command = navigation(Command[config.command.upper()], config.manoeuvre_m)[None]

    @cached_property
    def _perceiver(self) -> Perceiver:
        return Perceiver.load(self._config.weights)

    @cached_property
    def _photo(self) -> PhotoEyes:
        return PhotoEyes()

    def look(self, image: Array) -> tuple[Array, dict[str, Any]]:
        """The picture with what was seen drawn in, and the same as JSON data."""
        if not self._is_own(image):
            seen = self._photo.look(image, self._view)
            return sight.drawn(image, seen), {"seen_by": "photo networks"} | sight.plain(seen)
        view = cut_to_view(image, self._perceiver.camera)
        percept = self._perceiver.perceive(view[None], self._command)
        return overlay(view, percept, 0, self._perceiver.camera), {"seen_by": "camera network"} | plain(percept, 0)

    def _is_own(self, image: Array) -> bool:
        """Whether a picture may be of the camera network's view: by its shape, where nothing else is said."""
        if self._config.weights is not None:
            return True
        height, width = image.shape[:2]
        return self._view == photos.View() and width == 2 * height


def plain(percept: Percept, row: int) -> dict[str, Any]:
    """One row of a percept as JSON data; nan becomes null, the embedding is left out, absent things too."""
    fields = ("path_m", "path_confidence", "boundaries_px", "boundary_confidence", "lead_m", "stop_m",
              "stop_confidence")
    return {name: _rounded(getattr(percept, name)[row]) for name in fields} | _things(percept, row)


def _things(percept: Percept, row: int) -> dict[str, Any]:
    """Signs, and of a network's own percepts lights, vehicles, people, lane lines and the own light, as JSON data."""
    signs = [{"name": SIGNS[percept.sign_class[row, k]].name} | _thing(percept, "sign", row, k)
             for k in np.flatnonzero(percept.sign_class[row] != NO_SIGN).tolist()]
    around = percept.around
    if around is None:
        return {"signs": signs}
    lights = [{"phase": Phase(around.light_phase[row, k]).name.lower()} | _thing(around, "light", row, k)
              for k in np.flatnonzero(around.light_confidence[row] > 0).tolist()]
    users = {name: [_thing(around, kind, row, k) for k, sure in enumerate(getattr(around, f"{kind}_confidence")[row])
                    if sure > 0] for kind, name in (("vehicle", "vehicles"), ("person", "people"))}
    mine = {"phase": Phase(around.my_light[row]).name.lower(), "line_m": _rounded(around.my_light_m[row]),
            "confidence": _rounded(around.my_light_confidence[row])}
    return {"signs": signs, "lights": lights, **users, "lanes_px": _rounded(around.lanes_px[row]),
            "my_light": mine if around.my_light[row] != Phase.OFF else None}


def _thing(seen: Percept | Surroundings, kind: str, row: int, k: int) -> dict[str, Any]:
    """Box, confidence and distance of one thing."""
    return {name: _rounded(getattr(seen, f"{kind}_{name}")[row, k]) for name in ("box_px", "confidence", "distance_m")}


def _rounded(values: Any) -> Any:
    """Numbers to three decimals, nan as None, nested as they were."""
    if np.ndim(values) > 0:
        return [_rounded(value) for value in values]
    return None if np.isnan(values) else round(float(values), 3)


def cut_to_view(image: Array, camera: CameraConfig) -> Array:
    """The largest middle part of an image (H, W, 3) that has the camera's shape."""
    height, width = image.shape[:2]
    wanted = camera.width_px / camera.height_px
    cut_height, cut_width = min(height, round(width / wanted)), min(width, round(height * wanted))
    top, left = (height - cut_height) // 2, (width - cut_width) // 2
    return np.ascontiguousarray(image[top:top + cut_height, left:left + cut_width])


def overlay(image: Array, percept: Percept, row: int, camera: CameraConfig) -> Array:
    """The image enlarged to SHOWN_WIDTH_PX with all but the road drawn in: path, own lane, things with their
    distance, obstacles by column, stop line and the own light."""
    scale = SHOWN_WIDTH_PX / image.shape[1]
    shown = cv2.resize(image, (SHOWN_WIDTH_PX, round(image.shape[0] * scale)), interpolation=cv2.INTER_CUBIC)
    view = replace(camera, width_px=shown.shape[1], height_px=shown.shape[0])
    _draw_path(shown, percept.path_m[row], view)
    rows = view.height_px * (0.5 + 0.5 * (np.arange(LANE_ROWS) + 1) / LANE_ROWS) - 0.5
    for side in percept.boundaries_px[row]:
        for u, v in zip(side * scale, rows, strict=True):
            if np.isfinite(u):
                cv2.circle(shown, (round(float(u)), round(float(v))), 4, BOUNDARY_RGB, -1, cv2.LINE_AA)
    things = _things(percept, row)
    for kind, colour in THINGS_RGB.items():
        for thing in (thing for thing in things.get(kind, ()) if thing["confidence"] >= SURE):
            _draw_thing(shown, thing, scale, colour)
    mine = things.get("my_light")
    if mine is not None:
        words = f"own light {mine['phase']} ({mine['confidence']:.2f}), line in {mine['line_m']:.0f} m"
        outlined(shown, words, (12, 50), PHASE_RGB[mine["phase"]])
    _draw_lead(shown, percept.lead_m[row])
    if percept.stop_confidence[row] > 0.5:
        words = f"stop line {percept.stop_m[row]:.1f} m ({percept.stop_confidence[row]:.2f})"
        outlined(shown, words, (12, 28), STOP_RGB)
    return shown


def _draw_path(shown: Array, path_m: Array, view: CameraConfig) -> None:
    points = np.concatenate([path_m, np.zeros((len(path_m), 1))], axis=1)
    pixels = project_points(view, pose_of(view, VehicleState(0.0, 0.0, 0.0)), points)
    drawn = pixels[np.isfinite(pixels[:, 0]), :2].clip(-5000, 5000).round().astype(np.int32)
    cv2.polylines(shown, [drawn[:, None]], False, PATH_RGB, 3, cv2.LINE_AA)
    for u, v in drawn:
        cv2.circle(shown, (int(u), int(v)), 5, PATH_RGB, -1, cv2.LINE_AA)


def _draw_thing(shown: Array, thing: dict[str, Any], scale: float, colour: tuple[int, int, int]) -> None:
    """The box of one of `_things`, lights in the colour they show, with its name and distance over it."""
    colour = PHASE_RGB.get(thing.get("phase", ""), colour)
    left, top, right, bottom = (round(x * scale) for x in thing["box_px"])
    cv2.rectangle(shown, (left, top), (right, bottom), colour, 2)
    words = f"{thing['name']} {thing['confidence']:.2f} " if "name" in thing else ""
    outlined(shown, f"{words}{thing['distance_m']:.0f} m", (left - (40 if words else 0), top - 8), colour)


def _draw_lead(shown: Array, lead_m: Array) -> None:
    """A bar per column along the lower edge, the longer the nearer, with its metres."""
    edges = np.linspace(0, shown.shape[1], len(lead_m) + 1).round().astype(int)
    for left, right, metres in zip(edges[:-1], edges[1:], lead_m, strict=True):
        top = shown.shape[0] - int(np.clip(240 / max(metres, 1.0), 2, 60))
        cv2.rectangle(shown, (int(left) + 2, top), (int(right) - 2, shown.shape[0]), LEAD_RGB, -1)
        at = (int(left) + 8, shown.shape[0] - 4)
        cv2.putText(shown, f"{metres:.0f}", at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0))


def _sources(path: Path) -> list[Path]:
    """The pictures and videos a path stands for; raises InputError."""
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURES + VIDEOS)
        if not found:
            raise InputError(f"{path} holds no image or video; give a folder with .png, .jpg or .mp4 files")
        return found
    if not path.is_file():
        raise InputError(f"{path} does not exist; give an image, a folder of images or a video")
    return [path]


def _frames(source: Path) -> Iterator[Array]:
    """The RGB frames (H, W, 3) of an image or a video; raises InputError."""
    if source.suffix.lower() not in VIDEOS:
        image = cv2.imread(str(source), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise InputError(f"{source} is no readable image; give a .png or .jpg file")
        yield image
        return
    try:
        with av.open(str(source)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, IndexError) as error:
        raise InputError(f"{source} is no readable video ({error}); give an .mp4 file") from error


def _write(folder: Path, source: Path, overlays: list[Array]) -> None:
    """The overlay of a picture as PNG, those of a video as H.264 MP4 at 10 frames a second."""
    if source.suffix.lower() not in VIDEOS:
        cv2.imwrite(str(folder / f"{source.stem}.png"), overlays[0][..., ::-1])
        return
    height, width = (size // 2 * 2 for size in overlays[0].shape[:2])
    with av.open(str(folder / f"{source.stem}.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for image in overlays:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image[:height, :width], format="rgb24")))
        container.mux(stream.encode())
