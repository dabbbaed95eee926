"""What a worker that has lost its lease may still do, and what the worker after a dead one finds."""

from __future__ import annotations

import pytest

from pipeline.adapters.fake import Killed
from pipeline.deploy import endings
from pipeline.domain import slots
from pipeline.domain.events import Event
from pipeline.domain.run import Outcome, State
from pipeline.errors import AppFailed, LeaseLost, PushliveError

ONE = "pipelines: {hello: {smoke: [{get: /, contains: r}], environments: {live: }}}"


def lose(world, name):
    """Somebody else has that lease now."""
    world.store.client.set(f"{world.settings.instance}:lease:{name}", "somebody:else")


def given_back(world, name):
    world.store.client.delete(f"{world.settings.instance}:lease:{name}")


def test_a_lost_lease_is_not_one_of_the_products_errors():
    assert not issubclass(LeaseLost, PushliveError)


def test_fault_41_a_lease_lost_before_the_claim_does_not_crash_the_job(world, monkeypatch):
    number = world.accept(world.commit("one")).number
    real = world.runner._claim

    def claim(*rest):
        lose(world, f"run:hello#{number}")
        return real(*rest)

    monkeypatch.setattr(world.runner, "_claim", claim)
    assert world.runner.work("hello") is None
    assert world.run(number).state == State.QUEUED


def test_fault_41_a_stale_worker_reports_nothing_more(world):
    number = world.accept(world.commit("one")).number
    told = []

    def meanwhile():
        lose(world, f"run:hello#{number}")
        told.extend(world.events(world.run(number)))

    world.engine.before("start", meanwhile)
    world.work()
    assert world.events(world.run(number)) == told


def test_fault_41_events_are_fenced(world):
    lease = world.store.leases.take("run:hello#1")
    world.store.events.append("hello#1", [Event("note", 1.0, "mine")], lease)
    lose(world, "run:hello#1")
    with pytest.raises(LeaseLost):
        world.store.events.append("hello#1", [Event("note", 1.0, "stale")], lease)
    assert [event.text for _, event in world.store.events.read("hello#1")] == ["mine"]


def test_fault_41_a_lost_environment_stops_the_run_that_still_has_its_own_lease(make_world):
    world = make_world(ONE)
    world.push("one")
    number = world.accept(world.commit("two")).number
    world.engine.before("expose", lambda: lose(world, "env:hello/live"))
    acts = len(world.engine.calls)
    world.work()
    assert world.environment("live").serving == 1
    assert "switch" not in [name for name, _ in world.engine.calls[acts:]]
    given_back(world, "env:hello/live")
    world.work()
    assert world.run(number).outcome == Outcome.LIVE


def test_a_resumed_run_keeps_its_own_configuration(make_world):
    world = make_world(ONE)
    world.push("one")
    world.commands.hold("hello", "ann")
    run = world.push("two")
    world.configure(ONE.replace("{live: }", "{live: {replicas: 3, promote: manual}}"))
    world.commands.resume("hello", "ann")
    world.work()
    assert world.run(run.number).state == State.WAITING  # a gate that is added holds every run
    world.commands.promote("hello", "ann")
    world.work()
    assert world.run(run.number).outcome == Outcome.LIVE
    assert world.store.release("hello", 2).environments["live"].service.replicas == 1


def test_fault_05_an_old_delivery_does_not_start_a_failed_head_again(world):
    first = world.commit("one")
    world.accept(first, delivery="first")
    world.work()
    world.break_app(2)
    assert world.push("two").outcome == Outcome.FAILED
    world.accept(first, delivery="first")
    for _ in range(3):
        world.clock.sleep(10)
        world.keeper.tick()
    assert world.store.last_run("hello") == 2


def test_fault_34_a_proxy_that_serves_the_idle_slot_is_repaired_before_a_rollout(make_world):
    world = make_world(ONE)
    world.push("one")
    world.engine.active["hello", "live"] = "green"
    run = world.push("two")
    assert run.outcome == Outcome.LIVE
    assert any("the proxy was brought back to blue" in event.text for event in world.events(run, "warning"))


def test_a_route_to_an_empty_slot_is_removed(make_world):
    world = make_world(ONE)
    world.break_app(1)
    world.push("one")
    world.clock.sleep(700)
    world.reconcile()
    assert world.environment("live").slots == {}
    world.engine.active["hello", "live"] = "green"
    world.reconcile()
    assert world.engine.active["hello", "live"] is None


@pytest.mark.parametrize("step", ["switch", "verify"])
def test_fault_33_a_step_and_its_effect_are_recorded_together(make_world, monkeypatch, step):
    world = make_world(ONE)
    real = world.store.transact

    def transact(*rest, **named):
        found = real(*rest, **named)
        steps = getattr(found, "steps", ())
        if steps and steps[-1].step == step:
            raise Killed(step)
        return found

    number = world.accept(world.commit("one")).number
    monkeypatch.setattr(world.store, "transact", transact)
    with pytest.raises(Killed):
        world.work()
    monkeypatch.undo()
    world.work()
    run = world.run(number)
    assert run.outcome == Outcome.LIVE
    assert [s.step for s in run.steps] == ["fetch", "build", "push", "start", "smoke", "switch", "verify"]


def test_fault_33_the_next_worker_reports_the_recorded_failure(make_world, monkeypatch):
    world = make_world(ONE)
    world.push("one")
    number = world.accept(world.commit("two")).number
    world.engine.fail("ready", AppFailed("it exited with 3.", evidence=("boom",)))

    def die(*_):
        raise Killed("before the end is recorded")

    monkeypatch.setattr(endings, "fail", die)
    with pytest.raises(Killed):
        world.work()
    monkeypatch.undo()
    starts = world.engine.names().count("start")
    world.work()
    run = world.run(number)
    assert (run.outcome, run.reason) == (Outcome.FAILED, "it exited with 3.")
    assert (run.failure.step, run.failure.evidence) == ("start", ("boom",))
    assert run.ending is None
    assert world.engine.names().count("start") == starts
    assert world.environment("live").serving == 1


def test_a_crash_at_verification_loses_no_good_release(world, monkeypatch):
    world.push("one")
    real = slots.verified
    seen = []

    def verified(env, *rest):
        if env.name == "live" and not seen:
            seen.append(1)
            raise Killed("x")
        return real(env, *rest)

    monkeypatch.setattr(slots, "verified", verified)
    with pytest.raises(Killed):
        world.push("two")
    world.work()
    assert world.run(2).outcome == Outcome.LIVE
    assert world.environment("live").good == (1, 2)


def test_checks_repeated_after_a_crash_are_recorded_once(world):
    world.engine.kill("switch")
    with pytest.raises(Killed):
        world.push("one")
    world.work()
    run = world.run(1)
    assert len(run.checks["dev"]) == len(run.checks["qa"]), {k: len(v) for k, v in run.checks.items()}
