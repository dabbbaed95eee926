"""Time, and how long a step may take."""

from __future__ import annotations

import time
from typing import Protocol, runtime_checkable

from pipeline.errors import TimedOut


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch, for people."""

    def monotonic(self) -> float:
        """Seconds that never jump: every deadline is measured on these."""

    def sleep(self, seconds: float) -> None: ...


@runtime_checkable
class Watch(Protocol):
    """A step's deadline, and whether the run is still wanted and this worker still has it."""

    def check(self) -> None:
        """Raises TimedOut, Cancelled or LeaseLost if the step has to stop."""

    def remaining(self) -> float:
        """Seconds until the deadline, never negative."""

    def wait(self, seconds: float) -> None:
        """Sleeps that long, but not past the deadline, then checks."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since the epoch, for people."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleeps; returns at once if the time is negative."""
        time.sleep(max(0.0, seconds))


class Deadline:
    """A Watch with a deadline and nothing else: for clean-up, checks and commands outside a run.

    ``seconds``: counted from now on the monotonic clock. ``doing``: the beginning of the message.
    """

    def __init__(self, clock: Clock, seconds: float, doing: str = "this") -> None:
        self._clock = clock
        self._seconds = seconds
        self._doing = doing
        self._end = clock.monotonic() + seconds

    def check(self) -> None:
        """Raises TimedOut after the deadline."""
        if self.remaining() <= 0:
            raise TimedOut(f"{self._doing} took longer than {self._seconds:g} seconds.")

    def remaining(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self._end - self._clock.monotonic())

    def wait(self, seconds: float) -> None:
        """Sleeps that long, but not past the deadline, then checks."""
        self._clock.sleep(min(seconds, self.remaining()))
        self.check()
