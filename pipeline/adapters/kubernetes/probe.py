"""Questions to an application on a cluster: from a pod of the cluster to the Service itself, from elsewhere through the
API server's proxy. Who answered is told by the Service's own endpoints, read before and after."""

from __future__ import annotations

import time
from urllib.parse import quote

from pipeline.adapters.http.probe import BODY, HttpProbe
from pipeline.adapters.kubernetes import forward
from pipeline.adapters.kubernetes.api import KubeApi
from pipeline.adapters.kubernetes.client import document_of, refused
from pipeline.domain.engine_types import Answer, Route
from pipeline.errors import TryAgain

UNREACHED = "error trying to reach service"  # how the API server begins, where no pod answered it
OWN = (401, 408, 429, 500, 502, 503, 504)  # statuses by which the API server speaks of itself
RIGHT = "services/proxy"  # in what the API server says where it, and not the application, forbids it


class KubeProbe:
    """The Probe for one namespace of one cluster."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._plain = HttpProbe()

    def get(self, route: Route, path: str, timeout: float) -> Answer:
        """See ``ports.Probe``. 503 where the Service has no pod."""
        before = endpoints(self._api, route.service)
        if not before:
            return Answer(503, {"retry-after": "5"}, b"no pod of this Service is ready", 0.0)
        answer = (
            self._plain.get(route, path, timeout)
            if self._api.cluster.inside
            else self._proxied(route, path, timeout)
        )
        # One that does not belong there tells against it, whoever answered this time.
        names = [*before, *endpoints(self._api, route.service)]
        served = next((name for name in names if name not in route.expect), names[0])
        return Answer(answer.status, answer.headers, answer.body, answer.seconds, served)

    def tcp(self, address: str, port: int, timeout: float) -> float:
        """``address``: a pod's address inside the cluster, its name elsewhere."""
        if self._api.cluster.inside:
            return self._plain.tcp(address, port, timeout)
        began = time.monotonic()
        forward.insist(self._api, address, port, timeout)
        return time.monotonic() - began

    def _proxied(self, route: Route, path: str, timeout: float) -> Answer:
        began = time.monotonic()
        where = f"GET {path} of {route.service}"
        headers = {"Accept": "*/*", **route.headers}
        try:
            answer = self._api.raw("GET", route.url + path, where, headers=headers, timeout=timeout)
        except TryAgain as error:
            endpoints(
                self._api, route.service
            )  # raises EngineAway where the API server is what does not answer
            raise TryAgain(f"{where}: no whole answer within {timeout:g} s ({error.message})") from error
        seconds, body = time.monotonic() - began, answer.data
        if answer.status == 403 and RIGHT in _status(body):
            raise refused(where, answer.status, body)
        if said := _unreached(answer.status, body):
            raise TryAgain(f"{where}: {said}.")
        if answer.status in OWN and _status(body):
            raise refused(where, answer.status, body)
        names = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status, names, body[:BODY], seconds)


def endpoints(api: KubeApi, service: str) -> list[str]:
    """The ReplicaSets of the pods that a Service sends new connections to."""
    name = service.rpartition("/")[2]
    names = []
    for part in api.find("EndpointSlice", {"kubernetes.io/service-name": name}):
        for one in part.get("endpoints") or ():
            if (one.get("conditions") or {}).get("ready") is not False:
                names.append(set_of(str((one.get("targetRef") or {}).get("name", ""))))
    return sorted(set(names))


def set_of(pod: str) -> str:
    """``hello-live-blue-55c4c4486c``, the ReplicaSet of a pod: all that were made alike, whichever are there now."""
    return pod.rpartition("-")[0] or pod


def proxy_path(api: KubeApi, service: str) -> str:
    """The API server's path to a Service's port."""
    return f"/api/v1/namespaces/{quote(api.namespace)}/services/http:{quote(service)}:http/proxy"


def _unreached(status: int, body: bytes) -> str:
    """What the API server says where it could not ask, "" where the application itself answered."""
    if status not in (500, 502, 503, 504) or UNREACHED.encode() not in body:
        return ""
    if body.startswith(UNREACHED.encode()):
        return body.decode("utf-8", "replace").strip()[:300]
    return _status(body)[:300]


def _status(body: bytes) -> str:
    """The message of a document of the API server's own, "" for any other."""
    document = document_of(body)
    return str(document.get("message", "")) if document.get("kind") == "Status" else ""
