"""Calls that may never return: the caller waits until a deadline, and then goes on without them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

POLL = 0.1  # seconds between two calls of ``check``
LIMIT = 16  # calls of this process that may be left behind at the same time


class Late(Exception):
    """The call has not returned in time; it was left behind in its thread."""


class TooManyLeft(Exception):
    """Too many calls were left behind and have not returned yet, so no other is made."""


def bounded(
    call: Callable[[], T],
    seconds: float,
    check: Callable[[], None] = lambda: None,
    *,
    name: str,
    most: int = LIMIT,
) -> T:
    """What ``call`` returns or raises. It runs in a daemon thread called ``name``. Raises TooManyLeft while ``most``
    calls of that name are left behind.

    ``check`` is called every POLL seconds meanwhile. What it raises is raised at once, and Late after ``seconds``: then
    the call is left behind, and nobody learns how it ends. So it must not change anything that others rely on.
    """
    if left_behind() >= LIMIT or left_behind(name) >= most:
        raise TooManyLeft
    worker = _Call(call, name)
    end = time.monotonic() + seconds
    worker.start()
    try:
        while not worker.returned.wait(max(0.0, min(POLL, end - time.monotonic()))):
            if time.monotonic() >= end:
                raise Late
            check()
    except BaseException:
        worker.left = True
        raise
    return worker.result()


def left_behind(name: str = "") -> int:
    """How many calls of this process were left behind and have not returned yet; only those of that name, or all."""
    calls = (one for one in threading.enumerate() if isinstance(one, _Call) and one.left)
    return sum(name in ("", one.name) for one in calls)


class _Call(threading.Thread, Generic[T]):
    def __init__(self, call: Callable[[], T], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._call = call
        self._result: list[T] = []
        self._error: BaseException | None = None
        self.returned = threading.Event()
        self.left = False

    def run(self) -> None:
        try:
            self._result.append(self._call())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._error = error
        finally:
            self.returned.set()

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result[0]
