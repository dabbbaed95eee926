"""The web side as the server needs it: the application, and what its requests may use."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable

from flask import Flask

from pipeline.errors import PushliveError
from webhooks.context import WebContext
from webhooks.security import failures
from webhooks.security.intake import POOLS, Intake

COUNT_SECONDS = 1.0  # between two writes of what was counted

log = logging.getLogger("pushlive.web")


class Site:
    """See ``webhooks.server.listener.Site``."""

    def __init__(self, app: Flask) -> None:
        web: WebContext = app.extensions["pushlive"]
        self.app = app
        self.pools = POOLS
        self.admit = Intake(web.settings, web.internal).admit
        self.group = failures.group
        self.count = Tally(web.service.count).add


class Tally:
    """Counts without waiting for the store; a thread writes the sums, with ``write(name, times)``."""

    def __init__(self, write: Callable[[str, int], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._any = threading.Event()
        self._pause = threading.Event()  # never set
        threading.Thread(target=self._work, name="counts", daemon=True).start()

    def add(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1
        self._any.set()

    def _work(self) -> None:
        while self._any.wait():
            self._any.clear()
            with self._lock:
                counts, self._counts = self._counts, Counter()
            for name, times in counts.items():
                try:
                    self._write(name, times)
                except PushliveError as error:
                    log.warning("%d × %s was not counted: %s", times, name, error)
            self._pause.wait(COUNT_SECONDS)
