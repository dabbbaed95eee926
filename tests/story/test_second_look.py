"""Faults that a review found: races, crashes between two lines, lost requests."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from dataclasses import replace

import pytest
import redis

from pipeline.adapters.fake import Killed
from pipeline.deploy.entry import Entry
from pipeline.deploy.heartbeat import LeaseHeartbeat
from pipeline.deploy.run_context import RunContext
from pipeline.domain import slots
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.environment import SlotState
from pipeline.domain.events import Event
from pipeline.domain.run import Outcome, State
from pipeline.errors import EngineFailed, StoreUnavailable
from pipeline.runlog import file as logs
from pipeline.runtime import embedded_store as embedded_module
from pipeline.runtime.embedded_store import EmbeddedStore
from pipeline.store import Lease, Store

MANUAL = "pipelines: {hello: {environments: {dev: , live: {promote: manual}}}}"
RELEASE = "pipelines: {hello: {service: {release: [migrate]}, environments: {live: }}}"
ONE = "pipelines: {hello: {environments: {live: }}}"


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


def test_a_newer_run_that_fails_verification_does_not_supersede_an_older_one(world):
    world.push("one")
    a = world.commands.deploy("hello", "ann")  # #2
    b = world.commands.deploy("hello", "ann", rebuild=True)  # #3, newer
    # #3 is quicker than #2: another worker holds #2 at this moment
    lease = world.store.leases.take(f"run:hello#{a.number}")
    real = world.engine.public

    def broken(spec):
        route = real(spec)
        return replace(route, expect=("nobody",)) if spec.run == b.number else route

    world.engine.public = broken
    world.work()
    assert world.run(b.number).outcome == Outcome.FAILED
    world.store.leases.drop(lease)
    world.work()
    assert world.run(a.number).outcome == Outcome.LIVE, world.run(a.number).reason


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


def lose_reply(monkeypatch, when):
    real = redis.client.Pipeline._execute_transaction
    done = []

    def lost(self, conn, commands, raise_on_error):
        answer = real(self, conn, commands, raise_on_error)
        if not done and when(commands):
            done.append(1)
            self.watching = True  # as it is until the answer to EXEC has been read
            raise redis.ConnectionError("the reply is lost")
        return answer

    monkeypatch.setattr(redis.client.Pipeline, "_execute_transaction", lost)
    return done


def test_a_lost_reply_to_a_transaction_makes_one_run(world, monkeypatch):
    world.push("one")
    done = lose_reply(monkeypatch, lambda c: True)
    run = world.commands.deploy("hello", "ann")
    assert done
    assert run.number == 2
    assert world.store.last_run("hello") == 2


def test_a_lost_reply_at_the_gate_leaves_the_run_waiting(make_world, monkeypatch):
    world = make_world(MANUAL)
    done = lose_reply(monkeypatch, lambda c: any("waiting" in str(x) for x in c))
    run = world.push("one")
    assert done
    assert run.state == State.WAITING


def test_a_lost_reply_at_the_end_does_not_crash_the_worker(world, monkeypatch):
    done = lose_reply(monkeypatch, lambda c: any('"state":"ended"' in str(x).replace(" ", "") for x in c))
    world.push("one")
    assert done


def test_a_switch_back_that_fails_once_is_done_by_the_keeper(world):
    world.push("one")
    real = world.engine.public
    world.engine.public = lambda spec: (
        replace(real(spec), expect=("nobody",))
        if spec.release == 2 and spec.ref.environment == "live"
        else real(spec)
    )

    def arm():
        pass

    real_switch = world.engine.switch
    n = []

    def switch(spec):
        if spec.ref.environment == "live" and spec.release == 1:
            n.append(1)
            if len(n) == 1:
                raise EngineFailed("the proxy hangs")
        real_switch(spec)

    world.engine.switch = switch
    run = world.push("two")
    assert run.outcome == Outcome.FAILED
    world.clock.sleep(10)
    world.reconcile()
    assert world.environment("live").serving == 1
    assert world.engine.active["hello", "live"] == "blue"


def test_a_run_set_aside_after_the_switch_gives_the_traffic_back(world):
    world.push("one")
    run = world.accept(world.commit("two"))
    real = world.engine.public

    def public(spec):
        if spec.ref.environment == "live":
            raise Killed("x")
        return real(spec)

    world.engine.public = public
    for _ in range(8):
        with contextlib.suppress(Killed):
            world.work()
    world.engine.public = real
    world.clock.sleep(700)
    world.reconcile()
    world.reconcile()
    assert world.run(run.number).outcome == Outcome.FAILED
    assert world.environment("live").serving == 1


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


def test_a_configuration_file_that_comes_back_is_no_problem(world):
    file = world.settings.config
    world.keeper.tick()
    aside = file.with_suffix(".x")
    file.rename(aside)
    world.keeper.tick()
    aside.rename(file)
    world.keeper.tick()
    assert world.services.configurations.problem() == ""


def test_a_cancellation_just_before_a_gate_ends_the_run(make_world, monkeypatch):
    world = make_world(MANUAL)
    real = Entry.wait_at

    def wait(entry, name):
        world.commands.cancel("hello", entry._context.run.number, "ann")
        real(entry, name)

    monkeypatch.setattr(Entry, "wait_at", wait)
    run = world.push("one")
    assert run.outcome == Outcome.CANCELLED, run.state


def test_a_resume_between_the_gate_and_the_wait_lets_the_run_continue(world, monkeypatch):
    world.push("one")
    world.commands.hold("hello", "ann")
    real = Entry.wait_at

    def wait(entry, name):
        world.commands.resume("hello", "ann")
        real(entry, name)

    monkeypatch.setattr(Entry, "wait_at", wait)
    run = world.push("two")
    world.commands.resume("hello", "ann")
    world.work()
    assert world.run(run.number).outcome == Outcome.LIVE, world.run(run.number).state


def test_a_first_deploy_cancelled_after_a_crash_leaves_no_route(make_world):
    world = make_world(ONE)
    world.engine.kill("switch", after=True)
    with pytest.raises(Killed):
        world.push("one")
    world.commands.cancel("hello", 1, "ann")
    world.work()
    assert world.run(1).outcome == Outcome.CANCELLED
    world.clock.sleep(10)
    world.reconcile()
    env = world.environment("live")
    assert env.active is None
    assert world.engine.serving(SlotRef("hello", "live", env.index, "blue")) is None, world.store.facts.get(
        "problem:hello/live"
    )


def test_a_retried_configuration_deploy_keeps_its_configuration(world):
    world.push("one")
    text = world.settings.config.read_text().replace("replicas: 2", "replicas: 3")
    run = world.commands.deploy("hello", "ann", config=text)
    world.work()
    again = world.commands.retry("hello", run.number, "ann")
    assert (again.config, again.from_release) == (run.config, run.from_release)


def test_a_retried_release_deploy_keeps_its_release(world):
    world.push("one")
    run = world.commands.deploy("hello", "ann", release=1)
    world.work()
    again = world.commands.retry("hello", run.number, "ann")
    assert again.release == 1


def test_a_cancellation_does_not_cut_a_release_command(make_world):
    world = make_world(RELEASE)
    world.engine.hang("command")
    run = world.accept(world.commit("one"))

    def cancel():
        world.commands.cancel("hello", run.number, "ann")
        world.clock.sleep(1)

    world.engine.before("command", cancel)
    world.work()
    env = world.environment("live")
    # begun, cut, its outcome unknown: then there must be a hold
    assert world.run(run.number).outcome != Outcome.CANCELLED or env.hold


def test_containers_of_release_commands_are_removed(make_world):
    world = make_world(RELEASE)
    world.push("one")
    world.push("two")
    world.clock.sleep(7200)
    world.reconcile()
    world.jobs.image_gc.run()
    assert not world.engine.done


def test_the_sweep_does_not_wake_workers_without_bound(world):
    world.accept(world.commit("one"))
    world.queue.notified.clear()
    for _ in range(60):
        world.clock.sleep(1)
        world.keeper.tick()
    assert len(world.queue.notified) < 30, len(world.queue.notified)


def test_a_revert_skips_a_release_identical_to_the_bad_one(world):
    world.push("good")
    world.push("bad")
    world.commands.deploy("hello", "ann")
    world.work()  # the same commit again: r3 is r2's image and configuration
    assert world.environment("live").good == (1, 2, 3)
    run = world.revert()
    assert run.release == 1, run


def test_a_slot_that_timed_out_in_live_is_kept_for_inspection(world):
    world.push("one")

    def hang():
        world.engine.hang("ready")

    run = world.accept(world.commit("two"))
    world.engine.before("fits", lambda: None, times=2)
    real = world.engine.fits

    def fits(spec):
        if spec.ref.environment == "live":
            world.engine.hang("ready")
        real(spec)

    world.engine.fits = fits
    world.work()
    assert world.run(run.number).outcome == Outcome.FAILED
    env = world.environment("live")
    slot = next(s for s in env.slots.values() if s.state == SlotState.FAILED)
    assert slot.until - slot.since == 600, slot


def test_a_run_that_serves_already_does_not_wait_at_a_new_hold(world):
    world.push("one")
    real = world.engine.public

    def public(spec):
        if spec.ref.environment == "live":
            raise Killed("x")
        return real(spec)

    world.engine.public = public
    with pytest.raises(Killed):
        world.push("two")
    world.engine.public = real
    world.commands.hold("hello", "ann")
    world.work()
    run = world.run(2)
    # it serves live and waits before live
    assert not (world.environment("live").serving == 2 and run.state == State.WAITING), run.gate


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


def test_a_double_click_on_revert_reverts_once(world):
    for t in ("one", "two", "three"):
        world.push(t)
    world.commands.revert("hello", "ann")
    world.commands.revert("hello", "ann")
    world.work()
    assert world.environment("live").serving == 2
    starts = [
        a
        for n, a in world.engine.calls
        if n == "start" and a[0].ref.environment == "live" and a[0].release == 2
    ]
    assert len(starts) <= 2, len(starts)


def test_a_hold_during_a_rollout_makes_the_run_wait(world):
    world.push("one")
    real = world.engine.preview

    def preview(spec):
        if spec.ref.environment == "live" and not world.environment("live").hold:
            world.commands.hold("hello", "ann")
        return real(spec)

    world.engine.preview = preview
    run = world.push("two")
    assert run.state == State.WAITING, run.outcome


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


def test_waiting_for_another_run_is_not_machine_time(world):
    world.push("one")
    lease = world.store.leases.take("env:hello/dev")
    run = world.push("two")
    assert run.state == State.RUNNING
    world.clock.sleep(1200)
    world.store.leases.drop(lease)
    world.work()
    run = world.run(run.number)
    timing = world.commands.show("hello", run.number)["timing"]
    assert timing["machine"] < 300
    assert timing["deploy"] < 300
    assert timing["queue"] >= 1200


def test_the_last_line_before_a_silence_reaches_followers(world, tmp_path):
    world.push("one")
    run = world.commands.deploy("hello", "ann")
    lease = world.store.leases.take(f"run:{run.id}")
    with LeaseHeartbeat(world.store) as heartbeat:
        heartbeat.hold(lease)
        log = logs.RunLog(tmp_path / "x.log", 1000)
        work = RunContext(world.store, world.clock, run, lease, heartbeat, log)
        with work.step("live", "release", 1800, "") as step:
            work.emit(Event("line", 0.0, "first"))
            work.emit(Event("line", 0.0, "waiting for the lock on table users"))
            for _ in range(100):
                step.watch.wait(0.2)
            time.sleep(0.3)
            step.watch.check()
            seen = [e.text for _, e in world.store.events.read(run.id)]
            assert "waiting for the lock on table users" in seen
    log.close()


def test_a_revert_while_a_deploy_verifies_goes_back_to_the_old_slot(world):
    world.push("one")
    real = world.engine.public
    reverts = []

    def public(spec):
        if spec.ref.environment == "live" and not reverts:
            reverts.append(world.commands.revert("hello", "ann"))
            world.clock.sleep(1)
        return real(spec)

    world.engine.public = public
    world.push("two")
    world.work()
    assert world.run(reverts[0].number).outcome == Outcome.LIVE
    assert world.environment("live").serving == 1
    starts = [
        a[0].ref.slot
        for n, a in world.engine.calls
        if n == "start" and a[0].ref.environment == "live" and a[0].release == 1
    ]
    assert set(starts) == {"blue"}


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


def test_advice_after_the_switch_does_not_say_that_there_was_no_traffic(world):
    world.push("one")
    real = world.engine.public
    world.engine.public = lambda spec: (
        replace(real(spec), expect=("nobody",)) if spec.release == 2 else real(spec)
    )
    run = world.push("two")
    assert "It got no traffic" not in run.failure.advice, run.failure


def test_a_wrong_route_puts_no_release_in_quarantine(world):
    world.push("one")
    real = world.engine.public
    world.engine.public = lambda spec: (
        replace(real(spec), expect=("nobody",))
        if spec.release == 2 and spec.ref.environment == "live"
        else real(spec)
    )
    world.push("two")
    assert not world.environment("live").quarantine


def test_resume_reports_the_end_of_each_run_that_it_supersedes(world):
    # two runs wait at different times through a crash: the older is ended by resume, without an end event
    world.push("one")
    world.commands.hold("hello", "ann")
    a = world.push("two")
    world.push("three")
    # put a back as a waiting one, as happens when it comes to the gate after b
    world.store.transact(
        "hello",
        lambda tx: tx.put_run(
            replace(world.run(a.number), state=State.WAITING, outcome=None, ended=0.0, gate="live")
        ),
    )
    before = len(world.events(a, "end"))
    world.commands.resume("hello", "ann")
    assert world.run(a.number).outcome == Outcome.SUPERSEDED
    assert len(world.events(a, "end")) == before + 1


def test_checks_repeated_after_a_crash_are_recorded_once(world):
    world.engine.kill("switch")
    with pytest.raises(Killed):
        world.push("one")
    world.work()
    run = world.run(1)
    assert len(run.checks["dev"]) == len(run.checks["qa"]), {k: len(v) for k, v in run.checks.items()}


def test_a_stopping_worker_starts_nothing_new(make_world):
    world = make_world("pipelines: {hello: {environments: {live: }}}")
    world.push("one")
    world.commands.deploy("hello", "ann")
    b = world.commands.deploy("hello", "ann")
    # a reaches its environment, is asked to stop there and parks; b must not be begun
    world.runner._stopping = lambda: True
    world.runner.work("hello")
    assert world.run(b.number).state == State.QUEUED, world.run(b.number).state


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


def test_fault_43_a_black_hole_costs_the_lease_in_time(world):
    """Accepts and never answers: the worker must count its lease as lost before another one takes it."""
    sock = socket.create_server(("127.0.0.1", 0))
    store = Store(f"redis://127.0.0.1:{sock.getsockname()[1]}/0", timeout=0.5)
    heartbeat = LeaseHeartbeat(store)
    with pytest.raises(StoreUnavailable):
        store.leases.renew(Lease("x", "y", "x"))
    assert heartbeat.lost is False
    heartbeat._renewed -= 7.5  # so long ago did it last get an answer
    assert heartbeat.lost is True
    sock.close()
    store.client.close()


def test_store_failures_do_not_count_as_dead_workers(world, monkeypatch):
    run = world.accept(world.commit("one"))
    world.builder.fail("build", StoreUnavailable("blip"), times=5)
    world.work()
    assert world.run(run.number).outcome == Outcome.LIVE, world.run(run.number).reason


def test_a_store_that_survived_and_is_slow_gets_no_rival_on_its_files(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(embedded_module, "START", 4.0)
    folder = tmp_path_factory.mktemp("w")
    first = EmbeddedStore(folder)
    first.start()
    pid = first._process.pid
    # the supervisor was SIGKILLed, its Valkey lives on; now a new one starts while Valkey is stalled (disk) or loading
    os.kill(pid, signal.SIGSTOP)
    second = EmbeddedStore(folder)
    try:
        with contextlib.suppress(Exception):
            second.start()
        rival = second._process.pid if second._process and second._process.poll() is None else None
        assert rival is None, (pid, rival)
    finally:
        os.kill(pid, signal.SIGCONT)
        if second._process:
            second._process.kill()
            second._process.wait()
        first._process.kill()
        first._process.wait()
