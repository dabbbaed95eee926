"""What the nodes of a cluster have left, as far as this account may ask. What their disks hold only each node's kubelet
knows, behind a permission (``nodes/proxy``) that would let Pushlive run commands in every pod, so it is not asked for.
A node says itself when it is short of something."""

from __future__ import annotations

from typing import Any

from pipeline.adapters.kubernetes.api.client import status_of
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.capacity import FORBIDDEN, parse_quantity
from pipeline.adapters.kubernetes.workload.outputs import ABSENT
from pipeline.domain.capacity.room import Room
from pipeline.errors import EngineFailed, TryAgain

_SHORT = {"DiskPressure": "disk", "MemoryPressure": "memory", "PIDPressure": "process ids"}


def room_of(api: KubeApi) -> Room:
    try:
        nodes = api.find("Node", {})
    except EngineFailed as error:
        if status_of(error) != FORBIDDEN:
            raise
        return Room()
    sizes = [str(one["ephemeral-storage"]) for one in map(_allocatable, nodes) if "ephemeral-storage" in one]
    disk = sum(int(parse_quantity(size)) for size in sizes) if sizes else None
    memory, cores = _used(api)
    short = tuple(
        f"the node {node['metadata']['name']} is short of {_SHORT[one['type']]}"
        for node in nodes
        for one in (node.get("status") or {}).get("conditions") or ()
        if one.get("type") in _SHORT and one.get("status") == "True"
    )
    return Room(disk, None, memory, cores, pressure=short)


def _allocatable(node: dict[str, Any]) -> dict[str, Any]:
    return (node.get("status") or {}).get("allocatable") or {}


def _used(api: KubeApi) -> tuple[int | None, float | None]:
    """Bytes and cores of all nodes; None without the metrics API, or where this account may not read it."""
    try:
        answer = api.request_json("GET", "/apis/metrics.k8s.io/v1beta1/nodes", "reading what nodes use")
    except EngineFailed as error:
        if status_of(error) not in ABSENT:
            raise
        return None, None
    except TryAgain:  # the nodes were listed: it is the metrics API that is away
        return None, None
    used = [one.get("usage") or {} for one in answer.get("items", ())]
    if not used:
        return None, None
    memory = sum(int(parse_quantity(str(one.get("memory", "0")))) for one in used)
    return memory, sum(float(parse_quantity(str(one.get("cpu", "0")))) for one in used)
