"""What a provider's receiver does, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.config.settings import Secret
from pipeline.deploy.previews.requests import PullRequest


class Headers(Protocol):
    """Request headers; names are case-insensitive."""

    def get(self, key: str, default: str, /) -> str: ...


class Malformed(Exception):
    """The payload is not what the provider documents; the message says which part."""


@dataclass(frozen=True)
class Pushed:
    """One update of one ref. ``urls``: every address of the repository that the provider gave."""

    urls: tuple[str, ...]
    ref: str
    after: str
    before: str
    delivery: str
    deleted: bool = False
    forced: bool = False
    pusher: str = ""
    message: str = ""
    skip: str = ""  # why it asks not to be deployed


@dataclass(frozen=True)
class Requested:
    """A pull request was opened, got another head, or was closed. ``urls``: of the repository that it is for."""

    urls: tuple[str, ...]
    request: PullRequest


@dataclass(frozen=True)
class Ignored:
    """Nothing to do, and the reason: a ping, or an event other than a push."""

    reason: str


Parsed = Pushed | Requested | Ignored


class Receiver(Protocol):
    @property
    def name(self) -> str:
        """The last part of its URL, and the prefix of its settings."""

    def verify(self, headers: Headers, body: bytes, secrets: tuple[Secret, ...]) -> bool:
        """True if the provider signed exactly these bytes with one of ``secrets``."""

    def parse(self, headers: Headers, payload: dict[str, Any]) -> Parsed:
        """What the request means. Raises Malformed."""
