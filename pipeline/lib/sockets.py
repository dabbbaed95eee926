"""Sockets on which every wait ends by one deadline, whatever comes in meanwhile.

A socket's own timeout starts again with each byte, so a peer that sends one byte a second is never late. ``within``
sets a deadline for the thread that calls it; a ``DeadlineSocket`` looks at it before each read, write and handshake.
The libraries above (http.client, urllib3, requests, websocket) may hold such a socket in any way: it is the socket that
ends the wait, and no other thread has to find it.
"""

from __future__ import annotations

import math
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHUNK = 1 << 16  # bytes read at once


class _Here(threading.local):
    end = math.inf  # on the monotonic clock
    interruptible: Interruptible | None = None


_here = _Here()


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Everything that this thread does inside on a ``DeadlineSocket`` ends within so many seconds, with TimeoutError.
    None for no limit. Of nested limits, the first to end counts."""
    before = _here.end
    if seconds is not None:
        _here.end = min(before, time.monotonic() + seconds)
    try:
        yield
    finally:
        _here.end = before


def remaining() -> float:
    """Seconds until this thread's deadline, never negative; infinite without one."""
    return max(0.0, _here.end - time.monotonic())


class Interruptible:
    """What a thread does inside, on one ``DeadlineSocket`` after the other, can be ended by another thread, at whatever
    place it waits. Its wait then ends as if the other end had closed the connection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None  # the last one that was used
        self._ended = False

    def __enter__(self) -> None:
        _here.interruptible = self

    def __exit__(self, *_: object) -> None:
        _here.interruptible = None
        with self._lock:
            self._socket = None  # others may use it from now on

    def end(self) -> None:
        """Ends it, now and from now on. Idempotent."""
        with self._lock:
            self._ended = True
            if self._socket is not None:
                with suppress(OSError):  # not connected any more
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def use(self, one: socket.socket) -> None:
        """The thread is about to wait for that connection. Raises ConnectionAbortedError if it was ended."""
        with self._lock:
            if self._ended:
                raise ConnectionAbortedError("interrupted")
            self._socket = one


@contextmanager
def _limited(one: socket.socket) -> Iterator[None]:
    if _here.interruptible:
        _here.interruptible.use(one)
    left = remaining()
    if left == math.inf:
        yield
        return
    if left <= 0:
        raise TimeoutError("timed out")
    own = one.gettimeout()
    one.settimeout(left if own is None else min(own, left))
    try:
        yield
    finally:
        with suppress(OSError):  # another thread closed it
            one.settimeout(own)


class DeadlineSocket(socket.socket):
    """A plain socket that keeps to ``within``."""

    @classmethod
    def over(cls, plain: socket.socket) -> DeadlineSocket:
        """The same connection; ``plain`` gives it up."""
        timeout = plain.gettimeout()
        own = cls(plain.family, plain.type, plain.proto, fileno=plain.detach())
        own.settimeout(timeout)
        return own

    def connect(self, address: Any) -> None:
        with _limited(self):
            super().connect(address)

    def recv(self, *arguments: Any) -> bytes:
        with _limited(self):
            return super().recv(*arguments)

    def recv_into(self, *arguments: Any) -> int:
        with _limited(self):
            return super().recv_into(*arguments)

    def send(self, *arguments: Any) -> int:
        with _limited(self):
            return super().send(*arguments)

    def sendall(self, *arguments: Any) -> None:
        with _limited(self):
            super().sendall(*arguments)


class DeadlineTLSSocket(ssl.SSLSocket):
    """A TLS socket that keeps to ``within``. The handshake takes at most the timeout of the socket below, in all."""

    def read(self, *arguments: Any) -> Any:
        with _limited(self):
            return super().read(*arguments)

    def send(self, *arguments: Any) -> int:
        with _limited(self):
            return super().send(*arguments)


def keep_to_deadline(one: Any) -> None:
    """Makes a TLS socket that a library has wrapped, with a context of its own, keep to ``within``."""
    if type(one) is ssl.SSLSocket:
        one.__class__ = DeadlineTLSSocket  # it has the same layout, and wrapping it once more is impossible


def receive_all(one: DeadlineSocket) -> bytes:
    """Everything until the other end closes."""
    parts = []
    while part := one.recv(CHUNK):
        parts.append(part)
    return b"".join(parts)


def listening(folder: Path, name: str, owner: tuple[int, int] | None) -> socket.socket:
    """A Unix socket of that name in that folder, which is made; in place of a former one. ``owner``: the uid and gid
    that may use it, besides root; None: this process's. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    draft = f"{name}.{os.getpid()}"
    server = socket.socket(socket.AF_UNIX)
    opened = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        (folder / draft).unlink(missing_ok=True)
        # A socket's path is limited to 107 bytes, so it is bound through the open folder.
        server.bind(f"/proc/self/fd/{opened}/{draft}")
        if owner:
            folder.chmod(folder.stat().st_mode | 0o011)  # it has to come through, whatever the umask was
            os.chown(folder / draft, *owner)
        (folder / draft).chmod(0o600)
        server.listen(1024)
        (folder / draft).replace(folder / name)
    except OSError:
        server.close()
        raise
    finally:
        os.close(opened)
    return server
