"""Each environment's index: a small number of its own, which gives it its port, subnet and proxy backends."""

from __future__ import annotations

from typing import Any

import redis

from pipeline.errors import TryAgain
from pipeline.store.connection import Client, translate
from pipeline.store.records import Records


class Indices:
    def __init__(self, client: Client, records: Records) -> None:
        self._client = client
        self._key = records.key("indices")

    def assign(self, environment: str, limit: int) -> int:
        """The environment's index; a new environment gets the lowest free one below ``limit``. Idempotent. Raises
        TryAgain if all of them are in use."""
        while True:
            with translate(), self._client.pipeline() as pipe:
                try:
                    pipe.watch(self._key)  # type: ignore[no-untyped-call]
                    assigned = {str(name): int(index) for name, index in pipe.hgetall(self._key).items()}
                    if environment in assigned:
                        return assigned[environment]
                    index = _lowest_free(set(assigned.values()), limit)
                    pipe.multi()
                    pipe.hset(self._key, environment, index)
                    pipe.execute()
                    return index
                except redis.WatchError:
                    continue

    def of(self, environment: str) -> int | None:
        """The one that it has, None if it has none."""
        found = self._client.hget(self._key, environment)
        return int(found) if found and str(found).isdigit() else None

    def queue_release(self, pipe: Any, environment: str) -> None:
        """Frees the index, as part of the caller's transaction."""
        pipe.hdel(self._key, environment)


def _lowest_free(used: set[int], limit: int) -> int:
    index = next(index for index in range(limit + 1) if index not in used)
    if index == limit:
        raise TryAgain(
            f"all {limit} ports for environments are in use.",
            advice="Widen PUSHLIVE_PORTS, or remove environments from pipelines.yaml and run `pushlive gc`.",
        )
    return index
