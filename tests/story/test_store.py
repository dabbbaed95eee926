"""The store on a real Valkey: transactions, fences, leases, events, tokens, and crashes of the server."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from pipeline.deploy.heartbeat import LeaseHeartbeat
from pipeline.domain.events import Event
from pipeline.domain.run import Outcome, Run, State
from pipeline.errors import ConfigError, DamagedRecord, LeaseLost, NotFound, RequestError, StoreUnavailable
from pipeline.runtime import embedded_store as embedded_module
from pipeline.runtime.embedded_store import EmbeddedStore, url
from pipeline.store import Lease, LeaseReaper, Store
from pipeline.store.leases import TTL
from tests.support import records

pytestmark = pytest.mark.real_store("what is on disk, and connections that break")
MANUAL = "pipelines: {hello: {environments: {dev: , live: {promote: manual}}}}"


@pytest.fixture
def store(valkey: str) -> Store:
    return Store(valkey, secrets.token_hex(4))


def add(store: Store) -> Run:
    def act(transaction):
        run = records.run(transaction.next_run())
        transaction.put_run(run)
        transaction.due(run.number)
        return run

    return store.transact("hello", act)


def test_concurrent_transactions_lose_no_write(store):
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: add(store), range(100)))
    assert sorted(run.number for run in runs) == list(range(1, 101))
    assert store.due("hello") == tuple(range(1, 101))
    assert [run.number for run in store.recent("hello", 3)] == [100, 99, 98]


def test_an_act_that_raises_writes_nothing(store):
    def act(transaction):
        transaction.put_run(records.run(transaction.next_run()))
        raise RequestError("no")

    with pytest.raises(RequestError):
        store.transact("hello", act)
    assert store.last_run("hello") == 0


def test_what_is_read_with_the_leases_is_read_again_when_another_process_writes(store):
    add(store)
    store.ensure_environment("hello", "dev", 10)
    lease, mine = store.leases.take("run:hello#1", "one"), []

    def adds_one(transaction):
        run, environment = transaction.run(1), transaction.environment("dev")
        if not mine:  # another process comes first
            Store.transact(store, "hello", lambda t: t.put_run(replace(t.run(1), reason="theirs")))
        mine.append((run.reason, environment.name))
        transaction.put_run(replace(run, reason=f"{run.reason}, mine"))

    store.transact("hello", adds_one, fence=lease, reads=(1, "dev"))
    assert mine == [("", "dev"), ("theirs", "dev")]
    assert store.run("hello", 1).reason == "theirs, mine"


def test_a_record_that_is_not_there_or_no_record_concerns_only_who_reads_it(store):
    run = add(store)
    with pytest.raises(NotFound):
        store.transact("hello", lambda t: t.environment("dev"), reads=(1, "dev"))
    with pytest.raises(NotFound):
        store.transact("hello", lambda t: t.run(2), reads=(2, "dev"))
    store.client.set(store.key("environments", "hello"), "not a hash")
    store.transact("hello", lambda t: t.put_run(replace(t.run(1), reason="goes on")), reads=(1, "dev"))
    assert store.run("hello", run.number).reason == "goes on"
    with pytest.raises(DamagedRecord, match="another type"):
        store.transact("hello", lambda t: t.environment("dev"), reads=(1, "dev"))


def test_fault_41_a_stale_worker_commits_nothing(store):
    run = add(store)
    mine = store.leases.take("run:hello#1", "one")
    reaper = LeaseReaper(store.leases)
    assert reaper.look(100.0) == ()
    assert reaper.look(100.0 + TTL) == ("run:hello#1",)
    theirs = store.leases.take("run:hello#1", "two")
    with pytest.raises(LeaseLost):
        store.transact("hello", lambda t: t.put_run(replace(run, reason="stale")), fence=mine)
    assert store.run("hello", 1).reason == ""
    store.transact("hello", lambda t: t.put_run(replace(run, reason="fresh")), fence=theirs)
    assert store.run("hello", 1).reason == "fresh"
    assert store.leases.renew(mine) is False
    store.leases.drop(mine)
    assert store.leases.renew(theirs) is True


def test_events_are_read_after_an_id_and_waited_for(store):
    store.events.append("hello#1", [Event("note", 1.0, "a"), Event("note", 2.0, "b")])
    [(first, a), (second, b)] = store.events.read("hello#1")
    assert (a.text, b.text) == ("a", "b")
    assert store.events.read("hello#1", first) == [(second, b)]
    later = threading.Timer(0.05, lambda: store.events.append("hello#1", [Event("end", 3.0, "c")]))
    later.start()
    [(_, late)] = store.events.read("hello#1", second, block=5.0)
    later.join()
    assert late.text == "c"


def test_an_index_is_assigned_once_and_freed_with_its_environment(store):
    def deal(name):
        return store.ensure_environment("hello", name, 10).index

    with ThreadPoolExecutor(8) as pool:
        dealt = list(pool.map(deal, [f"e{n % 8}" for n in range(32)]))
    assert set(dealt) == set(range(8))
    store.forget_environment("hello", "e3")
    freed = set(range(8)) - {e.index for e in store.environments("hello").values()}
    assert {store.ensure_environment("hello", "new", 10).index} == freed


def test_a_new_environment_is_refused_when_every_index_is_in_use(store):
    store.ensure_environment("hello", "one", 1)
    with pytest.raises(Exception, match="all 1 ports for environments are in use"):
        store.ensure_environment("hello", "two", 1)


def test_an_ended_session_is_remembered_without_its_id_for_as_long_as_it_could_be_used(store):
    store.tokens.end_session("one", 60.0)
    assert store.tokens.has_session_ended("one")
    assert not store.tokens.has_session_ended("two")
    (key,) = store.client.keys(store.key("session-ended:") + "*")
    assert "one" not in key
    assert 50_000 < store.client.pttl(key) <= 60_000


def test_a_token_is_shown_once_kept_as_a_hash_and_revocable(store):
    text = store.tokens.create("ann", "developer")
    found = store.tokens.find(text)
    assert found is not None
    assert (found.name, found.role) == ("ann", "developer")
    assert (found.may("viewer"), found.may("maintainer")) == (True, False)
    kept = [store.client.hgetall(key) for key in (store.key("tokens"), store.key("token-names"))]
    assert text not in str(kept)
    with pytest.raises(RequestError, match="exists"):
        store.tokens.create("ann", "viewer")
    store.tokens.revoke("ann")
    assert store.tokens.find(text) is None
    with pytest.raises(NotFound):
        store.tokens.revoke("ann")
    with pytest.raises(RequestError, match="no role"):
        store.tokens.create("bo", "god")


@pytest.mark.parametrize("name", ["", "-x", "--json", " ann", "ann ", "a\nb", "a\u202eb", "x" * 65])
def test_a_token_has_a_name_that_can_be_typed(store, name):
    with pytest.raises(RequestError, match="name"):
        store.tokens.create(name, "viewer")
    assert store.tokens.all() == []


def test_a_token_whose_name_has_spaces_or_slashes_is_named_as_a_shell_takes_it(store):
    store.tokens.create("ci of a/b", "viewer")
    with pytest.raises(RequestError) as raised:
        store.tokens.create("ci of a/b", "viewer")
    assert raised.value.advice == "Revoke it first: `pushlive token revoke 'ci of a/b'`."
    store.tokens.revoke("ci of a/b")
    assert store.tokens.all() == []


def test_fault_43_acknowledged_writes_survive_a_sigkill(tmp_path: Path):
    embedded = EmbeddedStore(tmp_path)
    embedded.start()
    store = Store(url(tmp_path))
    for _ in range(20):
        add(store)
    os.kill(embedded._pid() or 0, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while embedded.alive():
        assert time.monotonic() < deadline
    assert embedded.restore() is True
    assert store.last_run("hello") == 20
    assert store.due("hello") == tuple(range(1, 21))
    embedded.stop()


def test_a_server_is_started_once_the_one_that_is_stopping_has_ended(tmp_path: Path):
    (tmp_path / "store").mkdir()
    with (tmp_path / "store" / "server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # like a server that no longer answers but has not ended yet
        threading.Timer(0.3, lambda: fcntl.flock(lock, fcntl.LOCK_UN)).start()
        embedded = EmbeddedStore(tmp_path)
        embedded.start()
    assert Store(url(tmp_path)).healthy()
    embedded.stop()


def test_fault_43_a_torn_last_write_loses_only_itself(tmp_path: Path):
    embedded = EmbeddedStore(tmp_path)
    embedded.start()
    store = Store(url(tmp_path))
    for _ in range(5):
        add(store)
    store.facts.set("marker", "the last write")
    embedded.stop()
    [log] = (tmp_path / "store" / "appendonlydir").glob("*.incr.aof")
    with log.open("r+b") as opened:
        opened.truncate(log.stat().st_size - 7)
    again = EmbeddedStore(tmp_path)
    again.start()
    assert Store(url(tmp_path)).last_run("hello") == 5
    again.stop()


def test_fault_10_a_store_that_is_gone_is_unavailable(tmp_path: Path):
    store = Store(url(tmp_path), timeout=0.5)
    assert store.healthy() is False
    with pytest.raises(StoreUnavailable, match="store does not answer"):
        store.transact("hello", lambda t: t.open())
    with pytest.raises(StoreUnavailable):
        store.run("hello", 1)


def test_fault_10_a_full_store_accepts_nothing(tmp_path: Path):
    embedded = EmbeddedStore(tmp_path)
    embedded.start()
    store = Store(url(tmp_path))
    store.client.config_set("maxmemory", "1")
    with pytest.raises(StoreUnavailable):
        add(store)
    store.client.config_set("maxmemory", "0")
    assert add(store).number == 1
    embedded.stop()


def test_a_data_folder_too_deep_for_a_socket_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="too long for a socket"):
        EmbeddedStore(tmp_path / ("x" * 120)).start()


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
    assert world.run(1).outcome == Outcome.LIVE


def test_fault_43_a_lease_is_lost_in_time_when_the_store_never_answers(world):
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


def test_no_second_server_is_started_on_the_files_of_a_slow_one(tmp_path_factory, monkeypatch):
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
