"""The record of what serves, damaged: made again from what runs if that is certain, else said."""

from __future__ import annotations

import pytest

from pipeline.adapters.fake.script import Killed
from pipeline.domain.run import Outcome
from pipeline.errors import EngineAway
from pipeline.store import Transaction
from tests.story.conftest import World
from tests.story.test_damaged import spoil

LIVE = """\
pipelines:
  hello: {service: {health: /healthz}, environments: {live: {keep_warm: 30m}}}
"""


@pytest.fixture
def world(make_world) -> World:
    one = make_world(LIVE)
    for text in ("one", "two", "three"):
        assert one.push(text).outcome == Outcome.LIVE
    return one


def test_it_is_made_again_and_held_and_a_revert_still_knows_the_way_back(world: World) -> None:
    before, made = world.environment("live"), len(world.engine.calls)
    text = world.store.client.hget(world.store.key("environments", "hello"), "live")[:40]
    spoil(world, "environments", "live", "cut")
    [line] = world.jobs.repair_records.run()
    assert "r3 serves" in line
    assert "`pushlive resume hello --env live --held-by keeper`" in line
    after = world.environment("live")
    assert (after.active, after.index, after.good) == (before.active, before.index, before.good)
    assert (after.pairs, after.newest_run) == (before.pairs, before.newest_run)
    assert {slot: one.state for slot, one in after.slots.items()} == {
        slot: one.state for slot, one in before.slots.items()
    }
    assert after.hold.by == "keeper"
    assert world.store.facts.get("damaged:hello/live").startswith(text)
    changing = {"start", "stop", "switch", "restore", "unroute"}
    assert not changing & {name for name, _ in world.engine.calls[made:]}
    assert world.jobs.repair_records.run() == []
    assert world.reconcile() == []
    assert world.revert().release == 2
    assert [one["act"] for one in world.commands.audit_log()][:3].count("repair") <= 1


@pytest.mark.parametrize("why", ["release", "changed", "gone", "both"])
def test_what_is_not_certain_is_said_once_and_left(world: World, why: str) -> None:
    ref = next(one for one, content in world.engine.contents.items() if content.spec.release == 3)
    if why == "release":
        spoil(world, "releases", "3", "cut")
    elif why == "changed":
        world.engine.scale(ref, 5)
    elif why == "gone":
        world.engine.contents.clear()
    else:
        world.store.client.hset(world.store.key("indices"), "hello/live", 17)
    spoil(world, "environments", "live", "cut")
    [line] = world.jobs.repair_records.run()
    assert "was not made again" in line
    assert "docs/operations.md" in line
    assert world.jobs.repair_records.run() == []
    assert "live" in world.store.damaged_environments("hello")


def test_an_engine_that_does_not_answer_decides_nothing(world: World) -> None:
    spoil(world, "environments", "live", "cut")
    world.engine.fail("survey", EngineAway("no answer."))
    assert world.jobs.repair_records.run() == []
    assert world.jobs.repair_records.run() != []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_keeper_that_is_killed_repairs_it_once(world: World, monkeypatch, after: bool) -> None:
    spoil(world, "environments", "live", "cut")
    real = Transaction.apply

    def apply(self: Transaction, mark: str) -> None:
        if after:
            real(self, mark)
        raise Killed("at the write")

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "apply", apply)
        with pytest.raises(Killed):
            world.jobs.repair_records.run()
    said = world.another_process().repair_records.run()
    assert len(said) == (0 if after else 1)
    assert world.environment("live").serving == 3
