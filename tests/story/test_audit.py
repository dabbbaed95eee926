"""Every act is in the audit log exactly once, whichever process is killed. On a real Valkey."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import redis

from pipeline.adapters.fake import Killed
from pipeline.deploy.services import services_on
from pipeline.domain import audit_chain
from pipeline.domain.audit_chain import Actor
from pipeline.domain.run import Push
from pipeline.errors import NotFound, PushliveError, RequestError, StoreUnavailable, TokenExpired
from pipeline.maintenance.doctor import examine as doctor
from pipeline.store import Store
from pipeline.store.audit_head import AuditHead
from tests.support.waiting import until

ANN = Actor("ann", "developer", "10.0.0.9", "cli")
GATED = "pipelines: {hello: {environments: {dev: , live: {promote: manual}}}}"


@pytest.fixture
def store(store_url: str) -> Store:
    return Store(store_url, secrets.token_hex(4))


def record(store: Store, *names: str) -> None:
    for name in names:
        store.audit.record(audit_chain.entry(name, "hold", 1.0))


def whos(store: Store) -> list[str]:
    return [json.loads(line)["who"] for line in store.audit.lines()]


def acts(world) -> list[tuple[str, ...]]:
    """Oldest first: act, who, way, run or environment, release, why or detail."""
    return [
        (e["act"], e["who"], e["way"], e["run"] or e["environment"], e["release"], e["why"] or e["detail"])
        for e in reversed(world.commands.audit_log(limit=100))
    ]


def test_every_act_is_recorded_with_who_what_where_and_why(make_world):
    world = make_world(GATED)
    commit = world.commit("one")
    world.commands.accept(
        Push("hello", "hello", "refs/heads/main", commit, "git:1"), Actor("ann", "", "", "git")
    )
    world.work()
    world.commands.promote("hello", ANN)
    world.work()
    world.push("two")
    world.commands.promote("hello", ANN, release=2)
    world.work()
    world.commands.revert("hello", ANN, reason="slow")
    world.work()
    world.commands.resume("hello", ANN)
    world.commands.unquarantine("hello", ANN, 2)
    world.commands.hold("hello", ANN, reason="exams")
    three = world.accept(world.commit("three"))
    world.commands.cancel("hello", three.number, ANN)
    world.commands.retry("hello", three.number, ANN)
    world.commands.gc(ANN)
    world.commands.create_token("ci", "developer", ANN, lasts=86400.0)
    world.commands.revoke_token("ci", ANN)
    first, *said = acts(world)
    assert first[:3] == ("configuration", "pipelines.yaml", "file")
    assert first[5].startswith("none → ")
    assert [one[:5] for one in said] == [
        ("push", "ann", "git", "hello#1", ""),
        ("promote", "ann", "cli", "hello#1", "r1"),
        ("push", "ann", said[2][2], "hello#2", ""),
        ("promote", "ann", "cli", "hello#2", "r2"),
        ("revert", "ann", "cli", "hello#3", "r1"),
        ("resume", "ann", "cli", "live", ""),
        ("unquarantine", "ann", "cli", "live", "r2"),
        ("hold", "ann", "cli", "live", ""),
        ("push", "ann", said[8][2], "hello#4", ""),
        ("cancel", "ann", "cli", "hello#4", ""),
        ("retry", "ann", "cli", "hello#5", ""),
        ("gc", "ann", "cli", "", ""),
        ("gc ended", "ann", "cli", "", ""),
        ("token create", "ann", "cli", "", ""),
        ("token revoke", "ann", "cli", "", ""),
    ]
    assert said[4][5] == "slow"
    assert said[7][5] == "exams"
    assert said[10][5] == "as hello#4 was"
    assert world.commands.audit_log(limit=1)[0]["address"] == "10.0.0.9"
    assert world.commands.verify_audit().problems == []


def test_refused_and_repeated_acts_are_not_recorded(world):
    commit = world.commit("one")
    world.accept(commit, delivery="d")
    world.accept(commit, delivery="d")
    world.accept(commit)
    with pytest.raises(RequestError):
        world.commands.promote("hello", ANN)
    with pytest.raises(NotFound):
        world.commands.cancel("hello", 99, ANN)
    world.commands.hold("hello", ANN)
    world.commands.resume("hello", ANN)
    assert "not held" in world.commands.resume("hello", ANN)[0]
    assert [act[0] for act in acts(world)] == ["configuration", "push", "hold", "resume"]


def test_a_changed_configuration_is_recorded_once_from_hash_to_hash(world):
    world.keeper.tick()
    before = world.store.facts.get("config")
    world.configure(GATED)
    others = [services_on(world.store, world.settings).configurations for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda configs: configs.refresh(), others))
    assert [act[5] for act in acts(world)] == [
        f"none → {before}",
        f"{before} → {world.store.facts.get('config')}",
    ]


def test_the_log_is_listed_by_pipeline_and_up_to_a_limit(make_world):
    world = make_world("pipelines: {hello: {environments: {live: }}, shop: {environments: {live: }}}")
    for name in ("hello", "shop", "hello"):
        world.commands.hold(name, ANN)
    assert [entry["number"] for entry in world.commands.audit_log("hello")] == [4, 2]
    assert [entry["number"] for entry in world.commands.audit_log("hello", 1)] == [4]


def test_the_keeper_moves_the_entries_of_a_dead_process(world):
    world.keeper.tick()
    record(world.store, "left")
    assert "left" not in whos(world.store)
    world.keeper.tick()
    assert whos(world.store)[-1] == "left"


# ── exactly once ─────────────────────────────────────────────────────────────


def killing(monkeypatch, at: int, after: bool) -> list[str]:
    """The process is killed at the ``at``-th call to the store or the disk from now, before or after the call."""
    steps: list[str] = []

    def kill_in(kind, name):
        real = getattr(kind, name)

        def step(*args, **kwargs):
            steps.append(name)
            if len(steps) == at and not after:
                raise Killed(name)
            done = real(*args, **kwargs)
            if len(steps) == at:
                raise Killed(name)
            return done

        monkeypatch.setattr(kind, name, step)

    kill_in(redis.client.Pipeline, "immediate_execute_command")
    kill_in(redis.client.Pipeline, "_execute_transaction")
    kill_in(redis.Redis, "execute_command")
    kill_in(os, "fsync")
    kill_in(Path, "rename")
    return steps


@pytest.mark.real_store("kills between the client's steps")
@pytest.mark.parametrize("after", [False, True])
def test_killed_between_any_two_steps_each_entry_is_chained_once(valkey, tmp_path, after):
    killed = 0
    for at in range(1, 100):
        store, data = Store(valkey, secrets.token_hex(4)), tmp_path / f"{at}"
        data.mkdir()
        record(store, "a")
        AuditHead(store, data).move()
        record(store, "b", "c")
        with pytest.MonkeyPatch.context() as patch:
            steps = killing(patch, at, after)
            try:
                AuditHead(store, data).move()
            except Killed:
                killed += 1
        assert AuditHead(store, data).verify().problems == []
        record(store, "d")
        assert AuditHead(store, data).verify().problems == []
        assert whos(store) == ["a", "b", "c", "d"]
        if len(steps) < at:
            break
    assert killed == len(steps) > 8


def test_several_processes_extend_the_chain_at_once(store, tmp_path):
    names = [f"n{number}" for number in range(300)]
    chainers = [AuditHead(store, tmp_path) for _ in range(6)]
    done = threading.Event()

    def move(chainer: AuditHead) -> None:
        while not done.is_set():
            assert chainer.move() == ""

    with ThreadPoolExecutor(10) as pool:
        moving = [pool.submit(move, chainer) for chainer in chainers]
        list(pool.map(lambda part: record(store, *part), [names[start::4] for start in range(4)]))
        done.set()
        for one in moving:
            one.result()
    report = AuditHead(store, tmp_path).verify()
    assert (report.entries, report.problems) == (300, [])
    assert sorted(whos(store)) == sorted(names)


CHAINING = """
import sys
from pathlib import Path
from pipeline.store.audit_head import AuditHead
from pipeline.store import Store
chainer = AuditHead(Store(sys.argv[1], sys.argv[2]), Path(sys.argv[3]))
print("ready", flush=True)
while True:
    chainer.move()
"""


@pytest.mark.long
@pytest.mark.real_store("several processes")
def test_processes_killed_while_moving_lose_and_repeat_no_entry(valkey, store, tmp_path):
    prefix = store.key("")[:-1]
    names = [f"n{number}" for number in range(200)]
    for start in range(0, 200, 50):
        argv = [sys.executable, "-c", CHAINING, valkey, prefix, str(tmp_path)]
        process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.getcwd()}
        )
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        before = store.audit.last().number
        record(store, *names[start : start + 50])
        until(lambda before=before: store.audit.last().number > before)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process.stdout.close()
    report = AuditHead(store, tmp_path).verify()
    assert (report.entries, report.problems) == (200, [])
    assert whos(store) == names


@pytest.mark.real_store("the client asks again")
def test_a_lost_answer_repeats_no_entry(store, tmp_path, monkeypatch):
    real, lost = redis.client.Pipeline._execute_transaction, []

    def losing(self, *args, **kwargs):
        answer = real(self, *args, **kwargs)
        if len(lost) < 2:
            lost.append(1)
            self.watching = True  # the state until the answer to EXEC is read
            raise redis.ConnectionError("the reply is lost")
        return answer

    monkeypatch.setattr(redis.client.Pipeline, "_execute_transaction", losing)
    record(store, "a", "b")
    AuditHead(store, tmp_path).move()
    text = store.tokens.create("ci", "viewer", by=ANN)
    assert store.tokens.find(text)
    AuditHead(store, tmp_path).move()
    assert lost == [1, 1]
    assert whos(store) == ["a", "b", "ann"]


def test_an_act_succeeds_although_its_entry_cannot_be_moved_yet(world, monkeypatch):
    def gone(*_):
        raise StoreUnavailable("gone")

    monkeypatch.setattr(world.store.audit, "move", gone)
    run = world.accept(world.commit("one"))
    assert world.run(run.number).id == "hello#1"
    monkeypatch.undo()
    assert [act[0] for act in acts(world)] == ["configuration", "push"]


# ── changed from outside ─────────────────────────────────────────────────────


@pytest.fixture
def chained(store: Store, tmp_path: Path) -> AuditHead:
    chainer = AuditHead(store, tmp_path)
    record(store, *"abcdef")
    assert chainer.move() == ""
    return chainer


def test_a_changed_entry_is_detected(store, chained):
    key = store.key("audit")
    store.client.lset(key, 2, store.client.lindex(key, 2).replace('"who":"c"', '"who":"x"'))
    assert chained.verify().problems == ["line 3 of the log was changed: its hash does not match"]


def test_a_cut_off_end_is_detected_even_after_new_entries(store, chained, tmp_path):
    noted = store.audit.last().hash
    store.client.ltrim(store.key("audit"), 0, 3)
    assert "ends with entry 4, but there was an entry 6" in chained.verify().problems[0]
    assert "ends with entry 4" in chained.move()
    record(store, *"ghi")
    assert "is not the one" in AuditHead(store, tmp_path).move()
    assert "entry 6 is not the one in audit.head" in chained.verify().problems[0]
    (tmp_path / "audit.head").unlink()
    problems = AuditHead(store, tmp_path).verify(noted).problems
    assert problems == [f"no entry has the hash {noted} that you noted: the log was cut off, or recreated"]


def test_a_missing_head_is_recorded_as_an_entry(store, chained, tmp_path):
    (tmp_path / "audit.head").unlink()
    record(store, "g")
    AuditHead(store, tmp_path).move()
    told = [json.loads(line) for line in store.audit.lines()]
    assert "audit.head was missing" in [entry["act"] for entry in told]
    assert (tmp_path / "audit.head").stat().st_mode & 0o777 == 0o600
    assert chained.verify().problems == []


def test_an_emptied_log_is_detected(store, chained):
    store.client.delete(store.key("audit"))
    assert "ends with entry 0, but there was an entry 6" in chained.verify().problems[0]


def test_the_keeper_reports_a_broken_log_once(world):
    world.commands.hold("hello", ANN)
    world.commands.resume("hello", ANN)
    world.keeper.tick()
    world.store.client.ltrim(world.store.key("audit"), 0, 0)
    said = [*world.keeper.tick(), *world.keeper.tick()]
    assert len([text for text in said if "the audit log ends with entry 1" in text]) == 1


def test_the_doctor_checks_the_end_of_the_log(world):
    world.commands.hold("hello", ANN)
    look = partial(doctor._audit, world.services)
    assert look() == "2 entries; the newest one matches the file audit.head"
    world.store.client.rpop(world.store.key("audit"))
    with pytest.raises(PushliveError, match="ends with entry 1"):
        look()


def test_a_head_that_cannot_be_written_is_reported_and_stops_nothing(store, tmp_path):
    record(store, "a")
    said = AuditHead(store, tmp_path / "nowhere").move()
    assert "cannot be written" in said
    assert whos(store) == ["a"]


# ── tokens ───────────────────────────────────────────────────────────────────


def test_a_token_expires_and_says_so(world):
    text = world.commands.create_token("ci", "developer", ANN, lasts=60.0)
    found = world.commands.token(text)
    assert found
    assert found.role == "developer"
    assert world.commands.tokens()[0]["expired"] is False
    world.clock.sleep(60)
    with pytest.raises(TokenExpired, match="'ci' expired on "):
        world.commands.token(text)
    assert world.commands.tokens()[0]["expired"] is True


def test_the_last_maintainer_token_is_not_revoked(world):
    tokens = world.store.tokens
    world.commands.create_token("ann", "maintainer", ANN)
    world.commands.create_token("bob", "developer", ANN)
    tokens.create("old", "maintainer", expires=1.0)
    with pytest.raises(RequestError, match="last maintainer"):
        world.commands.revoke_token("ann", ANN)
    world.commands.create_token("cid", "maintainer", ANN)
    world.commands.revoke_token("ann", ANN)
    world.commands.revoke_token("old", ANN)
    with pytest.raises(RequestError, match="last maintainer"):
        world.commands.revoke_token("cid", ANN)


def test_two_maintainers_revoked_at_once_leave_one(store):
    names = [f"m{number}" for number in range(6)]
    for name in names:
        store.tokens.create(name, "maintainer")

    def revoke(name: str) -> bool:
        try:
            store.tokens.revoke(name)
        except RequestError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(revoke, names)) == 5
    assert len(store.tokens.all()) == 1


@pytest.mark.real_store("the server counts commands")
def test_a_tokens_last_use_is_recorded_to_the_hour(store):
    text = store.tokens.create("ci", "viewer")
    assert store.tokens.all()[0]["used"] == 0
    store.tokens.find(text)
    noted = store.tokens.all()[0]["used"]
    assert noted > 0
    writes = store.client.info("commandstats").get("cmdstat_hset", {}).get("calls")
    for _ in range(50):
        store.tokens.find(text)
        store.tokens.find("wrong")
    assert store.client.info("commandstats")["cmdstat_hset"]["calls"] == writes
    store.tokens.revoke("ci")
    assert store.client.hgetall(store.key("token-used")) == {}


def test_a_replaced_token_is_no_longer_valid(store):
    old = store.tokens.create("first", "maintainer")
    new = store.tokens.create("first", "maintainer", replace=True)
    assert store.tokens.find(old) is None
    assert store.tokens.find(new)
    assert len(store.tokens.all()) == 1
