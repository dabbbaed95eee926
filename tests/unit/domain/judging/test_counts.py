from __future__ import annotations

from pipeline.domain.engine_types import Answered
from pipeline.domain.judging import judgement
from pipeline.domain.judging.counts import KEPT, Counted, compared, counted, read, total
from pipeline.domain.judging.verdict import Verdict
from pipeline.lib import codec


def watched(looks: list[Answered], found: Counted | None = None, run: int = 1, at: float = 6000.0) -> Counted:
    """One look each 15 s at release ``run``."""
    found = found or Counted()
    for number, seen in enumerate(looks):
        now = at + 15 * number
        found = judgement.judged(counted(found, run, run, seen, now), now)
    return found


def steady(requests: int, errors: int, looks: int, first: int = 0) -> list[Answered]:
    return [Answered(first + requests * n, errors * n) for n in range(looks)]


def test_what_was_answered_before_the_first_look_were_checks() -> None:
    found = watched([Answered(7, 1), Answered(17, 1), Answered(20, 2)])
    assert total(found.minutes) == Answered(13, 1)
    assert len(found.minutes) == 1


def test_a_proxy_that_starts_again_counts_from_zero() -> None:
    assert total(watched([Answered(0, 0), Answered(100, 5), Answered(3, 1)]).minutes) == Answered(103, 6)


def test_looks_without_requests_leave_no_minute() -> None:
    assert watched([Answered(5, 0)] * 50).minutes == ()


def test_minutes_are_kept_for_two_hours() -> None:
    assert len(watched(steady(10, 0, 4 * 60 * 5)).minutes) == KEPT


def test_a_release_is_compared_with_the_last_hour_of_the_one_before_it() -> None:
    found = watched(steady(100, 1, 4 * 90))
    found = watched(steady(100, 2, 4 * 30, first=10_000), found, run=2, at=6000 + 90 * 60)
    new, before = compared(found)
    assert {one.release for one in new} == {2}
    assert {one.release for one in before} == {1}
    assert len(before) == 60
    assert found.judged is not None
    assert (found.judged.verdict, found.judged.before) == (Verdict.WORSE, 1)
    assert judgement.text(found).endswith(" requests, worse than r1 (1 %)")


def test_the_judgement_stays_after_its_hour() -> None:
    found = watched(steady(300, 3, 4 * 60))
    found = watched(steady(300, 3, 4 * 200), found, run=2, at=6000 + 60 * 60)
    assert found.judged is not None
    assert found.judged.verdict is Verdict.NO_WORSE
    assert found.judged.new.requests <= 300 * 4 * 61


def test_what_is_said_of_little_traffic() -> None:
    assert judgement.text(watched([])) == ""
    alone = watched(steady(10, 0, 9))
    assert judgement.text(alone) == "errors 0 % of 80 requests; nothing to compare with"
    found = watched([Answered(0, 0), Answered(12, 1)], watched(steady(100, 1, 4 * 60)), run=2, at=9600)
    assert judgement.text(found).startswith(
        "errors 8.3 % of 12 requests; not enough traffic to judge: about "
    )
    found = watched([Answered(0, 0), Answered(900, 90)], watched(steady(100, 1, 4 * 60)), run=2, at=9600)
    assert judgement.text(found) == (
        "errors 10 % of 900 requests; not enough traffic to judge: errors in a single minute so far, and it takes 3"
    )


def test_what_is_not_ours_is_counted_anew() -> None:
    found = watched(steady(10, 1, 9))
    assert read(codec.dump(found)) == found
    assert read("") == read("{") == read('{"minutes": 3}') == Counted()


def test_the_last_three_releases_are_told_apart_and_one_that_serves_again_goes_on() -> None:
    found = Counted()
    for number, run in enumerate((1, 2, 3, 4, 2)):
        found = watched(steady(10 * run, 1, 3), found, run, 6000.0 + 600 * number)
    assert found.releases == {3: Answered(60, 2), 4: Answered(80, 2), 2: Answered(80, 4)}
    assert list(found.releases) == [3, 4, 2]
    assert found.whole == Answered(10 * 2 * 12, 10)


def test_releases_of_a_version_that_told_none_apart_begin_at_zero() -> None:
    before = read('{"release": 1, "run": 1, "since": 6000.0, "whole": {"requests": 9, "errors": 0}}')
    found = counted(before, 1, 1, Answered(5, 1), 6015.0)
    assert (found.releases, found.whole) == ({1: Answered(5, 1)}, Answered(14, 1))
