"""A server that slow clients cannot occupy: gunicorn's thread worker, with two rules more.

Seen in gunicorn 27: it waits 5 s for a connection's *first* byte without holding a thread for longer, but
from then on a client that sends one byte a second keeps a thread, in the head and in the body alike, for as
long as it likes; 64 of them stop the service. So:

* a connection gets a thread only once its request's whole head is there (HEAD_SECONDS, else it is closed);
* reading a body is given a deadline by whoever reads it (``webhooks.security.limits.Deadlines``), which this loop
  enforces; git's packs, which may take long, must not stall (``webhooks.git.cgi``).
"""

from __future__ import annotations

import socket
import time
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

HEAD_SECONDS = 10.0
HEAD_BYTES = 65536  # more than gunicorn's own limits let through
LOOK_AGAIN = 0.02  # seconds between looks at heads that came in part
SEND_SECONDS = 60.0  # a client that takes nothing for so long is given up


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """Runs in the server's one process. Everything but the requests happens in its main thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._partial: list[tuple[float, TConn]] = []

    def enqueue_req(self, conn: TConn) -> None:
        if conn.initialized and conn.parser.unreader.buf.getvalue():  # pipelined: read already
            super().enqueue_req(conn)
        else:
            self._look(conn, time.monotonic() + HEAD_SECONDS)

    def _look(self, conn: TConn, deadline: float) -> None:
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
        """Nothing is there yet: the poller tells, and gunicorn closes it after `keepalive` seconds."""
        conn.sock.setblocking(False)
        conn.set_timeout()
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def _drop(self, conn: TConn) -> None:
        self.nr_conns -= 1
        conn.close()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        super().wait_for_and_dispatch_events(LOOK_AGAIN if self._partial else timeout)
        waiting, self._partial = self._partial, []
        for deadline, conn in waiting:
            self._look(conn, deadline)
        self.wsgi.extensions["pushlive"].deadlines.expire()

    def handle_request(self, req: Any, conn: TConn) -> Any:
        conn.sock.settimeout(SEND_SECONDS)
        return super().handle_request(req, conn)
