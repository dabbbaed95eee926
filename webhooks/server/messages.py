"""Requests and answers, as the parts of the server pass them on."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from http import HTTPStatus
from tempfile import SpooledTemporaryFile
from typing import IO
from urllib.parse import unquote_to_bytes

IN_MEMORY = 64 << 10  # bytes of one body; a larger one is on disk


@dataclass(frozen=True)
class Head:
    """A request without its body. Header names are lower case, values are latin-1. ``length``: None if not given."""

    method: str
    target: str
    version: str
    headers: tuple[tuple[str, str], ...]
    peer: tuple[str, int]
    scheme: str = "http"  # over which the client came

    def get(self, name: str) -> str:
        """The values of that header, joined by commas; "" if there is none."""
        return ",".join(value for key, value in self.headers if key == name)

    @cached_property
    def path(self) -> str:
        """Decoded, with each byte as one character, as WSGI wants it."""
        return unquote_to_bytes(self._local.partition("?")[0]).decode("latin-1")

    @cached_property
    def query(self) -> str:
        return self._local.partition("?")[2]

    @property
    def _local(self) -> str:
        scheme, _, rest = self.target.partition("://")
        if scheme.lower() not in ("http", "https"):
            return self.target
        _, slash, path = rest.partition("/")
        return slash + path

    @property
    def chunked(self) -> bool:
        return bool(self.get("transfer-encoding"))

    @property
    def length(self) -> int | None:
        text = self.get("content-length")
        return int(text) if text else None

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.length)


class BodyMode(Enum):
    """What happens to a body before a thread is taken: nothing, everything, or the thread reads it piece by piece."""

    UNREAD = "unread"
    BUFFERED = "buffered"
    STREAMED = "streamed"


class BodyProblem(Enum):
    TOO_LARGE = 413
    INCOMPLETE = 408
    MALFORMED = 400
    NO_ROOM = 503


@dataclass
class BufferedBody:
    """A body that has arrived, or what is wrong with it."""

    file: IO[bytes] = field(default_factory=lambda: SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115
    size: int = 0
    problem: BodyProblem | None = None


@dataclass(frozen=True)
class Sender:
    """Who sent a request: an address (an IPv6 network), and a hash of what it gave to authenticate itself with."""

    address: str
    credential: str = ""


@dataclass(frozen=True)
class Admission:
    """What a request may use, decided by its head alone. ``limit``: bytes of its body; ``seconds``: for a buffered
    body, 0 for the server's default."""

    pool: str
    sender: Sender
    mode: BodyMode = BodyMode.UNREAD
    limit: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Reply:
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    @property
    def reason(self) -> str:
        try:
            return HTTPStatus(self.status).phrase
        except ValueError:
            return ""
