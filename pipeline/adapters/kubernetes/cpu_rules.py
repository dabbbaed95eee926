"""How much CPU a container has to request in a namespace with LimitRanges. Pure, except for reading them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from pipeline.adapters.kubernetes.api.client import status_of
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.capacity import FORBIDDEN, parse_quantity
from pipeline.config.workload.kubernetes import USUAL_REQUEST
from pipeline.errors import EngineFailed

SMALLEST = 10  # thousandths of a core
_KINDS = ("Container", "Pod")  # of a rule: our pods have one container


@dataclass(frozen=True)
class CpuRules:
    """``ratio``: how many times its request a limit may be; ``least``: the smallest request, in thousandths of a
    core."""

    ratio: Decimal = Decimal("Infinity")
    least: int = 0

    def requested(self, limit: int) -> int:
        """Thousandths of a core to request for that limit."""
        demanded = max(self.least, math.ceil(limit / self.ratio))
        return max(SMALLEST, round(limit * USUAL_REQUEST), min(limit, demanded))


NO_RULES = CpuRules()


def rules_of(ranges: Iterable[KubeObject]) -> CpuRules:
    """The strictest of each kind in these LimitRanges."""
    rules = [one for found in ranges for one in found["spec"]["limits"] if one["type"] in _KINDS]
    ratios = [_cpu(one, "maxLimitRequestRatio") for one in rules]
    minima = [_cpu(one, "min") for one in rules]
    return CpuRules(
        min((one for one in ratios if one), default=NO_RULES.ratio),
        math.ceil(1000 * max((one for one in minima if one), default=Decimal(0))),
    )


def _cpu(rule: KubeObject, key: str) -> Decimal | None:
    found = (rule.get(key) or {}).get("cpu")
    return parse_quantity(str(found)) if found else None


def read_rules(api: KubeApi) -> CpuRules:
    """Those of the namespace; if they may not be listed, as if there were none."""
    try:
        return rules_of(api.find("LimitRange", {}))
    except EngineFailed as error:
        if status_of(error) == FORBIDDEN:
            return NO_RULES
        raise
