"""Whether a slot fits beside what runs: into the namespace's quotas, and onto a node if nodes may be listed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipeline.adapters.kubernetes.api.client import status_of
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject, Manifest
from pipeline.adapters.kubernetes.pods.state import app_spec
from pipeline.errors import DoesNotFit, EngineFailed
from pipeline.lib.units import show_size
from pipeline.ports.inspection import NodeSize

_BINARY_UNITS = {"": 0, "Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}  # exponents of 1024
_DECIMAL_UNITS = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}  # of 10
_OTHER_SCOPES = ("BestEffort", "Terminating")  # quotas with one of these do not count our pods
FORBIDDEN = 403


@dataclass(frozen=True)
class Demand:
    """What some pods need together, by the names that quotas use."""

    amounts: dict[str, Decimal]

    def of(self, name: str) -> Decimal:
        return self.amounts.get(name, Decimal(0))


def check_fits(api: KubeApi, name: str, part: str, wanted: Manifest, current: KubeObject | None) -> None:
    """Raises DoesNotFit, with the figures. ``name``: of an environment or an accessory, ``part``: what of it;
    ``wanted``: the new Deployment or StatefulSet; ``current``: the present one, whose pods it replaces."""
    check_quotas(api, name, part, [wanted], [current])
    per_replica = parse_quantity(_resources(wanted)["requests"]["memory"])
    largest = largest_node(api)
    if largest is not None and per_replica > largest.memory:
        raise DoesNotFit(
            f"{name}: one replica needs {show_size(int(per_replica))} of memory; "
            f"the largest node has {show_size(largest.memory)}.",
            advice="Lower `memory`, or add a larger node.",
        )


def check_quotas(
    api: KubeApi, name: str, part: str, wanted: Iterable[KubeObject], current: Iterable[KubeObject | None]
) -> None:
    """As ``check_fits``, without nodes. ``current``: everything whose pods end before those of ``wanted`` run."""
    demand, freed = together(map(demand_of, wanted)), together(map(demand_of, current))
    for quota in api.find("ResourceQuota", {}):
        for excess in exceeded(quota, demand, freed):
            raise DoesNotFit(
                f"{name}: {part} needs {excess}.",
                advice="Raise the quota, or lower `memory`, `cpu` or `replicas`.",
            )


def together(demands: Iterable[Demand]) -> Demand:
    """Their sum."""
    found: dict[str, Decimal] = {}
    for one in demands:
        for name, amount in one.amounts.items():
            found[name] = found.get(name, Decimal(0)) + amount
    return Demand(found)


def demand_of(deployment: KubeObject | None) -> Demand:
    """What a Deployment's pods need; nothing if it is None or has no replicas."""
    replicas = int(deployment["spec"].get("replicas") or 0) if deployment else 0
    if deployment is None or not replicas:
        return Demand({})
    amounts = {"pods": Decimal(replicas), "count/pods": Decimal(replicas)}
    for side, resources in _resources(deployment).items():
        for resource, amount in resources.items():
            amounts[f"{side}.{resource}"] = replicas * parse_quantity(str(amount))
            if side == "requests":
                amounts[resource] = amounts[f"{side}.{resource}"]
    return Demand(amounts)


def exceeded(quota: KubeObject, demand: Demand, freed: Demand) -> Iterator[str]:
    """In words, each part of the demand that exceeds the quota. ``freed``: what the slot releases first."""
    spec, status = quota.get("spec") or {}, quota.get("status") or {}
    # A quota for a priority class is left to the cluster, which decides the class of our pods.
    if "scopeSelector" in spec or set(spec.get("scopes") or ()) & set(_OTHER_SCOPES):
        return
    hard, used = status.get("hard") or {}, status.get("used") or {}
    for name in sorted(hard):
        limit = parse_quantity(str(hard[name]))
        left = limit - parse_quantity(str(used.get(name, "0"))) + freed.of(name)
        if demand.of(name) > left:
            yield (
                f"{_shown(name, demand.of(name))} of {name}; the quota {quota['metadata']['name']} "
                f"has {_shown(name, max(left, Decimal(0)))} left of {_shown(name, limit)}"
            )


def _resources(deployment: KubeObject) -> dict[str, dict[str, Any]]:
    """``limits`` and ``requests`` of the application's container; empty if it has none."""
    resources = app_spec(deployment["spec"]["template"]["spec"]).get("resources") or {}
    return {side: dict(resources.get(side) or {}) for side in ("limits", "requests")}


def _shown(name: str, amount: Decimal) -> str:
    if "memory" in name or "storage" in name:
        return show_size(int(amount))
    return f"{amount.normalize():f}"


def largest_node(api: KubeApi) -> NodeSize | None:
    """What the largest nodes have for pods; None if nodes may not be listed, or none says so."""
    nodes = node_sizes(api)
    return NodeSize(max(one.cores for one in nodes), max(one.memory for one in nodes)) if nodes else None


def node_sizes(api: KubeApi) -> tuple[NodeSize, ...]:
    """What each node has for pods; () if nodes may not be listed, or none says so."""
    nodes = nodes_if_allowed(api)
    return tuple(node_size(node) for node in nodes if (node.get("status") or {}).get("allocatable"))


def nodes_if_allowed(api: KubeApi) -> tuple[KubeObject, ...]:
    """All nodes; () if they may not be listed."""
    try:
        return tuple(api.find("Node", {}))
    except EngineFailed as error:
        if status_of(error) == FORBIDDEN:
            return ()
        raise


def node_size(node: KubeObject) -> NodeSize:
    """What a node has for pods, nothing if it does not say so."""
    has = (node.get("status") or {}).get("allocatable") or {"cpu": "0", "memory": "0"}
    return NodeSize(float(parse_quantity(str(has["cpu"]))), int(parse_quantity(str(has["memory"]))))


def parse_quantity(text: str) -> Decimal:
    """A Kubernetes quantity (``250m``, ``128Mi``, ``1e3``) as a number. Raises ValueError."""
    match = re.fullmatch(
        r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE])?", text
    )
    if not match:
        raise ValueError(f"{text[:40]!r} is not a quantity")
    number, unit = Decimal(match[1]), match[2] or ""
    if unit in _BINARY_UNITS:
        return number * Decimal(1024) ** _BINARY_UNITS[unit]
    return number * Decimal(10) ** _DECIMAL_UNITS[unit]
