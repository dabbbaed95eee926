"""When build cache was given back last: a step that is not cached after that may have been in it."""

from __future__ import annotations

from pipeline.lib.units import show_size, show_time
from pipeline.store import Store

_NAME = "cache-given-back"


def put(store: Store, at: float, size: int) -> None:
    """``size``: bytes. Raises TryAgain."""
    store.facts.set(_NAME, f"{at} {size}")


def since(store: Store, then: float) -> str:
    """``2 GiB of build cache were given back at 2026-11-28 12:00:00 UTC``; "" if none was since then."""
    at, _, size = store.facts.get(_NAME).partition(" ")
    try:
        known, count = float(at), int(size)
    except ValueError:
        return ""
    return f"{show_size(count)} of build cache were given back at {show_time(known)}" if known > then else ""
