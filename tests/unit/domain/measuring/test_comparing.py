"""What made a run slower or faster than usual."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.domain.measuring.comparing import ENOUGH, comparable, compare, worked
from pipeline.domain.run import Check, Kind, Outcome, Run, State, StepResult
from tests.support.records import run

MISSED = {
    "line": 7,
    "text": "COPY needs.txt .",
    "seconds": 90.0,
    "why": "needs.txt changed in 26c2848 “bump”",
}


def went(number: int, build: float = 10.0, start: float = 5.0, **changes: Any) -> Run:
    """One each 1000 s, all its time spent in two steps."""
    at, missed = 1000.0 * number, changes.pop("missed", None)
    data = {"bases": {}} | ({"missed": missed} if missed else {})
    steps = (
        StepResult("build", "build", at, build, detail="9 steps, 4 cached", data=data),
        StepResult("live", "start", at + build, start),
    )
    values = {"stages": ("build", "live"), "accepted": at, "started": at, "ended": at + build + start}
    return replace(
        run(number=number, steps=steps, state=State.ENDED, outcome=Outcome.LIVE, **values), **changes
    )


def before(count: int = ENOUGH, **changes: Any) -> list[Run]:
    """Newest first."""
    return [went(n, **changes) for n in range(count, 0, -1)]


def test_a_slower_build_is_named_with_the_line_that_missed() -> None:
    found = compare(went(9, build=98.0, missed=MISSED), before())
    assert found is not None
    assert found.text == (
        "push → live 1:43, 1:28 slower than usual (median of 5 runs: 15.00s): build/build 1:28 slower: its cache "
        "missed from Dockerfile line 7 `COPY needs.txt .` on: needs.txt changed in 26c2848 “bump”"
    )
    (step,) = found.steps
    assert (step.stage, step.step, step.seconds, step.usual) == ("build", "build", 98.0, 10.0)


def test_a_faster_run_is_said_as_well() -> None:
    found = compare(went(9, build=2.0), before(build=60.0))
    assert found is not None
    assert "58.00s faster than usual" in found.text
    assert found.text.endswith("build/build 58.00s faster: 9 steps, 4 cached")


@pytest.mark.parametrize("count", range(ENOUGH))
def test_nothing_is_said_with_too_few_runs(count: int) -> None:
    assert compare(went(9, build=500.0), before(count)) is None


@pytest.mark.parametrize("build", [10.0, 11.9, 12.9, 8.0])
def test_a_small_difference_is_silent(build: float) -> None:
    assert compare(went(9, build=build), before()) is None


def test_seconds_that_always_vary_are_silent() -> None:
    others = [went(n, build=10.0 + 20.0 * (n % 4)) for n in range(20, 0, -1)]
    assert compare(went(30, build=85.0), others) is None
    assert compare(went(30, build=400.0), others) is not None


def test_one_outlier_does_not_change_what_is_usual() -> None:
    found = compare(went(9, build=40.0), [went(6, build=5000.0), *before()])
    assert found is not None
    assert found.usual == 15.0


def test_a_line_that_mostly_misses_is_not_the_reason() -> None:
    found = compare(went(9, build=98.0, missed=MISSED), before(missed=MISSED))
    assert found is not None
    assert found.steps[0].why == ""
    earlier = MISSED | {"line": 2}
    assert compare(went(9, build=98.0, missed=earlier), before(missed=MISSED)).steps[0].why  # type: ignore[union-attr]


def test_waits_for_people_runs_and_watching_never_count() -> None:
    plain = went(9)
    waited = replace(plain, ended=plain.ended + 5000.0, human=3000.0, queued=2000.0, started=plain.started)
    late = replace(plain, accepted=plain.accepted - 900.0)
    watched = replace(
        plain,
        steps=(*plain.steps, StepResult("live", "shift", 0.0, 600.0), StepResult("live", "bake", 0.0, 60.0)),
        ended=plain.ended + 660.0,
    )
    for one in (waited, late, watched):
        assert worked(one) == pytest.approx(15.0)
        assert compare(one, before()) is None


def test_the_time_between_the_steps_is_named_as_such() -> None:
    plain = went(9)
    found = compare(replace(plain, ended=plain.ended + 60.0), before())
    assert found is not None
    assert found.text.endswith(": the time between the steps 1:00 slower")
    assert (found.steps[0].stage, found.steps[0].step) == ("", "")


def test_no_step_is_blamed_for_what_many_steps_share() -> None:
    def many(number: int, each: float) -> Run:
        steps = tuple(StepResult("live", f"s{n}", 0.0, each) for n in range(10))
        return replace(went(number), steps=steps, ended=1000.0 * number + 10 * each)

    found = compare(many(9, 3.0), [many(n, 1.0) for n in range(5, 0, -1)])
    assert found is not None
    assert found.steps == ()
    assert found.text.endswith("; no single step accounts for it")


def test_a_step_that_was_quicker_is_not_blamed_for_a_slow_run() -> None:
    found = compare(went(9, build=60.0, start=0.5), before())
    assert found is not None
    assert [one.step for one in found.steps] == ["build"]


def test_a_check_that_needed_attempts_is_the_reason_of_a_slow_smoke() -> None:
    plain = went(9)
    steps = (*plain.steps, StepResult("live", "smoke", 0.0, 30.0))
    checks = {"live": (Check("GET /", True, "200", 0.1), Check("GET /slow", True, "200", 29.0, attempts=12))}
    found = compare(replace(plain, steps=steps, checks=checks, ended=plain.ended + 30), before())
    assert found is not None
    assert found.steps[0].why == "GET /slow needed 12 attempts"


def test_only_runs_of_the_same_way_are_comparable() -> None:
    others = [
        went(8, kind=Kind.DEPLOY),
        went(7, stages=("build", "dev", "live")),
        went(6, outcome=Outcome.FAILED),
        went(5, from_release=3),
        went(4, kind=Kind.REVERT),
        replace(went(3), steps=(StepResult("build", "build", 0.0, 0.1, detail="reused"),)),
        went(20),
        went(2),
    ]
    assert [one.number for one in comparable(went(9), others)] == [8, 2]
    assert [one.number for one in comparable(went(9, kind=Kind.REVERT), others)] == [4]


def test_a_damaged_or_empty_record_does_no_harm() -> None:
    empty = replace(went(9), steps=(), ended=0.0, started=0.0, accepted=5.0)
    assert worked(empty) == 0.0
    assert compare(empty, before()) is not None  # it took no time at all
