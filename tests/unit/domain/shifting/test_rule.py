"""How a shift goes on, and when it goes back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pipeline.domain.environment import Environment, SlotRecord, SlotState
from pipeline.domain.health import Health, Seen
from pipeline.domain.shifting import rule
from pipeline.domain.shifting.records import Count, Shift
from pipeline.domain.shifting.stretches import MOST, stretch

BEGAN = 1000.0
WELL = (Seen("live-1", True),)


def shift(steps: tuple[float, ...] = (5.0, 25.0), lasts: float = 300.0, enough: int = 0) -> Shift:
    return Shift("green", 2, 7, 1, steps, lasts, enough, BEGAN)


def visited(
    found: Shift, seconds: int, *, rate: float, new: float, old: float, draw: random.Random
) -> Iterator[Shift]:
    """After each second. ``new``, ``old``: the share of errors of each."""
    counts = {True: Count(), False: Count()}
    for second in range(seconds):
        for _ in range(int(rate)):
            mine = draw.random() * 100 < found.percent
            wrong = draw.random() < (new if mine else old)
            count = counts[mine]
            counts[mine] = Count(count.requests + 1, count.errors + wrong)
        found = rule.looked(found, counts[True], counts[False], WELL, BEGAN + second)
        yield found


def test_time_in_which_no_one_looked_does_not_count() -> None:
    found = rule.looked(shift(), Count(), Count(), WELL, BEGAN)
    for now in (BEGAN + 5, BEGAN + 5000, BEGAN + 5003, BEGAN - 900, BEGAN - 899):
        found = rule.looked(found, Count(), Count(), WELL, now)
    assert (found.passed, found.watched) == (5 + 3 + 1, 9)


def test_a_step_ends_with_its_time_or_with_enough_requests() -> None:
    found = rule.looked(shift(), Count(), Count(), WELL, BEGAN)
    assert not rule.is_over(replace(found, passed=299.9))
    assert rule.is_over(replace(found, passed=300.0))
    found = rule.looked(shift(enough=100), Count(99, 0), Count(5000, 0), WELL, BEGAN)
    assert not rule.is_over(found)
    found = rule.looked(found, Count(100, 0), Count(5000, 0), WELL, BEGAN + 1)
    assert rule.is_over(found)
    assert not rule.is_over(rule.next_step(found))  # of that step, not of the whole


def test_a_fault_that_has_just_begun_is_waited_for() -> None:
    sick = (Seen("live-1", False, "it is not well"),)
    found = rule.looked(replace(shift(), passed=300.0), Count(), Count(), sick, BEGAN)
    assert not rule.is_over(found)
    assert rule.fault(found) == ""
    assert rule.fault(rule.looked(found, Count(), Count(), sick, BEGAN + 8)) == "it is not well"


def after(found: Shift, now: float, new: Count, old: Count, restarts: int = 0) -> Shift:
    return rule.looked(found, new, old, (Seen("live-1", True, restarts=restarts),), now)


def test_a_step_does_not_end_soon_after_a_restart() -> None:
    found = after(shift(lasts=20.0), BEGAN, Count(), Count())
    for second in range(1, 50):
        found = after(found, BEGAN + second, Count(), Count(), restarts=int(second >= 15))
        assert rule.is_over(found) == (second >= 45)
        assert bool(rule.longer(found)) == (20 <= second < 45)
    assert rule.fault(found) == ""


def test_a_step_with_enough_requests_does_not_end_soon_after_a_restart_either() -> None:
    found = after(shift((30.0,), enough=10), BEGAN, Count(), Count())
    found = after(found, BEGAN + 5, Count(20, 0), Count(40, 0), restarts=1)
    assert not rule.is_over(found)
    assert rule.text(found).startswith(
        "30 % to r2 for 5s, and on since a container has restarted just now, then all"
    )


def test_a_step_whose_release_seems_worse_goes_on_until_that_is_certain() -> None:
    found = after(shift((30.0,), lasts=25.0), BEGAN, Count(), Count())
    for second in range(1, 26):
        found = after(found, BEGAN + second, Count(2 * second, 0), Count(4 * second, 0))
    assert rule.is_over(found)  # without errors
    found = after(found, BEGAN + 26, Count(67, 15), Count(104, 0))
    assert (rule.is_over(found), rule.fault(found)) == (False, "")  # one burst
    assert rule.longer(found) == "it seems to answer worse"
    assert rule.text(found).startswith(
        "30 % to r2 for 26s, longer than 25s since it seems to answer worse, then all: errors 22"
    )
    better = after(found, BEGAN + 27, Count(4067, 15), Count(9000, 30))
    assert rule.is_over(better)
    worse = after(shift((30.0,), lasts=25.0), BEGAN, Count(), Count())
    for second in range(1, 400):
        worse = after(worse, BEGAN + second, Count(second // 4, second // 8), Count(4 * second, 0))
        if 25 <= second < 325:
            assert (rule.is_over(worse), rule.fault(worse)) == (False, ""), second
    assert rule.fault(worse) == "it answers worse than r1"
    single = found
    for second in range(27, 330):
        single = after(single, BEGAN + second, Count(67, 15), Count(104 + second, 0))
    assert (rule.is_over(single), rule.fault(single)) == (True, "")


def test_what_a_warm_slot_went_through_before_is_no_fault() -> None:
    tired = (Seen("live-1", True, restarts=9, out_of_memory=True),)
    found = rule.looked(shift(), Count(), Count(), tired, BEGAN)
    assert rule.fault(found) == ""
    again = rule.looked(found, Count(), Count(), (replace(tired[0], restarts=10),), BEGAN + 1)
    assert rule.fault(again) == "live-1 ran out of memory and was killed"


def test_a_proxy_that_started_again_counts_from_zero() -> None:
    found = rule.looked(replace(shift(), seen=Count(50, 5)), Count(70, 6), Count(), WELL, BEGAN)
    found = rule.looked(found, Count(3, 1), Count(), WELL, BEGAN + 1)
    assert rule.counted(found)[0] == Count(23, 2)


@pytest.mark.parametrize(("steps", "lasts"), [((5.0,), 1.0), ((5.0, 25.0), 300.0), ((1.0,) * 10, 3600.0)])
def test_what_is_kept_is_bounded(steps: tuple[float, ...], lasts: float) -> None:
    one = shift(steps, lasts)
    assert stretch(one) >= 1.0
    assert lasts * len(steps) / stretch(one) <= MOST


@pytest.mark.long
def test_equal_releases_are_hardly_ever_called_worse_and_much_worse_ones_are() -> None:
    alarms, missed, trials = 0, 0, 60
    for trial in range(trials):
        draw = random.Random(trial)
        alarms += any(
            rule.fault(one) for one in visited(shift((25.0,)), 300, rate=40, new=0.02, old=0.02, draw=draw)
        )
        missed += not any(
            rule.fault(one) for one in visited(shift((25.0,)), 300, rate=40, new=0.08, old=0.02, draw=draw)
        )
    # With a level of 1 %, five of sixty come by chance once in two thousand times.
    assert alarms < 5
    assert missed < 4


def test_looking_more_often_makes_no_difference() -> None:
    draw = random.Random(7)
    looks = list(visited(shift((25.0,)), 300, rate=40, new=0.05, old=0.02, draw=draw))
    first = next(number for number, one in enumerate(looks) if rule.fault(one))
    assert all(rule.fault(one) for one in looks[first:])


def environment(state: SlotState = SlotState.STARTING, run: int = 7) -> Environment:
    slots = {"blue": SlotRecord(1, 6, SlotState.SERVING, 0.0), "green": SlotRecord(2, run, state, 0.0)}
    return Environment("hello", "live", 0, active="blue", slots=slots, shift=shift())


def test_a_share_is_wanted_only_for_the_slot_that_the_run_has() -> None:
    assert rule.wanted(environment()) == shift()
    assert rule.wanted(environment(SlotState.FAILED)) is None
    assert rule.wanted(environment(run=8)) is None
    assert rule.wanted(replace(environment(), active="green")) is None
    assert rule.wanted(replace(environment(), active=None)) is None
    assert rule.wanted(replace(environment(), shift=None)) is None
    assert rule.of_run(environment(), 7) == shift()
    assert rule.of_run(environment(), 8) is None


def test_a_clock_that_was_set_changes_nothing_else() -> None:
    found = replace(shift(), looked=BEGAN + 5, health=Health(2, 7, bad_since=BEGAN))
    moved = rule.moved(replace(environment(), shift=found), 3600.0).shift
    assert moved is not None
    assert (moved.since, moved.looked) == (BEGAN + 3600, BEGAN + 3605)
    assert moved.health is not None
    assert moved.health.bad_since == BEGAN + 3600
    assert rule.moved(replace(environment(), shift=None), 1.0).shift is None


def test_it_is_told_in_a_line() -> None:
    found = rule.looked(shift(), Count(), Count(), WELL, BEGAN)
    assert rule.text(found) == "5 % to r2 for 0s of 5m, then 25 %: no requests yet, beside 0 of r1"
    found = replace(rule.looked(found, Count(250, 1), Count(1000, 3), WELL, BEGAN + 1), passed=61.0)
    assert (
        rule.text(found)
        == "5 % to r2 for 61s of 5m, then 25 %: errors 0.4 % of 250 requests, beside 0.3 % of 1,000 of r1"
    )
    last = replace(rule.next_step(found), passed=10.0)
    assert rule.text(last).startswith("25 % to r2 for 10s of 5m, then all: in all steps, errors 0.4 % of 250")
    assert rule.text(rule.next_step(last)).startswith("25 % to r2: ")


def test_how_long_it_takes_at_the_longest() -> None:
    found = replace(shift(), passed=61.0)
    assert rule.left(found) == 539.0
    assert rule.left(rule.next_step(found)) == 300.0
    assert rule.left(rule.next_step(rule.next_step(found))) == 0.0
