"""Months, their figures, and what to do about them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pipeline.config.models import Budget
from pipeline.domain.measuring.monthly.advice import advice
from pipeline.domain.measuring.monthly.calendar import month, month_of
from pipeline.domain.run import Check, Failure, Outcome, State, StepResult
from pipeline.errors import RequestError
from tests.support.months import DAY, MISSED, NOVEMBER, busy, failed, of, revert, went

FIRST = NOVEMBER.since + 40_000.0


def at(day: int) -> float:
    return FIRST + (day - 1) * DAY


# ── calendar ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "zone", "days", "hours"),
    [("2026-11", "UTC", 30, 720), ("2026-10", "Europe/Berlin", 31, 745), ("2026-03", "Europe/Berlin", 31, 743),
     ("2024-02", "UTC", 29, 696), ("2026-12", "Asia/Tokyo", 31, 744)],
)  # fmt: skip
def test_a_month_has_its_days_in_its_zone(name: str, zone: str, days: int, hours: int) -> None:
    found = month(name, zone)
    assert len(found.days) - 1 == days
    assert found.until - found.since == hours * 3600
    assert [found.day(one + 7200.0) for one in found.days[:-1]] == list(range(1, days + 1))


def test_the_month_before_and_the_present_one() -> None:
    assert month("2026-01", "UTC").before().name == "2025-12"
    new_year = datetime(2026, 12, 31, 23, 30, tzinfo=UTC).timestamp()
    assert month_of(new_year, "UTC") == "2026-12"
    assert month_of(new_year, "Europe/Berlin") == "2027-01"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "2026",
        "2026-13",
        "2026-00",
        "26-11",
        "2026-1",
        "2026-11-01",
        "9999-01",
        "1970-01",
        "２０２６-11",
        "x",
    ],
)
def test_what_is_no_month_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="is not a month"):
        month(name, "UTC")


@pytest.mark.parametrize("zone", ["", "Mars/Base", "../../etc/passwd", "/etc/localtime", "a" * 5000])
def test_what_is_no_zone_is_refused(zone: str) -> None:
    for ask in (lambda: month("2026-11", zone), lambda: month_of(0.0, zone)):
        with pytest.raises(RequestError, match="is not a time zone") as caught:
            ask()
        assert len(str(caught.value)) < 200


# ── figures ──────────────────────────────────────────────────────────────────


def test_an_empty_month() -> None:
    found = of([])
    assert (found.outcomes, found.arrivals, found.went, found.steps, found.failed) == ({}, (), (), (), ())
    assert (found.dora.deployments, found.dora.failure_rate, found.dora_before, found.whole) == (
        0,
        None,
        None,
        None,
    )
    assert advice(found, Budget()) == ()


def test_only_what_ended_in_the_month_counts() -> None:
    runs = [went(1, NOVEMBER.since - DAY), went(2, at(1)), went(3, at(30)), went(4, NOVEMBER.until + 10.0)]
    found = of(runs)
    assert [one.run for one in found.went] == ["hello#2", "hello#3"]
    assert (found.dora.deployments, found.dora_before.deployments if found.dora_before else 0) == (2, 1)
    assert [(one.environment, one.day) for one in found.arrivals] == [
        (name, day) for day in (1, 30) for name in ("dev", "qa", "live")
    ]


def test_a_run_over_midnight_arrives_where_it_arrived() -> None:
    midnight = NOVEMBER.days[1]
    found = of([went(1, midnight - 50.0)])  # its build takes 40 s, each environment 8.6 s
    assert [(one.environment, one.day) for one in found.arrivals] == [("dev", 1), ("qa", 2), ("live", 2)]


def test_failures_are_grouped_by_step_and_by_error_without_numbers() -> None:
    runs = [failed(n, at(n), f"GET / answered 500 after {n} attempts") for n in range(1, 5)]
    other = Failure("dev", "start", "application", "exited with code 1")
    runs += [failed(5, at(5), "no answer"), replace(failed(6, at(6)), failure=other)]
    found = of(runs)
    assert [(one.step, one.count) for one in found.failed] == [("qa/smoke", 5), ("dev/start", 1)]
    assert [(one.message, len(one.runs)) for one in found.failed[0].errors] == [
        ("GET / answered 500 after 4 attempts", 4),
        ("no answer", 1),
    ]


def test_reverts_waits_checks_and_missed_lines() -> None:
    waited = replace(went(1, at(1)), human=9000.0, ended=at(1) + 9100.0, promoted=("live",))
    slow = replace(went(2, at(2)), checks={"qa": (Check("GET /", True, "200", 8.0, attempts=4),)})
    step = StepResult("build", "build", 0.0, 40.0, data={"missed": MISSED})
    built = replace(went(3, at(3)), steps=(step, *went(3, at(3)).steps[1:]))
    found = of([waited, slow, built, revert(4, at(4), 2)])
    assert [(one.run, one.to, one.by) for one in found.taken_back] == [("hello#4", 2, "bob")]
    assert (found.dora.reverted, found.dora.failure_rate) == (1, pytest.approx(1 / 3))
    assert [(one.run, one.seconds, one.environments, one.over) for one in found.waits] == [
        ("hello#1", 9000.0, ("live",), True)
    ]
    assert [(one.asked, one.runs, one.again) for one in found.flaky] == [("GET /", 3, 1)]
    assert [(one.place, one.builds, one.seconds) for one in found.missed] == [
        ("Dockerfile line 5 `COPY . .`", 1, 40.0)
    ]


def test_a_run_that_still_waits_is_shown_in_the_present_month_only() -> None:
    waiting = replace(
        went(1, at(1)), state=State.WAITING, outcome=None, ended=0.0, gate="live", gate_since=at(2)
    )
    (one,) = of([waiting], now=at(3)).waits
    assert (one.seconds, one.over, one.environments) == (DAY, False, ("live",))
    assert of([waiting]).waits == ()


def test_a_month_under_way_counts_its_time_so_far() -> None:
    found = of([went(1, at(1))], now=NOVEMBER.since + 7 * DAY)
    assert found.dora.per_week == pytest.approx(1.0)
    assert of([], now=NOVEMBER.since - DAY).dora.per_week == 0.0


# ── what to do ───────────────────────────────────────────────────────────────


def test_a_busy_month_is_advised_by_its_figures() -> None:
    said = advice(of(busy()), Budget())
    wanted = (
        "failures were in qa/smoke",
        "/start took",
        "not cached from Dockerfile line 5",
        "The check GET / in qa",
    )
    for words in wanted:
        assert any(words in text for text in said), words
    assert all(text.endswith(".") for text in said)


def test_the_budgets() -> None:
    runs = [went(n, at(n), start=200.0 if n < 4 else 1.0) for n in range(1, 9)]
    said = advice(of(runs), Budget())
    assert said[0].startswith(
        "3 of 8 runs took longer than 5:00 from image ready to live. Most goes to dev/start"
    )
    assert (
        said[1]
        == "3 runs took longer than 10:00 from push to live: `pushlive timings` shows where the time goes."
    )


def test_deployments_that_were_taken_back() -> None:
    runs = [went(n, at(n)) for n in range(1, 7)]
    assert advice(of([*runs, revert(7, at(6) + 500.0, 5)]), Budget()) == ()
    both = [*runs[:3], revert(10, at(3) + 500.0, 2), *runs[3:], revert(11, at(6) + 500.0, 5)]
    assert "2 of 6 deployments were taken back" in advice(of(both), Budget())[0]


def test_little_is_not_advised_upon() -> None:
    runs = [went(1, at(1)), failed(2, at(2)), failed(3, at(3))]
    assert advice(of(runs), Budget()) == ()


def test_outcomes_of_all_kinds_are_counted() -> None:
    runs = [replace(went(n, at(n)), outcome=one) for n, one in enumerate(Outcome, 1)]
    assert of(runs).outcomes == {one.value: 1 for one in Outcome}
