"""Windows in which no run enters an environment, on the clock of a fake."""

from __future__ import annotations

import json
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from pipeline.adapters.fake.script import Killed
from pipeline.domain.run import Outcome, State
from pipeline.errors import PushliveError, RequestError
from pipeline.lib import windows
from pipeline.store import Transaction

WINDOW = '{env: live, days: fri-sun, from: "16:00", to: "08:00", zone: Europe/Dublin, reason: weekend}'
CONFIG = """\
notify: [{url: "http://localhost:9/x"}]
pipelines:
  hello:
    environments: {dev: , live: }
"""
FROZEN = f"freeze: [{WINDOW}]\n{CONFIG}"


def dublin(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Dublin")).timestamp()


def at(world, text: str) -> None:
    """The wall clock says that time in Dublin."""
    world.clock.jump(dublin(text) - world.clock.now())


def opening(world) -> list[str]:
    said = world.jobs.opening.run()
    world.work()
    return said


def once_in_live(world, call: str, act) -> None:
    """``act`` before the next such call on the engine in live."""
    done: list[bool] = []

    def check() -> None:
        spec = world.engine.calls[-1][1][0]
        if spec.ref.environment == "live" and not done:
            done.append(True)
            act()

    world.engine.before(call, check, times=9)


def test_what_goes_on_after_a_hold_still_waits_for_a_freeze(make_world):
    world = make_world(CONFIG)
    world.push("one")
    world.commands.hold("hello", "ann", environment="live")
    world.push("two")
    world.commands.freeze("ann", pipeline="hello", environment="live", reason="exams")
    said = world.commands.resume("hello", "ann", environment="live")
    assert said[1] == "hello#2 (r2) goes on waiting: live is frozen: exams (by ann)."
    world.work()
    assert world.run(2).frozen


def told(world, event: str) -> list[str]:
    client, prefix = world.store.client, world.settings.instance
    found = [text for key in client.scan_iter(f"{prefix}:outbox:*") for text in client.lrange(key, 0, -1)]
    return [one["text"] for one in map(json.loads, found) if one["event"] == event]


@pytest.fixture
def world(make_world):
    one = make_world(FROZEN)
    at(one, "2026-11-27 15:59:00")
    assert one.push("one").outcome == Outcome.LIVE
    return one


def test_a_run_waits_for_the_end_of_the_window_and_goes_on_by_itself(world):
    at(world, "2026-11-27 16:00:00")
    run = world.push("two")
    assert (run.state, run.gate, run.frozen) == (State.WAITING, "live", True)
    assert world.serving() == {"dev": 2, "live": 1}
    [gate] = world.events(run, "gate")
    assert (
        "live is frozen until Mon 30 Nov 08:00 Europe/Dublin: weekend. Then r2 continues by itself"
        in gate.text
    )
    assert any("frozen until Mon 30 Nov 08:00" in text for text in told(world, "waiting"))

    at(world, "2026-11-30 07:59:59")
    assert opening(world) == []
    assert world.run(run.number).state == State.WAITING

    at(world, "2026-11-30 08:00:00")
    [said] = opening(world)
    assert said == "hello/live is no longer frozen: hello#2 continues"
    assert world.run(run.number).outcome == Outcome.LIVE
    assert told(world, "opened") == ["live of hello is no longer frozen: hello#2 continues with r2"]
    assert opening(world) == []


def test_the_end_of_a_freeze_says_that_a_hold_follows(world):
    at(world, "2026-11-27 16:00:00")
    world.push("two")
    world.commands.hold("hello", "ann", environment="live", reason="lunch")
    at(world, "2026-11-30 08:00:00")
    [said] = opening(world)
    still = "still waits: live is held: lunch (by ann)"
    assert said == f"hello/live is no longer frozen: hello#2 {still}"
    told_then = "live of hello is no longer frozen: hello#2 still waits with r2: live is held: lunch (by ann)"
    assert told(world, "opened") == [told_then]
    run = world.run(2)
    assert any(one.text == f"live is no longer frozen: r2 {still}" for one in world.events(run, "note"))
    assert (run.state, run.frozen, [(one.environment, one.by) for one in run.waited]) == (
        State.WAITING, False, [("live", "")],
    )  # fmt: skip
    world.commands.resume("hello", "ann", environment="live")
    world.work()
    assert world.run(2).outcome == Outcome.LIVE
    assert [one.by for one in world.run(2).waited] == ["", "ann"]


def test_the_newest_run_that_waits_for_the_end_wins(world):
    at(world, "2026-11-28 12:00:00")
    older, newer = world.push("two"), world.push("three")
    assert world.run(older.number).outcome == Outcome.SUPERSEDED
    at(world, "2026-11-30 08:00:00")
    opening(world)
    assert world.run(newer.number).outcome == Outcome.LIVE


def test_a_revert_is_never_frozen(world):
    at(world, "2026-11-27 15:59:30")
    assert world.push("two").outcome == Outcome.LIVE
    at(world, "2026-11-28 12:00:00")
    assert world.revert().outcome == Outcome.LIVE
    assert world.serving()["live"] == 1


def test_a_deploy_that_a_person_asks_for_is_frozen_as_well(world):
    at(world, "2026-11-28 12:00:00")
    run = world.commands.deploy("hello", "ann", release=1)
    world.work()
    assert (world.run(run.number).gate, world.run(run.number).frozen) == ("live", True)


def test_a_window_that_begins_before_the_switch_keeps_the_run_out_and_one_at_the_switch_does_not(world):
    once_in_live(world, "start", lambda: at(world, "2026-11-27 17:00:00"))
    run = world.push("two")
    assert run.state == State.WAITING
    assert world.serving()["live"] == 1
    at(world, "2026-12-01 12:00:00")
    opening(world)
    assert world.run(run.number).outcome == Outcome.LIVE
    at(world, "2026-12-04 15:59:00")
    once_in_live(world, "switch", lambda: at(world, "2026-12-04 17:00:00"))
    assert world.push("three").outcome == Outcome.LIVE


def test_a_window_that_is_added_holds_a_run_on_its_way_and_one_that_is_removed_lets_it_go(make_world):
    world = make_world(CONFIG)
    at(world, "2026-11-28 12:00:00")
    world.push("one")
    once_in_live(world, "start", lambda: world.configure(FROZEN))
    run = world.push("two")
    assert run.state == State.WAITING
    world.configure(CONFIG)
    opening(world)
    assert world.run(run.number).outcome == Outcome.LIVE


def test_fault_38_a_clock_that_is_set_during_a_freeze_is_believed_at_each_look(world):
    at(world, "2026-11-28 12:00:00")
    run = world.push("two")
    at(world, "2026-11-27 12:00:00")  # back to before the window
    opening(world)
    assert world.run(run.number).outcome == Outcome.LIVE
    at(world, "2026-11-29 12:00:00")
    waiting = world.push("three")
    assert waiting.state == State.WAITING
    at(world, "2026-12-09 12:00:00")  # forward, over the end
    opening(world)
    assert world.run(waiting.number).outcome == Outcome.LIVE


def test_fault_66_a_keeper_that_lost_its_lease_opens_nothing_and_the_next_one_does(world):
    at(world, "2026-11-28 12:00:00")
    run = world.push("two")
    at(world, "2026-11-30 12:00:00")
    lost = world.store.leases.take("keeper", "one")
    world.store.leases.drop(lost)
    world.jobs.opening.fence = lambda: lost
    assert opening(world) == []
    assert world.run(run.number).state == State.WAITING
    other = world.another_process()
    assert len(other.opening.run()) == 1
    assert world.jobs.opening.run() == []
    world.work()
    assert world.run(run.number).outcome == Outcome.LIVE


@pytest.mark.parametrize("after", [False, True])
def test_fault_66_a_keeper_that_is_killed_while_it_opens_is_followed_by_one_that_does_it_once(
    world, monkeypatch, after
):
    at(world, "2026-11-28 12:00:00")
    run = world.push("two")
    at(world, "2026-11-30 12:00:00")
    real = Transaction.apply

    def killed(self: Transaction, mark: str) -> None:
        if after:
            real(self, mark)
        raise Killed("while it opens")

    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "apply", killed)
        with pytest.raises(Killed):
            world.jobs.opening.run()
    assert len(world.another_process().opening.run()) == int(not after)
    assert world.store.due("hello") == (run.number,)
    world.work()
    assert world.run(run.number).outcome == Outcome.LIVE
    assert len(told(world, "opened")) == 1


def test_a_gate_that_is_added_meanwhile_holds_after_the_window(world):
    at(world, "2026-11-28 12:00:00")
    run = world.push("two")
    world.configure(FROZEN.replace("live: }", "live: {promote: manual}}"))
    at(world, "2026-11-30 12:00:00")
    opening(world)
    waiting = world.run(run.number)
    assert (waiting.state, waiting.frozen) == (State.WAITING, False)
    world.commands.promote("hello", "ann")
    world.work()
    assert world.run(run.number).outcome == Outcome.LIVE


# ── by hand ──────────────────────────────────────────────────────────────────


@pytest.fixture
def plain(make_world):
    one = make_world(CONFIG)
    at(one, "2026-11-25 12:00:00")
    one.push("one")
    return one


def shown(world) -> dict:
    [pipeline] = world.commands.status()["pipelines"]
    return next(one for one in pipeline["environments"] if one["name"] == "live")


def test_a_freeze_by_hand_lasts_until_a_thaw_and_says_who_and_why(plain):
    [said] = plain.commands.freeze("ada", pipeline="hello", environment="live", reason="a launch")
    assert said == (
        "hello/live is frozen: a launch. Reverts are still allowed; "
        "`pushlive thaw hello live --reason TEXT` lifts it."
    )
    run = plain.push("two")
    [gate] = plain.events(run, "gate")
    assert "live is frozen: a launch (by ada). To continue with r2: `pushlive thaw hello live" in gate.text
    assert shown(plain)["freeze"]["text"] == "live is frozen: a launch (by ada)"
    assert plain.commands.show("hello", run.number)["run"]["freeze"]["by"] == "ada"
    with pytest.raises(RequestError, match="frozen"):
        plain.commands.promote("hello", "ann")
    at(plain, "2027-11-25 12:00:00")
    assert opening(plain) == []
    said = plain.commands.thaw("bob", pipeline="hello", environment="live", reason="it is launched")
    assert said == ("hello/live is open.", "hello#2 (r2) continues to live within seconds.")
    opening(plain)
    assert plain.run(run.number).outcome == Outcome.LIVE
    assert shown(plain)["freeze"] is None
    acts = [(one["act"], one["who"], one["why"]) for one in plain.commands.audit_log("hello")]
    assert ("freeze", "ada", "a launch") in acts
    assert ("thaw", "bob", "it is launched") in acts


def test_a_freeze_for_a_while_ends_by_itself(plain):
    plain.commands.freeze("ada", reason="a demonstration", lasting="2h")
    first = plain.push("two")
    assert (first.state, first.gate) == (State.WAITING, "dev")
    plain.clock.sleep(2 * 3600)
    opening(plain)
    assert plain.run(first.number).outcome == Outcome.LIVE


def test_a_freeze_that_ends_within_a_minute_says_the_second(plain):
    over = plain.clock.now() + 25
    [said] = plain.commands.freeze("ada", pipeline="hello", reason="audit", lasting="25s")
    assert f"is frozen until {windows.show(over, 'UTC', over)}: audit" in said
    assert windows.show(over, "UTC", over).endswith(":25 UTC")
    assert plain.commands.audit_log()[0]["detail"].endswith(":25Z")


def test_a_freeze_until_a_time_in_a_zone(plain):
    [said] = plain.commands.freeze(
        "ada", environment="live", reason="audit", until="2026-11-26 09:00", zone="Europe/Dublin"
    )
    assert "live of every pipeline is frozen until Thu 26 Nov 09:00 Europe/Dublin: audit" in said
    [said] = plain.commands.freeze("ada", pipeline="hello", reason="audit", until="08:00")
    assert "every environment of hello is frozen until Thu 26 Nov 08:00 UTC" in said
    assert shown(plain)["freeze"]["until"] == dublin("2026-11-26 09:00:00")


def test_a_thaw_of_one_pipeline_leaves_the_others_frozen(make_world):
    world = make_world(CONFIG + "  shop: {environments: {dev: , live: }}\n")
    world.push("one")
    world.push("one", "shop")
    world.commands.freeze("ada", reason="a launch")
    world.commands.thaw("ada", pipeline="shop", reason="theirs is urgent")
    assert world.push("two").state == State.WAITING
    assert world.push("two", "shop").outcome == Outcome.LIVE


def test_a_thaw_opens_the_window_that_is_open_now_and_not_the_next_one(world):
    at(world, "2026-11-28 12:00:00")
    run = world.push("two")
    said = world.commands.thaw("ada", reason="a fix that cannot wait")
    assert said == (
        "hello/live is open until Fri 4 Dec 16:00 Europe/Dublin.",
        "hello#2 (r2) continues to live within seconds.",
    )
    opening(world)
    assert world.run(run.number).outcome == Outcome.LIVE
    assert world.push("three").outcome == Outcome.LIVE
    at(world, "2026-12-05 12:00:00")
    assert world.push("four").state == State.WAITING


@pytest.mark.parametrize(
    "later",
    [
        FROZEN.replace("sun,", "mon,"),  # longer
        FROZEN.replace('"16:00"', '"15:00"'),
        FROZEN.replace(WINDOW, f"{WINDOW}, {WINDOW.replace('08:00', '09:00')}"),  # one more
    ],
)
def test_a_window_that_is_added_or_changed_after_a_thaw_is_in_force(world, later):
    at(world, "2026-11-28 12:00:00")
    world.commands.thaw("ada", reason="a fix that cannot wait")
    live = shown(world)
    assert live["freeze"] is None
    assert live["thaw"]["text"] == (
        "live is open by a thaw until Mon 30 Nov 08:00 Europe/Dublin: a fix that cannot wait (by ada)"
    )
    assert (live["thaw"]["by"], live["thaw"]["until"]) == ("ada", dublin("2026-11-30 08:00:00"))
    world.configure(later)
    assert shown(world)["freeze"]
    assert shown(world)["thaw"] is None
    assert world.push("two").frozen
    world.configure(FROZEN)
    assert shown(world)["freeze"] is None


def test_a_window_that_is_added_after_the_thaw_of_a_freeze_by_hand_is_in_force(plain):
    at(plain, "2026-11-27 16:05:00")
    plain.commands.freeze("ada", pipeline="hello", environment="live", reason="a launch")
    plain.commands.thaw("ada", pipeline="hello", environment="live", reason="launched")
    at(plain, "2026-11-27 17:00:00")
    plain.configure(FROZEN)
    assert plain.push("two").frozen


def test_a_thaw_of_everything_says_nothing_of_an_environment_that_comes_later(world):
    at(world, "2026-11-28 12:00:00")
    world.commands.thaw("ada", reason="a fix that cannot wait")
    world.configure(FROZEN.replace("env: live", "env: [dev, live]"))
    assert world.push("two").gate == "dev"
    world.commands.thaw(
        "bob", reason="and that as well"
    )  # takes the place of the first, and opens live as well
    opening(world)
    assert world.run(2).outcome == Outcome.LIVE


def test_a_thaw_that_was_stored_without_its_windows_opens_the_one_of_its_time(world):
    at(world, "2026-11-28 12:00:00")
    old = {"act": "thaw", "pipeline": "", "environment": "", "reason": "a fix", "by": "ada"}
    stored = old | {"at": dublin("2026-11-28 11:00:00"), "until": 0.0, "zone": "UTC"}
    world.store.facts.set("freezes", json.dumps([stored]))
    assert "by a thaw until Mon 30 Nov 08:00" in shown(world)["thaw"]["text"]
    assert world.push("two").outcome == Outcome.LIVE
    at(world, "2026-12-05 12:00:00")
    assert world.push("three").frozen


def test_a_manual_promotion_into_a_frozen_environment_waits_for_the_end(make_world):
    world = make_world(FROZEN.replace("live: }", "live: {promote: manual}}"))
    at(world, "2026-11-28 12:00:00")
    run = world.push("one")
    assert not run.frozen
    world.commands.promote("hello", "ann")
    world.work()
    assert world.run(run.number).frozen
    assert any(
        "promoted to live by ann; live is frozen until" in one.text for one in world.events(run, "note")
    )
    at(world, "2026-11-30 08:00:00")
    opening(world)
    assert world.run(run.number).outcome == Outcome.LIVE


def test_a_window_and_the_next_one_are_shown(world):
    assert shown(world)["next_freeze"]["text"] == (
        "live freezes Fri 27 Nov 16:00 to Mon 30 Nov 08:00 Europe/Dublin: weekend"
    )
    at(world, "2026-11-28 12:00:00")
    assert shown(world)["freeze"]["command"] == "pushlive thaw hello live --reason TEXT"


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"reason": " "}, "needs a reason"),
        ({"reason": "x", "pipeline": "live"}, "pushlive freeze --env live"),
        ({"reason": "x", "pipeline": "hello", "environment": "prod"}, "dev, live"),
        ({"reason": "x", "environment": "prod"}, "dev, live"),
        ({"reason": "x", "until": "2020-01-01 00:00"}, "not in the future"),
        ({"reason": "x", "until": "2999-01-01 00:00"}, "2999-01-01 00:00 is more than a year away"),
        ({"reason": "x", "lasting": "99999d"}, "Without --until and --for the freeze lasts until a thaw"),
        ({"reason": "x", "until": "2026-02-30 00:00"}, "not a time"),
        ({"reason": "x", "until": "tomorrow"}, "not a time"),
        ({"reason": "x", "lasting": "soon"}, "not a time"),
        ({"reason": "x", "lasting": "0"}, "not in the future"),
        ({"reason": "x", "until": "08:00", "lasting": "2h"}, "cannot be combined"),
        ({"reason": "x", "until": "08:00", "zone": "Dublin"}, "time zone"),
    ],
)
def test_a_freeze_that_is_refused_changes_nothing(make_world, what, words):
    world = make_world(CONFIG)
    with pytest.raises(PushliveError) as refused:
        world.commands.freeze("ada", **what)
    assert words in str(refused.value)
    assert shown(world)["freeze"] is None


def test_a_thaw_of_what_is_not_frozen_says_so(plain):
    assert plain.commands.thaw("ada", pipeline="hello", reason="x") == (
        "no environment of hello is frozen now.",
    )


def test_a_thaw_says_what_else_keeps_the_run_out(plain):
    plain.commands.freeze("ada", pipeline="hello", environment="live", reason="a launch")
    plain.push("two")
    plain.commands.hold("hello", "bob", environment="live", reason="I look")

    def thawed() -> str:
        said = plain.commands.thaw("ada", pipeline="hello", environment="live", reason="launched")
        assert said[0] == "hello/live is open."
        plain.commands.freeze("ada", pipeline="hello", environment="live", reason="a launch")
        return said[1]

    assert thawed() == (
        "hello#2 (r2) still waits: live is held: I look (by bob). "
        "`pushlive resume hello --env live` lifts the hold."
    )
    plain.commands.resume("hello", "bob", environment="live")
    plain.work()
    assert thawed() == "hello#2 (r2) continues to live within seconds."
    plain.configure(CONFIG.replace("live: }", "live: {promote: {manual: true, approvals: 2}}}"))
    assert thawed() == (
        "hello#2 (r2) still waits: promotion to live is manual: 0 of 2 approvals. "
        "`pushlive promote 'hello#2'` approves it."
    )
    plain.push("three")
    plain.commands.revert("hello", "eve", environment="dev")
    plain.work()
    said = thawed()
    assert "hello#3 (r3) still waits: r3 was" in said
    assert said.endswith("puts it back there.")


def test_a_run_that_waits_for_several_things_is_told_all_of_them(plain):
    plain.configure(CONFIG.replace("live: }", "live: {promote: {manual: true, approvals: 2}}}"))
    plain.commands.hold("hello", "bob", environment="live", reason="I look")
    plain.commands.freeze("ada", pipeline="hello", environment="live", reason="a launch")
    [gate] = plain.events(plain.push("two"), "gate")
    assert gate.text == (
        "waits before live: live is held: I look (by bob). To continue with r2: "
        "`pushlive resume hello --env live`. After that it still waits: "
        "promotion to live is manual: 0 of 2 approvals; live is frozen: a launch (by ada)"
    )


def test_what_froze_a_pipeline_that_is_gone_does_no_harm(plain):
    plain.commands.freeze("ada", pipeline="hello", environment="dev", reason="x")
    plain.configure("pipelines: {other: {environments: {live: }}}")
    assert plain.push("one", "other").outcome == Outcome.LIVE


def test_a_damaged_list_of_freezes_opens_nothing_and_is_named(plain):
    plain.store.facts.set("freezes", "[{")
    run = plain.push("two")
    assert run.outcome == Outcome.FAILED
    assert "fact:freezes" in run.failure.message
    assert plain.serving()["live"] == 1
