"""What the replicas of an environment are for, as a person says it. Pure."""

from __future__ import annotations

from pipeline.config.cost.prices import Costs
from pipeline.domain.cost.load import Load
from pipeline.domain.cost.month import WINDOW
from pipeline.domain.cost.purposes import LEAST, Need, Replica, memory_with
from pipeline.lib.units import show_size, show_time


def sentence(
    name: str,
    load: Load,
    found: Need | None,
    each: Replica,
    headroom: float,
    days: int,
    monthly: float,
    costs: Costs,
    since: float,
) -> str:
    """Nothing, if no replica is idle and none is missing. ``days``: for how many something has been idle; ``monthly``:
    what that costs in a month; ``since``: when measuring began in this week."""
    if not load.seconds:
        return f"What {name} uses is not known, so neither is what each replica is for: its cluster has no metrics API."
    if found is None:
        return _too_early(name, load, since) if load.replicas > 1 else ""
    early = (
        ""
        if load.seconds >= 0.9 * WINDOW
        else f" Measured for {_span(load.seconds)}, since {show_time(since)}."
    )
    if found.wanted > found.replicas:
        return (
            f"{name} has {_replicas(found.replicas)}, and the load needs {found.wanted} with {_share(headroom)} "
            f"headroom: p95 load {_share(found.busy / found.replicas / each.cores)} of the CPU.{early}"
        )
    if not found.idle:
        return ""
    price = f" ({monthly:.2f} {costs.currency} a month)" if monthly >= 0.005 else ""
    parts = [
        _are(found.serving, "serves", "serve"),
        _are(found.redundancy, "is redundancy", "are redundancy"),
    ]
    long = f"has been idle for {_days(days)}", f"have been idle for {_days(days)}"
    parts.append(_are(found.idle, *(long if days else ("is idle", "are idle"))) + price)
    left = found.replicas - 1
    return (
        f"{name} has {_replicas(found.replicas)}: {', '.join(part for part in parts if part)}. With one replica less: "
        f"p95 load {_share(found.busy / left / each.cores)} of the CPU, memory up to "
        f"{show_size(memory_with(load, left))} of {show_size(each.memory)}, {survives(found)}.{early}"
    )


def survives(found: Need) -> str:
    return "loss of one node survived" if found.nodes > 1 else "loss of one survived"


def _too_early(name: str, load: Load, since: float) -> str:
    return (
        f"{name} has {_replicas(load.replicas)}; what each is for can be said when {_span(LEAST)} has been measured "
        f"(since {show_time(since)}: {_span(load.seconds)})."
    )


def _replicas(count: int) -> str:
    return "1 replica" if count == 1 else f"{count} replicas"


def _are(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}" if count else ""


def _days(count: int) -> str:
    return "a day" if count == 1 else f"{count} days"


def _span(seconds: float) -> str:
    hours = round(seconds / 3600)
    return "a day" if hours == 24 else f"{hours // 24} days" if hours >= 48 else f"{hours} hours"


def _share(share: float) -> str:
    return f"{100 * share:.0f} %"
