"""Whether a run may enter an environment: one answer, whoever asks and when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.config.loading import load
from pipeline.domain import gates
from pipeline.domain.environment import Environment, SlotRecord, SlotState
from pipeline.domain.release import Release
from pipeline.domain.run import Kind, Run, StepResult
from pipeline.errors import AppFailed, Superseded

CONFIG = load("pipelines: {hello: {environments: {dev: , live: {promote: manual}}}}")
HELLO = CONFIG.pipelines["hello"]
RENDERED = {name: HELLO.render(name) for name in HELLO.environments}
RELEASE = Release("hello", 2, "c" * 40, "sha256:2", "hello:r2", 2, 1.0, RENDERED)
RUN = Run(
    "hello", 2, Kind.PUSH, "c" * 40, "refs/heads/main", "digest", ("build", "dev", "live"), 1.0, release=2
)


def ask(environment: Environment, run: Run = RUN, open_runs: tuple[Run, ...] = ()):
    return gates.may_enter(HELLO, environment, RELEASE, run, open_runs)


def test_an_automatic_environment_is_entered():
    assert ask(Environment("hello", "dev", 0)) is None


def test_a_manual_environment_is_entered_once_the_run_is_promoted():
    live = Environment("hello", "live", 1)
    assert ask(live) == gates.Gate("promotion to live is manual", "promote")
    assert ask(live, replace(RUN, promoted=("live",))) is None


def test_a_hold_keeps_every_run_out_but_a_revert():
    held = gates.hold(Environment("hello", "dev", 0), "a freeze", "ann", 1.0)
    assert ask(held) == gates.Gate("dev is held: a freeze (by ann)", "resume")
    assert ask(held, replace(RUN, kind=Kind.REVERT)) is None


def test_a_release_in_quarantine_is_refused_with_what_to_do():
    with pytest.raises(AppFailed, match="in quarantine in dev: bad") as caught:
        ask(gates.with_quarantine(Environment("hello", "dev", 0), RELEASE, "bad", 1.0))
    assert "pushlive unquarantine hello r2 --env dev" in caught.value.advice


def test_a_newer_run_that_is_verified_there_supersedes_it():
    with pytest.raises(Superseded, match="hello#3 is newer"):
        ask(Environment("hello", "dev", 0, newest_run=3))


def test_a_newer_open_run_that_has_switched_counts_once_the_lease_is_held():
    slots = {"blue": SlotRecord(3, 3, SlotState.SERVING, 1.0)}
    dev = Environment("hello", "dev", 0, active="blue", slots=slots)
    assert ask(dev) is None
    with pytest.raises(Superseded, match="hello#3 is newer"):
        ask(dev, open_runs=(replace(RUN, number=3),))


def test_a_run_that_has_switched_there_itself_is_in_already():
    slots = {"blue": SlotRecord(2, 2, SlotState.SERVING, 1.0)}
    live = Environment("hello", "live", 1, active="blue", slots=slots, newest_run=9)
    assert ask(live) is None


def test_a_step_has_passed_only_if_it_succeeded_in_that_stage():
    run = replace(
        RUN, steps=(StepResult("dev", "verify", 1.0, 1.0), StepResult("live", "verify", 1.0, 1.0, False))
    )
    assert run.passed("dev", "verify")
    assert not run.passed("live", "verify")
    assert not run.passed("dev", "smoke")
