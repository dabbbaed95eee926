"""An empty store beside what runs: it was lost, and nothing is done until a person decides."""

from __future__ import annotations

import pytest

from pipeline.domain.run import Outcome
from pipeline.errors import StoreUnknown, TryAgain
from pipeline.store import Store
from pipeline.store.origin import Beside


def lose(world) -> None:
    """What `mv data/store away` does."""
    world.store.client.delete(*world.store.client.keys(world.store.key() + "*"))


def test_fault_51_an_empty_store_beside_containers_changes_nothing(world):
    world.push("one")
    world.push("two")
    lose(world)
    before = dict(world.engine.contents), dict(world.engine.active)
    world.engine.calls.clear()
    keeper = world.another_keeper()
    said = keeper.tick()
    for _ in range(5):
        world.clock.sleep(10)
        said += keeper.tick()
    assert (world.engine.contents, world.engine.active) == before
    assert set(world.engine.names()) <= {"slots"}
    assert len(said) == 1  # once, not in every round
    assert "hello/live (green) is on docker" in said[0]
    assert "`pushlive adopt`" in said[0]
    assert "`pushlive restore FILE`" in said[0]
    assert world.store.pipelines() == ()


@pytest.mark.parametrize(
    "act",
    [
        lambda world: world.accept(world.commit("three")),
        lambda world: world.commands.deploy("hello", "ann"),
        lambda world: world.commands.revert("hello", "ann"),
        lambda world: world.commands.hold("hello", "ann"),
        lambda world: world.commands.resume("hello", "ann"),
        lambda world: world.commands.gc("ann"),
        lambda world: world.commands.fix("ann"),
    ],
)
def test_fault_51_nothing_is_accepted_meanwhile(world, act):
    world.push("one")
    lose(world)
    with pytest.raises(StoreUnknown):
        act(world)
    assert world.store.last_run("hello") == 0
    assert not {"stop", "remove"} & set(world.engine.names())


def test_fault_51_a_process_that_knew_the_store_writes_nothing_into_an_empty_one(world):
    run = world.push("one")
    assert world.store.origin.known()
    lose(world)
    with pytest.raises(StoreUnknown):
        world.store.transact("hello", lambda tx: tx.put_run(run))
    assert world.store.last_run("hello") == 0


def test_a_new_installation_marks_its_store_and_goes_on(world):
    lose(world)
    assert not world.store.origin.known()
    assert world.keeper.tick() == []
    assert world.store.origin.known()
    assert world.push("one").outcome == Outcome.LIVE


def test_a_store_of_the_version_before_is_known_by_its_records(world):
    world.push("one")
    world.store.client.delete(world.store.key("fact", "known"))
    assert Store(world.redis, world.settings.instance).origin.known()
    assert world.store.client.exists(world.store.key("fact", "known"))


def test_an_engine_that_does_not_answer_may_run_something(world):
    lose(world)
    world.engine.fail("slots", TryAgain("the Docker Engine does not answer."))
    (said,) = world.keeper.tick()
    assert "what runs on docker is unknown (the Docker Engine does not answer)" in said
    assert not world.store.origin.known()
    world.clock.sleep(10)
    world.keeper.tick()
    assert world.store.origin.known()


def test_status_says_what_happened_and_the_ways_out(world):
    world.push("one")
    assert world.commands.status()["unknown_store"] == ""
    lose(world)
    assert "Try again" in world.commands.status()["unknown_store"]  # nobody has looked yet
    world.another_keeper().tick()
    text = world.commands.status()["unknown_store"]
    assert "hello/dev (blue) is on docker" in text
    assert "`pushlive adopt`" in text


def test_what_is_beside_an_unknown_store_is_kept_and_read_back(world):
    beside = Beside(("the repository hello has commits",), ())
    world.store.origin.note(beside)
    assert world.store.origin.beside() == beside
    assert not beside.new
