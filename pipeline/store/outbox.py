"""Messages for receivers outside: one queue for each receiver, which keeps a message until it is delivered or given up.

A message is queued by the transaction that records what it is about, under an id of its own, so a crash neither loses
it nor makes a second one. A queue is bounded: when it is full, its oldest message is dropped.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from pipeline.lib import codec
from pipeline.store.connection import Client, translate

LIMIT = 1000  # messages that may wait for one receiver, about 1 MB
REMEMBERED = 7 * 86400  # seconds that an outage and lost messages are reported
GIVEN_UP = "notify: given up"

# A receiver that got a message, or failed, meanwhile is kept.
_FORGET = """
if redis.call('exists', KEYS[2], KEYS[3], KEYS[4]) == 0 then return redis.call('hdel', KEYS[1], ARGV[1]) end
return 0
"""


@dataclass(frozen=True)
class Outage:
    """The failed attempts since a receiver last accepted a message. Times are seconds since the epoch."""

    failures: int = 0  # attempts in a row
    since: float = 0.0  # the first of them
    again: float = 0.0  # when the next attempt is due
    error: str = ""  # never contains the URL's path
    refused: int = 0  # how often it has refused the message that is first in its queue


@dataclass(frozen=True)
class Receiver:
    """``waiting``: messages in its queue. ``lost``: messages given up in the last days."""

    id: str
    url: str = field(repr=False)
    waiting: int = 0
    outage: Outage | None = None
    lost: int = 0


def receiver_id(url: str) -> str:
    """Identifies a receiver without revealing its URL."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


class Outbox:
    def __init__(self, client: Client, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._forget = client.register_script(_FORGET)

    def key(self, what: str, receiver: str) -> str:
        """``what``: "" for the queue, "-trouble" for the outage, "-lost" for the number of lost messages."""
        return f"{self._prefix}outbox{what}:{receiver}"

    @property
    def _known(self) -> str:
        return f"{self._prefix}outboxes"

    # ── queueing, as part of the caller's transaction ────────────────────────

    def is_full(self, client: Any, url: str) -> bool:
        return bool(client.llen(self.key("", receiver_id(url))) >= LIMIT)

    def queue(self, pipe: Any, url: str, message: str, *, full: bool) -> None:
        """Adds the message. ``full``: the queue is full, so its oldest message is dropped and counted as lost."""
        receiver = receiver_id(url)
        pipe.hset(self._known, receiver, url)
        pipe.rpush(self.key("", receiver), message)
        pipe.ltrim(self.key("", receiver), -LIMIT, -1)
        if full:
            self._count_lost(pipe, receiver)

    def _count_lost(self, pipe: Any, receiver: str) -> None:
        pipe.hincrby(f"{self._prefix}counts", GIVEN_UP, 1)
        pipe.incrby(self.key("-lost", receiver), 1)
        pipe.expire(self.key("-lost", receiver), REMEMBERED)

    # ── delivering; receivers are named by their id ──────────────────────────

    def receivers(self) -> tuple[Receiver, ...]:
        """Every receiver that has messages waiting, or had an outage or lost messages in the last days."""
        with translate():
            known = self._client.hgetall(self._known)
        return tuple(self._receiver(str(id_), str(url)) for id_, url in sorted(known.items()))

    def receiver(self, receiver: str) -> Receiver | None:
        with translate():
            url = self._client.hget(self._known, receiver)
        return self._receiver(receiver, str(url)) if url else None

    def _receiver(self, receiver: str, url: str) -> Receiver:
        with translate():
            pipe = self._client.pipeline(transaction=False)
            pipe.llen(self.key("", receiver))
            pipe.get(self.key("-trouble", receiver))
            pipe.get(self.key("-lost", receiver))
            waiting, outage, lost = pipe.execute()
        return Receiver(
            receiver, url, waiting, codec.load(Outage, outage) if outage else None, int(lost or 0)
        )

    def first(self, receiver: str) -> str:
        """The oldest message, "" if none is waiting."""
        with translate():
            return str(self._client.lindex(self.key("", receiver), 0) or "")

    def delivered(self, receiver: str, message: str) -> None:
        """Removes the message and ends the outage. Idempotent."""
        with translate(), self._client.pipeline() as pipe:
            pipe.lrem(self.key("", receiver), 1, message)
            pipe.delete(self.key("-trouble", receiver))
            pipe.execute()

    def failed(self, receiver: str, outage: Outage) -> None:
        with translate():
            self._client.set(self.key("-trouble", receiver), codec.dump(outage), ex=REMEMBERED)

    def give_up(self, receiver: str, message: str) -> None:
        """Removes the message and counts it as lost. Idempotent: a message that is gone already is not counted."""
        with translate():
            if not self._client.lrem(self.key("", receiver), 1, message):
                return
            pipe = self._client.pipeline()
            self._count_lost(pipe, receiver)
            pipe.execute()

    def forget(self, receiver: str) -> None:
        """Removes the receiver, unless messages are waiting or an outage or losses are still to be reported."""
        kept = [self.key(what, receiver) for what in ("", "-trouble", "-lost")]
        with translate():
            self._forget(keys=[self._known, *kept], args=[receiver])
