"""What pods print and use."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from itertools import groupby

from urllib3 import BaseHTTPResponse

from pipeline.adapters.kubernetes.api.client import status_of
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.api.watch import STREAM_ERRORS, shut_down
from pipeline.adapters.kubernetes.capacity import parse_quantity
from pipeline.adapters.kubernetes.engine_base import EngineBase
from pipeline.adapters.kubernetes.names import CONTAINER, PROCESS, environment_labels, selector
from pipeline.adapters.kubernetes.workload.process_objects import pods_of
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.watching.usage import Measured
from pipeline.errors import EngineFailed, RequestError
from pipeline.ports.outputs import Source, Usage

ABSENT = (
    403,
    404,
)  # the answers of a cluster without the metrics API, or that does not show it to this account


class KubeOutputs(EngineBase):
    """See ``ports.Outputs``."""

    def sources(self, ref: SlotRef) -> tuple[Source, ...]:
        names = [str(pod["metadata"]["name"]) for pod in self._pods(ref)]
        found = [Source(name, str(number)) for number, name in enumerate(names, 1)]
        return (*found, *self._beside_sources(ref))

    def _beside_sources(self, ref: SlotRef) -> Iterator[Source]:
        """Of the processes beside the web one."""
        pods = pods_of(self._api, self._instance, ref)
        named = sorted((pod["metadata"]["labels"][PROCESS], str(pod["metadata"]["name"])) for pod in pods)
        for process, own in groupby(named, key=lambda pair: pair[0]):
            for number, (_, name) in enumerate(own, 1):
                yield Source(name, f"{process}.{number}", process)

    def output_of(self, name: str, *, lines: int, since: float, follow: bool) -> KubeOutput:
        query = {"container": CONTAINER, "tailLines": str(lines), "follow": str(follow).lower()}
        if since:
            query["sinceSeconds"] = str(max(1, math.ceil(time.time() - since)))
        path = f"{self._api.path('Pod', name)}/log"
        return KubeOutput(
            self._api.request("GET", path, f"reading the output of {name}", query=query, silence=None)
        )

    def measured(self, ref: SlotRef) -> tuple[Measured, ...]:
        return tuple(Measured(one.name, one.memory, one.limit, one.cpu) for one in self.usage(ref))

    def usage(self, ref: SlotRef) -> tuple[Usage, ...]:
        pods = [*self._pods(ref), *pods_of(self._api, self._instance, ref)]
        limits = {str(pod["metadata"]["name"]): _memory_limit(pod) for pod in pods}
        try:
            used = pods_use(self._api, environment_labels(self._instance, ref))
        except EngineFailed as error:
            if status_of(error) not in ABSENT:
                raise
            raise RequestError(
                f"the cluster does not say what the pods of {ref.pipeline}/{ref.environment} use.",
                advice="It needs the metrics API (metrics-server), and this account `list` on `pods.metrics.k8s.io` "
                "(docker/kubernetes/namespace has it).",
            ) from error
        return tuple(Usage(name, *used[name], limits[name]) for name in sorted(used.keys() & limits.keys()))


def pods_use(api: KubeApi, labels: dict[str, str]) -> dict[str, tuple[float, int]]:
    """Cores and bytes that pods with these labels use, by their names. Raises EngineFailed with a status of ABSENT if
    the cluster does not tell."""
    path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{api.namespace}/pods"
    query = {"labelSelector": selector(labels)}
    answer = api.request_json("GET", path, "reading what pods use", query=query)
    return {
        str(one["metadata"]["name"]): (
            sum(float(parse_quantity(each["usage"]["cpu"])) for each in one["containers"]),
            sum(int(parse_quantity(each["usage"]["memory"])) for each in one["containers"]),
        )
        for one in answer.get("items", ())
    }


def _memory_limit(pod: KubeObject) -> int:
    """Of all its containers, bytes; 0 if one of them has none."""
    found = [one.get("resources", {}).get("limits", {}).get("memory") for one in pod["spec"]["containers"]]
    return sum(int(parse_quantity(one)) for one in found) if all(found) else 0


class KubeOutput:
    """See ``ports.Output``."""

    def __init__(self, answer: BaseHTTPResponse) -> None:
        self._answer = answer

    def pieces(self) -> Iterator[bytes]:
        with contextlib.suppress(*STREAM_ERRORS):
            while piece := self._answer.read1():
                yield piece

    def close(self) -> None:
        shut_down(self._answer)
        with contextlib.suppress(*STREAM_ERRORS):
            self._answer.close()
