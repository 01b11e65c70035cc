"""`nanodrive perceive --task NAME`: what the networks say of real pictures, in the forms other programs score.

One row of PHOTO_TASKS per form; a row takes the pictures of a folder, one after the other, and writes one file (or one
folder) when all were looked at. Overlays for people are show.py's business; nothing is trained here.
"""

from __future__ import annotations

import csv
import importlib
import io
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
from rich.progress import track

from envs.config import ConfigError
from envs.geometry import Array
from perception.checkpoint import replace_file

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".webp", ".tif", ".tiff")


class InputError(ValueError):
    """A picture or video that cannot be read; the message is one sentence that names the file and the way out."""


@dataclass(frozen=True)
class View:
    """What is known of the camera that took the pictures, and the rows that lanes are asked at."""

    fov_deg: float | None = None
    """horizontal field of view [deg]; None: not known"""
    horizon: float | None = None
    """row of the horizon as a share of the picture's height, 0 at the top; None: not known"""
    h_samples: tuple[int, ...] = ()
    """rows [px] of the TuSimple form"""


Pictures = Iterator[tuple[Path, Array]]  # a file and its uint8 (H, W, 3) RGB pixels


@dataclass(frozen=True)
class PhotoTask:
    """One form: `module.function(pictures, out, view)` looks at all pictures, writes `out` and returns its counts."""

    summary: str
    module: str
    function: str

    def load(self) -> Callable[[Pictures, Path, View], dict[str, Any]]:
        """The function, importing its module."""
        found: Callable[[Pictures, Path, View], dict[str, Any]] = getattr(
            importlib.import_module(self.module), self.function)
        return found


PHOTO_TASKS: dict[str, PhotoTask] = {
    "sign-crops": PhotoTask("name the sign of each picture", "perception.namer", "name_pictures"),
    "light-crops": PhotoTask("what each cut-out of a traffic light shows", "perception.lightnet", "read_photos"),
    "lanes": PhotoTask("lines between lanes, as TuSimple's JSON lines", "perception.roadfit", "write_lanes"),
    "road": PhotoTask("masks of the road, 1 where one could drive", "perception.roadfit", "write_masks"),
    "signs": PhotoTask("find and name the signs of street photos", "perception.street_photos", "find_signs"),
}


def run(task: str, folders: Sequence[Path], out: Path, view: View) -> dict[str, Any]:
    """Do one task on the pictures of the folders (or on single pictures); returns its counts and the time it took.

    Raises InputError for a path that cannot be read and CheckpointError for weights that cannot.
    """
    started = time.monotonic()
    files = [file for folder in folders for file in _files(folder)]
    if not files:
        raise InputError("no picture was named; give a folder of images")
    out.parent.mkdir(parents=True, exist_ok=True)
    counts = PHOTO_TASKS[task].load()(_pictures(files), out, view)
    seconds = time.monotonic() - started
    return {"task": task, "out": str(out), "files": len(files)} | counts | {
        "duration_s": round(seconds, 1), "files_per_s": round(len(files) / seconds, 1)}


def write_csv(out: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table with its header, all of it or nothing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    replace_file(out, text.getvalue().encode())


def parse_rows(text: str) -> tuple[int, ...]:
    """Rows of "first:last:step", the last one left out as in Python's range; raises ConfigError."""
    try:
        first, last, step = (int(part) for part in text.split(":"))
        rows = tuple(range(first, last, step))
    except ValueError:
        rows = ()
    if not rows or min(rows) < 0:
        raise ConfigError(f"h_samples is '{text}'; give first:last:step in pixels, such as 240:720:10")
    return rows


def _files(path: Path) -> list[Path]:
    """The pictures a path stands for, by name; raises InputError."""
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)
        if not found:
            raise InputError(f"{path} holds no image; give a folder with .png or .jpg files")
        return found
    if not path.is_file():
        raise InputError(f"{path} does not exist; give an image or a folder of images")
    return [path]


def _pictures(files: Sequence[Path]) -> Pictures:
    """Files and their pixels, with a progress bar; raises InputError for one that is no picture."""
    for file in track(files, "perceive", disable=len(files) < 2):
        image = cv2.imread(str(file), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise InputError(f"{file} is no readable image; give a .png or .jpg file")
        yield file, image
