"""The rule by which the times of a release's answers are compared with those of the release before it. Pure.

For each of the quantiles p50 and p95, a limit is made of what the release before needed in its last hour: a quarter
more, and at least 10 ms. The new release is slower if more than half of its answers, or more than 5 %, take longer than
that: its own quantile is then beyond the limit. The share of answers beyond it is tested against that of the quantile;
how well the older release's quantile is known counts as well:

    z = (e / n - p) / sqrt(D p (1 - p) (1 / n + 1 / m))

with ``e`` of ``n`` answers of the new release beyond the limit, ``m`` answers of the one before, and p = 0.5 or 0.05.

Answers of one minute are alike: a database that is busy slows all of them. So the unit is the minute and not the
request: the variance is multiplied by the dispersion ``D`` (see ``judging.rule``). It is the largest of what the
neighbouring minutes of both releases differ by, and of what five minutes of the older one do: what goes up and down
within an hour is no release's fault, while a new release that becomes slower and slower is no excuse for itself.

**A histogram's buckets** may be wide. Its quantile is somewhere between two bounds; the limit is made of the upper one,
and is the next bound from there on: beyond it an answer is surely slower than the limit. If twice the time would not
reach that far, whatever the traffic, then nothing is said but that the buckets are too coarse, unless it is worse.

The looks are those of the errors' rule, and each quantile has half of its level. The worst minute of the new release is
left out, and fewer than five minutes decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from pipeline.domain.judging import counts, rule
from pipeline.domain.judging.beside import weights
from pipeline.domain.judging.latency.counts import Minute, all_of
from pipeline.domain.judging.latency.scale import Scale, scale
from pipeline.domain.judging.latency.times import Weighted, reaching, total, weighted
from pipeline.domain.judging.verdict import Verdict

QUANTILES = {"p50": 0.5, "p95": 0.95}
LEVEL = rule.LEVEL / len(QUANTILES)
MARGIN, LEAST = (
    1.25,
    0.010,
)  # a quantile up to so many times as long, and so many seconds longer, is not called worse
WORSE, MUCH = (
    2.0,
    0.020,
)  # what is found once "no worse" is said: so many times as long, and so many seconds longer
HELD = 5.0  # seconds: a quantile beyond it is that of requests which wait for an event (long polls)
SHORTEST = 10  # minutes of the release before
SPREAD = 5  # minutes of the new release
FEW = 5.0  # answers beyond a limit that are expected at least, for a normal distribution of their number
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Judgement:
    """``needed``: requests of the new release after which twice the time is found, 0 if it is not known; ``slower``:
    the quantiles that are worse; ``coarse``: those for which twice the time cannot be found."""

    verdict: Verdict
    needed: int = 0
    slower: tuple[str, ...] = ()
    coarse: tuple[str, ...] = ()


def judge(
    new: Sequence[Minute], before: Sequence[Minute], bounds: Sequence[float] = (), *, beside: bool = False
) -> Judgement:
    """See ``judging.rule.judge``. ``bounds``: of the buckets of both; see ``Timed``."""
    base, by = all_of(before), scale(bounds)
    least = SPREAD if beside else SHORTEST
    ends = {name: by.quantile(base, share) for name, share in QUANTILES.items()}
    known = [name for name, one in ends.items() if one.high > 0 and one.low < HELD]
    if total(base) < rule.FIRST_LOOK or len(before) < least or not known:
        return Judgement(Verdict.NOTHING_BEFORE)
    tests = {name: _Test(QUANTILES[name], before, new, by, beside=beside) for name in known}
    if beside:
        slower = tuple(name for name in known if _is_worse_beside(QUANTILES[name], before, new, by))
    else:
        slower = tuple(name for name, one in tests.items() if one.is_worse())
    if slower:
        return Judgement(Verdict.WORSE, slower=slower)
    if coarse := tuple(name for name, one in tests.items() if one.is_coarse):
        return Judgement(Verdict.TOO_COARSE, coarse=coarse)
    wanted = [one.needed() for one in tests.values()]
    needed = max(wanted) if all(wanted) else 0
    answered = sum(total(one.times) for one in new)
    enough = bool(needed) and answered >= needed and len(new) >= SPREAD
    return Judgement(Verdict.NO_WORSE if enough else Verdict.TOO_FEW, needed)


def _looks(new: Sequence[Minute]) -> Iterator[tuple[int, float]]:
    """After how many minutes there is a look, and its level."""
    requests, looks = 0, rule.looks(LEVEL)
    look, level = next(looks)
    for position, minute in enumerate(new, 1):
        requests += total(minute.times)
        while requests >= look:
            at, (look, following) = level, next(looks)
            if requests < look and position >= SPREAD:
                yield position, at
            level = following


def _is_worse_beside(share: float, before: Sequence[Minute], new: Sequence[Minute], by: Scale) -> bool:
    """Each look has a limit of its own, since it compares with no later minute."""
    return any(
        _Test(share, before[:position], new[:position], by, beside=True).is_beyond(position, level)
        for position, level in _looks(new)
    )


def limit(before: float) -> float:
    """Seconds up to which a quantile is not called worse."""
    return max(MARGIN * before, before + LEAST)


class _Test:
    """One quantile. Answers beyond the limit are counted as errors are, by minute."""

    def __init__(
        self,
        share: float,
        before: Sequence[Minute],
        new: Sequence[Minute],
        by: Scale,
        *,
        beside: bool = False,
    ) -> None:
        self._beyond = 1 - share
        self._base: Weighted = _weighted(before, new) if beside else all_of(before)
        known = by.quantile(self._base, share)
        highest = limit(known.high)
        own = min((known.number, known.number + 1), key=lambda one: self._distance(one))
        self._before, self._answers = _minutes(before, own), new
        self._new = _minutes(new, by.first_from(highest))
        found = by.reached(highest)
        slow = max(found / WORSE if one >= MUCH else found - MUCH for one in (known.low, known.high))
        self._slow = by.first_from(max(slow, 0.0))
        self.is_coarse = self._slow > known.number
        """Answers that take ``WORSE`` times as long may all be found where they are not looked for."""

    def _distance(self, number: int) -> float:
        return abs(reaching(self._base, number) / total(self._base) - self._beyond)

    def is_worse(self) -> bool:
        return any(self.is_beyond(position, level) for position, level in _looks(self._answers))

    def is_beyond(self, position: int, level: float) -> bool:
        """What the look after so many minutes of the new release says."""
        found = self._new[:position]
        worst = max(found, key=lambda one: one.errors)
        mine, often = counts.total(one for one in found if one is not worst), self._dispersion(found)
        if mine.requests * self._beyond / often < FEW:
            return False
        error = math.sqrt(often * self._variance(mine.requests))
        return mine.errors / mine.requests - self._beyond >= _NORMAL.inv_cdf(1 - level) * error

    def _variance(self, requests: float) -> float:
        """Of the share, if answers come one by one and nothing is worse."""
        return self._beyond * (1 - self._beyond) * (1 / requests + 1 / total(self._base))

    def _dispersion(self, new: Sequence[counts.Minute]) -> float:
        return max(
            rule.dispersion([self._before, new]), *(rule.spread(self._before, one) for one in rule.TOGETHER)
        )

    def needed(self) -> int:
        """Requests after which answers that take ``WORSE`` times as long are found."""
        bad = reaching(self._base, self._slow) / total(self._base)
        power, often = _NORMAL.inv_cdf(rule.POWER), self._dispersion(self._new)
        for at, level in rule.looks(LEVEL):
            if at > 10**8:
                return 0
            counted = at * (1 - 1 / SHORTEST)  # the worst minute is left out
            error = _NORMAL.inv_cdf(1 - level) * math.sqrt(often * self._variance(counted))
            # The limit is as uncertain as the quantile that it is made of, so both releases count here as well.
            error += power * math.sqrt(often * bad * (1 - bad) * (1 / counted + 1 / total(self._base)))
            if bad - self._beyond >= error and counted * self._beyond / often >= FEW:
                return at
        return 0


def _weighted(before: Sequence[Minute], new: Sequence[Minute]) -> Weighted:
    each = [[total(one.times) for one in minutes] for minutes in (new, before)]
    return weighted((one.times for one in before), weights(*each))


def _minutes(found: Sequence[Minute], number: int) -> list[counts.Minute]:
    """What is in that bucket or a later one counts as an error."""
    return [
        counts.Minute(one.at, one.release, one.run, total(one.times), reaching(one.times, number))
        for one in found
    ]
