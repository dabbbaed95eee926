"""The files of the access log: bounded, whole lines, read across their parts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.runlog.access import files
from pipeline.runlog.access.files import AccessFiles, Followed, current, last, parts

DAY = 86400.0


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PART_SIZE", 100)


def write(kept: AccessFiles, *numbers: int, environment: str = "live") -> None:
    for number in numbers:
        kept.write(
            "hello", environment, f'{{"time": "2026-11-29T05:00:00.000Z", "n": {number:04}}}\n'.encode()
        )


def test_lines_are_read_across_the_parts_the_newest_last(tmp_path: Path) -> None:
    kept = AccessFiles(tmp_path, 0, 0)
    write(kept, *range(11))
    kept.tidy(1795930000.0)
    write(kept, 11, 12)
    assert [part.suffix for part in parts(tmp_path)].count(".gz") >= 3
    assert [line[-5:-1] for line in last(tmp_path, "hello", "live", 6)] == [
        "0007",
        "0008",
        "0009",
        "0010",
        "0011",
        "0012",
    ]
    assert len(last(tmp_path, "hello", "live", 100)) == 13
    assert last(tmp_path, "hello", "dev", 5) == ()


def test_an_environment_whose_name_begins_like_another_one_has_its_own_lines(tmp_path: Path) -> None:
    kept = AccessFiles(tmp_path, 0, 0)
    write(kept, *range(5))
    write(kept, *range(5), environment="live-2")
    assert len(last(tmp_path, "hello", "live", 100)) == len(last(tmp_path, "hello", "live-2", 100)) == 5


def test_the_oldest_parts_go_by_size_and_by_age(tmp_path: Path) -> None:
    kept = AccessFiles(tmp_path, 0, 0)
    write(kept, *range(20))
    kept.tidy(1795930000.0)
    found = parts(tmp_path)
    size = sum(part.stat().st_size for part in found[-2:])
    AccessFiles(tmp_path, 0, size * files.SHARE).tidy(1795930000.0)
    assert parts(tmp_path) == found[-2:]
    os.utime(found[-2], (1e9, 1e9))
    AccessFiles(tmp_path, 30 * DAY, 0).tidy(found[-1].stat().st_mtime)
    assert parts(tmp_path) == found[-1:]


def test_a_file_is_a_complete_part_after_a_day(tmp_path: Path) -> None:
    kept = AccessFiles(tmp_path, 0, 0)
    write(kept, 1)
    kept.tidy(1795928400.0 + DAY - 10)
    assert parts(tmp_path) == []
    kept.tidy(1795928400.0 + DAY + 10)
    assert len(parts(tmp_path)) == 1
    assert len(last(tmp_path, "hello", "live", 5)) == 1


def test_lines_are_followed_into_the_next_file(tmp_path: Path) -> None:
    kept = AccessFiles(tmp_path, 0, 0)
    one = Followed(tmp_path, "hello", "live")
    assert one.lines() == ()
    write(kept, 1)
    seen = [*one.lines()]
    write(kept, 2, 3, 4)
    for _ in range(6):
        seen += one.lines()
    assert [line[-5:-1] for line in seen] == ["0001", "0002", "0003", "0004"]
    one.close()


def test_half_a_line_is_not_shown_and_only_the_owner_reads(tmp_path: Path) -> None:
    kept = AccessFiles(tmp_path, 0, 0)
    write(kept, 1)
    path = current(tmp_path, "hello", "live")
    with path.open("ab") as opened:
        opened.write(b'{"half')
    assert len(last(tmp_path, "hello", "live", 5)) == 1
    assert path.stat().st_mode & 0o777 == 0o600
