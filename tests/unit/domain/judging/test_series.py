"""Counters of another program, as one."""

from __future__ import annotations

from pipeline.domain.engine_types import Answered
from pipeline.domain.judging.series import FRESH, Seen, Series, looked


def after(*looks: tuple[Series, Series], every: float = 15.0) -> Seen:
    seen = None
    for number, (requests, errors) in enumerate(looks):
        seen = looked(seen, requests, errors, number * every)
    assert seen is not None
    return seen


def test_what_was_counted_before_the_first_look_is_left_out() -> None:
    assert after(({"a": 1000.0}, {"a": 50.0})).whole == Answered(0, 0)


def test_all_series_are_added_up() -> None:
    first = ({"a": 1000.0, "b": 10.0}, {"a": 50.0})
    assert after(first, ({"a": 1030.0, "b": 15.0}, {"a": 52.0})).whole == Answered(35, 2)


def test_one_that_began_again_counts_from_zero_and_the_others_go_on() -> None:
    first = ({"a": 1000.0, "b": 500.0}, {})
    assert after(first, ({"a": 7.0, "b": 505.0}, {})).whole == Answered(12, 0)


def test_a_status_that_was_never_seen_before_begins_at_zero() -> None:
    assert after(({"ok": 10.0}, {}), ({"ok": 10.0, "500": 4.0}, {"500": 4.0})).whole == Answered(4, 4)


def test_one_that_was_not_scraped_for_a_while_goes_on_from_where_it_was() -> None:
    looks = (({"a": 1000.0}, {}), ({}, {}), ({}, {}), ({"a": 1005.0}, {}))
    assert after(*looks).whole == Answered(5, 0)


def test_after_a_long_gap_it_begins_again() -> None:
    looks = (({"a": 10.0}, {}), ({"a": 20.0}, {}), ({"a": 900.0}, {}))
    assert after(*looks[:2], every=FRESH).whole == Answered(10, 0)
    assert after(*looks, every=FRESH + 1).whole == Answered(0, 0)


def test_a_clock_that_went_back_begins_again() -> None:
    seen = looked(Seen(100.0, {"a": 1.0}), {"a": 9.0}, {}, 50.0)
    assert seen.whole == Answered(0, 0)
