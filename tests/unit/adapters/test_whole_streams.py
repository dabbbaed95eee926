"""What is whole is told apart from what a connection has cut off, wherever the cut is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.adapters.whole_streams import whole_input, whole_output
from pipeline.errors import EngineFailed
from pipeline.ports.clock import Deadline, SystemClock
from pipeline.ports.terminal import STDERR, STDOUT, Wanted

DATA = bytes(range(256)) * 10


class Cut:
    """A command that succeeds, and whose output ends after so many bytes: None for all."""

    def __init__(self, at: int | None, piece: int = 7) -> None:
        self.at, self.piece, self.ended = at, piece, 0
        self.argv: tuple[str, ...] = ()
        self.code, self.errors = 0, b"a notice"

    def begin(self, wanted: Wanted) -> Cut:
        self.argv = wanted.argv
        return self

    def output(self) -> Iterator[tuple[int, bytes]]:
        whole = (DATA + self.argv[4].encode())[: self.at]
        for start in range(0, len(whole), self.piece):
            yield STDERR, self.errors
            yield STDOUT, whole[start : start + self.piece]

    def write(self, data: bytes) -> None:
        pass

    def end_input(self) -> None:
        pass

    def resize(self, columns: int, rows: int) -> None:
        pass

    def exit_code(self) -> int:
        return self.code

    def close(self) -> None:
        pass

    def end(self) -> None:
        self.ended += 1


def test_the_error_is_said_and_not_the_line_that_it_points_at() -> None:
    one = Cut(None, 100_000)
    one.code = 3
    one.errors = b'SET\nERROR:  syntax error at or near "root"\nLINE 1: root:x:0:0\n        ^\n'
    with pytest.raises(EngineFailed, match='psql exited with 3: ERROR:  syntax error at or near "root"\\.'):
        whole_input(one.begin, one.end, ("psql",), [b"x"], 1, watch())
    one.errors = b"no such table\n  ^\n"
    with pytest.raises(EngineFailed, match="psql exited with 3: no such table"):
        whole_input(one.begin, one.end, ("psql",), [b"x"], 1, watch())


def watch() -> Deadline:
    return Deadline(SystemClock(), 10, "the test")


@pytest.mark.parametrize("piece", [1, 7, 5000])
def test_all_that_was_printed_comes_out(piece: int) -> None:
    one = Cut(None, piece)
    assert b"".join(whole_output(one.begin, one.end, ("dump",), watch())) == DATA
    assert one.ended == 1  # what a killed process may have left


@pytest.mark.parametrize("at", [0, 5, len(DATA), len(DATA) + 31])
def test_what_was_cut_off_is_an_error_although_the_command_succeeded(at: int) -> None:
    one = Cut(at)
    with pytest.raises(EngineFailed, match="broke off"):
        b"".join(whole_output(one.begin, one.end, ("dump",), watch()))
    assert one.ended == 2
    other = Cut(at)
    with pytest.raises(EngineFailed, match="broke off"):
        whole_input(other.begin, other.end, ("load",), [b"x"], 1, watch())
    assert other.ended == 2
