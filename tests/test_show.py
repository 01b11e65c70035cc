"""`nanodrive perceive` on pictures, folders and videos: overlays where the percept is, JSON that says the same."""

import json
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest
import torch

from envs.config import CameraConfig, ConfigError
from envs.labels import PATH_STATIONS_M
from envs.roads.routes import navigation
from envs.signs import SIGN_INDEX
from perception import checkpoint, show
from perception.model import DriveNet, describe
from perception.perceiver import Perceiver
from perception.show import BOUNDARY_RGB, PATH_RGB, SIGN_RGB, InputError, PerceiveConfig

CAMERA = CameraConfig()
IMAGE = np.full((160, 320, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    model, stem = DriveNet(), tmp_path_factory.mktemp("weights") / "net"
    checkpoint.save(stem, model.state_dict(), describe(model) | {"camera": {}})
    return stem


@pytest.fixture(scope="module")
def percept(weights):
    return Perceiver.load(weights).perceive(IMAGE[None], navigation()[None])


def near(overlay, u, v, colour):
    """Whether the overlay shows a colour within 3 px of a point."""
    patch = overlay[max(v - 3, 0):v + 4, max(u - 3, 0):u + 4].astype(int)
    return bool((np.abs(patch - np.array(colour)).sum(-1) < 40).any())


def test_overlay_draws_each_thing_where_it_is(percept):
    straight = np.stack([PATH_STATIONS_M, np.zeros(12)], 1)[None].astype(np.float32)
    box = np.array([[[200, 40, 220, 60]] + [[0] * 4] * 7], np.float32)
    drawn = replace(percept, path_m=straight, boundaries_px=np.full((1, 2, 16), 80, np.float32), sign_box_px=box,
                    sign_class=np.array([[SIGN_INDEX["stop"]] + [-1] * 7]),
                    sign_confidence=np.ones((1, 8), np.float32), around=None)
    overlay = show.overlay(IMAGE, drawn, 0, CAMERA)
    assert overlay.shape == (480, 960, 3)
    depth = 10.0 - CAMERA.forward_m
    assert near(overlay, 480, round(240 + 1.4 * CAMERA.focal_px * 3 / depth), PATH_RGB)
    assert near(overlay, 240, 477, BOUNDARY_RGB) and near(overlay, 600, 150, SIGN_RGB)
    assert not near(overlay, 100, 60, SIGN_RGB)


def test_pictures_and_folders_give_overlays_and_json(tmp_path, weights):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.jpg"):
        cv2.imwrite(str(folder / name), IMAGE)
    result = show.run(PerceiveConfig(paths=(folder,), out=tmp_path / "out", weights=weights, command="left"))
    assert result["files"] == 2 and result["frames"] == 2
    assert cv2.imread(str(tmp_path / "out" / "a.png")).shape == (480, 960, 3)
    rows = json.loads((tmp_path / "out" / "percepts.json").read_text())
    assert [row["file"][-5:] for row in rows] == ["a.png", "b.jpg"]
    assert np.shape(rows[0]["path_m"]) == (12, 2) and len(rows[0]["lead_m"]) == 20


def test_video_in_video_out(tmp_path, weights):
    source = tmp_path / "drive.mp4"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 160, "yuv420p"
        for k in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(IMAGE + np.uint8(k), format="rgb24")))
        container.mux(stream.encode())
    assert show.run(PerceiveConfig(paths=(source,), out=tmp_path / "out", weights=weights))["frames"] == 5
    with av.open(str(tmp_path / "out" / "drive.mp4")) as container:
        frames = list(container.decode(video=0))
        assert len(frames) == 5 and container.streams.video[0].codec_context.name == "h264"


@pytest.mark.parametrize(("shape", "cut"), [
    ((160, 320), (160, 320)), ((300, 400), (200, 400)), ((100, 400), (100, 200)), ((1080, 1920), (960, 1920))])
def test_view_is_cut_around_the_middle(shape, cut):
    image = np.zeros((*shape, 3), np.uint8)
    image[shape[0] // 2, shape[1] // 2] = 255
    view = show.cut_to_view(image, CAMERA)
    assert view.shape[:2] == cut and view[cut[0] // 2, cut[1] // 2, 0] == 255


def nothing(path):
    return path / "nothing.png"


def empty_folder(path):
    (path / "empty").mkdir()
    return path / "empty"


def text_as_png(path):
    (path / "text.png").write_text("not a picture")
    return path / "text.png"


def text_as_mp4(path):
    (path / "text.mp4").write_text("not a video")
    return path / "text.mp4"


@pytest.mark.parametrize("make", [nothing, empty_folder, text_as_png, text_as_mp4])
def test_unreadable_input_is_said_in_one_sentence(tmp_path, weights, make):
    path = make(tmp_path)
    with pytest.raises(InputError) as caught:
        show.run(PerceiveConfig(paths=(path,), out=tmp_path / "out", weights=weights))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_no_input_and_bad_commands_are_refused(weights):
    with pytest.raises(InputError):
        show.run(PerceiveConfig(weights=weights))
    for bad in ({"command": "upwards"}, {"manoeuvre_m": -1.0}):
        with pytest.raises(ConfigError):
            PerceiveConfig(**bad)
