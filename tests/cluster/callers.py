"""Clients of a Service, with every answer counted. Some keep one connection for as long as the server does, others open
a new one for each request."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from dataclasses import dataclass

from tests.support.waiting import until

PAUSE = 0.02  # seconds between two requests of one client
# What a client sees on an idle connection that the server closed: it repeats the request once.
CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


@dataclass(frozen=True)
class Answered:
    """One answer. ``asked``: when, on the monotonic clock; for a repeated request, when it was repeated."""

    client: str
    release: str
    asked: float


class Callers:
    """Use it as a context manager. ``answers``: all of them, in order; ``lost``: requests without an answer;
    ``moved``: how often each client with a kept connection had to open another one."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._over = threading.Event()
        self._threads: dict[str, threading.Thread] = {}
        self.answers: list[Answered] = []
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
        """Waits until each client has an answer to a request that it sends from now on; returns the time of now."""
        now = time.monotonic()
        until(lambda: self.since(now).keys() == self._threads.keys() or self.lost, 30)
        assert not self.lost, self.lost
        return now

    def since(self, moment: float) -> dict[str, set[str]]:
        """The releases that answered requests since that moment, by client."""
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
            asked = time.monotonic()
            try:
                self._ask(connection, name, path)
            except (OSError, http.client.HTTPException, ValueError) as error:
                where = "its answer" if connection.sock else "a connection"
                said = f"{type(error).__name__} {error}, waiting for {where}"
                self.lost.append(f"{name}, from {asked:.2f} to {time.monotonic():.2f}: {said}")
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
            self.moved[name] += connection.sock is None  # closed by the server together with its answer

    def _exchange(self, connection: http.client.HTTPConnection, name: str, path: str) -> None:
        asked = time.monotonic()
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        if answer.status != 200:
            raise ValueError(f"{answer.status} {body[:200]}")
        self.answers.append(Answered(name, body, asked))
