"""`one: true`: no two releases ever run at once, whatever fails in between."""

from __future__ import annotations

import re

import pytest

from pipeline.adapters.fake.script import Killed
from pipeline.domain.run import Outcome
from pipeline.errors import AppFailed, EngineFailed
from tests.story.conftest import World
from tests.story.test_damaged import spoil

ONE = """\
pipelines:
  hello:
    service: {health: /healthz, one: true}
    smoke: [{get: /, contains: r}]
    environments: {live: }
"""


@pytest.fixture
def alone(world: World) -> World:
    """r1 serves; from now on two releases that run at once are an error."""
    world.configure(ONE)
    world.push()
    for call in ("start", "ready", "expose", "switch", "restore"):
        world.engine.before(call, lambda: refuse_two(world), times=1000)
    return world


def refuse_two(world: World) -> None:
    assert sum(one.alive for one in world.engine.contents.values()) <= 1


def works(world: World) -> dict[int, bool]:
    """By release, whether it has the traffic and runs."""
    active = world.environment("live").active
    return {
        one.spec.release: one.alive and one.exposed and ref.slot == active == world.engine.serving(ref)
        for ref, one in world.engine.contents.items()
        if one.alive
    }


def test_what_serves_is_stopped_before_the_next_starts_and_is_not_kept_warm(alone: World) -> None:
    run = alone.push()
    assert works(alone) == {2: True}
    said = " ".join(event.text for event in alone.events(run, "note"))
    assert (
        "r1 is stopped before r2 starts; requests wait in the proxy, each for 1m at most (`timeout`)" in said
    )
    assert re.search(r"nothing served for \d+\.\d s; 1 request waited in the proxy", said)
    alone.reconcile()
    assert list(alone.environment("live").slots) == [alone.environment("live").active]
    alone.revert()
    alone.work()
    assert works(alone) == {1: True}


def test_a_release_that_is_not_ready_gives_way_to_the_one_before_it(alone: World) -> None:
    alone.break_app(2, "/healthz")
    assert alone.push().outcome == Outcome.FAILED
    assert works(alone) == {1: True}


def test_a_release_that_fails_after_the_switch_gives_way_as_well(alone: World) -> None:
    alone.engine.fail("public", AppFailed("no visitor gets an answer"))
    assert alone.push().outcome == Outcome.FAILED
    assert works(alone) == {1: True}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", ["waited", "pause", "stop_and_keep", "start", "ready", "expose", "switch"])
def test_killed_at_any_point_the_next_worker_goes_on(alone: World, call: str, after: bool) -> None:
    number = alone.accept(alone.commit("two")).number
    alone.engine.kill(call, after=after)
    with pytest.raises(Killed):
        alone.work()
    alone.work()
    assert alone.run(number).outcome == Outcome.LIVE
    assert works(alone) == {2: True}


@pytest.mark.parametrize("call", ["stop_and_keep", "start"])
def test_killed_between_stop_and_start_the_keeper_brings_back_what_served(alone: World, call: str) -> None:
    alone.accept(alone.commit("two"))
    alone.engine.kill(call)
    with pytest.raises(Killed):
        alone.work()
    alone.reconcile()
    assert works(alone) == {1: True}


def test_what_is_stopped_on_purpose_is_not_down(alone: World) -> None:
    alone.accept(alone.commit("two"))
    said: list[str] = []

    def look() -> None:
        alone.clock.sleep(5)
        said.extend(alone.jobs.health.run())

    alone.jobs.health.run()
    alone.engine.before("start", look)
    alone.work()
    assert said == []
    assert works(alone) == {2: True}


def test_if_nothing_can_be_started_again_requests_do_not_wait_for_it(alone: World) -> None:
    alone.break_app(2, "/healthz")
    alone.engine.fail("restore", EngineFailed("no space left on device"), times=10)
    alone.push()
    assert alone.engine.paused == set()
    assert works(alone) == {}


def test_a_revert_says_beforehand_that_requests_wait(alone: World) -> None:
    alone.push()
    alone.reconcile()
    found = alone.commands.status()["pipelines"][0]["environments"][0]["revert"]
    assert found["text"] == "revert ready: r1, cold; requests wait until it has started (`one`)"


@pytest.mark.parametrize("comes", [True, False], ids=["comes", "goes"])
def test_a_revert_says_so_where_one_comes_or_goes(world: World, comes: bool) -> None:
    without = ONE.replace(", one: true", "")
    for config in (without, ONE) if comes else (ONE, without):
        world.configure(config)
        world.push()
    for _ in range(2):  # right after the switch, and once the slot of r1 is empty
        world.jobs.health.run()
        found = world.commands.status()["pipelines"][0]["environments"][0]["revert"]
        assert found["text"] == "revert ready: r1, cold; requests wait until it has started (`one`)"
        world.reconcile()
    world.revert()
    world.work()
    assert works(world) == {1: True}


def test_what_serves_is_stopped_first_even_if_its_record_is_damaged(alone: World) -> None:
    alone.configure(ONE.replace(", one: true", ""))  # the next release would run beside another one
    spoil(alone, "releases", "1", "cut")
    run = alone.push()
    assert works(alone) == {2: True}
    said = " ".join(event.text for event in alone.events(run, "warning"))
    assert "the record of r1 cannot be read: it does not start again if r2 fails" in said


def test_what_a_dead_worker_started_is_stopped_first_even_if_its_record_is_damaged(alone: World) -> None:
    plain = ONE.replace(", one: true", "")
    alone.configure(plain)
    alone.push()
    alone.reconcile()
    alone.configure(ONE)
    alone.accept(alone.commit("three"))
    alone.engine.kill("start", after=True)  # r3 runs, and r2 was stopped
    with pytest.raises(Killed):
        alone.work()
    spoil(alone, "releases", "3", "cut")
    alone.reconcile()
    assert works(alone) == {2: True}
