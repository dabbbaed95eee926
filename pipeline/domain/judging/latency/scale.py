"""What the numbers of buckets mean: the series E24 of ``times``, in which the proxy counts, or the bounds of another
program's histogram. Pure.

Within a bucket of E24 answers count as evenly spread: it is 15 % wide at most. One of a histogram may be as wide as it
likes, so nothing is said of what lies in it but its two ends.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.domain.judging.latency import times
from pipeline.domain.judging.latency.times import Weighted, total

_NEAR = 1e-9  # of a bound: what arithmetic may lose


@dataclass(frozen=True)
class Quantile:
    """A quantile is more than ``low`` and at most ``high`` seconds, which is infinite if it is beyond the last bound;
    ``number``: of its bucket. All are 0 if there was no answer."""

    low: float
    high: float
    number: int


class Scale(Protocol):
    def first_from(self, seconds: float) -> int:
        """The first bucket that has no time below ``seconds``."""
        ...

    def reached(self, seconds: float) -> float:
        """Beyond how many seconds that bucket, and each after it, is at least; infinite if there is none."""
        ...

    def quantile(self, found: Weighted, share: float) -> Quantile: ...


class _Fine:
    """E24."""

    def first_from(self, seconds: float) -> int:
        return times.first_from(seconds)

    def reached(self, seconds: float) -> float:
        return seconds  # near enough

    def quantile(self, found: Weighted, share: float) -> Quantile:
        known = times.quantile(found, share)
        return Quantile(known, known, times.bucket_of(known))


@dataclass(frozen=True)
class _Coarse:
    """``bounds``: seconds, each more than the one before. Bucket 0 has the times up to the first, the last one those
    that are beyond all."""

    bounds: tuple[float, ...]

    def _begin(self, number: int) -> float:
        if number > len(self.bounds):
            return math.inf
        return self.bounds[number - 1] if number else 0.0

    def first_from(self, seconds: float) -> int:
        return bisect_left((0.0, *self.bounds), seconds * (1 - _NEAR))

    def reached(self, seconds: float) -> float:
        return self._begin(self.first_from(seconds))

    def quantile(self, found: Weighted, share: float) -> Quantile:
        left = share * total(found)
        for number, count in sorted(found.items()):
            if count and left <= count:
                return Quantile(self._begin(number), (*self.bounds, math.inf)[number], number)
            left -= count
        return Quantile(0.0, 0.0, 0)


def scale(bounds: Sequence[float]) -> Scale:
    """``bounds``: those of ``Timed``."""
    return _Coarse(tuple(bounds)) if bounds else _Fine()


def coarser(found: times.Times, bounds: Sequence[float], common: Sequence[float]) -> dict[int, int]:
    """The same answers by fewer bounds: ``common`` are some of ``bounds``."""
    counts: dict[int, int] = {}
    for number, count in sorted(found.items()):
        at = bisect_left(common, bounds[number]) if number < len(bounds) else len(common)
        counts[at] = counts.get(at, 0) + count
    return counts
