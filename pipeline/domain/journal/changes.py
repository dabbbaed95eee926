"""What changed between two versions of a record, as events of the journal. A change that is written twice says nothing
the second time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pipeline.domain.environment import Bake, BakeOutcome, Down, Environment, WorseOutcome
from pipeline.domain.run import Approval, Outcome, Run, State, StepResult


@dataclass(frozen=True)
class Change:
    """One line. ``fields``: those of the journal beside event, level and message."""

    event: str
    message: str = ""
    level: str = "info"
    fields: dict[str, Any] = field(default_factory=dict)


# ── runs ─────────────────────────────────────────────────────────────────────


def of_run(before: Run | None, after: Run) -> Iterator[Change]:
    """``before``: the record that this one replaces, None if there was none."""
    if before is None:
        yield _run(after, "run_accepted", after.message, actor=after.by or after.pusher, commit=after.commit)
    elif before.ended:
        return
    yield from _steps(before, after)
    if before is not None and before.stage and (after.stage != before.stage or after.ended):
        took = sum(step.seconds for step in after.steps if step.stage == before.stage)
        yield _run(after, "stage_ended", stage=before.stage, seconds=took)
    yield from _state(before, after)
    if after.stage and not after.ended and (before is None or after.stage != before.stage):
        yield _run(after, "stage_begun", stage=after.stage)


def _state(before: Run | None, after: Run) -> Iterator[Change]:
    if after.ended:
        bad = after.outcome == Outcome.FAILED
        more = {"outcome": str(after.outcome), "seconds": max(0.0, after.ended - after.accepted)}
        failure = {"failed_step": after.failure.step, "whose": after.failure.whose} if after.failure else {}
        yield _run(after, "run_ended", _why(after), "error" if bad else "info", **more, **failure)
    elif before is not None and after.state != before.state:
        event = {State.RUNNING: "run_started", State.WAITING: "run_waiting", State.QUEUED: "run_queued"}
        message = "for the end of a freeze" if after.frozen else ""
        yield _run(after, event[after.state], message, environment=after.gate or after.stage)
    elif before is not None and after.attempts > before.attempts:
        yield _run(after, "run_started")
    if before is not None and after.cancel and not before.cancel:
        yield _run(after, "run_cancel_requested", after.cancel)
    yield from _approvals(before.approvals if before else (), after)


def _approvals(before: tuple[Approval, ...], after: Run) -> Iterator[Change]:
    """Their times are left out: they are moved when the clock is set."""
    had = {_person(one): one for one in before}
    has = {_person(one): one for one in after.approvals}
    for key, one in has.items():
        if key not in had:
            yield _run(after, "approved", one.why, environment=one.environment, actor=one.by)
    for key, one in had.items():
        if key not in has:
            yield _run(after, "approval_withdrawn", environment=one.environment, actor=one.by)


def _person(one: Approval) -> tuple[str, str, int | None]:
    return one.environment, one.by.casefold(), one.release


def _why(run: Run) -> str:
    return run.failure.message if run.failure else run.reason


def _steps(before: Run | None, after: Run) -> Iterator[Change]:
    known = {_key(step) for step in before.steps} if before else set()
    for step in after.steps:
        if _key(step) not in known:
            yield _run(
                after, "step_ended", step.detail, "info" if step.ok else "error",
                stage=step.stage, step=step.step, seconds=step.seconds, ok=step.ok,
            )  # fmt: skip


def _key(step: StepResult) -> tuple[str, str, float]:
    return step.stage, step.step, step.started


def _run(run: Run, event: str, message: str = "", level: str = "info", **more: Any) -> Change:
    stage = more.get("stage", run.stage)
    where = stage if stage != "build" else ""
    fields = {
        "pipeline": run.pipeline, "environment": where, "run": run.id, "kind": str(run.kind),
        "release": _release(run.release), **more,
    }  # fmt: skip
    return Change(event, message, level, fields)


def _release(number: int | None) -> str:
    return f"r{number}" if number is not None else ""


# ── environments ─────────────────────────────────────────────────────────────


def of_environment(before: Environment | None, after: Environment) -> Iterator[Change]:
    """``before``: the record that this one replaces, None if there was none."""
    was = before or Environment(after.pipeline, after.name, after.index, after.engine)
    yield from _traffic(was, after)
    yield from _policies(was, after)
    yield from _health(was, after)
    yield from _watched(was, after)


def _traffic(was: Environment, now: Environment) -> Iterator[Change]:
    if now.active != was.active and now.active:
        slot = now.slots.get(now.active)
        before = f"from {_release(was.serving)}" if was.serving is not None else ""
        yield _env(now, "switched", before, slot=now.active, run=_id(now, slot.run if slot else 0))
    if was.active and not now.active:
        yield _env(now, "stopped_serving", release=_release(was.serving), slot=was.active)
    for one in now.taken_back:
        if one not in was.taken_back:
            more = {"release": _release(one.release), "run": _id(now, one.run), "actor": one.by}
            yield _env(now, "reverted", one.reason, "warning", **more)
    if now.asleep and not was.asleep:
        yield _env(now, "fell_asleep", now.asleep.why, actor=now.asleep.by)
    if was.asleep and not now.asleep:
        yield _env(now, "woken", f"by {was.asleep.woken}" if was.asleep.woken else "")
    if now.shift and not was.shift:
        yield _env(now, "shift_begun")
    if was.shift and not now.shift:
        yield _env(now, "shift_ended")


def _policies(was: Environment, now: Environment) -> Iterator[Change]:
    if now.hold and now.hold != was.hold:
        yield _env(now, "held", now.hold.reason, "warning", actor=now.hold.by)
    if was.hold and not now.hold:
        yield _env(now, "resumed")
    if now.maintenance and now.maintenance != was.maintenance:
        said, by = now.maintenance.message, now.maintenance.by
        yield _env(now, "maintenance_begun", said, "warning", actor=by)
    if was.maintenance and not now.maintenance:
        yield _env(now, "maintenance_ended")
    for one in now.quarantine:
        if one not in was.quarantine:
            yield _env(now, "quarantined", one.reason, "warning", release=_release(one.release))
    for one in was.quarantine:
        if one not in now.quarantine:
            yield _env(now, "quarantine_released", release=_release(one.release))


def _health(was: Environment, now: Environment) -> Iterator[Change]:
    yield from _outage(now, was.down, now.down, "down", "up")
    yield from _outage(now, was.degraded, now.degraded, "degraded", "whole_again")
    for name in sorted({*was.failing, *now.failing}):
        found = _outage(now, was.failing.get(name), now.failing.get(name), "process_down", "process_up")
        yield from (Change(one.event, one.message, one.level, {**one.fields, "name": name}) for one in found)


def _outage(now: Environment, was: Down | None, is_: Down | None, down: str, up: str) -> Iterator[Change]:
    if is_ and not was:
        yield _env(now, down, is_.said, "error", release=_release(is_.release))
    if was and not is_:
        yield _env(now, up, release=_release(was.release))


_BAKES = {
    BakeOutcome.BAKED: ("baked", "info"),
    BakeOutcome.TAKEN_BACK: ("taken_back", "error"),
    BakeOutcome.FAILED: ("bake_failed", "error"),
    BakeOutcome.SUPERSEDED: ("bake_superseded", "info"),
}


def _watched(was: Environment, now: Environment) -> Iterator[Change]:
    known = {(one.run, one.since): one for one in was.bakes}
    for bake in now.bakes:
        yield from _bake(now, known.get((bake.run, bake.since)), bake)
    judged = {(one.run, one.since) for one in was.trials if one.outcome}
    for trial in now.trials:
        if trial.outcome and (trial.run, trial.since) not in judged:
            event = "taken_back" if trial.outcome == WorseOutcome.TAKEN_BACK else "worse"
            more = {
                "release": _release(trial.release),
                "run": _id(now, trial.run),
                "outcome": str(trial.outcome),
            }
            yield _env(now, event, trial.reason, "warning", **more)


def _bake(now: Environment, was: Bake | None, bake: Bake) -> Iterator[Change]:
    where = {"release": _release(bake.release), "run": _id(now, bake.run)}
    if was is None:
        yield _env(now, "bake_begun", seconds=bake.lasts, **where)
    if bake.outcome and not (was and was.outcome):
        event, level = _BAKES[bake.outcome]
        yield _env(now, event, bake.reason, level, seconds=max(0.0, bake.ended - bake.since), **where)


def _id(environment: Environment, run: int) -> str:
    return f"{environment.pipeline}#{run}" if run else ""


def _env(env: Environment, event: str, message: str = "", level: str = "info", **more: Any) -> Change:
    fields = {"pipeline": env.pipeline, "environment": env.name, "release": _release(env.serving), **more}
    return Change(event, message, level, fields)
