"""What a stranger or the holder of a token can try. Each goes on until it is told to end; none sends to anything but
the service under attack, and each keeps to a fixed number of connections.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import cycle

from tests.attack.target import NOISY, PATIENCE, SLOW, Target, unique
from tests.support.developer import web

CONNECTIONS = 110  # more than the service has threads
Act = Callable[[Target, threading.Event], None]


@dataclass(frozen=True)
class Attack:
    """``least``: seconds that it goes on at least."""

    name: str
    title: str
    act: Act
    least: float = 0.0


ATTACKS: dict[str, Attack] = {}


def attack(name: str, title: str, least: float = 0.0) -> Callable[[Act], Act]:
    def register(act: Act) -> Act:
        ATTACKS[name] = Attack(name, title, act, least)
        return act

    return register


# ── connections that are slow ────────────────────────────────────────────────


def drip(target: Target, over: threading.Event, head: bytes, rest: bytes = b"a", pause: float = 1.0) -> None:
    """Keeps CONNECTIONS of them: sends ``head``, then a byte after each pause; one that was ended is made again."""
    pieces = cycle(rest[n : n + 1] for n in range(len(rest)))
    held: list[socket.socket] = []
    try:
        while not over.is_set():
            for sock in list(held):
                try:
                    sock.send(next(pieces))
                except OSError:
                    sock.close()
                    held.remove(sock)
            while len(held) < CONNECTIONS and not over.is_set():
                try:
                    sock = socket.create_connection(target.address, 2)
                    sock.sendall(head)
                    sock.setblocking(False)
                    held.append(sock)
                except OSError:
                    break  # the next round tries again
            over.wait(pause)
    finally:
        for sock in held:
            sock.close()


@attack("pipelined-head", f"{CONNECTIONS} connections: a whole request, and the next one byte by byte")
def pipelined_head(target: Target, over: threading.Event) -> None:
    drip(target, over, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HTTP/1.1\r\nX: ")


@attack("slow-head", f"{CONNECTIONS} connections: a head byte by byte")
def slow_head(target: Target, over: threading.Event) -> None:
    drip(target, over, b"GET /healthz HTTP/1.1\r\nX: ")


@attack("no-body", f"{CONNECTIONS} connections: a webhook's head, and no body")
def no_body(target: Target, over: threading.Event) -> None:
    drip(target, over, b"POST /hooks/github HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n")


@attack("slow-login", f"{CONNECTIONS} connections: a login's body byte by byte")
def slow_login(target: Target, over: threading.Event) -> None:
    head = b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    drip(target, over, head + b"Content-Length: 9000\r\n\r\n")


@attack("slow-get-body", f"{CONNECTIONS} connections: a GET with a body, byte by byte")
def slow_get_body(target: Target, over: threading.Event) -> None:
    drip(target, over, b"GET /login HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n")


@attack("slow-fetch", f"{CONNECTIONS} fetches of a viewer, byte by byte")
def slow_fetch(target: Target, over: threading.Event) -> None:
    login = base64.b64encode(f"me:{target.viewer}".encode())
    head = b"POST /git/shop.git/git-upload-pack HTTP/1.1\r\nHost: a\r\nAuthorization: Basic " + login
    head += b"\r\nContent-Type: application/x-git-upload-pack-request\r\nContent-Length: 90000\r\n\r\n"
    drip(target, over, head)


# ── much at once ─────────────────────────────────────────────────────────────


def ask(target: Target, method: str, path: str, body: bytes = b"", **headers: str) -> int:
    """The status of one request, 0 if there was none. Its answer is read to the end, and noted."""
    connection = http.client.HTTPConnection(*target.address, timeout=PATIENCE)
    try:
        connection.request(
            method, path, body, {name.replace("_", "-"): text for name, text in headers.items()}
        )
        answer = connection.getresponse()
        while answer.read(1 << 16):
            pass
        target.took(answer.status, str(answer.headers), f"{method} {path[:60]} {body[:60]!r}")
        return answer.status
    except (OSError, http.client.HTTPException):
        target.answers[0] += 1
        return 0
    finally:
        connection.close()


def crowd(over: threading.Event, number: int, act: Callable[[], None]) -> None:
    """``number`` threads that act again and again."""

    def go_on() -> None:
        while not over.is_set():
            act()

    with ThreadPoolExecutor(number) as pool:
        for future in [pool.submit(go_on) for _ in range(number)]:
            future.result()


DRIPS = """#!/bin/sh
printf 'Content-Type: text/plain\\r\\nContent-Length: 2000\\r\\n\\r\\n'
for second in $(seq 300); do printf x; sleep 1; done
"""


@attack("dripping-checks", f"{len(SLOW)} applications whose answer to a check has no end")
def dripping_checks(target: Target, over: threading.Event) -> None:
    service, pushing = target.service, []
    for name in SLOW:
        clone = service.repository(name)
        clone.commit(web(unique(), **{"www/cgi-bin/drips": DRIPS}), "Slow")
        pushing.append(clone.started("push", "pushlive", "main"))
    over.wait()
    for name, one in zip(SLOW, pushing, strict=True):
        service.pushlive("cancel", name, code=None)
        one.communicate(timeout=PATIENCE)


# ── broken grammar and odd texts ─────────────────────────────────────────────

HOOK = b"POST /hooks/github HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
CHUNKED = HOOK + b"Transfer-Encoding: chunked\r\n\r\n"
BROKEN = (
    CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
    CHUNKED + b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n",
    CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    CHUNKED + b"2;" + b"a" * 200_000 + b"\r\n{}\r\n0\r\n\r\n",
    CHUNKED + b"0\r\n" + b"a: b\r\n" * 5_000 + b"\r\n",
    CHUNKED + b"ffffffffffffffffff\r\n",
    CHUNKED + b"\xff\r\n",
    HOOK + b"Content-Length: +2\r\n\r\n{}",
    HOOK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    HOOK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HOOK + b"Transfer-Encoding: gzip\r\n\r\n{}",
    HOOK + b": empty\r\n\r\n",
    b"GET /%0a%1b[2Jforged%20line HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: \xff\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    b"\x00\x01\x02\r\n\r\n",
)


@attack("broken-grammar", "HTTP that is broken at each place")
def broken_grammar(target: Target, over: threading.Event) -> None:
    for request in cycle(BROKEN):
        if over.wait(0.02):
            return
        with suppress(OSError), ExitStack() as stack:
            sock = stack.enter_context(target.connect())
            sock.settimeout(5)
            with suppress(OSError):  # ended before all of it was sent
                sock.sendall(request)
                sock.shutdown(socket.SHUT_WR)
            head = sock.recv(4096).decode("latin-1")
            if head.startswith("HTTP/"):
                target.took(int(head.split()[1]), head, repr(request[:80]))


TEXTS = ("\ud800", "\x00", "a" * 1_000_000, "\u202e", "💥", "-1", "--all", "../../etc/passwd", "")
VALUES = (*TEXTS, None, True, -1, 10**400, 1e308, [], {}, [[[]]])
CALLS = (
    ("POST", f"/api/pipelines/{NOISY}/deploy", ("commit", "reason", "environment")),
    ("POST", f"/api/pipelines/{NOISY}/revert", ("to", "reason", "environment")),
    ("POST", f"/api/pipelines/{NOISY}/hold", ("reason", "environment")),
    ("POST", f"/api/pipelines/{NOISY}/unquarantine", ("release", "environment", "reason")),
    ("POST", f"/api/pipelines/{NOISY}/withdraw", ("run", "release", "environment", "reason")),
    ("POST", "/api/tokens", ("name", "role", "expires")),
)


def odd_calls() -> Iterator[tuple[str, str, bytes]]:
    for method, path, names in CALLS:
        for name in names:
            for value in VALUES:
                yield method, path, json.dumps({name: value}).encode()
    for path in ("/api/runs?limit=1e9", "/api/runs?limit=abc", "/api/runs?after=%ff", "/api/audit?after=x"):
        yield "GET", path, b""


@attack("odd-values", "every kind of text and number in every field, with a developer's token")
def odd_values(target: Target, over: threading.Event) -> None:
    headers = {"Authorization": f"Bearer {target.developer}", "Content_Type": "application/json"}
    for method, path, body in cycle(odd_calls()):
        if over.wait(0.01):
            return
        ask(target, method, path, body, **headers)
