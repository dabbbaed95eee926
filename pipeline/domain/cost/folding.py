"""When the hours of a day become one. Pure.

A month of any time zone begins on the first day of a month in UTC, or on the day before. The hours of both are kept for
good, so that the sums of months stay exact in each zone.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

DAY = 86400.0  # seconds
KEPT = 35  # days for which hours are kept


def day_of(at: float) -> int:
    """Days since the epoch, in UTC."""
    return int(at // DAY)


def day_of_hour(number: int) -> int:
    return number // 24


def may_fold(number: int, now: float) -> bool:
    return number < day_of(now) - KEPT


def at_edge(number: int) -> bool:
    """Whether a month may begin on that day somewhere."""
    day = datetime.fromtimestamp(number * DAY, UTC)
    return day.day == 1 or (day + timedelta(days=1)).day == 1
