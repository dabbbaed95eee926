"""Whether a name leads to this machine's proxy."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Astray:
    """Why a name cannot be shown to lead here, and what to do."""

    problem: str
    advice: str


class Reach(Protocol):
    """Asks as an authority would, from here."""

    def astray(self, name: str, path: str, value: str) -> Astray | None:
        """None if every address of the name answers ``http://<name><path>`` with ``value``. Takes seconds at most."""


class Challenges(Protocol):
    """The proxies, which answer challenges themselves."""

    def answering(self, engine: str, path: str, value: str) -> AbstractContextManager[None]:
        """While it is open, the proxy beside that engine answers ``path`` with ``value``, whatever host is asked for.
        Raises EngineAway, or EngineFailed if the proxy that runs cannot do that."""

    def clear(self) -> None:
        """Forgets what a process that died left. Idempotent."""
