"""Real HTTP receivers on the loopback address, well and ill behaved, and the messenger's process that tells them."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from pipeline.adapters.http.post import HttpPost
from pipeline.config.settings import Secret
from pipeline.domain.run import Outcome
from pipeline.errors import TryAgain
from pipeline.notify import delivery
from pipeline.notify.delivery import Delivery, outages
from pipeline.ports.clock import SystemClock
from tests.support.receiver import OK, PATH, Talk, hangs, receiver, says
from tests.support.waiting import until
from workers.messages import Rounds


def drips(connection: socket.socket, _: bytes) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + 3000 * b"a":
        connection.sendall(bytes([byte]))
        time.sleep(0.2)


def continues(connection: socket.socket, _: bytes) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.05)


def floods(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n")
    for _number in range(160):
        connection.sendall(65536 * b"x")


def floods_the_head(connection: socket.socket, _: bytes) -> None:
    connection.sendall(
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(100_000)) + b"\r\n"
    )


def resets(connection: socket.socket, _: bytes) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


def unused() -> str:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return f"http://127.0.0.1:{one.getsockname()[1]}{PATH}"


# ── one message ──────────────────────────────────────────────────────────────


def send(url: str, timeout: float = 2.0) -> int:
    return HttpPost().send(url, b'{"a": 1}', {"Content-Type": "application/json", "X-One": "two"}, timeout)


def test_a_message_is_one_post_with_its_body() -> None:
    with receiver(says(OK)) as one:
        assert send(one.url + "?thread=7") == 200
        [request] = one.requests
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(f"POST {PATH}?thread=7 HTTP/1.1\r\n".encode())
    assert b"X-One: two" in head
    assert b"Connection: close" in head
    assert body == b'{"a": 1}'


@pytest.mark.parametrize("status", [204, 302, 404, 500])
def test_fault_49_the_status_is_returned_and_no_redirect_is_followed(status: int) -> None:
    with receiver(says(OK)) as elsewhere:
        answer = f"HTTP/1.1 {status} Whatever\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n"
        with receiver(says(answer.encode())) as one:
            assert send(one.url) == status
        assert elsewhere.requests == []


def test_fault_49_an_answer_of_10_MB_is_not_read() -> None:
    with receiver(floods) as one:
        assert send(one.url) == 200


@pytest.mark.parametrize(
    ("talk", "why"),
    [
        (hangs, "no answer within 0.5 s"),
        (drips, "no answer within 0.5 s"),
        (continues, "no answer within 0.5 s"),
        (floods_the_head, "headers"),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n"), "SSH-2.0"),
        (says(b""), ""),
        (resets, ""),
    ],
    ids=["hangs", "drips", "continues", "head", "not-http", "nothing", "resets"],
)
def test_fault_49_a_missing_answer_is_an_error_in_time_without_the_urls_path(talk: Talk, why: str) -> None:
    with receiver(talk) as one, pytest.raises(TryAgain) as caught:
        send(one.url, 0.5)
    assert why in caught.value.message
    assert caught.value.message.startswith("http://127.0.0.1:")
    assert "s3cr3t" not in f"{caught.value}{caught.value.__cause__}"


def test_fault_49_a_refused_connection_can_be_tried_again() -> None:
    with pytest.raises(TryAgain, match=r"^http://127\.0\.0\.1:\d+/…: connection refused"):
        send(unused())


def test_a_receiver_with_an_untrusted_certificate_gets_nothing(tmp_path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
         "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = listener.accept()
                with connection, context.wrap_socket(connection, server_side=True) as safe:
                    safe.recv(65536)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(TryAgain, match=r"(?i)certificate"):
            send(f"https://localhost:{listener.getsockname()[1]}{PATH}", 5)
        thread.join(5)


# ── the messenger ────────────────────────────────────────────────────────────


def config(*urls: str) -> str:
    entries = ", ".join(f"{{url: '{url}', when: [live, failed]}}" for url in urls)
    return f"notify: [{entries}]\npipelines: {{hello: {{environments: {{dev: , live: }}}}}}"


@contextmanager
def telling(world) -> Iterator[Rounds]:
    """What the messenger's process does, in a thread."""
    rounds = Rounds(Delivery(world.store, HttpPost(), SystemClock(), world.settings))
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(0.05):
            rounds.run()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield rounds
    finally:
        stop.set()
        thread.join(10)
        rounds.stop()


def test_the_signature_is_that_of_the_raw_body(make_world) -> None:
    with receiver(says(OK)) as one:
        world = make_world(config(one.url))
        world.settings = world.settings.model_copy(update={"notify_secret": Secret("grüße")})
        world.push("one")
        with telling(world):
            until(lambda: one.requests)
    head, _, body = one.requests[0].partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    own = hmac.new("grüße".encode(), body, hashlib.sha256).hexdigest()
    assert headers["X-Pushlive-Signature-256"] == f"sha256={own}"
    assert headers["X-Pushlive-Delivery"] == "hello#1/live" == json.loads(body)["id"]
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "talk",
    [hangs, drips, continues, floods, says(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"), None,
     says(b"HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")],
    ids=["hangs", "drips", "continues", "10MB", "500", "dead", "redirects"],
)  # fmt: skip
def test_fault_49_a_bad_receiver_delays_no_run_and_no_other_receiver(
    make_world, monkeypatch, talk: Talk | None
) -> None:
    monkeypatch.setattr(delivery, "TIMEOUT", 1.0)
    with receiver(talk or says(OK)) as bad, receiver(says(OK)) as good:
        if talk is None:
            bad.close()
        world = make_world(config(bad.url, good.url))
        with telling(world):
            for number in range(1, 6):  # carried while the bad one is being told of the ones before
                assert world.push(f"{number}").outcome == Outcome.LIVE
            until(lambda: len(good.requests) == 5)
            assert [one["id"] for one in good.bodies()] == [f"hello#{n}/live" for n in range(1, 6)]
            assert world.serving() == {"dev": 5, "live": 5}
            if talk is floods:  # it said 200: its message is delivered, whatever comes after
                until(lambda: len(bad.requests) == 5)
            else:
                until(lambda: outages(world.store), 20)
        for text in outages(world.store):
            assert "s3cr3t" not in text


def test_fault_49_a_receiver_that_comes_back_gets_everything_in_order(make_world) -> None:
    down = [True]

    def talk(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n" if down[0] else OK)

    with receiver(talk) as one:
        world = make_world(config(one.url))
        with telling(world):
            for number in range(3):
                world.push(f"{number}")
            until(lambda: len(one.requests) >= 2)
            down[0] = False
            until(lambda: world.store.outbox.receivers() == (), 20)
    ids = [str(body["id"]) for body in one.bodies()]
    assert ids[-3:] == ["hello#1/live", "hello#2/live", "hello#3/live"]
    assert set(ids[:-2]) == {"hello#1/live"}  # again and again, under its one id
