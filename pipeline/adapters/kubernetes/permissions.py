"""What the engine has to be allowed on a cluster, and what of it this account lacks there.

The manifests in ``docker/kubernetes`` grant exactly this, which a test holds them to.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.adapters.kubernetes.api import Found, KubeApi
from pipeline.adapters.kubernetes.client import refused, status_of
from pipeline.errors import EngineFailed
from pipeline.ports.inspection import ClusterInfo


@dataclass(frozen=True)
class Right:
    """``resource`` may have a part of its own (``pods/log``); ``group``: "" for the core API."""

    group: str
    resource: str
    verbs: tuple[str, ...]


# In an environment's namespace. What is applied (server-side) is patched, and made where it is not there yet; what was
# changed by hand is written back (`update`), also to try what that would give.
INSIDE = (
    Right("", "services", ("get", "list", "create", "update", "patch", "delete")),
    Right("", "pods", ("get", "list", "watch", "create", "patch", "delete")),
    Right("", "pods/log", ("get",)),
    Right("", "configmaps", ("get", "list", "create", "delete")),
    Right("", "secrets", ("get", "list", "create", "patch", "delete")),
    Right("", "events", ("list",)),
    Right("", "resourcequotas", ("list",)),
    Right("apps", "deployments", ("get", "list", "watch", "create", "update", "patch", "delete")),
    Right("networking.k8s.io", "ingresses", ("get", "list", "create", "update", "patch", "delete")),
    Right("policy", "poddisruptionbudgets", ("get", "list", "create", "update", "patch", "delete")),
    Right("discovery.k8s.io", "endpointslices", ("list",)),
)
# Where Pushlive does not run on that cluster itself: its checks go through the API server.
OUTSIDE = (
    Right("", "services/proxy", ("get",)),
    Right("", "pods/portforward", ("get", "create")),
)
NODES = Right(
    "", "nodes", ("list",)
)  # of the whole cluster; a slot's room is judged by quotas alone without it

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def examine(api: KubeApi) -> ClusterInfo:
    """Looks and changes nothing. Raises TryAgain where the API server does not answer, ConfigError or EngineFailed
    where it cannot be asked."""
    version = str(_ask(api, "GET", "/version", "asking for the version").get("gitVersion", ""))
    wanted = INSIDE if api.cluster.inside else (*INSIDE, *OUTSIDE)
    missing = tuple(_lacking(api, wanted, api.namespace))
    nodes = not any(_lacking(api, (NODES,), ""))
    return ClusterInfo(api.host, version, api.namespace, missing, nodes, _is_there(api))


def _lacking(api: KubeApi, rights: tuple[Right, ...], namespace: str) -> Iterator[str]:
    for right in rights:
        verbs = [verb for verb in right.verbs if not _may(api, right, verb, namespace)]
        if verbs:
            yield f"{', '.join(verbs)} {right.resource}" + (f".{right.group}" if right.group else "")


def _may(api: KubeApi, right: Right, verb: str, namespace: str) -> bool:
    resource, _, part = right.resource.partition("/")
    asked = {"verb": verb, "group": right.group, "resource": resource, "subresource": part}
    spec = {"resourceAttributes": {"namespace": namespace, **asked}}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
    answer = _ask(api, "POST", _REVIEWS, f"asking whether {right.resource} may be used", review)
    return bool(answer.get("status", {}).get("allowed"))


def _is_there(api: KubeApi) -> bool:
    """True also where it may not be looked at."""
    try:
        _ask(api, "GET", f"/api/v1/namespaces/{api.namespace}", "looking at the namespace")
    except EngineFailed as error:
        return status_of(error) != 404
    return True


def _ask(api: KubeApi, method: str, path: str, doing: str, body: Found | None = None) -> Found:
    headers = {"Content-Type": "application/json"} if body is not None else {}
    sent = None if body is None else json.dumps(body).encode()
    answer = api.raw(method, path, doing, headers=headers, body=sent)
    if not 200 <= answer.status < 300:
        raise refused(doing, answer.status, answer.data)
    found: Found = json.loads(answer.data)
    return found
