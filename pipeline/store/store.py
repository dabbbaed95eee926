"""Runs, releases and environments, read and written in transactions of one pipeline each.

A transaction is optimistic: it watches the pipeline's version, reads, decides, and writes everything at once;
where somebody else was quicker it is run again on what they left. With ``appendfsync always`` what ``transact``
returned from is on disk.
"""

from __future__ import annotations

import hashlib
import random
import secrets
import time
from collections.abc import Callable
from typing import Any, TypeVar

import redis

from pipeline.config.engines import DOCKER
from pipeline.domain.audit_chain import Entry
from pipeline.domain.environment import Environment
from pipeline.domain.events import Event
from pipeline.domain.release import Release
from pipeline.domain.run import Run
from pipeline.domain.secret_versions import SecretRecord
from pipeline.errors import NotFound, TryAgain
from pipeline.lib import codec
from pipeline.store.audit_log import AuditLog
from pipeline.store.connection import Client, connect, numbers, read, translate
from pipeline.store.events import Events
from pipeline.store.leases import Lease, Leases, insist
from pipeline.store.outbox import Outbox
from pipeline.store.tokens import Tokens

T = TypeVar("T")
DELIVERY_KEPT = 30 * 86400  # seconds: a provider repeats a delivery for days at the most
ATTEMPTS = 500


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


class Store:
    """``url``: a Redis URL. ``prefix`` keeps several installations on one server apart."""

    def __init__(self, url: str, prefix: str = "pushlive", *, timeout: float = 3.0) -> None:
        self.client: Client = connect(url, timeout=timeout)
        self._prefix = f"{prefix}:"
        self.leases = Leases(self.client, self._prefix)
        self.events = Events(self.client, self._prefix)
        self.audit = AuditLog(self.client, self._prefix)
        self.tokens = Tokens(self.client, self._prefix, self.audit)
        self.outbox = Outbox(self.client, self._prefix)

    def key(self, *parts: str) -> str:
        return self._prefix + ":".join(parts)

    def healthy(self) -> bool:
        """True when the store takes writes."""
        try:
            self.client.set(self.key("heartbeat"), f"{time.time():.0f}")
        except redis.RedisError:
            return False
        return True

    def transact(
        self,
        pipeline: str,
        act: Callable[[Transaction], T],
        *,
        fence: Lease | tuple[Lease, ...] | None = None,
    ) -> T:
        """Runs ``act`` until its reads and writes were one. Raises LeaseLost where the ``fence``, or one of
        several, is not ours any more: then nothing was written. Raises StoreUnavailable, and whatever act does."""
        version = self.key("version", pipeline)
        fences = (fence,) if isinstance(fence, Lease) else fence or ()
        for _ in range(ATTEMPTS):
            mark = secrets.token_hex(8)
            with translate(), self.client.pipeline() as pipe:
                try:
                    pipe.watch(version, *(one.key for one in fences))  # type: ignore[no-untyped-call]
                    insist(pipe, fences)
                    transaction = Transaction(self, pipeline, pipe)
                    result = act(transaction)
                    transaction.apply(mark)
                    return result
                except redis.WatchError:
                    # Somebody was quicker; or it was done, and only the answer was lost on the way.
                    if self.client.get(version) == mark:
                        return result
            time.sleep(random.uniform(0.0005, 0.005))  # noqa: S311 - spreads contenders
        raise TryAgain(f"{pipeline}: too many changes at once; try again in a moment.")

    # ── reading ──────────────────────────────────────────────────────────────

    def read_run(self, client: Any, pipeline: str, number: int) -> Run:
        text = client.hget(self.key("runs", pipeline), str(number))
        if not text:
            raise NotFound(
                f"there is no run {pipeline}#{number}.", advice=f"`pushlive runs {pipeline}` lists them."
            )
        return read(Run, text, self.key("runs", pipeline), str(number))

    def read_environment(self, client: Any, pipeline: str, name: str) -> Environment:
        text = client.hget(self.key("environments", pipeline), name)
        if not text:
            raise NotFound(f"{pipeline}/{name} has no record yet: nothing was deployed there.")
        return read(Environment, text, self.key("environments", pipeline), name)

    def read_release(self, client: Any, pipeline: str, number: int) -> Release:
        text = client.hget(self.key("releases", pipeline), str(number))
        if not text:
            raise NotFound(f"there is no release {pipeline} r{number}.")
        return read(Release, text, self.key("releases", pipeline), str(number))

    def read_secrets(self, client: Any, pipeline: str) -> dict[str, SecretRecord]:
        found = client.hgetall(self.key("secrets", pipeline))
        return {
            str(name): read(SecretRecord, text, self.key("secrets", pipeline), str(name))
            for name, text in found.items()
        }

    def secrets(self, pipeline: str) -> dict[str, SecretRecord]:
        """Every secret of the pipeline by its name; the values are sealed."""
        with translate():
            return self.read_secrets(self.client, pipeline)

    def pipelines_with_secrets(self) -> tuple[str, ...]:
        with translate():
            return tuple(sorted(str(name) for name in self.client.smembers(self.key("with-secrets"))))

    def run(self, pipeline: str, number: int) -> Run:
        with translate():
            return self.read_run(self.client, pipeline, number)

    def release(self, pipeline: str, number: int) -> Release:
        with translate():
            return self.read_release(self.client, pipeline, number)

    def releases(self, pipeline: str) -> tuple[Release, ...]:
        """Every release, oldest first."""
        with translate():
            found = self.client.hgetall(self.key("releases", pipeline))
        key = self.key("releases", pipeline)
        releases = (read(Release, text, key, str(number)) for number, text in found.items())
        return tuple(sorted(releases, key=lambda r: r.number))

    def environment(self, pipeline: str, name: str) -> Environment | None:
        with translate():
            text = self.client.hget(self.key("environments", pipeline), name)
        return read(Environment, str(text), self.key("environments", pipeline), name) if text else None

    def environments(self, pipeline: str) -> dict[str, Environment]:
        with translate():
            found = self.client.hgetall(self.key("environments", pipeline))
        key = self.key("environments", pipeline)
        return {str(name): read(Environment, text, key, str(name)) for name, text in found.items()}

    def open_runs(self, pipeline: str) -> tuple[Run, ...]:
        """Runs without an end, oldest first."""
        with translate():
            members = self.client.smembers(self.key("open", pipeline))
        return tuple(self.run(pipeline, number) for number in numbers(members, self.key("open", pipeline)))

    def head(self, pipeline: str, ref: str) -> str:
        """The commit that was last accepted on that ref, "" where there was none."""
        with translate():
            return str(self.client.hget(self.key("heads", pipeline), ref) or "")

    def last_run(self, pipeline: str) -> int:
        with translate():
            return int(self.client.get(self.key("last-runs", pipeline)) or 0)

    def recent(self, pipeline: str, limit: int) -> tuple[Run, ...]:
        """The newest runs, newest first."""
        last = self.last_run(pipeline)
        wanted = [str(n) for n in range(last, max(0, last - limit), -1)]
        if not wanted:
            return ()
        key = self.key("runs", pipeline)
        with translate():
            found = self.client.hmget(key, wanted)
        return tuple(read(Run, text, key, number) for number, text in zip(wanted, found, strict=True) if text)

    def pipelines(self) -> tuple[str, ...]:
        """Every pipeline that ever had a run."""
        with translate():
            return tuple(sorted(str(name) for name in self.client.smembers(self.key("pipelines"))))

    def due(self, pipeline: str) -> tuple[int, ...]:
        """Runs that somebody has to take up, or has taken up, lowest number first."""
        with translate():
            members = self.client.smembers(self.key("due", pipeline))
        return tuple(numbers(members, self.key("due", pipeline)))

    # ── environments: each has an index of its own ───────────────────────────

    def ensure_environment(self, pipeline: str, name: str, limit: int, engine: str = DOCKER) -> Environment:
        """The environment's record; a new one gets the lowest free index below ``limit``, and is on that engine.
        Twice."""
        found = self.environment(pipeline, name)
        if found:
            return found
        index = self._deal_index(f"{pipeline}/{name}", limit)

        def make(transaction: Transaction) -> Environment:
            try:
                return transaction.environment(name)
            except NotFound:
                environment = Environment(pipeline, name, index, engine)
                transaction.put_environment(environment)
                return environment

        return self.transact(pipeline, make)

    def _deal_index(self, environment: str, limit: int) -> int:
        key = self.key("indices")
        while True:
            with translate(), self.client.pipeline() as pipe:
                try:
                    pipe.watch(key)  # type: ignore[no-untyped-call]
                    dealt = {str(name): int(index) for name, index in pipe.hgetall(key).items()}
                    if environment in dealt:
                        return dealt[environment]
                    index = next(i for i in range(limit + 1) if i not in dealt.values())
                    if index == limit:
                        raise TryAgain(
                            f"all {limit} places for environments are taken.",
                            advice="Widen PUSHLIVE_PORTS, or remove pipelines and run `pushlive gc`.",
                        )
                    pipe.multi()
                    pipe.hset(key, environment, index)
                    pipe.execute()
                    return index
                except redis.WatchError:
                    continue

    def forget_environment(self, pipeline: str, name: str) -> None:
        """Removes the record and frees the index. Twice."""
        with translate(), self.client.pipeline() as pipe:
            pipe.hdel(self.key("environments", pipeline), name)
            pipe.hdel(self.key("indices"), f"{pipeline}/{name}")
            pipe.set(self.key("version", pipeline), secrets.token_hex(8))
            pipe.execute()

    # ── small things ─────────────────────────────────────────────────────────

    def put_config(self, text: str) -> str:
        """Keeps a configuration's text under its hash, which is returned."""
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        with translate():
            self.client.hset(self.key("configs"), digest, text)
        return digest

    def config(self, digest: str) -> str:
        with translate():
            return str(self.client.hget(self.key("configs"), digest) or "")

    def take_up(self, name: str, value: str, entry: Callable[[str], Entry]) -> bool:
        """Sets a fact; where that changes it, ``entry(before)`` goes into the audit log with it: True."""
        key = self.key("fact", name)
        while True:
            with translate(), self.client.pipeline() as pipe:
                try:
                    pipe.watch(key)  # type: ignore[no-untyped-call]
                    before = str(pipe.get(key) or "")
                    if before == value:
                        return False
                    pipe.multi()
                    pipe.set(key, value)
                    self.audit.queue(pipe, entry(before))
                    pipe.execute()
                    return True
                except redis.WatchError:
                    continue

    def set(self, name: str, value: str, ttl: float | None = None) -> None:
        """A small fact: the current configuration's hash, what the sweep saw, …"""
        with translate():
            self.client.set(self.key("fact", name), value, px=int(ttl * 1000) if ttl else None)

    def get(self, name: str) -> str:
        with translate():
            return str(self.client.get(self.key("fact", name)) or "")

    def count(self, what: str) -> None:
        with translate():
            self.client.hincrby(self.key("counts"), what, 1)

    def counts(self) -> dict[str, int]:
        with translate():
            return {str(k): int(v) for k, v in self.client.hgetall(self.key("counts")).items()}
