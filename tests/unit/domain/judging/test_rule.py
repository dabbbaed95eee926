from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest

from pipeline.domain.judging import rule
from pipeline.domain.judging.counts import Minute
from pipeline.domain.judging.verdict import Verdict


def minutes(errors: Sequence[int], requests: int = 1200, release: int = 2) -> list[Minute]:
    return [Minute(60.0 * n, release, release, requests, one) for n, one in enumerate(errors)]


BEFORE = minutes([12, 11, 13, 12, 14, 10] * 10, release=1)  # 1 % of 72,000


@pytest.mark.parametrize(
    ("successes", "trials", "probability"),
    [(0, 10, 0.3), (4, 10, 0.3), (10, 10, 0.3), (60, 100, 0.5), (3, 1000, 0.001)],
)
def test_the_tail_of_a_binomial_is_the_sum_of_its_terms(
    successes: int, trials: int, probability: float
) -> None:
    terms = (
        math.comb(trials, n) * probability**n * (1 - probability) ** (trials - n)
        for n in range(successes, trials + 1)
    )
    assert rule.tail(successes, trials, probability) == pytest.approx(sum(terms), rel=1e-9)


def test_more_successes_than_trials_do_not_happen() -> None:
    assert rule.tail(11, 10, 0.5) == 0.0


def test_twice_the_errors_are_worse() -> None:
    assert rule.judge(minutes([24, 22, 26, 25, 23, 24] * 4), BEFORE).verdict is Verdict.WORSE


def test_as_many_errors_are_no_worse_once_a_doubling_had_been_found() -> None:
    few, many = minutes([12, 13]), minutes([12, 13, 11, 12, 14, 10] * 4)
    assert rule.judge(few, BEFORE) == rule.Judgement(Verdict.TOO_FEW, rule.needed(72_000, 720))
    assert rule.judge(many, BEFORE).verdict is Verdict.NO_WORSE
    assert len(many) * 1200 > rule.needed(72_000, 720) > len(few) * 1200


def test_what_was_worse_stays_worse_whatever_comes_after_it() -> None:
    bad = minutes([24, 22, 26, 25, 23, 24] * 4)
    assert rule.judge([*bad, *minutes([0] * 30)], BEFORE).verdict is Verdict.WORSE


def test_one_minute_of_errors_decides_nothing() -> None:
    assert (
        rule.judge(minutes([0, 0, 900, 0, 0, 0, 0, 0, 0, 0]), minutes([0] * 60)).verdict is not Verdict.WORSE
    )


def test_errors_that_come_in_bursts_in_both_are_not_worse() -> None:
    before = minutes([0, 0, 90, 0, 0, 0, 0, 0, 0, 0, 0, 80] * 5)
    new = minutes([90, 0, 0, 80, 0, 0, 0, 100, 0, 0])
    assert rule.judge(new, before).verdict is not Verdict.WORSE
    assert rule.dispersion([before]) > 10


def test_a_share_that_grows_slowly_is_found() -> None:
    assert rule.judge(minutes([12 + 2 * n for n in range(30)]), BEFORE).verdict is Verdict.WORSE


def test_without_traffic_before_there_is_nothing_to_compare_with() -> None:
    assert rule.judge(minutes([100] * 10), []).verdict is Verdict.NOTHING_BEFORE
    assert rule.judge(minutes([100] * 10), minutes([1], requests=199)).verdict is Verdict.NOTHING_BEFORE


def test_every_request_may_fail() -> None:
    assert rule.judge(minutes([1200] * 3), minutes([0] * 60)).verdict is Verdict.WORSE
    assert rule.judge(minutes([1200] * 10), minutes([1200] * 60)).verdict is not Verdict.WORSE


@pytest.mark.parametrize(
    ("requests", "errors"), [(200, 0), (10**9, 0), (10**9, 10**9), (200, 200), (1000, 990)]
)
def test_what_is_needed_is_known_or_0(requests: int, errors: int) -> None:
    assert rule.needed(requests, errors) >= 0


def test_errors_that_come_with_the_load_are_no_release_s_fault() -> None:
    """A morning: the load grows within two hours, and the share of errors with it, from 1 % to 3 %."""

    def hour(begin: int, factor: float = 1.0) -> list[Minute]:
        shares = ((1 + (begin + one) / 60) * 0.01 * factor for one in range(60))
        return [Minute(60.0 * n, 1, 1, 2000, round(2000 * share)) for n, share in enumerate(shares)]

    assert rule.judge(hour(60), hour(0)).verdict is not Verdict.WORSE
    assert rule.judge(hour(60, 3.0), hour(0)).verdict is Verdict.WORSE
    steady = [Minute(60.0 * n, 1, 1, 2000, 20) for n in range(60)]
    assert rule.judge(hour(60), steady).verdict is Verdict.WORSE, "it was not there before"


def test_what_may_be_chance_is_no_trend() -> None:
    draw = random.Random(5)
    minutes = [
        Minute(60.0 * n, 1, 1, 1000, sum(draw.random() < 0.02 for _ in range(1000))) for n in range(60)
    ]
    assert rule.trend(minutes, 1.0) == 1.0
    assert rule.trend(minutes[:9], 1.0) == 1.0, "there are too few of them"
    assert rule.trend([], 1.0) == 1.0
    rising = [Minute(60.0 * n, 1, 1, 1000, 10 + n) for n in range(60)]
    assert rule.trend(rising, 1.0) > 20
    assert rule.trend(rising, 1000.0) == 1.0
