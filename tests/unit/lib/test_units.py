"""Durations, sizes and CPU shares as people write them."""

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.lib.units import (
    is_number,
    parse_cpu,
    parse_duration,
    parse_size,
    show_duration,
    show_size,
    write_duration,
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("5m", 300),
        ("1m30s", 90),
        ("1h30m", 5400),
        ("2d", 172800),
        ("0", 0),
        ("1.5s", 1.5),
    ],
)
def test_durations_are_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "5:00", "", "s", "5 m", "-5m", "5m!", "9" * 400 + "s", "nan", True])
def test_what_is_no_duration_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="write numbers with units: 500ms"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("128MiB", 2**27),
        ("128Mi", 2**27),
        ("1GB", 10**9),
        ("1.5KiB", 1536),
        ("12", 12),
        ("3 kB", 3000),
        ("2TiB", 2**41),
        ("1TB", 10**12),
    ],
)
def test_sizes_are_read_in_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1MiB", True, "9" * 400])
def test_what_is_no_size_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="64MiB, 1GiB"):
        parse_size(text)


def test_a_unit_that_there_is_not_is_named_as_that() -> None:
    with pytest.raises(ValueError, match="'8mib' has an unknown unit; write one of B, kB"):
        parse_size("8mib")


def test_cpu_shares_are_read_in_cores() -> None:
    assert parse_cpu("250m") == 0.25
    assert parse_cpu(2) == 2.0
    for text in ("0", "m", "-1", True, "one"):
        with pytest.raises(ValueError, match=r"250m, 0\.5, 2"):
            parse_cpu(text)


@given(st.integers(0, 10**9))
def test_a_written_duration_is_read_back_as_the_same(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert math.isclose(parse_duration(write_duration(seconds)), seconds, abs_tol=1e-9)


def test_figures_are_shown_in_the_units_that_people_use() -> None:
    assert [show_duration(s) for s in (298, 0.34, 3725, -2, 0.0012)] == [
        "4:58",
        "0.34s",
        "1:02:05",
        "-2.00s",
        "0.001s",
    ]
    assert [show_size(s) for s in (2**27, 1536, 5, 3 * 2**30)] == ["128 MiB", "1.5 KiB", "5 B", "3 GiB"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.00s"), (0.004, "0.004s"), (1.5, "1.50s"), (298, "4:58"), (3725, "1:02:05"), (-61, "-1:01")],
)
def test_a_measured_time_is_shown_in_minutes_or_seconds(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text


def test_it_costs_the_command_line_nothing() -> None:
    code = "import sys, pipeline.lib.units; print('pydantic' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [("0", True), ("12", True), ("²", False), ("٣", False), ("", False), ("-1", False), ("1" * 10, False)],
)  # fmt: skip
def test_a_number_has_a_few_ascii_digits(text: str, found: bool) -> None:
    assert is_number(text) is found
