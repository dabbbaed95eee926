"""The connection to a command's input and output, once the Engine has turned a request into one."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import requests

from pipeline.adapters.docker_api.container_calls import frames

CHUNK = 1 << 16
STDOUT = 1


class Attached:
    """``terminal``: its output is not divided into stdout and stderr."""

    def __init__(self, response: requests.Response, terminal: bool) -> None:
        raw: Any = response.raw
        # The buffered reader: the first output may have come in one packet with the answer's head.
        self._response, self._stream, self._terminal = response, raw._fp.fp, terminal
        self._socket: socket.socket = self._stream.raw._sock
        self._socket.settimeout(None)
        self._writing = threading.Lock()
        self._ended = False  # the input

    def output(self) -> Iterator[tuple[int, bytes]]:
        """Pieces as they come, each 1 for stdout or 2 for stderr, until the command ends or ``close``."""
        with contextlib.suppress(OSError, ValueError):
            if self._terminal:
                while piece := self._stream.read1(CHUNK):
                    yield STDOUT, piece
            else:
                yield from frames(self._stream.read)

    def write(self, data: bytes) -> None:
        """Waits until the command has room for it."""
        with self._writing, contextlib.suppress(OSError, ValueError):
            if not self._ended:
                self._socket.sendall(data)

    def end_input(self) -> None:
        """The command reads the end of its input. Idempotent."""
        with self._writing, contextlib.suppress(OSError, ValueError):
            if not self._ended:
                self._ended = True
                if not isinstance(self._socket, ssl.SSLSocket):  # TLS has no half that can be closed alone
                    self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Ends a read or a write of another thread as well. Idempotent."""
        with contextlib.suppress(OSError, ValueError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError, ValueError):
            self._response.close()
