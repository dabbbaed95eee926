"""A release that answers worse than the one before it is taken back, if `judge: act` says so, and told in any case."""

from __future__ import annotations

import subprocess

import pytest

from pipeline.domain.accessories import AccessoryRef
from pipeline.domain.engine_types import Answered
from pipeline.domain.environment import BakeOutcome, Environment, WorseOutcome
from pipeline.domain.judging.counts import fact_name, read
from pipeline.domain.judging.judgement import worse as worse_of
from pipeline.domain.run import Outcome
from pipeline.domain.watching import trials
from tests.story.test_answers import serve
from tests.story.test_baking import CHAT, crash_loop, last, look, messages, reverts, slot
from tests.story.test_latencies import FAST, SLOW
from tests.story.test_latencies import serve as in_time
from webhooks.api.exposition import exposition

EVENTS = "[held, reverted, bake, worse]"


def config(judge: str = "act", bake: str = "0", service: str = "", more: str = "") -> str:
    return f"""
notify: [{{url: {CHAT}, when: {EVENTS}}}]
{more}
pipelines: {{hello: {{service: {{{service}}}, environments: {{live: {{bake: {bake}, judge: {judge}}}}}}}}}
"""


@pytest.fixture
def begun(make_world):
    """r1 has served for long enough, and r2 serves now."""

    def make(text: str):
        world = make_world(text)
        assert world.push("one").outcome == Outcome.LIVE
        serve(world, 500, 5, looks=100)
        world.push("two")
        messages(world)
        return world

    return make


def worse(world, looks: int = 40) -> list[str]:
    """r2 answers with twice the errors, until that is known, and the keeper acts on it."""
    said = serve(world, 500, 10, looks)
    return said + world.jobs.acting.run()


def trial(world):
    return trials.of(world.environment("live"))


def the_trial_of_r2(world):
    [found] = [one for one in world.environment("live").trials if one.release == 2]
    return found


def shown(world) -> dict:
    [found] = world.commands.status("hello")["pipelines"][0]["environments"]
    return found


# ── act ──────────────────────────────────────────────────────────────────────


def test_a_release_that_is_worse_is_taken_back_with_its_evidence(begun):
    world = begun(config())
    said = worse(world)
    world.work()
    [revert] = reverts(world)
    assert (revert.outcome, revert.by, revert.release) == (Outcome.LIVE, "judge", 1)
    found = the_trial_of_r2(world)
    assert found.reason.startswith("r2: errors 2 % of ")
    assert found.reason.endswith(" requests, worse than r1 (1 %)")
    assert said[-1] == f"hello/live: r2 is taken back ({revert.id})"
    environment = world.environment("live")
    assert environment.serving == 1
    assert (environment.hold.by, environment.hold.reason) == ("judge", found.reason)
    assert [(one.release, one.reason) for one in environment.quarantine] == [(2, found.reason)]
    assert (found.outcome, found.revert) == (WorseOutcome.TAKEN_BACK, revert.number)
    told = messages(world)
    assert sorted(one["event"] for one in told) == ["held", "reverted", "worse"]
    [about] = [one for one in told if one["event"] == "worse"]
    assert about["text"].startswith(f"hello/live: r2 was taken back by {revert.id}: errors 2 % of ")
    entry = world.commands.audit_log("hello")[0]
    assert (entry["who"], entry["way"], entry["act"]) == ("judge", "keeper", "revert")
    assert (entry["run"], entry["why"]) == (revert.id, found.reason)
    [also] = world.commands.show("hello", 2)["run"]["trials"]
    assert (also["state"], also["judge"], also["revert"]) == ("taken back", "act", revert.id)
    assert world.push("three").gate == "live"


def test_it_ends_the_bake_as_a_revert_does(begun):
    world = begun(config(bake="1h"))
    worse(world)
    world.work()
    assert world.serving() == {"live": 1}
    assert (last(world).outcome, last(world).reason) == (
        BakeOutcome.TAKEN_BACK,
        the_trial_of_r2(world).reason,
    )
    look(world, times=10)
    assert len(reverts(world)) == 1


@pytest.mark.parametrize(
    ("act", "events", "outcome"),
    [("hold", ["held", "worse"], WorseOutcome.HELD), ("tell", ["worse"], WorseOutcome.TOLD)],
)
def test_on_failure_of_the_bake_says_what_follows(begun, act: str, events: list[str], outcome: WorseOutcome):
    world = begun(config(bake=f"{{for: 0, on_failure: {act}}}"))
    worse(world)
    assert (reverts(world), world.serving()) == ([], {"live": 2})
    assert (world.environment("live").hold is not None) == (act == "hold")
    assert [one["event"] for one in messages(world)] == events
    assert trial(world).outcome == outcome
    assert worse(world) == []
    assert messages(world) == []


def test_before_the_first_look_and_after_its_hour_nothing_follows(begun):
    world = begun(config())
    assert worse(world, looks=1) == []  # too few minutes
    assert trial(world).outcome is None
    serve(world, 500, 10)
    world.clock.sleep(3600)  # the keeper was away
    world.jobs.acting.run()
    assert reverts(world) == []
    found = trial(world)
    assert found.outcome == WorseOutcome.OBSERVED
    assert found.would == "It is left to people: that was found when its hour was over"
    assert [one["event"] for one in messages(world)] == ["worse"]


def test_what_a_revert_brought_is_left_to_people(begun):
    world = begun(config())
    serve(world, 500, 1)
    world.commands.revert("hello", "ann")
    world.work()
    messages(world)
    worse(world, looks=60)
    assert len(reverts(world)) == 1
    assert trial(world).would == "It is left to people: a revert brought it"
    assert [one["event"] for one in messages(world)] == ["worse"]


# ── nothing is taken back ────────────────────────────────────────────────────


def test_across_a_command_that_is_not_reversible_it_is_held(begun):
    world = begun(config(service="release: {command: [./migrate], reversible: false}"))
    worse(world)
    assert (reverts(world), trial(world).outcome) == ([], WorseOutcome.HELD)
    assert "It is not taken back: r2 has run its release command in live" in trial(world).reason
    assert (world.environment("live").hold.by, trial(world).revert) == ("judge", 0)
    assert [one["event"] for one in messages(world)] == ["held", "worse"]


def test_without_a_release_that_works_it_is_held(begun):
    world = begun(config())
    for ref in world.engine.contents:
        if ref != slot(world):
            world.engine.sicken(ref, 1, "GET / got status 503")
    look(world, times=3)
    worse(world)
    assert reverts(world) == []
    assert "It is not taken back: r1 is warm, but does not work" in trial(world).reason


def test_while_an_accessory_is_away_it_is_held(begun):
    more = "accessories: {db: {image: postgres:15, volume: /data, port: 5432, health: {tcp: 5432}}}"
    world = begun(config(more=more).replace("hello: {", "hello: {uses: {db: db}, "))
    world.engine.running[AccessoryRef("db", "live")].sick = "no response"
    worse(world)
    assert reverts(world) == []
    assert "It is not taken back: the accessory db/live is away: " in trial(world).reason


def test_a_hold_of_a_person_stays_theirs(begun):
    world = begun(config())
    world.commands.hold("hello", "ann", reason="I look")
    worse(world)
    world.work()
    assert world.serving() == {"live": 1}
    hold = world.environment("live").hold
    assert (hold.by, hold.reason) == ("ann", f"I look. {the_trial_of_r2(world).reason}")


def test_while_a_run_is_at_work_there_it_waits(begun):
    world = begun(config())
    lease = world.store.leases.take("env:hello/live", "run")
    worse(world)
    assert (reverts(world), trial(world).outcome) == ([], None)
    world.store.leases.drop(lease)
    world.jobs.acting.run()
    assert len(reverts(world)) == 1


@pytest.mark.parametrize("act", ["deploy", "revert"])
def test_a_person_comes_first(begun, act: str):
    world = begun(config())
    serve(world, 500, 10)
    if act == "deploy":
        world.commands.deploy("hello", "ann")
    else:
        world.commands.revert("hello", "ann")
    count = len(reverts(world))
    world.jobs.acting.run()
    assert len(reverts(world)) == count
    assert the_trial_of_r2(world).left.startswith("hello#")


def test_a_newer_release_is_judged_in_its_place(begun):
    world = begun(config())
    serve(world, 500, 10)
    stale = world.environment("live")
    known = worse_of(read(world.store.facts.get(fact_name("hello/live"))))
    found = trials.found(stale, (known,), world.clock.now())
    world.push("three")
    assert world.commands.baking.take_back(stale, found) is None
    assert world.jobs.acting.run() == []
    assert (reverts(world), world.serving()) == ([], {"live": 3})


def test_two_keepers_take_it_back_once(begun):
    world = begun(config())
    serve(world, 500, 10)
    other = world.another_process()
    world.jobs.acting.run()
    other.acting.run()
    assert len(reverts(world)) == 1


# ── the time that answers take ───────────────────────────────────────────────


@pytest.fixture
def slower(make_world):
    """r1 has served fast for long enough, and r2 serves slowly."""

    def make(text: str):
        world = make_world(text)
        world.push("one")
        in_time(world, FAST)
        world.push("two")
        messages(world)
        in_time(world, SLOW)
        return world

    return make


def test_a_release_that_answers_more_slowly_is_taken_back_as_well(slower):
    world = slower(config())
    world.jobs.acting.run()
    world.work()
    [revert] = reverts(world)
    assert (world.serving(), revert.by) == ({"live": 1}, "judge")
    found = the_trial_of_r2(world)
    assert (found.outcome, found.revert) == (WorseOutcome.TAKEN_BACK, revert.number)
    assert found.reason.startswith("r2: p50 ")
    assert found.reason.endswith(", worse than r1 (21 ms and 79 ms)")
    environment = world.environment("live")
    assert (environment.hold.by, environment.hold.reason) == ("judge", found.reason)
    assert [one.reason for one in environment.quarantine] == [found.reason]
    told = messages(world)
    assert sorted(one["event"] for one in told) == ["held", "reverted", "worse"]
    [about] = [one for one in told if one["event"] == "worse"]
    assert about["text"].startswith(f"hello/live: r2 was taken back by {revert.id}: p50 ")
    in_time(world, FAST)
    assert world.jobs.acting.run() == []
    assert len(reverts(world)) == 1


@pytest.mark.parametrize(
    ("act", "events", "outcome"),
    [("hold", ["held", "worse"], WorseOutcome.HELD), ("tell", ["worse"], WorseOutcome.TOLD)],
)
def test_on_failure_says_what_follows_from_slower_answers_as_well(
    slower, act: str, events: list[str], outcome: WorseOutcome
):
    world = slower(config(bake=f"{{for: 0, on_failure: {act}}}"))
    world.jobs.acting.run()
    assert (reverts(world), world.serving(), trial(world).outcome) == ([], {"live": 2}, outcome)
    assert [one["event"] for one in messages(world)] == events


def test_slower_answers_are_told_once_with_what_would_have_followed(slower):
    world = slower(config("observe"))
    world.jobs.acting.run()
    world.jobs.acting.run()
    would = "With `judge: act` it would have been taken back to r1"
    assert (reverts(world), world.environment("live").hold, world.serving()) == ([], None, {"live": 2})
    found = shown(world)["answers"]
    assert (found["verdict"], found["latency"]["verdict"]) == ("no worse", "worse")
    assert (found["trial"]["state"], found["trial"]["would"]) == ("observed", would)
    [told] = messages(world)
    assert told["event"] == "worse"
    assert would in told["text"]
    assert world.commands.measurements().pipelines["hello"].worse == {("live", "observed"): 1}


@pytest.mark.parametrize(("judge", "outcome"), [("observe", "observed"), ("act", "taken back")])
def test_one_with_more_errors_that_is_slower_too_is_acted_on_once(slower, judge: str, outcome: str):
    world = slower(config(judge))
    ref = slot(world)
    for _ in range(40):
        known = world.engine.counted[ref]
        world.engine.counted[ref] = Answered(known.requests + 3000, known.errors + 900)
        world.clock.sleep(15)
        world.jobs.answers.run()
    world.jobs.acting.run()
    world.work()
    found = the_trial_of_r2(world)
    assert found.outcome == outcome
    assert found.reason.startswith("r2: errors ")
    assert "; p50 " in found.reason
    assert [one["event"] for one in messages(world)].count("worse") == 1


def test_with_off_times_are_not_compared_either(make_world):
    world = make_world(config("off"))
    world.push("one")
    in_time(world, FAST)
    world.push("two")
    assert in_time(world, SLOW) == []
    assert world.jobs.acting.run() == []
    assert (messages(world), trial(world).outcome, shown(world)["answers"]) == ([], None, None)


# ── observe, off ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "would"),
    [
        (config("observe"), "With `judge: act` it would have been taken back to r1"),
        (
            config("observe", "{for: 0, on_failure: hold}"),
            "With `judge: act` live would have been held",
        ),
        (
            config("observe", "{for: 0, on_failure: tell}"),
            "With `judge: act` nothing more would have followed (`on_failure: tell`)",
        ),
        (
            config("observe", service="release: {command: [./migrate], reversible: false}"),
            "With `judge: act` live would have been held, and nothing taken back: r2 has run its release command",
        ),
    ],
)
def test_with_observe_it_is_told_once_with_what_would_have_followed(begun, text: str, would: str):
    world = begun(text)
    before = world.store.environment("hello", "live")
    worse(world)
    world.jobs.acting.run()
    after = world.environment("live")
    unchanged: list[Environment] = [
        Environment(one.pipeline, one.name, one.index, slots=one.slots, hold=one.hold)
        for one in (before, after)
    ]
    assert unchanged[0] == unchanged[1]
    assert (reverts(world), after.quarantine) == ([], ())
    found = shown(world)["answers"]["trial"]
    assert (found["state"], found["judge"]) == ("observed", "observe")
    assert found["would"].startswith(would)
    [told] = messages(world)
    assert (told["event"], told["release"], told["environment"]) == ("worse", 2, "live")
    assert would in told["text"]
    assert "`pushlive revert hello --env live --to r1` goes back" in told["text"]
    assert world.push("three").outcome == Outcome.LIVE


def test_with_off_nothing_is_compared(begun):
    world = begun(config("off"))
    assert worse(world) == []
    assert (messages(world), shown(world)["answers"]) == ([], None)


def test_what_an_earlier_version_brought_is_observed(begun):
    world = begun(config())
    environment = world.environment("live")

    def forget(tx) -> None:
        tx.put_environment(Environment(**{**vars(environment), "trials": ()}))

    world.store.transact("hello", forget)
    worse(world)
    assert (reverts(world), trial(world).outcome) == ([], WorseOutcome.OBSERVED)


# ── what is measured ─────────────────────────────────────────────────────────


def test_what_followed_is_counted_once_with_requests_errors_and_the_verdict(begun):
    world = begun(config(bake="1h"))
    worse(world)
    found = world.commands.measurements().pipelines["hello"]
    assert found.verdicts == {"live": "worse"}
    assert (found.bakes, found.worse) == ({("live", "taken back"): 1}, {("live", "taken back"): 1})
    assert (found.requests, found.errors) == ({"live": 70_000}, {"live": 900})
    world.work()
    serve(world, 10, 1, looks=1)
    found = world.commands.measurements().pipelines["hello"]
    assert (found.requests, found.errors) == ({"live": 70_010}, {"live": 901})
    assert found.of_releases == {("live", 1): Answered(50_010, 501), ("live", 2): Answered(20_000, 400)}
    assert found.verdicts == {"live": "not enough traffic to judge"}
    text = exposition(world.commands.measurements())
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


@pytest.mark.parametrize(("act", "outcome"), [("hold", "held"), ("tell", "told")])
def test_what_else_followed_is_counted(begun, act: str, outcome: str):
    world = begun(config(bake=f"{{for: 0, on_failure: {act}}}"))
    worse(world)
    found = world.commands.measurements().pipelines["hello"]
    assert (found.bakes, found.worse) == ({}, {("live", outcome): 1})


def test_how_bakes_end_is_counted(begun):
    world = begun(config("observe", "{for: 1m, on_failure: hold}"))
    look(world, times=14)
    world.push("three")
    look(world)
    crash_loop(world)
    found = world.commands.measurements().pipelines["hello"]
    assert found.bakes == {("live", "baked"): 1, ("live", "held"): 1}
