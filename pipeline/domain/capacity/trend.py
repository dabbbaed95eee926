"""What will be used up within days if it goes on growing. Pure.

Only whole days are compared, each by its largest value, so what swings within a day is no trend; and once a week is
known, the same days of two weeks have to have grown as well, so what swings within a week is none. The slope is the
median of those between all pairs of days (Theil–Sen), which a few odd days do not change, and it counts only if the
Mann–Kendall test says that the days rise.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipeline.domain.capacity.room import DAY, Series, Span
from pipeline.domain.measuring.trends import certainty

DISK, MEMORY, LOAD = "disk", "memory", "load"
What = Literal["disk", "memory", "load"]
ENOUGH = 5  # whole days, below which nothing is said
LOOKED = 28  # days that are looked at
WEEK = 7  # days
CERTAIN = 2.0  # standard deviations of the test's statistic
HALVES = (
    8  # whole days, from which on both halves of them have to rise: one jump between two levels is no trend
)
HALF_CERTAIN = 1.0  # standard deviations, of each half
AHEAD = 7 * DAY  # what is used up later than that is not foretold
DROP = 0.1  # of the most that was used; when so much was given back in a day, the days before are of another time
AGAIN = 7 * DAY  # what was not foretold for so long is told again

Point = tuple[int, float]  # day, value


@dataclass(frozen=True)
class Shortage:
    """``what`` of an engine's machine will be used up ``at`` that time. ``level`` of ``limit`` is used now; both, and
    ``per_day``, in bytes or cores; ``since``: the first day that says so, in days since the epoch; ``days``: how many
    say so; ``takers``: what takes the disk, in bytes; ``grown``: how many a day each of them grew in that time, the
    fastest first."""

    engine: str
    what: What
    at: float
    level: float
    limit: float
    per_day: float
    since: int
    days: int
    takers: dict[str, int] = field(default_factory=dict)
    grown: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Outlook:
    """What is kept of all machines. ``at``: when it was made; ``shortages``: the nearest first; ``told``: when each was
    foretold last, by ``<engine> <what>``; ``looked``: when each engine was looked at last; ``shared``: the data folder
    is on the same disk as what this machine's Engine keeps."""

    at: float = 0.0
    shortages: tuple[Shortage, ...] = ()
    told: dict[str, float] = field(default_factory=dict)
    looked: dict[str, float] = field(default_factory=dict)
    shared: bool = False


def whole_days(series: Series, now: float) -> tuple[Span, ...]:
    """The days that are over, without the first one if measuring began within it, of the last ``LOOKED``."""
    today, first = int(now // DAY), math.ceil(series.began / DAY)
    return tuple(one for one in series.days if max(first, today - LOOKED) <= one.at < today)


def trend_from(series: Series) -> float:
    """When there are enough whole days for a trend, in seconds since the epoch."""
    return (math.ceil(series.began / DAY) + ENOUGH) * DAY


def rise(points: Sequence[Point]) -> tuple[float, int] | None:
    """How much a day adds, and the day from which on; None if the days do not show a rise. ``points``: in the order of
    their days."""
    points = _since_drop(points)
    if len(points) < ENOUGH or certainty(points) < CERTAIN:
        return None
    half = len(points) // 2
    if len(points) >= HALVES and min(certainty(points[:half]), certainty(points[half:])) < HALF_CERTAIN:
        return None
    found = statistics.median(
        (b - a) / (later - day) for n, (day, a) in enumerate(points) for later, b in points[n + 1 :]
    )
    values = dict(points)
    weeks = [(value - values[day - WEEK]) / WEEK for day, value in points if day - WEEK in values]
    if weeks:
        found = min(found, statistics.median(weeks))
    return (found, points[0][0]) if found > 0 else None


def _since_drop(points: Sequence[Point]) -> Sequence[Point]:
    """Those since a person made room, if that is longer ago than a week: what is cleared every week is no growth."""
    most = max((value for _, value in points), default=0.0)
    for n in range(len(points) - 1, 0, -1):
        if points[n - 1][1] - points[n][1] > DROP * most:
            return points[n:] if len(points) - n > WEEK else points
    return points


def shortages(engine: str, series: Series, reserve: int, now: float) -> Iterable[Shortage]:
    """What will be used up within ``AHEAD``. ``reserve``: bytes of the disk that have to stay free."""
    days = whole_days(series, now)
    size = series.size
    disk = series.room.disk
    ways: tuple[tuple[What, float | None, float | None, list[Point]], ...] = (
        (
            "disk",
            disk - reserve if disk else None,
            series.room.disk_used,
            [(one.at, float(one.used)) for one in days if one.used is not None],
        ),
        (
            "memory",
            float(size.memory) if size else None,
            series.room.memory,
            [(one.at, float(one.memory)) for one in days if one.memory is not None],
        ),
        (
            "load",
            size.cores if size else None,
            series.room.load,
            [(one.at, one.load) for one in days if one.load is not None],
        ),
    )
    for what, limit, present, points in ways:
        if limit is None or limit <= 0 or present is None or not points:
            continue
        found = rise(points)
        if found is None:
            continue
        per_day, since = found
        # Memory and load swing within a day, so their last whole day says more than the present moment.
        level = present if what == "disk" else points[-1][1]
        at = now + max(0.0, limit - level) / per_day * DAY
        if at - now <= AHEAD:
            takers, grown = (series.room.takers, _grown(series, since)) if what == "disk" else ({}, {})
            yield Shortage(engine, what, at, level, limit, per_day, since, len(points), takers, grown)


def _grown(series: Series, since: int) -> dict[str, float]:
    known = [(day, one) for day, one in sorted(series.takers.items()) if day >= since]
    if len(known) < 2:
        return {}
    (first, before), (last, after) = known[0], known[-1]
    found = {name: (size - before.get(name, 0)) / (last - first) for name, size in after.items()}
    return dict(sorted(((n, each) for n, each in found.items() if each > 0), key=lambda one: -one[1]))


def renewed(
    before: Outlook, found: Sequence[Shortage], looked: Mapping[str, float], now: float, *, shared: bool
) -> tuple[Outlook, tuple[Shortage, ...]]:
    """What is kept from now on, and what receivers are to be told: each shortage once, and again only after a week in
    which it was not foretold. A clock that was set back counts as that week."""
    told = {name: at for name, at in before.told.items() if 0 <= now - at < AGAIN}
    fresh = tuple(one for one in found if _name(one) not in told)
    told |= {_name(one): now for one in found}
    ordered = tuple(sorted(found, key=lambda one: one.at))
    return Outlook(now, ordered, told, dict(looked), shared), fresh


def _name(one: Shortage) -> str:
    return f"{one.engine} {one.what}"
