"""One attempt at changing a pipeline's records."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from pipeline.domain.audit_chain import Entry
from pipeline.domain.environment import Environment
from pipeline.domain.events import Event
from pipeline.domain.journal import changes
from pipeline.domain.journal.changes import Change
from pipeline.domain.release import Release
from pipeline.domain.run import Run, State
from pipeline.domain.secret_versions import SecretRecord
from pipeline.errors import DamagedRecord, NotFound
from pipeline.lib import codec
from pipeline.store.audit_log import AuditLog
from pipeline.store.events import Events
from pipeline.store.metrics import Metrics
from pipeline.store.outbox import Outbox
from pipeline.store.records import Records
from pipeline.store.tracing.due import DueTraces

DELIVERY_KEPT = 30 * 86400  # seconds: a provider repeats a delivery for days at most


class Transaction:
    """Reads go to the store at once, through ``pipe``, which watches the pipeline's version. Writes are collected and
    applied together; a read does not see them. ``known``: texts that were read through ``pipe`` already, by
    ``Records.fields``."""

    def __init__(
        self,
        pipeline: str,
        pipe: Any,
        records: Records,
        events: Events,
        outbox: Outbox,
        audit: AuditLog,
        metrics: Metrics,
        traces: DueTraces,
        known: Mapping[tuple[str, str], str] = MappingProxyType({}),
    ) -> None:
        self.pipeline = pipeline
        self._pipe = pipe
        self._records, self._events, self._outbox, self._audit = records, events, outbox, audit
        self._metrics, self._traces, self._known = metrics, traces, known
        self._counted: set[int] = set()
        self._runs: dict[int, Run] = {}  # as they were read, or written since
        self._environments: dict[str, Environment] = {}
        self._changes: list[Change] = []
        self._new_run = 0
        self._writes: list[Callable[[Any], Any]] = []

    # ── reading ──────────────────────────────────────────────────────────────

    def run(self, number: int) -> Run:
        """Raises NotFound."""
        ((key, field),) = self._records.fields(self.pipeline, number, "")
        text = self._known.get((key, field)) or self._pipe.hget(key, field)
        return self._seen(self._records.read_run(text, self.pipeline, number))

    def recent(self, count: int, *, readable: bool = False) -> Iterator[Run]:
        """The runs with the highest numbers, newest first. Runs that were lost with an earlier store are left out, and
        damaged records if only the ``readable`` ones are wanted."""
        last = self._last("runs")
        numbers = range(last, max(0, last - count), -1)
        for number, text in self._records.run_texts(self._pipe, self.pipeline, numbers):
            try:
                yield self._seen(self._records.read_run(text, self.pipeline, number))
            except NotFound:
                continue
            except DamagedRecord:
                if not readable:
                    raise

    def open(self) -> tuple[Run, ...]:
        """Runs that have not ended, oldest first."""
        return tuple(map(self._seen, self._records.open_runs(self._pipe, self.pipeline)))

    def environment(self, name: str) -> Environment:
        """Raises NotFound."""
        *_, (key, field) = self._records.fields(self.pipeline, 0, name)
        text = self._known.get((key, field)) or self._pipe.hget(key, field)
        return self._seen_there(self._records.read_environment(text, self.pipeline, name))

    def existing(self, names: Iterable[str]) -> tuple[Environment, ...]:
        """The records of those environments, without those that have none."""
        found: list[Environment] = []
        for name in names:
            with suppress(NotFound):
                found.append(self.environment(name))
        return tuple(found)

    def environments(self) -> tuple[Environment, ...]:
        return tuple(map(self._seen_there, self._records.environments(self._pipe, self.pipeline).values()))

    def release(self, number: int) -> Release:
        """Raises NotFound."""
        return self._records.release(self._pipe, self.pipeline, number)

    def secrets(self) -> dict[str, SecretRecord]:
        """Every secret by its name; the values are encrypted."""
        return self._records.secrets(self._pipe, self.pipeline)

    def delivery(self, delivery: str) -> int | None:
        """The number of the run that this delivery id created."""
        number = self._pipe.get(self._key("delivery", _short(delivery)))
        return int(number) if number else None

    def config(self, digest: str) -> str:
        """A configuration's text by its hash, "" if it is not kept."""
        return self._records.config(self._pipe, digest)

    def fact(self, name: str) -> str:
        """A fact's text, "" if it is not set."""
        return self._records.fact(self._pipe, name)

    def shared_fact(self, name: str) -> str:
        """The same for one that is written without this pipeline as well: the transaction begins again if it was."""
        self._pipe.watch(self._records.key("fact", name))
        return self.fact(name)

    # ── writing ──────────────────────────────────────────────────────────────

    def next_run(self) -> int:
        """A new number. Call it at most once in a transaction, and put that run."""
        self._new_run = self._next("runs")
        return self._new_run

    def next_release(self) -> int:
        """A new number. Call it at most once in a transaction, and put that release."""
        return self._next("releases")

    def put_run(self, run: Run) -> None:
        self._changes += changes.of_run(self._before(run), run)
        self._runs[run.number] = run
        runs, open_runs = self._key("runs"), self._key("open")
        self._write(lambda p: p.hset(runs, str(run.number), codec.dump(run)))
        if run.ended:
            self._write(lambda p: p.srem(open_runs, run.number))
            self.not_due(run.number)
            if run.number not in self._counted and not self._ended_before(run.number):
                self._counted.add(run.number)
                self._write(lambda p: self._metrics.count_end(p, run))
                self.evidence("run", run.number)
                self._write(lambda p: self._traces.queue(p, run.id))
        else:
            self._write(lambda p: p.sadd(open_runs, run.number))
        if run.state == State.WAITING:
            self._write(lambda p: self._traces.queue(p, run.id, run.gate))

    def evidence(self, kind: str, number: int) -> None:
        """The keeper writes a record of that kind for this run (``pipeline.evidence``)."""
        key, what = self._records.key("evidence-due"), f"{kind} {self.pipeline}#{number}"
        self._write(lambda p: p.sadd(key, what))

    def put_environment(self, environment: Environment) -> None:
        if environment.name not in self._environments:
            with suppress(NotFound, DamagedRecord):
                self.environment(environment.name)
        self._changes += changes.of_environment(self._environments.get(environment.name), environment)
        self._environments[environment.name] = environment
        key = self._key("environments")
        self._write(lambda p: p.hset(key, environment.name, codec.dump(environment)))

    def count_bake(self, environment: Environment, how: str) -> None:
        """Counts how a bake ended, with what records it."""
        self._write(lambda p: self._metrics.count_bake(p, environment, how))

    def count_worse(self, environment: Environment, what: str) -> None:
        """Counts what followed when a release was found to be worse, with what records it."""
        self._write(lambda p: self._metrics.count_worse(p, environment, what))

    def count_shift(self, environment: Environment, how: str) -> None:
        """Counts how a shift ended, with what records it."""
        self._write(lambda p: self._metrics.count_shift(p, environment, how))

    def put_index(self, environment: Environment) -> None:
        """Gives the environment the index that it has on its engine."""
        key = self._records.key("indices")
        self._write(lambda p: p.hset(key, environment.id, environment.index))

    def count_from(self, *, runs: int, releases: int) -> None:
        """The next numbers are higher than these."""
        for what, number in (("runs", runs), ("releases", releases)):
            if number > self._last(what):
                key = self._key(f"last-{what}")
                self._write(lambda p, key=key, number=number: p.set(key, number))  # type: ignore[misc]

    def put_release(self, release: Release) -> None:
        key = self._key("releases")
        self._write(lambda p: p.hset(key, str(release.number), codec.dump(release)))

    def put_secret(self, record: SecretRecord) -> None:
        key, with_secrets = self._key("secrets"), self._records.key("with-secrets")
        self._write(lambda p: p.hset(key, record.name, codec.dump(record)))
        self._write(lambda p: p.sadd(with_secrets, self.pipeline))

    def put_delivery(self, delivery: str, number: int) -> None:
        """Remembers for 30 days that this delivery id created that run."""
        key = self._key("delivery", _short(delivery))
        self._write(lambda p: p.set(key, number, ex=DELIVERY_KEPT))

    def put_head(self, ref: str, commit: str) -> None:
        key = self._key("heads")
        self._write(lambda p: p.hset(key, ref, commit))

    def put_fact(self, name: str, value: str) -> None:
        key = self._records.key("fact", name)
        self._write(lambda p: p.set(key, value))

    def due(self, number: int) -> None:
        """A worker must take this run."""
        due, pipelines = self._key("due"), self._records.key("pipelines")
        self._write(lambda p: p.sadd(due, number))
        self._write(lambda p: p.sadd(pipelines, self.pipeline))

    def not_due(self, number: int) -> None:
        key = self._key("due")
        self._write(lambda p: p.srem(key, number))

    def event(self, number: int, event: Event) -> None:
        run = f"{self.pipeline}#{number}"
        self._write(lambda p: self._events.queue(p, run, event))

    def message(self, url: str, text: str) -> None:
        """Leaves a message for that receiver in the outbox."""
        full = self._outbox.is_full(self._pipe, url)
        self._write(lambda p: self._outbox.queue(p, url, text, full=full))

    def record(self, entry: Entry) -> None:
        """Adds an entry to the audit log: it is written with the act or not at all."""
        self._write(lambda p: self._audit.queue(p, entry))

    def apply(self, mark: str) -> None:
        """Writes everything at once, with ``mark`` as the pipeline's version. Raises redis.WatchError if another
        process wrote first."""
        self._pipe.multi()
        for write in self._writes:
            write(self._pipe)
        self._pipe.set(self._key("version"), mark)
        self._pipe.execute()

    @property
    def changed(self) -> tuple[Change, ...]:
        """What the writes change, for the journal."""
        return tuple(self._changes)

    # ─────────────────────────────────────────────────────────────────────────

    def _before(self, run: Run) -> Run | None:
        """The record that this one replaces; None for a new run."""
        if run.number not in self._runs and run.number != self._new_run:
            with suppress(NotFound, DamagedRecord):
                self.run(run.number)
        return self._runs.get(run.number)

    def _seen(self, run: Run) -> Run:
        self._runs.setdefault(run.number, run)
        return run

    def _seen_there(self, environment: Environment) -> Environment:
        self._environments.setdefault(environment.name, environment)
        return environment

    def _key(self, name: str, *more: str) -> str:
        return self._records.key(name, self.pipeline, *more)

    def _write(self, write: Callable[[Any], Any]) -> None:
        self._writes.append(write)

    def _ended_before(self, number: int) -> bool:
        """True if the store already has the run's end, so that it is counted once."""
        try:
            return self.run(number).ended > 0
        except (NotFound, DamagedRecord):
            return False

    def _last(self, what: str) -> int:
        return int(self._pipe.get(self._key(f"last-{what}")) or 0)

    def _next(self, what: str) -> int:
        number, key = self._last(what) + 1, self._key(f"last-{what}")
        self._write(lambda p: p.set(key, number))
        return number


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]
