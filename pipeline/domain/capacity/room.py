"""What a machine uses, and how that was hour by hour and day by day. Pure.

An hour and a day keep the largest that was seen in them: what is free at the worst moment is what more can use. Old
hours are in their days, so a series is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from pipeline.domain.cost.taken import Size

HOUR, DAY = 3600.0, 86400.0  # seconds
HOURS, DAYS, TAKERS = 8 * 24, 400, 15  # how many are kept
SAME = 0.01  # of a disk's size, by which two looks at the same one may differ


@dataclass(frozen=True)
class Room:
    """What a machine uses now, or all nodes of a cluster together; None: that cannot be known from here. ``disk``:
    bytes that can be used, ``disk_free``: those that are left; ``memory``: bytes that are not available to anyone else;
    ``load``: cores, or processes that wait for one as well; ``takers``: what takes the disk, in bytes, empty if that
    was not counted; ``pressure``: what nodes say is short, a sentence each."""

    disk: int | None = None
    disk_free: int | None = None
    memory: int | None = None
    load: float | None = None
    takers: dict[str, int] = field(default_factory=dict)
    pressure: tuple[str, ...] = ()

    @property
    def disk_used(self) -> int | None:
        return self.disk - self.disk_free if self.disk is not None and self.disk_free is not None else None


class Span(NamedTuple):
    """The largest in an hour or a day of UTC. ``at``: hours or days since the epoch; ``disk``: bytes that the disk has,
    the newest; ``used``, ``memory``: bytes; ``load``: cores. ``mean``: of an hour alone, the average load of its
    ``looks``; None in what earlier versions wrote."""

    at: int
    disk: int | None = None
    used: int | None = None
    memory: int | None = None
    load: float | None = None
    mean: float | None = None
    looks: int = 0


@dataclass(frozen=True)
class Series:
    """All that is kept of a machine. ``room``, ``looked``: the newest look; ``size``: None if it is not known;
    ``counted``: when its takers were; ``hours``, ``days``: oldest first; ``takers``: those of a day, by its number."""

    began: float
    looked: float
    room: Room = Room()
    size: Size | None = None
    counted: float = 0.0
    hours: tuple[Span, ...] = ()
    days: tuple[Span, ...] = ()
    takers: dict[int, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """The newest one, with its hour so far. It is a part of its own, since it is written with each look."""

    at: float
    room: Room
    size: Size | None
    hour: Span


def looked(before: Look | None, room: Room, size: Size | None, now: float) -> Look:
    """``before``: the look before it, of which only one in the same hour counts."""
    number = int(now // HOUR)
    one = _span(number, room)
    if before is not None and before.hour.at == number:
        one = _averaged(before.hour, one)
    return Look(now, room, size or (before.size if before else None), one)


def closed(series: Series | None, look: Look) -> Series:
    """The series with the hour of that look in it. Idempotent. What is later than the look is of a clock that was
    wrong, and goes."""
    known = series or Series(look.at, look.at)
    day = int(look.hour.at // 24)
    hours = _with(known.hours, look.hour)[-HOURS:]
    days = _with(known.days, look.hour._replace(at=day, mean=None, looks=0))[-DAYS:]
    takers = {number: one for number, one in known.takers.items() if number <= day}
    counted = known.counted
    if look.room.takers:
        takers, counted = {**takers, day: look.room.takers}, look.at
    newest = dict(sorted(takers.items())[-TAKERS:])
    room = look.room if look.room.takers else replace(look.room, takers=known.room.takers)
    began = min(known.began, look.at)
    return Series(began, look.at, room, look.size or known.size, counted, hours, days, newest)


def _with(spans: tuple[Span, ...], one: Span) -> tuple[Span, ...]:
    before = tuple(each for each in spans if each.at < one.at)
    same = next((each for each in spans if each.at == one.at), None)
    return (*before, _larger(same, one) if same else one)


def _span(number: int, room: Room) -> Span:
    counted = int(room.load is not None)
    return Span(number, room.disk, room.disk_used, room.memory, room.load, room.load, counted)


def _averaged(a: Span, b: Span) -> Span:
    """``b``: one more look in the hour ``a``."""
    looks = a.looks + b.looks
    mean = ((a.mean or 0.0) * a.looks + (b.mean or 0.0) * b.looks) / looks if looks else None
    return _larger(a, b)._replace(mean=mean, looks=looks)


def _larger(a: Span, b: Span) -> Span:
    """``b`` is the newer one, or the same once more."""
    disk = a.disk if b.disk is None else b.disk
    load = b.load if a.load is None else a.load if b.load is None else max(a.load, b.load)
    longer = a if a.looks > b.looks else b
    return Span(a.at, disk, _most(a.used, b.used), _most(a.memory, b.memory), load, longer.mean, longer.looks)


def _most(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else max(a, b)


def same_disk(a: Room, b: Room) -> bool:
    """Whether both are looks at one disk, as far as figures tell: another one of the same size would also have to be as
    full."""
    if a.disk is None or b.disk is None or a.disk_free is None or b.disk_free is None:
        return False
    return a.disk == b.disk and abs(a.disk_free - b.disk_free) <= SAME * a.disk


def with_takers(a: Series, b: Series) -> Series:
    """``a``, with what takes the disk of ``b``, which is the same one."""
    days = {day: {**one, **b.takers.get(day, {})} for day, one in a.takers.items() if day in b.takers}
    return replace(a, room=replace(a.room, takers={**a.room.takers, **b.room.takers}), takers=days)
