"""Two people act at once, or on what is no longer so: an act is bound to what its person was shown."""

from __future__ import annotations

import shlex

import pytest

from pipeline.domain.run import Outcome
from pipeline.errors import NotFound, RequestError


def three(world) -> None:
    for text in ("one", "two", "three"):
        world.push(text)


def refused(world, by: str = "bo", **what: object) -> RequestError:
    """What a revert is refused with; nothing has changed then."""
    before = (world.serving(), world.environment("live"), world.store.last_run("hello"))
    with pytest.raises(RequestError) as error:
        world.commands.revert("hello", by, **what)
    assert (world.serving(), world.environment("live"), world.store.last_run("hello")) == before
    return error.value


def typed(world, advice: str) -> None:
    """Types the last command of an advice."""
    words = shlex.split(advice.split("`")[-2])
    assert words[:3] == ["pushlive", "revert", "hello"]
    options = dict(zip(words[3::2], words[4::2], strict=True))
    world.revert(environment=options["--env"], to=int(options["--to"].removeprefix("r")))


def test_the_second_of_two_people_who_revert_is_told_who_did_it(world):
    three(world)
    world.revert()
    world.clock.sleep(20)
    error = refused(world)
    assert error.message == "live was just reverted to r2 by ann, 20 s ago (hello#4). Nothing was done."
    assert error.advice == "To go further back: `pushlive revert hello --env live --to r1`."
    typed(world, error.advice)
    assert world.serving()["live"] == 1


def test_a_revert_that_has_not_ended_is_not_asked_for_twice(world):
    three(world)
    world.commands.revert("hello", "ann")
    error = refused(world)
    assert (
        error.message == "live is already being reverted to r2 by ann (hello#4, 0 s ago). Nothing was done."
    )
    assert error.advice.startswith("`pushlive follow 'hello#4'` shows it. To go further back than r2: ")
    typed(world, error.advice)
    assert world.serving()["live"] == 1


def test_a_deploy_after_a_revert_may_be_reverted_at_once(world):
    three(world)
    world.revert()
    world.commands.resume("hello", "ann")
    world.push("four")
    assert world.revert().release == 2


def test_a_revert_because_of_a_run_that_failed_goes_nowhere(world):
    world.push("one")
    world.push("two")
    world.break_app(3)
    failed = world.push("three")
    world.clock.sleep(30)
    error = refused(world)
    assert error.message.startswith(
        f"{failed.id} (r3) failed 30 s ago and does not serve: live serves r2 "
        f"({world.run(2).short} “two”, by hello#2 of ann "
    )
    typed(world, error.advice)
    assert world.serving()["live"] == 1


def test_a_revert_long_after_a_failed_run_goes_back(world):
    world.push("one")
    world.push("two")
    world.break_app(3)
    world.push("three")
    world.clock.sleep(121)
    assert world.revert().release == 1


def test_a_revert_of_a_run_is_done_only_while_its_release_serves(world):
    three(world)
    assert world.revert(run=3).release == 2
    error = refused(world, run=3)
    assert error.message.startswith("hello#3 (r3) does not serve live: it serves r2 (")
    typed(world, error.advice)
    assert world.serving()["live"] == 1


def test_a_revert_of_a_run_that_never_served_says_what_serves(world):
    world.push("one")
    world.push("two")
    world.break_app(3)
    world.push("three")
    world.clock.sleep(1000)
    assert refused(world, run=3).message.startswith("hello#3 (r3) never came to serve live: it serves r2 (")
    assert world.revert(run=2).release == 1


def test_a_revert_is_bound_to_the_release_that_was_shown(world):
    three(world)
    world.revert()
    error = refused(world, shown=3)
    assert error.message.startswith("live does not serve r3: it serves r2 (")
    assert refused(world, shown=3, to=1).message == error.message
    assert world.revert(shown=2).release == 1  # who has seen r2 there means it


def test_a_bound_revert_says_what_serves_though_there_is_nothing_to_go_back_to(world):
    world.push("one")
    world.push("two")
    world.revert()
    world.clock.sleep(1000)
    error = refused(world, run=2)
    assert error.message.startswith("hello#2 (r2) does not serve live: it serves r1 (")
    assert "`--to rN`" in error.advice
    assert refused(world, shown=2).message.startswith("live does not serve r2: it serves r1 (")
    with pytest.raises(NotFound):
        world.commands.revert("hello", "bo", run=99)
    none = "hello/live: there is no earlier good release to revert to"
    assert refused(world, shown=1).message.startswith(none)


def test_a_revert_of_one_environment_says_nothing_about_another(world):
    three(world)
    world.revert(environment="qa")
    assert world.revert().release == 2


def test_a_run_that_verifies_in_live_is_taken_back(world):
    world.push("one")
    world.push("two")
    real, asked = world.engine.public, []

    def public(spec):
        if spec.ref.environment == "live" and spec.release == 3 and not asked:
            asked.append(world.commands.revert("hello", "bo").number)
        return real(spec)

    world.engine.public = public
    world.push("three")
    world.work()
    assert world.run(asked[0]).outcome == Outcome.LIVE
    assert world.serving()["live"] == 2


# ── other acts ───────────────────────────────────────────────────────────────


def test_a_hold_that_another_person_has_just_set_is_not_lifted_unseen(world):
    world.push("one")
    world.commands.hold("hello", "bo", reason="a look at the logs")
    world.clock.sleep(1000)
    world.push("two")
    world.commands.hold("hello", "ann", reason="the index is being built", held_by="bo")
    world.clock.sleep(10)
    with pytest.raises(RequestError) as error:
        world.commands.resume("hello", "bo")
    assert error.value.message == (
        "hello/live was held by ann, 10 s ago: the index is being built. Nothing was done."
    )
    assert error.value.advice == "To lift that hold: `pushlive resume hello --env live --held-by ann`."
    assert world.environment("live").hold.by == "ann"
    with pytest.raises(RequestError, match="was held by ann"):
        world.commands.resume("hello", "ann", held_by="bo")
    world.commands.resume("hello", "bo", held_by="ann")
    assert world.environment("live").hold is None


def test_a_hold_is_lifted_by_its_own_person_or_after_a_while(world):
    world.push("one")
    world.commands.hold("hello", "ann")
    assert "hello/live is no longer held." in world.commands.resume("hello", "ann")
    world.commands.hold("hello", "ann")
    world.clock.sleep(121)
    assert "hello/live is no longer held." in world.commands.resume("hello", "bo")


def test_a_hold_of_another_person_is_not_replaced_unseen(world):
    world.push("one")
    world.commands.hold("hello", "ann", reason="the index is being built")
    world.clock.sleep(3 * 3600)
    with pytest.raises(RequestError) as error:
        world.commands.hold("hello", "bo", reason="a look")
    assert error.value.message.startswith("hello/live was held by ann, 3 h ago: the index is being built.")
    assert error.value.advice == (
        "It stays held. To hold it in their place: "
        "`pushlive hold hello --env live --held-by ann --reason TEXT`."
    )
    world.commands.hold("hello", "ann", reason="the index is still being built")
    world.commands.hold("hello", "bo", reason="a look", held_by="ann")
    assert world.environment("live").hold.by == "bo"


def test_a_cancellation_without_a_number_is_refused_if_several_runs_are_meant(make_world):
    world = make_world("pipelines: {hello: {environments: {dev: , live: {promote: manual}}}}")
    world.push("one")
    world.accept(world.commit("two"))
    with pytest.raises(RequestError) as error:
        world.commands.cancel("hello", None, "ann")
    assert error.value.message == "2 runs of hello have not ended. Nothing was done."
    assert error.value.advice == "Name one: `pushlive cancel 'hello#2'`, `pushlive cancel 'hello#1'`."
    world.commands.cancel("hello", 2, "ann")
    assert world.commands.cancel("hello", None, "ann").number == 1
    with pytest.raises(RequestError, match="hello#2 has already ended: cancelled"):
        world.commands.cancel("hello", None, "ann")


def test_a_promotion_without_a_run_is_refused_if_several_wait(make_world):
    config = "pipelines: {hello: {environments: {qa: {promote: manual}, live: {promote: manual}}}}"
    world = make_world(config)
    world.push("one")
    world.commands.promote("hello", "ann")
    world.work()
    world.push("two")
    with pytest.raises(RequestError) as error:
        world.commands.promote("hello", "ann")
    assert error.value.message == "2 runs of hello wait. Nothing was done."
    assert error.value.advice == (
        "Name one: `pushlive promote 'hello#2'` (to qa), `pushlive promote 'hello#1'` (to live)."
    )
    world.commands.promote("hello", "ann", run=1)


def test_a_restart_is_of_what_serves_once_no_run_is_at_work(world, monkeypatch):
    world.push("one")
    take, seen = world.store.leases.take, []

    def after_a_run(name: str, holder: str = ""):
        if holder == "restart" and not seen:
            seen.append(name)
            world.push("two")
        return take(name, holder)

    monkeypatch.setattr(world.store.leases, "take", after_a_run)
    restarted = []
    monkeypatch.setattr(world.engine, "restart_slot", lambda spec, *_: restarted.append(spec.release))
    list(world.tools.restart("hello", "bo", environment="live"))
    assert seen == ["env:hello/live"]
    assert restarted == [world.serving()["live"]] == [2]
