"""Messages for receivers outside, each in its receiver's box until it was delivered or given up.

A message is put there by the very transaction that records what it tells of, under an id of its own: a crash
neither loses it nor makes a second one. A box is bounded; when it is full, its oldest message goes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from pipeline.lib import codec
from pipeline.store.connection import Client, translate

LIMIT = 1000  # messages that one receiver may have waiting, about 1 MB
REMEMBERED = 7 * 86400  # seconds that a receiver's trouble and losses are told
GIVEN_UP = "notify: given up"

# Nothing is forgotten that came in meanwhile.
_FORGET = """
if redis.call('exists', KEYS[2], KEYS[3], KEYS[4]) == 0 then return redis.call('hdel', KEYS[1], ARGV[1]) end
return 0
"""


@dataclass(frozen=True)
class Trouble:
    """What a receiver did since it last took a message. Times are seconds since the epoch."""

    failures: int = 0  # tries in a row
    since: float = 0.0  # the first of them
    again: float = 0.0  # when it is tried next
    error: str = ""  # never holds the address's path
    refused: int = 0  # how often it has refused the message that is first in its box


@dataclass(frozen=True)
class Box:
    """One receiver. ``lost``: messages given up in the last days."""

    id: str
    url: str = field(repr=False)
    waiting: int = 0
    trouble: Trouble | None = None
    lost: int = 0


def box_id(url: str) -> str:
    """Names a receiver without telling its address."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


class Outbox:
    def __init__(self, client: Client, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._forget = client.register_script(_FORGET)

    def key(self, what: str, box: str) -> str:
        return f"{self._prefix}outbox{what}:{box}"

    @property
    def _boxes(self) -> str:
        return f"{self._prefix}outboxes"

    # ── putting in, as a part of somebody's transaction ──────────────────────

    def is_full(self, client: Any, url: str) -> bool:
        return bool(client.llen(self.key("", box_id(url))) >= LIMIT)

    def queue(self, pipe: Any, url: str, message: str, *, full: bool) -> None:
        """Adds the message; in a full box the oldest one makes room and is counted."""
        box = box_id(url)
        pipe.hset(self._boxes, box, url)
        pipe.rpush(self.key("", box), message)
        pipe.ltrim(self.key("", box), -LIMIT, -1)
        if full:
            self._count_lost(pipe, box, 1)

    def _count_lost(self, pipe: Any, box: str, number: int) -> None:
        pipe.hincrby(f"{self._prefix}counts", GIVEN_UP, number)
        pipe.incrby(self.key("-lost", box), number)
        pipe.expire(self.key("-lost", box), REMEMBERED)

    # ── sending ──────────────────────────────────────────────────────────────

    def boxes(self) -> tuple[Box, ...]:
        """Every receiver that has messages waiting or had trouble in the last days."""
        with translate():
            known = self._client.hgetall(self._boxes)
        return tuple(self._box(str(box), str(url)) for box, url in sorted(known.items()))

    def box(self, box: str) -> Box | None:
        with translate():
            url = self._client.hget(self._boxes, box)
        return self._box(box, str(url)) if url else None

    def _box(self, box: str, url: str) -> Box:
        with translate():
            pipe = self._client.pipeline(transaction=False)
            pipe.llen(self.key("", box))
            pipe.get(self.key("-trouble", box))
            pipe.get(self.key("-lost", box))
            waiting, trouble, lost = pipe.execute()
        return Box(box, url, waiting, codec.load(Trouble, trouble) if trouble else None, int(lost or 0))

    def first(self, box: str) -> str:
        """The oldest message, "" where there is none."""
        with translate():
            return str(self._client.lindex(self.key("", box), 0) or "")

    def delivered(self, box: str, message: str) -> None:
        """The message is out of the box, the trouble over. Twice."""
        with translate(), self._client.pipeline() as pipe:
            pipe.lrem(self.key("", box), 1, message)
            pipe.delete(self.key("-trouble", box))
            pipe.execute()

    def failed(self, box: str, trouble: Trouble) -> None:
        with translate():
            self._client.set(self.key("-trouble", box), codec.dump(trouble), ex=REMEMBERED)

    def give_up(self, box: str, message: str) -> None:
        """The message is out of the box and counted as lost, once: others may have been quicker."""
        with translate():
            if not self._client.lrem(self.key("", box), 1, message):
                return
            pipe = self._client.pipeline()
            self._count_lost(pipe, box, 1)
            pipe.execute()

    def forget(self, box: str) -> None:
        """A receiver about which there is nothing more to say is known no more."""
        kept = [self.key(what, box) for what in ("", "-trouble", "-lost")]
        with translate():
            self._forget(keys=[self._boxes, *kept], args=[box])
