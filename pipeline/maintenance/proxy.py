"""Keeps the proxy running, with the certificates that are in the folder."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.errors import TryAgain
from pipeline.maintenance.job import Changes, Job


class Proxy(Job):
    """``ensure``: makes sure that the proxy runs, and returns what it did."""

    def __init__(self, ensure: Callable[[], list[str]]) -> None:
        self._ensure, self._problems = ensure, Changes()

    def run(self) -> list[str]:
        try:
            said, problem = self._ensure(), ""
        except TryAgain as error:  # environments on other engines are looked after all the same
            said, problem = [], str(error)
        return [*said, *self._problems.report(problem)]
