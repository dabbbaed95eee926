"""What a maintenance job is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol


class Job(Protocol):
    """Something that the keeper does again and again. A new job is a file here and a line in ``jobs.py``."""

    waited: float = 0.0
    """Seconds of the last run that were spent waiting for something that does not answer. They do not count as work."""

    def run(self) -> list[str]:
        """One round. Returns what it did that a person may want to know. Idempotent. May raise PushliveError: the
        keeper reports it and tries again in the next round."""


class Changes:
    """Reports a problem once, not in every round."""

    def __init__(self) -> None:
        self._last = ""

    def report(self, problem: str) -> list[str]:
        """The problem if it differs from the one of the round before; nothing for ""."""
        last, self._last = self._last, problem
        return [problem] if problem not in ("", last) else []

    def over(self, problem: str) -> bool:
        """True if the round before had a problem and this one has none."""
        return bool(self._last) and not problem


class Aside:
    """What may take long, in a thread of its own, so that it holds up no repair. ``name``: the thread's."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def begin(self, act: Callable[[], None]) -> None:
        """Call it only while it is not busy. ``act`` raises nothing that a person would have to hear of."""
        self._thread = threading.Thread(target=act, name=self._name, daemon=True)
        self._thread.start()
