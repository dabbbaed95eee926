"""The journal: whole lines from many processes, whatever they say, and nothing that stops who writes them."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.lib.journal import files
from pipeline.lib.journal.files import JournalFile
from pipeline.lib.journal.line import LIMIT, line
from pipeline.lib.journal.stream import JournalStream
from pipeline.lib.journal.writer import Journal, JournalHandler


def journal(data: Path) -> Journal:
    made = Journal(JournalFile(files.current(data)), instance="pushlive", version="1")
    made.named("web")
    return made


def read(data: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in files.current(data).read_bytes().splitlines()]


def test_a_line_has_the_common_fields_first_and_no_empty_ones(tmp_path: Path) -> None:
    journal(tmp_path).write("switched", at=1.5, pipeline="hello", environment="", release="r1")
    (found,) = read(tmp_path)
    assert found.pop("pid") == os.getpid()
    assert list(found.items()) == [
        ("time", "1970-01-01T00:00:01.500Z"), ("level", "info"), ("event", "switched"), ("instance", "pushlive"),
        ("version", "1"), ("process", "web"), ("pipeline", "hello"), ("release", "r1"),
    ]  # fmt: skip


def test_a_text_cannot_begin_a_line_or_steer_a_terminal_or_show_a_token() -> None:
    hostile = (
        'x\n{"event":"forged"}\r\x1b[2J\u202e\u2028 \ud800 https://me:secret@host/ pl_abcdefghijklmnop0123'
    )
    made = line({"event": "act", "message": hostile, "pipeline": hostile})
    assert made.count(b"\n") == 1
    assert made.isascii()
    shown = json.loads(made)["message"]
    assert not {"\n", "\r", "\x1b", "\u202e", "\u2028"} & set(shown)
    assert b"secret" not in made
    assert b"pl_abcdef" not in made


def test_a_line_fits_what_a_pipe_takes_whole() -> None:
    made = line({"event": "act", **{f"k{n}": "ä" * 5000 for n in range(12)}, "message": "\U0001f600" * 9000})
    assert len(made) <= LIMIT
    assert json.loads(made)["event"] == "act"


def test_many_processes_write_whole_lines_while_parts_are_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PART_SIZE", 20_000)
    written = journal(tmp_path)
    children = []
    for name in range(4):
        pid = os.fork()
        if pid == 0:
            for number in range(200):
                written.write("step_ended", "x" * 50, pipeline=f"p{name}", seconds=float(number))
            os._exit(0)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
    folder = files.folder(tmp_path)
    texts = [path.read_bytes() for path in sorted(folder.glob("*.jsonl"))]
    assert len(texts) > 3
    found = [json.loads(text) for part in texts for text in part.splitlines()]
    assert len(found) == 800
    for name in range(4):
        assert {one["seconds"] for one in found if one["pipeline"] == f"p{name}"} == set(range(200))
    assert all(len(text) < 40_000 for text in texts)


def test_a_file_that_was_moved_away_is_made_again(tmp_path: Path) -> None:
    written = journal(tmp_path)
    written.write("one")
    files.current(tmp_path).rename(tmp_path / "elsewhere")
    written.write("two")
    assert [one["event"] for one in read(tmp_path)] == ["two"]


def test_a_full_disk_leaves_lines_out_says_so_once_and_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written = journal(tmp_path)
    written.write("one")
    real = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda file, text: real(file, text[:10]))
        written.write("two")
        written.write("three")
    written.write("four")
    found = read(tmp_path)
    assert [(one["event"], one.get("dropped")) for one in found] == [("one", None), ("four", 2)]
    assert [record.getMessage() for record in caplog.records] == [
        "the journal cannot be written: the disk is full. Lines are left out; runs go on."
    ]


def test_a_folder_that_cannot_be_written_stops_no_one(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file")
    journal(tmp_path).write("one")


def test_a_reader_that_does_not_read_loses_lines_and_delays_no_one() -> None:
    reading, writing = os.pipe()
    written = Journal(JournalStream(writing), instance="pushlive", version="1")
    written.named("web")
    for number in range(3000):
        written.write("step_ended", seconds=float(number), message="x" * 100)
    held = os.read(reading, 1 << 20)
    written.write("after")
    rest = os.read(reading, 1 << 20)
    assert held.endswith(b"\n")
    last = json.loads(rest)
    assert last["dropped"] == 3000 - held.count(b"\n")
    for file in (reading, writing):
        os.close(file)


def test_nothing_is_written_before_the_process_is_named(tmp_path: Path) -> None:
    Journal(JournalFile(files.current(tmp_path))).write("one")
    assert not files.folder(tmp_path).exists()


def test_what_is_said_to_people_is_in_the_journal_too(tmp_path: Path) -> None:
    made = logging.getLogger("pushlive.keeper").makeRecord(
        "pushlive.keeper", logging.WARNING, "f", 1, "removed %s\nforged", ("r1",), None
    )
    JournalHandler(journal(tmp_path)).emit(made)
    (found,) = read(tmp_path)
    assert (found["event"], found["level"]) == ("said_keeper", "warning")
    assert found["message"] == "removed r1 forged"


def test_when_the_current_file_began(tmp_path: Path) -> None:
    assert files.begun(tmp_path) == 0.0
    journal(tmp_path).write("one", at=1000.25)
    assert files.begun(tmp_path) == 1000.25
