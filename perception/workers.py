"""Pictures made side by side and ahead of need: processes end with the one that asked, also if that is killed."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


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


def made_ahead(pool: Executor, make: Callable[[Item], Made], items: Iterable[Item], count: int) -> Iterator[Made]:
    """make(item) of all items in their order, by a pool that is at most `count` of them ahead of the one asked for."""
    waiting: deque[Future[Made]] = deque()
    for item in items:
        waiting.append(pool.submit(make, item))
        if len(waiting) > count:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _begin(begin: Callable[..., None] | None, values: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin is not None:
        begin(*values)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # a worker has one
    parent.join()
    os._exit(0)
