"""The server's second socket, on which our own proxy connects: it says who its client is."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.lib.sockets import listening
from tests.support.ports import free_port
from tests.support.waiting import until
from webhooks.server import Server
from webhooks.server.messages import Admission, BodyMode, Head, Sender
from webhooks.server.pools import PoolSize

SEEN = (
    "REMOTE_ADDR",
    "wsgi.url_scheme",
    "HTTP_X_PUSHLIVE_VISITOR",
    "HTTP_X_PUSHLIVE_SCHEME",
    "HTTP_X_FORWARDED_FOR",
)


class Site:
    """Answers with what it sees of its client."""

    def __init__(self) -> None:
        self.pools = {"all": PoolSize(threads=4, waiting=4, by_address=4, by_token=4)}
        self.senders: list[str] = []
        self.pause = threading.Event()
        self.pause.set()

    def app(self, environ: dict[str, Any], start: Any) -> list[bytes]:
        self.pause.wait(10)
        body = json.dumps({name: environ.get(name) for name in SEEN}).encode()
        start("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    def admit(self, head: Head) -> Admission:
        self.senders.append(head.peer[0])
        return Admission("all", Sender(head.peer[0]), BodyMode.BUFFERED, 1 << 20)

    def group(self, address: str) -> str:
        return address

    def count(self, what: str) -> None: ...


@contextmanager
def running(site: Site, folder: Path, port: int) -> Iterator[Server]:
    server = Server(f"127.0.0.1:{port}", lambda: site, by_proxy=partial(listening, folder, "web.sock", None))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert server.serving.wait(10)
    try:
        yield server
    finally:
        site.pause.set()
        with suppress(RuntimeError):  # a test has stopped it, and its loop is closed
            server.stop()
        thread.join(10)
        assert not thread.is_alive()


def asked(client: socket.socket, *headers: str, body: bytes = b"") -> dict[str, Any]:
    send(client, *headers, body=body)
    return read(client)


def send(client: socket.socket, *headers: str, body: bytes = b"") -> None:
    lines = [
        "POST / HTTP/1.1",
        "Host: x",
        "Connection: close",
        f"Content-Length: {len(body)}",
        *headers,
        "",
        "",
    ]
    client.sendall("\r\n".join(lines).encode() + body)


def read(client: socket.socket) -> dict[str, Any]:
    text = b"".join(iter(partial(client.recv, 65536), b""))
    assert text.startswith(b"HTTP/1.1 200"), text
    found: dict[str, Any] = json.loads(text.partition(b"\r\n\r\n")[2])
    return found


def by_proxy(folder: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(str(folder / "web.sock"))
    return client


def test_what_the_proxy_says_is_believed_on_its_socket_alone(tmp_path: Path) -> None:
    site, port = Site(), free_port()
    told = ("X-Pushlive-Visitor: 203.0.113.9", "X-Pushlive-Scheme: https")
    with running(site, tmp_path, port):
        with by_proxy(tmp_path) as client:
            found = asked(client, *told, body=b"a body")
        assert found == {**dict.fromkeys(SEEN), "REMOTE_ADDR": "203.0.113.9", "wsgi.url_scheme": "https"}
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            found = asked(client, *told)
        assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"]) == ("127.0.0.1", "http")
    assert site.senders == ["203.0.113.9", "127.0.0.1"]


@pytest.mark.parametrize("pending", [1, 40])
def test_what_waits_when_the_server_stops_is_answered(tmp_path: Path, pending: int) -> None:
    site = Site()
    with running(site, tmp_path, free_port()) as server:
        clients = [by_proxy(tmp_path) for _ in range(pending)]
        for client in clients[:4]:
            send(client, "X-Pushlive-Visitor: 203.0.113.9")
        until(lambda: len(site.senders) == min(4, pending))
        server.stop()
        for client in clients[:4]:
            assert read(client)["REMOTE_ADDR"] == "203.0.113.9"
        for client in clients:
            client.close()
