"""Messages to receivers over HTTP: each on a fresh connection, redirects not followed, answers not kept."""

from __future__ import annotations

import ssl
from contextlib import closing
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection

from pipeline.adapters.deadline_connections import DeadlineHTTPConnection, DeadlineHTTPSConnection
from pipeline.adapters.http.probe import BROKEN, is_late, reason
from pipeline.errors import TryAgain
from pipeline.lib.bounded import Late, TooManyLeft, bounded
from pipeline.lib.sockets import within
from pipeline.lib.text import without_path

GRACE = 1.0  # seconds for an exchange to notice that its time is over


class HttpPost:
    """See ``ports.Post``. Stateless; safe to use from any thread."""

    def send(self, url: str, body: bytes, headers: dict[str, str], timeout: float) -> int:
        """The status, within ``timeout`` seconds."""
        late = f"no answer within {timeout:g} s"
        try:
            # In a thread of its own, since nothing limits how long a name is looked up.
            return bounded(
                lambda: _send(url, body, headers, timeout), timeout + GRACE, name=f"POST {without_path(url)}"
            )
        except BROKEN as error:
            why = late if is_late(error) else reason(error).replace(_target(url), "/…")
        except Late:
            why = late
        except TooManyLeft:
            why = "too many earlier messages are still waiting for an answer"
        raise TryAgain(f"{without_path(url)}: {why}")


def connection_to(url: str, timeout: float) -> HTTPConnection:
    """A connection to the server of that URL, opened within ``timeout`` seconds."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return DeadlineHTTPSConnection(host, parts.port or 443, timeout=timeout, ssl_context=context)
    return DeadlineHTTPConnection(host, parts.port or 80, timeout=timeout)


def _target(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _send(url: str, body: bytes, headers: dict[str, str], timeout: float) -> int:
    more = {"User-Agent": "pushlive", "Connection": "close", **headers}
    with within(timeout), closing(connection_to(url, timeout)) as connection:
        connection.request("POST", _target(url), body, more, preload_content=False, decode_content=False)
        # The rest of the answer says nothing more, and may never end.
        with closing(connection.getresponse()) as response:
            return int(response.status)
