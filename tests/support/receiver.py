"""A receiver of notifications on the loopback address, on plain sockets, so that it can behave as badly as any."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PATH = "/services/T0/s3cr3t-path"
Talk = Callable[[socket.socket, bytes], None]


class Receiver:
    """Answers each connection in a thread of its own; ``requests``: head and body of each as they came."""

    def __init__(self, talk: Talk, port: int = 0) -> None:
        self.requests: list[bytes] = []
        self._talk = talk
        self._listener = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}{PATH}"
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, ValueError):
            request = b""
            while b"\r\n\r\n" not in request or len(request) < _length(request):
                data = connection.recv(65536)
                if not data:
                    return
                request += data
            self.requests.append(request)
            self._talk(connection, request)

    def bodies(self) -> list[dict[str, object]]:
        return [json.loads(request.partition(b"\r\n\r\n")[2]) for request in tuple(self.requests)]

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._thread.join(2)


def _length(request: bytes) -> int:
    head, _, _ = request.partition(b"\r\n\r\n")
    size = next(
        int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length:")
    )
    return len(head) + 4 + size


@contextmanager
def receiver(talk: Talk, port: int = 0) -> Iterator[Receiver]:
    one = Receiver(talk, port)
    try:
        yield one
    finally:
        one.close()


def says(answer: bytes) -> Talk:
    return lambda connection, _: connection.sendall(answer)


def hangs(connection: socket.socket, _: bytes) -> None:
    connection.recv(1)  # until the other side has had enough
