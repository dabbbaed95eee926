"""Requests to applications, and messages to receivers."""

from __future__ import annotations

from typing import Protocol

from pipeline.domain.engine_types import Answer, Route


class Probe(Protocol):
    def get(self, route: Route, path: str, timeout: float) -> Answer:
        """One GET over a fresh connection; no redirect is followed; the body is cut at 1 MiB. Raises TryAgain if no
        answer came (NothingListens if the connection was refused), with a message fit for a person."""

    def tcp(self, address: str, port: int, timeout: float) -> float:
        """Opens and closes a connection; returns the seconds. ``address``: where a replica on that engine is reached
        (``Replica.reach``). Raises TryAgain, and NothingListens if the connection was refused."""


class Post(Protocol):
    def send(self, url: str, body: bytes, headers: dict[str, str], timeout: float) -> int:
        """One POST over a fresh connection, ended after ``timeout`` seconds whatever the receiver does; returns the
        status. No redirect is followed, the answer's body is thrown away. Twice: the receiver knows a message by
        its id. Raises TryAgain when no answer came, with a message that holds nothing of the address's path."""
