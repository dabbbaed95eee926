"""A command in a running container, over a WebSocket that the API server passes on to the node.

The protocol is ``v5.channel.k8s.io``: each message begins with its channel's number, 0 for input, 1 and 2 for output, 3
for the result and 4 for the terminal's size; 255 closes the channel that its second byte names. An API server that
knows only ``v4`` cannot close the input.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import websocket
from websocket import ABNF, WebSocketBadStatusException, WebSocketException

from pipeline.adapters.kubernetes.api.client import PERMISSIONS_ADVICE
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.port_forward import tls_options
from pipeline.adapters.kubernetes.names import CONTAINER
from pipeline.errors import AppFailed, EngineAway, EngineFailed, TryAgain
from pipeline.lib.bounded import Late, TooManyLeft, bounded

PROTOCOLS = ["v5.channel.k8s.io", "v4.channel.k8s.io"]
STDIN, STDOUT, STDERR, RESULT, SIZE, CLOSE = 0, 1, 2, 3, 4, 255
CONNECT = 15.0  # seconds
CHUNK = 32 << 10  # bytes of input in one message
ERRORS = (WebSocketException, OSError, ValueError)


def execute(
    api: KubeApi, pod: str, argv: Sequence[str], *, terminal: bool, container: str = CONTAINER
) -> ExecStream:
    """Starts the command. Raises EngineFailed if this account may not, TryAgain if the API server does not answer."""
    what = f"A command in {pod}"
    try:
        return bounded(
            lambda: ExecStream(_connect(api, pod, argv, terminal, container), what, terminal),
            CONNECT + 1,
            name=what,
        )
    except (Late, TooManyLeft):
        raise EngineAway(f"{what}: the Kubernetes API at {api.host} did not answer in time.") from None
    except WebSocketBadStatusException as error:
        if error.status_code in (401, 403):
            raise EngineFailed(
                f"{what}: the Kubernetes API answered {error.status_code}.", advice=PERMISSIONS_ADVICE
            ) from error
        raise TryAgain(f"{what}: the Kubernetes API answered {error.status_code}.") from error
    except ERRORS as error:
        raise EngineAway(
            f"{what}: the Kubernetes API at {api.host} does not answer ({' '.join(str(error).split())[:200]})."
        ) from error


def _connect(api: KubeApi, pod: str, argv: Sequence[str], terminal: bool, container: str) -> Any:
    headers: dict[str, str] = {}
    path = f"{api.path('Pod', pod)}/exec"
    client = api.cluster.client
    client.update_params_for_auth(headers, [], ["BearerToken"], path, "GET", None)
    query = {"container": container, "stdin": "true", "stdout": "true", "tty": str(terminal).lower()}
    query["stderr"] = str(not terminal).lower()
    words = urlencode([*query.items(), *(("command", word) for word in argv)])
    return websocket.create_connection(
        f"{api.host.replace('http', 'ws', 1)}{path}?{words}",
        timeout=CONNECT,
        header=[f"{name}: {value}" for name, value in headers.items()],
        subprotocols=PROTOCOLS,
        sslopt=tls_options(client.configuration),
        enable_multithread=True,
    )


class ExecStream:
    """See ``ports.terminal.Session``."""

    def __init__(self, connection: Any, what: str, terminal: bool) -> None:
        self._connection, self._what, self._terminal = connection, what, terminal
        connection.settimeout(None)
        self._result: dict[str, Any] | None = None
        self._sending = threading.Lock()

    def output(self) -> Iterator[tuple[int, bytes]]:
        """Pieces as they come, each STDOUT or STDERR."""
        with suppress(*ERRORS):
            while True:
                kind, message = self._connection.recv_data()
                if kind == ABNF.OPCODE_CLOSE:
                    return
                channel = message[0] if message else CLOSE
                if channel in (STDOUT, STDERR) and len(message) > 1:
                    yield channel, bytes(message[1:])
                elif channel == RESULT:
                    self._result = json.loads(message[1:])

    def write(self, data: bytes) -> None:
        """Waits until the connection has room for it."""
        for start in range(0, len(data), CHUNK):
            self._send(bytes([STDIN]) + data[start : start + CHUNK])

    def end_input(self) -> None:
        """The command reads the end of its input."""
        if self._connection.getsubprotocol() == PROTOCOLS[0]:
            self._send(bytes([CLOSE, STDIN]))

    def resize(self, columns: int, rows: int) -> None:
        if self._terminal:
            self._send(bytes([SIZE]) + json.dumps({"Width": columns, "Height": rows}).encode())

    def _send(self, message: bytes) -> None:
        with self._sending, suppress(*ERRORS):
            self._connection.send_binary(message)

    def exit_code(self) -> int:
        """Raises AppFailed if it could not be started, EngineFailed if the result is not known."""
        result = self._result
        if result is None:
            raise EngineFailed(f"{self._what}: the connection ended before the command did.")
        if result.get("status") == "Success":
            return 0
        causes = (result.get("details") or {}).get("causes") or ()
        codes = [one.get("message", "") for one in causes if one.get("reason") == "ExitCode"]
        if codes and codes[0].isdigit():
            return int(codes[0])
        raise AppFailed(
            f"{self._what} could not be started.",
            advice="The image may not have the program, or has no `env` and no shell.",
            facts=(str(result.get("message", ""))[:500],),
        )

    def close(self) -> None:
        """Ends a read or a write of another thread as well. Idempotent."""
        with suppress(OSError, AttributeError):
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        with suppress(*ERRORS):
            self._connection.shutdown()
