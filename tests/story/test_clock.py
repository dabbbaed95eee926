"""Setting the wall clock changes nothing: leases, deadlines, what is kept for a while."""

from __future__ import annotations

import secrets

import pytest

from pipeline.domain.run import Outcome, State
from pipeline.store import LeaseReaper, Store
from pipeline.store.leases import TTL

HOUR = 3600.0
MANUAL = "pipelines: {hello: {environments: {dev: , live: {promote: manual}}}}"


@pytest.fixture
def store(store_url: str) -> Store:
    return Store(store_url, secrets.token_hex(4))


def test_a_lease_that_is_renewed_is_never_freed(store):
    lease, watchman = store.leases.take("run:hello#1", "one"), LeaseReaper(store.leases)
    for second in range(60):
        assert watchman.look(float(second)) == ()
        if second % 5 == 0:
            assert store.leases.renew(lease)
    assert store.leases.holder("run:hello#1") == "one"


def test_a_silent_lease_is_freed_once_by_any_reaper(store):
    lease = store.leases.take("run:hello#1", "one")
    one, two = LeaseReaper(store.leases), LeaseReaper(store.leases)
    for watchman in (one, two):
        watchman.look(0.0)
    assert one.look(TTL - 0.1) == ()
    assert one.look(TTL) == ("run:hello#1",)
    assert two.look(TTL) == ()
    assert store.leases.free("run:hello#1")
    assert not store.leases.renew(lease)
    assert store.leases.beats() == {}


def test_a_lease_taken_again_is_another_one(store):
    watchman = LeaseReaper(store.leases)
    store.leases.drop(store.leases.take("env:hello/live", "one"))
    first = store.leases.take("env:hello/live", "two")
    watchman.look(0.0)
    store.leases.drop(first)
    second = store.leases.take("env:hello/live", "three")
    assert watchman.look(TTL + 1) == ()
    assert store.leases.renew(second)


def test_a_reaper_that_slept_looks_again_before_it_frees_a_lease(store):
    lease, watchman = store.leases.take("keeper", "one"), LeaseReaper(store.leases)
    watchman.look(0.0)
    [(name, beat)] = store.leases.beats().items()
    store.leases.renew(lease)
    assert store.leases.free_silent(name, beat) is False
    assert watchman.look(1000.0) == ()


def test_no_lease_has_an_expiry_that_a_clock_could_reach(store):
    lease = store.leases.take("keeper", "one")
    store.leases.renew(lease)
    assert store.client.pttl(lease.key) == -1


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
def test_fault_38_what_is_kept_warm_is_kept_as_long_as_promised(world, jump):
    world.push("one")
    world.push("two")
    world.keeper.tick()
    world.clock.jump(jump)
    said = world.keeper.tick()
    assert any("clock was set" in line for line in said)
    world.clock.sleep(500)
    world.keeper.tick()
    assert set(world.environment("live").slots) == {"blue", "green"}
    world.clock.sleep(120)
    world.keeper.tick()
    assert set(world.environment("live").slots) == {"green"}


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
def test_fault_38_a_run_that_waits_at_a_gate_keeps_its_times(make_world, jump):
    world = make_world(MANUAL)
    run = world.push("one")
    assert run.state == State.WAITING
    world.keeper.tick()
    world.clock.sleep(60)
    world.clock.jump(jump)
    world.keeper.tick()
    world.commands.promote("hello", "ann")
    world.work()
    timing = world.commands.show("hello", run.number)["timing"]
    assert world.run(run.number).outcome == Outcome.LIVE
    assert timing["human"] == pytest.approx(60, abs=1)
    assert 0 <= timing["deploy"] < 30


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
def test_fault_38_a_clock_jump_does_not_change_a_steps_timeout(world, jump):
    world.push("one")
    world.engine.before("start", lambda: world.clock.jump(jump))
    assert world.push("two").outcome == Outcome.LIVE
    world.engine.before("start", lambda: (world.clock.jump(jump), world.engine.hang("ready"))[0])
    began = world.clock.monotonic()
    run = world.push("three")
    assert run.outcome == Outcome.FAILED
    assert "took longer than 120 s" in run.failure.message
    assert 119 <= world.clock.monotonic() - began < 140


def test_fault_38_a_clock_jump_moves_the_records_once(world):
    world.push("one")
    world.push("two")
    other = world.another_keeper()
    for keeper in (world.keeper, other):
        keeper.tick()
    until = world.environment("live").slots["blue"].until
    world.clock.jump(HOUR)
    for keeper in (world.keeper, other, world.keeper):
        keeper.tick()
    assert world.environment("live").slots["blue"].until == until + HOUR
