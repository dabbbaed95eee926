"""What is done with records of all kinds alike: they are counted, and old ones are removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

RUN, ACT = "run", "act"
_WORDS = {RUN: "run", "bake": "bake", "verdict": "verdict", ACT: "act"}  # in the order in which they are said


class Stored(Protocol):
    """A record on disk. ``kind``: "run", "bake-live", "act"; ``release``: 0 for none; ``at``: milliseconds since the
    epoch."""

    @property
    def kind(self) -> str: ...

    @property
    def release(self) -> int: ...

    @property
    def at(self) -> int: ...

    def size(self) -> int:
        """Bytes of its files; 0 if it is gone."""

    def remove(self) -> None:
        """Idempotent."""


Found = Iterable[tuple[str, Stored]]
"""Each with its pipeline, "" for none."""


def counted(found: Found) -> tuple[Counter[str], int]:
    """How many there are of each kind, without the name of an environment, and the bytes of all."""
    kinds, size = Counter[str](), 0
    for _, one in found:
        kinds[_kind(one)] += 1
        size += one.size()
    return kinds, size


def remove_before(found: Found, at: float, serving: frozenset[tuple[str, int]]) -> Counter[str]:
    """Removes those from before then (seconds since the epoch), but those about releases that serve (pipeline and
    number); how many of each kind."""
    removed = Counter[str]()
    for pipeline, one in found:
        if one.at < at * 1000 and (pipeline, one.release) not in serving:
            one.remove()
            removed[_kind(one)] += 1
    return removed


def text_of(kinds: Counter[str]) -> str:
    """``26 runs, 10 bakes and 1 act``; "no runs" for none."""
    order = [*_WORDS, *sorted(set(kinds) - set(_WORDS))]
    parts = [
        f"{kinds[kind]} {_WORDS.get(kind, kind)}{'' if kinds[kind] == 1 else 's'}"
        for kind in order
        if kinds[kind]
    ]
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:]))) or "no runs"


def _kind(one: Stored) -> str:
    return one.kind.partition("-")[0]


def size_of(files: Iterable[Path]) -> int:
    """Bytes of those that are there."""
    total = 0
    for file in files:
        try:
            total += file.stat().st_size
        except OSError:
            continue
    return total
