"""The `freeze` keys: when no run may enter an environment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, time
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from pipeline.config.fields import Model, Several, StageName, Text, Words
from pipeline.config.workload.processes import Zone
from pipeline.lib import windows
from pipeline.lib.windows import WEEKDAYS, Span

_TIME = re.compile(r"(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}")
_MONDAY = 1_767_571_200.0  # any day does: 5 January 2026
_WHOLE = 8 * 86400.0  # seconds: a week, whatever the zones are
_DAYS = "days such as mon, fri-sun or [mon, wed]"
_NEXT_DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}[ T])?24:00")
_WHEN = "a time such as 16:00, or without `days` a date and a time such as 2026-12-23 16:00"


def _day(text: str) -> str:
    ends = text.split("-")
    if len(ends) > 2 or any(end not in WEEKDAYS for end in ends):
        raise ValueError(f"{text[:40]!r} is not a day of the week or a range; write {_DAYS}")
    return text


def _when(text: str) -> str:
    if _TIME.fullmatch(text):
        return text
    try:
        if _DATE.fullmatch(text):
            datetime.fromisoformat(text)
            return text.replace("T", " ")
    except ValueError:
        pass
    if _NEXT_DAY.fullmatch(text):
        day = "00:00 of the next day" if len(text) > len("24:00") else "00:00, as `to` the end of the day"
        raise ValueError(f"{text!r} is not a time; write {day}")
    raise ValueError(f"{text[:40]!r} is not a time; write {_WHEN}")


Day = Annotated[str, AfterValidator(_day), Words("a day of the week such as mon, or a range such as fri-sun")]
When = Annotated[str, AfterValidator(_when), Words(_WHEN)]


class Environments(Several):
    """The environments that a window is for: a name, or a list of names."""

    SHORT = "the name of an environment, or a list of names"

    names: tuple[StageName, ...] = ()
    """Names of environments. Without any: all."""

    def __str__(self) -> str:
        return ", ".join(self.names) or "all environments"


class Days(Several):
    """Days of the week. A range is one window; each day of a list is one of its own."""

    SHORT = _DAYS

    names: tuple[Day, ...] = ()
    """Days (`mon`) and ranges (`fri-sun`), which may go over the end of the week."""

    def __str__(self) -> str:
        return ", ".join(self.names)

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The first and the last weekday of each, 0 for Monday."""
        ends = (one.split("-") for one in self.names)
        return tuple((WEEKDAYS.index(each[0]), WEEKDAYS.index(each[-1])) for each in ends)

    def covering(self, number: int) -> str:
        """Another one whose window has all of that one's: of equal ones the first; "" if none has."""
        first, last = self.ranges[number]
        for other, (begin, end) in enumerate(self.ranges):
            longer = (end - begin) % 7 - (last - first) % 7
            if other != number and (first - begin) % 7 <= longer and (longer > 0 or other < number):
                return self.names[other]
        return ""


class Window(Model):
    """A time in which no push and no deploy enters an environment. A run that reaches it waits, and goes on by itself
    when the window ends. A revert is never kept out."""

    env: Environments = Environments()
    """The environments: a name, or a list of names. Default: all."""
    days: Days = Days()
    """The days of the week. A range such as `fri-sun` is one window, from `from` on its first day to `to` on its last
    one, or on the day after that if `to` is not later than `from`. A list such as `[mon, wed]` is one window for each
    day. Without `days`, `from` and `to` are dates with times."""
    begin: When = Field(alias="from")
    """When the window begins: `16:00`, or without `days` `2026-12-23 16:00`."""
    end: When = Field(alias="to")
    """When it ends, and runs go on."""
    zone: Zone = "UTC"
    """The time zone of `from` and `to`, such as `Europe/Dublin`. A time that the zone skips is the first moment after
    the gap, and one that it has twice is the first of the two."""
    reason: Annotated[Text, StringConstraints(max_length=500)] = ""
    """Why, for those whose runs wait."""

    @model_validator(mode="after")
    def _times_or_dates(self) -> Window:
        for key, text in (("from", self.begin), ("to", self.end)):
            if self.days.names and not _TIME.fullmatch(text):
                raise ValueError(f"`{key}` is {text!r}; with `days` write a time such as 16:00")
            if not self.days.names and _TIME.fullmatch(text):
                raise ValueError(
                    f"`{key}` is {text!r}; write `days` as well, or a date and a time such as 2026-12-23 16:00"
                )
        if not self.days.names and self._dated.end <= self._dated.begin:
            raise ValueError(f"`to` ({self.end}) is not later than `from` ({self.begin})")
        return self

    def is_for(self, environment: str) -> bool:
        return not self.env.names or environment in self.env.names

    def spans(self, around: float) -> Iterator[Span]:
        """Those that ``around`` may be in, and the next ones. A window of dates has one."""
        if not self.days.names:
            yield self._dated
        for first, last in self.days.ranges:
            yield from windows.weekly(first, last, _time(self.begin), _time(self.end), self.zone, around)

    def unwise(self, now: float) -> Iterator[tuple[str, str]]:
        """What has no effect, or not the one that it looks like: the key, and the text of a warning. No errors: files
        with it were taken before, and are stored with releases."""
        if "env" in self.model_fields_set and not self.env.names:
            yield "env", "is empty, so the window is for every environment; leave it out, or name some"
        for name in sorted({one for one in self.env.names if self.env.names.count(one) > 1}):
            yield "env", f"{name} is there twice; once is enough"
        for number, name in enumerate(self.days.names):
            if wider := self.days.covering(number):
                yield "days", f"{name} has no effect beside {wider}, which has it in its window; remove it"
        if not self.days.names and self._dated.end <= now:
            yield "to", f"{self.end} {self.zone} is over, so the window has no effect; remove it"

    @property
    def _dated(self) -> Span:
        begin, end = (datetime.fromisoformat(text) for text in (self.begin, self.end))
        return Span(windows.moment(begin, self.zone), windows.moment(end, self.zone))

    def __str__(self) -> str:
        days = f"{self.days} " if self.days.names else ""
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.env}: {days}{self.begin} to {self.end} {self.zone}{why}"


def _time(text: str) -> time:
    return time.fromisoformat(text)


Windows = Annotated[tuple[Window, ...], Field(max_length=50)]


def never_opens(file: Iterable[Window], environment: str) -> bool:
    """True if the weekly windows leave that environment no time."""
    weekly = [one for one in file if one.days.names and one.is_for(environment)]
    spans = [span for one in weekly for span in one.spans(_MONDAY)]
    at = _MONDAY
    while at - _MONDAY < _WHOLE and (ends := [one.end for one in spans if at in one]):
        at = max(ends)
    return at - _MONDAY >= _WHOLE
