"""A stream of the fake store."""

from __future__ import annotations

import re
from bisect import bisect_right
from time import time_ns

import redis

Entry = tuple[str, dict[str, str]]

MOST = 2**64 - 1  # for either part of an id
NODE = 100  # entries: MAXLEN ~ takes whole nodes away, and keeps one that has an entry to keep


class Stream:
    """Entries by their ids, each two numbers: milliseconds since the epoch, and one that tells those of a millisecond
    apart."""

    def __init__(self) -> None:
        self._ids: list[tuple[int, int]] = []
        self._fields: list[dict[str, str]] = []
        self._last = (0, 0)

    def __len__(self) -> int:
        return len(self._ids)

    def next(self, id_: str) -> tuple[int, int]:
        """The id of an entry that is to be added; ``*``: made from the clock."""
        if id_ == "*":
            now = (time_ns() // 1_000_000, 0)
            return now if now > self._last else (self._last[0], self._last[1] + 1)
        found = parsed(id_)
        if found <= self._last:
            raise redis.ResponseError(
                "The ID specified in XADD is equal or smaller than the target stream top item"
            )
        return found

    def add(self, id_: tuple[int, int], fields: dict[str, str], most: int | None) -> None:
        self._ids.append(id_)
        self._fields.append(fields)
        self._last = id_
        if most is not None and len(self._ids) >= most + NODE:
            extra = len(self._ids) - most
            del self._ids[:extra], self._fields[:extra]

    def after(self, id_: str, count: int | None) -> list[Entry]:
        first = bisect_right(self._ids, parsed(id_))
        last = len(self._ids) if count is None else first + count
        return [self._entry(index) for index in range(first, min(last, len(self._ids)))]

    def newest(self) -> Entry | None:
        return self._entry(-1) if self._ids else None

    def _entry(self, index: int) -> Entry:
        milliseconds, number = self._ids[index]
        return f"{milliseconds}-{number}", dict(self._fields[index])


def parsed(id_: str) -> tuple[int, int]:
    """``7`` is ``7-0``."""
    found = re.fullmatch(r"([0-9]{1,20})(?:-([0-9]{1,20}))?", id_)
    numbers = (int(found[1]), int(found[2] or 0)) if found else (-1, -1)
    if not found or max(numbers) > MOST:
        raise redis.ResponseError("Invalid stream ID specified as stream command argument")
    return numbers
