"""What pods take of a cluster's nodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from pipeline.adapters.kubernetes import names
from pipeline.adapters.kubernetes.api.client import status_of
from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.capacity import node_size, nodes_if_allowed, parse_quantity
from pipeline.adapters.kubernetes.cost.room import room_of
from pipeline.adapters.kubernetes.engine_base import EngineBase
from pipeline.adapters.kubernetes.workload.outputs import ABSENT, pods_use
from pipeline.domain.capacity.room import Room
from pipeline.domain.cost.taken import Nodes, Role, Size, Taken, labelled
from pipeline.errors import EngineFailed
from pipeline.ports.inspection import NodeSize


class KubeMetering(EngineBase):
    """See ``ports.cost.Metering``. Without the metrics API, or where this account may not read it, what is used is not
    known, and requests alone count."""

    def taken(self) -> tuple[Taken, ...]:
        pods = self._api.find("Pod", {names.INSTANCE: self._instance})
        running = [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Running"]
        try:
            used = pods_use(self._api, {names.INSTANCE: self._instance})
        except EngineFailed as error:
            if status_of(error) not in ABSENT:
                raise
            used = {}
        found = (_taken(pod, *used.get(str(pod["metadata"]["name"]), (0.0, 0))) for pod in running)
        return tuple(sorted(found, key=lambda one: one.name))

    def machine_size(self, labels: Collection[str] = ()) -> Size | None:
        """What a node has for pods; of one that does not say so, nothing, but it counts."""
        nodes = nodes_if_allowed(self._api)
        if not nodes:
            return None
        found = defaultdict[str, list[NodeSize]](list)
        for node in nodes:
            has = node["metadata"].get("labels") or {}
            found[labelled({key: str(has[key]) for key in labels if key in has})].append(node_size(node))
        return Size(
            sum(one.cores for some in found.values() for one in some),
            sum(one.memory for some in found.values() for one in some),
            {group: _together(some) for group, some in sorted(found.items())},
        )

    def room(self, *, takers: bool = False) -> Room:  # noqa: ARG002 - a cluster does not tell
        return room_of(self._api)


def _together(nodes: list[NodeSize]) -> Nodes:
    return Nodes(len(nodes), sum(one.cores for one in nodes), sum(one.memory for one in nodes))


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
        node=str(pod["spec"].get("nodeName") or ""),
    )


def _role(has: dict[str, str]) -> Role:
    if names.ACCESSORY in has:
        return "accessory"
    if has.get(names.SLOT, "").endswith(names.ACTIVATOR):
        return "system"
    if names.COMMAND in has or names.CRON in has or names.SLOT not in has:
        return "command" if names.PIPELINE in has else "system"
    return "process" if names.PROCESS in has else "web"
