"""False alarms and misses of the rule in ``pipeline/domain/judging/latency/rule.py``, over simulated traffic.

Each trial is an hour of the release before and an hour of the new one. A false alarm is *worse* if the times of both
come from the same distribution; *at the limit* is *worse* if each answer of the new one takes a quarter longer, which
is tolerated. A miss is *no worse* if each takes twice as long.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import NormalDist

from judge_traffic import poisson

from pipeline.domain.judging.counts import JUDGED, MINUTE
from pipeline.domain.judging.latency.counts import Minute
from pipeline.domain.judging.latency.rule import MARGIN, judge
from pipeline.domain.judging.latency.times import bucket_of
from pipeline.domain.judging.verdict import Verdict

Curve = Callable[[int], float]  # of the minute
SAMPLES = 400  # of a distribution: each minute draws from these


@dataclass(frozen=True)
class Shape:
    """A distribution of times: of each part, how likely it is, its median in seconds and its spread (sigma of the
    logarithm)."""

    name: str
    parts: tuple[tuple[float, float, float], ...]

    def buckets(self, factor: float, place: Callable[[float], int] = bucket_of) -> dict[int, float]:
        """The probability of each bucket, if each answer takes ``factor`` times as long. ``place``: in which one an
        answer of so many seconds is."""
        found: Counter[int] = Counter()
        for share, median, sigma in self.parts:
            for number in range(SAMPLES):
                z = NormalDist().inv_cdf((number + 0.5) / SAMPLES)
                found[place(factor * median * math.exp(sigma * z))] += share / SAMPLES
        return found


@dataclass(frozen=True)
class Load:
    """``rate``: requests in a second; ``crowds``: how likely a minute has five times the requests; ``stalls``: how
    likely it is that all of a minute's answers take four times as long; ``drift``: the standard deviation of the
    logarithm of a factor that all answers of a minute share, and that changes within ten minutes or so; ``busy``: how
    much longer answers take at the highest rate of the curve; ``factor``: how many times as long a worse release
    takes."""

    name: str
    shape: Shape
    rate: Curve
    crowds: float = 0.0
    stalls: float = 0.0
    drift: float = 0.05
    busy: float = 0.0
    factor: float = 2.0
    grows: bool = False  # the new release's times, from those of before to three times as much


class Buckets:
    """Draws from a shape. Factors are rounded to 3 %, so that few tables are needed."""

    def __init__(self, shape: Shape, place: Callable[[float], int] = bucket_of) -> None:
        self._place = place
        self._shape, self._tables = shape, dict[int, tuple[list[int], list[float]]]()

    def draw(self, chance: random.Random, count: int, factor: float) -> dict[int, int]:
        step = round(math.log(factor) / 0.03)
        if step not in self._tables:
            found = sorted(self._shape.buckets(math.exp(0.03 * step), self._place).items())
            self._tables[step] = ([one for one, _ in found], list(accumulate(p for _, p in found)))
        numbers, sums = self._tables[step]
        if count > 5 * len(numbers):
            return _many(chance, count, numbers, sums)
        drawn = Counter(min(bisect_left(sums, chance.random()), len(numbers) - 1) for _ in range(count))
        return {numbers[one]: often for one, often in drawn.items()}


def _many(chance: random.Random, count: int, numbers: list[int], sums: list[float]) -> dict[int, int]:
    each = (b - a for a, b in zip([0.0, *sums], sums, strict=False))
    found = {number: poisson(chance, count * p) for number, p in zip(numbers, each, strict=True)}
    return {number: often for number, often in found.items() if often}


def hour(chance: random.Random, load: Load, draw: Buckets, release: int, slower: Curve) -> Iterator[Minute]:
    highest = max(load.rate(number) for number in range(JUDGED))
    drift = chance.gauss(0, load.drift)
    keep = math.exp(-1 / 10)
    for number in range(JUDGED):
        drift = keep * drift + math.sqrt(1 - keep**2) * chance.gauss(0, load.drift)
        crowd = 5 if chance.random() < load.crowds else 1
        rate = load.rate(number)
        factor = slower(number) * math.exp(drift) * (1 + load.busy * rate / highest)
        factor *= 4 if chance.random() < load.stalls else 1
        if found := draw.draw(chance, poisson(chance, MINUTE * rate * crowd), factor):
            yield Minute(MINUTE * number, release, release, found)


def verdicts(
    chance: random.Random, load: Load, trials: int, slower: Curve, bounds: Sequence[float] = ()
) -> Counter[Verdict]:
    """``bounds``: of a histogram, in place of the proxy's buckets."""
    found: Counter[Verdict] = Counter()
    draw = Buckets(load.shape, (lambda seconds: bisect_left(bounds, seconds)) if bounds else bucket_of)
    for _ in range(trials):
        before = list(hour(chance, load, draw, 1, lambda _: 1.0))
        found[judge(list(hour(chance, load, draw, 2, slower)), before, bounds).verdict] += 1
    return found


def worse(load: Load) -> Curve:
    return (lambda number: 1 + 2 * number / JUDGED) if load.grows else (lambda _: load.factor)


def steady(rate: float) -> Curve:
    return lambda _: rate


def daily(number: int) -> float:
    return 20 + 15 * math.sin(number * math.pi / JUDGED)


NARROW = Shape("80 ms, narrow", ((1.0, 0.08, 0.3),))
WIDE = Shape("40 ms, wide", ((1.0, 0.04, 1.0),))
CACHED = Shape("a cache", ((0.9, 0.004, 0.3), (0.1, 0.2, 0.5)))
FAST = Shape("2 ms", ((1.0, 0.002, 0.5),))

LOADS = [
    *(
        Load(f"{shape.name}, {rate}/s", shape, steady(rate))
        for shape in (NARROW, WIDE, CACHED)
        for rate in (0.2, 1, 5, 20, 100)
    ),
    Load("2 ms, 20/s (22 ms if worse)", FAST, steady(20), factor=11),
    Load("crowds (5 times the requests)", WIDE, steady(20), crowds=0.1),
    Load("stalls, one an hour", WIDE, steady(20), stalls=0.02),
    Load("stalls, six an hour", WIDE, steady(20), stalls=0.1),
    Load("a restless hour", WIDE, steady(20), drift=0.15),
    Load("a daily curve", WIDE, daily, busy=0.5),
    Load("a slow leak", WIDE, steady(20), grows=True),
]


ROW = "{:<34} {:>7} {:>12} {:>12} {:>8} {:>11} {:>9}"


def rates(trials: int, chance: random.Random) -> Iterator[str]:
    """The table, line by line."""
    yield ROW.format("latency", "trials", "false alarms", "at the limit", "found", "too little", "missed")
    for load in LOADS:
        same = verdicts(chance, load, trials, lambda _: 1.0)
        tolerated = verdicts(chance, load, trials, lambda _: MARGIN)
        bad = verdicts(chance, load, trials, worse(load))
        shares = [
            same[Verdict.WORSE],
            tolerated[Verdict.WORSE],
            bad[Verdict.WORSE],
            bad[Verdict.TOO_FEW],
            bad[Verdict.NO_WORSE],
        ]
        yield ROW.format(load.name, trials, *(f"{one / trials:.1%}" for one in shares))
