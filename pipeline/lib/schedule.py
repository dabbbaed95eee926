"""Times of a cron expression in a time zone, as seconds since the epoch.

Where clocks change, a time that the zone skips comes at the first moment after the gap, and one that it has twice comes
once, the first time. Expressions that begin with a star in the minute or the hour follow the elapsed time instead, as
in Debian's cron.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice, takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

MOST = 10_000  # times in one answer: a week of minutes


def problem(expression: str) -> str:
    """Why it is no cron expression of five fields; "" if it is one."""
    if len(expression.split()) != 5:
        return "write five fields (minute, hour, day, month, weekday), such as `0 3 * * *`"
    try:
        next(CronSim(expression, datetime(2024, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        return f"{error}; write five fields (minute, hour, day, month, weekday), such as `0 3 * * *`"
    except StopIteration:
        return "has no time at all: that month has no such day"
    return ""


def is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def between(expression: str, zone: str, after: float, until: float) -> tuple[float, ...]:
    """The times later than ``after`` and not later than ``until``, MOST at most."""
    return tuple(islice(takewhile(lambda at: at <= until, _times(expression, zone, after)), MOST))


def following(expression: str, zone: str, after: float) -> float | None:
    return next(_times(expression, zone, after), None)


def _times(expression: str, zone: str, after: float) -> Iterator[float]:
    start = datetime.fromtimestamp(after, ZoneInfo(zone))
    return (at for one in CronSim(expression, start) if (at := one.timestamp()) > after)
