"""Pushes that ask not to be deployed: recorded as ignored, with the reason, and in no other push's way."""

from __future__ import annotations

import secrets

import pytest

from pipeline.domain.run import Outcome, Push
from pipeline.lib.push_notes import Note, Update


def skipped(world, option: str = ""):
    """A push with ``[skip ci]`` in its commit's message, or with the option."""
    commit = world.commit("docs only" if option else "docs only [skip ci]")
    push = Push("hello", "hello", "refs/heads/main", commit, secrets.token_hex(8), "ann", skip=option)
    return world.commands.accept(push).run


@pytest.mark.parametrize("option", ["", "it was pushed with -o ci.skip"])
def test_a_push_that_asks_for_it_is_recorded_as_ignored_and_the_next_one_goes(world, option):
    world.push("one")
    run = skipped(world, option)
    world.work()
    run = world.run(run.number)
    assert (run.outcome, run.reason) == (Outcome.IGNORED, option or "its commit message says [skip ci]")
    assert [event.kind for event in world.events(run)] == ["accepted", "end"]
    assert world.events(run, "end")[0].data["more"] == [
        f"to deploy it all the same: `pushlive deploy hello --commit {run.short}`"
    ]
    assert world.serving()["live"] == 1
    assert world.push("two").outcome == Outcome.LIVE
    assert world.serving()["live"] == 2


@pytest.mark.parametrize("option", ["", "it was pushed with -o ci.skip"])
def test_an_older_push_goes_live_although_the_head_is_ignored(world, option):
    queued = world.accept(world.commit("one"))
    skipped(world, option)
    world.work()
    assert world.run(queued.number).outcome == Outcome.LIVE


def test_of_several_pushes_before_an_ignored_head_only_the_newest_goes_live(world):
    first = world.commit("one")
    second = world.commit("two")
    for commit in (second, first):  # delivered in the wrong order
        world.accept(commit)
    skipped(world)
    world.work()
    ends = [(run.commit, run.outcome) for run in world.store.recent("hello", 9)]
    assert [commit for commit, outcome in ends if outcome == Outcome.LIVE] == [second]
    assert world.store.release("hello", world.serving()["live"]).commit == second


def test_a_person_may_deploy_it_all_the_same(world):
    world.push("one")
    run = skipped(world)
    deployed = world.commands.deploy("hello", "ann", commit=run.commit)
    world.work()
    assert world.run(deployed.number).outcome == Outcome.LIVE


def test_the_retry_of_an_ignored_run_deploys_it(world):
    run = skipped(world)
    again = world.commands.retry("hello", run.number, "ann")
    world.work()
    assert (world.run(again.number).outcome, world.run(again.number).commit) == (Outcome.LIVE, run.commit)


def test_another_delivery_of_an_ignored_push_is_the_same_run(world):
    run = skipped(world)
    assert world.accept(run.commit).number == run.number


def test_an_ignored_push_that_was_not_recorded_is_found_by_the_keeper_and_stays_ignored(world):
    commit = world.head("docs")
    updates = (Update("0" * 40, commit, "refs/heads/main"),)
    world.hosted.note("hello", Note("a" * 32, "ann", "developer", "", updates, "ci.skip"))
    for _ in range(2):
        world.jobs.heads.run()
    (run,) = world.store.recent("hello", 5)
    assert (run.outcome, run.reason) == (Outcome.IGNORED, "it was pushed with -o ci.skip")


def test_a_lost_delivery_of_an_ignored_head_is_ignored_as_well(world):
    """The worker finds the head when it fetches; no webhook told of it."""
    first = world.accept(world.commit("one"))
    head = world.head("docs [ci skip]")
    world.work()
    assert world.run(first.number).outcome == Outcome.LIVE
    assert world.accept(head).outcome == Outcome.IGNORED
