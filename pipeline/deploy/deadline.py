"""How long a step may take, and whether its run is still wanted."""

from __future__ import annotations

from pipeline.errors import TimedOut

LOOK_EVERY = 0.1  # seconds between two looks whether the run is still wanted


class RunWatch:
    """ports.Watch for one step of one run."""

    def __init__(self, work: Work, timeout: float, what: str, heed: bool) -> None:
        self._work, self._what, self._timeout, self._heed = work, what, timeout, heed
        self._deadline = work.clock.monotonic() + timeout
        self._looked = -1.0

    def remaining(self) -> float:
        return max(0.0, self._deadline - self._work.clock.monotonic())

    def check(self) -> None:
        if self.remaining() <= 0:
            raise TimedOut(
                f"{self._what} took longer than its {self._timeout:.0f} s and was ended.",
                advice="Raise its timeout in pipelines.yaml if it needs longer.",
            )
        now = self._work.clock.monotonic()
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            self._work.flush()
            if self._heed:
                self._work.still_wanted()
            else:
                self._work.still_ours()

    def wait(self, seconds: float) -> None:
        self._work.clock.sleep(min(seconds, self.remaining()))
        self.check()
