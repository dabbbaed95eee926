"""Listens for requests to environments that sleep, and wakes them.

The proxy tells an environment's index in a line, over a socket in its folder, and is answered at once: the request
waits in the proxy. What no proxy tells is looked for.
"""

from __future__ import annotations

import logging
import re
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from pipeline.domain.environment import Environment
from pipeline.errors import PushliveError
from pipeline.lib.sockets import listening
from pipeline.lib.text import printable_lines
from pipeline.maintenance.sleep.waker import Waker

CONCURRENT = 8  # environments that are woken at the same time
LINE = 1.0  # seconds for the line that tells which
LOOK = 2.0  # seconds between two looks for requests that no one told of
LONGEST = 16  # bytes of a line
SOCKET = "wake.sock"

log = logging.getLogger("pushlive.waker")


class Waking:
    """``folder``: the proxy's; ``owner``: the user and group that may connect."""

    def __init__(self, waker: Waker, folder: Path, owner: tuple[int, int] | None) -> None:
        self._waker, self._folder, self._owner = waker, folder, owner
        self._threads = ThreadPoolExecutor(CONCURRENT, thread_name_prefix="wake")
        self._busy: dict[str, Future[None]] = {}
        self._lock = threading.Lock()

    def loop(self, stop: threading.Event) -> None:
        """Until ``stop`` is set."""
        threading.Thread(target=self._look, args=(stop,), daemon=True, name="look-for-sleepers").start()
        with listening(self._folder, SOCKET, self._owner) as server:
            server.settimeout(0.5)
            while not stop.is_set():
                with suppress(TimeoutError, OSError):
                    one, _ = server.accept()
                    with one:
                        self._answer(one)

    def _answer(self, one: socket.socket) -> None:
        """Nothing is answered to what cannot be looked up: the proxy then says that no one wakes it."""
        one.settimeout(LINE)
        line = one.recv(LONGEST)
        if not (found := re.fullmatch(rb"e(\d{1,6})\n", line)):
            return
        try:
            environment = self._waker.at(int(found[1]))
        except PushliveError as error:
            _report(f"a request wants to wake an environment: {error}")
            return
        one.sendall(b"ok\n")
        if environment:
            self.wake(environment)

    def wake(self, environment: Environment) -> None:
        """In a thread; one for each environment."""
        with self._lock:
            busy = self._busy.get(environment.id)
            if busy is None or busy.done():
                self._busy[environment.id] = self._threads.submit(self._wake, environment)

    def _wake(self, environment: Environment) -> None:
        try:
            if self._waker.wake(environment):
                _report(f"{environment.id} was woken by a request")
        except PushliveError as error:
            _report(f"{environment.id} could not be woken: {error}")

    def _look(self, stop: threading.Event) -> None:
        while not stop.wait(LOOK):
            with suppress(PushliveError):  # the keeper reports a store or an engine that does not answer
                for environment in self._waker.wanted():
                    self.wake(environment)


def _report(text: str) -> None:
    for line in printable_lines(text):
        log.warning("%s", line)
