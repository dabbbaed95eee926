"""Runs, releases and environments, read and written in transactions of one pipeline each.

A transaction is optimistic: it watches the pipeline's version, reads, decides, and writes everything at once;
where somebody else was quicker it is run again on what they left. With ``appendfsync always`` what ``transact``
returned from is on disk.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Any, TypeVar

import redis

from pipeline.config.engines import DOCKER
from pipeline.domain.audit_chain import Entry
from pipeline.domain.environment import Environment
from pipeline.domain.release import Release
from pipeline.domain.run import Run
from pipeline.domain.secret_versions import SecretRecord
from pipeline.errors import NotFound, TryAgain
from pipeline.lib.retry import Backoff, Retry
from pipeline.store.audit_log import AuditLog
from pipeline.store.connection import Client, connect, numbers, read, translate
from pipeline.store.events import Events
from pipeline.store.leases import Lease, Leases, insist
from pipeline.store.outbox import Outbox
from pipeline.store.tokens import Tokens
from pipeline.store.transaction import Transaction

T = TypeVar("T")


RETRIES = 500
CONTENTION = Backoff(0.005, factor=1, jitter=0.9)  # contenders spread out


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
        retry = Retry(CONTENTION, retries=RETRIES)
        while True:
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
            if (pause := retry.pause()) is None:
                raise TryAgain(f"{pipeline}: too many changes at once; try again in a moment.")
            time.sleep(pause)

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
