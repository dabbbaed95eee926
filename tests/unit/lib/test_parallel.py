"""Several calls at once."""

from __future__ import annotations

import threading

import pytest

from pipeline.lib.parallel import together


def test_all_calls_run_at_once() -> None:
    meeting = threading.Barrier(3, timeout=5)
    together([meeting.wait] * 3)  # one after another, none would return


def test_no_calls_are_allowed() -> None:
    together([])


def test_the_first_error_is_raised_once_all_calls_have_ended() -> None:
    ended = threading.Event()

    def fails() -> None:
        raise ValueError("first")

    def slow() -> None:
        ended.wait(0.1)
        ended.set()

    with pytest.raises(ValueError, match="first"):
        together([fails, slow])
    assert ended.is_set()


def test_what_check_raises_is_raised_once_all_calls_have_ended() -> None:
    going, ended = threading.Event(), threading.Event()

    def slow() -> None:
        going.wait(5)
        ended.set()

    def check() -> None:
        going.set()
        raise TimeoutError

    with pytest.raises(TimeoutError):
        together([slow], check)
    assert ended.is_set()
