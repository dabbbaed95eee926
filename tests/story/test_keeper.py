"""The keeper repairs what no run repairs."""

from __future__ import annotations

import time
from dataclasses import replace

from pipeline.domain.engine_types import SlotRef
from pipeline.domain.environment import SlotState
from pipeline.domain.run import Outcome, State

RELEASE = "pipelines: {hello: {service: {release: [migrate]}, environments: {live: }}}"


def test_a_worker_is_woken_for_a_due_run_that_no_worker_has(world):
    world.accept(world.commit("one"))
    world.queue.notified.clear()
    world.keeper.tick()
    assert world.queue.notified == [("hello", False)]


def test_no_worker_is_woken_for_a_run_that_a_worker_has(world):
    run = world.accept(world.commit("one"))
    lease = world.store.leases.take(f"run:{run.id}", "somebody")
    world.queue.notified.clear()
    world.keeper.tick()
    assert world.queue.notified == []
    world.store.leases.drop(lease)


def test_a_ref_pushed_just_before_a_crash_is_found(world):
    world.push("one")
    commit = world.commit("two")
    assert world.keeper.tick() == []  # the hook may be telling of it just now
    world.clock.sleep(10)
    said = world.keeper.tick()
    world.work()
    assert any("pushed but not recorded" in line for line in said)
    assert world.run(2).commit == commit
    assert world.run(2).outcome == Outcome.LIVE
    world.clock.sleep(10)
    world.keeper.tick()
    assert world.store.last_run("hello") == 2


def test_a_failed_head_is_not_pushed_again_and_again(world):
    world.break_app(1)
    world.push("bad")
    world.clock.sleep(60)
    world.keeper.tick()
    assert world.store.last_run("hello") == 1


def test_fault_34_the_proxy_is_brought_back_to_what_the_store_says(world):
    world.push("one")
    world.push("two")
    world.engine.active["hello", "live"] = "blue"
    said = world.reconcile()
    assert world.engine.active["hello", "live"] == "green"
    assert any("brought back to green (r2)" in line for line in said)
    assert world.reconcile() == []


def test_fault_39_a_removed_container_is_restored(world):
    world.push("one")
    ref = next(p for p in world.engine.contents if p.environment == "live")
    world.engine.vanish(ref)
    said = world.reconcile()
    assert ref in world.engine.contents
    assert any("was not running and was started" in line for line in said)


def test_a_warm_slot_is_stopped_when_its_time_is_over(world):
    world.push("one")
    world.push("two")
    world.clock.sleep(601)
    world.reconcile()
    assert {p.slot for p in world.engine.contents} == {"green"}
    assert set(world.environment("live").slots) == {"green"}
    assert world.environment("live").serving == 2


def test_a_busy_warm_slot_is_drained_within_a_limit(world):
    world.push("one")
    world.push("two")
    ref = next(p for p in world.engine.contents if p.environment == "live" and p.slot == "blue")
    world.engine.sessions(ref, 10_000)
    world.clock.sleep(601)
    world.reconcile()
    assert ref in world.engine.contents
    world.clock.sleep(60)
    world.reconcile()
    assert ref not in world.engine.contents


def test_a_failed_slot_is_kept_for_a_while_and_then_cleared(world):
    world.break_app(1)
    world.push("one")
    assert {p.environment for p in world.engine.contents} == {"dev"}
    world.reconcile()
    assert world.engine.contents
    world.clock.sleep(601)
    world.reconcile()
    assert not world.engine.contents
    assert world.environment("dev").slots == {}


def test_a_slot_left_behind_by_a_run_that_ended_is_cleared(world):
    world.push("one")
    ref = world.environment("dev")
    left = replace(ref.slots["blue"], run=1, release=1, state=SlotState.STARTING)
    changed = replace(ref, slots={**ref.slots, "green": left})
    world.store.transact("hello", lambda tx: tx.put_environment(changed))
    said = world.reconcile()
    assert any("green was left behind by #1" in line for line in said)
    assert set(world.environment("dev").slots) == {"blue"}


def test_containers_without_a_record_keep_running_until_gc(world):
    world.push("one")
    spec = next(s.spec for p, s in world.engine.contents.items() if p.environment == "dev")
    stranger = SlotRef("ghost", "dev", 9, "blue")
    world.engine.contents[stranger] = type(world.engine.contents[spec.ref])(replace(spec, ref=stranger))
    world.engine.active["ghost", "dev"] = None
    assert world.reconcile() == []
    assert stranger in world.engine.contents
    said = world.gc()
    assert stranger not in world.engine.contents
    assert any("ghost/dev has no record" in line for line in said)


def test_an_environment_is_not_reconciled_while_a_run_is_at_work_there(world):
    world.push("one")
    lease = world.store.leases.take("env:hello/live", "somebody")
    world.engine.active["hello", "live"] = None
    world.reconcile()
    assert world.engine.active["hello", "live"] is None
    world.store.leases.drop(lease)


def test_fault_24_old_images_are_removed_but_never_what_a_revert_needs(world):
    jobs = world.another_process(world.settings.model_copy(update={"keep_releases": 2}))
    for n in range(6):
        world.push(str(n))
    jobs.image_gc.run()
    kept = {int(tag[1:]) for _, tag in world.builder.tags if tag.startswith("r") and tag[1:].isdigit()}
    assert kept == {5, 6}
    world.revert()
    assert world.serving()["live"] == 5


def test_gc_removes_what_is_not_configured_any_more(world):
    world.push("one")
    world.configure("pipelines: {hello: {environments: {dev: , live: }}}")
    said = world.gc()
    assert any("hello/qa is no longer in pipelines.yaml" in line for line in said)
    assert {p.environment for p in world.engine.contents} == {"dev", "live"}
    assert set(world.store.environments("hello")) == {"dev", "live"}


def test_gc_waits_for_a_round_of_reconciliation_and_not_for_a_run(world, monkeypatch):
    world.push("one")
    world.configure("pipelines: {hello: {environments: {dev: , live: }}}")
    lease = world.store.leases.take("env:hello/qa", "somebody")
    assert world.gc() == ("hello/qa is no longer in pipelines.yaml, but a run is at work there",)
    assert world.serving()["qa"] == 1
    real, looks = world.clock.sleep, []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            world.store.leases.drop(lease)
        real(seconds)

    monkeypatch.setattr(world.clock, "sleep", sleep)
    assert "was removed" in world.gc()[0]
    assert world.store.leases.free("env:hello/qa")


def test_nothing_is_started_again_while_gc_removes_it(world, monkeypatch):
    world.push("one")
    world.configure("pipelines: {hello: {environments: {dev: , live: }}}")
    real = world.engine.remove

    def remove(ref):
        real(ref)
        world.another_process().reconcile.run()

    monkeypatch.setattr(world.engine, "remove", remove)
    world.gc()
    assert {ref.environment for ref in world.engine.contents} == {"dev", "live"}


def test_one_keeper_acts_at_a_time(world):
    other = world.another_keeper()
    world.push("one")
    world.keeper.tick()
    world.engine.active["hello", "live"] = "green"
    world.clock.sleep(60)
    assert other.tick() == []
    assert any("brought back to blue" in line for line in world.keeper.tick())
    world.keeper.stop()
    world.engine.active["hello", "live"] = "green"
    assert any("brought back to blue" in line for line in other.tick())


def test_a_changed_file_is_loaded_and_an_invalid_one_keeps_the_last_good(world):
    world.push("one")
    world.configure("pipelines: {hello: {environments: {only: }}}")
    assert world.push("two").stages == ("build", "only")
    world.configure("pipelines: {hello: {environments: {only: {replicas: many}}}}")
    assert world.push("three").outcome == Outcome.LIVE
    assert "replicas" in world.commands.status()["config_error"]


def test_a_killed_keeper_is_replaced_within_15_seconds(world):
    world.push("one")
    world.keeper.tick()  # and now it is SIGKILLed, together with the worker
    another = world.another_keeper()
    began = world.clock.monotonic()
    while world.store.leases.free("keeper") or another._lease is None:
        another.tick()
        world.clock.sleep(1.0)
    assert world.clock.monotonic() - began <= 15


def test_a_keeper_that_lost_its_lease_while_stopping_a_slot_keeps_the_new_one(world):
    world.push("one")
    world.push("two")
    world.clock.sleep(3600)

    def lease_ends():
        for env in ("dev", "qa", "live"):
            world.store.client.delete(f"{world.settings.instance}:lease:env:hello/{env}")
        if not done:
            done.append(1)
            world.push("three")

    done = []
    real_stop = world.engine.stop

    def stop(ref):
        # the stop itself is over; the record is written after it
        real_stop(ref)
        lease_ends()

    world.engine.stop = stop
    world.reconcile()
    world.engine.stop = real_stop
    env = world.environment("dev")
    assert env.active in env.slots, env


def test_the_sweep_does_not_undo_a_manual_deploy(world):
    world.push("one")
    world.push("two")
    world.commands.hold("hello", "ann")
    three = world.push("three")
    assert three.state == State.WAITING
    by_hand = world.commands.deploy("hello", "ann", release=1)
    world.work()
    assert world.run(three.number).outcome == Outcome.SUPERSEDED
    world.clock.sleep(10)
    said = world.keeper.tick()
    world.work()
    assert world.run(by_hand.number).state == State.WAITING, (said, world.run(by_hand.number).reason)
    assert world.store.last_run("hello") == by_hand.number


def test_the_problem_ends_when_a_missing_configuration_file_is_back(world):
    file = world.settings.config
    world.keeper.tick()
    aside = file.with_suffix(".x")
    file.rename(aside)
    world.keeper.tick()
    aside.rename(file)
    world.keeper.tick()
    assert world.services.configurations.problem() == ""


def test_containers_of_release_commands_are_removed(make_world):
    world = make_world(RELEASE)
    world.push("one")
    world.push("two")
    world.clock.sleep(7200)
    world.reconcile()
    world.jobs.image_gc.run()
    assert not world.engine.done


def test_the_sweep_wakes_a_limited_number_of_workers(world):
    world.accept(world.commit("one"))
    world.queue.notified.clear()
    for _ in range(60):
        world.clock.sleep(1)
        world.keeper.tick()
    assert len(world.queue.notified) < 30, len(world.queue.notified)


def test_the_sweep_does_not_repeat_a_head_after_fifty_other_runs(world):
    world.push("one")
    world.push("two")
    world.commands.revert("hello", "ann")
    world.work()
    for _ in range(50):
        r = world.commands.deploy("hello", "ann", release=1)
        world.commands.cancel("hello", r.number, "ann")
    last = world.store.last_run("hello")
    world.clock.sleep(10)
    said = world.keeper.tick()
    assert world.store.last_run("hello") == last, said


def test_a_keeper_that_lost_its_lease_while_restoring_moves_no_traffic(world):
    world.push("one")
    ref = SlotRef("hello", "dev", world.environment("dev").index, "blue")
    world.engine.vanish(ref)
    real = world.engine.restore
    done = []

    def restore(spec):
        acted = real(spec)
        if not done:
            done.append(1)  # it took 25 s: the lease is over, a deploy comes by
            world.store.client.delete(f"{world.settings.instance}:lease:env:hello/dev")
            world.push("two")
        return acted

    world.engine.restore = restore
    world.reconcile()
    assert world.environment("dev").active == world.engine.serving(ref)


def test_a_new_keeper_sweeps_at_once_after_a_clean_restart(world):
    world.push("one")
    world.keeper.tick()
    new = world.another_keeper()
    world.accept(world.commit("two"))
    world.queue.notified.clear()
    deadline = time.monotonic() + 15
    while not world.queue.notified and time.monotonic() < deadline:
        new.tick()
        time.sleep(0.5)
    assert world.queue.notified


def test_gc_takes_nothing_from_a_run_at_work(make_world):
    world = make_world("pipelines: {hello: {environments: {dev: , live: }}}")
    world.push("one")
    real = world.engine.ready
    done = []

    def ready(spec, emit, watch):
        if spec.ref.environment == "dev" and not done:
            done.append(1)
            world.configure("pipelines: {hello: {environments: {live: }}}")
            world.gc()
        return real(spec, emit, watch)

    world.engine.ready = ready
    run = world.push("two")
    assert run.outcome == Outcome.LIVE, run
