"""A connection to a pod's port from inside the pod, carried by the API server: does anything listen there?

The client library's own way needs a thread for each connection, whose exceptions are nobody's; asking takes none.
The protocol is ``v4.channel.k8s.io``: each message begins with its channel's number, for a port 0 with the data and 1
with the errors; the first of each holds the port's number.
"""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import urlencode

import websocket
from websocket import ABNF, WebSocketBadStatusException, WebSocketException, WebSocketTimeoutException

from pipeline.adapters.kubernetes.api import KubeApi
from pipeline.errors import EngineAway, EngineFailed, TryAgain

MOMENT = 0.3  # seconds: a refused connection is told at once; nothing at all means that it stands
REFUSED = "connection refused"  # in what a node says
_ERRORS = 1  # the channel
_HEAD = 3  # bytes: the channel, and the port's number in the first message of each


def insist(api: KubeApi, pod: str, port: int, timeout: float) -> None:
    """Opens and closes a connection. Raises TryAgain where it does not stand, EngineFailed where it is not allowed."""
    what = f"TCP {pod}:{port}"
    try:
        try:
            way = _opened(api, pod, port, timeout)
        except OSError as error:
            raise EngineAway(
                f"{what}: the Kubernetes API at {api.host} does not answer ({error})."
            ) from error
        try:
            said = _refusal(way)
        finally:
            way.shutdown()
    except WebSocketBadStatusException as error:
        if error.status_code in (401, 403):
            said = f"{what}: the Kubernetes API answered {error.status_code} to a port to be forwarded."
            raise EngineFailed(
                said, advice="See docs/kubernetes.md for the rights that Pushlive needs."
            ) from error
        raise TryAgain(f"{what}: the Kubernetes API answered {error.status_code}.") from error
    except (WebSocketException, OSError, ValueError) as error:
        raise TryAgain(f"{what}: {' '.join(str(error).split())[:200]}.") from error
    if said:
        # "error forwarding port 9 to pod …, uid : failed to execute portforward in network namespace "…": failed to
        # connect to localhost:9 inside namespace "…", IPv4: dial tcp4 127.0.0.1:9: connect: connection refused IPv6 …"
        point = REFUSED if REFUSED in said else " ".join(said.split())[:300]
        raise TryAgain(f"{what}: {point}.")


def _opened(api: KubeApi, pod: str, port: int, timeout: float) -> Any:
    config = api.cluster.client.configuration
    headers: dict[str, str] = {}
    path = f"{api.path('Pod', pod)}/portforward"
    api.cluster.client.update_params_for_auth(headers, [], ["BearerToken"], path, "GET", None)
    return websocket.create_connection(
        f"{api.host.replace('http', 'ws', 1)}{path}?{urlencode({'ports': port})}",
        timeout=timeout,
        header=[f"{name}: {value}" for name, value in headers.items()],
        subprotocols=["v4.channel.k8s.io"],
        sslopt=_trust(config),
    )


def _trust(config: Any) -> dict[str, Any]:
    """As the kubeconfig says whom to trust, and who we are."""
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


def _refusal(way: Any) -> str:
    """What the pod's node says against the connection, "" where it stands."""
    way.settimeout(MOMENT)
    begun = False
    while True:
        try:
            kind, message = way.recv_data()
        except WebSocketTimeoutException:
            return ""
        if kind == ABNF.OPCODE_CLOSE:
            return "it was closed at once"
        if kind == ABNF.OPCODE_BINARY and message[:1] == bytes([_ERRORS]):
            if begun or len(message) != _HEAD:
                return str(message[1:].decode("utf-8", "replace"))
            begun = True
        elif kind == ABNF.OPCODE_BINARY and len(message) > _HEAD:
            return ""  # the application speaks first
