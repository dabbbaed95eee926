"""Whether a run may enter an environment: one answer, however often it is asked."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.config import models
from pipeline.config.models import Pipeline
from pipeline.domain import gates
from pipeline.domain.environment import Environment, Hold, SlotState
from pipeline.domain.run import Kind, Run, State, StepResult
from pipeline.errors import AppFailed, Superseded
from tests.support.records import environment, release, run, slot

AUTO = Pipeline(environments={"dev": None, "live": None})
MANUAL = Pipeline(environments={"dev": None, "live": models.Environment(promote="manual")})
HELD = Hold("r2 was reverted", "ada", 1.0)


# ── gates and holds ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("pipeline", "record", "entering", "command"),
    [
        (AUTO, {}, run(), ""),
        (MANUAL, {}, run(), "promote"),
        (MANUAL, {}, run(promoted=("live",)), ""),
        (MANUAL, {}, run(promoted=("dev",)), "promote"),
        (AUTO, {"hold": HELD}, run(), "resume"),
        (MANUAL, {"hold": HELD}, run(promoted=("live",)), "resume"),  # a promotion does not lift a hold
        (MANUAL, {"hold": HELD}, run(kind=Kind.DEPLOY), "resume"),
        (MANUAL, {}, run(kind=Kind.DEPLOY), "promote"),
        (MANUAL, {"hold": HELD}, run(kind=Kind.REVERT), ""),  # a revert waits for no one
    ],
)
def test_a_gate_keeps_a_run_out_until_its_command_is_given(
    pipeline: Pipeline, record: dict[str, Any], entering: Run, command: str
) -> None:
    gate = gates.may_enter(pipeline, environment(**record), release(2), entering, ())
    assert (gate.command if gate else "") == command
    if gate:
        why = (
            "live is held: r2 was reverted (by ada)" if command == "resume" else "promotion to live is manual"
        )
        assert gate.why == why


def test_a_hold_replaces_the_one_before() -> None:
    held = gates.hold(gates.hold(environment(), "one", "ada", 1.0), "two", "bob", 2.0)
    assert held.hold == Hold("two", "bob", 2.0)


def test_runs_wait_at_one_gate_oldest_first() -> None:
    waiting = [run(number, state=State.WAITING, gate="live") for number in (1, 2)]
    others = (run(3, state=State.RUNNING, gate="live"), run(4, state=State.WAITING, gate="dev"))
    assert gates.waiting_at((*waiting, *others), "live") == tuple(waiting)


# ── forward only ─────────────────────────────────────────────────────────────


def switched_by(number: int, **changes: Any) -> Environment:
    return environment(active="blue", slots={"blue": slot(1, SlotState.SERVING, run=number)}, **changes)


@pytest.mark.parametrize(
    ("record", "entering", "open_runs"),
    [
        (environment(), run(5), ()),
        (environment(newest_run=5), run(5), ()),
        (environment(newest_run=4), run(5), ()),
        (environment(newest_run=6), run(5, Kind.REVERT), ()),  # a revert goes back: that is what it is for
        (switched_by(6), run(5), ()),  # the newer one ended: `newest_run` says whether it was verified
        (switched_by(6), run(5), (run(6, Kind.REVERT),)),  # a revert's number says nothing about order
        (switched_by(4), run(5), (run(4),)),
        (
            environment(slots={"green": slot(2, SlotState.STARTING, run=6)}),
            run(5),
            (run(6),),
        ),  # it only starts
    ],
)
def test_a_run_that_nothing_newer_overtook_may_go_on(
    record: Environment, entering: Run, open_runs: Any
) -> None:
    assert gates.may_enter(AUTO, record, release(2), entering, open_runs) is None


@pytest.mark.parametrize(
    ("record", "open_runs"),
    [
        (environment(newest_run=6), ()),
        (switched_by(6), (run(6),)),  # it switched, and its worker died before it was verified
        (environment(switching="green", slots={"green": slot(2, SlotState.STARTING, run=6)}), (run(6),)),
    ],
)
@pytest.mark.parametrize("kind", [Kind.PUSH, Kind.DEPLOY])
def test_a_run_does_not_follow_a_newer_one(record: Environment, open_runs: Any, kind: Kind) -> None:
    with pytest.raises(Superseded, match="hello#6"):
        gates.may_enter(AUTO, record, release(2), run(5, kind), open_runs)


@pytest.mark.parametrize(
    ("interrupt", "open_runs", "found"),
    [(0, (7,), False), (7, (7,), True), (5, (5,), False), (7, (), False), (7, (8,), False)],
)
def test_an_open_revert_interrupts_every_run_but_itself(interrupt: int, open_runs: Any, found: bool) -> None:
    there = environment(interrupt=interrupt)
    assert gates.interrupted(there, run(5), [run(number) for number in open_runs]) is found


# ── quarantine ───────────────────────────────────────────────────────────────


def test_the_pair_of_image_and_configuration_is_kept_out() -> None:
    there = gates.with_quarantine(environment(), release(2), "crashed", 5.0)
    entry = gates.quarantined(there, release(2))
    assert entry
    assert (entry.release, entry.reason, entry.since) == (2, "crashed", 5.0)
    assert gates.quarantined(there, release(9, image="sha256:2")) == entry, "the same under another number"


@pytest.mark.parametrize(
    "other",
    [release(2, image="sha256:new"), release(2, port=9000), release(2, secrets={"live": {"A": 1}})],
    ids=["image", "configuration", "secrets"],
)
def test_what_was_corrected_may_enter(other: Any) -> None:
    there = gates.with_quarantine(environment(), release(2), "crashed", 5.0)
    assert gates.quarantined(there, other) is None


def test_a_pair_is_in_quarantine_once_and_others_stay() -> None:
    there = gates.with_quarantine(environment(), release(1), "first", 1.0)
    there = gates.with_quarantine(there, release(2), "second", 2.0)
    assert gates.with_quarantine(there, release(1), "again", 3.0) is there
    assert [entry.reason for entry in there.quarantine] == ["first", "second"]


@pytest.mark.parametrize("kind", Kind)
def test_a_release_in_quarantine_is_refused_with_what_to_do(kind: Kind) -> None:
    there = gates.with_quarantine(environment(), release(2), "crashed", 5.0)
    with pytest.raises(AppFailed, match="in quarantine in live: crashed") as caught:
        gates.may_enter(MANUAL, there, release(2), run(3, kind), ())
    assert "pushlive unquarantine hello r2 --env live" in caught.value.advice


# ── after a crash ────────────────────────────────────────────────────────────


def test_a_run_that_has_switched_there_itself_is_in_already() -> None:
    there = switched_by(5, newest_run=9, hold=HELD)
    there = gates.with_quarantine(there, release(2), "crashed", 5.0)
    assert gates.may_enter(MANUAL, there, release(2), run(5), (run(9),)) is None


def test_a_step_has_passed_only_if_it_succeeded_in_that_stage() -> None:
    steps = (StepResult("dev", "verify", 1.0, 1.0), StepResult("live", "verify", 1.0, 1.0, False))
    assert run(steps=steps).passed("dev", "verify")
    assert not run(steps=steps).passed("live", "verify")
    assert not run(steps=steps).passed("dev", "smoke")
