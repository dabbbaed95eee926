"""Calls with an end: what they return, and what becomes of those that do not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from pipeline.lib import bounded as module
from pipeline.lib.bounded import Late, TooManyLeft, bounded, left_behind
from tests.support.waiting import PATIENCE, until


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Ends the calls that a test has left behind."""
    event = threading.Event()
    yield event
    event.set()
    until(lambda: left_behind() == 0)


def test_a_result_and_an_error_are_passed_on() -> None:
    assert bounded(lambda: 7, 5, name="seven") == 7
    with pytest.raises(ZeroDivisionError):
        bounded(lambda: 1 // 0, 5, name="error")
    assert left_behind() == 0


def test_a_call_that_does_not_return_is_left_behind(released: threading.Event) -> None:
    began = time.monotonic()
    with pytest.raises(Late):
        bounded(released.wait, 0.05, name="stuck")
    assert time.monotonic() - began < 5 * PATIENCE
    assert left_behind() == 1
    released.set()
    until(lambda: left_behind() == 0)


def test_the_check_ends_the_wait(released: threading.Event) -> None:
    def check() -> None:
        raise KeyError("cancelled")

    with pytest.raises(KeyError, match="cancelled"):
        bounded(released.wait, 600, check, name="stuck")
    assert left_behind() == 1


def test_calls_left_behind_are_limited(released: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", 2)
    for _ in range(2):
        with pytest.raises(Late):
            bounded(released.wait, 0.01, name="stuck")
    with pytest.raises(TooManyLeft):
        bounded(lambda: 7, 5, name="seven")
    released.set()
    until(lambda: left_behind() == 0)
    assert bounded(lambda: 7, 5, name="seven") == 7
