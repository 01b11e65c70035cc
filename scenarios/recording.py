"""One episode on disk: an .npz of plain arrays with a JSON header; written whole or not at all, checked whole on read.

Arrays, for T steps (T + 1 instants) and K actors, all of them required:

    time_s            (T+1,)       float64
    ego               (T+1, 11)    float64   fields of envs.state.VehicleState in order (EGO_FIELDS)
    control           (T, 2)       float64   steer, drive: as executed, after clipping
    actors_pose       (T+1, K, 3)  float64   x_m, y_m, yaw_rad
    actors_speed_mps  (T+1, K)     float64
    actors_id         (K,)         int64
    actors_kind       (K,)         int64     envs.state.ActorKind
    actors_size_m     (K, 3)       float64
    actors_colour     (K, 3)       uint8
    actors_lamps      (T+1, K)     uint8     flags of envs.state.Lamp
    contact_step      (C,)         int64     index of the instant
    contact_kind      (C,)         int64     index in CONTACT_KINDS
    contact_id        (C,)         int64
    contact_impulse_ns (C,)        float64

Optional: `facts_<field of Facts>` (T,) and `percept_<field of Percept>` (T, ...), bool, integer or float.

The header holds HEADER_KEYS; `state_sha256` is the digest of the required arrays, so a changed digit is noticed;
`frame_sha256` that of all camera frames, or null. Nothing here knows the world: scenarios/replay.py turns it back into
states. No pickle on any path.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from scenarios.spec import ScenarioError, parse

RECORDING_VERSION = 2
MAX_FILE_BYTES = 256 * 2**20
MAX_ARRAY_BYTES = 512 * 2**20  # all arrays together, unpacked
MAX_ARRAYS = 128

EGO_FIELDS = ("x_m", "y_m", "yaw_rad", "roll_rad", "pitch_rad", "speed_mps", "lateral_speed_mps", "yaw_rate_radps",
              "accel_mps2", "lateral_accel_mps2", "steer_rad")
CONTACT_KINDS = ("pedestrian", "vehicle", "static")

HEADER_KEYS = ("version", "scenario", "seed", "config", "policy", "score", "state_sha256", "frame_sha256")
HEADER_ENTRY = "header"  # JSON bytes as uint8

# Required arrays: dtype, and a shape whose letters must agree across arrays (N = T + 1 instants).
ARRAYS: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "time_s": ("float64", ("N",)),
    "ego": ("float64", ("N", len(EGO_FIELDS))),
    "control": ("float64", ("T", 2)),
    "actors_pose": ("float64", ("N", "K", 3)),
    "actors_speed_mps": ("float64", ("N", "K")),
    "actors_id": ("int64", ("K",)),
    "actors_kind": ("int64", ("K",)),
    "actors_size_m": ("float64", ("K", 3)),
    "actors_colour": ("uint8", ("K", 3)),
    "actors_lamps": ("uint8", ("N", "K")),
    "contact_step": ("int64", ("C",)),
    "contact_kind": ("int64", ("C",)),
    "contact_id": ("int64", ("C",)),
    "contact_impulse_ns": ("float64", ("C",)),
}
OPTIONAL_PREFIXES = ("facts_", "percept_")


class RecordingError(ValueError):
    """A recording that cannot be used; the message is one sentence that names the fault."""


@dataclass(frozen=True, eq=False)
class Recording:
    """One episode: `header` is JSON data with HEADER_KEYS, `arrays` are described in the module's docstring."""

    header: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    @property
    def num_steps(self) -> int:
        return len(self.arrays["control"])


def state_digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 (hex) of the required arrays: names, dtypes, shapes and bytes, in the order of ARRAYS."""
    digest = hashlib.sha256()
    for name, (dtype, _) in ARRAYS.items():
        array = np.ascontiguousarray(arrays[name], dtype=np.dtype(dtype).newbyteorder("<"))
        digest.update(f"{name} {dtype} {array.shape};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def write(path: str | Path, recording: Recording) -> None:
    """Write atomically (temporary file in the same folder, fsync, rename). RecordingError if `read` would refuse it."""
    path = Path(path)
    _check(recording, str(path))
    try:
        header = np.frombuffer(json.dumps(recording.header, sort_keys=True, allow_nan=False).encode(), np.uint8)
    except (TypeError, ValueError) as error:
        raise RecordingError(f"recording {path} has a header that JSON cannot hold ({error})") from None
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **{HEADER_ENTRY: header}, **recording.arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read(path: str | Path) -> Recording:
    """The recording of a file; RecordingError on anything odd: size, names, types, shapes, version, hash, scenario."""
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise RecordingError(f"recording {path} has {size} bytes; at most {MAX_FILE_BYTES} are read")
        with zipfile.ZipFile(path) as archive:
            arrays = _read_arrays(archive, path)
    except OSError as error:
        raise RecordingError(f"cannot read recording {path}: {error.strerror or error}; give an .npz file") from None
    except RecordingError:
        raise
    except Exception as error:  # zipfile and numpy raise a dozen kinds on damaged bytes
        reason = str(error) or type(error).__name__
        raise RecordingError(f"recording {path} is damaged ({reason}); record it again") from None
    header = _parse_header(arrays.pop(HEADER_ENTRY, None), path)
    recording = Recording(header, arrays)
    _check(recording, str(path))
    return recording


def _read_arrays(archive: zipfile.ZipFile, path: Path) -> dict[str, NDArray[Any]]:
    """Every array of the archive, its size told by its own header compared with the file's before it is allocated."""
    entries = archive.infolist()
    total = sum(entry.file_size for entry in entries)
    if len(entries) > MAX_ARRAYS or total > MAX_ARRAY_BYTES:
        raise RecordingError(f"recording {path} holds {len(entries)} arrays of {total} bytes; "
                             f"at most {MAX_ARRAYS} of {MAX_ARRAY_BYTES} are read")
    arrays: dict[str, NDArray[Any]] = {}
    for entry in entries:
        name = entry.filename.removesuffix(".npy")
        if name == entry.filename or name in arrays:
            raise RecordingError(f"recording {path} holds an odd entry '{entry.filename}'; record it again")
        with archive.open(entry) as file:
            arrays[name] = _read_array(cast("IO[bytes]", file), entry.file_size)
    return arrays


def _read_array(file: IO[bytes], size: int) -> NDArray[Any]:
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"array format {version}")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    count = int(np.prod([int(n) for n in shape], dtype=object)) if shape else 1
    if dtype.hasobject or dtype.kind not in "biuf" or count * dtype.itemsize > size:
        raise ValueError(f"array of {dtype} {shape} in {size} bytes")
    data = file.read(count * dtype.itemsize + 1)
    if len(data) != count * dtype.itemsize:
        raise ValueError(f"array of {dtype} {shape} with {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C").copy()


def _parse_header(raw: NDArray[Any] | None, path: Path) -> dict[str, Any]:
    if raw is None or raw.dtype != np.uint8 or raw.ndim != 1:
        raise RecordingError(f"recording {path} has no header; give a file that nanodrive recorded")
    try:
        header = json.loads(raw.tobytes())
    except (ValueError, RecursionError):
        raise RecordingError(f"recording {path} has a header that is not JSON; record it again") from None
    if not isinstance(header, dict):
        raise RecordingError(f"recording {path} has a header that is no table; record it again")
    return header


def _check(recording: Recording, origin: str) -> None:
    """Raise RecordingError unless header and arrays are what the module's docstring says."""
    header, arrays = recording.header, recording.arrays
    if header.get("version") != RECORDING_VERSION:
        raise RecordingError(f"recording {origin} has version {header.get('version')}; this program reads version "
                             f"{RECORDING_VERSION}")
    if set(header) != set(HEADER_KEYS):
        odd = ", ".join(sorted(set(header) ^ set(HEADER_KEYS)))
        raise RecordingError(f"recording {origin} has missing or unknown header keys: {odd}")
    kinds: dict[str, Any] = {"scenario": dict, "seed": int, "config": dict, "policy": str, "score": dict,
                             "state_sha256": str, "frame_sha256": (str, type(None))}
    for key, kind in kinds.items():
        if not isinstance(header[key], kind):
            raise RecordingError(f"recording {origin} has a header key '{key}' of type {type(header[key]).__name__}")
    try:
        parse(header["scenario"])
    except ScenarioError as error:
        raise RecordingError(f"recording {origin} holds a bad {error}") from None
    _check_arrays(arrays, origin)
    if state_digest(arrays) != header["state_sha256"]:
        raise RecordingError(f"recording {origin} does not match its state_sha256; it was changed or damaged")


def _check_arrays(arrays: dict[str, NDArray[Any]], origin: str) -> None:
    missing = sorted(set(ARRAYS) - set(arrays))
    odd = sorted(name for name in set(arrays) - set(ARRAYS) if not name.startswith(OPTIONAL_PREFIXES))
    if missing or odd:
        raise RecordingError(f"recording {origin} has missing arrays ({', '.join(missing) or 'none'}) or unknown ones "
                             f"({', '.join(odd) or 'none'})")
    sizes = {"N": len(arrays["time_s"]) if arrays["time_s"].ndim else 0}
    sizes["T"] = sizes["N"] - 1
    for name, (dtype, dims) in ARRAYS.items():
        array = arrays[name]
        wanted = tuple(sizes.setdefault(dim, array.shape[i] if i < array.ndim else 0) if isinstance(dim, str) else dim
                       for i, dim in enumerate(dims))
        if array.dtype != dtype or array.shape != wanted:
            raise RecordingError(f"recording {origin} has {name} as {array.dtype} {array.shape}; "
                                 f"it must be {dtype} {wanted}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise RecordingError(f"recording {origin} has numbers in {name} that are not finite")
    for name in set(arrays) - set(ARRAYS):
        if arrays[name].dtype.kind not in "biuf" or arrays[name].shape[:1] != (sizes["T"],):
            raise RecordingError(f"recording {origin} has {name} as {arrays[name].dtype} {arrays[name].shape}; "
                                 f"it must be numbers with {sizes['T']} rows")
    _check_values(arrays, origin)


def _check_values(arrays: dict[str, NDArray[Any]], origin: str) -> None:
    """Values that would lead a reader outside its arrays or back in time."""
    rules = {
        "time_s": bool(np.all(np.diff(arrays["time_s"]) > 0)),
        "control": bool(np.all(np.abs(arrays["control"]) <= 1)),
        "actors_kind": bool(np.all(np.isin(arrays["actors_kind"], (0, 1, 2)))),
        "contact_kind": bool(np.all((arrays["contact_kind"] >= 0) & (arrays["contact_kind"] < len(CONTACT_KINDS)))),
        "contact_step": bool(np.all((arrays["contact_step"] >= 0)
                                    & (arrays["contact_step"] < len(arrays["time_s"])))),
    }
    for name, holds in rules.items():
        if not holds:
            raise RecordingError(f"recording {origin} has values in {name} that are out of range")


def diff(first: Recording, second: Recording) -> list[str]:
    """One sentence per header key or array in which two recordings differ; empty if they are equal."""
    lines = [f"header {key}: {first.header.get(key)!r} is not {second.header.get(key)!r}"
             for key in HEADER_KEYS if first.header.get(key) != second.header.get(key)]
    for name in sorted(set(first.arrays) | set(second.arrays)):
        if name not in first.arrays or name not in second.arrays:
            lines.append(f"{name}: only in the {'first' if name in first.arrays else 'second'}")
            continue
        a, b = first.arrays[name], second.arrays[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            lines.append(f"{name}: {a.dtype} {a.shape} is not {b.dtype} {b.shape}")
        elif not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            lines.append(f"{name}: {_difference(a, b)}")
    return lines


def _difference(a: NDArray[Any], b: NDArray[Any]) -> str:
    """Where two arrays of one shape first differ, and by how much at most."""
    unequal = (a != b) & ~((a != a) & (b != b))
    gap = np.abs(a.astype(float) - b.astype(float))[unequal]
    return f"first differs at row {int(np.argwhere(unequal)[0][0])}, by at most {float(np.nanmax(gap)):.6g}"
