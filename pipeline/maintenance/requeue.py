"""The sweep: frees the leases of dead workers, and wakes a worker for every run that is due and not taken."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.domain.run import Kind
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Job
from pipeline.ports.clock import Clock
from pipeline.ports.queue import Queue
from pipeline.store import LeaseReaper, Store

NOTIFY_AGAIN = 5.0  # seconds before a worker is woken again for the same run


class Requeue(Job):
    """Runs in every process: waking a worker twice is harmless, waking it late is not."""

    def __init__(self, store: Store, queue: Queue, clock: Clock, damage: Damage) -> None:
        self._store, self._queue, self._clock, self._damage = store, queue, clock, damage
        self._reaper = LeaseReaper(store.leases)
        self._notified: dict[str, float] = {}  # when this process last woke a worker for a run

    def run(self) -> list[str]:
        now = self._clock.monotonic()
        self._reaper.look(now)
        self._notified = {run: at for run, at in self._notified.items() if now - at < NOTIFY_AGAIN}
        self._damage.each(lambda pipeline: self._notify(pipeline, now))
        return []

    def _notify(self, pipeline: str, now: float) -> Iterator[str]:
        """The runs for which a worker was woken."""
        for number in self._store.due(pipeline):
            run = f"{pipeline}#{number}"
            if run not in self._notified and self._store.leases.free(f"run:{run}"):
                self._notified[run] = (
                    now  # before it is read: one that cannot be is passed over the next time
                )
                record = self._store.run(pipeline, number)
                if record.again > self._clock.now():
                    del self._notified[run]
                    continue
                self._queue.notify(pipeline, urgent=record.kind == Kind.REVERT)
                yield run
