"""Spans of local time in a time zone, as seconds since the epoch.

Where clocks change, a time that the zone skips is the first moment after the gap, and one that it has twice is the
first of the two: as in ``pipeline.lib.schedule``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LONGEST = timedelta(days=8)  # of a weekly span, and a day more
_AHEAD = timedelta(days=15)
_SAME_YEAR = 300 * 86400.0  # seconds ahead up to which a date needs no year


@dataclass(frozen=True)
class Span:
    """From ``begin`` up to, and not including, ``end``."""

    begin: float
    end: float

    def __contains__(self, at: float) -> bool:
        return self.begin <= at < self.end


def moment(local: datetime, zone: str) -> float:
    """That local time, without a zone of its own, in the zone."""
    early, late = (local.replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp() for fold in (1, 0))
    if early >= late:
        return late  # one that is there twice has the later one with fold 1
    # Skipped: the clock jumps somewhere between the two. The offset after the jump is the larger one.
    low, high = int(early), int(late)
    after = _offset(high, zone)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _offset(middle, zone) == after else (middle, high)
    return float(high)


def _offset(at: float, zone: str) -> timedelta | None:
    return datetime.fromtimestamp(at, ZoneInfo(zone)).utcoffset()


def weekly(first: int, last: int, begin: time, end: time, zone: str, around: float) -> Iterator[Span]:
    """The spans from ``begin`` on weekday ``first`` (0: Monday) to ``end`` on weekday ``last``, or on the day after it
    if ``end`` is not later than ``begin``: those that ``around`` may be in, and those of two weeks after it."""
    length = (last - first) % 7 + (1 if end <= begin else 0)
    now = datetime.fromtimestamp(around, ZoneInfo(zone)).replace(tzinfo=None)
    day, until = (now - _LONGEST).date(), (now + _AHEAD).date()
    while day <= until:
        if day.weekday() == first:
            ends = datetime.combine(day + timedelta(days=length), end)
            span = Span(moment(datetime.combine(day, begin), zone), moment(ends, zone))
            if span.begin < span.end:  # all of it may be skipped
                yield span
        day += timedelta(days=1)


def show(at: float, zone: str, now: float) -> str:
    """``Mon 30 Nov 08:00 Europe/Dublin``; with the seconds unless there are none, and with the year if that is far from
    ``now``."""
    local = datetime.fromtimestamp(at, ZoneInfo(zone))
    year = f" {local.year}" if abs(at - now) > _SAME_YEAR else ""
    day = f"{WEEKDAYS[local.weekday()].title()} {local.day} {_MONTHS[local.month - 1]}{year}"
    return f"{day} {local:%H:%M:%S} {zone}" if local.second else f"{day} {local:%H:%M} {zone}"


def utc(at: float) -> str:
    """``2026-11-30T08:00Z``, with the seconds unless there are none: for programs and for the audit log."""
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment.second else f"{moment:%Y-%m-%dT%H:%MZ}"
