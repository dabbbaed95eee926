"""Requests to an application over HTTP and TCP: each on a fresh connection, never retried, redirects not followed."""

from __future__ import annotations

import socket
import time
from contextlib import closing
from http.client import HTTPException
from typing import TypeVar
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as UrllibTimeout

from pipeline.adapters.deadline_connections import DeadlineHTTPConnection
from pipeline.domain.engine_types import Answer, Route
from pipeline.errors import EngineAway, NothingListens, TryAgain
from pipeline.lib.sockets import within

BODY = 1 << 20  # bytes of a body that are read at most
SERVED_BY = "x-pushlive-server"
REFUSED = "connection refused, nothing listens there"
BROKEN = (HTTPError, HTTPException, OSError, ValueError)  # what an exchange may end with

E = TypeVar("E", bound=OSError)


class HttpProbe:
    """See ``ports.Probe``. Stateless; safe to use from any thread."""

    def get(self, route: Route, path: str, timeout: float) -> Answer:
        """One GET, answered in full within ``timeout`` seconds."""
        parts = urlsplit(route.url)
        began = time.monotonic()
        with (
            within(timeout),
            closing(self._connection(parts.hostname or "", parts.port or 80, timeout)) as one,
        ):
            try:
                return _ask(one, route, path, began)
            except BROKEN as error:
                if is_late(error):
                    why = f"no complete answer within {timeout:g} s"
                    raise TryAgain(f"GET {route.url}{path}: {why}.") from error
                raise unanswered(f"GET {route.url}{path}", error) from error

    def _connection(self, host: str, port: int, timeout: float) -> HTTPConnection:
        return DeadlineHTTPConnection(host, port, timeout=timeout)

    def tcp(self, address: str, port: int, timeout: float) -> float:
        """Opens and closes a connection; returns the seconds that opening took."""
        began = time.monotonic()
        try:
            socket.create_connection((address, port), timeout=timeout).close()
        except OSError as error:
            raise unanswered(f"TCP {address}:{port}", error) from error
        return time.monotonic() - began


class ProxyProbe(HttpProbe):
    """See ``ports.Probe``; for an engine whose routes with expected servers lead to its proxy."""

    def get(self, route: Route, path: str, timeout: float) -> Answer:
        try:
            return super().get(route, path, timeout)
        except NothingListens as error:
            if not route.expect:
                raise
            raise EngineAway(f"The proxy does not run: {error.message}") from error


def _ask(connection: HTTPConnection, route: Route, path: str, began: float) -> Answer:
    headers = {"User-Agent": "pushlive", "Accept": "*/*", "Connection": "close", **route.headers}
    connection.request("GET", path, headers=headers, preload_content=False, decode_content=False)
    # An answer that names its end takes the socket along: closing the connection alone would leave it open.
    with closing(connection.getresponse()) as response:
        body = response.read(BODY)
        if len(body) < BODY:
            response.read(1)  # raises if less came than was announced
        names = {name.lower(): value for name, value in response.headers.items()}
        seconds = time.monotonic() - began
        return Answer(response.status, names, body, seconds, served_by=names.get(SERVED_BY, ""))


def is_late(error: Exception) -> bool:
    """True if that error means that the time was over."""
    # urllib3 counts a refused connection among its timeouts
    return isinstance(error, (TimeoutError, UrllibTimeout)) and not isinstance(error, NewConnectionError)


def unanswered(doing: str, error: Exception) -> TryAgain:
    """Our error for a request without an answer; ``doing`` begins its message."""
    kind = NothingListens if _cause(error, ConnectionRefusedError) else TryAgain
    return kind(f"{doing}: {reason(error)}.")


def reason(error: Exception) -> str:
    """Why no answer came, for people."""
    if _cause(error, ConnectionRefusedError):
        return REFUSED
    if _cause(error, TimeoutError):
        return "no answer in time"
    if _cause(error, ConnectionResetError):
        return "the connection was reset"
    if (found := _cause(error, OSError)) and found.strerror:
        return found.strerror.lower()
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


def _cause(error: Exception, kind: type[E]) -> E | None:
    """The error, or the one that it was made from, if it is of that kind."""
    for one in (error, error.__cause__ or error.__context__):
        if isinstance(one, kind):
            return one
    return None
