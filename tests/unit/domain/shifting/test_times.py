"""How long the answers of both slots took while they share the traffic."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.domain.judging.latency.times import Timed, bucket_of
from pipeline.domain.shifting import times
from pipeline.domain.shifting.records import Shift
from pipeline.domain.shifting.times import Times
from pipeline.lib import codec

SHIFT = Shift("green", 2, 7, 1, (5.0, 25.0), 300.0, 0, 1000.0)  # cut into stretches of 30 s
FAST, SLOW = bucket_of(0.04), bucket_of(0.12)


def at(watched: float) -> Shift:
    return replace(SHIFT, watched=watched, step=int(watched // 300))


def timed(bucket: int, count: int) -> Timed:
    return Timed(1, {bucket: count})


def after(seconds: int, *, new: int = SLOW, old: int = FAST) -> Times:
    found: Times | None = None
    for watched in range(seconds + 1):
        if times.is_due(found, at(watched)):
            found = times.looked(found, at(watched), timed(new, 10 * watched), timed(old, 90 * watched))
    assert found is not None
    return found


def test_the_proxy_is_asked_once_in_a_stretch() -> None:
    found = after(95)
    assert not times.is_due(found, at(119))
    assert times.is_due(found, at(120))
    assert times.is_due(after(299), replace(at(299.5), step=1)), "the step is another one"


def test_the_first_two_minutes_are_left_out() -> None:
    assert after(149).stretches == ()
    assert [one.at for one in after(210).stretches] == [120.0, 150.0, 180.0]


def test_what_was_answered_before_is_not_counted() -> None:
    first = times.looked(None, at(0), timed(FAST, 5000), timed(FAST, 9000))
    found = times.looked(replace(first, at=150.0), at(180), timed(FAST, 5001), timed(FAST, 9002))
    assert [(one.new, one.old) for one in found.stretches] == [({FAST: 1}, {FAST: 2})]


def test_what_the_end_of_a_step_cuts_off_is_joined_again() -> None:
    found = after(150)
    found = times.looked(found, at(155), timed(SLOW, 1550), timed(FAST, 90 * 155))
    found = times.looked(found, at(180), timed(SLOW, 1800), timed(FAST, 90 * 180))
    assert [(one.at, one.new) for one in found.stretches] == [(120.0, {SLOW: 300}), (150.0, {SLOW: 300})]


def test_slower_is_found_and_the_same_is_not() -> None:
    assert times.is_slower(after(599), at(599))
    assert times.is_slower(after(300), at(300))
    assert not times.is_slower(after(599, new=FAST), at(599))
    assert not times.is_slower(after(210), at(210)), "fewer than five stretches say nothing"
    assert not times.is_slower(None, at(599))


def test_stretches_in_which_one_had_no_request_are_left_out() -> None:
    found = after(599)
    bare = replace(found, stretches=tuple(replace(one, old={}) for one in found.stretches))
    assert not times.is_slower(bare, at(599))
    assert times.text(bare, at(599)) == ""


def test_those_of_another_shift_are_not_taken_for_its_own() -> None:
    found = after(210)
    assert times.known(found, SHIFT) == found
    assert times.known(found, replace(SHIFT, since=2000.0)) is None
    assert times.known(found, replace(SHIFT, run=8)) is None
    assert times.known(None, SHIFT) is None


def test_it_is_told_beside_each_other() -> None:
    text = times.text(after(210), at(210))
    assert text.startswith("p50 1")
    assert ", beside 4" in text
    assert text.endswith(" ms of r1")
    assert times.text(after(100), at(100)) == ""
    assert times.text(after(599), at(599), 0) != ""


@pytest.mark.parametrize("text", ["", "junk", "[]", '{"run": "x"}'])
def test_what_cannot_be_read_is_counted_again(text: str) -> None:
    assert times.read(text) is None


def test_it_is_read_as_it_was_written() -> None:
    assert times.read(codec.dump(after(210))) == after(210)


def test_buckets_of_two_kinds_are_made_alike() -> None:
    new, old = Timed(1, {0: 1, 2: 4}, (0.1, 0.5)), Timed(1, {1: 3, 3: 2}, (0.1, 0.2, 0.5))
    assert times.comparable(new, old)
    first = times.looked(None, at(150), Timed(1, {}, (0.1, 0.5)), Timed(1, {}, (0.1, 0.2, 0.5)))
    found = times.looked(first, at(180), new, old)
    assert found.bounds == (0.1, 0.5)
    assert [(one.new, one.old) for one in found.stretches] == [({0: 1, 2: 4}, {1: 3, 2: 2})]
    again = times.looked(found, at(210), Timed(1, {}, (0.3,)), Timed(1, {}, (0.3,)))
    assert (again.stretches, again.bounds) == ((), (0.3,))
    assert times.read(codec.dump(found)) == found


def test_one_without_answers_fits_any_other_and_without_a_common_bound_nothing_does() -> None:
    new, old = Timed(1, {}, ()), Timed(1, {0: 4}, (0.5,))
    assert times.comparable(new, old)
    found = times.looked(None, at(0), new, old)
    assert (found.seen.bounds, found.seen_old.bounds) == ((0.5,), (0.5,))
    assert not times.comparable(Timed(1, {}, (0.1,)), old)
