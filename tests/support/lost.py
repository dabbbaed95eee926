"""A watch of a process that loses its lease."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.errors import LeaseLost
from pipeline.ports.clock import Watch


class Lost:
    """``watch``, until ``lost`` is true at one of its looks."""

    def __init__(self, watch: Watch, lost: Callable[[], bool]) -> None:
        self._watch, self._lost = watch, lost

    def check(self) -> None:
        """Raises LeaseLost."""
        self._watch.check()
        if self._lost():
            raise LeaseLost("another process has taken over.")

    def remaining(self) -> float:
        """Seconds, as ``watch`` says."""
        return self._watch.remaining()

    def wait(self, seconds: float) -> None:
        """Waits, then checks."""
        self._watch.wait(seconds)
        self.check()
