"""A way to a server's HTTP API that keeps what was said to it: the requests that make, start and change things."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

Address = str | tuple[str, int]  # a Unix socket's path, or a host and a port
_REQUEST = re.compile(rb"^([A-Z]+) (\S+) HTTP/1\.1\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


class Request(NamedTuple):
    """One request; ``body`` is None if it had none."""

    method: str
    path: str
    query: str
    body: Any


class Tap:
    """Leads every connection to ``address`` on to ``server``. ``wanted``: what to keep, by method and path."""

    def __init__(self, address: Address, server: Address, wanted: re.Pattern[str]) -> None:
        self.requests: list[Request] = []
        self._server, self._wanted = server, wanted
        self._listener = socket.socket(_family(address))
        self._listener.bind(address)
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(_family(self._server))
                far.connect(self._server)
                threading.Thread(target=self._ask, args=(near, far), daemon=True).start()
                threading.Thread(target=_carry, args=(far, near), daemon=True).start()

    def _ask(self, near: socket.socket, far: socket.socket) -> None:
        said = bytearray()
        with suppress(OSError):
            while piece := near.recv(65536):
                said += piece
                self._keep(said)
                far.sendall(piece)
        with suppress(OSError):
            far.shutdown(socket.SHUT_WR)

    def _keep(self, said: bytearray) -> None:
        """Takes whole requests from the front. What is streamed is passed over."""
        while (end := said.find(b"\r\n\r\n") + 4) > 3:
            head = bytes(said[:end])
            found, length = _REQUEST.match(head), _LENGTH.search(head)
            if not found or b"chunked" in head.lower():
                said.clear()
                return
            end += int(length[1]) if length else 0
            if len(said) < end:
                return
            body = bytes(said[len(head) : end])
            del said[:end]
            method, (path, _, query) = found[1].decode(), found[2].decode().partition("?")
            if self._wanted.search(f"{method} {path}"):
                self.requests.append(Request(method, path, query, json.loads(body or b"null")))

    def close(self) -> None:
        self._listener.close()


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_UNIX if isinstance(address, str) else socket.AF_INET


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError), source:
        while piece := source.recv(65536):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def tapped(address: Address, server: Address, wanted: str) -> Iterator[Tap]:
    one = Tap(address, server, re.compile(wanted))
    try:
        yield one
    finally:
        one.close()
