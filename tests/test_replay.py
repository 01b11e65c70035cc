"""A recorded drive brought back: the same facts, a film that plays, a sheet, and a proof that can fail."""

import av
import cv2
import numpy as np
import pytest
from recorded_drive import DRIVE, SCENARIO, STEPS, driven, recorded

from envs.config import ConfigError
from envs.render import dashboard
from envs.render.bullet import DisplayError
from scenarios import recording, replay
from scenarios.recording import Recording, RecordingError
from scenarios.replay import ReplayConfig


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("replay") / "drive.npz"
    recording.write(path, recorded())
    return path


def test_facts_are_folded_again(file):
    """The rules say of the restored states what they said of the live ones."""
    states, env = driven()
    episode = replay.restore(recording.read(file))
    assert episode.facts[-1] == env.facts
    assert episode.traces.num_steps == STEPS and episode.traces.speed_mps[0] == states[0].ego.speed_mps
    assert episode.drive == DRIVE


def test_verify_proves_it_equal(file):
    answer = replay.run(ReplayConfig(file, verify=True))
    assert answer["is_passed"] is True and answer["state_sha256"] == answer["again_sha256"]
    assert answer["first_differing_step"] is None and answer["steps"] == STEPS


def test_verify_notices_another_control_and_says_where(file, tmp_path):
    """Steering a hundredth otherwise in step 10 (which a new hash hides from `read`) shows in state 11."""
    record = recording.read(file)
    control = record.arrays["control"].copy()
    control[10, 0] += 0.01
    arrays = record.arrays | {"control": control}
    forged = Recording(record.header | {"state_sha256": recording.state_digest(arrays)}, arrays)
    recording.write(tmp_path / "forged.npz", forged)
    answer = replay.run(ReplayConfig(tmp_path / "forged.npz", verify=True))
    assert answer["is_passed"] is False and answer["first_differing_step"] == 11
    assert any(line.startswith("ego: first differs at row 11") for line in answer["differences"])


@pytest.mark.slow
def test_film_is_h264_that_a_browser_plays(file, tmp_path):
    """Even sizes, yuv420p, the index before the data, one picture a step and a second of the last one."""
    out = tmp_path / "films" / "drive.mp4"
    answer = replay.run(ReplayConfig(file, out=out, speed=2.0, view_width_px=212))
    assert answer["mp4"] == str(out) and answer["size_bytes"] == out.stat().st_size > 10_000
    data = out.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat"), "faststart"
    with av.open(str(out)) as film:
        stream = film.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height) == dashboard.SIZE_PX and stream.average_rate == 20
        pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(pictures) == STEPS + 1 + 20
    assert np.abs(pictures[0].astype(int) - pictures[STEPS].astype(int)).mean() > 1.0, "it moves"
    assert np.abs(pictures[-1].astype(int) - pictures[-2].astype(int)).mean() < 1.0, "and stands at the end"
    assert list(out.parent.iterdir()) == [out], "no unfinished file is left"


def test_sheet_has_twelve_moments(file, tmp_path):
    replay.run(ReplayConfig(file, out=tmp_path / "sheet.png", sheet=True, view_width_px=212))
    image = cv2.imread(str(tmp_path / "sheet.png"))
    assert image.shape == (4 * 360, 3 * 640, 3)
    tiles = [image[360 * (k // 3):360 * (k // 3 + 1), 640 * (k % 3):640 * (k % 3 + 1)] for k in range(12)]
    assert all(tile.std() > 20 for tile in tiles)
    steps = replay.key_steps(replay.restore(recording.read(file)).facts)
    assert steps[0] == 0 and steps[-1] == STEPS and steps == sorted(set(steps))


def test_a_scenario_is_toured_without_a_driver(tmp_path):
    """Nobody drives: the camera keeps to the route's middle, the pedestrian walks, and it ends at the goal."""
    episode = replay.restore(replay.tour(SCENARIO))
    assert max(abs(fact.lateral_m) for fact in episode.facts[1:]) < 0.05
    assert episode.facts[-1].is_at_goal
    pose = [state.actors.pose[0, :2] for state in episode.states]
    assert np.hypot(*(pose[50] - pose[0])) == pytest.approx(5.0, abs=1e-6), "5 s at 1 m/s"
    file = tmp_path / "short.toml"
    file.write_text('name = "short"\ntown_seed = 3\n')
    with pytest.raises(ConfigError, match="is a scenario; give a recording to verify"):
        replay.run(ReplayConfig(file, verify=True))


def test_no_display_is_told_in_one_sentence(file, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(DisplayError, match="no display"):
        replay.run(ReplayConfig(file, window=True))


def test_odd_settings_in_a_header_are_refused():
    record = recorded()
    odd = Recording(record.header | {"config": {**record.header["config"], "wings": 2}}, record.arrays)
    with pytest.raises(RecordingError, match="settings are not those of this version"):
        replay.restore(odd)


@pytest.mark.parametrize(("settings", "said"), [
    ({"speed": 0.0}, "speed is 0"), ({"view_width_px": 3}, "view_width_px is 3"),
    ({"renderer": "gl"}, "renderer is gl"),
    ({"sheet": True, "verify": True}, "only one of"), ({"verify": True, "out": "x.mp4"}, "no file is written"),
])
def test_settings_out_of_range(settings, said):
    with pytest.raises(ConfigError, match=said):
        ReplayConfig("drive.npz", **settings)
