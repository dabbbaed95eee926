"""What is counted when, and what one scrape reads of it."""

from __future__ import annotations

import socket
import subprocess
import time
from dataclasses import replace

import pytest

from pipeline.domain.engine_types import Answered
from pipeline.domain.measuring import measurements
from pipeline.domain.measuring.measurements import BUCKETS, Histogram, PipelineMeasurements
from pipeline.domain.run import State
from pipeline.errors import StoreUnavailable
from pipeline.store import Store, snapshot
from pipeline.store.metrics import LEASE_KINDS
from tests.support.waiting import PATIENCE
from webhooks.api.exposition import exposition


def total(histogram: Histogram) -> int:
    return sum(histogram.counts)


def of_hello(world) -> PipelineMeasurements:
    return world.commands.measurements().pipelines["hello"]


def test_a_run_that_ends_is_counted_once_with_its_stages_and_steps(world):
    run = world.push("one")
    found = of_hello(world)
    assert found.runs == {("push", "live"): 1}
    assert total(found.deploy) == 1
    assert set(found.stages) == {(stage, "ok") for stage in run.stages}
    assert {labels[:2] for labels in found.steps} == {(step.stage, step.step) for step in run.steps}
    assert all(total(one) == 1 for one in (*found.stages.values(), *found.steps.values()))
    took = sum(step.seconds for step in run.steps)
    assert sum(one.sum for one in found.steps.values()) == pytest.approx(took, abs=0.05)
    assert (found.due, found.open) == (0, {})
    assert found.held == {"dev": False, "qa": False, "live": False}


def test_promtool_accepts_what_real_runs_leave(world):
    world.push("one")
    world.push("two")
    world.revert()
    world.keeper.tick()
    text = exposition(world.commands.measurements())
    assert b'pushlive_runs_total{kind="revert",outcome="live",pipeline="hello"} 1.0' in text
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_writing_an_ended_run_again_does_not_count_it_again(world):
    run = world.push("one")

    def twice(transaction) -> None:
        transaction.put_run(replace(run, reason="a"))
        transaction.put_run(replace(run, reason="b"))

    world.store.transact("hello", twice)
    assert of_hello(world).runs == {("push", "live"): 1}


def test_failed_and_superseded_runs_and_reverts_are_counted_by_kind_and_outcome(world):
    world.push("one")
    world.push("two")
    world.revert()
    world.commands.resume("hello", "ann")
    world.break_app(3)
    world.push("three")
    world.accept(world.commit("four"))
    world.accept(world.commit("five"))
    found = of_hello(world)
    assert found.runs == {
        ("push", "live"): 2, ("revert", "live"): 1, ("push", "failed"): 1, ("push", "superseded"): 1,
    }  # fmt: skip
    assert total(found.deploy) == 3
    assert total(found.stages["dev", "failed"]) == 1
    assert (found.due, found.open) == (1, {"queued": 1})


def test_waiting_runs_and_held_environments_are_counted(world):
    world.push("one")
    world.commands.hold("hello", "ann", environment="qa")
    world.push("two")
    found = of_hello(world)
    assert (found.due, found.open) == (0, {"waiting": 1})
    assert found.held == {"dev": False, "qa": True, "live": False}


def test_leases_and_the_keepers_rounds_are_counted(world):
    world.push("one")
    lease = world.store.leases.take("run:hello#9", "someone")
    world.keeper.tick()
    world.clock.sleep(1.0)
    world.keeper.tick()
    found = world.commands.measurements()
    assert found.leases == {"run": 1, "env": 0, "keeper": 1, "notify": 0}
    assert found.keeper_rounds == 2
    assert found.keeper_at == pytest.approx(world.clock.now(), abs=0.01)
    world.another_keeper().tick()  # it does not have the lease
    assert world.commands.measurements().keeper_rounds == 2
    world.store.leases.drop(lease)


def test_refused_requests_and_undelivered_notifications_are_counted(world):
    world.commands.count("github: signature")
    world.store.count("notify: given up")
    world.store.transact("hello", lambda tx: [tx.message("https://chat.example/x", text) for text in "ab"])
    found = world.commands.measurements()
    assert found.counts == {"github: signature": 1}
    assert (found.notifications, found.given_up, found.receivers_failing) == (2, 1, 0)


def test_counters_begin_at_zero_in_an_empty_or_older_store(world):
    found = world.commands.measurements()
    assert (found.pipelines, found.damaged, found.counts, found.keeper_at) == ({}, set(), {}, 0.0)
    world.push("one")
    world.store.client.delete(world.store.key("run-counters", "hello"), world.store.key("keeper-rounds"))
    found = of_hello(world)
    assert (found.runs, total(found.deploy), found.steps) == ({}, 0, {})
    assert found.held == {"dev": False, "qa": False, "live": False}
    world.push("two")
    assert of_hello(world).runs == {("push", "live"): 1}


def test_a_backup_has_the_counters(world, store_url):
    world.push("one")
    world.keeper.tick()
    other = Store(store_url, world.settings.instance + "-restored")
    snapshot.load(other, list(snapshot.dump(world.store)))
    before, after = world.store.metrics.read(), other.metrics.read()
    assert after.pipelines["hello"] == before.pipelines["hello"]
    assert (after.keeper_rounds, after.keeper_at) == (1, before.keeper_at)


@pytest.mark.parametrize(
    ("key", "field"),
    [("runs:hello", "2"), ("environments:hello", "qa"), ("run-counters:hello", "runs:push:live")],
)
def test_a_damaged_record_hides_no_other_metric(world, key, field):
    for name in ("hello", "other"):
        world.configure(CONFIG_OF_TWO)
        world.push("one", name)
    world.accept(world.commit("two"))
    world.store.client.hset(world.store.key(key), field, "{damaged")
    found = world.commands.measurements()
    assert found.damaged == {"hello"}
    assert found.pipelines["other"].runs == {("push", "live"): 1}
    assert found.pipelines["hello"].due == 1
    assert total(found.pipelines["hello"].deploy) == 1


CONFIG_OF_TWO = "pipelines:\n" + "".join(
    f"  {name}:\n    service: {{health: /healthz}}\n    environments: {{dev: , qa: }}\n"
    for name in ("hello", "other")
)


@pytest.mark.parametrize("key", ["run-counters:hello", "keeper-rounds", "counts", "beats", "outboxes"])
def test_a_key_of_another_type_stops_neither_a_scrape_nor_a_run(world, key):
    client = world.store.client
    before = client.type(world.store.key(key))
    assert before in ("none", "hash")
    client.set(world.store.key(key), "not a hash")
    found = world.commands.measurements()
    assert found.damaged == set()  # nothing of a pipeline is read yet
    if key != "beats":  # the leases themselves are in there
        assert world.push("one").state is State.ENDED
        world.keeper.tick()
        assert world.commands.measurements().damaged == ({"hello"} if "hello" in key else set())


def test_a_scrape_of_a_store_that_never_answers_is_given_up_soon():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = Store(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.metrics.read()
    assert time.monotonic() - began < 3 * PATIENCE


@pytest.mark.real_store("the server counts commands and bytes")
def test_a_scrape_does_not_read_ended_runs(world):
    """A thousand runs cost the same number of commands, and no more bytes, than ten."""
    run = world.push("one")

    def bytes_of_a_scrape() -> tuple[int, int]:
        client, info = world.store.client, "total_net_output_bytes"
        before, calls = client.info("stats")[info], client.info("stats")["total_commands_processed"]
        world.commands.measurements()
        stats = client.info("stats")
        return stats[info] - before, stats["total_commands_processed"] - calls

    def many(first: int, last: int) -> None:
        for number in range(first, last):
            ended = replace(run, number=number)
            world.store.transact("hello", lambda tx, ended=ended: tx.put_run(ended))

    many(2, 11)
    bytes_of_a_scrape()  # connects
    few, few_calls = bytes_of_a_scrape()
    many(11, 1001)
    bytes_of_a_scrape()  # asks first whether a connection that was idle for long still works
    thousand, calls = bytes_of_a_scrape()
    assert of_hello(world).runs == {("push", "live"): 1000}
    assert calls == few_calls
    assert thousand < few * 1.2 + 500  # the same counters with more digits


def test_buckets_hold_what_is_at_most_their_bound():
    assert [measurements.bucket(seconds) for seconds in (0.0, 0.1, 0.11, 1800.0, 1801.0)] == [
        0, 0, 1, len(BUCKETS) - 1, len(BUCKETS),
    ]  # fmt: skip


def test_counters_of_a_version_with_other_buckets_are_kept(world):
    world.push("one")
    key = world.store.key("run-counters", "hello")
    world.store.client.hset(key, mapping={"deploy:0.3": 2, "deploy:9999": 1, "deploy:sum": "5.5"})
    found = of_hello(world)
    assert (total(found.deploy), found.deploy.sum) == (4, 5.5)
    assert found.deploy.counts[measurements.bucket(0.5)] >= 2
    assert world.commands.measurements().damaged == set()


def test_kinds_of_leases_are_a_fixed_set(world):
    world.store.leases.take("odd:thing", "someone")
    assert tuple(world.commands.measurements().leases) == LEASE_KINDS


def test_a_frozen_environment_and_the_run_that_waits_for_it_are_measured(world):
    world.push("one")
    last = world.environment("live").name
    world.commands.freeze("ann", pipeline="hello", environment=last, reason="the launch")
    world.push("two")
    found = of_hello(world)
    assert found.frozen == {name: name == last for name in found.held}
    assert found.waiting == {measurements.FOR_FREEZE: 1}
    world.commands.thaw("ann", pipeline="hello", environment=last, reason="it is over")
    assert not any(of_hello(world).frozen.values())


def test_what_was_counted_of_an_environment_goes_with_it(world):
    world.configure(CONFIG_OF_TWO)
    world.push("one")
    metrics, client, key = world.store.metrics, world.store.client, world.store.key("run-counters", "hello")
    for name in ("dev", "qa"):
        metrics.answered("hello", name, Answered(9, 1), "", {1: Answered(9, 1)})
        metrics.timed("hello", name, {3: 8}, "", {1: {3: 8}})
    found = of_hello(world)
    assert found.of_releases == {("dev", 1): Answered(9, 1), ("qa", 1): Answered(9, 1)}
    world.configure(CONFIG_OF_TWO.replace("qa: ", ""))
    world.gc()
    found = of_hello(world)
    assert found.of_releases == {("dev", 1): Answered(9, 1)}
    assert found.times_of_releases == {("dev", 1): {3: 8}}
    assert (found.requests, found.errors) == ({"dev": 9}, {"dev": 1})
    assert {labels[0] for labels in found.steps} == {"build", "dev"}
    assert not [field for field in client.hkeys(key) if ":qa" in field]
    # An earlier version kept it.
    metrics.answered("hello", "qa", Answered(9, 1), "worse", {1: Answered(9, 1)})
    client.hset(key, "bakes:qa:baked", 3)
    found = of_hello(world)
    assert (found.requests, found.verdicts, found.bakes) == ({"dev": 9}, {"dev": ""}, {})
    assert found.of_releases == {("dev", 1): Answered(9, 1)}


@pytest.mark.parametrize("text", ["{damaged", "[]", '{"one": [1, 2]}', '{"1": 5}', '{"1": [1]}'])
def test_damaged_figures_of_releases_hide_nothing_else(world, text):
    world.push("one")
    world.store.client.hset(world.store.key("run-counters", "hello"), "releases:live", text)
    found = world.commands.measurements()
    assert (found.damaged, found.pipelines["hello"].runs) == ({"hello"}, {("push", "live"): 1})
