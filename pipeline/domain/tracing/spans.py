"""A run as a trace: the run is the root, its stages are below it, their steps below these.

Every id is derived from the run, so that each worker of the run, and what sends the trace, says the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from pipeline.domain.run import Outcome, Run, State, StepResult

Value = str | int | float | bool

# https://opentelemetry.io/docs/specs/semconv/registry/attributes/cicd/
_RESULTS = {
    Outcome.LIVE: "success",
    Outcome.FAILED: "failure",
    Outcome.SUPERSEDED: "cancellation",
    Outcome.CANCELLED: "cancellation",
    Outcome.IGNORED: "skip",
}


@dataclass(frozen=True)
class Span:
    """``trace``: 32 hex digits; ``id``, ``parent``: 16, ``parent`` "" for the root; ``began``, ``ended``: seconds since
    the epoch; ``ok``: None if neither success nor failure; ``error``: why it failed."""

    trace: str
    id: str
    parent: str
    name: str
    began: float
    ended: float
    ok: bool | None = None
    error: str = ""
    attributes: dict[str, Value] = field(default_factory=dict)


def trace_id(instance: str, run: Run) -> str:
    """That of the request which asked for the run, or one of its own."""
    return run.trace.trace or _own(instance, run)


def span_id(instance: str, run: Run, stage: str = "", step: str = "") -> str:
    """That of the run, of a stage or of a step. Several runs may be in one trace."""
    return _hash(16, _own(instance, run), stage, step)


def _own(instance: str, run: Run) -> str:
    return _hash(32, instance, run.id, f"{run.accepted:.6f}")


def handed_on(instance: str, run: Run, stage: str, step: str) -> dict[str, str]:
    """The headers of https://www.w3.org/TR/trace-context/ for what that step asks or starts."""
    own = f"00-{trace_id(instance, run)}-{span_id(instance, run, stage, step)}-{run.trace.flags or '01'}"
    return {"traceparent": own, **({"tracestate": run.trace.state} if run.trace.state else {})}


def _hash(digits: int, *parts: str) -> str:
    found = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:digits]
    return found if found.strip("0") else f"{1:0{digits}x}"  # zeros alone are not an id


def of(instance: str, run: Run, sent: Collection[str] = ()) -> tuple[Span, ...]:
    """All spans of a run that has ended, the root first; of one that goes on, those of the stages that it has behind
    it. ``sent``: stages that are left out."""
    trace = trace_id(instance, run)
    stages = (name for name in behind(run) if name not in sent)
    if not run.ended:
        return tuple(_stages(instance, run, stages))
    ends = [one.started + one.seconds for one in run.steps]
    failed = run.outcome == Outcome.FAILED
    root = Span(
        trace, span_id(instance, run), run.trace.parent, f"{run.kind} {run.pipeline}", run.accepted,
        max([run.ended, *ends]),
        False if failed else True if run.outcome == Outcome.LIVE else None,
        (run.failure.message if run.failure else run.reason) if failed else "",
        _of_run(instance, run),
    )  # fmt: skip
    return root, *_stages(instance, run, stages)


def behind(run: Run) -> tuple[str, ...]:
    """The stages with steps to which nothing is added any more."""
    begun = tuple(dict.fromkeys(one.stage for one in run.steps))
    now = run.gate if run.state == State.WAITING else run.stage
    if run.ended or now not in run.stages:
        return begun if run.ended else ()
    return tuple(name for name in begun if name in run.stages[: run.stages.index(now)])


def _of_run(instance: str, run: Run) -> dict[str, Value]:
    found: dict[str, Value] = {
        "pushlive.instance": instance,
        "pushlive.pipeline": run.pipeline,
        "pushlive.run": run.id,
        "pushlive.kind": str(run.kind),
        "pushlive.outcome": str(run.outcome or ""),
        "cicd.pipeline.name": run.pipeline,
        "cicd.pipeline.run.id": run.id,
        "cicd.pipeline.result": _RESULTS.get(run.outcome, "") if run.outcome else "",
        "vcs.ref.head.revision": run.commit,
        "vcs.ref.head.name": run.ref.removeprefix("refs/heads/"),
        **_release(run),
    }
    if run.failure:
        found |= {"pushlive.failure.step": run.failure.step, "pushlive.failure.whose": run.failure.whose}
    return {key: value for key, value in found.items() if value != ""}


def _stages(instance: str, run: Run, stages: Iterable[str]) -> Iterator[Span]:
    trace, root = trace_id(instance, run), span_id(instance, run)
    for stage in stages:
        steps = [one for one in run.steps if one.stage == stage]
        where = _where(run, stage)
        bad = next((one for one in steps if not one.ok), None)
        began, ended = min(one.started for one in steps), max(one.started + one.seconds for one in steps)
        own, error = span_id(instance, run, stage), bad.detail if bad else ""
        yield Span(trace, own, root, stage, began, ended, bad is None, error, where)
        for one in steps:
            yield _step(trace, own, span_id(instance, run, stage, one.step), one, where)


def _step(trace: str, parent: str, own: str, one: StepResult, where: dict[str, Value]) -> Span:
    attributes = {**where, "pushlive.step": one.step, "cicd.pipeline.task.name": f"{one.stage}/{one.step}"}
    ended, error = one.started + one.seconds, "" if one.ok else one.detail
    return Span(
        trace, own, parent, f"{one.stage}/{one.step}", one.started, ended, one.ok,
        error, attributes,
    )  # fmt: skip


def _where(run: Run, stage: str) -> dict[str, Value]:
    found: dict[str, Value] = {
        "pushlive.pipeline": run.pipeline,
        "pushlive.run": run.id,
        "pushlive.stage": stage,
    }
    if stage != "build":
        found |= {"pushlive.environment": stage, "deployment.environment.name": stage}
    return {**found, **_release(run)}


def _release(run: Run) -> dict[str, Value]:
    return {"pushlive.release": f"r{run.release}"} if run.release is not None else {}
