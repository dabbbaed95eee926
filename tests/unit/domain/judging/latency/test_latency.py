from __future__ import annotations

import pytest

from pipeline.domain.judging.counts import KEPT, MINUTE, compared
from pipeline.domain.judging.latency import judgement, rule
from pipeline.domain.judging.latency.counts import (
    WARM,
    Latency,
    Minute,
    Timings,
    read,
    timed,
)
from pipeline.domain.judging.latency.times import Timed, bucket_of
from pipeline.domain.judging.verdict import Verdict
from pipeline.lib import codec

FAST, SLOW = bucket_of(0.040), bucket_of(0.200)
USUAL = {bucket_of(0.030): 90, FAST: 400, bucket_of(0.060): 70, SLOW: 40}  # in a minute; p95 is 200 ms
WORSE = {bucket_of(0.060): 90, bucket_of(0.080): 400, bucket_of(0.120): 70, bucket_of(0.400): 40}
SHORT = {one: count // 30 for one, count in USUAL.items()}


class Watched:
    """A look each minute; the proxy counts on."""

    def __init__(self) -> None:
        self.now, self.found, self.counted = 6000.0, Timings(), dict[int, int]()

    def serve(self, release: int, minutes: int, times: dict[int, int]) -> Watched:
        return self.look(release, minutes + int(WARM / MINUTE) + 1, times)

    def look(self, release: int, often: int, times: dict[int, int]) -> Watched:
        for _ in range(often):
            found = timed(self.found, release, release, Timed(1, dict(self.counted)), self.now)
            self.found = judgement.judged(found, self.now)
            self.counted = {one: self.counted.get(one, 0) + count for one, count in times.items()} | {
                one: count for one, count in self.counted.items() if one not in times
            }
            self.now += MINUTE
        return self

    @property
    def verdict(self) -> Verdict | None:
        return self.found.judged.verdict if self.found.judged else None


def test_what_was_in_the_slot_before_and_the_first_minutes_are_left_out() -> None:
    one = Watched()
    one.counted = {FAST: 1000}
    one.serve(1, 1, {FAST: 7})
    assert [minute.times for minute in one.found.minutes] == [{FAST: 7}, {FAST: 7}]


def test_two_looks_in_one_minute_are_one_minute() -> None:
    found = Timings(1, 1, 0.0, Timed(1, {}))
    found = timed(found, 1, 1, Timed(1, {FAST: 3}), 600.0)
    found = timed(found, 1, 1, Timed(1, {FAST: 5, SLOW: 1}), 615.0)
    assert found.minutes == (Minute(600.0, 1, 1, {FAST: 5, SLOW: 1}),)


def test_minutes_are_kept_for_two_hours() -> None:
    assert len(Watched().serve(1, 300, USUAL).found.minutes) == KEPT


def test_a_release_that_takes_twice_as_long_is_worse() -> None:
    one = Watched().serve(1, 60, USUAL).serve(2, 30, WORSE)
    assert one.verdict is Verdict.WORSE
    assert one.found.judged is not None
    assert (one.found.judged.before, one.found.judged.slower) == (1, ("p50", "p95"))
    assert judgement.text(one.found).endswith(" answers, worse than r1 (41 ms and 205 ms)")
    one.serve(2, 200, SHORT)
    assert one.verdict is Verdict.WORSE


def test_a_release_that_takes_as_long_is_no_worse() -> None:
    one = Watched().serve(1, 60, USUAL).serve(2, 30, USUAL)
    assert one.verdict is Verdict.NO_WORSE
    assert "no worse than r1" in judgement.text(one.found)


def test_a_few_milliseconds_are_not_worse() -> None:
    short, longer = {bucket_of(0.002): 600}, {bucket_of(0.004): 600}
    assert Watched().serve(1, 60, short).serve(2, 30, longer).verdict is Verdict.NO_WORSE


def test_little_traffic_is_not_judged() -> None:
    one = Watched().serve(1, 60, USUAL).serve(2, 10, SHORT)
    assert one.verdict is Verdict.TOO_FEW
    assert "; not enough traffic to judge: about " in judgement.text(one.found)


@pytest.mark.parametrize("minutes", [0, rule.SHORTEST - 3])
def test_without_enough_of_the_release_before_there_is_nothing_to_compare_with(minutes: int) -> None:
    one = Watched()
    if minutes:
        one.serve(1, minutes, USUAL)
    one.serve(2, 30, USUAL)
    assert one.verdict is Verdict.NOTHING_BEFORE
    assert judgement.text(one.found).endswith("; nothing to compare with")


def test_one_slow_minute_decides_nothing() -> None:
    one = Watched().serve(1, 60, USUAL).serve(2, 8, USUAL).look(2, 1, {bucket_of(2.0): 6000})
    one.look(2, 1, {})
    assert one.found.judged is not None
    assert one.found.judged.new.p95 > 1
    assert one.verdict is not Verdict.WORSE


def test_requests_that_wait_for_an_event_are_not_slow() -> None:
    """Every tenth is a long poll: p95 says nothing."""
    polls = {FAST: 540, bucket_of(25.0): 60}
    longer = {FAST: 540, bucket_of(50.0): 60}
    assert Watched().serve(1, 60, polls).serve(2, 30, longer).verdict is Verdict.NO_WORSE
    assert (
        Watched().serve(1, 60, {bucket_of(25.0): 600}).serve(2, 30, polls).verdict is Verdict.NOTHING_BEFORE
    )


def test_the_last_hour_of_the_release_before_is_compared() -> None:
    one = Watched().serve(1, 90, USUAL).serve(2, 10, USUAL)
    new, before = compared(one.found)
    assert ({each.release for each in new}, {each.release for each in before}) == ({2}, {1})
    assert len(before) == 60


def test_the_judgement_stays_after_its_hour() -> None:
    one = Watched().serve(1, 60, USUAL).serve(2, 63, USUAL)
    known = one.found.judged
    assert one.serve(2, 30, WORSE).found.judged == known


def test_for_programs_there_is_what_is_known_of_that_release_alone() -> None:
    found = Watched().serve(1, 60, USUAL).serve(2, 30, USUAL).found
    shown = judgement.plain(found, 2, 2)
    assert shown is not None
    assert (shown["verdict"], shown["before"]["release"], shown["slower"]) == ("no worse", 1, [])
    assert 0.19 < shown["p95"] < 0.24
    assert judgement.plain(found, 3, 3) is judgement.plain(Timings(), 0, 0) is None


def test_what_is_not_ours_is_measured_again() -> None:
    found = Watched().serve(1, 5, USUAL).found
    assert read(codec.dump(found)) == found
    assert read("") == read("{") == read('{"minutes": 3}') == Timings()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0004, "0.4 ms"), (0.0123, "12 ms"), (0.99951, "1.0 s"), (0.9994, "999 ms"), (61.0, "61.0 s")],
)
def test_times_for_people(seconds: float, said: str) -> None:
    assert judgement.milliseconds(seconds) == said
    assert judgement.shown(Latency(1, seconds, seconds), ("p50",)) == f"p50 {said}"


def test_the_times_of_the_last_three_releases_are_told_apart() -> None:
    one = Watched()
    for release in (1, 2, 3, 4):
        one.serve(release, 1, {FAST: release})
    assert one.found.releases == {2: {FAST: 4}, 3: {FAST: 6}, 4: {FAST: 8}}
    assert read(codec.dump(one.found)) == one.found
