"""A file is replaced as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.lib.files.whole import replacing


def test_the_new_text_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "a"
    for text in (b"old and long", b"new"):
        with replacing(file) as opened:
            opened.write(text)
            assert not file.exists() or file.read_bytes() == b"old and long"
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"new", 0o600)
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_after_an_error_the_file_is_as_it_was_and_nothing_is_left(
    tmp_path: Path, error: type[BaseException]
) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"old")

    def fails() -> None:
        with replacing(file) as opened:
            opened.write(b"new")
            raise error

    with pytest.raises(error):
        fails()
    assert (file.read_bytes(), os.listdir(tmp_path)) == (b"old", ["a"])


def test_what_a_crash_has_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".a.new").write_bytes(b"much longer than what is written now")
    with replacing(tmp_path / "a") as opened:
        opened.write(b"new")
    assert ((tmp_path / "a").read_bytes(), os.listdir(tmp_path)) == (b"new", ["a"])


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    file = tmp_path / "a"
    with replacing(file, draft="1") as one, replacing(file, draft="2") as two:
        one.write(b"first")
        two.write(b"second")
    assert file.read_bytes() == b"first"
