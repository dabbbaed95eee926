"""How many more pipelines of today's size fit on a machine, and what would be short first. Pure.

The rule: the size of a pipeline is what all pipelines there took in their largest hour, divided by their number. What
is free is what the machine had left in its largest hour, by everything that runs on it, less the tenth that stays free.
Of disk it is what is free now, less what builds require.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.config.engines import machines_of
from pipeline.config.previews.names import pipeline_of
from pipeline.domain.capacity.room import Series
from pipeline.domain.cost.ledger import GIB, SYSTEM, Account, Amount, Hour, account
from pipeline.domain.cost.month import IDLE
from pipeline.domain.cost.taken import Size

WINDOW = 7 * 86400.0  # seconds: a week, since weekends differ from weekdays
SPARE = 0.1  # of cores and of memory, that stays free
SHORTEST = 600.0  # seconds of an hour that must have been measured, if another hour has more
LEAST_CORES, LEAST_BYTES = 0.001, 1 << 20  # what a pipeline counts for at least
MOST = 999  # more than that is not a figure to plan with


@dataclass(frozen=True)
class Use:
    """Cores, and bytes of memory."""

    cores: float = 0.0
    memory: float = 0.0

    def __add__(self, other: Use) -> Use:
        return Use(self.cores + other.cores, self.memory + other.memory)


@dataclass(frozen=True)
class Taken:
    """What this installation took of a machine, or of a cluster's nodes, on the average of one hour. ``purposes``: by
    purpose; ``pipelines``: how many took something; ``number``: of the hour, since the epoch."""

    number: int
    purposes: dict[str, Use]
    pipelines: int

    @property
    def whole(self) -> Use:
        return sum(self.purposes.values(), Use())

    @property
    def of_pipelines(self) -> Use:
        return sum((use for purpose, use in self.purposes.items() if purpose != SYSTEM), Use())


@dataclass(frozen=True)
class Fit:
    """How many more pipelines fit by each resource, None if that is not known; ``more``: by all that are known, None if
    none is; ``first``: what is short first; ``size``: of one pipeline, ``disk``: bytes of disk that it takes."""

    size: Use | None = None
    disk: float | None = None
    by: dict[str, int | None] | None = None
    more: int | None = None
    first: str = ""


def taken(hours: Iterable[Hour], machines: str) -> list[Taken]:
    """Of each hour in which those machines (``engines.machines_of``) were measured long enough, oldest first."""
    known = [(one, seconds) for one in hours if (seconds := _seconds(one, machines))]
    enough = [one for one in known if max(one[1].values()) >= SHORTEST] or known
    return [_taken(*one) for one in enough]


def _seconds(hour: Hour, machines: str) -> dict[str, float]:
    """How long each engine on them was measured."""
    return {key: one for key, one in hour.seconds.items() if one > 0 and machines_of(key) == machines}


def _taken(hour: Hour, seconds: dict[str, float]) -> Taken:
    purposes, names = dict[str, Use](), set[str]()
    for text, amount in hour.amounts.items():
        one = account(text)
        if one.engine not in seconds:
            continue
        purposes[one.purpose] = purposes.get(one.purpose, Use()) + _use(amount, seconds[one.engine])
        names |= _pipeline(one)
    return Taken(hour.number, purposes, len(names))


def _use(amount: Amount, seconds: float) -> Use:
    return Use(amount.cores / seconds, amount.memory / seconds * GIB)


def _pipeline(one: Account) -> set[str]:
    """A preview comes and goes with a branch, so what it takes counts for its pipeline."""
    return {pipeline_of(one.pipeline)} if one.pipeline and one.purpose not in (SYSTEM, IDLE) else set()


def largest(found: Sequence[Taken]) -> Use:
    """The most cores and the most memory of an hour; they may be those of two hours."""
    return Use(
        max((one.whole.cores for one in found), default=0.0),
        max((one.whole.memory for one in found), default=0.0),
    )


def busiest_memory(series: Series, now: float) -> int | None:
    """The most memory that the whole machine used in an hour of the window, bytes; None if it is not known."""
    first = (now - WINDOW) // 3600
    return max(
        (one.memory for one in series.hours if one.memory is not None and one.at >= first), default=None
    )


def busiest_load(series: Series, now: float) -> float | None:
    """The highest load of an hour of the window, on its average, cores; None if it is not known."""
    first = (now - WINDOW) // 3600
    return max((one.mean for one in series.hours if one.mean is not None and one.at >= first), default=None)


def fit(size: Size | None, found: Sequence[Taken], series: Series, reserve: int, now: float) -> Fit:
    """``found``: of the window; ``reserve``: bytes of disk that builds require."""
    newest = found[-1].pipelines if found else 0
    if not newest:
        return Fit()
    each = Use(
        max(LEAST_CORES, max(one.of_pipelines.cores for one in found) / newest),
        max(LEAST_BYTES, max(one.of_pipelines.memory for one in found) / newest),
    )
    room, top = series.room, largest(found)
    parts = [room.takers[name] for name in ("images", "volumes") if name in room.takers]
    disk = max(LEAST_BYTES, sum(parts) / newest) if parts else None
    by: dict[str, int | None] = {"memory": None, "cores": None, "disk": None}
    if size and size.memory:
        busy = max(top.memory, busiest_memory(series, now) or 0)
        by["memory"] = _count(size.memory * (1 - SPARE) - busy, each.memory)
    if size and size.cores:
        by["cores"] = _count(
            size.cores * (1 - SPARE) - max(top.cores, busiest_load(series, now) or 0.0), each.cores
        )
    if disk is not None and room.disk_free is not None:
        by["disk"] = _count(room.disk_free - reserve, disk)
    known = {name: count for name, count in by.items() if count is not None}
    first = min(known, key=lambda name: known[name]) if known else ""
    return Fit(each, disk, by, known.get(first), first)


def _count(free: float, each: float) -> int:
    return max(0, min(MOST, int(free / each)))
