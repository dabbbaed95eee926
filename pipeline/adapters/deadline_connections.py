"""urllib3's connections on sockets that keep to the deadline of ``lib.sockets.within``."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import OK, SWITCHING_PROTOCOLS, HTTPResponse, parse_headers
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from pipeline.lib.sockets import DeadlineSocket, keep_to_deadline, remaining


@contextmanager
def _shortened(connection: HTTPConnection) -> Iterator[None]:
    """Opening a connection, the TLS handshake included, takes no longer than what is left."""
    own, left = connection.timeout, remaining()
    if left < (own if isinstance(own, int | float) else math.inf):
        connection.timeout = max(left, 0.001)  # 0 would mean not to wait for the other end at all
    try:
        yield
    finally:
        connection.timeout = own


class FinalResponse(HTTPResponse):
    """The final answer: interim ones before it (102, 103 Early Hints) are skipped, as RFC 9110 (15.2) asks of every
    client. The standard library skips 100 alone."""

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            found: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if not SWITCHING_PROTOCOLS < found[1] < OK:
                return found
            parse_headers(self.fp)


class DeadlineHTTPConnection(HTTPConnection):
    """HTTP over TCP."""

    response_class = FinalResponse

    def _new_conn(self) -> socket.socket:
        with _shortened(self):
            return DeadlineSocket.over(super()._new_conn())


class DeadlineHTTPSConnection(HTTPSConnection):
    """HTTP over TLS."""

    response_class = FinalResponse

    def _new_conn(self) -> socket.socket:
        with _shortened(self):
            return DeadlineSocket.over(super()._new_conn())

    def connect(self) -> None:
        super().connect()
        keep_to_deadline(self.sock)


class DeadlineHTTPPool(HTTPConnectionPool):
    ConnectionCls = DeadlineHTTPConnection


class DeadlineHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = DeadlineHTTPSConnection


def keep_pools_to_deadline(manager: Any) -> None:
    """From now on that pool manager opens connections that keep to ``within``."""
    manager.pool_classes_by_scheme = {"http": DeadlineHTTPPool, "https": DeadlineHTTPSPool}
