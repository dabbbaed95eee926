"""One request to ``git http-backend``, streamed in both directions."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Any

from pipeline.lib.text import summary

CHUNK = 64 * 1024
STOP_SECONDS = 3.0  # between SIGTERM and SIGKILL
MAX_HEADERS = 50

log = logging.getLogger("pushlive.git")


class BackendFailed(Exception):
    """git wrote no valid response."""


@dataclass
class Body:
    """What the client sends. ``limit`` in bytes; ``stop`` ends a read that waits for the client."""

    source: IO[bytes]
    limit: int
    stop: Callable[[], None] = lambda: None


class Exchange:
    """The process and its two streams. Iterate over the response body; ``close`` ends everything."""

    def __init__(self, env: Mapping[str, str], body: Body) -> None:
        self._body = body
        self._errors = TemporaryFile()  # noqa: SIM115 - closed in close()
        self._process = subprocess.Popen(
            ["git", "http-backend"],
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd="/",
            start_new_session=True,  # its children end with it, and our Ctrl-C does not reach it
        )
        self._pump = threading.Thread(target=self._send, name="git-body", daemon=True)
        self._pump.start()

    def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers. Raises BackendFailed; the process has ended then."""
        status = 200
        headers: dict[str, str] = {}
        for _ in range(MAX_HEADERS):
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
        raise BackendFailed("git http-backend wrote no valid headers")

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._stdout.read1(CHUNK):
            yield chunk

    def close(self) -> None:
        """Ends git's process group and stops reading the body. Idempotent."""
        if self._errors.closed:
            return
        code = self._end()
        self._stop_pump()
        self._errors.seek(0)
        if code and (stderr := self._errors.read(2000).decode("utf-8", "replace")):
            log.info("git http-backend exited with %s: %s", code, summary(stderr))
        self._errors.close()
        self._stdout.close()

    @property
    def _stdout(self) -> Any:
        return self._process.stdout

    def _send(self) -> None:
        stdin, sent = self._process.stdin, 0
        assert stdin is not None  # noqa: S101 - stdin is a pipe
        with contextlib.suppress(OSError, ValueError):  # one side is gone; close() cleans up
            while sent <= self._body.limit and (chunk := self._body.source.read(CHUNK)):
                sent += len(chunk)
                stdin.write(chunk)
                stdin.flush()
        with contextlib.suppress(OSError):
            stdin.close()

    def _end(self) -> int:
        try:
            return self._process.wait(0.05)  # usually it ends with its output
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
        return self._process.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _stop_pump(self) -> None:
        self._pump.join(0.05)
        if self._pump.is_alive():
            self._body.stop()  # the rest is not needed
        self._pump.join(STOP_SECONDS)
