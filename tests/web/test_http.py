"""HTTP/1.1 as clients speak it, by the byte."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.web.test_server import DEVELOPER, Service, serving

HOST = b"Host: localhost\r\n"
TOKEN = f"Authorization: Bearer {DEVELOPER}\r\n".encode()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("http"), pace=0.0) as running:
        yield running


def said(service: Service, *pieces: bytes) -> bytes:
    """Everything that the server sends until it closes the connection."""
    answer = b""
    with service.connect() as sock:
        for piece in pieces:
            sock.sendall(piece)
        while chunk := sock.recv(65536):
            answer += chunk
    return answer


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", answer)]


def test_requests_of_one_connection_are_answered_in_order(service):
    one = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
    two = b"GET /nothing HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    assert statuses(said(service, one * 3 + two)) == [200, 200, 200, 404]


def test_a_head_request_has_no_body(service):
    answer = said(service, b"HEAD /healthz HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert statuses(answer) == [200]
    assert answer.endswith(b"\r\n\r\n")


def test_http_1_0_ends_with_the_connection(service):
    path = b"GET /api/runs/hello/latest/events HTTP/1.0\r\n"
    service.get("/api/pipelines/hello/deploy", b"{}")
    answer = said(service, path + HOST + TOKEN + b"\r\n")
    assert b"chunked" not in answer
    assert answer.splitlines()[-1].startswith(b'{"end"')


def test_a_body_is_asked_for_only_if_it_is_read(service):
    head = (
        b"POST /api/pipelines/hello/hold HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: 2\r\nExpect: 100-continue\r\n"
    )
    assert statuses(said(service, head + b"\r\n")) == [401]
    with service.connect() as sock:
        sock.sendall(head + TOKEN + b"Connection: close\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 100 ")
        sock.sendall(b"{}")
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")


def test_an_address_as_the_target_is_understood(service):
    head = b"GET http://localhost/healthz HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    assert statuses(said(service, head)) == [200]


def test_headers_with_an_underscore_are_ignored(service):
    head = b"GET /api/status HTTP/1.1\r\n" + HOST + TOKEN.replace(b"Authorization", b"Authori_zation")
    assert statuses(said(service, head + b"Connection: close\r\n\r\n")) == [401]


GET = b"GET /healthz HTTP/1.1\r\n"
NOT_HTTP = {
    "no request": b"hello\r\n\r\n", "no host": GET + b"\r\n", "two hosts": GET + HOST * 2 + b"\r\n",
    "binary": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "nul": b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n",
    "two lengths": b"POST /login HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "length and chunks": b"POST /login HTTP/1.1\r\n" + HOST
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another encoding": b"POST /login HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n",
    "a length that is no number": b"POST /login HTTP/1.1\r\n" + HOST + b"Content-Length: 1_0\r\n\r\n",
    "a length of 5000 digits": b"POST /login HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "a name with a space": GET + HOST + b"X A: b\r\n\r\n", "a folded first line": GET + b" x: y\r\n" + HOST + b"\r\n",
}  # fmt: skip


@pytest.mark.parametrize("head", NOT_HTTP.values(), ids=NOT_HTTP)
def test_fault_04_what_is_not_http_is_answered_400(service, head):
    assert 400 <= statuses(said(service, head))[0] < 500


CHUNKS = {
    "hexadecimal prefix": b"0x2\r\n{}\r\n0\r\n\r\n", "underscore": b"1_0\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n",
    "sign": b"+2\r\n{}\r\n0\r\n\r\n", "no number": b"\r\n\r\n", "negative": b"-1\r\n",
    "extension of 200 kB": b"2;" + b"x" * 200_000 + b"\r\n{}\r\n0\r\n\r\n",
    "200 kB of trailers": b"2\r\n{}\r\n0\r\n" + b"a: bcd\r\n" * 25_000 + b"\r\n",
    "a size of 100 digits": b"f" * 100 + b"\r\n", "no line end": b"2\r\n{}0\r\n\r\n",
    "chunks of one byte": b"1\r\n \r\n" * 5000 + b"0\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize("path", [b"/hooks/github", b"/login", b"/api/pipelines/hello/hold"])
def test_fault_04_malformed_chunks_are_answered_400(service, chunks, path):
    head = b"POST " + path + b" HTTP/1.1\r\n" + HOST + TOKEN + b"Transfer-Encoding: chunked\r\n\r\n"
    assert statuses(said(service, head, chunks))[0] == 400
