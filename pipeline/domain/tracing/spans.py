"""A run as a trace: the run is the root, its stages are below it, their steps below these.

Every id is derived from the run, so that each worker of the run, and what sends the trace, says the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.domain.run import Outcome, Run, StepResult

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
    return _hash(32, instance, run.id, f"{run.accepted:.6f}")


def span_id(trace: str, stage: str = "", step: str = "") -> str:
    """That of the run, of a stage or of a step."""
    return _hash(16, trace, stage, step)


def traceparent(instance: str, run: Run, stage: str, step: str) -> str:
    """The header of https://www.w3.org/TR/trace-context/ for what that step asks or starts."""
    trace = trace_id(instance, run)
    return f"00-{trace}-{span_id(trace, stage, step)}-01"


def _hash(digits: int, *parts: str) -> str:
    found = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:digits]
    return found if found.strip("0") else f"{1:0{digits}x}"  # zeros alone are not an id


def of(instance: str, run: Run) -> tuple[Span, ...]:
    """All spans of a run that has ended, the root first."""
    trace = trace_id(instance, run)
    ends = [one.started + one.seconds for one in run.steps]
    failed = run.outcome == Outcome.FAILED
    root = Span(
        trace, span_id(trace), "", f"{run.kind} {run.pipeline}", run.accepted, max([run.ended, *ends]),
        False if failed else True if run.outcome == Outcome.LIVE else None,
        (run.failure.message if run.failure else run.reason) if failed else "",
        _of_run(instance, run),
    )  # fmt: skip
    return root, *_stages(trace, root.id, run)


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


def _stages(trace: str, root: str, run: Run) -> Iterator[Span]:
    for stage in dict.fromkeys(one.stage for one in run.steps):
        steps = [one for one in run.steps if one.stage == stage]
        where = _where(run, stage)
        bad = next((one for one in steps if not one.ok), None)
        began, ended = min(one.started for one in steps), max(one.started + one.seconds for one in steps)
        own, error = span_id(trace, stage), bad.detail if bad else ""
        yield Span(trace, own, root, stage, began, ended, bad is None, error, where)
        for one in steps:
            yield _step(trace, own, one, where)


def _step(trace: str, parent: str, one: StepResult, where: dict[str, Value]) -> Span:
    attributes = {**where, "pushlive.step": one.step, "cicd.pipeline.task.name": f"{one.stage}/{one.step}"}
    ended, error = one.started + one.seconds, "" if one.ok else one.detail
    return Span(
        trace, span_id(trace, one.stage, one.step), parent, f"{one.stage}/{one.step}", one.started, ended, one.ok,
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
