"""How stages and runs end: what is recorded, and what is reported."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from pipeline.config.models import Budget
from pipeline.deploy.explaining import foretold
from pipeline.deploy.failure_card import card, compared, left_by_revert
from pipeline.deploy.going_back.readiness import missing_images, revert_readiness
from pipeline.deploy.run_context import RunContext
from pipeline.domain import budget as budgets
from pipeline.domain import slots, transitions
from pipeline.domain.environment import Environment
from pipeline.domain.events import Event
from pipeline.domain.going_back import by_itself
from pipeline.domain.measuring import comparing, trends
from pipeline.domain.measuring.difference import Difference
from pipeline.domain.measuring.trends import Forecast
from pipeline.domain.release import Release
from pipeline.domain.run import Ending, Kind, Outcome, Run
from pipeline.errors import (
    Cancelled,
    CommandLeft,
    DamagedRecord,
    Interrupted,
    PushliveError,
    Superseded,
    TryAgain,
)
from pipeline.lib import codec
from pipeline.lib.units import show_duration
from pipeline.notify import messages
from pipeline.store import Transaction

LOOKED_AT = 100  # runs among which comparable ones are looked for
_OUTCOMES: dict[type[PushliveError], Outcome] = {
    Superseded: Outcome.SUPERSEDED,
    Cancelled: Outcome.CANCELLED,
    Interrupted: Outcome.CANCELLED,
    CommandLeft: Outcome.CANCELLED,
}


def ending_of(run: Run, error: PushliveError) -> Ending:
    """How the run ends if that error stops it."""
    outcome = _OUTCOMES.get(type(error), Outcome.FAILED)
    failure = card(run, error) if outcome == Outcome.FAILED else None
    return Ending(outcome, error.message, failure)


def stage_done(context: RunContext, budget: Budget, name: str, text: str) -> None:
    """Reports a finished stage with its steps and the rest of the budget."""
    run, now = context.run, context.clock.now()
    steps = [{"step": s.step, "seconds": s.seconds, "ok": s.ok} for s in run.steps if s.stage == name]
    left = budgets.left(run, budget, now)
    seconds = sum(float(str(step["seconds"])) for step in steps)
    data = {"steps": steps, "seconds": seconds, "left": left, "done": True}
    context.emit(Event("stage", now, f"{text} · {show_duration(left)} left", name, data=data))
    if left < 0:
        over = budgets.overspender(run.steps)
        context.note(f"over the {show_duration(budget.deploy)} budget; most went to {over}", name, "warning")


def finish(context: RunContext, budget: Budget, release: Release) -> None:
    """Records that the run is live."""
    run, now = context.run, context.clock.now()
    spent, whole, behind = budgets.spent(run, now), budgets.whole(run, now), budgets.after_shift(run, now)
    last = run.stages[-1]
    text = f"{release.name} ({run.short}) reached {last} {show_duration(whole)} after "
    text += "the push" if run.kind == Kind.PUSH else "the request"
    if run.human >= 0.01:
        text += f", not counting {show_duration(run.human)} at a gate"
    if run.shifted >= 0.01:
        text += f", not counting {show_duration(run.shifted)} with a part of the visitors"
    if behind >= 0.01:
        text += f", not counting {show_duration(behind)} behind another run's shift"
    if run.kind != Kind.REVERT:
        text += f"; deploy {show_duration(spent)} of {show_duration(budget.deploy)}"
    if whole > budget.whole:
        text += f" · SERIOUS: over {show_duration(budget.whole)} from push to live"
    unusual, forecasts = _compared(context, budget, now)
    said = [unusual.text] if unusual else []
    said += [trends.text(one, now) for one in forecasts or ()]
    data = {"outcome": "live", "more": [*said, *_next_lines(context, last)]}
    event = Event("end", now, f"{run.id} is live: {text}", data=data)

    def end(tx: Transaction, run: Run) -> Run:
        ended = transitions.end(run, Outcome.LIVE, text, now, unusual=unusual)
        if forecasts is not None:
            _foretell(tx, context.masked_run(ended), forecasts)
        return messages.ended(tx, context.masked_run(ended))

    context.change(end, event)


def _compared(
    context: RunContext, budget: Budget, now: float
) -> tuple[Difference | None, list[Forecast] | None]:
    """What made it slower or faster than usual, and the budgets that will be exceeded. Its end does not depend on that:
    None if no earlier run can be read; no forecasts by a revert, which says nothing about them."""
    run = replace(context.run, outcome=Outcome.LIVE, ended=now)
    with suppress(TryAgain, DamagedRecord):
        recent = context.store.recent(run.pipeline, LOOKED_AT, readable=True)
        known = trends.watched([run, *(one for one in recent if one.number != run.number)], run.stages)
        whole_way = run.kind != Kind.REVERT and len(run.stages) > 1
        return comparing.compare(run, recent), trends.forecasts(known, budget, now) if whole_way else None
    return None, None


def _foretell(tx: Transaction, run: Run, forecasts: list[Forecast]) -> None:
    """Keeps the forecasts; receivers are told of each once."""
    kept, fresh = trends.renewed(foretold.before(tx, run.pipeline), forecasts, run.ended)
    foretold.put(tx, run.pipeline, kept)
    for one in fresh:
        messages.slowing(tx, run, one.budget, trends.text(one, run.ended))


def _next_lines(context: RunContext, name: str) -> list[str]:
    run = context.run
    environment = context.store.environment(run.pipeline, name)
    if run.kind == Kind.REVERT:
        held = f"{name} is held. To let a fix in: `pushlive resume {run.pipeline} --env {name}`"
        return [held, *_quarantined_by(run, environment)]
    found = revert_readiness(context.store, environment, missing_images(context.store, run.pipeline))
    target = found["release"]
    sent = run.from_release is not None
    more = ["the next push undoes this configuration, unless pipelines.yaml has it by then"] if sent else []
    if target is None:
        why = slots.passed_over(environment) if environment else ""
        return [*more, f"{why or 'this is the first release here'}, so there is nothing to revert to yet"]
    if not found["ready"]:
        return [*more, *_by_itself(environment, target), f"revert {found['text']}"]
    asks = f". It asks first: {found['asks']}" if found["asks"] else ""
    back = f"to go back to r{target}: `pushlive revert {run.pipeline}`{asks}"
    return [*more, back, *_by_itself(environment, target)]


def _by_itself(environment: Environment | None, target: int) -> list[str]:
    """If another release than a person's revert brings takes the place of one that fails while it is watched."""
    if environment is None or not (by := by_itself.watched_by(environment)):
        return []
    first = next(iter(by_itself.targets(environment)), target)
    if first == target:
        return []
    why = by_itself.why_not(environment, target)
    return [f"{by} would go back to r{first}, not to r{target} ({why})"]


def _quarantined_by(run: Run, environment: Environment | None) -> list[str]:
    """What that revert took out, which may be what an earlier revert had put back."""
    return [
        f"r{one.release} is in quarantine there. To let it in again: "
        f"`pushlive unquarantine {run.pipeline} r{one.release} --env {environment.name}`"
        for one in (environment.quarantine if environment else ())
        if environment and one.since == run.accepted
    ]


def fail(context: RunContext, ending: Ending) -> None:
    """Records that ending. Idempotent: an earlier worker may have decided it and died."""
    outcome, failure, now = ending.outcome, ending.failure, context.clock.now()
    if failure:
        failure = compared(failure, context.run, context.store)
    text = f"{context.run.id} {outcome}" + ("" if failure else f": {ending.reason}")
    data: dict[str, Any] = {"outcome": outcome.value}
    if failure:
        data["failure"] = codec.plain(failure)
    elif left := left_by_revert(context.run, context.store):
        data["more"] = left
    event = Event("end", now, text, context.run.stage, data=data)

    def end(tx: Transaction, run: Run) -> Run:
        ended = transitions.end(run, outcome, ending.reason, now, failure=failure, ending=None)
        return messages.ended(tx, context.masked_run(ended))

    context.change(end, event)
