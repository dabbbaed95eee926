"""Time, and how long a step may take."""

from __future__ import annotations

import time
from typing import Protocol

from pipeline.errors import TimedOut


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch, for people."""

    def monotonic(self) -> float:
        """Seconds that never jump: every deadline is measured on these."""

    def sleep(self, seconds: float) -> None: ...


class Watch(Protocol):
    """A step's patience: its deadline, and whether the run is still wanted and still ours."""

    def check(self) -> None:
        """Raises TimedOut, Cancelled or LeaseLost when it is time to stop."""

    def remaining(self) -> float:
        """Seconds until the deadline, never negative."""

    def wait(self, seconds: float) -> None:
        """Sleeps that long, or less when the deadline is nearer, then checks."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since the epoch, for people."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleeps; nothing for a negative time."""
        time.sleep(max(0.0, seconds))


class Deadline:
    """A Watch that knows a deadline alone: for clean-up, checks and commands outside a run.

    ``seconds`` from now on, measured on the monotonic clock; ``doing`` begins the message.
    """

    def __init__(self, clock: Clock, seconds: float, doing: str = "this") -> None:
        self._clock = clock
        self._seconds = seconds
        self._doing = doing
        self._end = clock.monotonic() + seconds

    def check(self) -> None:
        """Raises TimedOut once the deadline has come."""
        if self.remaining() <= 0:
            raise TimedOut(f"{self._doing} took longer than {self._seconds:g} seconds.")

    def remaining(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self._end - self._clock.monotonic())

    def wait(self, seconds: float) -> None:
        """Sleeps that long, or less when the deadline is nearer, then checks."""
        self._clock.sleep(min(seconds, self.remaining()))
        self.check()
