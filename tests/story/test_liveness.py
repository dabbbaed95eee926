"""A web container that runs and does not answer is started again, if `liveness` says so."""

from __future__ import annotations

import pytest

from pipeline.domain.engine_types import SlotRef
from pipeline.errors import EngineFailed
from webhooks.api.exposition import exposition

CONFIG = "pipelines: {hello: {service: {liveness: restart}, environments: {live: {replicas: 2, bake: 0}}}}"
HANGS = "GET / got no answer within 5 s"


@pytest.fixture
def world(make_world):
    world = make_world(CONFIG)
    world.push("one")
    look(world)
    return world


def look(world, times: int = 1) -> list[str]:
    said = []
    for _ in range(times):
        world.clock.sleep(5)
        world.jobs.health.run()
        said += world.jobs.revive.run()
    return said


def slot(world) -> SlotRef:
    active = world.environment("live").active
    return next(ref for ref in world.engine.contents if ref.slot == active)


def health(world) -> dict:
    [found] = world.commands.status("hello")["pipelines"][0]["environments"]
    return found["health"]


def test_fault_65_one_that_hangs_is_started_again_after_its_time_and_the_other_is_not(world):
    world.engine.sicken(slot(world), 2, HANGS)
    assert look(world, times=12) == []
    assert look(world, times=2) == [f"hello/live: live-2 did not answer and was started again: {HANGS}"]
    assert world.engine.revivals == ["live-2"]
    assert health(world)["revived"] == 1
    text = exposition(world.store.metrics.read()).decode()
    assert 'pushlive_environment_revived{environment="live",pipeline="hello"} 1.0' in text
    assert 'pushlive_environment_replicas_serving{environment="live",pipeline="hello"} 1.0' in text
    assert 'pushlive_environment_replicas{environment="live",pipeline="hello"} 2.0' in text


def test_fault_65_a_restart_that_does_not_help_is_repeated_less_and_less_often(world):
    world.engine.sicken(slot(world), 1, HANGS)
    look(world, times=14)
    assert look(world, times=22) == []
    assert len(look(world, times=4)) == 1
    assert look(world, times=44) == []
    assert len(look(world, times=6)) == 1
    assert world.engine.revivals == ["live-1"] * 3


def test_all_that_hang_are_started_again_one_at_a_time(world):
    for number in (1, 2):
        world.engine.sicken(slot(world), number, HANGS)
    look(world, times=13)
    assert world.engine.revivals == ["live-1"]
    look(world)
    assert world.engine.revivals == ["live-1", "live-2"]


def test_fault_65_it_is_never_done_while_a_run_or_a_restore_is_at_work_there(world):
    world.engine.sicken(slot(world), 1, HANGS)
    lease = world.store.leases.take("env:hello/live", "worker")
    assert look(world, times=20) == []
    world.store.leases.drop(lease)
    assert len(look(world)) == 1
    assert world.store.leases.free("env:hello/live")


def test_a_keeper_that_dies_at_it_does_not_do_it_again_at_once(world):
    world.engine.sicken(slot(world), 1, HANGS)
    world.engine.fail("revive", EngineFailed("it died"))
    look(world, times=14)
    world.jobs = world.another_process()
    assert look(world, times=10) == []
    assert health(world)["revived"] == 1


def test_what_has_ended_is_the_engines_to_start(world):
    world.engine.halt(slot(world))
    assert look(world, times=30) == []
    assert world.engine.revivals == []


def test_without_the_key_nothing_is_started_again(make_world):
    world = make_world(CONFIG.replace("{liveness: restart}", "{}"))
    world.push("one")
    world.engine.sicken(slot(world), 1, HANGS)
    assert look(world, times=40) == []
