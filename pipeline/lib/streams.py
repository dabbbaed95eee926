"""A stream that a thread reads, so that the caller can watch a deadline while nothing arrives."""

from __future__ import annotations

import contextlib
import hashlib
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from pipeline.lib.units import show_size

T = TypeVar("T")

POLL = 0.2  # seconds between two calls of ``check``
SIZE = 256  # items that wait for the caller before the reader has to wait


def last_pieces(pieces: Iterable[bytes], limit: int) -> tuple[bytes, bool]:
    """The last pieces, of at most ``limit`` bytes together, and whether others came before them. Memory stays at twice
    that, whatever comes."""
    kept: deque[bytes] = deque()
    size, cut = 0, False
    for piece in pieces:
        kept.append(piece)
        size += len(piece)
        while size > limit:
            size -= len(kept.popleft())
            cut = True
    return b"".join(kept), cut


class Silence(Exception):
    """The stream gave no item for the allowed time."""


def pump(
    source: Iterable[T],
    check: Callable[[], None],
    stop: Callable[[], None] = lambda: None,
    *,
    name: str,
    silence: float = math.inf,
    join: float = 5.0,
) -> Generator[T]:
    """The items of ``source``, in order. A daemon thread called ``name`` reads them.

    ``check`` is called before each item and every POLL seconds between them; what it raises ends the iteration, and so
    does what ``source`` raises. Raises Silence after ``silence`` seconds without an item.

    However the iteration ends, ``stop`` is called once, from the caller's thread. It must make a read that blocks
    return, and do no harm if the source has ended. The thread then drops what is left of the source; the caller waits
    for it at most ``join`` seconds. Use ``contextlib.closing`` if the iteration may end early.
    """
    reader = _Reader(source)
    thread = threading.Thread(target=reader.run, name=name, daemon=True)
    thread.start()
    try:
        while True:
            item = reader.take(check, silence)
            if isinstance(item, _End):
                if item.error:
                    raise item.error
                return
            yield item
    finally:
        reader.dropping.set()
        try:
            stop()
        finally:
            thread.join(join)


@dataclass(frozen=True)
class _End:
    """``error``: what the source raised, None if it was exhausted."""

    error: Exception | None = None


class _Reader(Generic[T]):
    def __init__(self, source: Iterable[T]) -> None:
        self.dropping = threading.Event()
        self._source = source
        self._items: queue.Queue[T | _End] = queue.Queue(SIZE)

    def run(self) -> None:
        end = _End()
        try:
            for item in self._source:
                self._put(item)
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            end = _End(error)
        finally:
            self._put(end)

    def _put(self, item: T | _End) -> None:
        while not self.dropping.is_set():
            with contextlib.suppress(queue.Full):
                self._items.put(item, timeout=POLL)
                return

    def take(self, check: Callable[[], None], silence: float) -> T | _End:
        """The next item, or the end."""
        began = time.monotonic()
        while True:
            check()
            try:
                return self._items.get(timeout=min(POLL, silence))
            except queue.Empty:
                if time.monotonic() - began >= silence:
                    raise Silence from None


class Counted:
    """Pieces on their way: how many bytes they had, and their hash."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces, self._digest, self.size = pieces, hashlib.sha256(), 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self._digest.update(piece)
            self.size += len(piece)
            yield piece

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def __str__(self) -> str:
        """``12 MiB, sha256 0badcafe…``"""
        return f"{show_size(self.size)}, sha256 {self.sha256}"
