"""Access that lasts longer than a request: an open stream ends with the session, or the token, that opened it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from webhooks.error_responses import Refused

CHECK_SECONDS = 2.0  # between two looks into the store

T = TypeVar("T")


def while_allowed(
    items: Iterator[T], allowed: Callable[[], bool], clock: Callable[[], float] = time.monotonic
) -> Iterator[T]:
    """``items``, as long as ``allowed``. Raises Refused (401) when it no longer is. ``items`` must not be silent for
    long: what they yield is the occasion to look."""
    checked = clock()
    for item in items:
        if clock() - checked >= CHECK_SECONDS:
            if not allowed():
                raise Refused(
                    401, "the session or the token has ended", advice="Log in again, or use another token."
                )
            checked = clock()
        yield item
