"""The journal on standard output, for a collector of containers' output."""

from __future__ import annotations

import os
import socket
import stat


class JournalStream:
    """Writes whole lines to a file descriptor, and never waits: a slow reader loses lines, and they are counted."""

    def __init__(self, number: int = 1) -> None:
        self._number = number
        self._file = -1
        self._socket: socket.socket | None = None

    def write(self, text: bytes) -> bool:
        """False if the reader takes no more now. Raises OSError."""
        try:
            if self._open():
                return os.write(self._file, text) == len(text)
            assert self._socket is not None  # noqa: S101
            return self._socket.send(text, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) == len(text)
        except BlockingIOError:
            return False

    def _open(self) -> bool:
        """True for a pipe, a file or a terminal, opened again: not to wait is a property of an open file, and the
        one that was given is shared with others. False for a socket, which is told so at each line."""
        if self._file >= 0:
            return True
        if self._socket is None and stat.S_ISSOCK(os.fstat(self._number).st_mode):
            self._socket = socket.socket(fileno=os.dup(self._number))
        if self._socket is not None:
            return False
        flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        self._file = os.open(f"/proc/self/fd/{self._number}", flags)
        return True
