"""The probe against real sockets on the loopback address."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from pipeline.adapters.http.probe import BODY, HttpProbe, ProxyProbe
from pipeline.domain.engine_types import Route
from pipeline.errors import EngineAway, NothingListens, TryAgain
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE


@contextmanager
def server(talk: Callable[[socket.socket, bytes], None]) -> Iterator[Route]:
    """Answers one connection after another; ``talk`` gets the request's bytes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    talk(connection, connection.recv(4096))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield Route(f"http://127.0.0.1:{listener.getsockname()[1]}", {"Host": "hello.localhost"})
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(2)


def test_an_answer_says_which_server_gave_it() -> None:
    asked: list[bytes] = []

    def talk(connection: socket.socket, request: bytes) -> None:
        asked.append(request)
        connection.sendall(
            b"HTTP/1.1 302 Found\r\nX-Pushlive-Server: e3-green/10.0.0.1:80\r\nLocation: /a\r\n\r\nhi"
        )

    with server(talk) as route:
        answer = HttpProbe().get(route, "/path?q=1", 1)
    assert (answer.status, answer.body, answer.headers["location"]) == (302, b"hi", "/a")
    assert answer.served_by == "e3-green/10.0.0.1:80"
    assert len(asked) == 1
    assert asked[0].startswith(b"GET /path?q=1 HTTP/1.1\r\n")
    assert asked[0].count(b"Host:") == 1
    assert b"Host: hello.localhost\r\n" in asked[0]
    assert b"Connection: close\r\n" in asked[0]


def test_interim_answers_are_skipped() -> None:
    """RFC 9110, 15.2: a client must be able to parse them, even if it does not expect any."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Pushlive-Server: e3-green/10.0.0.1:80\r\n\r\nhi"

    def talk(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n" + hints + hints + final)

    with server(talk) as route:
        answer = HttpProbe().get(route, "/", 5)
    assert (answer.status, answer.body, answer.served_by) == (200, b"hi", "e3-green/10.0.0.1:80")
    assert "link" not in answer.headers


def test_interim_answers_without_an_end_are_given_up_in_time() -> None:
    with (
        server(dripping(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n")) as route,
        pytest.raises(TryAgain, match="within"),
    ):
        HttpProbe().get(route, "/", 0.3)


def test_a_body_is_cut() -> None:
    def talk(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (BODY + 5000))

    with server(talk) as route:
        assert len(HttpProbe().get(route, "/", 5).body) == BODY


def dripping(head: bytes, piece: bytes, every: float = 0.02) -> Callable[[socket.socket, bytes], None]:
    """Sends ``piece`` again and again until the client closes."""

    def talk(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)
            time.sleep(every)

    return talk


OK = b"HTTP/1.1 200 OK\r\n"
ENDLESS = {
    "status-line": dripping(b"HTTP/1.1 200 ", b"O"),
    "headers": dripping(OK, b"X: y\r\n", 0.005),
    "one-header": dripping(OK + b"X: ", b"y"),
    "continue": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.0),
    "early-hints": dripping(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "body-with-length": dripping(OK + b"Content-Length: 2000\r\nConnection: close\r\n\r\n", b"x"),
    "body-without-length": dripping(OK + b"Connection: close\r\n\r\n", b"x"),
    "chunks": dripping(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "one-chunk": dripping(OK + b"Transfer-Encoding: chunked\r\n\r\n2000\r\n", b"x"),
    "chunk-size": dripping(OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"),
    "trailers": dripping(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    "redirect": dripping(b"HTTP/1.1 302 Found\r\nLocation: /a\r\nContent-Length: 2000\r\n\r\n", b"x"),
}


@pytest.mark.parametrize("talk", ENDLESS.values(), ids=ENDLESS)
def test_fault_50_an_answer_without_an_end_is_given_up_in_time(
    talk: Callable[[socket.socket, bytes], None],
) -> None:
    closed = threading.Event()

    def until_closed(connection: socket.socket, request: bytes) -> None:
        try:
            talk(connection, request)
        finally:
            closed.set()

    began = time.monotonic()
    with server(until_closed) as route:
        # 1xx answers other than 100 are taken for the answer itself, and endless trailers for none of its body
        with suppress(TryAgain):
            answer = HttpProbe().get(route, "/", 0.3)
            assert answer.status == 103 or answer.body == b""
        assert time.monotonic() - began < 3 * PATIENCE
        assert closed.wait(3)  # nothing keeps the connection


def reset(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi")


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        (dripping(OK, b"X: y\r\n"), "no complete answer within 0.2 s"),
        (lambda connection, _: time.sleep(0.4), "no complete answer within 0.2 s"),
        (lambda connection, _: connection.sendall(b"SSH-2.0-nonsense\r\n"), "SSH-2.0"),
        (lambda connection, _: None, "closed|reset|aborted"),
        (reset, "IncompleteRead|incomplete|broken"),
    ],
    ids=["drips", "hangs", "other-protocol", "closes", "breaks-off"],
)
def test_an_incomplete_answer_is_try_again_with_the_reason(
    talk: Callable[[socket.socket, bytes], None], said: str
) -> None:
    began = time.monotonic()
    with server(talk) as route, pytest.raises(TryAgain, match=f"(?i){said}"):
        HttpProbe().get(route, "/", 0.2)
    assert time.monotonic() - began < 3 * PATIENCE


def test_a_refused_connection_is_explained() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(TryAgain, match=f"127.0.0.1:{port}/: connection refused, nothing listens there"):
        HttpProbe().get(Route(f"http://127.0.0.1:{port}"), "/", 1)
    with pytest.raises(TryAgain, match=f"TCP 127.0.0.1:{port}: connection refused"):
        HttpProbe().tcp("127.0.0.1", port, 1)


def test_tcp_opens_and_closes() -> None:
    with server(lambda connection, _: None) as route:
        assert 0 <= HttpProbe().tcp("127.0.0.1", int(route.url.rpartition(":")[2]), 1) < 1


def test_a_proxy_that_is_not_there_is_told_from_an_application_that_does_not_listen() -> None:
    port = free_port()
    with pytest.raises(EngineAway, match="The proxy does not run"):
        ProxyProbe().get(Route(f"http://127.0.0.1:{port}", expect=("e0-blue/10.0.0.1:80",)), "/", 1)
    with pytest.raises(NothingListens):
        ProxyProbe().get(Route(f"http://127.0.0.1:{port}"), "/", 1)
