"""The real server, real sockets and the real git, on a fake service."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, until
from tests.web.test_receivers import github, signed

PACE = 0.15
DEVELOPER, VIEWER = "developer-token", "viewer-token"


@dataclass
class Service:
    process: subprocess.Popen[bytes]
    port: int
    data: Path

    def url(self, path: str, token: str = "") -> str:
        return f"http://{f'me:{token}@' if token else ''}127.0.0.1:{self.port}{path}"

    def log(self) -> str:
        """What the server wrote to its standard error."""
        return (self.data / "log").read_text(errors="replace")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 10)

    def get(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        given = {"Authorization": f"Bearer {DEVELOPER}"} | headers
        request = urllib.request.Request(self.url(path), body, given)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def processes(self) -> Iterator[Path]:
        """The folders in /proc of git and all that it started for this service."""
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if f"PUSHLIVE_LISTEN=127.0.0.1:{self.port}".encode() in environ.read_bytes():
                    yield environ.parent

    def children(self) -> list[str]:
        """Their command lines, including zombies."""
        found = []
        for process in self.processes():
            with contextlib.suppress(OSError):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found


@contextlib.contextmanager
def serving(data: Path, pace: float = PACE, limits: str = "short") -> Iterator[Service]:
    data.mkdir(parents=True, exist_ok=True)
    port = free_port()
    argv = [sys.executable, "-m", "tests.web.serve", str(data), f"127.0.0.1:{port}", str(pace), limits]
    with (data / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=log)
    service = Service(process, port, data)

    def up() -> bool:
        with contextlib.suppress(OSError):
            return service.get("/healthz")[0] == 200
        return False

    try:
        until(up, 20)
        yield service
    finally:
        process.terminate()
        process.wait(10)
        assert "Traceback" not in service.log()


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("service")) as running:
        yield running


def git(*argv: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    env = {
        "PATH": os.environ["PATH"], "HOME": str(cwd), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
    }  # fmt: skip
    done = subprocess.run(["git", *argv], cwd=cwd, env=env, capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture
def work(tmp_path: Path) -> Path:
    git("init", "-q", "-b", "main", cwd=tmp_path)
    (tmp_path / "file").write_text(str(time.time()))
    git("add", ".", cwd=tmp_path)
    git("commit", "-qm", "one", cwd=tmp_path)
    return tmp_path


def remotes(stderr: str) -> list[str]:
    return [line[8:].strip() for line in stderr.splitlines() if line.startswith("remote: ")]


def test_a_push_streams_the_run_and_ends_with_the_revert_command(service, work):
    argv = ["git", "push", "-f", service.url("/git/hello.git", DEVELOPER), "main"]
    times = []
    with subprocess.Popen(argv, cwd=work, stderr=subprocess.PIPE, text=True) as push:
        for line in push.stderr:
            if line.startswith("remote: "):
                times.append((time.monotonic(), line[8:].strip()))
    assert push.returncode == 0
    assert times[1][1] == "build   build is done"
    assert times[-1][1] == "To revert: `pushlive revert hello`"
    gaps = [b[0] - a[0] for a, b in pairwise(times[:6])]
    assert sum(gaps) > PACE * 2, gaps  # as it happens, not all at the end


def test_a_push_of_other_refs_says_what_to_push_instead(service, work):
    git("tag", "v1", cwd=work)
    url = service.url("/git/hello.git", DEVELOPER)
    said = remotes(git("push", "-f", url, "main:topic", "v1", cwd=work).stderr)
    assert "topic is stored but not deployed. To deploy it: git push REMOTE topic:main" in said
    assert "Tag v1 is stored. Only branches are deployed." in said
    said = remotes(git("push", url, ":topic", cwd=work).stderr)
    assert said == ["refs/heads/topic was deleted; there is nothing to deploy."]


def test_viewers_may_clone_and_not_push(service, work, tmp_path_factory):
    git("push", "-qf", service.url("/git/hello.git", DEVELOPER), "main", cwd=work)
    there = tmp_path_factory.mktemp("clone")
    git("clone", "-q", service.url("/git/hello.git", VIEWER), "x", cwd=there)
    assert (there / "x" / "file").read_text() == (work / "file").read_text()
    git("-c", "protocol.version=0", "clone", "-q", service.url("/git/hello.git", VIEWER), "y", cwd=there)
    refused = git("push", service.url("/git/hello.git", VIEWER), "main", cwd=work, check=False)
    assert refused.returncode != 0
    assert "403" in refused.stderr
    for url in (service.url("/git/hello.git", "wrong"), service.url("/git/hello.git")):
        assert git("ls-remote", url, cwd=work, check=False).returncode != 0
    unknown = git("ls-remote", service.url("/git/unknown.git", VIEWER), cwd=work, check=False)
    assert "pipelines.yaml" in unknown.stderr


def test_a_large_push_in_chunks_is_accepted(service, work):
    (work / "large").write_bytes(os.urandom(20 << 20))
    git("add", ".", cwd=work)
    git("commit", "-qm", "large", cwd=work)
    pushed = git("push", "-f", service.url("/git/hello.git", DEVELOPER), "main", cwd=work)
    assert remotes(pushed.stderr)[-1].startswith("To revert")


def test_a_push_over_the_limit_is_refused_and_leaves_no_ref(service, work):
    (work / "huge").write_bytes(os.urandom(66 << 20))
    git("add", ".", cwd=work)
    git("commit", "-qm", "huge", cwd=work)
    refused = git("push", service.url("/git/hello.git", DEVELOPER), "main:huge", cwd=work, check=False)
    assert refused.returncode != 0
    listed = git("ls-remote", service.url("/git/hello.git", VIEWER), cwd=work)
    assert "refs/heads/huge" not in listed.stdout
    until(lambda: service.children() == [])


def test_fault_16_a_repositorys_own_hooks_never_run(service, work):
    url = service.url("/git/hello.git", DEVELOPER)
    git("push", "-qf", url, "main", cwd=work)
    repository = service.data / "repositories" / "hello.git"
    for name in ("pre-receive", "update", "post-receive", "post-update", "reference-transaction"):
        hook = repository / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {service.data}/ran-{name}\n")
        hook.chmod(0o700)
    git("-C", str(repository), "config", "core.hooksPath", str(repository / "hooks"), cwd=work)
    git("commit", "-q", "--allow-empty", "-m", "two", cwd=work)
    assert remotes(git("push", "-f", url, "main", cwd=work).stderr)[-1].startswith("To revert")
    assert list(service.data.glob("ran-*")) == []


def test_a_run_continues_when_its_pusher_disconnects(service, work):
    url = service.url("/git/hello.git", DEVELOPER)
    git("commit", "-q", "--allow-empty", "-m", "left", cwd=work)
    push = subprocess.Popen(["git", "push", "-f", url, "main"], cwd=work, stderr=subprocess.PIPE,
                            start_new_session=True)  # fmt: skip
    while not push.stderr.readline().startswith(b"remote: build"):
        assert push.poll() is None
    os.killpg(push.pid, signal.SIGINT)
    push.wait(5)
    push.stderr.close()
    latest = json.loads(service.get("/api/runs?limit=1")[1])["runs"][0]
    path = f"/api/runs/hello/{latest['number']}"
    assert service.get(f"{path}/events")[1].splitlines()[-1] == (
        b'{"end": {"state": "ended", "outcome": "live", "gate": ""}}'
    )
    until(lambda: service.children() == [])  # git's processes ended with the pusher


def test_events_are_streamed(service):
    service.get("/api/pipelines/hello/deploy", b"{}")
    request = urllib.request.Request(service.url("/api/runs/hello/latest/events"))
    request.add_header("Authorization", f"Bearer {VIEWER}")
    started, times = time.monotonic(), []
    with urllib.request.urlopen(request, timeout=10) as answer:
        for line in answer:
            if line.strip():
                times.append((time.monotonic() - started, json.loads(line)))
    assert times[0][1]["lines"]
    assert times[-1][0] - times[0][0] > PACE * 2  # as it happens, not all at the end
    assert times[-1][1]["end"]["outcome"] == "live"


def test_fault_01_the_internal_route_needs_the_internal_token(service):
    for token in ("", "wrong", "ä"):
        headers = {"X-Pushlive-Internal": token.encode()}
        assert service.get("/internal/post-receive", b"x", **headers)[0] == 404


def test_fault_02_a_body_too_large_in_chunks_is_refused_while_it_is_sent(service):
    with service.connect() as sock:
        sock.sendall(b"POST /hooks/github HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        answer = bytearray()

        def send() -> None:
            with contextlib.suppress(OSError):
                for _ in range(40):
                    sock.sendall(b"100000\r\n" + bytes(1 << 20) + b"\r\n")

        sender = threading.Thread(target=send)
        sender.start()
        with contextlib.suppress(ConnectionError):
            while b"\r\n\r\n" not in answer and (piece := sock.recv(65536)):
                answer += piece
        sender.join(10)
    assert answer.startswith(b"HTTP/1.1 413")


def test_fault_03_slow_clients_block_no_one(service):
    """More connections than the server has threads, each in the middle of its head."""
    slow = [service.connect() for _ in range(100)]
    try:
        for _ in range(3):
            for sock in slow:
                sock.sendall(b"G")
            started = time.monotonic()
            assert service.get("/healthz")[0] == 200
            assert time.monotonic() - started < 1 * PATIENCE
    finally:
        for sock in slow:
            sock.close()


def test_fault_03_a_slow_head_is_timed_out(service):
    with service.connect() as sock:
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - started < 20:
                sock.sendall(b"G")
                sock.settimeout(1)
                with contextlib.suppress(TimeoutError):
                    if not sock.recv(1):
                        break
        assert 1.5 < time.monotonic() - started < 5 * PATIENCE


def test_fault_03_a_slow_body_is_timed_out(service):
    with service.connect() as sock:
        sock.sendall(b"POST /hooks/github HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        started, answer = time.monotonic(), b""
        sock.settimeout(0.5)
        while not answer and time.monotonic() - started < 30:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                answer = sock.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - started < 5 * PATIENCE


def test_fault_09_every_push_of_a_burst_is_accepted_once(service):
    def one(number: int) -> int:
        body = json.dumps(github()).encode()
        headers = signed(body, **{"X-GitHub-Delivery": f"burst-{number}"})
        return service.get("/hooks/github", body, **headers)[0]

    with ThreadPoolExecutor(32) as pool:
        assert set(pool.map(one, range(500))) == {202}
    runs = json.loads(service.get("/api/runs?limit=1000")[1])["runs"]
    assert len({r["delivery"] for r in runs if r["delivery"].startswith("github:burst-")}) == 500


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_service_ends_quickly_with_streams_open(tmp_path, number):
    with serving(tmp_path, pace=30) as service:
        service.get("/api/pipelines/hello/deploy", b"{}")
        with service.connect() as sock:
            sock.sendall(
                b"GET /api/runs/hello/latest/events HTTP/1.1\r\nHost: localhost\r\n"
                b"Authorization: Bearer viewer-token\r\n\r\n"
            )
            assert sock.recv(100)
            started = time.monotonic()
            service.process.send_signal(number)
            service.process.wait(10)
        assert time.monotonic() - started < 2 * PATIENCE


def test_fault_48_wrong_tokens_are_limited_and_lock_no_one_out(tmp_path, work):
    with serving(tmp_path / "data", 0.0) as service:
        with ThreadPoolExecutor(16) as pool:
            wrong = {"Authorization": "Bearer wrong"}
            answers = list(pool.map(lambda _: service.get("/api/status", **wrong)[0], range(60)))
        assert 20 <= answers.count(401) <= 25  # a few are allowed again meanwhile
        assert answers.count(429) == 60 - answers.count(401)
        assert service.get("/api/status")[0] == 200
        refused = git("push", service.url("/git/hello.git", "wrong"), "main", cwd=work, check=False)
        assert refused.returncode != 0
        assert "429" in refused.stderr
        git("push", service.url("/git/hello.git", DEVELOPER), "main", cwd=work)


def test_fault_48_an_expired_token_is_refused_with_the_reason(tmp_path, work):
    with serving(tmp_path / "data", 0.0) as service:
        body = json.dumps({"name": "short", "role": "developer", "expires": "1s"}).encode()
        status, answer = service.get("/api/tokens", body, Authorization="Bearer maintainer-token")
        assert status == 201
        mine = {"Authorization": f"Bearer {json.loads(answer)['token']}"}
        until(lambda: service.get("/api/status", **mine)[0] == 401)
        assert b"expired" in service.get("/api/status", **mine)[1]
        url = service.url("/git/hello.git", json.loads(answer)["token"])
        assert git("push", url, "main", cwd=work, check=False).returncode != 0
