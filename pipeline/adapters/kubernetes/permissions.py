"""The permissions that the engine needs on a cluster, and which of them this account is missing.

The manifests in ``docker/kubernetes`` grant exactly these; a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.adapters.kubernetes.api.client import error_for, status_of
from pipeline.adapters.kubernetes.api.kube_api import NOT_FOUND, KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.errors import EngineFailed
from pipeline.ports.inspection import ClusterInfo


@dataclass(frozen=True)
class Permission:
    """``group``: "" for the core API. ``resource`` may have a subresource (``pods/log``)."""

    group: str
    resource: str
    verbs: tuple[str, ...]


# In an environment's namespace. Server-side apply needs `patch`, and `create` if the object does not exist yet;
# `update` is for reverting drift, and for the dry run that finds it.
INSIDE = (
    Permission("", "services", ("get", "list", "create", "update", "patch", "delete")),
    Permission("", "pods", ("get", "list", "watch", "create", "patch", "delete")),
    Permission("", "pods/log", ("get",)),
    Permission("", "configmaps", ("get", "list", "create", "delete")),
    Permission("", "secrets", ("get", "list", "create", "patch", "delete")),
    Permission("", "events", ("list",)),
    Permission("", "resourcequotas", ("list",)),
    Permission("apps", "deployments", ("get", "list", "watch", "create", "update", "patch", "delete")),
    Permission("networking.k8s.io", "ingresses", ("get", "list", "create", "update", "patch", "delete")),
    Permission("policy", "poddisruptionbudgets", ("get", "list", "create", "update", "patch", "delete")),
    Permission("discovery.k8s.io", "endpointslices", ("list",)),
)
# If Pushlive does not run on that cluster, its checks go through the API server.
OUTSIDE = (
    Permission("", "services/proxy", ("get",)),
    Permission("", "pods/portforward", ("get", "create")),
)
# Optional: an earlier version's Role does not grant it. Without it pods request a tenth of their CPU limit.
LIMITS = Permission("", "limitranges", ("list",))
# Optional, as an earlier version's Role does not grant it: for `pushlive run`, `exec`, `cp` and `volume` alone.
TERMINALS = Permission("", "pods/exec", ("get", "create"))
# Optional for the same reason: for `pushlive cp` alone, out of an image without `tar`.
READERS = Permission("", "pods/ephemeralcontainers", ("patch",))
# Optional, as an earlier version's Role does not grant it: for `volumes` alone. Their files are read and written
# through `pods/exec`.
CLAIMS = Permission("", "persistentvolumeclaims", ("get", "list", "create", "patch", "delete"))
# Optional for the same reason: for processes with `one`, and for `accessories`, beside services, secrets and claims.
ACCESSORIES = Permission("apps", "statefulsets", ("get", "list", "create", "patch", "delete"))
# Optional, as an earlier version's Role does not grant it: for `pushlive stats` alone, if the cluster has the metrics
# API.
METRICS = Permission("metrics.k8s.io", "pods", ("list",))
# Optional for the same reason: for `shift` with a `route` alone.
HTTP_ROUTES = Permission("gateway.networking.k8s.io", "httproutes", ("get", "patch"))
# Optional for the same reason: for `sleep_after` alone. The account itself has a Role of its own.
SLEEPERS = Permission("", "serviceaccounts", ("get",))
# Cluster-wide and optional: without it only quotas decide whether a slot fits.
NODES = Permission("", "nodes", ("list",))
NODES_USE = Permission("metrics.k8s.io", "nodes", ("list",))  # for `capacity`, which says what it lacks

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def inspect_cluster(api: KubeApi) -> ClusterInfo:
    """Changes nothing. Raises TryAgain if the API server does not answer, ConfigError or EngineFailed if it cannot be
    asked."""
    version = str(_request(api, "GET", "/version", "reading the version").get("gitVersion", ""))
    needed = INSIDE if api.cluster.inside else (*INSIDE, *OUTSIDE)
    missing = tuple(_missing(api, needed, api.namespace))
    nodes = not any(_missing(api, (NODES,), ""))
    limits = not any(_missing(api, (LIMITS,), api.namespace))
    volumes = not any(_missing(api, (CLAIMS, TERMINALS), api.namespace))
    accessories = tuple(_missing(api, (ACCESSORIES, CLAIMS), api.namespace))
    exists, going = _namespace(api)
    return ClusterInfo(
        api.host, version, api.namespace, missing, nodes, exists, going, limits, volumes, accessories
    )


def _missing(api: KubeApi, permissions: tuple[Permission, ...], namespace: str) -> Iterator[str]:
    for one in permissions:
        verbs = [verb for verb in one.verbs if not _is_allowed(api, one, verb, namespace)]
        if verbs:
            yield f"{', '.join(verbs)} {one.resource}" + (f".{one.group}" if one.group else "")


def _is_allowed(api: KubeApi, permission: Permission, verb: str, namespace: str) -> bool:
    resource, _, subresource = permission.resource.partition("/")
    asked = {"verb": verb, "group": permission.group, "resource": resource, "subresource": subresource}
    spec = {"resourceAttributes": {"namespace": namespace, **asked}}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
    answer = _request(api, "POST", _REVIEWS, f"checking the permission for {permission.resource}", review)
    return bool(answer.get("status", {}).get("allowed"))


def _namespace(api: KubeApi) -> tuple[bool, bool]:
    """Whether it exists, also if the account may not read it; and whether it is being deleted."""
    try:
        found = _request(api, "GET", f"/api/v1/namespaces/{api.namespace}", "reading the namespace")
    except EngineFailed as error:
        return status_of(error) != NOT_FOUND, False
    return True, "deletionTimestamp" in found["metadata"]


def _request(api: KubeApi, method: str, path: str, doing: str, body: KubeObject | None = None) -> KubeObject:
    headers = {"Content-Type": "application/json"} if body is not None else {}
    sent = None if body is None else json.dumps(body).encode()
    answer = api.raw(method, path, doing, headers=headers, body=sent)
    if not 200 <= answer.status < 300:
        raise error_for(doing, answer.status, answer.data)
    found: KubeObject = json.loads(answer.data)
    return found
