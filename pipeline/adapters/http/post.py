"""Messages to receivers outside over HTTP: one fresh connection each, nothing followed, nothing kept of the answer."""

from __future__ import annotations

import ssl
import threading
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection

from pipeline.adapters.http.probe import BROKEN, is_late, reason, within
from pipeline.errors import TryAgain
from pipeline.lib.text import without_path


class HttpPost:
    """The Post. Stateless, fit for any thread."""

    def send(self, url: str, body: bytes, headers: dict[str, str], timeout: float) -> int:
        """The status, within ``timeout`` seconds. Raises TryAgain when no answer came."""
        connection = _connection(url, timeout)
        with within(connection, timeout) as late:
            try:
                return _tell(connection, url, body, headers, late)
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


def _tell(
    connection: HTTPConnection, url: str, body: bytes, headers: dict[str, str], late: threading.Event
) -> int:
    connection.connect()
    if late.is_set():  # there was no socket yet that could have been cut
        raise TimeoutError
    more = {"User-Agent": "pushlive", "Connection": "close", **headers}
    connection.request("POST", _target(url), body, more, preload_content=False, decode_content=False)
    response = connection.getresponse()
    status = int(response.status)
    # Its head has come whole: what is left of the answer says nothing more, and may never end.
    response.close()
    if late.is_set():  # to the parser a cut looks like an answer's end
        raise TimeoutError
    return status
