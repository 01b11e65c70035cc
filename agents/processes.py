"""How worker processes of rollouts and evaluation begin. Nothing is driven here."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import multiprocessing.forkserver
import os
from collections.abc import Iterator
from typing import Any

PRELOADED = ["agents.fleet", "agents.evaluate"]  # they bring what takes long to import


@functools.cache
def process_context() -> Any:
    """Processes forked from a server that has the big libraries loaded: each starts in 0.1 s instead of 2 s.

    Where there is no such server (Windows), processes start from nothing.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with one_thread_each():
        multiprocessing.forkserver.ensure_running()
    return context


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes started inside use one thread for linear algebra, whatever the parent uses."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
