"""Small facts of the whole installation: the hash of the current configuration, what the last sweep saw, …"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import redis

from pipeline.domain.audit_chain import Entry
from pipeline.store.audit_log import AuditLog
from pipeline.store.connection import Client, translate
from pipeline.store.records import Records

T = TypeVar("T")


class Facts:
    def __init__(self, client: Client, records: Records, audit: AuditLog) -> None:
        self._client, self._records, self._audit = client, records, audit

    def get(self, name: str) -> str:
        """The fact's text, "" if it is not set."""
        with translate():
            return self._records.fact(self._client, name)

    def several(self, names: Sequence[str]) -> list[str]:
        """The texts of many facts, in their order; "" for those that are not set."""
        if not names:
            return []
        with translate():
            found = self._client.mget([self._records.key("fact", name) for name in names])
        return [str(one or "") for one in found]

    def set(self, name: str, value: str) -> None:
        with translate():
            self._client.set(self._records.key("fact", name), value)

    def remove(self, name: str) -> None:
        """Idempotent."""
        with translate():
            self._client.delete(self._records.key("fact", name))

    def replace(self, name: str, change: Callable[[str], str], entry: Entry | None = None) -> None:
        """Sets a fact to what ``change`` makes of its text, and records the entry in the audit log, both or neither.
        Raises what ``change`` raises."""
        key = self._records.key("fact", name)
        while True:
            with translate(), self._client.pipeline() as pipe:
                try:
                    pipe.watch(key)  # type: ignore[no-untyped-call]
                    value = change(self._records.fact(pipe, name))
                    pipe.multi()
                    pipe.set(key, value)
                    if entry:
                        self._audit.queue(pipe, entry)
                    pipe.execute()
                    return
                except redis.WatchError:
                    continue

    def act(self, name: str, change: Callable[[str], tuple[str, Sequence[Entry], T]]) -> T:
        """The same with entries that depend on the fact as it is; returns the third of what ``change`` returns. Nothing
        is written if the text stays as it is."""
        key = self._records.key("fact", name)
        while True:
            with translate(), self._client.pipeline() as pipe:
                try:
                    pipe.watch(key)  # type: ignore[no-untyped-call]
                    before = self._records.fact(pipe, name)
                    value, entries, result = change(before)
                    if value == before:
                        return result
                    pipe.multi()
                    pipe.set(key, value)
                    for entry in entries:
                        self._audit.queue(pipe, entry)
                    pipe.execute()
                    return result
                except redis.WatchError:
                    continue

    def change(self, name: str, value: str, entry: Callable[[str], Entry]) -> bool:
        """Sets a fact and records ``entry(value before)`` in the audit log, both or neither. False, and nothing is
        written, if it has that value already."""
        return self.act(name, lambda before: (value, (entry(before),), before != value))
