"""How much everything that serves works, as histograms: what says how many replicas are needed. Pure.

A sample is the average of the time between two looks, a minute or so, over all replicas together. Buckets are
logarithmic, STEPS of them for each doubling: a quantile is given as the upper bound of its bucket, so it is never below
the true one, and at most ERROR above it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.domain.cost.ledger import DEPLOYING, SERVING
from pipeline.domain.cost.taken import Taken

STEPS = 8
ERROR = 2 ** (1 / STEPS) - 1  # 9 %
LOWEST = -8 * STEPS  # the bucket of everything up to 1/256 of a core
ALL = "*"
"""The process of a load that has only ``top``: of all containers that an environment had, also those that were starting
and those of commands, since they have the same limit."""

Key = tuple[str, str, str]
"""Pipeline, environment, process: "" for the web one."""


@dataclass(frozen=True)
class Load:
    """``seconds``: measured; ``used``: core-seconds; ``count``: replica-seconds; ``floor``, ``top``: the lowest and the
    highest memory of one replica, in bytes; ``replicas``, ``nodes``: how many there were at the last look, and on how
    many nodes of a cluster, 0 on Docker; ``buckets``: seconds by the number of the bucket."""

    seconds: float = 0.0
    used: float = 0.0
    count: float = 0.0
    floor: int = 0
    top: int = 0
    replicas: int = 0
    nodes: int = 0
    buckets: Mapping[int, float] = field(default_factory=dict)

    def __add__(self, later: Load) -> Load:
        """Both. Of what is as it was last, the later one's."""
        if not later.seconds:
            return self
        if not self.seconds:
            return later
        buckets = defaultdict[int, float](float, self.buckets)
        for number, seconds in later.buckets.items():
            buckets[number] += seconds
        return Load(
            self.seconds + later.seconds,
            self.used + later.used,
            self.count + later.count,
            min(self.floor, later.floor),
            max(self.top, later.top),
            later.replicas,
            later.nodes,
            dict(buckets),
        )

    def __str__(self) -> str:
        times = (f"{self.seconds:.0f}", f"{self.used:.3f}", f"{self.count:.0f}")
        rest = (str(one) for one in (self.floor, self.top, self.replicas, self.nodes))
        buckets = (f"{number}:{seconds:.0f}" for number, seconds in sorted(self.buckets.items()))
        return " ".join((*times, *rest, *buckets))


def load(text: str) -> Load:
    """What ``str`` wrote, in whole seconds and thousandths of core-seconds. Raises ValueError for any other text."""
    seconds, used, count, floor, top, replicas, nodes, *rest = text.split(" ")
    buckets = (one.split(":") for one in rest)
    return Load(
        float(seconds), float(used), float(count), int(floor), int(top), int(replicas), int(nodes),
        {int(number): float(time) for number, time in buckets},
    )  # fmt: skip


def bucket(cores: float) -> int:
    """The number of the bucket: the first whose upper bound is not below."""
    if cores <= bound(LOWEST):
        return LOWEST
    number = math.ceil(math.log2(cores) * STEPS)
    return next(one for one in (number - 1, number, number + 1) if cores <= bound(one))


def bound(number: int) -> float:
    """The upper bound of a bucket, in cores."""
    return float(2 ** (number / STEPS))


def quantile(load: Load, share: float) -> float:
    """The cores that all replicas together did not exceed for that share of the time: an upper bound, see ERROR. 0 if
    nothing was measured."""
    whole, seen = sum(load.buckets.values()), 0.0
    for number, seconds in sorted(load.buckets.items()):
        seen += seconds
        if seen >= share * whole:
            return bound(number)
    return 0.0


def sampled(
    found: Iterable[tuple[Taken, str]],
    cores: Mapping[str, float],
    passed: float,
    shared: Collection[tuple[str, str]] = (),
) -> dict[Key, Load]:
    """What one look tells. ``found``: each container with its purpose; ``cores``: by the container's name, what it used
    on average in the ``passed`` seconds since the look before; ``shared``: environments in which a part of the visitors
    goes to a release that does not serve yet: what that one uses is the load of those that serve. Accessories are what
    they are: one container each."""
    serving, tops = defaultdict[Key, list[Taken]](list), defaultdict[Key, int](int)
    beside = defaultdict[Key, float](float)
    for one, purpose in found:
        if one.role in ("accessory", "system") or not one.environment:
            continue
        key, whole = ((one.pipeline, one.environment, process) for process in (one.process, ALL))
        tops[whole] = max(tops[whole], one.memory)
        if purpose == SERVING:
            serving[key].append(one)
        elif purpose == DEPLOYING and one.role == "web" and key[:2] in shared:
            beside[key] += cores.get(one.name, 0.0)
    loads = {key: Load(passed, top=top) for key, top in tops.items()}
    for key, some in serving.items():
        if not all(one.memory for one in some):
            continue  # a cluster without the metrics API, or a pod that is too new for it
        used, memory = (
            sum(cores.get(one.name, 0.0) for one in some) + beside[key],
            [one.memory for one in some],
        )
        nodes = len({one.node for one in some if one.node})
        loads[key] = Load(
            passed, used * passed, len(some) * passed, min(memory), max(memory), len(some), nodes,
            {bucket(used): passed},
        )  # fmt: skip
    return loads


def added(one: Mapping[Key, Load], later: Mapping[Key, Load]) -> dict[Key, Load]:
    return {
        key: one.get(key, Load()) + later.get(key, Load()) for key in [*one, *(later.keys() - one.keys())]
    }
