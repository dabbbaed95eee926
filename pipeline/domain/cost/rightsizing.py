"""What could be smaller, by what was measured: replicas, memory and CPU of an environment, with the saving and the risk
of each change. Pure.

Nothing is suggested before ENOUGH of a week was measured. Replicas that are redundancy stay, in every environment,
unless a person asks to go without; so live keeps at least two. A limit stays above the highest that was measured, with
headroom, also with fewer replicas. What saves next to nothing is not suggested.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.domain.cost import load as loads
from pipeline.domain.cost.ledger import GIB
from pipeline.domain.cost.load import Load
from pipeline.domain.cost.purposes import SHARE, Need, Replica, memory_with
from pipeline.lib.units import show_size

ENOUGH = 5 * 86400.0  # seconds of the last week that have to be measured
MIB = 1 << 20
STEP, LEAST_MEMORY = 16 * MIB, 32 * MIB
LEAST_CPU = 0.1
MEMORY_PART, CPU_PART = 0.75, 0.5  # of what there is: a suggestion is not above that
NOTABLE_MEMORY, NOTABLE_CORES = 64 * MIB, 0.05  # of an environment in all


@dataclass(frozen=True)
class Change:
    """One value. ``key``: as in an environment, ``processes.mail.replicas``; ``before``, ``after``: as in the file;
    ``monthly``: what it saves, in the currency of ``costs``, 0 if nothing or if that is not known; ``frees``: bytes of
    memory that are reserved no longer; ``risk``: in words."""

    key: str
    before: str
    after: str
    monthly: float
    frees: int
    risk: str


@dataclass(frozen=True)
class Part:
    """A process of an environment. ``process``: "" for the web one; ``declared``: replicas as the configuration in
    force has them, 0 if others set them; ``redundancy``, ``idle``: what these replicas cost in a month."""

    process: str
    declared: int
    load: Load
    need: Need
    redundancy: float = 0.0
    idle: float = 0.0


@dataclass(frozen=True)
class Sizes:
    """``each``: what a replica may use, by the configuration in force; ``cpu``: its limit there; ``everything``: the
    highest memory of any container there, in bytes. ``complete``: every process of that configuration was measured.
    ``reserves_memory``: what is reserved follows from the limit; ``reserves_cpu``: and which part of
    it, 0 where nothing is. ``gib``, ``core``: what one that is reserved costs in a month, 0 if that is not known."""

    each: Replica
    cpu: float
    everything: int
    complete: bool = True
    reserves_memory: bool = False
    reserves_cpu: float = 0.0
    gib: float = 0.0
    core: float = 0.0


def changes(parts: Mapping[str, Part], sizes: Sizes, headroom: float, *, spare: bool = True) -> list[Change]:
    """Of one environment, its parts by their processes. ``spare``: redundancy stays."""
    if not parts or any(one.load.seconds < ENOUGH for one in parts.values()):
        return []
    wanted = {name: (one.need.enough if spare else one.need.wanted) for name, one in parts.items()}
    fewer = {
        name: min(one.declared, wanted[name]) if one.declared else one.need.replicas
        for name, one in parts.items()
    }
    found = [_replicas(one, fewer[name], sizes.each) for name, one in sorted(parts.items())]
    if sizes.complete:
        found += [_memory(parts, fewer, sizes, headroom), _cpu(parts, fewer, sizes, headroom)]
    return [one for one in found if one]


def _replicas(one: Part, fewer: int, each: Replica) -> Change | None:
    if one.declared <= fewer:
        return None
    key = f"processes.{one.process}.replicas" if one.process else "replicas"
    redundant = one.need.enough > fewer
    memory = memory_with(one.load, fewer)
    risk = (
        f"p95 load {_share(one.need.busy, fewer, each)} of the CPU, at the highest "
        f"{_share(one.need.most, fewer, each)}; "
        f"memory up to {show_size(memory)} of {show_size(each.memory)}; {_loss(one, fewer, each)}"
    )
    monthly = one.idle + (one.redundancy if redundant else 0.0)
    return Change(key, str(one.declared), str(fewer), monthly, (one.declared - fewer) * each.memory, risk)


def _loss(one: Part, fewer: int, each: Replica) -> str:
    what = "one node" if one.need.nodes > 1 else "one"
    if fewer < 2:
        return "while it is lost or starts again, nothing works there"
    left = fewer - (math.ceil(fewer / min(one.need.nodes, fewer)) if one.need.nodes > 1 else 1)
    if not left:
        return f"loss of {what} not survived"
    survived = "survived" if one.need.enough <= fewer else "not survived with headroom"
    return f"loss of {what} {survived} (p95 load {_share(one.need.busy, left, each)} then)"


def _memory(
    parts: Mapping[str, Part], fewer: Mapping[str, int], sizes: Sizes, headroom: float
) -> Change | None:
    highest = max(sizes.everything, *(memory_with(one.load, fewer[name]) for name, one in parts.items()))
    limit = max(LEAST_MEMORY, math.ceil(highest * (1 + headroom) / STEP) * STEP)
    frees = (sizes.each.memory - limit) * sum(fewer.values())
    if limit > MEMORY_PART * sizes.each.memory or frees < NOTABLE_MEMORY:
        return None
    monthly = frees / GIB * sizes.gib if sizes.reserves_memory else 0.0
    risk = (
        f"the highest that was measured is {show_size(highest)}; peaks shorter than a minute are not seen, and a "
        "container that needs more is ended"
    )
    return Change("memory", _size(sizes.each.memory), _size(limit), monthly, frees, risk)


def _cpu(parts: Mapping[str, Part], fewer: Mapping[str, int], sizes: Sizes, headroom: float) -> Change | None:
    """Only where a part of the limit is reserved: otherwise a lower one saves nothing, and makes starts slower."""
    if not sizes.reserves_cpu:
        return None
    busiest = max(loads.quantile(one.load, 1.0) / fewer[name] for name, one in parts.items())
    after_loss = max(
        loads.quantile(one.load, SHARE) / min(fewer[name], one.need.wanted) for name, one in parts.items()
    )
    limit = max(LEAST_CPU, math.ceil(max(busiest, after_loss) * (1 + headroom) * 20 - 1e-9) / 20)
    before, after = (one * sizes.reserves_cpu for one in (sizes.cpu, limit))
    saved = sum(
        fewer[name] * (max(before, used) - max(after, used))
        for name, one in parts.items()
        for used in [one.load.used / one.load.count]
    )
    if limit > CPU_PART * sizes.cpu or saved < NOTABLE_CORES:
        return None
    risk = f"the highest that was measured is {busiest:.2f} cores each with these replicas; starts may take longer"
    return Change("cpu", f"{sizes.cpu:g}", f"{limit:g}", saved * sizes.core, 0, risk)


def _share(cores: float, replicas: int, each: Replica) -> str:
    return f"{100 * cores / replicas / each.cores:.0f} %"


def _size(count: int) -> str:
    return f"{count // MIB}MiB" if count % MIB == 0 else str(count)
