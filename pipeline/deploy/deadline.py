"""How long a step may take, and whether its run is still wanted."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.errors import TimedOut
from pipeline.ports.clock import Clock, Deadline, Watch

LOOK_EVERY = 0.1  # seconds between two looks whether the run is still wanted


class StepDeadline:
    """``ports.clock.Watch`` for one step of one run. ``timeout``: seconds; ``what``: the step, for the message;
    ``advice``: what to do about a timeout. ``look`` raises what the run's record or its leases say against going on;
    it is called every ``LOOK_EVERY`` seconds at most."""

    def __init__(
        self, clock: Clock, timeout: float, what: str, advice: str, look: Callable[[], None]
    ) -> None:
        self._clock, self._timeout, self._look = clock, timeout, look
        self._what, self._advice = what, advice
        self._deadline = clock.monotonic() + timeout
        self._looked = -1.0

    def remaining(self) -> float:
        return max(0.0, self._deadline - self._clock.monotonic())

    def check(self) -> None:
        if self.remaining() <= 0:
            raise TimedOut(
                f"{self._what} took longer than {self._timeout:.0f} s and was stopped.", advice=self._advice
            )
        now = self._clock.monotonic()
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            self._look()

    def wait(self, seconds: float) -> None:
        self._clock.sleep(min(seconds, self.remaining()))
        self.check()


class Within:
    """A Watch that also ends with a deadline of its own. ``doing``: the beginning of that deadline's message."""

    def __init__(self, watch: Watch, clock: Clock, seconds: float, doing: str) -> None:
        self._watch, self._own = watch, Deadline(clock, seconds, doing)

    def check(self) -> None:
        self._watch.check()
        self._own.check()

    def remaining(self) -> float:
        return min(self._watch.remaining(), self._own.remaining())

    def wait(self, seconds: float) -> None:
        self._watch.wait(min(seconds, self._own.remaining()))
        self._own.check()
