"""Clients that keep asking and count every answer: kept-alive, fresh, and slow ones."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable


class Load:
    """Use as a context manager; ``answers`` counts each kind of answer, ``failures`` holds all that went wrong.

    ``count``: from a body to what is counted; it raises ValueError where the body is not as it must be.
    ``pause``: seconds between two requests of one client.
    """

    def __init__(
        self, port: int, count: Callable[[str], str], host: str = "127.0.0.1", pause: float = 0.0
    ) -> None:
        self._port, self._count, self._host, self._pause = port, count, host, pause
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []

    def kept_alive(self, clients: int, path: str = "/?text") -> Load:
        """Clients that each use one connection for all; a connection that ends is a failure."""
        return self._add(clients, self._keep_asking, path)

    def fresh(self, clients: int, path: str = "/?text") -> Load:
        """Clients with a new connection for each request."""
        return self._add(clients, self._ask_anew, path)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(20)

    def reached(self, more: int) -> Callable[[], bool]:
        """A condition: so many more answers than now."""
        wanted = self.answers.total() + more
        return lambda: self.answers.total() >= wanted or bool(self.failures)

    def _add(self, clients: int, act: Callable[[str], None], path: str) -> Load:
        self._threads += [threading.Thread(target=act, args=(path,), daemon=True) for _ in range(clients)]
        return self

    def _keep_asking(self, path: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        connection.connect()
        first = connection.sock
        while not self._over.is_set():
            self._ask(connection, path)
            self._over.wait(self._pause)
            if connection.sock is not first:
                self.failures.append("a kept-alive connection was ended")
                return
        connection.close()

    def _ask_anew(self, path: str) -> None:
        while not self._over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            self._ask(connection, path)
            connection.close()
            self._over.wait(self._pause)

    def _ask(self, connection: http.client.HTTPConnection, path: str) -> None:
        began = time.monotonic()
        try:
            connection.request("GET", path, headers={"Host": self._host})
            answer = connection.getresponse()
            body = answer.read().decode()
            if answer.status != 200:
                raise ValueError(f"{answer.status} {body}")
            self.answers[self._count(body)] += 1
        except (OSError, http.client.HTTPException, ValueError) as error:
            after = time.monotonic() - began
            at = time.strftime("%H:%M:%S", time.gmtime())
            self.failures.append(f"{path}: {type(error).__name__} {error} after {after:.2f} s, at {at}")
            self._over.wait(0.1)


class KeptAlive(threading.Thread):
    """A client that uses one connection until an answer says that it is the last one; then it opens another."""

    def __init__(self, port: int, path: str, host: str = "127.0.0.1") -> None:
        super().__init__(daemon=True)
        self.port, self.path, self.host = port, path, host
        self.answers, self.moved, self.failures = 0, 0, list[str]()
        self.over = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        while not self.over.wait(0.01):
            try:
                connection.request("GET", self.path, headers={"Host": self.host})
                answer = connection.getresponse()
                self.moved += answer.will_close
                if b"release=r1" not in answer.read() or answer.status != 200:
                    self.failures.append(str(answer.status))
                self.answers += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
        connection.close()

    def end(self) -> None:
        self.over.set()
        self.join(20)


def release_of(body: str) -> str:
    """``r17`` out of the sample application's line."""
    return next(word for word in body.split() if word.startswith("release=")).removeprefix("release=")


def environment_of(body: str) -> str:
    """The GREETING that tells one environment's containers from another's."""
    return body.split()[0]
