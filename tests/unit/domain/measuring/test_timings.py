"""The figures over many runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.config.models import Budget
from pipeline.domain.measuring.timings import Slower, Spread, Timings, spread, timings
from pipeline.domain.run import Kind, Outcome, Run, State, StepResult
from tests.support.records import run

STAGES = ("build", "live")
DAY = 86400.0


def went(
    number: int,
    *,
    smoke: float = 1.0,
    kind: Kind = Kind.PUSH,
    outcome: Outcome = Outcome.LIVE,
    deploy: float = 10.0,
) -> Run:
    """One each 1000 s; a push takes 20 s to its image."""
    at = 1000.0 * number
    steps = (StepResult("build", "build", at, 15.0), StepResult("live", "smoke", at + 20, smoke))
    stages = STAGES if kind != Kind.REVERT else ("live",)
    return run(
        number=number, kind=kind, stages=stages, accepted=at, started=at, image_ready=at + 20, ended=at + 20 + deploy,
        steps=steps, state=State.ENDED, outcome=outcome,
    )  # fmt: skip


def of(*runs: Run, since: float = 0.0, now: float = 2 * DAY) -> Timings:
    return timings(runs, Budget(deploy=60.0), "live", since, now)


def test_nothing_is_said_about_no_runs() -> None:
    found = of()
    assert (found.deployments, found.deploy, found.lead, found.restored, found.steps) == (
        0,
        None,
        None,
        None,
        {},
    )


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [([], None), ([3.0], Spread(1, 3.0, 3.0)), ([float(n) for n in range(101)], Spread(101, 50.0, 95.0))],
)
def test_the_spread_of_seconds(seconds: list[float], expected: Spread | None) -> None:
    assert spread(seconds) == expected


def test_runs_within_the_budget_are_counted() -> None:
    found = of(went(1), went(2, deploy=61.0), went(3, deploy=60.0), went(4, outcome=Outcome.FAILED))
    assert (found.within, found.deployments, found.outcomes) == (2, 3, {"live": 3, "failed": 1})
    assert found.deploy == Spread(3, 60.0, pytest.approx(60.9))
    assert found.lead == Spread(3, 80.0, pytest.approx(80.9))


def test_what_was_reverted_counts_once_with_the_time_until_then() -> None:
    found = of(
        went(1),
        went(2),
        went(3, kind=Kind.REVERT),
        went(4),
        went(5, kind=Kind.REVERT),
        went(6, kind=Kind.REVERT),
    )
    assert (found.deployments, found.reverted) == (3, 3)
    assert found.restored == Spread(3, 1000.0, pytest.approx(4600.0))
    assert found.outcomes == {"live": 3, "reverted": 3}


def test_a_revert_to_what_serves_takes_no_deployment_back() -> None:
    one, two = replace(went(1), release=1), replace(went(2), release=2)
    shared = replace(went(4, kind=Kind.REVERT), release=2)  # in the shift of run 3, which failed
    back = replace(went(5, kind=Kind.REVERT), release=1)
    assert of(one, two, went(3, outcome=Outcome.FAILED), shared).reverted == 0
    assert of(one, two, shared, back).restored == Spread(1, 3000.0, 3000.0)


def test_reverts_that_failed_or_of_other_environments_take_nothing_back() -> None:
    elsewhere = run(
        number=3, kind=Kind.REVERT, stages=("dev",), ended=9.0, state=State.ENDED, outcome=Outcome.LIVE
    )
    assert of(went(1), went(2, kind=Kind.REVERT, outcome=Outcome.FAILED), elsewhere).reverted == 0


def test_a_stage_is_the_sum_of_its_steps_and_a_repeated_step_counts_as_one() -> None:
    twice = went(1)
    steps = (*twice.steps, StepResult("live", "smoke", 1.0, 2.0), StepResult("live", "verify", 1.0, 0.5))
    found = of(replace(twice, steps=steps))
    assert found.steps["live", "smoke"] == Spread(1, 3.0, 3.0)
    assert found.steps["live", ""] == Spread(1, 3.5, 3.5)


def test_a_step_that_became_slower_is_named() -> None:
    slow = [went(n, smoke=1.0 if n < 6 else 3.0) for n in range(10)]
    assert of(*slow).slower == (Slower("live", "smoke", 1.0, 3.0),)
    assert of(*slow[:9]).slower == ()
    assert of(*(went(n, smoke=1.0 if n < 6 else 1.1) for n in range(10))).slower == ()
