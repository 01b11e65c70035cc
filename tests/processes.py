"""Whether a process still runs, as Linux tells it."""

from pathlib import Path


def runs(pid: int) -> bool:
    """Whether there is such a process and it has not ended (a zombie has)."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
