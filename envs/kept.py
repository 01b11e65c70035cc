"""Remembering what was made of something for as long as that something lives."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

Kept = TypeVar("Kept")


def kept(make: Callable[..., Kept]) -> Callable[..., Kept]:
    """Remember what `make` returned for its first argument for as long as that lives, however many there are.

    (A cache of fixed size works until there is one car more than it has places, and then not at all.)
    """
    memory: weakref.WeakKeyDictionary[Any, dict[Any, Kept]] = weakref.WeakKeyDictionary()

    @functools.wraps(make)
    def remembered(first: Any, *rest: Any) -> Kept:
        known = memory.setdefault(first, {})
        if rest not in known:
            known[rest] = make(first, *rest)
        return known[rest]

    return remembered
