"""The Kubernetes client's connection to one cluster, and its exceptions turned into ours."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import config as kube_config
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from pipeline.errors import ConfigError, EngineFailed, PushliveError, TryAgain

_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PASSING = (408, 429, 500, 502, 503, 504)  # statuses after which the same question may be asked again
_CONNECTIONS = 16


@dataclass(frozen=True)
class Cluster:
    """One way to one API server. ``inside``: this process runs in a pod of that cluster."""

    api: ApiClient
    namespace: str
    inside: bool


class Refused(EngineFailed):
    """The API server said no. ``status``: its HTTP status; ``reason``: the API's own word, such as AlreadyExists."""

    def __init__(self, message: str, status: int, reason: str, advice: str = "") -> None:
        super().__init__(message, advice=advice)
        self.status, self.reason = status, reason


def connect(context: str, namespace: str) -> Cluster:
    """The cluster of that kubeconfig context ("" for the current one; without any kubeconfig the one that this
    process runs in), with the context's namespace where none is given. Raises ConfigError where there is no such
    context. Nothing is asked over the network yet."""
    found = Configuration()
    found.connection_pool_maxsize = _CONNECTIONS
    found.retries = False
    path = os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    there = any(Path(part).exists() for part in path.split(os.pathsep))
    if not context and not there and "KUBERNETES_SERVICE_HOST" in os.environ:
        return _inside(found, namespace)
    try:
        kube_config.load_kube_config(path, context or None, found)  # type: ignore[no-untyped-call]
        contexts, current = kube_config.list_kube_config_contexts(path)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        which = f"the context {context} of the kubeconfig" if context else "a kubeconfig"
        raise ConfigError(
            f"There is no way to a Kubernetes cluster: {which} ({path}) cannot be used: {' '.join(str(error).split())}",
            advice="Set KUBECONFIG for the service, or name another context under `engine:`.",
        ) from error
    chosen = next((one for one in contexts if one["name"] == context), current)
    return Cluster(
        ApiClient(found), namespace or chosen["context"].get("namespace") or "default", inside=False
    )


def _inside(found: Configuration, namespace: str) -> Cluster:
    kube_config.load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
    own = (_TOKEN / "namespace").read_text(encoding="utf-8").strip()
    return Cluster(ApiClient(found), namespace or own or "default", inside=True)


def refused(doing: str, status: int, body: bytes) -> PushliveError:
    """Our error for an answer of the API server that is no success."""
    try:
        document = json.loads(body)
    except ValueError:
        document = {}
    said = " ".join(str(document.get("message") or body[:300].decode("utf-8", "replace")).split())
    if status in _PASSING or document.get("reason") == "Conflict":
        return TryAgain(f"{doing}: the Kubernetes API answered {status}: {said}.")
    advice = ""
    if status in (401, 403):
        advice = (
            "See docs/kubernetes.md for the rights that Pushlive needs, and whether its token is still good."
        )
    return Refused(
        f"{doing}: the Kubernetes API answered {status}: {said}.",
        status,
        str(document.get("reason") or ""),
        advice,
    )


def status_of(error: BaseException) -> int:
    """The API server's HTTP status, 0 for none."""
    return error.status if isinstance(error, Refused) else 0


@contextmanager
def translate(doing: str, host: str) -> Iterator[None]:
    """Exceptions of the client and of the libraries below it leave as ours."""
    try:
        yield
    except ApiException as error:
        raise refused(doing, error.status or 0, _bytes(error.body)) from error
    except (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
        raise TryAgain(
            f"{doing}: the Kubernetes API at {host} does not answer ({' '.join(str(error).split())[:200]}).",
            advice="See whether the API server runs and is reachable from here (`kubectl version`).",
        ) from error
    except (ConfigException, OSError) as error:
        raise EngineFailed(f"{doing}: {' '.join(str(error).split())}.") from error


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else str(body or "").encode()
