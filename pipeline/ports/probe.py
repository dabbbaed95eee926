"""Requests to applications, and messages to receivers."""

from __future__ import annotations

from typing import Protocol

from pipeline.domain.engine_types import Answer, Route


class Probe(Protocol):
    def get(self, route: Route, path: str, timeout: float) -> Answer:
        """One GET over a new connection. Redirects are not followed; the body is cut at 1 MiB. Raises TryAgain if no
        answer came (NothingListens if the connection was refused), with a message for a person."""

    def tcp(self, address: str, port: int, timeout: float) -> float:
        """Opens and closes a connection; returns the seconds. ``address``: where a replica on that engine is reached
        (``Replica.reach``). Raises TryAgain, and NothingListens if the connection was refused."""


class Post(Protocol):
    def send(self, url: str, body: bytes, headers: dict[str, str], timeout: float) -> int:
        """One POST over a new connection, aborted after ``timeout`` seconds whatever the receiver does; returns the
        status. Redirects are not followed, the response body is discarded. May be sent again: the receiver recognises
        a message by its id. Raises TryAgain if there was no answer; its message does not contain the URL's path."""
