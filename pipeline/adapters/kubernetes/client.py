"""The Kubernetes client's connection to one cluster, and its exceptions turned into ours."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from kubernetes import config as kube_config
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from yaml import YAMLError

from pipeline.errors import ConfigError, EngineAway, EngineFailed, PushliveError, TryAgain

_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PASSING = (408, 429, 500, 502, 503, 504)  # statuses after which the same question may be asked again
_CONNECTIONS = 16
# What the client raises for a kubeconfig that is none: it takes the file's shape for granted.
_UNUSABLE = (ConfigException, OSError, YAMLError, ValueError, TypeError, LookupError, AttributeError)


@dataclass(frozen=True)
class Cluster:
    """One way to one API server. ``inside``: this process runs in a pod of that cluster."""

    client: ApiClient
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
    inside = not context and not there and "KUBERNETES_SERVICE_HOST" in os.environ
    try:
        own = _from_inside(found) if inside else _from_kubeconfig(found, path, context)
        address = urlsplit(str(found.host))
        if address.scheme not in ("http", "https") or not address.hostname or address.port == 0:
            raise ConfigException(f"its server is {found.host!r}, which is no address")
    except _UNUSABLE as error:
        raise _no_way(
            error, "what this pod was given" if inside else f"the kubeconfig {path}", context
        ) from error
    return Cluster(ApiClient(found), namespace or own or "default", inside)


def _from_kubeconfig(found: Configuration, path: str, context: str) -> str:
    """Fills in the configuration; answers the context's namespace."""
    kube_config.load_kube_config(path, context or None, found)  # type: ignore[no-untyped-call]
    contexts, current = kube_config.list_kube_config_contexts(path)  # type: ignore[no-untyped-call]
    chosen = next((one for one in contexts if one["name"] == context), current)
    return str(chosen["context"].get("namespace") or "")


def _from_inside(found: Configuration) -> str:
    kube_config.load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
    return (_TOKEN / "namespace").read_text(encoding="utf-8").strip()


def _no_way(error: Exception, source: str, context: str) -> ConfigError:
    which = f"the context {context} of {source}" if context else source
    return ConfigError(
        f"There is no way to a Kubernetes cluster: {which} cannot be used: {_line(error)}.",
        advice="Set KUBECONFIG for the service (`kubectl config view` shows what is in one), or name another context "
        "under `engine:`.",
    )


def refused(doing: str, status: int, body: bytes) -> PushliveError:
    """Our error for an answer of the API server that is no success."""
    document = document_of(body)
    said = _line(document.get("message") or body[:300].decode("utf-8", "replace")) or "nothing more"
    if status in _PASSING:
        return EngineAway(f"{doing}: the Kubernetes API answered {status}: {said}.")
    if document.get("reason") == "Conflict":
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


def document_of(body: bytes) -> dict[str, Any]:
    """A JSON object; an empty one where it is none."""
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


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
    except urllib3.exceptions.SSLError as error:
        if not isinstance(error.args[0], ssl.SSLCertVerificationError):
            raise _silent(doing, host, error) from error
        raise EngineFailed(
            f"{doing}: the certificate of the Kubernetes API at {host} is not to be trusted ({_line(error)}).",
            advice="The kubeconfig's `certificate-authority-data` has to be of that very cluster.",
        ) from error
    except (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
        raise _silent(doing, host, error) from error
    except (ConfigException, OSError, ValueError) as error:
        raise EngineFailed(f"{doing}: {_line(error)}.") from error


def _silent(doing: str, host: str, error: Exception) -> EngineAway:
    return EngineAway(
        f"{doing}: the Kubernetes API at {host} does not answer ({_line(error)[:200]}).",
        advice="See whether the API server runs and is reachable from here (`kubectl version`).",
    )


def _line(said: object) -> str:
    return " ".join(str(said).split()).rstrip(".")


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else str(body or "").encode()
