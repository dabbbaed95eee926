"""A run's events: a bounded stream in Redis, for everyone who follows the run."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator

from pipeline.domain.events import Event
from pipeline.lib import codec
from pipeline.store.connection import Client, read, translate
from pipeline.store.leases import Lease

LIMIT = 20_000  # events of one run; its log file has all of them
KEEP = 30 * 86400  # seconds
_KEEP_FROM = ("accepted", "end")

# KEYS: the stream, the fence's lease if there is one. ARGV: the lease's token, the batch's name, LIMIT, KEEP or 0, the
# events. A client that lost the answer asks again: its batch, whose last event has its name, is there then.
_APPEND = """
if KEYS[2] and redis.call('get', KEYS[2]) ~= ARGV[1] then return 0 end
local last = redis.call('xrevrange', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last and last[2][4] == ARGV[2] then return 1 end
for i = 5, #ARGV - 1 do redis.call('xadd', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'e', ARGV[i]) end
redis.call('xadd', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'e', ARGV[#ARGV], 'b', ARGV[2])
if ARGV[4] ~= '0' then redis.call('expire', KEYS[1], ARGV[4]) end
return 1
"""


class Events:
    def __init__(self, client: Client, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._append = client.register_script(_APPEND)

    def key(self, run: str) -> str:
        return f"{self._prefix}events:{run}"

    def append(self, run: str, events: Iterable[Event], fence: Lease | None = None) -> None:
        """Adds the events. Raises LeaseLost, and adds none, if this process no longer holds the ``fence``."""
        batch = tuple(events)
        if not batch:
            return
        keep = KEEP if any(event.kind in _KEEP_FROM for event in batch) else 0
        keys = [self.key(run), *((fence.key,) if fence else ())]
        limits: list[str | int] = [fence.token if fence else "", secrets.token_hex(8), LIMIT, keep]
        with translate():
            added = self._append(keys=keys, args=[*limits, *map(codec.dump, batch)])
        if fence and not added:
            raise fence.lost()

    def queue(self, pipe: Client, run: str, event: Event) -> None:
        """Adds the event, as part of the caller's transaction."""
        pipe.xadd(self.key(run), {"e": codec.dump(event)}, maxlen=LIMIT, approximate=True)
        if event.kind in _KEEP_FROM:
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
