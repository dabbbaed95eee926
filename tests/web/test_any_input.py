"""Requests that a generator makes, valid and broken, of each route and role: no answer is a failure of ours.

The suite makes the same requests in every run. New ones, for hours:

PUSHLIVE_GENERATE_SECONDS=7200 python -m pytest --timeout 8000 -s tests/web/test_any_input.py
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import re
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.waiting import PATIENCE
from tests.web.test_every_route import CHOICE, ROLES, RULES, VALUES
from tests.web.test_receivers import github, signed
from tests.web.test_server import Service, serving

SECONDS = float(os.environ.get("PUSHLIVE_GENERATE_SECONDS", "0"))
SEED = int(os.environ.get("PUSHLIVE_GENERATE_SEED", "0")) or (random.randrange(1 << 32) if SECONDS else 1)
REQUESTS = 5000  # without SECONDS
CHARACTERS = [
    "a",
    "\n",
    "\0",
    "\x1b",
    "%",
    "&",
    "=",
    "/",
    "..",
    "ä",
    "🚀",
    "\ud800",
    "\udfff",
    "\u2028",
    "'",
    '"',
    "{",
    "--",
    " ",
]
NUMBERS = [0, 1, -1, 42, 2**31, 2**53, 2**63, -(2**64), 10**30, 1.5, 1e308, float("inf"), float("nan")]
NAMES = [
    "environment",
    "to",
    "reason",
    "commit",
    "release",
    "config",
    "rebuild",
    "run",
    "value",
    "name",
    "role",
    "expires",
]
QUERIES = [
    "limit",
    "lines",
    "after",
    "pipeline",
    "environment",
    "service",
    "stage",
    "head",
    "version",
    "back",
]
HEADERS = ["Content-Type", "Accept", "Cookie", "Origin", "Last-Event-ID", "X-Forwarded-For", "Git-Protocol",
           "Content-Encoding", "Connection", "Upgrade", "Range", "If-Range", "If-None-Match", "Authorization",
           "X-Pushlive-Internal"]  # fmt: skip
PIECES = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b":",
    b"\xff",
    b"_",
    b"-1",
    b"0x1",
    b";",
    b",",
    b"chunked",
    b"9" * 40,
    b"\t",
    b"HTTP/1.0",
]


class Generator:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def request(self) -> bytes:
        """One request, or what is left of it."""
        whole = self._valid()
        for _ in range(self._random.choice([0, 0, 1, 1, 2, 5])):
            whole = self._broken(whole)
        return whole

    def _valid(self) -> bytes:
        route = self._random.choice(sorted(RULES))
        method, _, rule = route.partition(" ")
        if self._random.random() < 0.05:
            method = self._random.choice(["HEAD", "OPTIONS", "PUT", "PATCH", "CONNECT", "TRACE", "get", "X"])
        body = self._body() if method in ("POST", "PUT", "DELETE") or self._random.random() < 0.1 else b""
        lines = [
            f"{method} {self._path(rule)} HTTP/1.1",
            "Host: localhost",
            "Connection: close",
            *self._credentials(),
        ]
        if rule.startswith("/hooks/") and self._random.random() < 0.7:
            lines += [f"{name}: {value}" for name, value in signed(body).items()]
        if self._random.random() < 0.3:
            lines.append(f"{self._random.choice(HEADERS)}: {self._header_text()}")
        head = "\r\n".join(lines).encode("latin-1", "replace")
        if body and self._random.random() < 0.4:
            return head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + self._chunked(body)
        return head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    def _path(self, rule: str) -> str:
        path = CHOICE.sub(lambda match: self._random.choice(match[1].split(",")).strip(" '"), rule)
        path = re.sub(r"<(?:\w+:)?(\w+)>", self._part, path)
        pairs = [
            f"{self._random.choice(QUERIES)}={self._quoted()}"
            for _ in range(self._random.choice([0, 0, 1, 2]))
        ]
        return path + ("?" + "&".join(pairs) if pairs else "")

    def _part(self, match: re.Match[str]) -> str:
        usual = VALUES.get(
            match[1], self._random.choice(["git-upload-pack", "git-receive-pack", "revert", "hold"])
        )
        return usual if self._random.random() < 0.8 else self._quoted()

    def _credentials(self) -> list[str]:
        token = self._random.choice([*(f"{role}-token" for role in ROLES), "wrong", ""])
        basic = base64.b64encode(f"me:{token}".encode()).decode()
        return self._random.choice(
            [[], [f"Authorization: Bearer {token}"], [f"Authorization: Basic {basic}"]]
        )

    def _text(self) -> str:
        return "".join(self._random.choices(CHARACTERS, k=self._random.choice([0, 1, 3, 10, 300])))

    def _quoted(self) -> str:
        if self._random.random() < 0.3:
            return str(self._random.choice(NUMBERS))
        return quote(self._text(), safe="", errors="surrogatepass")

    def _header_text(self) -> str:
        begin = self._random.choice(["", "", "Basic ", "Bearer ", "bytes=", 'W/"'])
        return begin + re.sub(r"[\r\n\0]", "", self._text())

    def _value(self, depth: int = 0) -> Any:
        kind = self._random.randrange(7 if depth < 3 else 4)
        if kind == 0:
            return self._random.choice(NUMBERS)
        if kind == 1:
            return self._random.choice([None, True, False])
        if kind < 4:
            return self._text()
        if kind == 4:
            return [self._value(depth + 1) for _ in range(self._random.randrange(4))]
        return {self._random.choice([*NAMES, self._text()]): self._value(depth + 1) for _ in range(3)}

    def _body(self) -> bytes:
        kind = self._random.randrange(6)
        if kind == 0:
            return self._random.randbytes(self._random.choice([1, 30, 3000]))
        if kind == 1:
            return json.dumps(github() | self._fields()).encode()
        if kind == 2:
            pairs = [
                f"{self._random.choice([*NAMES, 'csrf', 'token', 'payload'])}={self._quoted()}"
                for _ in range(3)
            ]
            return "&".join(pairs).encode()
        return json.dumps(self._fields(), ensure_ascii=kind == 3).encode("utf-8", "surrogatepass")

    def _fields(self) -> dict[str, Any]:
        return {self._random.choice(NAMES): self._value() for _ in range(self._random.randrange(4))}

    def _chunked(self, body: bytes) -> bytes:
        at = self._random.randrange(len(body) + 1)
        parts = [part for part in (body[:at], body[at:]) if part]
        return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"

    def _broken(self, whole: bytes) -> bytes:
        at = self._random.randrange(len(whole) + 1)
        kind = self._random.randrange(5)
        if kind == 0:
            return whole[:at]
        if kind == 1:
            return whole[:at] + whole[at + self._random.choice([1, 2, 20]) :]
        if kind == 2:
            return whole[:at] + self._random.choice(PIECES) + whole[at:]
        if kind == 3:
            return whole[:at] + self._random.randbytes(1) + whole[at + 1 :]
        return whole[:at] + whole[max(0, at - 30) : at] * self._random.choice([1, 2, 500]) + whole[at:]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("any"), pace=0.0) as running:
        running.get("/api/pipelines/hello/deploy", b"{}")
        yield running


def answer_to(service: Service, request: bytes) -> bytes:
    """All that the server sends. It waits for the rest of some requests, so ours ends with the connection."""
    answer = b""
    with service.connect() as sock, contextlib.suppress(ConnectionError):
        sock.settimeout(30 * PATIENCE)
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        while piece := sock.recv(65536):
            answer += piece
    return answer


def test_fault_04_no_request_makes_a_failure_of_ours(service):
    generator, end, count = Generator(SEED), time.monotonic() + SECONDS, 0
    statuses: dict[int, int] = {}
    while time.monotonic() < end if SECONDS else count < REQUESTS:
        request = generator.request()
        count += 1
        answer = answer_to(service, request)
        for status in map(int, re.findall(rb"^HTTP/1\.1 ([0-9]{3}) ", answer, re.M)):
            statuses[status] = statuses.get(status, 0) + 1
            wanted = status < 500 or (status == 503 and b"retry-after:" in answer.lower())
            assert wanted, f"seed {SEED}, request {count}:\n{request[:3000]!r}\n{answer[:1000]!r}"
    assert service.get("/healthz")[0] == 200
    assert "Traceback" not in service.log(), f"seed {SEED}:\n{service.log()[-3000:]}"
    print(f"{count} requests, seed {SEED}: {dict(sorted(statuses.items()))}")  # noqa: T201 - by hand
    assert len(statuses) > 5


def test_the_generator_repeats_itself():
    one, two = Generator(7), Generator(7)
    assert [one.request() for _ in range(50)] == [two.request() for _ in range(50)]
