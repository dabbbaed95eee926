"""Keeps the Engine's build cache within its limit."""

from __future__ import annotations

from pipeline.deploy.explaining import cache_facts
from pipeline.errors import TryAgain
from pipeline.lib.units import show_size
from pipeline.maintenance.job import Job
from pipeline.ports.builder import Builder
from pipeline.ports.clock import Clock
from pipeline.store import Store


class BuildCache(Job):
    """``limit``: bytes."""

    def __init__(self, builder: Builder, limit: int, store: Store, clock: Clock) -> None:
        self._builder, self._limit, self._store, self._clock = builder, limit, store, clock

    def run(self) -> list[str]:
        try:
            return self.trim()
        except TryAgain:  # as in ``ImageGc``
            return []

    def trim(self) -> list[str]:
        """What was given back: later builds can say so. Raises TryAgain if the builder or the store does not answer."""
        given_back = self._builder.trim_cache(self._limit)
        if given_back:
            cache_facts.put(self._store, self._clock.now(), given_back)
        return [f"{show_size(given_back)} of the build cache were given back"] if given_back else []

    def size(self) -> str:
        """What it takes, as a sentence; "" if it takes nothing. Raises EngineFailed or TryAgain."""
        size = self._builder.cache_size()
        if not size:
            return ""
        return (
            f"The build cache takes {show_size(size)}, and may take {show_size(self._limit)} (PUSHLIVE_BUILD_CACHE). "
            "`docker builder prune --all` gives all of it back."
        )
