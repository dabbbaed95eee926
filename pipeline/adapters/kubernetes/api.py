"""What the engine asks of a cluster, one method for each act: plain dictionaries, translated errors, silent about
what is gone."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode

from urllib3 import BaseHTTPResponse, Timeout

from pipeline.adapters.kubernetes.client import Cluster, refused, status_of, translate
from pipeline.adapters.kubernetes.names import CONTAINER, MANAGER, selector
from pipeline.errors import EngineFailed, TryAgain
from pipeline.lib.retry import Backoff, Retry

Found = dict[str, Any]  # an object as the API server has it
Connect = Callable[[], Cluster]

APPLY = "application/apply-patch+yaml"  # JSON is YAML
MERGE = "application/merge-patch+json"
PATIENCE = 15.0  # seconds for one answer
QUICK = 3.0  # seconds after which a question that met trouble is not repeated by itself any more
BACKOFF = Backoff(0.1, factor=3.0, ceiling=1.0)  # an API server that is busy or restarts says so at once
RETRIES = 3
WATCH = 300  # seconds after which the server ends a watch
UNAUTHORIZED = 401
NEVER = None  # seconds of silence that end a stream of output
_PLURALS = {
    "Service": "services",
    "Pod": "pods",
    "ConfigMap": "configmaps",
    "Secret": "secrets",
    "Event": "events",
    "Node": "nodes",
    "ResourceQuota": "resourcequotas",
    "Deployment": "deployments",
    "Ingress": "ingresses",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "EndpointSlice": "endpointslices",
}
_GROUPS = {
    "Deployment": "apis/apps/v1",
    "Ingress": "apis/networking.k8s.io/v1",
    "PodDisruptionBudget": "apis/policy/v1",
    "EndpointSlice": "apis/discovery.k8s.io/v1",
}


class KubeApi:
    """One namespace of one cluster, for one process at a time: a forked one gets connections of its own."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._cluster: Cluster | None = None
        self._owner = 0

    @property
    def cluster(self) -> Cluster:
        """The connection."""
        known = self._cluster  # another thread may forget it at any time
        if known is None or self._owner != os.getpid():
            known = self._connect()
            self._cluster, self._owner = known, os.getpid()
        return known

    @property
    def namespace(self) -> str:
        return self.cluster.namespace

    @property
    def host(self) -> str:
        """The API server's address."""
        return str(self.cluster.client.configuration.host)

    # ── objects ──────────────────────────────────────────────────────────────

    def get(self, kind: str, name: str) -> Found | None:
        """One object, None where there is none."""
        return self._unless_gone(lambda: self._ask("GET", self.path(kind, name), f"looking at {kind} {name}"))

    def find(self, kind: str, labels: dict[str, str]) -> list[Found]:
        """Objects that carry all of these labels."""
        return self.snapshot(kind, {"labelSelector": selector(labels)})[0]

    def snapshot(self, kind: str, query: dict[str, str]) -> tuple[list[Found], str]:
        """Objects that the query selects (``labelSelector``, ``fieldSelector``), and the version from which to watch
        on."""
        doing = f"listing {_PLURALS[kind]}"
        answer = self._ask("GET", self.path(kind), doing, query=query)
        if "items" not in answer or "metadata" not in answer:
            raise self._no_api(doing, json.dumps(answer))
        return [one | {"kind": kind} for one in answer["items"]], answer["metadata"]["resourceVersion"]

    def apply(self, manifest: Found) -> Found:
        """Server-side apply with our field manager; what somebody else had set in it by hand is taken over. Twice."""
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        query = {"fieldManager": MANAGER, "force": "true"}
        doing = f"applying {kind} {name}"
        return self._ask("PATCH", self.path(kind, name), doing, query=query, body=manifest, kind=APPLY)

    def create(self, manifest: Found) -> bool:
        """Makes an object; False where one of that name is there already. Twice."""
        kind, doing = manifest["kind"], f"making {manifest['kind']} {manifest['metadata']['name']}"
        try:
            self._ask("POST", self.path(kind), doing, query={"fieldManager": MANAGER}, body=manifest)
        except EngineFailed as error:
            if status_of(error) == 409:
                return False
            raise
        return True

    def put(self, whole: Found, dry: bool = False) -> Found:
        """Writes an object as it was read and changed since. With ``dry`` nothing is changed: the answer is what it
        would be. Raises TryAgain where somebody else was quicker."""
        kind, name = whole["kind"], whole["metadata"]["name"]
        doing, query = (
            f"writing {kind} {name}",
            {"fieldManager": MANAGER} | ({"dryRun": "All"} if dry else {}),
        )
        return self._ask("PUT", self.path(kind, name), doing, query=query, body=whole)

    def merge(self, kind: str, name: str, change: Found) -> Found | None:
        """Changes some fields; None where there is no such object. Twice."""
        path, doing, query = self.path(kind, name), f"changing {kind} {name}", {"fieldManager": MANAGER}
        return self._unless_gone(
            lambda: self._ask("PATCH", path, doing, query=query, body=change, kind=MERGE)
        )

    def delete(self, kind: str, name: str, grace: int | None = None) -> None:
        """Removes an object, what belongs to it following in the background. Twice."""
        options: Found = {"propagationPolicy": "Background"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        path, doing = self.path(kind, name), f"removing {kind} {name}"
        self._unless_gone(lambda: self._ask("DELETE", path, doing, body=options))

    def events(self, kind: str, name: str) -> list[Found]:
        """What the cluster says of one object, oldest first; empty where it may not be read."""
        query = {"fieldSelector": f"involvedObject.kind={kind},involvedObject.name={name}"}
        with suppress(EngineFailed, TryAgain):
            answer = self._ask("GET", self.path("Event"), f"reading the events of {name}", query=query)
            return sorted(answer["items"], key=_when)
        return []

    # ── pods ─────────────────────────────────────────────────────────────────

    def output(self, pod: str, lines: int, *, times: bool = False, previous: bool = False) -> tuple[str, ...]:
        """The last output lines of a pod's container, each beginning with its time where ``times``; empty where it has
        not begun or is gone. ``previous``: of the container before this one."""
        query = {
            "container": CONTAINER,
            "tailLines": str(lines),
            "timestamps": str(times).lower(),
            "previous": str(previous).lower(),
        }
        path, doing = f"{self.path('Pod', pod)}/log", f"reading the output of {pod}"
        try:
            raw = self._request("GET", path, doing, query=query)
        except EngineFailed as error:
            if status_of(error) in (400, 404):  # 400: the container is waiting to start
                return ()
            raise
        return tuple(raw.data.decode("utf-8", "replace").splitlines())

    def follow(self, pod: str) -> BaseHTTPResponse:
        """A container's output as it comes; ends with the container."""
        path, doing = f"{self.path('Pod', pod)}/log", f"following the output of {pod}"
        return self._request(
            "GET", path, doing, query={"container": CONTAINER, "follow": "true"}, silence=NEVER
        )

    def watch(self, kind: str, query: dict[str, str], version: str) -> BaseHTTPResponse:
        """Changes from that version on, one JSON document a line; the server ends it after some minutes."""
        more = {"resourceVersion": version, "watch": "true", "timeoutSeconds": str(WATCH)}
        return self._request(
            "GET", self.path(kind), f"watching {_PLURALS[kind]}", query=query | more, silence=WATCH + 30.0
        )

    # ── the way there ────────────────────────────────────────────────────────

    def path(self, kind: str, name: str = "") -> str:
        """The API's path of a kind or of one object."""
        where = "" if kind == "Node" else f"namespaces/{quote(self.namespace)}/"
        return f"/{_GROUPS.get(kind, 'api/v1')}/{where}{_PLURALS[kind]}" + (f"/{quote(name)}" if name else "")

    def _ask(self, method: str, path: str, doing: str, **more: Any) -> Found:
        """One question with a JSON answer. Raises TryAgain, or Refused with the API's own word."""
        raw = self._request(method, path, doing, **more).data
        try:
            answer: Found = json.loads(raw)
        except ValueError:
            raise self._no_api(doing, raw) from None
        if not isinstance(answer, dict):
            raise self._no_api(doing, raw)
        return answer

    def _no_api(self, doing: str, said: bytes | str) -> EngineFailed:
        text = said if isinstance(said, str) else said.decode("utf-8", "replace")
        return EngineFailed(
            f"{doing}: what answers at {self.host} is no Kubernetes API: {text[:100]!r}.",
            advice="See `server` in the kubeconfig, and what lies between it and here.",
        )

    def _request(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        query: dict[str, str] | None = None,
        body: Found | None = None,
        kind: str = "application/json",
        silence: float | None = 0.0,
    ) -> BaseHTTPResponse:
        """``silence``: seconds without a byte that a stream may last (None: for ever); 0 for no stream."""
        given = {key: value for key, value in (query or {}).items() if value}
        where = path + (f"?{urlencode(given)}" if given else "")
        headers = {"Content-Type": kind} if body is not None else {}
        sent = None if body is None else json.dumps(body).encode()

        def once() -> BaseHTTPResponse:
            answer = self.raw(method, where, doing, headers=headers, body=sent, silence=silence)
            if not 200 <= answer.status < 300:
                with translate(doing, self.host):
                    raise refused(doing, answer.status, answer.data)
            return answer

        return _again(once)

    def raw(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        headers: dict[str, str],
        body: bytes | None = None,
        silence: float | None = 0.0,
        timeout: float = PATIENCE,
    ) -> BaseHTTPResponse:
        """One exchange with the API server, whatever its status. A stream's body is still to be read, and to be
        closed. Raises TryAgain where no answer came."""
        waiting = Timeout(connect=5.0, read=timeout if silence == 0.0 else silence)
        try:
            answer = self._exchange(method, path, doing, headers, body, waiting, silence == 0.0)
            if answer.status != UNAUTHORIZED:
                return answer
            answer.close()
            self._forget()
            return self._exchange(method, path, doing, headers, body, waiting, silence == 0.0)
        except TryAgain:
            self._forget()
            raise

    def _forget(self) -> None:
        """Credentials and certificates may have been renewed in the kubeconfig: it is read again."""
        self._cluster = None

    def _exchange(
        self,
        method: str,
        path: str,
        doing: str,
        headers: dict[str, str],
        body: bytes | None,
        waiting: Timeout,
        whole: bool,
    ) -> BaseHTTPResponse:
        client = self.cluster.client
        host = str(client.configuration.host)
        with translate(doing, host):
            sent = {"Accept": "application/json", "User-Agent": "pushlive", **headers}
            client.update_params_for_auth(sent, [], ["BearerToken"], path, method, None)
            return client.rest_client.pool_manager.request(
                method,
                host + path,
                headers=sent,
                body=body,
                preload_content=whole,
                timeout=waiting,
                retries=False,
                redirect=False,
            )

    def _unless_gone(self, act: Callable[[], Found]) -> Found | None:
        try:
            return act()
        except EngineFailed as error:
            if status_of(error) == 404:
                return None
            raise


def _when(event: Found) -> str:
    series = (event.get("series") or {}).get("lastObservedTime")
    return str(event.get("lastTimestamp") or series or event.get("eventTime") or "")


def _again(ask: Callable[[], BaseHTTPResponse]) -> BaseHTTPResponse:
    """All that is asked here may be asked twice: trouble that is said at once (busy, a conflict, a connection refused)
    is met by asking again. A silence is not waited for once more."""
    since = time.monotonic()
    retry = Retry(BACKOFF, retries=RETRIES)
    while True:
        try:
            return ask()
        except TryAgain:
            pause = retry.pause()
            if pause is None or time.monotonic() - since > QUICK:
                raise
        time.sleep(pause)
