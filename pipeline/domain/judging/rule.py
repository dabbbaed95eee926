r"""The rule by which the errors of a release are compared with those of the release before it. Pure.

With ``n`` requests and ``e`` errors of the new release, ``m`` and ``f`` of the one before it, and equal shares of
errors, each of the ``e + f`` errors is one of the new release's with probability n / (n + m): given their number,
``e`` is binomial (Przyborowski and Wilenski, "Homogeneity of results in testing samples from Poisson series",
Biometrika 31, 1940). A share that is a quarter higher is not called worse: the probability is 1.25 n / (1.25 n + m).

The test is made when the new release has answered 200 requests, then after half as many more again each time, and the
level 0.01 is shared among these looks as 6/(π²k²) (a Bonferroni bound over looks that are fixed beforehand). So it
makes no difference how often it is asked in between.

Errors come in bursts: one lost connection to a database is fifty errors and one event. The counts are divided by the
dispersion, as for a quasi-Poisson model (McCullagh and Nelder, "Generalized Linear Models", 2nd edition, 1989, section
6.2.3). It is estimated from the differences of neighbouring minutes, so that a share which grows slowly does not hide
itself (von Neumann, "Distribution of the ratio of the mean square successive difference to the variance", 1941). The
worst minute is left out, and errors in fewer than three minutes decide nothing.

Errors that come with the load go up and down over a day. If the shares of 5, 10 or 15 minutes of the hour before differ
by more than chance explains, the counts are divided by that instead: what changes within that hour changes from it to
the next as well, and is no release's fault.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

from pipeline.domain.judging.beside import weighted
from pipeline.domain.judging.counts import Minute, total
from pipeline.domain.judging.verdict import Verdict

LEVEL = 0.01  # of false alarms for one release
POWER = 0.95  # with which a doubling is found once "no worse" is said
MARGIN = 1.25  # a share of errors up to so many times that of before is not called worse
FIRST_LOOK, GROWTH = 200, 1.5
FLOOR = 0.005  # a release without any error is judged as one that is to stay below this share
SPREAD = 3  # minutes with errors of the new release
GROUPS = 4  # of minutes: fewer say nothing about how much errors come in bursts
SHORTEST = 10  # minutes after which "no worse" may be said at the earliest, about
EXPECTED = 3.0  # errors in each group
TOGETHER = (5, 10, 15)  # minutes in which an application may have a bad time of its own
CHANCE = 0.001  # with which what is no trend is taken for one
ROUNDING = 1e-9  # what is weighted is no whole number


@dataclass(frozen=True)
class Judgement:
    """``needed``: requests of the new release after which a doubling is found, 0 if it is not known; ``level``: of the
    test that found it worse."""

    verdict: Verdict
    needed: int = 0
    level: float = 0.0


def judge(new: Sequence[Minute], before: Sequence[Minute], *, beside: bool = False) -> Judgement:
    """``new``: the minutes of the release that is judged, all of them, oldest first; ``before``: those of the release
    that it is compared with. The verdict on a prefix of ``new`` that was *worse* stays, since it is found again.
    ``beside``: both are the same minutes, one by one, so that a look compares with no later ones, and with each as much
    as the new release answered in it (``judging.beside``)."""
    base = total(before)
    if base.requests < FIRST_LOOK:
        return Judgement(Verdict.NOTHING_BEFORE)
    requests = errors = spread = 0
    schedule = looks()
    look, level = next(schedule)
    for position, minute in enumerate(new, 1):
        requests, errors, spread = (
            requests + minute.requests,
            errors + minute.errors,
            spread + bool(minute.errors),
        )
        while requests >= look:
            at, (look, following) = level, next(schedule)
            seen = before[:position] if beside else before
            if requests < look and spread >= SPREAD and _is_worse(new[:position], seen, at, beside):
                return Judgement(Verdict.WORSE, level=at)
            level = following
    wanted = needed(base.requests, base.errors, _often(new, before, beside))
    enough = bool(wanted) and requests >= wanted
    return Judgement(Verdict.NO_WORSE if enough else Verdict.TOO_FEW, wanted)


def looks(level: float = LEVEL) -> Iterator[tuple[int, float]]:
    """Requests after which there is a look, and its level; the sum of these is ``level``."""
    at, number = float(FIRST_LOOK), 1
    while True:
        yield round(at), level * 6 / (math.pi * number) ** 2
        at, number = at * GROWTH, number + 1


def _is_worse(new: Sequence[Minute], before: Sequence[Minute], level: float, beside: bool) -> bool:
    worst = max(new, key=lambda one: one.errors)
    mine, often = total(one for one in new if one is not worst), _often(new, before, beside)
    base = weighted(new, before) if beside else total(before)
    share = MARGIN * mine.requests / (MARGIN * mine.requests + base.requests)
    errors, earlier = math.floor(mine.errors / often), math.ceil(base.errors / often - ROUNDING)
    return tail(errors, errors + earlier, share) <= level


def looks_worse(requests: int, errors: int, before: int, errors_before: int) -> bool:
    """True if so many requests with so many errors look worse than those of the release before, although it may be too
    early, or one burst, for a verdict. Not for fewer errors than a verdict needs."""
    if errors < SPREAD or not before:
        return False
    return tail(errors, errors + errors_before, MARGIN * requests / (MARGIN * requests + before)) <= LEVEL


def is_plainly_worse(new: Sequence[Minute], before: Sequence[Minute]) -> bool:
    """One look, at the end of a time that was fixed beforehand, however few requests there were. ``before``: the same
    minutes, one by one."""
    if sum(bool(one.errors) for one in new) < SPREAD or not total(before).requests:
        return False
    return _is_worse(new, before, LEVEL, beside=True)


def _often(new: Sequence[Minute], before: Sequence[Minute], beside: bool) -> float:
    """How many errors come at once; what goes up and down for both at the same time makes no difference."""
    often = dispersion([before, new])
    return often if beside else max(often, trend(before, often))


def trend(minutes: Sequence[Minute], often: float) -> float:
    """By how much the share of errors goes up and down within that time, as a multiple of what single errors would make
    it differ; 1.0 if that may be chance, with so many errors at once."""
    found = ((spread(minutes, together), together) for together in TOGETHER)
    certain = [much for much, together in found if much > often * _by_chance(len(minutes), together)]
    return max(certain, default=1.0)


def _by_chance(minutes: int, together: int) -> float:
    """What ``spread`` exceeds with a probability of ``CHANCE`` without any trend: the quantile of a chi-squared
    distribution by its degrees of freedom, by the approximation of Wilson and Hilferty (1931)."""
    part = 2 / (9 * max(math.ceil(minutes / together) - 1, 1))
    return float((1 - part + NormalDist().inv_cdf(1 - CHANCE) * math.sqrt(part)) ** 3)


def spread(minutes: Sequence[Minute], together: int) -> float:
    """How much more the shares of so many minutes differ than those of single requests would; 1.0 if there are too few
    of them."""
    whole = total(minutes)
    share = whole.errors / whole.requests if whole.requests else 0.0
    groups = [total(minutes[n : n + together]) for n in range(0, len(minutes), together)]
    if not 0 < share < 1 or len(groups) < GROUPS:
        return 1.0
    squares = sum(
        (one.errors - one.requests * share) ** 2 / (one.requests * share * (1 - share)) for one in groups
    )
    return squares / (len(groups) - 1)


def dispersion(series: Sequence[Sequence[Minute]]) -> float:
    """How many errors come at once: 1 if they come one by one. Each series has its own share of errors."""
    squares, degrees = 0.0, 0
    for minutes in series:
        whole = total(minutes)
        share = whole.errors / whole.requests if whole.requests else 0.0
        if not 0 < share < 1:
            continue
        residuals = [(e - n * share) / math.sqrt(n * share * (1 - share)) for n, e in _groups(minutes, share)]
        squares += sum((b - a) ** 2 / 2 for a, b in pairwise(residuals))
        degrees += max(len(residuals) - 1, 0)
    return max(1.0, squares / degrees) if degrees >= GROUPS - 1 else 1.0


def _groups(minutes: Sequence[Minute], share: float) -> Iterator[tuple[int, int]]:
    """Requests and errors of neighbouring minutes that are enough together for ``EXPECTED`` errors."""
    requests = errors = 0
    for one in minutes:
        requests, errors = requests + one.requests, errors + one.errors
        if requests * share >= EXPECTED:
            yield requests, errors
            requests = errors = 0


def tail(successes: int, trials: int, probability: float) -> float:
    """P(X ≥ ``successes``) of a binomial X."""
    if successes <= 0:
        return 1.0
    if successes > trials:
        return 0.0
    odds, term, found = math.log(probability) - math.log1p(-probability), 0.0, 0.0
    log = (
        math.lgamma(trials + 1)
        - math.lgamma(successes + 1)
        - math.lgamma(trials - successes + 1)
        + successes * math.log(probability)
        + (trials - successes) * math.log1p(-probability)
    )
    for count in range(successes, trials + 1):
        term = math.exp(log)
        found += term
        if count > trials * probability and term < found * 1e-12:
            break
        log += odds + math.log(trials - count) - math.log(count + 1) if count < trials else 0.0
    return min(1.0, found)


def needed(requests: int, errors: int, often: float = 1.0) -> int:
    """Requests of the new release after which twice the errors of before are found with ``POWER``; 0 if no number is
    enough, since the release before has answered too few."""
    share = errors / requests
    bad = min(max(2 * share, FLOOR), 1.0)
    power = NormalDist().inv_cdf(POWER)
    for at, level in looks():
        if at > 10**8:
            return 0
        quantile = NormalDist().inv_cdf(1 - level) + power
        counted = at * (1 - 1 / SHORTEST)  # the worst minute is left out
        variance = often * (bad / counted + MARGIN**2 * max(share, 1 / requests) / requests)
        if (bad - MARGIN * share) >= quantile * math.sqrt(variance) and bad * counted / often >= SPREAD * 2:
            return at
    return 0
