"""One request to ``git http-backend``, streamed in both directions."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Any

from pipeline.lib.text import summary

PIECE = 64 * 1024
STALL_SECONDS = 60.0  # a client that neither sends nor takes anything for so long is given up
END_SECONDS = 3.0  # how long git has after SIGTERM
HEAD_LINES = 50

log = logging.getLogger("pushlive.git")


class BackendFailed(Exception):
    """git answered nothing that could be passed on."""


@dataclass
class Body:
    """What the client sends. ``limit`` in bytes; ``sock`` is None when not under our server."""

    source: IO[bytes]
    sock: socket.socket | None
    limit: int


class Exchange:
    """The process, and the two streams. Iterate over the answer's body; ``close`` leaves nothing behind."""

    def __init__(self, env: Mapping[str, str], body: Body) -> None:
        self._body = body
        if body.sock is not None:
            body.sock.settimeout(STALL_SECONDS)
        self._errors = TemporaryFile()  # noqa: SIM115 - closed in close()
        self._process = subprocess.Popen(
            ["git", "http-backend"],
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd="/",
            start_new_session=True,  # so that its children end with it, and a Ctrl-C of ours does not
        )
        self._pump = threading.Thread(target=self._send, name="git-body", daemon=True)
        self._pump.start()

    def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers. Raises BackendFailed after cleaning up."""
        status = 200
        headers: dict[str, str] = {}
        for _ in range(HEAD_LINES):
            name, colon, value = self._stdout.readline(8192).decode("latin-1").strip().partition(":")
            if not name:
                return status, headers
            if not colon:
                break
            if name.lower() == "status":
                status = int(value.split()[0])
            else:
                headers[name] = value.strip()
        self.close()
        raise BackendFailed("git http-backend wrote no proper head")

    def __iter__(self) -> Iterator[bytes]:
        while piece := self._stdout.read1(PIECE):
            yield piece

    def close(self) -> None:
        """Ends git's whole process group, and the reading of the body. Twice is harmless."""
        if self._errors.closed:
            return
        code = self._end()
        self._stop_pump()
        self._errors.seek(0)
        if code and (said := self._errors.read(2000).decode("utf-8", "replace")):
            log.info("git http-backend ended with %s: %s", code, summary(said))
        self._errors.close()
        self._stdout.close()

    @property
    def _stdout(self) -> Any:
        return self._process.stdout

    def _send(self) -> None:
        stdin, sent = self._process.stdin, 0
        assert stdin is not None  # noqa: S101 - we asked for a pipe
        with contextlib.suppress(OSError, ValueError):  # either side went away: close() tidies up
            while sent <= self._body.limit and (piece := self._body.source.read(PIECE)):
                sent += len(piece)
                stdin.write(piece)
                stdin.flush()
        with contextlib.suppress(OSError):
            stdin.close()

    def _end(self) -> int:
        try:
            return self._process.wait(0.05)  # the usual case: its output has ended, and so has it
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGTERM)
        try:
            return self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
        return self._process.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _stop_pump(self) -> None:
        self._pump.join(0.05)
        if self._pump.is_alive() and self._body.sock is not None:
            with contextlib.suppress(OSError):
                self._body.sock.shutdown(socket.SHUT_RD)  # wakes it up: nobody wants the rest
        self._pump.join(END_SECONDS)
