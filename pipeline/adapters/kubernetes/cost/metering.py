"""What pods take of a cluster's nodes."""

from __future__ import annotations

from pipeline.adapters.kubernetes import names
from pipeline.adapters.kubernetes.api.client import status_of
from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.capacity import FORBIDDEN, parse_quantity
from pipeline.adapters.kubernetes.engine_base import EngineBase
from pipeline.adapters.kubernetes.workload.outputs import ABSENT
from pipeline.domain.cost.taken import Role, Size, Taken
from pipeline.errors import EngineFailed


class KubeMetering(EngineBase):
    """See ``ports.cost.Metering``. Without the metrics API, or where this account may not read it, what is used is not
    known, and requests alone count."""

    def taken(self) -> tuple[Taken, ...]:
        pods = self._api.find("Pod", {names.INSTANCE: self._instance})
        running = [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Running"]
        used = self._pods_used()
        found = (_taken(pod, *used.get(str(pod["metadata"]["name"]), (0.0, 0))) for pod in running)
        return tuple(sorted(found, key=lambda one: one.name))

    def machine_size(self) -> Size | None:
        try:
            nodes = self._api.find("Node", {})
        except EngineFailed as error:
            if status_of(error) == FORBIDDEN:
                return None
            raise
        has = [(node.get("status") or {}).get("allocatable") or {} for node in nodes]
        known = [(parse_quantity(str(one["cpu"])), parse_quantity(str(one["memory"]))) for one in has if one]
        return Size(float(sum(cpu for cpu, _ in known)), int(sum(memory for _, memory in known)))

    def _pods_used(self) -> dict[str, tuple[float, int]]:
        """Cores and bytes by pod."""
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{self._api.namespace}/pods"
        labels = {"labelSelector": names.selector({names.INSTANCE: self._instance})}
        try:
            answer = self._api.request_json("GET", path, "reading what pods use", query=labels)
        except EngineFailed as error:
            if status_of(error) in ABSENT:
                return {}
            raise
        return {
            str(one["metadata"]["name"]): (
                sum(float(parse_quantity(each["usage"]["cpu"])) for each in one["containers"]),
                sum(int(parse_quantity(each["usage"]["memory"])) for each in one["containers"]),
            )
            for one in answer.get("items", ())
        }


def _taken(pod: KubeObject, cores: float, memory: int) -> Taken:
    has = pod["metadata"]["labels"]
    role = _role(has)
    accessory = has.get(names.ACCESSORY, "")
    requests = [(one.get("resources") or {}).get("requests") or {} for one in pod["spec"]["containers"]]
    return Taken(
        str(pod["metadata"]["name"]),
        role,
        memory,
        pipeline=accessory or has.get(names.PIPELINE, ""),
        environment=has.get(names.ACCESSORY_IN if accessory else names.ENVIRONMENT, ""),
        slot=has.get(names.SLOT, "") if role in ("web", "process") else "",
        process=has.get(names.PROCESS, "") if role == "process" else "",
        cores=cores,
        reserved_cores=float(sum(parse_quantity(str(one.get("cpu", "0"))) for one in requests)),
        reserved_memory=int(sum(parse_quantity(str(one.get("memory", "0"))) for one in requests)),
    )


def _role(has: dict[str, str]) -> Role:
    if names.ACCESSORY in has:
        return "accessory"
    if names.COMMAND in has or names.CRON in has or names.SLOT not in has:
        return "command" if names.PIPELINE in has else "system"
    return "process" if names.PROCESS in has else "web"
