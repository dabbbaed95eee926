"""Cumulative histograms of another program, as one."""

from __future__ import annotations

import json
import math

import pytest

from pipeline.domain.judging.latency.histogram import (
    FRESH,
    MOST,
    NO_COMMON,
    NO_END,
    NO_LE,
    NO_SERIES,
    TOO_MANY,
    Family,
    Seen,
    looked,
    read,
)


def labels(le: object, **more: str) -> str:
    return json.dumps({"le": str(le), **more})


def family(*counts: float) -> Family:
    """Of the bounds 0.1, 0.5 and infinity."""
    return dict(zip((0.1, 0.5, math.inf), counts, strict=True))


def after(*looks: dict[str, Family], every: float = 60.0) -> Seen:
    seen = None
    for number, families in enumerate(looks):
        seen = looked(seen, families, number * every, 1000.0 + number)
    assert seen is not None
    return seen


def test_series_of_one_histogram_differ_by_their_bound_alone() -> None:
    series = {labels(le, pod=pod): 1.0 for le in ("+Inf", "0.5", "1e-1") for pod in "ab"}
    found = read(series)
    assert found.problem == ""
    assert [dict(sorted(one.items())) for one in found.families.values()] == [family(1, 1, 1)] * 2


@pytest.mark.parametrize(
    ("series", "said"),
    [
        ({}, NO_SERIES),
        ({"": 4.0}, NO_LE),
        ({"[]": 4.0}, NO_LE),
        ({"{": 4.0}, NO_LE),
        ({json.dumps({"pod": "a"}): 4.0}, NO_LE),
        ({labels("many"): 4.0}, NO_LE),
        ({labels("NaN"): 4.0}, NO_LE),
        ({json.dumps({"le": None}): 4.0}, NO_LE),
        ({labels(0.1): 4.0}, NO_END),
        ({labels("+Inf"): 4.0}, NO_COMMON),
        ({labels("-Inf"): 1.0, labels(0): 1.0, labels("+Inf"): 4.0}, NO_COMMON),
        (
            {labels(le, pod=pod): 1.0 for pod, le in (("a", 1), ("a", "+Inf"), ("b", 2), ("b", "+Inf"))},
            NO_COMMON,
        ),
        ({labels(le): 1.0 for le in (*range(1, MOST + 2), "+Inf")}, TOO_MANY),
    ],
)
def test_what_is_no_histogram_is_said(series: dict[str, float], said: str) -> None:
    found = read(series)
    assert (dict(found.families), found.problem) == ({}, said)


def test_only_what_came_between_two_looks_counts() -> None:
    seen = after({"a": family(10, 20, 30)}, {"a": family(11, 23, 36)})
    assert (seen.timed.times, seen.timed.bounds, seen.timed.since) == ({0: 1, 1: 2, 2: 3}, (0.1, 0.5), 1000)


def test_each_histogram_begins_again_as_a_whole() -> None:
    first = {"a": family(10, 20, 30), "b": family(0, 0, 5)}
    assert after(first, {"a": family(2, 21, 22), "b": family(0, 1, 7)}).timed.times == {0: 2, 1: 20, 2: 2}


def test_a_new_pod_begins_at_zero_and_one_that_is_gone_for_a_while_goes_on() -> None:
    looks = (
        {"a": family(10, 20, 30)},
        {"b": family(1, 1, 1)},
        {"a": family(10, 20, 34), "b": family(1, 1, 1)},
    )
    assert after(*looks).timed.times == {0: 1, 2: 4}


def test_buckets_that_do_not_add_up_take_nothing_away() -> None:
    seen = after({"a": family(0, 0, 0)}, {"a": family(5, 3, 4)})
    assert seen.timed.times == {0: 5}


def test_parts_of_an_answer_add_up_over_the_looks() -> None:
    seen = after(*({"a": family(0.4 * n, 0.4 * n, 0.4 * n)} for n in range(6)))
    assert seen.timed.times == {0: 2}


def test_histograms_with_other_bounds_are_taken_by_those_that_they_share() -> None:
    fine = {0.1: 0.0, 0.2: 0.0, 0.5: 0.0, math.inf: 0.0}
    seen = after(
        {"a": family(0, 0, 0), "b": fine},
        {"a": family(1, 1, 1), "b": {0.1: 0.0, 0.2: 1.0, 0.5: 1.0, math.inf: 1.0}},
    )
    assert (seen.timed.bounds, seen.timed.times) == ((0.1, 0.5), {0: 1, 1: 1})
    again = looked(seen, {"b": fine}, 120.0, 2000.0)
    assert (again.timed.bounds, again.timed.times, again.timed.since) == ((0.1, 0.2, 0.5), {}, 2000)


def test_after_a_long_gap_it_begins_again() -> None:
    looks = ({"a": family(1, 1, 1)}, {"a": family(9, 9, 9)})
    assert after(*looks, every=FRESH).timed.times == {0: 8}
    assert after(*looks, every=FRESH + 1).timed.times == {}


def test_a_thousand_pods_are_added_up() -> None:
    looks = [{str(pod): family(n, 2 * n, 3 * n) for pod in range(1000)} for n in range(2)]
    assert after(*looks).timed.times == {0: 1000, 1: 1000, 2: 1000}


def test_a_slot_that_has_answered_nothing_yet_begins_at_zero() -> None:
    seen = after({}, {"a": family(1, 2, 3)})
    assert (seen.timed.times, seen.timed.bounds) == ({0: 1, 1: 1, 2: 1}, (0.1, 0.5))
    gone = looked(seen, {}, 120.0, 2000.0)
    assert gone.timed == seen.timed
    assert looked(gone, {"a": family(1, 2, 4)}, 180.0, 2001.0).timed.times == {0: 1, 1: 1, 2: 2}


def test_one_that_comes_back_after_the_bounds_have_changed_is_not_counted_whole() -> None:
    fine = {0.1: 0.0, 0.2: 0.0, 0.5: 0.0, math.inf: 0.0}
    looks = ({"a": family(10, 20, 30)}, {"b": fine}, {"a": family(10, 20, 30), "b": fine})
    assert after(*looks, {"a": family(10, 20, 31), "b": fine}).timed.times == {2: 1}
