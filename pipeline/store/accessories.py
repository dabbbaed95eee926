"""Accessories of every environment: one record each."""

from __future__ import annotations

import redis

from pipeline.domain.accessories import AccessoryRecord
from pipeline.domain.audit_chain import Entry
from pipeline.errors import LeaseLost
from pipeline.lib import codec
from pipeline.store.audit_log import AuditLog
from pipeline.store.connection import Client, read, translate
from pipeline.store.leases import Lease, insist
from pipeline.store.records import Records

__all__ = ["Accessories", "LeaseLost"]


class Accessories:
    def __init__(self, client: Client, records: Records, audit: AuditLog) -> None:
        self._client, self._audit = client, audit
        self._key = records.key("accessories")

    def all(self) -> tuple[AccessoryRecord, ...]:
        """Every record, by name and environment."""
        with translate():
            found = self._client.hgetall(self._key)
            return tuple(
                read(AccessoryRecord, text, self._key, str(field)) for field, text in sorted(found.items())
            )

    def of(self, pipeline: str) -> tuple[AccessoryRecord, ...]:
        """Those that the pipeline uses or used."""
        return tuple(one for one in self.all() if pipeline in one.attached)

    def get(self, name: str, environment: str) -> AccessoryRecord | None:
        field = f"{name}/{environment}"
        with translate():
            text = self._client.hget(self._key, field)
            return read(AccessoryRecord, text, self._key, field) if text else None

    def put(self, record: AccessoryRecord, fence: Lease, entry: Entry | None = None) -> None:
        """Writes the record, and an audit entry if one is given, in one transaction. ``fence``: the accessory's lease.
        Raises LeaseLost if another process has it."""
        while True:
            with translate(), self._client.pipeline() as pipe:
                try:
                    pipe.watch(fence.key)  # type: ignore[no-untyped-call]
                    insist(pipe, (fence,))
                    pipe.multi()
                    pipe.hset(self._key, record.id, codec.dump(record))
                    if entry:
                        self._audit.queue(pipe, entry)
                    pipe.execute()
                    return
                except redis.WatchError:
                    continue
