"""Remembers how large volumes are. Counting every file may take an engine long, so `pushlive status` does not ask."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable

from pipeline.errors import PushliveError
from pipeline.maintenance.job import Job
from pipeline.ports.engine import Engines
from pipeline.store import Store

EVERY = 1800.0  # seconds


class VolumeSizes(Job):
    """Of those of pipelines. They are counted in a thread: an engine with many files must hold up no repair."""

    def __init__(self, store: Store, engines: Engines, now: Callable[[], float]) -> None:
        self._store, self._engines, self._now = store, engines, now
        self._thread: threading.Thread | None = None
        self._started = float("-inf")

    def run(self) -> list[str]:
        at_work = self._thread is not None and self._thread.is_alive()
        if not at_work and time.monotonic() - self._started >= EVERY:
            self._started = time.monotonic()
            self._thread = threading.Thread(target=self.count, name="volume sizes", daemon=True)
            self._thread.start()
        return []

    def count(self) -> None:
        """What an engine does not tell, or not in time, stays as it was known."""
        found: dict[str, dict[str, int]] = defaultdict(dict)
        for key in self._engines.in_use():
            try:
                ports = self._engines.of(key).volumes
                if not any(one.ref.kind == "pipeline" for one in ports.volumes()):
                    continue
                for one in ports.volumes(sizes=True):
                    if one.ref.kind == "pipeline" and one.size is not None:
                        found[one.ref.owner][f"{one.ref.environment}/{one.ref.name}"] = one.size
            except PushliveError:  # reconciliation reports an engine that does not answer
                continue
        try:
            for owner, sizes in found.items():
                self._store.facts.set(
                    f"volume-sizes:{owner}", json.dumps({"at": self._now(), "sizes": sizes})
                )
        except PushliveError:  # the store does not answer: every other job reports that
            return
