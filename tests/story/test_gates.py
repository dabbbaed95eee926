"""A gate that is added to pipelines.yaml holds for the runs that are on their way."""

from __future__ import annotations

import pytest

from pipeline.domain.run import Outcome, State

AUTO = "pipelines: {hello: {environments: {dev: , qa: , live: }}}"
MANUAL = "pipelines: {hello: {environments: {dev: , qa: , live: {promote: manual}}}}"


@pytest.fixture
def world(make_world):
    one = make_world(AUTO)
    one.push("one")
    return one


@pytest.mark.parametrize("where", ["qa", "live"])
def test_a_gate_that_is_added_while_a_run_is_on_its_way_holds_it(world, where):
    """Also when its slot in live is starting already: the gate is asked again before the switch."""

    def add() -> None:
        if world.engine.calls[-1][1][0].ref.environment == where:
            world.configure(MANUAL)

    world.engine.before("start", add, times=9)
    run = world.push("two")
    assert (run.state, run.gate) == (State.WAITING, "live")
    assert world.serving() == {"dev": 2, "qa": 2, "live": 1}
    [gate] = world.events(run, "gate")
    assert "promotion to live is manual" in gate.text
    world.commands.promote("hello", "ann")
    world.work()
    assert world.run(run.number).outcome == Outcome.LIVE


def test_a_gate_that_is_removed_still_holds_a_run_that_began_with_it(world):
    world.configure(MANUAL)
    first = world.push("two")
    world.configure(AUTO)
    assert world.run(first.number).state == State.WAITING
    assert world.push("three").outcome == Outcome.LIVE
    assert world.run(first.number).outcome == Outcome.SUPERSEDED


def test_resume_does_not_pass_a_gate_that_was_added_since(world):
    world.commands.hold("hello", "ann")
    run = world.push("two")
    world.configure(MANUAL)
    said = world.commands.resume("hello", "ann")
    assert any("still waits for a promotion" in line for line in said)
    world.work()
    assert world.run(run.number).state == State.WAITING


def test_a_gate_that_is_added_between_resume_and_the_worker_holds(world):
    world.commands.hold("hello", "ann")
    run = world.push("two")
    world.commands.resume("hello", "ann")
    world.configure(MANUAL)
    world.work()
    assert world.run(run.number).state == State.WAITING
    assert world.serving()["live"] == 1


def test_a_wrong_file_takes_no_gate_away(make_world):
    world = make_world(MANUAL)
    world.commands.status()
    world.configure("pipelines: [")
    assert world.push("one").state == State.WAITING


def test_a_revert_waits_at_no_gate(world):
    world.push("two")
    world.configure(MANUAL)
    assert world.revert().outcome == Outcome.LIVE
