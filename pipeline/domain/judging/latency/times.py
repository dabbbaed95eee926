"""Times of answers as counts in buckets. Pure.

The buckets are those of the series E24 (IEC 60063), 24 in each power of ten: 10 ms, 11, 12, 13, 15, … A bucket is at
most 15 % wide, so a quantile that is read from it is at most 7 % wrong. A bucket has a number: 0 begins at 10 µs.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

EDGES = (10, 11, 12, 13, 15, 16, 18, 20, 22, 24, 27, 30, 33, 36, 39, 43, 47, 51, 56, 62, 68, 75, 82, 91)
PER_DECADE = len(EDGES)

Times = Mapping[int, int]  # how many answers, by the number of their bucket
Weighted = Mapping[int, float]  # the same, if not each counts as much
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Timed:
    """How long all answers took since the proxy started. ``since``: when that was, which tells one proxy from the next;
    0 if it is not known; ``bounds``: of the buckets, in seconds, if they are another program's; see ``scale``."""

    since: int = 0
    times: dict[int, int] = field(default_factory=dict)
    bounds: tuple[float, ...] = ()


def bucket(digits: int, first: int) -> int:
    """Of a number of microseconds that has so many digits, the first two of which are ``first``. Times below 10 µs are
    in bucket 0."""
    if digits < 2:
        return 0
    return PER_DECADE * (digits - 2) + bisect_right(EDGES, first) - 1


def bucket_of(seconds: float) -> int:
    text = str(round(max(seconds, 0.0) * 1e6))
    return bucket(len(text), int(text[:2]))


def begin(number: int) -> float:
    """The shortest time in that bucket, in seconds."""
    decade, position = divmod(number, PER_DECADE)
    return EDGES[position] * 10.0**decade / 1e6


def first_from(seconds: float) -> int:
    """The first bucket that has no time below ``seconds``."""
    found = bucket_of(seconds)
    return found if begin(found) >= seconds * (1 - 1e-9) else found + 1


def total(times: Mapping[int, Number]) -> Number:
    return sum(times.values())


def reaching(times: Mapping[int, Number], number: int) -> Number:
    """How many are in that bucket, or a later one."""
    return sum(count for one, count in times.items() if one >= number)


def merged(each: Iterable[Times]) -> dict[int, int]:
    found: Counter[int] = Counter()
    for one in each:
        found.update(one)
    return dict(sorted(found.items()))


def weighted(each: Iterable[Times], weights: Iterable[float]) -> dict[int, float]:
    """All of them together, if each answer counts so much."""
    found: dict[int, float] = {}
    for times, weight in zip(each, weights, strict=True):
        for number, count in times.items():
            found[number] = found.get(number, 0.0) + weight * count
    return dict(sorted(found.items()))


def quantile(times: Weighted, share: float) -> float:
    """The time within which that share of the answers came, in seconds; 0.0 of no answer. Within its bucket they count
    as evenly spread on a logarithmic scale."""
    left = share * total(times)
    for number, count in sorted(times.items()):
        if count and left <= count:
            low, high = begin(number), begin(number + 1)
            return float(low * (high / low) ** (left / count))
        left -= count
    return 0.0


def since(before: Timed, now: Timed) -> dict[int, int]:
    """What was answered between two looks. A proxy that has started again counts from zero, and so does a bucket that
    it has forgotten."""
    if before.since != now.since:
        return {one: count for one, count in now.times.items() if count}
    grown = {one: (count, before.times.get(one, 0)) for one, count in now.times.items()}
    return {
        one: count - known if count >= known else count
        for one, (count, known) in grown.items()
        if count != known
    }


def text(found: Times) -> str:
    """As it is kept beside other counters."""
    return " ".join(f"{number}:{count}" for number, count in sorted(found.items()))


def read(found: str) -> dict[int, int]:
    """What ``text`` wrote. Raises ValueError for anything else."""
    pairs = (one.split(":", 1) for one in found.split())
    return {int(number): int(count) for number, count in pairs}


def cumulative(found: Times, bounds: Sequence[float]) -> tuple[list[int], float]:
    """How many took less than each of the ``bounds``, which have to be begins of buckets, and about how many seconds
    all of them took together."""
    counts = [total(found) - reaching(found, first_from(bound)) for bound in bounds]
    return counts, sum(count * math.sqrt(begin(one) * begin(one + 1)) for one, count in found.items())
