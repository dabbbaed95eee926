"""Connections that begin inside a container, on whatever machine its Engine is. The Engine's API carries them, so no
other port of that machine has to be reachable."""

from __future__ import annotations

import contextlib
import math
import re
import socket
import threading
import time
from typing import Any

from urllib3.connection import HTTPConnection
from urllib3.response import HTTPResponse

from pipeline.adapters.docker_api.api import DockerApi
from pipeline.adapters.docker_api.container_calls import frames
from pipeline.adapters.http.probe import REFUSED, ProxyProbe
from pipeline.domain.engine_types import Answer, Route
from pipeline.errors import EngineFailed, NothingListens, TryAgain
from pipeline.lib.sockets import DeadlineSocket

# What can relay bytes differs by image: netcat in those based on busybox or Alpine, bash in those based on Debian.
RELAY = (
    'if command -v nc >/dev/null 2>&1; then exec nc "$1" "$2"; fi; '
    'exec bash -c \'exec 3<>"/dev/tcp/$0/$1" && { cat <&0 >&3 & cat <&3; kill $!; }\' "$1" "$2"'
)
KNOCK = (
    'if command -v nc >/dev/null 2>&1; then exec nc -w "$3" "$1" "$2" -e true; fi; '
    'exec bash -c \'exec 3<>"/dev/tcp/$0/$1"\' "$1" "$2"'
)
SAID = 2000  # characters of a relay's error output that are kept
_STDERR = 2
# "nc: can't connect to remote host (172.20.0.2): Connection refused", "bash: connect: Connection refused"
_REFUSED = re.compile(r"Connection refused", re.I)


class Wire:
    """One connection. ``near`` is an ordinary socket, which the user closes; ``said``: the relay's error output."""

    def __init__(self, response: Any) -> None:
        near, self._own = socket.socketpair()
        self.near = DeadlineSocket.over(near)
        self.said = ""
        # urllib3's buffered reader: the first frame may have come in one packet with the answer's head.
        self._response, self._stream = response, response.raw._fp.fp
        self._far: socket.socket = self._stream.raw._sock
        self._far.settimeout(None)
        self._coming = threading.Thread(target=self._come, name="tunnel", daemon=True)
        self._coming.start()
        threading.Thread(target=self._go, name="tunnel", daemon=True).start()

    @property
    def refused(self) -> bool:
        """True if nothing listens at the other end."""
        return bool(_REFUSED.search(self.said))

    def _come(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for kind, data in frames(self._stream.read):
                if kind == _STDERR:
                    self.said = (self.said + data.decode(errors="replace"))[-SAID:]
                else:
                    self._own.sendall(data)
        _end(self._own, socket.SHUT_WR)

    def _go(self) -> None:
        """Until the near end is closed. The input of the application never ends before: many servers would take that
        for the end of the connection."""
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
    """Into one container, which must run and have a shell, and busybox's netcat or bash."""

    def __init__(self, api: DockerApi, container: str) -> None:
        self._api, self._container = api, container

    def open(self, host: str, port: int, choose: str = "") -> Wire:
        """A connection to what the container reaches under that address. If nothing listens there, the connection just
        ends. ``choose``: a piece of shell that may set ``$2``, another port. Raises TryAgain or EngineFailed if the
        container or its Engine is not available."""
        command = ["sh", "-c", choose + RELAY, "relay", host, str(port)]
        return Wire(self._api.attach(self._container, command))

    def knock(self, host: str, port: int, timeout: float) -> None:
        """Opens and closes a connection. Raises TryAgain if that failed, NothingListens if it was refused, EngineFailed
        as ``open`` does."""
        command = ["sh", "-c", KNOCK, "knock", host, str(port), str(math.ceil(timeout))]
        code, said = self._api.execute(self._container, command)
        if code and _REFUSED.search(said):
            raise NothingListens(f"TCP {host}:{port}: {REFUSED}.")
        if code:
            raise TryAgain(f"TCP {host}:{port}: {' '.join(said.split()) or 'no connection'}.")


class TunnelProbe(ProxyProbe):
    """See ``ports.Probe``; for applications that only that container reaches."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    def get(self, route: Route, path: str, timeout: float) -> Answer:
        try:
            return super().get(route, path, timeout)
        except EngineFailed as error:  # the tunnel's container is not available
            raise TryAgain(f"GET {route.url}{path}: {error.message}", advice=error.advice) from error

    def tcp(self, address: str, port: int, timeout: float) -> float:
        """The seconds include the time that the tunnel takes."""
        began = time.monotonic()
        try:
            self._tunnel.knock(address, port, timeout)
        except EngineFailed as error:
            raise TryAgain(f"TCP {address}:{port}: {error.message}", advice=error.advice) from error
        return time.monotonic() - began

    def _connection(self, host: str, port: int, timeout: float) -> HTTPConnection:
        return _TunnelConnection(self._tunnel, host, port, timeout)


class _TunnelConnection(HTTPConnection):
    """An HTTP connection whose socket is one end of a wire."""

    def __init__(self, tunnel: Tunnel, host: str, port: int, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout)
        self._exec_tunnel, self._seconds = tunnel, timeout
        self.wire: Wire | None = None

    def _new_conn(self) -> socket.socket:
        self.wire = self._exec_tunnel.open(self.host, self.port or 80)
        self.wire.near.settimeout(self._seconds)
        return self.wire.near

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # urllib3 overrides it in this way itself
        try:
            return super().getresponse()
        except OSError as error:
            if self.wire and self.wire.refused:
                raise ConnectionRefusedError from error
            raise
