"""The headers of a request that is part of a trace, and whatever else anyone sends under these names."""

from __future__ import annotations

import pytest

from pipeline.domain.tracing.context import NONE, TraceContext, read

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{PARENT}-01"


def test_it_is_read_as_the_standard_says() -> None:
    assert read([GOOD], ["rojo=00f067aa0ba902b7, congo@vendor=t61rcWkgMzE"]) == TraceContext(
        TRACE, PARENT, "01", "rojo=00f067aa0ba902b7,congo@vendor=t61rcWkgMzE"
    )
    assert read([GOOD], ["a=1", "b=2"]).state == "a=1,b=2"
    assert read([f"cc-{TRACE}-{PARENT}-01-what-is-to-come"], []).trace == TRACE


def test_a_trace_that_nobody_records_is_not_gone_on_in() -> None:
    """A proxy in front may number each request and record few."""
    found = [read([f"00-{TRACE}-{PARENT}-{flags}"], []).flags for flags in ("00", "01", "02", "ff")]
    assert found == ["", "01", "", "ff"]


@pytest.mark.parametrize(
    "parent",
    [
        "", "x", GOOD.upper(), GOOD + "-more", GOOD + "\n", f"ff{GOOD[2:]}", f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01", GOOD[:-1], f"00-{TRACE}-{PARENT}-0g", "00-٣" + GOOD[4:],
        f"cc{GOOD[2:]}-{'x' * 9999}",
    ],
)  # fmt: skip
def test_junk_is_no_trace(parent: str) -> None:
    assert read([parent], ["a=1"]) == NONE


def test_two_of_them_are_none() -> None:
    assert read([GOOD, GOOD], []) == NONE
    assert read([], ["a=1"]) == NONE


@pytest.mark.parametrize(
    "state",
    [
        "a", "=1", "A=1", "a=1;\x00", "a=é", "a=1,a=2", "a=1=2", "a=" + "x" * 600, "a=\r\nX: y",
        ",".join(f"k{number}=1" for number in range(33)),
    ],
)  # fmt: skip
def test_a_list_with_anything_wrong_is_left_out_and_the_trace_goes_on(state: str) -> None:
    assert read([GOOD], [state]) == TraceContext(TRACE, PARENT, "01", "")
