"""How long to wait before another attempt, and when to stop: one backoff for everything that is repeated.

Two shapes: ``poll`` asks until the answer is true, ``Retry`` counts the failures of a loop that the caller writes.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")


class Timer(Protocol):
    """A clock that can sleep: ``ports.clock.Clock``, or the module ``time`` itself."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


@dataclass(frozen=True)
class Backoff:
    """Delays in seconds: ``first``, then ``factor`` times longer each, up to ``ceiling``.

    ``jitter`` (0 to 1) is the share of a delay that is random, so that contenders spread out."""

    first: float
    factor: float = 2.0
    ceiling: float = math.inf
    jitter: float = 0.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after that many failures in a row (1 or more)."""
        try:
            delay = min(self.ceiling, self.first * self.factor ** (failures - 1))
        except OverflowError:
            delay = self.ceiling
        return delay * (1 - self.jitter * random.random())  # noqa: S311 - spreads contenders


class Retry:
    """One series of attempts: no pause ends later than ``timeout`` seconds from now, and there are at most ``retries``.

    The caller waits, so the wait can be a sleep, a step's ``Watch.wait``, or an event that ends it early."""

    def __init__(
        self,
        backoff: Backoff,
        timer: Timer = time,
        *,
        timeout: float = math.inf,
        retries: float = math.inf,
    ) -> None:
        self._backoff, self._timer = backoff, timer
        self._retries = retries
        self._began, self._timeout = timer.monotonic(), timeout
        self.failures = 0  # in a row

    def pause(self) -> float | None:
        """Counts a failure. Seconds to wait before the next attempt; None to give up."""
        self.failures += 1
        delay = self._backoff.delay(self.failures)
        if self.failures > self._retries or self._seconds() + delay > self._timeout:
            return None
        return delay

    def extend(self, timeout: float) -> None:
        """Allows at least that many seconds, counted from the beginning."""
        self._timeout = max(self._timeout, timeout)

    def _seconds(self) -> float:
        return self._timer.monotonic() - self._began

    def reset(self) -> None:
        """After a success: the next failure is the first again. The timeout still counts from the beginning."""
        self.failures = 0


def poll(
    ask: Callable[[], T], every: Backoff | float, timer: Timer = time, *, timeout: float = math.inf
) -> T:
    """Calls ``ask`` until its answer is true, or another delay would pass ``timeout`` seconds; returns the last answer.

    ``every``: the delays, or one number for equal ones. What ``ask`` raises ends the polling."""
    retry = Retry(every if isinstance(every, Backoff) else Backoff(every, factor=1), timer, timeout=timeout)
    while not (answer := ask()):
        if (pause := retry.pause()) is None:
            break
        timer.sleep(pause)
    return answer
