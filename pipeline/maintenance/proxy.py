"""Keeps the proxies running and answering, with the certificates that are in the folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pipeline.errors import TryAgain
from pipeline.maintenance.job import Changes, Job
from pipeline.ports.clock import Clock


class Proxy(Job):
    """``ensure``: makes sure that every proxy runs and answers, and yields what it did."""

    def __init__(self, ensure: Callable[[], Iterable[str]], clock: Clock) -> None:
        self._ensure, self._clock, self._problems = ensure, clock, Changes()

    def run(self) -> list[str]:
        said, problem, self.waited = list[str](), "", 0.0
        began = self._clock.monotonic()
        try:
            for line in self._ensure():
                said.append(line)  # what was done counts, whatever fails after it
        except TryAgain as error:  # environments on other engines are looked after all the same
            problem, self.waited = str(error), self._clock.monotonic() - began
        return [*said, *self._problems.report(problem)]
