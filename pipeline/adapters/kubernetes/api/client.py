"""The Kubernetes client's connection to one cluster. The client's exceptions leave this module as ours."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Callable, Iterator
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

from pipeline.adapters.deadline_connections import keep_pools_to_deadline
from pipeline.adapters.kubernetes.api.credentials import CredentialPlugins
from pipeline.adapters.kubernetes.api.kubeconfig import Kubeconfig
from pipeline.errors import ConfigError, EngineAway, EngineFailed, PushliveError, TryAgain

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TRANSIENT = (408, 429, 500, 502, 503, 504)  # statuses after which the same request may succeed
_CONNECTIONS = 16
# What the client raises for a malformed kubeconfig: it does not check the file's structure.
_UNUSABLE = (ConfigException, OSError, YAMLError, ValueError, TypeError, LookupError, AttributeError)
PERMISSIONS_ADVICE = (
    "Check the account's permissions against docs/kubernetes.md, and that its token is still valid."
)


def _nothing() -> None:
    """What is read again can only be read from the kubeconfig."""


NAMESPACE_MISSING = (
    "Create it with `kubectl create namespace {0}`, and apply docker/kubernetes/namespace to it (docs/kubernetes.md), "
    "or correct `engine: {{namespace: …}}`."
)
NAMESPACE_GOING = (
    "Wait until `kubectl get namespace` no longer shows it; `kubectl describe namespace` says what it still waits for. "
    "Then create it again, with its permissions (docs/kubernetes.md)."
)


@dataclass(frozen=True)
class Cluster:
    """A client for one API server. ``inside``: this process runs in a pod of that cluster; ``refused``: called if the
    API server does not accept the credentials, before they are read again."""

    client: ApiClient
    namespace: str
    inside: bool
    refused: Callable[[], None] = _nothing


class Refused(EngineFailed):
    """The API server refused a request. ``status``: the HTTP status; ``reason``, ``said``, ``object_name``: ``reason``
    (such as AlreadyExists), ``message`` and ``details.name`` of its answer, "" if it has none."""

    def __init__(
        self,
        message: str,
        status: int,
        reason: str,
        *,
        said: str = "",
        object_name: str = "",
        advice: str = "",
    ) -> None:
        super().__init__(message, advice=advice)
        self.status, self.reason = status, reason
        self.said, self.object_name = said, object_name


def connect(context: str, namespace: str, plugins: CredentialPlugins | None = None) -> Cluster:
    """The cluster of a kubeconfig context: "" for the current one, or the cluster that this process runs in if there is
    no kubeconfig. ``namespace``: "" for the context's own; ``plugins``: programs whose credentials are used again.
    Raises ConfigError if the kubeconfig or the context cannot be used, EngineAway if a program for credentials fails.
    Makes no request."""
    found = Configuration()
    found.connection_pool_maxsize = _CONNECTIONS
    found.retries = False
    path = os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    exists = any(Path(part).exists() for part in path.split(os.pathsep))
    inside = not context and not exists and "KUBERNETES_SERVICE_HOST" in os.environ
    refused = _nothing
    try:
        if inside:
            default = _load_service_account(found)
        else:
            loader = Kubeconfig(path, context, plugins or CredentialPlugins())
            default, refused = loader.load(found), loader.refused
        address = urlsplit(str(found.host))
        if address.scheme not in ("http", "https") or not address.hostname or address.port == 0:
            raise ConfigException(f"its server {found.host!r} is not a URL")
    except _UNUSABLE as error:
        source = "this pod's service account" if inside else f"the kubeconfig {path}"
        raise _cannot_connect(error, source, context) from error
    client = ApiClient(found)
    keep_pools_to_deadline(client.rest_client.pool_manager)
    return Cluster(client, namespace or default or "default", inside, refused)


def _load_service_account(found: Configuration) -> str:
    kube_config.load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
    return (_SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()


def _cannot_connect(error: Exception, source: str, context: str) -> ConfigError:
    which = f"the context {context} of {source}" if context else source
    return ConfigError(
        f"Cannot connect to the Kubernetes cluster: {which} cannot be used: {_one_line(error)}.",
        advice="Set KUBECONFIG for the service (`kubectl config view` shows what is in it), or name another context "
        "under `engine:`.",
    )


def error_for(doing: str, status: int, body: bytes) -> PushliveError:
    """Our error for an answer of the API server that is not a success."""
    document = document_of(body)
    said = _one_line(document.get("message") or body[:300].decode("utf-8", "replace"))
    message = f"{doing}: the Kubernetes API answered {status}: {said or 'no message'}."
    if status in _TRANSIENT:
        return EngineAway(message)
    if document.get("reason") == "Conflict":
        return TryAgain(message)
    details = document.get("details")
    details = details if isinstance(details, dict) else {}
    return Refused(
        message,
        status,
        str(document.get("reason") or ""),
        said=said,
        object_name=str(details.get("name") or ""),
        advice=_advice(status, details),
    )


def _advice(status: int, details: dict[str, Any]) -> str:
    if status == 404 and details.get("kind") == "namespaces":
        return NAMESPACE_MISSING.format(details.get("name"))
    causes = details.get("causes") or ()
    if any(one.get("reason") == "NamespaceTerminating" for one in causes):
        return NAMESPACE_GOING
    if status == 403:
        return f"{PERMISSIONS_ADVICE} In a namespace that does not exist, everything is forbidden."
    return PERMISSIONS_ADVICE if status == 401 else ""


def document_of(body: bytes) -> dict[str, Any]:
    """The JSON object in the body; an empty one if it is none."""
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def status_of(error: BaseException) -> int:
    """The HTTP status with which the API server refused, 0 for any other error."""
    return error.status if isinstance(error, Refused) else 0


@contextmanager
def translate(doing: str, host: str) -> Iterator[None]:
    """Raises exceptions of the client and of the libraries below it as ours."""
    try:
        yield
    except ApiException as error:
        raise error_for(doing, error.status or 0, _bytes(error.body)) from error
    except urllib3.exceptions.SSLError as error:
        if not isinstance(error.args[0], ssl.SSLCertVerificationError):
            raise _no_answer(doing, host, error) from error
        raise EngineFailed(
            f"{doing}: the certificate of the Kubernetes API at {host} cannot be verified ({_one_line(error)}).",
            advice="Set `certificate-authority-data` in the kubeconfig to this cluster's own authority.",
        ) from error
    except (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
        raise _no_answer(doing, host, error) from error
    except (ConfigException, OSError, ValueError) as error:
        raise EngineFailed(f"{doing}: {_one_line(error)}.") from error


def _no_answer(doing: str, host: str, error: Exception) -> EngineAway:
    return EngineAway(
        f"{doing}: the Kubernetes API at {host} does not answer ({_one_line(error)[:200]}).",
        advice="Check that the API server runs and can be reached from here (`kubectl version`).",
    )


def _one_line(text: object) -> str:
    return " ".join(str(text).split()).rstrip(".")


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else str(body or "").encode()
