"""Connections from inside a pod that the API server forwards: whether anything listens on its port, and one request.

The client library needs a thread for each forwarded connection, and loses that thread's exceptions; this needs none.
The protocol is ``v4.channel.k8s.io``: each message begins with its channel's number, 0 for the port's data and 1 for
its errors; the first message of each channel contains the port's number.
"""

from __future__ import annotations

import io
import ssl
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

import websocket
from websocket import ABNF, WebSocketBadStatusException, WebSocketException, WebSocketTimeoutException

from pipeline.adapters.kubernetes.api.client import PERMISSIONS_ADVICE
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.domain.engine_types import Answer
from pipeline.errors import EngineAway, EngineFailed, TryAgain
from pipeline.lib.bounded import Late, TooManyLeft, bounded

REFUSED_WITHIN = 0.3  # seconds: without an error by then, the connection was accepted
_REFUSED = "connection refused"  # in a node's error, quoted below
_DATA_CHANNEL, _ERROR_CHANNEL = 0, 1
BODY = 1 << 16  # bytes of an answer that are read at most
T = TypeVar("T")
_HEADER = 3  # bytes: the channel's number, and the port's in the first message of each channel


def check_port(api: KubeApi, pod: str, port: int, timeout: float) -> None:
    """Opens and closes a connection. Raises TryAgain if it is not accepted, EngineFailed if this account may not
    forward ports."""
    what = f"TCP {pod}:{port}"
    refusal = _within(api, what, pod, port, timeout, _refusal)
    if refusal:
        # "error forwarding port 9 to pod …, uid : failed to execute portforward in network namespace "…": failed to
        # connect to localhost:9 inside namespace "…", IPv4: dial tcp4 127.0.0.1:9: connect: connection refused IPv6 …"
        point = _REFUSED if _REFUSED in refusal else " ".join(refusal.split())[:300]
        raise TryAgain(f"{what}: {point}.")


def get(api: KubeApi, pod: str, port: int, path: str, headers: dict[str, str], timeout: float) -> Answer:
    """One GET, on a connection of its own. Raises what ``check_port`` raises."""
    what, began = f"GET {path} of {pod}:{port}", time.monotonic()
    sent = {"User-Agent": "pushlive", "Accept": "*/*", **headers, "Connection": "close"}
    lines = (f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", "")
    request = "\r\n".join(lines).encode("latin-1", "replace")
    received = _within(api, what, pod, port, timeout, lambda socket: _exchange(socket, request, timeout))
    response = HTTPResponse(cast(Any, _Received(received)), method="GET")
    try:
        response.begin()
        body = response.read(BODY)
    except (HTTPException, OSError, ValueError) as error:
        raise TryAgain(f"{what}: no complete answer within {timeout:g} s.") from error
    names = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, names, body, time.monotonic() - began)


class _Received:
    """What came back, in place of the socket that http.client reads from."""

    def __init__(self, received: bytes) -> None:
        self._received = received

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._received)


def _exchange(socket: Any, request: bytes, timeout: float) -> bytes:
    """Sends the request; what came until the application closed, or the time was over."""
    socket.send_binary(bytes([_DATA_CHANNEL]) + request)
    received, end, first = b"", time.monotonic() + timeout, True
    while len(received) < BODY and (left := end - time.monotonic()) > 0:
        socket.settimeout(left)
        try:
            kind, message = socket.recv_data()
        except (WebSocketTimeoutException, WebSocketException):
            break
        if kind == ABNF.OPCODE_CLOSE:
            break
        if kind == ABNF.OPCODE_BINARY and message[:1] == bytes([_DATA_CHANNEL]):
            received += b"" if first and len(message) == _HEADER else message[1:]
            first = False
    return received


def _within(api: KubeApi, what: str, pod: str, port: int, timeout: float, use: Callable[[Any], T]) -> T:
    try:
        return bounded(
            lambda: _connected(api, what, pod, port, timeout, use), timeout + REFUSED_WITHIN + 1, name=what
        )
    except (Late, TooManyLeft):
        raise EngineAway(f"{what}: the Kubernetes API at {api.host} did not answer in time.") from None


def _connected(api: KubeApi, what: str, pod: str, port: int, timeout: float, use: Callable[[Any], T]) -> T:
    try:
        try:
            socket = _connect(api, pod, port, timeout)
        except OSError as error:
            raise EngineAway(
                f"{what}: the Kubernetes API at {api.host} does not answer ({error})."
            ) from error
        try:
            return use(socket)
        finally:
            socket.shutdown()
    except WebSocketBadStatusException as error:
        if error.status_code in (401, 403):
            message = (
                f"{what}: the Kubernetes API answered {error.status_code} to a request to forward the port."
            )
            raise EngineFailed(message, advice=PERMISSIONS_ADVICE) from error
        raise TryAgain(f"{what}: the Kubernetes API answered {error.status_code}.") from error
    except (WebSocketException, OSError, ValueError) as error:
        raise TryAgain(f"{what}: {' '.join(str(error).split())[:200]}.") from error


def _connect(api: KubeApi, pod: str, port: int, timeout: float) -> Any:
    config = api.cluster.client.configuration
    headers: dict[str, str] = {}
    path = f"{api.path('Pod', pod)}/portforward"
    api.cluster.client.update_params_for_auth(headers, [], ["BearerToken"], path, "GET", None)
    return websocket.create_connection(
        f"{api.host.replace('http', 'ws', 1)}{path}?{urlencode({'ports': port})}",
        timeout=timeout,
        header=[f"{name}: {value}" for name, value in headers.items()],
        subprotocols=["v4.channel.k8s.io"],
        sslopt=tls_options(config),
    )


def tls_options(config: Any) -> dict[str, Any]:
    """The kubeconfig's authority and client certificate."""
    found: dict[str, Any] = {"cert_reqs": ssl.CERT_REQUIRED if config.verify_ssl else ssl.CERT_NONE}
    given = {
        "ca_certs": config.ssl_ca_cert,
        "certfile": config.cert_file,
        "keyfile": config.key_file,
        "server_hostname": config.tls_server_name,
    }
    if not config.verify_ssl:
        found["check_hostname"] = False
    return found | {name: value for name, value in given.items() if value}


def _refusal(socket: Any) -> str:
    """The node's error, "" if the connection was accepted."""
    socket.settimeout(REFUSED_WITHIN)
    end = time.monotonic() + REFUSED_WITHIN
    announced = False  # the error channel's first message has come
    while time.monotonic() < end:
        try:
            kind, message = socket.recv_data()
        except WebSocketTimeoutException:
            return ""
        if kind == ABNF.OPCODE_CLOSE:
            return "the connection was closed at once"
        if kind == ABNF.OPCODE_BINARY and message[:1] == bytes([_ERROR_CHANNEL]):
            if announced or len(message) != _HEADER:
                return str(message[1:].decode("utf-8", "replace"))
            announced = True
        elif kind == ABNF.OPCODE_BINARY and len(message) > _HEADER:
            return ""  # the application sends first
    return ""
