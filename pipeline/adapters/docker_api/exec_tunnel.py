"""Connections that begin inside a container, on whatever machine its Engine is. The Engine's API carries them, so that
nothing else has to be reachable there."""

from __future__ import annotations

import contextlib
import math
import socket
import struct
import threading
import time
from typing import Any

from urllib3.connection import HTTPConnection
from urllib3.response import HTTPResponse

from pipeline.adapters.docker_api.api import DockerApi
from pipeline.adapters.docker_api.client import translate
from pipeline.adapters.http.probe import HttpProbe
from pipeline.domain.engine_types import Answer, Route
from pipeline.errors import EngineFailed, TryAgain

# What carries bytes differs from image to image: netcat in those made of busybox or Alpine, bash in Debian's.
RELAY = (
    'if command -v nc >/dev/null 2>&1; then exec nc "$1" "$2"; fi; '
    'exec bash -c \'exec 3<>"/dev/tcp/$0/$1" && { cat <&0 >&3 & cat <&3; kill $!; }\' "$1" "$2"'
)
KNOCK = (
    'if command -v nc >/dev/null 2>&1; then exec nc -w "$3" "$1" "$2" -e true; fi; '
    'exec bash -c \'exec 3<>"/dev/tcp/$0/$1"\' "$1" "$2"'
)
SAID = 2000  # characters of its complaints that are kept
_STDERR = 2


class Wire:
    """One connection. ``near`` is an ordinary socket, the user's to close; ``said``: what the relay complained of."""

    def __init__(self, response: Any) -> None:
        self.near, self._own = socket.socketpair()
        self.said = ""
        self._response, self._stream = response, response.raw._fp.fp
        self._far: socket.socket = self._stream.raw._sock
        self._far.settimeout(None)
        self._coming = threading.Thread(target=self._come, name="tunnel", daemon=True)
        self._coming.start()
        threading.Thread(target=self._go, name="tunnel", daemon=True).start()

    def _come(self) -> None:
        """The Engine's frames: 1 byte which stream, 3 bytes nothing, 4 bytes length, then so many bytes."""
        with contextlib.suppress(OSError, ValueError):
            while len(head := self._stream.read(8)) == 8:
                kind, length = struct.unpack(">BxxxL", head)
                data = self._stream.read(length)
                if kind == _STDERR:
                    self.said = (self.said + data.decode(errors="replace"))[-SAID:]
                else:
                    self._own.sendall(data)
        _end(self._own, socket.SHUT_WR)

    def _go(self) -> None:
        """Until the near end is closed. What the application is asked never ends before: many servers would take that
        for the end of it all."""
        with contextlib.suppress(OSError):
            while data := self._own.recv(1 << 16):
                self._far.sendall(data)
        _end(self._far)
        self._coming.join()
        self._own.close()
        self._response.close()


def _end(one: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(how)


class Tunnel:
    """Into one container, which must run and have a shell; busybox's netcat in it, or bash."""

    def __init__(self, api: DockerApi, container: str) -> None:
        self._api, self._container = api, container

    def open(self, host: str, port: int) -> Wire:
        """A connection to what the container reaches under that address. That nobody listens there is seen as the
        connection's end. Raises TryAgain or EngineFailed where the container or its Engine is away."""
        sdk: Any = self._api.sdk
        with translate(f"connecting through {self._container}"):
            command = ["sh", "-c", RELAY, "relay", host, str(port)]
            session = sdk.exec_create(self._container, command, stdin=True)["Id"]
            response = sdk._post_json(
                sdk._url("/exec/{0}/start", session), headers={"Connection": "Upgrade", "Upgrade": "tcp"},
                data={"Tty": False, "Detach": False}, stream=True,
            )  # fmt: skip
            sdk._raise_for_status(response)
            return Wire(response)

    def knock(self, host: str, port: int, timeout: float) -> str:
        """Opens and closes a connection; "" where it stood, else what was said."""
        sdk: Any = self._api.sdk
        with translate(f"connecting through {self._container}"):
            command = ["sh", "-c", KNOCK, "knock", host, str(port), str(math.ceil(timeout))]
            session = sdk.exec_create(self._container, command)["Id"]
            said = sdk.exec_start(session).decode(errors="replace")
            code = sdk.exec_inspect(session)["ExitCode"]
        return "" if code == 0 else " ".join(said.split()) or "no connection"


class TunnelProbe(HttpProbe):
    """The Probe for applications that only that container reaches."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    def get(self, route: Route, path: str, timeout: float) -> Answer:
        """See ``ports.Probe``."""
        try:
            return super().get(route, path, timeout)
        except EngineFailed as error:  # the container that the way leads through is away
            raise TryAgain(f"GET {route.url}{path}: {error.message}", advice=error.advice) from error

    def tcp(self, address: str, port: int, timeout: float) -> float:
        """See ``ports.Probe``; the seconds are with what the way there takes."""
        began = time.monotonic()
        try:
            said = self._tunnel.knock(address, port, timeout)
        except EngineFailed as error:
            raise TryAgain(f"TCP {address}:{port}: {error.message}", advice=error.advice) from error
        if said:
            raise TryAgain(f"TCP {address}:{port}: {_refused(said) or said}.")
        return time.monotonic() - began

    def _connection(self, host: str, port: int, timeout: float) -> HTTPConnection:
        return _Through(self._tunnel, host, port, timeout)


def _refused(said: str) -> str:
    """How a refused connection is called wherever we ask, since whoever waits for it looks for the word."""
    return "connection refused, nothing listens there" if "refused" in said.lower() else ""


class _Through(HTTPConnection):
    """An HTTP connection whose socket is one end of a wire."""

    def __init__(self, tunnel: Tunnel, host: str, port: int, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout)
        self._way, self._patience = tunnel, timeout
        self.wire: Wire | None = None

    def _new_conn(self) -> socket.socket:
        self.wire = self._way.open(self.host, self.port or 80)
        self.wire.near.settimeout(self._patience)
        return self.wire.near

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 itself has it
        try:
            return super().getresponse()
        except OSError as error:
            if self.wire and _refused(self.wire.said):
                raise ConnectionRefusedError from error
            raise
