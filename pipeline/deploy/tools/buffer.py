"""Output on its way to a client: bounded, so that a client that does not read stops the command and fills no memory."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable

SIZE = 256 << 10  # bytes that wait for the client

Piece = tuple[int, bytes]  # the stream that it belongs to, and its bytes


class OutputBuffer:
    """Pieces of one stream that follow each other are joined."""

    def __init__(self, size: int = SIZE) -> None:
        self._size, self._waiting = size, 0
        self._pieces: deque[Piece] = deque()
        self._changed = threading.Condition()
        self._done = False

    def fill(self, pieces: Iterable[Piece]) -> None:
        """Everything that comes, until it ends or ``drop``; waits while the buffer is full."""
        try:
            for kind, data in pieces:
                if not self._put(kind, data):
                    return
        finally:
            with self._changed:
                self._done = True
                self._changed.notify_all()

    def _put(self, kind: int, data: bytes) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._done or self._waiting < self._size)
            if self._done:
                return False
            self._pieces.append((kind, data))
            self._waiting += len(data)
            self._changed.notify_all()
            return True

    def take(self, seconds: float) -> list[Piece] | None:
        """What waits, after at most so many seconds; [] if nothing came, None once everything was taken and no more
        comes."""
        end = time.monotonic() + seconds
        with self._changed:
            self._changed.wait_for(lambda: bool(self._pieces) or self._done, max(0.0, end - time.monotonic()))
            found, self._waiting = _joined(self._pieces), 0
            self._pieces.clear()
            self._changed.notify_all()
            return found if found or not self._done else None

    def drop(self) -> None:
        """Nothing is wanted any more."""
        with self._changed:
            self._done = True
            self._pieces.clear()
            self._changed.notify_all()


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    found: list[tuple[int, list[bytes]]] = []
    for kind, data in pieces:
        if found and found[-1][0] == kind:
            found[-1][1].append(data)
        else:
            found.append((kind, [data]))
    return [(kind, b"".join(parts)) for kind, parts in found]
