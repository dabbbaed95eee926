"""What one environment took back is not promoted to the next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.domain.run import Outcome, State
from pipeline.errors import RequestError

GATED = "pipelines: {hello: {environments: {dev: , qa: , live: {promote: manual}}}}"
FORCE = "pushlive promote 'hello#2' --force --reason TEXT"


@pytest.fixture
def gated(make_world):
    """v1 is live, v2 waits before live."""
    world = make_world(GATED)
    for text in ("one", "two"):
        world.push(text)
        if text == "one":
            world.commands.promote("hello", "ann")
            world.work()
    assert world.run(2).gate == "live"
    return world


def waiting(world):
    [hello] = world.commands.status("hello")["pipelines"]
    return hello["waiting"]


def test_a_promotion_is_refused_after_the_release_was_taken_back_in_qa(gated):
    gated.revert(environment="qa", reason="wrong prices")
    assert gated.serving() == {"dev": 2, "qa": 1, "live": 1}
    with pytest.raises(RequestError, match="r2 was taken back in qa by ann: wrong prices") as caught:
        gated.commands.promote("hello", "bo")
    assert "pushlive revert hello --env qa --to r2" in caught.value.advice
    assert FORCE in caught.value.advice
    assert gated.run(2).state == State.WAITING
    assert gated.serving()["live"] == 1


def test_the_waiting_run_and_status_say_so(gated):
    assert waiting(gated)["taken_back"] is None
    gated.revert(environment="qa", reason="wrong prices")
    [said] = gated.events(gated.run(2), "warning")
    assert "r2 was taken back in qa by ann: wrong prices. It does not go to live now." in said.text
    for shown in (waiting(gated), gated.commands.show("hello", 2)["run"]):
        assert shown["taken_back"]["text"] == "r2 was taken back in qa by ann: wrong prices"
        assert shown["taken_back"]["force"] == FORCE


def test_it_is_promoted_once_qa_has_it_again(gated):
    gated.revert(environment="qa")
    gated.revert(environment="qa", to=2)
    assert waiting(gated)["taken_back"] is None
    gated.commands.promote("hello", "ann")
    gated.work()
    assert gated.run(2).outcome == Outcome.LIVE
    assert gated.environment("qa").taken_back == gated.environment("qa").taken_back[:1]
    assert gated.environment("qa").taken_back[0].release == 1


def test_lifting_the_quarantine_alone_does_not_bring_it_back_to_qa(gated):
    gated.revert(environment="qa")
    gated.commands.unquarantine("hello", "ann", 2, environment="qa")
    with pytest.raises(RequestError, match="taken back in qa"):
        gated.commands.promote("hello", "ann")


def test_a_person_can_force_it_with_a_reason(gated):
    gated.revert(environment="qa", reason="wrong prices")
    with pytest.raises(RequestError, match="needs a reason"):
        gated.commands.promote("hello", "bo", force=True)
    gated.commands.promote("hello", "bo", force=True, reason="only qa's prices are wrong")
    gated.work()
    assert gated.run(2).outcome == Outcome.LIVE
    assert gated.serving()["live"] == 2
    assert any("Forced: only qa's prices are wrong" in event.text for event in gated.events(gated.run(2)))
    entry = gated.commands.audit_log("hello")[0]
    assert (entry["act"], entry["why"]) == ("promote", "only qa's prices are wrong")


def test_a_revert_after_it_was_forced_keeps_it_out_again(gated):
    gated.revert(environment="qa")
    gated.commands.promote("hello", "bo", force=True, reason="urgent")
    gated.commands.revert("hello", "ann", environment="dev", reason="wrong in dev too")
    gated.work()
    run = gated.run(2)
    assert (run.state, run.gate) == (State.WAITING, "live")
    assert waiting(gated)["taken_back"]["environment"] == "dev"
    assert gated.serving()["live"] == 1


def test_a_run_on_its_way_stops_before_live_if_qa_takes_its_release_back(world):
    world.push("one")
    asked = []

    def revert() -> None:
        if not asked and world.engine.calls[-1][1][0].ref.environment == "live":
            asked.append(world.commands.revert("hello", "ann", environment="qa", reason="wrong prices"))

    number = world.accept(world.commit("two")).number
    world.engine.before("start", revert, times=9)
    world.work()  # as far as the gate
    world.work()
    run = world.run(number)
    assert asked
    assert (run.state, run.gate) == (State.WAITING, "live")
    assert world.serving() == {"dev": 2, "qa": 1, "live": 1}
    [gate] = world.events(run, "gate")
    assert "r2 was taken back in qa by ann: wrong prices" in gate.text
    assert FORCE in gate.text


def test_resume_does_not_let_it_pass_either(world):
    world.push("one")
    world.commands.hold("hello", "ann")
    world.push("two")
    world.revert(environment="qa")
    said = world.commands.resume("hello", "ann")
    assert any("hello#2 still waits: r2 was taken back in qa" in line for line in said)
    world.work()
    assert world.serving()["live"] == 1


def test_a_revert_that_failed_or_was_cancelled_took_nothing_back(gated):
    asked = gated.commands.revert("hello", "ann", environment="qa")
    gated.commands.cancel("hello", asked.number, "ann")
    assert gated.serving()["qa"] == 2
    gated.commands.promote("hello", "ann")
    gated.work()
    assert gated.run(2).outcome == Outcome.LIVE


def test_what_an_earlier_version_reverted_counts_by_its_quarantine(gated):
    gated.revert(environment="qa", reason="wrong prices")
    old = replace(gated.environment("qa"), taken_back=())
    gated.store.transact("hello", lambda tx: tx.put_environment(old))
    with pytest.raises(RequestError, match="r2 was taken back in qa: wrong prices"):
        gated.commands.promote("hello", "ann")
    gated.commands.promote("hello", "ann", force=True, reason="urgent")
    gated.work()
    assert gated.run(2).outcome == Outcome.LIVE


def test_a_fix_goes_its_way_although_the_release_before_it_was_taken_back(gated):
    gated.revert(environment="qa")
    gated.commands.resume("hello", "ann", environment="qa")
    gated.push("three")
    gated.commands.promote("hello", "ann")
    gated.work()
    assert gated.serving() == {"dev": 3, "qa": 3, "live": 3}
