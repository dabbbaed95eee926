"""Sockets that keep to a deadline while the other end sends a little again and again."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from pipeline.lib.sockets import DeadlineSocket, Interruptible, receive_all, remaining, within
from tests.support.waiting import PATIENCE


@pytest.fixture
def dripping() -> Iterator[DeadlineSocket]:
    """Its other end sends a byte every hundredth of a second until it is closed."""
    near, far = socket.socketpair()

    def drip() -> None:
        with far, suppress(OSError):
            while True:
                far.sendall(b"x")
                time.sleep(0.01)

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    with DeadlineSocket.over(near) as own:
        own.settimeout(5)
        yield own
    thread.join(5)


def test_reading_ends_by_the_deadline_though_bytes_keep_coming(dripping: DeadlineSocket) -> None:
    began = time.monotonic()
    with within(0.1), pytest.raises(TimeoutError):
        receive_all(dripping)
    assert time.monotonic() - began < 3 * PATIENCE
    assert dripping.gettimeout() == 5  # as it was


def test_a_file_made_of_it_keeps_to_the_deadline(dripping: DeadlineSocket) -> None:
    with within(0.1), dripping.makefile("rb") as file, pytest.raises(TimeoutError):
        file.readline()


def test_writing_ends_by_the_deadline() -> None:
    near, far = socket.socketpair()
    with far, DeadlineSocket.over(near) as own, within(0.1), pytest.raises(TimeoutError):
        own.sendall(b"x" * (64 << 20))  # more than a socket's buffer


def test_of_nested_deadlines_the_first_to_end_counts() -> None:
    assert remaining() == math.inf
    with within(60):
        with within(600):
            assert 50 < remaining() <= 60
        with within(1):
            assert remaining() <= 1
        with within(None):
            assert 50 < remaining() <= 60
    assert remaining() == math.inf


def test_another_thread_has_no_deadline() -> None:
    found: list[float] = []
    with within(1):
        thread = threading.Thread(target=lambda: found.append(remaining()))
        thread.start()
        thread.join(5)
    assert found == [math.inf]


def test_what_has_come_is_read_in_whole() -> None:
    near, far = socket.socketpair()
    with DeadlineSocket.over(near) as own, within(5):
        far.sendall(b"all of it")
        far.close()
        assert receive_all(own) == b"all of it"


def test_a_wait_without_a_limit_is_ended_by_another_thread(dripping: DeadlineSocket) -> None:
    waits, ended = Interruptible(), threading.Event()

    def read() -> None:
        with waits, suppress(OSError):
            receive_all(dripping)
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    assert not ended.wait(0.1)
    waits.end()
    assert ended.wait(10)
    with waits, pytest.raises(ConnectionAbortedError):
        dripping.recv(1)


def test_a_connection_that_is_used_by_others_afterwards_is_left_to_them(dripping: DeadlineSocket) -> None:
    waits = Interruptible()
    with waits:
        assert dripping.recv(1) == b"x"
    waits.end()
    assert dripping.recv(1) == b"x"
