"""Approvals by several people, not by who pushed, that expire and are for the release that was shown."""

from __future__ import annotations

import pytest

from pipeline.cli.show import next_lines
from pipeline.cli.status import pipeline_lines
from pipeline.cli.terminal import plain
from pipeline.domain.run import Outcome, State
from pipeline.errors import NotFound, RequestError

CONFIG = """\
pipelines:
  hello:
    environments: {dev: , live: {promote: {manual: true, RULE}}}
"""
TWO = "approvals: 2, not_by_pusher: true, expires: 24h"


@pytest.fixture
def make(make_world):
    return lambda rule=TWO: make_world(CONFIG.replace("RULE", rule))


def promote(world, who: str, **what):
    run = world.commands.promote("hello", who, **what)
    world.work()
    return world.run(run.number)


def approval(world, number: int) -> dict:
    return world.commands.show("hello", number)["run"]["approval"]


def test_a_run_waits_until_two_others_have_approved_it(make):
    world = make()
    run = world.push("one")  # by ann
    assert run.state == State.WAITING
    [gate] = world.events(run, "gate")
    assert "promotion to live is manual: 0 of 2 approvals; ann, who pushed, cannot give one" in gate.text
    with pytest.raises(RequestError, match="ann pushed hello#1"):
        promote(world, "ann")
    assert promote(world, "ben").state == State.WAITING
    assert approval(world, 1)["text"] == (
        "promotion to live is manual: 1 of 2 approvals (ben); ann, who pushed, cannot give one"
    )
    with pytest.raises(RequestError, match="Ben has already approved hello#1 for live: 1 of 2"):
        promote(world, "Ben")
    done = promote(world, "cat")
    assert done.outcome == Outcome.LIVE
    assert [(one.environment, one.by, one.release) for one in done.approvals] == [
        ("live", "ben", 1),
        ("live", "cat", 1),
    ]
    acts = [(one["act"], one["who"]) for one in world.commands.audit_log("hello")]
    assert acts.count(("promote", "ben")) == acts.count(("promote", "cat")) == 1


def test_who_let_a_run_in_is_told_and_stays_in_its_log(make):
    world = make()
    run = world.push("one")
    assert not any("was approved" in line for line in world.commands.log("hello", 1))
    promote(world, "ben")
    promote(world, "cat")
    [told] = [one.text for one in world.events(run, "note") if "promoted" in one.text]
    assert told == "r1 promoted to live by cat, approved by ben, cat"
    [line] = [one for one in world.commands.log("hello", 1) if "was approved" in one]
    assert "live    r1 was approved for live by ben (" in line
    assert "), cat (" in line


def test_of_a_run_that_waits_for_a_hold_too_the_hold_comes_first_with_its_command(make):
    world = make()
    world.commands.hold("hello", "ada", environment="live")
    world.push("one")
    text = "live is held; after that, promotion to live is manual: 0 of 2 approvals; ann, who pushed, cannot give one"
    assert approval(world, 1)["text"] == text
    [entry] = world.commands.status("hello")["pipelines"]
    [line] = [one for one in pipeline_lines(entry, world.clock.now(), plain, 0) if "▷" in one]
    assert line.endswith(f"waits before live: {text}  → `pushlive resume hello --env live`")
    shown = next_lines(world.commands.show("hello", 1)["run"], plain)
    assert shown == [text, "`pushlive resume hello --env live` lifts the hold"]
    world.commands.resume("hello", "ada", environment="live")
    assert approval(world, 1)["text"] == text.partition("; after that, ")[2]


def test_a_promotion_says_what_the_run_waits_for_yet(make):
    world = make("approvals: 2")
    world.push("one")
    first = world.commands.promote("hello", "ben")
    assert world.commands.still_waits(first) == "promotion to live is manual: 1 of 2 approvals (ben)"
    world.push("two")
    world.commands.freeze("ada", environment="live", reason="a launch")
    first = world.commands.promote("hello", "ben")
    frozen = "live is frozen: a launch (by ada)"
    assert world.commands.still_waits(first) == (
        f"promotion to live is manual: 1 of 2 approvals (ben); then it waits for the freeze: {frozen}"
    )
    assert any(f"it waits for the freeze: {frozen}" in one.text for one in world.events(first, "gate"))
    second = world.commands.promote("hello", "cat")
    assert world.commands.still_waits(second) == frozen
    world.work()
    assert world.run(second.number).frozen
    world.commands.thaw("ada", environment="live", reason="launched")
    [world.jobs.opening.run() for _ in range(2)]
    assert world.commands.still_waits(world.run(second.number)) == ""


def test_an_approval_expires(make):
    world = make()
    world.push("one")
    promote(world, "ben")
    world.clock.sleep(24 * 3600)
    assert approval(world, 1)["given"] == []
    assert promote(world, "cat").state == State.WAITING
    assert promote(world, "ben").outcome == Outcome.LIVE


def test_an_approval_is_for_one_run(make):
    world = make()
    world.push("one")
    promote(world, "ben")
    second = world.push("two")
    assert world.run(1).outcome == Outcome.SUPERSEDED
    assert approval(world, second.number)["given"] == []
    with pytest.raises(RequestError, match="r2 waits before live now, not r1"):
        promote(world, "cat", release=1)


def test_approvals_that_expire_during_a_freeze_are_asked_for_again(make):
    world = make()
    world.push("one")
    world.commands.freeze("ada", environment="live", reason="a launch", lasting="2d")
    promote(world, "ben")
    assert promote(world, "cat").frozen
    world.clock.sleep(2 * 86400)
    world.jobs.opening.run()
    world.work()
    run = world.run(1)
    assert (run.state, run.frozen) == (State.WAITING, False)
    promote(world, "ben")
    assert promote(world, "cat").outcome == Outcome.LIVE


def test_a_stricter_rule_holds_for_a_run_that_was_promoted_already(make):
    world = make("approvals: 1")
    world.push("one")
    world.commands.promote("hello", "ben")
    world.configure(CONFIG.replace("RULE", TWO))
    world.work()
    assert world.run(1).state == State.WAITING
    assert promote(world, "cat").outcome == Outcome.LIVE


def test_a_release_that_was_taken_back_needs_every_approval_and_each_is_forced(make_world):
    world = make_world(
        "pipelines: {hello: {environments: {dev: , live: {promote: {manual: true, approvals: 2}}}}}"
    )
    for text in ("one", "two"):
        world.push(text)
    promote(world, "ben")
    promote(world, "cat")
    third = world.push("three")
    world.commands.revert("hello", "ann", environment="dev")
    world.work()
    with pytest.raises(RequestError, match="reverted"):
        promote(world, "ben")
    assert promote(world, "ben", force=True, reason="checked by hand").state == State.WAITING
    with pytest.raises(RequestError, match="reverted"):
        promote(world, "cat")
    assert promote(world, "cat", force=True, reason="checked as well").outcome == Outcome.LIVE
    assert world.run(third.number).forced


def test_the_end_of_a_hold_does_not_take_the_place_of_an_approval(make):
    world = make()
    world.commands.hold("hello", "ada", environment="live")
    world.push("one")
    said = world.commands.resume("hello", "ada", environment="live")
    assert any("still waits for a promotion" in line for line in said)
    world.work()
    assert world.run(1).state == State.WAITING


def test_a_revert_needs_no_approval(make):
    world = make()
    for text in ("one", "two"):
        world.push(text)
        promote(world, "ben")
        promote(world, "cat")
    assert world.revert(environment="live").outcome == Outcome.LIVE


def test_who_asks_for_a_deploy_cannot_approve_it(make):
    world = make("not_by_pusher: true")
    world.push("one")
    promote(world, "ben")
    run = world.commands.deploy("hello", "ben", release=1)
    world.work()
    with pytest.raises(RequestError, match="ben asked for hello#2"):
        promote(world, "ben", run=run.number)
    assert promote(world, "cat", run=run.number).outcome == Outcome.LIVE


# ── approvals that are withdrawn ─────────────────────────────────────────────


def withdraw(world, who: str, **what) -> tuple[str, ...]:
    said = world.commands.withdraw("hello", who, **what)
    world.work()
    return said


def acted(world) -> list[tuple]:
    keys = ("act", "who", "environment", "run", "why", "before", "after")
    return [tuple(one[key] for key in keys) for one in world.commands.audit_log("hello")][::-1]


def test_an_approval_that_is_withdrawn_does_not_count(make):
    world = make()
    run = world.push("one")
    promote(world, "ben")
    assert withdraw(world, "Ben", reason="a bug") == (
        "The approval of hello#1 (r1) for live by Ben is withdrawn.",
        "It waits before live: promotion to live is manual: 0 of 2 approvals; ann, who pushed, cannot give one. "
        "The next: `pushlive promote 'hello#1'`.",
    )
    assert world.events(run, "gate")[-1].text.startswith(
        "Ben has withdrawn the approval of r1 for live: a bug."
    )
    assert acted(world)[-1] == (
        "withdraw", "Ben", "live", "hello#1", "a bug", "waiting, 1 of 2 approvals", "waiting, 0 of 2 approvals",
    )  # fmt: skip
    assert promote(world, "cat").state == State.WAITING
    assert promote(world, "ben").outcome == Outcome.LIVE
    with pytest.raises(RequestError, match="r1 is in live already"):
        withdraw(world, "ben", run=1)


def test_a_run_that_waits_for_a_freeze_waits_for_people_again(make):
    world = make("approvals: 2")
    world.push("one")
    world.commands.freeze("ada", environment="live", reason="a launch", lasting="2h")
    promote(world, "ben")
    run = promote(world, "cat")
    assert (run.frozen, run.promoted) == (True, ("live",))
    world.clock.sleep(100)
    withdraw(world, "cat")
    run = world.run(1)
    assert (run.state, run.frozen, run.promoted, run.human >= 100) == (State.WAITING, False, (), True)
    assert approval(world, 1)["text"] == "promotion to live is manual: 1 of 2 approvals (ben)"
    world.clock.sleep(7200)
    world.jobs.opening.run()
    world.work()
    assert world.run(1).state == State.WAITING, "the end of the freeze does not let it in"
    assert promote(world, "cat").outcome == Outcome.LIVE


def test_a_run_that_waits_for_a_hold_needs_the_approval_again(make):
    world = make("approvals: 1")
    world.push("one")
    world.commands.promote("hello", "ben")
    world.commands.hold("hello", "ada", environment="live")
    world.work()
    withdraw(world, "ben")
    said = world.commands.resume("hello", "ada", environment="live")
    assert any("still waits for a promotion" in line for line in said)
    world.work()
    assert world.run(1).state == State.WAITING
    assert promote(world, "cat").outcome == Outcome.LIVE


def test_a_run_that_is_on_its_way_stops_before_it_gets_any_traffic(make):
    world = make("approvals: 1")
    world.push("one")
    world.commands.promote("hello", "ben")
    assert world.run(1).state == State.RUNNING
    assert "It will wait before live" in withdraw(world, "ben")[1]
    assert world.run(1).state == State.WAITING
    assert world.serving()["live"] is None


def test_nothing_is_withdrawn_that_a_person_has_not_given(make):
    world = make()
    with pytest.raises(RequestError, match="ben has not approved any run of hello"):
        withdraw(world, "ben")
    world.push("one")
    promote(world, "ben")
    before = acted(world)
    for what, said in (
        ({}, "cat has not approved any run"),
        ({"run": 1}, "cat has not approved hello#1"),
    ):
        with pytest.raises(RequestError, match=said):
            withdraw(world, "cat", **what)
    with pytest.raises(RequestError, match="ben has not approved hello#1 for dev"):
        withdraw(world, "ben", run=1, environment="dev")
    with pytest.raises(RequestError, match="hello#1 has r1 now, not r7"):
        withdraw(world, "ben", run=1, release=7)
    with pytest.raises(NotFound):
        withdraw(world, "ben", run=99)
    with pytest.raises(NotFound):
        world.commands.withdraw("nope", "ben")
    assert acted(world) == before
    world.commands.cancel("hello", 1, "ann")
    with pytest.raises(RequestError, match="hello#1 has ended already: cancelled"):
        withdraw(world, "ben", run=1)


def test_a_forced_approval_that_is_withdrawn_has_to_be_forced_again(make_world):
    world = make_world(CONFIG.replace("RULE", "approvals: 1"))
    for text in ("one", "two"):
        world.push(text)
    promote(world, "ben")
    third = world.push("three")
    world.commands.revert("hello", "ann", environment="dev")
    world.work()
    world.commands.freeze("ada", environment="live", reason="a launch")
    assert promote(world, "ben", run=third.number, force=True, reason="checked").frozen
    withdraw(world, "ben", run=third.number)
    world.commands.thaw("ada", environment="live", reason="over")
    with pytest.raises(RequestError, match="reverted"):
        promote(world, "cat", run=third.number)


def test_a_promotion_that_is_not_enough_says_how_many_there_are(make):
    world = make("approvals: 2")
    world.push("one")
    promote(world, "ben")
    [entry] = [one for one in world.commands.audit_log("hello") if one["act"] == "promote"]
    assert entry["detail"] == "1 of 2 approvals; more are needed"


def test_an_approval_that_is_withdrawn_while_the_release_starts_keeps_it_out(make, monkeypatch):
    world = make("approvals: 1")
    world.push("one")
    world.commands.promote("hello", "ben")
    start, said = world.engine.start, []

    def starting(*arguments: object, **named: object) -> object:
        if not said:
            said.extend(world.commands.withdraw("hello", "ben", run=1))
        return start(*arguments, **named)

    monkeypatch.setattr(world.engine, "start", starting)
    world.work()
    run = world.run(1)
    assert "It will wait before live" in said[1]
    assert (run.state, run.gate, world.serving()["live"]) == (State.WAITING, "live", None)
    assert promote(world, "cat").outcome == Outcome.LIVE
