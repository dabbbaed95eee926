"""Commands that people run in containers now. A record is written before the command starts, and removed once nothing
of it is left."""

from __future__ import annotations

from pipeline.lib import codec
from pipeline.ports.terminal import SessionRecord
from pipeline.store.connection import Client, read, translate
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

    def all(self) -> list[SessionRecord]:
        """Raises DamagedRecord."""
        with translate():
            found = self._client.hgetall(self._key)
        return [read(SessionRecord, text, self._key, str(field)) for field, text in found.items()]
