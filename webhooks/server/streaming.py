"""How a thread of a pool reads a long body and sends a long answer: the loop does it, the thread waits."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Coroutine
from typing import Any, TypeVar

from webhooks.server.connection import Connection
from webhooks.server.messages import Reply

T = TypeVar("T")


class Bridge:
    """Also the ``wsgi.input`` of a streamed body. Every method raises ConnectionError once the client is gone, too
    slow, or sends what is not HTTP."""

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        self.begun = False
        self.broken = False  # the body did not arrive as it should
        self._connection, self._loop = connection, loop
        self._reading: concurrent.futures.Future[bytes] | None = None
        self._stopped = False

    def begin(self, reply: Reply) -> None:
        """Sends status and headers."""
        self.begun = self._connection.streaming = True
        self._wait(self._submit(self._connection.begin(reply)))

    def send(self, data: bytes) -> None:
        """Sends a piece of the body; returns once the client has taken it, or the kernel for it."""
        self._wait(self._submit(self._connection.send(data)))

    def read(self, _size: int = -1) -> bytes:
        """The next piece of the request's body, of any size; b"" at its end."""
        if self._stopped:
            return b""
        self._reading = self._submit(self._connection.next_chunk())
        try:
            return self._wait(self._reading)
        except ConnectionError:
            self.broken = not self._stopped
            raise

    def stop_reading(self) -> None:
        """Ends a ``read`` of another thread, and all later ones."""
        self._stopped = True
        if self._reading is not None:
            self._reading.cancel()

    def _submit(self, what: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        try:
            return asyncio.run_coroutine_threadsafe(what, self._loop)
        except RuntimeError as error:
            what.close()
            raise ConnectionAbortedError("the server has stopped") from error

    @staticmethod
    def _wait(future: concurrent.futures.Future[T]) -> T:
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise ConnectionAbortedError("reading was ended") from None
        except OSError as error:
            raise ConnectionAbortedError(str(error)) from error
