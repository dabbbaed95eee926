"""Runs whose traces are to be sent, oldest first: each at its end, and one that begins to wait, which may take days."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from pipeline.store.connection import Client, translate

AT_MOST = 1000  # the oldest are left out beyond that
SENT_FOR = 90 * 86400  # seconds after which it is forgotten what was sent of a run that still has no end


class Due(NamedTuple):
    """``run``: ``hello#42``; ``gate``: the environment before which it waits, "" at its end."""

    run: str
    gate: str = ""

    @property
    def entry(self) -> str:
        return f"{self.run} {self.gate}".rstrip()


class DueTraces:
    """``on``: traces are wanted. Otherwise nothing is noted."""

    def __init__(self, client: Client, prefix: str, *, on: bool = False) -> None:
        self.instance, self.on = prefix.removesuffix(":"), on
        self._client, self._due, self._trouble = client, f"{prefix}traces-due", f"{prefix}traces-trouble"
        self._sent = f"{prefix}traces-sent:"

    def queue(self, pipe: Any, run: str, gate: str = "") -> None:
        """Notes the run, as part of the caller's transaction. Once: a run that waits is written again and again."""
        if self.on:
            entry = Due(run, gate).entry
            pipe.lrem(self._due, 0, entry)
            pipe.rpush(self._due, entry)
            pipe.ltrim(self._due, -AT_MOST, -1)

    def first(self) -> Due | None:
        with translate():
            run, _, gate = str(self._client.lindex(self._due, 0) or "").partition(" ")
        return Due(run, gate) if run else None

    def count(self) -> int:
        with translate():
            return int(self._client.llen(self._due))

    def sent(self, run: str) -> frozenset[str]:
        """The stages of that run whose spans were accepted."""
        with translate():
            return frozenset(map(str, self._client.smembers(self._sent + run)))

    def done(self, due: Due, sent: Iterable[str] = ()) -> None:
        """``sent``: the stages that were accepted with it."""
        key, stages = self._sent + due.run, tuple(sent)
        with translate(), self._client.pipeline() as pipe:
            if due.gate and stages:
                pipe.sadd(key, *stages)
                pipe.expire(key, SENT_FOR)
            elif not due.gate:
                pipe.delete(key)
            pipe.lrem(self._due, 1, due.entry)
            pipe.execute()

    def trouble(self) -> str:
        """Why the last one could not be sent, "" if it was."""
        with translate():
            return str(self._client.get(self._trouble) or "")

    def note_trouble(self, why: str) -> None:
        with translate():
            if why:
                self._client.set(self._trouble, why)
            else:
                self._client.delete(self._trouble)
