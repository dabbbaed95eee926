"""What may be shown to a person: one answer for terminal, log, page, notice and audit."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.lib import text
from pipeline.lib.text import (
    brief,
    escaped,
    last_state,
    one_line,
    printable,
    printable_lines,
    states,
    summary,
    without_password,
    without_path,
)
from tests.support.waiting import PATIENCE

UNSAFE = [
    *(chr(c) for c in range(0x20) if chr(c) not in "\t\n"),
    *(chr(c) for c in range(0x7F, 0xA0)),
    *"\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202e\u2060\u2066\u2069\ufeff\U000e0041",
]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[1;31mred\x1b[m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x07", "link"),
        ("\x1b]0;never ended\nnext", "\nnext"),
        ("\x1bPq#1\x1b\\y", "y"),
        ("\x1b\x1b[31m[2Jx", "[2Jx"),  # what is left after taking a sequence out is no sequence
        ("\x1bcreset", "reset"),
        ("\x9b31mred", "red"),
        ("a\rb\x08c\x00", "abc"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("user\u202egpj.exe", "usergpj.exe"),
        ("pass\u200bword", "password"),
        ("\ud800x\udfff", "\ufffdx\ufffd"),
        ("Grüße 👋🏽 漢字 ▶ é…", "Grüße 👋🏽 漢字 ▶ é…"),
        ("👩\u200d🔧", "👩🔧"),
        ("", ""),
    ],
)
def test_fault_47_nothing_is_left_that_a_terminal_or_page_obeys(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("character", UNSAFE, ids=lambda c: f"U+{ord(c):04X}")
def test_fault_47_each_unsafe_character_goes_alone_and_within_a_word(character: str) -> None:
    for function in (printable, one_line, summary):
        assert character not in function(f"a{character}b")
        assert function(character) == ""


@given(
    st.text(
        st.sampled_from(["\x1b", "[", "]", "3", "m", "\x9b", "\x07", "\\", "\n", "\u202e", "\ud800", "a"])
    )
)
def test_fault_47_the_result_needs_no_second_pass(text: str) -> None:
    once = printable(text)
    assert printable(once) == once
    assert not any(character in once for character in UNSAFE)
    once.encode()


def test_one_line_keeps_indentation_and_summary_does_not() -> None:
    assert one_line("two\nlines\tand a tab") == "two lines    and a tab"
    assert one_line("  if x:\r\n") == "  if x: "
    assert summary("  two\r\n\tlines  ") == "two lines"
    assert summary("abcdef", 4) == "abc…"
    assert summary("abcd", 4) == "abcd"


def test_lines_are_printable_and_at_least_one() -> None:
    assert printable_lines("a\r\n\x1b[1m\tb\x1b[0m\n") == ["a", "    b", ""]
    assert printable_lines("") == [""]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\t", "a\\nb\\t"),
        ("\x1b[1m", "\\x1b[1m"),
        ("a\u202eb\u200bc", "a\\u202eb\\u200bc"),
        ("\ud800", "\\ud800"),
        ("Grüße ▶", "Grüße ▶"),
    ],
)
def test_escaped_shows_what_one_line_takes_out(text: str, shown: str) -> None:
    assert escaped(text) == shown
    assert one_line(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ada:hunter2@host/x", "https://ada:•••@host/x"),
        ("https://ada:hun@ter2@host/x", "https://ada:•••@host/x"),
        ("https://ada:hun/ter2@host/x", "https://ada:•••@host/x"),
        ("https://ada:hun#t?er2@host/x", "https://ada:•••@host/x"),
        ("https://:hunter2@host", "https://:•••@host"),
        ("https://ghp_token@host/x", "https://•••@host/x"),
        ("ssh://git@host/x", "ssh://git@host/x"),
        ("ssh://git:hunter2@host/x", "ssh://git:•••@host/x"),
        ("postgres://app:s3@db/live, redis://:p@cache", "postgres://app:•••@db/live, redis://:•••@cache"),
        ("git@host:path", "git@host:path"),
        ("https://host:8443/a@b", "https://host:8443/a@b"),
        ("https://host/a?mail=a@b", "https://host/a?mail=a@b"),
        ("see https://host/x and mail a@b", "see https://host/x and mail a@b"),
    ],
)
def test_fault_21_a_password_in_a_url_is_not_shown(text: str, shown: str) -> None:
    assert without_password(text) == shown
    assert without_password(shown) == shown


def test_fault_21_a_receivers_path_is_not_shown() -> None:
    text = "POST https://u:p@hooks.example.com/services/T0/secret refused, 'http://h:80?token=x'"
    assert without_path(text) == "POST https://hooks.example.com/… refused, 'http://h:80/…'"


def test_it_costs_the_command_line_nothing() -> None:
    code = "import sys, pipeline.lib.text; print(*sorted(n for n in sys.modules if n.startswith('pipeline')))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == ["pipeline", "pipeline.lib", "pipeline.lib.secret", "pipeline.lib.text"]


@pytest.mark.parametrize("text", ["a" * 200_000, "://" * 60_000, "\x1b" * 200_000, "\x1b]" * 100_000])
def test_a_long_text_costs_little(text: str) -> None:
    began = time.monotonic()
    brief(text)
    summary(text)
    without_password(text)
    printable(text)
    assert time.monotonic() - began < 5 * PATIENCE


def test_brief_is_escaped_without_a_password_and_cut() -> None:
    assert brief("a\nb https://u:hunter2@h") == "a\\nb https://u:•••@h"
    assert brief("x" * 300) == "x" * 200 + "…"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", [""]),
        ("\r", [""]),
        ("whole\r", ["whole"]),
        ("  1%\r 50%\r100%", ["100%"]),
        ("Downloading [=>  ] 10%\rDownloading [===>] 99%\rDone\r", ["Downloading [===>] 99%", "Done"]),
        ("Reading\r       \rFailed: no such host", ["Reading", "Failed: no such host"]),
        ("   indented", ["   indented"]),
    ],
)
def test_of_a_progress_bar_the_last_state_is_left(line: str, found: list[str]) -> None:
    assert states(line) == found
    assert states("\r".join(found)) == found


def test_the_last_state_keeps_the_time_in_front_of_the_line() -> None:
    assert last_state("2026-11-28T00:00:00.123456789Z a\rb\rc 1\rc 2") == "2026-11-28T00:00:00.123456789Z c 2"
    assert last_state("2026-11-28T00:00:00Z 10%\r20%") == "2026-11-28T00:00:00Z 20%"
    assert last_state("a\rb") == "b"


def test_what_is_shown_as_it_is_has_nothing_unsafe() -> None:
    """``printable`` leaves at once what ``str.isprintable`` says: that has to be true of every character."""
    every = "".join(chr(code) for code in range(sys.maxunicode + 1) if chr(code).isprintable())
    assert text._UNSAFE.search(every) is None
