"""The journal's files: complete after a day, compressed a minute later, removed by age and by size."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from pipeline.lib.journal import files
from pipeline.lib.journal.files import JournalFile
from pipeline.lib.journal.writer import Journal
from pipeline.maintenance.journal.keep import KeepJournal

DAY = 86400.0


@pytest.fixture
def world(make_world):
    return make_world("pipelines: {hello: {environments: {live: }}}")


def keep(world) -> list[str]:
    world.clock.sleep(3600)
    return world.jobs.journal.run()


def part(world, days: float, size: int = 100) -> Path:
    folder = files.folder(world.settings.data)
    folder.mkdir(exist_ok=True)
    path = folder / f"journal-{1000 - days:08.2f}.jsonl"
    path.write_bytes(b"x" * size)
    at = world.clock.now() - days * DAY
    os.utime(path, (at, at))
    return path


def names(world) -> list[str]:
    return sorted(path.name for path in files.folder(world.settings.data).iterdir())


def test_a_file_of_yesterday_becomes_a_part_and_is_compressed(world):
    written = Journal(JournalFile(files.current(world.settings.data)))
    written.named("web")
    written.write("one", at=world.clock.now() - 2 * DAY)
    assert keep(world) == []
    assert not files.current(world.settings.data).exists()
    (packed,) = files.parts(world.settings.data)
    assert packed.name.endswith("Z.jsonl.gz")
    assert b'"event":"one"' in gzip.decompress(packed.read_bytes())


def test_a_file_of_today_stays(world):
    written = Journal(JournalFile(files.current(world.settings.data)))
    written.named("web")
    written.write("one", at=world.clock.now())
    assert keep(world) == []
    assert names(world) == ["journal.jsonl"]


def test_parts_that_are_too_old_are_removed(world):
    part(world, 400)
    young = part(world, 2)
    assert keep(world) == []
    assert names(world) == [young.name + ".gz"]


def test_the_oldest_parts_go_first_if_they_are_too_large(world):
    for days in (5, 4, 3):
        path = part(world, days, 400)
        path.rename(path.with_name(path.name + ".gz"))
    small = world.settings.model_copy(update={"logs_size": 10_000})
    assert KeepJournal(small, world.clock).run() == []
    assert [name[8:16] for name in names(world)] == ["00996.00", "00997.00"]


def test_a_folder_that_cannot_be_tended_is_said_once(world):
    path = part(world, 2)
    path.with_name(f".{path.name}.gz.new").mkdir()
    (said,) = keep(world)
    assert said.startswith("cannot keep the journal in order: ")
    assert keep(world) == []
