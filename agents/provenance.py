"""Where a figure comes from: versions, machine, and the hash of a file. Written into every result; decides nothing."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("nanodrive", "numpy", "torch", "pybullet", "gymnasium", "stable-baselines3", "opencv-python-headless")


def versions() -> dict[str, str]:
    """Versions of Python and of PACKAGES; one that is not installed as a package is 'source'."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "source"
    return found


def machine() -> dict[str, Any]:
    """Processor, number of processors usable here, memory [GiB] and system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {"processor": _processor(), "num_cpus": len(_usable_cpus()), "memory_gib": round(memory / 2**30, 1),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}"}


def _usable_cpus() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
