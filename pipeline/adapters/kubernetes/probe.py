"""Requests to an application on a cluster: straight to the Service from a pod of the cluster, through the API server's
proxy from anywhere else. The Service's endpoints, read before and after, prove which release answered."""

from __future__ import annotations

import time
from urllib.parse import quote, urlsplit

from pipeline.adapters.http.probe import BODY, HttpProbe
from pipeline.adapters.kubernetes.api import port_forward
from pipeline.adapters.kubernetes.api.client import document_of, error_for
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.domain.engine_types import Answer, Route
from pipeline.errors import TryAgain

# The API server's own messages: "error trying to reach service: dial tcp 10.244.0.7:8080: connect: connection refused";
# 'services "hello-live" is forbidden: User "ann" cannot get resource "services/proxy" in API group ""'
_UNREACHED = "error trying to reach service"
_FORBIDDEN_PROXY = "services/proxy"
_API_STATUSES = (401, 408, 429, 500, 502, 503, 504)  # with a Status document they are the API server's


class KubeProbe:
    """The Probe for one namespace of one cluster."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._plain = HttpProbe()

    def get(self, route: Route, path: str, timeout: float) -> Answer:
        """See ``ports.Probe``. 503 if no pod of the Service is ready."""
        before = serving_replica_sets(self._api, route.service)
        if not before:
            return Answer(503, {"retry-after": "5"}, b"no pod of this Service is ready", 0.0)
        answer = (
            self._plain.get(route, path, timeout)
            if self._api.cluster.inside
            else self._proxied(route, path, timeout)
        )
        # One ReplicaSet of another release is enough: any of them may have answered.
        names = [*before, *serving_replica_sets(self._api, route.service)]
        served = next((name for name in names if name not in route.expect), names[0])
        return Answer(answer.status, answer.headers, answer.body, answer.seconds, served)

    def tcp(self, address: str, port: int, timeout: float) -> float:
        """``address``: a pod's IP address from inside the cluster, its name from outside."""
        if self._api.cluster.inside:
            return self._plain.tcp(address, port, timeout)
        start = time.monotonic()
        port_forward.check_port(self._api, address, port, timeout)
        return time.monotonic() - start

    def _proxied(self, route: Route, path: str, timeout: float) -> Answer:
        start = time.monotonic()
        doing = f"GET {path} of {route.service}"
        headers = {"Accept": "*/*", **route.headers}
        if urlsplit(self._api.cluster.client.configuration.host).path.strip("/"):
            headers.pop(
                "Host", None
            )  # what is in front of the API server may tell clusters apart by the name
        try:
            answer = self._api.raw("GET", route.url + path, doing, headers=headers, timeout=timeout)
        except TryAgain as error:
            # Raises EngineAway if it is the API server that does not answer.
            serving_replica_sets(self._api, route.service)
            raise TryAgain(f"{doing}: no complete answer within {timeout:g} s ({error.message})") from error
        seconds, body = time.monotonic() - start, answer.data
        if answer.status == 403 and _FORBIDDEN_PROXY in _status_message(body):
            raise error_for(doing, answer.status, body)
        if message := _unreached(answer.status, body):
            raise TryAgain(f"{doing}: {message}.")
        if answer.status in _API_STATUSES and _status_message(body):
            raise error_for(doing, answer.status, body)
        names = {name.lower(): value for name, value in answer.headers.items()}
        if "location" in names:
            names["location"] = _as_sent(names["location"], route.url)
        return Answer(answer.status, names, body[:BODY], seconds)


def serving_replica_sets(api: KubeApi, service: str) -> list[str]:
    """The ReplicaSets of the pods that a Service sends new connections to: those of its ready endpoints."""
    name = service.rpartition("/")[2]
    names = []
    for part in api.find("EndpointSlice", {"kubernetes.io/service-name": name}):
        for one in part.get("endpoints") or ():
            if (one.get("conditions") or {}).get("ready") is not False:
                names.append(replica_set_of(str((one.get("targetRef") or {}).get("name", ""))))
    return sorted(set(names))


def replica_set_of(pod: str) -> str:
    """The name of a pod's ReplicaSet, ``hello-live-blue-55c4c4486c``: equal for all pods of one template."""
    return pod.rpartition("-")[0] or pod


def proxy_path(api: KubeApi, service: str) -> str:
    """The API server's path to a Service's port."""
    return f"/api/v1/namespaces/{quote(api.namespace)}/services/http:{quote(service)}:http/proxy"


def _as_sent(location: str, proxied: str) -> str:
    """A redirect as the application sent it: the API server leads one to its own host through the proxy."""
    before, found, path = location.partition(proxied)
    return (path or "/") if found and urlsplit(before).path in ("", "/") else location


def _unreached(status: int, body: bytes) -> str:
    """The API server's message if it could not reach a pod, "" if the application itself answered."""
    if status not in (500, 502, 503, 504) or _UNREACHED.encode() not in body:
        return ""
    if body.startswith(_UNREACHED.encode()):
        return body.decode("utf-8", "replace").strip()[:300]
    return _status_message(body)[:300]


def _status_message(body: bytes) -> str:
    """The message of the API server's Status document, "" if the body is none."""
    document = document_of(body)
    return str(document.get("message", "")) if document.get("kind") == "Status" else ""
