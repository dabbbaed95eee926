"""What the replicas of what serves are for: how many the load needs, how many the loss of one needs beside them, and
how many are merely redundant. Pure.

*Serving* are as many as the load of all together, at the 95th percentile of minutes, needs with headroom.
*Redundancy* are those beside them that make up for the loss of one, or on several nodes of a cluster of one node. The
rest is *idle*.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pipeline.config.engines import machines_of
from pipeline.domain.cost import load as loads
from pipeline.domain.cost.ledger import SERVING, Account, Amount, account
from pipeline.domain.cost.load import Key, Load
from pipeline.domain.cost.month import Piece
from pipeline.domain.cost.shares import Day, Share, worth

REDUNDANCY, IDLE = "redundancy", "idle"
SHARE = 0.95  # of the time
LEAST = 86400.0  # seconds that have to be measured before anything is said


@dataclass(frozen=True)
class Replica:
    """What one may use. ``cores``: not more than its machine has; ``memory``: bytes."""

    cores: float
    memory: int


@dataclass(frozen=True)
class Need:
    """``replicas``: how many there are: ``serving`` + ``redundancy`` + ``idle``. ``wanted``: how many the load needs,
    more than ``serving`` if there are too few; ``enough``: with redundancy. ``busy``: cores at the 95th percentile, of
    all together; ``most``: at the highest; ``memory``: the highest of one replica, in bytes; ``by_memory``: whether
    memory decides how many are needed. ``nodes``: on which they are, 0 on Docker. ``measured``: seconds."""

    replicas: int
    serving: int
    redundancy: int
    idle: int
    wanted: int
    enough: int
    busy: float
    most: float
    memory: int
    by_memory: bool
    nodes: int
    measured: float


def need(load: Load, replicas: int, each: Replica, headroom: float) -> Need | None:
    """``headroom``: a share, such as 0.3. None with less than LEAST measured, or without replicas."""
    if load.seconds < LEAST or replicas < 1:
        return None
    busy = loads.quantile(load, SHARE)
    cpu = max(1, math.ceil(busy * (1 + headroom) / each.cores - 1e-9))
    memory = _by_memory(load, replicas, each, headroom)
    wanted = max(cpu, memory)
    enough = with_redundancy(wanted, load.nodes)
    serving = min(replicas, wanted)
    redundancy = min(replicas, enough) - serving
    return Need(
        replicas, serving, redundancy, replicas - serving - redundancy, wanted, enough, busy,
        loads.quantile(load, 1.0), load.top, memory > cpu, load.nodes, load.seconds,
    )  # fmt: skip


def with_redundancy(wanted: int, nodes: int) -> int:
    """The least number of replicas of which so many are left when one is lost, or when one of ``nodes`` is over which
    they are spread evenly. Of a single node, as of a machine, nothing is left."""
    lost = wanted + 1
    while nodes > 1 and lost - math.ceil(lost / min(nodes, lost)) < wanted:
        lost += 1
    return lost


def memory_with(load: Load, replicas: int) -> int:
    """The highest memory of one of so many replicas, in bytes: what it had at its lowest it has in any case, and all
    that they had beyond that is divided among those that are left."""
    were = load.count / load.seconds if load.seconds else 0.0
    return round(load.floor + (load.top - load.floor) * max(1.0, were / replicas))


def _by_memory(load: Load, replicas: int, each: Replica, headroom: float) -> int:
    """As many as there are, if even these do not have the headroom."""
    fits = (n for n in range(1, replicas) if memory_with(load, n) * (1 + headroom) <= each.memory)
    return next(fits, replicas)


def idle_days(days: Iterable[Load | None], each: Replica, headroom: float, idle: int) -> int:
    """On how many days in a row, from the newest, so many were idle."""
    count = 0
    for one in days:
        if one is None or not one.seconds:
            break
        replicas = round(one.count / one.seconds)
        wanted = max(
            math.ceil(loads.quantile(one, SHARE) * (1 + headroom) / each.cores - 1e-9),
            _by_memory(one, replicas, each, headroom) if replicas else 1,
        )
        if replicas - with_redundancy(max(1, wanted), one.nodes) < idle:
            break
        count += 1
    return count


def split(piece: Piece, needs: Mapping[Key, Need], used: Mapping[Key, float]) -> Piece:
    """The hour, or the day, with what served divided by its purposes; the sums are the same. ``used``: which share of
    the cores that a key paid for it used, 1 where nothing is reserved. What is used would be used by the replicas that
    are left, so a replica that is not needed only pays for memory, and for cores that are reserved for it."""
    if isinstance(piece, Day):
        return _split_day(piece, needs, used)
    amounts = dict[str, Amount]()
    for text, amount in piece.amounts.items():
        one = account(text)
        for to, part in _divided(one, amount, piece.seconds.get(one.engine, 0.0), needs, used):
            amounts[str(to)] = amounts.get(str(to), Amount()) + part
    return replace(piece, amounts=amounts)


def _split_day(day: Day, needs: Mapping[Key, Need], used: Mapping[Key, float]) -> Day:
    """By how many replicas there were on average."""
    found = dict[str, Share]()
    for text, share in day.shares.items():
        one = account(text)
        seconds, whole = day.seconds.get(machines_of(one.engine), 0.0), worth(share.amount)
        for to, part in _divided(one, share.amount, seconds, needs, used):
            of = worth(part) / whole if whole else 1.0
            more = replace(share, amount=part, machines={key: of * it for key, it in share.machines.items()})
            found[str(to)] = found[str(to)] + more if str(to) in found else more
    return replace(day, shares=found)


def _divided(
    one: Account, amount: Amount, seconds: float, needs: Mapping[Key, Need], used: Mapping[Key, float]
) -> list[tuple[Account, Amount]]:
    """``seconds``: for how long its machine was measured."""
    found = needs.get((one.pipeline, one.environment, one.process))
    replicas = amount.count / seconds if seconds else 0.0
    if one.purpose != SERVING or found is None or replicas <= found.wanted:
        return [(one, amount)]
    q = used.get((one.pipeline, one.environment, one.process), 1.0)
    serving = _of(amount, found.wanted / replicas, q)
    kept = amount if replicas <= found.enough else _of(amount, found.enough / replicas, q)
    parts = [(one, serving), (replace(one, purpose=REDUNDANCY), kept - serving)]
    return [*parts, (replace(one, purpose=IDLE), amount - kept)] if kept is not amount else parts


def _of(amount: Amount, share: float, used: float) -> Amount:
    return Amount(amount.cores * max(used, share), amount.memory * share, amount.count * share)
