"""Accessories of every environment: one record each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis

from pipeline.domain.accessories import AccessoryRecord, AccessoryRef
from pipeline.domain.audit_chain import Entry
from pipeline.errors import DamagedRecord, LeaseLost
from pipeline.lib import codec
from pipeline.store.audit_log import AuditLog
from pipeline.store.connection import Client, read, read_all, translate
from pipeline.store.leases import Lease, insist
from pipeline.store.records import Records

__all__ = ["Accessories", "LeaseLost"]


class Accessories:
    def __init__(self, client: Client, records: Records, audit: AuditLog) -> None:
        self._client, self._audit = client, audit
        self._key = records.key("accessories")

    def all(self) -> tuple[AccessoryRecord, ...]:
        """Every record that can be read, by name and environment."""
        return self._read()[0]

    def damaged(self) -> dict[str, DamagedRecord]:
        """An error for each record that cannot be read, by the accessory's id."""
        return self._read()[1]

    def _read(self) -> tuple[tuple[AccessoryRecord, ...], dict[str, DamagedRecord]]:
        with translate():
            return read_all(AccessoryRecord, self._client.hgetall(self._key), self._key)

    def of(self, pipeline: str) -> tuple[AccessoryRecord, ...]:
        """Those that the pipeline uses or used."""
        return tuple(one for one in self.all() if pipeline in one.attached)

    def names(self) -> tuple[str, ...]:
        """Of all accessories, also of those whose record cannot be read."""
        with translate():
            return tuple(sorted({str(field).partition("/")[0] for field in self._client.hkeys(self._key)}))

    def get(self, name: str, environment: str) -> AccessoryRecord | None:
        field = f"{name}/{environment}"
        with translate():
            text = self._client.hget(self._key, field)
            return read(AccessoryRecord, text, self._key, field) if text else None

    def known_as(self, name: str, environment: str) -> AccessoryRecord | None:
        """The one of that name there, or the one that had it before."""
        found = self.get(name, environment)
        if found:
            return found
        former = f"{name}/{environment}"
        return next(
            (one for one in self.all() if former in one.formerly and one.environment == environment), None
        )

    def put(self, record: AccessoryRecord, fence: Lease, entry: Entry | None = None) -> None:
        """Writes the record, and an audit entry if one is given, in one transaction. ``fence``: the accessory's lease.
        Raises LeaseLost if another process has it."""
        self._write(lambda pipe: pipe.hset(self._key, record.id, codec.dump(record)), fence, entry)

    def forget(self, ref: AccessoryRef, fence: Lease, entry: Entry) -> None:
        """Removes the record. The rest as ``put``. Idempotent."""
        self._write(lambda pipe: pipe.hdel(self._key, ref.id), fence, entry)

    def move(
        self, ref: AccessoryRef, record: AccessoryRecord, fences: tuple[Lease, ...], entry: Entry
    ) -> None:
        """Removes the one and writes the other, in one transaction. ``fences``: the leases of both."""

        def act(pipe: Any) -> None:
            pipe.hdel(self._key, ref.id)
            pipe.hset(self._key, record.id, codec.dump(record))

        self._write(act, fences, entry)

    def _write(
        self, act: Callable[[Any], object], fence: Lease | tuple[Lease, ...], entry: Entry | None
    ) -> None:
        fences = fence if isinstance(fence, tuple) else (fence,)
        while True:
            with translate(), self._client.pipeline() as pipe:
                try:
                    pipe.watch(*(one.key for one in fences))  # type: ignore[no-untyped-call]
                    insist(pipe, fences)
                    pipe.multi()
                    act(pipe)
                    if entry:
                        self._audit.queue(pipe, entry)
                    pipe.execute()
                    return
                except redis.WatchError:
                    continue
