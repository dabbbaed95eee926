"""Revert, hold, quarantine, gates."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.adapters.fake import Killed
from pipeline.deploy.entry import Entry
from pipeline.domain.run import Kind, Outcome, State
from pipeline.errors import RequestError

MANUAL = "pipelines: {hello: {environments: {dev: , live: {promote: manual}}}}"


def test_revert_takes_the_warm_slot_and_starts_nothing(world):
    world.push("one")
    world.push("two")
    held = dict(world.engine.contents)
    run = world.revert(reason="slow")
    assert (run.kind, run.outcome, run.release, run.stages) == (Kind.REVERT, Outcome.LIVE, 1, ("live",))
    assert world.serving() == {"dev": 2, "qa": 2, "live": 1}
    assert world.engine.contents == held
    live = world.environment("live")
    assert live.hold.reason == "slow"
    assert [q.release for q in live.quarantine] == [2]
    assert live.slots["green"].state == "warm"


def test_a_cold_revert_starts_the_retained_image_with_its_own_configuration(world):
    world.push("one")
    world.configure(world.settings.config.read_text().replace("replicas: 2", "replicas: 3"))
    world.push("two")
    world.push("three")
    run = world.revert(to=1)
    assert run.outcome == Outcome.LIVE
    ref = world.environment("live")
    [spec] = [
        s.spec for p, s in world.engine.contents.items() if p.environment == "live" and p.slot == ref.active
    ]
    assert (spec.release, spec.config.service.replicas) == (1, 2)


def test_without_a_release_before_it_a_revert_is_refused(world):
    world.push("one")
    with pytest.raises(RequestError, match="no earlier good release"):
        world.commands.revert("hello", "ann")
    assert world.environment("live").hold is None


def test_a_second_run_of_the_same_image_is_not_called_the_first_release(world):
    first = world.push("one")
    run = world.commands.deploy("hello", "ann")
    world.work()
    more = [world.events(one, "end")[-1].data["more"] for one in (first, run)]
    assert more == [
        ["this is the first release here, so there is nothing to revert to yet"],
        ["r1 has the image and configuration of r2, so there is nothing to revert to yet"],
    ]
    live = world.commands.status("hello")["pipelines"][0]["environments"][-1]["revert"]
    assert live["text"] == "not ready: no earlier good release, r1 has the image and configuration of r2"
    with pytest.raises(
        RequestError, match="good release to revert to: r1 has the image and configuration of r2"
    ):
        world.commands.revert("hello", "ann")


def test_a_second_revert_goes_further_back_and_never_into_quarantine(world):
    for text in ("one", "two", "three"):
        world.push(text)
    assert world.revert().release == 2
    world.clock.sleep(121)
    assert world.revert().release == 1
    with pytest.raises(RequestError, match="no earlier good release"):
        world.commands.revert("hello", "ann")


def test_a_hold_stops_the_next_push_before_live_until_it_is_resumed(world):
    world.push("one")
    world.push("two")
    world.revert()
    run = world.push("three")
    assert (run.state, run.gate) == (State.WAITING, "live")
    assert world.serving() == {"dev": 3, "qa": 3, "live": 1}
    [gate] = world.events(run, "gate")
    assert "pushlive resume hello --env live" in gate.text
    said = world.commands.resume("hello", "ann")
    assert any("continues to live" in line for line in said)
    world.work()
    assert world.run(run.number).outcome == Outcome.LIVE
    assert world.serving()["live"] == 3


def test_a_held_environment_promotes_by_resume_only(world):
    world.push("one")
    world.push("two")
    world.revert()
    world.push("three")
    with pytest.raises(RequestError, match="live is held"):
        world.commands.promote("hello", "ann")


@pytest.mark.parametrize(
    ("who", "by", "reason"),
    [
        ("ann", "ann", "I look. slow"),
        ("bo", "bo", "slow. Before that, ann held it: I look"),
    ],
)
def test_a_revert_keeps_the_reason_of_a_persons_hold(world, who: str, by: str, reason: str):
    world.push("one")
    world.push("two")
    world.commands.hold("hello", "ann", reason="I look")
    world.commands.revert("hello", who, reason="slow")
    world.work()
    hold = world.environment("live").hold
    assert (hold.by, hold.reason) == (by, reason)
    world.commands.resume("hello", who)
    assert world.commands.audit_log("hello")[0]["detail"] == f"the hold was: {reason}"


def test_fault_36_a_revert_during_a_deploy_wins(world):
    world.push("one")
    world.push("two")
    number = world.accept(world.commit("three")).number
    asked, said = [], []

    def revert() -> None:
        if len(world.engine.calls) and world.engine.calls[-1][1][0].ref.environment == "live":
            with pytest.raises(RequestError) as refused:
                world.commands.revert("hello", "ann")
            said.append(refused.value)
            asked.append(world.commands.revert("hello", "ann", to=1).number)

    world.engine.before("start", revert, times=3)
    world.work()
    assert len(asked) == 1
    assert f"hello#{number} (r3) is at work in live and does not serve: live serves r2" in said[0].message
    assert said[0].advice == (
        f"To stop the run: `pushlive cancel 'hello#{number}'`. "
        "To take r2 back as well: `pushlive revert hello --env live --to r1`."
    )
    deploy, reverted = world.run(number), world.run(asked[0])
    assert deploy.outcome == Outcome.CANCELLED
    assert "it takes precedence" in deploy.reason
    assert reverted.outcome == Outcome.LIVE
    assert world.serving()["live"] == 1
    assert world.environment("live").interrupt == 0


def test_a_manual_gate_waits_and_promotes_exactly_what_was_shown(make_world):
    world = make_world(MANUAL)
    run = world.push("one")
    assert (run.state, run.gate) == (State.WAITING, "live")
    with pytest.raises(RequestError, match="r1 waits before live now, not r7"):
        world.commands.promote("hello", "ann", release=7)
    world.clock.sleep(100)
    world.commands.promote("hello", "ann", release=1)
    world.work()
    ended = world.run(run.number)
    assert ended.outcome == Outcome.LIVE
    assert ended.human == pytest.approx(100, abs=1)
    assert "after the push, not counting 1:40 at a gate; deploy" in ended.reason
    assert world.commands.show("hello", run.number)["timing"]["deploy"] < 50


def test_a_newer_run_at_the_gate_supersedes_the_older(make_world):
    world = make_world(MANUAL)
    first, second = world.push("one"), world.push("two")
    assert world.run(first.number).outcome == Outcome.SUPERSEDED
    assert second.state == State.WAITING


def test_a_failing_newer_run_does_not_supersede_the_one_that_waits(make_world):
    world = make_world(MANUAL)
    first = world.push("one")
    world.builder.fail("build", RequestError("no"))
    assert world.push("two").outcome == Outcome.FAILED
    assert world.run(first.number).state == State.WAITING
    world.commands.promote("hello", "ann")
    world.work()
    assert world.run(first.number).outcome == Outcome.LIVE


def test_an_older_run_does_not_follow_a_newer_release(make_world):
    world = make_world(MANUAL)
    world.push("one")
    newer = world.commands.deploy("hello", "ann", release=1)
    world.work()
    world.commands.promote("hello", "ann", run=newer.number)
    world.work()
    assert world.run(newer.number).outcome == Outcome.LIVE
    assert world.run(1).outcome == Outcome.SUPERSEDED


def test_unquarantine_lets_the_release_in_again(world):
    world.push("one")
    world.push("two")
    world.revert()
    world.commands.resume("hello", "ann")
    refused = world.commands.deploy("hello", "ann", release=2)
    world.work()
    assert "quarantine" in world.run(refused.number).reason
    world.commands.unquarantine("hello", "ann", 2)
    again = world.commands.deploy("hello", "ann", release=2)
    world.work()
    assert world.run(again.number).outcome == Outcome.LIVE
    assert world.serving()["live"] == 2


def test_a_release_like_one_in_quarantine_is_let_in_with_it(world):
    world.push("one")
    world.push("two")
    world.commands.revert("hello", "ann")
    world.work()
    live = world.store.environment("hello", "live")
    two = world.store.release("hello", 2)

    def alike(tx):
        tx.put_release(replace(two, number=7))

    world.store.transact("hello", alike)
    [said] = world.commands.unquarantine("hello", "ann", 7)
    assert said == "r7 is allowed in hello/live again (by ann), and r2 with the same image and configuration."
    assert live.quarantine
    assert not world.store.environment("hello", "live").quarantine


def test_undoing_a_revert_says_that_the_other_release_is_in_quarantine_now(world):
    world.push("one")
    world.push("two")
    world.revert()
    run = world.revert(to=2)
    [end] = world.events(run, "end")
    assert end.data["more"] == [
        "live is held. To let a fix in: `pushlive resume hello --env live`",
        "r1 is in quarantine there. To let it in again: `pushlive unquarantine hello r1 --env live`",
    ]
    world.commands.unquarantine("hello", "ann", 1)
    assert world.environment("live").quarantine == ()


def test_a_corrected_configuration_may_go_where_the_image_was_reverted(world):
    world.push("one")
    world.push("two")
    world.revert()
    world.commands.resume("hello", "ann")
    text = world.settings.config.read_text().replace("replicas: 2", "replicas: 4")
    run = world.commands.deploy("hello", "ann", config=text, release=2)
    world.work()
    ended = world.run(run.number)
    assert ended.outcome == Outcome.LIVE
    release = world.store.release("hello", ended.release)
    assert release.image == world.store.release("hello", 2).image
    assert release.environments["live"].service.replicas == 4


def test_a_missing_image_is_known_and_refused_at_once(world):
    world.push("one")
    world.push("two")
    digest = world.store.release("hello", 1).image
    for key in [k for k, v in world.builder.tags.items() if v == digest]:
        del world.builder.tags[key]
    world.jobs.missing_images.run()
    [hello] = world.commands.status("hello")["pipelines"]
    assert hello["environments"][2]["revert"]["text"] == "not ready: the image of r1 is gone"
    with pytest.raises(RequestError, match="image of r1 is no longer on the Engine"):
        world.commands.revert("hello", "ann")


def test_cancel_at_a_gate_ends_the_run(make_world):
    world = make_world(MANUAL)
    run = world.push("one")
    world.commands.cancel("hello", run.number, "ann")
    assert world.run(run.number).outcome == Outcome.CANCELLED
    with pytest.raises(RequestError, match="no run of hello waits"):
        world.commands.promote("hello", "ann")


def test_a_cancelled_revert_blocks_no_run(world):
    world.push("one")
    world.push("two")
    asked = world.commands.revert("hello", "ann")
    world.commands.cancel("hello", asked.number, "ann")
    world.commands.resume("hello", "ann")
    assert world.push("three").outcome == Outcome.LIVE
    assert world.serving()["live"] == 3


def test_a_failed_revert_leaves_the_traffic_and_blocks_no_run(world):
    world.push("one")
    world.push("two")
    world.break_app(1)
    run = world.revert()
    assert run.outcome == Outcome.FAILED
    assert world.serving()["live"] == 2
    world.commands.resume("hello", "ann")
    assert world.push("three").outcome == Outcome.LIVE


LEFT = (
    "live stays held: `pushlive resume hello --env live` lets runs in.",
    "r2 serves, and stays in quarantine: `pushlive unquarantine hello r2 --env live` lets it in again.",
)


def test_a_failed_revert_names_the_hold_and_the_quarantine_that_it_leaves(world):
    world.push("one")
    world.push("two")
    world.break_app(1)
    run = world.revert()
    assert run.outcome == Outcome.FAILED
    assert run.failure.advice.endswith(" ".join(LEFT))
    assert "r1 is in quarantine in live: a retry needs" in run.failure.advice
    world.commands.resume("hello", "ann")
    world.commands.unquarantine("hello", "ann", 2, environment="live")
    assert [entry.release for entry in world.environment("live").quarantine] == [1]


def test_a_failed_revert_names_only_what_is_left_of_it(world):
    world.push("one")
    world.push("two")
    asked = world.commands.revert("hello", "ann")
    world.commands.resume("hello", "ann")
    world.commands.unquarantine("hello", "ann", 2, environment="live")
    world.break_app(1)
    world.work()
    advice = world.run(asked.number).failure.advice
    assert not any(one in advice for one in LEFT)


@pytest.mark.parametrize("began", [False, True])
def test_a_cancelled_revert_names_what_it_leaves(world, began):
    world.push("one")
    world.push("two")
    asked = world.commands.revert("hello", "ann")
    if began:
        world.engine.before("start", lambda: world.commands.cancel("hello", asked.number, "ann"))
        world.engine.before("switch", lambda: world.commands.cancel("hello", asked.number, "ann"))
        world.work()
    else:
        world.commands.cancel("hello", asked.number, "ann")
    run = world.run(asked.number)
    assert run.outcome == Outcome.CANCELLED
    assert world.events(run)[-1].data["more"] == list(LEFT)


def test_a_hold_set_after_the_promotion_still_holds(make_world):
    world = make_world(MANUAL)
    run = world.push("one")
    world.commands.promote("hello", "ann")
    world.commands.hold("hello", "bo", reason="a freeze")
    world.work()
    assert world.run(run.number).state == State.WAITING
    assert world.environment("live").serving is None


def test_the_quarantine_names_the_revert_that_took_the_release_out_and_not_one_that_was_cancelled(world):
    for text in ("one", "two", "three"):
        world.push(text)
    world.commands.revert("hello", "ann", to=1)  # the next one takes precedence
    world.commands.revert("hello", "bo", to=2)
    world.work()
    assert (world.run(4).outcome, world.run(5).outcome) == (Outcome.CANCELLED, Outcome.LIVE)
    [entry] = world.environment("live").quarantine
    assert (entry.release, entry.reason) == (3, "hello#5 reverts to r2")


def test_revert_to_a_release_by_name_lifts_its_own_quarantine(world):
    world.push("one")
    world.push("two")
    world.revert()
    run = world.revert(to=2)
    assert run.outcome == Outcome.LIVE
    assert [q.release for q in world.environment("live").quarantine] == [1]


def test_a_release_without_configuration_for_an_environment_is_refused_there(world):
    world.push("one")
    world.configure("pipelines: {hello: {environments: {dev: , qa: , live: , extra: }}}")
    with pytest.raises(RequestError, match="without the environment extra"):
        world.commands.deploy("hello", "ann", release=1)


def test_plan_compares_with_what_runs_not_with_the_file_as_it_was(world):
    world.push("one")
    text = world.settings.config.read_text().replace("replicas: 2", "replicas: 3")
    assert world.commands.plan(text)["pipelines"] == {"hello": {"live": ("replicas: 2 → 3",)}}
    world.configure(text)
    assert world.commands.plan(text)["pipelines"] == {"hello": {"live": ("replicas: 2 → 3",)}}
    world.push("two")
    assert world.commands.plan(text)["pipelines"] == {}


def test_plan_names_environments_that_serve_but_are_not_configured(world):
    world.push("one")
    text = "pipelines: {hello: {service: {health: /healthz}, smoke: [{get: /, contains: r}], environments: {dev: }}}"
    world.configure(text)
    found = world.commands.plan(text)["pipelines"]["hello"]
    assert "keeps serving until `pushlive gc`" in found["live"][0]


def test_output_has_the_lines_of_each_slot(world):
    world.push("one")
    world.push("two")
    said = world.commands.output("hello")
    assert [line for line in said if line.startswith("──")] == [
        "── live r1 (blue, warm)",
        "── live r2 (green, serving)",
    ]


def test_a_cancellation_just_before_a_gate_ends_the_run(make_world, monkeypatch):
    world = make_world(MANUAL)
    real = Entry.wait_at

    def wait(entry, name):
        world.commands.cancel("hello", entry._context.run.number, "ann")
        real(entry, name)

    monkeypatch.setattr(Entry, "wait_at", wait)
    run = world.push("one")
    assert run.outcome == Outcome.CANCELLED, run.state


def test_a_resume_between_the_gate_and_the_wait_lets_the_run_continue(world, monkeypatch):
    world.push("one")
    world.commands.hold("hello", "ann")
    real = Entry.wait_at

    def wait(entry, name):
        world.commands.resume("hello", "ann")
        real(entry, name)

    monkeypatch.setattr(Entry, "wait_at", wait)
    run = world.push("two")
    world.commands.resume("hello", "ann")
    world.work()
    assert world.run(run.number).outcome == Outcome.LIVE, world.run(run.number).state


def test_a_revert_skips_a_release_identical_to_the_bad_one(world):
    world.push("good")
    world.push("bad")
    world.commands.deploy("hello", "ann")
    world.work()  # the same commit again: r3 is r2's image and configuration
    assert world.environment("live").good == (1, 2, 3)
    run = world.revert()
    assert run.release == 1, run


def test_a_run_that_serves_already_does_not_wait_at_a_new_hold(world):
    world.push("one")
    real = world.engine.public

    def public(spec):
        if spec.ref.environment == "live":
            raise Killed("x")
        return real(spec)

    world.engine.public = public
    with pytest.raises(Killed):
        world.push("two")
    world.engine.public = real
    world.commands.hold("hello", "ann")
    world.work()
    run = world.run(2)
    # it serves live and waits before live
    assert not (world.environment("live").serving == 2 and run.state == State.WAITING), run.gate


def test_a_double_click_on_revert_reverts_once(world):
    for t in ("one", "two", "three"):
        world.push(t)
    world.commands.revert("hello", "ann")
    with pytest.raises(
        RequestError, match=r"live is already being reverted to r2 by ann \(hello#4, 0 s ago\)"
    ):
        world.commands.revert("hello", "ann")
    world.work()
    assert world.environment("live").serving == 2
    starts = [
        a
        for n, a in world.engine.calls
        if n == "start" and a[0].ref.environment == "live" and a[0].release == 2
    ]
    assert len(starts) <= 2, len(starts)


def test_a_hold_during_a_rollout_makes_the_run_wait(world):
    world.push("one")
    real = world.engine.preview

    def preview(spec):
        if spec.ref.environment == "live" and not world.environment("live").hold:
            world.commands.hold("hello", "ann")
        return real(spec)

    world.engine.preview = preview
    run = world.push("two")
    assert run.state == State.WAITING, run.outcome


def test_a_revert_while_a_deploy_verifies_goes_back_to_the_old_slot(world):
    world.push("one")
    real = world.engine.public
    reverts = []

    def public(spec):
        if spec.ref.environment == "live" and not reverts:
            reverts.append(world.commands.revert("hello", "ann"))
            world.clock.sleep(1)
        return real(spec)

    world.engine.public = public
    world.push("two")
    world.work()
    assert world.run(reverts[0].number).outcome == Outcome.LIVE
    assert world.environment("live").serving == 1
    starts = [
        a[0].ref.slot
        for n, a in world.engine.calls
        if n == "start" and a[0].ref.environment == "live" and a[0].release == 1
    ]
    assert set(starts) == {"blue"}


def test_resume_reports_the_end_of_each_run_that_it_supersedes(world):
    # two runs wait at different times through a crash: the older is ended by resume, without an end event
    world.push("one")
    world.commands.hold("hello", "ann")
    a = world.push("two")
    world.push("three")
    # put a back as a waiting one, as happens when it comes to the gate after b
    world.store.transact(
        "hello",
        lambda tx: tx.put_run(
            replace(world.run(a.number), state=State.WAITING, outcome=None, ended=0.0, gate="live")
        ),
    )
    before = len(world.events(a, "end"))
    world.commands.resume("hello", "ann")
    assert world.run(a.number).outcome == Outcome.SUPERSEDED
    assert len(world.events(a, "end")) == before + 1


def test_a_revert_that_waits_for_another_run_says_so_in_its_times(world, monkeypatch):
    world.push("one")
    world.push("two")
    take, refused = world.store.leases.take, iter([None] * 100)

    def busy(name: str, *more: object) -> object:
        if name.startswith("env:") and next(refused, world) is None:
            return None
        return take(name, *more)

    monkeypatch.setattr(world.store.leases, "take", busy)
    run = world.revert()
    timing = world.commands.show("hello", run.number)["timing"]
    assert 1.9 < timing["queue"] < 2.5
    assert timing["machine"] < 0.5
    assert timing["between"] < 0.5
