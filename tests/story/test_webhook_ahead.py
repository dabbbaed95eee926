"""A repository on another server that is behind its webhooks, or a branch that moves on faster than it is fetched."""

from __future__ import annotations

import secrets

import pytest

from pipeline.adapters.fake.source import FakeSource
from pipeline.domain.run import Outcome, Push, State
from tests.story.conftest import World

BRANCH = "refs/heads/main"


class Lagging(FakeSource):
    """Shows a commit only ``behind`` seconds after it was pushed; a fetch takes ``takes``."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.behind, self.takes, self._clock = 0.0, 0.0, world.clock
        self._visible: dict[str, float] = {}  # by commit: since when

    def push(self, key, files, message="a change", branch="main"):
        commit = super().push(key, files, message, branch)
        self._visible[commit] = self._clock.monotonic() + self.behind
        return commit

    def show(self, commit):
        self._visible[commit] = 0.0

    def fetch(self, key, source, watch):
        self._clock.sleep(self.takes)
        super().fetch(key, source, watch)
        return [commit for commit in self._visible if self._shows(commit)][-1]

    def commit(self, key, source, commit):
        shown = [one for one in self._visible if one.startswith(commit) and self._shows(one)]
        return super().commit(key, source, commit if shown else "0" * 40)

    def _shows(self, commit):
        return self._visible[commit] <= self._clock.monotonic()


@pytest.fixture
def away(world: World) -> Lagging:
    source = Lagging(world)
    world.source = world.hosted._source = source
    object.__setattr__(world.adapters, "source", source)
    return source


def ends(world: World) -> list[tuple[str, Outcome | None]]:
    return [(run.message, run.outcome) for run in reversed(world.store.recent("hello", 50))]


def deliver(world: World, commit: str, delivery: str = "") -> tuple[int, bool]:
    push = Push("hello", "hello", BRANCH, commit, delivery or secrets.token_hex(8), "ann")
    accepted = world.commands.accept(push)
    return accepted.run.number, accepted.duplicate


def test_a_commit_that_appears_after_its_webhook_goes_live(world, away):
    world.push("one")
    away.behind = 30
    run = world.push("two")
    assert run.outcome == Outcome.LIVE
    assert 30 <= run.ended - run.accepted < 60
    [note] = [event for event in world.events(run, "warning") if "not in the repository yet" in event.text]
    assert "fetching again for up to 120 s" in note.text
    assert world.store.last_run("hello") == 2


def test_a_commit_that_never_appears_is_given_up_and_its_redelivery_is_a_new_run(world, away):
    world.push("one")
    away.behind = 1000
    commit = world.commit("two")
    number, _ = deliver(world, commit, "d2")
    assert deliver(world, commit, "d2") == (number, True)
    world.work()
    run = world.run(number)
    assert (run.outcome, run.unseen) == (Outcome.SUPERSEDED, True)
    assert f"{commit[:7]} did not appear on main within 120 s; " in run.reason
    assert "Deliver the webhook again once the repository has it." in run.reason
    assert world.serving()["live"] == 1
    away.show(commit)
    again, duplicate = deliver(world, commit, "d2")
    assert (again, duplicate) == (number + 1, False)
    world.work()
    assert world.run(again).outcome == Outcome.LIVE
    assert deliver(world, commit, "d2") == (again, True)


def test_a_head_that_was_overtaken_in_the_queue_goes_live_meanwhile(world, away):
    world.push("one")
    away.behind = 10
    two = world.commit("two")
    deliver(world, two)
    away.behind = 40
    three = world.commit("three")
    deliver(world, three)
    pause = world.clock.sleep

    def sleep(seconds):
        pause(seconds)
        if world.store.last_run("hello") == 4 and world.run(4).state == State.QUEUED:
            world.runner.work("hello")  # another worker

    world.clock.sleep = sleep
    world.work()
    assert ends(world) == [
        ("one", Outcome.LIVE),
        ("", Outcome.SUPERSEDED),
        ("", Outcome.SUPERSEDED),
        ("two", Outcome.LIVE),
        ("three", Outcome.LIVE),
    ]
    assert world.serving()["live"] == 3


def test_a_newer_push_ends_the_wait(world, away):
    world.push("one")
    away.behind = 40
    first, _ = deliver(world, world.commit("two"))
    began, newer = world.clock.monotonic(), []
    pause = world.clock.sleep

    def sleep(seconds):
        pause(seconds)
        if not newer and world.clock.monotonic() > began + 5:
            newer.append(deliver(world, world.commit("three"))[0])

    world.clock.sleep = sleep
    world.work()
    assert (world.run(first).outcome, world.run(first).unseen) == (Outcome.SUPERSEDED, False)
    assert world.run(first).ended - world.run(first).started < 10
    assert world.run(newer[0]).outcome == Outcome.LIVE


def test_a_wait_is_cancelled_at_once(world, away):
    world.push("one")
    away.behind = 1000
    number, _ = deliver(world, world.commit("two"))
    began = world.clock.monotonic()

    def cancel():
        if world.run(number).state == State.RUNNING and not world.run(number).cancel:
            world.commands.cancel("hello", number, "ann")

    away.before("commit", cancel)
    world.work()
    assert world.run(number).outcome == Outcome.CANCELLED
    assert world.clock.monotonic() - began < 5


def test_something_goes_live_while_pushes_come_faster_than_fetches(world, away):
    world.push("zero")
    away.takes = 4
    live, pushes = [], iter(range(1, 26))
    pause, due = world.clock.sleep, [world.clock.monotonic()]

    def sleep(seconds):
        pause(seconds)
        while due[0] <= world.clock.monotonic() and (number := next(pushes, None)):
            due[0] += 2
            world.accept(world.commit(f"push {number}"))

    world.clock.sleep = sleep
    sleep(0)
    while world.store.due("hello"):
        world.runner.work("hello")
        live.append(world.store.release("hello", world.environment("live").serving).message)
    assert live[-1] == "push 25"
    assert len(set(live)) > 4  # not only the last one
    numbers = [int(text.split()[-1]) for text in live if text.startswith("push")]
    assert numbers == sorted(numbers)


def test_late_deliveries_of_older_commits_take_nothing_back(world, away):
    world.push("zero")
    commits = [world.commit(text) for text in ("a", "b", "c")]
    for commit in reversed(commits):
        deliver(world, commit)
        world.work()
    assert world.store.release("hello", world.environment("live").serving).commit == commits[-1]
    live = [run.commit for run in world.store.recent("hello", 9) if run.outcome == Outcome.LIVE]
    assert live[0] == commits[-1]


def test_a_head_whose_delivery_was_lost_follows_late_deliveries_of_older_commits(world, away):
    world.push("zero")
    a, b, c = (world.commit(text) for text in "abc")
    first, _ = deliver(world, b)
    late = []

    def arrives():
        if not late:
            late.append(deliver(world, a)[0])

    away.before("fetch", arrives)
    world.work()
    assert world.run(first).outcome == Outcome.SUPERSEDED
    assert world.store.release("hello", world.environment("live").serving).commit == c


def test_while_nothing_is_pushed_the_runs_are_read_at_each_fetch_only(world, away, monkeypatch):
    world.push("one")
    away.behind = 30
    read, fetched = [], []
    recent, fetch = world.store.recent, away.fetch
    monkeypatch.setattr(
        world.store, "recent", lambda *which, **how: read.append(world.clock.now()) or recent(*which, **how)
    )
    monkeypatch.setattr(away, "fetch", lambda *which: fetched.append(world.clock.now()) or fetch(*which))
    assert world.push("two").outcome == Outcome.LIVE
    assert set(read) == set(fetched)
