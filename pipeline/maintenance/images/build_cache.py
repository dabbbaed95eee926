"""Keeps the Engine's build cache within its limit."""

from __future__ import annotations

from pipeline.errors import TryAgain
from pipeline.lib.units import show_size
from pipeline.maintenance.job import Job
from pipeline.ports.builder import Builder


class BuildCache(Job):
    """``limit``: bytes."""

    def __init__(self, builder: Builder, limit: int) -> None:
        self._builder, self._limit = builder, limit

    def run(self) -> list[str]:
        try:
            return self.trim()
        except TryAgain:  # as in ``ImageGc``
            return []

    def trim(self) -> list[str]:
        """What was given back. Raises TryAgain if the builder does not answer."""
        given_back = self._builder.trim_cache(self._limit)
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
