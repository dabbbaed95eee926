"""Whether a slot fits beside what runs: the namespace's quotas, and the nodes where they may be looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipeline.adapters.kubernetes.api import Found, KubeApi
from pipeline.adapters.kubernetes.client import status_of
from pipeline.adapters.kubernetes.manifests import Manifest
from pipeline.adapters.kubernetes.names import base
from pipeline.domain.engine_types import SlotRef
from pipeline.errors import DoesNotFit, EngineFailed
from pipeline.lib.units import show_size

_UNITS = {"": 0, "Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_TENS = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_OTHERS = ("BestEffort", "Terminating")  # quotas with one of these scopes do not count our pods


@dataclass(frozen=True)
class Wish:
    """What some pods ask for together, by the names that quotas have for it."""

    amounts: dict[str, Decimal]

    def of(self, name: str) -> Decimal:
        return self.amounts.get(name, Decimal(0))


def insist(api: KubeApi, ref: SlotRef, wanted: Manifest, held: Found | None) -> None:
    """Raises DoesNotFit, with the figures. ``wanted``: the Deployment to be; ``held``: what the slot has now, which
    counts as free."""
    asks, has = wish(wanted), wish(held)
    for quota in api.find("ResourceQuota", {}):
        for line in over(quota, asks, has):
            raise DoesNotFit(
                f"{base(ref)}: {ref.slot} asks for {line}.",
                advice="Raise the quota, lower `memory`, `cpu` or `replicas`, or shorten `keep_warm`.",
            )
    one = quantity(_resources(wanted)["requests"]["memory"])
    largest = _largest_node(api)
    if largest is not None and one > largest:
        raise DoesNotFit(
            f"{base(ref)}: one replica asks for {show_size(int(one))}; "
            f"the largest node has {show_size(int(largest))}.",
            advice="Lower `memory`, or add a larger node.",
        )


def wish(deployment: Found | None) -> Wish:
    """Nothing for no Deployment."""
    replicas = int(deployment["spec"].get("replicas") or 0) if deployment else 0
    if deployment is None or not replicas:
        return Wish({})
    found = {"pods": Decimal(replicas), "count/pods": Decimal(replicas)}
    for side, amounts in _resources(deployment).items():
        for what, amount in amounts.items():
            found[f"{side}.{what}"] = replicas * quantity(str(amount))
            if side == "requests":
                found[what] = found[f"{side}.{what}"]
    return Wish(found)


def over(quota: Found, asks: Wish, has: Wish) -> Iterator[str]:
    """In words, what is asked for beyond that quota."""
    spec, status = quota.get("spec") or {}, quota.get("status") or {}
    # A quota for pods of some priority is left to the cluster: which one ours get is its own decision.
    if "scopeSelector" in spec or set(spec.get("scopes") or ()) & set(_OTHERS):
        return
    hard, used = status.get("hard") or {}, status.get("used") or {}
    for name in sorted(hard):
        limit, free = (
            quantity(str(hard[name])),
            quantity(str(hard[name])) - quantity(str(used.get(name, "0"))),
        )
        if asks.of(name) > free + has.of(name):
            yield (
                f"{_shown(name, asks.of(name))} of {name}; the quota {quota['metadata']['name']} "
                f"has {_shown(name, max(free + has.of(name), Decimal(0)))} left of {_shown(name, limit)}"
            )


def _resources(deployment: Found) -> dict[str, dict[str, Any]]:
    """``limits`` and ``requests`` of its container, as far as they are said."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    found = containers[0].get("resources") or {}
    return {side: dict(found.get(side) or {}) for side in ("limits", "requests")}


def _shown(name: str, amount: Decimal) -> str:
    if "memory" in name or "storage" in name:
        return show_size(int(amount))
    return f"{amount.normalize():f}"


def _largest_node(api: KubeApi) -> Decimal | None:
    """Bytes of memory that the largest node deals to pods; None where nodes may not be looked at."""
    try:
        nodes = api.find("Node", {})
    except EngineFailed as error:
        if status_of(error) == 403:
            return None
        raise
    dealt = [(node.get("status") or {}).get("allocatable") or {} for node in nodes]
    return max((quantity(str(one["memory"])) for one in dealt if "memory" in one), default=None)


def quantity(text: str) -> Decimal:
    """A Kubernetes quantity (``250m``, ``128Mi``, ``1e3``) as a number. Raises ValueError."""
    match = re.fullmatch(
        r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE])?", text
    )
    if not match:
        raise ValueError(f"{text[:40]!r} is no quantity")
    number, unit = Decimal(match[1]), match[2] or ""
    return number * (Decimal(1024) ** _UNITS[unit] if unit in _UNITS else Decimal(10) ** _TENS[unit])
