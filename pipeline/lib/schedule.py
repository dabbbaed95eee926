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

NO_DAY = "has no time at all: that month has no such day"
_FIELDS = (
    ("a minute", "0 to 59"),
    ("an hour", "0 to 23"),
    ("a day of the month", "1 to 31"),
    ("a month", "1 to 12, or JAN to DEC"),
    ("a day of the week", "0 to 7, or SUN to SAT"),
)
MOST = 10_000  # times in one answer: a week of minutes


def problem(expression: str) -> str:
    """Why it is no cron expression of five fields; "" if it is one."""
    if len(expression.split()) != 5:
        return "write five fields (minute, hour, day, month, weekday), such as `0 3 * * *`"
    try:
        next(CronSim(expression, datetime(2024, 1, 1, tzinfo=UTC)))
    except CronSimError:
        return _wrong_field(expression.split())
    except StopIteration:
        return NO_DAY
    return ""


def _wrong_field(fields: list[str]) -> str:
    """What is wrong in five fields of which something is."""
    for number, (name, allowed) in enumerate(_FIELDS):
        try:
            CronSim(
                " ".join(["*"] * number + [fields[number]] + ["*"] * (4 - number)),
                datetime(2024, 1, 1, tzinfo=UTC),
            )
        except CronSimError:
            return f"{fields[number][:40]!r} is not {name}; write {allowed}, `*`, a range or a list"
    return NO_DAY


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
