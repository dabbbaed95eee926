"""Runs that have ended and whose traces are to be sent, oldest first."""

from __future__ import annotations

from typing import Any

from pipeline.store.connection import Client, translate

AT_MOST = 1000  # the oldest are left out beyond that


class DueTraces:
    """``on``: traces are wanted. Otherwise nothing is noted."""

    def __init__(self, client: Client, prefix: str, *, on: bool = False) -> None:
        self.instance, self.on = prefix.removesuffix(":"), on
        self._client, self._due, self._trouble = client, f"{prefix}traces-due", f"{prefix}traces-trouble"

    def queue(self, pipe: Any, run: str) -> None:
        """Notes the run, as part of the caller's transaction."""
        if self.on:
            pipe.rpush(self._due, run)
            pipe.ltrim(self._due, -AT_MOST, -1)

    def first(self) -> str:
        """The run that is due next, ``hello#42``; "" if none is."""
        with translate():
            return str(self._client.lindex(self._due, 0) or "")

    def count(self) -> int:
        with translate():
            return int(self._client.llen(self._due))

    def done(self, run: str) -> None:
        with translate():
            self._client.lrem(self._due, 1, run)

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
