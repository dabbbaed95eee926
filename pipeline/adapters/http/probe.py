"""Questions to an application over HTTP and TCP: one fresh connection each, nothing repeated or followed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as UrllibTimeout

from pipeline.domain.engine_types import Answer, Route
from pipeline.errors import TryAgain

BODY = 1 << 20  # bytes of a body that are read
SERVED_BY = "x-pushlive-server"
BROKEN = (HTTPError, HTTPException, OSError, ValueError)  # what an exchange may end with


class HttpProbe:
    """The Probe. Stateless, fit for any thread."""

    def get(self, route: Route, path: str, timeout: float) -> Answer:
        """One GET, answered in full within ``timeout`` seconds. Raises TryAgain when no answer came."""
        parts = urlsplit(route.url)
        began = time.monotonic()
        connection = self._connection(parts.hostname or "", parts.port or 80, timeout)
        with within(connection, timeout) as late:
            try:
                answer = _ask(connection, route, path, began)
                if late.is_set():  # to the parser a cut looks like an answer's end
                    raise TimeoutError
                return answer
            except BROKEN as error:
                why = f"no whole answer within {timeout:g} s" if is_late(error, late) else reason(error)
                raise TryAgain(f"GET {route.url}{path}: {why}.") from error

    def _connection(self, host: str, port: int, timeout: float) -> HTTPConnection:
        return HTTPConnection(host, port, timeout=timeout)

    def tcp(self, address: str, port: int, timeout: float) -> float:
        """Opens and closes a connection; returns the seconds it took to stand. Raises TryAgain."""
        began = time.monotonic()
        try:
            socket.create_connection((address, port), timeout=timeout).close()
        except OSError as error:
            raise TryAgain(f"TCP {address}:{port}: {reason(error)}.") from error
        return time.monotonic() - began


def _ask(connection: HTTPConnection, route: Route, path: str, began: float) -> Answer:
    headers = {"User-Agent": "pushlive", "Accept": "*/*", "Connection": "close", **route.headers}
    connection.request("GET", path, headers=headers, preload_content=False, decode_content=False)
    response = connection.getresponse()
    body = response.read(BODY)
    if len(body) < BODY:
        response.read(1)  # raises where less came than was announced
    names = {name.lower(): value for name, value in response.headers.items()}
    seconds = time.monotonic() - began
    return Answer(response.status, names, body, seconds, served_by=names.get(SERVED_BY, ""))


@contextmanager
def within(connection: HTTPConnection, timeout: float) -> Iterator[threading.Event]:
    """Whatever is under way on the connection ends after ``timeout`` seconds, and the event is set then; the
    connection is closed at the end. A socket's own timeout starts again with each byte; this one does not."""
    late = threading.Event()
    timer = threading.Timer(timeout, _cut, (connection, late))
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
        connection.close()


def _cut(connection: HTTPConnection, late: threading.Event) -> None:
    """Ends whatever is under way on that connection, and says so."""
    late.set()
    if connection.sock is not None:
        try:
            connection.sock.shutdown(socket.SHUT_RDWR)
        except OSError:  # it has ended by itself meanwhile
            return


def is_late(error: Exception, late: threading.Event) -> bool:
    """True where that error means that the time was over."""
    # urllib3 counts a refused connection among its timeouts
    timed_out = isinstance(error, (TimeoutError, UrllibTimeout)) and not isinstance(error, NewConnectionError)
    return late.is_set() or timed_out


def reason(error: Exception) -> str:
    """What happened in a person's words."""
    cause = error.__cause__ or error.__context__ or error
    for one in (error, cause):
        if isinstance(one, ConnectionRefusedError):
            return "connection refused, nothing listens there"
        if isinstance(one, TimeoutError):
            return "no answer in time"
        if isinstance(one, ConnectionResetError):
            return "the connection was reset"
        if isinstance(one, OSError) and one.strerror:
            return one.strerror.lower()
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
