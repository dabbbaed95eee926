"""What a change of a record says in the journal."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from pipeline.domain.environment import (
    Bake,
    BakeOutcome,
    Down,
    Environment,
    Hold,
    Quarantined,
    SlotRecord,
    SlotState,
    TakenBack,
)
from pipeline.domain.journal import changes
from pipeline.domain.run import Failure, Outcome, State, StepResult
from tests.support import records
from tests.support.paths import ROOT

ENV = Environment("hello", "live", 0)


def said(before: Environment, after: Environment) -> list[str]:
    return [one.event for one in changes.of_environment(before, after)]


def test_a_run_from_its_acceptance_to_its_end() -> None:
    first = records.run(state=State.QUEUED)
    running = replace(first, state=State.RUNNING, stage="build", attempts=1)
    step = StepResult("build", "fetch", 1.0, 0.5)
    stepped = replace(running, steps=(step,))
    live = replace(stepped, stage="live", release=3)
    failure = Failure("live", "start", "application", "it does not start")
    failed = replace(live, state=State.ENDED, outcome=Outcome.FAILED, ended=9.0, failure=failure)
    found = [
        [one.event for one in changes.of_run(before, after)]
        for before, after in [
            (None, first), (first, running), (running, stepped), (stepped, live), (live, failed), (failed, failed),
        ]
    ]  # fmt: skip
    assert found == [
        ["run_accepted"],
        ["run_started", "stage_begun"],
        ["step_ended"],
        ["stage_ended", "stage_begun"],
        ["stage_ended", "run_ended"],
        [],
    ]
    (ended,) = [one for one in changes.of_run(live, failed) if one.event == "run_ended"]
    assert (ended.level, ended.message, ended.fields["failed_step"]) == (
        "error",
        "it does not start",
        "start",
    )


def test_a_step_that_is_recorded_again_is_said_once() -> None:
    run = records.run(state=State.RUNNING, stage="build", steps=(StepResult("build", "fetch", 1.0, 0.5),))
    assert list(changes.of_run(run, run)) == []
    repeated = replace(run, steps=(StepResult("build", "fetch", 2.0, 0.5),))
    assert [one.event for one in changes.of_run(run, repeated)] == ["step_ended"]


def test_each_change_of_an_environment_is_said_once() -> None:
    serving = replace(ENV, active="blue", slots={"blue": SlotRecord(1, 1, SlotState.SERVING, 1.0)})
    back = replace(serving, taken_back=(TakenBack("i", "f", 2, 3, "bad", "ann", 1.0),))
    for before, after, events in [
        (ENV, serving, ["switched"]),
        (serving, replace(serving, active=None), ["stopped_serving"]),
        (serving, back, ["reverted"]),
        (ENV, replace(ENV, hold=Hold("why", "ann", 1.0)), ["held"]),
        (replace(ENV, hold=Hold("why", "ann", 1.0)), ENV, ["resumed"]),
        (ENV, replace(ENV, quarantine=(Quarantined("i", "f", 1, "bad", 1.0),)), ["quarantined"]),
        (ENV, replace(ENV, down=Down(1, 1.0, "dead")), ["down"]),
        (replace(ENV, down=Down(1, 1.0, "dead")), ENV, ["up"]),
        (ENV, replace(ENV, failing={"worker": Down(1, 1.0, "dead")}), ["process_down"]),
    ]:
        assert said(before, after) == events
        assert said(after, after) == []
    (one,) = changes.of_environment(serving, back)
    assert (one.fields["release"], one.fields["run"], one.fields["actor"]) == ("r2", "hello#3", "ann")


def test_a_bake_says_its_begin_and_its_end() -> None:
    bake = Bake(1, 1, 10.0, 600.0, "revert")
    baking, baked = replace(ENV, bakes=(bake,)), replace(bake, outcome=BakeOutcome.BAKED, ended=610.0)
    assert said(ENV, baking) == ["bake_begun"]
    assert said(baking, replace(ENV, bakes=(baked,))) == ["baked"]
    gone = replace(bake, outcome=BakeOutcome.TAKEN_BACK, ended=20.0)
    assert said(baking, replace(ENV, bakes=(gone,))) == ["taken_back"]


def test_the_guide_has_every_event_and_every_field() -> None:
    page = (ROOT / "docs" / "guides" / "logs.md").read_text()
    fields, events = page.partition("## Fields\n")[2].split("## Events\n")
    schema = json.loads((ROOT / "pipeline" / "lib" / "journal" / "schema.json").read_text())
    cells = [line.split("|")[1] for line in fields.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", "".join(cells))) == sorted(schema["properties"])
    code = "".join(
        path.read_text()
        for folder in ("pipeline", "workers", "webhooks")
        for path in (ROOT / folder).rglob("*.py")
    )
    written = set(
        re.findall(
            r'(?:journal\.write\(|_run\((?:run|after), |_env\(now, |BakeOutcome\.\w+: \()\s*"(\w+)"', code
        )
    )
    documented = set(
        re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in events.splitlines()[3:] if "|" in line))
    )
    assert written <= documented, written - documented
