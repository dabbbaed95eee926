"""Times in the buckets of another program's histogram, and the rule by them."""

from __future__ import annotations

import math
import re
from bisect import bisect_left

import pytest

from pipeline.domain.judging.latency import judgement, rule
from pipeline.domain.judging.latency.counts import Judged, Latency, Minute, Timings, latency, timed
from pipeline.domain.judging.latency.scale import coarser, scale
from pipeline.domain.judging.latency.times import Timed, bucket_of
from pipeline.domain.judging.verdict import Verdict
from pipeline.lib import codec
from tests.support.paths import ROOT

INGRESS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # what ingress-nginx has by default
FINE = tuple(
    float(one)
    for one in re.findall(r"--time-buckets=(\S+)", (ROOT / "docs" / "judging.md").read_text())[0].split(",")
)
USUAL = {0.030: 90, 0.040: 400, 0.060: 70, 0.200: 40}  # in a minute


def answers(factor: float, bounds: tuple[float, ...]) -> dict[int, int]:
    found: dict[int, int] = {}
    for seconds, count in USUAL.items():
        number = bisect_left(bounds, factor * seconds)
        found[number] = found.get(number, 0) + count
    return found


def minutes(factor: float, bounds: tuple[float, ...], count: int = 40, release: int = 1) -> list[Minute]:
    return [Minute(60.0 * number, release, release, answers(factor, bounds)) for number in range(count)]


def verdict(factor: float, bounds: tuple[float, ...]) -> rule.Judgement:
    return rule.judge(minutes(factor, bounds, release=2), minutes(1, bounds), bounds)


def test_a_quantile_is_between_two_bounds() -> None:
    found = latency(answers(1, INGRESS), INGRESS)
    assert found == Latency(600, 0.05, 0.25, 0.025, 0.1)
    assert latency({11: 3}, INGRESS) == Latency(3, None, None, 10.0, 10.0)
    assert latency({0: 3}, INGRESS) == Latency(3, 0.005, 0.005, 0.0, 0.0)
    assert latency({}, INGRESS).requests == 0
    assert codec.load(Latency, codec.dump(latency({11: 3}, INGRESS))).p95 is None


def test_a_limit_is_the_next_bound() -> None:
    by = scale(INGRESS)
    assert [by.reached(one) for one in (0.0, 0.005, 0.0051, 0.125, 10.0)] == [0.0, 0.005, 0.01, 0.25, 10.0]
    assert by.reached(10.1) == math.inf
    assert scale(()).first_from(0.041) == bucket_of(0.041) + 1


@pytest.mark.parametrize("factor", [1.0, 1.25, 2.0])
def test_what_bounds_cannot_tell_is_said_and_not_guessed(factor: float) -> None:
    found = verdict(factor, INGRESS)
    assert (found.verdict, found.coarse) == (Verdict.TOO_COARSE, ("p50", "p95"))


def test_what_is_surely_slower_is_worse_by_coarse_bounds_too() -> None:
    found = verdict(6.0, INGRESS)
    assert (found.verdict, found.slower) == (Verdict.WORSE, ("p50", "p95"))


@pytest.mark.parametrize("number", range(24))
def test_the_bounds_that_the_documentation_advises_tell_twice_the_time_of_each_bucket(number: int) -> None:
    each = [Minute(60.0 * one, 1, 1, {number: 600}) for one in range(40)]
    assert rule.judge(each, each, FINE).verdict is Verdict.NO_WORSE


@pytest.mark.parametrize(
    ("factor", "said"), [(1.0, Verdict.NO_WORSE), (1.1, Verdict.NO_WORSE), (2.0, Verdict.WORSE)]
)
def test_fine_bounds_tell_twice_the_time(factor: float, said: Verdict) -> None:
    assert verdict(factor, FINE).verdict is said


@pytest.mark.parametrize("bounds", [(0.1,), (10.0,), (0.001,), (0.04, 0.05)])
def test_few_bounds_are_too_coarse(bounds: tuple[float, ...]) -> None:
    assert verdict(3.0, bounds).verdict in (Verdict.TOO_COARSE, Verdict.WORSE)
    assert verdict(1.0, bounds).verdict is Verdict.TOO_COARSE


def test_what_is_beyond_the_last_bound_is_never_worse() -> None:
    bounds = (0.001, 0.002)
    assert verdict(100.0, bounds).verdict is Verdict.TOO_COARSE


def test_answers_keep_their_place_by_fewer_bounds() -> None:
    common = (0.05, 0.25)
    assert coarser(answers(1, INGRESS), INGRESS, common) == answers(1, common)
    assert coarser({11: 2}, INGRESS, common) == {2: 2}


def test_other_bounds_are_not_compared_with_those_before() -> None:
    found = Timings()
    for number in range(20):
        counts = {one: number * count for one, count in answers(1, INGRESS).items()}
        found = timed(found, 1, 1, Timed(7, counts, INGRESS), 60.0 * number)
    assert len(found.minutes) == 18
    assert found.whole == {}, "a Prometheus has it already"
    found = timed(found, 2, 2, Timed(8, {}, FINE), 1300.0)
    assert (found.minutes, found.seen.bounds) == ((), FINE)


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (Latency(9, 0.025, 0.25, 0.01, 0.1), "p50 10 to 25 ms and p95 100 to 250 ms"),
        (Latency(9, 1.0, None, 0.5, 10.0), "p50 500 ms to 1.0 s and p95 more than 10.0 s"),
        (Latency(9, 0.005, 0.01, 0.0, 0.005), "p50 up to 5.0 ms and p95 5.0 to 10 ms"),
    ],
)
def test_bounds_for_people(one: Latency, said: str) -> None:
    assert judgement.shown(one, ("p50", "p95")) == said


def test_too_coarse_for_people_and_programs() -> None:
    one = Latency(900, 0.025, 0.25, 0.01, 0.1)
    found = Timings(2, 2, judged=Judged(Verdict.TOO_COARSE, 1, one, one, coarse=("p95",)))
    assert judgement.text(found) == (
        "p50 10 to 25 ms and p95 100 to 250 ms of 900 answers, beside r1 (10 to 25 ms and 100 to 250 ms); "
        "the buckets are too coarse to judge p95"
    )
    shown = judgement.plain(found, 2, 2)
    assert shown is not None
    assert (shown["source"], shown["coarse"], shown["p95_from"]) == ("prometheus", ["p95"], 0.1)
