"""The requests that the engine makes to a cluster, one method each: plain dictionaries in and out, translated errors.
An object that does not exist is not an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any
from urllib.parse import quote

from urllib3 import BaseHTTPResponse

from pipeline.adapters.kubernetes.api.client import status_of, translate
from pipeline.adapters.kubernetes.api.connection import REQUEST_TIMEOUT, Connection
from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.names import CONTAINER, MANAGER, selector
from pipeline.errors import EngineFailed, TryAgain
from pipeline.lib.sockets import within
from pipeline.lib.streams import last_pieces
from pipeline.lib.text import last_state
from pipeline.ports.slots import OUTPUT_LIMIT

APPLY = "application/apply-patch+yaml"  # JSON is valid YAML
NO_OUTPUT = (
    "unable to retrieve container logs for "  # what the kubelet writes of a container that it has removed
)
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
WATCH_SECONDS = 30  # after which the server ends a watch, and everything is listed again
WATCH_SLACK = (
    5.0  # seconds after that until a watch counts as broken: something on the way swallows what comes
)
UNLIMITED = None  # how long a stream of output may stay silent
CONFLICT, BAD_REQUEST, NOT_FOUND = 409, 400, 404
_PLURALS = {
    "Service": "services",
    "Pod": "pods",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "ServiceAccount": "serviceaccounts",
    "ConfigMap": "configmaps",
    "Secret": "secrets",
    "Event": "events",
    "Node": "nodes",
    "ResourceQuota": "resourcequotas",
    "LimitRange": "limitranges",
    "Deployment": "deployments",
    "StatefulSet": "statefulsets",
    "Ingress": "ingresses",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "EndpointSlice": "endpointslices",
    "HTTPRoute": "httproutes",
}
_GROUPS = {
    "Deployment": "apis/apps/v1",
    "StatefulSet": "apis/apps/v1",
    "Ingress": "apis/networking.k8s.io/v1",
    "PodDisruptionBudget": "apis/policy/v1",
    "EndpointSlice": "apis/discovery.k8s.io/v1",
    "HTTPRoute": "apis/gateway.networking.k8s.io/v1",
}


class KubeApi(Connection):
    """The objects in one namespace of one cluster."""

    # ── objects ──────────────────────────────────────────────────────────────

    def get(self, kind: str, name: str) -> KubeObject | None:
        """One object, or None if it does not exist."""
        path, doing = self.path(kind, name), f"reading {kind} {name}"
        return self._none_if_missing(lambda: self.request_json("GET", path, doing))

    def find(self, kind: str, labels: dict[str, str]) -> list[KubeObject]:
        """The objects that have all of these labels."""
        return self.snapshot(kind, {"labelSelector": selector(labels)})[0]

    def snapshot(self, kind: str, query: dict[str, str]) -> tuple[list[KubeObject], str]:
        """The objects that the query selects (``labelSelector``, ``fieldSelector``), and the resource version to watch
        them from."""
        doing = f"listing {_PLURALS[kind]}"
        answer = self.request_json("GET", self.path(kind), doing, query=query)
        if "items" not in answer or "metadata" not in answer:
            raise self.not_an_api(doing, json.dumps(answer))
        return [item | {"kind": kind} for item in answer["items"]], answer["metadata"]["resourceVersion"]

    def apply(self, manifest: KubeObject) -> KubeObject:
        """Server-side apply as our field manager; it takes over fields that another manager has set. Idempotent."""
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        return self.request_json(
            "PATCH",
            self.path(kind, name),
            f"applying {kind} {name}",
            query={"fieldManager": MANAGER, "force": "true"},
            body=manifest,
            content_type=APPLY,
        )

    def create(self, manifest: KubeObject) -> bool:
        """Creates an object; False if one of that name exists. Idempotent."""
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        query = {"fieldManager": MANAGER}
        try:
            self.request_json("POST", self.path(kind), f"creating {kind} {name}", query=query, body=manifest)
        except EngineFailed as error:
            if status_of(error) == CONFLICT:
                return False
            raise
        return True

    def replace(self, changed: KubeObject, dry_run: bool = False) -> KubeObject:
        """Writes back an object that was read and changed; returns it as it is afterwards, or as it would be with
        ``dry_run``. Raises TryAgain if it has changed since it was read."""
        kind, name = changed["kind"], changed["metadata"]["name"]
        query = {"fieldManager": MANAGER} | ({"dryRun": "All"} if dry_run else {})
        return self.request_json(
            "PUT", self.path(kind, name), f"writing {kind} {name}", query=query, body=changed
        )

    def merge(self, kind: str, name: str, change: KubeObject, manager: str = MANAGER) -> KubeObject | None:
        """Changes some fields of an object, as that field manager; None if it does not exist. Idempotent."""
        path, doing, query = self.path(kind, name), f"changing {kind} {name}", {"fieldManager": manager}
        return self._none_if_missing(
            lambda: self.request_json("PATCH", path, doing, query=query, body=change, content_type=MERGE)
        )

    def patch(self, kind: str, name: str, changes: list[dict[str, Any]], *, dry_run: bool = False) -> None:
        """Changes parts of an object by a JSON patch (RFC 6902), all of it or nothing. ``dry_run``: only asks whether
        the API server would accept it. Raises Refused with the status 422 if a test in the patch fails."""
        query = {"fieldManager": MANAGER} | ({"dryRun": "All"} if dry_run else {})
        path, doing = self.path(kind, name), f"changing {kind} {name}"
        self.request_json("PATCH", path, doing, query=query, body=changes, content_type=JSON_PATCH)

    def delete(self, kind: str, name: str, grace: int | None = None, version: str = "") -> None:
        """Deletes an object, and in the background what it owns. ``grace``: seconds that a pod gets to end, None for
        its own period; ``version``: the only resource version that is deleted, TryAgain for another. Idempotent."""
        options: KubeObject = {"propagationPolicy": "Background"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if version:
            options["preconditions"] = {"resourceVersion": version}
        path, doing = self.path(kind, name), f"deleting {kind} {name}"
        self._none_if_missing(lambda: self.request_json("DELETE", path, doing, body=options))

    def events(self, kind: str, name: str) -> list[KubeObject]:
        """The cluster's events about one object, oldest first; empty if they cannot be read."""
        query = {"fieldSelector": f"involvedObject.kind={kind},involvedObject.name={name}"}
        with suppress(EngineFailed, TryAgain):
            answer = self.request_json(
                "GET", self.path("Event"), f"reading the events of {name}", query=query
            )
            return sorted(answer["items"], key=_time)
        return []

    # ── pods ─────────────────────────────────────────────────────────────────

    def output(self, pod: str, count: int, *, times: bool = False, previous: bool = False) -> tuple[str, ...]:
        """The last output lines of a pod's container, of OUTPUT_LIMIT bytes together, each after its time if ``times``;
        empty if the container has not started or is gone. ``previous``: those of the container before its last
        restart."""
        query = {
            "container": CONTAINER,
            "tailLines": str(count),
            "timestamps": str(times).lower(),
            "previous": str(previous).lower(),
        }
        path, doing = f"{self.path('Pod', pod)}/log", f"reading the output of {pod}"
        try:
            answer = self.request("GET", path, doing, query=query, silence=REQUEST_TIMEOUT)
        except EngineFailed as error:
            if status_of(error) in (BAD_REQUEST, NOT_FOUND):  # 400: the container is waiting to start
                return ()
            raise
        with translate(doing, self.host), within(REQUEST_TIMEOUT), closing(answer):
            raw, cut = last_pieces(answer.stream(1 << 16), OUTPUT_LIMIT)
        lines = raw.decode("utf-8", "replace").removesuffix("\n").split("\n") if raw else []
        if len(lines) == 1 and lines[0].startswith(NO_OUTPUT):
            return ()
        return tuple(map(last_state, lines[1 if cut else 0 :]))

    def follow(self, pod: str) -> BaseHTTPResponse:
        """A container's output as it is written; the stream ends with the container."""
        path, doing = f"{self.path('Pod', pod)}/log", f"following the output of {pod}"
        query = {"container": CONTAINER, "follow": "true"}
        return self.request("GET", path, doing, query=query, silence=UNLIMITED)

    def watch(self, kind: str, query: dict[str, str], version: str) -> BaseHTTPResponse:
        """The changes since that resource version, one JSON document a line; the server ends the stream after
        ``WATCH_SECONDS``."""
        query = query | {"resourceVersion": version, "watch": "true", "timeoutSeconds": str(WATCH_SECONDS)}
        doing = f"watching {_PLURALS[kind]}"
        return self.request("GET", self.path(kind), doing, query=query, silence=WATCH_SECONDS + WATCH_SLACK)

    def path(self, kind: str, name: str = "") -> str:
        """The API path of a kind, or of one object."""
        namespace = "" if kind == "Node" else f"namespaces/{quote(self.namespace)}/"
        end = f"/{quote(name)}" if name else ""
        return f"/{_GROUPS.get(kind, 'api/v1')}/{namespace}{_PLURALS[kind]}{end}"

    def _none_if_missing(self, request: Callable[[], KubeObject]) -> KubeObject | None:
        try:
            return request()
        except EngineFailed as error:
            if status_of(error) == NOT_FOUND:
                return None
            raise


def _time(event: KubeObject) -> str:
    series = (event.get("series") or {}).get("lastObservedTime")
    return str(event.get("lastTimestamp") or series or event.get("eventTime") or "")
