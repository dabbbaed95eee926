"""Sends the traces of runs that have ended, and of those that wait the part that they have behind them. What receives
them may be away, slow or wrong: no run knows of it."""

from __future__ import annotations

from pipeline.domain.run import Run
from pipeline.domain.tracing import spans
from pipeline.errors import ConfigError, DamagedRecord, NotFound, RequestError, TryAgain
from pipeline.lib.retry import Backoff
from pipeline.ports.clock import Clock
from pipeline.ports.tracing.spans import SpanSender
from pipeline.store import Store
from pipeline.store.tracing.due import Due

BACKOFF = Backoff(1.0, ceiling=60.0)
KEEP = 86400.0  # seconds after the end of a run during which its trace is tried


class TraceDelivery:
    """For one thread."""

    def __init__(self, store: Store, sender: SpanSender, clock: Clock) -> None:
        self._store, self._sender, self._clock = store, sender, clock
        self._failures, self._again = 0, 0.0
        self._checked, self._refused = False, ""

    def deliver(self) -> str:
        """Sends what is due until nothing is left or one is not accepted. Returns what went wrong, "" if nothing did or
        it is not time to try again; the same text as long as it is the same. Raises StoreUnavailable."""
        due = self._store.traces
        if not due.on or self._clock.monotonic() < self._again:
            return due.trouble() if due.on else ""
        if not self._checked:  # at the start, not when the first run has ended
            due.note_trouble(self._obstacle())
            self._checked = True
        lease = self._store.leases.take("notify:traces", "messenger")
        if lease is None:
            return ""
        try:
            said = ""
            while (one := due.first()) and self._store.leases.renew(lease):
                if problem := self._send(one):
                    due.note_trouble(problem)
                    return problem
                said = self._refused or said
                due.note_trouble("")
            return said or due.trouble()
        finally:
            self._store.leases.drop(lease)

    def _obstacle(self) -> str:
        try:
            self._sender.check()
        except ConfigError as error:
            return str(error)
        return ""

    def _send(self, one: Due) -> str:
        """What keeps it from being sent; "" if it was, or if it is given up."""
        due, self._refused = self._store.traces, ""
        run = self._run(one.run)
        if run is None or bool(run.ended) == bool(one.gate):  # its end is noted as well, and comes after this
            due.done(one)
            return ""
        found = spans.of(due.instance, run, sent := due.sent(one.run))
        try:
            if found:
                self._sender.send(found)
        except RequestError as error:
            self._refused = f"the trace of {one.run}: {error}"
        except (TryAgain, ConfigError) as error:
            self._failures += 1
            self._again = self._clock.monotonic() + BACKOFF.delay(self._failures)
            if self._clock.now() - (run.ended or run.gate_since or run.accepted) <= KEEP:
                return str(error)
        else:
            sent |= {*spans.behind(run)}
            self._failures = 0
        due.done(one, sent)
        return ""

    def _run(self, name: str) -> Run | None:
        pipeline, _, number = name.rpartition("#")
        try:
            return self._store.run(pipeline, int(number))
        except (NotFound, DamagedRecord, ValueError):
            return None
