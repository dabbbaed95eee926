"""A release's command runs once in each environment; what it did is said, and can be undone."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from pipeline.adapters.fake import Killed
from pipeline.deploy.going_back.readiness import revert_readiness
from pipeline.domain.audit_chain import Actor
from pipeline.domain.engine_types import CommandResult, SlotRef
from pipeline.domain.release import Release
from pipeline.domain.run import Outcome, State
from pipeline.errors import AppFailed, RequestError
from webhooks.pages.acts.environments import on_environment

ANN = Actor("ann", "developer")
ONE = "pipelines: {hello: {service: {release: RELEASE}, environments: {live: }}}"
PLAIN = ONE.replace("RELEASE", "[./migrate, up]")
BACK = ONE.replace("RELEASE", "{command: [./migrate, up], back: [./migrate, down], reversible: false}")
ONE_WAY = ONE.replace("RELEASE", "{command: [./migrate, up], reversible: false}")
HARMLESS = ONE.replace("RELEASE", "{command: [./migrate, up], cancel: true}")


def ran(world) -> list[str]:
    """What was run, in order: "r2 up"."""
    calls = [act for name, act in world.engine.calls if name == "command"]
    return [f"r{spec.release} {argv[-1]}" for spec, _name, argv, *_ in calls]


def readiness(world) -> dict[str, object]:
    return revert_readiness(world.store, world.environment("live"), frozenset())


@pytest.fixture
def back(make_world):
    world = make_world(BACK)
    world.push("one")
    world.push("two")
    return world


def test_once_for_each_release_and_environment(make_world):
    world = make_world(PLAIN.replace("{live: }", "{qa: , live: }"))
    world.push("one")
    world.push("two")
    assert ran(world) == ["r1 up", "r1 up", "r2 up", "r2 up"]  # qa and live
    world.revert()
    world.revert(to=2)
    world.revert(to=1)
    world.commands.resume("hello", "ann")
    world.commands.unquarantine("hello", "ann", 2)
    again = world.commands.deploy("hello", "ann", release=2)
    world.work()
    assert world.run(again.number).outcome == Outcome.LIVE
    assert len(ran(world)) == 4
    said = [event.text for event in world.events(again, "note")]
    assert "the release command of r2 has run here before and is not run again" in said


def test_it_runs_again_once_its_back_has_run(back):
    back.revert(back=True)
    assert back.serving()["live"] == 1
    assert ran(back) == ["r1 up", "r2 up", "r2 down"]
    run = back.run(3)
    step = next(step for step in run.steps if step.step == "back")
    assert (run.back, step.ok, step.detail) == ((2,), True, "r2: exit 0")
    order = [name for name in back.engine.names() if name in ("command", "switch")]
    assert order[-2:] == ["command", "switch"]
    back.revert(to=2)
    assert ran(back)[3:] == ["r2 up"]
    back.revert(to=1, across=2)
    back.revert(to=2)
    assert ran(back)[4:] == []


def test_releases_of_an_earlier_version_do_not_run_theirs_again(make_world):
    world = make_world(PLAIN)
    world.push("one")
    forget_as_earlier(world, 1)
    again = world.commands.deploy("hello", "ann", release=1)
    world.push("two")
    assert world.run(again.number).outcome in (Outcome.LIVE, Outcome.SUPERSEDED)
    assert ran(world) == ["r1 up", "r2 up"]
    assert world.engine.through == {"release-1": True, "release-3": True}


def forget_as_earlier(world, number: int) -> None:
    """The records as an earlier version wrote them."""

    def act(tx):
        tx.put_release(replace(tx.release(number), form=0))
        tx.put_environment(replace(tx.environment("live"), commands=()))

    world.store.transact("hello", act)


def test_releases_of_an_earlier_version_run_theirs_without_the_entrypoint(make_world):
    world = make_world(PLAIN.replace("{live: }", "{qa: , live: {promote: manual}}"))
    world.push("one")
    forget = world.store.release("hello", 1)
    world.store.transact("hello", lambda tx: tx.put_release(replace(forget, form=0)))
    world.engine.through.clear()
    world.commands.promote("hello", "ann")
    world.work()
    assert world.engine.through == {"release-1": False}


def test_the_entrypoint_can_be_left_out(make_world):
    world = make_world(ONE.replace("RELEASE", "{command: [./migrate], entrypoint: false}"))
    world.push("one")
    assert world.engine.through == {"release-1": False}


def test_a_revert_across_what_is_not_reversible_is_asked_about(back):
    with pytest.raises(RequestError) as caught:
        back.commands.revert("hello", "ann")
    assert str(caught.value) == (
        "r2 has run its release command in live (`./migrate up`) and says `reversible: false`, so r1 may not work "
        "with what it has changed. Nothing was done. To undo it first with `./migrate down`: `pushlive revert hello "
        "--env live --to r1 --back`. To go back all the same: `pushlive revert hello --env live --to r1 --across r2`."
    )
    assert back.environment("live").hold is None
    found = readiness(back)
    assert (found["ready"], found["across"]) == (True, 2)
    assert found["text"] == (
        "revert ready: r1, warm, across the release command of r2, which is not reversible"
    )
    back.revert(across=2)
    assert back.serving()["live"] == 1
    assert ran(back) == ["r1 up", "r2 up"]


def test_what_was_confirmed_for_one_release_is_not_for_the_next(back):
    back.push("three")
    with pytest.raises(RequestError) as caught:
        back.commands.revert("hello", "ann", to=1, across=2)
    assert str(caught.value) == (
        "r3 and r2 have run their release commands in live (`./migrate up`) and say `reversible: false`, so r1 may not "
        "work with what they have changed. Nothing was done. To undo r3 and r2 first with `./migrate down`: `pushlive "
        "revert hello --env live --to r1 --back`. To go back all the same: `pushlive revert hello --env live --to r1 "
        "--across r3`."
    )
    back.revert(to=1, back=True)
    assert ran(back)[3:] == ["r3 down", "r2 down"]


def test_without_a_back_there_is_nothing_to_undo(make_world):
    world = make_world(PLAIN)
    world.push("one")
    world.push("two")
    with pytest.raises(RequestError, match="there is no release command after r1 that a `back` could undo"):
        world.commands.revert("hello", "ann", back=True)
    assert world.environment("live").hold is None
    assert readiness(world)["text"] == "revert ready: r1, warm"


def test_a_back_that_fails_moves_nothing_and_says_nothing_against_the_target(back):
    back.engine.commands = lambda spec, argv: CommandResult(3, "no such table\n", 0.1)
    back.revert(back=True)
    run = back.run(3)
    assert (run.outcome, run.failure.step, run.failure.evidence) == (
        Outcome.FAILED,
        "back",
        ("no such table",),
    )
    live = back.environment("live")
    assert live.serving == 2
    assert {one.release for one in live.quarantine} == {2}
    assert "r2 keeps serving" in run.failure.advice
    back.engine.commands = lambda spec, argv: CommandResult(0, "", 0.1)
    again = back.commands.retry("hello", 3, "ann")
    back.work()
    assert (back.run(again.number).outcome, back.serving()["live"]) == (Outcome.LIVE, 1)
    assert ran(back)[2:] == ["r2 down", "r2 down"]


def test_a_target_that_fails_after_the_back_says_what_serves_on_it(back):
    back.engine.fail("preview", AppFailed("it is broken."))
    back.revert(back=True)
    failure = back.run(3).failure
    assert "`back` of r2 had succeeded, and r2 still serves live with what that left" in failure.advice
    back.revert(to=2)
    assert back.run(4).outcome == Outcome.LIVE
    assert ran(back)[2:] == ["r2 down", "r2 up"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", ["command", "forget_command", "start"])
def test_fault_33_a_worker_that_dies_around_a_back_runs_it_once(back, call, after):
    ends = []
    done = back.engine.commands
    back.engine.commands = lambda spec, argv: ends.append(argv[-1]) or done(spec, argv)
    back.clock.sleep(700)
    back.reconcile()
    back.engine.kill(call, after=after)
    with pytest.raises(Killed):
        back.revert(back=True)
    back.work()
    assert back.run(3).outcome == Outcome.LIVE
    assert ends == ["down"]


def test_a_failed_start_says_that_the_release_command_had_succeeded(back):
    back.engine.fail("ready", AppFailed("it exited with 3."))
    failure = back.push("three").failure
    assert failure.step == "start"
    assert (
        "The release command of r3 (`./migrate up`) had succeeded in live: what it changed, such as the database, "
        "stays changed while r2 serves. Fix forward, or `pushlive revert hello --env live --to r2 --back` runs "
        "`./migrate down`." in failure.advice
    )
    back.revert(to=2, back=True)
    assert back.run(4).outcome == Outcome.LIVE
    assert back.serving()["live"] == 2
    assert ran(back)[3:] == ["r3 down"]
    assert {one.release for one in back.environment("live").quarantine} == {3}


def test_a_cancellation_ends_a_command_that_says_so(make_world):
    world = make_world(HARMLESS)
    number = world.accept(world.commit("one")).number
    world.engine.hang("command")
    world.engine.before("command", lambda: world.commands.cancel("hello", number, "ann"))
    world.work()
    run = world.run(number)
    assert run.outcome == Outcome.CANCELLED
    assert "The release command ./migrate up was stopped, which is harmless" in run.reason
    assert world.engine.ended == ["release-1"]
    assert world.environment("live").hold is None


def test_a_command_that_is_abandoned_leaves_its_outcome_unknown(make_world):
    world = make_world(PLAIN)
    world.push("one")
    number = world.accept(world.commit("two")).number
    world.engine.hang("command")
    world.engine.before("command", lambda: world.commands.abandon("hello", number, "ann"))
    began = world.clock.monotonic()
    world.work()
    assert world.clock.monotonic() - began < 10
    run, live = world.run(number), world.environment("live")
    assert run.outcome == Outcome.FAILED
    assert run.failure.message.startswith("The release command was abandoned by ann")
    assert run.failure.whose == "application"
    assert "`pushlive resume hello --env live`" in run.failure.advice
    assert world.engine.ended == [f"release-{number}"]
    assert live.hold.by == run.id
    assert live.serving == 1


def test_only_a_command_that_runs_can_be_abandoned(make_world):
    world = make_world(PLAIN)
    run = world.push("one")
    with pytest.raises(RequestError, match="hello#1 runs no release command now; it has ended: live"):
        world.commands.abandon("hello", run.number, "ann")
    assert world.run(1).state == State.ENDED


def test_the_default_of_a_stored_release_is_the_old_way():
    made = Release("hello", 1, "a" * 40, "sha256:1", "hello:r1", 1, 0.0, {})
    assert made.form == 0


def test_a_warm_release_that_fails_since_a_release_command_says_so(make_world):
    world = make_world(PLAIN)
    world.push("one")
    world.push("two")
    live = world.environment("live")
    warm = SlotRef("hello", "live", live.index, "blue")
    world.engine.sicken(warm, 1, "it answered 500")
    world.jobs.health.run()
    assert readiness(world)["text"] == (
        "not ready: r1 is warm, but does not work (live-1: it answered 500) since the release command of r2"
    )
    world.clock.sleep(100)
    world.engine.sicken(warm, 1, "")
    world.jobs.health.run()
    assert readiness(world)["text"] == "revert ready: r1, warm"
    world.engine.sicken(warm, 1, "it answered 500")
    world.jobs.health.run()
    assert "since" not in readiness(world)["text"]


def test_the_page_asks_and_is_bound_to_what_it_showed(back):
    def asked():
        serving = back.environment("live").serving
        shown = {"name": "live", "release": serving, "commit": "", "message": "", "revert": readiness(back)}
        status = {"pipelines": [{"name": "hello", "environments": [shown]}]}
        return on_environment(SimpleNamespace(status=lambda _: status), ANN, "hello", "live", "revert")

    found = asked()
    assert found.sentences[0].startswith("r2 has run its release command in live (`./migrate up`)")
    assert found.choice == "Undo what the release commands have changed first: run `./migrate down` in r2"
    assert found.fields == {"from": "2", "to": "1", "across": "2", "backs": "2"}
    back.push("three")
    with pytest.raises(RequestError, match="something has changed since this page was loaded"):
        asked().confirmed(ANN, found.fields)
