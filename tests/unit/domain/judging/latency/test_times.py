from __future__ import annotations

import math
import random

import pytest

from pipeline.domain.judging.latency.times import (
    EDGES,
    Timed,
    begin,
    bucket,
    bucket_of,
    cumulative,
    first_from,
    merged,
    quantile,
    reaching,
    read,
    since,
    text,
    total,
)


def test_each_bucket_is_at_most_15_percent_wide() -> None:
    assert all(1 < begin(n + 1) / begin(n) < 1.155 for n in range(8 * len(EDGES)))


@pytest.mark.parametrize("seconds", [0.00001, 0.000099, 0.001, 0.0123, 0.5, 1.0, 9.99, 60.0, 3600.0])
def test_a_time_is_in_the_bucket_that_begins_at_or_before_it(seconds: float) -> None:
    number = bucket_of(seconds)
    assert begin(number) <= seconds * (1 + 1e-9) < begin(number + 1) * (1 + 1e-9)


def test_the_shortest_times_are_together() -> None:
    assert bucket(1, 7) == bucket_of(0.0) == bucket_of(-1.0) == 0


def test_the_first_bucket_from_a_time_has_none_that_is_shorter() -> None:
    assert begin(first_from(0.010)) == pytest.approx(0.010)
    assert begin(first_from(0.0105)) == pytest.approx(0.011)


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_quantile_is_at_most_seven_percent_wrong(share: float) -> None:
    chance = random.Random(4)
    times = sorted(0.04 * math.exp(chance.gauss(0, 1)) for _ in range(5000))
    found = merged({bucket_of(one): 1} for one in times)
    assert quantile(found, share) == pytest.approx(times[int(share * len(times))], rel=0.07)
    assert total(found) == 5000


def test_of_no_answer_there_is_no_quantile() -> None:
    assert quantile({}, 0.5) == quantile({3: 0}, 0.5) == 0.0


def test_how_many_took_as_long() -> None:
    assert reaching({1: 2, 5: 3, 9: 4}, 5) == 7


def test_between_two_looks_is_what_came_since() -> None:
    assert since(Timed(7, {1: 5, 2: 3}), Timed(7, {1: 6, 2: 3, 4: 1})) == {1: 1, 4: 1}


def test_another_proxy_counts_from_zero_even_if_it_has_counted_more() -> None:
    assert since(Timed(7, {1: 5}), Timed(8, {1: 6})) == {1: 6}


def test_a_bucket_that_was_forgotten_counts_from_zero_and_the_others_do_not() -> None:
    assert since(Timed(7, {1: 5, 2: 3}), Timed(7, {1: 6})) == {1: 1}
    assert since(Timed(7, {1: 5, 2: 3}), Timed(7, {1: 5, 2: 1})) == {2: 1}


def test_what_is_kept_beside_other_counters_is_read_again() -> None:
    found = {3: 7, 120: 1}
    assert read(text(found)) == found
    assert read(text({})) == {}


@pytest.mark.parametrize("wrong", ["x", "3:", "3:4:5", ":"])
def test_what_is_not_ours_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"invalid literal|unpack"):
        read(wrong)


def test_for_a_histogram_they_are_counted_up_to_each_bound() -> None:
    found = {bucket_of(0.0101): 5, bucket_of(0.1): 2, bucket_of(30.0): 1}
    counts, seconds = cumulative(found, (0.01, 0.022, 0.22, 10.0))
    assert counts == [0, 5, 7, 7]
    assert seconds == pytest.approx(5 * 0.0105 + 2 * 0.105 + 31.5, rel=0.05)
