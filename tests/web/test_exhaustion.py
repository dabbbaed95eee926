"""Clients that try to use the service up, while a person reverts. By hand, for two minutes each:

PUSHLIVE_ATTACK_SECONDS=120 python -m pytest --timeout 1800 tests/web/test_exhaustion.py
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from tests.support.waiting import PATIENCE, until
from tests.web.test_server import DEVELOPER, VIEWER, Service, git, serving, work

__all__ = ["work"]  # a fixture

SECONDS = float(os.environ.get("PUSHLIVE_ATTACK_SECONDS", "0"))
ALONE, TOGETHER = SECONDS or 1.0, SECONDS or 15.0
HOST = b"Host: localhost\r\n"
AS_VIEWER = f"Authorization: Bearer {VIEWER}\r\n".encode()
BASIC = b"Authorization: Basic " + base64.b64encode(f"me:{VIEWER}".encode()) + b"\r\n"


@dataclass(frozen=True)
class Attack:
    """``first`` is sent on each of ``clients`` connections, then ``drip`` every ``pause`` seconds. Nothing is read.
    A connection that is closed is replaced."""

    first: bytes
    drip: bytes = b"x"
    clients: int = 110
    pause: float = 1.0


ATTACKS = {
    "part of a second head": Attack(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\nGET /"),
    "part of a head": Attack(b"GET /"),
    "headers without end": Attack(b"GET / HTTP/1.1\r\n", b"X-A: b\r\n"),
    "a webhook without its body": Attack(
        b"POST /hooks/github HTTP/1.1\r\n" + HOST + b"Content-Length: 9000\r\n\r\n", b""
    ),
    "a log-in, dripped": Attack(b"POST /login HTTP/1.1\r\n" + HOST + b"Content-Length: 9000\r\n\r\n"),
    "a revert, dripped": Attack(
        b"POST /api/pipelines/hello/revert HTTP/1.1\r\n" + HOST + AS_VIEWER + b"Content-Length: 9000\r\n\r\n",
        b" ",
    ),
    "a body for a page": Attack(b"GET /api/status HTTP/1.1\r\n" + HOST + b"Content-Length: 9000\r\n\r\n"),
    "fetches, dripped": Attack(
        b"POST /git/hello.git/git-upload-pack HTTP/1.1\r\n" + HOST + BASIC + b"Transfer-Encoding: chunked\r\n"
        b"Content-Type: application/x-git-upload-pack-request\r\n\r\n",
        b"1\r\n0\r\n",
    ),
    "pushes by no one, dripped": Attack(
        b"POST /git/hello.git/git-receive-pack HTTP/1.1\r\n" + HOST + b"Authorization: Basic eDp4\r\n"
        b"Transfer-Encoding: chunked\r\nContent-Type: application/x-git-receive-pack-request\r\n\r\n",
        b"1\r\n0\r\n",
    ),
    "followed runs": Attack(
        b"GET /api/runs/hello/latest/events HTTP/1.1\r\n" + HOST + AS_VIEWER + b"\r\n", b""
    ),
    "downloads, not read": Attack(
        b"GET /api/pipelines/hello/output?lines=10000 HTTP/1.1\r\n" + HOST + AS_VIEWER + b"\r\n", b""
    ),
    "chunks of one byte": Attack(
        b"POST /hooks/github HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n",
        b"1\r\nx\r\n" * 9000,
        20,
        0.1,
    ),
    "more connections than are taken": Attack(b"", b"", 1100),
}


class Crowd:
    """The clients of one attack, in a thread."""

    def __init__(self, service: Service, attack: Attack) -> None:
        self._service, self._attack = service, attack
        self._stop = threading.Event()
        self._sockets: list[socket.socket] = []
        self.ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Crowd:
        self._thread.start()
        assert self.ready.wait(60 * PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._sockets = [sock for sock in self._sockets if self._drip(sock)]
                for _ in range(self._attack.clients - len(self._sockets)):
                    with contextlib.suppress(OSError):
                        self._sockets.append(self._new())
                self.ready.set()
                self._stop.wait(self._attack.pause)
        finally:
            for sock in self._sockets:
                sock.close()

    def _new(self) -> socket.socket:
        sock = self._service.connect()
        sock.setblocking(False)
        sock.send(self._attack.first)
        return sock

    def _drip(self, sock: socket.socket) -> bool:
        """False if the server has closed the connection."""
        try:
            if self._attack.drip:
                sock.send(self._attack.drip)
            elif not sock.recv(1, socket.MSG_PEEK):
                raise ConnectionResetError
        except BlockingIOError:
            return True
        except OSError:
            sock.close()
            return False
        return True


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("exhaustion"), pace=30, limits="real") as running:
        running.get("/api/pipelines/hello/deploy", b"{}")  # a run to follow
        yield running


def revert(service: Service) -> float:
    """What a person needs in trouble; the seconds that all of it took. Each call has ten, where a thread that waits for
    an attacker is gone for fifteen at least."""
    began = time.monotonic()
    assert service.get("/healthz")[0] == 200
    assert service.get("/api/status")[0] == 200
    assert service.get("/api/pipelines/hello/revert", b"{}")[0] == 202
    return time.monotonic() - began


def revert_for(service: Service, seconds: float) -> None:
    end, took = time.monotonic() + seconds, []
    while time.monotonic() < end:
        took.append(revert(service))
    print(f"{len(took)} times: median {statistics.median(took):.3f} s, longest {max(took):.3f} s")  # noqa: T201 - by hand


@pytest.mark.parametrize("name", ATTACKS)
def test_fault_03_no_attack_holds_a_revert_up(service, name):
    with Crowd(service, ATTACKS[name]):
        revert_for(service, ALONE)


@pytest.mark.timeout(1800)
def test_fault_03_all_attacks_at_once_hold_no_revert_up(service, work):
    with contextlib.ExitStack() as crowds:
        for attack in ATTACKS.values():
            crowds.enter_context(Crowd(service, replace(attack, clients=min(attack.clients, 60))))
        revert_for(service, TOGETHER)
        assert len([line for line in service.children() if "http-backend" in line]) <= 40
    git("ls-remote", service.url("/git/hello.git", DEVELOPER), cwd=work)
    until(lambda: service.children() == [])
