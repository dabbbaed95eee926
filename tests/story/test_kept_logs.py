"""The logs of runs are compressed after a day, and removed by age and by size."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.errors import NotFound
from pipeline.maintenance.doctor.logs import examine
from pipeline.maintenance.logs import KeepLogs
from pipeline.runlog import file

MANUAL = "pipelines: {hello: {environments: {dev: , live: {promote: manual}}}}"
DAY = 86400.0


@pytest.fixture
def world(make_world):
    return make_world("pipelines: {hello: {environments: {live: }}}")


def log(world, number: int) -> Path:
    return file.path(world.settings.data, "hello", number)


def aged(world, number: int, days: float) -> None:
    """As if the run's log had been written so many days ago."""
    at = world.clock.now() - days * DAY
    os.utime(log(world, number), (at, at))


def keep(world) -> list[str]:
    world.clock.sleep(3600)
    return world.jobs.logs.run()


def test_a_log_is_compressed_a_day_after_its_run_and_reads_as_before(world):
    world.push("one")
    world.push("two")
    before = list(world.commands.log("hello", 1))
    aged(world, 1, 2)
    aged(world, 2, 0.5)
    assert keep(world) == []
    assert (log(world, 1).exists(), log(world, 2).exists()) == (False, True)
    assert list(world.commands.log("hello", 1)) == before


def test_a_run_that_waits_for_a_person_keeps_its_log_as_it_is(make_world):
    world = make_world(MANUAL)
    world.push("one")
    aged(world, 1, 800)
    assert keep(world) == []
    world.commands.promote("hello", "ann")
    world.work()
    text = "".join(world.commands.log("hello", 1))
    assert " dev " in text
    assert " live " in text


def test_old_logs_are_removed_and_asking_for_one_says_so(world):
    world.push("one")
    world.push("two")
    aged(world, 1, 366)
    [said] = keep(world)
    assert said.startswith("removed the log of an old run, ")
    with pytest.raises(NotFound, match="the log of hello#1 is not kept any more"):
        world.commands.log("hello", 1)
    assert list(world.commands.log("hello", 2))


def test_the_oldest_go_first_until_the_rest_is_small_enough(world):
    settings = world.settings.model_copy(update={"logs_size": 4096})
    world.jobs.logs = KeepLogs(world.store, settings, world.clock, world.jobs.damage)
    for commit in ("one", "two", "three"):
        world.push(commit)
    for number, days in ((1, 0.1), (2, 0.3), (3, 0.2)):
        log(world, number).write_bytes(b"x" * 2000)
        aged(world, number, days)
    assert keep(world) == ["removed the log of an old run, 2.0 KiB (PUSHLIVE_LOGS_KEEP, PUSHLIVE_LOGS_SIZE)"]
    assert [log(world, number).exists() for number in (1, 2, 3)] == [True, False, True]
    assert keep(world) == []


def test_doctor_says_what_logs_take(world):
    world.push("one")
    found = examine(world.settings)
    assert found["text"].startswith("the logs of 1 run take ")
    assert "each is kept for 365 d (PUSHLIVE_LOGS_KEEP), 10 GiB at most (PUSHLIVE_LOGS_SIZE)" in found["text"]
