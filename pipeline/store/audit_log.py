"""The audit log in the store. An entry is written to a list together with the act itself, and moved from there into the
chain. Only the chain needs an order, so acts never wait for one another."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import redis

from pipeline.domain import audit_chain
from pipeline.domain.audit_chain import BEGINNING, Entry, Mark
from pipeline.lib.journal.writer import NO_JOURNAL, Journal
from pipeline.store.connection import Client, translate

MOVE_BATCH = 500  # entries in one transaction
READ_BATCH = 500

# A client that lost the answer asks again: the key makes sure that the entry is written once.
_RECORD = (
    "if redis.call('set',KEYS[2],'1','NX','EX',60) then redis.call('rpush',KEYS[1],ARGV[1]) end return 1"
)


class AuditLog:
    def __init__(self, client: Client, prefix: str, journal: Journal = NO_JOURNAL) -> None:
        self._client, self._journal = client, journal
        self._pending, self._chain = f"{prefix}audit-pending", f"{prefix}audit"
        self._record = client.register_script(_RECORD)

    def queue(self, pipe: Any, entry: Entry) -> None:
        """Adds the entry, as part of the caller's transaction."""
        pipe.rpush(self._pending, audit_chain.canonical(entry))

    def record(self, entry: Entry) -> None:
        """Adds the entry of an act that writes nothing else."""
        once = f"{self._pending}:{secrets.token_hex(8)}"
        with translate():
            self._record(keys=[self._pending, once], args=[audit_chain.canonical(entry)])

    def move(self) -> bool:
        """Moves up to ``MOVE_BATCH`` waiting entries into the chain, all or nothing, also if several processes do it at
        once. False if none was waiting."""
        with translate(), self._client.pipeline() as pipe:
            try:
                pipe.watch(self._chain)  # type: ignore[no-untyped-call]
                waiting = pipe.lrange(self._pending, 0, MOVE_BATCH - 1)
                if not waiting:
                    return False
                last, lines = self._last(pipe), []
                for raw in waiting:
                    line, last = audit_chain.link(str(raw), last)
                    lines.append(line)
                pipe.multi()
                pipe.rpush(self._chain, *lines)
                # Only the process that changes the chain takes from the left; newer entries are on the right.
                pipe.ltrim(self._pending, len(waiting), -1)
                pipe.execute()
            except redis.WatchError:
                return (
                    True  # another process moved them, or ours were moved and the answer was lost: look again
                )
        for raw in waiting:
            self._tell(str(raw))
        return True

    def _tell(self, raw: str) -> None:
        """An act in the journal: whatever wrote its entry, it comes through here once."""
        if found := audit_chain.read(raw):
            names = ("pipeline", "environment", "run", "release", "act", "role", "way", "address", "detail")
            more: dict[str, Any] = {name: found.get(name, "") for name in names}
            level = "warning" if "refused" in str(found.get("act", "")) else "info"
            message, who = str(found.get("why", "")), found.get("who", "")
            self._journal.write("act", message, level=level, actor=who, acted=found.get("time", ""), **more)

    def last(self) -> Mark:
        """The mark of the newest entry."""
        with translate():
            return self._last(self._client)

    def _last(self, client: Any) -> Mark:
        count = int(client.llen(self._chain))
        line = client.lindex(self._chain, count - 1) if count else None
        return audit_chain.mark_of(str(line), count) if line is not None else BEGINNING

    def mark(self, number: int) -> Mark | None:
        """The mark of the entry at that number's position, None if there is none."""
        with translate():
            line = self._client.lindex(self._chain, number - 1) if number > 0 else None
        return audit_chain.mark_of(str(line), number) if line is not None else None

    def lines(self) -> Iterator[str]:
        """The whole chain, oldest first."""
        start = 0
        while True:
            with translate():
                found = self._client.lrange(self._chain, start, start + READ_BATCH - 1)
            yield from (str(line) for line in found)
            if len(found) < READ_BATCH:
                return
            start += READ_BATCH

    def after(self, position: int, at_most: int) -> tuple[int, list[str]]:
        """Lines of the chain from that position on (0: the first line), and the position after the last of them. A
        position that the chain does not have is that of another chain: it is read from its beginning."""
        with translate():
            position = position if position <= int(self._client.llen(self._chain)) else 0
            found = self._client.lrange(self._chain, position, position + at_most - 1)
        return position + len(found), [str(line) for line in found]

    def newest(self) -> Iterator[str]:
        """The whole chain, newest first."""
        with translate():
            end = int(self._client.llen(self._chain))
        while end > 0:
            start = max(0, end - READ_BATCH)
            with translate():
                found = self._client.lrange(self._chain, start, end - 1)
            yield from (str(line) for line in reversed(found))
            end = start
