"""False alarms and misses while two releases share the traffic (``pipeline/domain/shifting``), over simulated traffic.

Each trial is a shift of 5 % and 25 %, five minutes each, in stretches of half a minute. A false alarm is a release that
goes back although it is like the other one. *Found*: it has twice the share of errors, at least 0.5 %, or its answers
take twice as long.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from judge_latency import WIDE, Buckets, Shape
from judge_traffic import poisson

from pipeline.domain.judging import counts, rule
from pipeline.domain.judging.latency import counts as timings
from pipeline.domain.judging.latency import rule as times
from pipeline.domain.judging.verdict import Verdict

STRETCH, EACH = 30.0, 10  # seconds of a stretch, and how many of them each of two steps has
WARM = 4  # stretches whose times are left out
ROW = "{:<52} {:>7} {:>12} {:>8}"


@dataclass(frozen=True)
class Sharing:
    """``rate``: requests in a second, of both together; ``share``: of errors; ``later``: in the second step there are
    so many times as many errors, or answers take so many times as long, for both; ``bursts``: how likely a stretch has
    errors of a tenth of the requests more, for both; ``drift``, ``own``: the standard deviation of the logarithm of the
    factor that all answers of a stretch share, and of one more for each release by itself; both change within ten
    minutes or so."""

    name: str
    rate: float
    share: float = 0.01
    shape: Shape = WIDE
    later: float = 1.0
    bursts: float = 0.0
    drift: float = 0.05
    own: float = 0.05
    steps: tuple[float, float] = (0.05, 0.25)

    def at(self, number: int) -> float:
        return self.later if number >= EACH else 1.0

    def parts(self) -> Iterator[tuple[int, float]]:
        """Each stretch, and the new release's part of it."""
        return ((number, self.steps[number // EACH]) for number in range(EACH * len(self.steps)))


def is_worse_by_errors(chance: random.Random, one: Sharing, worse: bool) -> bool:
    new, old = [], []
    for number, part in one.parts():
        share = one.share * one.at(number) + (0.1 if chance.random() < one.bursts else 0.0)
        mine = max(2 * share, rule.FLOOR) if worse else share
        for found, rate, errors in ((new, part, mine), (old, 1 - part, share)):
            requests = poisson(chance, STRETCH * one.rate * rate)
            wrong = min(requests, poisson(chance, requests * errors))
            found.append(counts.Minute(STRETCH * number, 1, 1, requests, wrong))
    kept = [pair for pair in zip(new, old, strict=True) if pair[1].requests]
    verdict = rule.judge([one for one, _ in kept], [one for _, one in kept], beside=True).verdict
    return verdict is Verdict.WORSE


def is_worse_by_times(chance: random.Random, one: Sharing, draw: Buckets, worse: bool) -> bool:
    new, old, keep = [], [], math.exp(-1 / 20)
    wander = (one.drift, one.own, one.own)
    drifts = [chance.gauss(0, each) for each in wander]
    for number, part in one.parts():
        steps = [math.sqrt(1 - keep**2) * chance.gauss(0, each) for each in wander]
        drifts = [keep * drift + step for drift, step in zip(drifts, steps, strict=True)]
        both, *own = drifts
        if number < WARM:
            continue
        for found, rate, drift, factor in ((new, part, own[0], 1 + worse), (old, 1 - part, own[1], 1)):
            requests = poisson(chance, STRETCH * one.rate * rate)
            took = draw.draw(chance, requests, factor * one.at(number) * math.exp(both + drift))
            found.append(timings.Minute(STRETCH * number, 1, 1, took))
    kept = [pair for pair in zip(new, old, strict=True) if pair[0].times and pair[1].times]
    return times.judge([a for a, _ in kept], [b for _, b in kept], beside=True).verdict is Verdict.WORSE


SUDDEN = (0.01, 0.5)
BY_ERRORS = [
    *(
        Sharing(f"{rate}/s, {share:.2%} errors", rate, share)
        for share in (0.0, 0.002, 0.01, 0.05)
        for rate in (5, 20, 100)
    ),
    Sharing("20/s, 1 %, part 1 % then 50 %, three times as many then", 20, 0.01, later=3, steps=SUDDEN),
    Sharing("100/s, 1 %, part 1 % then 50 %, three times as many then", 100, 0.01, later=3, steps=SUDDEN),
    Sharing("100/s, 1 %, bursts for both", 100, 0.01, bursts=0.1),
]
BY_TIMES = [
    *(Sharing(f"40 ms, wide, {rate}/s", rate) for rate in (5, 20, 100)),
    *(
        Sharing(f"{rate}/s, part 1 % then 50 %, twice as long then", rate, later=2.0, steps=SUDDEN)
        for rate in (20, 100)
    ),
    Sharing("100/s, restless", 100, drift=0.15),
    Sharing("100/s, each restless by itself", 100, own=0.15),
]  # fmt: skip


def rates(trials: int, chance: random.Random) -> Iterator[str]:
    """The tables, line by line."""
    yield ROW.format("errors, side by side", "trials", "false alarms", "found")
    for one in BY_ERRORS:
        wrong, found = (
            sum(is_worse_by_errors(chance, one, bad) for _ in range(trials)) for bad in (False, True)
        )
        yield ROW.format(one.name, trials, f"{wrong / trials:.1%}", f"{found / trials:.1%}")
    yield ROW.format("latency, side by side", "trials", "false alarms", "found")
    for one in BY_TIMES:
        draw = Buckets(one.shape)
        wrong, found = (
            sum(is_worse_by_times(chance, one, draw, bad) for _ in range(trials)) for bad in (False, True)
        )
        yield ROW.format(one.name, trials, f"{wrong / trials:.1%}", f"{found / trials:.1%}")
