"""The pump: what arrives, what ends it, and that its thread always ends."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing

import pytest

from pipeline.lib.streams import SIZE, Silence, last_pieces, pump
from tests.support.waiting import PATIENCE


class Tap:
    """A source that blocks after its items until ``close``, as a socket does."""

    def __init__(self, *items: int, error: Exception | None = None) -> None:
        self.closed = threading.Event()
        self.read = 0
        self.stops = 0
        self.ended = False
        self._items, self._error = items, error

    def __iter__(self) -> Iterator[int]:
        for item in self._items:
            self.read += 1
            yield item
        if self._error:
            raise self._error
        self.closed.wait(10)
        self.ended = True

    def close(self) -> None:
        self.stops += 1
        self.closed.set()


def fine() -> None:
    """A check that lets everything pass."""


def threads(name: str) -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == name]


def test_every_item_arrives_in_order_and_stop_is_called_once() -> None:
    stops: list[int] = []
    items = pump(range(3 * SIZE), fine, lambda: stops.append(1), name="order")
    assert list(items) == list(range(3 * SIZE))
    assert stops == [1]
    assert threads("order") == []


def test_an_empty_source_gives_nothing() -> None:
    assert list(pump([], fine, name="empty")) == []


def test_nothing_starts_before_the_first_item_is_asked_for() -> None:
    tap = Tap(1)
    pump(tap, fine, tap.close, name="unasked").close()
    assert (tap.read, tap.stops) == (0, 0)


def test_what_the_source_raises_is_raised_after_its_items() -> None:
    tap = Tap(1, 2, error=ValueError("torn"))
    items = pump(tap, fine, tap.close, name="torn")
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="torn"):
        next(items)
    assert tap.stops == 1
    assert threads("torn") == []


def test_a_failing_check_ends_a_silent_stream() -> None:
    tap, checks = Tap(), [0]

    def check() -> None:
        checks[0] += 1
        if checks[0] == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        next(pump(tap, check, tap.close, name="late"))
    assert tap.ended
    assert threads("late") == []


def test_silence_is_an_error_after_the_allowed_time() -> None:
    tap = Tap(1)
    items = pump(tap, fine, tap.close, name="silent", silence=0.05)
    assert next(items) == 1
    with pytest.raises(Silence):
        next(items)
    assert (tap.ended, tap.stops) == (True, 1)


def test_a_caller_that_leaves_early_ends_the_reader() -> None:
    tap = Tap(*range(10))
    with closing(pump(tap, fine, tap.close, name="early")) as items:
        assert next(items) == 0
    assert tap.ended
    assert threads("early") == []


def test_a_reader_that_waits_for_room_ends_too() -> None:
    tap = Tap(*range(10 * SIZE))
    with closing(pump(tap, fine, tap.close, name="full")) as items:
        next(items)
        end = time.monotonic() + 5
        while tap.read <= SIZE and time.monotonic() < end:
            time.sleep(0.01)
        assert tap.read <= SIZE + 2  # bounded: one taken, one in hand
    assert tap.read == 10 * SIZE  # what is left is read, so that the source ends by itself
    assert tap.ended


def test_a_thread_that_does_not_end_is_waited_for_no_longer_than_join() -> None:
    tap = Tap()
    began = time.monotonic()
    with pytest.raises(Silence):
        next(pump(tap, fine, lambda: None, name="stuck", silence=0.05, join=0.1))
    assert time.monotonic() - began < 2 * PATIENCE
    tap.close()
    for one in threads("stuck"):
        one.join(5)


def test_a_stop_that_fails_still_waits_for_the_thread() -> None:
    tap = Tap(1)

    def stop() -> None:
        tap.close()
        raise OSError("broken")

    items = pump(tap, fine, stop, name="broken")
    next(items)
    with pytest.raises(OSError, match="broken"):
        items.close()
    assert threads("broken") == []


def test_fault_20_only_the_last_pieces_are_kept():
    assert last_pieces(iter([b"aa", b"bb", b"cc"]), 6) == (b"aabbcc", False)
    assert last_pieces(iter([b"aa", b"bb", b"cc"]), 5) == (b"bbcc", True)
    assert last_pieces(iter([b"aa", b"x" * 9]), 5) == (b"", True)
    assert last_pieces(iter([]), 5) == (b"", False)


def test_fault_20_a_flood_takes_no_more_memory_than_what_is_kept():
    tracemalloc.start()
    try:
        last_pieces((b"%05d" % number * 1000 for number in range(10_000)), 1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 3 << 20
    finally:
        tracemalloc.stop()
