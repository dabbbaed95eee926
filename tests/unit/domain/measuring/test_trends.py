"""What grows, and when it will break a budget."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from pipeline.config.models import Budget
from pipeline.domain.measuring import trends
from pipeline.domain.measuring.trends import DAY, ENOUGH, WEEK, Forecast, Foretold
from pipeline.domain.run import Kind, Outcome, Run, State, StepResult
from tests.support.records import run

STAGES = ("build", "live")


def went(number: int, start: float, *, build: float = 20.0, every: float = DAY) -> Run:
    at = every * number
    steps = (StepResult("build", "build", at, build), StepResult("live", "start", at + build, start))
    return run(
        number=number, steps=steps, state=State.ENDED, outcome=Outcome.LIVE, stages=STAGES, accepted=at, started=at,
        image_ready=at + build, ended=at + build + start,
    )  # fmt: skip


def many(count: int, start: Callable[[int], float], every: float = DAY) -> list[Run]:
    return [went(n, start(n), every=every) for n in range(count)]


def foretold(runs: list[Run], budget: Budget | None = None) -> list[Forecast]:
    known = trends.watched(runs, STAGES)
    return trends.forecasts(known, budget or Budget(), runs[-1].ended)


def test_a_step_that_grows_is_named_with_the_week_in_which_the_budget_breaks() -> None:
    runs = many(40, lambda n: 278.0 + n * 2 / 7)
    (one,) = foretold(runs)
    assert (one.budget, one.limit, one.stage, one.step, one.runs) == ("deploy", 300.0, "live", "start", 40)
    assert one.per_week == pytest.approx(2.0, rel=0.01)
    assert one.level == pytest.approx(289.1, abs=0.2)
    weeks = (one.at - runs[-1].ended) / WEEK
    assert weeks == pytest.approx((300 - one.level) / 2, rel=0.02)


def test_the_sentence() -> None:
    one = Forecast("whole", 600.0, 590.0, 3.0, 3 * WEEK, 40, "live", "start", 2.0)
    assert trends.text(one, 0.0) == (
        "live/start grows by 2.00s a week; with it push → live passes the budget of 10:00 in about 3 weeks (by 40 runs)"
    )
    assert trends.text(replace(one, stage="", step="", budget="deploy"), 2.9 * WEEK) == (
        "image ready → live grows by 3.00s a week and passes the budget of 10:00 any day now (by 40 runs)"
    )
    assert "in about 5 days" in trends.text(one, 3 * WEEK - 5 * DAY)


def test_a_build_that_grows_is_no_reason_for_the_deploy_budget() -> None:
    runs = [went(n, 20.0, build=500.0 + 2 * n) for n in range(40)]
    (one,) = foretold(runs)
    assert (one.budget, one.stage, one.step) == ("whole", "build", "build")


@pytest.mark.parametrize(
    ("what", "start"),
    [
        ("flat", lambda n: 290.0),
        ("falling", lambda n: 299.0 - n),
        ("a jump in the middle", lambda n: 200.0 if n < 20 else 290.0),
        ("a jump early", lambda n: 200.0 if n < 8 else 290.0),
        ("one outlier", lambda n: 290.0 if n != 39 else 9000.0),
        ("waves", lambda n: 250.0 + 40.0 * (n % 4)),
        ("too slow to matter", lambda n: 290.0 + n * 0.01),
        ("far from the budget", lambda n: 10.0 + n * 0.2),
        ("already over it", lambda n: 301.0 + n),
    ],
)
def test_silence(what: str, start: Callable[[int], float]) -> None:
    assert foretold(many(40, start)) == [], what


def test_too_few_runs_and_too_short_a_time_say_nothing() -> None:
    assert foretold(many(ENOUGH - 1, lambda n: 270.0 + n)) == []
    assert foretold(many(40, lambda n: 270.0 + n / 2, every=600.0)) == []  # a busy afternoon
    assert foretold(many(ENOUGH, lambda n: 270.0 + n))


def test_noise_raises_few_false_alarms_and_hides_no_growth() -> None:
    said = found = 0
    for seed in range(100):
        chance = random.Random(seed)
        said += bool(foretold(many(40, lambda n, c=chance: 290.0 + c.gauss(0, 4))))  # type: ignore[misc]
        grown = many(40, lambda n, c=chance: 270.0 + n * 0.5 + c.gauss(0, 4))  # type: ignore[misc]
        found += bool(foretold(grown))
    assert said <= 1
    assert found >= 85


def test_reverts_failures_and_other_ways_are_left_out() -> None:
    runs = many(40, lambda n: 270.0 + n / 2)
    for changes in ({"kind": Kind.REVERT}, {"outcome": Outcome.FAILED}, {"stages": ("live",)}):
        assert foretold([replace(one, **changes) for one in runs]) == []  # type: ignore[arg-type]


def test_waiting_for_people_is_no_growth() -> None:
    runs = [
        replace(one, human=10.0 * n, ended=one.ended + 10.0 * n)
        for n, one in enumerate(many(40, lambda n: 290.0))
    ]
    assert foretold(runs) == []


def test_only_the_newest_runs_count() -> None:
    runs = many(200, lambda n: 250.0 + n * 0.2 if n < 130 else 276.0)
    assert foretold(runs) == []
    assert len(trends.watched(runs, STAGES)) == trends.RUNS


def test_growth_is_listed_for_stages_and_steps() -> None:
    found = trends.growing(trends.watched(many(20, lambda n: 5.0 + n), STAGES))
    assert {(one.stage, one.step) for one in found} == {("live", ""), ("live", "start")}
    assert found[0].per_week == pytest.approx(7.0, rel=0.01)


def test_nothing_is_said_of_nothing() -> None:
    assert trends.growing([]) == []
    assert trends.forecasts([], Budget(), 0.0) == []
    assert trends.slope([(1.0, 1.0)] * 20) is None


def test_receivers_are_told_once_and_again_after_a_month_without() -> None:
    one = Forecast("deploy", 300.0, 290.0, 3.0, 3 * WEEK, 40)
    kept, fresh = trends.renewed(Foretold(), [one], 0.0)
    assert (kept.forecasts, fresh) == ((one,), (one,))
    kept, fresh = trends.renewed(kept, [one, replace(one, budget="whole")], WEEK)
    assert [each.budget for each in fresh] == ["whole"]
    kept, fresh = trends.renewed(kept, [], 2 * WEEK)
    assert (kept.forecasts, fresh) == ((), ())
    kept, fresh = trends.renewed(kept, [one], 4 * WEEK)
    assert fresh == ()
    for week in range(5, 12):
        kept, fresh = trends.renewed(kept, [one], week * WEEK)
        assert fresh == ()
    assert trends.renewed(kept, [one], 16 * WEEK)[1] == (one,)
