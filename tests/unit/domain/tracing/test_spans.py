"""A run as a trace."""

from __future__ import annotations

import re

from pipeline.domain.run import Failure, Outcome, Run, State, StepResult
from pipeline.domain.tracing import spans
from pipeline.domain.tracing.context import TraceContext
from tests.support import records


def failed() -> Run:
    steps = (
        StepResult("build", "fetch", 11.0, 1.0),
        StepResult("build", "build", 12.0, 3.0),
        StepResult("live", "start", 15.0, 2.0, ok=False, detail="it does not start"),
    )
    failure = Failure("live", "start", "application", "it does not start")
    return records.run(
        accepted=10.0,
        ended=17.5,
        steps=steps,
        state=State.ENDED,
        outcome=Outcome.FAILED,
        failure=failure,
        release=3,
    )


def test_steps_are_below_stages_and_stages_below_the_run() -> None:
    found = spans.of("pushlive", failed())
    names = {one.id: one.name for one in found}
    assert [(one.name, names.get(one.parent, ""), one.began, one.ended, one.ok) for one in found] == [
        ("push hello", "", 10.0, 17.5, False),
        ("build", "push hello", 11.0, 15.0, True),
        ("build/fetch", "build", 11.0, 12.0, True),
        ("build/build", "build", 12.0, 15.0, True),
        ("live", "push hello", 15.0, 17.0, False),
        ("live/start", "live", 15.0, 17.0, False),
    ]
    assert {one.error for one in found if one.ok is False} == {"it does not start"}
    assert found[0].attributes["cicd.pipeline.result"] == "failure"
    assert found[-1].attributes["pushlive.environment"] == "live"


def test_a_run_that_was_cancelled_is_neither_success_nor_failure() -> None:
    run = records.run(state=State.ENDED, outcome=Outcome.CANCELLED, ended=9.0)
    (root,) = spans.of("pushlive", run)
    assert (root.ok, root.attributes["cicd.pipeline.result"]) == (None, "cancellation")


def test_ids_are_those_of_the_run_and_of_no_other() -> None:
    run = failed()
    parent = spans.handed_on("pushlive", run, "live", "start")["traceparent"]
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", parent)
    (start,) = [one for one in spans.of("pushlive", run) if one.name == "live/start"]
    assert parent == f"00-{start.trace}-{start.id}-01"
    others = [
        ("other", run),
        ("pushlive", records.run(2, accepted=10.0)),
        ("pushlive", records.run(accepted=11.0)),
    ]
    assert start.trace not in {spans.trace_id(instance, other) for instance, other in others}


def test_a_run_goes_on_in_the_trace_of_the_request_that_asked_for_it() -> None:
    context = TraceContext("a" * 32, "b" * 16, "03", "vendor=1")
    first, second = (records.run(number, accepted=10.0, ended=11.0, trace=context) for number in (1, 2))
    for run in (first, second):
        root, *rest = spans.of("pushlive", run)
        assert (root.trace, root.parent) == ("a" * 32, "b" * 16)
        assert all(one.trace == root.trace for one in rest)
        found = spans.handed_on("pushlive", run, "live", "start")
        assert found["tracestate"] == "vendor=1"
        assert found["traceparent"].startswith(f"00-{'a' * 32}-")
        assert found["traceparent"].endswith("-03")
    ids = {spans.span_id("pushlive", run, "live", "start") for run in (first, second)}
    assert len(ids) == 2
    assert "tracestate" not in spans.handed_on("pushlive", failed(), "live", "start")
