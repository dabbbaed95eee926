"""A keeper that watches a release after its switch, killed at every single one of its writes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from pipeline.adapters.fake import Killed
from pipeline.deploy.services import services_on
from pipeline.domain.environment import BakeOutcome, Environment
from pipeline.domain.run import Kind, Outcome, Run
from pipeline.domain.transitions import end
from pipeline.errors import StoreUnavailable
from pipeline.maintenance.jobs import Jobs
from pipeline.service.baking import Baking
from pipeline.store import Transaction
from tests.faults.points import Points, pointed_store
from tests.story.conftest import World

CONFIG = "pipelines: {hello: {environments: {live: {bake: 5m}}}}"


def test_fault_63_a_keeper_that_dies_at_any_write_takes_it_back_once(valkey: str, tmp_path) -> None:
    world = World(valkey, tmp_path, CONFIG)
    for text in ("one", "two"):
        world.push(text)
    crash_loop(world)
    before, passed = world.environment("live"), 99
    for at in range(99):
        if at > passed:
            break
        passed = len(dying(world, valkey, at).passed)
        world.jobs.baking.run()
        [revert] = open_reverts(world)
        found = world.environment("live")
        assert found.hold is not None
        assert (found.hold.by, found.interrupt) == ("bake", revert.number)
        assert (found.bakes[-1].outcome, found.bakes[-1].revert) == (BakeOutcome.TAKEN_BACK, revert.number)
        assert [one.release for one in found.quarantine] == [2]
        entries = world.commands.audit_log("hello")
        assert [one["run"] for one in entries if one["act"] == "revert"].count(revert.id) == 1
        undo(world, before, revert)
    assert passed > 1
    assert at > passed


def crash_loop(world: World) -> None:
    for _ in range(5):
        world.clock.sleep(5)
        world.jobs.health.run()
        slot = world.environment("live").active
        world.engine.crash(next(ref for ref in world.engine.contents if ref.slot == slot))


def dying(world: World, valkey: str, at: int) -> Points:
    """The keeper of another process, which dies at that point."""
    points = Points(at=at)
    points.act = points.die
    services = services_on(pointed_store(valkey, world.settings.instance, points), world.settings)
    baking = Baking(services, world.queue, world.clock, world.commands._operations)
    accept, back = world.commands.accept, baking.take_back
    jobs = Jobs(services, world.adapters, accept, world.hosted, list, take_back=back)
    with suppress(Killed, StoreUnavailable):
        jobs.baking.run()
    services.store.client.close()
    return points


def open_reverts(world: World) -> list[Run]:
    return [run for run in world.store.open_runs("hello") if run.kind == Kind.REVERT]


def undo(world: World, before: Environment, revert: Run) -> None:
    """As it was before the revert was requested."""

    def act(tx: Transaction) -> None:
        tx.put_environment(replace(before))
        tx.put_run(end(tx.run(revert.number), Outcome.CANCELLED, "for the next try", world.clock.now()))

    world.store.transact("hello", act)
