"""Webhooks that are ahead of what git shows, with git itself: a repository on another server, its mirror, fetches."""

from __future__ import annotations

import os
import secrets
from dataclasses import replace

import pytest

from pipeline.adapters.git.source import GitSource
from pipeline.deploy import branch_head
from pipeline.deploy.runner import Runner
from pipeline.domain.run import Outcome, Push, Run, State
from pipeline.ports.clock import SystemClock
from tests.story.conftest import World, go_on
from tests.support.developer import Repository
from tests.support.waiting import until

CONFIG = """\
pipelines:
  hello:
    source: {{url: "file://{folder}/away.git"}}
    environments: {{live: }}
"""


class Overtaken(GitSource):
    """A branch that moves on before its fetch sees it."""

    away: Away

    def fetch(self, key, source, watch):
        self.away.move_on()
        return super().fetch(key, source, watch)


class Away:
    """A repository on another server, its developer, and a service that gets its webhooks."""

    def __init__(self, world: World) -> None:
        folder, clock = world.settings.data, SystemClock()
        self.world = world
        self.clone = Repository(folder / "clone", f"file://{folder}/away.git", os.environ)
        self.clone.git("init", "-q", "--bare", "-b", "main", str(folder / "away.git"))
        source = Overtaken(folder / "git", folder / "mirrors", clock, (f"file://{folder}",))
        source.away = self
        object.__setattr__(world.adapters, "source", source)  # that of the commands and of the keeper as well
        self.runner = Runner(
            world.services, replace(world.adapters, clock=clock), world.commands.accept, go_on
        )
        self.coming: list[str] = []  # pushes, one before each fetch

    def commit(self, message: str) -> str:
        return self.clone.commit({"Dockerfile": "FROM scratch\n", "text": message}, message)

    def push(self, message: str) -> Run:
        commit = self.commit(message)
        self.clone.git("push", "-q", "pushlive", "main")
        return self.deliver(commit)

    def deliver(self, commit: str, delivery: str = "") -> Run:
        push = Push(
            "hello", "hello", "refs/heads/main", commit, delivery or secrets.token_hex(8), "ann", message=""
        )
        return self.world.commands.accept(push).run

    def move_on(self) -> None:
        for message in self.coming[:1]:
            del self.coming[:1]
            self.push(message)

    def work_off(self) -> None:
        """Until nothing is due."""

        def worked() -> bool:
            self.runner.work("hello")
            return not self.world.store.due("hello")

        until(worked)

    def live(self) -> str:
        """What is live, by its commit's message."""
        number = self.world.serving().get("live")
        return self.world.store.release("hello", number).message if number else ""


@pytest.fixture
def away(make_world, tmp_path) -> Away:
    return Away(make_world(CONFIG.format(folder=tmp_path)))


def test_a_branch_that_is_pushed_faster_than_it_is_fetched_goes_live_meanwhile(away):
    away.push("push 0")
    away.coming = [f"push {number}" for number in range(1, 9)]
    live = []
    while away.world.store.due("hello"):
        away.runner.work("hello")
        live.append(away.live())
    numbers = [int(text.split()[1]) for text in live if text]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) >= 4
    assert numbers[-1] == 8


def test_a_commit_that_never_comes_is_given_up_and_its_redelivery_is_a_new_run(away, monkeypatch):
    monkeypatch.setattr(branch_head, "APPEARS", 1.0)
    monkeypatch.setattr(branch_head, "SOONEST", 0.2)
    before = away.push("one")
    away.runner.work("hello")
    commit = away.commit("two")
    awaited = away.deliver(commit, "d2")
    away.work_off()
    run = away.world.run(awaited.number)
    assert (run.outcome, run.unseen) == (Outcome.SUPERSEDED, True)
    assert f"{commit[:7]} did not appear on main within 1 s; {before.short} is its head" in run.reason
    assert away.live() == "one"
    away.clone.git("push", "-q", "pushlive", "main")
    again = away.deliver(commit, "d2")
    assert again.number != awaited.number
    away.runner.work("hello")
    assert away.live() == "two"


def test_a_run_that_waits_for_its_commit_keeps_no_worker_and_goes_live_once_it_is_there(away, monkeypatch):
    monkeypatch.setattr(branch_head, "SOONEST", 0.2)
    away.push("one")
    away.runner.work("hello")
    ahead = away.deliver(away.commit("two"))
    away.runner.work("hello")
    waits = away.world.run(ahead.number)
    assert (waits.state, waits.attempts, waits.again > waits.awaited > 0) == (State.QUEUED, 0, True)
    assert away.world.store.leases.free(f"run:{waits.id}")
    monkeypatch.setattr(away.world.adapters.source, "fetch", None)
    assert away.runner.work("hello") is None, "it is not its time yet"
    monkeypatch.undo()
    away.clone.git("push", "-q", "pushlive", "main")
    away.work_off()
    assert away.world.run(ahead.number).outcome == Outcome.LIVE
    assert away.live() == "two"


def test_another_push_takes_the_place_of_one_that_waits_for_its_commit_at_once(away):
    away.push("one")
    away.runner.work("hello")
    never = away.deliver(away.commit("taken back"))
    away.runner.work("hello")
    away.clone.git("reset", "-q", "--hard", "HEAD~1")
    newer = away.push("two")
    assert away.world.run(never.number).reason.startswith("another push came before")
    away.runner.work("hello")
    assert away.world.run(newer.number).outcome == Outcome.LIVE


def test_a_run_that_waits_for_its_commit_is_cancelled_at_once(away):
    away.push("one")
    away.runner.work("hello")
    ahead = away.deliver(away.commit("two"))
    away.runner.work("hello")
    away.world.commands.cancel("hello", ahead.number, "ann")
    assert away.world.run(ahead.number).outcome == Outcome.CANCELLED
