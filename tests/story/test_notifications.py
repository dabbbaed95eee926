"""Notifications are delivered at least once under one id, whatever is killed, and no run waits for a receiver. On the
strict fake and a real store; test_receivers.py uses real HTTP."""

from __future__ import annotations

import json

import pytest

from pipeline.adapters.fake import FakePost, Killed
from pipeline.domain.audit_chain import Actor
from pipeline.domain.run import Outcome, State
from pipeline.errors import EngineFailed, OutcomeUnknown, StoreUnavailable, TryAgain
from pipeline.notify.delivery import BACKOFF, KEEP, MAX_REFUSALS, MIN_ATTEMPTS, Delivery, outages
from pipeline.store import Transaction, outbox
from tests.story.conftest import World

CHAT, OPS = "https://chat.example.com/services/T0/B0/s3cr3t", "https://ops.example.com/hook"
EVERYTHING = "[live, failed, superseded, cancelled, waiting, reverted, held, serious, down, up]"
TOLD = f"""
notify: [{{url: {CHAT}, when: {EVERYTHING}}}]
pipelines: {{hello: {{environments: {{dev: , live: }}}}}}
"""
GATED = TOLD.replace("live: }", "live: {promote: manual}}")


class Mail:
    """A world's delivery and what its receivers got."""

    def __init__(self, world: World) -> None:
        self.world, self.post = world, FakePost()
        self.messenger = Delivery(world.store, self.post, world.clock, world.settings)

    def deliver(self) -> None:
        for receiver in self.messenger.due():
            self.messenger.deliver(receiver.id)

    def got(self, url: str = CHAT) -> list[str]:
        """Ids without the times in them."""
        self.deliver()
        return [name.rstrip("0123456789").rstrip("/") if _timed(name) else name for name in self.taken(url)]

    def taken(self, url: str = CHAT) -> list[str]:
        return self.post.taken.get(url, [])

    def said(self, name: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.post.bodies[name])
        return found


def _timed(name: str) -> bool:
    return "/held/" in name or "/waiting/" in name


@pytest.fixture
def told(make_world):
    return make_world(TOLD)


def test_each_end_of_a_run_is_notified_once_under_its_id(told):
    mail = Mail(told)
    told.push("one")
    told.builder.fail("build", EngineFailed("no disk"))
    told.push("two")
    told.accept(told.commit("three"))
    told.accept(told.commit("four"))
    told.commands.cancel("hello", 4, "ann")
    told.work()
    assert mail.got() == [
        "hello#1/live",
        "hello#2/failed",
        "hello#3/superseded",
        "hello#4/cancelled",
    ]
    assert mail.got() == mail.taken()  # nothing comes again
    assert told.store.outbox.receivers() == ()


def test_a_message_carries_the_text_and_every_field(told):
    mail = Mail(told)
    told.break_app(1, "/")
    told.push("Welcome <!channel> & @here")
    mail.deliver()
    said = mail.said("hello#1/failed")
    assert said["text"].startswith("hello#1 failed: dev/start: ")
    assert "&lt;!channel&gt; &amp; @\u200bhere" in said["text"]
    assert said["text"].endswith("http://127.0.0.1:7070/runs/hello/1")
    fields = (
        "event",
        "pipeline",
        "run",
        "kind",
        "outcome",
        "environment",
        "release",
        "message",
        "by",
        "serious",
    )
    assert [said[name] for name in fields] == [
        "failed", "hello", "hello#1", "push", "failed", "dev", 1, "Welcome <!channel> & @here", "ann", False,
    ]  # fmt: skip
    assert said["commit"] == told.run(1).commit
    assert said["reason"] == told.run(1).reason
    assert said["at"] == told.run(1).ended
    assert said["url"] == "http://127.0.0.1:7070/runs/hello/1"


def test_waits_holds_and_reverts_are_notified(make_world):
    world = make_world(GATED)
    mail = Mail(world)
    world.push("one")
    world.commands.promote("hello", "ann")
    world.work()
    world.push("two")
    world.commands.promote("hello", "ann")
    world.work()
    world.revert(reason="slow")
    world.commands.hold("hello", "ann", environment="dev", reason="tidying")
    assert mail.got() == [
        "hello#1/waiting/live", "hello#1/live",
        "hello#2/waiting/live", "hello#2/live",
        "hello/live/held", "hello#3/live",
        "hello/dev/held",
    ]  # fmt: skip
    names = mail.taken()
    assert "To continue with r1: `pushlive promote 'hello#1'`" in mail.said(names[0])["text"]
    assert (mail.said(names[4])["event"], mail.said(names[4])["run"]) == ("held", "hello#3")
    assert mail.said(names[5])["event"] == "reverted"
    assert mail.said(names[6])["text"].startswith(
        "hello/dev is held: tidying (by ann). To lift the hold: `pushlive resume"
    )


def test_an_unknown_outcome_notifies_of_the_hold(make_world):
    world = make_world(TOLD.replace("{environments", "{service: {release: [migrate]}, environments"))
    world.engine.fail("command", OutcomeUnknown("nobody knows whether it ran"))
    world.push("one")
    assert Mail(world).got() == ["hello/dev/held", "hello#1/failed"]


def test_a_serious_run_is_notified_once_even_to_a_receiver_of_serious_alone(make_world):
    world = make_world(
        TOLD.replace(EVERYTHING, "[serious, down, up]").replace("notify:", "budget: {whole: 1m}\nnotify:")
    )
    mail = Mail(world)
    world.push("quick")
    world.builder.before("build", lambda: world.clock.sleep(90))
    world.push("slow")
    world.builder.before("build", lambda: world.clock.sleep(90))
    world.break_app(3, "/")
    world.push("slow and broken")
    assert mail.got() == ["hello#2/live", "hello#3/failed"]
    for name in mail.taken():
        assert mail.said(name)["serious"] is True
        assert str(mail.said(name)["text"]).count("SERIOUS") == 1


def test_a_pipelines_own_receivers_replace_the_general_ones(make_world):
    own = f"notify: [{{url: {OPS}}}], environments: {{live: }}"
    world = make_world(f"""
notify: [{{url: {CHAT}, when: [live]}}]
pipelines:
  hello: {{environments: {{live: }}}}
  own: {{{own}}}
  silent: {{notify: [], environments: {{live: }}}}
""")
    mail = Mail(world)
    for name in ("hello", "own", "silent"):
        world.push("good", name)
    world.builder.fail("build", EngineFailed("no disk"), times=3)
    for name in ("hello", "own", "silent"):
        world.push("bad", name)
    assert (mail.got(), mail.got(OPS)) == (["hello#1/live"], ["own#2/failed"])


def test_the_receivers_are_those_of_the_runs_own_configuration(told):
    mail = Mail(told)
    number = told.accept(told.commit("one")).number
    told.configure(TOLD.replace(CHAT, OPS))
    told.work()
    assert told.run(number).outcome == Outcome.LIVE
    assert (mail.got(), mail.got(OPS)) == (["hello#1/live"], [])


def test_a_configuration_deployed_by_hand_does_not_choose_the_receivers(told):
    mail = Mail(told)
    told.push("one")
    sent = TOLD.replace(CHAT, "https://elsewhere.example.net/x").replace("dev: ,", "dev: {cpu: 2},")
    told.commands.deploy("hello", Actor("bob", "maintainer"), config=sent)
    told.work()
    assert told.run(2).outcome == Outcome.LIVE
    assert mail.got() == ["hello#1/live", "hello#2/live"]
    assert list(mail.post.taken) == [CHAT]


# ── processes that are killed ────────────────────────────────────────────────────────────


def dies_at(monkeypatch, write: int, after: bool) -> list[int]:
    """The process is killed once, at the store's n-th write from now; the list grows with each write."""
    real, writes = Transaction.apply, []

    def apply(self: Transaction, mark: str) -> None:
        writes.append(1)
        number = len(writes)
        if number == write and not after:
            raise Killed("before the write")
        real(self, mark)
        if number == write:
            raise Killed("after the write")

    monkeypatch.setattr(Transaction, "apply", apply)
    return writes


def carry(world: World, commit: str) -> None:
    """One push to its end, promotion included; called again, it continues where it was."""
    world.accept(commit, delivery="one")
    world.work()
    if any(run.state == State.WAITING for run in world.store.open_runs("hello")):
        world.commands.promote("hello", "ann")
    world.work()


@pytest.mark.long
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_every_write_each_message_comes_once_under_one_id(make_world, monkeypatch, after):
    write = 0
    while True:
        write += 1
        world = make_world(GATED)
        mail, commit = Mail(world), world.commit("one")
        with monkeypatch.context() as patch:
            writes = dies_at(patch, write, after)
            try:
                carry(world, commit)
            except Killed:
                carry(world, commit)
        assert world.run(1).outcome == Outcome.LIVE
        assert mail.got() == ["hello#1/waiting/live", "hello#1/live"], f"killed at write {write}"
        if len(writes) < write:
            break
    assert write > 20


@pytest.mark.long
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_every_write_of_a_revert_each_message_comes_once(make_world, monkeypatch, after):
    write = 0
    while True:
        write += 1
        world = make_world(TOLD)
        world.push("one")
        world.push("two")
        mail = Mail(world)
        mail.deliver()
        with monkeypatch.context() as patch:
            writes = dies_at(patch, write, after)
            try:
                world.revert()
            except Killed:
                world.work()
                if world.store.last_run("hello") == 2:
                    world.revert()
        assert mail.got()[2:] == ["hello/live/held", "hello#3/live"], f"killed at write {write}"
        if len(writes) < write:
            break
    assert write > 5


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_messenger_killed_while_sending_sends_again_under_the_same_id(told, after):
    mail = Mail(told)
    told.push("one")
    told.push("two")
    mail.post.kill("send", after=after)
    with pytest.raises(Killed):
        mail.deliver()
    mail.deliver()
    assert mail.taken() == (["hello#1/live"] if after else []) + ["hello#1/live", "hello#2/live"]


def test_a_message_is_sent_again_if_the_store_fails_before_it_is_recorded(told, monkeypatch):
    mail = Mail(told)
    told.push("one")
    real = told.store.outbox.delivered

    def lost(*_: str) -> None:
        monkeypatch.setattr(told.store.outbox, "delivered", real)
        raise StoreUnavailable("gone")

    monkeypatch.setattr(told.store.outbox, "delivered", lost)
    with pytest.raises(StoreUnavailable):
        mail.deliver()
    mail.deliver()
    assert mail.taken() == ["hello#1/live", "hello#1/live"]
    assert told.store.outbox.receivers() == ()


def test_the_lease_of_a_messenger_that_was_killed_is_freed(told):
    mail = Mail(told)
    told.push("one")
    [receiver] = told.store.outbox.receivers()
    told.store.leases.take(f"notify:{receiver.id}", "the dead one")
    mail.deliver()
    assert mail.taken() == []  # another messenger is sending
    told.jobs.requeue.run()
    told.clock.sleep(8.5)
    told.jobs.requeue.run()
    assert mail.got() == ["hello#1/live"]


def test_two_messengers_at_once_are_harmless(told):
    mail, other = Mail(told), Mail(told)
    told.push("one")
    told.push("two")
    mail.post.before("send", other.deliver)  # the other one runs while the first one sends
    mail.deliver()
    assert (mail.taken(), other.taken()) == (["hello#1/live", "hello#2/live"], [])


# ── receivers that do not accept messages ─────────────────────────────────


def test_a_receiver_that_is_down_gets_everything_in_order_once_it_is_back(told):
    mail = Mail(told)
    mail.post.fail("send", TryAgain("connection refused"), times=4)
    for number in range(3):
        told.push(f"{number}")
    tries = 0
    while told.store.outbox.receivers():
        mail.deliver()
        told.clock.sleep(1)
        tries += 1
        assert tries < 60
    assert mail.taken() == ["hello#1/live", "hello#2/live", "hello#3/live"]
    assert len(mail.post.calls) == 7
    assert tries > 8  # 1, 2, 4 and 8 seconds between the tries


def test_fault_49_a_dead_receiver_does_not_delay_another(make_world):
    both = f"{{url: {CHAT}, when: [live]}}, {{url: {OPS}, when: [live]}}"
    world = make_world(f"notify: [{both}]\npipelines: {{hello: {{environments: {{live: }}}}}}")
    mail = Mail(world)
    mail.post.answers[CHAT] = 503
    for number in range(5):
        assert world.push(f"{number}").outcome == Outcome.LIVE
        mail.deliver()
    assert mail.taken(OPS) == [f"hello#{n}/live" for n in range(1, 6)]
    assert mail.taken(CHAT) == []
    [text] = outages(world.store)
    assert "https://chat.example.com/… (" in text
    assert "answered 503; 5 waiting, 0 given up" in text
    assert "s3cr3t" not in text
    assert world.commands.status()["undelivered"] == [text]


def test_delays_grow_to_a_ceiling_and_a_message_is_given_up_after_a_day(told):
    mail = Mail(told)
    mail.post.answers[CHAT] = 503
    told.push("old")
    at, pauses = told.clock.now(), []
    while told.store.outbox.receivers()[0].waiting:
        before = len(mail.post.calls)
        mail.deliver()
        if len(mail.post.calls) > before:
            pauses.append(told.clock.now() - at)
            at = told.clock.now()
        told.clock.sleep(0.5 if len(pauses) < 6 else 60)
    assert pauses[:6] == [0, 1, 2, 4, 8, 16]
    assert max(pauses) == BACKOFF.ceiling
    assert KEEP <= sum(pauses) <= KEEP + 2 * BACKOFF.ceiling
    assert told.store.counts()["notify: given up"] == 1
    [receiver] = told.store.outbox.receivers()
    assert (receiver.waiting, receiver.lost) == (0, 1)
    mail.post.answers.clear()
    told.push("new")
    told.clock.sleep(BACKOFF.ceiling)
    assert mail.got() == ["hello#2/live"]


def test_fault_38_a_clock_jump_neither_drops_nor_delays_a_message(told):
    mail = Mail(told)
    mail.post.answers[CHAT] = 503
    told.push("one")
    mail.deliver()
    told.clock.jump(2 * KEEP)
    mail.deliver()
    assert told.store.outbox.receivers()[0].waiting == 1
    told.clock.jump(-3 * KEEP)
    mail.post.answers.clear()
    assert mail.got() == ["hello#1/live"]
    assert MIN_ATTEMPTS > 2


def test_a_refused_message_is_given_up_after_a_few_attempts(told):
    mail = Mail(told)
    mail.post.answers[CHAT] = 400
    told.push("one")
    told.push("two")
    for _ in range(MAX_REFUSALS):
        mail.deliver()
        told.clock.sleep(BACKOFF.ceiling)
    mail.post.answers.clear()
    assert mail.got() == ["hello#2/live"]
    assert told.store.counts()["notify: given up"] == 1


def test_the_queue_of_one_receiver_is_bounded(told, monkeypatch):
    monkeypatch.setattr(outbox, "LIMIT", 3)
    mail = Mail(told)
    for number in range(5):
        told.push(f"{number}")
    [receiver] = told.store.outbox.receivers()
    assert (receiver.waiting, receiver.lost) == (3, 2)
    assert told.store.counts()["notify: given up"] == 2
    assert mail.got() == ["hello#3/live", "hello#4/live", "hello#5/live"]


def test_a_message_that_pushlive_did_not_write_is_given_up(told):
    mail = Mail(told)
    told.push("one")
    [receiver] = told.store.outbox.receivers()
    told.store.client.lpush(told.store.outbox.key("", receiver.id), '{"id": []}', "rubbish")
    assert mail.got() == ["hello#1/live"]
    assert told.store.counts()["notify: given up"] == 2
