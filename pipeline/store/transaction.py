"""One attempt at changing a pipeline's records."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipeline.domain.audit_chain import Entry
from pipeline.domain.environment import Environment
from pipeline.domain.events import Event
from pipeline.domain.release import Release
from pipeline.domain.run import Run
from pipeline.domain.secret_versions import SecretRecord
from pipeline.lib import codec
from pipeline.store.connection import numbers, read

if TYPE_CHECKING:
    from pipeline.store.store import Store

DELIVERY_KEPT = 30 * 86400  # seconds: a provider repeats a delivery for days at the most


class Transaction:
    """One attempt: reads come from the store at once, writes are collected and applied together."""

    def __init__(self, store: Store, pipeline: str, pipe: Any) -> None:
        self.pipeline = pipeline
        self._store = store
        self._pipe = pipe
        self._writes: list[Callable[[Any], Any]] = []

    def run(self, number: int) -> Run:
        return self._store.read_run(self._pipe, self.pipeline, number)

    def newest(self, count: int = 1) -> tuple[int, ...]:
        """The highest run numbers, newest first."""
        return tuple(range(self._last("runs"), max(0, self._last("runs") - count), -1))

    def open(self) -> tuple[Run, ...]:
        """Runs without an end, oldest first."""
        key = self._store.key("open", self.pipeline)
        return tuple(self.run(number) for number in numbers(self._pipe.smembers(key), key))

    def environment(self, name: str) -> Environment:
        return self._store.read_environment(self._pipe, self.pipeline, name)

    def environments(self) -> tuple[Environment, ...]:
        key = self._store.key("environments", self.pipeline)
        return tuple(read(Environment, text, key, name) for name, text in self._pipe.hgetall(key).items())

    def release(self, number: int) -> Release:
        return self._store.read_release(self._pipe, self.pipeline, number)

    def secrets(self) -> dict[str, SecretRecord]:
        return self._store.read_secrets(self._pipe, self.pipeline)

    def delivery(self, delivery: str) -> int | None:
        """The run that this delivery id made."""
        number = self._pipe.get(self._store.key("delivery", self.pipeline, _short(delivery)))
        return int(number) if number else None

    def next_run(self) -> int:
        """A fresh number. Call it at most once in a transaction, and put that run."""
        return self._next("runs")

    def next_release(self) -> int:
        return self._next("releases")

    def put_run(self, run: Run) -> None:
        store = self._store
        self._writes.append(
            lambda p: p.hset(store.key("runs", self.pipeline), str(run.number), codec.dump(run))
        )
        change = "srem" if run.ended else "sadd"
        self._writes.append(lambda p: getattr(p, change)(store.key("open", self.pipeline), run.number))
        if run.ended:
            self.not_due(run.number)

    def put_environment(self, environment: Environment) -> None:
        key = self._store.key("environments", self.pipeline)
        self._writes.append(lambda p: p.hset(key, environment.name, codec.dump(environment)))

    def put_release(self, release: Release) -> None:
        key = self._store.key("releases", self.pipeline)
        self._writes.append(lambda p: p.hset(key, str(release.number), codec.dump(release)))

    def put_secret(self, record: SecretRecord) -> None:
        key = self._store.key("secrets", self.pipeline)
        self._writes.append(lambda p: p.hset(key, record.name, codec.dump(record)))
        self._writes.append(lambda p: p.sadd(self._store.key("with-secrets"), self.pipeline))

    def put_delivery(self, delivery: str, number: int) -> None:
        key = self._store.key("delivery", self.pipeline, _short(delivery))
        self._writes.append(lambda p: p.set(key, number, ex=DELIVERY_KEPT))

    def put_head(self, ref: str, commit: str) -> None:
        key = self._store.key("heads", self.pipeline)
        self._writes.append(lambda p: p.hset(key, ref, commit))

    def due(self, number: int) -> None:
        """Somebody has to take this run up."""
        self._writes.append(lambda p: p.sadd(self._store.key("due", self.pipeline), number))
        self._writes.append(lambda p: p.sadd(self._store.key("pipelines"), self.pipeline))

    def not_due(self, number: int) -> None:
        self._writes.append(lambda p: p.srem(self._store.key("due", self.pipeline), number))

    def event(self, number: int, event: Event) -> None:
        run = f"{self.pipeline}#{number}"
        self._writes.append(lambda p: self._store.events.queue(p, run, event))

    def config(self, digest: str) -> str:
        """A configuration's text by its hash, "" where it is not kept."""
        return str(self._pipe.hget(self._store.key("configs"), digest) or "")

    def fact(self, name: str) -> str:
        return str(self._pipe.get(self._store.key("fact", name)) or "")

    def message(self, url: str, text: str) -> None:
        """Leaves a message for that receiver in the outbox."""
        outbox = self._store.outbox
        full = outbox.is_full(self._pipe, url)
        self._writes.append(lambda p: outbox.queue(p, url, text, full=full))

    def record(self, entry: Entry) -> None:
        """The act and its entry in the audit log are one."""
        self._writes.append(lambda p: self._store.audit.queue(p, entry))

    def apply(self, mark: str) -> None:
        """Everything at once; ``mark`` is left as the pipeline's version."""
        self._pipe.multi()
        for write in self._writes:
            write(self._pipe)
        self._pipe.set(self._store.key("version", self.pipeline), mark)
        self._pipe.execute()

    def _last(self, what: str) -> int:
        return int(self._pipe.get(self._store.key(f"last-{what}", self.pipeline)) or 0)

    def _next(self, what: str) -> int:
        number = self._last(what) + 1
        self._writes.append(lambda p: p.set(self._store.key(f"last-{what}", self.pipeline), number))
        return number


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]
