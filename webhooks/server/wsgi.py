"""One request in the WSGI application. This runs in a thread of a pool."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from pipeline.lib.units import is_number
from webhooks.server.messages import Head, Reply

HANDED_OVER = (
    256 << 10
)  # bytes of an answer that the loop sends while the thread serves others; a larger one is streamed
_NOT_PREFIXED = ("content-type", "content-length")

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def environ(head: Head, listen: tuple[str, int], **more: Any) -> dict[str, Any]:
    """Headers with an underscore are dropped: their names cannot be told from those with a hyphen."""
    values: dict[str, Any] = {
        "REQUEST_METHOD": head.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": head.path,
        "QUERY_STRING": head.query,
        "SERVER_PROTOCOL": f"HTTP/{head.version}",
        "SERVER_NAME": listen[0],
        "SERVER_PORT": str(listen[1]),
        "REMOTE_ADDR": head.peer[0],
        "REMOTE_PORT": str(head.peer[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": head.scheme,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    for name, value in head.headers:
        if "_" in name:
            continue
        key = name.upper().replace("-", "_")
        key = key if name in _NOT_PREFIXED else f"HTTP_{key}"
        between = "; " if name == "cookie" else ","
        values[key] = f"{values[key]}{between}{value}" if key in values else value
    return values | more


class Call:
    """``begin`` and ``send`` pass a long answer on, piece by piece; they return once the client has taken it, and raise
    ConnectionError if it is gone."""

    def __init__(
        self,
        app: Application,
        values: dict[str, Any],
        begin: Callable[[Reply], None],
        send: Callable[[bytes], None],
    ) -> None:
        self._app, self._environ, self._begin, self._send = app, values, begin, send
        self._head = Reply(500)

    def __call__(self) -> Reply | None:
        """The whole answer, or None if it was passed on."""
        chunks = self._app(self._environ, self._start_response)
        try:
            if self._is_small():
                return Reply(self._head.status, self._head.headers, b"".join(chunks))
            self._begin(self._head)
            for chunk in chunks:
                if chunk:
                    self._send(chunk)
            return None
        finally:
            if close := getattr(chunks, "close", None):
                close()

    def _start_response(self, status: str, headers: list[tuple[str, str]], *_: Any) -> None:
        self._head = Reply(int(status.split()[0]), tuple(headers))

    def _is_small(self) -> bool:
        length = next((value for name, value in self._head.headers if name.lower() == "content-length"), "")
        return is_number(length) and int(length) <= HANDED_OVER
