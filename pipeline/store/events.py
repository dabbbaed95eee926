"""A run's events: a bounded stream in Redis, for everyone who follows the run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import redis

from pipeline.domain.events import Event
from pipeline.lib import codec
from pipeline.store.connection import Client, read, translate
from pipeline.store.leases import Lease, insist

LIMIT = 20_000  # events of one run; its log file has all of them
KEEP = 30 * 86400  # seconds


class Events:
    def __init__(self, client: Client, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    def key(self, run: str) -> str:
        return f"{self._prefix}events:{run}"

    def append(self, run: str, events: Iterable[Event], fence: Lease | None = None) -> None:
        """Adds the events. Raises LeaseLost, and adds none, if this process no longer holds the ``fence``."""
        with translate(), self._client.pipeline() as pipe:
            try:
                if fence:
                    pipe.watch(fence.key)  # type: ignore[no-untyped-call]
                    insist(pipe, (fence,))
                pipe.multi()
                for event in events:
                    self.queue(pipe, run, event)
                pipe.execute()
            except redis.WatchError:
                # The lease is lost; or the answer was, and then the log has the events that may be missing here.
                if fence and self._client.get(fence.key) != fence.token:
                    raise fence.lost() from None

    def queue(self, pipe: Client, run: str, event: Event) -> None:
        """Adds the event, as part of the caller's transaction."""
        pipe.xadd(self.key(run), {"e": codec.dump(event)}, maxlen=LIMIT, approximate=True)
        if event.kind in ("accepted", "end"):
            pipe.expire(self.key(run), KEEP)

    def read(self, run: str, after: str = "0", block: float = 0.0) -> list[tuple[str, Event]]:
        """Events after that id, oldest first, each with its id. Waits up to ``block`` seconds for the first."""
        wait = max(1, int(block * 1000)) if block else None
        with translate():
            answer = self._client.xread({self.key(run): after}, count=500, block=wait)
        found: list[tuple[str, Event]] = []
        for _, entries in _streams(answer):
            found += [
                (entry, read(Event, fields.get("e", ""), self.key(run), entry)) for entry, fields in entries
            ]
        return found


def _streams(answer: object) -> Iterator[tuple[str, list[tuple[str, dict[str, str]]]]]:
    # RESP2 answers with a list of pairs, RESP3 with a mapping whose values are lists of lists of entries.
    if isinstance(answer, dict):
        for name, entries in answer.items():
            flat = entries[0] if entries and isinstance(entries[0], list) else entries
            yield name, flat
    elif isinstance(answer, list):
        yield from answer
