"""Processes that make pictures side by side: they end with the one that asked, also where that is stopped or killed."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any


@contextmanager
def worker_pool(count: int, begin: Callable[..., None] | None = None, *values: Any) -> Iterator[ProcessPoolExecutor]:
    """A pool of `count` spawned processes, each of which calls begin(*values) first.

    Leaving it waits for the work that has begun and drops the rest.
    """
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin, (begin, values))
    try:
        yield pool
    finally:  # not by the pool's own `with`: its end would take back a cancel_futures given before
        pool.shutdown(cancel_futures=True)


def _begin(begin: Callable[..., None] | None, values: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin is not None:
        begin(*values)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # a worker has one
    parent.join()
    os._exit(0)
