"""Recordings: round trips, and every way to spoil a file ends in one sentence."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envs.rules import COLLISIONS
from envs.state import VehicleState
from scenarios import recording
from scenarios.recording import ARRAYS, Recording, RecordingError, diff, read, state_digest, write
from scenarios.spec import Scenario


def sample(steps: int = 5, actors: int = 2, contacts: int = 1, seed: int = 0) -> Recording:
    rng = np.random.default_rng(seed)
    sizes = {"N": steps + 1, "T": steps, "K": actors, "C": contacts}
    arrays = {name: rng.random([sizes.get(dim, dim) for dim in dims]).astype(dtype)
              for name, (dtype, dims) in ARRAYS.items()}
    arrays["time_s"] = np.arange(steps + 1) * 0.1
    arrays["facts_ttc_s"] = np.full(steps, np.inf)
    arrays["percept_path_m"] = rng.random((steps, 12, 2), np.float32)
    header = {"version": recording.RECORDING_VERSION,
              "scenario": Scenario(name="a", town_seed=3).model_dump(mode="json"), "seed": 4,
              "config": {"renderer": "none"}, "policy": "expert", "score": {"driving_score": 90.5},
              "state_sha256": state_digest(arrays), "frame_sha256": None}
    return Recording(header, arrays)


def spoiled(changes: dict | None = None, **header: object) -> Recording:
    """A sample with arrays replaced (None: removed) and header keys replaced, its hash made to fit."""
    arrays = {name: array for name, array in {**sample().arrays, **(changes or {})}.items() if array is not None}
    digest = state_digest(arrays) if set(ARRAYS) <= set(arrays) else ""
    return Recording({**sample().header, "state_sha256": digest, **header}, arrays)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 20), st.integers(0, 4), st.integers(0, 3), st.integers(0, 99))
def test_round_trip_is_exact(tmp_path, steps, actors, contacts, seed):
    first = sample(steps, actors, contacts, seed)
    write(tmp_path / "a.npz", first)
    again = read(tmp_path / "a.npz")
    assert diff(first, again) == [] and again.header == first.header and again.num_steps == steps
    assert list(tmp_path.iterdir()) == [tmp_path / "a.npz"]  # no temporary file left


def test_same_recording_same_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        write(tmp_path / name, sample())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_field_orders_are_those_of_the_world():
    assert tuple(field.name for field in fields(VehicleState)) == recording.EGO_FIELDS
    assert recording.CONTACT_KINDS == COLLISIONS


def test_digest_notices_every_array():
    arrays, seen = sample().arrays, {state_digest(sample().arrays)}
    for name in ARRAYS:
        changed = arrays[name].copy()
        changed.flat[0] += 1
        seen.add(state_digest({**arrays, name: changed}))
    assert len(seen) == 1 + len(ARRAYS)


BAD = {
    "version": (spoiled(version=1), "version 1; this program reads version 2"),
    "header key": (spoiled(extra=1), "extra"),
    "header type": (spoiled(seed="4"), "'seed' of type str"),
    "scenario": (spoiled(scenario={"name": "a", "town_seed": 3, "speed": 1}), "unknown key 'speed'"),
    "hash": (spoiled(state_sha256="0" * 64), "state_sha256"),
    "missing": (spoiled({"ego": None}), "missing arrays \\(ego\\)"),
    "unknown": (spoiled({"egg": np.zeros(5)}), "unknown ones \\(egg\\)"),
    "dtype": (spoiled({"ego": np.zeros((6, 11), np.float32)}), "ego as float32"),
    "shape": (spoiled({"ego": np.zeros((6, 10))}), "ego as float64 \\(6, 10\\); it must be float64 \\(6, 11\\)"),
    "steps": (spoiled({"control": np.zeros((6, 2))}), "it must be float64 \\(5, 2\\)"),
    "actors": (spoiled({"actors_pose": np.zeros((6, 3, 3))}), "actors_speed_mps"),
    "nan": (spoiled({"control": np.full((5, 2), np.nan)}), "not finite"),
    "range": (spoiled({"control": np.full((5, 2), 1.5)}), "control that are out of range"),
    "time": (spoiled({"time_s": np.zeros(6)}), "time_s that are out of range"),
    "contact": (spoiled({"contact_step": np.array([6])}), "contact_step that are out of range"),
    "facts": (spoiled({"facts_ttc_s": np.zeros(6)}), "must be numbers with 5 rows"),
    "no instant": (spoiled({"time_s": np.zeros(0)}), "it must be"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_content_is_refused_by_write_and_by_read(tmp_path, name, monkeypatch):
    bad, message = BAD[name]
    with pytest.raises(RecordingError, match=message):
        write(tmp_path / "a.npz", bad)
    assert list(tmp_path.iterdir()) == []
    with monkeypatch.context() as patch:
        patch.setattr(recording, "_check", lambda *_: None)
        write(tmp_path / "a.npz", bad)
    with pytest.raises(RecordingError, match=message) as caught:
        read(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


def test_header_that_json_cannot_hold(tmp_path):
    with pytest.raises(RecordingError, match="JSON cannot hold"):
        write(tmp_path / "a.npz", spoiled(score={"x": float("nan")}))


@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 500, b"PK\x03\x04", b"just text", None])
def test_files_that_are_no_recording(tmp_path, content):
    path = tmp_path / "a.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecordingError, match=r"a\.npz"):
        read(path)
    with pytest.raises(RecordingError, match="cannot read"):
        read(tmp_path)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(0, 7), st.booleans())
def test_cut_files_and_flipped_bits_are_noticed_or_harmless(tmp_path, where, bit, is_cut):
    path, whole = tmp_path / "a.npz", sample()
    write(path, whole)
    data = bytearray(path.read_bytes())
    where %= len(data)
    if is_cut:
        del data[where:]
    else:
        data[where] ^= 1 << bit
    path.write_bytes(data)
    try:
        assert diff(read(path), whole) == []  # a flipped time stamp of the zip changes nothing
        assert not is_cut
    except RecordingError:
        pass


def _zip(path, entries: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def test_pickles_bombs_and_lies_about_size_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, header=np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(RecordingError, match="damaged"):
        read(path)
    claim = str({"descr": "<f8", "fortran_order": False, "shape": (10**12,)}).encode()
    claim = b"\x93NUMPY\x01\x00v\x00" + claim.ljust(117) + b"\n" + bytes(16)
    _zip(path, {"ego.npy": claim})
    with pytest.raises(RecordingError, match="1000000000000"):
        read(path)
    _zip(path, {f"facts_{i}.npy": b"" for i in range(200)})
    with pytest.raises(RecordingError, match="200 arrays"):
        read(path)
    _zip(path, {"../evil": b""})
    with pytest.raises(RecordingError, match="odd entry"):
        read(path)


def test_file_over_the_limit_is_not_opened(tmp_path, monkeypatch):
    write(tmp_path / "a.npz", sample())
    monkeypatch.setattr(recording, "MAX_FILE_BYTES", 100)
    with pytest.raises(RecordingError, match="at most 100"):
        read(tmp_path / "a.npz")
    monkeypatch.undo()
    monkeypatch.setattr(recording, "MAX_ARRAY_BYTES", 100)
    with pytest.raises(RecordingError, match="of 100 are read"):
        read(tmp_path / "a.npz")


def test_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    write(tmp_path / "a.npz", sample())

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path / "a.npz", sample(seed=1))
    assert diff(read(tmp_path / "a.npz"), sample()) == [] and len(list(tmp_path.iterdir())) == 1


def test_diff_names_what_differs_and_where():
    other = sample()
    other.arrays["ego"][3, 2] += 0.25
    del other.arrays["facts_ttc_s"]
    other.header["seed"] = 5
    lines = diff(sample(), other)
    assert lines == ["header seed: 4 is not 5", "ego: first differs at row 3, by at most 0.25",
                     "facts_ttc_s: only in the first"]
    assert json.dumps(lines)
