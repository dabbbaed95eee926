"""Whether a slot fits beside what runs: the namespace's quotas, and the nodes where they may be looked at."""

from __future__ import annotations

import re
from decimal import Decimal

from pipeline.adapters.kube_calls import Calls, Found
from pipeline.adapters.kube_client import status_of
from pipeline.adapters.kube_names import base, slot_name
from pipeline.errors import DoesNotFit, EngineFailed
from pipeline.model import SlotSpec
from pipeline.units import show_size

_UNITS = {"": 0, "Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_TENS = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def insist(calls: Calls, spec: SlotSpec) -> None:
    """Raises DoesNotFit, with the figures. What the slot holds already counts as free."""
    service = spec.config.service
    for quota in calls.find("ResourceQuota", {}):
        _within(quota, spec, _held(calls, spec))
    largest = _largest_node(calls)
    if largest is not None and service.memory > largest:
        raise DoesNotFit(
            f"{base(spec.place)}: one replica asks for {show_size(service.memory)}; "
            f"the largest node has {show_size(largest)}.",
            advice="Lower `memory`, or add a larger node.",
        )


def _held(calls: Calls, spec: SlotSpec) -> tuple[int, int]:
    """Pods that the slot has now, and their bytes of memory."""
    found = calls.get("Deployment", slot_name(spec.place))
    pods = int(found["spec"].get("replicas") or 0) if found else 0
    if not found or not pods:
        return 0, 0
    limits = found["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    return pods, pods * int(quantity(str(limits["memory"])))


def _within(quota: Found, spec: SlotSpec, held: tuple[int, int]) -> None:
    hard, used = quota.get("status", {}).get("hard") or {}, quota.get("status", {}).get("used") or {}
    replicas, memory = spec.config.service.replicas, spec.config.service.memory
    wanted = {"pods": replicas, "limits.memory": replicas * memory, "requests.memory": replicas * memory}
    wanted["memory"] = wanted["requests.memory"]
    for name, amount in wanted.items():
        if name not in hard:
            continue
        free = quantity(hard[name]) - quantity(used.get(name, "0")) + held[0 if name == "pods" else 1]
        if amount > free:
            show = str if name == "pods" else show_size
            raise DoesNotFit(
                f"{base(spec.place)}: {spec.place.slot} asks for {show(amount)} of {name}; the quota "
                f"{quota['metadata']['name']} has {show(int(free))} left of {show(int(quantity(hard[name])))}.",
                advice="Raise the quota, lower `memory` or `replicas`, or shorten `keep_warm`.",
            )


def _largest_node(calls: Calls) -> int | None:
    """Bytes of memory that the largest node deals to pods; None where nodes may not be looked at."""
    try:
        nodes = calls.find("Node", {})
    except EngineFailed as error:
        if status_of(error) == 403:
            return None
        raise
    sizes = [quantity(str(node["status"]["allocatable"]["memory"])) for node in nodes]
    return int(max(sizes)) if sizes else None


def quantity(text: str) -> Decimal:
    """A Kubernetes quantity (``250m``, ``128Mi``, ``1e3``) as a number. Raises ValueError."""
    match = re.fullmatch(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE])?", text)
    if not match:
        raise ValueError(f"{text[:40]!r} is no quantity")
    number, unit = Decimal(match[1]), match[2] or ""
    return number * (Decimal(1024) ** _UNITS[unit] if unit in _UNITS else Decimal(10) ** _TENS[unit])
