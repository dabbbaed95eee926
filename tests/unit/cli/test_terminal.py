import io

import pytest

from pipeline.cli.terminal import Terminal, age, cleaned, columns, cut, plain, table, waterfall


def test_cleaning_reaches_every_string_of_a_value() -> None:
    assert cleaned({"a\x1b[m": ["\r", {"b": "c\x00"}, 1, None]}) == {"a": ["", {"b": "c"}, 1, None]}


def test_an_age_has_one_unit() -> None:
    assert [age(s) for s in (-1, 59, 60, 7200, 200000)] == ["0s", "59s", "1m", "2h", "2d"]


def test_wide_characters_take_two_columns() -> None:
    assert (columns("漢字"), columns("e\u0301")) == (4, 1)
    assert cut("漢字漢字", 5) == "漢字…"
    assert cut("short", 5) == "short"


def test_bars_follow_one_another() -> None:
    assert waterfall(0, 1, 4, 8) == ("", "━━")
    assert waterfall(3, 1, 4, 8) == ("      ", "━━")
    assert waterfall(4, 0, 4, 8) == ("       ", "━"), "what took no time is still to be seen"
    assert waterfall(0, 0, 0, 8) == ("", "")


def test_a_table_leaves_out_empty_columns_and_aligns() -> None:
    lines = table(("name", "", "age"), [("a", "", "1m"), ("long", "", "10m")], plain, right=(2,), indent="")
    assert lines == ["name  age", "a      1m", "long  10m"]


def test_a_table_fits_the_terminal() -> None:
    rows = [("live", "x" * 50, "http://127.0.0.1:20000")]
    wide = table(("", "", ""), rows, plain, width=60, flexible=1, spare=(2,))
    assert columns(wide[0]) == 60
    assert "http" in wide[0]
    narrow = table(("", "", ""), rows, plain, width=30, flexible=1, spare=(2,))
    assert narrow == ["  live  xxxxxxxxxxx…"]
    assert "x" * 50 in table(("", "", ""), rows, plain)[0], "a pipe gets every word"


class _Tty(io.StringIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError("no such file")


def test_colours_only_where_they_are_wanted() -> None:
    assert Terminal({}, out=_Tty()).paint("x", "red bold") == "\x1b[31;1mx\x1b[0m"
    assert Terminal({"NO_COLOR": "1"}, out=_Tty()).paint("x", "red") == "x"
    assert Terminal({"TERM": "dumb"}, out=_Tty()).paint("x", "red") == "x"
    assert Terminal({}, out=io.StringIO()).paint("x", "red") == "x"
    assert Terminal({}, out=_Tty()).width == 80


def test_quiet_keeps_what_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = Terminal({}, quiet=True)
    quiet.say("chat")
    quiet.note("chat")
    quiet.data("result")
    quiet.complain("trouble")
    assert tuple(capsys.readouterr()) == ("result\n", "trouble\n")
