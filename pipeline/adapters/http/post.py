"""Messages to receivers over HTTP: each on a fresh connection, redirects not followed, answers not kept."""

from __future__ import annotations

import ssl
import threading
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection

from pipeline.adapters.http.probe import BROKEN, is_late, reason, within
from pipeline.errors import TryAgain
from pipeline.lib.text import without_path


class HttpPost:
    """See ``ports.Post``. Stateless; safe to use from any thread."""

    def send(self, url: str, body: bytes, headers: dict[str, str], timeout: float) -> int:
        """The status, within ``timeout`` seconds."""
        connection = _connection(url, timeout)
        with within(connection, timeout) as late:
            try:
                return _send(connection, url, body, headers, late)
            except BROKEN as error:
                why = f"no answer within {timeout:g} s" if is_late(error, late) else reason(error)
                raise TryAgain(f"{without_path(url)}: {why.replace(_target(url), '/…')}") from None


def _connection(url: str, timeout: float) -> HTTPConnection:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return HTTPSConnection(host, parts.port or 443, timeout=timeout, ssl_context=context)
    return HTTPConnection(host, parts.port or 80, timeout=timeout)


def _target(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _send(
    connection: HTTPConnection, url: str, body: bytes, headers: dict[str, str], late: threading.Event
) -> int:
    connection.connect()
    if late.is_set():  # there was no socket yet to cut
        raise TimeoutError
    more = {"User-Agent": "pushlive", "Connection": "close", **headers}
    connection.request("POST", _target(url), body, more, preload_content=False, decode_content=False)
    response = connection.getresponse()
    status = int(response.status)
    # The rest of the answer says nothing more, and may never end.
    response.close()
    if late.is_set():  # the parser takes a cut connection for the end of the answer
        raise TimeoutError
    return status
