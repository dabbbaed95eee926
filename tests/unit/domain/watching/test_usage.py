"""A series of what containers use stays small, however long it is, and begins again where containers do."""

from __future__ import annotations

from pipeline.domain.watching import usage
from pipeline.domain.watching.usage import Measured, Series
from pipeline.lib import codec


def after(times: int, every: float = 10.0) -> Series:
    series = Series()
    for number in range(times):
        now = 1000.0 + number * every
        if usage.is_due(series, now):
            series = usage.sampled(series, [Measured("a", 5, 9, spent=number * every / 2)], now)
    return series


def test_a_long_series_keeps_its_beginning_and_its_end_in_equal_steps():
    for times in (1, 2, 59, 60, 61, 62, 500, 5000):
        series = after(times)
        assert 1 <= len(series.samples) <= usage.AT_MOST
        steps = {round(b.at - a.at, 6) for a, b in zip(series.samples, series.samples[1:], strict=False)}
        assert len(steps) <= 1 or times > 61, steps
        assert series.samples[0].at <= 1000.0 + series.every
        assert {one.used["a"][0] for one in series.samples[1:]} <= {0.5}


def test_a_container_that_started_again_or_is_new_has_no_negative_figures():
    series = usage.sampled(Series(), [Measured("a", 1, spent=50.0)], 0.0)
    series = usage.sampled(series, [Measured("a", 2, spent=5.0), Measured("b", 3, cores=0.25)], 10.0)
    assert series.samples[0].used == {"a": (-1.0, 1)}
    assert series.samples[1].used == {"a": (0.5, 2), "b": (0.25, 3)}
    assert usage.sampled(series, [Measured("a", 1, spent=6.0)], 10.0).samples[-1].used == {"a": (-1.0, 1)}


def test_it_is_stored_and_read_and_another_text_begins_it_again():
    series = after(5)
    assert usage.read(codec.dump(series)) == series
    assert usage.read("") == usage.read("nonsense") == Series()
    assert usage.is_due(series, series.samples[-1].at - 100)  # the clock was set back
