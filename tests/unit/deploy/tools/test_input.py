"""The input of a command comes in requests, of which one may come twice."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import pytest

from pipeline.adapters.fake import FakeClock
from pipeline.deploy.tools.sessions import OpenSession
from pipeline.errors import RequestError
from pipeline.ports.terminal import SessionRecord
from pipeline.secrets.redaction import Mask


class Takes:
    """A command that takes what it is given, and prints nothing."""

    def __init__(self) -> None:
        self.given: queue.Queue[bytes] = queue.Queue()
        self._over: queue.Queue[None] = queue.Queue()

    def output(self) -> Iterator[tuple[int, bytes]]:
        self._over.get()
        yield from ()

    def write(self, data: bytes) -> None:
        self.given.put(data)

    def end_input(self) -> None:
        self._over.put(None)

    def resize(self, columns: int, rows: int) -> None:
        """It has no terminal."""

    def exit_code(self) -> int:
        return 0

    def close(self) -> None:
        self._over.put(None)


def test_what_came_is_skipped_and_a_gap_is_refused() -> None:
    takes = Takes()
    record = SessionRecord("a1", "hello", "live", 0, "blue")
    session = OpenSession(record, takes, Mask(), FakeClock(), False, lambda: None)
    session.write(b"one", 0)
    session.write(b"one two", 0)
    with pytest.raises(RequestError, match="7 bytes of the input have come, and this begins after 9"):
        session.write(b"four", 9)
    session.write(b" three", 7)
    assert [takes.given.get(timeout=10) for _ in range(3)] == [b"one", b" two", b" three"]
    session.close()
