"""A release is watched after its switch: it is baked, or taken back as a person would do it, and people are told."""

from __future__ import annotations

import pytest

from pipeline.adapters.fake import Killed
from pipeline.deploy.data import accessory_acts as acts
from pipeline.domain.accessories import AccessoryRef
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.environment import BakeOutcome
from pipeline.domain.run import Kind, Outcome, Run
from pipeline.domain.watching.bake import judged
from pipeline.errors import EngineAway, RequestError

CHAT = "https://chat.example.com/services/T0/B0/s3cr3t"
EVENTS = "[held, reverted, down, up, bake, baked]"


def config(bake: str = "1m", service: str = "", more: str = "") -> str:
    return f"""
notify: [{{url: {CHAT}, when: {EVENTS}}}]
{more}
pipelines: {{hello: {{service: {{{service}}}, environments: {{live: {{replicas: 2, bake: {bake}}}}}}}}}
"""


@pytest.fixture
def world(make_world):
    world = make_world(config())
    world.push("one")
    bake(world)
    return world


def look(world, times: int = 1, seconds: float = 5) -> list[str]:
    """The keeper looks, and ends what is over."""
    said = []
    for _ in range(times):
        world.clock.sleep(seconds)
        said += world.jobs.health.run() + world.jobs.processes.run() + world.jobs.baking.run()
    return said


def bake(world) -> None:
    """What serves is baked."""
    look(world, times=14)
    assert last(world).outcome == BakeOutcome.BAKED


def last(world):
    return world.environment("live").bakes[-1]


def shown(world) -> dict:
    [found] = world.commands.status("hello")["pipelines"][0]["environments"]
    return found["bake"]


def slot(world) -> SlotRef:
    active = world.environment("live").active
    return next(ref for ref in world.engine.contents if ref.slot == active)


def crash_loop(world, code: int = 1) -> list[str]:
    said = []
    for _ in range(4):
        world.engine.crash(slot(world), code)
        said += look(world)
    return said


def sicken(world) -> list[str]:
    for number in (1, 2):
        world.engine.sicken(slot(world), number, "GET / got status 503")
    return look(world, times=3)


def reverts(world) -> list[Run]:
    return [run for run in world.store.recent("hello", 50) if run.kind == Kind.REVERT]


def messages(world) -> list[dict]:
    return world.told()


# ── it ends well ─────────────────────────────────────────────────────────────


def test_a_release_that_works_for_its_time_is_baked_and_told_only_if_asked_for(world):
    messages(world)
    run = world.push("two")
    assert run.outcome == Outcome.LIVE
    said = look(world, times=6)
    assert (said, shown(world)["state"], shown(world)["watched"]) == ([], "baking", 30)
    assert shown(world)["text"] == "r2 is watched: 30s of 1m"
    assert look(world, times=8) == ["hello/live: r2 is baked"]
    assert shown(world)["state"] == "baked"
    [told] = messages(world)
    assert (told["event"], told["release"], told["environment"]) == ("baked", 2, "live")
    assert world.commands.show("hello", run.number)["run"]["bakes"][0]["state"] == "baked"
    assert shown(world)["text"] == "r2 is baked (1m)"
    world.revert()
    assert shown(world)["text"] == "r2 was baked (1m), and serves no more"


def test_the_last_environment_is_watched_by_default_and_the_others_are_not(make_world):
    world = make_world("pipelines: {hello: {environments: {dev: , live: }}}")
    world.push("one")
    assert world.environment("dev").bakes == ()
    assert world.environment("live").bake.lasts == 120


# ── it fails ─────────────────────────────────────────────────────────────────


def test_fault_62_a_release_that_restarts_again_and_again_is_taken_back(world):
    run = world.push("two")
    look(world)
    messages(world)
    said = crash_loop(world)
    world.work()
    [revert] = reverts(world)
    assert (revert.outcome, revert.by, revert.release) == (Outcome.LIVE, "bake", 1)
    assert last(world).reason == (
        "r2 failed 20 s after its switch: live-1 exited with code 1; both replicas restarted, 6 times together"
    )
    assert said[-1] == f"hello/live: r2 is taken back: {last(world).reason} ({revert.id})"
    environment = world.environment("live")
    assert environment.serving == 1
    assert (environment.hold.by, environment.hold.reason) == ("bake", last(world).reason)
    assert [entry.release for entry in environment.quarantine] == [2]
    assert (last(world).outcome, last(world).revert) == (BakeOutcome.TAKEN_BACK, revert.number)
    assert world.run(run.number).outcome == Outcome.LIVE  # a run has one end
    [told] = world.commands.show("hello", run.number)["run"]["bakes"]
    assert (told["state"], told["revert"]) == ("taken back", revert.id)
    assert told["text"] == f"r2 was taken back by {revert.id}: {last(world).reason}"
    assert [one["event"] for one in messages(world)] == ["down", "held", "reverted"]
    entry = world.commands.audit_log("hello")[0]
    assert (entry["who"], entry["way"], entry["act"]) == ("bake", "keeper", "revert")
    assert (entry["run"], entry["why"]) == (revert.id, last(world).reason)
    look(world, times=30)
    assert reverts(world) == [revert]


def test_fault_62_a_release_that_stops_answering_is_taken_back_and_the_next_push_waits(world):
    world.push("two")
    look(world)
    sicken(world)
    world.work()
    assert len(reverts(world)) == 1
    assert "r2 failed 20 s after its switch: live-1: GET / got status 503" in last(world).reason
    assert world.serving() == {"live": 1}
    assert world.push("three").gate == "live"


def test_a_release_is_taken_back_under_a_persons_hold_which_stays_theirs(world):
    world.push("two")
    look(world)
    world.commands.hold("hello", "ann", reason="I look")
    crash_loop(world)
    world.work()
    assert len(reverts(world)) == 1
    hold = world.environment("live").hold
    assert (hold.by, hold.reason) == ("ann", f"I look. {last(world).reason}")


def test_fault_62_one_kill_for_memory_is_enough(world):
    world.push("two")
    look(world)
    world.engine.crash(slot(world), 137)
    look(world)
    world.work()
    assert len(reverts(world)) == 1
    assert last(world).reason.startswith(
        "r2 failed 10 s after its switch: live-1 ran out of memory and was killed"
    )


def test_fault_62_a_process_that_does_not_stay_up_is_a_fault_of_the_release(make_world):
    world = make_world(config(service="processes: {worker: {command: [./worker]}}"))
    world.push("one")
    bake(world)
    world.push("two")
    look(world)
    for _ in range(4):
        world.engine.crash_process(slot(world), "worker")
        look(world)
    world.work()
    assert len(reverts(world)) == 1
    assert ": worker: " in last(world).reason
    assert world.serving() == {"live": 1}


def test_what_was_put_back_is_not_watched_and_never_taken_back_itself(world):
    world.push("two")
    look(world)
    crash_loop(world)
    world.work()
    crash_loop(world)
    look(world, times=30)
    assert len(reverts(world)) == 1
    assert world.environment("live").bake is None


# ── nothing is taken back ────────────────────────────────────────────────────


def test_a_release_that_replaced_one_that_was_down_is_not_taken_back(world):
    crash_loop(world)
    world.push("two")
    look(world)
    messages(world)
    crash_loop(world)
    assert reverts(world) == []
    assert last(world).outcome == BakeOutcome.FAILED
    assert "It began before the switch: r1 was down as well, since " in last(world).reason
    assert world.environment("live").hold is None
    assert "bake" in [one["event"] for one in messages(world)]


def test_a_fault_that_began_before_the_switch_is_compared(world):
    for number in (1, 2):
        world.engine.sicken(slot(world), number, "GET / got status 503")
    look(world)  # not down yet: one look
    world.push("two")
    look(world)
    sicken(world)
    assert reverts(world) == []
    assert "It began before the switch: r1 was down as well" in last(world).reason


def test_a_release_that_was_taken_back_excuses_none_that_replaces_another(world):
    world.push("two")
    look(world)
    crash_loop(world)
    world.work()
    assert world.serving() == {"live": 1}
    assert world.environment("live").down.release == 2  # nobody has looked at what serves since
    world.commands.resume("hello", "bob")
    world.push("three")
    look(world)
    crash_loop(world)
    world.work()
    assert last(world).outcome == BakeOutcome.TAKEN_BACK
    assert world.serving() == {"live": 1}


def test_the_first_release_is_held_and_told(make_world):
    world = make_world(config())
    world.push("one")
    look(world)
    crash_loop(world)
    assert reverts(world) == []
    hold = world.environment("live").hold
    assert hold.by == "bake"
    assert "It is not taken back: hello/live: there is no earlier good release" in hold.reason
    assert [one["event"] for one in messages(world)] == ["down", "held", "bake"]
    assert world.commands.audit_log("hello")[0]["act"] == "hold"
    # anyone may lift it at once: no person set it
    world.commands.resume("hello", "bob")


def test_across_a_command_that_is_not_reversible_nothing_is_taken_back(make_world):
    world = make_world(config(service="release: {command: [./migrate], reversible: false}"))
    world.push("one")
    bake(world)
    world.push("two")
    look(world)
    crash_loop(world)
    assert reverts(world) == []
    assert "It is not taken back: r2 has run its release command in live" in last(world).reason
    assert "Nothing was done" not in last(world).reason
    command = "`pushlive revert hello --env live --to r1 --across r2`"
    assert last(world).reason.endswith(f". To go back all the same: {command}")
    assert command in world.environment("live").hold.reason
    assert command in shown(world)["text"]
    assert world.environment("live").hold.by == "bake"


def test_without_a_target_that_works_nothing_is_taken_back(world):
    world.push("two")
    look(world)
    for ref in world.engine.contents:
        for number in (1, 2):
            world.engine.sicken(ref, number, "GET / got status 503")
    look(world, times=3)
    assert reverts(world) == []
    assert "It is not taken back: r1 is warm, but does not work" in last(world).reason


def test_while_an_accessory_is_away_nothing_is_taken_back(make_world):
    more = "accessories: {db: {image: postgres:15, volume: /data, port: 5432, health: {tcp: 5432}}}"
    text = config(more=more).replace("hello: {", "hello: {uses: {db: db}, ")
    world = make_world(text)
    assert world.push("one").outcome == Outcome.LIVE
    bake(world)
    world.push("two")
    look(world)
    world.engine.running[AccessoryRef("db", "live")].sick = "no response"
    crash_loop(world)
    assert reverts(world) == []
    assert "It is not taken back: the accessory db/live is away: " in last(world).reason


def test_what_a_person_does_to_an_accessory_is_not_held_against_a_release(make_world):
    more = "accessories: {db: {image: postgres:15, volume: /data, port: 5432, health: {tcp: 5432}}}"
    world = make_world(config(more=more).replace("hello: {", "hello: {uses: {db: db}, "))
    assert world.push("one").outcome == Outcome.LIVE
    bake(world)
    world.push("two")
    look(world)
    for _ in range(2):
        world.accessories.restart("db", "ada", environment="live")
        crash_loop(world)
    held = world.store.leases.take("accessory:db/live", acts.HOLDER)  # as long as an upgrade takes
    look(world, times=40)
    crash_loop(world)
    world.store.leases.drop(held)
    acts.acted(world.store, "db/live", world.clock.now())
    assert (reverts(world), world.environment("live").hold) == ([], None)
    assert world.environment("live").bake
    look(world, times=13)
    crash_loop(world)
    assert len(reverts(world)) == 1


@pytest.mark.parametrize(("act", "events"), [("hold", ["held", "bake"]), ("tell", ["bake"])])
def test_on_failure_says_what_is_done(make_world, act: str, events: list[str]):
    world = make_world(config(bake=f"{{for: 1m, on_failure: {act}}}"))
    world.push("one")
    bake(world)
    world.push("two")
    look(world)
    messages(world)
    crash_loop(world)
    assert reverts(world) == []
    assert last(world).outcome == BakeOutcome.FAILED
    assert (world.environment("live").hold is not None) == (act == "hold")
    assert [one["event"] for one in messages(world)] == ["down", *events]
    assert shown(world)["text"] == last(world).reason


# ── two bad releases in a row ────────────────────────────────────────────────


def crash_both(world) -> None:
    """The release that serves and the one that is warm restart again and again."""
    for _ in range(4):
        for ref in world.engine.contents:
            world.engine.crash(ref, 1)
        look(world)


def readiness(world) -> str:
    [found] = world.commands.status("hello")["pipelines"][0]["environments"]
    return found["revert"]["text"]


def test_fault_62_of_two_bad_releases_in_a_row_the_good_one_before_both_comes_back(world):
    world.push("two")
    look(world)
    world.push("three")
    look(world)
    messages(world)
    crash_both(world)
    world.work()
    [revert] = reverts(world)
    assert (revert.release, revert.outcome, world.serving()) == (1, Outcome.LIVE, {"live": 1})
    assert [one["event"] for one in messages(world)] == ["down", "held", "reverted"]
    reason = world.environment("live").failed[2].said
    assert reason.startswith("live-1 exited with code 1; both replicas restarted, ")
    assert readiness(world) == (
        f"not ready: no earlier good release, r3 is in quarantine, r2 did not work here last ({reason})"
    )
    with pytest.raises(RequestError) as refused:
        world.commands.revert("hello", "ann")
    advice = "Push a fix; or, to try r2 all the same: `pushlive revert hello --env live --to r2`."
    assert refused.value.advice == advice
    world.clock.sleep(121)
    assert world.commands.revert("hello", "ann", to=2).release == 2
    world.work()
    assert (world.serving(), list(world.environment("live").failed)) == ({"live": 2}, [3])


def test_a_release_that_was_hardly_watched_is_passed_over_and_status_has_said_so(world):
    world.push("two")
    look(world)
    three = world.push("three")
    assert any("bake would go back to r1, not to r2 (" in one for one in world.events(three)[-1].data["more"])
    look(world)
    assert readiness(world) == "revert ready: r2, warm; bake goes back to r1"
    why = "bake goes back to r1, not to r2: it served for 5 s, and was not watched to the end"
    [found] = world.commands.status("hello")["pipelines"][0]["environments"]
    assert (found["revert"]["by_itself"], found["revert"]["instead"]) == (1, why)
    crash_loop(world)
    world.work()
    assert world.serving() == {"live": 1}
    assert "r2 did not work here last (it served for 5 s, and was not watched to the end)" in readiness(world)


def test_a_release_that_worked_and_was_replaced_early_is_the_one_promised_and_comes_back(make_world):
    world = make_world(config("5m"))
    world.push("one")
    look(world, times=70)
    world.push("two")
    look(world, times=12)
    world.push("three")
    look(world)
    [found] = world.commands.status("hello")["pipelines"][0]["environments"]
    assert (found["revert"]["text"], found["revert"]["by_itself"]) == ("revert ready: r2, warm", 2)
    crash_loop(world)
    world.work()
    assert world.serving() == {"live": 2}


def test_a_release_that_was_hardly_watched_is_better_than_one_that_is_down(make_world):
    world = make_world(config())
    world.push("one")
    look(world)
    world.push("two")
    look(world)
    crash_loop(world)
    world.work()
    assert world.serving() == {"live": 1}


def test_a_person_who_reverts_from_two_bad_releases_is_told_the_way_to_the_good_one(make_world):
    world = make_world(config(bake="{for: 1m, on_failure: hold}"))
    for text in ("one", "two", "three"):
        world.push(text)
        look(world)
    crash_both(world)
    command = "To go further back: `pushlive revert hello --env live --to r1`"
    assert readiness(world).startswith("not ready: r2 is warm, but does not work (")
    assert readiness(world).endswith(command)
    [told] = [one for one in messages(world) if one["event"] == "bake"]
    assert "`pushlive revert hello --env live --to r1` goes back" in told["text"]


def test_a_release_that_works_again_is_one_to_go_back_to(world):
    crash_loop(world)
    assert list(world.environment("live").failed) == [1]
    look(world, times=30)
    assert world.environment("live").failed == {}


# ── it ends otherwise ────────────────────────────────────────────────────────


@pytest.mark.parametrize("act", ["revert", "deploy"])
def test_a_persons_act_ends_it(world, act: str):
    world.push("two")
    look(world)
    if act == "revert":
        world.commands.revert("hello", "ann", environment="live")
    else:
        world.commands.deploy("hello", "ann")
    assert last(world).outcome == BakeOutcome.SUPERSEDED
    count = len(reverts(world))
    crash_loop(world)
    assert len(reverts(world)) == count


def crash_unjudged(world):
    """It crashes again and again, and the keeper has only looked so far."""
    for _ in range(4):
        world.engine.crash(slot(world))
        world.clock.sleep(5)
        world.jobs.health.run()


def test_a_newer_release_ends_it_and_is_watched_itself(world):
    world.push("two")
    look(world)
    world.push("three")
    two, three = world.environment("live").bakes[-2:]
    assert (two.outcome, two.reason) == (BakeOutcome.SUPERSEDED, "hello#3 came to serve")
    assert (three.release, three.outcome) == (3, None)


def test_fault_63_a_judgement_that_is_late_takes_nothing_newer_back(world):
    world.push("two")
    look(world)
    crash_unjudged(world)
    stale = world.environment("live")
    found = judged(stale)
    world.push("three")
    assert world.commands.baking.take_back(stale, found) is None
    assert (reverts(world), world.serving()) == ([], {"live": 3})


def test_fault_63_two_keepers_take_it_back_once(world):
    world.push("two")
    look(world)
    crash_unjudged(world)
    other = world.another_process()
    world.jobs.baking.run()
    other.baking.run()
    assert len(reverts(world)) == 1


# ── nobody looked ────────────────────────────────────────────────────────────


def test_fault_63_time_in_which_nobody_looked_does_not_count(world):
    world.push("two")
    look(world, times=2)
    world.clock.sleep(3600)
    assert look(world) == []
    assert shown(world)["watched"] == 10
    assert look(world, times=12) == ["hello/live: r2 is baked"]


def test_an_engine_that_does_not_answer_is_not_looked_at(world):
    world.push("two")
    look(world)
    world.engine.fail("replicas", EngineAway("Docker does not answer."), times=30)
    assert look(world, times=30) == []
    assert shown(world)["watched"] == 5


def test_a_daemon_that_was_restarted_is_no_fault_of_the_release(world):
    world.push("two")
    look(world)
    world.engine.fail("replicas", EngineAway("Docker does not answer."), times=2)
    look(world, times=2)
    sicken(world)
    assert reverts(world) == []
    for number in (1, 2):
        world.engine.sicken(slot(world), number, "")
    look(world, times=16)
    assert last(world).outcome == BakeOutcome.BAKED


def test_fault_63_what_happened_while_nobody_looked_is_not_held_against_it(world):
    world.configure(config("5m"))
    world.push("two")
    look(world)
    world.clock.sleep(3600)
    world.engine.crash(slot(world), times=5)
    look(world)
    assert reverts(world) == []
    look(world, times=12)  # everything on a machine that was started again may need so long
    crash_loop(world)
    assert len(reverts(world)) == 1


def test_what_a_restore_or_a_run_stops_is_not_held_against_it(world):
    world.push("two")
    look(world)
    lease = world.store.leases.take("env:hello/live", "volume")
    sicken(world)
    look(world, times=3)
    assert (reverts(world), shown(world)["watched"]) == ([], 5)
    world.store.leases.drop(lease)
    assert look(world) == []  # it may be about to start
    look(world, times=2)
    assert len(reverts(world)) == 1


# ── what was taken back and crashes on ───────────────────────────────────────


def taken_back_and_crashing(world) -> SlotRef:
    world.push("two")
    ref = slot(world)
    crash_loop(world)
    world.work()
    assert world.serving() == {"live": 1}
    return ref


def crash_on(world, ref: SlotRef) -> None:
    for _ in range(4):
        world.engine.crash(ref)
        look(world)


def live(world) -> dict:
    [found] = world.commands.status("hello")["pipelines"][0]["environments"]
    return found


def test_a_release_that_was_taken_back_and_crashes_on_is_stopped_and_kept_for_inspection(world):
    ref = taken_back_and_crashing(world)
    crash_on(world, ref)
    said = world.reconcile()
    assert any("(r2) was taken back by #3 and crashed again and again; it was stopped" in one for one in said)
    assert {one["state"] for one in live(world)["slots"].values()} == {"serving", "failed"}
    assert not world.engine.contents[ref].alive
    assert "warm r2" not in str(world.commands.plan(config(bake="2m"))["reverts"])
    assert world.reconcile() == []
    world.clock.sleep(world.settings.failed_for + 60)
    world.reconcile()
    assert ref not in world.engine.contents


def test_a_release_that_a_person_took_back_stays_warm_although_it_crashes(world):
    world.push("two")
    ref = slot(world)
    world.revert()
    crash_on(world, ref)
    world.reconcile()
    assert {one["state"] for one in live(world)["slots"].values()} == {"serving", "warm"}


def test_a_release_that_was_taken_back_and_works_stays_warm(world):
    world.push("two")
    sicken(world)
    world.work()
    assert world.serving() == {"live": 1}
    world.reconcile()
    assert {one["state"] for one in live(world)["slots"].values()} == {"serving", "warm"}


def test_it_is_not_given_up_before_the_revert_is_verified(world):
    world.push("two")
    ref = slot(world)
    crash_loop(world)
    world.engine.kill("detach")
    with pytest.raises(Killed):
        world.work()
    crash_on(world, ref)
    assert live(world)["slots"][ref.slot]["state"] == "warm"
    world.work()
    world.reconcile()
    assert live(world)["slots"][ref.slot]["state"] == "failed"
