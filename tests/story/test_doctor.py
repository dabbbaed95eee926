"""`doctor` reports every difference between the records and the engine; `--fix` and the keeper repair them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.deploy.reconciler import Reconciler
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.environment import Environment, SlotState
from pipeline.errors import AppFailed, ConfigError, EngineAway
from pipeline.maintenance.doctor.examine import _environment


def found(world, name="live") -> list[str]:
    environment = world.environment(name)
    return [one.found for one in Reconciler(world.services, world.adapters, environment, None).differences()]


def live(world, slot="blue") -> SlotRef:
    return next(p for p in world.engine.contents if p.environment == "live" and p.slot == slot)


def change(world, act) -> None:
    def both(tx):
        tx.put_environment(act(tx.environment("live")))

    world.store.transact("hello", both)


@pytest.fixture
def two(world):
    world.push("one")
    world.push("two")
    world.reconcile()  # clears what is not kept warm
    assert found(world) == []
    return world


def proxy_is_elsewhere(world):
    world.engine.active["hello", "live"] = "blue"
    return "the proxy serves blue, it should serve green (r2)"


def serving_is_gone(world):
    world.engine.vanish(live(world, "green"))
    return "green (r2) should serve, but its containers are missing"


def serving_has_died(world):
    world.engine.exit(live(world, "green"))
    return "green (r2) should serve, but its containers have exited"


def warm_is_gone(world):
    world.engine.vanish(live(world, "blue"))
    return "the warm slot blue (r1) is kept for an instant revert, but its containers are missing"


def nobody_knows_a_slot(world):
    change(world, lambda e: replace(e, slots={"green": e.slots["green"]}))
    return "blue has containers without a record"


def a_slot_was_left_behind(world):
    def left(environment: Environment) -> Environment:
        blue = replace(environment.slots["blue"], state=SlotState.STARTING, run=1, until=0.0)
        return replace(environment, slots={**environment.slots, "blue": blue})

    change(world, left)
    return "blue was left behind by #1, which has ended"


DIFFERENCES = [
    proxy_is_elsewhere,
    serving_is_gone,
    serving_has_died,
    warm_is_gone,
    nobody_knows_a_slot,
    a_slot_was_left_behind,
]


@pytest.mark.parametrize("break_it", DIFFERENCES, ids=lambda act: act.__name__)
def test_every_difference_is_reported_without_a_change_and_repaired_by_fix(two, break_it):
    said = break_it(two)
    before = len(two.engine.calls)
    assert said in found(two)
    looks = {"missing", "serving", "shared", "replicas", "command_runs", "processes", "missing_processes"}
    looks |= {"has_notice"}
    assert {name for name, _ in two.engine.calls[before:]} <= looks
    assert two.fix() != ()
    assert found(two) == []
    assert two.fix() == ()
    assert two.environment("live").serving == 2
    assert two.engine.active["hello", "live"] == "green"


def test_a_warm_slot_that_can_no_longer_run_is_not_called_warm(two):
    two.engine.vanish(live(two, "blue"))
    two.engine.gone.add(two.store.release("hello", 1).image)
    two.reconcile()
    assert set(two.environment("live").slots) == {"green"}
    assert found(two) == []


def test_fix_leaves_an_environment_to_its_run_and_says_so(two):
    lease = two.store.leases.take("env:hello/live", "somebody")
    two.engine.active["hello", "live"] = "blue"
    assert two.fix() == ("hello/live: a run, or the keeper, is at work there; try again in a moment",)
    assert two.engine.active["hello", "live"] == "blue"
    two.store.leases.drop(lease)


def test_fix_waits_until_the_keeper_is_done(two, monkeypatch: pytest.MonkeyPatch):
    lease = two.store.leases.take("env:hello/live", "keeper")
    two.engine.active["hello", "live"] = "blue"
    monkeypatch.setattr(two.clock, "sleep", lambda seconds: two.store.leases.drop(lease))
    assert two.fix() != ()
    assert two.engine.active["hello", "live"] == "green"


def test_fix_reports_what_it_cannot_repair(two):
    two.engine.vanish(live(two, "green"))
    two.engine.gone.add(two.store.release("hello", 2).image)
    assert any("is no longer on this machine" in line for line in two.fix())


def test_fault_33_a_check_of_a_run_that_died_is_removed_in_time(world):
    world.push("one")
    ref = live(world)
    world.engine.started[ref, 1, "smoke-0-1"] = ref, 1  # what a SIGKILL in the middle of a check leaves
    world.reconcile()
    assert world.engine.command_runs(ref) == {1}
    world.clock.sleep(601)
    world.reconcile()
    assert world.engine.command_runs(ref) == frozenset()


def test_a_failed_release_command_is_kept_for_inspection_as_its_slot_is(make_world):
    world = make_world("pipelines: {hello: {service: {release: [migrate]}, environments: {live: }}}")
    world.engine.fail("command", AppFailed("it ended."), after=True)
    run = world.push("one")
    ref = SlotRef("hello", "live", 0, "blue")
    world.reconcile()
    assert world.engine.command_runs(ref) == {run.number}
    world.clock.sleep(601)
    world.reconcile()
    assert world.engine.command_runs(ref) == frozenset()


def test_it_says_what_cannot_be_put_to_sleep_and_why(world):
    def said() -> list[tuple[str, str]]:
        checks = _environment(world.environment("dev"), world.services, world.adapters)
        return [(one["text"], one["advice"]) for one in checks if not one["ok"]]

    refuse = ConfigError("hello-dev cannot sleep: there is no account.", advice="Apply it.")
    world.configure("pipelines: {hello: {environments: {dev: , live: }}}")
    world.push("one")
    world.reconcile()
    world.engine.fail("can_sleep", refuse)
    assert said() == []
    world.configure("pipelines: {hello: {environments: {dev: {sleep_after: 30m}, live: }}}")
    assert said() == [("hello-dev cannot sleep: there is no account.", "Apply it.")]
    assert said() == []
    world.engine.fail("can_sleep", EngineAway("It does not answer.", advice="Start it."))
    assert said() == []
