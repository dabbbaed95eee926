"""Every wait on something outside ends in time, though it keeps sending a little: bytes that come are no progress."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from urllib3 import PoolManager, Timeout
from urllib3.exceptions import ReadTimeoutError

from pipeline.adapters.deadline_connections import keep_pools_to_deadline
from pipeline.adapters.docker_api import ssh_forward
from pipeline.adapters.docker_api.api import DockerApi
from pipeline.adapters.docker_api.client import client
from pipeline.adapters.haproxy import control
from pipeline.adapters.http.post import HttpPost
from pipeline.adapters.kubernetes.api import connection, credentials, kube_api
from pipeline.adapters.kubernetes.api.client import connect
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.port_forward import check_port
from pipeline.adapters.kubernetes.api.watch import WatchedObjects
from pipeline.errors import EngineAway, TryAgain
from pipeline.lib.bounded import left_behind
from pipeline.lib.sockets import within
from tests.support.apiserver import kubeconfig, listing
from tests.support.dripping import DRIPS, HTTP, Says, dripping
from tests.support.waiting import PATIENCE, until

BRIEF = 0.3  # seconds: a limit in these tests


@contextmanager
def soon() -> Iterator[None]:
    """What is done inside ends long before the other end does."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 10 * PATIENCE


@pytest.fixture
def folder() -> Iterator[Path]:
    """Its path is short enough for a Unix socket, unlike pytest's own folders."""
    with tempfile.TemporaryDirectory(prefix="pl-") as name:
        yield Path(name)


# ── Docker ───────────────────────────────────────────────────────────────────


def engine(request: bytes) -> Says:
    """An Engine that tells its version and makes a session for a command, and drips everything else."""
    for path, status, document in (
        (b"/version", 200, {"ApiVersion": "1.41"}),
        (b"/containers/app/exec", 201, {"Id": "1"}),
    ):
        if path in request.partition(b"\r\n")[0]:
            body = json.dumps(document).encode()
            head = f"HTTP/1.1 {status} OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            return head.encode() + body, b""
    if b"/exec/1/start" in request:
        return b"HTTP/1.1 200 OK\r\n\r\n", b"\x01\x00\x00\x00\x00\x00\x00\x01x"
    return DRIPS


CALLS: dict[str, Callable[[DockerApi], Any]] = {
    "list": lambda api: api.containers(),
    "output": lambda api: api.output("app", 10),
    "files": lambda api: api.put_files("app", b"tar" * 1000),
    "execute": lambda api: api.execute("app", ["true"]),
    "ping": lambda api: api.ping(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_fault_52_a_request_to_an_engine_ends(
    kind: str, call: Callable[[DockerApi], Any], folder: Path
) -> None:
    path = str(folder / "engine.sock") if kind == "unix" else ""
    with dripping(engine, path) as address, soon():
        api = DockerApi(lambda: client(BRIEF, f"{kind}://{address}"))
        with pytest.raises(
            TryAgain, match=r"Docker does not answer|Docker accepted the request, but did not answer in time"
        ):
            call(api)


def test_fault_52_an_engine_that_drips_its_version_is_away() -> None:
    with dripping() as address, soon(), pytest.raises(TryAgain, match="Connecting to Docker"):
        client(BRIEF, f"tcp://{address}")


def test_fault_52_an_ssh_login_that_never_ends_its_line_ends(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = folder / "ssh"
    stub.write_text("#!/bin/sh\nprintf sta\nexec cat\n")
    stub.chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(ssh_forward.tempfile, "tempdir", None)
    monkeypatch.setattr(ssh_forward, "TIMEOUT", BRIEF)
    with soon(), pytest.raises(TryAgain, match="no answer within"):
        ssh_forward.Forward("ssh://engine.example.com").ensure()


# ── Kubernetes ───────────────────────────────────────────────────────────────


@pytest.fixture
def config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KUBECONFIG", str(folder / "config"))
    return folder / "config"


@pytest.mark.parametrize("silence", [0.0, 5.0], ids=["whole", "stream"])
def test_fault_52_a_request_to_an_api_server_ends(config: Path, silence: float) -> None:
    head = HTTP if silence == 0.0 else b"HTTP/1.1 200 OK\r\nX: "  # of a stream, the head is limited
    with dripping(lambda _: (head, b" ")) as address, soon():
        api = KubeApi(lambda: connect("", ""))
        kubeconfig(config, f"http://{address}")
        with pytest.raises(EngineAway, match="does not answer"):
            api.raw("GET", "/api", "asking", headers={}, timeout=BRIEF, silence=silence)


def test_fault_52_an_error_on_a_stream_that_drips_ends(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REQUEST_TIMEOUT", BRIEF)
    head = HTTP.replace(b"200 OK", b"404 Not Found")
    with dripping(lambda _: (head, b" ")) as address, soon():
        kubeconfig(config, f"http://{address}")
        with pytest.raises(EngineAway, match="does not answer"):
            KubeApi(lambda: connect("", "")).follow("hello-1")


def test_fault_52_a_watch_without_a_change_is_started_again(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube_api, "WATCH_SECONDS", 0)
    monkeypatch.setattr(kube_api, "WATCH_SLACK", BRIEF)
    lists: list[str] = []

    def answer(request: bytes) -> Says:
        if b"watch=true" in request:
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n\n\r\n"
        lists.append(f"hello-{len(lists)}")
        body = json.dumps(listing(lists[-1])[1])
        return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode(), b""

    with dripping(answer) as address:
        kubeconfig(config, f"http://{address}")
        with WatchedObjects(KubeApi(lambda: connect("", "")), ("Pod",), {}) as watched:
            until(
                lambda: [one["metadata"]["name"] for one in watched.objects("Pod")] not in ([], ["hello-0"])
            )
            assert watched.breaks


def test_fault_52_a_port_of_a_pod_is_not_waited_for(config: Path) -> None:
    with dripping(lambda _: (b"HTTP/1.1 101 Switching Protocols\r\nX: ", b"y")) as address, soon():
        kubeconfig(config, f"http://{address}")
        with pytest.raises(EngineAway, match="did not answer in time"):
            check_port(KubeApi(lambda: connect("", "")), "hello-1", 80, BRIEF)
    until(lambda: left_behind() == 0)


def test_fault_52_a_program_for_credentials_that_hangs_is_not_waited_for(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "EXEC_WITHIN", BRIEF)
    document = json.loads(kubeconfig(config, "http://127.0.0.1:9").read_text())
    helper = {"apiVersion": "client.authentication.k8s.io/v1", "command": "sleep", "args": ["3"]}
    document["users"][0]["user"] = {"exec": {**helper, "interactiveMode": "Never"}}
    config.write_text(json.dumps(document))
    with pytest.raises(EngineAway, match="program for the cluster's credentials did not end within"):
        KubeApi(lambda: connect("", "")).find("Pod", {})
    until(lambda: left_behind() == 0)


# ── the proxy, receivers, TLS ────────────────────────────────────────────────


def test_fault_34_a_control_socket_that_drips_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "TIMEOUT", BRIEF)
    with ExitStack() as stack:
        stack.enter_context(dripping(lambda _: (b"", b"x"), str(folder / control.SOCKET)))
        stack.enter_context(soon())
        with pytest.raises(TryAgain, match="did not answer `show info`"):
            control.Control(folder).ask("show info")


def test_fault_49_a_receivers_handshake_that_drips_ends() -> None:
    with ExitStack() as stack:
        address = stack.enter_context(dripping(lambda _: (b"\x16\x03\x03\x40\x00", b"\x02")))
        stack.enter_context(soon())
        with pytest.raises(TryAgain, match=f"no answer within {BRIEF:g} s"):
            HttpPost().send(f"https://{address}/secret", b"{}", {}, BRIEF)


def test_fault_49_a_receivers_name_that_is_looked_up_for_ever_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()

    def look_up(*_: object) -> list[Any]:
        over.wait()
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        with soon(), pytest.raises(TryAgain, match=f"no answer within {BRIEF:g} s"):
            HttpPost().send("http://receiver.example.com/secret", b"{}", {}, BRIEF)
    finally:
        over.set()
        until(lambda: left_behind() == 0)


def test_fault_52_an_answer_over_tls_ends(folder: Path) -> None:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", certificate, "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    pools = PoolManager(ca_certs=str(certificate))
    keep_pools_to_deadline(pools)
    with ExitStack() as stack:
        address = stack.enter_context(dripping(tls=context))
        stack.enter_context(soon())
        stack.enter_context(within(BRIEF))
        with pytest.raises(ReadTimeoutError):
            pools.request("GET", f"https://{address}/", timeout=Timeout(5), retries=False)
