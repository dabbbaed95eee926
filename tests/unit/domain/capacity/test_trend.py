"""What is foretold: a rise over whole days, and nothing that swings within a day or a week."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain.capacity import trend, words
from pipeline.domain.capacity.room import DAY, HOUR, Room, Series, Span, closed, looked, with_takers
from pipeline.domain.cost.taken import Size
from pipeline.lib import codec

GIB = 1 << 30
DAY0 = 20_000  # since the epoch


def series(
    used: list[float], *, disk: float = 100, takers: dict[int, dict[str, int]] | None = None
) -> Series:
    """One value for each whole day, in GiB; the last one is today's so far."""
    days = tuple(
        Span(DAY0 + n, int(disk * GIB), int(one * GIB), int(one * GIB), one) for n, one in enumerate(used)
    )
    room = Room(
        int(disk * GIB), int((disk - used[-1]) * GIB), int(used[-1] * GIB), used[-1], {"images": 5 * GIB}
    )
    return Series(DAY0 * DAY, (DAY0 + len(used)) * DAY - HOUR, room, Size(disk, int(disk * GIB)), days=days,
                  takers=takers or {})  # fmt: skip


def found(used: list[float], **more: float) -> dict[str, trend.Shortage]:
    made = series(used, **more)  # type: ignore[arg-type]
    return {one.what: one for one in trend.shortages("docker", made, GIB, made.looked)}


def test_a_disk_that_grows_by_the_same_every_day_is_foretold_to_the_day() -> None:
    one = found([80 + 1.5 * n for n in range(10)])["disk"]
    assert one.per_day == pytest.approx(1.5 * GIB)
    assert (one.at - (DAY0 + 10) * DAY) / DAY == pytest.approx((99 - 93.5) / 1.5, abs=0.1)
    assert (one.since, one.days) == (DAY0, 9)


def test_memory_and_load_as_well() -> None:
    assert set(found([80 + 1.5 * n for n in range(12)])) == {"disk", "memory", "load"}


def test_what_is_full_in_a_month_is_not_said_yet() -> None:
    assert found([50 + 1.5 * n for n in range(10)]) == {}


@pytest.mark.parametrize("days", range(1, 6))
def test_too_few_whole_days_say_nothing(days: int) -> None:
    assert found([80 + 3 * n for n in range(days)]) == {}


def test_five_whole_days_say_it() -> None:
    assert found([80 + 3 * n for n in range(6)])["disk"].days == 5


def test_a_week_that_ends_with_a_cleaning_is_no_trend() -> None:
    week = [70.0, 75, 80, 85, 90, 94, 70]
    for length in range(9, 36):
        assert found((week * 6)[:length]) == {}, length


def test_workdays_that_grow_and_weekends_that_do_not_are_one() -> None:
    used = 60.0
    days = []
    for n in range(21):
        used += 2.4 if n % 7 < 5 else 0.0
        days.append(used)
    assert found(days)["disk"].per_day == pytest.approx(12 / 7 * GIB, rel=0.01)


def test_one_odd_day_changes_nothing_and_one_jump_is_no_trend() -> None:
    grows = [80 + 1.5 * n for n in range(10)]
    grows[4] = 40.0
    assert found(grows)["disk"].per_day == pytest.approx(1.5 * GIB, rel=0.1)
    assert found([80.0] * 5 + [94.0] * 6) == {}
    assert found([80.0] * 9 + [98.0, 98.0]) == {}


def test_after_a_cleaning_by_hand_it_is_known_again_after_a_week() -> None:
    before = [50 + 2.0 * n for n in range(14)]
    assert found([*before, *[40 + 6.0 * n for n in range(4)]]) == {}
    assert found([*before, *[40 + 6.0 * n for n in range(10)]])["disk"].since == DAY0 + 14


def test_what_is_not_known_is_not_foretold() -> None:
    made = series([80 + 1.5 * n for n in range(10)])
    blank = Series(made.began, made.looked, Room(), None, days=tuple(Span(one.at) for one in made.days))
    assert list(trend.shortages("docker", blank, 0, made.looked)) == []
    assert found([80 + 1.5 * n for n in range(10)], disk=0) == {}


def test_a_disk_that_is_full_already_is_any_day_now() -> None:
    one = found([91 + n for n in range(10)])["disk"]
    assert "any day now" in words.text(one, one.at)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(6, 30), st.floats(10, 97))
def test_days_around_one_level_are_no_trend(seed: int, days: int, level: float) -> None:
    """However full: what only wobbles does not fill a disk. The test for a rise may be wrong once in fifty, and then
    what it says has to be far away."""
    rng = random.Random(seed)
    values = [level + rng.uniform(-0.2, 0.2) for _ in range(days)]
    for one in found(values).values():
        assert one.per_day <= 0.4 * GIB if one.what != "load" else one.per_day <= 0.4


@settings(max_examples=100, deadline=None)
@given(st.floats(0.3, 8), st.integers(6, 29), st.integers(0, 2**32))
def test_a_steady_growth_is_found_whatever_it_wobbles(per_day: float, days: int, seed: int) -> None:
    rng = random.Random(seed)
    values = [rng.uniform(0, 0.2) * per_day + per_day * n for n in range(days)]
    one = found(values, disk=values[-1] + 1 + 2 * per_day)["disk"]
    assert one.per_day == pytest.approx(per_day * GIB, rel=0.25)


# ── the series ───────────────────────────────────────────────────────────────


def measured(values: list[tuple[float, Room]]) -> Series:
    look, made = None, None
    for at, room in values:
        if look and look.hour.at != int(at // HOUR):
            made = closed(made, look)
        look = looked(look, room, Size(2, GIB), at)
    assert look
    return closed(made, look)


def test_an_hour_and_a_day_keep_their_largest_and_old_hours_go() -> None:
    values = [(DAY0 * DAY + n * 600, Room(100, 100 - n % 50, n % 70, n % 9)) for n in range(6 * 24 * 30)]
    made = measured(values)
    assert (len(made.hours), len(made.days)) == (8 * 24, 30)
    assert max(one.used or 0 for one in made.days) == 49
    assert all(one.memory == 69 for one in made.days)
    assert 0 <= made.began - DAY0 * DAY < HOUR


def test_an_hour_has_the_average_of_its_loads() -> None:
    loads = (0.5, 2.5, None, 0.6)
    made = measured([(DAY0 * DAY + n * 300, Room(load=load)) for n, load in enumerate(loads)])
    [hour], [day] = made.hours, made.days
    assert (hour.load, hour.mean, hour.looks) == (2.5, pytest.approx(1.2), 3)
    assert (day.load, day.mean) == (2.5, None)


def test_what_an_earlier_version_wrote_is_read() -> None:
    text = codec.dump(measured([(DAY0 * DAY, Room(100, 50, 5, 0.5))])).replace(",0.5,0.5,1]", ",0.5]")
    text = text.replace(",0.5,null,0]", ",0.5]")
    assert [one.mean for one in codec.load(Series, text).hours] == [None]


def test_closing_an_hour_twice_changes_nothing() -> None:
    look = looked(None, Room(100, 40, 5, 0.5, {"images": 7}), None, DAY0 * DAY)
    once = closed(None, look)
    assert closed(once, look) == once


def test_a_clock_that_was_ahead_leaves_no_days_of_the_future() -> None:
    right = [(DAY0 * DAY + n * HOUR, Room(100, 50)) for n in range(100)]
    made = measured([*right, (right[-1][0] + 400 * DAY, Room(100, 1)), (right[-1][0] + HOUR, Room(100, 49))])
    assert [one.at for one in made.days] == [DAY0 + n for n in range(5)]
    assert made.days[-1].used == 51


def test_a_clock_that_was_set_forward_and_back_loses_no_day() -> None:
    right = [(DAY0 * DAY + n * HOUR, Room(100, 50)) for n in range(100)]
    made = measured([*right, (right[-1][0] + 4000 * DAY, Room(100, 50))])
    assert len(made.days) == 6


def test_what_was_not_counted_again_is_what_it_was() -> None:
    made = measured([(DAY0 * DAY, Room(takers={"images": 7})), (DAY0 * DAY + HOUR, Room())])
    assert made.room.takers == {"images": 7}
    folder = measured([(DAY0 * DAY, Room(takers={"logs": 3}))])
    both = with_takers(made, folder)
    assert both.room.takers == both.takers[DAY0] == {"images": 7, "logs": 3}


# ── told once ────────────────────────────────────────────────────────────────


def test_it_is_told_once_and_again_after_a_week_without_it() -> None:
    (one,) = (each for each in found([80 + 1.5 * n for n in range(10)]).values() if each.what == "disk")
    now = 1_000.0 * DAY
    kept, fresh = trend.renewed(trend.Outlook(), [one], {}, now, shared=False)
    assert fresh == (one,)
    for days in range(1, 20):
        kept, fresh = trend.renewed(kept, [one], {}, now + days * DAY, shared=False)
        assert fresh == ()
    kept, fresh = trend.renewed(kept, [], {}, now + 22 * DAY, shared=False)
    assert trend.renewed(kept, [one], {}, now + 24 * DAY, shared=False)[1] == ()
    assert trend.renewed(kept, [one], {}, now + 27 * DAY, shared=False)[1] == (one,)


# ── in words ─────────────────────────────────────────────────────────────────


def shortage(what: trend.What, **more: object) -> trend.Shortage:
    made = trend.Shortage("docker", what, 5 * DAY, 90.0 * GIB, 99.0 * GIB, 1.2 * GIB, 19_000, 9)
    return trend.Shortage(**{**made.__dict__, **more})


def test_words_say_what_when_and_what_frees_it() -> None:
    disk = shortage("disk", takers={"images": 12 * GIB, "logs": GIB}, grown={"logs": 5.0})
    assert words.text(disk, 0.0) == (
        "the disk of this machine will be full in about 5 days (it grows by 1.2 GiB a day since 2022-01-08); "
        "it has images 12 GiB, logs 1 GiB"
    )
    assert words.advice(disk).startswith("PUSHLIVE_LOGS_SIZE")
    assert "`pushlive gc`" in words.advice(shortage("disk", takers={"images": 5}))
    assert "`du -xh" in words.advice(shortage("disk"))
    assert "memory of the machine ssh://u@h will be used up" in words.text(
        shortage("memory", engine="docker:ssh://u@h"), 0.0
    )
    load = shortage("load", engine="kubernetes:prod/shop", limit=8.0, per_day=0.25)
    assert "the 8 cores of the cluster prod/shop will be fully used in about 5 days" in words.text(load, 0.0)
    assert "disk of the data folder" in words.text(shortage("disk", engine="data"), 0.0)
