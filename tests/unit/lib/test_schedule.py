"""Times of cron expressions, and what becomes of them where clocks change."""

from __future__ import annotations

import itertools
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from pipeline.lib import schedule

DUBLIN = ZoneInfo("Europe/Dublin")


def times(expression: str, begin: str, end: str) -> list[str]:
    after, until = (datetime.fromisoformat(text).replace(tzinfo=DUBLIN).timestamp() for text in (begin, end))
    found = schedule.between(expression, "Europe/Dublin", after, until)
    return [datetime.fromtimestamp(at, DUBLIN).strftime("%d %H:%M") for at in found]


def test_times_are_those_of_the_zone() -> None:
    assert times("0 3 * * *", "2026-06-01", "2026-06-03T03:00") == ["01 03:00", "02 03:00", "03 03:00"]


def test_a_time_that_the_zone_skips_comes_after_the_gap() -> None:
    # On 29 March 2026, 01:00 becomes 02:00.
    assert times("30 1 * * *", "2026-03-28T12:00", "2026-03-30T12:00") == ["29 02:00", "30 01:30"]


def test_a_time_that_the_zone_has_twice_comes_once() -> None:
    # On 25 October 2026, 02:00 becomes 01:00.
    assert times("30 1 * * *", "2026-10-24T12:00", "2026-10-26T12:00") == ["25 01:30", "26 01:30"]


def test_every_hour_is_an_hour_apart_also_then() -> None:
    found = schedule.between("0 * * * *", "Europe/Dublin", 1774699200.0, 1774785600.0)
    assert {later - one for one, later in itertools.pairwise(found)} == {3600.0}


@pytest.mark.parametrize("text", ["", "* * * *", "* * * * * *", "61 * * * *", "0 0 31 2 *", "@daily"])
def test_what_is_no_expression_is_said(text: str) -> None:
    assert schedule.problem(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("61 * * * *", "'61' is not a minute; write 0 to 59, `*`, a range or a list"),
        ("0 5-3 * * *", "'5-3' is not a hour; write 0 to 23, `*`, a range or a list"),
        ("0 0 32 * *", "'32' is not a day of the month; write 1 to 31, `*`, a range or a list"),
        ("0 0 1 FOO *", "'FOO' is not a month; write 1 to 12, or JAN to DEC, `*`, a range or a list"),
        ("0 0 * * 9", "'9' is not a day of the week; write 0 to 7, or SUN to SAT, `*`, a range or a list"),
        ("0 0 31 2 *", "has no time at all: that month has no such day"),
        ("@daily", "write five fields (minute, hour, day, month, weekday), such as `0 3 * * *`"),
    ],
)
def test_the_field_that_is_wrong_is_named(text: str, says: str) -> None:
    assert schedule.problem(text) == says.replace("a hour", "an hour")


def test_an_expression_and_a_zone_are_recognised() -> None:
    assert schedule.problem("*/5 9-17 * * MON-FRI") == ""
    assert schedule.is_zone("Europe/Dublin")
    assert not schedule.is_zone("Europe/Nowhere")
    assert not schedule.is_zone("../etc/passwd")
