"""How much a client may send, and how long it may take over it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO

from flask import Request

BODY_SECONDS = 15.0  # a whole body, unless it is a git pack
PIECE = 64 * 1024
IN_MEMORY = 256 * 1024  # a body beyond this waits on disk, so that many slow ones cost no memory


class TooLarge(Exception):
    """The body is larger than allowed, whatever its header said."""


class Incomplete(Exception):
    """The body ended early, or did not come in time."""


class Deadlines:
    """Which sockets must have delivered by when. ``expire`` ends the reading of those that are late."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_socket: dict[socket.socket, float] = {}

    @contextmanager
    def within(self, sock: socket.socket | None, seconds: float) -> Iterator[None]:
        """Reading from ``sock`` inside ends after ``seconds``, as if the client had stopped sending."""
        if sock is None:  # not under our server
            yield
            return
        with self._lock:
            self._by_socket[sock] = time.monotonic() + seconds
        try:
            yield
        finally:
            with self._lock:
                self._by_socket.pop(sock, None)

    def expire(self) -> None:
        """Called by the server's loop. The answer can still be written: only reading is shut."""
        now = time.monotonic()
        with self._lock:
            for sock in [s for s, deadline in self._by_socket.items() if deadline < now]:
                del self._by_socket[sock]
                try:
                    sock.shutdown(socket.SHUT_RD)
                except OSError:
                    continue  # gone by itself


@contextmanager
def received(request: Request, limit: int, deadlines: Deadlines) -> Iterator[IO[bytes]]:
    """The raw body, at its beginning. Raises TooLarge or Incomplete.

    Reads at most ``limit`` + 64 KiB, whether the length was announced or comes in chunks.
    """
    announced = request.content_length
    if announced is not None and announced > limit:
        raise TooLarge
    with SpooledTemporaryFile(IN_MEMORY) as file:
        with deadlines.within(request.environ.get("gunicorn.socket"), BODY_SECONDS):
            size = _copy(request, file, limit, announced)
        if announced is not None and size < announced:
            raise Incomplete
        file.seek(0)
        yield file


def _copy(request: Request, file: SpooledTemporaryFile[bytes], limit: int, announced: int | None) -> int:
    source = request.environ["wsgi.input"]
    chunked = bool(request.environ.get("wsgi.input_terminated")) and announced is None
    size, wanted = 0, limit + 1 if chunked else announced or 0
    try:
        while wanted > size and (piece := source.read(min(PIECE, wanted - size))):
            size += len(piece)
            file.write(piece)
    except (OSError, ValueError) as error:  # reset, timed out, broken chunks
        raise Incomplete from error
    if size > limit:
        raise TooLarge
    return size
