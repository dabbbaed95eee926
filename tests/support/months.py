"""Runs of two months, for reports."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from pipeline.config.models import Budget
from pipeline.domain.measuring.monthly.advice import advice
from pipeline.domain.measuring.monthly.calendar import Month, month
from pipeline.domain.measuring.monthly.report import Figures, figures
from pipeline.domain.run import Approval, Check, Failure, Kind, Outcome, Run, State, StepResult
from pipeline.lib import codec
from tests.support.records import run

STAGES = ("build", "dev", "qa", "live")
NOVEMBER = month("2026-11", "Europe/Berlin")
DAY = 86400.0
MISSED = {"line": 5, "text": "COPY . .", "seconds": 40.0, "kind": "files", "file": "app.py", "commit": "",
          "why": "app.py and 3 more files changed, app.py in 26c2848 “bump”"}  # fmt: skip


def went(number: int, at: float, build: float = 40.0, start: float = 6.0, **changes: Any) -> Run:
    """A push that begins then and goes through all stages."""
    steps, now = [StepResult("build", "build", at, build, data={"bases": {}})], at + build
    for stage in STAGES[1:]:
        for name, seconds in (("start", start), ("smoke", 2.0), ("switch", 0.1), ("verify", 0.5)):
            steps.append(StepResult(stage, name, now, seconds))
            now += seconds
    checks = {"qa": (Check("GET /", True, "200", 0.1),)}
    made = run(
        number=number, stages=STAGES, accepted=at, started=at, image_ready=at + build, ended=now, steps=tuple(steps),
        state=State.ENDED, outcome=Outcome.LIVE, release=number, pusher="ann", message=f"Change {number}",
        checks=checks,
    )  # fmt: skip
    return replace(made, **changes)


def failed(number: int, at: float, message: str = "GET / answered 500 after 12 attempts") -> Run:
    failure = Failure("qa", "smoke", "application", message)
    return went(number, at, outcome=Outcome.FAILED, failure=failure, steps=went(number, at).steps[:7])


def revert(number: int, at: float, to: int) -> Run:
    steps = (StepResult("live", "switch", at, 0.2), StepResult("live", "verify", at, 0.4))
    reason = f"r{to} reached live 0.60s after the request"
    return run(
        number=number, kind=Kind.REVERT, stages=("live",), accepted=at, started=at, ended=at + 0.6, steps=steps,
        state=State.ENDED, outcome=Outcome.LIVE, release=to, by="bob", reason=reason,
    )  # fmt: skip


def busy() -> list[Run]:
    """A whole month with all that a report has a place for, and a quieter one before it."""
    chance, found = random.Random(7), list[Run]()
    for day in range(0, 30, 3):
        found.append(went(len(found) + 1, NOVEMBER.before().since + day * DAY + 40_000.0, start=4.0))
    for day in range(28):
        for _ in range(chance.choice((0, 1, 2, 4)) if day % 7 < 5 else 0):
            number, at = len(found) + 1, NOVEMBER.since + day * DAY + chance.uniform(30_000, 70_000)
            one = went(number, at, build=chance.choice((20.0, 45.0, 160.0)), start=5.0 + day / 4)
            if chance.random() < 0.5:
                step = replace(one.steps[0], data={"bases": {}, "missed": MISSED})
                one = replace(one, steps=(step, *one.steps[1:]))
            if chance.random() < 0.3:
                one = replace(one, checks={"qa": (Check("GET /", True, "200", 8.0, attempts=5),)})
            if chance.random() < 0.15:
                waited = chance.uniform(100, 200_000)
                one = replace(
                    one, human=waited, ended=one.ended + waited, promoted=("live",),
                    approvals=(Approval("live", "carla", one.ended, number),),
                )  # fmt: skip
            found.append(one)
            if chance.random() < 0.12:
                found.append(failed(len(found) + 1, at + 4000.0))
            if chance.random() < 0.08:
                found.append(revert(len(found) + 1, at + 5000.0, number - 1))
    return found


def of(
    runs: list[Run], wanted: Month = NOVEMBER, now: float = NOVEMBER.until + DAY, budget: Budget | None = None
) -> Figures:
    return figures(runs, wanted, budget or Budget(), STAGES, now)


def answer(
    runs: list[Run], wanted: Month = NOVEMBER, now: float = NOVEMBER.until + DAY, pipeline: str = "hello"
) -> dict[str, Any]:
    """As the service answers."""
    found, budget = of(runs, wanted, now), Budget()
    first = min((one.accepted for one in runs), default=0.0)
    about = {"pipeline": pipeline, "stages": list(STAGES), "first_run": first, "truncated": False}
    limits = {"deploy": budget.deploy, "whole": budget.whole}
    said = {"runs": sum(found.outcomes.values()), "advice": list(advice(found, budget))}
    one = {**about, "budget": limits, **codec.plain(found), **said}
    return {
        "month": wanted.name, "zone": wanted.zone, "since": wanted.since, "until": wanted.until, "now": now,
        "under_way": wanted.since <= now < wanted.until, "days": len(wanted.days) - 1, "currency": "EUR",
        "pipelines": [{**one, "cost": {"total": 4.5, "purposes": {"serving": 4.1, "warm": 0.4}}}],
    }  # fmt: skip
