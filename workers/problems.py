"""What goes wrong in a loop, in the log once and not with each round."""

from __future__ import annotations

import logging


class Once:
    """Called in each round with what is wrong, "" if nothing is; logs it once for each change."""

    def __init__(self, log: logging.Logger) -> None:
        self._log, self._said = log, ""

    def __call__(self, problem: str) -> None:
        if problem and problem != self._said:
            self._log.warning("%s", problem)
        self._said = problem
