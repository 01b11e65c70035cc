"""`nanodrive replay`: a recorded episode as MP4, contact sheet or live window, or driven again to prove it equal.

The recording holds states, not pictures: every view is drawn again from them, without physics, by the renderer of
choice. Only `--verify` simulates. This is the one file of its room that knows `envs`; it knows no policy.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import tyro
from rich.console import Console
from rich.progress import track

from envs.config import CameraConfig, DriveConfig, Patience, RewardConfig, require
from envs.driving_env import DrivingEnv
from envs.geometry import Array
from envs.history import arrays_of, states_of
from envs.metrics import CONDITIONS, EVENTS
from envs.render import dashboard
from envs.render.camera import RENDERERS, pose_of
from envs.render.dashboard import Moment, Traces
from envs.render.scene import build_scene
from envs.reward import reward
from envs.rules import GOAL_M, Facts, fold, initial_facts, initial_memory
from envs.state import Control, VehicleState, WorldState
from scenarios import recording, spec
from scenarios.recording import Recording, RecordingError

SHEET_FRAMES, SHEET_COLUMNS = 12, 3
CRF, PRESET = "28", "veryfast"  # of x264: some 10 kB a picture, 18 ms of one core
PREVIEW_SHARE = 0.6  # of the speed limit, at which a scenario without a driver is toured


@dataclass(frozen=True)
class ReplayConfig:
    """Settings of `nanodrive replay`."""

    file: tyro.conf.Positional[Path]
    """a recording (.npz) that `nanodrive evaluate` made, or a scenario (.toml) to tour without a driver"""
    out: Path | None = None
    """the MP4 (or PNG) to write; default: beside the recording, or runs/ for a scenario"""
    sheet: bool = False
    """write a PNG contact sheet of 12 moments instead of the MP4"""
    window: bool = False
    """show the drive in a live window instead (needs a display)"""
    verify: bool = False
    """drive it again from seed and controls instead; exit code 1 unless every state is equal"""
    speed: float = 1.0
    """how much faster than life the film runs, 0.1 to 20"""
    renderer: str = "raster"
    """row of RENDERERS that draws the driver's view"""
    view_width_px: int = dashboard.VIEW_BOX[2]
    """width in which the driver's view is rendered before it is scaled [px], 64 to 1696"""

    def __post_init__(self) -> None:
        require(0.1 <= self.speed <= 20, f"speed is {self.speed}; give 0.1 to 20")
        require(64 <= self.view_width_px <= 1696, f"view_width_px is {self.view_width_px}; give 64 to 1696")
        require(self.renderer in RENDERERS, f"renderer is {self.renderer}; give one of {', '.join(RENDERERS)}")
        require(self.sheet + self.window + self.verify <= 1, "give only one of --sheet, --window and --verify")
        require(self.out is None or not (self.window or self.verify), "--out is given, but no file is written; drop it")


@dataclass(frozen=True, eq=False)
class Episode:
    """A recording brought back: what it holds as values of the world. Lists have T + 1 entries, one an instant."""

    record: Recording
    drive: DriveConfig
    states: list[WorldState]
    facts: list[Facts]
    terms: list[dict[str, float]]
    traces: Traces


def run(config: ReplayConfig) -> dict[str, Any]:
    """Do what is asked for; raises RecordingError, ScenarioError, ConfigError, DisplayError.

    A film that another program is to play is H.264 in yuv420p with its index in front.
    """
    started = time.monotonic()
    is_scenario = config.file.suffix == ".toml"
    record = tour(spec.load(config.file)) if is_scenario else recording.read(config.file)
    if config.verify:
        require(not is_scenario, f"{config.file} is a scenario; give a recording to verify")
        return verify(record) | {"recording": str(config.file), "duration_s": round(time.monotonic() - started, 2)}
    episode = restore(record)
    answer: dict[str, Any] = {"recording": str(config.file), "steps": record.num_steps}
    beside = Path("runs") / config.file.name if is_scenario else config.file
    if config.window:
        show_window(episode, config.speed)
    elif config.sheet:
        path = config.out or beside.with_suffix(".png")
        write_sheet(path, episode, config)
        answer["sheet"] = str(path)
    else:
        path = config.out or beside.with_suffix(".mp4")
        write_film(path, episode, config)
        answer |= {"mp4": str(path), "size_bytes": path.stat().st_size}
    return answer | {"duration_s": round(time.monotonic() - started, 2)}


def tour(scenario: spec.Scenario) -> Recording:
    """A scenario without driver and physics: the camera glides along the route, everybody else moves as planned."""
    drive = DriveConfig(renderer="none")
    env = DrivingEnv(drive, ends="evaluation")
    try:
        env.reset(seed=0, options={"scenario": scenario})
    finally:
        env.close()
    states = [env.state]
    route, actors, station_m = env.state.route, env.state.actors, 0.0
    while station_m < route.length_m - GOAL_M:
        speed = PREVIEW_SHARE * float(route.speed_limit_mps[route.index_at(station_m)])
        station_m = min(station_m + speed * drive.control_dt_s, route.length_m)
        x, y, yaw = (float(np.interp(station_m, route.station_m, column))
                     for column in (*route.points_m.T, route.heading_rad))
        step = len(states)
        along = np.stack([np.cos(actors.pose[:, 2]), np.sin(actors.pose[:, 2]), np.zeros(len(actors.id))], axis=1)
        pose = actors.pose + along * (actors.speed_mps * step * drive.control_dt_s)[:, None]
        states.append(dataclasses.replace(
            env.state, time_s=step * drive.control_dt_s, step=step, ego=VehicleState(x, y, yaw, speed_mps=speed),
            actors=dataclasses.replace(actors, pose=pose)))
    arrays = arrays_of(states)
    header = {"version": recording.RECORDING_VERSION, "scenario": scenario.model_dump(mode="json"), "seed": 0,
              "config": dataclasses.asdict(drive), "policy": "tour, nobody drives", "score": {"status": "toured"},
              "state_sha256": recording.state_digest(arrays), "frame_sha256": None}
    return Recording(header, arrays)


def drive_config(values: dict[str, Any]) -> DriveConfig:
    """The settings in a recording's header; RecordingError when they are not those of this version."""
    try:
        camera, terms = CameraConfig(**values["camera"]), values["reward"]
        return DriveConfig(**values | {
            "camera": camera, "reward": RewardConfig(**terms | {"factors": tuple(terms["factors"])}),
            "training_patience": Patience(**values["training_patience"]),
            "evaluation_patience": Patience(**values["evaluation_patience"])})
    except (TypeError, KeyError, ValueError) as error:
        raise RecordingError(f"the recording's settings are not those of this version ({error}); "
                             "record it again") from None


def restore(record: Recording) -> Episode:
    """States from the arrays, and what the rules make of them."""
    drive = drive_config(record.header["config"])
    states = states_of(record.arrays, spec.parse(record.header["scenario"]))
    memory = initial_memory(states[0], drive.evaluation_patience)
    facts = [initial_facts(memory)]
    for state in states[1:]:
        memory, fact = fold(memory, state)
        facts.append(fact)
    terms = [reward(fact, drive.reward)[1] for fact in facts]
    factors = [{name: term[name] for name in drive.reward.factors} for term in terms]
    return Episode(record, drive, states, facts, factors, _traces(record, drive, states, facts))


def _traces(record: Recording, drive: DriveConfig, states: Sequence[WorldState], facts: Sequence[Facts]) -> Traces:
    score = record.header["score"]
    ending = str(score.get("status", ""))
    if "driving_score" in score:
        ending += (f": {score['end']},  driving score {score['driving_score']:.1f},  "
                   f"route {score['route_completion']:.0f} %")
    return Traces(
        title=f"{record.header['policy']}  ·  {record.header['scenario']['name']}", dt_s=drive.control_dt_s,
        speed_mps=np.array([state.ego.speed_mps for state in states]),
        limit_mps=np.array([fact.speed_limit_mps for fact in facts]), control=record.arrays["control"],
        completion=np.array([fact.completion for fact in facts]), faults=tuple(_faults(facts)), ending=ending)


def _faults(facts: Sequence[Facts]) -> Iterator[tuple[int, str]]:
    """(step, name) of everything that the score counts, in order."""
    held = dict.fromkeys(CONDITIONS, False)
    for step, fact in enumerate(facts):
        for name, happens in EVENTS.items():
            if happens(fact):
                yield step, name
        for name, holds in CONDITIONS.items():
            if (now := holds(fact)) and not held[name]:
                yield step, name
            held[name] = now


def pictures(episode: Episode, steps: Sequence[int], config: ReplayConfig) -> Iterator[Array]:
    """The dashboard uint8 (720, 1280, 3) of each wanted step."""
    own = episode.drive.camera
    scale = config.view_width_px / own.width_px
    camera = dataclasses.replace(own, width_px=config.view_width_px, height_px=max(16, round(own.height_px * scale)))
    renderer = RENDERERS[config.renderer](camera)
    trail = np.array([(state.ego.x_m, state.ego.y_m) for state in episode.states])
    try:
        for step in steps:
            state = episode.states[step]
            frame = renderer.render(build_scene(state), pose_of(camera, state.ego))
            given = episode.record.arrays["control"][min(step, episode.record.num_steps - 1)]
            yield dashboard.draw(episode.traces, Moment(
                step=step, state=state, rgb=frame.rgb, camera=camera, facts=episode.facts[step],
                control=Control(*given.tolist()), terms=episode.terms[step], trail_m=trail[:step + 1],
                percept=percept_at(episode.record, step), percept_camera=own))
    finally:
        renderer.close()


def percept_at(record: Recording, step: int) -> dict[str, Array] | None:
    """What the driver perceived at a step, by field; the last one at the end; None when it did not perceive."""
    prefix = "percept_"
    row = min(step, record.num_steps - 1)
    return {name.removeprefix(prefix): array[row] for name, array in record.arrays.items()
            if name.startswith(prefix)} or None


def write_film(path: Path, episode: Episode, config: ReplayConfig) -> None:
    """An MP4 that plays in a browser, written beside its name first; the last picture stands for a second."""
    rate = max(1, round(config.speed / episode.drive.control_dt_s))
    steps = list(range(len(episode.states))) + [len(episode.states) - 1] * rate
    shown = track(pictures(episode, steps, config), "film", total=len(steps), console=Console(stderr=True))
    _written(path, lambda unfinished: encode(unfinished, shown, rate))


def encode(path: Path, frames: Iterable[Array], rate_hz: int) -> None:
    """Pictures of a dashboard's size as H.264 in yuv420p with the index in front."""
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as film:
        stream = film.add_stream("libx264", rate=rate_hz, options={"crf": CRF, "preset": PRESET})
        stream.width, stream.height = dashboard.SIZE_PX
        stream.pix_fmt = "yuv420p"
        for image in frames:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        film.mux(stream.encode())


def write_sheet(path: Path, episode: Episode, config: ReplayConfig) -> None:
    """A PNG of SHEET_FRAMES moments, evenly spread over the way driven, and over time where it stood."""
    steps = key_steps(episode.facts)
    tiles = [cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
             for image in track(pictures(episode, steps, config), "sheet", total=len(steps),
                                console=Console(stderr=True))]
    rows = [np.concatenate(tiles[k:k + SHEET_COLUMNS], axis=1) for k in range(0, len(tiles), SHEET_COLUMNS)]
    image = np.concatenate(rows, axis=0)
    _written(path, lambda unfinished: unfinished.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes()))


def key_steps(facts: Sequence[Facts]) -> list[int]:
    """SHEET_FRAMES steps from first to last, half by the way driven and half by time."""
    way = np.cumsum([fact.distance_m for fact in facts])
    share = 0.5 * way / max(way[-1], 1e-9) + 0.5 * np.linspace(0, 1, len(facts))
    return [int(np.abs(share - at).argmin()) for at in np.linspace(share[0], share[-1], SHEET_FRAMES)]


def _written(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file under another name and rename it when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def show_window(episode: Episode, speed: float) -> None:
    """Play the drive in PyBullet's window. Raises DisplayError where there is no display."""
    from envs.render.bullet import BulletWindow

    window = BulletWindow()
    try:
        for state in episode.states:
            due = time.monotonic() + episode.drive.control_dt_s / speed
            window.show(build_scene(state), state.ego)
            time.sleep(max(0.0, due - time.monotonic()))
    finally:
        window.close()


def verify(record: Recording) -> dict[str, Any]:
    """Drive it again from scenario, seed and controls; whether every state is the same, or where it first is not."""
    drive = dataclasses.replace(drive_config(record.header["config"]), renderer="none")
    env = DrivingEnv(drive, ends="evaluation")
    try:
        env.reset(seed=record.header["seed"], options={"scenario": spec.parse(record.header["scenario"])})
        states = [env.state]
        for control in record.arrays["control"]:
            env.advance(control)
            states.append(env.state)
        score = dataclasses.asdict(env.score()) if record.num_steps else {}
    finally:
        env.close()
    arrays = arrays_of(states)
    again = Recording(record.header | {"state_sha256": recording.state_digest(arrays), "score": score}, arrays)
    told = Recording(record.header, {name: record.arrays[name] for name in recording.ARRAYS})
    differences = recording.diff(told, again)
    return {"is_passed": not differences, "steps": record.num_steps, "state_sha256": record.header["state_sha256"],
            "again_sha256": again.header["state_sha256"], "first_differing_step": first_difference(told, again),
            "differences": differences}


def first_difference(told: Recording, again: Recording) -> int | None:
    """The first instant whose ego state or actors differ; None if there is none."""
    for step in range(len(told.arrays["time_s"])):
        if any(not np.array_equal(told.arrays[name][step], again.arrays[name][step])
               for name in ("time_s", "ego", "actors_pose", "actors_speed_mps")):
            return step
    return None
