"""Runs, releases and environments, read and written in transactions of one pipeline each.

A transaction is optimistic: it watches the pipeline's version, reads, decides, and writes everything at once. If
another process wrote first, it runs again on what that process wrote. With ``appendfsync always`` everything that
``transact`` wrote is on disk when it returns.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import redis

from pipeline.config.engines import DOCKER
from pipeline.domain.environment import Environment
from pipeline.domain.release import Release
from pipeline.domain.run import Run
from pipeline.domain.secret_versions import SecretRecord
from pipeline.errors import NotFound, TryAgain
from pipeline.lib.journal.writer import NO_JOURNAL, Journal
from pipeline.lib.retry import Backoff, Retry
from pipeline.store import demands
from pipeline.store.accessories import Accessories
from pipeline.store.audit_log import AuditLog
from pipeline.store.connection import Client, connect, translate
from pipeline.store.events import Events
from pipeline.store.facts import Facts
from pipeline.store.indices import Indices
from pipeline.store.leases import Lease, Leases, insist
from pipeline.store.metrics import Metrics
from pipeline.store.origin import Origin
from pipeline.store.outbox import Outbox
from pipeline.store.previews.kept import KeptPreviews
from pipeline.store.records import Records
from pipeline.store.sessions import Sessions
from pipeline.store.tokens import Tokens
from pipeline.store.tracing.due import DueTraces
from pipeline.store.transaction import Transaction

T = TypeVar("T")

RETRIES = 500
SCRAPE_TIMEOUT = 0.5  # seconds for one answer
TURN = 1.0  # seconds that a thread waits for the others of its process
CONTENTION = Backoff(0.005, factor=1, jitter=0.9)  # spreads the contenders


@contextmanager
def taking(turn: threading.RLock) -> Iterator[None]:
    """Threads of one process take turns in a pipeline: a hundred that try at once would repeat each other's work. Who
    has waited for long goes ahead, since the store decides in any case."""
    mine = turn.acquire(timeout=TURN)
    try:
        yield
    finally:
        if mine:
            turn.release()


class Store:
    """``url``: a Redis URL. ``prefix``: keeps installations that share a server apart. ``timeout``: seconds.
    ``journal``: is told of each change once it is written; a process that dies in between says nothing of it.
    ``traced``: runs that end are noted, so that their traces are sent."""

    def __init__(
        self,
        url: str,
        prefix: str = "pushlive",
        *,
        timeout: float = 3.0,
        journal: Journal = NO_JOURNAL,
        traced: bool = False,
    ) -> None:
        self.journal = journal
        self.client: Client = connect(url, timeout=timeout)
        self._turns: dict[str, threading.RLock] = {}  # by pipeline
        prefix = f"{prefix}:"
        self._records = Records(prefix)
        self._indices = Indices(self.client, self._records)
        self.origin = Origin(self.client, self._records)
        self.leases = Leases(self.client, prefix)
        self.events = Events(self.client, prefix)
        self.audit = AuditLog(self.client, prefix, journal)
        self.traces = DueTraces(self.client, prefix, on=traced)
        self.tokens = Tokens(self.client, prefix, self.audit)
        self.outbox = Outbox(self.client, prefix)
        self.facts = Facts(self.client, self._records, self.audit)
        self.previews = KeptPreviews(self.facts)
        self.accessories = Accessories(self.client, self._records, self.audit)
        self.sessions = Sessions(self.client, self._records)
        self.metrics = Metrics(self.client, connect(url, timeout=SCRAPE_TIMEOUT), self._records)

    def key(self, *parts: str) -> str:
        return self._records.key(*parts)

    def healthy(self) -> bool:
        """True if the store accepts writes."""
        try:
            self.client.set(self.key("heartbeat"), f"{time.time():.0f}")
        except redis.RedisError:
            return False
        return True

    def shortcomings(self) -> tuple[str, ...]:
        """What the store's server lacks to keep what it acknowledged, in words. Raises StoreUnavailable."""
        return demands.shortcomings(self.client)

    # ── changing a pipeline's records ────────────────────────────────────────

    def transact(
        self,
        pipeline: str,
        act: Callable[[Transaction], T],
        *,
        fence: Lease | tuple[Lease, ...] | None = None,
        reads: tuple[int, str] | None = None,
    ) -> T:
        """Calls ``act``, again as long as another process changes what it read, and writes what it collected; returns
        what it returned. ``reads``: the number of a run and the name of an environment ("" for none) that it is going
        to read, which spares it two round trips. Raises LeaseLost if this process no longer holds every lease of
        ``fence``; nothing is written then. Raises StoreUnavailable (StoreUnknown if an empty store took the place of
        the one that this process knew), TryAgain (too much contention), and whatever ``act`` raises."""
        version = self.key("version", pipeline)
        turn = self._turns.setdefault(pipeline, threading.RLock())
        fences = (fence,) if isinstance(fence, Lease) else fence or ()
        fields = self._records.fields(pipeline, *reads) if reads else ()
        retry = Retry(CONTENTION, retries=RETRIES)
        while True:
            mark = secrets.token_hex(8)
            with taking(turn), translate(), self.client.pipeline() as pipe:
                try:
                    pipe.watch(version, *(one.key for one in fences))  # type: ignore[no-untyped-call]
                    mark_of_store, *texts = insist(pipe, fences, self.origin.mark_key, fields=fields)
                    self.origin.still(mark_of_store)
                    transaction = Transaction(
                        pipeline, pipe, self._records, self.events, self.outbox, self.audit, self.metrics, self.traces,
                        known={one: text for one, text in zip(fields, texts, strict=True) if text},
                    )  # fmt: skip
                    result = act(transaction)
                    transaction.apply(mark)
                    return self._told(transaction, result)
                except redis.WatchError:
                    # Another process wrote first; or ours was written, and only the answer was lost.
                    if self.client.get(version) == mark:
                        return self._told(transaction, result)
            if (pause := retry.pause()) is None:
                raise TryAgain(f"{pipeline}: too many changes at once.", advice="Try again in a moment.")
            time.sleep(pause)

    def _told(self, transaction: Transaction, result: T) -> T:
        for change in transaction.changed:
            self.journal.write(change.event, change.message, level=change.level, **change.fields)
        return result

    def ensure_environment(self, pipeline: str, name: str, limit: int, engine: str = DOCKER) -> Environment:
        """The environment's record. A new one is on that engine and gets the lowest free index below ``limit``.
        Idempotent. Raises TryAgain if every index is in use."""
        found = self.environment(pipeline, name)
        if found:
            return found
        index = self._indices.assign(f"{pipeline}/{name}", limit)

        def make(tx: Transaction) -> Environment:
            try:
                return tx.environment(name)
            except NotFound:
                environment = Environment(pipeline, name, index, engine)
                tx.put_environment(environment)
                return environment

        return self.transact(pipeline, make)

    def forget_environment(self, pipeline: str, name: str, facts: Iterable[str] = ()) -> None:
        """Removes the record and these facts, and frees the index, all or nothing. Idempotent."""
        counted = self.metrics.fields_of(pipeline, name)
        with translate(), self.client.pipeline() as pipe:
            pipe.hdel(self.key("environments", pipeline), name)
            self.metrics.queue_removal(pipe, pipeline, counted)
            for fact in facts:
                pipe.delete(self.key("fact", fact))
            self._indices.queue_release(pipe, f"{pipeline}/{name}")
            pipe.set(self.key("version", pipeline), secrets.token_hex(8))
            pipe.execute()

    # ── reading ──────────────────────────────────────────────────────────────

    def run(self, pipeline: str, number: int) -> Run:
        """Raises NotFound."""
        with translate():
            return self._records.run(self.client, pipeline, number)

    def standing(
        self, leases: Iterable[Lease], pipeline: str, number: int, environment: str
    ) -> tuple[Run, Environment | None] | None:
        """What a worker has to know before it goes on, in one round trip: the run, and the environment's record if
        there is one. None if this process no longer holds each of the leases. Raises NotFound for the run."""
        held = tuple(leases)
        with translate():
            pipe = self.client.pipeline(transaction=False)
            for lease in held:
                pipe.get(lease.key)
            pipe.hget(self.key("runs", pipeline), str(number))
            pipe.hget(self.key("environments", pipeline), environment)
            *tokens, run, record = pipe.execute()
        if tokens != [lease.token for lease in held]:
            return None
        found = self._records.read_environment(record, pipeline, environment) if record else None
        return self._records.read_run(run, pipeline, number), found

    def recent(self, pipeline: str, limit: int, *, readable: bool = False, skip: int = 0) -> tuple[Run, ...]:
        """The newest runs after the first ``skip``, newest first; without damaged records if only the ``readable`` ones
        are wanted."""
        last = self.last_run(pipeline) - skip
        with translate():
            return self._records.runs(self.client, pipeline, range(last, max(0, last - limit), -1), readable)

    def last_run(self, pipeline: str) -> int:
        """The highest run number, 0 before the first run."""
        with translate():
            return self._records.last_run(self.client, pipeline)

    def open_runs(self, pipeline: str) -> tuple[Run, ...]:
        """Runs that have not ended, oldest first."""
        with translate():
            return self._records.open_runs(self.client, pipeline)

    def due(self, pipeline: str) -> tuple[int, ...]:
        """The numbers of runs that a worker must take, or has taken, lowest first."""
        with translate():
            return self._records.due(self.client, pipeline)

    def release(self, pipeline: str, number: int) -> Release:
        """Raises NotFound."""
        with translate():
            return self._records.release(self.client, pipeline, number)

    def releases(self, pipeline: str) -> tuple[Release, ...]:
        """Every release, oldest first."""
        with translate():
            return self._records.releases(self.client, pipeline)

    def environment(self, pipeline: str, name: str) -> Environment | None:
        with translate():
            try:
                return self._records.environment(self.client, pipeline, name)
            except NotFound:
                return None

    def environments(self, pipeline: str) -> dict[str, Environment]:
        """Every environment by its name."""
        with translate():
            return self._records.environments(self.client, pipeline)

    def damaged_environments(self, pipeline: str) -> dict[str, str]:
        """The text of each record of an environment that cannot be read, by its name."""
        with translate():
            return self._records.damaged_environments(self.client, pipeline)

    def index_of(self, environment: str) -> int | None:
        """The index that was assigned to the environment of that id."""
        with translate():
            return self._indices.of(environment)

    def secrets(self, pipeline: str) -> dict[str, SecretRecord]:
        """Every secret of the pipeline by its name; the values are encrypted."""
        with translate():
            return self._records.secrets(self.client, pipeline)

    def pipelines_with_secrets(self) -> tuple[str, ...]:
        with translate():
            return tuple(sorted(str(name) for name in self.client.smembers(self.key("with-secrets"))))

    def head(self, pipeline: str, ref: str) -> str:
        """The commit that was last accepted on that ref, "" if there is none."""
        with translate():
            return self._records.head(self.client, pipeline, ref)

    def pipelines(self) -> tuple[str, ...]:
        """Every pipeline that ever had a run."""
        with translate():
            return tuple(sorted(str(name) for name in self.client.smembers(self.key("pipelines"))))

    def evidence_due(self) -> tuple[tuple[str, str, int], ...]:
        """The records that are to be written: kind, pipeline, number of the run."""
        with translate():
            return self._records.evidence_due(self.client)

    def note_evidence(self, kind: str, pipeline: str, number: int) -> None:
        """That record is to be written. Idempotent."""
        with translate():
            self.client.sadd(self.key("evidence-due"), f"{kind} {pipeline}#{number}")

    def evidence_written(self, kind: str, pipeline: str, number: int) -> None:
        with translate():
            self.client.srem(self.key("evidence-due"), f"{kind} {pipeline}#{number}")

    # ── configurations and counters ──────────────────────────────────────────

    def put_config(self, text: str) -> str:
        """Keeps a configuration's text under its hash; returns the hash. Idempotent."""
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        with translate():
            self.client.hset(self.key("configs"), digest, text)
        return digest

    def config(self, digest: str) -> str:
        """A configuration's text by its hash, "" if it is not kept."""
        with translate():
            return self._records.config(self.client, digest)

    def count(self, what: str, times: int = 1) -> None:
        """Adds ``times`` to the counter of that name."""
        with translate():
            self.client.hincrby(self.key("counts"), what, times)

    def counts(self) -> dict[str, int]:
        """Every counter by its name."""
        with translate():
            return {str(k): int(v) for k, v in self.client.hgetall(self.key("counts")).items()}
