"""The store under fault: killed, slow, full, read-only, a black hole, gone for a while, its file torn."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis

from tests.faults.deliveries import Deliveries
from tests.faults.registry import fault
from tests.faults.scene import application
from tests.faults.trial import Trial
from tests.support.waiting import until

GONE = 15.0  # seconds
HOLE = 12.0  # seconds: longer than a lease


def _server(trial: Trial) -> int:
    return int(trial.scene.store.client.info("server")["process_id"])


def _under(trial: Trial, harm: Callable[[], None], *, refuses: bool = True) -> None:
    """A deploy is on its way and webhooks come; then ``harm`` happens, which returns once it is over. Each webhook
    answered 2xx has its run, the others were told to come again."""
    away = trial.scene.away(trial.random.choice(trial.scene.away_names))
    head = away.push(application(f"version {time.time_ns()}"), "The head")
    one = trial.push()
    trial.in_stage(one, trial.random.choice(("build", "live")))
    with Deliveries(away) as coming:
        until(coming.more(202, 8), 30)
        harm()
        over = time.monotonic()
        until(coming.more(202, 8), 40)
    trial.ended(one)
    trial.recovered(over)
    trial.accepted += coming.accepted
    assert not coming.wrong, coming.wrong[0]
    assert not refuses or coming.count(503), "no webhook was answered 503 meanwhile"
    coming.accepted.clear()
    until(lambda: coming.deliver(head) == 202, 30)
    trial.accepted += coming.accepted
    until(lambda: away.live_at(head), 90)


@contextmanager
def _standing_still(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _pass(seconds: float) -> None:
    """Lets that much time go by while the fault lasts."""
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() >= end, seconds + 5)


@fault(
    "store-killed",
    43,
    10,
    words="SIGKILL of the store during ingest and a deploy, three times",
    scene="alone",
)
def killed(trial: Trial) -> None:
    def harm() -> None:
        for _ in range(3):
            os.kill(_server(trial), signal.SIGKILL)
            until(lambda: _answers(trial), 30)

    _under(trial, harm, refuses=False)


@fault("store-gone", 43, 10, words=f"the store gone for {GONE:.0f} s", scene="alone")
def gone(trial: Trial) -> None:
    def harm() -> None:
        supervisor = trial.scene.service.process
        assert supervisor
        with _standing_still(supervisor.pid):  # so that nobody starts it again
            os.kill(_server(trial), signal.SIGKILL)
            _pass(GONE)

    _under(trial, harm)


@fault(
    "store-black-hole",
    43,
    10,
    words=f"the store takes connections and never answers, {HOLE:.0f} s",
    scene="alone",
)
def black_hole(trial: Trial) -> None:
    def harm() -> None:
        with _standing_still(_server(trial)):
            _pass(HOLE)

    _under(trial, harm)


@fault("store-slow", 10, 43, words="the store answers in bursts, half a second apart", scene="alone")
def slow(trial: Trial) -> None:
    def harm() -> None:
        server = _server(trial)
        for _ in range(14):
            with _standing_still(server):
                _pass(0.5)
            _pass(0.05)

    _under(trial, harm, refuses=False)


@fault("store-full", 10, 43, words="the store out of memory for 10 s", scene="alone")
def full(trial: Trial) -> None:
    client = trial.scene.store.client

    def harm() -> None:
        client.config_set("maxmemory", "1")
        try:
            _pass(10.0)
        finally:
            client.config_set("maxmemory", "0")

    _under(trial, harm)


@fault("store-read-only", 10, words="the store takes no writes for 10 s", scene="alone")
def read_only(trial: Trial) -> None:
    client = trial.scene.store.client

    def harm() -> None:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")  # of nobody: it keeps what it has
        try:
            _pass(10.0)
        finally:
            client.execute_command("REPLICAOF", "NO", "ONE")

    _under(trial, harm)


@fault("store-torn", 43, words="SIGKILL of the store, its append-only file with a torn end", scene="alone")
def torn(trial: Trial) -> None:
    def harm() -> None:
        supervisor = trial.scene.service.process
        assert supervisor
        with _standing_still(supervisor.pid):
            server = _server(trial)
            os.kill(server, signal.SIGKILL)
            until(lambda: not Path(f"/proc/{server}/fd").exists() or not _open_files(server), 10)
            folder = trial.scene.service.data / "store" / "appendonlydir"
            newest = max(folder.glob("*.incr.aof"), key=lambda file: file.stat().st_mtime)
            with newest.open("ab") as file:
                file.write(b"*3\r\n$3\r\nSET\r\n$9\r\nhalf-a-wr")

    _under(trial, harm, refuses=False)  # it may be back before a webhook comes


def _open_files(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return []


def _answers(trial: Trial) -> bool:
    try:
        return bool(trial.scene.store.client.ping())
    except redis.RedisError:
        return False
