"""Clients of a Service, every answer counted: some keep their one connection for as long as the server does, others
come anew each time."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from dataclasses import dataclass

from tests.support.waiting import until

PAUSE = 0.02  # seconds between two requests of one client
# How a kept-alive connection looks that the server closed while it waited: whoever asked then asks once more.
CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


@dataclass(frozen=True)
class Said:
    """One answer. ``asked``: when, on the monotonic clock; again where the first connection was closed."""

    client: str
    release: str
    asked: float


class Callers:
    """Use as a context manager. ``answers``: all of them in their order; ``lost``: what was asked and not answered;
    ``moved``: how often each client that keeps its connection had to make another one."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._over = threading.Event()
        self._threads: dict[str, threading.Thread] = {}
        self.answers: list[Said] = []
        self.lost: list[str] = []
        self.moved: Counter[str] = Counter()

    def kept(self, clients: int, path: str = "/") -> Callers:
        """Clients with one connection each."""
        return self._add("kept", clients, path, keep=True)

    def fresh(self, clients: int, path: str = "/") -> Callers:
        """Clients with a connection for each request."""
        return self._add("fresh", clients, path, keep=False)

    def __enter__(self) -> Callers:
        for thread in self._threads.values():
            thread.start()
        self.round()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads.values():
            thread.join(30)

    def round(self) -> float:
        """Waits until each client was answered something that it asked from now on; the moment of now."""
        now = time.monotonic()
        until(lambda: self.since(now).keys() == self._threads.keys() or self.lost, 30)
        assert not self.lost, self.lost
        return now

    def since(self, moment: float) -> dict[str, set[str]]:
        """The releases that answered what was asked from that moment on, by client."""
        found: dict[str, set[str]] = {}
        for one in tuple(self.answers):
            if one.asked >= moment:
                found.setdefault(one.client, set()).add(one.release)
        return found

    def _add(self, kind: str, clients: int, path: str, keep: bool) -> Callers:
        for number in range(clients):
            name = f"{kind}{path}{number}"
            self._threads[name] = threading.Thread(target=self._go, args=(name, path, keep), daemon=True)
        return self

    def _go(self, name: str, path: str, keep: bool) -> None:
        connection = http.client.HTTPConnection(self._address, 80, timeout=20)
        while not self._over.wait(PAUSE):
            try:
                self._ask(connection, name, path)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.lost.append(f"{name} at {time.monotonic():.2f}: {type(error).__name__} {error}")
                return
            if not keep:
                connection.close()
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, name: str, path: str) -> None:
        waited = connection.sock is not None
        try:
            self._exchange(connection, name, path)
        except CLOSED:
            connection.close()
            if not waited:
                raise
            self._exchange(connection, name, path)
            self.moved[name] += 1
        else:
            self.moved[name] += connection.sock is None  # closed with the answer, which it said

    def _exchange(self, connection: http.client.HTTPConnection, name: str, path: str) -> None:
        asked = time.monotonic()
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        if answer.status != 200:
            raise ValueError(f"{answer.status} {body[:200]}")
        self.answers.append(Said(name, body, asked))
