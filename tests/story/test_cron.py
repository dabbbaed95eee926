"""Processes that run by a schedule, decided by the keeper: on a fake engine and a real store."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from pipeline.adapters.fake.script import Killed
from pipeline.deploy.cron import history
from pipeline.domain.cron.records import CronEntry
from pipeline.domain.engine_types import SlotRef
from pipeline.errors import AppFailed
from pipeline.ports.scheduled import Job

CONFIG = """\
notify: [{url: "http://localhost:9/x"}]
pipelines:
  hello:
    service:
      processes: {mail: {cron: "*/10 * * * *", command: [./mail], timeout: 25m, overlap: OVERLAP, missed: MISSED}}
    environments: {live: }
"""
REF = SlotRef("hello", "live", 0, "blue")


def configured(overlap: str = "skip", missed: str = "skip") -> str:
    return CONFIG.replace("OVERLAP", overlap).replace("MISSED", missed)


@pytest.fixture
def world(make_world):
    return live(make_world(configured()))


def live(world):
    world.push("one")
    tick(world)
    return world


def tick(world, keeper=None) -> list[str]:
    return (keeper or world.jobs).cron.run()


def minutes(world, count: float) -> list[str]:
    """So many minutes with a working keeper."""
    said = []
    for _ in range(int(count * 2)):
        world.clock.sleep(30)
        said += tick(world)
    return said


def at_work(world) -> list[Job]:
    return [job for job, one in world.engine._jobs_of(REF).items() if one.exit_code is None]


def finish(world, code: int = 0) -> None:
    [job] = at_work(world)
    world.engine.finish(REF, job, code)
    tick(world)


def entries(world) -> list[CronEntry]:
    return list(history.read(world.store.facts, "hello/live", "mail"))


def outcomes(world) -> list[str]:
    return [str(one.outcome) for one in entries(world)]


def told(world) -> list[str]:
    client, prefix = world.store.client, world.settings.instance
    found = [text for key in client.scan_iter(f"{prefix}:outbox:*") for text in client.lrange(key, 0, -1)]
    notices = [json.loads(text) for text in found]
    return [one["text"] for one in notices if one["event"] == "cron"]


def test_a_run_has_the_time_of_the_schedule_and_its_result_is_kept(world):
    minutes(world, 11)
    [job] = at_work(world)
    assert datetime.fromtimestamp(job.at, UTC).minute % 10 == 0
    finish(world)
    [entry] = entries(world)
    assert (entry.at, entry.outcome, entry.exit_code) == (job.at, "ok", 0)
    assert entry.output == ("a fake's last words",)
    assert told(world) == []


def test_a_failed_run_is_told(world):
    minutes(world, 11)
    finish(world, 3)
    assert outcomes(world) == ["failed"]
    [text] = told(world)
    assert "failed with exit code 3" in text
    assert "`pushlive cron hello --env live`" in text


def test_a_run_goes_on_through_a_switch(world):
    minutes(world, 11)
    world.push("two")
    world.clock.sleep(700)
    world.reconcile()
    assert len(at_work(world)) == 1
    finish(world)
    assert [one.release for one in entries(world) if one.outcome == "ok"] == [1]


@pytest.mark.parametrize(
    ("overlap", "running", "ended"),
    [("skip", 1, ["skipped"]), ("queue", 1, []), ("replace", 1, ["replaced"])],
)
def test_a_run_that_meets_the_one_before(make_world, overlap, running, ended):
    world = live(make_world(configured(overlap)))
    minutes(world, 11)
    [first] = at_work(world)
    minutes(world, 10)
    assert len(at_work(world)) == running
    assert outcomes(world) == ended
    if overlap == "replace":
        assert at_work(world) != [first]
    else:
        finish(world)
        tick(world)
        assert len(at_work(world)) == (1 if overlap == "queue" else 0)


def test_a_run_that_takes_too_long_is_ended(world):
    minutes(world, 11)
    minutes(world, 26)
    assert "timed out" in outcomes(world)
    assert any("it took longer than 25m" in text for text in told(world))


@pytest.mark.parametrize(("missed", "running"), [("skip", 0), ("run", 1)])
def test_what_was_missed_while_everything_was_down_is_said(make_world, missed, running):
    world = live(make_world(configured(missed=missed)))
    world.clock.sleep(3600 + 300)
    [said] = tick(world)
    assert "times until" in said
    assert "missed: the service did not run at that time" in said
    assert len(at_work(world)) == running
    assert entries(world)[0].count in (6, 7)
    assert len(told(world)) == 1
    assert tick(world) == []


def test_two_keepers_start_one_run(world):
    other = world.another_process()
    world.clock.sleep(660)
    tick(world)
    tick(world, other)
    tick(world)
    assert len(at_work(world)) == 1
    finish(world)
    tick(world, other)
    assert outcomes(world) == ["ok"]


def test_a_stale_keeper_starts_nothing_a_second_time(world):
    """Stopped between its record and the start, while another one ran the job to its end."""

    def another_keeper_does_it_all():
        other = world.another_process()
        tick(world, other)
        finish(world)
        tick(world, other)

    world.clock.sleep(660)
    world.engine.before("start_job", another_keeper_does_it_all)
    tick(world)
    tick(world)
    assert at_work(world) == []
    assert outcomes(world) == ["ok"]


@pytest.mark.parametrize("after", [False, True])
def test_a_keeper_killed_in_a_start_leaves_one_run(world, after):
    world.clock.sleep(660)
    world.engine.kill("start_job", after=after)
    with pytest.raises(Killed):
        tick(world)
    other = world.another_process()
    tick(world, other)
    tick(world, other)
    assert len(at_work(world)) == 1
    finish(world)
    assert outcomes(world) == ["ok"]


def test_a_command_that_cannot_be_executed_is_a_failed_run(world):
    world.engine.fail("start_job", AppFailed("its command cannot be executed."))
    said = minutes(world, 11)
    assert any("its command cannot be executed" in text for text in said)
    assert outcomes(world) == ["failed"]


def test_a_schedule_that_is_no_longer_there_lets_its_run_end(world):
    minutes(world, 11)
    world.configure("pipelines: {hello: {environments: {live: }}}")
    world.push("two")
    tick(world)
    finish(world)
    assert outcomes(world) == ["ok"]
    tick(world)
    assert world.environment("live").cron == {}


def test_containers_of_ended_runs_are_removed_after_a_while(world):
    minutes(world, 11)
    finish(world)
    assert len(world.engine.jobs(REF)) == 1
    world.configure(configured().replace("*/10", "59"))
    world.clock.sleep(601)
    tick(world)
    assert [one.job for one in world.engine.jobs(REF) if one.exit_code is not None] == []


def test_a_run_waits_for_room_and_says_so_if_there_is_none(world):
    room, world.engine.memory = world.engine.memory, 1
    minutes(world, 10.5)  # a time of the schedule is among them
    assert (at_work(world), outcomes(world)) == ([], [])
    world.engine.memory = room
    tick(world)
    finish(world)
    assert outcomes(world) == ["ok"]
    world.engine.memory = 1
    said = minutes(world, 13)
    assert outcomes(world)[0] == "missed"
    assert any("do not fit" in text for text in said)
    assert any("do not fit" in text for text in told(world))


def test_every_environment_is_shown_unless_one_is_named(make_world):
    world = live(make_world(configured().replace("{live: }", "{dev: , live: }")))
    rows = world.commands.cron("hello")
    assert [one["environment"] for one in rows] == ["dev", "live"]
    assert [one["environment"] for one in world.commands.cron("hello", environment="dev")] == ["dev"]
