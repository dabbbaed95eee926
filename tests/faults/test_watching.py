"""A keeper that watches a release after its switch, or judges it, killed at every single one of its writes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.adapters.fake import Killed
from pipeline.deploy.services import services_on
from pipeline.domain.environment import BakeOutcome, Environment, WorseOutcome
from pipeline.domain.run import Kind, Outcome, Run
from pipeline.domain.transitions import end
from pipeline.errors import StoreUnavailable
from pipeline.maintenance.job import Job
from pipeline.maintenance.jobs import Jobs
from pipeline.service.baking import Baking
from pipeline.store import Transaction
from tests.faults.points import Points, pointed_store
from tests.story.conftest import World
from tests.story.test_answers import serve
from tests.story.test_baking import CHAT, messages

CONFIG = f"""
notify: [{{url: {CHAT}, when: [worse]}}]
pipelines: {{hello: {{environments: {{live: {{bake: 5m, judge: act}}}}}}}}
"""


def test_fault_63_a_keeper_that_dies_at_any_write_takes_it_back_once(valkey: str, tmp_path) -> None:
    world = World(valkey, tmp_path, CONFIG)
    for text in ("one", "two"):
        world.push(text)
    crash_loop(world)
    taken_back_once(world, valkey, "bake")


def test_fault_63_a_keeper_that_dies_when_a_release_is_worse_takes_it_back_once(
    valkey: str, tmp_path: Path
) -> None:
    world = World(valkey, tmp_path, CONFIG)
    world.push("one")
    serve(world, 500, 5, looks=100)
    world.push("two")
    serve(world, 500, 10)
    taken_back_once(world, valkey, "judge")


@pytest.mark.parametrize("on_failure", ["hold", "tell"])
def test_fault_63_a_keeper_that_dies_when_a_release_is_worse_says_so_once(
    valkey: str, tmp_path: Path, on_failure: str
) -> None:
    world = World(valkey, tmp_path, CONFIG.replace("5m", f"{{for: 5m, on_failure: {on_failure}}}"))
    world.push("one")
    serve(world, 500, 5, looks=100)
    world.push("two")
    serve(world, 500, 10)
    messages(world)
    before, passed = world.environment("live"), 99
    for at in range(99):
        if at > passed:
            break
        passed = len(dying(world, valkey, at, "judge").passed)
        world.jobs.acting.run()
        found = world.environment("live")
        assert open_reverts(world) == []
        assert (found.hold is not None) == (on_failure == "hold")
        assert [one["event"] for one in messages(world)].count("worse") == 1
        put(world, before)
    assert passed
    assert at > passed


def taken_back_once(world: World, valkey: str, by: str) -> None:
    """Wherever the keeper died."""
    before, passed = world.environment("live"), 99
    for at in range(99):
        if at > passed:
            break
        passed = len(dying(world, valkey, at, by).passed)
        job(world.jobs, by).run()
        [revert] = open_reverts(world)
        found = world.environment("live")
        assert found.hold is not None
        assert (found.hold.by, found.interrupt) == (by, revert.number)
        assert (found.bakes[-1].outcome, found.bakes[-1].revert) == (BakeOutcome.TAKEN_BACK, revert.number)
        assert [one.release for one in found.quarantine] == [2]
        if by == "judge":
            worse = (found.trials[-1].outcome, found.trials[-1].revert)
            assert worse == (WorseOutcome.TAKEN_BACK, revert.number)
            assert [one["event"] for one in messages(world)].count("worse") == 1
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


def job(jobs: Jobs, by: str) -> Job:
    return jobs.baking if by == "bake" else jobs.acting


def dying(world: World, valkey: str, at: int, by: str) -> Points:
    """The keeper of another process, which dies at that point."""
    points = Points(at=at)
    points.act = points.die
    services = services_on(pointed_store(valkey, world.settings.instance, points), world.settings)
    baking = Baking(services, world.queue, world.clock, world.commands._operations)
    accept, back = world.commands.accept, baking.take_back
    jobs = Jobs(services, world.adapters, accept, world.hosted, list, take_back=back)
    with suppress(Killed, StoreUnavailable):
        job(jobs, by).run()
    services.store.client.close()
    return points


def open_reverts(world: World) -> list[Run]:
    return [run for run in world.store.open_runs("hello") if run.kind == Kind.REVERT]


def undo(world: World, before: Environment, revert: Run) -> None:
    """As it was before the revert was requested."""

    put(world, before)

    def act(tx: Transaction) -> None:
        tx.put_run(end(tx.run(revert.number), Outcome.CANCELLED, "for the next try", world.clock.now()))

    world.store.transact("hello", act)


def put(world: World, before: Environment) -> None:
    world.store.transact("hello", lambda tx: tx.put_environment(replace(before)))
