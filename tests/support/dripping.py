"""A server that accepts, says what a test gives it, and then sends a little again and again, without an end."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any

HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


Says = tuple[bytes, bytes]  # sent at once; sent every hundredth of a second from then on, b"" to end there
DRIPS: Says = (HTTP, b" ")


@contextmanager
def dripping(
    answer: Callable[[bytes], Says] = lambda _: DRIPS, path: str = "", tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Its address: host and port, or ``path`` for a Unix socket. ``answer``: what each connection gets, by the first
    bytes that came on it."""
    listener = socket.socket(socket.AF_UNIX) if path else socket.create_server(("127.0.0.1", 0))
    if path:
        listener.bind(path)
        listener.listen()
    over = threading.Event()

    def one(connection: socket.socket) -> None:
        wrap: Any = partial(tls.wrap_socket, server_side=True) if tls else nullcontext
        with suppress(OSError), connection, wrap(connection) as ours:
            said, piece = answer(ours.recv(65536))
            ours.sendall(said)
            while piece and not over.wait(0.01):
                ours.sendall(piece)

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    serving = threading.Thread(target=serve, daemon=True)
    serving.start()
    try:
        yield path or "{}:{}".format(*listener.getsockname())
    finally:
        over.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        serving.join(5)
