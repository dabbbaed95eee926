"""A gunicorn thread worker that slow clients cannot block.

Seen in gunicorn 27: it waits up to 5 s for a connection's *first* byte without occupying a thread, but after that a
client that sends one byte a second occupies a thread for as long as it likes, in the head and in the body alike; 64 of
them stop the service. Two rules prevent this:

* a connection gets a thread only once its request's whole head has arrived (within HEAD_SECONDS, else it is closed);
* reading a body has a deadline (``webhooks.security.limits.Deadlines``), which this loop enforces; a git pack may take
  long but must not stall (``webhooks.git.http_backend``).
"""

from __future__ import annotations

import socket
import time
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

HEAD_SECONDS = 10.0
HEAD_BYTES = 65536  # more than gunicorn's own limits allow
PARTIAL_HEAD_INTERVAL = 0.02  # seconds between checks of heads that arrived in part
SEND_SECONDS = 60.0  # a client that reads nothing for this long is disconnected


class SlowClientWorker(ThreadWorker):  # type: ignore[misc]
    """Runs in the server's only process. Everything except requests happens in its main thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._partial: list[tuple[float, TConn]] = []

    def enqueue_req(self, conn: TConn) -> None:
        if conn.initialized and conn.parser.unreader.buf.getvalue():  # pipelined: already read
            super().enqueue_req(conn)
        else:
            self._inspect(conn, time.monotonic() + HEAD_SECONDS)

    def _inspect(self, conn: TConn, deadline: float) -> None:
        try:
            head = conn.sock.recv(HEAD_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._wait(conn)
            return
        except OSError:
            self._drop(conn)
            return
        if not head:
            self._drop(conn)
        elif b"\r\n\r\n" in head or len(head) == HEAD_BYTES:
            conn.data_ready = True
            super().enqueue_req(conn)
        elif time.monotonic() < deadline:
            self._partial.append((deadline, conn))
        else:
            self._drop(conn)

    def _wait(self, conn: TConn) -> None:
        """Nothing has arrived yet: the poller reports the first byte; gunicorn closes it after `keepalive` seconds."""
        conn.sock.setblocking(False)
        conn.set_timeout()
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def _drop(self, conn: TConn) -> None:
        self.nr_conns -= 1
        conn.close()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        super().wait_for_and_dispatch_events(PARTIAL_HEAD_INTERVAL if self._partial else timeout)
        waiting, self._partial = self._partial, []
        for deadline, conn in waiting:
            self._inspect(conn, deadline)
        self.wsgi.extensions["pushlive"].deadlines.expire()

    def handle_request(self, req: Any, conn: TConn) -> Any:
        conn.sock.settimeout(SEND_SECONDS)
        return super().handle_request(req, conn)
