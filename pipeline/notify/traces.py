"""Sends the traces of runs that have ended. What receives them may be away, slow or wrong: no run knows of it."""

from __future__ import annotations

from pipeline.domain.run import Run
from pipeline.domain.tracing import spans
from pipeline.errors import ConfigError, DamagedRecord, NotFound, TryAgain
from pipeline.lib.retry import Backoff
from pipeline.ports.clock import Clock
from pipeline.ports.tracing.spans import SpanSender
from pipeline.store import Store

BACKOFF = Backoff(1.0, ceiling=60.0)
KEEP = 86400.0  # seconds after the end of a run during which its trace is tried


class TraceDelivery:
    """For one thread."""

    def __init__(self, store: Store, sender: SpanSender, clock: Clock) -> None:
        self._store, self._sender, self._clock = store, sender, clock
        self._failures, self._again = 0, 0.0

    def deliver(self) -> str:
        """Sends what is due until nothing is left or one is not accepted. Returns what went wrong, "" if nothing did or
        it is not time to try again; the same text as long as it is the same. Raises StoreUnavailable."""
        due = self._store.traces
        if not due.on or self._clock.monotonic() < self._again:
            return due.trouble() if due.on else ""
        lease = self._store.leases.take("notify:traces", "messenger")
        if lease is None:
            return ""
        try:
            while (run := due.first()) and self._store.leases.renew(lease):
                if problem := self._send(run):
                    due.note_trouble(problem)
                    return problem
                due.done(run)
                due.note_trouble("")
            return ""
        finally:
            self._store.leases.drop(lease)

    def _send(self, name: str) -> str:
        """What keeps it from being sent; "" if it was, or if it is given up."""
        run = self._run(name)
        if run is None or not run.ended:
            return ""
        try:
            self._sender.send(spans.of(self._store.traces.instance, run))
        except (TryAgain, ConfigError) as error:
            self._failures += 1
            self._again = self._clock.monotonic() + BACKOFF.delay(self._failures)
            old = self._clock.now() - run.ended > KEEP
            return "" if old else f"{error} {error.advice}".strip()
        self._failures = 0
        return ""

    def _run(self, name: str) -> Run | None:
        pipeline, _, number = name.rpartition("#")
        try:
            return self._store.run(pipeline, int(number))
        except (NotFound, DamagedRecord, ValueError):
            return None
