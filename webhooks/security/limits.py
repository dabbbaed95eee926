"""How much a client may send, how long it may take, and how many requests of a kind there are at once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO

from flask import Request, Response

from webhooks.error_responses import RETRY_AFTER, Refused

BODY_SECONDS = 15.0  # for a whole body, except a git pack
CHUNK = 64 * 1024
IN_MEMORY = 256 * 1024  # a larger body is buffered on disk, so that many slow clients cost no memory


class TooLarge(Exception):
    """The body is larger than allowed, whatever its header said."""


class Incomplete(Exception):
    """The body ended early, or did not arrive in time."""


class Deadlines:
    """The sockets that are being read, and until when. ``expire`` stops reading from those that are late."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_socket: dict[socket.socket, float] = {}

    @contextmanager
    def within(self, sock: socket.socket | None, seconds: float) -> Iterator[None]:
        """After ``seconds``, reading from ``sock`` ends as if the client had stopped sending."""
        if sock is None:  # not running in our server
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
        """The server's loop calls this. Only reading is shut down, so that the answer can still be written."""
        now = time.monotonic()
        with self._lock:
            for sock in [s for s, deadline in self._by_socket.items() if deadline < now]:
                del self._by_socket[sock]
                try:
                    sock.shutdown(socket.SHUT_RD)
                except OSError:
                    continue  # already closed


@contextmanager
def turn(slots: threading.BoundedSemaphore, what: str) -> Iterator[None]:
    """Takes one of ``slots`` for the block. Raises Refused (503) if none is free."""
    _acquire(slots, what)
    try:
        yield
    finally:
        slots.release()


def limited(response: Response, slots: threading.BoundedSemaphore, what: str) -> Response:
    """The streamed response, which takes one of ``slots`` until it is closed. Raises Refused (503) if none is free;
    then nothing was sent."""
    _acquire(slots, what)
    response.call_on_close(slots.release)
    return response


def _acquire(slots: threading.BoundedSemaphore, what: str) -> None:
    if not slots.acquire(blocking=False):
        raise Refused(503, f"too many {what} at once", advice=f"Try again in {RETRY_AFTER} s.")


@contextmanager
def received(request: Request, limit: int, deadlines: Deadlines) -> Iterator[IO[bytes]]:
    """The raw body as a file, at its start. Raises TooLarge or Incomplete.

    Reads at most ``limit`` + 64 KiB, with or without a Content-Length.
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
        while wanted > size and (chunk := source.read(min(CHUNK, wanted - size))):
            size += len(chunk)
            file.write(chunk)
    except (OSError, ValueError) as error:  # reset, timed out, invalid chunks
        raise Incomplete from error
    if size > limit:
        raise TooLarge
    return size
