"""Every renderer of the table through one class, and the fast one against PyBullet's picture of the same scenes."""

import dataclasses
import functools
import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from envs.config import CameraConfig
from envs.render.boxes import INSTANCE_ACTOR, INSTANCE_SIGN, Boxes
from envs.render.camera import RENDERERS, CameraPose, Frame, pose_of, project_points
from envs.render.scene import Scene, SemanticClass, build_scene, static_scene
from envs.roads.procedural import build_town
from envs.state import ActorKind, Actors, Town, VehicleState, WorldState
from tests import straight_road

CAMERA = CameraConfig(width_px=160, height_px=80)
DRAWING = ("bullet", "raster")
CAR_M = (4.5, 1.8, 1.5)


def car(x_m: float, y_m: float, yaw_rad: float = 0.0, size_m: tuple = CAR_M, number: int = 3) -> Actors:
    return Actors(np.array([number]), np.array([int(ActorKind.VEHICLE)]), np.array([[x_m, y_m, yaw_rad]]),
                  np.array([size_m]), np.zeros(1), np.array([[30, 60, 200]], np.uint8),
                  np.zeros(1, np.uint8))


def in_town(town: Town, seed: int) -> tuple[Scene, VehicleState]:
    """A random place on a random lane, about in its direction, with random cars and people about it."""
    rng = np.random.default_rng([town.seed, seed])
    lane = town.network.lanes[rng.integers(len(town.network.lanes))]
    at = rng.integers(1, len(lane.centre_m))
    step = lane.centre_m[at] - lane.centre_m[at - 1]
    x, y = lane.centre_m[at] + rng.normal(0, 1, 2)
    ego = VehicleState(float(x), float(y), math.atan2(step[1], step[0]) + rng.normal(0, 0.4))
    count = int(rng.integers(1, 9))
    kind = rng.integers(2, size=count)
    distance, angle = rng.uniform(3.5, 60, count), rng.normal(ego.yaw_rad, 0.6, count)
    pose = np.stack([x + distance * np.cos(angle), y + distance * np.sin(angle), rng.uniform(-3, 3, count)], axis=1)
    size = np.where(kind[:, None] == ActorKind.VEHICLE, CAR_M, (0.5, 0.5, 1.75))
    colour = rng.integers(30, 220, (count, 3), np.uint8)
    apart = [k for k in range(count)  # two bodies in one place: which of their faces is nearer is a matter of rounding
             if all(np.hypot(*(pose[k] - pose[j])[:2]) > CAR_M[0] for j in range(k))]
    kind, pose, size, colour, count = kind[apart], pose[apart], size[apart], colour[apart], len(apart)
    actors = Actors(np.arange(count), kind, pose, size, np.zeros(count), colour, np.zeros(count, np.uint8))
    state = dataclasses.replace(straight_road.state(0.0), town=town, ego=ego, actors=actors)
    return build_scene(state), ego


def digest(frame: Frame) -> str:
    parts = (frame.rgb, frame.class_id, frame.instance_id, frame.depth_m)
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def drawn(name: str, state: WorldState, camera: CameraConfig = CAMERA) -> tuple[Frame, CameraPose]:
    """A frame of a state, and where it was taken from."""
    renderer, pose = RENDERERS[name](camera), pose_of(camera, state.ego)
    frame = renderer.render(build_scene(state), pose)
    renderer.close()
    return frame, pose


def pixel(camera: CameraConfig, pose: CameraPose, *point_m: float) -> tuple[int, int]:
    """(row, column) of the pixel on which a world point falls."""
    u, v, _ = project_points(camera, pose, np.array([point_m]))[0]
    return int(v), int(u)


def digest_of_town(name: str) -> str:
    """The hash of two frames of a town: also called from another process."""
    renderer, town = RENDERERS[name](CAMERA), build_town(4)
    frames = [renderer.render(scene, pose_of(CAMERA, ego)) for scene, ego in (in_town(town, seed) for seed in (1, 2))]
    renderer.close()
    return "".join(digest(frame) for frame in frames)


@pytest.mark.parametrize("name", DRAWING)
class TestRenderer:
    @pytest.mark.parametrize("size", [(320, 160), (96, 96), (17, 64)])
    def test_shapes_and_types(self, name, size):
        camera = CameraConfig(width_px=size[0], height_px=size[1])
        frame, _ = drawn(name, straight_road.state(20.0), camera)
        assert frame.rgb.shape == (size[1], size[0], 3) and frame.rgb.dtype == np.uint8
        assert frame.class_id.shape == (size[1], size[0]) and frame.class_id.dtype == np.uint8
        assert frame.instance_id.shape == (size[1], size[0]) and frame.instance_id.dtype == np.uint16
        assert frame.depth_m.shape == (size[1], size[0]) and frame.depth_m.dtype == np.float32
        assert set(np.unique(frame.class_id)) <= {int(kind) for kind in SemanticClass}

    @pytest.mark.parametrize("pitch_deg", [-8.0, 0.0, 12.0])
    def test_sky_above_the_horizon_and_ground_below(self, name, pitch_deg):
        camera = CameraConfig(width_px=160, height_px=80, pitch_deg=pitch_deg)
        frame, _ = drawn(name, straight_road.state(20.0), camera)
        horizon = 40 - camera.focal_px * math.tan(math.radians(pitch_deg))
        rows = np.arange(80) + 0.5
        assert (frame.class_id[rows < horizon - 1] == SemanticClass.SKY).all()
        assert (frame.class_id[rows > horizon + 1] != SemanticClass.SKY).all()
        assert np.isinf(frame.depth_m[rows < horizon - 1]).all()
        assert np.isfinite(frame.depth_m[rows > horizon + 1]).all()

    def test_ground_is_as_deep_as_the_plane(self, name):
        frame, _ = drawn(name, straight_road.state(20.0))
        rows = np.arange(80) + 0.5
        plane = CAMERA.height_m * CAMERA.focal_px / (rows[42:] - 40)
        ground = frame.class_id[42:] <= SemanticClass.KERB
        gap = np.abs(frame.depth_m[42:] - plane[:, None]) / plane[:, None]
        assert ground.mean() > 0.9 and gap[ground].max() < 0.01

    def test_known_points_have_their_class(self, name):
        """On the road made by hand: lane, edge line, kerb, grass, stop line, each at its pixel, in the large camera."""
        camera = CameraConfig()
        frame, pose = drawn(name, straight_road.state(138.0), camera)
        for kind, x, y in [(SemanticClass.ROAD, 146.0, -1.75), (SemanticClass.MARKING, 146.0, -3.5),
                           (SemanticClass.KERB, 146.0, -4.2), (SemanticClass.TERRAIN, 152.0, -7.6),
                           (SemanticClass.STOP_LINE, 149.75, -1.75), (SemanticClass.ROAD, 149.75, 1.75),
                           (SemanticClass.MARKING, 146.0, 3.5)]:
            assert frame.class_id[pixel(camera, pose, x, y, 0.0)] == kind, (kind, x, y)

    def test_colours_are_those_of_a_road(self, name):
        """Paint is bright, asphalt dark and grey, grass green, the sky blue."""
        frame, _ = drawn(name, straight_road.state(20.0), CameraConfig())
        mean = {kind: frame.rgb[frame.class_id == kind].mean(axis=0) for kind in (
            SemanticClass.SKY, SemanticClass.TERRAIN, SemanticClass.ROAD, SemanticClass.MARKING)}
        assert mean[SemanticClass.MARKING].min() > 2 * mean[SemanticClass.ROAD].max()
        assert np.ptp(mean[SemanticClass.ROAD]) < 12
        assert mean[SemanticClass.TERRAIN].argmax() == 1 and mean[SemanticClass.SKY].argmax() == 2

    def test_car_ahead_has_its_class_number_and_depth(self, name):
        """Rear bumper 12 m ahead of the camera: depth there, and nothing of it elsewhere."""
        state = straight_road.state(20.0, actors=car(21.6 + 12.0 + CAR_M[0] / 2, -1.75))
        frame, pose = drawn(name, state)
        at = pixel(CAMERA, pose, 33.6, -1.75, 0.6)
        assert frame.class_id[at] == SemanticClass.VEHICLE and frame.instance_id[at] == INSTANCE_ACTOR + 3
        assert frame.depth_m[at] == pytest.approx(12.0, abs=0.03)
        where = frame.instance_id == INSTANCE_ACTOR + 3
        np.testing.assert_array_equal(where, frame.class_id == SemanticClass.VEHICLE)
        rows, columns = np.nonzero(where)
        width = CAMERA.focal_px * 1.8 / 12
        assert np.ptp(columns) + 1 == pytest.approx(width, abs=2)
        assert rows.max() == pytest.approx(40 + CAMERA.focal_px * 1.4 / 12, abs=1.5)

    @pytest.mark.parametrize("ahead_m", [-0.5, 0.5, 1.5])
    def test_car_beside_the_camera_does_not_vanish(self, name, ahead_m):
        """A car that begins behind the camera and ends before it covers its side of the picture."""
        state = straight_road.state(20.0, actors=car(21.6 + ahead_m, -1.75 + 1.8))
        frame, _ = drawn(name, state)
        seen = frame.class_id == SemanticClass.VEHICLE
        assert seen[:, :20].mean() > 0.15 and not seen[:, 90:].any()
        assert frame.depth_m[seen].min() >= 0.24

    def test_wall_in_the_face_fills_the_picture(self, name):
        state = straight_road.state(20.0, actors=car(21.6 + 0.4 + 5, -1.75, size_m=(10.0, 12.0, 9.0)))
        frame, _ = drawn(name, state)
        assert (frame.class_id[20:60] == SemanticClass.VEHICLE).mean() > 0.9

    @pytest.mark.parametrize("centre_m", [(21.6, -1.75, 1.0), (15.0, -1.75, 1.0)], ids=["around", "behind"])
    def test_box_around_or_behind_the_camera_hides_nothing(self, name, centre_m):
        scene, pose = build_scene(straight_road.state(20.0)), pose_of(CAMERA, straight_road.state(20.0).ego)
        box = Boxes(np.array([centre_m]), np.array([[6.0, 6.0, 6.0]]), np.array([0.3]), np.full((1, 3), 9, np.uint8),
                    np.array([SemanticClass.BUILDING], np.uint8), np.array([77], np.uint16), np.zeros(1, bool))
        renderer = RENDERERS[name](CAMERA)
        with_box, without = (renderer.render(one, pose) for one in (dataclasses.replace(scene, actors=box), scene))
        renderer.close()
        assert digest(with_box) == digest(without)

    def test_fog_takes_contrast_by_the_law_of_its_visibility(self, name):
        """5 % of a contrast are left at the visibility, more nearer by; labels and depth know no fog."""
        state = straight_road.state(20.0, actors=car(21.6 + 50.0 + CAR_M[0] / 2, -1.75, size_m=(4.5, 3.0, 2.4)))
        scene, pose, renderer = build_scene(state), pose_of(CAMERA, state.ego), RENDERERS[name](CAMERA)
        clear, at = renderer.render(scene, pose), pixel(CAMERA, pose, 71.6, -1.75, 1.0)
        for visibility_m in (50.0, 100.0, 400.0):
            light = dataclasses.replace(scene.light, visibility_m=visibility_m)
            foggy = renderer.render(dataclasses.replace(scene, light=light), pose)
            left = 0.05 ** (50.0 / visibility_m)
            fog = np.array(light.sky_horizon)
            np.testing.assert_allclose(foggy.rgb[at] - fog, left * (clear.rgb[at] - fog), atol=1.5)
            for part in ("class_id", "instance_id", "depth_m"):
                np.testing.assert_array_equal(getattr(foggy, part), getattr(clear, part))
            near = np.abs(foggy.rgb[-1].astype(float) - clear.rgb[-1]).mean()
            assert near < np.abs(foggy.rgb[42].astype(float) - clear.rgb[42]).mean(), "the far road fades first"
        renderer.close()

    def test_near_hides_far(self, name):
        both = Actors(*(np.concatenate([getattr(part, field.name) for part in (
            car(45.0, -1.75, number=1), car(34.0, -1.75, number=2))]) for field in dataclasses.fields(Actors)))
        for actors in (both, Actors(*(getattr(both, field.name)[::-1] for field in dataclasses.fields(Actors)))):
            frame, pose = drawn(name, straight_road.state(20.0, actors=actors))
            assert frame.instance_id[pixel(CAMERA, pose, 31.75, -1.75, 0.5)] == INSTANCE_ACTOR + 2
            assert (frame.instance_id == INSTANCE_ACTOR + 1).sum() < 20

    @pytest.mark.slow
    def test_sign_shows_its_face_to_its_traffic_only(self, name):
        """From 8 m before each kind of a town's signs: its class and number, its own face rather than another's."""
        camera, town = CameraConfig(width_px=640, height_px=320), build_town(1)
        clean_first, read = np.lexsort([town.signs.leaves, town.signs.look]), []
        renderer = RENDERERS[name](camera)
        for row in clean_first[np.unique(town.signs.sign[clean_first], return_index=True)[1]]:
            x, y, yaw = town.signs.pose[row]
            height = town.signs.centre_height_m[row]
            scene = Scene(static_scene(town), build_scene(straight_road.state(0.0)).actors,
                          build_scene(straight_road.state(0.0)).light)
            front = VehicleState(x + 9.6 * math.cos(yaw), y + 9.6 * math.sin(yaw), yaw + math.pi)
            frame = renderer.render(scene, pose_of(camera, front))
            at = pixel(camera, pose_of(camera, front), x, y, height)
            assert frame.class_id[at] == SemanticClass.SIGN and frame.instance_id[at] == INSTANCE_SIGN + row
            assert frame.depth_m[at] == pytest.approx(8.0, abs=0.05)
            rows, columns = np.nonzero(frame.instance_id == INSTANCE_SIGN + row)
            seen = frame.rgb[rows.min():rows.max() + 1, columns.min():columns.max() + 1].astype(float)
            shown = static_scene(town).faces.texture[:len(town.signs.sign)]
            if town.signs.look[row] == 0 and town.signs.leaves[row] == 0:  # clean and whole
                read.append(town.signs.sign[shown == best_template(seen, 1)][0] == town.signs.sign[row])
            back = VehicleState(x - 9.6 * math.cos(yaw), y - 9.6 * math.sin(yaw), yaw)
            behind = renderer.render(scene, pose_of(camera, back))
            assert not (behind.instance_id == INSTANCE_SIGN + row).any()
            at = pixel(camera, pose_of(camera, back), x, y, height)
            assert behind.class_id[at] == SemanticClass.POLE or behind.depth_m[at] < 7.5, "its back, or what hides it"
        assert len(read) >= 4 and np.mean(read) >= 0.8, "figures in triangles are alike at this size"
        renderer.close()

    @pytest.mark.slow
    def test_two_renderers_and_another_process_give_the_same_bytes(self, name):
        here = digest_of_town(name)
        assert digest_of_town(name) == here
        root = Path(__file__).parents[1]
        told = subprocess.run(
            [sys.executable, "-c", f"from tests.test_renderers import *; print(digest_of_town({name!r}))"], check=True,
            cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True).stdout
        assert told.split()[-1] == here

    @pytest.mark.slow
    def test_frames_do_not_depend_on_what_was_drawn_before(self, name):
        """The same frame first, after another town, after other actors, and after another camera height."""
        towns = [build_town(seed) for seed in (4, 5)]
        (scene, ego), (other, elsewhere) = (in_town(town, 1) for town in towns)
        pose, fresh = pose_of(CAMERA, ego), RENDERERS[name](CAMERA)
        first = digest(fresh.render(scene, pose))
        fresh.render(other, pose_of(CAMERA, elsewhere))
        fresh.render(dataclasses.replace(scene, actors=other.actors), pose)
        fresh.render(scene, dataclasses.replace(pose, position_m=pose.position_m + np.array([0, 0, 1.0])))
        assert digest(fresh.render(scene, pose)) == first
        fresh.close()

    def test_a_frame_keeps_its_pixels_when_the_next_is_drawn(self, name):
        renderer, town = RENDERERS[name](CAMERA), build_town(4)
        frames = [renderer.render(scene, pose_of(CAMERA, ego)) for scene, ego in (in_town(town, k) for k in range(2))]
        before = digest(frames[0])
        scene, ego = in_town(town, 2)
        renderer.render(scene, pose_of(CAMERA, ego))
        assert digest(frames[0]) == before and digest(frames[1]) != before
        renderer.close()


@functools.cache
def templates(seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The faces that a town shows, and where they are sign, each cut to the box about its outline."""
    scene, cuts = static_scene(build_town(seed)), []
    for texture, outline in zip(scene.textures, scene.outlines, strict=True):
        if texture.shape[0] == 128:  # else it is the back of a sign
            inside = np.zeros((128, 128), np.uint8)
            cv2.fillConvexPoly(inside, np.round(128 * outline).astype(np.int32), 255)
            (left, top), (right, bottom) = (np.round(128 * f(axis=0)).astype(int) for f in (outline.min, outline.max))
            cuts.append((texture[top:bottom, left:right], inside[top:bottom, left:right]))
    return cuts


def best_template(seen: np.ndarray, seed: int) -> int:
    """The texture of a town whose face is most like a cut-out (H, W, 3), by correlation inside its outline."""
    scores = []
    for cut, inside in templates(seed):
        face, share = (cv2.resize(part, seen.shape[1::-1], interpolation=cv2.INTER_AREA) for part in (cut, inside))
        scores.append(np.corrcoef(face[share > 250].ravel(), seen[share > 250].ravel())[0, 1])
    return int(np.argmax(scores))


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How alike two frames are."""

    classes: float  # share of pixels
    unpainted: float  # the same with paint taken as road: how much of a far pixel is paint is a matter of sampling
    instances: float
    depth: float  # share of pixels away from edges within 2 cm or 1 %
    colour: float  # mean absolute difference, 0 to 255
    shifts_px: tuple[float, ...]  # of each instance: the largest shift of an edge of its bounding box


def compare(reference: Frame, frame: Frame) -> Agreement:
    inner = np.zeros(frame.class_id.shape, bool)
    inner[1:-1, 1:-1] = True
    for axis in (0, 1):
        for shift in (-1, 1):
            inner &= np.roll(reference.instance_id, shift, axis) == reference.instance_id
            inner &= np.roll(reference.class_id, shift, axis) == reference.class_id
    inner &= np.isfinite(reference.depth_m) & (reference.class_id == frame.class_id)
    gap = np.abs(frame.depth_m[inner] - reference.depth_m[inner])
    shifts = []
    for number in np.intersect1d(np.unique(reference.instance_id), np.unique(frame.instance_id)):
        first, second = (np.nonzero(picture.instance_id == number) for picture in (reference, frame))
        if number > 0 and len(first[0]) >= 12:  # smaller ones are a matter of single pixels
            shifts.append(float(max(abs(f(a) - f(b)) for a, b in zip(first, second, strict=True)
                                    for f in (np.min, np.max))))
    return Agreement(
        classes=float((reference.class_id == frame.class_id).mean()),
        unpainted=float((without_paint(reference.class_id) == without_paint(frame.class_id)).mean()),
        instances=float((reference.instance_id == frame.instance_id).mean()),
        depth=float((gap <= np.maximum(0.02, 0.01 * reference.depth_m[inner])).mean()),
        colour=float(np.abs(reference.rgb.astype(int) - frame.rgb).mean()), shifts_px=tuple(shifts))


def without_paint(class_id: np.ndarray) -> np.ndarray:
    return np.where(np.isin(class_id, (SemanticClass.MARKING, SemanticClass.STOP_LINE)), SemanticClass.ROAD, class_id)


def agreements(towns: range, scenes: int, camera: CameraConfig) -> list[Agreement]:
    found = []
    reference, raster = RENDERERS["bullet"](camera), RENDERERS["raster"](camera)
    for seed in towns:
        for number in range(scenes):
            scene, ego = in_town(build_town(seed), number)
            if number % 4 == 3:
                scene = dataclasses.replace(scene, light=dataclasses.replace(scene.light, visibility_m=120.0))
            pose = pose_of(camera, ego)
            found.append(compare(reference.render(scene, pose), raster.render(scene, pose)))
    reference.close()
    return found


def assert_agree(found: list[Agreement]) -> None:
    for one in found:
        assert one.classes >= 0.98 and one.instances >= 0.99, one
        assert one.depth >= 0.999, one
        assert one.colour < 2.0, one
    shifts = np.array([shift for one in found for shift in one.shifts_px])
    assert len(shifts) > 2 * len(found)
    assert (shifts <= 1.0).mean() > 0.99  # an edge along pixel centres may fall either way
    assert np.mean([one.classes for one in found]) > 0.998
    assert np.mean([one.unpainted for one in found]) > 0.999
    assert np.mean([one.colour for one in found]) < 1.0


@pytest.mark.slow
def test_raster_agrees_with_pybullet():
    assert_agree(agreements(range(3), 4, CameraConfig()))


@pytest.mark.exhaustive
@pytest.mark.parametrize("camera", [CameraConfig(), CameraConfig(96, 96, 100.0, 1.2, 1.0, 5.0)], ids=["wide", "square"])
def test_raster_agrees_with_pybullet_on_two_hundred_scenes(camera):
    assert_agree(agreements(range(100, 150), 4, camera))


@pytest.mark.exhaustive
def test_changing_towns_leaves_no_memory_behind():
    """PyBullet kept 9 MB of each town while meshes came as numbers."""
    process, camera = psutil.Process(), CameraConfig()
    renderers = [RENDERERS[name](camera) for name in DRAWING]
    scenes = [in_town(build_town(seed), 0) for seed in range(10)]  # more than static_scene keeps: each is made anew
    used = []
    for _ in range(4):
        for scene, ego in scenes:
            for renderer in renderers:
                renderer.render(scene, pose_of(camera, ego))
        used.append(process.memory_info().rss / 2**20)
    for renderer in renderers:
        renderer.close()
    assert used[-1] - used[0] < 20.0, used
