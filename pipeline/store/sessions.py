"""Commands that people run in containers now. A record is written before the command starts, and removed once nothing
of it is left."""

from __future__ import annotations

from pipeline.errors import DamagedRecord
from pipeline.lib import codec
from pipeline.ports.terminal import SessionRecord
from pipeline.store.connection import Client, read_all, translate
from pipeline.store.records import Records


class Sessions:
    def __init__(self, client: Client, records: Records) -> None:
        self._client, self._key = client, records.key("sessions")

    def put(self, one: SessionRecord) -> None:
        with translate():
            self._client.hset(self._key, one.id, codec.dump(one))

    def forget(self, identifier: str) -> None:
        """Idempotent."""
        with translate():
            self._client.hdel(self._key, identifier)

    def all(self) -> tuple[tuple[SessionRecord, ...], dict[str, DamagedRecord]]:
        """Every record, and by its id an error for each that cannot be read."""
        with translate():
            return read_all(SessionRecord, self._client.hgetall(self._key), self._key)
