"""A month of the calendar in a time zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from pipeline.errors import RequestError
from pipeline.lib.schedule import is_zone
from pipeline.lib.windows import moment

_MONTH = re.compile(r"(20\d\d|19[7-9]\d)-(0[1-9]|1[0-2])", re.ASCII)


@dataclass(frozen=True)
class Month:
    """``days``: the beginning of each, and at last that of the next month, in seconds since the epoch."""

    name: str  # 2026-11
    zone: str
    days: tuple[float, ...]

    @property
    def since(self) -> float:
        return self.days[0]

    @property
    def until(self) -> float:
        return self.days[-1]

    def day(self, at: float) -> int:
        """The day of the month at that time, from 1."""
        return datetime.fromtimestamp(at, ZoneInfo(self.zone)).day

    def before(self) -> Month:
        year, number = map(int, self.name.split("-"))
        last = date(year, number, 1) - timedelta(days=1)
        return month(f"{last.year}-{last.month:02}", self.zone)


def month(name: str, zone: str) -> Month:
    """``name``: ``2026-11``. Raises RequestError."""
    if not _MONTH.fullmatch(name) or name == "1970-01":
        raise RequestError(f"{name[:20]!r} is not a month.", advice="Write it as 2026-11.")
    if not is_zone(zone):
        raise RequestError(f"{zone[:60]!r} is not a time zone.", advice="Write it as Europe/Berlin, or UTC.")
    first = date(int(name[:4]), int(name[5:]), 1)
    after = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    count = (after - first).days
    days = (datetime.combine(first + timedelta(days=n), time()) for n in range(count + 1))
    return Month(name, zone, tuple(moment(day, zone) for day in days))


def month_of(at: float, zone: str) -> str:
    """The name of the month at that time. Raises RequestError for a zone that is not known."""
    if not is_zone(zone):
        raise RequestError(f"{zone[:60]!r} is not a time zone.", advice="Write it as Europe/Berlin, or UTC.")
    return datetime.fromtimestamp(at, ZoneInfo(zone)).strftime("%Y-%m")
