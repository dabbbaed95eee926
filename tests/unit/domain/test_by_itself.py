"""Which release takes the place of one that is taken back by itself."""

from __future__ import annotations

from dataclasses import replace

from pipeline.domain import slots
from pipeline.domain.environment import Bake, BakeOutcome, Down, Environment, SlotState, Trial
from pipeline.domain.going_back import by_itself
from tests.support.records import environment, release, run, slot


def there(two: BakeOutcome, switched: float) -> Environment:
    """r1 was baked; the bake of r2 ended so; r3 took its place then, and serves."""
    place = environment(active="blue", slots={"blue": slot(3, SlotState.SERVING)})
    for number in (1, 2, 3):
        place = slots.verified(place, release(number, f"sha256:{number}"), run(number))
    bakes = (
        Bake(1, 1, 0.0, 60.0, "revert", outcome=BakeOutcome.BAKED),
        Bake(2, 2, 1000.0, 60.0, "revert", outcome=two, reason="bad", ended=1010.0),
        Bake(3, 3, switched, 60.0, "revert"),
    )
    return replace(place, bakes=bakes)


def lasting(place: Environment, seconds: float) -> Environment:
    return replace(place, bakes=tuple(replace(one, lasts=seconds) for one in place.bakes))


def test_one_whose_watch_was_cut_short_comes_last_unless_it_served_long_enough() -> None:
    assert by_itself.targets(there(BakeOutcome.SUPERSEDED, 1059.0)) == (1, 2)
    assert by_itself.targets(there(BakeOutcome.SUPERSEDED, 1060.0)) == (2, 1)
    assert by_itself.targets(there(BakeOutcome.BAKED, 1060.0)) == (2, 1)
    assert by_itself.targets(there(BakeOutcome.FAILED, 1069.0)) == (1, 2)
    assert by_itself.targets(there(BakeOutcome.FAILED, 1070.0)) == (2, 1)
    assert by_itself.targets(replace(there(BakeOutcome.BAKED, 1060.0), bakes=())) == (2, 1)


def test_one_that_worked_for_a_minute_is_not_passed_over_however_long_its_bake_would_have_been() -> None:
    assert by_itself.targets(lasting(there(BakeOutcome.SUPERSEDED, 1060.0), 1800.0)) == (2, 1)
    assert by_itself.targets(lasting(there(BakeOutcome.SUPERSEDED, 1059.0), 1800.0)) == (1, 2)
    assert by_itself.targets(lasting(there(BakeOutcome.SUPERSEDED, 1020.0), 20.0)) == (2, 1)
    assert by_itself.targets(lasting(there(BakeOutcome.FAILED, 1100.0), 1800.0)) == (1, 2)


def test_who_would_take_back_what_serves() -> None:
    place = there(BakeOutcome.BAKED, 1060.0)
    assert by_itself.watched_by(place) == "bake"
    over = replace(place, bakes=())
    assert by_itself.watched_by(over) == ""
    assert by_itself.watched_by(replace(over, trials=(Trial(3, 3, 0.0, "act", "revert"),))) == "judge"
    for trial in (
        Trial(3, 3, 0.0, "act", "hold"),
        Trial(3, 3, 0.0, "observe", "revert"),
        Trial(3, 3, 0.0, "act", "revert", left="a person looks"),
        Trial(2, 2, 0.0, "act", "revert"),
    ):
        assert by_itself.watched_by(replace(over, trials=(trial,))) == ""


def test_one_that_did_not_work_last_is_no_target() -> None:
    place = there(BakeOutcome.BAKED, 1060.0)
    assert by_itself.targets(replace(place, failed={2: Down(2, 0.0, "bad")})) == (1,)


def test_what_was_passed_over_is_remembered() -> None:
    place = there(BakeOutcome.SUPERSEDED, 1020.0)
    marked = by_itself.with_passed_over(place, place, 1, 1100.0)
    said = "it served for 20 s, and was not watched to the end"
    assert marked.failed == {2: Down(2, 1100.0, said)}
    assert (slots.revert_target(place), slots.revert_target(marked)) == (2, 1)
    assert by_itself.with_passed_over(place, place, 2, 1100.0).failed == {}
