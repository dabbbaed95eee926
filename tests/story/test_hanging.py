"""A check that does not return: what a person asked for does not wait for it."""

from __future__ import annotations

import threading
import time

import pytest

from pipeline.deploy.smoke import asker
from pipeline.domain.run import Outcome
from pipeline.lib import bounded
from pipeline.lib.bounded import left_behind
from tests.support.waiting import until


@pytest.fixture
def stuck(world):
    """Makes the next requests to the new release hang until the test is over; each calls what is given first."""
    over = threading.Event()

    def hang(first=lambda: None, times=1, pace=1):
        def act():
            first()
            while not over.wait(0.01):
                world.clock.sleep(0.01 * pace)  # a run looks at its record by this clock

        world.probe.before("get", act, times=times)

    yield hang
    over.set()
    until(lambda: left_behind() == 0)


def test_fault_50_a_cancellation_does_not_wait_for_a_check_that_is_stuck(world, stuck):
    world.push("one")
    number = world.accept(world.commit("two")).number
    stuck(lambda: world.commands.cancel("hello", number, "ann"))
    began = time.monotonic()
    world.work()
    assert time.monotonic() - began < 20
    run = world.run(number)
    assert run.outcome == Outcome.CANCELLED
    assert "by ann" in run.reason
    assert world.serving() == {"dev": 1, "qa": 1, "live": 1}
    assert left_behind() == 1


def test_fault_50_a_revert_does_not_wait_for_a_check_that_is_stuck(make_world):
    world = make_world("pipelines: {hello: {environments: {live: }}}")
    world.push("one")
    world.push("two")
    over, asked = threading.Event(), []

    def hang():
        asked.append(world.commands.revert("hello", "ann", to=1).number)
        while not over.wait(0.01):
            world.clock.sleep(0.01)

    number = world.accept(world.commit("three")).number
    world.probe.before("get", hang)
    try:
        world.work()
        assert world.run(number).outcome == Outcome.CANCELLED
        assert world.run(asked[0]).outcome == Outcome.LIVE
        assert world.serving()["live"] == 1
    finally:
        over.set()
        until(lambda: left_behind() == 0)


def test_fault_50_a_check_that_is_stuck_fails_and_says_that_it_was_abandoned(world, stuck, monkeypatch):
    monkeypatch.setattr(asker, "LEEWAY", -4.8)  # of a health check, which has 5 s
    stuck(times=99, pace=20)
    run = world.push("one")
    assert run.outcome == Outcome.FAILED
    assert "no answer after 0.2 s; the check was abandoned" in run.failure.message


def test_fault_50_checks_that_are_abandoned_are_limited(world, stuck, monkeypatch):
    monkeypatch.setattr(asker, "LEEWAY", -4.9)
    monkeypatch.setattr(bounded, "LIMIT", 1)
    stuck(times=99)
    run = world.push("one")
    assert (run.outcome, run.failure.whose) == (Outcome.FAILED, "engine")
    assert "earlier checks of this run were abandoned" in run.failure.message
    assert left_behind() == 1
