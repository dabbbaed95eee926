"""Checks whether anything listens on a pod's port, with a connection from inside the pod that the API server forwards.

The client library needs a thread for each forwarded connection, and loses that thread's exceptions; this needs none.
The protocol is ``v4.channel.k8s.io``: each message begins with its channel's number, 0 for the port's data and 1 for
its errors; the first message of each channel contains the port's number.
"""

from __future__ import annotations

import ssl
import time
from typing import Any
from urllib.parse import urlencode

import websocket
from websocket import ABNF, WebSocketBadStatusException, WebSocketException, WebSocketTimeoutException

from pipeline.adapters.kubernetes.api.client import PERMISSIONS_ADVICE
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.errors import EngineAway, EngineFailed, TryAgain
from pipeline.lib.bounded import Late, TooManyLeft, bounded

REFUSED_WITHIN = 0.3  # seconds: without an error by then, the connection was accepted
_REFUSED = "connection refused"  # in a node's error, quoted below
_ERROR_CHANNEL = 1
_HEADER = 3  # bytes: the channel's number, and the port's in the first message of each channel


def check_port(api: KubeApi, pod: str, port: int, timeout: float) -> None:
    """Opens and closes a connection. Raises TryAgain if it is not accepted, EngineFailed if this account may not
    forward ports."""
    what = f"TCP {pod}:{port}"
    try:
        bounded(lambda: _check(api, what, pod, port, timeout), timeout + REFUSED_WITHIN + 1, name=what)
    except (Late, TooManyLeft):
        raise EngineAway(f"{what}: the Kubernetes API at {api.host} did not answer in time.") from None


def _check(api: KubeApi, what: str, pod: str, port: int, timeout: float) -> None:
    try:
        try:
            socket = _connect(api, pod, port, timeout)
        except OSError as error:
            raise EngineAway(
                f"{what}: the Kubernetes API at {api.host} does not answer ({error})."
            ) from error
        try:
            refusal = _refusal(socket)
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
    if refusal:
        # "error forwarding port 9 to pod …, uid : failed to execute portforward in network namespace "…": failed to
        # connect to localhost:9 inside namespace "…", IPv4: dial tcp4 127.0.0.1:9: connect: connection refused IPv6 …"
        point = _REFUSED if _REFUSED in refusal else " ".join(refusal.split())[:300]
        raise TryAgain(f"{what}: {point}.")


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
        sslopt=_tls_options(config),
    )


def _tls_options(config: Any) -> dict[str, Any]:
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
