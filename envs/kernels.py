"""Where compiled kernels are kept: a folder named by the source of all of them.

numba keeps a kernel as long as its own file stays as it is, but kernels are inlined into those of other files. So that
a change in one file is never missed by another, all of them are compiled anew when any has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from pathlib import Path

import numba

ROOM = Path(__file__).parent
PREFIX = "kernels-"
MARKS = (b"numba", b"@kernel", b"@inlined")  # what the source of a compiled function holds


def digest(room: Path = ROOM) -> str:
    """SHA-256 (16 hex digits) of the names and bytes of all files of a room with compiled functions."""
    found = hashlib.sha256()
    for path in sorted(room.rglob("*.py")):
        text = path.read_bytes()
        if any(mark in text for mark in MARKS):
            found.update(f"{path.relative_to(room).as_posix()} {len(text)};".encode())
            found.update(text)
    return found.hexdigest()[:16]


def keep_kernels() -> None:
    """Let numba use the folder of the present source, and drop those of older ones. A user's own setting wins."""
    if numba.config.CACHE_DIR:  # type: ignore[attr-defined]
        return
    folder = ROOM / "__pycache__" / f"{PREFIX}{digest()}"
    numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    if not folder.exists():
        with contextlib.suppress(OSError):
            for old in folder.parent.glob(f"{PREFIX}*"):
                shutil.rmtree(old, ignore_errors=True)
