from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.runlog import file, kept

TEXT = "12:00:01.123 build   │ größer\n12:00:02.123 live    done\n" * 500


def written(data: Path, number: int, at: float = 1000.0, pipeline: str = "hello") -> Path:
    path = file.path(data, pipeline, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TEXT)
    os.utime(path, (at, at))
    return path


def test_a_compressed_log_reads_as_before_and_is_smaller(tmp_path: Path) -> None:
    path = written(tmp_path, 7)
    before, stage = list(file.read(path)), list(file.read(path, "live"))
    kept.compress(path)
    assert not path.exists()
    assert file.is_kept(path)
    assert list(file.read(path)) == before
    assert list(file.read(path, "live")) == stage
    [one] = kept.kept(tmp_path)
    assert (one.pipeline, one.number, one.at) == ("hello", 7, 1000.0)
    assert one.size < len(TEXT) / 10
    assert [found.name for found in path.parent.iterdir()] == ["7.log.gz"]


def test_one_that_was_interrupted_is_repeated(tmp_path: Path) -> None:
    path = written(tmp_path, 7)
    path.with_name("7.log.gz.part").write_bytes(b"half")  # killed while it wrote
    path.with_name("7.log.gz").write_bytes(b"")  # killed before it removed the log
    assert "".join(file.read(path)) == TEXT
    kept.compress(path)
    assert "".join(file.read(path)) == TEXT


def test_what_cannot_be_written_leaves_the_log(tmp_path: Path) -> None:
    path = written(tmp_path, 7)
    path.with_name("7.log.gz").mkdir()
    with pytest.raises(OSError):  # noqa: PT011 - which one is the kernel's
        kept.compress(path)
    assert path.read_text() == TEXT
    assert not path.with_name("7.log.gz.part").exists()


def test_logs_are_found_oldest_first_and_other_files_are_not(tmp_path: Path) -> None:
    assert kept.kept(tmp_path) == ()
    written(tmp_path, 10, at=30.0)
    written(tmp_path, 9, at=50.0)
    kept.compress(written(tmp_path, 1, at=40.0, pipeline="other"))
    written(tmp_path, 3).with_name("notes.log").write_text("mine")
    written(tmp_path, 3).rename(tmp_path / "logs" / "hello" / "3.log.gz.part")
    assert [(one.pipeline, one.number) for one in kept.kept(tmp_path)] == [
        ("hello", 10),
        ("other", 1),
        ("hello", 9),
    ]


def test_no_log_is_no_lines(tmp_path: Path) -> None:
    assert list(file.read(file.path(tmp_path, "hello", 1))) == []
    assert not file.is_kept(file.path(tmp_path, "hello", 1))
