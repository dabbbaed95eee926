"""The time at which something ends that a person begins, as they write it."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from pipeline.errors import ConfigError
from pipeline.lib import schedule, windows
from pipeline.lib.units import parse_duration

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}")
LONGEST = 366 * 86400.0  # seconds; what is to last longer is no slip of the keyboard if no end is given
_TIMES = 'Write --until "2026-12-01 08:00", --until 08:00 (the next one), or --for 2h.'


def end_of(until: str, lasting: str, zone: str, now: float, without: str) -> float:
    """Seconds since the epoch, 0 if neither is given. ``until``: a date and a time, or a time, in ``zone``;
    ``lasting``: a duration; ``without``: advice, what holds if no end is given. Raises ConfigError: what is written is
    wrong, whenever it is asked."""
    if until and lasting:
        raise ConfigError("--until and --for cannot be combined.", advice=_TIMES)
    if not schedule.is_zone(zone):
        raise ConfigError(
            f"{zone[:60]!r} is not a time zone.", advice="Write a name such as Europe/Dublin or UTC."
        )
    if not until and not lasting:
        return 0.0
    try:
        end = now + parse_duration(lasting) if lasting else _time(until, zone, now)
    except ValueError as error:
        raise ConfigError(f"{(until or lasting)[:40]!r} is not a time.", advice=_TIMES) from error
    if end <= now:
        raise ConfigError(f"{(until or lasting)[:40]} is not in the future.", advice=_TIMES)
    if end - now > LONGEST:
        raise ConfigError(f"{(until or lasting)[:40]} is more than a year away.", advice=without)
    return end


def _time(text: str, zone: str, now: float) -> float:
    """Raises ValueError."""
    if _DATE.fullmatch(text):
        return windows.moment(datetime.fromisoformat(text), zone)
    if not _CLOCK.fullmatch(text):
        raise ValueError(text)
    today = datetime.fromtimestamp(now, ZoneInfo(zone)).date()
    clock = time.fromisoformat(text)
    ends = (windows.moment(datetime.combine(today + timedelta(days=day), clock), zone) for day in (0, 1))
    return next(end for end in ends if end > now)
